"""Designs and plans: spread, inside the bounds, costed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixlab.errors import ConfigError, InfeasibleError
from mixlab.mixture import Domain, Mixture, MixtureSpace
from mixlab.runs.flops import training_flops
from mixlab.runs.specs import RunSpec
from mixlab.study.folder import StudyFolder
from sweeps.designs import NEAR_DUPLICATE, anchors, draw_mixtures
from sweeps.plan import open_plan, stacks
from sweeps.proposals import first_round, first_specs
from sweeps.status import sweep_status


@settings(max_examples=25, deadline=None)
@given(domains=st.integers(2, 8), seed=st.integers(0, 99), kind=st.sampled_from(["dirichlet", "sobol"]))
def test_a_design_is_distinct_inside_its_bounds_and_reproducible(domains: int, seed: int, kind: str) -> None:
    space = MixtureSpace(
        tuple(Domain(f"d{i}", 1000.0 * (i + 1)) for i in range(domains)), {"d0": 0.05}, {"d1": 0.7}, max_epochs=4
    )
    count = 2 * domains + 4
    mixtures = draw_mixtures(space, space.proportional(), count, kind=kind, seed=seed, tokens=800)
    points = np.array([mixture.array(space.names) for mixture in mixtures])
    assert len(mixtures) == count
    assert all(space.contains(mixture, 800, tolerance=1e-6) for mixture in mixtures)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)[np.triu_indices(count, 1)]
    assert distances.min() >= NEAR_DUPLICATE
    assert mixtures == draw_mixtures(space, space.proportional(), count, kind=kind, seed=seed, tokens=800)


def test_a_design_begins_with_the_prior_and_the_uniform_mixture() -> None:
    space = MixtureSpace((Domain("a", 1e6), Domain("b", 3e6)))
    prior = space.proportional()
    mixtures = draw_mixtures(space, prior, 6, kind="dirichlet", seed=0, tokens=1000)
    assert dict(mixtures[0]) == pytest.approx(dict(prior))
    assert dict(mixtures[1]) == pytest.approx({"a": 0.5, "b": 0.5})


@pytest.mark.parametrize("kind", ["dirichlet", "sobol"])
def test_a_design_keeps_a_limit_on_domains(kind: str) -> None:
    space = MixtureSpace(
        tuple(Domain(f"d{k}", 100.0 * (k + 1)) for k in range(8)), {"d2": 0.05}, max_epochs=4, max_domains=3
    )
    mixtures = draw_mixtures(space, space.proportional(), 20, kind=kind, seed=1, tokens=1000)
    assert all(0 < sum(weight > 0 for weight in mixture.values()) <= 3 for mixture in mixtures)
    assert all(space.contains(mixture, tokens=1000) for mixture in mixtures)
    assert len({tuple(weight > 0 for weight in mixture.values()) for mixture in mixtures}) >= 8  # of many choices
    assert {name for mixture in mixtures for name, weight in mixture.items() if weight > 0} == set(space.names)


def test_bounds_without_room_are_refused() -> None:
    space = MixtureSpace((Domain("a"), Domain("b")), lower={"a": 0.5, "b": 0.499})
    with pytest.raises(InfeasibleError, match="room for 5 different mixtures"):
        draw_mixtures(space, Mixture({"a": 0.5, "b": 0.5}), 5, kind="sobol", seed=0, tokens=0)


def test_budgets_are_isoflops_and_every_mixture_meets_the_reference_size(study_folder: StudyFolder) -> None:
    study = open_plan(study_folder)
    specs = first_specs(study)
    for spec in specs:
        for budget, tokens in zip(study.config.sweep.budgets, spec.tokens, strict=True):
            assert training_flops(spec.shape, tokens) == pytest.approx(budget, rel=1e-3)
    reference = study.shapes[study.reference]
    at_reference = {spec.mixture for spec in specs if spec.shape == reference}
    assert at_reference == {spec.mixture for spec in specs}
    assert len(at_reference) == len(first_round(study)) == 7
    prior_sizes = {spec.shape for spec in specs if spec.mixture == specs[0].mixture}
    assert prior_sizes == set(study.shapes)
    seeds = {shape: {spec.seed for spec in specs if spec.shape == shape} for shape in study.shapes}
    assert [len(seeds[shape]) for shape in study.shapes] == [2 if shape == reference else 1 for shape in study.shapes]
    assert len(set.union(*seeds.values())) == len(study.shapes) + 1  # no size shares another's luck


def test_stacks_hold_equal_runs_costliest_first(study_folder: StudyFolder) -> None:
    specs = first_specs(open_plan(study_folder))
    jobs = stacks(specs, lambda spec: 4)
    assert sorted(spec.run_id for job in jobs for spec in job) == sorted(spec.run_id for spec in specs)
    assert max(len(job) for job in jobs) == 4
    assert all(len({(spec.shape, spec.tokens) for spec in job}) == 1 for job in jobs)
    costs = [sum(spec.flops for spec in job) for job in jobs]
    assert costs == sorted(costs, reverse=True)
    fewer = [job for job in stacks(specs[:-2], lambda spec: 4) if len(job) == 4]
    assert fewer
    assert set(fewer) <= set(jobs)  # a longer plan leaves whole stacks as they were


def test_too_small_a_budget_is_refused_when_planning(study_folder: StudyFolder) -> None:
    text = study_folder.config_file.read_text().replace('"4e8", ', '"1e7", ')
    study_folder.config_file.write_text(text)
    with pytest.raises(ConfigError, match="at least 20 steps"):
        open_plan(StudyFolder.open(study_folder.root))


def test_demand_beyond_supply_is_refused_when_planning(study_folder: StudyFolder) -> None:
    text = study_folder.config_file.read_text().replace("max_epochs: 100", "max_epochs: 0.01")
    study_folder.config_file.write_text(text)
    with pytest.raises(InfeasibleError, match=r"at most 0\.01 epochs"):
        open_plan(StudyFolder.open(study_folder.root))


def test_a_scarce_domain_is_repeated_in_a_proxy_as_often_as_the_target_would(study_folder: StudyFolder) -> None:
    plain = open_plan(study_folder)
    assert not any(spec.pools for spec in first_specs(plain))  # no target, no simulation
    supply = {domain.name: domain.unique_tokens for domain in plain.inventory.domains}
    target = 4 * sum(supply.values())
    text = study_folder.config_file.read_text() + f"target: {{flops: 1e12, tokens: {target:.0f}}}\n"
    study_folder.config_file.write_text(text.replace("count: count.jsonl", "count: {paths: count.jsonl, supply: 1e9}"))
    study = open_plan(StudyFolder.open(study_folder.root))
    specs = first_specs(study)
    assert any(spec.pools for spec in specs)
    for spec in specs:
        tokens, pools = spec.tokens[-1], dict(spec.pools)
        assert "count" not in pools  # the target has enough of it
        for name in ("words", "noise"):
            at_target = spec.mixture[name] * target / supply[name]
            here = spec.mixture[name] * tokens / pools.get(name, supply[name])
            if at_target > 1:
                assert here == pytest.approx(at_target, rel=0.01)
            else:
                assert name not in pools
    ahead = RunSpec.from_dict(specs[0].to_dict())
    assert ahead == specs[0]
    off = text.replace("target: {", "target: {simulate_epochs: false, ")
    study_folder.config_file.write_text(off)
    assert not any(spec.pools for spec in first_specs(open_plan(StudyFolder.open(study_folder.root))))


def test_no_pool_is_read_more_often_than_a_recommendation_may(study_folder: StudyFolder) -> None:
    text = study_folder.config_file.read_text().replace("max_epochs: 100", "max_epochs: 3")
    study_folder.config_file.write_text(text + "target: {flops: 1e15, tokens: 1e12}\n")
    study = open_plan(StudyFolder.open(study_folder.root))
    for spec in first_specs(study):
        for name, pool in spec.pools:
            assert spec.mixture[name] * spec.tokens[-1] / pool <= 3


def test_the_uniform_anchor_is_the_uniform_mixture_to_the_last_bit() -> None:
    """Run ids hang on it: a study that is swept already would train it again."""
    for count in range(2, 20):
        space = MixtureSpace(tuple(Domain(f"d{index}", 1e6 * (index + 1)) for index in range(count)))
        even = space.uniform(1000).array(space.names)
        assert anchors(space, space.proportional(), 1000)[1] == Mixture.from_array(space.names, even)


def test_a_plan_says_whether_its_runs_can_carry_a_law(study_folder: StudyFolder) -> None:
    """Before anything is trained: as the fit would, which is never reached by who reads the plan."""

    def warned(mixtures: int, law: str = "auto", sizes: str = "[6K, 14K, 25K]") -> list[str]:
        text = study_folder.config_file.read_text()
        text = text.replace("mixtures: 7", f"mixtures: {mixtures}").replace("[6K, 14K, 25K]", sizes)
        changed = StudyFolder(study_folder.root)
        original = study_folder.config_file.read_text()
        study_folder.config_file.write_text(text + f"target: {{flops: 4e9, law: {law}}}\n")
        try:
            return sweep_status(StudyFolder.open(changed.root)).warnings
        finally:
            study_folder.config_file.write_text(original)

    assert warned(7) == []
    assert warned(7, "concave-data") == []
    (named,) = warned(7, "effective-data", sizes="[6K, 14K]")
    assert "the first round cannot carry target.law" in named
    assert "at least 3 different model sizes N, but got 2" in named
    assert "a fit will refuse them" in named
    (none,) = warned(2)
    assert "can carry no law of N, D and mixture" in none
    assert "must vary in 2 directions" in none or "needs at least" in none
