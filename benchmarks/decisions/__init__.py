"""Regret of mixture choosers per proxy FLOP, on simulated truths: `python -m benchmarks.decisions`."""
