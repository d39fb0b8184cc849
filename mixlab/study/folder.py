"""The study folder: where each thing of a study lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

from mixlab.errors import ConfigError, require_kind
from mixlab.study.config import StudyConfig, load_config


@dataclass(frozen=True)
class StudyFolder:
    """Paths of one study; nothing is created until something is written."""

    root: Path

    @classmethod
    def open(cls, root: str | Path) -> StudyFolder:
        """The folder of an existing study.

        Raises:
            ConfigError: when there is no study.yaml in it.
        """
        require_kind("a study", root, (str, PathLike), "its folder")
        folder = cls(Path(root))
        if not folder.config_file.is_file():
            raise ConfigError(
                f"{root} is not a study folder: it has no study.yaml", "`mixlab init DIR` or mixlab.new_study makes one"
            )
        return folder

    @property
    def config_file(self) -> Path:
        return self.root / "study.yaml"

    @cached_property
    def config(self) -> StudyConfig:
        return load_config(self.config_file)

    @property
    def corpus(self) -> Path:
        return self.root / "corpus"

    @property
    def corpus_building(self) -> Path:
        """Where a corpus is built, until it takes the place of `corpus`."""
        return self.root / ".corpus.building"

    @property
    def corpus_old(self) -> Path:
        """Where the old corpus lies while the new one takes its place."""
        return self.root / ".corpus.old"

    @property
    def prepare_lock(self) -> Path:
        return self.root / ".prepare.lock"

    @property
    def classification(self) -> Path:
        """What `mixlab classify` and `mixlab score` write: tags, topics, models and scores."""
        return self.root / "classify"

    @property
    def parts(self) -> Path:
        """The text of domains that `mixlab classify --split` cut into parts."""
        return self.root / "split"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger"

    def round_file(self, number: int) -> Path:
        """The mixtures that a later round of the sweep was decided to have."""
        return self.ledger / "rounds" / f"{number}.json"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def optuna(self) -> Path:
        return self.root / "optuna.db"

    @property
    def runs(self) -> Path:
        return self.root / "runs.parquet"

    @property
    def fit(self) -> Path:
        return self.root / "fit.json"

    @property
    def recommendation(self) -> Path:
        return self.root / "recommendation.json"

    @property
    def verification(self) -> Path:
        return self.root / "verification.json"

    @property
    def verification_ledger(self) -> Path:
        return self.root / "verification"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def outputs(self) -> frozenset[str]:
        """Names of the folders that commands write to; no domain's text is looked for in them."""
        folders = (self.corpus, self.ledger, self.checkpoints, self.classification, self.parts)
        return frozenset({*(folder.name for folder in folders), "verification", "wandb"})
