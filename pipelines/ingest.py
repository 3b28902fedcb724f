"""Ingest: what a source brought becomes documents with an identity, four clocks and a language.

Pure but for its table of ids seen: the caller passes the time, and commits documents, ids and the source's
cursor as one unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from prometheus_client import Counter

from pipelines.documents import (
    Document,
    SourceClass,
    encode,
    iso,
)
from pipelines.language import language
from pipelines.sources.base import RawItem
from pipelines.streams.base import DOCUMENTS, Output, State
from pipelines.text import canonical_url, clean, day_spread, document_id

DOCUMENTS_TOTAL = Counter(
    "tapewatch_documents_total", "Items that sources brought, by what became of them.", ["source", "outcome"]
)

TITLE_LIMIT = 500
TEXT_LIMIT = 20_000
"""Characters kept of a text: the model reads the first few hundred, evidence shows the title."""

OVERSIZE = 2_000_000
"""Characters of one item beyond which it is no article: counted and dropped."""

EARLIEST = 86_400.0 * 366
"""A date in 1970 is a broken clock's, not a publication's."""

SEEN_FOR = 30 * 86_400.0
"""How long an id is remembered beyond its last sight, so that a feed's old entries are no news."""

HISTORY = "history"
"""Where documents of history go, in their order: one partition."""

DAY = 86_400.0


class Seen(msgspec.Struct, array_like=True):
    """What is remembered of a document: its latest revision, a hash of its words, when it was seen last."""

    revision: int
    content: int
    last: float


class Names(msgspec.Struct, array_like=True):
    """Ids to forget together."""

    ids: list[str]


TABLES: dict[str, type[object]] = {"seen": Seen, "by_time": Names, "cursors": bytes, "told": str}
"""``told``: by source, the state that was told of it last, so that a start neither repeats nor forgets a dead feed."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a batch comes from, and what ingest must know of it."""

    source: str
    class_: SourceClass
    publisher: str | None = None
    interval: float = 0.0
    last_success: float | None = None
    """Of the poll before this one; None at the first."""


OUTCOMES = ("accepted", "duplicate", "revision", "stale", "oversize", "invalid")


def count(source: str, **outcomes: int) -> None:
    """Counts what became of a source's items, by outcome; also none, for a rate needs the zero before the first."""
    for outcome in OUTCOMES:
        DOCUMENTS_TOTAL.labels(source, outcome).inc(outcomes.get(outcome, 0))


class Outcome(msgspec.Struct):
    """What became of a batch's items. It is counted (``count``) once it is durable: a unit may be tried again."""

    accepted: int = 0
    duplicate: int = 0
    revision: int = 0
    stale: int = 0
    oversize: int = 0
    invalid: int = 0
    outputs: list[Output] = []
    documents: list[Document] = []

    def count(self, source: str) -> None:
        """Counts it for its source."""
        count(source, **{outcome: getattr(self, outcome) for outcome in OUTCOMES})


def moment(item: RawItem, source: str) -> float:
    """The time at which an item of history counts, in seconds since 1970: what is sorted by it comes in the order of
    its documents' ``at``."""
    if item.at is not None:
        return min(item.at, item.fetched)
    return _published(item, _read(item, source)[3] if item.precision == "day" else "")


def _published(item: RawItem, name: str) -> float:
    """No date of the future, none of 1970; a day's date is spread over its day."""
    published = item.published
    if published is None or published < EARLIEST:
        published = item.fetched
    elif item.precision == "day":
        published = published - published % DAY + day_spread(name)
    return min(published, item.fetched)


def _read(item: RawItem, source: str) -> tuple[str, str, str | None, str]:
    """Title, text, address and id."""
    title = clean(item.title, markup=item.markup, limit=TITLE_LIMIT)
    text = clean(item.body, markup=item.markup, limit=TEXT_LIMIT)
    url = canonical_url(item.url) if item.url else None
    return title, text, url, document_id(source, item.guid, url, title or text[:200], item.published)


