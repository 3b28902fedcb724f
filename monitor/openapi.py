"""The API's description as OpenAPI 3.1, written from its routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from monitor import __version__
from monitor.problems import LATEST
from monitor.routes import Instant, Route
from monitor.shapes import Problem

Schema = dict[str, Any]


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document."""
    kinds: list[Any] = [Problem]
    for one in routes:
        kinds += [kind for kind in (one.query, one.body, one.answer, *one.also.values()) if kind is not None]
    references, components = msgspec.json.schema_components(
        kinds, schema_hook=_hook, ref_template="#/components/schemas/{name}"
    )
    schemas = dict(zip(map(id, kinds), references, strict=True))
    queries = {schemas[id(one.query)]["$ref"].rsplit("/", 1)[1] for one in routes}
    paths: dict[str, dict[str, Any]] = {}
    for one in routes:
        query = components[schemas[id(one.query)]["$ref"].rsplit("/", 1)[1]]
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, query, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "tapewatch", "version": __version__, "license": {"name": "Apache-2.0"}},
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in sorted(components.items()) if name not in queries},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _hook(kind: type) -> Schema:
    if kind is Instant:
        seconds = {"type": "number", "minimum": 0, "exclusiveMaximum": LATEST}
        return {"anyOf": [{"type": "string", "format": "date-time"}, seconds]}
    raise NotImplementedError


def _operation(one: Route, query: Schema, schemas: dict[int, Schema]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": one.handler,
        "summary": one.summary,
        "parameters": [*_path(one.path), *_query(query)],
        "responses": _responses(one, schemas),
    }
    if one.writes:
        told["security"] = [{"token": []}]
    if one.body is not None:
        media = ("application/json", "application/x-ndjson") if one.raw else ("application/json",)
        content = {name: {"schema": schemas[id(one.body)]} for name in media}
        told["requestBody"] = {"required": one.raw or _needed(one.body), "content": content}
    return told


def _needed(body: Any) -> bool:
    """Whether nothing at all is no such body."""
    return any(field.required for field in msgspec.structs.fields(body))


def _path(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query(query: Schema) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": name in query.get("required", ()),
            "schema": (shown := _given(schema)),
            **({"description": text} if (text := shown.pop("description", "")) else {}),
        }
        for name, schema in query.get("properties", {}).items()
    ]


def _given(schema: Schema) -> Schema:
    """A parameter's schema: none that is given is null."""
    shown = {name: value for name, value in schema.items() if name != "default" or value is not None}
    if {"type": "null"} in shown.get("anyOf", ()):
        (inner,) = (one for one in shown["anyOf"] if one.get("type") != "null")
        shown = {name: value for name, value in shown.items() if name != "anyOf"} | inner
    if None in shown.get("enum", ()):
        shown["enum"] = [one for one in shown["enum"] if one is not None]
    return shown


def _responses(one: Route, schemas: dict[int, Schema]) -> dict[str, Any]:
    problem = {"description": "An error", "content": {"application/problem+json": {"schema": schemas[id(Problem)]}}}
    told: dict[str, Any] = {}
    for status, kind in {one.status: one.answer, **one.also}.items():
        schema = {"type": "string"} if kind is None else schemas[id(kind)]
        told[str(status)] = {"description": HTTPStatus(status).phrase, "content": {one.media: {"schema": schema}}}
    return {**told, "default": problem}
