"""docs/asyncapi.json: valid by AsyncAPI 3.0, complete, and true of real records."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from typing import Any

import jsonschema
import pydantic
import pytest

from monitor import asyncapi
from pipelines.documents import Document, Watermark, encode, iso
from pipelines.streams.base import TOPICS, WATERMARK

with warnings.catch_warnings():  # two of its fields are named like methods of pydantic's
    warnings.filterwarnings("ignore", "Field name .schema. in", UserWarning)
    from asyncapi3.models.asyncapi import AsyncAPI3

PAGE = asyncapi.document()


def refused(page: Any) -> bool:
    """Whether the specification or, for the records' schemas, JSON Schema says no.

    The specification is judged by a package of the registry that all else comes from. It takes any mapping for a
    schema; AsyncAPI's schemas are those of draft 7 with a few words more.
    """
    try:
        AsyncAPI3.model_validate(page)
        for schema in page["components"]["schemas"].values():
            jsonschema.Draft7Validator.check_schema(schema)
    except (pydantic.ValidationError, jsonschema.SchemaError):
        return True
    return False


Page = dict[str, Any]
FAULTS: dict[str, Callable[[Page], Any]] = {
    "no version": lambda page: page["info"].pop("version"),
    "another specification": lambda page: page.update(asyncapi="2.6.0"),
    "a misspelt address": lambda page: page["channels"]["documents"].update(adress="x"),
    "a parameter with a schema": lambda page: page["channels"]["documents"]["parameters"]["prefix"].update(schema={}),
    "partitions in words": lambda page: page["channels"]["documents"]["bindings"]["kafka"].update(partitions="six"),
    "an unknown action": lambda page: page["operations"]["score-reads-documents"].update(action="listens"),
    "a key that is no schema": lambda page: page["components"]["messages"]["Document"]["bindings"]["kafka"].update(
        key="an id"
    ),
    "an unknown type": lambda page: page["components"]["schemas"]["Document"].update(type="thing"),
    "a requirement that is no list": lambda page: page["components"]["schemas"]["Document"].update(required="id"),
}


def test_it_is_valid_by_the_specification() -> None:
    assert not refused(PAGE)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_it_would_be_found(fault: str) -> None:
    spoiled = copy.deepcopy(PAGE)
    FAULTS[fault](spoiled)
    assert refused(spoiled)


def test_every_reference_leads_somewhere() -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    found = references(PAGE)
    assert len(found) > 50
    for reference in found:
        node: Any = PAGE
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_every_topic_is_described_with_who_writes_and_reads_it() -> None:
    assert set(PAGE["channels"]) == set(TOPICS)
    for name in TOPICS:
        reference = {"$ref": f"#/channels/{name}"}
        actions = {one["action"] for one in PAGE["operations"].values() if one["channel"] == reference}
        assert actions == {"send", "receive"}, name
    counts = {name: channel["bindings"]["kafka"]["partitions"] for name, channel in PAGE["channels"].items()}
    assert (counts["documents"], counts["evidence"], counts["candidates"], counts["alerts"]) == (6, 6, 1, 1)


def test_the_schemas_are_true_of_real_records() -> None:
    now = iso(1_790_000_000.0)
    document = Document(
        id="x", source="wire", class_="news", title="Acme opens", language="en", published=now, fetched=now, at=now
    )
    for record in (document, Watermark(at=now)):
        name = type(record).__name__
        schema = {"$ref": f"#/components/schemas/{name}", "components": PAGE["components"]}
        jsonschema.validate(json.loads(encode(record)), schema)
        with pytest.raises(jsonschema.ValidationError, match="yesterday"):
            jsonschema.validate(json.loads(encode(record)) | {"at": "yesterday"}, schema)
    assert PAGE["components"]["messages"]["Watermark"]["bindings"]["kafka"]["key"]["const"] == WATERMARK
