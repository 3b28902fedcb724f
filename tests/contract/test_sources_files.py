"""Files that are hostile or half written: bounded in memory, and nobody takes half a row for a whole one."""

from __future__ import annotations

import ast
import csv
import gzip
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import pytest_asyncio

from pipelines.parse import Jail
from pipelines.sources.base import LineError, RawItem, Tools
from pipelines.sources.files import FileError, read_documents
from pipelines.sources.follow import SETTLED, FileOptions, FileSource
from tests.contract.feed_server import NOW
from tests.contract.source_bench import BenchClock, Driver, Log, tools

MEBI = 2**20
LONG = 120 * MEBI
"""Bytes of the one line that is no article."""

READ = """
import re, sys
from pathlib import Path
from pipelines.sources.base import LineError
from pipelines.sources.files import read_documents
from pipelines.sources.order import in_order
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before, bad = peak(), []
def items():
    for entry in read_documents(sys.argv[1], fetched=0.0):
        if isinstance(entry, LineError):
            bad.append((entry.file, entry.line, entry.reason))
        else:
            yield entry
times = [item.published for item in in_order(items(), lambda item: item.published)]
assert times == sorted(times)
print(len(times), peak() - before, bad)
"""
"""As history is read: counts, and what memory the process needed beyond what it had begun with, in MiB."""


