"""Companies in texts: names, aliases, tickers and cashtags become entities with stable ids.

An Aho-Corasick automaton finds every known name at once, a regular expression the upper-case tokens; rules decide
which finds are real: whole words, the longest match, upper case for tickers, and for names that are everyday words
too ("Apple", "Target") signs that the company is meant. All offsets index ``f"{title}\\n{text}"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import ahocorasick_rs
import msgspec

from pipelines.surroundings import FREE, GENERIC, Reading, acronyms, is_word, level_of
from pipelines.universe import AmbiguousEntityError, Entity, EntityConfigError, bare_name, load_universe, resolve

__all__ = [
    "AmbiguousEntityError",
    "Entity",
    "EntityConfigError",
    "EntityHit",
    "EntityIndex",
    "Kind",
    "load_universe",
    "resolve",
]

BODY = 2_000
"""Characters of the text that are searched: later mentions say little of what a story is about."""

Kind = Literal["cashtag", "ticker", "name", "alias"]

SURE, NAMED, BARE = 0.99, 0.95, 0.75
"""Confidence of exchange notation and cashtags, of unmistakable names, of bare tickers."""

SUFFICIENT = 0.6
"""Confidence below which a find doesn't count: for an everyday word, two signs of the company."""

BROKERS = frozenset(
    "JPM GS BAC C MS WFC JEF DBK.DE BARC.L UBSG.SW HSBA.L RJF SF EVR PIPR RY TD BMO BNS BNP.PA GLE.PA "  # noqa: SIM905 (reads better as words)
    "8604.T PJT LAZ CFG MCO SPGI MORN".split()
)
"""Who publishes ratings of others: a downgrade by them is no news about them."""


class EntityHit(msgspec.Struct, frozen=True):
    """An entity found in a document.

    ``relevance``, 0 to 1: how much the document is about it. ``spans``: (start, end) of its mentions in
    ``f"{title}\\n{text}"``. ``confidence``, 0 to 1: that the words mean this entity at all.
    """

    id: str
    name: str
    relevance: float
    spans: tuple[tuple[int, int], ...]
    kind: Kind
    confidence: float


class _Name(NamedTuple):
    """One way to write entities: several companies may share it."""

    text: str
    owners: tuple[int, ...]
    kind: Kind
    level: int
    associate: bool
    words: bool
    """Made of everyday words only: never read in lower case."""
    tail: int = 0
    """Where its last word stands if that is an everyday word, which "British steel" has small, "British Steel" not."""


class _Find(NamedTuple):
    start: int
    end: int
    owners: tuple[int, ...]
    kind: Kind
    confidence: float
    associate: bool


_TOKEN = re.compile(r"(?<![\w$.&/@#-])[A-Z0-9][A-Z0-9&]{0,5}(?:[.-][A-Z]{1,2})?(?![\w&])")
_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z]{1,5}(?:[.\-][A-Za-z]{1,2})?)(?!\w)")
_EXCHANGE = re.compile(
    r"\b(?:NYSE(?: ?(?:American|Arca|MKT))?|NASDAQ(?:GS|GM|CM)?|Nasdaq|AMEX|LSE|LON|AIM|TSX|TYO|TSE|ASX|HKEX|HKG|"
    r"SEHK|SIX|XETRA|ETR|FRA|EPA|AMS|BME|STO|Euronext(?: \w+)?|EBR|BIT)\s?:\s?([A-Z0-9]{1,6}(?:[.\-][A-Z]{1,2})?)(?!\w)"
)
_RIC = re.compile(r"[<(]([A-Z0-9]{1,6})\.(O|OQ|N|K|L|DE|PA|T|AS|MC|SW|S|ST|HE|MI|BR)[>)]")
_LISTED = re.compile(r"(?:,? and |,? & |, | or |/|, and )")
_LISTED_BEFORE = re.compile(r"(?:,? and |,? & |, | or |/)$")
_ANALYST = re.compile(
    r"\b(?:upgrad\w+|downgrad\w+|price targets?|initiat\w+|reiterat\w+|overweight|underweight|outperform|underperform|"
    r"analysts?|rating|target (?:raised|cut|lifted)|says? (?:buy|sell)|(?:raises|cuts|lifts) \S+ (?:to|target))\b",
    re.IGNORECASE,
)
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff\uac00-\ud7af]")


