"""What study.yaml says of the big run that a study is for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from mixlab.errors import ConfigError
from mixlab.hardware import Hardware, budget_in_flops
from mixlab.study.section import Quantity, Section, refusal
from mixlab.units import parse_quantity

Reference = Literal["proportional", "uniform", "prior"]

TOKENS_PER_PARAM = 20.0  # D / N of a compute-optimal run (Hoffmann et al. 2022)


class TargetConfig(Section):
    """The big run that the study is for.

    Attributes:
        flops: its training FLOPs; or state `dollars` or `gpu_hours`.
        tokens: its training tokens, from which the proxies' share of scarce text follows; absent: what `flops` buys at
            20 tokens per parameter.
        simulate_epochs: proxies repeat a scarce domain as often as the target run would, by drawing from less of its
            text (simulated epoching).
        law: the name of a law, or `auto`.
        kl: weight of KL(mixture || prior) beside the loss.
        no_worse: losses that must not be above those of another mixture at the same N and D (`proportional`,
            `uniform` or `prior`), or above a number, by evaluation domain.
        worst_group: minimise the largest of the objective's losses, each relative to that of this mixture at its own
            best size, in place of their mean.
        tokens_per_param: fix D / N.
        serve: tokens that the model will read and write in use: `flops` is then for training and serving.
        gpu: an accelerator by name, in whose hours the budget is also told.
        gpu_flops: its peak in dense bf16 FLOP/s, where mixlab does not know the name.
        mfu: the share of the peak that training reaches; absent: 0.4.
        price: dollars per GPU hour.
        dollars: the budget in dollars, in place of `flops`.
        gpu_hours: the budget in GPU hours, in place of `flops`.
    """

    flops: Quantity
    tokens: Quantity | None = None
    simulate_epochs: bool = True
    law: str = "auto"
    kl: float = Field(0.0, ge=0)
    no_worse: dict[str, Reference | Quantity] = Field(default_factory=dict)
    worst_group: Reference | None = None
    tokens_per_param: Quantity | None = None
    serve: Quantity | None = None
    gpu: str | None = None
    gpu_flops: Quantity | None = None
    mfu: float | None = Field(None, gt=0, le=1)
    price: Quantity | None = None
    dollars: Quantity | None = None
    gpu_hours: Quantity | None = None

    @model_validator(mode="before")
    @classmethod
    def _budget_in_flops(cls, value: Any) -> Any:
        """A budget in dollars or hours says the FLOPs too."""
        if not isinstance(value, Mapping) or not ("dollars" in value or "gpu_hours" in value):
            return value
        if "flops" in value:
            raise refusal("a budget is stated once, but there are flops and dollars or gpu_hours", "keep one of them")
        names = ("gpu_flops", "mfu", "price", "dollars", "gpu_hours")
        try:
            numbers = {name: parse_quantity(value[name]) for name in names if value.get(name) is not None}
            budgets = {name: numbers.pop(name, None) for name in ("dollars", "gpu_hours")}
            flops = budget_in_flops(Hardware.make(value.get("gpu"), **numbers), None, **budgets)
        except ConfigError as error:
            raise refusal(error.message, error.hint) from None
        return {**value, "flops": flops}

    @model_validator(mode="after")
    def _hardware_is_known(self) -> TargetConfig:
        try:
            _ = self.hardware
        except ConfigError as error:
            raise refusal(error.message, error.hint) from None
        return self

    @property
    def hardware(self) -> Hardware | None:
        """The accelerator, where one is named."""
        return Hardware.make(self.gpu, self.gpu_flops, self.mfu, self.price)

    @property
    def expected_tokens(self) -> float:
        """`tokens`, or D of C = 6 N D at D = 20 N, or at `tokens_per_param`."""
        return self.tokens or math.sqrt((self.tokens_per_param or TOKENS_PER_PARAM) * self.flops / 6)
