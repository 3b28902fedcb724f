"""The written material: a folder a script, in each files of templates (``models.labelled``); names.toml and words.toml.

Files whose name begins with "posts" hold what people write, the others what desks and companies do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from models.labelled import Labels, MaterialError, Place, lines_of

FOLDER = Path(__file__).parent
SCRIPTS = ("simplified", "traditional")


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
    """The material of a folder. Raises MaterialError."""
    words, names = _toml(folder / "words.toml"), _toml(folder / "names.toml")
    templates = tuple(
        template
        for script in SCRIPTS
        for path in sorted((folder / script).glob("*.txt"))
        for template in _templates(path, script)
    )
    if not templates:
        raise MaterialError(f"{folder}: holds no template; write simplified/*.txt and traditional/*.txt")
    return Material(
        templates,
        {script: _lists(folder / "words.toml", script, words) for script in SCRIPTS},
        {script: _lists(folder / "words.toml", f"{script}-actors", words) for script in SCRIPTS},
        {script: _lists(folder / "names.toml", script, names) for script in SCRIPTS},
    )


def _templates(path: Path, script: str) -> Iterator[Template]:
    for place, labels, line in lines_of(path):
        yield Template(line, labels, script, path.name.startswith("posts"), place)


def _lists(path: Path, table: str, content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Words separated by bars, as they are written in the files."""
    if table not in content:
        raise MaterialError(f"{path}: table [{table}] is missing; write it with its lists of words")
    found = {name: tuple(word.strip() for word in text.split("|")) for name, text in content[table].items()}
    for name, words in found.items():
        twice = [word for word in words if not word or words.count(word) > 1]
        if twice:
            raise MaterialError(f"{path}: [{table}] {name}: {twice[0]!r} stands twice or is empty; take one away")
    return found


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MaterialError(f"{path}: {error}; it has to be a readable TOML file in UTF-8") from error
