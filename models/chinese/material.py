"""The written material: a folder a script, in each files of templates, one a line; names.toml and words.toml.

A heading gives the labels of the lines below it, as far as the next one:

    == negative / Legal | Regulation / fraud,arrest

Sentiment, topic, adverse events; "?" where one is not judged, "-" for no event. Lines that begin with "# " are
comments. Files whose name begins with "posts" hold what people write, the others what desks and companies do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from models.labels import RISKS, SENTIMENTS, TOPICS
from models.risk.records import ordered

FOLDER = Path(__file__).parent
SCRIPTS = ("simplified", "traditional")
NONE, UNJUDGED = "-", "?"
FIELDS = ("sentiment", "topic", "risks")


class ChineseDataError(Exception):
    """A file of the material can't be read as it stands: names file, line, field, value and remedy."""


class Place(NamedTuple):
    """A line of a file, for its refusals."""

    path: Path
    line: int

    def refuse(self, field: str, value: str, remedy: str) -> NoReturn:
        raise ChineseDataError(f"{self.path}, line {self.line}, {field}: {value!r} {remedy}")


class Labels(NamedTuple):
    """What a heading says; None where a thing is not judged."""

    sentiment: str | None
    topic: str | None
    risks: tuple[str, ...] | None


class Template(NamedTuple):
    """A line with slots (``models.chinese.filling`` has the notation)."""

    line: str
    labels: Labels
    script: str
    post: bool
    place: Place

    @property
    def origin(self) -> str:
        return f"{self.script}/{self.place.path.name}:{self.place.line}"


class Material(NamedTuple):
    """All that the composer needs. ``words``, ``actors`` and ``names``: by script. ``actors``: lists whose words are
    entities (authorities, agencies) rather than plain words. ``names``: of which companies' names are made."""

    templates: tuple[Template, ...]
    words: Mapping[str, Mapping[str, tuple[str, ...]]]
    actors: Mapping[str, Mapping[str, tuple[str, ...]]]
    names: Mapping[str, Mapping[str, tuple[str, ...]]]


def read(folder: Path = FOLDER) -> Material:
    """The material of a folder. Raises ChineseDataError."""
    words, names = _toml(folder / "words.toml"), _toml(folder / "names.toml")
    templates = tuple(
        template
        for script in SCRIPTS
        for path in sorted((folder / script).glob("*.txt"))
        for template in _templates(path, script)
    )
    if not templates:
        raise ChineseDataError(f"{folder}: holds no template; write simplified/*.txt and traditional/*.txt")
    return Material(
        templates,
        {script: _lists(folder / "words.toml", script, words) for script in SCRIPTS},
        {script: _lists(folder / "words.toml", f"{script}-actors", words) for script in SCRIPTS},
        {script: _lists(folder / "names.toml", script, names) for script in SCRIPTS},
    )


def _templates(path: Path, script: str) -> Iterator[Template]:
    labels = None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ChineseDataError(f"{path}: {error}; it has to be a readable file in UTF-8") from error
    for number, line in enumerate(lines, 1):
        place = Place(path, number)
        if line.startswith("== "):
            labels = _labels(place, line[3:])
        elif line and not line.startswith("# "):
            if labels is None:
                place.refuse("heading", line, "has none above it; write '== sentiment / topic / risks' first")
            if line != line.strip():
                place.refuse("text", line, "has blanks at an end; take them away")
            yield Template(line, labels, script, path.name.startswith("posts"), place)


def _labels(place: Place, heading: str) -> Labels:
    fields = heading.split(" / ")
    if len(fields) != len(FIELDS):
        place.refuse("heading", heading, f"has {len(fields)} fields; write {' / '.join(FIELDS)}")
    sentiment, topic, risks = fields
    return Labels(
        _one_of(place, "sentiment", sentiment, SENTIMENTS), _one_of(place, "topic", topic, TOPICS), kinds(place, risks)
    )


def _one_of(place: Place, field: str, value: str, known: tuple[str, ...]) -> str | None:
    if value == UNJUDGED:
        return None
    if value not in known:
        place.refuse(field, value, f"is unknown; write one of {', '.join(known)}, or '{UNJUDGED}'")
    return value


def kinds(place: Place, value: str) -> tuple[str, ...] | None:
    """Adverse events in the order of the label set, None where they are not judged. Raises ChineseDataError."""
    if value == UNJUDGED:
        return None
    found = [] if value == NONE else value.split(",")
    unknown = [kind for kind in found if kind not in RISKS]
    if unknown:
        place.refuse("risks", unknown[0], f"is unknown; write labels of models/labels.py, '{NONE}' or '{UNJUDGED}'")
    if len(set(found)) < len(found):
        place.refuse("risks", value, "says a thing twice; write each label once")
    return ordered(found)


def _lists(path: Path, table: str, content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Words separated by bars, as they are written in the files."""
    if table not in content:
        raise ChineseDataError(f"{path}: table [{table}] is missing; write it with its lists of words")
    found = {name: tuple(word.strip() for word in text.split("|")) for name, text in content[table].items()}
    for name, words in found.items():
        twice = [word for word in words if not word or words.count(word) > 1]
        if twice:
            raise ChineseDataError(f"{path}: [{table}] {name}: {twice[0]!r} stands twice or is empty; take one away")
    return found


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ChineseDataError(f"{path}: {error}; it has to be a readable TOML file in UTF-8") from error