class EntityIndex:
    """Finds the given entities in texts; where names collide the user's own entity wins, then the earlier one.

    Building takes a tenth of a second for the whole universe, a look at a headline some tens of microseconds.
    """

    def __init__(self, entities: Iterable[Entity]) -> None:
        unique = {entity.id: entity for entity in entities}
        self._entities = tuple(sorted(unique.values(), key=lambda entity: not entity.custom))
        self._context = tuple(_context(entity) for entity in self._entities)
        self._tickers: dict[str, tuple[int, ...]] = {}
        self._bare = {ticker for entity in self._entities for ticker in entity.tickers}
        """Read without any notation as they are listed: "AAPL" and "SAP.DE", but not "SAN" for "SAN.MC"."""
        self._tokens: dict[str, _Name] = {}
        names: dict[str, _Name] = {}
        for number, entity in enumerate(self._entities):
            self._add_tickers(number, entity)
            for name in _spellings(number, entity):
                table, key = (self._tokens, name.text) if _is_token(name.text) else (names, _fold(name.text))
                known = table.get(key)
                table[key] = name if known is None else known._replace(owners=(*known.owners, number))
        for number, entity in enumerate(self._entities):
            short = short_name(entity.name)
            known_short = short is None or _fold(short) in names or level_of(short) == GENERIC
            if short is not None and not known_short and not entity.custom:
                names[_fold(short)] = _Name(short, (number,), "alias", level_of(short), associate=False, words=False)
        self._names = tuple(names.values())
        self._automaton = ahocorasick_rs.AhoCorasick(list(names))

    def _add_tickers(self, number: int, entity: Entity) -> None:
        for ticker in entity.tickers:
            plain = ticker.upper().replace("-", ".")
            for symbol in {plain, plain.split(".")[0]}:  # "LON:TSCO" and "$TSCO.L"
                known = self._tickers.get(symbol, ())
                if number not in known:
                    # A symbol of its own goes before another exchange's: "IAG" is New York's before London's.
                    self._tickers[symbol] = (number, *known) if symbol == plain else (*known, number)

    def find(self, title: str, text: str = "") -> list[EntityHit]:
        """The entities of a document in the order of their first mention."""
        whole = f"{title}\n{text[:BODY]}"
        reading = Reading(whole, len(title))
        finds = self._notations(whole)
        certain = {owner for find in finds for owner in find.owners}
        finds += self._by_name(reading, certain)
        finds += self._by_token(reading)
        return self._hits(_longest(finds), reading, len(title)) if finds else []

    # -- finding ------------------------------------------------------------------------------------------

    def _notations(self, whole: str) -> list[_Find]:
        """Cashtags, exchange notation and Reuters codes: unmistakable."""
        found: list[_Find] = []
        if "$" in whole:
            for match in _CASHTAG.finditer(whole):
                self._notation(found, match[1], match.span(), "cashtag")
        if ":" in whole:
            for match in _EXCHANGE.finditer(whole):
                self._notation(found, match[1], match.span(1), "ticker")
        if "." in whole:
            for match in _RIC.finditer(whole):
                american = match[2] in ("O", "OQ", "N", "K")
                self._notation(found, match[1] if american else f"{match[1]}.{match[2]}", match.span(), "ticker")
        return found

    def _notation(self, found: list[_Find], ticker: str, span: tuple[int, int], kind: Kind) -> None:
        owners = self._tickers.get(ticker.upper().replace("-", "."))
        if owners:
            found.append(_Find(*span, owners[:1], kind, SURE, associate=False))

    def _by_name(self, reading: Reading, certain: set[int]) -> list[_Find]:
        found: list[_Find] = []
        doubtful: list[_Find] = []
        for place, start, end in self._automaton.find_matches_as_indexes(_fold(reading.whole), overlapping=True):
            name = self._names[place]
            if not _HAN.match(name.text) and not reading.is_whole(start, end):
                continue
            confidence = self._confidence(reading, start, end, name, certain)
            if confidence > 0:
                kept = found if confidence >= SUFFICIENT else doubtful
                kept.append(_Find(start, end, name.owners, name.kind, confidence, name.associate))
        if found and doubtful:
            _accept_enumerated(reading.whole, found, doubtful)
        return found

    def _confidence(self, reading: Reading, start: int, end: int, name: _Name, certain: set[int]) -> float:
        """How sure it is that these words mean the company and not themselves."""
        if _HAN.match(name.text):
            return NAMED
        surface = reading.whole[start:end]
        if surface.islower() and not name.text.islower():
            return 0.8 if name.level == FREE and not name.words else 0.0
        if name.tail and not surface[name.tail].isupper():
            return 0.0
        if name.level == FREE:
            return NAMED if name.kind == "name" else 0.9
        if certain.intersection(name.owners):
            return NAMED
        signs = reading.signs(start, end, surface, self._context[name.owners[0]])
        if name.level == GENERIC and not reading.legal_form_follows(end):
            return 0.0
        return min(0.95, max(0.0, 0.4 + 0.1 * signs))

    def _by_token(self, reading: Reading) -> list[_Find]:
        found = []
        for match in _TOKEN.finditer(reading.whole):
            token = match[0]
            name = self._tokens.get(token)
            if name is not None and (not reading.shouts(match.start()) or (len(token) > 2 and not is_word(token))):
                if name.level == FREE or reading.signs(*match.span(), token, frozenset()) >= 1:
                    found.append(_Find(*match.span(), name.owners, name.kind, 0.9, name.associate))
            elif name is None and self._is_ticker(token, reading, match.start()):
                owners = self._tickers[token.replace("-", ".")]
                found.append(_Find(*match.span(), owners, "ticker", BARE, associate=False))
        return found

    def _is_ticker(self, token: str, reading: Reading, start: int) -> bool:
        """A bare upper-case token is a ticker if it is known, long enough, no word and not shouted."""
        owners = self._tickers.get(token.replace("-", "."))
        if not owners or token not in self._bare or token.isdigit() or is_word(token) or token in acronyms():
            return False
        if "." in token or "-" in token:
            return True
        least = 2 if self._entities[owners[0]].custom else 3
        return len(token) >= (4 if reading.shouts(start) else least)

    # -- weighing -----------------------------------------------------------------------------------------

    def _hits(self, finds: Sequence[_Find], reading: Reading, title: int) -> list[EntityHit]:
        mentions: dict[int, list[_Find]] = {}
        sure = {find.owners[0] for find in finds if len(find.owners) == 1}
        for find in finds:
            mentions.setdefault(self._owner(find, reading, sure), []).append(find)
        in_title = {number for number, found in mentions.items() if found[0].start < title}
        rated = len(in_title) > 1 and _ANALYST.search(reading.whole, 0, title) is not None
        hits = []
        for rank, (number, found) in enumerate(mentions.items()):
            entity = self._entities[number]
            best = max(found, key=lambda find: (not find.associate, find.confidence))
            among = len(in_title) if number in in_title else len(mentions)
            relevance = _relevance(found[0].start, title, rank, among)
            if best.associate:
                relevance *= 0.6
            others = any(self._entities[n].id not in BROKERS for n in in_title)
            if (rated and entity.id in BROKERS and others) or reading.is_attribution(found[0].start, found[0].end):
                relevance *= 0.25
            spans = tuple((find.start, find.end) for find in found)
            hits.append(
                EntityHit(entity.id, entity.name, round(relevance, 4), spans, best.kind, round(best.confidence, 3))
            )
        return hits

    def _owner(self, find: _Find, reading: Reading, sure: set[int]) -> int:
        """Which of several companies of one name is meant: the user's, one named otherwise, one whose context fits."""
        first = find.owners[0]
        if len(find.owners) == 1 or self._entities[first].custom:
            return first
        for number in find.owners:
            if number in sure:
                return number
        for number in find.owners:
            if reading.context_words(self._context[number]):
                return number
        return first


