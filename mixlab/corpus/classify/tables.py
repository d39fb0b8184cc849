"""What `mixlab classify` shows: the inventory by topic, how good the classifier is, and the parts of a domain."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mixlab.corpus.classify.cut import Cut, plain_name
from mixlab.corpus.classify.run import Classification
from mixlab.corpus.classify.shares import TopicShare
from mixlab.corpus.classify.split import Split
from mixlab.corpus.learn.contracts import OTHER
from mixlab.study.edit import entry_line, flow
from mixlab.units import format_quantity

CONFUSIONS = 3
# Narrower terminals get no column of bytes, and no name of a reference that is longer than this.
WIDE = 95
LONG_REFERENCE = 12


def show_classification(console: Console, outcome: Classification, samples: int) -> None:
    """Print what was measured, every domain's topics with samples and caps, and its parts."""
    show_classifier(console, outcome)
    if outcome.built.method != "none":
        for domain, shares in outcome.shares.items():
            reference = outcome.job.reference if len(outcome.job.reference) <= LONG_REFERENCE else "reference"
            console.print(inventory_table(domain, shares, outcome.approximate_tokens, reference, console.width))
            for line in sample_lines(outcome, domain, samples, console.width):
                console.print(line, markup=False, no_wrap=True, overflow="ellipsis")
            show_caps(console, outcome, domain)
    for cut in outcome.cuts.values():
        show_cut(console, cut)
    console.print(f"tags in {outcome.tags_file}", markup=False)


def show_hold_out(console: Console, title: str, found: Mapping[str, Any]) -> None:
    """Accuracy, F1, calibration, and which labels are taken for which."""
    error = found["calibration_error"]
    before = "" if error["before"] is None else f", {error['before']:.3f} before calibration"
    console.print(
        f"{title}: accuracy {found['accuracy']:.3f}, macro-F1 {found['macro_f1']:.3f} on {found['documents']:,} "
        f"documents; expected calibration error {error['after']:.3f}{before}."
    )
    weakest = sorted(found["f1"].items(), key=lambda pair: pair[1])[:CONFUSIONS]
    console.print(f"Weakest by F1: {', '.join(f'{escape(name)} {value:.2f}' for name, value in weakest)}.")
    confused = _confusions(found["confusion"]["labels"], found["confusion"]["counts"])
    if confused:
        console.print(f"Most confused: {'; '.join(map(escape, confused))}.")


