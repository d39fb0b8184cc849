"""The small models and their training. `model` says what a proxy is, `native` and `pytorch` are its two engines, `compute`
chooses between them, `training` makes runs. The only package that imports torch.
"""
