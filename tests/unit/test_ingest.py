"""Identity, clocks, duplicates and revisions of what sources bring."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.documents import Document, RecordError, decode, encode, epoch
from pipelines.ingest import SEEN_FOR, TABLES, Ingest, Origin, Outcome, moment
from pipelines.sources.base import RawItem
from pipelines.streams.memory import MemoryState

NOW = 1_790_000_000.0
DAY = 86_400.0


class _Tables:
    name = "ingest"
    inputs = ()
    tables = TABLES


def state() -> MemoryState:
    return MemoryState(_Tables())


def origin(**changes: object) -> Origin:
    fields: dict = {"source": "wire", "class_": "news", "interval": 60.0, "last_success": NOW - 60.0}
    return Origin(**(fields | changes))


def item(title: str = "Acme opens a plant", **fields: object) -> RawItem:
    return RawItem(**({"guid": title, "title": title, "published": NOW - 10.0, "fetched": NOW} | fields))


def take(ingest: Ingest, kept: MemoryState, *items: RawItem, now: float = NOW, **changes: object) -> Outcome:
    outcome = ingest.accept(items, origin(**changes), kept, now)
    for table in kept.tables.values():
        table.freeze(forget=True)
    return outcome


def first(outcome: Outcome) -> Document:
    return decode(Document, outcome.outputs[0].value)


def test_second_sight_is_a_duplicate_and_an_edit_a_revision_of_the_same_id() -> None:
    ingest, kept = Ingest(max_age=DAY), state()
    new = first(take(ingest, kept, item(guid="1")))
    assert take(ingest, kept, item(guid="1")).duplicate == 1
    edited = take(ingest, kept, item("Acme opens two plants", guid="1"))
    assert (edited.revision, first(edited).id, first(edited).revision) == (1, new.id, 1)


def test_detection_time_is_now_while_the_source_is_read_and_the_date_after_a_gap() -> None:
    ingest = Ingest(max_age=DAY)
    live = first(take(ingest, state(), item(published=NOW - 300)))
    assert epoch(live.at) == NOW
    returned = first(take(ingest, state(), item(published=NOW - 300), last_success=NOW - 3 * 3600))
    assert epoch(returned.at) == NOW - 300
    first_poll = first(take(ingest, state(), item(published=NOW - 300), last_success=None))
    assert epoch(first_poll.at) == NOW - 300


def test_dates_of_1970_and_2099_are_clamped_and_old_news_is_counted_and_dropped() -> None:
    ingest = Ingest(max_age=DAY)
    assert epoch(first(take(ingest, state(), item(published=0.0))).published) == NOW
    assert epoch(first(take(ingest, state(), item(published=4_000_000_000.0))).published) == NOW
    old = take(ingest, state(), item(published=NOW - 2 * DAY))
    assert (old.stale, old.outputs) == (1, [])


def test_a_day_is_spread_and_never_beyond_it() -> None:
    ingest = Ingest(max_age=None)
    moments = [
        epoch(
            first(
                take(ingest, state(), item(f"t{i}", published=NOW - NOW % DAY, precision="day", fetched=NOW + DAY))
            ).at
        )
        for i in range(40)
    ]
    assert all(0 <= moment - (NOW - NOW % DAY) < DAY for moment in moments)
    assert len({int(moment // 3600) for moment in moments}) > 12


@given(
    st.sampled_from([None, "a"]),
    st.sampled_from([None, 0.0, NOW - DAY, NOW + DAY]),
    st.sampled_from(["second", "day"]),
    st.sampled_from([None, NOW - 5.0, NOW + 5.0]),
    st.sampled_from(["Acme opens", "", "<b>Acme</b>"]),
)
def test_history_is_sorted_by_the_time_that_its_documents_get(
    guid: str | None, published: float | None, precision: str, at: float | None, title: str
) -> None:
    one = item(title, guid=guid, published=published, precision=precision, at=at, markup=True, body="Its words.")
    made = first(take(Ingest(max_age=None, backfill=True), state(), one))
    assert abs(epoch(made.at) - moment(one, "wire")) < 1e-3


def test_empty_and_enormous_items_are_counted_not_kept() -> None:
    outcome = take(Ingest(max_age=DAY), state(), item("", guid="e"), item("x" * 2_100_000, guid="o"))
    assert (outcome.invalid, outcome.oversize, outcome.outputs) == (1, 1, [])


def test_ids_are_forgotten_in_the_end_but_not_while_a_feed_shows_them() -> None:
    ingest, kept = Ingest(max_age=None), state()
    take(ingest, kept, item(guid="shown"), item(guid="gone"))
    for day in range(1, 40):
        take(ingest, kept, item(guid="shown"), item(f"daily {day}"), now=NOW + day * DAY)
    seen = dict(kept.table("seen").items())
    shown, gone = first(take(Ingest(max_age=None), state(), item(guid="shown"))).id, None
    assert shown in seen
    gone = first(take(Ingest(max_age=None), state(), item(guid="gone"))).id
    assert gone not in seen
    assert SEEN_FOR < 40 * DAY


def test_a_record_that_nests_without_end_is_no_record() -> None:
    for value in (b"[" * 100_000, b'{"id": "a", "later": ' + b"[" * 100_000):
        with pytest.raises(RecordError, match="not a Document"):
            decode(Document, value)


@pytest.mark.parametrize("time", ["2026-13-41T25:00:00.000Z", "2026-01-31T12:00:00Z", "2026-01-31", "soon", ""])
def test_a_record_whose_time_is_none_is_refused_by_name(time: str) -> None:
    document = first(take(Ingest(max_age=DAY), state(), item()))
    with pytest.raises(RecordError, match=f"^not a Document: fetched '{time}' is no time: "):
        decode(Document, encode(msgspec.structs.replace(document, fetched=time)))


def test_another_language_is_named() -> None:
    chinese = first(take(Ingest(max_age=DAY), state(), item("证监会对公司立案调查", guid="zh")))
    assert chinese.language == "zh"


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e12, 1e12, allow_nan=False), st.floats(0, 30 * DAY), st.one_of(st.none(), st.floats(0, NOW)))
def test_clocks_hold_for_any_date(published: float, ahead: float, last: float | None) -> None:
    outcome = take(
        Ingest(max_age=None), state(), item(published=published, fetched=NOW), last_success=last, now=NOW + ahead
    )
    document = first(outcome)
    assert 366 * DAY <= epoch(document.published) <= NOW
    assert epoch(document.at) <= NOW
