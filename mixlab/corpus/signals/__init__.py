"""Numbers about a document, to sort, filter and split a domain by: length, compression, quality, scores, near-equals.

Comes in: texts, vectors, scores that were computed elsewhere, and models of `learn`.
"""
