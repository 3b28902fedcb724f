"""The API over the wire: what it is described as is what it does, and what can't be used is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.daemon_bench import Daemon, request, wait_for

SETTINGS = """
[[watchlists]]
name = "mine"
entities = [{ name = "Acme Corp", aliases = ["Acme"] }, { name = "Borealis Mills", aliases = ["Borealis"] }]
[detection]
min_open = "2s"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("api") / "daemon", SETTINGS) as running:
        running.ring()
        wait_for(lambda: running.get("alerts")["alerts"], "an alert")
        yield running


def asked(daemon: Daemon, path: str) -> tuple[int, Any]:
    status, _, body = request(f"{daemon.url}/api/v1/{path}")
    return status, json.loads(body)


@pytest.mark.parametrize(
    ("query", "parameter", "says"),
    [
        ("alerts?limit=1001", "limit", "a number from 1 to 1000"),
        ("alerts?limit=-1", "limit", "a number from 1 to 1000"),
        ("alerts?limit=99999999999999999999999", "limit", "a number from 1 to 1000"),
        ("alerts?state=firing", "state", "known here: status, key, since, until, merged, limit"),
        ("alerts?status=open", "status", "firing or resolved"),
        ("alerts?status=firing&status=resolved", "status", "given twice"),
        ("alerts?merged=1", "merged", "true or false"),
        ("alerts?since=yesterday", "since", "ISO 8601"),
        ("alerts?since=2026-01-31T12:00:00", "since", "lacks an offset"),
        ("alerts?since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z", "until", "after since"),
        ("series", "key", "key is missing"),
        ("series?key=", "key", "at least a character"),
        ("series?key=market&since=5&until=5", "until", "reversed"),
        ("documents?limit=9999", "limit", "a number from 1 to 1000"),
        ("deliveries?state=lost", "state", "delivered, failed, pending or standing"),
        ("feedback/report?budget=0", "budget", "a number above 0"),
        ("status?verbose=1", "verbose", "known here: none"),
    ],
)
def test_what_can_t_be_used_is_named_with_its_value_and_what_is_allowed(
    daemon: Daemon, query: str, parameter: str, says: str
) -> None:
    status, problem = asked(daemon, query)
    assert status == problem["status"] == 400 and problem["parameter"] == parameter
    assert says in problem["detail"], problem
    assert "value" not in problem or problem["value"] in query or problem["value"].endswith("…")


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": document["components"]}


READS = ("status", "sources", "models", "drift", "alerts", "keys", "documents", "silences", "deliveries",
         "dead-letters", "feedback", "feedback/report", "series?key=entity:acme-corp")  # fmt: skip


def test_every_answer_is_what_the_description_says(daemon: Daemon) -> None:
    described = json.loads(request(f"{daemon.url}/openapi.json")[2])
    assert described["openapi"] == "3.1.0"
    daemon.post("silences", {"keys": ["market"], "until": "2h"})
    alert = daemon.get("alerts")["alerts"][0]["alert"]
    daemon.post(f"alerts/{alert}/feedback", {"verdict": "true", "by": "Ada"})
    wait_for(lambda: daemon.get("silences")["silences"] and daemon.get("feedback")["feedback"], "the view")
    for path in (*READS, f"alerts/{alert}", f"alerts/{alert}/feedback"):
        plain = "/api/v1/" + path.split("?")[0].replace(alert, "{id}")
        response = described["paths"][plain]["get"]["responses"]["200"]
        schema = response["content"]["application/json"]["schema"]
        answer = daemon.get(path)
        jsonschema.validate(answer, resolved(described, schema))
        assert path.startswith(("dead", "sources", "drift", "deliv")) or any(answer.values()), path
    for path, methods in described["paths"].items():
        if "get" in methods and "{" not in path and not path.endswith("/stream"):
            assert request(daemon.url + path)[0] in (200, 400), path


def test_what_is_sent_is_described_and_wrong_bodies_are_refused(daemon: Daemon) -> None:
    described = json.loads(request(f"{daemon.url}/openapi.json")[2])
    order = described["paths"]["/api/v1/silences"]["post"]
    assert order["security"] == [{"token": []}]
    schema = resolved(described, order["requestBody"]["content"]["application/json"]["schema"])
    for body, good in (({"keys": ["market"], "until": "2h"}, True), ({"keys": "market", "until": "2h"}, False),
                       ({"severities": ["loud"], "until": "2h"}, False), ({"key": ["market"]}, False)):  # fmt: skip
        assert jsonschema.Draft202012Validator(schema).is_valid(body) is good, body
        status, answer = daemon.post("silences", body)
        assert status == (201 if good else 422), answer
        assert good or "severities (info, warning, error, critical)" in answer["detail"], answer


