"""A table of runs from a planted joint law: 6 domains, 24 mixtures, 3 sizes, 3 budgets."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixlab.runs.table import Runs

DOMAINS = ("web", "books", "code", "math", "law", "<script>alert(1)</script>")


def planted_loss(mixture: np.ndarray, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Chinchilla in N and D plus what each domain lacks, (n, K) losses per evaluation domain."""
    scale = 1.6 + 60 * params**-0.32 + 400 * tokens**-0.37
    lack = 0.9 * np.exp(-4.0 * np.sqrt(mixture + 0.01))
    return scale[:, None] + lack


def planted_table(seed: int = 0, noise: float = 0.004, mixtures: int = 24) -> Runs:
    """Every mixture at every size and budget; one run per mixture and size, one row per budget."""
    rng = np.random.default_rng(seed)
    rows = []
    for mixture in rng.dirichlet(np.ones(len(DOMAINS)), mixtures):
        for params in (1e6, 3e6, 1e7):
            for flops in (1e15, 4e15, 1.6e16):
                tokens = flops / 6 / params
                losses = planted_loss(mixture[None], np.array([params]), np.array([tokens]))[0]
                losses = losses * np.exp(noise * rng.standard_normal(len(DOMAINS)))
                row = {"run_id": f"m{len(rows) // 9}-{params:.0f}", "params": params, "tokens": tokens, "flops": flops}
                row |= {f"mix.{name}": weight for name, weight in zip(DOMAINS, mixture, strict=True)}
                row |= {f"loss.{name}": value for name, value in zip(DOMAINS, losses, strict=True)}
                rows.append(row | {"loss": losses.mean(), "seed": 0})
    frame = pd.DataFrame(rows)
    supply = {"web": 6e9, "books": 1e9, "code": 2e9, "math": 4e8, "law": 8e8, DOMAINS[5]: 3e8}
    return Runs.from_frame(frame.assign(**{f"unique.{name}": count for name, count in supply.items()}))
