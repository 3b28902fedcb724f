"""Which addresses may be dialled, and which never: asked of the settings, of every address before it is dialled, and
of every resolution."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from alerts.channels.base import TransportError
from alerts.outbox import Reason

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Everything that is no public unicast address, and the ranges through which one can be reached in disguise.
DENIED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
        "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23",
        "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip

PLAIN = "http:// is allowed only where [network] allow_private covers the address; use https://"
EXAMPLE = "https://newswire.example/feed.xml"


class HttpError(TransportError):
    """A request that got no usable answer. ``reason`` is from a closed set."""

    reason: Reason = "connect"


class BlockedError(HttpError):
    reason: Reason = "blocked"


class Guard:
    """Which addresses may be dialled."""

    def __init__(self, allow_private: Sequence[str] = ()) -> None:
        self._allowed = tuple(ipaddress.ip_network(text, strict=False) for text in allow_private)

    def check(self, address: str, host: str) -> None:
        """Raises BlockedError for an address that is neither public nor expressly allowed."""
        parsed = ipaddress.ip_address(address.split("%")[0])
        if self.allowed(parsed):
            return
        if any(parsed.version == network.version and parsed in network for network in DENIED):
            what = f"{host} is" if literal_of(host) == parsed else f"{host} is {parsed}, which is"
            own = f'[network] allow_private = ["{parsed}/{parsed.max_prefixlen}"]'
            raise BlockedError(f"{what} no public address; if it is yours, say so with {own}")

    def check_plain(self, address: str) -> None:
        """Raises BlockedError for an address to which nothing may be sent in the clear."""
        if not self.allowed(ipaddress.ip_address(address.split("%")[0])):
            raise BlockedError(PLAIN)

    def allowed(self, address: Address) -> bool:
        """Whether a private address was expressly allowed."""
        return any(address.version == network.version and address in network for network in self._allowed)

    def refusal(self, url: str, *, plain: bool = False, proxied: bool = False) -> str | None:
        """Why an address of the settings can never be dialled, None where that shows at the dial. ``plain``: it is sent
        to in the clear; ``proxied``: its name is resolved elsewhere."""
        try:
            self.check_url(url)
            host = _split(url).hostname or ""
            literal = ipaddress.ip_address("127.0.0.1") if host == "localhost" else literal_of(host)
            if literal is not None:
                self.check(str(literal), host)
            named = literal is None and bool(self._allowed) and not proxied
            if plain and not named and (literal is None or not self.allowed(literal)):
                raise BlockedError(PLAIN)
        except BlockedError as error:
            return str(error)
        return None

    def check_url(self, url: str) -> None:
        """Raises BlockedError for what is no address of the web or can be refused before anything is resolved."""
        parts = _split(url)
        if parts.scheme not in ("http", "https"):
            raise BlockedError(f"scheme {parts.scheme!r} is not http or https; give an address like {EXAMPLE}")
        if parts.username is not None or parts.password is not None:
            raise BlockedError("an address with a user name or password in it is refused, since addresses are shown")
        host = parts.hostname or ""
        if not host:
            raise BlockedError(f"there is no host in it; give an address like {EXAMPLE}")
        literal = literal_of(host)
        if literal is not None:
            self.check(str(literal), host)
        elif "%" in host or any(c.isspace() for c in host) or not any(c.isalpha() for c in host.split(".")[-1]):
            # "127.1", "0x7f000001", "2130706433": forms that some resolvers read as addresses.
            raise BlockedError(f"host {host!r} is neither a name nor a plain address; give one like {EXAMPLE}")


def shown(url: str) -> str:
    """An address for people to see: its path, query and sign-in may be secrets."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "…"
    rest = "/…" if parts.path.strip("/") or parts.query else parts.path
    return f"{parts.scheme}://{host}{port}{rest}" if parts.netloc or parts.scheme else url[:40]


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BlockedError(f"not an address: {error}") from error
    return parts


def literal_of(host: str) -> Address | None:
    """The address that a host is, None where it is a name. An address with a zone is neither."""
    try:
        return ipaddress.ip_address(host.strip("[]")) if "%" not in host else None
    except ValueError:
        return None
