"""docs/asyncapi.json: valid by AsyncAPI's own JSON Schema, complete, and true of real records."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from monitor import asyncapi
from pipelines.documents import Document, Watermark, encode, iso
from pipelines.streams.base import TOPICS, WATERMARK

SPECS = "@asyncapi/specs@6.11.1"
"""The specification's own schemas; there is no Python package of them."""
CACHE = Path(__file__).parents[2] / ".cache" / "asyncapi"

PAGE = asyncapi.document()


@pytest.fixture(scope="module")
def specification(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The JSON Schema of AsyncAPI 3.0, from npm, kept in the checkout's cache."""
    kept = CACHE / f"{SPECS.rsplit('@', 1)[1]}.json"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _fetch(tmp_path_factory.mktemp("npm"), kept)
    return json.loads(kept.read_text())


def _fetch(scratch: Path, kept: Path) -> None:
    reason = "npm not found: it brings the JSON Schema of AsyncAPI"
    if shutil.which("npm") is not None:
        done = subprocess.run(["npm", "pack", "--silent", SPECS], cwd=scratch, capture_output=True, text=True)
        if done.returncode == 0:
            with tarfile.open(next(scratch.glob("*.tgz"))) as packed:
                member = packed.extractfile("package/schemas/3.0.0.json")
                assert member is not None
                kept.write_bytes(member.read())
            return
        reason = f"npm could not fetch {SPECS}: {done.stderr[-300:]}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def test_it_is_valid_by_the_specification_which_finds_faults(specification: Any) -> None:
    validator = jsonschema.Draft7Validator(specification)
    assert [error.message for error in validator.iter_errors(PAGE)] == []
    faults = 0
    for spoil in (
        lambda page: page["channels"]["documents"].pop("address") and page["channels"]["documents"].update(adress="x"),
        lambda page: page["operations"]["score-reads-documents"].update(action="listens"),
        lambda page: page["components"]["messages"]["Document"]["bindings"]["kafka"].update(key="an id"),
    ):
        spoiled = copy.deepcopy(PAGE)
        spoil(spoiled)
        faults += not validator.is_valid(spoiled)
    assert faults == 3


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
