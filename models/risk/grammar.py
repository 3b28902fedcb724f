"""Fills a template.

<says|said|>          one of these, at random; may be nested, may be empty
{product}             a word of the file's list, or of the general ones; the same again wherever it recurs in the
                      text ({product2} is another draw)
{watchdog}            an actor: a word that is an entity too, adverse to which nothing is
{money} {jobs} …      a figure (``models.risk.figures``)
{A} … {D}             a company: its short or long name, now and then with its ticker
{A:bank}              of that sector (one of {A:bank|insurer}); {B:same} of A's
{A's} {A*} {A$}       possessive, the long name, the cashtag
{A~}                  the name, perhaps after its noun: "carmaker Halvorne"
{A^} {A^'s}           "the carmaker", "the company"; a mention of A without its name
{A!}                  the event of this file is adverse to A (said once, it holds for all mentions)
{A!+fraud} {A!fraud}  this one and fraud; fraud alone
!fraud …              (at the start of a line) the text tells this event, whoever else is marked; "! …" the file's
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from models.labels import RISKS
from models.risk.figures import figure
from models.risk.material import Company, Material, RiskDataError, Template
from models.risk.records import Entity, ordered

CHOICE = re.compile(r"<([^<>]*)>")
SLOT = re.compile(r"\{([^{}]*)\}")
ROLE = re.compile(r"([A-D])('s|\*|\$|~|\^'s|\^)?(?::([a-z|]+))?(?:!([a-z_,+]*))?")
WHOLE = re.compile(r"!([a-z_,]*) ")
VOWEL = re.compile(r"(?:[aeio]|u(?!n[it]|k\b|s\b|ti|se)|hour|\W?(?:8|11\b|18\b))(?<!eu)(?<!one)", re.IGNORECASE)
SOUNDS = ("euro", "eu-", "one-", "once", "uk", "us ", "u.s", "uni", "useful")
FIRST_FORMS = {"short": 0.62, "long": 0.27, "ticker": 0.07, "cashtag": 0.04}


class Draft(NamedTuple):
    """A filled template."""

    text: str
    risks: tuple[str, ...]
    entities: tuple[Entity, ...]


def fill(template: Template, material: Material, rng: random.Random) -> Draft:
    """One text of the template."""
    return Filling(template, material, rng).draft()


class Filling:
    """The state of one text: who plays which role, which words were drawn."""

    roles = ROLE
    """What a company's slot looks like: role, form, sectors, and the parts of its mark, if it has one."""

    def __init__(self, template: Template, material: Material, rng: random.Random) -> None:
        self._template = template
        self._material = material
        self._rng = rng
        self._words: dict[str, str] = {}
        self._cast: dict[str, Company] = {}
        self._marks: dict[str, set[str]] = {}
        self._mentions: dict[str, list[tuple[int, int]]] = {}
        self._text = ""

    def draft(self) -> Draft:
        line, risks = self._template.line, set()
        whole = WHOLE.match(line)
        if whole:
            line = line[whole.end() :]
            risks.update(self._kinds(whole.group(1)))
        self._write(line)
        for mark in self._marks.values():
            risks.update(mark)
        if bool(risks) != self._template.adverse:
            raise self._wrong("an adverse line marks who is hit ({A!}) or starts with '!'; a harmless one has no mark")
        return Draft(self._text, ordered(risks), self._entities())

    def _write(self, line: str) -> None:
        """Chooses, fills, appends."""
        line, end = self._chosen(line), 0
        for slot in SLOT.finditer(line):
            self._plain(line[end : slot.start()])
            self._slot(slot.group(1))
            end = slot.end()
        self._plain(line[end:])

    def _chosen(self, line: str) -> str:
        while choice := CHOICE.search(line):
            options = choice.group(1).split("|")
            line = line[: choice.start()] + self._rng.choice(options) + line[choice.end() :]
        line = re.sub(r" {2,}", " ", line).strip()
        return re.sub(r" (?=[,.;:?!](?:\s|$))", "", line)

    def _plain(self, text: str) -> None:
        self._text += text

    def _slot(self, slot: str) -> None:
        company = self.roles.fullmatch(slot)
        if company:
            role, form, sectors, *mark = company.groups()
            self._company(role, form, sectors)
            self._mark(role, *mark)
            return
        name = slot.rstrip("0123456789")
        if slot not in self._words:
            self._words[slot] = self._word(name)
        value = self._chosen(self._words[slot])
        if name in self._material.actors and name not in self._template.words:
            self._mention(value, value)
        else:
            self._say(value)

    def _word(self, name: str) -> str:
        """A drawn word; one that was drawn for another number of the same slot only if there is no other."""
        number = figure(name, self._rng, self._words)
        if number is not None:
            return number
        lists: list[Mapping[str, tuple[str, ...]]] = [
            self._template.words,
            self._material.words,
            self._material.actors,
        ]
        for table in lists:
            if name in table:
                free = [word for word in table[name] if word not in self._words.values()]
                return self._rng.choice(free or list(table[name]))
        raise self._wrong(f"slot {{{name}}} is no role, figure, word list or actor")

    def _say(self, value: str) -> int:
        """Appends a value that may hold slots of its own; returns where it begins."""
        inner = SLOT.search(value)
        if inner:
            self._say(value[: inner.start()])
            self._slot(inner.group(1))
            return self._say(value[inner.end() :])
        if re.search(r"(?:^|[\s(])[Aa] $", self._text) and _takes_an(value):
            self._text = self._text[:-1] + "n "
        if value and (not self._text or self._text.endswith((". ", "? ", "! "))):
            value = value[0].upper() + value[1:]
        start = len(self._text)
        self._text += value
        return start

    def _mention(self, key: str, value: str) -> None:
        start = self._say(value)
        self._mentions.setdefault(key, []).append((start, start + len(value)))

    def _mark(self, role: str, *mark: str | None) -> None:
        """Notes how a company fares; ``mark``: what stands behind the role in its slot."""
        if mark[0] is not None:
            self._marks.setdefault(role, set()).update(self._kinds(mark[0]))

    def _company(self, role: str, form: str | None, sectors: str | None) -> None:
        company = self._cast.get(role) or self._casting(role, sectors)
        first = role not in self._mentions
        before, name, after = self._form(company, form, first)
        self._say(before) if before else None
        self._mention(role, name)
        self._text += after

    def _casting(self, role: str, sectors: str | None) -> Company:
        pool = self._material.companies[self._template.split]
        if sectors == "same":
            if role == "A":
                raise self._wrong("{A:same} would be of its own sector; name one")
            names: Sequence[str] = [(self._cast.get("A") or self._casting("A", self._declared("A"))).sector]
        else:
            names = sectors.split("|") if sectors else self._template.words.get("sectors", tuple(pool))
        unknown = [name for name in names if name not in pool]
        if unknown:
            raise self._wrong(f"sector {unknown[0]!r} is not in names.toml")
        taken = {company.short for company in self._cast.values()}
        free = [c for c in pool[self._rng.choice(list(names))] if c.short not in taken]
        # A small sector of the validation part has one company: its rival is then of any other.
        company = self._rng.choice(free or [c for sector in pool.values() for c in sector if c.short not in taken])
        self._cast[role] = company
        return company

    def _declared(self, role: str) -> str | None:
        """The sectors that the line gives to a role, wherever in it."""
        slots = (self.roles.fullmatch(slot) for slot in SLOT.findall(self._template.line))
        return next((slot.group(3) for slot in slots if slot and slot.group(1) == role and slot.group(3)), None)

    def _form(self, company: Company, form: str | None, first: bool) -> tuple[str, str, str]:
        """What stands before the mention, the mention, and what stands right after it."""
        noun = self._rng.choice(self._material.nouns[company.sector])
        if form in ("^", "^'s"):
            name = self._rng.choice((f"the {noun}", f"the {noun}", "the company", "the group"))
            return "", name, "'s" if form == "^'s" else ""
        if form == "$":
            return "", f"${company.ticker}", ""
        if form == "*":
            return "", company.long, ""
        if form == "~":
            return (f"{noun} " if self._rng.random() < 0.6 else ""), self._named(company, first), ""
        if form == "'s":
            name = company.long if first and self._rng.random() < 0.25 else company.short
            return "", name, "'" if name.endswith("s") and self._rng.random() < 0.5 else "'s"
        if not first:
            return "", company.short, ""
        kind = self._rng.choices(list(FIRST_FORMS), list(FIRST_FORMS.values()))[0]
        if kind == "ticker":
            market = self._rng.choice(("", "", "NYSE: ", "NASDAQ: ", "LSE: ", "$"))
            return "", company.short, f" ({market}{company.ticker})"
        return "", {"short": company.short, "long": company.long, "cashtag": f"${company.ticker}"}[kind], ""

    def _named(self, company: Company, first: bool) -> str:
        return company.long if first and self._rng.random() < 0.2 else company.short

    def _kinds(self, mark: str) -> list[str]:
        kinds = mark.lstrip("+").split(",") if mark.strip("+") else []
        if not kinds or mark.startswith("+"):
            kinds.append(self._template.kind)
        unknown = [kind for kind in kinds if kind not in RISKS]
        if unknown:
            raise self._wrong(f"{unknown[0]!r} is not a label of RISKS (models/labels.py)")
        return kinds

    def _entities(self) -> tuple[Entity, ...]:
        return tuple(
            Entity(
                self._cast[key].long if key in self._cast else key,
                tuple(spans),
                ordered(self._marks.get(key, ())),
                f"${self._cast[key].ticker}" if key in self._cast else "",
            )
            for key, spans in self._mentions.items()
        )

    def _wrong(self, what: str) -> RiskDataError:
        return RiskDataError(f"{self._template.origin}: {what}: {self._template.line}")


def _takes_an(value: str) -> bool:
    low = value.casefold()
    return bool(VOWEL.match(low)) and not low.startswith(SOUNDS)
