"""Commands on a running daemon, through its API."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import typer

from monitor import assembly
from monitor.sender import send_test
from monitor.settings import Settings, load
from pipelines.documents import iso

# Never through a proxy of the environment: the daemon is here, and the token is for nobody else.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


PATIENCE = 30.0
"""Seconds that an answer may take."""


class NobodyThere(Exception):
    """Nobody listens where the daemon would."""


def ask(config: Path, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The answer of the daemon that runs with ``config``. What of ``path`` is a user's goes through ``quote``."""
    try:
        return ask_if_there(config, method, path, body)
    except NobodyThere as nobody:
        typer.echo(str(nobody), err=True)
        raise typer.Exit(1) from None


def ask_if_there(
    config: Path, method: str, path: str, body: dict[str, Any] | None = None, patience: float = PATIENCE
) -> Any:
    """The same where there need not be one. Raises NobodyThere."""
    web = load(config).web
    headers = {"content-type": "application/json"}
    token = web.key()
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    url = f"http://{web.listen}/api/v1/{path}"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with _open(request, timeout=patience) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        typer.echo(_problem(error), err=True)
        raise typer.Exit(1) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        why = getattr(reason, "strerror", None) or reason
        told = f"no daemon answers at {web.listen} ({why}); start it with: tapewatch run -c {config}"
        if isinstance(reason, ConnectionRefusedError):
            raise NobodyThere(told) from None
        typer.echo(told, err=True)
        raise typer.Exit(1) from None


def quote(name: str) -> str:
    """A name as one step of a path: it may hold spaces, letters of any script, and what means something there."""
    return urllib.parse.quote(name, safe="")


def _problem(error: urllib.error.HTTPError) -> str:
    """What a refusal says."""
    try:
        problem = json.loads(error.read())
        parts = [str(problem.get("title", error.reason)), str(problem.get("detail", ""))]
    except (ValueError, AttributeError):
        parts = [f"HTTP {error.code} {error.reason}"]  # no answer of ours: another program has this port
    return ": ".join(part for part in parts if part)


def listing(config: Path, path: str, field: str, *, without: tuple[str, ...] = ()) -> None:
    """Prints a list of the API, a JSON object a line."""
    for entry in ask(config, "GET", path)[field]:
        shown = {name: _moment(name, value) for name, value in entry.items() if name not in without}
        sys.stdout.write(json.dumps(shown, ensure_ascii=False) + "\n")


def audited(config: Path, filters: dict[str, str | None]) -> None:
    """Prints the audit log, page after page."""
    given = {name: value for name, value in filters.items() if value is not None} | {"limit": "1000"}
    while True:
        told = ask(config, "GET", f"audit?{urllib.parse.urlencode(given)}")
        for entry in told["audit"]:
            sys.stdout.write(json.dumps(entry, ensure_ascii=False) + "\n")
        if told["next"] is None:
            return
        given["cursor"] = told["next"]


MOMENTS = ("created", "expires", "due", "settled", "told", "published")


def _moment(name: str, value: Any) -> Any:
    """Times as people read them: the API gives seconds since 1970, 0 for what never was."""
    return (iso(value) if value else None) if name in MOMENTS and isinstance(value, float) else value


def letter(config: Path, number: int) -> None:
    """Prints a dead letter with its bytes."""
    for entry in ask(config, "GET", "dead-letters?limit=1000")["dead_letters"]:
        if entry["number"] == number:
            payload = base64.b64decode(entry.pop("payload"))
            sys.stdout.write(json.dumps(entry, ensure_ascii=False) + "\n")
            sys.stdout.flush()
            sys.stdout.buffer.write(payload + b"\n")
            return
    typer.echo(f"No such dead letter: none has the number {number}; `tapewatch dead-letters list` shows them", err=True)
    raise typer.Exit(1)


def send(config: Path, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    sys.stdout.write(json.dumps(ask(config, method, path, body if method != "POST" else body or {})) + "\n")


def test_channel(config: Path, name: str) -> None:
    """Sends a signed test event, with the client and the signature that alerts get."""
    settings = load(config)
    outcome = asyncio.run(_test(settings, name))
    if outcome is None:
        known = ", ".join(channel.name for channel in settings.channels) or "none"
        typer.echo(f"no channel {name!r}; configured: {known}", err=True)
        raise typer.Exit(2)
    sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
    if not outcome["ok"]:
        raise typer.Exit(1)


async def _test(settings: Settings, name: str) -> dict[str, Any] | None:
    entry = next((channel for channel in settings.channels if channel.name == name), None)
    if entry is None:
        return None
    http = assembly.client(settings.network)
    try:
        return await send_test(assembly.channel(entry, http), name, time.time())
    finally:
        await http.close()
