"""Tables that sort and filter by their address: sources, deliveries, dead letters, silences, models, settings."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from pydantic import BaseModel

from alerts.wording import plain
from monitor.guard import shown as shown_address
from monitor.page.frame import Visit, number
from monitor.page.shown import RANKS, alert
from monitor.problems import Problem
from monitor.settings import Settings

TEXT = 300
"""Characters of a cell."""
LONG = 2_000
"""Characters of a setting that are shown: a watch-list may name ten thousand companies."""
TOGETHER = 200
"""Rows on a page."""


class Column(NamedTuple):
    """``kind``: how its cells are drawn: text, long, time, state, number, seconds; ``name`` leads to its heading."""

    name: str
    kind: str = "text"


class Action(NamedTuple):
    """A button beside a row: where it is sent, and its word."""

    address: str
    word: str


class Row(msgspec.Struct):
    """``note``: what stands under its first cell; ``more``: what opens there; ``links``: column to where its cell
    leads."""

    cells: dict[str, Any]
    actions: list[Action] = []
    links: dict[str, str] = {}
    note: str = ""
    more: str = ""


class Table(msgspec.Struct):
    """``states``: what its column ``state`` can be filtered by."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    states: Sequence[str] = ()
    order: str = ""
    falling: bool = False
    """How it is sorted where the address says nothing."""


