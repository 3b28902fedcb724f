"""Whether brokers let this client in, and if not why: said in a line, with what to do.

kafka-python 3.0.12 says no more than that it can't bootstrap, whatever the reason, and each client of its that can't
leaves a thread and up to six file descriptors behind: a process that waits for its brokers would run out of them. So
this is asked before one is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from pipelines.streams.base import EngineError
from pipelines.streams.kafka.connection import Connection

PATIENCE = 5.0
"""Seconds that a broker may take for each step of a sign-in."""


def refusal(connection: Connection, patience: float = PATIENCE) -> str | None:
    """Why none of the brokers lets this client in, of the first of them; None where one does.

    Runs on a thread without an event loop. Raises EngineError for certificates that can't be read.
    """
    return asyncio.run(_refusal(connection, patience))


async def _refusal(connection: Connection, patience: float) -> str | None:
    try:
        arguments = connection.async_client()
    except OSError as error:
        return f"{error.filename}: {error.strerror}: the password's file must be there"
    reasons = []
    for broker in arguments.pop("bootstrap_servers"):
        try:
            await _sign_in(broker, arguments, patience)
        except EngineError:
            raise
        except Exception as error:  # the system's, TLS's, Kerberos's or the client's own
            reasons.append(f"{broker}: {_explained(error, connection)}")
        else:
            return None
    return reasons[0]


async def _sign_in(broker: str, arguments: dict[str, Any], patience: float) -> None:
    host, port = broker.rsplit(":", 1)
    link = await create_conn(host.strip("[]"), int(port), request_timeout_ms=int(patience * 1_000), **arguments)
    try:
        # Versions are told to anybody; this only to whom the broker knows. A token that it refuses goes unseen by
        # aiokafka 0.14 until then.
        if not (await link.send(MetadataRequest([]))).brokers:
            raise SaslAuthenticationFailed("the token is refused")
    finally:
        with contextlib.suppress(Exception):  # it was only for asking
            await asyncio.wait_for(link.close(), 1.0)


def _explained(error: BaseException, connection: Connection) -> str:
    """What went wrong, and what to do."""
    said = " ".join(str(error.args[0] if error.args else "").split())[:200]
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is refused ({error.verify_message}): give its authority's certificate as ca_file, and "
            "address brokers by a name that the certificate has"
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"it has no sasl = {connection.mechanism!r} there: choose a mechanism that this listener has"
    if isinstance(error, IllegalSaslStateError):
        return f"it wants no sign-in there: leave sasl = {connection.mechanism!r} out, or address another listener"
    if isinstance(error, SaslAuthenticationFailed | AuthenticationFailedError):
        return f"it refuses the sign-in ({said or 'no reason given'}): correct sasl, username and password"
    if isinstance(error, TimeoutError):
        return "no answer: start it, or correct brokers and tls"
    if isinstance(error, OSError) and not isinstance(error, ConnectionResetError | ssl.SSLError):
        return f"no connection ({error.strerror or said}): start it, or correct brokers"
    return f"it ends the connection: {_expectation(connection)}"


def _expectation(connection: Connection) -> str:
    """What a broker that hangs up may want to have instead."""
    if not connection.tls:
        return "its listener may want TLS (tls, ca_file)" + ("" if connection.mechanism else " or a sign-in (sasl)")
    client = "" if connection.cert_file else ", want a client's certificate (cert_file, key_file)"
    sign_in = "" if connection.mechanism else " or a sign-in (sasl)"
    return f"its listener may have no TLS (tls = false){client}{sign_in}"
