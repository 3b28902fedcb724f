"""The written material: one TOML file a kind of event, one a topic of routine news, names and words.

A line of a section is a template (``models.risk.grammar`` has its notation). Sections are ``train`` and ``valid``,
each with ``adverse`` and ``harmless`` lines: a template belongs to one split only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from models.labels import RISKS

FOLDER = Path(__file__).parent
SPLITS = ("train", "valid")
HOLD_NAMES = 4
"""Every fourth company of a sector appears in the validation part only, the others in training only."""


class RiskDataError(Exception):
    """A file of the material can't be read as it stands."""


class Company(NamedTuple):
    """A fictional company."""

    short: str
    long: str
    ticker: str
    sector: str


class Template(NamedTuple):
    """A line with slots. ``words``: the word lists of its file, which come before the general ones."""

    line: str
    kind: str
    adverse: bool
    split: str
    origin: str
    words: Mapping[str, tuple[str, ...]]


class Material(NamedTuple):
    """All that the composer needs. ``follow``: second sentences. ``companies``: split to sector to names. ``actors``:
    word lists whose words are entities (authorities, brokers, unions) rather than plain words."""

    templates: tuple[Template, ...]
    follow: tuple[Template, ...]
    words: Mapping[str, tuple[str, ...]]
    actors: Mapping[str, tuple[str, ...]]
    companies: Mapping[str, Mapping[str, tuple[Company, ...]]]
    nouns: Mapping[str, tuple[str, ...]]


@cache
def read() -> Material:
    """The material of this package. Raises RiskDataError."""
    general = _toml(FOLDER / "words.toml")
    names = _toml(FOLDER / "names.toml")
    return Material(
        templates=tuple(_templates()),
        follow=tuple(_file(FOLDER / "follow.toml")),
        words=_lists(FOLDER / "words.toml", general["words"]),
        actors=_lists(FOLDER / "words.toml", general["actors"]),
        companies={split: dict(_companies(names, split)) for split in SPLITS},
        nouns={sector: tuple(entry["nouns"]) for sector, entry in names.items()},
    )


def _templates() -> Iterator[Template]:
    missing = sorted(set(RISKS) - {path.stem for path in (FOLDER / "kinds").glob("*.toml")})
    if missing:
        raise RiskDataError(f"{FOLDER / 'kinds'}: {missing[0]}.toml is missing; every label of RISKS has its file")
    for path in sorted((FOLDER / "kinds").glob("*.toml")):
        if path.stem not in RISKS:
            raise RiskDataError(f"{path}: {path.stem!r} is not a label of RISKS (models/labels.py)")
        yield from _file(path)
    for path in sorted((FOLDER / "routine").glob("*.toml")):
        yield from _file(path)


def _file(path: Path) -> Iterator[Template]:
    content = _toml(path)
    words = _lists(path, content.get("words", {}))
    for split in SPLITS:
        section = content.get(split, {})
        unknown = sorted(set(section) - {"adverse", "harmless"})
        if unknown or (path.parent.name == "routine" and "adverse" in section):
            raise RiskDataError(f"{path}: [{split}] {(unknown or ['adverse'])[0]!r} is not expected there")
        for name, lines in section.items():
            for number, line in enumerate(filter(None, map(str.strip, lines.splitlines())), 1):
                origin = f"{path.parent.name}/{path.stem}:{split}.{name}:{number}"
                yield Template(line, path.stem, name == "adverse", split, origin, words)


def _lists(path: Path, table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Words separated by bars, as they are written in the files."""
    found = {name: tuple(word.strip() for word in text.split("|")) for name, text in table.items()}
    for name, words in found.items():
        if len(set(words)) < len(words) or "" in words:
            raise RiskDataError(f"{path}: word list {name!r} has a word twice or an empty one")
    return found


def _companies(names: Mapping[str, Any], split: str) -> Iterator[tuple[str, tuple[Company, ...]]]:
    for sector, entry in names.items():
        rows = [line.split(";") for line in entry["companies"].strip().splitlines()]
        everyone = [Company(short.strip(), long.strip(), ticker.strip(), sector) for short, long, ticker in rows]
        yield (
            sector,
            tuple(
                company
                for number, company in enumerate(everyone, 1)
                if (number % HOLD_NAMES == 0) == (split == "valid")
            ),
        )


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RiskDataError(f"{path}: {error}") from error
