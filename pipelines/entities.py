"""Companies in texts: names, aliases, tickers and cashtags become entities with stable ids.

An Aho-Corasick automaton finds every known name at once; rules decide which finds are real: whole words, the
longest match, upper case for tickers, and for names that are also everyday words the capital letter in mid-sentence
or another sign of the company. Offsets index ``f"{title}\\n{text}"``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import ahocorasick_rs
import msgspec

from pipelines.text import slug
from pipelines.universe import Entity

BODY = 2_000
"""Characters of the text that are searched: later mentions say little of what a story is about."""

Kind = Literal["cashtag", "exchange", "ticker", "name", "alias"]

CONFIDENCE: Mapping[Kind, float] = {"cashtag": 0.99, "exchange": 0.99, "name": 0.95, "alias": 0.9, "ticker": 0.7}


class EntityHit(msgspec.Struct, frozen=True):
    """An entity found in a document. ``relevance``, 0 to 1: how much the document is about it."""

    id: str
    name: str
    relevance: float
    spans: tuple[tuple[int, int], ...]
    kind: Kind
    confidence: float


class EntityConfigError(ValueError):
    """A watch-list entry names no entity, or more than one."""


class _Pattern(NamedTuple):
    entity: int
    text: str
    kind: Kind
    guarded: bool
    """The name is an everyday word too, and needs a sign that the company is meant."""


# Everyday words that are company names or tickers as well: written like this in running text they need a sign.
AMBIGUOUS = frozenset(
    "apple target gap visa shell orange next boots delta ford nike meta match block square snap unity equity citizens "
    "progressive discover principal fox news gen best chase dollar dominion edison emerson fidelity fortune general "
    "global ball crown lamb masco pool waters garmin first public service republic southern travelers hartford "
    "universal textron western williams linde sage smiths centrica compass hess carnival allstate alphabet amazon "
    "oracle amp ansys aptiv arch assurant camden cooper corning cummins dover eaton ecolab entergy equinix everest "
    "evergy garrett genuine hologic humana illumina international mid moderna mosaic nasdaq northern nucor paramount "
    "parker quanta regions rollins ross sherwin simon southwest state steel stanley sun union valero ventas viatris "
    "vulcan wells zions admiral aviva informa spirax severn halma rational puma continental fraport basic bp bt be a "
    "accor danone engie air total vinci ge gm hp it all so on are key low now fast cat dow hd v c f t k o d ma mmm "
    "intelligent monster nordic swiss royal bank capital group holdings motor motors energy industries partners media "
    "host ups keys well life love real tech eye man fun car gold big beat good home wow most ever any can has was see "
    "new one two out top nice spring summit strategy coin pinnacle liberty frontier discovery aurora premier pioneer "
    "element vital prime direct unite rights renew pure rise galaxy ocado mondi persimmon experian intact loews".split()
)

_SUFFIX = re.compile(
    r"[\s,]+(?:incorporated|inc|corporation|corp|company|co|plc|ltd|limited|llc|lp|ag|se|sa|s\.a|s\.p\.a|spa|nv|n\.v|"
    r"a/s|asa|ab|oyj|kgaa|gmbh|holdings?|group|the|class [abc]|\(class [abc]\)|& co)\.?$",
    re.IGNORECASE,
)
_WORDY = re.compile(r"\w")
_EXCHANGE = re.compile(
    r"[(\[]\s*(?:NYSE(?: ?(?:American|Arca))?|NASDAQ|Nasdaq|AMEX|LSE|LON|TSX|ASX|HKEX|SEHK|XETRA|ETR|EPA|AMS)\s*:\s*"
    r"([A-Z0-9]{1,6}(?:[.\-][A-Z]{1,2})?)\s*[)\]]"
)
_CASHTAG = re.compile(r"(?<![\w$])\$([A-Z]{1,5}(?:[.\-][A-Z]{1,2})?)(?![\w])")
_COMPANY_SIGN = re.compile(
    r"\b(?:shares?|stock|stocks|ceo|cfo|chairman|profits?|revenues?|earnings|sales|dividend|investors?|analysts?|"
    r"quarter|quarterly|q[1-4]|ipo|inc|corp|plc|ltd|says|said|plans|recalls?|sues?|sued|lawsuit|probe|guidance|"
    r"upgraded?|downgraded?|outlook|results|merger|takeover|deal|bid|stake|layoffs|jobs|iphone|stores?)\b",
    re.IGNORECASE,
)
_HAN = re.compile("[\u4e00-\u9fff]")


def bare_name(name: str) -> str:
    """A company's name without its legal form: "Acme Holdings plc" is "Acme"."""
    before = None
    while name != before:
        before = name
        name = _SUFFIX.sub("", name).strip(" ,.&")
    return name


