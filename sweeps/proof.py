"""What a verification trains: the recommendation, the baselines and the user's own mixtures, at one size and budget.

It is recommendation.json that is proved, where it is about this study's runs, objective and budget; else the study is
asked anew, and says so. N and D are the recommended ones: the model has the shape, of any depth and width, whose
parameter count is nearest to N.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mixlab.api.fit import Fit, fit_problem
from mixlab.api.recommend import recommend
from mixlab.errors import ConfigError, InfeasibleError, argument, did_you_mean
from mixlab.files import read_json
from mixlab.laws.surface import Surface
from mixlab.mixture import Mixture
from mixlab.objective import TYPED
from mixlab.runs.read import read_runs
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import RunSpec
from mixlab.search.baselines import best_observed
from mixlab.search.problem import Stated, pose_problem
from mixlab.search.question import BEYOND
from mixlab.search.recommendation import Recommendation
from mixlab.study.folder import StudyFolder
from mixlab.study.yaml import load_yaml
from mixlab.units import format_flops
from sweeps.ledger import read_ledger
from sweeps.plan import Plan, open_plan

FIRST_STREAM = 5000  # seeds from here on belong to verification
MIN_SEEDS = 2  # fewer have no noise
RECOMMENDED, BEST_OBSERVED = "recommended", "best_observed"
OURS = (RECOMMENDED, "uniform", "proportional", BEST_OBSERVED)


@dataclass(frozen=True)
class Proof:
    """What is to be trained, and who predicts it.

    Attributes:
        plan: the study's facts.
        answer: the recommendation.
        surface: the law that predicts, fitted to the sweep's runs.
        mixtures: by name; the recommended one, the baselines that are within the caps, and the user's.
        shape: of every model.
        tokens: of every run.
        seeds: runs by mixture.
        made_from: digests of the runs and of what study.yaml says of the target.
        notes: what a person should know of how these came about.
    """

    plan: Plan
    answer: Recommendation
    surface: Surface
    mixtures: Mapping[str, Mixture]
    shape: ModelShape
    tokens: int
    seeds: int
    made_from: Mapping[str, str]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def specs(self) -> dict[str, list[RunSpec]]:
        """Runs by candidate; candidates with the same mixture share theirs."""
        return {
            name: [
                self.plan.spec_at(mixture, self.shape, [self.tokens], FIRST_STREAM + seed) for seed in range(self.seeds)
            ]
            for name, mixture in self.mixtures.items()
        }


def plan_proof(
    folder: StudyFolder,
    *,
    flops: float | None = None,
    seeds: int = 3,
    mixes: Mapping[str, Mapping[str, float]] | None = None,
) -> Proof:
    """Find what is recommended, and name the candidates.

    Args:
        folder: a study that has been swept.
        flops: the budget; absent: `BEYOND` times the sweep's largest.
        seeds: runs per candidate.
        mixes: the user's own mixtures, weights by domain; domains that are not named have weight 0.

    Raises:
        ConfigError: when there are too few seeds, a mixture of the user's cannot be meant, or recommendation.json is
            damaged.
        FitError: when the runs cannot carry a fit.
        InfeasibleError: when caps leave nothing to compare with.
    """
    if seeds < MIN_SEEDS:
        raise ConfigError(f"a verification needs at least {MIN_SEEDS} seeds per candidate, but got {seeds}")
    plan = open_plan(folder)
    own = {name: _own_mixture(name, weights, plan) for name, weights in (mixes or {}).items()}
    budget = flops if flops is not None else BEYOND * max(plan.config.sweep.budgets)
    fit, answer, notes = _find_answer(folder, budget)
    proxies = plan.config.proxies
    shape = ModelShape.with_params(answer.params, plan.inventory.vocab_size, proxies.context, proxies.tied)
    tokens = round(answer.tokens)
    mixtures = {RECOMMENDED: Mixture(answer.mixture)}
    for name, make in (("uniform", plan.space.uniform), ("proportional", plan.space.proportional)):
        try:
            mixtures[name] = make(tokens)
        except InfeasibleError:
            notes.append(
                f"the {name} mixture cannot be trained within the caps at {tokens:,} tokens, so it is not compared"
            )
    mixtures[BEST_OBSERVED] = _best_observed(fit, folder)
    mixtures |= own
    notes += [note for name, mixture in own.items() for note in _beyond_caps(name, mixture, plan, tokens)]
    if len(set(mixtures.values())) < 2:
        raise InfeasibleError(
            f"a verification compares mixtures, but only {mixtures[RECOMMENDED]} can be trained at {tokens:,} tokens",
            f"allow more epochs, add text, or lower {argument('flops')}",
        )
    made_from = {"runs": fit.runs.digest, "study": plan.config.answer_digest}
    return Proof(plan, answer, fit.surface, mixtures, shape, tokens, seeds, made_from, tuple(notes))


def read_mixes(paths: Sequence[Path]) -> dict[str, dict[str, float]]:
    """The user's mixtures from JSON or YAML files, by the files' names without their endings.

    Each holds weights by domain, or is a recommendation.

    Raises:
        ConfigError: when a file is missing or holds something else, or two have one name.
    """
    found: dict[str, dict[str, float]] = {}
    for path in paths:
        if path.stem in found:
            raise ConfigError(f"two mixtures are called `{path.stem}`", "rename one of the files")
        data = read_json(path) if path.suffix == ".json" else load_yaml(path).data
        weights = data.get("mixture", data) if isinstance(data, dict) else None
        numbers = isinstance(weights, dict) and all(isinstance(w, (int, float)) for w in weights.values())
        if not (numbers and weights):
            raise ConfigError(f"{path} must hold weights by domain", "write a line `domain: weight` for each")
        found[path.stem] = {str(name): float(weight) for name, weight in weights.items()}
    return found


def _find_answer(folder: StudyFolder, budget: float) -> tuple[Fit, Recommendation, list[str]]:
    """The recommendation at a budget, the fit that predicts what it comes to, and notes."""
    problem = pose_problem(read_runs(folder.root), folder)
    if not folder.recommendation.exists():
        fit = fit_problem(problem)
        return fit, recommend(fit, budget), []
    answer = Recommendation.from_dict(read_json(folder.recommendation, "run `mixlab recommend` again"))
    given = {"runs": problem.runs.digest, "study": folder.config.answer_digest}
    why = None
    if any(answer.made_from.get(name, digest) != digest for name, digest in given.items()):
        why = "was made from other runs, or for another study.yaml, than there are now"
    elif answer.objective and answer.objective != dict(problem.facts.objective):
        why = "is for another objective"
    elif not math.isclose(answer.flops, budget, rel_tol=1e-6):
        why = f"is for {format_flops(answer.flops)} FLOPs, and this verification has {format_flops(budget)}"
    if why is not None:
        fit = fit_problem(problem)
        again = recommend(fit, budget, **answer.asked)
        return fit, again, [f"recommendation.json {why}: it is not proved, the study is asked anew"]
    notes = []
    if not answer.made_from:
        notes.append("recommendation.json does not say which runs it was made from: it is proved as it is")
    # Whoever recommended also predicts.
    return fit_problem(pose_problem(problem.runs, folder, Stated(law=answer.law))), answer, notes


def _best_observed(fit: Fit, folder: StudyFolder) -> Mixture:
    """The mixture of the sweep's best run: what was asked of it and not its realised shares, to be trained once where
    another candidate has it."""
    mixture, row = best_observed(fit.surface.objective, fit.runs)
    record = read_ledger(folder.ledger).records.get(str(fit.runs.run_ids[row]))
    return mixture if record is None else record.spec.mixture


def _own_mixture(name: str, weights: Mapping[str, float], plan: Plan) -> Mixture:
    if name in OURS:
        raise ConfigError(f"a mixture of your own cannot be called `{name}`", "rename its file")
    for domain in weights:
        if domain not in plan.space.names:
            raise ConfigError(
                f"mixture `{name}`: there is no domain `{domain}` to train on", did_you_mean(domain, plan.space.names)
            )
    total = math.fsum(weights.values())
    if not abs(total - 1) <= TYPED or min(weights.values()) < 0:
        raise ConfigError(
            f"mixture `{name}`: the weights must be >= 0 and sum to 1, but sum to {total:.6g}", "correct the weights"
        )
    return Mixture.normalized({domain: weights.get(domain, 0.0) for domain in plan.space.names})


def _beyond_caps(name: str, mixture: Mixture, plan: Plan, tokens: int) -> list[str]:
    """A mixture of the user's may repeat more than a recommendation may; that is said."""
    most = plan.config.mixtures.max_epochs
    seen = plan.space.epochs(mixture, tokens)
    return [
        f"{name} reads `{domain}` {epochs:.3g} times in {tokens:,} tokens, more than mixtures.max_epochs = {most:g}"
        for domain, epochs in seen.items()
        if epochs > most
    ]