def _confusions(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> list[str]:
    pairs = [
        (counts[i][j], labels[i], labels[j], sum(counts[i]))
        for i in range(len(labels))
        for j in range(len(labels))
        if i != j and counts[i][j]
    ]
    pairs.sort(key=lambda pair: -pair[0])
    return [f"{true} taken for {said} ({n} of {total})" for n, true, said, total in pairs[:CONFUSIONS]]


def show_classifier(console: Console, outcome: Classification) -> None:
    """What was measured while the classifier was built."""
    about = outcome.built.about
    if "hold_out" in about:
        show_hold_out(console, "Hold-out", about["hold_out"])
    if "test" in outcome.about:
        show_hold_out(console, "Test", outcome.about["test"])
    if about.get("silhouettes"):
        tried = ", ".join(f"{count}: {value:.3f}" for count, value in about["silhouettes"].items())
        console.print(f"Number of clusters by the highest mean silhouette ({tried}).")
    for topic, words in about.get("unused", {}).items():
        console.print(f"note: seed words of {escape(topic)} that no document has: {', '.join(map(escape, words))}")
    if "quality" in outcome.about:
        best = max(outcome.about["quality"]["cross_validated_macro_f1"].values())
        console.print(f"Quality: good text is told from this text with macro-F1 {best:.3f} (cross-validated).")


def inventory_table(domain: str, shares: Sequence[TopicShare], approximate: bool, reference: str, width: int) -> Table:
    """Documents, text and share of every topic of a domain, and its ratio to the reference; narrow without bytes."""
    table = Table(title=f"{escape(domain)} by topic", title_justify="left")
    table.add_column("topic", overflow="fold")
    wide = width >= WIDE
    amounts = ("bytes",) if wide else ()
    for name in ("docs", *amounts, "~tokens" if approximate else "tokens", "share", f"/ {reference}", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for each in shares:
        if each.documents == 0 and each.reference == 0:
            continue
        ratio = "-" if each.ratio is None or each.topic == OTHER else f"{each.ratio:.2f}"
        mark = "" if each.topic == OTHER else "over" if each.cap is not None else "under" if _under(each) else ""
        table.add_row(
            escape(each.topic),
            f"{each.documents:,}",
            *((format_quantity(each.bytes),) if wide else ()),
            format_quantity(each.tokens),
            f"{100 * each.share:.1f}%",
            ratio,
            mark,
        )
    return table


def _under(each: TopicShare) -> bool:
    return each.ratio is not None and each.ratio < 0.5


def sample_lines(outcome: Classification, domain: str, count: int, width: int) -> list[str]:
    """A line per sample document, topic by topic, cut to the width."""
    lines = []
    for each in outcome.shares[domain]:
        found = outcome.tags.samples.get((domain, each.topic), [])[:count]
        if found:
            lines.append(f"{each.topic}:")
            lines += [f"  - {line}"[:width] for line in found]
    return lines


def show_cut(console: Console, cut: Cut) -> None:
    """The parts of a domain, and what the filters and the smallest share left out."""
    console.print(parts_table(cut))
    for name, count in (cut.dropped or {}).items():
        console.print(f"{name}: {count:,} documents dropped", markup=False)
    if cut.merged:
        console.print(f"too small, merged into other: {', '.join(cut.merged)}", markup=False)


def parts_table(cut: Cut) -> Table:
    """The sub-domains of a domain."""
    table = Table(title=f"parts of {escape(cut.domain)}", title_justify="left")
    table.add_column("part", overflow="fold")
    for name in ("docs", "bytes", "tokens", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in cut.names:
        amounts = (format_quantity(cut.bytes[name]), format_quantity(cut.tokens[name]))
        table.add_row(escape(name), f"{cut.documents[name]:,}", *amounts, f"{100 * cut.shares[name]:.1f}%")
    return table


def show_caps(console: Console, outcome: Classification, domain: str) -> None:
    """Lines of study.yaml that cap the over-represented topics of a domain once it is split by topic.

    A cap is a share of the tokens of all domains where all were classified, else of the domain's.
    """
    capped = [(each.topic, each.cap) for each in outcome.shares[domain] if each.cap is not None]
    if not capped:
        return
    job, study = outcome.job, outcome.job.study
    tokens = {name: sum(share.tokens for share in shares) for name, shares in outcome.shares.items()}
    complete = study is not None and set(tokens) == set(study.config.domains)
    scale = tokens[domain] / max(sum(tokens.values()), 1) if complete else 1.0
    whose = "of all tokens" if complete else f"of the tokens of {domain}"
    console.print(
        f"Over-represented topics have more than {job.over:g} times their reference share. Once {domain} is split by "
        f"topic, these lines of study.yaml cap them, as shares {whose} (topics.json has evened-out weights of all "
        "topics):",
        markup=False,
    )
    caps = [f"    {flow(f'{domain}-{plain_name(topic)}')}: {round(scale * cap, 4):g}" for topic, cap in capped]
    for line in ("mixtures:", "  max:", *caps):
        console.print(f"  {line}", markup=False, soft_wrap=True)


def split_lines(split: Split) -> list[str]:
    """The change to study.yaml as a unified diff; of files the entries that a study would have."""
    if split.rewrite is None or split.outcome.job.study is None:
        return [entry_line(name, entry) for name, entry in split.entries.items()]
    path = str(split.outcome.job.study.config_file)
    before, after = split.rewrite.before.splitlines(), split.rewrite.after.splitlines()
    return list(difflib.unified_diff(before, after, path, path, n=1, lineterm=""))
