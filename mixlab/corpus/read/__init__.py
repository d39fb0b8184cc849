"""Documents and ids out of the files that people keep text in; damaged input is an error with its file and row."""
