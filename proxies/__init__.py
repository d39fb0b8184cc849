"""The small models and their training; the only package that imports torch.

`model` says what a proxy is, `native` and `pytorch` are its two engines, `backend` chooses between them,
`training` makes runs, and `scoring` reads documents with what was trained.
"""
