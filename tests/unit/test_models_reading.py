"""What is read of long titles and texts, and where each of its characters came from."""

from __future__ import annotations

import pytest

from models.reading import READ, read

SOME = "A mill of Acme burned down on Monday, and nobody was hurt. "


def filled(length: int, *, begin: str = "", end: str = "") -> str:
    return (begin + SOME * (length // len(SOME) + 1))[: length - len(end)] + end


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Short", filled(3 * READ, end="in short: it is over.")),
        ("", filled(READ + 1, end="in short: it is over.")),
        (filled(2 * READ, begin="Short"), filled(5 * READ, end="in short: it is over.")),
        ("Short and said again", filled(2 * READ, begin="Short and said again. ", end="in short: it is over.")),
        ("Short", filled(40 * READ, end="in short: it is over.")),
    ],
)
def test_head_and_tail_of_what_is_too_long_are_read(title: str, text: str) -> None:
    whole = read(title, text)
    assert len(whole.text) == READ
    assert whole.text.startswith(title[:700] or text[:700]) and whole.text.endswith("in short: it is over.")


def test_names_are_found_again_in_what_is_read_and_nowhere_else() -> None:
    title = "Halvorne and its mills"
    text = filled(2 * READ, begin="First Castellan speaks. ", end=" Last speaks Quillon.")
    text = text[:READ] + " Nobody hears Verisande here. " + text[READ:]

    def where(name: str) -> list[str]:
        in_title = [(title.find(name), title.find(name) + len(name))] if name in title else []
        in_text = [(text.find(name), text.find(name) + len(name))] if name in text else []
        whole = read(title, text)
        return [whole.text[start:end] for start, end in whole.spans(in_title, in_text)]

    assert where("Halvorne") == ["Halvorne"] and where("Castellan") == ["Castellan"] and where("Quillon") == ["Quillon"]
    assert where("Verisande") == []


def test_what_fits_is_read_whole() -> None:
    text = filled(READ - len("Short. "))
    assert read("Short", text).text == f"Short. {text}".strip()
