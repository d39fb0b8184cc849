"""Backtests: which rows are held out, what is predicted for them, how good that is, and the baselines beside it."""
