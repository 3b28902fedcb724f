"""Which texts tell the same story, and what a key remembers of those it counted."""

import contextlib
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import stories
from pipelines.publishers import publisher_key
from pipelines.signatures import KIND, p_same, signature, similarity, word_set
from pipelines.stories import (
    BUCKET,
    ENTRIES,
    FAINT,
    PARTS,
    SAME,
    WINDOW,
    Bucket,
    Index,
    Memory,
    bucket_start,
    id64,
)

DAY = 86_400.0
START = 20_000 * DAY

WORDS = ["plant", "fire", "probe", "recall", "chief", "quits", "shares", "bonds", "lawsuit", "fine", "strike", "audit"]
headlines = st.lists(st.sampled_from(WORDS), min_size=3, max_size=8, unique=True).map(" ".join)


def told(memory: Memory, name: int, title: str, at: float, class_: str = "news") -> float:
    """Judges and counts a headline; its weight."""
    mark = signature(title)
    novelty = memory.judge(name, mark, at)
    if not novelty.duplicate:
        memory.remember(class_, name, mark, at, novelty.story)
    return novelty.weight


EVERY_WAY = pytest.mark.parametrize(("few", "nearest"), [(400, 12), (0, 12), (0, 1)])
"""Small and large indices count in different ways, and a key may have to look beyond the nearest ones."""


@contextlib.contextmanager
def counting(few: int, nearest: int) -> Iterator[None]:
    before = stories.FEW, stories.NEAREST
    stories.FEW, stories.NEAREST = few, nearest
    try:
        yield
    finally:
        stories.FEW, stories.NEAREST = before


def through_bytes(memory: Memory) -> Memory:
    packed = [msgspec.msgpack.encode(bucket) for bucket in memory.buckets.values()]
    return Memory((msgspec.msgpack.decode(value, type=Bucket) for value in packed), Index())


def test_a_signature_is_short_and_says_its_kind() -> None:
    long = signature(" ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}x" for n in range(100)))
    assert long.startswith(KIND)
    assert len(long) <= 128


def test_case_endings_and_spellings_of_numbers_do_not_make_another_story() -> None:
    assert signature("Acme recalls $1,300 million stents") == signature("ACME RECALLED 1300m STENT")
    assert signature("Profit up 4 percent") == signature("Profit up 4%")


def test_other_kinds_never_match() -> None:
    assert similarity(b"E1" + signature("Acme plant burns")[2:], signature("Acme plant burns")) == 0.0


def test_short_titles_are_filled_up_from_the_text() -> None:
    assert similarity(signature("Statement", "Acme halts pill sales"), signature("Statement", "Bolt wins order")) < 0.5


@given(headlines, headlines)
def test_similarity_is_a_symmetric_jaccard(one: str, other: str) -> None:
    a, b = signature(one), signature(other)
    x, y = set(one.split()), set(other.split())
    assert similarity(a, b) == similarity(b, a) == pytest.approx(len(x & y) / len(x | y))
    assert similarity(a, a) == 1.0


def test_the_probability_rises_with_likeness_and_falls_with_time() -> None:
    assert p_same(1.0, DAY) == 1.0
    assert p_same(0.0) == 0.0
    assert p_same(0.2) < p_same(0.4) < p_same(0.8)
    assert p_same(0.8) > 0.99
    assert p_same(0.4, 2 * DAY) < p_same(0.4, 0.0)
    assert p_same(0.1) < 0.1


def test_a_reprint_weighs_nothing_and_joins_its_story() -> None:
    memory = Memory([], Index())
    assert told(memory, 1, "Acme plant fire kills two workers", START) == 1.0
    again = memory.judge(2, signature("Acme plant fire kills two workers"), START + 60)
    assert (again.weight, again.story, again.new_story, again.duplicate) == (0.0, 1, False, False)


def test_other_news_of_the_same_company_is_new() -> None:
    memory = Memory([], Index())
    told(memory, 1, "Acme plant fire kills two workers", START)
    fresh = memory.judge(2, signature("Acme names auditor after board row"), START + 60)
    assert fresh.new_story
    assert fresh.weight > 0.9


