"""Bombs, broken encodings, forbidden addresses: each costs its own feed a reason and nobody else anything."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.abc import AbstractResolver

from monitor.http import BlockedError, DeadlineError, EncodingError, GuardedClient, HttpError, TooLargeError
from pipelines.parse import Jail, ParseError
from pipelines.text import document_id

GOOD = b"<rss version='2.0'><channel><title>t</title><item><guid>1</guid><title>Fine</title></item></channel></rss>"


@pytest_asyncio.fixture
async def jail() -> AsyncIterator[Jail]:
    made = Jail()
    yield made
    await made.close()


async def parse(jail: Jail, body: bytes, kind: str = "application/xml") -> object:
    return await jail.parse(body, content_type=kind, fetched=1.79e9, timezone=None)


ENTITIES = b"".join(b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 9))
DECLARED = "<?xml version='1.0' encoding='%s'?><!DOCTYPE rss [<!ENTITY a 'ha'>]><rss><channel>&a;</channel></rss>"
BOMBS = {
    **{f"entities in {name}": (DECLARED % name).encode(name) for name in ("utf-16", "utf-32", "utf-7", "cp037")},
    "entities": b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a0 'ha'>"
    + ENTITIES
    + b"]><rss><channel>&a8;</channel></rss>",
    "comments": b"<rss version='2.0'><channel>" + b"<!--" * 120_000 + b"</channel></rss>",
    "depth": b"<rss version='2.0'><channel>" + b"<a>" * 200_000 + b"</channel></rss>",
    "attributes": b"<rss version='2.0'><channel><item "
    + b" ".join(b"a%d='1'" % n for n in range(100_000))
    + b"/></channel></rss>",
    "markup": b"<rss version='2.0'><channel><item><description>"
    + b"&lt;a " * 60_000
    + b"</description></item></channel></rss>",
    "json": b'{"items": ' + b"[" * 200_000,
    "nothing": b"   ",
    "html": b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>x</body></html>",
    "noise": bytes(range(256)) * 400,
}


OUTCOMES = {
    **{f"entities in {name}": {"entities"} for name in ("utf-16", "utf-32", "utf-7", "cp037")},
    "entities": {"entities"},
    "comments": {"parsed"},
    "depth": {"too_long", "parsed"},
    "attributes": {"too_long", "parsed"},
    "markup": {"parsed"},
    "json": {"malformed"},
    "nothing": {"empty"},
    "html": {"html"},
    "noise": {"malformed"},
}
"""What may become of each; ``too_long`` where a machine needs more than the deadline for it."""


@pytest.mark.parametrize("name", sorted(BOMBS))
async def test_a_bomb_costs_seconds_at_most_and_the_next_feed_nothing(
    jail: Jail, name: str, counted: Callable[..., None]
) -> None:
    started, outcome = time.monotonic(), "parsed"
    try:
        await parse(jail, BOMBS[name])
    except ParseError as error:
        outcome = error.reason
    took = time.monotonic() - started
    assert outcome in OUTCOMES[name] and took < 7.0
    assert (outcome == "too_long") == (jail.killed == 1)
    after = time.monotonic()
    feed = await parse(jail, GOOD)
    assert feed.items[0].title == "Fine"
    assert time.monotonic() - after < 5.0
    counted(f"bomb of {name}, {outcome}", injected_bytes=len(BOMBS[name]), seconds=took, good_feeds_after_it=1)


async def test_a_parser_that_hangs_is_killed(counted: Callable[..., None]) -> None:
    jail = Jail(deadline=0.000_1)
    with pytest.raises(ParseError) as caught:
        await parse(jail, GOOD)
    assert caught.value.reason == "too_long"
    counted("parser over its deadline", injected=1, killed=jail.killed)
    await jail.close()


async def test_formats_and_clocks(jail: Jail) -> None:
    naive = b"<rss version='0.91'><channel><item><title>A</title><link>http://x.example/a</link><pubDate>2026-01-02 14:00:00</pubDate></item></channel></rss>"
    feed = await jail.parse(naive, content_type="", fetched=1.79e9, timezone="Asia/Shanghai")
    assert feed.items[0].published == 1767333600.0
    rdf = (
        b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://purl.org/rss/1.0/' "
        b"xmlns:dc='http://purl.org/dc/elements/1.1/'><item rdf:about='u'><title>R</title><link>http://x.example/r</link>"
        b"<dc:date>2026-01-02T14:00:00Z</dc:date></item></rdf:RDF>"
    )
    assert (await parse(jail, rdf)).items[0].published == 1767362400.0
    atom = b"<feed xmlns='http://www.w3.org/2005/Atom'><entry><id>i</id><title type='html'>B &amp;amp; C</title><updated>2026-01-02T14:00:00Z</updated></entry></feed>"
    assert (await parse(jail, atom)).items[0].guid == "i"
    json_feed = (
        b'{"version": "https://jsonfeed.org/version/1", "items": [{"id": 7, "title": "J", "content_html": "<p>x</p>"}]}'
    )
    item = (await parse(jail, json_feed)).items[0]
    assert (item.guid, item.title, item.markup) == ("7", "J", True)


async def test_what_is_no_id_makes_no_two_items_one(jail: Jail) -> None:
    told = ["a", " b ", 7, 7.5, True, False, None, {"id": 1}, ["x"], " "]
    items = [{"id": one, "title": f"Item {n}", "url": f"https://x.example/{n}"} for n, one in enumerate(told)]
    items.append({"title": "Item 10", "url": "https://x.example/10"})
    body = json.dumps({"version": "https://jsonfeed.org/version/1.1", "items": items}).encode()
    found = (await parse(jail, body)).items
    assert [one.guid for one in found] == ["a", "b", "7", "7.5", *[None] * 7]
    names = {document_id("wire", one.guid, one.url, one.title, one.published) for one in found}
    assert len(names) == len(items)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    runners = []

    async def start(handler: Handler) -> str:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[GuardedClient]:
    made = GuardedClient(["127.0.0.0/8"])
    yield made
    await made.close()


async def get(client: GuardedClient, url: str, deadline: float = 5.0) -> object:
    return await client.get(url, headers={}, max_bytes=1_000_000, deadline=deadline)


def answering(body: bytes, **headers: str) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return handler


async def test_a_gzip_bomb_stops_at_the_bound(
    client: GuardedClient, serve: Callable[[Handler], Awaitable[str]], counted: Callable[..., None]
) -> None:
    bomb = gzip.compress(b"\0" * 300_000_000, 9)
    assert len(bomb) < 400_000
    served = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal served
        served += 1
        return web.Response(body=bomb, headers={"content-encoding": "gzip"})

    url = await serve(handler)
    started = time.process_time()  # server and client are both this process
    with pytest.raises(TooLargeError):
        await get(client, url)
    assert time.process_time() - started < 2.0
    counted("gzip bomb", injected=served, bytes_on_the_wire=len(bomb), bytes_it_would_become=300_000_000, refused=1)


async def test_truncated_wrong_and_unasked_encodings(
    client: GuardedClient, serve: Callable[[Handler], Awaitable[str]], counted: Callable[..., None]
) -> None:
    whole = gzip.compress(GOOD)
    broken, refused = ((whole[:-12], "gzip"), (b"no gzip at all", "gzip"), (GOOD, "br")), 0
    for body, encoding in broken:
        with pytest.raises(EncodingError):
            await get(client, await serve(answering(body, content_encoding=encoding)))
        refused += 1
    sound = ((whole, "gzip"), (zlib.compress(GOOD), "deflate"), (GOOD, "identity"))
    for body, encoding in sound:
        assert (await get(client, await serve(answering(body, content_encoding=encoding)))).body == GOOD
    counted("encodings", broken=len(broken), refused=refused, sound_and_read=len(sound))


async def test_redirects_are_followed_told_and_bounded(
    client: GuardedClient, serve: Callable[[Handler], Awaitable[str]], counted: Callable[..., None]
) -> None:
    asked: Counter[str] = Counter()

    async def handler(request: web.Request) -> web.Response:
        asked[request.path] += 1
        hops = {
            "/a": (301, "/b"),
            "/b": (308, "/end"),
            "/t": (302, "/end"),
            "/loop": (302, "/loop"),
            "/out": (302, "http://10.0.0.1/"),
        }
        if request.path in hops:
            status, target = hops[request.path]
            return web.Response(status=status, headers={"location": target})
        return web.Response(body=GOOD)

    url = await serve(handler)
    assert (await get(client, url + "/a")).moved == url + "/end"
    assert (await get(client, url + "/t")).moved is None
    with pytest.raises(HttpError):
        await get(client, url + "/loop")
    with pytest.raises(BlockedError):
        await get(client, url + "/out")
    assert asked["/end"] == 2 and asked["/loop"] < 20
    counted("redirects", followed_to_the_end=asked["/end"], rounds_of_a_loop=asked["/loop"], blocked=asked["/out"])


FORBIDDEN = (
    "http://127.0.0.1/",
    "http://[::1]/",
    "http://10.1.2.3/",
    "http://169.254.169.254/latest",
    "http://[fd00::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://127.1/",
    "http://017700000001/",
    "http://0/",
    "http://localhost/",
    "http://224.0.0.1/",
    "http://100.64.0.1/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "http://user:pw@example.com/",
    "http://[fe80::1%25lo]/",
    "http://[::7f00:1]/",
    "http://[::ffff:0:7f00:1]/",
    "http://desk.example%00.evil.example/",
)


async def test_forbidden_addresses_in_every_form(counted: Callable[..., None]) -> None:
    client, dialled = GuardedClient(), []
    for url in FORBIDDEN:
        try:
            await get(client, url)
            dialled.append(url)
        except BlockedError:
            continue
        except HttpError as error:
            dialled.append(f"{url}: {error}")
    await client.close()
    assert dialled == []
    counted("forbidden addresses", asked_for=len(FORBIDDEN), blocked=len(FORBIDDEN) - len(dialled))


class Flipping(AbstractResolver):
    """Says a public address first and a private one afterwards, as a rebinding name server does."""

    def __init__(self) -> None:
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list:
        self.asked += 1
        address = "192.0.2.1" if self.asked == 1 else "127.0.0.1"
        return [
            {
                "hostname": host,
                "host": "203.0.113.9" if address == "192.0.2.1" else address,
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    async def close(self) -> None: ...


async def test_a_name_that_changes_its_mind_gains_nothing(counted: Callable[..., None]) -> None:
    resolver, blocked = Flipping(), 0
    client = GuardedClient(resolver=resolver)
    try:
        for _ in range(3):
            with pytest.raises(BlockedError):
                await get(client, "http://rebind.example/")
            blocked += 1
        assert resolver.asked == 3, "an answer was reused: the guard looked at another address than the one dialled"
    finally:
        await client.close()
    counted("a name that changes its mind", answers=resolver.asked, private_ones=resolver.asked - 1, blocked=blocked)


async def test_posts_follow_no_redirect_and_need_tls_beyond_allowed_addresses(
    client: GuardedClient, serve: Callable[[Handler], Awaitable[str]], counted: Callable[..., None]
) -> None:
    asked: Counter[str] = Counter()

    async def handler(request: web.Request) -> web.Response:
        asked[request.path] += 1
        return web.Response(status=308, headers={"location": "/elsewhere"})

    url = await serve(handler)
    assert (await client.post(url, body=b"{}", headers={}, deadline=5.0)).status == 308
    strict = GuardedClient()
    try:
        with pytest.raises(BlockedError):
            await strict.post(url, body=b"{}", headers={}, deadline=5.0)
    finally:
        await strict.close()
    assert set(asked) == {"/"}, "a redirect was followed"
    counted("redirects to posts", answered=asked["/"], plain_http_blocked=1)


class Renamed(Flipping):
    """Says an allowed address first and a public one afterwards."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list:
        found = await super().resolve(host, port, family)
        return [{**found[0], "host": "127.0.0.1" if self.asked == 1 else "93.184.215.14"}]


