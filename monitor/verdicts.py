"""The API of verdicts: what analysts say of alerts, and what that comes to."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from alerts.verdicts import NOTE, Figures, Said, Verdict, figures
from alerts.wording import NAME, plain
from monitor import shapes
from monitor.app import Daemon
from monitor.cursors import Cursor, following, place_of
from monitor.problems import Problem
from monitor.routes import Asked, Instant, Nothing, route
from pipelines.documents import epoch, iso
from pipelines.precision import report


class VerdictOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """verdict is "true", "false", "unsure"; note and by are texts."""

    verdict: Said
    note: Annotated[str, Meta(description=f"Why; up to {NOTE} characters.")] = ""
    by: Annotated[str, Meta(description=f"Who says so; up to {NAME} characters.")] = ""


class FeedbackQuery(msgspec.Struct, frozen=True, kw_only=True):
    verdict: Annotated[Said | None, Meta(description="Only these.")] = None
    since: Annotated[Instant | None, Meta(description=f"From here on: {Instant.description}.")] = None
    limit: Annotated[int, Meta(ge=1, le=100_000, description="Verdicts at most.")] = 1_000
    cursor: Cursor = None


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True):
    budget: Annotated[
        list[Annotated[float, Meta(gt=0)]],
        Meta(description="False alarms a key and month; may be given several times."),
    ] = []


class Verdicts:
    """Handlers."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @route("POST", "/api/v1/alerts/{id}/feedback", answer=shapes.Given, status=202, writes=True, body=VerdictOrder)
    async def give(self, asked: Asked[Nothing, VerdictOrder]) -> Any:
        """Says whether an alert was true: verdict is true, false or unsure, as text; note and by may be left out."""
        given = _checked(asked.body)
        settings = self._daemon.settings
        if given.note and settings.engine.kind == "kafka" and settings.retention.texts is not None:
            detail = "retention.texts bounds how long a text is kept, and no note can be taken out of a Kafka topic"
            raise Problem(422, "No note here", f"{detail}: leave it out")
        alert, known = await asyncio.to_thread(self._known, asked.id)
        verdict = Verdict(
            id=secrets.token_hex(6),
            alert=alert,
            at=iso(self._daemon.now()),
            verdict=given.verdict,
            by=plain(given.by, NAME),
            note=plain(given.note, NOTE),
            figures=known,
        )
        await self._daemon.operators.judge(verdict)
        return {"id": verdict.id, "alert": alert}

    def _known(self, name: str) -> tuple[str, Figures]:
        """An alert's own id, of its or one of its events', and its figures."""
        model = self._daemon.read_model
        if events := model.alert(name):
            if not events[0]["alert"]:
                raise Problem(422, "No verdict on this", f"{name!r} is an event about the daemon, no alert")
            return str(events[0]["alert"]), figures(events)
        if verdicts := model.verdicts(name):  # the alert itself is not held any more
            return name, verdicts[-1].figures
        raise Problem(404, "No such alert", f"none has the id {name[:100]!r}; /api/v1/alerts lists them")

    @route("GET", "/api/v1/alerts/{id}/feedback", answer=shapes.Judged, held=True)
    async def of_one(self, asked: Asked[Nothing, None]) -> Any:
        """The verdict on an alert, and all that were given before it."""
        alert, _ = await asyncio.to_thread(self._known, asked.id)
        verdicts = await asyncio.to_thread(self._daemon.read_model.verdicts, alert)
        return {"alert": alert, "verdict": verdicts[-1].verdict if verdicts else None, "verdicts": verdicts}

    @route("GET", "/api/v1/feedback", query=FeedbackQuery, answer=shapes.Feedback, held=True)
    async def feedback(self, asked: Asked[FeedbackQuery, None]) -> Any:
        """The verdict that counts of each alert, with the alert's figures, the latest first."""
        query, place = asked.query, place_of(asked, tuple[str, str])
        found = await asyncio.to_thread(self._daemon.read_model.verdicts)
        shown = [one for one in found if query.verdict in (None, one.verdict) and epoch(one.at) >= (query.since or 0.0)]
        shown.sort(key=_moment, reverse=True)
        if place is not None:
            shown = [one for one in shown if _moment(one) < place]
        after = _moment(shown[query.limit - 1]) if len(shown) > query.limit else None
        return {"feedback": shown[: query.limit], "next": following(asked, after)}

    @route("GET", "/api/v1/feedback/report", query=ReportQuery, answer=shapes.Report, held=True)
    async def report(self, asked: Asked[ReportQuery, None]) -> Any:
        """By watch-list: the precision so far, and what other budgets would have kept of what was judged."""
        return await asyncio.to_thread(report, self._daemon.read_model, asked.query.budget)


def _moment(verdict: Verdict) -> tuple[str, str]:
    return verdict.at, verdict.id


def _checked(given: VerdictOrder) -> VerdictOrder:
    for name, text, most in (("note", given.note, NOTE), ("by", given.by, NAME)):
        if len(text) > most:
            raise Problem(422, f"Too long: {name}", f"{name} has {len(text)} characters, {most} are kept: shorten it")
    return given
