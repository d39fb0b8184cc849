"""What a prepare says: the domains of the corpus, what every rule dropped or changed, and samples of it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from mixlab.corpus.inventory import Inventory
from mixlab.corpus.prepare.tally import Cleaning
from mixlab.units import format_quantity


def corpus_tables(inventory: Inventory, cleaning: Cleaning, max_epochs: float) -> Iterator[Table]:
    """The tables that have something to say."""
    yield domain_table(inventory, max_epochs)
    for found in (_rule_table(cleaning), _edit_table(cleaning), _language_table(inventory), _skipped_table(cleaning)):
        if found.row_count:
            yield found


def domain_table(inventory: Inventory, max_epochs: float) -> Table:
    """A row a domain: what is in the corpus, and how much was dropped."""
    columns = ("documents", "bytes", "train tokens", "validation tokens", "copies dropped", "other drops")
    table = _table(
        f"corpus {inventory.fingerprint}, vocabulary {inventory.vocab_size}",
        ("domain", *columns, f"{max_epochs:g} epochs"),
    )
    for name, facts in inventory.shards.items():
        table.add_row(
            escape(name),
            f"{facts.documents:,}",
            f"{facts.train_bytes + facts.validation_bytes:,}",
            f"{facts.train_tokens:,}",
            f"{facts.validation_tokens:,}",
            f"{facts.duplicates:,}",
            f"{sum(facts.dropped.values()) - facts.duplicates:,}",
            format_quantity(facts.train_tokens * max_epochs),
        )
    return table


def _rule_table(cleaning: Cleaning) -> Table:
    table = _table("dropped, by rule", ("rule", "documents", "bytes", "mostly in"))
    rules: dict[str, list[tuple[int, int, str]]] = {}
    for name, domain in cleaning.items():
        for rule, part in domain["dropped"].items():
            rules.setdefault(rule, []).append((part["documents"], part["bytes"], name))
    for rule, parts in sorted(rules.items(), key=lambda item: -sum(part[1] for part in item[1])):
        most = ", ".join(f"{name} {count:,}" for count, _, name in sorted(parts, reverse=True)[:3])
        documents, size = sum(part[0] for part in parts), sum(part[1] for part in parts)
        table.add_row(escape(rule), f"{documents:,}", f"{size:,}", escape(most))
    return table


def _edit_table(cleaning: Cleaning) -> Table:
    table = _table("changed, by kind", ("domain", "kind", "documents", "changes"))
    for name, domain in cleaning.items():
        for kind, part in domain["edited"].items():
            table.add_row(escape(name), kind, f"{part['documents']:,}", f"{part['count']:,}")
    return table


def _language_table(inventory: Inventory) -> Table:
    table = _table("languages, by bytes", ("domain", "shares"))
    for name, facts in inventory.shards.items():
        total = sum(amount["bytes"] for amount in facts.languages.values())
        largest = sorted(facts.languages.items(), key=lambda item: -item[1]["bytes"])[:6]
        if total:
            table.add_row(escape(name), ", ".join(f"{code} {each['bytes'] / total:.1%}" for code, each in largest))
    return table


def _skipped_table(cleaning: Cleaning) -> Table:
    table = _table("skipped rows, by fault", ("domain", "fault", "rows"))
    for name, domain in cleaning.items():
        for reason, count in domain["skipped"]["rows"].items():
            table.add_row(escape(name), escape(reason), f"{count:,}")
    return table


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        words = number == 0 or column in ("mostly in", "shares", "kind", "fault")
        table.add_column(column, overflow="fold", justify="left" if words else "right")
    return table


def sample_lines(cleaning: Cleaning) -> Iterator[str]:
    """The samples as plain lines, each under its domain and rule."""
    for name, domain in cleaning.items():
        for rule, part in domain["dropped"].items():
            if part["samples"]:
                yield f"{name}: dropped by {rule}"
            for sample in part["samples"]:
                yield f"    {_one_line(sample['text'])}"
                if "like" in sample:
                    yield f"      repeats: {_one_line(sample['like'])}"
        for kind, part in domain["edited"].items():
            if part["samples"]:
                yield f"{name}: changed, {kind}"
            yield from (f"    {_one_line(sample)}" for sample in part["samples"])
        for sample in domain["skipped"]["samples"]:
            yield f"{name}: skipped {_one_line(sample)}"


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:200]
