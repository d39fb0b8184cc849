"""Tables as nobody should make them: an answer with an honest interval, or a refusal that says what to run next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixlab.api.fit import fit
from mixlab.api.recommend import recommend
from mixlab.errors import FitError
from mixlab.search.recommendation import Recommendation

WORTH = np.array([0.3, 0.6, 1.0])


def loss(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    noise = np.exp(0.003 * np.random.default_rng(1).standard_normal(np.shape(n)))
    return (1.7 + 400 * n**-0.34 + 1000 * d**-0.32) * noise


def sized(n: np.ndarray, d: np.ndarray) -> pd.DataFrame:
    n, d = (np.asarray(grid, dtype=float).ravel() for grid in (n, d))
    return pd.DataFrame({"params": n, "tokens": d, "loss": loss(n, d)})


def mixed(mixtures: np.ndarray) -> pd.DataFrame:
    index, n, d = (g.ravel() for g in np.meshgrid(range(len(mixtures)), [1e6, 3e6, 1e7], [1e8, 4e8, 1.6e9]))
    h = mixtures[index]
    frame = pd.DataFrame({"params": n, "tokens": d, "loss": loss(n, d * (h @ WORTH))})
    return frame.assign(**{f"mix.{name}": h[:, k] for k, name in enumerate("abc")})


def answer(frame: pd.DataFrame, folder: Path, flops: float = 1e18, law: str = "auto") -> Recommendation:
    frame.to_csv(folder / "odd.csv", index=False)
    return recommend(fit(folder / "odd.csv", law=law, bootstrap=0), flops)


GRID = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
DIRICHLET = np.random.default_rng(0).dirichlet(np.ones(3), 14)
PATH = np.geomspace(1e7, 1e10, 12)
REFUSED = {
    "a loss that never changes": (sized(*GRID).assign(loss=2.5), "is 2.5 in all 25 rows", "check the column"),
    "a loss that rises": (
        sized(*GRID).assign(loss=lambda t: 5 - t["loss"]),
        "does not behave like a loss",
        "an accuracy",
    ),
    "tokens in proportion to size": (sized(PATH, 20 * PATH), "do not vary model size and tokens apart", "run several"),
    "one token count": (sized(PATH, np.full(12, 1e10)), "do not vary model size and tokens apart", "run several"),
    "two token counts": (sized(*np.meshgrid(PATH, [1e9, 1e10])), "at least 3 different token counts", "train runs"),
    "a domain that never varies": (
        mixed(np.column_stack([DIRICHLET[:, :1], 0.8 - 0.8 * DIRICHLET[:, :1], 0.2 - 0.2 * DIRICHLET[:, :1]])),
        "vary in 1",
        "add mixtures",
    ),
    "a domain that is never used": (
        mixed(np.column_stack([DIRICHLET[:, 0], 1 - DIRICHLET[:, 0], np.zeros(14)])),
        "vary in 1",
        "the weight of c never varies",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_runs_cannot_say_is_refused(name: str, tmp_path: Path) -> None:
    frame, message, hint = REFUSED[name]
    with pytest.raises(FitError, match=message) as refusal:
        answer(frame, tmp_path)
    assert refusal.value.exit_code == 4
    assert hint in str(refusal.value.hint)


def test_tokens_over_seven_orders_and_three_sizes_are_carried(tmp_path: Path) -> None:
    for n, d in ((np.geomspace(1e6, 1e11, 6), np.geomspace(1e6, 1e13, 8)), ([1e7, 3e7, 1e8], [1e9, 3e9, 1e10, 3e10])):
        found = answer(sized(*np.meshgrid(n, d)), tmp_path)
        truth = loss(np.array([found.params]), np.array([found.tokens]))[0]
        assert found.loss["low"] < truth < found.loss["high"]


def test_a_loss_in_bits_gives_the_same_answer(tmp_path: Path) -> None:
    frame = mixed(DIRICHLET)
    nats = answer(frame, tmp_path, law="effective-data+gp")
    bits = answer(frame.assign(loss=frame["loss"] / np.log(2)), tmp_path, law="effective-data+gp")
    assert bits.params == pytest.approx(nats.params, rel=0.01)
    assert bits.loss["low"] * np.log(2) == pytest.approx(nats.loss["low"], rel=1e-3)


def test_a_run_that_went_wrong_is_named_and_hardly_matters(tmp_path: Path) -> None:
    frame = mixed(DIRICHLET)
    clean = answer(frame, tmp_path, law="effective-data+gp")
    frame.loc[10, "loss"] = 50.0
    found = answer(frame, tmp_path, law="effective-data+gp")
    assert any("1 row lies far from the fit of loss (one is 50 where" in warning for warning in found.warnings)
    assert found.loss["mean"] == pytest.approx(clean.loss["mean"], rel=0.03)
    assert not any("far from the fit" in warning for warning in clean.warnings)


def test_one_domain_is_no_corner(tmp_path: Path) -> None:
    found = answer(sized(*GRID).assign(**{"mix.web": 1.0}), tmp_path)
    assert found.mixture == {"web": 1.0}
    assert not any("corner" in warning or "uniform" in warning for warning in found.warnings)
