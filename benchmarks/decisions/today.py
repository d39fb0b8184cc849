"""mixlab's recipe of one round: a design over sizes and budgets, the laws by `auto`, the search at the target."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.decisions.protocol import train
from benchmarks.decisions.rivals import scale_of
from benchmarks.decisions.simulators import Scale, Simulator
from mixlab.arrays import Array
from mixlab.errors import MixlabError
from mixlab.laws.fit_surface import fit_surface
from mixlab.mixture import Domain, Mixture, MixtureSpace
from mixlab.runs.cost import SixND
from mixlab.runs.table import Runs
from mixlab.search.question import Question
from mixlab.search.recommend import recommend
from sweeps.designs import draw_mixtures

SIZES, BUDGETS = (1.0, 0.5, 0.25), (1.0, 0.5, 0.25)  # of the scale's N and C: a mixture at all budgets of two sizes
DECAY = 0.2  # what a branch of a trunk costs, of its tokens
COST = 2 * (BUDGETS[0] + DECAY * sum(BUDGETS[1:]))  # of a mixture, in runs of the scale


@dataclass(frozen=True)
class Today:
    """Fits every target by `auto` and searches at the target's N and D."""

    name: str = "mixlab-today"
    most: int = 96  # mixtures

    def run(self, simulator: Simulator, budgets: Sequence[float], seed: int) -> dict[float, Array]:
        scale = scale_of(self.name, simulator)
        unit = simulator.scales[-1].flops / scale.flops / COST
        counts = [max(4, min(self.most, int(budget * unit))) for budget in budgets]
        found = {m: self._one(simulator, scale, m, seed) for m in dict.fromkeys(counts)}
        return {budget: found[m] for budget, m in zip(budgets, counts, strict=True)}

    def _one(self, simulator: Simulator, scale: Scale, count: int, seed: int) -> Array:
        space = MixtureSpace(tuple(Domain(name, float("inf")) for name in simulator.domains))
        prior = Mixture.from_array(simulator.domains, simulator.prior)
        drawn = draw_mixtures(space, prior, count, kind="dirichlet", seed=seed, tokens=scale.tokens)
        mixtures = np.array([mixture.array(simulator.domains) for mixture in drawn])
        frames, lowest = [], (np.inf, mixtures[0])
        for turn, size in enumerate(SIZES):
            here = np.arange(count) % len(SIZES) != turn
            here[:2] = True  # the prior and the uniform mixture: at all sizes
            for budget in BUDGETS:
                at = Scale(scale.params * size, scale.tokens * budget / size)
                values, losses = train(simulator, mixtures[here], at, seed)
                if at == scale:
                    lowest = float(values.min()), mixtures[here][np.argmin(values)]
                columns = {
                    f"mix.{name}": column for name, column in zip(simulator.domains, mixtures[here].T, strict=True)
                }
                columns |= {"params": at.params, "tokens": at.tokens, "flops": at.flops}
                columns |= {f"loss.{name}": losses[name] for name in simulator.objective}
                frames.append(pd.DataFrame({"run_id": [f"{i}-{size}" for i in np.flatnonzero(here)], **columns}))
        runs = Runs.from_frame(pd.concat(frames, ignore_index=True))
        target = simulator.target
        question = Question(target.flops, SixND(), space, target.params, target.tokens, prior=prior)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                surface = fit_surface(runs, simulator.objective, bootstrap=0, seed=seed)
                answer = recommend(surface, question, compare=False, draws=0, seed=seed)
        except MixlabError:  # refused: then somebody takes the best that was seen at the largest size
            return np.asarray(lowest[1])
        return Mixture(answer.mixture).array(simulator.domains)