def test_a_story_is_forgotten_after_the_window() -> None:
    memory = Memory([], Index())
    told(memory, 1, "Acme plant fire kills two workers", START)
    assert told(memory, 2, "Acme plant fire kills two workers", START + WINDOW) == 0.0
    assert told(memory, 3, "Acme plant fire kills two workers", START + 2 * WINDOW + 1) == 1.0


def test_chains_of_retellings_keep_the_first_story() -> None:
    memory = Memory([], Index())
    told(memory, 1, "Acme recalls heaters after fires", START)
    told(memory, 2, "Acme recalls heaters after fires hurt three", START + 60)
    assert memory.judge(3, signature("Acme heaters: fires hurt three in recalls"), START + 120).story == 1


def test_a_key_with_room_for_no_more_evicts_its_oldest_and_counts_it() -> None:
    memory = Memory([], Index())
    room = ENTRIES * PARTS
    evicted = 0
    for n in range(room + 5):
        bucket = memory.remember("social", n + 1, signature(f"alpha{n} beta{n} gamma{n}"), START + n / 10, n + 1)
        evicted += bucket.evicted
        bucket.evicted = 0
    assert evicted == 5
    assert len(memory) == room
    assert not memory.judge(1, signature("alpha0 beta0 gamma0"), START + 300).duplicate
    assert memory.judge(room + 5, b"", START + 300).duplicate
    assert max(len(msgspec.msgpack.encode(bucket)) for bucket in memory.buckets.values()) < 20_000


def test_expired_buckets_are_named_and_gone() -> None:
    memory = Memory([], Index())
    told(memory, 1, "Acme plant fire", START)
    told(memory, 2, "Acme audit row", START + 3 * DAY)
    gone = list(memory.expire(START + 3 * DAY - WINDOW))
    assert gone == [bucket_start("news", START)]
    assert list(memory.buckets) == [bucket_start("news", START + 3 * DAY)]
    assert not memory.judge(1, signature("x"), START + 3 * DAY).duplicate


def test_buckets_start_on_the_width_of_their_class() -> None:
    assert bucket_start("filing", START + 1) == START
    assert bucket_start("social", START + BUCKET["social"] + 1) == START + BUCKET["social"]


Told = st.tuples(st.integers(1, 12), headlines, st.floats(0, 3 * DAY), st.sampled_from(["news", "social"]))


@settings(max_examples=60)
@given(st.lists(Told, max_size=25), st.tuples(headlines, st.floats(0, 3 * DAY)))
def test_judgements_are_the_same_after_the_memory_went_through_bytes(
    items: list[tuple[int, str, float, str]], asked: tuple[str, float]
) -> None:
    memory = Memory([], Index())
    for name, title, after, class_ in items:
        told(memory, name, title, START + after, class_)
    back = through_bytes(memory)
    assert back.judge(99, signature(asked[0]), START + asked[1]) == memory.judge(
        99, signature(asked[0]), START + asked[1]
    )


@EVERY_WAY
@settings(max_examples=60)
@given(items=st.lists(Told, max_size=25), asked=st.tuples(headlines, st.floats(0, 3 * DAY)))
def test_the_index_finds_what_a_look_at_every_entry_finds(
    few: int, nearest: int, items: list[tuple[int, str, float, str]], asked: tuple[str, float]
) -> None:
    with counting(few, nearest):
        look_at_every_entry(items, asked)


def look_at_every_entry(items: list[tuple[int, str, float, str]], asked: tuple[str, float]) -> None:
    memory = Memory([], Index())
    for name, title, after, class_ in items:
        told(memory, name, title, START + after, class_)
    mark, at = signature(asked[0]), START + asked[1]
    entries = [entry for bucket in memory.buckets.values() for entry in bucket.entries]
    mine = word_set(mark)
    likely = [entry for entry in entries if len(mine & word_set(entry.mark)) >= max(1, FAINT * len(mine))]
    near = [entry for entry in likely if abs(entry.at - at) <= WINDOW]
    best = max((p_same(similarity(mark, entry.mark), at - entry.at) for entry in near), default=0.0)
    novelty = memory.judge(99, mark, at)
    assert novelty.weight == pytest.approx(1.0 - best)
    assert novelty.new_story == (best < SAME)


