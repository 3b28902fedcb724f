"""Composes the training and validation parts: templates filled, and some set as feeds and posts set them.

Pure and deterministic: the same seed gives the same texts, and a template's texts do not depend on the others. A
template is in one part only, whatever the seed.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from models import labelled
from models.chinese.filling import Draft, fill
from models.chinese.material import FOLDER, SCRIPTS, Material, Template, read
from models.labelled import Text, split_of, varied
from models.labels import RISKS

PREFIXED, FULL_WIDTH, SPACED = 0.1, 0.06, 0.06
"""Shares of texts with a slug, with figures and letters of full width, with blanks for commas."""
BEFORE = {
    "simplified": ("快讯：", "【快讯】", "最新｜", "【公告精选】", "公司公告丨", "盘中速递：", "【早报】"),
    "traditional": ("快訊：", "【快訊】", "即市｜", "【公告】", "《個股》", "焦點股｜", "【即時】", "最新："),
}
WIDE = {code: code + 0xFEE0 for code in (*range(ord("0"), ord("9") + 1), *map(ord, "%+"), *range(65, 91))}
BLANKS = str.maketrans("，。", "  ")


def compose(seed: int = 7, folder: Path = FOLDER) -> list[Text]:
    """The texts of both splits, in the order of the files. Raises MaterialError."""
    material = read(folder)
    return [text for template in material.templates for text in _texts(template, material, seed)]


def _texts(template: Template, material: Material, seed: int) -> Iterator[Text]:
    rng = random.Random(f"{seed}:{template.script}:{template.line}")  # noqa: S311 (texts, no secrets)
    for draft in varied(lambda: fill(template, material, rng), masked):
        styled = _styled(draft, template, rng)
        yield Text(split_of(template.line), styled.text, *template.labels, styled.entities, template.origin)


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
    found = labelled.counts(texts) | {"scripts": dict(Counter(_script(text) for text in templates))}
    for script in SCRIPTS:
        told = Counter(kind for text in templates if _script(text) == script for kind in text.risks or ())
        found[f"risks, {script}"] = {kind: told[kind] for kind in RISKS}
    return found


def _script(text: Text) -> str:
    return text.origin.split("/")[0]