class EntityIndex:
    """Finds the given entities in texts. Building takes about a second for the whole universe."""

    def __init__(self, entities: Iterable[Entity]) -> None:
        self._entities = tuple({entity.id: entity for entity in entities}.values())
        self._tickers: dict[str, int] = {}
        patterns: dict[str, _Pattern] = {}
        for number, entity in enumerate(self._entities):
            for pattern in self._patterns(number, entity):
                patterns.setdefault(pattern.text.lower(), pattern)
            for ticker in entity.tickers:
                self._tickers.setdefault(ticker.upper().replace("-", "."), number)
        self._patterns_by_number = tuple(patterns.values())
        self._automaton = ahocorasick_rs.AhoCorasick(
            [_fold(pattern.text) for pattern in self._patterns_by_number] or ["\x00"],
            matchkind=ahocorasick_rs.MatchKind.LeftmostLongest,
        )

    def _patterns(self, number: int, entity: Entity) -> list[_Pattern]:
        names = {entity.name: "name", bare_name(entity.name): "name"}
        names |= {alias: "alias" for alias in entity.aliases}
        found = []
        for name, kind in names.items():
            if len(name) < 2 or (len(name) < 3 and not entity.custom and not _HAN.search(name)):
                continue
            guarded = name.lower() in AMBIGUOUS
            found.append(_Pattern(number, name, "name" if kind == "name" else "alias", guarded))
        for ticker in entity.tickers:
            plain = ticker.split(".")[0]
            if plain.isalpha() and len(plain) >= (2 if entity.custom else 3) and plain.lower() not in AMBIGUOUS:
                found.append(_Pattern(number, plain, "ticker", guarded=False))
        return found

    def find(self, title: str, text: str = "") -> list[EntityHit]:
        """The entities of a document in the order of their first mention."""
        whole = f"{title}\n{text[:BODY]}"
        spans: dict[int, list[tuple[int, int]]] = {}
        kinds: dict[int, Kind] = {}

        def note(number: int, start: int, end: int, kind: Kind) -> None:
            spans.setdefault(number, []).append((start, end))
            if number not in kinds or CONFIDENCE[kind] > CONFIDENCE[kinds[number]]:
                kinds[number] = kind

        folded = _fold(whole)
        if len(folded) == len(whole):
            for place, start, end in self._automaton.find_matches_as_indexes(folded):
                pattern = self._patterns_by_number[place]
                if self._real(whole, start, end, pattern):
                    note(pattern.entity, start, end, pattern.kind)
        if "$" in whole:
            self._regular(_CASHTAG, whole, "cashtag", note)
        if ":" in whole:
            self._regular(_EXCHANGE, whole, "exchange", note)
        return self._hits(spans, kinds, len(title))

    def _regular(self, expression: re.Pattern[str], whole: str, kind: Kind, note: Any) -> None:
        for match in expression.finditer(whole):
            number = self._tickers.get(match[1].upper().replace("-", "."))
            if number is not None:
                note(number, match.start(1), match.end(1), kind)

    def _real(self, whole: str, start: int, end: int, pattern: _Pattern) -> bool:
        found = whole[start:end]
        if not _HAN.search(found):
            if start and _WORDY.match(whole[start - 1]) and _WORDY.match(found[0]):
                return False
            if end < len(whole) and _WORDY.match(whole[end]) and _WORDY.match(found[-1]):
                return False
            if start and whole[start - 1] in "@#" and pattern.kind == "ticker":
                return False
        if pattern.kind == "ticker":
            return found == found.upper() and not _shouting(whole)
        if _HAN.search(found):
            return True
        if found[0].islower() and pattern.text[0].isupper():
            return False
        return not pattern.guarded or self._sign(whole, start, end, found)

    def _sign(self, whole: str, start: int, end: int, found: str) -> bool:
        """Whether an everyday word stands for the company here: capital, and business beside it."""
        if not found[0].isupper():
            return False
        if whole[end : end + 2] in ("'s", "’s"):
            return True
        after = whole[end : end + 40]
        if re.match(r"\s+(?:of|and|to|the|in|on|for|a|is|pie|juice|tree|date|price|line|year|month|week)\b", after):
            return False
        around = whole[max(0, start - 60) : start] + " " + after
        return _COMPANY_SIGN.search(around) is not None

    def _hits(
        self, spans: Mapping[int, list[tuple[int, int]]], kinds: Mapping[int, Kind], title: int
    ) -> list[EntityHit]:
        count = len(spans)
        hits = []
        for rank, (number, places) in enumerate(sorted(spans.items(), key=lambda item: min(item[1]))):
            entity = self._entities[number]
            in_title = any(start < title for start, _ in places)
            kind = kinds[number]
            relevance = CONFIDENCE[kind] * (1.0 if in_title else 0.5)
            # A story is about its first company most, and a round-up about none of its many.
            relevance *= 1.0 if rank == 0 else 0.8
            if count > 3:
                relevance *= 3.0 / count
            ordered = tuple(sorted(set(places)))
            hits.append(EntityHit(entity.id, entity.name, round(relevance, 4), ordered, kind, CONFIDENCE[kind]))
        return hits


