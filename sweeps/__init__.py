"""Which runs to make, and making them: designs, the plan, the ledger, executors, trackers, and the proof.

Comes in: a prepared study. Goes out: records in the ledger, and the run table made of them.
"""
