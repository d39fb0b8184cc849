"""Decides which cleaned documents are part of the corpus: no copies, no near-duplicates, no more than was asked for.

Only this sees all documents, in their order; what it keeps in memory is a hash and a few bytes a document.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mixlab.corpus.clean.cleaned import EMPTY, EXACT, NEAR, SAMPLES, URL, Edit
from mixlab.corpus.clean.hashes import SeenHashes
from mixlab.corpus.clean.near import HASHES, near_duplicates
from mixlab.corpus.prepare.blocks import CleanBlock
from mixlab.corpus.prepare.tally import Dropped, Tally
from mixlab.corpus.prepare.worker import Admitted
from mixlab.study.cleaning import NearConfig
from mixlab.study.config import StudyConfig


class _Copies:
    """Knows which documents of a block are copies of kept ones, by their text as read or as it is now."""

    def __init__(self, seen: SeenHashes | None, block: CleanBlock) -> None:
        self._seen = seen
        if seen is not None:
            keys, finals = block.keys, block.finals
            self._old = seen.known(keys) | seen.known(finals)
            self._keys, self._finals = keys.tolist(), finals.tolist()

    def is_copy(self, at: int) -> bool:
        if self._seen is None:
            return False
        return bool(self._old[at]) or self._keys[at] in self._seen or self._finals[at] in self._seen

    def keep(self, at: int) -> None:
        if self._seen is not None:
            self._seen.add(self._keys[at])
            self._seen.add(self._finals[at])

    def end(self) -> None:
        if self._seen is not None:
            self._seen.settle()


class Admission:
    """Goes through the blocks in order.

    Attributes:
        tallies: what happened to each domain's documents.
        admitted: the blocks with their kept documents.
    """

    def __init__(self, config: StudyConfig) -> None:
        self._config = config
        self._whole = SeenHashes()
        self._seen: dict[str, SeenHashes] = {}
        self.tallies = {name: Tally() for name in config.domains}
        self.admitted: list[Admitted] = []
        for name, domain in config.domains.items():
            scope = config.corpus.cleaning_of(domain).exact
            if scope != "off":
                self._seen[name] = self._whole if scope == "corpus" else SeenHashes()

    def admit(self, domain: str, path: Path) -> int:
        """Take a block in; the bytes of text that it was read from."""
        tally = self.tallies[domain]
        if tally.full:
            return 0
        block = CleanBlock(path)
        kept = np.zeros(len(block), dtype=np.uint8)
        sizes, lengths = block.sizes, block.lengths
        limit = self._config.corpus.max_bytes
        end = len(block)
        copies = _Copies(self._seen.get(domain), block)
        for at, drop in enumerate(block.drops):
            verdict = EXACT if drop not in (URL, EMPTY) and copies.is_copy(at) else drop
            if verdict is not None:
                tally.dropped.setdefault(verdict, Dropped()).note(int(sizes[at]), block.data(at))
                continue
            if limit is not None and tally.kept_bytes + lengths[at] > limit:
                tally.full, end = True, at
                break
            kept[at] = 1
            tally.kept_bytes += int(lengths[at])
            copies.keep(at)
        copies.end()
        read = int(sizes[:end].sum())
        tally.documents += end
        tally.bytes += read
        tally.skipped.merge(block.skipped, block.samples)
        for kind, edit in block.edits.items():
            tally.edited.setdefault(kind, Edit()).merge(edit)
        self.admitted.append(Admitted(domain, path, kept.tobytes()))
        return read

    def drop_near_duplicates(self, scratch: Path) -> None:
        """Drop near-duplicates among what was admitted, over all domains that use the same settings."""
        groups: dict[NearConfig, list[int]] = {}
        for place, block in enumerate(self.admitted):
            near = self._config.corpus.cleaning_of(self._config.domains[block.domain]).near
            if near is not None and self._config.domains[block.domain].format == "auto":
                groups.setdefault(near, []).append(place)
        for near, places in groups.items():
            self._drop_near(near, places, scratch)

    def _drop_near(self, near: NearConfig, places: list[int], scratch: Path) -> None:
        owners = []
        with open(scratch, "wb") as file:
            for place in places:
                block = self.admitted[place]
                signed = CleanBlock(block.path).signatures
                if signed is not None:
                    file.write(signed[block.chosen].tobytes())
                    owners.append(np.stack([np.full(len(block.chosen), place), block.chosen], axis=1))
        where = np.concatenate([np.zeros((0, 2), dtype=np.int64), *owners])
        if not len(where):
            return
        signed = np.memmap(scratch, dtype=np.uint32, mode="r", shape=(len(where), HASHES))
        original = near_duplicates(signed, near.threshold)
        del signed
        scratch.unlink()
        self._take_out({int(at): where[original[at]] for at in np.flatnonzero(original >= 0)}, where)

    def _take_out(self, copies: Mapping[int, np.ndarray], where: np.ndarray) -> None:
        """Drop documents `where[at]`, each with (block, document) of the one that it repeats."""
        kept: dict[int, np.ndarray] = {}
        blocks: dict[int, CleanBlock] = {}
        for at, (first_place, first) in copies.items():
            place, number = map(int, where[at])
            admitted = self.admitted[place]
            if place not in blocks:
                blocks = {place: CleanBlock(admitted.path)}
            mask = kept.setdefault(place, np.frombuffer(admitted.kept, dtype=np.uint8).copy())
            mask[number] = 0
            tally = self.tallies[admitted.domain].dropped.setdefault(NEAR, Dropped())
            like = None
            if len(tally.samples) < SAMPLES:
                like = CleanBlock(self.admitted[int(first_place)].path).data(int(first))
            tally.note(int(blocks[place].sizes[number]), blocks[place].data(number), like)
        for place, mask in kept.items():
            block = self.admitted[place]
            self.admitted[place] = Admitted(block.domain, block.path, mask.tobytes())
