"""Answers over HTTP: JSON, errors as RFC 9457 problem details, and the safety headers of both."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec
import structlog
from aiohttp import web
from prometheus_client import Counter

from monitor.app import NotHere
from pipelines.streams.base import Behind, StoreTorn, Unwritable

log = structlog.get_logger(__name__)

REQUESTS = Counter("tapewatch_http_requests_total", "Requests answered.", ["route", "status"])

BODY_LIMIT = 8 * 2**20

LATEST = 253_402_300_800.0
"""Seconds since 1970 of the year 10000, which no time here reaches."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(Exception):
    """An error as RFC 9457 has it."""

    def __init__(self, status: int, title: str, detail: str = "", **extra: Any) -> None:
        super().__init__(title)
        self.status = status
        self.body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **extra}

    def response(self, headers: dict[str, str] | None = None) -> web.Response:
        return web.Response(
            status=self.status,
            body=json.dumps(self.body).encode(),
            content_type="application/problem+json",
            headers={"www-authenticate": "Bearer"} if self.status == 401 else headers,
        )


def answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns errors into problem details, adds the safety headers and counts."""
    try:
        response = await handler(request)
    except Problem as problem:
        response = problem.response()
    except Behind as behind:
        wait = str(int(behind.retry_after) + 1)
        response = Problem(429, "The pipeline is behind", str(behind)).response({"retry-after": wait})
    except Unwritable as closed:
        response = Problem(503, "Nothing can be written", str(closed)).response({"retry-after": "30"})
    except StoreTorn as torn:
        response = Problem(503, "A file is damaged", str(torn)).response({"retry-after": "30"})
    except NotHere as elsewhere:
        response = Problem(503, "Runs elsewhere", str(elsewhere)).response()
    except web.HTTPRequestEntityTooLarge:
        response = Problem(413, "Body too large", f"at most {BODY_LIMIT} bytes").response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = _refusal(error, request)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:  # a defect must not show its insides to the caller
        log.exception("request_failed", action="answer_500", path=request.path)
        response = Problem(500, "Internal error", "see the daemon's log").response()
    if not response.prepared:
        response.headers.update(HEADERS)
    resource = request.match_info.route.resource
    REQUESTS.labels(resource.canonical if resource is not None else "unknown", response.status).inc()
    return response


def _refusal(error: web.HTTPException, request: web.Request) -> web.Response:
    """What the server itself refuses."""
    if isinstance(error, web.HTTPNotFound):
        return Problem(
            404, "Not found", f"nothing answers at {request.path[:100]}; /openapi.json lists what does"
        ).response()
    if not isinstance(error, web.HTTPMethodNotAllowed):
        return Problem(error.status, error.reason).response()
    known = ", ".join(sorted(error.allowed_methods))
    return Problem(405, "Method not allowed", f"{request.path[:100]} takes {known}").response({"allow": known})


async def body_of(request: web.Request) -> bytes:
    """The body of a request, unpacked."""
    try:
        return await request.read()
    except web.RequestPayloadError:
        detail = "the body is not what its Content-Encoding says, or ends too early"
        raise Problem(400, "Unreadable body", detail) from None


def moment(value: Any) -> float:
    """Seconds since 1970 of a time that a caller gave as such or in ISO 8601. Raises ValueError."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        seconds = _calendar(str(value))
    if not 0.0 <= seconds < LATEST:
        raise ValueError("it is no time between 1970 and 9999")
    return seconds


def _calendar(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("it is not ISO 8601") from None
    if moment.tzinfo is None:
        raise ValueError("it lacks an offset")
    return moment.timestamp()
