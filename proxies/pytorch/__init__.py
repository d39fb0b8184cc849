"""The engine on PyTorch: stacks of models in one pass, on a GPU or where the native engine cannot be built."""
