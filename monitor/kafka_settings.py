"""How Kafka's brokers are reached: what the engine and a source have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from monitor.addresses import is_loopback
from monitor.sections import Section

_BROKER = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(\d{1,5})$", re.ASCII)


def broker(value: str) -> str:
    """ "host:port", an IPv6 address in brackets."""
    found = _BROKER.match(value)
    if found is None or not 0 < int(found[2]) < 65_536:
        raise ValueError('a broker is host:port, as in "kafka-1.example:9093" or "[::1]:9092"')
    return value


Broker = Annotated[str, AfterValidator(broker)]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"]

IN_THE_CLEAR: tuple[Mechanism, ...] = ("PLAIN", "OAUTHBEARER")
"""Mechanisms that send the password or token as it is: whoever listens has it."""


class KafkaAccess(Section):
    """Brokers and sign-in. TLS always checks the brokers' host names."""

    brokers: tuple[Broker, ...] = Field((), description="Addresses to begin with, as in kafka-1.example:9093.")
    tls: bool | None = Field(
        None, description="Encrypt; by default unless every broker is on loopback or plaintext is allowed."
    )
    plaintext: bool = Field(False, description="Send records in the clear beyond loopback, too.")
    ca_file: Path | None = Field(None, description="Certificates to trust instead of the system's.")
    cert_file: Path | None = Field(None, description="Certificate by which this client is known, with key_file.")
    key_file: Path | None = Field(None, description="The certificate's private key, not encrypted.")
    sasl: Mechanism | None = Field(
        None,
        description="How to sign in; OAUTHBEARER takes its token as password, GSSAPI the process's Kerberos ticket.",
    )
    username: str | None = Field(None, description="Who signs in (PLAIN, SCRAM).")
    password: SecretStr | None = Field(None, description="Password (PLAIN, SCRAM), or token (OAUTHBEARER).")
    password_file: Path | None = Field(
        None, description="File that holds the password or token; a token is read anew at each sign-in."
    )

    @property
    def encrypted(self) -> bool:
        """Whether connections are encrypted."""
        if self.tls is not None:
            return self.tls
        return not self.plaintext and (bool(self._tls_files()) or bool(self._beyond_loopback()))

    @property
    def security_protocol(self) -> str:
        """As Kafka's clients call it: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        transport = "SSL" if self.encrypted else "PLAINTEXT"
        return transport if self.sasl is None else f"SASL_{transport}"

    def credential(self) -> str:
        """The password or token, as it is now. Raises OSError when its file is gone."""
        if self.password_file is not None:
            return self.password_file.read_text().strip()
        return self.password.get_secret_value() if self.password is not None else ""

    def _beyond_loopback(self) -> list[str]:
        return [broker for broker in self.brokers if not is_loopback(broker)]

    def _tls_files(self) -> list[str]:
        return [name for name in ("ca_file", "cert_file", "key_file") if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _safe(self) -> KafkaAccess:
        problems = [*self._transport(), *self._files(), *self._sign_in()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _transport(self) -> Iterator[str]:
        beyond = self._beyond_loopback()
        if self.plaintext and self.tls:
            yield "plaintext = true and tls = true exclude each other"
        elif self.tls is False and beyond and not self.plaintext:
            yield (
                f"brokers: {beyond[0]} is beyond loopback: leave tls out (it is on there), or set plaintext = true to "
                "send records in the clear"
            )
        if not self.encrypted:
            yield from (f"{name} is of no use without tls" for name in self._tls_files())

    def _files(self) -> Iterator[str]:
        if (self.cert_file is None) != (self.key_file is None):
            yield "give both cert_file and key_file, or neither"
        for name in (*self._tls_files(), "password_file"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                yield f"{name} {path}: not found"

    def _sign_in(self) -> Iterator[str]:
        what = f"sasl = {self.sasl!r}"
        by_name = self.sasl in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
        by_secret = by_name or self.sasl == "OAUTHBEARER"
        secrets = [name for name in ("password", "password_file") if getattr(self, name) is not None]
        if self.sasl in IN_THE_CLEAR and self._beyond_loopback() and not self.encrypted:
            yield f"{what} would send its secret in the clear: it needs tls beyond loopback"
        if by_secret and len(secrets) != 1:
            yield f"{what} needs exactly one of password and password_file"
        if by_name and not self.username:
            yield f"{what} needs username"
        unused = [] if by_secret else secrets
        if self.username is not None and not by_name:
            unused.append("username")
        for name in unused:
            yield f"{name} is of no use {'with ' + what if self.sasl else 'without sasl'}"
