"""The stories that judged alerts quote, as a table in which an analyst labels them for ``models finetune``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from alerts.verdicts import Verdict
from models.finetune.table import LABELS, SEPARATOR, TEXT
from pipelines.answers import Answers
from pipelines.watch import Watch

COLUMNS = (TEXT, *LABELS[:3], "entity", *LABELS[3:], "read", "verdicts", "keys", "document", "publisher", "published")
"""Those of ``models finetune``, with labels left to the analyst, and what tells of the story: ``read`` is what the
model made of it toward the first alert's subject."""


class _Story(msgspec.Struct):
    told: dict[str, Any]
    """As in an alert's body."""
    entities: list[str] = []
    verdicts: list[str] = []
    keys: list[str] = []


def rows(answers: Answers, verdicts: Iterable[Verdict]) -> list[dict[str, str]]:
    """A row for each story and each company that its headline names among those of its alerts, by publication.

    Of alerts that are held no more, and of texts that were let go of, there is none.
    """
    stories: dict[str, _Story] = {}
    for verdict in verdicts:
        for event in answers.alert(verdict.alert):
            for told in event["body"]["data"]["evidence"]["stories"]:
                story = stories.setdefault(told["id"], _Story(told))
                _add(story.verdicts, [verdict.verdict])
                _add(story.keys, [event["key"]])
                _add(story.entities, _named(told["headline"], event["key"], answers.watch))
    by_time = sorted(stories.values(), key=lambda story: (story.told["published"], story.told["id"]))
    return [_row(story, entity) for story in by_time for entity in story.entities or [""]]


def _row(story: _Story, entity: str) -> dict[str, str]:
    told = story.told
    said = {name: float(told[name]) for name in ("negative", "neutral", "positive")}
    return dict.fromkeys(COLUMNS, "") | {
        TEXT: told["headline"],
        "entity": entity,
        "read": max(said, key=lambda name: said[name]),
        "verdicts": SEPARATOR.join(story.verdicts),
        "keys": SEPARATOR.join(story.keys),
        "document": told["id"],
        "publisher": told["publisher"] or "",
        "published": told["published"],
    }


def _named(headline: str, key: str, watch: Watch) -> list[str]:
    """Companies of the key as the headline names them, a company once."""
    watched, found = watch.keys.get(key), []
    for entity in watched.entities if watched is not None else ():
        names = sorted((entity.name, *entity.aliases, *entity.tickers), key=len, reverse=True)
        hit = re.search(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)", headline, re.IGNORECASE)
        if hit is not None:
            found.append(hit.group())
    return found


def _add(known: list[str], new: Sequence[str]) -> None:
    known.extend(one for one in new if one not in known)
