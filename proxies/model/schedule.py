"""Warmup, stable, decay: the learning rate as a pure function of the step.

The trunk warms up and stays at the peak; a branch leaves it and falls linearly to zero. The trunk never depends on
where branches leave it, so one trunk serves every budget (Haegele et al. 2024) and a branch equals a run that was
planned for its budget alone.
"""

from __future__ import annotations


def trunk_factor(step: int, warmup_steps: int) -> float:
    """Share of the peak rate at trunk step `step` (from 0)."""
    return min(1.0, (step + 1) / warmup_steps)


def decay_factor(step: int, decay_steps: int) -> float:
    """Share of the rate at step `step` (from 0) of a decay over `decay_steps`: linear, zero just after the last."""
    return 1.0 - (step + 1) / (decay_steps + 1)


def branch_factor(step: int, warmup_steps: int, total_steps: int, decay_steps: int) -> float:
    """Share of the peak rate at step `step` of the whole branch that ends at `total_steps`."""
    start = total_steps - decay_steps
    factor = trunk_factor(step, warmup_steps)
    return factor if step < start else factor * decay_factor(step - start, decay_steps)
