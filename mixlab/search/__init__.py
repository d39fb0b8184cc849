"""Searching a fitted surface: the best mixture, model size and token count at a budget."""
