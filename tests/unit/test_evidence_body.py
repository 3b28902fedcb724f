"""What an alert shows."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts import chinese, schema
from alerts.body import AlertBody, OperationBody
from alerts.episode import EpisodeEvent, dedupe_key, episode_id, event_id
from alerts.evidence import (
    Alert,
    CoverageFacts,
    Provenance,
    Subject,
    SubjectEntity,
    build_alert,
    build_operation,
    ping,
)
from alerts.exhibits import LIMIT, Exhibit
from alerts.retelling import retold
from alerts.wording import iso, link, plain, span
from models.labels import RISKS

NOW = 1_790_000_000.0
DAY = 86_400.0
PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas" / "alert.schema.json"

FIRING = EpisodeEvent(
    kind="firing",
    key="entity:ACME",
    episode=3,
    opened_by="doc-7",
    opened_at=NOW,
    at=NOW,
    since=NOW - 2_100,
    sequence=0,
    score=8.123,
    threshold=6.1,
    observed=12.34,
    others=2.0,
    expected=1.7,
    expected_low=0.6,
    expected_high=3.4,
    stories=14,
    publishers=6,
    share=0.86,
    usual_share=0.25,
    baseline_span=12 * DAY,
    severity="error",
    excess=10.6,
    excess_low=4.2,
    scores={"social": 0.0, "news": 8.123},
)
ACME = Subject(
    name="Acme Corp", entities=(SubjectEntity(id="ACME", name="Acme Corp", tickers=["ACME"]),), watchlists=("banks",)
)
PROVENANCE = Provenance(
    version="0.1.0",
    model="default@abc",
    detector="1",
    configuration="f" * 64,
    latency_seconds={"publish_to_fetch": 2.5},
)


def exhibit(number: int, **changes: Any) -> Exhibit:
    start = Exhibit(
        document=f"doc-{number}",
        headline=f"Acme misses for the {number}th time",
        source="newswire",
        publisher="wire",
        url=f"https://wire.example/{number}",
        published=NOW - number,
        first_seen=NOW - number + 5,
        negative=0.9,
        positive=0.02,
        nats=float(number),
        reprints=number,
        publishers=("wire", "post"),
    )
    return msgspec.structs.replace(start, **changes)


def alert(event: EpisodeEvent = FIRING, **changes: Any) -> Alert:
    given: dict[str, Any] = {
        "subject": ACME,
        "exhibits": [exhibit(n) for n in range(8)],
        "coverage": CoverageFacts(sources_expected=3, sources_healthy=3),
        "provenance": PROVENANCE,
        "budget": 0.05,
    }
    return build_alert(event, **(given | changes))


def data(made: Alert) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(made.body)
    return body["data"]  # a dict of the body


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


HOSTILE = [
    "<script>alert(1)</script>",
    "\u202egnikcatta\u202c",
    "a\x00b\x1b[31mred\x07",
    "one\nline\r\nplease\u2028really",
    "\ud800 lone",
    "zero\u200bwidth\ufeff",
    "tag\U000e0041\U000e0042",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_comes_out_as_one_plain_line(text: str) -> None:
    made = alert(exhibits=[exhibit(1, headline=text, publisher=text, source=text)], subject=Subject(name=text))
    seen = json.dumps(json.loads(made.body), ensure_ascii=False)
    assert b"\n" not in made.body
    assert not [c for c in seen if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    json.loads(made.body.decode())


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "https://user:pass@wire.example/",
        "https:///nohost",
        "https://wire.example/\u202egpj.exe",
        "https://[::1",
        "ftp://wire.example/",
        "https://wire.example/" + "a" * 600,
        " https://wire.example/",
    ],
)
def test_only_plain_web_addresses_become_links(url: str) -> None:
    assert link(url) is None
    shown = data(alert(exhibits=[exhibit(1, url=url)]))
    assert shown["evidence"]["stories"][0]["url"] is None
    assert shown["evidence"]["first_source"]["url"] is None
    assert "links" in shown["truncated"]


def test_what_is_cut_is_named() -> None:
    assert data(alert())["truncated"] == []
    cut = data(
        alert(
            exhibits=[
                exhibit(n, headline="\U0001f4c9" * 300, url="https://e.x/" + "\U0001f4c9" * 480) for n in range(8)
            ]
        )
    )
    assert "headlines" in cut["truncated"]
    many = Subject(name="x", entities=ACME.entities * 9, watchlists=("w",) * 9)
    assert {"entities", "watchlists"} <= set(data(alert(subject=many))["truncated"])


text = st.text(max_size=700)


@settings(max_examples=60, deadline=None)
@given(text, text, st.lists(text, max_size=12), st.integers(0, 12))
def test_a_body_stays_below_its_limit_and_keeps_its_schema(head: str, name: str, stale: list[str], count: int) -> None:
    heavy = (head or "\U0001f4c9") * 40
    made = alert(
        subject=Subject(
            name=name or "\u6e2c" * 300,
            entities=tuple(SubjectEntity(id=name, name=heavy, tickers=[heavy] * 5) for _ in range(count)),
            topic=heavy,
            watchlists=tuple(stale),
        ),
        exhibits=[
            exhibit(n, headline=heavy, publisher=heavy, source=name, events=(heavy, *stale, name)) for n in range(count)
        ],
        counter=[exhibit(n, headline=heavy) for n in range(count)],
        coverage=CoverageFacts(sources_expected=3, sources_healthy=0, stale=tuple(stale)),
    )
    assert len(made.body) < LIMIT
    assert msgspec.json.encode(msgspec.json.decode(made.body, type=AlertBody)) == made.body
    check(json.loads(made.body))


def test_operational_events_have_a_body_of_the_same_form() -> None:
    stale = build_operation(
        "ops.source_stale", at=NOW, subject="wire", summary_text="wire is stale\n", severity="error"
    )
    recovered = build_operation("ops.source_recovered", at=NOW + 9, subject="wire", summary_text="wire is back")
    assert stale.order == recovered.order, "a recovery could overtake its outage"
    assert stale.id != recovered.id
    for made in (stale, recovered, ping("desk", NOW)):
        check(json.loads(made.body))
        assert made.type == msgspec.json.decode(made.body, type=OperationBody).type


def test_details_are_bounded_and_plain() -> None:
    details = {f"d{n:02}": "x\u202e" * 400 for n in range(30)} | {"a": 1, "b": None, "c": [1, 2]}
    made = build_operation("ops.pipeline_lag", at=NOW, subject="score", summary_text="behind", details=details)
    shown = data(made)
    assert (len(shown["details"]), shown["truncated"], len(made.body) < LIMIT) == (20, ["details"], True)
    assert (shown["details"]["a"], shown["details"]["b"], shown["details"]["c"]) == (1, None, "[1, 2]")


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == schema.text(), "run: make docs"


def test_the_schema_refuses_what_is_no_alert() -> None:
    body = json.loads(alert().body)
    check(body)
    for path, wrong in (("severity", "loud"), ("status", None), ("summary", 3), ("unusual", {})):
        broken = json.loads(alert().body)
        broken["data"][path] = wrong
        with pytest.raises(AssertionError):
            check(broken)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1, "1 second"), (89, "89 seconds"), (90, "2 minutes"), (5_399, "90 minutes"),
     (5_400, "2 hours"), (172_799, "48 hours"), (172_800, "2 days"), (86_400 * 14, "14 days"), (-5, "0 seconds")],
)  # fmt: skip
def test_spans_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words


@given(st.text(), st.integers(1, 50))
def test_plain_text_is_bounded_and_stays_as_it_is(raw: str, limit: int) -> None:
    line = plain(raw, limit)
    assert len(line) <= limit
    assert plain(line, limit) == line


def check(value: Any, rule: dict[str, Any] | None = None) -> None:
    """Validates against the published schema, by the keywords that it uses; an unknown keyword fails."""
    rule = json.loads(PUBLISHED.read_text()) if rule is None else rule
    if "$ref" in rule:
        name = rule["$ref"].rsplit("/", 1)[1]
        check(value, json.loads(PUBLISHED.read_text())["$defs"][name])
        return
    unknown = set(rule) - {
        "$schema", "title", "anyOf", "$defs", "type", "properties", "required", "items", "enum", "additionalProperties",
        "pattern", "description", "minimum", "maximum", "default", "format",
    }  # fmt: skip
    assert not unknown, unknown
    if "anyOf" in rule:
        assert any(_passes(value, one) for one in rule["anyOf"]), value
    if "enum" in rule:
        assert value in rule["enum"], value
    if "type" in rule:
        _check_type(value, rule)


def _passes(value: Any, rule: dict[str, Any]) -> bool:
    try:
        check(value, rule)
    except AssertionError:
        return False
    return True


def _check_type(value: Any, rule: dict[str, Any]) -> None:
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
        "null": type(None),
    }  # fmt: skip
    assert isinstance(value, kinds[rule["type"]]), (value, rule["type"])
    assert rule["type"] == "boolean" or not isinstance(value, bool)
    if isinstance(value, dict):
        assert set(rule.get("required", ())) <= set(value), set(rule["required"]) - set(value)
        more = rule.get("additionalProperties", {})
        for name, inner in value.items():
            check(inner, rule.get("properties", {}).get(name, more if isinstance(more, dict) else {}))
    elif isinstance(value, list):
        for inner in value:
            check(inner, rule.get("items", {}) if isinstance(rule.get("items"), dict) else {})
    elif isinstance(value, str):
        assert re.search(rule.get("pattern", ""), value), value
    elif isinstance(value, int | float):
        assert rule.get("minimum", value) <= value <= rule.get("maximum", value), value