def arranged(table: Table, visit: Visit) -> dict[str, Any]:
    """The table as the address wants it: ``sort``, ``order``, ``state``, ``text`` and ``page``."""
    names = [one.name for one in table.columns]
    sort = visit.query.get("sort") or table.order
    order = visit.query.get("order") or ("falling" if table.falling and sort == table.order else "rising")
    state, text = visit.query.get("state", ""), visit.query.get("text", "").strip()
    if sort and sort not in names:
        raise Problem(400, "Bad query", f"sort {sort[:40]!r} is none of {', '.join(names)}")
    if order not in ("rising", "falling"):
        raise Problem(400, "Bad query", f"order {order[:40]!r} is rising or falling")
    if state and state not in table.states:
        raise Problem(400, "Bad query", f"state {state[:40]!r} is none of {', '.join(table.states)}")
    rows = [row for row in table.rows if _fits(row, state, text)]
    if sort:
        rows.sort(key=lambda row: _sortable(row.cells.get(sort)), reverse=order == "falling")
    page, pages = number(visit, "page"), max(1, -(-len(rows) // TOGETHER))
    page = min(page, pages)
    return {
        "table": table,
        "rows": rows[(page - 1) * TOGETHER : page * TOGETHER],
        "count": len(rows),
        "all": len(table.rows),
        "sort": sort,
        "order": order,
        "state": state,
        "text": text,
        "page": page,
        "pages": pages,
    }


def _fits(row: Row, state: str, text: str) -> bool:
    if state and row.cells.get("state") != state:
        return False
    wanted = text.casefold()
    return not wanted or any(wanted in str(cell).casefold() for cell in (*row.cells.values(), row.note, row.more))


def _sortable(cell: Any) -> tuple[int, float, str]:
    """Numbers before texts, what is missing last."""
    if cell is None or cell == "":
        return 2, 0.0, ""
    if cell in RANKS:
        return 0, float(RANKS.index(cell)), ""
    if isinstance(cell, int | float):
        return 0, float(cell), ""
    return 1, 0.0, str(cell).casefold()


def alerts(found: Iterable[Mapping[str, Any]], said: Mapping[str, str], language: str) -> Table:
    """Each alert's latest event. ``said``: alert to the verdict on it."""
    rows = []
    for record in found:
        one = alert(record, language)
        cells = {
            "opened": one["episode"]["opened"],
            "severity": one["severity"],
            "state": "firing" if one["firing"] else "resolved",
            "name": one["subject"]["name"],
            "summary": one["summary"],
            "score": one["unusual"]["score"],
            "verdict": said.get(one["id"]),
        }
        rows.append(Row(cells, links={"summary": f"/alerts/{one['id']}", "name": f"/keys/{one['key']}"}))
    columns = (
        Column("opened", "time"), Column("severity", "severity"), Column("state"), Column("name"),
        Column("summary", "long"), Column("score", "number"), Column("verdict"),
    )  # fmt: skip
    return Table("alerts", columns, rows, ("firing", "resolved"), "opened", falling=True)


def sources(found: Iterable[Mapping[str, Any]], settings: Settings) -> Table:
    told = {one["source"]: one for one in found}
    rows = [_source(one.name, one.kind, told.get(one.name)) for one in settings.sources]
    columns = (
        Column("source"), Column("kind"), Column("state", "state"), Column("last_success", "time"),
        Column("last_new", "time"), Column("items", "number"), Column("interval", "seconds"), Column("next", "time"),
    )  # fmt: skip
    return Table("sources", columns, rows, ("up", "stale", "down", "stopped", "unread"), "state")


def _source(name: str, kind: str, told: Mapping[str, Any] | None) -> Row:
    told = told or {"state": "unread", "unread": True}
    state = "unread" if told.get("unread") else told["state"]
    cells = {
        "source": name,
        "kind": kind,
        "state": state,
        "last_success": told.get("last_success"),
        "last_new": told.get("last_new"),
        "items": told.get("items_total", 0),
        "interval": told.get("interval"),
        "next": told.get("next_poll"),
    }
    return Row(cells, note=plain(told.get("reason") or "", TEXT))


def deliveries(found: Iterable[Mapping[str, Any]]) -> Table:
    rows = []
    for one in found:
        cells = {
            "created": one["created"],
            "channel": one["channel"],
            "what": one["type"],
            "state": one["state"],
            "attempts": one["attempts"],
            "reason": one["reason"],
            "due": one["due"] if one["state"] in ("pending", "standing") else None,
            "summary": one["summary"] or one["key"],
        }
        retry = [Action(f"/deliveries/{one['id']}/retry", "retry")] if one["state"] in ("pending", "failed") else []
        links = {"summary": f"/alerts/{one['event']}"} if one["type"].startswith("alert.") else {}
        rows.append(Row(cells, retry, links))
    columns = (
        Column("created", "time"), Column("channel"), Column("what"), Column("state", "state"),
        Column("attempts", "number"), Column("reason"), Column("due", "time"), Column("summary", "long"),
    )  # fmt: skip
    return Table("deliveries", columns, rows, ("pending", "standing", "delivered", "failed"), "created", falling=True)


def letters(found: Iterable[Mapping[str, Any]]) -> Table:
    rows = []
    for one in found:
        cells = {
            "number": one["number"],
            "at": one["at"],
            "stage": one["stage"],
            "reason": one["reason"],
            "detail": plain(one["detail"], TEXT),
        }
        payload = base64.b64decode(one["payload"])[:4_000].decode(errors="replace")
        rows.append(Row(cells, [Action(f"/dead-letters/{one['number']}/retry", "retry")], more=plain(payload, 2_000)))
    columns = (
        Column("number", "number"),
        Column("at", "time"),
        Column("stage"),
        Column("reason"),
        Column("detail", "long"),
    )
    return Table("letters", columns, rows, (), "number", falling=True)


def silences(found: Iterable[Mapping[str, Any]], configured: Callable[[str], bool]) -> Table:
    rows = []
    for one in found:
        ours = configured(one["id"])
        match = one["match"]
        what = [*match.get("keys", ()), *match.get("watchlists", ()), *match.get("severities", ())]
        cells = {
            "match": ", ".join(what),
            "state": one["state"],
            "created": one["created"] or None,
            "expires": one["expires"] if one["expires"] < 253_402_300_000.0 else None,
            "author": one["author"] or ("settings" if ours else ""),
            "comment": one["comment"],
        }
        end = [Action(f"/silences/{one['id']}/end", "end")] if one["state"] == "active" and not ours else []
        rows.append(Row(cells, end))
    columns = (
        Column("match"), Column("state", "state"), Column("created", "time"), Column("expires", "time"),
        Column("author"), Column("comment", "long"),
    )  # fmt: skip
    return Table("silences", columns, rows, ("active", "over"), "state")


def audit(found: Iterable[Mapping[str, Any]]) -> Table:
    """Who had what done, and what that changed."""
    rows = []
    for one in found:
        cells = {
            "at": one["at"],
            "who": one["who"],
            "what": one["what"],
            "subject": one["subject"],
            "before": _text(one["before"]),
            "after": _text(one["after"]),
        }
        links = {"subject": f"/alerts/{one['subject']}"} if one["what"] == "feedback" else {}
        rows.append(Row(cells, links=links))
    columns = (
        Column("at", "time"), Column("who"), Column("what"), Column("subject"), Column("before", "long"),
        Column("after", "long"),
    )  # fmt: skip
    return Table("audit", columns, rows, (), "at", falling=True)


def models(found: Iterable[Mapping[str, Any]]) -> Table:
    """Every model there is, as the API lists them."""
    rows = []
    for one in found:
        state = "active" if one["in_use"] else "failed" if one["problem"] else "before" if one["before"] else "known"
        cells = {
            "name": one["name"],
            "version": one["version"],
            "state": state,
            "digest": one["digest"][:12],
            "languages": ", ".join(one["languages"]),
            "judges": one["judges"],
            "origin": one["origin"],
            "added": one["added"],
        }
        use = [Action(f"/models/{one['model']}/use", "use")] if state in ("before", "known") else []
        rows.append(Row(cells, use, note=plain(one["problem"] or "", TEXT)))
    columns = (
        Column("name"), Column("version"), Column("state", "state"), Column("digest"), Column("languages"),
        Column("judges"), Column("origin"), Column("added", "time"),
    )  # fmt: skip
    return Table("models", columns, rows, ("active", "before", "known", "failed"), "name")


def settings(held: Settings) -> Table:
    """Every value, secrets as stars, and whether it is the default's, the file's or a variable's."""
    rows = [Row({"name": name, "value": value, "origin": origin}) for name, value, origin in _leaves(held)]
    return Table("settings", (Column("name"), Column("value", "long"), Column("origin")), rows)


def _leaves(held: Settings) -> Iterator[tuple[str, str, str]]:
    redacted = held.redacted()
    for section in type(held).model_fields:
        own, shown = getattr(held, section), redacted[section]
        if isinstance(own, BaseModel):
            yield from _of(own, shown, section, section in held.model_fields_set)
        else:
            for number, (entry, told) in enumerate(zip(own, shown, strict=True), 1):
                yield from _of(entry, told, f"{section} #{number}", listed=True)


def _of(own: BaseModel, shown: Mapping[str, Any], above: str, listed: bool) -> Iterator[tuple[str, str, str]]:
    for field, about in type(own).model_fields.items():
        name = about.alias if about.alias in shown else field
        value, deeper = getattr(own, field), shown.get(str(name))
        given = listed and field in own.model_fields_set
        if isinstance(value, BaseModel) and isinstance(deeper, Mapping):
            yield from _of(value, deeper, f"{above}.{name}", given)
            continue
        variable = f"TAPEWATCH_{above}__{name}".replace(".", "__").upper()
        origin = variable if variable in os.environ else "file" if given else "default"
        if "#" in above and not given:
            continue  # of an entry, what is set
        # A feed's path may be all that keeps it secret, and who reads the page need not be who wrote the settings.
        yield f"{above}.{name}", shown_address(deeper) if name == "url" and deeper else _text(deeper), origin


def _text(value: Any) -> str:
    if value is None or value == []:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= LONG else f"{text[:LONG]}…"
