"""Documents and token ids out of the files that people keep text in; damaged input is an error with its file and row.

Comes in: paths, globs and URLs, and what study.yaml says of a domain.
"""
