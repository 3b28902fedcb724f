"""Addresses as settings write them: what is listened on, and what people and programs are led to."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_HOST = re.compile(r"(?!.*\.\.)[A-Za-z0-9_](?:[\w.-]{0,252}[A-Za-z0-9_.])?", re.ASCII)

LISTEN = '"127.0.0.1:8686", "[::1]:8686" or "0.0.0.0:8686"'


def is_loopback(address: str) -> bool:
    """Whether "host:port" can be reached from this machine only. A name that merely begins as 127 is a name."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def page_of(listen: str) -> str:
    """Where the page is that listens on "host:port"; "" where nobody can say: on every address of the machine, or on a
    port that the system chooses."""
    host, _, port = listen.rpartition(":")
    if int(port) == 0 or (_is_address(host.strip("[]")) and ipaddress.ip_address(host.strip("[]")).is_unspecified):
        return ""
    return f"http://{listen}"


def listening(value: str) -> str:
    """ "host:port" to listen on, an IPv6 address in brackets. Raises ValueError that says what is wrong."""
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"an address to listen on is host:port, as in {LISTEN}")
    if int(port) > 65_535:
        raise ValueError("a port is at most 65535")
    if ":" in host:
        _check_ipv6(host)
    elif not _HOST.fullmatch(host) or (not any(c.isalpha() for c in host) and not _is_address(host)):
        raise ValueError(f"host {host!r} is neither a name nor an address; write one as in {LISTEN}")
    return value


def _check_ipv6(host: str) -> None:
    if not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"an IPv6 address stands in brackets, as in {LISTEN}")
    if not _is_address(host[1:-1]):
        raise ValueError(f"host {host!r} is no IPv6 address; write one as in {LISTEN}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def link(value: str) -> str:
    """An address that people follow, "" for none. Raises ValueError that says what is wrong."""
    example = "give one like https://tapewatch.example"
    if not value:
        return value
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"not an address ({error}); {example}") from None
    if parts.scheme not in ("https", "http") or not host or any(c.isspace() or not c.isprintable() for c in value):
        raise ValueError(f"is no https:// or http:// address; {example}")
    return value


def proxy(value: str) -> str:
    """The address of an HTTP proxy. Raises ValueError that shows none of it: it may hold a password."""
    example = "give one like http://proxy.example:3128"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"not an address ({error}); {example}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"scheme {parts.scheme!r} is not that of an HTTP proxy; {example}")
    if not host or any(c.isspace() or not c.isprintable() for c in value):
        raise ValueError(f"names no host; {example}")
    return value
