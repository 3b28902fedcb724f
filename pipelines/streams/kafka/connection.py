"""How brokers are reached, in the words of each of the three clients: kafka-python, aiokafka and Faust."""

from __future__ import annotations

import ssl
from typing import Any, Literal

import faust
import msgspec
from yarl import URL

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


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
    password: str | None = None

    def context(self) -> ssl.SSLContext | None:
        """TLS with the host's name checked; None where the connection is plain. Raises OSError for unusable files."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context

    def _protocol(self) -> str:
        return ("SASL_" if self.mechanism else "") + ("SSL" if self.tls else "PLAINTEXT")

    def client(self) -> dict[str, Any]:
        """Arguments of kafka-python's and aiokafka's clients."""
        arguments: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "security_protocol": self._protocol(),
            "ssl_context": self.context(),
        }
        if self.mechanism:
            arguments["sasl_mechanism"] = self.mechanism
            arguments["sasl_plain_username"] = self.username
            arguments["sasl_plain_password"] = self.password
        return arguments

    def worker(self) -> dict[str, Any]:
        """Settings of a Faust app."""
        settings: dict[str, Any] = {"broker": [URL(f"kafka://{broker}") for broker in self.brokers]}
        if self.mechanism:
            settings["broker_credentials"] = faust.SASLCredentials(
                mechanism=self.mechanism,
                username=self.username,
                password=self.password,
                ssl_context=self.context(),
            )
        elif self.tls:
            settings["broker_credentials"] = faust.SSLCredentials(self.context())
        return settings
