"""What study.yaml says of proxies and of the runs to make."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mixlab.study.section import Quantity, Section, refusal


class ProxyConfig(Section):
    """The small models and how they are trained.

    Attributes:
        sizes: total parameters of each size.
        context: tokens in a training sequence.
        tied: share the embedding with the head.
        batch_tokens: tokens in a batch; absent: the batch grows with the tokens seen (`proxies.model.recipe`).
        learning_rate: peak rate at the base width; absent: the rule of `proxies.model.recipe`.
        min_tokens_per_param: a size is not trained at budgets that give it fewer tokens per parameter: such runs are
            far from compute-optimal and end before their loss follows a power law.
        decay_fraction: share of each budget in which the learning rate decays to zero.
        eval_tokens: validation tokens per domain and evaluation.
        device: `auto` takes CUDA where there is a GPU.
        engine: `native` is mixlab's own training step in C++ for a CPU core, compiled on first use; `auto` takes it on
            a CPU with a compiler, else `torch`.
        precision: of the operands of matrix products; `auto` takes bf16 where the hardware has it.
        compile: whether PyTorch compiles its steps (`torch.compile`, on CUDA with CUDA graphs), which takes up to a
            minute per size; `auto` compiles on CUDA. Where compiling fails, steps run uncompiled.
    """

    sizes: tuple[Quantity, ...] = Field(("50K", "100K", "200K"), min_length=1, max_length=40, validate_default=True)
    context: int = Field(256, ge=8, le=131072)
    tied: bool = False
    batch_tokens: Quantity | None = None
    learning_rate: float | None = Field(None, gt=0)
    min_tokens_per_param: float = Field(2.0, ge=0)
    decay_fraction: float = Field(0.2, gt=0, lt=1)
    eval_tokens: Quantity = Field("16K", validate_default=True)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: Literal["auto", "native", "torch"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"


class SweepConfig(Section):
    """Which runs to make.

    Attributes:
        budgets: training FLOPs. Every run is evaluated at each of them, with its learning rate decayed to zero.
        mixtures: distinct mixtures in the first round. 16, or two for each domain, are enough where rounds follow.
        design: `dirichlet` surrounds the prior, `sobol` covers the whole space; both include the corners, the prior and
            the uniform mixture.
        sizes_per_mixture: the number of sizes at which a mixture is trained, in rotation; the prior and the uniform
            mixture are trained at all sizes. 1 is enough where rounds follow.
        replicates: seeds of the prior and of the most extreme mixture, the measure of noise.
        rounds: rounds in total at most; from the second on, runs are proposed from those so far.
        proposals: how many of the reference size's runs each later round may cost.
        overlap: whether a round is proposed while the last runs of the one before it are still made, so that no worker
            waits for them: with many workers. It is then proposed from what the rounds before that told.
        flops: training FLOPs of all rounds together, beyond which no run of a later round is made.
        sampler: what proposes them: `regret` (the runs that take most off the doubt about the best mixture at the
            target, per FLOP; the sweep stops when that doubt is below the noise), `law` (optima of the fitted law under
            bootstrap draws), or Optuna's `tpe`, `gp`, `qmc` or `random`.
        workers: worker processes; absent: one per core.
    """

    budgets: tuple[Quantity, ...] = Field(("2.5e11", "5e11", "1e12"), min_length=1, validate_default=True)
    mixtures: int = Field(24, ge=2)
    design: Literal["dirichlet", "sobol"] = "dirichlet"
    sizes_per_mixture: int = Field(2, ge=1)
    replicates: int = Field(2, ge=1, le=100)
    rounds: int = Field(6, ge=1)
    proposals: int = Field(6, ge=1)
    overlap: bool = False
    flops: Quantity | None = None
    sampler: Literal["regret", "law", "tpe", "gp", "qmc", "random"] = "regret"
    workers: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _only_regret_overlaps(self) -> SweepConfig:
        if self.overlap and self.sampler != "regret":
            raise refusal(
                f"rounds overlap where sweep.sampler is regret, but it is {self.sampler}",
                "set sweep.overlap to false, or sweep.sampler to regret",
            )
        return self