def _relevance(start: int, title: int, rank: int, among: int) -> float:
    """First in the title 1; later, further down or among many less: a round-up of n shares 2 among its n."""
    if start < title:
        place = 1.0 if rank == 0 or start < 0.4 * title else 0.85
    else:
        place = 0.5 if start - title < 300 else 0.3
    return place * min(1.0, 2.0 / among)


def _accept_enumerated(whole: str, found: list[_Find], doubtful: Sequence[_Find]) -> None:
    """ "Apple, Google and Amazon": a name in one list with a certain one is certain too."""
    starts = {find.start for find in found}
    ends = {find.end for find in found}
    for find in reversed(doubtful):
        after, before = _LISTED.match(whole, find.end), _LISTED_BEFORE.search(whole, max(0, find.start - 6), find.start)
        if (after and after.end() in starts) or (before and before.start() in ends):
            found.append(find._replace(confidence=0.8))
            starts.add(find.start)
            ends.add(find.end)


def _longest(finds: Iterable[_Find]) -> list[_Find]:
    """Without the finds inside longer ones, in their order in the text."""
    kept: list[_Find] = []
    taken: list[tuple[int, int]] = []
    for find in sorted(finds, key=lambda find: (find.start - find.end, -find.confidence, find.start)):
        if all(find.end <= start or find.start >= end for start, end in taken):
            kept.append(find)
            taken.append((find.start, find.end))
    return sorted(kept)


