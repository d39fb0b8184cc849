"""Knowledge classification: which topics a domain's text is about, how much of each, and the domain split by them.

`job` says what is asked, `run` does it, `split` writes the parts and the study with them. Comes in: documents of
`read`, classifiers and embedders of `learn`, filters and scores of `signals`.
"""
