"""Composes the training and validation parts: templates filled, and set as desks, terminals and posts set them.

Pure and deterministic: the same seed gives the same texts, and a template's texts do not depend on the others.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from models.labelled import Entity, MaterialError, Standing, Text, lines_of, split_of, varied
from models.moods.filling import Marked, Template
from models.risk.compose import masked, styled
from models.risk.grammar import Draft
from models.risk.material import Material
from models.risk.material import read as read_words

FOLDER = Path(__file__).parent / "texts"
BYSTANDER = Standing(None, ())


def read(folder: Path = FOLDER) -> list[Template]:
    """The templates of a folder, in the order of its files. Raises MaterialError."""
    found = [
        Template(line, labels, split_of(line), place)
        for path in sorted(folder.glob("*.txt"))
        for place, labels, line in lines_of(path)
    ]
    if not found:
        raise MaterialError(f"{folder}: holds no template; write *.txt")
    return found


def compose(seed: int = 7, folder: Path = FOLDER) -> list[Text]:
    """The texts of both splits, in the order of the files. Raises MaterialError."""
    material = read_words()
    return [text for template in read(folder) for text in _texts(template, material, seed)]


def _texts(template: Template, material: Material, seed: int) -> Iterator[Text]:
    rng = random.Random(f"{seed}:{template.line}")  # noqa: S311 (texts, no secrets)
    standings: dict[str, Standing] = {}

    def filled() -> Draft:
        filling = Marked(template, material, rng)
        draft = filling.draft()
        standings.clear()
        standings.update(filling.standings)
        return draft

    for draft in varied(filled, masked):
        seen = styled(draft, rng)
        entities = tuple(Entity(one.name, one.spans, *standings.get(one.name, BYSTANDER)) for one in seen.entities)
        yield Text(template.split, seen.text, *template.labels, entities, template.origin)
