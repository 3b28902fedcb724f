"""The JSON Schema of what webhooks get; ``make docs`` writes it to docs/schemas/alert.schema.json."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from alerts.body import AlertBody, OperationBody

TITLE = "Body of a tapewatch webhook"


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of an alert's or an operational event's body."""
    references, components = msgspec.json.schema_components((AlertBody, OperationBody), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        "anyOf": list(references),
        "$defs": components,
    }


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
