"""How one mixture is descended: the room inside bounds and constraints, the limits on losses, the worst of several.

Comes in: draws of a fitted surface and a space of mixtures, at one (N, D).
"""
