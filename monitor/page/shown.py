"""Alerts and documents as views show them: texts of strangers made harmless, figures made words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from alerts.body import AlertBody
from alerts.retelling import retold
from alerts.wording import HEADLINE, NAME, link, plain
from pipelines.documents import epoch

RANKS = ("info", "warning", "error", "critical")
MONTH = 2_629_800.0
"""Seconds, as thresholds count them."""


def rank(record: Mapping[str, Any]) -> tuple[int, int, float]:
    """The most severe first; of equals a company before a topic before everything at once, then the newest."""
    kind = 2 if record["key"].startswith("entity:") else 1 if record["key"].startswith("topic:") else 0
    return -RANKS.index(record["severity"]), -kind, -epoch(record["at"])


def seldom(score: float) -> float:
    """Seconds between two times that chance alone would bring a key to ``score``."""
    return MONTH * math.expm1(min(score, 60.0))


def alert(record: Mapping[str, Any], language: str) -> dict[str, Any]:
    """An alert's event for a view: its body's facts, its sentence in the view's language, and stories with their
    words."""
    data = record["body"]["data"]
    unusual = data["unusual"]
    return {
        **data,
        "summary": _sentence(record["body"], language),
        "id": record["alert"],
        "event": record["id"],
        "key": record["key"],
        "type": record["type"],
        "at": record["at"],
        "severity": record["severity"],
        "firing": record["type"] != "alert.resolved",
        "silenced": record.get("silenced_by"),
        "told_by": record.get("merged_into"),
        "since": unusual["since"],
        "seldom": seldom(unusual["score"]),
        "stories": [story(one) for one in data["evidence"]["stories"]],
        "counter": [story(one) for one in data["evidence"]["counter"]],
        "first": data["evidence"]["first_source"],
        "events": data["evidence"].get("events", {}),
        "merged": data.get("merged") or {"total": 0, "keys": []},
    }


def _sentence(body: Mapping[str, Any], language: str) -> str:
    """As it was sent, where the body is of a version that can't be told again."""
    try:
        return retold(msgspec.convert(body, AlertBody), "zh" if language == "zh" else "en")
    except (msgspec.ValidationError, ValueError):
        return str(body["data"]["summary"])


def story(one: Mapping[str, Any]) -> dict[str, Any]:
    """A story with its headline cut into (text, strength), strength 0 where the words don't carry the label."""
    return {
        **one,
        "publisher": one.get("publisher") or one["source"],
        "url": link(one.get("url")),
        "pieces": list(_pieces(one["headline"], one.get("why") or ())),
        "words": [(one["headline"][start:end], weight) for start, end, weight in one.get("why") or ()],
        "events": list(one.get("events") or ()),
        "nats": one.get("nats", 0.0),
    }


def _pieces(headline: str, why: Sequence[Sequence[float]]) -> Iterator[tuple[str, str]]:
    """Places count code points, as Python does."""
    done = 0
    for start, end, weight in why:
        yield headline[done : int(start)], ""
        yield headline[int(start) : int(end)], "strong" if weight >= 0.5 else "medium" if weight >= 0.2 else "light"
        done = int(end)
    yield headline[done:], ""


def document(one: Mapping[str, Any]) -> dict[str, Any]:
    """A document as the tape shows it."""
    return {
        "title": plain(one["title"], HEADLINE),
        "url": link(one["url"]),
        "by": plain(one["publisher"] or one["author"] or one["source"], NAME),
        "at": one["published"],
        "history": one["backfill"],
        "sentiment": one["sentiment"],
        "label": (one["sentiment"] or {}).get("label", "unread"),
        "topic": one["topic"]["label"] if one["topic"] else None,
        "events": [kind["label"] for kind in (one.get("risk") or {}).get("labels", ())],
        "entities": [
            {
                "key": f"entity:{entity['id']}",
                "name": plain(entity["name"], NAME),
                "sentiment": entity["sentiment"],
                "basis": entity["basis"],
                "events": list(entity.get("events", ())),
            }
            for entity in one["entities"]
        ],
        "again": one.get("reprints", 0),
    }
