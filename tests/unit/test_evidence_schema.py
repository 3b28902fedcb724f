"""An alert's body keeps its schema and its bounds, whatever text it is given."""

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

from alerts import schema
from alerts.body import AlertBody, OperationBody
from alerts.evidence import (
    CoverageFacts,
    Subject,
    SubjectEntity,
    build_operation,
    ping,
)
from alerts.exhibits import LIMIT
from alerts.wording import link, plain
from tests.alert_bench import ACME, NOW, alert, data, exhibit

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas" / "alert.schema.json"


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
