"""Planted topics: documents whose words say what they are about, beside words that say nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path

_TOPICS = """
cooking: recipe oven flour butter sauce garlic simmer onion dough spice kettle broth
sailing: harbour anchor mast rudder sail tide hull keel compass rope deck buoy
gardens: soil seed compost pruning rose hedge lawn tulip mulch greenhouse bulb spade
"""
WORDS = {line.split(": ")[0]: line.split(": ")[1].split() for line in _TOPICS.split("\n") if line}
_PLAIN = "the of and that with from time people other about which these would after where could"
PLAIN = list(_PLAIN.split())


def text(topic: str | None, rng: random.Random, length: int = 40, share: float = 0.35) -> str:
    own = WORDS[topic] if topic else PLAIN
    return " ".join(rng.choice(own if rng.random() < share else PLAIN) for _ in range(length))


def rows(count: int = 60, seed: int = 0, topics: tuple[str, ...] = tuple(WORDS)) -> list[dict[str, str]]:
    """`count` documents of each topic in turn; two share a group, the stem of their ids."""
    rng = random.Random(seed)
    return [
        {"text": text(topic, rng), "label": topic, "id": f"{topic}{i // 2}-{i % 2}"}
        for i in range(count)
        for topic in topics
    ]


def write_rows(path: Path, data: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in data))
    return path