# -- names ------------------------------------------------------------------------------------------------


def _spellings(number: int, entity: Entity) -> list[_Name]:
    """Every way to write an entity, each once."""
    forms: dict[str, tuple[Kind, bool]] = {entity.name: ("name", False), bare_name(entity.name): ("name", False)}
    for alias in entity.aliases:
        forms.setdefault(alias, ("alias", False))
    for associate in entity.associates:
        forms.setdefault(associate, ("alias", True))
    for form, meaning in list(forms.items()):
        for variant in _variants(form):
            forms.setdefault(variant, meaning)
    return [
        _Name(
            form,
            (number,),
            kind,
            FREE if entity.custom and entity.context == () and " " in form else level_of(form),
            associate,
            all(is_word(word) for word in re.findall(r"\w+", form)),
            _tail(form),
        )
        for form, (kind, associate) in forms.items()
        if len(form) >= 2
    ]


def _tail(form: str) -> int:
    last = form.rfind(" ") + 1
    return last if last and form[last].isupper() and is_word(form[last:]) else 0


_DESCRIPTION = re.compile(
    r"(?: (?:Technolog(?:y|ies)|Pharmaceuticals?|International|Systems|Therapeutics|Financial|Services|Industries|"
    r"Resources|Entertainment|Athletica|Mexican Grill|Platforms|Motors?|Software|Networks|Semiconductors?|Foods|Brands|"
    r"Biosciences|Laboratories|Worldwide|Hotels|Hospitality|Electric|Energy|Scientific|Materials|Chemicals?|"
    r"Communications|Airlines|Robotics|Solutions|Healthcare|Health|Banking|Global))+$"
)


def short_name(name: str) -> str | None:
    """What people call "Palantir Technologies": the name without its trade, where what is left is no everyday word."""
    short = _DESCRIPTION.sub("", name)
    if short == name or len(short) < 5 or is_word(short.split()[0]):
        return None
    return short


def _variants(form: str) -> Iterable[str]:
    if "&" in form:
        yield form.replace("&", "&amp;")
        if " & " in form:
            yield form.replace(" & ", " and ")
            yield form.replace(" & ", "&")
    if "'" in form:
        yield form.replace("'", "’")
    if "-" in form and len(form) > 6:
        yield form.replace("-", " ")


def _is_token(form: str) -> bool:
    """Short and in capitals: read as a token, in capitals only."""
    return _TOKEN.fullmatch(form) is not None and len(form) <= 6 and form.upper() == form


def _context(entity: Entity) -> frozenset[str]:
    return frozenset(word.lower() for word in entity.context)


def _fold(text: str) -> str:
    """Lower case of the same length, so that offsets stay."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
