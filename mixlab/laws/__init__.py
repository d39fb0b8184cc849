"""Scaling laws: from a run table to a surface that predicts the objective, with intervals.

`forms` has the functional forms and their solvers, `choice` says which of them a table carries and how they are
blended. Comes in: a run table and an objective. Nothing here knows of studies or searches.
"""