def read_elsewhere(path: str, stdin: Path | None = None) -> tuple[int, int, list[tuple[str, int, str]]]:
    with stdin.open("rb") if stdin else gzip.open("/dev/null") as source:
        done = subprocess.run(
            [sys.executable, "-c", READ, path], stdin=source if stdin else None, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    count, grown, bad = done.stdout.split(" ", 2)
    return int(count), int(grown), ast.literal_eval(bad)


def long_line(form: str) -> list[bytes]:
    """Three documents with a line of LONG bytes after the first, in pieces."""
    head, row, before = {
        "jsonl": (b"", b'{"title": "Acme %d", "published": 5}\n', b'{"title": "'),
        "csv": (b"headline,ts\n", b"Acme %d,5\n", b""),
    }[form]
    return [head, row % 1, before, *[b"a" * MEBI] * (LONG // MEBI), b"\n", row % 2, row % 3]


@pytest.mark.parametrize(("form", "piped"), [("jsonl", False), ("csv", False), ("csv", True)])
def test_a_line_without_end_costs_a_bounded_buffer_and_itself(
    tmp_path: Path, form: str, piped: bool, counted: Callable[..., None]
) -> None:
    path = tmp_path / f"tape.{form}.gz"
    with gzip.open(path, "wb", compresslevel=1) as target:
        target.writelines(long_line(form))
    count, grown, bad = read_elsewhere("-" if piped else str(path), path if piped else None)
    counted(f"one line in {path.name}", line_mib=LONG // MEBI, grown_mib=max(1, grown), documents=count, bad=len(bad))
    assert count == 3
    [(file, line, reason)] = bad
    assert (file, line) == ("-" if piped else str(path), 2 if form == "jsonl" else 3)
    assert "longer than" in reason
    assert grown < 64


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rows", ["headline,ts\nAcme opens,5\n", '{"title": "Acme opens", "ts": 5}\n'])
def test_what_comes_by_a_name_that_says_nothing_is_told_by_its_first_bytes(rows: str, packed: bool) -> None:
    given = gzip.compress(rows.encode()) if packed else rows.encode()
    done = subprocess.run([sys.executable, "-c", READ, "/dev/stdin"], input=given, capture_output=True)
    count, _, bad = done.stdout.decode().split(" ", 2)
    assert (count, bad) == ("1", "[]\n"), done.stderr


def test_history_beyond_what_is_held_is_sorted_all_the_same(tmp_path: Path, counted: Callable[..., None]) -> None:
    path, number, words = tmp_path / "tape.jsonl", 60_000, "Acme says " * 200
    with path.open("w") as target:
        for n in range(number):
            target.write(json.dumps({"title": f"{n}", "text": words, "published": n * 7919 % number + 1}) + "\n")
    count, grown, bad = read_elsewhere(str(path))
    counted("history", file_mib=path.stat().st_size // MEBI, grown_mib=max(1, grown), documents=count)
    assert (count, bad) == (number, [])
    assert grown < 110


def test_a_parquet_file_of_what_is_no_article_is_refused_and_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "tape.parquet"
    rows = {"title": [f"Acme {n}" for n in range(700)], "published": [5] * 700, "image": [b"x" * 10_000] * 700}
    pyarrow.parquet.write_table(pyarrow.table(rows), path)
    assert [entry.title for entry in read_documents(path, fetched=NOW) if isinstance(entry, RawItem)] == rows["title"]
    wide = {"title": ["Acme"], "published": [5], "image": [b"x" * 5 * MEBI]}
    pyarrow.parquet.write_table(pyarrow.table(wide), path)
    with pytest.raises(
        FileError, match=r"tape\.parquet: rows of \d+ bytes; at most \d+ are read: leave out what is no text"
    ):
        list(read_documents(path, fetched=NOW))


def test_a_quote_that_is_never_closed_is_named_where_it_opens(tmp_path: Path) -> None:
    path = tmp_path / "tape.csv"
    path.write_text('headline,ts\nAcme opens,5\n\n"Acme, which\nsays more",6\n"Acme closes,7\nAcme again,8\n')
    entries = list(read_documents(path, fetched=NOW))
    assert [entry.title for entry in entries if isinstance(entry, RawItem)] == ["Acme opens", "Acme, which\nsays more"]
    [error] = [entry for entry in entries if isinstance(entry, LineError)]
    assert (error.file, error.line) == (str(path), 6)
    assert "never closed" in error.reason


def test_what_is_no_table_is_told_with_the_file_and_the_remedy(tmp_path: Path) -> None:
    missing, strange = tmp_path / "nofile.csv", tmp_path / "strange.csv"
    strange.write_text("a,b\n1,2\n")
    with pytest.raises(FileError) as told:
        list(read_documents(missing, fetched=NOW))
    assert str(told.value) == f"{missing}: No such file or directory"
    with pytest.raises(FileError, match=r"strange\.csv: columns 'a, b': needed are title .* name them so in the first"):
        list(read_documents(strange, fetched=NOW))


def test_times_and_counts_that_can_not_be_are_told_or_clamped_and_the_rest_goes_in(tmp_path: Path) -> None:
    path, day = tmp_path / "tape.jsonl", 86_400.0
    given = [
        {"at": -99_000_000_000},  # the year -1168
        {"fetched": -99_000_000_000},
        {"at": "0001-01-01T00:00:00+14:00"},
        {"at": "9999-12-31T23:59:59-14:00", "fetched": "9999-12-31T23:59:59Z"},
        {"at": NOW - 60, "fetched": NOW - 30},
        {"at": "soon"},
        {"fetched": True},
        {"engagement": {"likes": 1e300}},
        {"engagement": {"likes": "many"}},
        {"engagement": {f"likes-{number}": number for number in range(1_000)}},
        {"engagement": {"likes": 12, "shares": None}},
        {"id": True},
    ]
    rows = [{"id": number, "title": "Acme opens", "published": NOW - day, **more} for number, more in enumerate(given)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    entries = list(read_documents(path, fetched=NOW))
    assert [(entry.line, entry.reason) for entry in entries if isinstance(entry, LineError)] == [
        (6, "at 'soon' is neither ISO 8601 nor seconds since 1970"),
        (7, "fetched True is no date"),
        (8, "engagement.likes '1e+300' is no count"),
        (9, "engagement.likes 'many' is no count"),
        (12, "id is bool, not a text"),
    ]
    items = [entry for entry in entries if isinstance(entry, RawItem)]
    clocks = [(None, NOW)] * 3 + [(NOW, NOW), (NOW - 60, NOW - 30), (None, NOW), (None, NOW)]
    assert [(item.at, item.fetched) for item in items] == clocks
    assert [len(item.engagement) for item in items] == [0, 0, 0, 0, 0, 32, 1]


@pytest_asyncio.fixture
async def given() -> AsyncIterator[Tools]:
    jail = Jail()
    async with tools(BenchClock(), jail) as made:
        yield made
    await jail.close()


def table(path: Path, given: Tools, *, follow: bool = True) -> Driver:
    options = FileOptions(name="wire", path=str(path), interval=1.0, follow=follow)
    assert isinstance(given.clock, BenchClock)
    return Driver(FileSource(options, given), given.clock, Log())


async def test_half_a_row_is_no_document_until_it_ends(tmp_path: Path, given: Tools) -> None:
    path = tmp_path / "tape.csv"
    driver = table(path, given)
    for part in ("headli", "ne,ts\nAcme opens,", f"{NOW}\nAcme falls sho", f'rt of hopes,{NOW}\n"Acme\nwr'):
        with path.open("a") as stream:
            stream.write(part)
        await driver.polls(2)
    assert driver.log.titles == ["Acme opens", "Acme falls short of hopes"]
    with path.open("a") as stream:
        stream.write(f'ites",{NOW}\n')
    await driver.polls(2)
    assert driver.log.titles == ["Acme opens", "Acme falls short of hopes", "Acme writes"]
    assert driver.errors == []


async def test_a_last_row_without_a_line_break_counts_once_the_file_rests(tmp_path: Path, given: Tools) -> None:
    path = tmp_path / "tape.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["headline", "ts"], ["Acme opens", NOW]])
        stream.write(f"Acme closes,{NOW}")
    driver = table(path, given)
    await driver.polls(int(SETTLED) - 5)
    assert driver.log.titles == ["Acme opens"]
    await driver.polls(10)
    assert driver.log.titles == ["Acme opens", "Acme closes"]
    once = table(path, given, follow=False)
    await once.poll()
    assert once.log.titles == ["Acme opens", "Acme closes"]
