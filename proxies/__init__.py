"""The small models and their training; the only package that imports torch.

`model` says what a proxy is, `native` and `pytorch` are its two engines, `compute` chooses between them, and
`training` makes runs.
"""
