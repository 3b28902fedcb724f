"""Takes single documents out of the embedded engine's store, on a publisher's demand, while no daemon runs.

What a document told of itself goes: log, evidence, quotes in alerts and in what is owed. What was counted stays
counted, and its id stays known, so that a feed which still shows it doesn't bring it again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import msgspec

from alerts import quotes
from alerts.exhibits import Exhibit
from alerts.outbox import Obligation
from pipelines import burning, exhibits, owing, retold
from pipelines.aggregate import Aggregate
from pipelines.commands import without_note
from pipelines.documents import AlertRecord, DeadLetter, decode, encode
from pipelines.letters import about
from pipelines.notify import OPERATION, Notify
from pipelines.streams.base import (
    ALERTS,
    CANDIDATES,
    COMMANDS,
    DEAD_LETTERS,
    DOCUMENTS,
    EVIDENCE,
    OUTBOX,
    SCORES,
    Record,
)
from pipelines.streams.soundness import guarded
from pipelines.streams.store import Store

ID = re.compile(r"[\w.:/-]{1,200}")
"""What is searched for in records: long enough a name, of characters that JSON writes as they are."""


def forget(path: Path, documents: Collection[str], *, now: Callable[[], float]) -> dict[str, int]:
    """Topic to how many records it lost, or that lost a quote. Raises StoreLocked while a daemon runs, StoreTorn."""
    store = Store(path, now=now)
    try:
        with guarded(path):
            return _forget(store, documents)
    finally:
        store.close()


def _forget(store: Store, documents: Collection[str]) -> dict[str, int]:
    changed: dict[str, int] = {}
    with store.transaction():
        for topic in (DOCUMENTS, SCORES, EVIDENCE, CANDIDATES, ALERTS, COMMANDS):
            for name in documents:
                change = partial(_of_the_log, name)
                changed[topic] = changed.get(topic, 0) + store.rewrite(topic, change, f'"{name}"'.encode())
        changed[OUTBOX] = store.rewrite(OUTBOX, partial(_owed, documents))
        changed[DEAD_LETTERS] = store.rewrite(DEAD_LETTERS, partial(_letter, documents))
        _of_the_stages(store, documents)
    store.empty_wal()
    return changed


def _of_the_log(name: str, record: Record) -> bytes | None:
    """The record without ``name``: nothing is left of its own ones, and of what quotes it all but the quote."""
    if record.topic == ALERTS:
        alert = decode(AlertRecord, record.value)
        body = quotes.without(bytes(alert.body), quotes.of({name}))
        return record.value if body is None else encode(msgspec.structs.replace(alert, body=msgspec.Raw(body)))
    if record.topic == CANDIDATES:
        if record.key.startswith(OPERATION):
            return record.value
        return exhibits.lighter(record.value, lambda exhibit: exhibit.document == name) or record.value
    if record.topic == COMMANDS:  # a note on an alert that quoted it may do so too
        return without_note(record.value, lambda _: True)
    mine = msgspec.json.decode(record.value, type=_Named).id == name
    return None if mine else record.value


class _Named(msgspec.Struct):
    id: str = ""


def _owed(documents: Collection[str], record: Record) -> bytes:
    owed = decode(Obligation, record.value)
    body = quotes.without(owed.body, quotes.of(documents)) if owed.body else None
    return record.value if body is None else encode(msgspec.structs.replace(owed, body=body))


def _letter(documents: Collection[str], record: Record) -> bytes | None:
    return None if about(decode(DeadLetter, record.value), documents) else record.value


def _of_the_stages(store: Store, documents: Collection[str]) -> None:
    aggregate = store.state(Aggregate.name, Aggregate.tables)

    def gone(exhibit: Exhibit) -> bool:
        return exhibit.document in documents

    retold.take_down(aggregate, gone)
    notify = store.state(Notify.name, Notify.tables)
    burning.unquote(notify, gone)
    owing.unquote(quotes.of(documents), notify)
