"""Benchmarks by way of a loss: the curve from loss to accuracy, both steps together, several tasks, and what is
expected at a budget.
"""
