"""How brokers are reached, in the words of each of the three clients: kafka-python, aiokafka and Faust."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

import aiokafka.abc
import faust
import kafka.net.sasl.oauth
import msgspec
from yarl import URL

from pipelines.streams.base import EngineError

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"]

ANSWER = 30.0
"""Seconds that stages wait for a broker's answer, as Kafka's own clients do: what a half-open connection costs. Faust's
90 would be longer than any. A worker that waits longer for the others of its group to join asks again under the name
that it has, and loses nothing by it."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses and credentials. ``brokers``: ``host:port`` each."""

    brokers: tuple[str, ...]
    tls: bool = False
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""
    cert_file: str | None = None
    """The client's certificate, for brokers that ask for one."""
    key_file: str | None = None
    mechanism: Mechanism | None = None
    username: str | None = None
    secret: Callable[[], str] | None = None
    """The password, or for OAUTHBEARER the token, which is asked for at each sign-in."""

    def __post_init__(self) -> None:
        if self.mechanism == "GSSAPI" and find_spec("gssapi") is None:
            raise EngineError('sasl = "GSSAPI" needs the package gssapi, and with it the system\'s Kerberos libraries')

    def context(self) -> ssl.SSLContext | None:
        """TLS with the host's name checked; None where the connection is plain. Raises EngineError."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            named = [name for name in (self.ca_file, self.cert_file, self.key_file) if name is not None]
            raise EngineError(f"{', '.join(named)}: no usable certificates in PEM form: {error}") from error
        return context

    def client(self) -> dict[str, Any]:
        """Arguments of kafka-python's clients."""
        arguments = self._common()
        if self.mechanism == "OAUTHBEARER":
            arguments["sasl_oauth_token_provider"] = _Token(self._secret)
        return arguments

    def async_client(self) -> dict[str, Any]:
        """Arguments of aiokafka's clients."""
        arguments = self._common()
        if self.mechanism == "OAUTHBEARER":
            arguments["sasl_oauth_token_provider"] = _AsyncToken(self._secret)
        return arguments

    def _common(self) -> dict[str, Any]:
        protocol = ("SASL_" if self.mechanism else "") + ("SSL" if self.tls else "PLAINTEXT")
        arguments: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "security_protocol": protocol,
            "ssl_context": self.context(),
        }
        if self.mechanism is not None:
            arguments["sasl_mechanism"] = self.mechanism
        if self.username is not None:
            arguments["sasl_plain_username"] = self.username
            arguments["sasl_plain_password"] = self._secret()
        return arguments

    def worker(self) -> dict[str, Any]:
        """Settings of a Faust app."""
        settings: dict[str, Any] = {"broker": [URL(f"kafka://{broker}") for broker in self.brokers]}
        context = self.context()
        if self.mechanism == "OAUTHBEARER":
            token = _AsyncToken(self._secret)
            settings["broker_credentials"] = faust.auth.OAuthCredentials(oauth_cb=token, ssl_context=context)
        elif self.mechanism == "GSSAPI":
            settings["broker_credentials"] = faust.GSSAPICredentials(ssl_context=context)
        elif self.mechanism is not None:
            settings["broker_credentials"] = faust.SASLCredentials(
                mechanism=self.mechanism, username=self.username, password=self._secret(), ssl_context=context
            )
        elif context is not None:
            settings["broker_credentials"] = faust.SSLCredentials(context)
        return settings

    def _secret(self) -> str:
        return self.secret() if self.secret is not None else ""


class _Token(kafka.net.sasl.oauth.AbstractTokenProvider):  # type: ignore[misc]  # it has no types
    def __init__(self, secret: Callable[[], str]) -> None:
        super().__init__()
        self._read = secret

    def token(self) -> str:
        return self._read()


class _AsyncToken(aiokafka.abc.AbstractTokenProvider):  # type: ignore[misc]  # it has no types
    def __init__(self, secret: Callable[[], str]) -> None:
        self._read = secret

    async def token(self) -> str:
        return self._read()
