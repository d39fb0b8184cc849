"""Figures: one module per kind, each from results to axes of matplotlib. No backend is chosen here."""
