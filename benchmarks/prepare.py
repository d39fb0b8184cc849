"""Cleaning real text: `mixlab prepare` beside a plain Python loop that takes the same steps.

    python benchmarks/prepare.py CORPORA [--benchmarks FOLDER] [--sample 20M]

CORPORA is a folder of <domain>.jsonl.gz. First the whole of it is prepared with every step on that needs no addresses,
in one process (the rate per core) and in one per core (the peak memory, workers included), without and with
near-duplicates. Then both ways of cleaning do the same sample, an equal share of every domain, in one process each.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mixlab.corpus.clean.near import HASHES
from mixlab.units import format_quantity, parse_quantity

CODE = """
import json, resource, sys, time
from mixlab.corpus.prepare.run import prepare_corpus
from mixlab.study.folder import StudyFolder
if __name__ == "__main__":
    start = time.perf_counter()
    prepared = prepare_corpus(StudyFolder.open(sys.argv[1]), force=True, workers=int(sys.argv[2]))
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    shards = prepared.inventory.shards.values()
    print(json.dumps({"wall": time.perf_counter() - start, "cpu": sum(u.ru_utime + u.ru_stime for u in spent),
        "bytes": sum(facts.read_bytes for facts in shards), "kept": sum(facts.documents for facts in shards),
        "print": prepared.inventory.fingerprint}))
