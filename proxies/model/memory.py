"""How many members of a stack fit into a GPU's memory: an estimate from shape, batch and memory alone.

Which runs are stacked decides how they are rounded, so it may not depend on what else is in the memory today.
"""

from __future__ import annotations

from mixlab.runs.shapes import ModelShape

SCORED_PER_PASS = 16  # sequences of an evaluation
STATE_BYTES = 40  # per parameter: ten numbers of fp32, see `state_bytes`
USABLE = 0.8  # of the memory: the driver, fragments and what a kernel needs for itself take the rest


def members_in(memory: float, shape: ModelShape, sequences: int, bf16: bool) -> int:
    """Members of `shape` that `memory` bytes hold with batches of `sequences`, at least 1: passes can be cut."""
    tokens = sequences * shape.context
    each = state_bytes(shape, bf16) + tokens * saved_bytes(shape, bf16) + tokens * passing_bytes(shape)
    # Captured graphs keep the memory of training while an evaluation, which is never captured, takes its own.
    each += SCORED_PER_PASS * shape.context * passing_bytes(shape)
    return max(1, int(USABLE * memory / each))


def state_bytes(shape: ModelShape, bf16: bool) -> float:
    """Bytes that a member has whatever its batch.

    Parameters, two moments, their rates and decays, the gradient and its parts before they are put together are seven
    numbers per parameter; an update without inductor needs three more for a while. In bf16 the operands are kept too.
    """
    return (STATE_BYTES + 2 * bf16) * shape.params


def saved_bytes(shape: ModelShape, bf16: bool) -> float:
    """Bytes per token that a forward pass keeps for the backward pass.

    Counted in eager PyTorch, in numbers per token and layer. Width: two norms and their scaled results (4), queries,
    keys and values before and after the rotation (8, of which inductor keeps less), attention's result twice.
    Hidden: gate, value, silu(gate) and the product. In bf16 all but the norms are half as large. The probabilities
    over the vocabulary are fp32 in both.
    """
    width, hidden = (28, 8) if bf16 else (48, 16)
    layer = width * shape.width + hidden * shape.hidden
    return shape.depth * layer + 8 * shape.width + 4 * shape.vocab_size


def passing_bytes(shape: ModelShape) -> float:
    """Bytes per token that come and go: logits twice and a gradient of them, beside the inside of one layer in fp32."""
    return 12 * shape.vocab_size + 4 * (12 * shape.width + 4 * shape.hidden)
