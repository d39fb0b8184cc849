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

SIZES, BUDGETS = (1.0, 0.5), (1.0, 0.5, 0.25)  # of the scale's N and C: every mixture at each
DECAY = 0.2  # what a branch of a trunk costs, of its tokens
COST = len(SIZES) * (BUDGETS[0] + DECAY * sum(BUDGETS[1:]))  # of a mixture, in runs of the scale


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
        frames = []
        for size in SIZES:
            for budget in BUDGETS:
                at = Scale(scale.params * size, scale.tokens * budget / size)
                losses = train(simulator, mixtures, at, seed)[1]
                columns = {f"mix.{name}": column for name, column in zip(simulator.domains, mixtures.T, strict=True)}
                columns |= {"params": at.params, "tokens": at.tokens, "flops": at.flops}
                columns |= {f"loss.{name}": losses[name] for name in simulator.objective}
                frames.append(pd.DataFrame({"run_id": [f"{i}-{size}" for i in range(count)], **columns}))
        runs = Runs.from_frame(pd.concat(frames, ignore_index=True))
        target = simulator.target
        question = Question(target.flops, SixND(), space, target.params, target.tokens, prior=prior)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                surface = fit_surface(runs, simulator.objective, bootstrap=0, seed=seed)
                answer = recommend(surface, question, compare=False, draws=0, seed=seed)
        except MixlabError:  # refused: what somebody has who gets no answer
            return np.asarray(mixtures[np.argmin(train(simulator, mixtures, scale, seed)[0])])
        return Mixture(answer.mixture).array(simulator.domains)
