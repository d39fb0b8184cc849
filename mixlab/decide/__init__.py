"""Deciding under doubt: what the runs say of every mixture at the target, which to run next, and what to answer.

Comes in: rows of runs, a space of mixtures, the N and D that are asked about. Goes out: a belief, runs to make, and a
decision with the mixtures that cannot be told from it.
"""
