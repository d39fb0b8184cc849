"""The step of a proxy in C++, for one CPU thread; compiled on first use, with PyTorch's own step where it cannot be."""
