"""Cleaning: what is planted is found by the rule that is there for it, and clean text goes through unchanged."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from mixlab.commands.prepare import prepare
from mixlab.corpus.clean.cleaned import Cleaned
from mixlab.corpus.clean.cleaner import STEPS_ON_ARRAYS, STEPS_ON_TEXT, Cleaner
from mixlab.corpus.clean.pii import mask, may_hold
from mixlab.corpus.clean.quality import broken_rules
from mixlab.corpus.clean.step import Step, StepSettings
from mixlab.corpus.clean.words import TextArrays
from mixlab.errors import ConfigError, CorpusError
from mixlab.study.cleaning import STANDARD_QUALITY, CleaningConfig, QualityConfig
from mixlab.study.config import load_config

STEMS = ["river", "stone", "garden", "letter", "winter", "window", "market", "doctor", "island", "engine", "forest"]
VERBS = ["follows", "answers", "carries", "opens", "finds", "keeps", "leaves", "reaches", "builds", "watches"]
FRAMES = [
    "The {0} {v} that {1} of {2}.",
    "To {0} and {1} with {2}, nobody {v} more.",
    "When {0} {v}, be sure the {1} have {2}.",
    "Of all {0}, the {1} {v} and {2} remain.",
    "With that {0} {v} to {1}; some {2} agree.",
]


def prose(seed: int, sentences: int = 15) -> str:
    """Sentences that no rule objects to, all different."""
    random_ = random.Random(seed)

    def sentence(number: int) -> str:
        words = [f"{random_.choice(STEMS)}{random_.choice('abcdefgh')}{random_.randrange(10)}" for _ in range(3)]
        return FRAMES[number % len(FRAMES)].format(*words, v=random_.choice(VERBS))

    made = [sentence(number) for number in range(sentences)]
    return "\n".join(" ".join(made[at : at + 3]) for at in range(0, sentences, 3))


CLEAN = prose(1)
BROKEN = {
    "min_words": "The house of the king is to be with that and have. Two. Three.",
    "max_words": " ".join(f"the w{n} of" for n in range(34_000)) + " have. be. to.",
    "min_mean_word_length": " ".join(f"a b {chr(97 + n % 26)}{n % 7} to be." for n in range(60)),
    "max_mean_word_length": CLEAN + " " + "Donaudampfschifffahrtsgesellschaftskapitaenswitwe" * 30,
    "max_hash_ratio": CLEAN.replace("The", "# The #").replace(".", " #.").replace(" and", " # and #"),
    "max_ellipsis_ratio": CLEAN.replace(" and", " ... and ...").replace("The", "The ...").replace(" be", " be ..."),
    "max_bullet_lines": "\n".join(f"- {line}" for line in CLEAN.split("\n")),
    "max_ellipsis_lines": CLEAN.replace(".\n", "...\n"),
    "min_alphabetic_words": CLEAN + " " + " ".join(f"{n * 7919}" for n in range(100)),
    "min_stop_words": re.sub(r"\b(the|be|to|of|and|that|have|with)\b", "zu", CLEAN, flags=re.IGNORECASE),
    "max_duplicate_lines": CLEAN + "\nRead more." * 4,
    "max_duplicate_paragraphs": CLEAN + "\n\nRead on.\n\nRead on.\n\nRead on.",
    "max_duplicate_line_characters": CLEAN + "\n" + CLEAN.split("\n")[0] + "\n" + CLEAN.split("\n")[0],
    "top_ngrams_2": CLEAN + " " + " ".join(f"good morning n{n}." for n in range(80)),
    "duplicate_ngrams_5": CLEAN + " " + " ".join(f"we go to the old house x{n}." for n in range(9)),
    "min_terminal_lines": CLEAN.replace(".", ". and\n").replace("\n\n", "\n"),
    "min_sentences": CLEAN.replace(".", ","),
    "lorem_ipsum": CLEAN + " Lorem ipsum dolor sit amet.",
    "curly_brace": CLEAN + " { }",
    "javascript": CLEAN + " Please enable JavaScript.",
}


def rules_of(text: str, config: QualityConfig) -> set[str]:
    return {rule for rule, broken in broken_rules(TextArrays([CLEAN, text]), config) if broken[1]}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_planted_fault_breaks_its_rule(rule: str) -> None:
    assert rule in rules_of(BROKEN[rule], QualityConfig.model_validate("standard"))


def test_clean_text_breaks_none() -> None:
    config = QualityConfig.model_validate("standard")
    for seed in range(20):
        assert rules_of(prose(seed), config) == set()


def test_every_rule_has_a_planted_fault() -> None:
    lengths = {"top_ngrams", "duplicate_ngrams", "max_duplicate_paragraph_characters"}
    named = set(STANDARD_QUALITY) - lengths
    assert named <= set(BROKEN)
    assert named == set(QualityConfig.model_fields) - lengths


def test_a_rule_that_is_not_named_is_off() -> None:
    assert rules_of(BROKEN["curly_brace"], QualityConfig(min_words=5)) == set()
    assert rules_of("{", QualityConfig(min_words=5)) == {"min_words"}


def test_stop_words_are_asked_of_english_only() -> None:
    config = QualityConfig(min_stop_words=2)
    german = "Der Fluss fließt durch den Garten und die Stadt."
    for language, broken in (("de", False), ("en", True)):
        (found,) = broken_rules(TextArrays([german]), config, [language])
        assert found[1][0] == broken


PII = {
    "email": ["write to anna.smith+x@mail.example.co.uk, please", "<bob@example.org>"],
    "ip": ["from 81.2.69.142 at", "host 2a02:2e0:3fe:1001:302::1 up", "2001:4860:4860:0:0:0:0:8888"],
    "phone": ["call (202) 478-5995 now", "1-800-521-0600", "Tel.: +49 4964 95816-120", "+44 20 7946 0958"],
}
KEPT = [
    "a @ b, user@localhost, @handle",
    "version 1.5.0.4, section 7.2.1.1, 300.1.2.400, 192.168.0.1",
    "at 10:15:30, std::vector, A::B, fe80::1, 10:15::2:3",
    "pages 112-1192, 2024-11-24, 3.14159265, ISBN 978-3-16-148410-0, 1,000,000 and 555-1234",
]


@pytest.mark.parametrize("kind", PII)
def test_what_leads_to_a_person_is_masked(kind: str) -> None:
    for text in PII[kind]:
        counts: Counter[str] = Counter()
        masked = mask(text, ["email", "ip", "phone"], counts)
        assert f"<{kind}>" in masked, text
        assert counts == {kind: 1}
        # What is asked before a search must never say no where there is something.
        assert may_hold(TextArrays(["x", text, ""]))[kind].tolist()[1]


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_like_it_is_kept(text: str) -> None:
    assert mask(text, ["email", "ip", "phone"], Counter()) == text


def clean(tmp_path: Path, texts: list[str], addresses: Sequence[str] | None = None, **options: object) -> Cleaned:
    config = CleaningConfig.model_validate(options)
    return Cleaner(config, tmp_path).clean(texts, addresses or [None] * len(texts))


def test_blocklists_of_words_and_addresses(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("# comment\nCasino\nbuy this pill  # phrase\n")
    (tmp_path / "urls.txt").write_text("bad.example\n")
    texts = [CLEAN, CLEAN + " casino" * 3, CLEAN + " Buy this pill. buy THIS pill! Buy, this pill", CLEAN + " casino"]
    found = clean(tmp_path, texts, words={"paths": ["words.txt"]})
    assert found.drops == [None, "words", "words", None]
    assert clean(tmp_path, texts, words={"paths": ["words.txt"], "max_share": None, "max_count": 0}).drops == [
        None, "words", "words", "words",
    ]  # fmt: skip
    urls = ["https://bad.example/x", "http://a.bad.example:80", "https://notbad.example/bad.example", "bad.example/y"]
    found = clean(tmp_path, [CLEAN] * 4, urls, urls={"paths": ["urls.txt"]})
    assert found.drops == ["url", "url", None, "url"]
    (tmp_path / "words.txt").write_text("one two three four five six\n")
    with pytest.raises(CorpusError, match=r"words\.txt, row 1: an entry has 1 to 5 words"):
        clean(tmp_path, texts, words={"paths": ["words.txt"]})


def test_benchmarks_are_found_in_the_text(tmp_path: Path) -> None:
    long = "which of these things would a careful person put into the kitchen cupboard first"
    short = "why do cats always land on their feet"
    items = [
        {"question": long, "choices": ["a plate", "a dog"]},
        {"question": "", "choices": [short, "no"]},
        {"question": "What is it?", "choices": ["a cat"]},
    ]
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(item) + "\n" for item in items)
    texts = [
        CLEAN,
        f"{CLEAN} {long.upper()}!",
        f"{CLEAN} {' '.join(long.split()[:12])}.",  # one word short of a sequence
        f"{CLEAN} So: Why do cats always land, on their feet?",
        f"{CLEAN} What is it? A cat.",  # too short to say anything
        f"{CLEAN} careful person put into the kitchen cupboard first a plate and more",
    ]
    found = clean(tmp_path, texts, benchmarks={"paths": ["b.jsonl.gz"], "words": 10})
    assert [drop is not None for drop in found.drops] == [False, True, True, True, False, True]
    found = clean(tmp_path, texts, benchmarks={"paths": ["b.jsonl.gz"]})
    assert [drop for drop in found.drops if drop] == ["benchmark b.jsonl.gz"] * 2
    with pytest.raises(CorpusError, match=r"b\.jsonl\.gz, row 1: there is no field `query`"):
        clean(tmp_path, texts, benchmarks={"paths": ["b.jsonl.gz"], "fields": ["query"]})


def test_languages_are_those_of_the_package(tmp_path: Path) -> None:
    langid = pytest.importorskip("py3langid")
    texts = [
        CLEAN, "Der Hund läuft über die Straße und sieht den Mann.", "", "123 456", "Il fait beau aujourd'hui.",
        "오늘은 날씨가 매우 좋습니다", "THE QUICK BROWN FOX", "x", "El perro corre por la calle de la ciudad",
    ]  # fmt: skip
    found = clean(tmp_path, texts, languages={"characters": 1000})
    for text, language in zip(texts, found.languages, strict=True):
        label, score = langid.classify(text)
        assert language == (label if score > -1e38 else "und"), text
    kept = clean(tmp_path, texts, languages={"keep": ["de", "ko"]})
    assert [drop for drop in kept.drops if drop != "empty"] == [
        "language", None, "language", "language", None, "language", "language", "language",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="there is no language `dee`"):
        clean(tmp_path, texts, languages={"keep": ["dee"]})


def test_normalisation(tmp_path: Path) -> None:
    found = clean(tmp_path, ["Cafe\u0301\r\nx\u200by\x00\ufeff", "tab\tand é"], normalise=True)
    assert found.texts == ["Café\nxy", "tab\tand é"]
    assert found.edits["normalised"].documents == 1


def study(root: Path, domains: dict[str, list[str]], cleaning: object, **settings: object) -> Path:
    root.mkdir(exist_ok=True)
    for number, texts in enumerate(domains.values()):
        rows = (json.dumps({"text": text, "id": f"d-{at}"}) + "\n" for at, text in enumerate(texts))
        (root / f"{number}.jsonl").write_text("".join(rows))
    config = {
        "name": "s",
        "domains": {name: {"paths": f"{number}.jsonl", **settings} for number, name in enumerate(domains)},
        "corpus": {"validation_fraction": 0.2, "cleaning": cleaning},
    }
    (root / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return root


def prepared(root: Path, *options: str) -> dict[str, dict[str, object]]:
    result = CliRunner().invoke(prepare, [str(root), "--json", "--samples", "3", *options], catch_exceptions=False)
    found: dict[str, dict[str, object]] = json.loads(result.stdout)
    return found


def test_all_steps_on_drop_what_is_planted_and_keep_the_rest(tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    notice = "This site uses cookies to be of use to you and to others."
    texts = [f"{prose(seed)}\n{notice}" for seed in range(100)]
    words = prose(7).split()
    near = " ".join("changed" if at % 11 == 5 else word for at, word in enumerate(words))
    planted = [prose(3), texts[4], near, BROKEN["curly_brace"] + prose(500), "  ", prose(600) + " Mail a.b@example.com"]
    cleaning = {"preset": "standard", "lines": {"max_documents": 50}}
    domains = {"web": texts + planted, "copies": [*texts[:10], *map(prose, range(200, 260))]}
    found = prepared(study(tmp_path, domains, cleaning))
    web, copies = found["domains"]["web"], found["domains"]["copies"]
    # The bare text of document 3 is a copy once the notice is gone from the first.
    assert web["dropped"] == {"exact": 2, "curly_brace": 1, "empty": 1, "near": 1}
    assert web["documents"] == 101
    assert web["read_documents"] == 106
    assert copies["dropped"] == {"exact": 10}
    part = found["cleaning"]["web"]
    # Changes are counted before copies are known, so in the exact copy too.
    assert part["edited"]["lines"]["documents"] == 101
    assert part["edited"]["lines"]["samples"][0] == notice
    assert part["edited"]["email"]["count"] == 1
    assert "<email>" in part["edited"]["email"]["samples"][0]
    assert part["dropped"]["near"]["samples"][0]["like"][:60] == prose(7)[:60]
    assert part["dropped"]["exact"]["documents"] == 2
    assert web["languages"].keys() == {"en"}
    english = web["languages"]["en"]
    assert english["tokens"] == web["train_tokens"] + web["validation_tokens"]
    assert english["bytes"] == web["train_bytes"] + web["validation_bytes"]
    lost = sum(each["bytes"] for each in part["dropped"].values())
    masked = len("a.b@example.com") - len("<email>")
    assert web["read_bytes"] == english["bytes"] + lost + 100 * (len(notice) + 1) + masked


def test_a_domain_has_cleaning_of_its_own(tmp_path: Path) -> None:
    domains = {"web": [*map(prose, range(40)), "{", "x"], "code": [f"{{{n}}}" for n in range(40)] + ["{1}"]}
    root = study(tmp_path, domains, {"quality": {"curly_brace": True}, "exact": "corpus"})
    data = yaml.safe_load((root / "study.yaml").read_text())
    data["domains"]["code"]["cleaning"] = "off"
    (root / "study.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    config = load_config(root / "study.yaml")
    assert config.corpus.cleaning_of(config.domains["code"]) == CleaningConfig()
    found = prepared(root)["domains"]
    assert found["web"]["dropped"] == {"curly_brace": 1}
    assert found["code"]["dropped"] == {"exact": 1}
    data["domains"]["code"]["cleaning"] = {"exact": "off"}
    (root / "study.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    config = load_config(root / "study.yaml")
    own = config.corpus.cleaning_of(config.domains["code"])
    assert own.exact == "off"
    assert own.quality == config.corpus.cleaning.quality


def test_a_copy_of_what_was_dropped_is_not_a_copy(tmp_path: Path) -> None:
    domains = {"a": [*map(prose, range(30)), "{ bad }"], "b": [*map(prose, range(50, 80)), "{ bad }"]}
    root = study(tmp_path, domains, {"exact": "corpus"})
    data = yaml.safe_load((root / "study.yaml").read_text())
    data["domains"]["a"]["cleaning"] = {"quality": {"curly_brace": True}}
    (root / "study.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    found = prepared(root)["domains"]
    assert found["a"]["dropped"] == {"curly_brace": 1}
    assert found["b"]["documents"] == 31


def test_a_domain_that_is_cleaned_away_says_by_what(tmp_path: Path) -> None:
    root = study(tmp_path, {"a": [*map(prose, range(30))], "b": ["{"] * 30}, {"quality": {"curly_brace": True}})
    with pytest.raises(CorpusError, match=r"`b` holds no text \(documents read: 30; dropped: 30 curly_brace\)"):
        CliRunner().invoke(prepare, [str(root)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("cleaning", "message"),
    [
        ("nothing", r"study\.yaml:\d+: `corpus\.cleaning`: there is no preset 'nothing'"),
        ({"quality": {"min_word": 3}}, r"unknown key `corpus\.cleaning\.quality\.min_word`"),
        ({"near": {"threshold": 2}}, r"`corpus\.cleaning\.near\.threshold`"),
        ({"quality": {"top_ngrams": {1: 0.2}}}, "a sequence has 2 to 20 words"),
        ({"pii": ["name"]}, r"`corpus\.cleaning\.pii"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path, cleaning: object, message: str) -> None:
    root = study(tmp_path, {"a": ["x"], "b": ["y"]}, cleaning)
    with pytest.raises(ConfigError, match=message):
        load_config(root / "study.yaml")


def test_every_key_of_the_settings_turns_on_one_step(tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    for name in ("words.txt", "urls.txt"):
        (tmp_path / name).write_text("bad\n")
    (tmp_path / "b.jsonl").write_text('{"question": "x", "choices": []}\n')
    given = {
        "urls": {"paths": ["urls.txt"]}, "normalise": True, "languages": {}, "lines": {}, "quality": "standard",
        "words": {"paths": ["words.txt"]}, "benchmarks": {"paths": ["b.jsonl"]}, "pii": ["email"], "near": {},
    }  # fmt: skip
    assert given.keys() | {"exact"} == CleaningConfig.model_fields.keys()

    def steps(config: object) -> list[type[Step]]:
        settings = StepSettings(CleaningConfig.model_validate(config), tmp_path, np.array([1], dtype=np.uint64))
        return [kind for kind in (*STEPS_ON_TEXT, *STEPS_ON_ARRAYS) if kind.of(settings) is not None]

    found = [set(steps({key: value})) - set(steps({})) for key, value in given.items()]
    assert [len(each) for each in found] == [1] * len(given)
    assert steps(given) == [*STEPS_ON_TEXT, *STEPS_ON_ARRAYS]


def test_a_step_can_be_turned_off_in_a_preset() -> None:
    config = CleaningConfig.model_validate({"preset": "standard", "near": "off", "pii": "off", "exact": "off"})
    assert config.near is None
    assert config.pii == ()
    assert config.exact == "off"
    assert config.quality == QualityConfig.model_validate("standard")
    assert not CleaningConfig.model_validate("off").costly


def test_the_end_of_a_long_document_is_not_judged_but_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixlab.corpus.clean.words.MAX_CHARACTERS", 2000)
    text = "\n".join(prose(seed) for seed in range(10)) + " { a.b@example.com"
    found = clean(tmp_path, [text], quality="standard", pii=["email"])
    assert found.drops == [None]
    assert found.texts == [text.replace("a.b@example.com", "<email>")]


def test_signatures_are_there_for_every_document(tmp_path: Path) -> None:
    found = clean(tmp_path, [CLEAN, "", prose(2)], near={})
    signed = found.signatures
    assert signed is not None
    assert signed.shape[0] == 3
    assert (signed[1] == 0xFFFFFFFF).all()
