"""Runs: what to train, what came out, what it costs, and the run table, which is the spine between training and
fitting.
"""
