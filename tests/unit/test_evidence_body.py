"""What an alert shows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from alerts import chinese
from alerts.body import AlertBody
from alerts.episode import dedupe_key, episode_id, event_id
from alerts.evidence import (
    CoverageFacts,
)
from alerts.exhibits import Exhibit
from alerts.retelling import retold
from alerts.wording import iso, span
from models.labels import RISKS
from tests.alert_bench import FIRING, NOW, PROVENANCE, alert, data, exhibit


def test_an_alert_names_who_how_much_and_against_what() -> None:
    made = alert()
    assert data(made)["summary"] == (
        "Acme Corp (ACME): 14 negative stories from 6 publishers in 35 minutes, weighing 12.3 where 1.7 (0.60 to 3.4) "
        "was expected from 12 days of history."
    )
    assert made.summary == data(made)["summary"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {},
            "Acme Corp (ACME)：35分钟内出现14条负面报道，来自6家媒体；加权合计12.3，而按12天的历史预期为1.7（0.60至3.4）。",
        ),
        ({"kind": "updated", "severity": "critical"}, "现为“特别严重”级别，35分钟内出现14条负面报道"),
        ({"kind": "resolved", "reason": "quiet", "at": NOW + 7_200}, "历时2小时后结束（负面消息已回到常态）；"),
        ({"publishers": 0}, "35分钟内出现14条负面帖子；"),
        ({"since": FIRING.at}, "：同时出现14条负面报道"),
        ({"baseline_span": 3 * 3_600.0}, "而按3小时的历史"),
    ],
)
def test_a_chinese_summary_says_the_same(change: dict[str, Any], said: str) -> None:
    event = msgspec.structs.replace(FIRING, **change)
    english, chinese_ = alert(event), alert(event, language="zh")
    assert said in chinese_.summary
    for made, other, language in ((english, chinese_, "zh"), (chinese_, english, "en")):
        body = msgspec.json.decode(made.body, type=AlertBody)
        assert retold(body, language) == other.summary, "a page tells it in its reader's language"
        assert retold(body, "en" if language == "zh" else "zh") == made.summary


def test_a_chinese_summary_has_a_word_for_every_kind_of_event() -> None:
    assert tuple(chinese.EVENTS) == RISKS
    exhibits = [exhibit(n, events=("recall",)) for n in range(8)]
    assert "主要涉及召回；" in alert(exhibits=exhibits, language="zh").summary


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "updated", "severity": "critical"}, "now critical, 14 negative stories"),
        (
            {"kind": "resolved", "reason": "quiet", "at": NOW + 7_200},
            "over after 2 hours (bad news is back to",
        ),
        ({"publishers": 0}, "14 negative posts in 35 minutes"),
        ({"stories": 1, "publishers": 1}, "1 negative story from 1 publisher in"),
        ({"since": FIRING.at}, "14 negative stories from 6 publishers at once, weighing"),
        ({"baseline_span": 3 * 3_600.0}, "from 3 hours of history"),
    ],
)
def test_the_summary_follows_the_event(change: dict[str, Any], said: str) -> None:
    assert said in alert(msgspec.structs.replace(FIRING, **change)).summary


def test_ids_are_those_of_the_episode() -> None:
    made, episode = alert(), episode_id("burst", "entity:ACME", "doc-7")
    shown = data(made)
    assert (made.alert, shown["episode"]["id"]) == (episode, episode)
    assert made.id == shown["id"] == event_id(episode, "firing", 0)
    assert made.order == shown["dedupe_key"] == dedupe_key("burst", "entity:ACME")


def test_the_same_event_gives_the_same_bytes_in_whatever_order_its_evidence_comes() -> None:
    exhibits = [exhibit(n) for n in range(8)]
    assert alert(exhibits=exhibits).body == alert(exhibits=exhibits[::-1]).body


def test_the_five_stories_that_weigh_most_are_shown_and_the_first_source_named() -> None:
    shown = data(alert())["evidence"]
    assert [story["id"] for story in shown["stories"]] == [f"doc-{n}" for n in (7, 6, 5, 4, 3)]
    assert shown["first_source"]["published"] == iso(NOW - 7)
    first = shown["stories"][0]
    assert (first["reprints"], first["publishers"], first["nats"], first["neutral"]) == (7, 2, 7.0, 0.08)
    assert (first["published"], first["first_seen"]) == (iso(NOW - 7), iso(NOW - 2))


def test_stories_tell_their_events_and_the_alert_how_many_tell_each() -> None:
    told = [("investigation", "fraud"), ("investigation",), (), ("recall", "investigation"), ("fraud",)]
    exhibits = [exhibit(n, risk=0.87654, events=kinds) for n, kinds in enumerate(told)]
    shown = data(alert(exhibits=exhibits))["evidence"]
    assert [story["events"] for story in shown["stories"]] == [list(kinds) for kinds in reversed(told)]
    assert {story["risk"] for story in shown["stories"]} == {0.877}
    assert list(shown["events"].items()) == [("investigation", 3), ("fraud", 2), ("recall", 1)]


def test_a_model_without_that_head_tells_no_events() -> None:
    shown = data(alert())["evidence"]
    assert shown["events"] == {}
    assert {(story["risk"], tuple(story["events"])) for story in shown["stories"]} == {(None, ())}
    old = msgspec.json.encode(exhibit(1))
    assert b"events" not in old and msgspec.json.decode(old, type=Exhibit) == exhibit(1)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            [("regulatory_ban",), ("regulatory_ban", "fraud"), ("fraud",), ()],
            "in 35 minutes, mostly about fraud, weigh",
        ),
        ([("regulatory_ban",), ("regulatory_ban",), ()], "in 35 minutes, mostly about regulatory ban, weighing"),
        ([("fraud",), ("fraud",), (), (), ()], "in 35 minutes, weighing"),
        ([("fraud",), ()], "in 35 minutes, weighing"),
        ([], "in 35 minutes, weighing"),
    ],
)
def test_the_summary_names_what_half_of_the_stories_tell(told: list[tuple[str, ...]], said: str) -> None:
    exhibits = [exhibit(n, events=kinds) for n, kinds in enumerate(told)]
    assert said in alert(exhibits=exhibits).summary


def test_stories_tell_the_phrases_that_make_them_bad_news_as_far_as_they_are_shown() -> None:
    long = exhibit(7, headline="Acme " + "misses again and " * 10 + "fraud")
    why = {"doc-7": ((5, 11, 0.4), (175, 180, 0.3)), "doc-6": "time", "doc-5": ()}
    told = {
        story["id"]: story
        for story in data(alert(exhibits=[long, exhibit(6), exhibit(5), exhibit(4)], why=why))["evidence"]["stories"]
    }
    assert (told["doc-7"]["why"], told["doc-7"]["unexplained"]) == ([[5, 11, 0.4], [175, 180, 0.3]], None)
    assert (told["doc-6"]["why"], told["doc-6"]["unexplained"]) == (None, "time")
    assert (told["doc-5"]["why"], told["doc-4"]["why"], told["doc-4"]["unexplained"]) == ([], None, None)
    many = [
        exhibit(n, headline=long.headline, url="https://wire.example/" + "é" * 400, source="é" * 80) for n in range(8)
    ]
    small = data(
        alert(
            exhibits=many,
            why={f"doc-{n}": why["doc-7"] for n in range(8)},
            provenance=msgspec.structs.replace(
                PROVENANCE, latency_seconds={"x" * 80 + str(n): 1.0 for n in range(110)}
            ),
        )
    )
    assert "headlines" in small["truncated"], "the test cut nothing"
    assert {tuple(map(tuple, story["why"])) for story in small["evidence"]["stories"]} == {((5, 11, 0.4),)}


def test_counter_evidence_is_shown_strongest_first() -> None:
    against = [exhibit(n, positive=n / 10, negative=0.0) for n in (7, 9, 8)]
    assert [story["id"] for story in data(alert(counter=against))["evidence"]["counter"]] == ["doc-9", "doc-8"]


def test_documents_count_the_reprints() -> None:
    unusual = data(alert())["unusual"]
    assert (unusual["negative_stories"], unusual["negative_documents"]) == (14, 14 + sum(range(8)))


@pytest.mark.parametrize(
    ("facts", "late", "degraded"),
    [
        (CoverageFacts(sources_expected=3, sources_healthy=3, backlog_seconds=59), False, False),
        (CoverageFacts(sources_expected=3, sources_healthy=3, backlog_seconds=61), True, True),
        (CoverageFacts(sources_expected=3, sources_healthy=2), False, True),
        (CoverageFacts(sources_expected=3, sources_healthy=2, unread=("wire",)), False, False),
        (CoverageFacts(sources_expected=3, sources_healthy=1, unread=("wire",)), False, True),
        (CoverageFacts(sources_expected=3, sources_healthy=3, stale=("wire",)), False, True),
    ],
)
def test_coverage_says_when_the_alert_is_late_or_half_blind(facts: CoverageFacts, late: bool, degraded: bool) -> None:
    coverage = data(alert(coverage=facts))["coverage"]
    assert (coverage["late"], coverage["degraded"]) == (late, degraded)


def test_links_lead_to_the_daemon_and_to_grafana_where_their_addresses_are_known() -> None:
    bare = data(alert())["links"]
    assert (bare["alert"], bare["grafana"]) == (None, None)
    made = alert(external_url="https://watch.example/", grafana_url="https://g.example")
    links = data(made)["links"]
    assert links["alert"] == f"https://watch.example/alerts/{made.alert}"
    assert "var-key=entity%3AACME" in links["grafana"]
    assert f"--to {iso(NOW + 3_600)}" in links["replay"] and "replay -c tapewatch.toml --from" in links["replay"]
    spaced = data(alert(settings="/etc/my tape.toml"))["links"]["replay"]
    assert spaced.startswith("tapewatch replay -c '/etc/my tape.toml' --from ")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1, "1 second"), (89, "89 seconds"), (90, "2 minutes"), (5_399, "90 minutes"),
     (5_400, "2 hours"), (172_799, "48 hours"), (172_800, "2 days"), (86_400 * 14, "14 days"), (-5, "0 seconds")],
)  # fmt: skip
def test_spans_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words
