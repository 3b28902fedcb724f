"""The built-in universe of companies, and how a watch-list's entries name them.

``data/universe.tsv`` is a table of facts made by ``benchmarks/build_universe.py``: id, name, tickers, country.
``data/extra.tsv`` is written by hand: id, everyday names, associated people and products, and words that tell a
company from the everyday word of its name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from pipelines.calendars import calendars, home
from pipelines.text import slug

ID_LIMIT = 64


class EntityConfigError(ValueError):
    """A watch-list entry names no entity, or more than one."""


class AmbiguousEntityError(EntityConfigError):
    """A text names more than one company."""


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A company, or what else a user watches by name.

    ``id``: its US ticker, else its ticker with the exchange's suffix, or what the user chose.
    ``associates``: people and products whose mention is news for it, but less than its own name is.
    ``context``: words that near an everyday word ("Apple") say that the company is meant. ``calendar``: of the exchange
    that it is tied to, named by its market identifier code; None where it is tied to none.
    """

    id: str
    name: str
    tickers: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    associates: tuple[str, ...] = ()
    country: str = ""
    context: tuple[str, ...] = ()
    custom: bool = False
    calendar: str | None = None


_LEGAL = (
    r"incorporated|inc|corporation|corp|company|companies|co|plc|ltd|limited|llc|lp|ag|se|s\.?a|s\.?p\.?a|n\.?v|"
    r"a/s|asa|ab|oyj?|kgaa|gmbh|pty|bhd|holdings?|group|groupe?|class [abc]|\(class [abc]\)"
)
_LEGAL_END = re.compile(rf"(?:,\s*|\s+)(?:& )?(?:{_LEGAL})\.?$", re.IGNORECASE)


def bare_name(name: str) -> str:
    """A company's name without its legal form: "Acme Holdings plc" is "Acme"."""
    name = re.sub(r"^the\s+", "", name.strip(), flags=re.IGNORECASE)
    before = None
    while name != before:
        before = name
        name = _LEGAL_END.sub("", name).strip(" ,&") or name
    return name


@cache
def _function_words() -> frozenset[str]:
    return frozenset(word for row in _table("function.txt") for word in row[0].split())


def _is_anything(name: str) -> bool:
    """Whether a name is made of nothing but words that every text holds, or of a legal form. What is written in
    capitals ("WHO") is looked for in capitals, and so is no such word."""
    words = re.findall(r"\w+", re.sub(r"^the\s+", "", name.lower()))
    function = not name.isupper() and _function_words().issuperset(words)
    return len(name) < 2 or function or re.fullmatch(_LEGAL, " ".join(words)) is not None


def _table(name: str) -> list[list[str]]:
    lines = files("pipelines").joinpath("data", name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split("|") if part.strip())


@cache
def load_universe() -> tuple[Entity, ...]:
    """The shipped companies, in the order of their ids."""
    extra = {row[0]: [*row[1:], "", "", ""] for row in _table("extra.tsv")}
    return tuple(
        Entity(
            id=row[0],
            name=row[1],
            tickers=_split(row[2]),
            country=row[3],
            aliases=_split(extra[row[0]][0]) if row[0] in extra else (),
            associates=_split(extra[row[0]][1]) if row[0] in extra else (),
            context=_split(extra[row[0]][2]) if row[0] in extra else (),
            calendar=home(row[0]),
        )
        for row in _table("universe.tsv")
    )


# -- what a watch-list says -------------------------------------------------------------------------------


def resolve(spec: str | Mapping[str, Any], universe: Sequence[Entity]) -> Entity:
    """A watch-list entry as an entity: an id, ticker, name or alias of the universe, or a table of the user's own.

    Raises EntityConfigError, with the nearest names, where a text names no company, AmbiguousEntityError where several.
    """
    if not isinstance(spec, str):
        return _custom(spec)
    wanted = spec.strip().removeprefix("$")
    if not wanted:
        raise EntityConfigError("an empty text names no company; write a ticker or a name")
    by_id = [entity for entity in universe if wanted.upper() == entity.id.upper()]
    if by_id:
        return by_id[0]
    if not any(character.islower() for character in wanted):
        by_ticker = [e for e in universe if wanted.upper() in {ticker.upper() for ticker in e.tickers}]
        if by_ticker:
            return by_ticker[0]
    return _by_name(spec, bare_name(wanted).casefold(), universe)


def _by_name(spec: str, folded: str, universe: Sequence[Entity]) -> Entity:
    names = {e.id: {bare_name(name).casefold() for name in (e.name, *e.aliases)} for e in universe}
    found = [entity for entity in universe if folded in names[entity.id]]
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousEntityError(f"{spec!r} names several companies: {_named(found)}; write one's id instead")
    known = {name: entity for entity in reversed(universe) for name in names[entity.id]}
    near = difflib.get_close_matches(folded, known, n=3, cutoff=0.75)
    near += [name for name in known if re.search(rf"\b{re.escape(folded)}\b", name) and name not in near][:3]
    hint = f"; the nearest are {_named([known[name] for name in near])}" if near else ""
    raise EntityConfigError(
        f"{spec!r} is no company of the built-in universe{hint}. For one of your own write "
        f'{{ name = "{spec}", tickers = ["…"], aliases = ["…"] }}'
    )


def _named(found: Sequence[Entity]) -> str:
    return ", ".join(dict.fromkeys(f"{entity.id} ({entity.name})" for entity in found[:6]))


_KEYS = ("name", "tickers", "aliases", "associates", "context", "id", "country", "calendar")


def _custom(spec: Mapping[str, Any]) -> Entity:
    for key in spec:
        if key not in _KEYS:
            raise EntityConfigError(f"entity key {key!r} is unknown; allowed: {', '.join(_KEYS)}")
    name = _text(spec, "name", spec.get("name"))
    number = spec.get("id")
    chosen = slug(name) if number is None else _text(spec, "id", number)
    if len(chosen) > ID_LIMIT or re.search(r"[\s/]", chosen):
        raise EntityConfigError(
            f"entity {name!r}: id {chosen!r} must have no space or slash, at most {ID_LIMIT} characters"
        )
    lists = {key: _texts(spec, name, key) for key in ("tickers", "aliases", "associates", "context")}
    for key, texts in (("name", (name,)), ("aliases", lists["aliases"]), ("associates", lists["associates"])):
        for text in texts:
            if _is_anything(text):
                raise EntityConfigError(
                    f"entity {name!r}: {key} {text!r} is found in texts about anything; write it as only its own news "
                    "does, or a symbol among its tickers"
                )
    country, calendar = str(spec.get("country", "")), _calendar(name, spec.get("calendar"))
    return Entity(id=chosen, name=name, country=country, custom=True, calendar=calendar, **lists)


def _calendar(name: str, wanted: Any) -> str | None:
    if wanted is None or wanted in calendars():
        return None if wanted is None else str(wanted)
    near = difflib.get_close_matches(str(wanted).upper(), calendars(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise EntityConfigError(
        f"entity {name!r}: calendar {wanted!r} is none that is known{hint} Known are {', '.join(calendars())}"
    )


def _text(spec: Mapping[str, Any], key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise EntityConfigError(f"entity {dict(spec)!r}: {key} must be a text, not {value!r}")
    return value.strip()


def _texts(spec: Mapping[str, Any], name: str, key: str) -> tuple[str, ...]:
    values = spec.get(key, ())
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise EntityConfigError(f"entity {name!r}: {key} must be a list of texts, not {values!r}")
    return tuple(_text(spec, key, value) for value in values)
