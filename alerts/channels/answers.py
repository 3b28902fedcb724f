"""What every channel over HTTP shares: which addresses can work, and what an answer means."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from alerts.channels.base import ChannelConfigError, Outcome, Response


def check_address(url: str, example: str) -> str:
    """The host of an http(s) address, in small letters; raises ChannelConfigError that says why and what to do."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower().rstrip(".")
        _ = parts.port
    except ValueError as error:
        raise ChannelConfigError(f"url: not an address ({error}); give one like {example}") from None
    if parts.scheme not in ("https", "http") or not host or any(c.isspace() or not c.isprintable() for c in url):
        raise ChannelConfigError(f"url: {redacted(url)!r} is not an https:// address; give one like {example}")
    if "%" in host:
        raise ChannelConfigError(f"url: the host {host!r} has a % in it, which no name has; give one like {example}")
    return host


def carries_sign_in(url: str) -> bool:
    """Whether a user name or password stands in the address."""
    return "@" in urlsplit(url).netloc


def redacted(url: str) -> str:
    """Scheme and host of an address: the rest may be a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.hostname or ''}/…"


def judge(response: Response, now: float) -> Outcome:
    """What an answer means: 2xx delivered, 410 gone for good, all else is tried again (3xx is never followed)."""
    status = response.status
    if 200 <= status < 300:
        return Outcome(ok=True, reason="ok", status=status)
    if status == 410:
        return Outcome(ok=False, reason="gone", status=status, gone=True)
    if 300 <= status < 400:
        return Outcome(ok=False, reason="redirect", status=status)
    wait = retry_after(_header(response, "retry-after"), now)
    if status == 429:
        return Outcome(ok=False, reason="throttled", status=status, retry_after=wait)
    if status >= 500:
        return Outcome(ok=False, reason="server_error", status=status, retry_after=wait)
    return Outcome(ok=False, reason="rejected", status=status, retry_after=wait)


def _header(response: Response, name: str) -> str | None:
    return next((value for field, value in response.headers.items() if field.lower() == name), None)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None where it holds neither."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now, UTC)).total_seconds())
