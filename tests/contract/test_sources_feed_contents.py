"""What comes out of odd feeds: new guids each time, 10,000 items, broken dates and characters, silence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from alerts.detector import Detector
from models.classifier import FakeClassifier
from pipelines.aggregate import Aggregate
from pipelines.documents import Document, Watermark, encode, iso
from pipelines.entities import Entity, EntityIndex
from pipelines.parse import ITEMS, Jail, ParseError
from pipelines.score import Score
from pipelines.sources import registry
from pipelines.sources.base import Tools
from pipelines.sources.schedule import STALE_FACTOR
from pipelines.streams.base import DOCUMENTS, EVIDENCE, WATERMARK, Output
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch, WatchList
from tests.contract.feed_server import FORMATS, NOW, Entry, FeedServer, answering, entry, raw, serving
from tests.contract.source_bench import DAY, BenchClock, Driver, Log, tools

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR = 3_600.0


@pytest_asyncio.fixture(loop_scope="module", params=sorted(FORMATS))
async def server(request: pytest.FixtureRequest) -> AsyncIterator[FeedServer]:
    async with serving(form=request.param) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def rss() -> AsyncIterator[FeedServer]:
    async with serving() as one:
        yield one


def drive(server: FeedServer, given: Tools, log: Log | None = None, **options: Any) -> Driver:
    fields = {"name": "wire", "url": server.url, "interval": 60.0} | options
    assert isinstance(given.clock, BenchClock)
    return Driver(registry.build("feed", fields, given), given.clock, log or Log())


# -- publishers who change what they said -----------------------------------------------------------------


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("linked", [True, False])
async def test_new_guids_for_old_items_are_no_news(server: FeedServer, given: Tools, dated: bool, linked: bool) -> None:
    if server.form == "rdf" and not linked:
        pytest.skip("an RDF item is its address")
    log = Log()
    guids = set()

    def churn(turn: int, count: int) -> None:
        made = [entry(n, guid=f"{turn}-{n}") for n in reversed(range(count))]
        made = made if dated else [Entry(one.guid, one.title, one.url, published=None) for one in made]
        server.entries = made if linked else [Entry(one.guid, one.title, None, "", one.published) for one in made]
        guids.update(one.guid for one in made)

    driver = drive(server, given, log)
    for turn in range(4):
        churn(turn, 5)
        await driver.poll()
    await driver.stop()
    churn(4, 7)
    again = drive(server, given, log)
    await again.poll()
    print(f"guids seen {len(guids)}, documents {len(log.documents)}")
    assert len(guids) == 27
    assert sorted(log.titles) == sorted(entry(n).title for n in range(7))
    assert again.handed == 2


STORIES = (
    "Brackwater sells its quay to a pension fund",
    "Regulator opens probe of ledger entries at Brackwater",
    "Turbine orders lift outlook for Brackwater",
    "Brackwater names former pilot chief of the ferry unit",
    "Strike over shift rota halts two Brackwater foundries",
)


async def test_new_guids_and_new_dates_are_the_same_stories(rss: FeedServer, given: Tools) -> None:
    told = []
    for churns in (False, True):
        driver = drive(rss, given, url=f"{rss.url}?{churns}")
        for turn in range(6):
            rss.entries = [
                entry(n, guid=f"{turn if churns else 0}-{n}", title=title, published=NOW - 600.0 + 10.0 * turn + n)
                for n, title in enumerate(STORIES)
            ]
            await driver.poll()
        told.append((len(driver.log.documents), _stories(driver.log.documents)))
        print(f"churning {churns}: documents {told[-1][0]}, stories counted {told[-1][1]}")
    (plain, stories), (churned, same) = told
    assert (plain, churned) == (5, 30), "the fault did not happen"
    assert stories == same == 5


def _stories(documents: list[Document]) -> float:
    """Stories a key that the production stages count."""
    company = Entity(id="brackwater", name="Brackwater", aliases=(), custom=True)
    watch = Watch([WatchList(name="mine", entities=(company,))], FakeClassifier().topics)
    clock, order = BenchClock(), sorted(documents, key=lambda document: document.at)
    engine = MemoryEngine(
        [
            Score(FakeClassifier(), EntityIndex([company]), watch, clock=clock),
            Aggregate(Detector(), watch, clock=clock, model="fake", provisional=False),
        ]
    )
    for document in order:
        engine.append([Output(DOCUMENTS, document.id, encode(document))])
        engine.append([Output(DOCUMENTS, WATERMARK, encode(Watermark(at=document.at)))])
    before = REGISTRY.get_sample_value("tapewatch_reprints_total") or 0.0
    engine.run()
    reprints = (REGISTRY.get_sample_value("tapewatch_reprints_total") or 0.0) - before
    told = [one.key for one in engine.records(EVIDENCE) if one.key != WATERMARK]
    assert told.count("market") == len(documents)
    return (len(told) - round(reprints)) / len(set(told))


async def test_two_items_that_say_the_same_on_two_pages_are_two(server: FeedServer, given: Tools) -> None:
    server.entries = [entry(1, url="https://wire.example/a"), entry(1, guid="other", url="https://wire.example/b")]
    driver = drive(server, given)
    await driver.polls(2)
    assert len(driver.log.documents) == 2


# -- size -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["rss", "json"])
async def test_ten_thousand_items_are_bounded_told_and_cost_the_next_feed_nothing(clock: BenchClock, form: str) -> None:
    jail = Jail(deadline=40.0)  # what bounds it is CPU time: a busy machine takes longer by the clock
    async with tools(clock, jail) as given, serving(form=form) as huge, serving(entries=[entry(1)]) as small:
        huge.entries = [entry(n, published=NOW - n) for n in range(10_000)]
        before = REGISTRY.get_sample_value("tapewatch_source_left_out_total", {"source": f"huge-{form}"}) or 0.0
        driver = drive(huge, given, name=f"huge-{form}")
        await driver.poll()
        after = REGISTRY.get_sample_value("tapewatch_source_left_out_total", {"source": f"huge-{form}"}) or 0.0
        assert (len(driver.log.documents), after - before) == (ITEMS, 10_000 - ITEMS)
        assert (driver.source.status.state, driver.source.status.reason) == ("up", None)
        other = drive(small, given, name="small")
        await other.poll()
        assert other.source.status.state == "up"
        huge.entries = [entry(10_001), *huge.entries]
        await driver.poll()
        assert driver.log.titles[ITEMS:] == [entry(10_001).title]
        assert driver.handed == ITEMS + 1
        assert jail.killed == 0, "a parser that did its work was ended"
    await jail.close()


# -- dates ------------------------------------------------------------------------------------------------


async def test_no_date_of_the_future_and_none_of_1970_gets_in(server: FeedServer, given: Tools) -> None:
    far = 4_070_908_800.0  # 2099
    server.entries = [
        entry(0, published=None),
        entry(1, published=0.0),
        entry(2, published=far),
        entry(3, published=NOW - 7 * DAY),
        entry(4, published=NOW - HOUR),
    ]
    driver = drive(server, given)
    outcome = await driver.poll()
    assert outcome is not None
    assert (outcome.accepted, outcome.stale) == (4, 1)
    found = {one.title: (one.published, one.at) for one in driver.log.documents}
    for number in (0, 1, 2):
        assert found[entry(number).title] == (iso(NOW), iso(NOW))
    assert found[entry(4).title] == (iso(NOW - HOUR), iso(NOW - HOUR))
    assert await driver.poll() is not None
    assert len(driver.log.documents) == 4, "a date that is made up must not make a document new"


@pytest.mark.parametrize("date", ["yesterday", "32 Foo 99999 99:99:99", "Thu, 01 Jan 99999 00:00:00 GMT", "-1", "²"])
async def test_a_date_that_is_none_is_no_reason_to_lose_the_item(rss: FeedServer, given: Tools, date: str) -> None:
    rss.head = f"<item><title>Foundry of Brackwater closes</title><guid>x</guid><pubDate>{date}</pubDate></item>"
    driver = drive(rss, given)
    await driver.polls(2)
    assert [(one.title, one.published) for one in driver.log.documents] == [("Foundry of Brackwater closes", iso(NOW))]


# -- silence ----------------------------------------------------------------------------------------------


async def test_a_feed_that_answers_but_brings_nothing_new_is_stale_and_not_down(rss: FeedServer, given: Tools) -> None:
    log = Log()
    rss.etag = '"0"'
    driver = drive(rss, given, log, interval=2 * HOUR)
    for n in range(5):
        rss.entries = [entry(n), *rss.entries]
        rss.etag = f'"{n}"'
        await driver.poll()
    last = driver.clock.time()
    frozen = None
    for _ in range(20):
        await driver.poll()
        if driver.source.status.state == "stale":
            frozen = driver.clock.time()
            break
    status = driver.source.status
    assert frozen is not None
    limit = max(STALE_FACTOR, 10.0) * 2 * HOUR
    assert limit - 3 * HOUR <= frozen - last <= limit + 5 * HOUR
    assert (status.frozen, status.streak) == (True, 0)
    assert "nothing new" in (status.reason or "")
    assert {one.status for one in rss.requests[-3:]} == {304}
    rss.entries, rss.etag = [entry(9, published=driver.clock.time()), *rss.entries], '"9"'
    await driver.polls(2)
    assert (driver.source.status.state, driver.source.status.reason) == ("up", None)
    await driver.stop()
    driver.clock.set(driver.clock.time() + 30 * DAY)
    again = drive(rss, given, log, interval=2 * HOUR)
    rss.entries, rss.etag = [entry(8, published=driver.clock.time()), *rss.entries], '"8"'
    running = again.source.batches(log.cursor)
    waiting = anext(running)
    assert again.source.status.state == "up"
    await waiting
    assert again.source.status.state == "up", "the machine was off: that is no silence of the feed's"
    await running.aclose()


@pytest.mark.parametrize("age", [HOUR, 40 * DAY])
async def test_a_feed_that_was_frozen_when_it_was_first_read_is_seen_to_be(
    rss: FeedServer, given: Tools, age: float
) -> None:
    """Whether its items were taken in, or all were too old."""
    driver = drive(rss, given, interval=HOUR)
    began = driver.clock.time()
    rss.entries = [entry(n, published=began - age - n) for n in range(3)]
    await driver.polls(20)
    assert (driver.source.status.state, len(driver.log.documents)) == ("up", 3 if age == HOUR else 0)
    await driver.polls(10)
    status = driver.source.status
    assert (status.state, status.frozen) == ("stale", True)
    assert driver.clock.time() - began > DAY
    rss.entries = [entry(9, published=driver.clock.time()), *rss.entries]
    await driver.polls(2)
    assert driver.source.status.state == "up"


@pytest.mark.parametrize(
    ("body", "titles"),
    [
        (b"<rss version='2.0'><channel><title>t</title>", None),
        (b"<rss version='2.0'><channel><title>t</title><item><title>Half", None),
        (b"<feed xmlns='http://www.w3.org/2005/Atom'><title>t</title><entry><title>Half a ti", None),
        (b"<rss version='2.0'><channel><item><title>Whole</title></item><item><title>Ha", ["Whole"]),
    ],
)
async def test_what_breaks_off_is_no_answer_and_half_an_item_no_document(
    given: Tools, body: bytes, titles: list[str] | None
) -> None:
    if titles is None:
        with pytest.raises(ParseError, match="breaks off"):
            await given.parser.parse(body, content_type="text/xml", fetched=NOW, timezone=None)
    else:
        feed = await given.parser.parse(body, content_type="text/xml", fetched=NOW, timezone=None)
        assert [item.title for item in feed.items] == titles


# -- bytes ------------------------------------------------------------------------------------------------

BODY = (
    b"<rss version='2.0'><channel><title>t</title><item><guid>1</guid><title>Quay sold</title></item></channel></rss>"
)


def whole(*headers: bytes, body: bytes = BODY) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "header",
    [
        b'ETag: "\xe9\xff"',
        b"Last-Modified: le 21 ao\xfbt",
        b"Content-Type: text/xml; charset=\xe9",
        b"Cache-Control: max-age=\xb2\xb2",
        b"Content-Encoding: identity",
    ],
)
async def test_headers_that_are_no_text_cost_nothing(rss: FeedServer, given: Tools, header: bytes) -> None:
    rss.always = raw(whole(header))
    log = Log()
    driver = drive(rss, given, log)
    await driver.polls(3)
    assert rss.injected == 3
    assert (driver.source.status.state, log.titles) == ("up", ["Quay sold"])
    await driver.stop()
    await drive(rss, given, log).poll()
    assert len(log.documents) == 1


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Quay &#xD800; sold", "Quay � sold"),
        ("Quay &#55357; sold", "Quay � sold"),
        ("Quay &#x110000; sold", "Quay � sold"),
        ("Quay &#99999999999999999999; sold", "Quay � sold"),
        ("Quay &#0; sold", "Quay � sold"),
        ("Quay &#xe9; &#23383; sold", "Quay é 字 sold"),
    ],
)
async def test_a_character_that_can_not_be_spoils_its_word_and_not_the_feed(
    rss: FeedServer, given: Tools, written: str, read: str
) -> None:
    rss.head = f"<item><guid>{written}</guid><title>{written}</title></item>"
    rss.entries = [entry(1)]
    driver = drive(rss, given)
    await driver.poll()
    assert sorted(driver.log.titles) == sorted([read, entry(1).title])


async def test_a_broken_answer_between_good_ones_costs_itself_only(server: FeedServer, given: Tools) -> None:
    server.entries = [entry(0)]
    bad = [whole(body=BODY)[:-40], b"\x00" * 50 + b"\r\n\r\n", whole(b"Content-Length: 7"), b"HTTP/9.9 ABC\r\n\r\n"]
    driver = drive(server, given)
    for number, answer in enumerate(bad, 1):
        await driver.poll()
        server.entries = [entry(number), *server.entries]
        server.faults = [raw(answer)]
        await driver.poll()
        assert driver.source.status.streak == 1, answer
        assert "\n" not in (driver.source.status.reason or "\n")
    server.faults = [answering(200, b"")]
    await driver.polls(2)
    print(f"injected {server.injected}")
    assert server.injected == 5
    assert driver.log.titles == [entry(n).title for n in range(5)]
    assert driver.source.status.state == "up"


# -- languages --------------------------------------------------------------------------------------------

NAMES = "Danone, Vivendi"
"""Nothing but names: only the feed can say what language this is."""
ATOM = '<feed xmlns="http://www.w3.org/2005/Atom"{root}><title>t</title><entry{own}><id>1</id><title>{title}</title></entry></feed>'
RSS = (
    '<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"{root}><channel><title>t</title>{head}'
    "<item{own}><guid>1</guid><title>{title}</title>{inside}</item></channel></rss>"
)


def written(form: str, title: str = NAMES, **parts: str) -> bytes:
    return form.format(**{"root": "", "head": "", "own": "", "inside": "", "title": title} | parts).encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (written(RSS), "en"),
        (written(RSS, head="<language>fr-FR</language>"), "fr"),
        (written(RSS, root=' xml:lang="it"'), "it"),
        (written(RSS, root=' xml:lang="en"', head="<language>pl</language>"), "pl"),
        (written(RSS, root=' xml:lang="en"', head="<language>pl</language>", own=' xml:lang="es"'), "es"),
        (written(RSS, head="<language>en</language>", inside="<dc:language>nl</dc:language>"), "nl"),
        (written(RSS, head="<language>French, mostly</language>"), "en"),
        (written(ATOM, root=' xml:lang="sv"'), "sv"),
        (written(ATOM, root=' xml:lang="sv"', own=' xml:lang="nb-NO"'), "no"),
        (written(RSS, "Group to cut 600 jobs after profit warning", head="<language>de</language>"), "en"),
        (written(RSS, "Konzern streicht 600 Stellen in Werk bei Ulm", head="<language>en-us</language>"), "de"),
        (b'{"version": "https://jsonfeed.org/version/1.1", "language": "pt", "items": [{"id": "1", "title": "Danone"}]}', "pt"),
        (b'{"language": "pt", "items": [{"id": "1", "title": "Danone", "language": "tr"}]}', "tr"),
    ],
)  # fmt: skip
async def test_what_a_feed_declares_counts_where_the_words_leave_doubt(
    rss: FeedServer, given: Tools, body: bytes, code: str
) -> None:
    rss.always = raw(whole(body=body))
    driver = drive(rss, given)
    await driver.poll()
    assert [document.language for document in driver.log.documents] == [code]
