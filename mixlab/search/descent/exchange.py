"""Which domains have weight, where not all may: left out one by one from the best mixture of all, then exchanged.

The best mixture of few domains is hard to find for certain. Backward elimination comes near it, and what is then better
by no exchange of one domain for another is a local optimum among the choices (as in variable selection: Miller 2002,
chapter 3). Both look at many moves by their values, and follow the best of them down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mixlab.arrays import Array
from mixlab.supports import Faces, Mask

Values = Callable[[Array], Array]  # mixtures (M, K) -> (M,)
Descend = Callable[[Mask, Array], Array]  # a support and a mixture in it -> a better one in it, (K,)

GAINS = 1e-7  # nats: an exchange that gains less is none
FOLLOWED = 12  # exchanges that are followed down before a mixture is taken for the best
MOST_EXCHANGES = 40
NOBODY = -1  # leaves where a domain is added
SHARES = (0.02, 0.1, 0.3)  # weights that a domain gets on its way in, beside that of the domain it replaces


def eliminate(faces: Faces, start: Array, values: Values, descend: Descend) -> tuple[Mask, Array]:
    """A support that the limit allows and a mixture in it, from a mixture of more domains.

    Domains leave one at a time: the one whose weight, shared out among the others, costs least.
    """
    h, kept = start, (start > 0) | faces.needed
    while kept.sum() > faces.most:
        leaving = np.flatnonzero(kept & ~faces.needed)
        supports = np.repeat(kept[None], len(leaving), axis=0)
        supports[np.arange(len(leaving)), leaving] = False
        points = faces.inside(_shared_out(h, leaving), supports)
        for place in _ranked(values, points, faces.rank[leaving]):
            if faces.holds(supports[place]):
                break
        else:  # none holds a mixture but by rounding
            h = faces.project(start)
            return h > 0, h
        kept = supports[place]
        h = descend(kept, points[place])
    return kept, h


def exchange(faces: Faces, support: Mask, h: Array, values: Values, descend: Descend) -> tuple[Mask, Array]:
    """The same until no domain can be exchanged for another, or added where there is room, to any gain."""
    best = float(values(h[None])[0])
    for _ in range(MOST_EXCHANGES):
        supports, points, ranks = _moves(faces, support, h)
        for place in _first_of_each(_ranked(values, points, ranks), supports)[:FOLLOWED]:
            there = descend(supports[place], points[place])
            value = float(values(there[None])[0])
            if value < best - GAINS:
                support, h, best = supports[place], there, value
                break
        else:
            break
    return support, h


def _moves(faces: Faces, support: Mask, h: Array) -> tuple[Mask, Array, NDArray[np.int64]]:
    """Supports with one domain exchanged or added, mixtures on the way there, and what ranks equals among them."""
    K = len(h)
    eye = np.eye(K)
    entering = np.flatnonzero(~support & (faces.upper > 0)).tolist()
    leaving = np.flatnonzero(support & ~faces.needed).tolist()
    pairs = [(out, into) for out in leaving for into in entering]
    if support.sum() < faces.most:
        pairs += [(NOBODY, into) for into in entering]
    supports, points, ranks = [], [], []
    for out, into in pairs:
        there, rest, own, rank = support.copy(), h.copy(), 0.0, 0
        there[into] = True
        if out != NOBODY:
            there[out] = False
            own, rest[out], rank = float(h[out]), 0.0, int(faces.rank[out]) + 1
        left = float(rest.sum())
        shares = [share for share in (own, *SHARES) if share > 0] if left > 0 else [1.0]
        rest = rest / left if left > 0 else rest
        for share in shares:
            points.append((1 - share) * rest + share * eye[into])
            supports.append(there)
            ranks.append(int(faces.rank[into]) * (K + 1) + rank)
    masks = np.array(supports, dtype=bool).reshape(-1, K)
    return masks, faces.inside(np.array(points).reshape(-1, K), masks), np.array(ranks)


def _shared_out(h: Array, leaving: NDArray[np.int64]) -> Array:
    """`h` without each of the domains, the others scaled up, shape (m, K)."""
    points = np.repeat(h[None], len(leaving), axis=0)
    points[np.arange(len(leaving)), leaving] = 0.0
    totals = points.sum(axis=1, keepdims=True)
    return np.where(totals > 0, points / np.where(totals > 0, totals, 1.0), 1 / len(h))


def _ranked(values: Values, points: Array, ranks: NDArray[np.int64]) -> list[int]:
    """Indices of the points that are mixtures, the best first; equals by `ranks`."""
    known = np.flatnonzero(~np.isnan(points[:, 0])) if len(points) else np.array([], dtype=int)
    if not len(known):
        return []
    found = values(points[known])
    return [int(index) for index in known[np.lexsort((ranks[known], found))]]


def _first_of_each(order: Sequence[int], supports: Mask) -> list[int]:
    """Of indices in their order, the first of each support."""
    seen: dict[bytes, int] = {}
    for index in order:
        seen.setdefault(supports[index].tobytes(), index)
    return list(seen.values())
