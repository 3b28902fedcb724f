"""Clean text, its address and its identity."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.text import DAY, canonical_url, clean, day_spread, document_id, slug


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("<p>Profit <b>up</b> 4&nbsp;%</p>", "Profit up 4 %"),
        ("AT&amp;amp;T sues", "AT&T sues"),
        ("&lt;p&gt;Escaped twice&lt;/p&gt;", "Escaped twice"),
        ("<script>alert(1)</script>News<style>p{}</style>", "News"),
        ("Fish &#38; chips &#x2014; sold", "Fish & chips — sold"),
        ("profit < loss", "profit < loss"),
        ("<!-- hidden -->seen", "seen"),
        ("<p>unclosed <b>tags", "unclosed tags"),
    ],
)
def test_markup_becomes_plain_text(raw: str, plain: str) -> None:
    assert clean(raw, markup=True, limit=200) == plain


def test_without_markup_brackets_and_ampersands_are_text() -> None:
    assert clean("a <b> & &amp; c", markup=False, limit=200) == "a <b> & &amp; c"


def test_characters_that_hide_or_reorder_text_are_removed() -> None:
    assert clean("Ac\u200bme \u202eemca\u202c\x00 \x1b[31mred", markup=False, limit=200) == "Acme emca [31mred"


def test_one_letter_has_one_spelling() -> None:
    assert clean("Socie\u0301te\u0301", markup=False, limit=200) == "Société"


@given(st.text(max_size=300), st.integers(1, 100))
def test_cleaning_twice_changes_nothing_and_the_limit_holds(raw: str, limit: int) -> None:
    once = clean(raw, markup=False, limit=limit)
    assert len(once) <= limit
    assert clean(once, markup=False, limit=limit) == once
    assert "\n" not in once
    assert once == once.strip()


@given(st.text(alphabet="<>&;#xab/!-\"' ", max_size=300))
def test_broken_markup_gives_a_bounded_text(raw: str) -> None:
    assert len(clean(raw, markup=True, limit=50)) <= 50


@pytest.mark.parametrize("bomb", ["<a " * 20_000, "<!--" * 120_000, "<div>" * 100_000, "&lt;" * 200_000])
def test_markup_bombs_cost_no_more_than_a_long_article(bomb: str) -> None:
    started = time.process_time()
    assert len(clean(bomb, markup=True, limit=20_000)) <= 20_000
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("HTTPS://News.Example:443/a?utm_source=x&id=7#top", "https://news.example/a?id=7"),
        ("http://news.example:80", "http://news.example/"),
        ("http://news.example:8080/a", "http://news.example:8080/a"),
        (" https://news.example./A?b=&fbclid=1 ", "https://news.example/A?b="),
        ("https://[2001:db8::1]:443/a", "https://[2001:db8::1]/a"),
        ("https://user:secret@news.example/a", "https://news.example/a"),
        ("ftp://news.example/a", None),
        ("javascript:alert(1)", None),
        ("https://", None),
        ("https://[broken", None),
        ("https://news.example:99999/", None),
        ("/relative", None),
        ("https://news.example/" + "a" * 3_000, None),
    ],
)
def test_one_page_has_one_address(raw: str, canonical: str | None) -> None:
    assert canonical_url(raw) == canonical


@given(
    st.sampled_from(["http", "HTTPS"]),
    st.sampled_from(["", ":80", ":443", ":8080"]),
    st.text(alphabet="ab/%20.é", max_size=9),
    st.text(alphabet="ab=&1%+é", max_size=9),
)
def test_an_address_is_canonical_once(scheme: str, port: str, path: str, query: str) -> None:
    once = canonical_url(f"{scheme}://News.example{port}/{path}?{query}#top")
    assert once is not None
    assert canonical_url(once) == once


def test_the_identity_chain() -> None:
    by_guid = document_id("wire", "g1", "https://a.example/", "T", 1.0)
    assert by_guid == document_id("wire", "g1", "https://b.example/", "edited", 2.0)
    by_url = document_id("wire", None, "https://a.example/", "T", 1.0)
    assert by_url == document_id("wire", None, "https://a.example/", "edited", None)
    by_title = document_id("wire", None, None, "T", 1.0)
    assert by_title != document_id("wire", None, None, "T", 90_000.0)
    assert len({by_guid, by_url, by_title}) == 3
    assert all(len(name) == 32 and int(name, 16) >= 0 for name in (by_guid, by_url, by_title))


def test_a_feed_cannot_take_anothers_identity() -> None:
    for guid, url in (("g1", None), (None, "https://a.example/"), (None, None)):
        assert document_id("wire", guid, url, "T", 1.0) != document_id("rogue", guid, url, "T", 1.0)


def test_days_are_filled_evenly() -> None:
    hours = [int(day_spread(f"document {n}") // 3600) for n in range(2_400)]
    assert all(60 < hours.count(hour) < 145 for hour in range(24))
    assert day_spread("x") == day_spread("x") < DAY


@pytest.mark.parametrize(
    ("name", "slugged"),
    [
        ("Legal | Regulation", "legal-regulation"),
        ("Société Générale", "société-générale"),
        ("ＡＢＣ＿１", "abc-1"),
        ("贵州茅台", "贵州茅台"),
        ("  --  ", "x"),
    ],
)
def test_slugs_keep_letters_of_every_script(name: str, slugged: str) -> None:
    assert slug(name) == slugged
