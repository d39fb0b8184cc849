"""Specs: a run's id is the hash of all that decides its result, and stays what it was."""

from __future__ import annotations

import json
from dataclasses import replace

from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe, RunSpec

# As they lie in ledgers, records and checkpoints of version 3, which are found again by these ids.
PLAIN = RunSpec(
    mixture=Mixture({"code": 0.25, "web": 0.75}),
    shape=ModelShape(depth=2, width=40, vocab_size=257, context=128),
    tokens=(50_000, 200_000),
    seed=7,
    recipe=Recipe(learning_rate=0.002, batches=Batches(((0, 1), (500, 2))), warmup_steps=19),
    corpus="0123456789abcdef",
    eval_tokens=8192,
)
POOLED = RunSpec(
    mixture=Mixture({"code": 1.0}),
    shape=ModelShape(depth=3, width=64, vocab_size=4096, context=64, tied=True),
    tokens=(1_000_000,),
    seed=0,
    recipe=Recipe(learning_rate=0.01, batches=Batches.constant(8), warmup_steps=10, decay_fraction=0.3),
    corpus="fedcba9876543210",
    eval_tokens=4096,
    pools=(("code", 65_536),),
)


def test_ids_stay_what_they_were() -> None:
    assert (PLAIN.run_id, PLAIN.trunk_id) == ("7927e4314754cf61", "1a6af727f3c66262")
    assert (POOLED.run_id, POOLED.trunk_id) == ("80aa9b0ececd4d8b", "2eb5254587a75236")


def test_a_spec_is_read_back_from_its_json_and_from_that_of_earlier_releases() -> None:
    odd = replace(PLAIN, shape=replace(PLAIN.shape, mlp_width=90))
    for spec in (PLAIN, POOLED, odd):
        data = json.loads(json.dumps(spec.to_dict()))
        assert RunSpec.from_dict(data) == spec
        assert RunSpec.from_dict({**data, "anneal": None}) == spec  # a key that they wrote and never filled


def test_whatever_decides_a_result_is_in_the_id() -> None:
    others = [
        replace(PLAIN, seed=8),
        replace(PLAIN, tokens=(50_000,)),
        replace(PLAIN, corpus="another"),
        replace(PLAIN, eval_tokens=4096),
        replace(PLAIN, pools=(("code", 1000),)),
        replace(PLAIN, mixture=Mixture({"code": 0.26, "web": 0.74})),
        replace(PLAIN, recipe=replace(PLAIN.recipe, weight_decay=0.2)),
        replace(PLAIN, recipe=replace(PLAIN.recipe, batches=Batches.constant(1))),
        replace(PLAIN, shape=replace(PLAIN.shape, mlp_width=90)),
        replace(PLAIN, shape=replace(PLAIN.shape, tied=True)),
    ]
    assert len({spec.run_id for spec in (PLAIN, *others)}) == 1 + len(others)
    same_trunk = [spec for spec in others if spec.trunk_id == PLAIN.trunk_id]
    assert same_trunk == [others[1], others[7]]  # token counts, and how the batch grows to them
