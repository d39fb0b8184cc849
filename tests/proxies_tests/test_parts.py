"""The proxy's parts: model, optimizer, schedule, sampler, checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mixlab.errors import ConfigError, CorpusError
from mixlab.mixture import Mixture
from mixlab.runs.batches import Batches
from mixlab.runs.flops import forward_flops_per_token, training_flops
from mixlab.runs.shapes import ModelShape
from mixlab.runs.specs import Recipe, RunSpec
from mixlab.study.sweep import ProxyConfig
from proxies.model.engine import State
from proxies.model.parameters import initial_parameters, packed, parameter_shapes, unpacked
from proxies.model.recipe import batch_sequences, growing_batches, make_recipe
from proxies.model.schedule import branch_factor, decay_factor, trunk_factor
from proxies.pytorch.functions import cross_entropy, unit_scale
from proxies.pytorch.optim import AdamW
from proxies.pytorch.stack import ModelStack
from proxies.training.checkpoint import Trunk, load_trunk, save_trunk, tokens_left, trunk_path
from proxies.training.sampler import Sampler, Windows, domain_order, validation_windows

CPU = torch.device("cpu")
SHAPE = ModelShape(depth=2, width=16, vocab_size=32, context=12)


def stack_of(shape: ModelShape, *seeds: int) -> ModelStack:
    return ModelStack(shape, np.stack([initial_parameters(shape, seed) for seed in seeds]), CPU)


@pytest.mark.parametrize("tied", [False, True])
def test_the_shape_counts_the_parameters_that_the_model_has(tied: bool) -> None:
    shape = ModelShape(depth=3, width=24, vocab_size=40, context=8, tied=tied)
    counted = sum(math.prod(size) for size in parameter_shapes(shape).values())
    assert counted == shape.params == stack_of(shape, 0).flat.shape[1]


@pytest.mark.parametrize("tied", [False, True])
def test_the_flops_counted_are_those_that_torch_counts(tied: bool) -> None:
    shape = ModelShape(3, 48, 65, 32, tied)
    stack = stack_of(shape, 0, 1)
    tokens = torch.zeros((2, 4, 33), dtype=torch.long)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = stack.losses(tokens).mean()
        forward = counter.get_total_flops()
        loss.backward()
    processed = 2 * 4 * 32
    assert forward == forward_flops_per_token(shape) * processed
    assert counter.get_total_flops() == pytest.approx(training_flops(shape, processed), rel=1e-12)


def test_a_model_by_name_is_packed_again() -> None:
    flat = initial_parameters(SHAPE, 3)
    by_name = unpacked(flat, SHAPE)
    assert {name: part.shape for name, part in by_name.items()} == parameter_shapes(SHAPE)
    assert np.array_equal(packed(by_name, SHAPE), flat)
    assert by_name["layers.1.qkv"].std() == pytest.approx(1 / math.sqrt(SHAPE.width), rel=0.1)


def test_the_future_does_not_reach_the_past() -> None:
    stack = stack_of(SHAPE, 0)
    tokens = torch.randint(32, (1, 2, 12), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[..., 7:] = 0
    with torch.no_grad():
        before, after = stack.logits(tokens), stack.logits(changed)
    assert torch.equal(before[..., :7, :], after[..., :7, :])
    assert not torch.equal(before[..., 7:, :], after[..., 7:, :])


def test_members_share_nothing() -> None:
    stack = stack_of(SHAPE, 0, 1)
    sequences = torch.randint(32, (2, 2, 13), generator=torch.Generator().manual_seed(0))
    stack.losses(sequences)[0].mean().backward()
    assert stack.flat.grad is not None
    assert stack.flat.grad[0].abs().sum() > 0
    assert stack.flat.grad[1].abs().sum() == 0


def test_adamw_equals_torchs_own() -> None:
    recipe = Recipe(learning_rate=0.01, batches=Batches.constant(1), warmup_steps=1, clip_norm=1e9)
    shape = ModelShape(depth=2, width=64, vocab_size=8, context=8)  # the base width: all multipliers are 1
    ours = stack_of(shape, 0)
    theirs = {name: p.detach().clone().requires_grad_() for name, p in ours.parameters().items()}
    matrices = [p for n, p in theirs.items() if not (n == "embed" or n.endswith("norm"))]
    vectors = [p for n, p in theirs.items() if n == "embed" or n.endswith("norm")]
    reference = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.95),
    )
    optimizer = AdamW(ours.flat, shape, [recipe])
    generator = torch.Generator().manual_seed(0)
    for step in range(5):
        gradients = {name: torch.randn(p.shape, generator=generator) for name, p in theirs.items()}
        gradient = torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1)
        for name, parameter in theirs.items():
            parameter.grad = gradients[name]
        optimizer.step(gradient, optimizer.scales(step, [1.0])[0])
        reference.step()
    for name, parameter in ours.parameters().items():
        assert torch.allclose(parameter, theirs[name], rtol=1e-5, atol=1e-6), name


def test_clipping_is_by_member() -> None:
    flat, gradient = torch.zeros(2, SHAPE.params), torch.zeros(2, SHAPE.params)
    gradient[0], gradient[1, 0] = 100.0, 0.5
    recipe = Recipe(learning_rate=0.0, batches=Batches.constant(1), warmup_steps=1)
    optimizer = AdamW(flat, SHAPE, [recipe, recipe])
    optimizer.step(gradient, optimizer.scales(0, [1.0])[0])
    assert torch.linalg.vector_norm(optimizer.first, dim=1) / 0.1 == pytest.approx([1.0, 0.5], rel=1e-4)


def test_the_schedule_warms_up_stays_and_falls_to_zero() -> None:
    factors = [branch_factor(step, 4, 20, 5) for step in range(20)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[14] == 1.0
    assert factors[15:] == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert [trunk_factor(step, 4) for step in range(15)] == factors[:15]
    assert decay_factor(4, 5) > 0


@given(
    weights=st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda w: sum(w) > 0.1),
    count=st.integers(1, 500),
)
def test_every_prefix_has_its_shares_to_within_a_sequence(weights: list[float], count: int) -> None:
    shares = np.array(weights) / sum(weights)
    order = domain_order(shares, count)
    assert len(order) == count
    counts = np.bincount(order, minlength=len(shares))
    assert np.all(np.abs(counts - shares * count) <= 0.5 + len(shares) / 2)
    assert np.all(counts[shares == 0] == 0)
    assert np.array_equal(order[: count // 2], domain_order(shares, count // 2))


@given(tokens=st.integers(20, 2000), seed=st.integers(0, 5))
def test_an_epoch_sees_every_window_once(tokens: int, seed: int) -> None:
    windows = Windows("a", np.arange(tokens, dtype=np.uint32), 9, seed)
    starts = windows.starts(2 * windows.count)
    for epoch in starts.reshape(2, windows.count):
        assert sorted(epoch) == [9 * index for index in range(windows.count)]
    assert np.array_equal(windows.read(starts)[:, 0], starts)


@given(tokens=st.integers(200, 2000), seed=st.integers(0, 5))
def test_a_pool_is_read_again_and_again_and_lies_in_a_larger_one(tokens: int, seed: int) -> None:
    text = np.arange(tokens, dtype=np.uint32)
    whole = Windows("a", text, 9, seed)
    small, large = Windows("a", text, 9, seed, 45), Windows("a", text, 9, seed + 1, 90)
    assert (small.count, large.count) == (5, 10)
    starts = small.starts(15)
    assert all(sorted(epoch) == sorted(starts[:5]) for epoch in starts.reshape(3, 5))
    assert len(set(starts)) == 5
    assert set(starts) < set(large.starts(10)) <= set(whole.starts(whole.count))


def test_two_mixtures_see_a_domains_windows_in_the_same_order() -> None:
    tokens = {"a": np.arange(1000, dtype=np.uint16), "b": np.arange(1000, 2000, dtype=np.uint16)}

    def first_windows(weight: float) -> list[int]:
        sampler = Sampler(tokens, Mixture({"a": weight, "b": 1 - weight}), 3, 10, Batches.constant(4), 20)
        starts = sampler.sequences(0, 20)[:, 0]
        return [int(start) for start in starts if start < 1000]

    few, many = first_windows(0.2), first_windows(0.8)
    assert len(few) == 16
    assert many[:16] == few


def test_a_domain_shorter_than_a_sequence_is_refused() -> None:
    with pytest.raises(CorpusError, match="`tiny` must have more training tokens"):
        Windows("tiny", np.zeros(10, dtype=np.uint8), 10, 0)
    with pytest.raises(CorpusError, match="`tiny` must have more validation tokens"):
        validation_windows({"tiny": np.zeros(10, dtype=np.uint8)}, 10, 100)


def test_the_batch_grows_with_the_tokens() -> None:
    sizes = [batch_sequences(tokens, 128) for tokens in (1e4, 1e5, 1e6, 1e7, 1e8)]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 1
    assert sizes[-1] > 8
    fixed = make_recipe(ProxyConfig(batch_tokens=512, learning_rate=0.1), SHAPE, [1000, 5000])
    assert fixed.batches == Batches.constant(round(512 / 12))
    assert fixed.learning_rate == 0.1


@given(tokens=st.integers(10**4, 10**7), context=st.sampled_from([16, 128, 1000]))
def test_batches_follow_the_rule_wherever_the_run_ends(tokens: int, context: int) -> None:
    batches = growing_batches(tokens, context)
    longer = growing_batches(4 * tokens, context)
    steps = batches.steps(tokens / context)
    assert longer.stages[: len(batches.stages)] == batches.stages
    assert abs(batches.sequences(steps) - tokens / context) <= batches.size(steps) / 2 + 1
    assert batches.sequences(steps) == sum(batches.size(step) for step in range(steps))
    # A stage begins at a whole step, so at its edge the rule may be one batch ahead.
    rule = batch_sequences(batches.sequences(steps) * context, context)
    assert 0.5 <= batches.size(steps) / rule <= 2
    assert batches.steps(batches.sequences(steps)) == steps


def test_batch_stages_are_refused_unless_they_begin_at_zero_and_ascend() -> None:
    for stages in ((), ((1, 2),), ((0, 2), (0, 4)), ((0, 0),)):
        with pytest.raises(ConfigError, match="must begin at step 0, ascend and be positive"):
            Batches(stages)


def test_damaged_checkpoints_are_named(tmp_path: Path, spec: RunSpec) -> None:
    path = trunk_path(tmp_path, spec)
    state = State(*(np.arange(50, dtype=np.float32) + k for k in range(3)))
    save_trunk(tmp_path, spec, Trunk(7, {}, state, seconds=1.5))
    loaded = load_trunk(tmp_path, spec)
    assert loaded is not None
    assert loaded.step == 7
    assert np.array_equal(loaded.state.second, state.second)
    assert load_trunk(tmp_path, replace(spec, seed=9)) is None
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CorpusError, match=r"checksum mismatch in .*\.trunk"):
        load_trunk(tmp_path, spec)
    path.write_bytes(bytes(data[: len(data) // 2]))
    with pytest.raises(CorpusError, match="not a whole safetensors file"):
        load_trunk(tmp_path, spec)
    assert tokens_left(tmp_path, spec) == spec.trained_tokens


def test_written_out_derivatives_equal_torchs_own() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 7, dtype=torch.double, generator=generator, requires_grad=True)
    targets = torch.randint(7, (2, 3), generator=generator)
    assert torch.autograd.gradcheck(lambda logits: cross_entropy(logits, targets), x)
    assert torch.autograd.gradcheck(unit_scale, x)
    reference = torch.nn.functional.cross_entropy(x.flatten(0, 1), targets.flatten(), reduction="none")
    assert torch.allclose(cross_entropy(x, targets).flatten(), reference)
    assert torch.allclose(unit_scale(x), torch.nn.functional.rms_norm(x, (7,), eps=1e-6))
    far = torch.tensor([[200.0, 0.0, -200.0]])  # probabilities that underflow in single precision
    assert cross_entropy(far, torch.tensor([2])).item() == pytest.approx(400.0)
