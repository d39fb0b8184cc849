"""Looking at runs and fits: backtests, plots, the report."""
