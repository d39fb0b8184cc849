"""Quality by example: how much a document resembles a reference of good text rather than the domain it is in.

The classifier of GPT-3's filter (Brown et al. 2020, appendix A) and of its successors: good against this, on equal
numbers of both, so that a score of .5 means that nothing speaks for either side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixlab.corpus.learn.linear import LinearModel, train_linear
from mixlab.errors import CorpusError, argument

QUALITY = "quality"
GOOD, THIS = "good", "this"
FEWEST_DOCUMENTS = 20
MOST = 5_000
# Windows of one length from both sides: else the classifier would learn how long a document is.
WINDOW_CHARACTERS = 2_000


def train_quality(good: Sequence[str], this: Sequence[str], seed: int) -> tuple[LinearModel, dict[str, float]]:
    """A classifier of good text against a sample of the domain, and its cross-validated macro-F1 by feature blocks.

    Raises:
        CorpusError: when either side has fewer than `FEWEST_DOCUMENTS` documents.
    """
    count = min(len(good), len(this), MOST)
    if count < FEWEST_DOCUMENTS:
        raise CorpusError(
            f"the signal `quality` needs at least {FEWEST_DOCUMENTS} good documents and {FEWEST_DOCUMENTS} to "
            f"classify, but there are {len(good)} and {len(this)}",
            f"give more text by {argument('good')}" if len(good) < FEWEST_DOCUMENTS else "give more text to classify",
        )
    rng = np.random.default_rng(seed)
    sides = [
        [texts[i][:WINDOW_CHARACTERS] for i in np.sort(rng.permutation(len(texts))[:count])] for texts in (good, this)
    ]
    labels = [GOOD] * count + [THIS] * count
    model, chosen = train_linear(
        [*sides[0], *sides[1]], labels, [str(i) for i in range(2 * count)], seed, (("words",), ("content",))
    )
    return model, chosen.macro_f1


def quality_scores(model: LinearModel, texts: Sequence[str]) -> NDArray[np.float32]:
    """Probability of being good text, by the first `WINDOW_CHARACTERS` characters, shape (n,)."""
    column = model.labels.index(GOOD)
    scores: NDArray[np.float32] = model.probabilities([text[:WINDOW_CHARACTERS] for text in texts])[:, column].astype(
        np.float32
    )
    return scores
