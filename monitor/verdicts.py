"""The API of verdicts: what analysts say of alerts, and what that comes to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import get_args

import msgspec
from aiohttp import web

from alerts.verdicts import NOTE, VERDICTS, Figures, Said, Verdict, figures
from alerts.wording import NAME, plain
from monitor.app import Daemon
from monitor.problems import Handler, Problem, answer, body_of, limit, moment
from pipelines.documents import epoch, iso
from pipelines.precision import report


class _Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is sent."""

    verdict: Said
    note: str = ""
    by: str = ""


class Verdicts:
    """Handlers. ``writer`` as in ``Api``."""

    def __init__(self, daemon: Daemon, writer: Callable[[Handler], Handler]) -> None:
        self._daemon = daemon
        self._writer = writer

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/v1/alerts/{id}/feedback", self._writer(self._give)),
            web.get("/api/v1/alerts/{id}/feedback", self._of_one),
            web.get("/api/v1/feedback", self._all),
            web.get("/api/v1/feedback/report", self._report),
        ]

    async def _give(self, request: web.Request) -> web.StreamResponse:
        given = _given(await body_of(request))
        settings = self._daemon.settings
        if given.note and settings.engine.kind == "kafka" and settings.retention.texts is not None:
            detail = "retention.texts bounds how long a text is kept, and no note can be taken out of a Kafka topic"
            raise Problem(422, "No note here", f"{detail}: leave it out")
        alert, known = await asyncio.to_thread(self._known, request.match_info["id"])
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
        return answer({"id": verdict.id, "alert": alert}, 202)

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

    async def _of_one(self, request: web.Request) -> web.StreamResponse:
        alert, _ = await asyncio.to_thread(self._known, request.match_info["id"])
        verdicts = await asyncio.to_thread(self._daemon.read_model.verdicts, alert)
        return answer({"alert": alert, "verdict": verdicts[-1].verdict if verdicts else None, "verdicts": verdicts})

    async def _all(self, request: web.Request) -> web.StreamResponse:
        wanted = request.query.get("verdict")
        if wanted not in (None, *VERDICTS):
            raise Problem(400, "Bad query", f"verdict is {_either()}")
        since, most = moment(request.query.get("since")) or 0.0, limit(request, 1_000, 100_000)
        found = await asyncio.to_thread(self._daemon.read_model.verdicts)
        shown = [one for one in reversed(found) if wanted in (None, one.verdict) and epoch(one.at) >= since]
        return answer({"feedback": shown[:most]})

    async def _report(self, request: web.Request) -> web.StreamResponse:
        budgets = [_budget(text) for text in request.query.getall("budget", [])]
        return answer(await asyncio.to_thread(report, self._daemon.read_model, budgets))


def _given(body: bytes) -> _Given:
    try:
        given = msgspec.json.decode(body, type=_Given)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        raise Problem(422, "No verdict", f"{error}; verdict is {_either()}, note and by are texts") from None
    for name, text, most in (("note", given.note, NOTE), ("by", given.by, NAME)):
        if len(text) > most:
            raise Problem(422, f"Too long: {name}", f"{name} has {len(text)} characters, {most} are kept: shorten it")
    return given


def _either() -> str:
    return ", ".join(f'"{name}"' for name in get_args(Said))


def _budget(text: str) -> float:
    try:
        budget = float(text)
    except ValueError:
        budget = 0.0
    if not 0.0 < budget < float("inf"):
        raise Problem(400, "Bad query", f"budget {text[:40]!r} is no number of false alarms a month above 0")
    return budget
