"""What an answer is held to and what it costs, in a sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mixlab.units import format_flops, format_quantity


def in_words(held: Sequence[Mapping[str, Any]]) -> str:
    """The same in a line: what binds, and what does not."""
    each = []
    for one in held:
        most = f" ({one['most']:.4f})" if "most" in one else ""
        each.append(f"{one['said']}{most} {'binds' if one['binds'] else 'holds'}")
    return "; ".join(each)


def cost_in_words(costs: Mapping[str, Any]) -> str:
    """Training, serving and runs, each as FLOPs, and as GPU hours and dollars where a GPU is named."""
    named = {
        "training": "training",
        "serving": "serving",
        "runs": "the runs so far",
        "sweep": "all runs",
        "left": "left",
    }
    each = [f"{said} {_bill(costs[name])}" for name, said in named.items() if name in costs]
    gpu = f" ({costs['gpu']['name']} at {costs['gpu']['mfu']:.0%} of its peak)" if "gpu" in costs else ""
    return f"Cost: {', '.join(each)}{gpu}"


def _bill(bill: Mapping[str, Any]) -> str:
    parts = [f"{format_flops(bill['flops'])} FLOPs"]
    if "gpu_hours" in bill:
        parts.append(f"{format_quantity(bill['gpu_hours'])} GPU hours")
    if "dollars" in bill:
        parts.append(f"${format_quantity(bill['dollars'])}")
    return " = ".join(parts)


def decision_in_words(decision: Mapping[str, Any]) -> str:
    """What the answer is expected to lose to the best mixture, beside what noise can show."""
    regret, noise, count = decision["expected_regret"], decision["noise"], len(decision["alike"]) - 1
    others = f"{count} other mixture{'s' if count > 1 else ''} that cannot be told from it: see `alike` in the JSON."
    return f"Expected to lose {regret:.4f} nats to the best mixture; the noise of one run is {noise:.4f}." + (
        f" There are at least {others}" if count else ""
    )
