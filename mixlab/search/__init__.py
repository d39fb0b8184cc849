"""Searching a fitted surface: the best mixture, model size and token count at a budget.

Comes in: a surface, the space of mixtures, and what a budget buys. Goes out: a recommendation beside its baselines.
"""
