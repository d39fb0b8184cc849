"""Which runs to make, and making them: designs, the Optuna study, executors, the ledger, tracking."""