def paged(daemon: Daemon, path: str, field: str, limit: int) -> list[Any]:
    """All entries of a list, by pages."""
    joined, cursor, found = "&" if "?" in path else "?", "", list[Any]()
    while True:
        status, told = asked(daemon, f"{path}{joined}limit={limit}{cursor}")
        assert status == 200 and len(told[field]) <= limit, told
        found += told[field]
        if told["next"] is None:
            return found
        assert len(told[field]) == limit
        cursor = f"&cursor={told['next']}"


@pytest.mark.parametrize(
    ("path", "field", "name"),
    [
        ("alerts?merged=true", "alerts", "id"),
        ("documents", "documents", "id"),
        ("documents?sentiment=negative&q=acme", "documents", "id"),
        ("keys", "keys", "key"),
        ("silences", "silences", "id"),
        ("series?key=market", "series", "start"),
        ("feedback", "feedback", "id"),
    ],
)
def test_a_list_is_the_same_by_pages(daemon: Daemon, path: str, field: str, name: str) -> None:
    made = {daemon.post("silences", {"keys": ["market"], "until": "2h"})[1]["id"] for _ in range(3)}
    wait_for(lambda: made <= {one["id"] for one in daemon.get("silences")["silences"]}, "silences in the view")
    alerts = [one["alert"] for one in daemon.get("alerts?merged=true")["alerts"]]
    said = {daemon.post(f"alerts/{alert}/feedback", {"verdict": "unsure"})[1]["id"] for alert in alerts}
    wait_for(lambda: said <= {one["id"] for one in daemon.get("feedback")["feedback"]} and daemon.idle(), "verdicts")
    whole = daemon.get(path)[field]
    for limit in (1, 2, 7):
        by_pages = paged(daemon, path, field, limit)
        assert sorted(one[name] for one in by_pages) == sorted(one[name] for one in whole), limit
    assert len(whole) > (1 if field != "series" else 0)


def test_a_cursor_is_good_for_its_own_question_and_says_when_it_is_over(daemon: Daemon) -> None:
    status, first = asked(daemon, "documents?limit=2")
    cursor = first["next"]
    assert status == 200 and asked(daemon, f"documents?limit=5&cursor={cursor}")[0] == 200
    for path in (f"documents?key=market&cursor={cursor}", f"search?q=acme&cursor={cursor}", f"keys?cursor={cursor}",
                 "documents?cursor=nonsense", "documents?cursor=%00", f"documents?cursor={cursor[:-3]}",
                 f"documents?cursor={cursor}AAAA"):  # fmt: skip
        status, problem = asked(daemon, path)
        assert status == 400 and problem["parameter"] == "cursor", (path, problem)
    keys = asked(daemon, "keys?limit=1")[1]["next"]
    for _ in range(40):
        asked(daemon, "keys?limit=1")
    status, problem = asked(daemon, f"keys?limit=1&cursor={keys}")
    assert status == 410 and "from the beginning" in problem["detail"], problem


def test_who_has_the_answer_already_is_told_so_until_it_changes(daemon: Daemon) -> None:
    wait_for(daemon.idle, "rest")
    for path in ("documents", "alerts", "keys", "series?key=market", "search?q=acme", "deliveries", "dead-letters"):
        url = f"{daemon.url}/api/v1/{path}"
        for _ in range(20):  # the series may move at any time
            tag = request(url)[1]["etag"]
            status, _, body = request(url, headers={"if-none-match": f'"other", {tag}'})
            if status == 304:
                break
        assert (status, body) == (304, b""), path
    url = f"{daemon.url}/api/v1/documents"
    tag = request(url)[1]["etag"]
    daemon.push({"title": "Acme opens a quay that changes the answer"})
    wait_for(lambda: request(url, headers={"if-none-match": tag})[0] == 200, "another answer")
    assert request(f"{daemon.url}/api/v1/alerts/nobody", headers={"if-none-match": "*"})[0] == 404


def test_search_finds_words_in_both_scripts_and_folds_copies(daemon: Daemon) -> None:
    daemon.push(*({"title": "Harbour master quits over dredging", "url": f"https://p{n}.example/"} for n in range(3)),
                {"title": "监管机构处罚平安银行", "publisher": "财经"})  # fmt: skip
    wait_for(
        lambda: daemon.get("search?q=dredging")["documents"] and daemon.get("search?q=%E5%A4%84%E7%BD%9A")["documents"],
        "it",
    )
    (one,) = daemon.get("search?q=harbour%20dredg")["documents"]
    assert one["reprints"] == 2 and len(daemon.get("documents?q=dredging")["documents"]) == 3
    assert [one["publisher"] for one in daemon.get("search?q=%E5%A4%84%E7%BD%9A")["documents"]] == ["财经"]
    assert daemon.get("search?q=" + "x" * 10_000)["documents"] == []
    assert daemon.get("search?q=%22%20OR%20*%20NEAR(")["documents"] == []
