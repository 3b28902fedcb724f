"""Sessions, over HTTP with a clock by hand: they end, can't be forged, and lead nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from monitor.access import COOKIE, IDLE, RENEWED, ROLE, Access, inside
from monitor.problems import Problem, guarded
from monitor.web_settings import Web


class Desk:
    """A server that lets in by ``Access``, and says as who."""

    def __init__(self, **settings: Any) -> None:
        self.now = 1_000_000.0
        self.settings = Web(**{"token": "analysts-token", "reader_token": "readers-token"} | settings)
        self.access = Access(self.settings, lambda: self.now)
        self.address = ""

    async def serve(self) -> web.AppRunner:
        application = web.Application(middlewares=[guarded, self.access.checked])
        application.router.add_get("/who", self._who)
        application.router.add_post("/who", self._who)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{runner.addresses[0][1]}/who"
        return runner

    async def _who(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            self.access.write(request)
        return web.Response(text=request[ROLE])

    def cookie(self, role: str) -> str:
        response = web.Response()
        self.access.admit(response, role)
        return response.cookies[COOKIE].value

    async def ask(self, cookie: str = "", method: str = "GET", **headers: str) -> tuple[int, str, SimpleCookie]:
        sent = {"cookie": f"{COOKIE}={cookie}"} if cookie else {}
        async with aiohttp.request(method, self.address, headers=sent | headers, allow_redirects=False) as answer:
            return answer.status, await answer.text(), answer.cookies


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    one = Desk()
    runner = await one.serve()
    yield one
    await runner.cleanup()


async def test_a_session_lasts_while_it_is_used_and_no_longer(desk: Desk) -> None:
    cookie = desk.cookie("reader")
    assert (await desk.ask(cookie))[:2] == (200, "reader")
    desk.now += RENEWED + 1
    status, _, fresh = await desk.ask(cookie)
    assert status == 200 and fresh[COOKIE].value != cookie
    desk.now += IDLE - 1
    assert (await desk.ask(cookie))[0] == 401, "the old one"
    assert (await desk.ask(fresh[COOKIE].value))[0] == 200
    desk.now += 2
    assert (await desk.ask(fresh[COOKIE].value))[0] == 401


async def test_a_cookie_is_not_to_be_forged(desk: Desk) -> None:
    cookie = desk.cookie("reader")
    role, at, mark = cookie.split(".")
    other = Desk(reader_token="changed")
    for forged in (
        f"analyst.{at}.{mark}", f"{role}.{int(at) + 60}.{mark}", f"{role}.{at}.", f"{role}.{at}", mark, "..", "é.1.2",
        f"{role}.{at}.{mark[:-1]}", other.cookie("reader"), other.cookie("analyst"), Desk(token="x").cookie("analyst"),
    ):  # fmt: skip
        assert (await desk.ask(forged))[0] == 401, forged
    assert (await desk.ask(cookie))[0] == 200
    assert Desk().cookie("reader") == cookie, "it outlives a restart"


async def test_who_may_write(desk: Desk) -> None:
    analyst, reader = desk.cookie("analyst"), desk.cookie("reader")
    assert (await desk.ask(analyst, "POST"))[0] == 200
    status, told, _ = await desk.ask(reader, "POST")
    assert status == 403 and "Readers only read" in told
    for foreign in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert (await desk.ask(analyst, "POST", **foreign))[0] == 403, foreign
        assert (await desk.ask("", "POST", authorization="Bearer analysts-token", **foreign))[0] == 200, foreign
    assert (await desk.ask("", "POST", authorization="bearer readers-token"))[0] == 403
    for wrong in ("Bearer", "Bearer ", "Basic analysts-token", "Bearer analysts-token2", "Bearer \u00c3"):
        assert (await desk.ask("", authorization=wrong))[0] == 401, wrong
        assert (await desk.ask(analyst, authorization=wrong))[0] == 200, "the cookie still holds"


async def test_a_view_leads_to_the_sign_in_and_back(desk: Desk) -> None:
    async with aiohttp.request(
        "GET", desk.address + "?a=1&b=é", headers={"accept": "text/html"}, allow_redirects=False
    ) as answer:
        assert answer.status == 303
        assert answer.headers["location"] == "/sign-in?next=%2Fwho%3Fa%3D1%26b%3D%25C3%25A9"
    async with aiohttp.request("POST", desk.address, headers={"accept": "text/html"}) as answer:
        assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer"


async def test_wrong_tokens_take_their_time_and_right_ones_do_not(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.access.WRONG", 0.0)
    assert await desk.access.sign_in(" analysts-token\n") == "analyst"
    for wrong in ("", "analysts-toke", "\udc80"):
        with pytest.raises(Problem) as refused:
            await desk.access.sign_in(wrong)
        assert refused.value.status == 401
    monkeypatch.setattr("monitor.access.QUEUE", 0)
    with pytest.raises(Problem) as refused:
        await desk.access.sign_in("wrong")
    assert refused.value.status == 429
    assert await desk.access.sign_in("readers-token") == "reader"


@pytest.mark.parametrize(
    ("external", "secure"), [("https://tapewatch.example", True), ("http://tapewatch.example", False)]
)
def test_a_cookie_is_no_script_s_and_no_other_site_s(external: str, secure: bool) -> None:
    response = web.Response()
    Desk(external_url=external).access.admit(response, "reader")
    said = response.cookies[COOKIE]
    assert said["httponly"] and said["samesite"] == "Lax" and bool(said["secure"]) is secure


def test_nobody_is_led_elsewhere() -> None:
    for there in ("/", "/alerts/abc?done=row#h-do", "/keys/entity:acme-corp?range=30d"):
        assert inside(there) == there
    for there in (
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "",
        "/\nevil", "evil.example/", "/\t/evil.example",
    ):  # fmt: skip
        assert inside(there) == "/", there