async def test_one_resolution_decides_that_something_may_go_in_the_clear(
    serve: Callable[[Handler], Awaitable[str]], counted: Callable[..., None]
) -> None:
    taken = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal taken
        taken += 1
        response = web.Response(status=204)
        response.force_close()
        return response

    url = (await serve(handler)).replace("127.0.0.1", "desk.example")
    assert "desk.example" in url
    resolver = Renamed()
    client = GuardedClient(["127.0.0.0/8"], resolver=resolver)
    try:
        assert (await client.post(url, body=b"{}", headers={}, deadline=5.0)).status == 204
        assert resolver.asked == 1, "the address that was judged is not the one that was dialled"
        with pytest.raises(BlockedError, match="http:// is allowed only where"):
            await client.post(url, body=b"{}", headers={}, deadline=5.0)
    finally:
        await client.close()
    assert (resolver.asked, taken) == (2, 1)
    counted("a name that moves to a public address", answers=resolver.asked, taken=taken, blocked=1)


async def test_a_dripping_server_meets_the_deadline(
    client: GuardedClient, serve: Callable[[Handler], Awaitable[str]], counted: Callable[..., None]
) -> None:
    drips = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal drips
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            drips += 1
            await asyncio.sleep(0.1)
        return response

    url = await serve(handler)
    started = time.monotonic()
    with pytest.raises(DeadlineError):
        await get(client, url, deadline=0.5)
    assert time.monotonic() - started < 2.0
    assert drips < 20
    counted("dripping server", drips=drips, cut_off=1)
