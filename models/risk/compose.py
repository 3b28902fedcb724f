"""Composes the training and validation parts: templates filled, styled as desks and posts do, some joined to round-ups.

Pure and deterministic: the same seed gives the same texts, and a template's texts do not depend on the other templates
(only joined ones do).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from models.risk.grammar import Draft, fill
from models.risk.material import SPLITS, Material, Template, read
from models.risk.records import Entity, Span, Text, ordered

PER_TEMPLATE = {("train", True): 5, ("train", False): 7, ("valid", True): 3, ("valid", False): 4}
"""By split and whether the template is adverse: there are to be more look-alikes, as there are in the news."""
SAME = 2
"""Texts that differ in names and figures only: as many are kept of them."""
TRIES = 4
"""Fillings tried for each text wanted, before the template counts as exhausted."""
FOLLOWED = 0.14
"""Share of fillings with a second sentence, as feeds give a headline and a description."""
JOINED = 0.08
"""Share of texts added as round-ups of two others, whose companies often fare differently."""
JOINABLE = 90
"""Characters: longer texts are not joined."""

BEFORE = (
    "UPDATE 1-", "UPDATE 2-", "BRIEF-", "Exclusive: ", "BREAKING: ", "JUST IN: ", "Report: ", "*", "Watch: ",
    "Breakingviews - ", "FACTBOX-", "CORRECTED-", "Business live: ", "News alert: ", "RPT-", "DJ ",
)  # fmt: skip
AFTER = (
    " - sources", " - report", ": report", " - filing", ", report says", " -paper", ": sources", " - WSJ", " | Markets",
    " - as it happened", " (video)", " - TV", " - memo", " https://t.co/Xa7kQ2", " #stocks", " #news", " - analyst",
)  # fmt: skip
BETWEEN = ("; ", " | ", " - ", " / ", ". Meanwhile, ", "; also, ", " ... ", ". Elsewhere: ", " + ")
COMPANY = re.compile(r"\{A\W")
SMALL_WORDS = frozenset(
    ("a", "an", "and", "as", "at", "but", "by", "for", "from", "in", "of", "on", "or", "over", "the", "to", "with")
)


def compose(seed: int = 7, material: Material | None = None) -> list[Text]:
    """The texts of both splits, in the order of the material."""
    material = material or read()
    texts: list[Text] = []
    for split in SPLITS:
        part = list(_singles(material, split, seed))
        texts += part
        texts += _round_ups(part, split, seed)
    return texts


def _singles(material: Material, split: str, seed: int) -> Iterator[Text]:
    seen: set[str] = set()
    alike: Counter[str] = Counter()
    for template in material.templates:
        if template.split != split:
            continue
        for draft in _fillings(template, material, seed):
            bare = masked(draft)
            if draft.text in seen or alike[bare] >= SAME:
                continue
            seen.add(draft.text)
            alike[bare] += 1
            seen_as = styled(draft, _rng(seed, "style", draft.text))
            yield Text(split, seen_as.text, seen_as.risks, seen_as.entities, template.origin)


def _fillings(template: Template, material: Material, seed: int) -> Iterator[Draft]:
    """Fillings of one template, as different from one another as it allows."""
    rng = _rng(seed, template.line)
    wanted = PER_TEMPLATE[template.split, template.adverse]
    alike: Counter[str] = Counter()
    for _ in range(wanted * TRIES):
        draft = fill(_followed(template, material, rng), material, rng)
        bare = masked(draft)
        alike[bare] += 1
        if alike[bare] > SAME:
            continue
        yield draft
        wanted -= 1
        if not wanted:
            return


def _followed(template: Template, material: Material, rng: random.Random) -> Template:
    """The template, now and then with a second sentence; posts and lines without a company stay as they are."""
    line = template.line
    if rng.random() >= FOLLOWED or not COMPANY.search(line) or not re.match(r"[A-Z]|\{A(?!\$)", line):
        return template
    second = rng.choice([follow for follow in material.follow if follow.split == template.split]).line
    return template._replace(line=f"{line}{'' if line[-1] in '.?!' else '.'} {second}")


def masked(text: Draft | Text) -> str:
    """The text without its names and figures: equal for texts that differ in nothing else."""
    kept, end = [], 0
    for start, stop in sorted(span for entity in text.entities for span in entity.spans):
        kept.append(text.text[end:start])
        end = stop
    kept.append(text.text[end:])
    return re.sub(r"[\d.,]+", "0", "@".join(kept)).casefold()


def _rng(seed: int, *parts: str) -> random.Random:
    return random.Random(f"{seed}:{':'.join(parts)}")  # noqa: S311 (texts, no secrets)


def styled(draft: Draft, rng: random.Random) -> Draft:
    """Three in ten get what desks, terminals and posts add: a slug, a source, a cashtag, capitals."""
    roll = rng.random()
    if roll < 0.06:
        return _shifted(draft, rng.choice(BEFORE), "") if draft.text[0].isupper() else draft
    if roll < 0.12:
        return _shifted(draft, "", rng.choice(AFTER)) if draft.text[-1].isalnum() else draft
    if roll < 0.18:
        return _tagged(draft, rng)
    if roll < 0.21:
        return _recased(draft, draft.text.upper())
    if roll < 0.24:
        return _recased(draft, draft.text.lower())
    if roll < 0.31:
        return _recased(draft, " ".join(_titled(word) for word in draft.text.split(" ")))
    return draft


def _titled(word: str) -> str:
    return word if word in SMALL_WORDS else word[:1].upper() + word[1:]


def _recased(draft: Draft, text: str) -> Draft:
    """Another case of the same letters; where that changes lengths ("ß") the text stays as it is."""
    return draft._replace(text=text) if len(text) == len(draft.text) else draft


def _shifted(draft: Draft, before: str, after: str) -> Draft:
    return Draft(f"{before}{draft.text}{after}", draft.risks, _moved(draft.entities, len(before)))


def _moved(entities: Sequence[Entity], by: int) -> tuple[Entity, ...]:
    return tuple(
        entity._replace(spans=tuple((start + by, stop + by) for start, stop in entity.spans)) for entity in entities
    )


def _tagged(draft: Draft, rng: random.Random) -> Draft:
    """The cashtag of the first company that has none yet, before or after the text."""
    company = next((entity for entity in draft.entities if entity.tag and entity.tag not in draft.text), None)
    if company is None:
        return draft
    if rng.random() < 0.5:
        moved = _shifted(draft, f"{company.tag}{rng.choice((' ', ' - ', ': '))}", "")
        return _with_span(moved, company.name, (0, len(company.tag)))
    shifted = _shifted(draft, "", f" {company.tag}")
    return _with_span(shifted, company.name, (len(shifted.text) - len(company.tag), len(shifted.text)))


def _with_span(draft: Draft, name: str, span: Span) -> Draft:
    return draft._replace(
        entities=tuple(
            entity._replace(spans=tuple(sorted((*entity.spans, span)))) if entity.name == name else entity
            for entity in draft.entities
        )
    )


def _round_ups(part: Sequence[Text], split: str, seed: int) -> list[Text]:
    """Two short texts in one; half of them join an adverse one and any other. Nobody appears in both."""
    rng = _rng(seed, "round-ups", split)
    short = [text for text in part if len(text.text) < JOINABLE]
    pools = [[text for text in short if text.risks], [text for text in short if not text.risks]]
    found: list[Text] = []
    wanted = int(len(part) * JOINED)
    while len(found) < wanted:
        pair = [rng.choice(pools[len(found) % 2]), rng.choice(pools[1] if len(found) % 2 else short)]
        rng.shuffle(pair)
        first, second = pair
        if {entity.name for entity in first.entities} & {entity.name for entity in second.entities}:
            continue
        found.append(_joined(first, second, rng.choice(BETWEEN)))
    return found


def _joined(first: Text, second: Text, between: str) -> Text:
    if between.startswith("."):
        first = first._replace(text=first.text.rstrip("."))
    return Text(
        first.split,
        f"{first.text}{between}{second.text}",
        ordered(first.risks + second.risks),
        first.entities + _moved(second.entities, len(first.text) + len(between)),
        f"{first.origin} + {second.origin}",
    )
