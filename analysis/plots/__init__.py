"""Figures: one module per kind, each a pure function from data to a matplotlib Figure."""
