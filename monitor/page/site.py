"""The page's addresses: each asks a view for its context and has it rendered. Forms write, and need the right to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, quote

import msgspec
import structlog
from aiohttp import web

from monitor.access import SIGN_IN, Access, inside, same_site
from monitor.api import Api
from monitor.app import Daemon, NotHere
from monitor.page import alert, key, models, now, search, tables
from monitor.page.forms import Forms
from monitor.page.frame import YEAR, Visit, health, visit
from monitor.page.render import render
from monitor.power import WAITING, Busy
from monitor.problems import Handler, Problem, body_of
from pipelines.answers import Answers

log = structlog.get_logger(__name__)

ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}

MOST = 1_000
"""Rows of a table at most: of deliveries and dead letters the latest, of which the address can choose."""

Question = Callable[[Answers, Visit], dict[str, Any]]
"""A view: what the read model tells, for whom."""


FORM = "application/x-www-form-urlencoded"
FIELDS = 50
"""Of a form at most; none of the page has more than five."""

Filled = Mapping[str, str]
Done = Callable[[web.Request, Filled], Awaitable[None]]
"""Does what a form asks."""


class Site:
    """Handlers of the page."""

    def __init__(self, daemon: Daemon, api: Api, access: Access) -> None:
        self._daemon = daemon
        self._access = access
        self._desk = api.desk
        self._forms = Forms(daemon, api)
        self._order = now.Order()

    def routes(self) -> list[web.RouteDef]:
        get, post, forms = web.get, web.post, self._forms
        return [
            get("/", self._now),
            get("/alerts", self._alerts),
            get("/alerts/latest", self._latest),
            get("/alerts/{id}", self._alert),
            get("/alerts/{id}/stories.csv", self._stories),
            get("/alerts/{id}/export.json", self._export),
            post("/alerts/{id}/verdict", self._of_form("verdict", forms.verdict)),
            post("/alerts/{id}/silence", self._of_form("silence", forms.silence)),
            get("/page/alerts/{id}", self._alert_part),
            get("/keys/{key:.+}", self._key),
            get("/page/power/{key:.+}", self._power),
            get("/search", self._search),
            get("/sources", self._sources),
            get("/deliveries", self._deliveries),
            get("/dead-letters", self._letters),
            get("/silences", self._silences),
            get("/models", self._models),
            get("/settings", self._settings),
            get("/audit", self._audit),
            post("/deliveries/{id}/retry", self._row("/deliveries", forms.retry)),
            post("/dead-letters/{id}/retry", self._row("/dead-letters", forms.retry_letter)),
            post("/silences/{id}/end", self._row("/silences", forms.end)),
            post("/models/{id:.+}/use", self._row("/models", forms.use)),
            get(SIGN_IN, self._sign_in),
            post(SIGN_IN, self._signed_in),
            post("/sign-out", self._signed_out),
            get("/page/health", self._health),
            get("/page/firing", self._part("firing.html", now.firing)),
            get("/page/watched", self._part("watched.html", self._watched)),
            get("/page/tape", self._part("tape.html", now.tape)),
            get("/page/assets/{name}", self._asset),
        ]

    def close(self) -> None:
        self._order.close()

    # -- views --------------------------------------------------------------------------------------------

    async def _now(self, request: web.Request) -> web.StreamResponse:
        def asked(answers: Answers, visit: Visit) -> dict[str, Any]:
            return {**now.firing(answers, visit), **self._watched(answers, visit), **now.tape(answers, visit)}

        return await self._view(request, "now.html", asked)

    def _watched(self, answers: Answers, visit: Visit) -> dict[str, Any]:
        return now.watched(answers, self._order, visit, self._daemon.now())

    async def _alert(self, request: web.Request) -> web.StreamResponse:
        return await self._view(request, "alert.html", self._of_alert(request))

    async def _alert_part(self, request: web.Request) -> web.StreamResponse:
        return await self._part("alert_facts.html", self._of_alert(request))(request)

    def _of_alert(self, request: web.Request) -> Question:
        name = request.match_info["id"]

        def asked(answers: Answers, visit: Visit) -> dict[str, Any]:
            return alert.view(answers, visit, name, self._daemon.now())

        return asked

    async def _stories(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        text = await asyncio.to_thread(alert.table, self._daemon.read_model, name)
        return _file(text.encode("utf-8-sig"), "text/csv", "stories.csv")

    async def _export(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        found = await asyncio.to_thread(alert.exported, self._daemon.read_model, name)
        return _file(msgspec.json.format(msgspec.json.encode(found)), "application/json", "alert.json")

    async def _key(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["key"]

        def asked(answers: Answers, visit: Visit) -> dict[str, Any]:
            return {**key.view(answers, visit, name, self._daemon.now()), "power": None}

        return await self._view(request, "key.html", asked)

    async def _power(self, request: web.Request) -> web.StreamResponse:
        """What would ring of a key: computed when it is first asked for, which the script waits for."""
        name, who = request.match_info["key"], visit(request)
        if name not in self._daemon.read_model.watch.keys:
            raise Problem(404, "No such key", f"{name[:200]!r} is not watched")
        try:
            kept = self._desk.answer(name)
        except Busy:
            raise Problem(429, "Too many questions", f"{WAITING} keys wait already; ask again in minutes") from None
        return _html(render("power.html", who, power=kept), who)

    async def _search(self, request: web.Request) -> web.StreamResponse:
        return await self._view(request, "search.html", search.view)

    # -- tables -------------------------------------------------------------------------------------------

    async def _sources(self, request: web.Request) -> web.StreamResponse:
        settings = self._daemon.settings
        return await self._table(request, lambda answers: tables.sources(answers.sources(), settings))

    async def _deliveries(self, request: web.Request) -> web.StreamResponse:
        return await self._table(request, lambda answers: tables.deliveries(answers.deliveries(limit=MOST)))

    async def _letters(self, request: web.Request) -> web.StreamResponse:
        return await self._table(request, lambda answers: tables.letters(answers.dead_letters(MOST)))

    async def _silences(self, request: web.Request) -> web.StreamResponse:
        found = await self._daemon.operators.silences()
        return await self._table(request, lambda _: tables.silences(found, self._daemon.operators.is_configured))

    async def _models(self, request: web.Request) -> web.StreamResponse:
        found = await self._daemon.model_use.listed()
        about = await models.about(self._daemon)
        return await self._table(request, lambda _: tables.models(found), about)

    async def _settings(self, request: web.Request) -> web.StreamResponse:
        return await self._table(request, lambda _: tables.settings(self._daemon.settings))

    async def _alerts(self, request: web.Request) -> web.StreamResponse:
        def asked(answers: Answers, visit: Visit) -> dict[str, Any]:
            said = {one.alert: one.verdict for one in answers.verdicts()}
            return {
                **tables.arranged(tables.alerts(answers.alerts(limit=MOST), said, visit.language), visit),
                "about": None,
            }

        return await self._view(request, "table.html", asked)

    async def _audit(self, request: web.Request) -> web.StreamResponse:
        return await self._table(request, lambda answers: tables.audit(answers.audit(limit=MOST).entries))

    async def _table(
        self, request: web.Request, made: Callable[[Answers], tables.Table], about: dict[str, Any] | None = None
    ) -> web.StreamResponse:
        """``about``: what is told below it."""

        def asked(answers: Answers, visit: Visit) -> dict[str, Any]:
            return {**tables.arranged(made(answers), visit), "about": about}

        return await self._view(request, "table.html", asked)

    def _row(self, back: str, done: Done) -> Handler:
        """A button beside a row: what is wrong with it is a page of its own."""

        async def handler(request: web.Request) -> web.StreamResponse:
            await done(request, await self._allowed(request))
            return web.Response(status=303, headers={"location": f"{back}?done=row"})

        return handler

    # -- forms --------------------------------------------------------------------------------------------

    async def _allowed(self, request: web.Request) -> Filled:
        """What was filled in, of who may write."""
        self._access.write(request)
        return await _filled(request)

    def _of_form(self, form: str, done: Done) -> Handler:
        """A form of an alert's view: what is wrong with it is said there."""

        async def handler(request: web.Request) -> web.StreamResponse:
            try:
                await done(request, await self._allowed(request))
            except Problem as problem:
                if problem.status == 404:
                    raise
                filled = await _filled(request)
                told = {"title": problem.body["title"], "text": problem.body["detail"]}
                trouble = {"form": form, "filled": filled, **told}
                return await self._view(request, "alert.html", self._of_alert(request), problem.status, trouble)
            name = quote(request.match_info["id"], safe="")
            return web.Response(status=303, headers={"location": f"/alerts/{name}?done={form}#{form}"})

        return handler

    # -- sessions -----------------------------------------------------------------------------------------

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        if not self._access.closed:
            return web.Response(status=303, headers={"location": "/"})
        return self._door(request, request.query.get("next", "/"))

    async def _signed_in(self, request: web.Request) -> web.StreamResponse:
        same_site(request)
        filled = await _filled(request)
        try:
            role = await self._access.sign_in(filled.get("token", ""))
        except Problem as problem:
            return self._door(request, filled.get("next", "/"), problem.status)
        response = web.Response(status=303, headers={"location": inside(filled.get("next", "/"))})
        self._access.admit(response, role)
        return response

    async def _signed_out(self, request: web.Request) -> web.StreamResponse:
        same_site(request)
        response = web.Response(status=303, headers={"location": SIGN_IN})
        self._access.dismiss(response)
        return response

    def _door(self, request: web.Request, then: str, status: int = 200) -> web.StreamResponse:
        """Where one signs in, to go on at ``then``; ``status`` of what was tried."""
        who = visit(request)
        return _html(render("sign_in.html", who, health=None, then=inside(then), status=status), who, status)

    # -- how they are made --------------------------------------------------------------------------------

    async def _view(
        self,
        request: web.Request,
        template: str,
        question: Question,
        status: int = 200,
        trouble: dict[str, Any] | None = None,
    ) -> web.StreamResponse:
        """``trouble``: what was wrong with a form of this view."""
        who, answers = visit(request), self._daemon.read_model
        state = health(self._daemon.status())

        def made() -> str:
            asked = question(answers, who)
            return render(template, who, health=state, trouble=trouble, **asked)

        return _html(await asyncio.to_thread(made), who, status)

    def _part(self, template: str, question: Question) -> Handler:
        """A piece of a view, which the script fetches anew when there is something new in it."""

        async def handler(request: web.Request) -> web.StreamResponse:
            who, answers = visit(request), self._daemon.read_model
            return _html(await asyncio.to_thread(lambda: render(template, who, **question(answers, who))), who)

        return handler

    async def _health(self, request: web.Request) -> web.StreamResponse:
        who = visit(request)
        return _html(render("health.html", who, health=health(self._daemon.status())), who)

    async def _latest(self, request: web.Request) -> web.StreamResponse:
        """The page of a key's latest alert, or of the one that tells of it: dashboards know keys, not alerts' ids."""
        key = request.query.get("key", "")
        found = await asyncio.to_thread(self._daemon.read_model.alerts, key=key, merged=True, limit=1)
        if not found:
            raise Problem(404, "No alert", f"none is known of key {key[:200]!r}; /alerts lists what rang")
        name = found[0].get("merged_into") or found[0]["alert"]
        return web.Response(status=302, headers={"location": f"/alerts/{name}"})

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise Problem(404, "Not found")
        body = files("monitor.page").joinpath("assets", name).read_bytes()
        headers = {"cache-control": "no-cache"}
        response = web.Response(body=body, content_type=ASSETS[name], charset="utf-8", headers=headers)
        response.enable_compression()
        return response

    # -- what goes wrong ----------------------------------------------------------------------------------

    @web.middleware
    async def wrong(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Errors as a page, for who asked for one."""
        if request.path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
            return await handler(request)
        try:
            return await handler(request)
        except Problem as problem:
            status, title, detail = problem.status, problem.body["title"], problem.body["detail"]
        except NotHere as elsewhere:
            status, title, detail = 503, "Runs elsewhere", str(elsewhere)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            status, title, detail = error.status, error.reason, request.path[:200]
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:  # a defect must not show its insides to the reader
            log.exception("request_failed", action="answer_500", path=request.path)
            status, title, detail = 500, "Internal error", ""
        who = visit(request)
        state = health(self._daemon.status()) if self._daemon.opened else None
        return _html(render("error.html", who, health=state, status=status, title=title, detail=detail), who, status)


async def _filled(request: web.Request) -> Filled:
    """A form's fields, the first of each name. Raises Problem."""
    body = await body_of(request)
    if body and request.content_type != FORM:
        raise Problem(415, "Not a form", f"it is sent as {request.content_type[:100]}; this address takes {FORM}")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError as error:
        raise Problem(400, "Unreadable form", f"{error}; at most {FIELDS} fields in UTF-8 are read"[:300]) from None
    return dict(reversed(pairs))


def _file(body: bytes, kind: str, name: str) -> web.Response:
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)


def _html(text: str, who: Visit, status: int = 200) -> web.Response:
    response = web.Response(text=text, status=status, content_type="text/html", charset="utf-8")
    response.headers["vary"] = "accept-language, cookie"
    response.headers["cache-control"] = "no-store"
    for name, value in who.chosen.items():
        response.set_cookie(name, value, max_age=YEAR, samesite="Lax", path="/")
    response.enable_compression()
    return response
