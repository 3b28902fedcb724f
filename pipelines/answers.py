"""What page, API and operators' commands ask of the read model. Reads only, from any thread."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from alerts.verdicts import Verdict, figures, latest
from pipelines.documents import SeriesPoint, decode
from pipelines.streams.base import StoreTorn
from pipelines.streams.soundness import guarded
from pipelines.watch import Watch


class Answers:
    """The asking side of the read model's file; each thread has a connection of its own. Whoever asks, StoreTorn may
    be the answer."""

    def __init__(self, path: Path, watch: Watch) -> None:
        self.path = path
        self._watch = watch
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self.torn: StoreTorn | None = None
        """How the file proved damaged, if it did."""

    def adopt(self, watch: Watch) -> None:
        """Takes over new watch-lists."""
        self._watch = watch

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

    def _reader(self) -> sqlite3.Connection:
        reader: sqlite3.Connection | None = getattr(self._local, "db", None)
        if reader is None:
            reader = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=10
            )
            self._local.db = reader
            self._readers.append(reader)
        return reader

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with guarded(self.path):
                yield
        except StoreTorn as error:
            self.torn = self.torn or error
            raise

    def _each(self, sql: str, *values: Any) -> Iterator[Any]:
        """Row after row: more than should be held at once."""
        with self._guarded():
            yield from self._reader().execute(sql, values)

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return list(self._each(sql, *values))

    def ask(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a question that a module beside this one has."""
        return self._rows(sql, *values)

    def documents(self, key: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The latest documents, of a key or of all, newest first; history that was backfilled after all others."""
        order = "ORDER BY backfill, at DESC, number DESC LIMIT ?"
        if key is None:
            rows = self._rows(f"SELECT record FROM documents {order}", limit)
        else:
            # Along the tape until there are enough: of a key like the market nearly every document would be sorted.
            joined = "documents CROSS JOIN document_keys USING (number)"
            rows = self._rows(f"SELECT record FROM {joined} WHERE key = ? {order}", key, limit)
        return [json.loads(row[0]) for row in rows]

    def find(self, words: str) -> Iterator[dict[str, Any]]:
        """Documents whose title or address holds ``words``, whatever their case, the latest first."""
        wanted = words.casefold()
        for (record,) in self._each("SELECT record FROM documents ORDER BY number DESC"):
            document = json.loads(record)
            if wanted in document["title"].casefold() or wanted in (document["url"] or "").casefold():
                yield document

    @property
    def watch(self) -> Watch:
        """What is watched."""
        return self._watch

    def series(
        self, key: str, since: float = 0.0, limit: int = 5_000, *, until: float | None = None
    ) -> list[dict[str, Any]]:
        """A key's blocks that began from ``since`` on and before ``until``: the latest, oldest first."""
        rows = self._rows(
            "SELECT record FROM (SELECT record, start FROM series WHERE key = ?1 AND start >= ?2 "
            "AND (?3 IS NULL OR start < ?3) ORDER BY start DESC LIMIT ?4) ORDER BY start",
            key,
            since,
            until,
            limit,
        )
        return [json.loads(row[0]) for row in rows]

    def alerts(
        self,
        *,
        status: str | None = None,
        key: str | None = None,
        since: float | None = None,
        until: float | None = None,
        merged: bool = False,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Each alert's latest event, newest first. ``status``: firing (and updated), or resolved. ``merged``: with
        those that are part of another alert."""
        where, values = ["type LIKE 'alert.%'"], list[Any]()
        if key is not None:
            where.append("key = ?")
            values.append(key)
        if since is not None:
            where.append("at >= ?")
            values.append(since)
        if until is not None:
            where.append("at < ?")
            values.append(until)
        latest = (
            "SELECT record, type, at, row_number() OVER (PARTITION BY alert ORDER BY sequence DESC) AS place "
            "FROM alerts WHERE " + " AND ".join(where)  # fixed conditions, bound values
        )
        wanted = {"firing": "type != 'alert.resolved'", "resolved": "type = 'alert.resolved'"}
        shown = ["place = 1", *([wanted[status]] if status in wanted else [])]
        if not merged:
            shown.append("json_extract(record, '$.merged_into') IS NULL")
        sql = f"SELECT record FROM ({latest}) WHERE {' AND '.join(shown)} ORDER BY at DESC LIMIT ?"
        return [json.loads(row[0]) for row in self._rows(sql, *values, limit)]

    def alert(self, name: str) -> list[dict[str, Any]]:
        """All events of an alert, by the alert's or any of its events' id, oldest first."""
        rows = self._rows(
            "SELECT record FROM alerts WHERE alert = ?1 OR alert = (SELECT alert FROM alerts WHERE id = ?1) "
            "ORDER BY sequence",
            name,
        )
        return [json.loads(row[0]) for row in rows]

    def operations(self, limit: int = 50) -> list[dict[str, Any]]:
        """The latest operational events, newest first."""
        rows = self._rows("SELECT record FROM alerts WHERE type LIKE 'ops.%' ORDER BY at DESC LIMIT ?", limit)
        return [json.loads(row[0]) for row in rows]

    def sources(self) -> list[dict[str, Any]]:
        return [json.loads(row[0]) for row in self._rows("SELECT record FROM sources ORDER BY source")]

    def attempts(self, event: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Delivery attempts, newest first."""
        rows = self._rows(
            "SELECT record FROM attempts WHERE ?1 IS NULL OR event = ?1 ORDER BY at DESC LIMIT ?2", event, limit
        )
        return [json.loads(row[0]) for row in rows]

    def latest(self, key: str) -> list[SeriesPoint]:
        """A key's latest block of each class, history apart."""
        rows = self._rows("SELECT record, max(start) FROM series WHERE key = ? GROUP BY class", key)
        return [point for row in rows if not (point := decode(SeriesPoint, row[0].encode())).backfill]

    def history(self, key: str, since: float, until: float) -> Iterator[SeriesPoint]:
        """A key's blocks that began in a time, history too, oldest first."""
        sql = "SELECT record FROM series WHERE key = ? AND start >= ? AND start < ? ORDER BY start, class"
        rows = self._each(sql, key, since, until)
        return (decode(SeriesPoint, record.encode()) for (record,) in rows)

    def oldest(self) -> float | None:
        """When the first block began that is still held of any key."""
        start: float | None = self._rows("SELECT min(start) FROM series")[0][0]
        return start

    def scores(self, key: str, before: float) -> dict[str, float]:
        """Class to a key's score in the last block that began before a time."""
        rows = self._rows(
            "SELECT record, max(start) FROM series WHERE key = ? AND start < ? GROUP BY class", key, before
        )
        points = (decode(SeriesPoint, record.encode()) for record, _ in rows)
        return {point.class_: point.score for point in points}

    def mood_history(self, key: str, since: float, until: float) -> list[tuple[float, float]]:
        """A key's sentiment index at the end of each half hour that moved it, as (its start, the index)."""
        sql = "SELECT start, value FROM mood_series WHERE key = ? AND start >= ? AND start < ? ORDER BY start"
        return self._rows(sql, key, since, until)

    def episodes(self) -> list[tuple[str, str, str, str, float]]:
        """Every event of every alert as (alert, key, type, severity, time), by alert and in order."""
        return self._rows(
            "SELECT alert, key, type, severity, at FROM alerts WHERE type LIKE 'alert.%' ORDER BY alert, sequence"
        )

    def watchlists(self) -> dict[str, tuple[str, ...]]:
        """Every alert's watch-lists, but for what is part of another alert."""
        latest = "SELECT alert, record, row_number() OVER (PARTITION BY alert ORDER BY sequence DESC) AS place "
        sql = (
            f"SELECT alert, json_extract(record, '$.watchlists') FROM ({latest} FROM alerts WHERE type LIKE 'alert.%') "
            "WHERE place = 1 AND json_extract(record, '$.merged_into') IS NULL"
        )
        return {alert: tuple(json.loads(names)) for alert, names in self._rows(sql)}

    def mood(self, key: str) -> float | None:
        """The sentiment index of a key, -1 to 1."""
        rows = self._rows("SELECT weight, total FROM moods WHERE key = ?", key)
        return rows[0][1] / rows[0][0] if rows and rows[0][0] > 0 else None

    def keys(self) -> list[dict[str, Any]]:
        """Every watched key with its latest block, mood and whether it is firing; the busiest first."""
        latest: dict[str, dict[str, Any]] = {}
        rows = self._rows(
            "SELECT key, record FROM series AS s WHERE start = (SELECT max(start) FROM series WHERE key = s.key)"
        )
        for key, record in rows:
            latest[key] = json.loads(record)
        firing = {alert["key"]: alert["severity"] for alert in self.alerts(status="firing", merged=True, limit=1000)}
        found: list[dict[str, Any]] = []
        for key, watched in self._watch.keys.items():
            point = latest.get(key)
            found.append(
                {
                    "key": key,
                    "name": watched.name,
                    "topic": watched.topic,
                    "watchlists": list(watched.watchlists),
                    "firing": firing.get(key),
                    "score": point["score"] if point else 0.0,
                    "threshold": point["threshold"] if point else None,
                    "baseline_span": point["baseline_span"] if point else 0.0,
                    "sentiment_index": self.mood(key),
                    "latest": point,
                }
            )
        found.sort(key=lambda entry: (entry["firing"] is None, -float(entry["score"]), str(entry["key"])))
        return found

    def count(self) -> int:
        """Documents held."""
        return int(self._rows("SELECT count(*) FROM documents")[0][0])

    # -- what operators ask -------------------------------------------------------------------------------

    def silences(self) -> list[dict[str, Any]]:
        """Silences that operators made, over ones too, in the order of their ids."""
        return [json.loads(row[0]) for row in self._rows("SELECT record FROM silences ORDER BY id")]

    def verdicts(self, alert: str | None = None) -> list[Verdict]:
        """The verdict that counts of every alert, in the order in which they were given; with ``alert``, by its id, all
        that were given of it. Their figures are those of the alert's events, where these are still held."""
        if alert is None:
            sql = "SELECT record FROM verdicts ORDER BY number"
            rows = latest([decode(Verdict, row[0].encode()) for row in self._rows(sql)])
        else:
            sql = "SELECT record FROM verdicts WHERE alert = ? ORDER BY number"
            rows = [decode(Verdict, row[0].encode()) for row in self._rows(sql, alert)]
        return [self._with_figures(verdict) for verdict in rows]

    def _with_figures(self, verdict: Verdict) -> Verdict:
        """A verdict knows its alert as it stood when it was given."""
        events = self.alert(verdict.alert)
        return msgspec.structs.replace(verdict, figures=figures(events)) if events else verdict

    def deliveries(self, state: str | None = None, limit: int = 200) -> list[dict[str, Any]]:
        """What is owed to channels and what became of it, newest first: without bodies, with the key that it is about
        and the sentence that says what of it, both None where their event is not kept any more."""
        rows = self._rows(
            "SELECT name, key, json_extract(alerts.record, '$.body.data.summary'), deliveries.record "
            "FROM deliveries LEFT JOIN alerts ON alerts.id = json_extract(deliveries.record, '$.event') "
            "WHERE ?1 IS NULL OR state = ?1 ORDER BY created DESC LIMIT ?2",
            state,
            limit,
        )
        return [
            {"id": name, "key": key, "summary": summary, **_without(json.loads(record), "body")}
            for name, key, summary, record in rows
        ]

    def delivery(self, name: str) -> str | None:
        """The state of a delivery: pending, standing, delivered or failed; None where there is none."""
        rows = self._rows("SELECT state FROM deliveries WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def dead_letters(self, limit: int = 100) -> list[dict[str, Any]]:
        """Dead letters that were not retried, oldest first; the payload in base64."""
        rows = self._rows("SELECT number, record FROM waiting_letters ORDER BY number LIMIT ?", limit)
        return [{"number": number, **json.loads(record)} for number, record in rows]

    def dead_letter(self, number: int) -> bytes | None:
        """A dead letter as a record; None where there is none or it was retried."""
        rows = self._rows("SELECT record FROM waiting_letters WHERE number = ?", number)
        return str(rows[0][0]).encode() if rows else None


def _without(record: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}
