"""A publisher as one name, however feeds write it: independence is counted by it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_PUBLISHERS = {
    "ft": "financialtimes",
    "wsj": "wallstreetjournal",
    "nyt": "newyorktimes",
    "nytimes": "newyorktimes",
    "ap": "associatedpress",
    "apnews": "associatedpress",
    "bbci": "bbc",
    "prnewswire": "prnewswire",
}
"""Short names of papers, by the long ones."""

_NOISE = re.compile(r"\b(?:inc|ltd|llc|plc|news|online|com|www|the|rss|feed)\b")
_FRONT = re.compile(r"^(?:www\d?|feeds?|rss|m|mobile|amp|edition|news|uk|us|en)\.")
_SECOND_LEVEL = frozenset(("co", "com", "org", "net", "gov", "ac"))


def publisher_key(publisher: str | None, source: str, url: str | None) -> str:
    """A publisher as one name, however it is written: its own, else its host's, else the source's."""
    if publisher:
        name = _host_name(publisher.lower()) if re.fullmatch(r"[\w-]+(?:\.[\w-]+)+", publisher) else publisher.lower()
        name = re.sub(r"[\W_]+", "", _NOISE.sub(" ", name)) or re.sub(r"[\W_]+", "", name)
        if name:
            return _PUBLISHERS.get(name, name)[:60]
    host = _host(url) if url else ""
    return (_host_name(host) if host else source)[:60]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _host_name(host: str) -> str:
    """ "feeds.theguardian.com" is "guardian": the label that names the site."""
    if re.fullmatch(r"[\d.:]+", host):
        return host
    while _FRONT.match(host) and host.count(".") > 1:
        host = _FRONT.sub("", host)
    labels = host.split(".")
    place = -3 if len(labels) > 2 and labels[-2] in _SECOND_LEVEL else -2
    name = labels[place] if len(labels) >= -place else labels[0]
    if name.startswith("the") and len(name) > 6:
        name = name[3:]
    return _PUBLISHERS.get(name, name)
