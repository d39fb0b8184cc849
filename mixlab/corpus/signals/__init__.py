"""Signals of a document's quality and difficulty: numbers to sort, filter and split a domain by."""
