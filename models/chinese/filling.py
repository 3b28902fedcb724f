"""Fills a template.

<称|表示|>       one of these, at random; may be nested, may be empty
{city}          a word of words.toml; the same again wherever it recurs in the text ({city2} is another draw)
{regulator}     an actor: a word that is an entity too, adverse to which nothing is
{pct} {yi} …    a figure (``models.chinese.names.figure``)
{A} … {D}       a company: its short or long name, now and then with its code; sentiment and events are the text's
{A:bank}        of that sector (one of {A:bank,broker}); without one of any that makes things
{A*} {A^} {A~}  the long name; the stem with the exchange's warning (*ST), the stem alone
{A=-} {A=+}     negative or positive toward A, whatever the text is ({A=0} neutral, {A=?} not judged); said once
{A=-fraud}      and these events happen to it; without any a negative one has the text's, the others have none
{A=-none}       negative, and nothing of what the text tells happens to it
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from models.chinese.material import Material, Template
from models.chinese.names import Company, company, figure
from models.labelled import Entity, Standing, standing
from models.risk.records import Span

CHOICE = re.compile(r"<([^<>]*)>")
SLOT = re.compile(r"\{([^{}]*)\}")
ROLE = re.compile(r"([A-D])([*^~])?(?::([a-z,]+))?(?:=([-+0?])([a-z_,]*))?")
MAKERS = "general"


class Draft(NamedTuple):
    """A filled template."""

    text: str
    entities: tuple[Entity, ...]


def fill(template: Template, material: Material, rng: random.Random) -> Draft:
    """One text of the template. Raises MaterialError."""
    return _Filling(template, material, rng).draft()


class _Filling:
    """The state of one text: who plays which role, which words were drawn."""

    def __init__(self, template: Template, material: Material, rng: random.Random) -> None:
        self._template = template
        self._material = material
        self._rng = rng
        self._words: dict[str, str] = {}
        self._cast: dict[str, Company] = {}
        self._standing: dict[str, Standing] = {}
        self._mentions: dict[str, list[Span]] = {}
        self._text = ""

    def draft(self) -> Draft:
        line, end = self._chosen(self._template.line), 0
        for slot in SLOT.finditer(line):
            self._text += line[end : slot.start()]
            self._slot(slot.group(1))
            end = slot.end()
        self._text += line[end:]
        if re.search(r"[{}<>]", self._text):
            self._template.place.refuse("text", line, "has a bracket without its pair; close or remove it")
        return Draft(self._text, tuple(self._entity(key) for key in self._mentions))

    def _chosen(self, line: str) -> str:
        while choice := CHOICE.search(line):
            line = line[: choice.start()] + self._rng.choice(choice.group(1).split("|")) + line[choice.end() :]
        return line

    def _slot(self, slot: str) -> None:
        role = ROLE.fullmatch(slot)
        if role:
            self._company(*role.groups())
            return
        if slot not in self._words:
            self._words[slot] = self._word(slot)
        if slot.rstrip("0123456789") in self._material.actors[self._template.script]:
            self._standing.setdefault(self._words[slot], Standing(None, ()))
            self._mention(self._words[slot], self._words[slot])
        else:
            self._text += self._words[slot]

    def _word(self, slot: str) -> str:
        """A drawn word; one that was drawn for another number of the same slot only if there is no other."""
        name, script = slot.rstrip("0123456789"), self._template.script
        number = figure(name, script, self._rng)
        if number is not None:
            return number
        for table in (self._material.words[script], self._material.actors[script]):
            if name in table:
                free = [word for word in table[name] if word not in self._words.values()]
                return self._rng.choice(free or table[name])
        return self._template.place.refuse(
            "text", f"{{{slot}}}", "is no role, figure, word list or actor; see words.toml"
        )

    def _company(self, role: str, form: str | None, sectors: str | None, sign: str | None, events: str | None) -> None:
        if sign is not None or role not in self._standing:
            self._standing[role] = standing(self._template.place, self._template.labels, sign, events or "")
        first = role not in self._cast
        if first:
            self._cast[role] = self._casting(sectors or MAKERS)
        name, after = self._form(self._cast[role], form, first)
        self._mention(role, name)
        self._text += after

    def _casting(self, sectors: str) -> Company:
        sector, script = self._rng.choice(sectors.split(",")), self._template.script
        if sector not in self._material.names[script]:
            self._template.place.refuse("sector", sector, f"is unknown; add it to [{script}] of names.toml")
        taken = {other.stem for other in self._cast.values()}
        while (found := company(self._material.names[script], script, sector, self._rng)).stem in taken:
            pass
        return found

    def _form(self, who: Company, form: str | None, first: bool) -> tuple[str, str]:
        """The mention, and what stands right after it."""
        if form == "*":
            return who.long, ""
        if form in ("^", "~"):
            return ("*ST" if form == "^" else "") + who.stem, ""
        chance = self._rng.random()
        if not first or chance < 0.76 or not who.code:
            return who.short, ""
        if chance < 0.84:
            return who.long, ""
        if self._template.post and chance < 0.93:
            return who.tag, ""
        opened, closed = self._rng.choice(("（）", "()"))
        return who.short, f"{opened}{who.code}{closed}"

    def _mention(self, key: str, value: str) -> None:
        self._mentions.setdefault(key, []).append((len(self._text), len(self._text) + len(value)))
        self._text += value

    def _entity(self, key: str) -> Entity:
        spans = self._mentions[key]
        return Entity(self._text[slice(*spans[0])], tuple(spans), *self._standing[key])