class Ingest:
    """Turns raw items into documents.

    ``max_age``: seconds after publication beyond which an item is counted and dropped; None accepts any age
    (backfill and replay).
    """

    def __init__(self, *, max_age: float | None, backfill: bool = False) -> None:
        self._max_age = max_age
        self._backfill = backfill

    def accept(self, items: Sequence[RawItem], origin: Origin, state: State, now: float) -> Outcome:
        """Documents for what is new or revised among ``items``, ready to be written at ``now``."""
        outcome = Outcome()
        names: list[str] = []
        for item in items:
            self._accept(item, origin, state, now, outcome, names)
        if names:
            by_time = state.table("by_time")
            key = f"{int(now):012d}/{names[0]}"
            by_time.put(key, Names(names))
            self._forget(state, now)
        outcome.documents.sort(key=lambda document: (document.at, document.id))
        # History is sorted by its time and must come so: from several partitions half of it would be late.
        together = HISTORY if self._backfill else ""
        outcome.outputs = [
            Output(DOCUMENTS, document.id, encode(document), together=together) for document in outcome.documents
        ]
        return outcome

    def _accept(
        self, item: RawItem, origin: Origin, state: State, now: float, outcome: Outcome, names: list[str]
    ) -> None:
        if len(item.title) + len(item.body) > OVERSIZE:
            outcome.oversize += 1
            return
        title, text, url, name = _read(item, origin.source)
        if not title and not text:
            outcome.invalid += 1
            return
        published, at = self._clocks(item, origin, name)
        if self._max_age is not None and now - published > self._max_age:
            outcome.stale += 1
            return
        revision = self._identify(name, title, text, state, now, names)
        if revision is None:
            outcome.duplicate += 1
            return
        if revision:
            outcome.revision += 1
        else:
            outcome.accepted += 1
        names.append(name)
        publisher = item.publisher or origin.publisher
        outcome.documents.append(
            Document(
                id=name,
                revision=revision,
                source=origin.source,
                class_=item.class_ or origin.class_,
                publisher=clean(publisher, markup=False, limit=120) if publisher else None,
                author=clean(item.author, markup=False, limit=120) if item.author else None,
                engagement=dict(item.engagement),
                url=url,
                title=title or text[:200],
                text=text if title else "",
                language=language(f"{title} {text[:400]}", item.language)[0],
                published=iso(published),
                updated=iso(item.updated) if item.updated and EARLIEST < item.updated <= now else None,
                fetched=iso(item.fetched),
                at=iso(at),
                backfill=self._backfill,
            )
        )

    def _clocks(self, item: RawItem, origin: Origin, name: str) -> tuple[float, float]:
        published = _published(item, name)
        if item.at is not None:
            return published, min(item.at, item.fetched)
        if self._backfill or self._max_age is None:
            return published, published
        patience = max(3 * origin.interval, 600.0)
        live = origin.last_success is not None and item.fetched - origin.last_success <= patience
        return published, item.fetched if live else published

    def _identify(self, name: str, title: str, text: str, state: State, now: float, names: list[str]) -> int | None:
        """The revision that this is, or None where these words were seen before."""
        seen = state.table("seen")
        digest = hashlib.blake2b(f"{title}\n{text}".encode(), digest_size=8).digest()
        content = int.from_bytes(digest, "big") >> 1
        known: Seen | None = seen.get(name)
        if known is None:
            seen.put(name, Seen(0, content, now))
            return 0
        if known.content == content:
            if now - known.last > DAY:
                seen.put(name, Seen(known.revision, content, now))
                names.append(name)
            return None
        seen.put(name, Seen(known.revision + 1, content, now))
        return known.revision + 1

    def _forget(self, state: State, now: float) -> None:
        """Lets go of the oldest ids, a few batches at a time."""
        seen, by_time = state.table("seen"), state.table("by_time")
        for key, names in list(by_time.items(below=f"{int(now - SEEN_FOR):012d}", limit=4)):
            for name in names.ids:
                known = seen.get(name)
                if known is not None and known.last < now - SEEN_FOR:
                    seen.delete(name)
            by_time.delete(key)
