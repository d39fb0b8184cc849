"""Scaling laws: functional forms, the solvers that fit them, and the surface that predicts an objective."""