@EVERY_WAY
@settings(max_examples=60)
@given(
    items=st.lists(st.tuples(Told, st.sets(st.integers(0, 2), min_size=1)), max_size=40),
    reloaded=st.integers(0, 40),
)
def test_keys_that_share_an_index_judge_as_if_they_had_their_own(
    few: int, nearest: int, items: list[tuple[tuple[int, str, float, str], set[int]]], reloaded: int
) -> None:
    with counting(few, nearest):
        judge_together_and_apart(items, reloaded)


def judge_together_and_apart(items: list[tuple[tuple[int, str, float, str], set[int]]], reloaded: int) -> None:
    shared = Index()
    together, apart = [Memory([], shared) for _ in range(3)], [Memory([], Index()) for _ in range(3)]
    for number, ((name, title, after, class_), keys) in enumerate(sorted(items, key=lambda item: item[0][2])):
        mark, at = signature(title), START + after
        for key in sorted(keys):
            if number == reloaded:
                # Let go of and read again from its buckets between two keys' questions about one document.
                together[0].close()
                together[0] = Memory(together[0].buckets.values(), shared)
            pair = (together[key], apart[key])
            assert pair[0].expire(at - WINDOW) == pair[1].expire(at - WINDOW)
            one, other = (memory.judge(name, mark, at) for memory in pair)
            assert one == other
            if not one.duplicate:
                for memory in pair:
                    memory.remember(class_, name, mark, at, one.story)
    for memory in together:
        memory.close()
    assert len(shared) == 0


def test_a_key_that_let_go_of_the_nearest_still_finds_its_own() -> None:
    index = Index()
    busy, quiet = Memory([], index), Memory([], index)
    word = [f"w{n}" for n in range(40)]
    title = " ".join(word[:10])
    own = " ".join([*word[:5], *word[20:25]])
    quiet.remember("news", 1, signature(own), START, 1)
    for n in range(2, 2_000):
        busy.remember("news", n, signature(f"{title} x{n % 7}"), START + n, n)
    novelty = quiet.judge(9_999, signature(title), START + 2_001)
    assert novelty.similarity == pytest.approx(5 / 15)
    assert busy.judge(9_998, signature(title), START + 2_002).similarity > 0.9


@given(st.lists(Told, min_size=1, max_size=20))
def test_an_id_counts_once(items: list[tuple[int, str, float, str]]) -> None:
    memory = Memory([], Index())
    for name, title, after, class_ in items:
        told(memory, name, title, START + after, class_)
        assert memory.judge(name, signature(title), START + after)[:2] == (0.0, True)
    assert len(memory) == len({name for name, *_ in items})


def test_ids_become_numbers_that_fit_63_bits() -> None:
    numbers = {id64(f"{number:032x}") for number in range(1_000)} | {id64(f"doc-{number}") for number in range(1_000)}
    assert len(numbers) == 2_000
    assert all(0 <= number < 2**63 for number in numbers)


@pytest.mark.parametrize(
    ("publisher", "url"),
    [
        ("The Guardian", None),
        ("guardian", "https://x.example/a"),
        (None, "https://www.theguardian.com/a"),
        ("theguardian.com", None),
        (None, "https://feeds.theguardian.com/a"),
        (None, "https://amp.theguardian.co.uk/a"),
    ],
)
def test_a_publisher_is_one_however_it_is_written(publisher: str | None, url: str | None) -> None:
    assert publisher_key(publisher, "feed-7", url) == "guardian"


def test_a_publisher_without_name_or_address_is_its_source() -> None:
    assert publisher_key(None, "feed-7", None) == "feed-7"
    assert publisher_key("...", "feed-7", "https://[broken") == "feed-7"
    assert publisher_key(None, "feed-7", "http://10.0.0.7:8080/a") == "10.0.0.7"
    assert publisher_key("FT", "a", None) == publisher_key(None, "a", "https://www.ft.com/x")
