"""The parts of a classification as domains of the study: their files, and study.yaml with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixlab.corpus.classify.cut import Cut
from mixlab.corpus.classify.job import CutSpec
from mixlab.corpus.classify.parts import check_new_names, part_paths, write_parts
from mixlab.corpus.classify.run import Classification
from mixlab.errors import ConfigError, argument
from mixlab.files import write_atomic
from mixlab.study.edit import Rewrite, replace_domain
from mixlab.study.folder import StudyFolder
from mixlab.study.yaml import load_yaml


@dataclass(frozen=True, eq=False)
class Split:
    """What a split would write; nothing is written before `write`.

    Attributes:
        outcome: the classification.
        entries: by part, its entry under `domains` of a study.yaml.
        rewrite: of the study's study.yaml (None: files were classified, which are no study's).
    """

    outcome: Classification
    entries: Mapping[str, Mapping[str, Any]]
    rewrite: Rewrite | None

    def write(self) -> list[Path]:
        """Write a file per part, and study.yaml last: until then the study is as it was.

        Raises:
            CorpusError: when the text changed since it was classified.
            WriteError: when the disk is full or the folder cannot be written.
        """
        job = self.outcome.job
        root = job.study.root if job.study else job.folder
        files: list[Path] = []
        for source in job.sources:
            if source.name in self.outcome.cuts:
                files += write_parts(self.outcome.cuts[source.name], source, self.outcome.tags, root)
        if job.study is not None and self.rewrite is not None:
            write_atomic(job.study.config_file, self.rewrite.after.encode())
        return files


def require_cut(spec: CutSpec) -> None:
    """Ask for something to split by, before a classification that takes hours.

    Raises:
        ConfigError: when there is neither a signal or topic to cut by, nor a filter.
    """
    if not spec.asked:
        raise ConfigError(
            "there is nothing to split by",
            f"give {argument('by')} `topic` or a signal, or a filter such as {argument('keep')} 'length >= 200'",
        )


def plan_split(outcome: Classification) -> Split:
    """The split of a classification.

    Raises:
        ConfigError: when nothing is cut, a part has the name of another domain, or study.yaml bounds a domain that
            would be gone.
    """
    require_cut(outcome.job.cut)
    if outcome.job.study is None:
        entries = {name: {"paths": path} for cut in outcome.cuts.values() for name, path in part_paths(cut).items()}
        return Split(outcome, entries, None)
    return _plan_study(outcome, outcome.job.study)


def _plan_study(outcome: Classification, study: StudyFolder) -> Split:
    before = study.config_file.read_bytes().decode()
    text, notes = before, tuple[str, ...]()
    entries: dict[str, Mapping[str, Any]] = {}
    stated = load_yaml(study.config_file).data["domains"]
    for name, cut in outcome.cuts.items():
        check_new_names(cut, list(study.config.domains))
        parts = {part: _entry(path, stated[name]) for part, path in part_paths(cut).items()}
        rewrite = replace_domain(study.config_file, text, name, parts, cut.shares, _how(outcome, cut))
        text, notes = rewrite.after, (*notes, *rewrite.notes)
        entries |= parts
    return Split(outcome, entries, Rewrite(before, text, notes))


def _how(outcome: Classification, cut: Cut) -> str:
    """What a domain was cut or filtered by."""
    by = outcome.job.cut.by
    return f"by {by or ', '.join(cut.dropped or {})}"


def _entry(path: str, before: Any) -> dict[str, Any]:
    """The entry of a part: its file, and what the domain's entry said of groups and cleaning."""
    old = before if isinstance(before, dict) else {}
    return {"paths": path} | {key: old[key] for key in ("group_field", "cleaning") if key in old}
