"""Composes the training and validation parts: templates filled, and some set as feeds and posts set them.

Pure and deterministic: the same seed gives the same texts, and a template's texts do not depend on the others. A
template is in one part only, whatever the seed.
"""

from __future__ import annotations

import random
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from models.chinese.filling import Draft, Entity, fill
from models.chinese.material import FOLDER, SCRIPTS, Material, Template, read
from models.labels import RISKS, SENTIMENTS, TOPICS

PER_TEMPLATE = 4
SAME = 2
"""Texts that differ in names and figures only: as many are kept of a template."""
TRIES = 3
"""Fillings tried for each text wanted, before the template counts as exhausted."""
EACH, HELD = 10, 7
"""One template in so many is of the validation part: those whose sum leaves this remainder, which has every kind."""

PREFIXED, FULL_WIDTH, SPACED = 0.1, 0.06, 0.06
"""Shares of texts with a slug, with figures and letters of full width, with blanks for commas."""
BEFORE = {
    "simplified": ("快讯：", "【快讯】", "最新｜", "【公告精选】", "公司公告丨", "盘中速递：", "【早报】"),
    "traditional": ("快訊：", "【快訊】", "即市｜", "【公告】", "《個股》", "焦點股｜", "【即時】", "最新："),
}
WIDE = {code: code + 0xFEE0 for code in (*range(ord("0"), ord("9") + 1), *map(ord, "%+"), *range(65, 91))}
BLANKS = str.maketrans("，。", "  ")


class Text(NamedTuple):
    """A text of one split ("train" or "valid"); None where a thing is not judged."""

    split: str
    text: str
    sentiment: str | None
    topic: str | None
    risks: tuple[str, ...] | None
    """Every adverse event it tells, to anybody."""
    entities: tuple[Entity, ...]
    origin: str
    """The template: script, file and line."""


def compose(seed: int = 7, folder: Path = FOLDER) -> list[Text]:
    """The texts of both splits, in the order of the files. Raises ChineseDataError."""
    material = read(folder)
    return [text for template in material.templates for text in _texts(template, material, seed)]


def split_of(template: Template) -> str:
    """Which part a template is of, by its words: an added one moves no other."""
    return "valid" if zlib.crc32(template.line.encode()) % EACH == HELD else "train"


def _texts(template: Template, material: Material, seed: int) -> Iterator[Text]:
    rng = random.Random(f"{seed}:{template.script}:{template.line}")  # noqa: S311 (texts, no secrets)
    seen, alike = set[str](), Counter[str]()
    for _ in range(PER_TEMPLATE * TRIES):
        draft = fill(template, material, rng)
        bare = masked(draft)
        if draft.text in seen or alike[bare] >= SAME:
            continue
        seen.add(draft.text)
        alike[bare] += 1
        styled = _styled(draft, template, rng)
        yield Text(split_of(template), styled.text, *template.labels, styled.entities, template.origin)
        if len(seen) == PER_TEMPLATE:
            return


def masked(text: Draft | Text) -> str:
    """The text without its names and figures: equal for texts that differ in nothing else."""
    kept, end = [], 0
    for start, stop in sorted(span for entity in text.entities for span in entity.spans):
        kept.append(text.text[end:start])
        end = stop
    kept.append(text.text[end:])
    return re.sub(r"[\d.,]+", "0", "@".join(kept))


def _styled(draft: Draft, template: Template, rng: random.Random) -> Draft:
    before = "" if template.post or rng.random() >= PREFIXED else rng.choice(BEFORE[template.script])
    chance = rng.random()
    table = WIDE if chance < FULL_WIDTH else BLANKS if chance < FULL_WIDTH + SPACED else {}
    text = before + draft.text.translate(table).strip()
    return Draft(
        text,
        tuple(
            entity._replace(
                name=entity.name.translate(table),
                spans=tuple((start + len(before), end + len(before)) for start, end in entity.spans),
            )
            for entity in draft.entities
        ),
    )


def counts(texts: Sequence[Text]) -> dict[str, dict[str, int]]:
    """How many texts there are, and how many templates, of what: as docs/models.md gives them."""
    templates = list({text.origin: text for text in texts}.values())
    found = {
        "texts": dict(Counter(text.split for text in texts)),
        "templates": dict(Counter(text.split for text in templates)),
        "scripts": dict(Counter(_script(text) for text in templates)),
        "events": {
            "adverse": sum(bool(text.risks) for text in templates),
            "harmless": sum(text.risks == () for text in templates),
            "opposite": sum(opposite(text) for text in templates),
        },
        "sentiments": {one: sum(text.sentiment == one for text in templates) for one in SENTIMENTS},
        "topics": {one: sum(text.topic == one for text in templates) for one in TOPICS},
    }
    for script in SCRIPTS:
        told = Counter(kind for text in templates if _script(text) == script for kind in text.risks or ())
        found[f"risks, {script}"] = {kind: told[kind] for kind in RISKS}
    return found


def _script(text: Text) -> str:
    return text.origin.split("/")[0]


def opposite(text: Text) -> bool:
    """Whether it tells good of one company and bad of another."""
    return {"negative", "positive"} <= {entity.sentiment for entity in text.entities}
