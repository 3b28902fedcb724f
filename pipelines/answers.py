"""What page, API and operators' commands ask of the read model. Reads only, from any thread."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from alerts.verdicts import Verdict, figures, latest
from pipelines.asking import LetGo, Page, page
from pipelines.documents import SeriesPoint, decode, iso
from pipelines.finding import Finding
from pipelines.watch import Watch


class Answers(Finding):
    """All that the read model's file is asked."""

    def __init__(self, path: Path, watch: Watch) -> None:
        super().__init__(path)
        self._watch = watch

    def adopt(self, watch: Watch) -> None:
        """Takes over new watch-lists."""
        self._watch = watch

    @property
    def watch(self) -> Watch:
        """What is watched."""
        return self._watch

    def series(
        self, key: str, since: float = 0.0, limit: int = 5_000, *, until: float | None = None
    ) -> list[dict[str, Any]]:
        """A key's blocks that began from ``since`` on and before ``until``: the latest, oldest first."""
        return self.blocks(key, since=since, until=until, limit=limit).entries

    def blocks(
        self,
        key: str,
        *,
        limit: int,
        since: float = 0.0,
        until: float | None = None,
        after: tuple[float, str] | None = None,
    ) -> Page:
        """A page of them, from the latest to the earliest; each is told from the oldest on. Raises LetGo."""
        rows = self._rows(
            "SELECT record, start, class FROM series WHERE key = ?1 AND start >= ?2 AND (?3 IS NULL OR start < ?3) "
            "AND (?4 IS NULL OR (start, class) < (?4, ?5)) ORDER BY start DESC, class DESC LIMIT ?6",
            *(key, since, until, *(after or (None, None)), limit + 1),
        )
        if (
            not rows
            and after is not None
            and not self._held("series", "key = ? AND start = ? AND class = ?", key, *after)
        ):
            raise LetGo
        found, last = page(rows, limit)
        return Page([msgspec.json.decode(record) for record in reversed(found)], last)

    def alerts(
        self, *, status: str | None = None, key: str | None = None, since: float | None = None, merged: bool = False,
        limit: int = 100,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Each alert's latest event, newest first. ``status``: firing (and updated), or resolved. ``merged``: with
        those that are part of another alert."""
        return self.heads(status=status, key=key, since=since, merged=merged, limit=limit).entries

    def heads(
        self,
        *,
        limit: int,
        status: str | None = None,
        key: str | None = None,
        since: float | None = None,
        until: float | None = None,
        merged: bool = False,
        after: tuple[float, str] | None = None,
    ) -> Page:
        """A page of them. Raises LetGo."""
        conditions = {
            "heads.key = ?": key,
            "heads.at >= ?": since,
            "heads.at < ?": until,
            "firing = ?": None if status is None else status == "firing",
            "merged <= ?": merged,
        }
        where = [condition for condition, value in conditions.items() if value is not None]
        values = [value for value in conditions.values() if value is not None]
        if after is not None:
            where.append("(heads.at, heads.alert) < (?, ?)")
            values += after
        rows = self._rows(
            "SELECT record, heads.at, heads.alert FROM heads JOIN alerts ON alerts.id = heads.id "
            f"WHERE {' AND '.join(where)} ORDER BY heads.at DESC, heads.alert DESC LIMIT ?",
            *values,
            limit + 1,
        )
        if not rows and after is not None and not self._held("heads", "alert = ?", after[1]):
            raise LetGo
        found, last = page(rows, limit)
        return Page([msgspec.json.decode(record) for record in found], last)

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
        rows = self._rows("SELECT record FROM latest WHERE key = ?", key)
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
        """Every watched key with its latest block, mood and whether it is firing; in the order of ``ranking``."""
        return self.standing(self.ranking())

    def ranking(self, watchlist: str | None = None) -> list[str]:
        """Watched keys, those of one watch-list if given: what is firing, then by score."""
        scores: dict[str, float] = dict(self._rows("SELECT key, score FROM latest ORDER BY start, score"))
        firing = self._firing()
        chosen = [key for key, one in self._watch.keys.items() if watchlist is None or watchlist in one.watchlists]
        return sorted(chosen, key=lambda key: (key not in firing, -scores.get(key, 0.0), key))

    def _firing(self) -> dict[str, str]:
        """Key to severity."""
        return dict(self._rows("SELECT key, severity FROM heads WHERE firing ORDER BY at"))

    def standing(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Watched keys as they stand, in the order that is given; what is not watched any more is left out."""
        asked = json.dumps(keys)
        chosen = "(SELECT value FROM json_each(?))"
        latest = self._rows(f"SELECT key, record FROM latest WHERE key IN {chosen} ORDER BY start, score", asked)
        points = {key: msgspec.json.decode(record) for key, record in latest}
        moods = self._rows(f"SELECT key, total / weight FROM moods WHERE weight > 0 AND key IN {chosen}", asked)
        indices, firing = dict(moods), self._firing()
        return [
            self._stands(key, points.get(key), indices.get(key), firing.get(key))
            for key in keys
            if key in self._watch.keys
        ]

    def _stands(self, key: str, point: dict[str, Any] | None, mood: float | None, firing: str | None) -> dict[str, Any]:
        watched = self._watch.keys[key]
        return {
            "key": key,
            "name": watched.name,
            "topic": watched.topic,
            "watchlists": list(watched.watchlists),
            "firing": firing,
            "score": point["score"] if point else 0.0,
            "threshold": point["threshold"] if point else None,
            "baseline_span": point["baseline_span"] if point else 0.0,
            "sentiment_index": mood,
            "latest": point,
        }

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
        return self.owed(state=state, limit=limit).entries

    def owed(self, *, limit: int, state: str | None = None, after: tuple[float, str] | None = None) -> Page:
        """A page of them. Raises LetGo."""
        rows = self._rows(
            "SELECT json_array(key, json_extract(alerts.record, '$.body.data.summary')), created, name, "
            "deliveries.record FROM deliveries "
            "LEFT JOIN alerts ON alerts.id = json_extract(deliveries.record, '$.event') "
            f"WHERE {'1' if state is None else 'state = ?1'} AND (?2 IS NULL OR (created, name) < (?2, ?3)) "
            "ORDER BY created DESC, name DESC LIMIT ?4",
            *(state, *(after or (None, None)), limit + 1),
        )
        if not rows and after is not None and not self._held("deliveries", "name = ?", after[1]):
            raise LetGo
        _, last = page([row[:3] for row in rows], limit)
        return Page([_delivery(*row) for row in rows[:limit]], last)

    def delivery(self, name: str) -> str | None:
        """The state of a delivery: pending, standing, delivered or failed; None where there is none."""
        rows = self._rows("SELECT state FROM deliveries WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def dead_letters(self, limit: int = 100) -> list[dict[str, Any]]:
        """Dead letters that were not retried, oldest first; the payload in base64."""
        return self.letters(limit=limit).entries

    def letters(self, *, limit: int, after: int = -1) -> Page:
        """A page of them. Raises LetGo."""
        asked = "SELECT record, number FROM waiting_letters WHERE number > ? ORDER BY number LIMIT ?"
        rows = self._rows(asked, after, limit + 1)
        if not rows and after >= 0 and not self._held("waiting_letters", "number = ?", after):
            raise LetGo
        _, last = page(rows, limit)
        return Page([{"number": number, **msgspec.json.decode(record)} for record, number in rows[:limit]], last)

    def audit(
        self,
        *,
        limit: int,
        what: str | None = None,
        who: str | None = None,
        since: float | None = None,
        until: float | None = None,
        after: int | None = None,
    ) -> Page:
        """A page of what was ordered, the latest first. Raises LetGo."""
        conditions = {
            "json_extract(record, '$.what') = ?": what,
            "json_extract(record, '$.who') = ?": who,
            "json_extract(record, '$.at') >= ?": None if since is None else iso(since),
            "json_extract(record, '$.at') < ?": None if until is None else iso(until),
            "number < ?": after,
        }
        where = " AND ".join(["1", *(condition for condition, value in conditions.items() if value is not None)])
        values = [value for value in conditions.values() if value is not None]
        asked = f"SELECT record, number FROM audit WHERE {where} ORDER BY number DESC LIMIT ?"
        rows = self._rows(asked, *values, limit + 1)
        if not rows and after is not None and not self._held("audit", "number = ?", after):
            raise LetGo
        found, last = page(rows, limit)
        return Page([msgspec.json.decode(record) for record in found], last)

    def dead_letter(self, number: int) -> bytes | None:
        """A dead letter as a record; None where there is none or it was retried."""
        rows = self._rows("SELECT record FROM waiting_letters WHERE number = ?", number)
        return str(rows[0][0]).encode() if rows else None


def _delivery(about: str, _: float, name: str, record: str) -> dict[str, Any]:
    key, summary = json.loads(about)
    told = msgspec.json.decode(record)
    del told["body"]
    return {"id": name, "key": key, "summary": summary, **told}
