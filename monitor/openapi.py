"""The API's description as OpenAPI 3.1, beside the routes that it describes."""

from __future__ import annotations

from typing import Any

from monitor import __version__

READS = {
    "/api/v1/status": ("Version, readiness, lag and coverage.", ()),
    "/api/v1/sources": ("The health of every source.", ()),
    "/api/v1/models": ("The models there are, which is in use since when, and what a rollback leads to.", ()),
    "/api/v1/drift": ("What texts are to the model against what they were, by class and measure.", ()),
    "/api/v1/alerts": (
        "Each alert's latest event, newest first; with `merged=true` also what is part of another alert.",
        ("status", "key", "since", "merged", "limit"),
    ),
    "/api/v1/alerts/{id}": ("All events of an alert and the attempts to deliver them.", ()),
    "/api/v1/alerts/{id}/feedback": ("The verdict on an alert, and all that were given before it.", ()),
    "/api/v1/feedback": (
        "The verdict that counts of each alert, with the alert's figures, the latest first.",
        ("verdict", "since", "limit"),
    ),
    "/api/v1/feedback/report": (
        "By watch-list: the precision so far, and what other budgets would have kept of what was judged.",
        ("budget",),
    ),
    "/api/v1/keys": ("Every watched key with its latest block.", ()),
    "/api/v1/series": ("A key's blocks: counted against expected.", ("key", "since", "limit")),
    "/api/v1/power": (
        "The smallest crises of a key that ring, tried out in its history; 202 with Retry-After until that is done.",
        ("key",),
    ),
    "/api/v1/documents": (
        "The latest documents, of a key or of all, newest first; history (`backfill`) after all others.",
        ("key", "limit"),
    ),
    "/api/v1/stream": ("Server-sent events: alert, document, series, source.", ()),
    "/api/v1/silences": ("Silences: those of the settings, and operators' until four weeks after their end.", ()),
    "/api/v1/deliveries": ("What is owed and what was delivered, with the key and summary of its event.", ("state",)),
    "/api/v1/dead-letters": ("Records that could not be handled.", ("limit",)),
    "/alerts/latest": ("Leads to the page of a key's latest alert.", ("key",)),
    "/metrics": ("Prometheus metrics.", ()),
    "/healthz": ("Whether the process lives.", ()),
    "/readyz": ("Whether it can do its work; 503 with reasons where not.", ()),
}

WRITES = {
    ("post", "/api/v1/documents"): (
        "Documents as JSON or JSON Lines; 202 once they are durable, with the lines or entries that were bad.",
        "202",
    ),
    ("post", "/api/v1/silences"): ("Keeps matching alerts from being sent until a time.", "201"),
    ("delete", "/api/v1/silences/{id}"): ("Ends a silence.", "202"),
    ("post", "/api/v1/alerts/{id}/feedback"): (
        "Says whether an alert was true: verdict is true, false or unsure, as text; note and by may be left out.",
        "202",
    ),
    ("post", "/api/v1/deliveries/{id}/retry"): ("Owes a delivery anew, at once.", "202"),
    ("post", "/api/v1/dead-letters/{id}/retry"): ("Puts a dead letter back on its topic.", "202"),
    ("post", "/api/v1/channels/{id}/test"): ("Sends a signed test event.", "200"),
    ("post", "/api/v1/models/use"): (
        "Judges with another model from the next batch on, once it is loaded and says what it should.",
        "200",
    ),
    ("post", "/api/v1/models/rollback"): ("The same with the model that was in use before.", "200"),
    ("post", "/api/v1/reload"): ("Reads the settings again; they are validated before anything changes.", "200"),
}


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for path, (summary, query) in READS.items():
        parameters = [
            *_path_parameters(path),
            *({"name": name, "in": "query", "schema": {"type": "string"}} for name in query),
        ]
        paths.setdefault(path, {})["get"] = {
            "summary": summary,
            "parameters": parameters,
            "responses": _responses("200"),
        }
    for (method, path), (summary, status) in WRITES.items():
        paths.setdefault(path, {})[method] = {
            "summary": summary,
            "parameters": _path_parameters(path),
            "security": [{"token": []}],
            "responses": _responses(status),
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "tapewatch", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _path_parameters(path: str) -> list[dict[str, Any]]:
    if "{id}" not in path:
        return []
    return [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]


def _responses(status: str) -> dict[str, Any]:
    problem = {"description": "An error", "content": {"application/problem+json": {}}}
    return {status: {"description": "Done"}, "default": problem}
