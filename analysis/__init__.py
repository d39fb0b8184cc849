"""Looking at runs and fits: `backtest`, `plots` and the `report`.

Comes in: run tables, fits, recommendations and proofs. Nothing here trains or changes anything.
"""