def _fold(text: str) -> str:
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _shouting(whole: str) -> bool:
    """All capitals: there upper case is no sign of a ticker."""
    letters = [character for character in whole if character.isalpha()]
    return len(letters) > 20 and sum(character.isupper() for character in letters) > 0.7 * len(letters)


def resolve(spec: str | Mapping[str, Any], universe: Sequence[Entity]) -> Entity:
    """A watch-list entry as an entity: a ticker, a name or an alias of the universe, or a company of the user's own."""
    if not isinstance(spec, str):
        return _custom(spec)
    wanted = spec.strip()
    for entity in universe:
        if wanted.upper() in (entity.id.upper(), *(ticker.upper() for ticker in entity.tickers)):
            return entity
    folded = bare_name(wanted).lower()
    found = [e for e in universe if folded in {bare_name(n).lower() for n in (e.name, *e.aliases)}]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{entity.id} ({entity.name})" for entity in found[:6])
        raise EntityConfigError(f"{spec!r} names several companies: {names}; write the one you mean by its id")
    names_known = [bare_name(entity.name) for entity in universe]
    near = difflib.get_close_matches(bare_name(wanted), names_known, n=3, cutoff=0.75)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise EntityConfigError(
        f"{spec!r} is no company of the built-in universe{hint}. For one of your own write "
        f'{{ name = "{spec}", tickers = ["…"], aliases = ["…"] }}'
    )


def _custom(spec: Mapping[str, Any]) -> Entity:
    unknown = set(spec) - {"name", "tickers", "aliases", "id"}
    if unknown:
        raise EntityConfigError(f"entity key {sorted(unknown)[0]!r} is unknown; allowed: name, tickers, aliases, id")
    name = spec.get("name")
    if not isinstance(name, str) or not name.strip():
        raise EntityConfigError("an entity of your own needs a name")
    tickers, aliases = tuple(spec.get("tickers", ())), tuple(spec.get("aliases", ()))
    for label, values in (("tickers", tickers), ("aliases", aliases)):
        if not all(isinstance(value, str) and value.strip() for value in values):
            raise EntityConfigError(f"entity {name!r}: {label} must be a list of texts")
    return Entity(
        id=str(spec.get("id") or slug(name)), name=name.strip(), tickers=tickers, aliases=aliases, country="", custom=True
    )