"""
WORDS = ["casino", "viagra", "porn", "click here to subscribe"]


def write_study(folder: Path, files: dict[str, Path], benchmarks: Path | None, near: bool) -> None:
    """A study with every step on; quality rules only where running prose is expected."""
    cleaning = {"preset": "standard", "words": {"paths": ["words.txt"]}}
    if benchmarks is not None:
        cleaning["benchmarks"] = {"paths": [f"{benchmarks.resolve()}/*.jsonl.gz"]}
    if not near:
        cleaning["near"] = "off"
    # The rules would drop nearly all of code, and a domain must not be empty; they are applied, with room for it.
    code = {"quality": {"preset": "standard", "curly_brace": False, "min_alphabetic_words": 0, "min_terminal_lines": 0}}
    code["quality"] |= {"min_sentences": 0, "min_words": 5, "max_hash_ratio": 1, "min_mean_word_length": 1}
    domains = {
        name: {"paths": str(path.resolve()), **({"cleaning": code} if name == "code" else {})}
        for name, path in files.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "words.txt").write_text("\n".join(WORDS))
    (folder / "study.yaml").write_text(
        json.dumps({"name": "bench", "domains": domains, "corpus": {"validation_fraction": 0.3, "cleaning": cleaning}})
    )


def run(folder: Path, workers: int) -> dict[str, float]:
    """Prepare in a process of its own; seconds, bytes, and the peak of the memory of it and its workers."""
    child = subprocess.Popen([sys.executable, "-c", CODE, str(folder), str(workers)], stdout=subprocess.PIPE)
    peak = 0
    while child.poll() is None:
        peak = max(peak, sum(map(_resident, _tree(child.pid))))
        time.sleep(0.05)
    assert child.stdout is not None
    result: dict[str, float] = json.loads(child.stdout.read())
    return {**result, "peak": peak}


def _tree(root: int) -> Iterator[int]:
    yield root
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def write_sample(files: dict[str, Path], size: float, folder: Path) -> dict[str, Path]:
    """The first documents of every domain, an equal share of bytes each."""
    sample = {}
    for name, path in files.items():
        left = size / len(files)
        sample[name] = folder / f"{name}.jsonl"
        with gzip.open(path, "rt", encoding="utf-8") as source, open(sample[name], "w", encoding="utf-8") as target:
            for line in source:
                if left <= 0:
                    break
                left -= len(json.loads(line)["text"].encode())
                target.write(line)
    return sample


EMAIL = re.compile(r"[\w.%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
IP = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}\b")
PHONE = re.compile(r"\+\d{1,3}(?:[ .-]?\d{2,4}){2,5}|(?:\(\d{3}\) ?|\b\d{3}[.-])\d{3}[.-]\d{4}\b")
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060\ufeff]")
TERM = re.compile(r"\w+")
STOP = {"the", "be", "to", "of", "and", "that", "have", "with"}


def plain_loop(files: dict[str, Path], benchmarks: Path | None, near: bool) -> tuple[int, int]:
    """(bytes read, documents kept) of the steps as one would write them down."""
    import py3langid
    from datasketch import MinHash, MinHashLSH

    grams = set()
    for path in sorted(benchmarks.glob("*.jsonl.gz")) if benchmarks else ():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                item = json.loads(line)
                for choice in item["choices"]:
                    terms = TERM.findall(f"{item['question']} {choice}".lower())
                    grams |= {tuple(terms[i : i + 13]) for i in range(len(terms) - 12)}
    seen, lsh, read, kept = set(), MinHashLSH(threshold=0.4, num_perm=HASHES), 0, 0
    for path in files.values():
        texts = []
        with open(path, encoding="utf-8") as file:
            for line in file:
                text = json.loads(line)["text"]
                read += len(text.encode())
                text = CONTROLS.sub("", unicodedata.normalize("NFC", text))
                key = hashlib.sha256(text.encode()).digest()
                if key not in seen:
                    seen.add(key)
                    texts.append(text)
        lines = Counter(line.strip().lower() for text in texts for line in set(text.split("\n")))
        for text in texts:
            text = "\n".join(line for line in text.split("\n") if lines[line.strip().lower()] <= 50 or len(line) < 12)
            language = py3langid.classify(text[:500])[0]
            terms = TERM.findall(text.lower())
            if not passes(text, terms, language):
                continue
            if any(tuple(terms[i : i + 13]) in grams for i in range(len(terms) - 12)):
                continue
            text = PHONE.sub("<phone>", IP.sub("<ip>", EMAIL.sub("<email>", text)))
            if near:
                sketch = MinHash(num_perm=HASHES)
                sketch.update_batch([" ".join(terms[i : i + 3]).encode() for i in range(max(len(terms) - 2, 1))])
                if lsh.query(sketch):
                    continue
                lsh.insert(kept, sketch)
            kept += 1
    return read, kept


def passes(text: str, terms: list[str], language: str) -> bool:
    """The quality rules, with no eye to speed."""
    words, lower = text.split(), text.lower()
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    count = max(len(words), 1)
    rules = [
        50 <= len(words) <= 100_000,
        3 <= sum(map(len, words)) / count <= 10,
        text.count("#") / count <= 0.1 and (text.count("...") + text.count("…")) / count <= 0.1,
        sum(any(map(str.isalpha, word)) for word in words) / count >= 0.8,
        language != "en" or len(STOP & set(terms)) >= 2,
        sum(line[0] in "•‣▪◦●*-–" for line in lines) <= 0.9 * len(lines),
        sum(line.endswith(("...", "…")) for line in lines) <= 0.3 * len(lines),
        sum(line.rstrip("\"'”’»)").endswith((".", "!", "?", "。", "…")) for line in lines) >= 0.12 * len(lines),
        sum(word.rstrip("\"'”’»)").endswith((".", "!", "?", "。", "…")) for word in words) >= 3,
        not any(mark in lower for mark in ("lorem ipsum", "{", "javascript")),
        1 - len(set(lines)) / max(len(lines), 1) <= 0.3 and 1 - len(set(paragraphs)) / max(len(paragraphs), 1) <= 0.3,
        sum(word in WORDS for word in terms) <= 0.01 * len(terms),
    ]
    total = max(sum(map(len, terms)), 1)
    for length, most in ((2, 0.2), (3, 0.18), (4, 0.16)):
        grams = Counter(tuple(terms[i : i + length]) for i in range(len(terms) - length + 1))
        if grams:
            gram, times = grams.most_common(1)[0]
            rules.append(times == 1 or times * sum(map(len, gram)) / total <= most)
    for length, most in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)):
        found, covered = set(), set()
        for i in range(len(terms) - length + 1):
            gram = tuple(terms[i : i + length])
            if gram in found:
                covered.update(range(i, i + length))
            found.add(gram)
        rules.append(sum(len(terms[i]) for i in covered) / total <= most)
    return all(rules)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--benchmarks", type=Path)
    parser.add_argument("--sample", type=parse_quantity, default=2e7, help="bytes for the plain loop")
    given = parser.parse_args()
    files = {
        path.name.removesuffix(".jsonl.gz"): path
        for path in sorted(given.corpora.glob("*.jsonl.gz"))
        if not path.name.startswith("labelled_")
    }
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        for near in (False, True):
            title = "with near-duplicates" if near else "without near-duplicates"
            folder = Path(scratch, f"study-{near}")
            write_study(folder, files, given.benchmarks, near)
            for workers in sorted({1, cores}):
                found = run(folder, workers)
                print(
                    f"{title}, {workers} worker(s): {format_quantity(found['bytes'])}B in {found['wall']:.1f} s, "
                    f"{found['bytes'] / found['wall'] / 1e6:.1f} MB/s, "
                    f"{found['bytes'] / found['cpu'] / 1e6:.1f} MB per second of a core, "
                    f"peak {found['peak'] / 1e6:.0f} MB, corpus {found['print']}",
                    flush=True,
                )
        sample = write_sample(files, given.sample, Path(scratch))
        for near in (False, True):
            folder = Path(scratch, f"sample-{near}")
            write_study(folder, sample, given.benchmarks, near)
            ours = run(folder, 1)
            start = time.process_time()
            read, kept = plain_loop(sample, given.benchmarks, near)
            plain = time.process_time() - start
            print(
                f"sample of {format_quantity(read)}B {'with' if near else 'without'} near-duplicates: "
                f"plain loop {read / plain / 1e6:.2f} MB/s ({kept:,} kept), "
                f"mixlab {ours['bytes'] / ours['cpu'] / 1e6:.2f} MB/s ({ours['kept']:,} kept), "
                f"start of the process included: {plain / ours['cpu']:.1f} times as fast"
            )


if __name__ == "__main__":
    main()
