"""Builds pipelines/data/universe.tsv and words.txt from tables of constituents and a folder of texts.

Usage: python benchmarks/build_universe.py ALIASES_FOLDER HEADLINES.csv.gz [TEXTS.csv ...]

ALIASES_FOLDER holds sp500_constituents.csv, world_index_constituents.csv and sec_company_tickers.csv.gz. What
is kept of them are facts: names, tickers, countries. From the texts only single words are kept, in the
alphabet's order: those that are written in lower case often enough to be words of the language and no names.
"""

from __future__ import annotations

import csv
import gzip
import re
import sys
from collections import Counter
from pathlib import Path

DATA = Path(__file__).parent.parent / "pipelines" / "data"

LISTED = 1_000
"""How far down the SEC's list (by market value) to look for companies outside the indices."""

ALSO = ("TSM", "GAP", "AMC")
"""Well-known companies further down."""

WORD_COUNT = 3
WORD_SHARE = 0.2
"""A word of the language stands in lower case at least so often, and in this share of its occurrences."""

SUFFIX = re.compile(
    r"(?:,|\b(?:inc(?:orporated)?|corp(?:oration)?|co|company|companies|ltd|limited|llc|plc|ag|se|sa|nv|n\.v|s\.a"
    r"|s\.p\.a|spa|ab|oyj|asa|kgaa|lp|l\.p|group|groupe|holdings?|\(.*?\)|adr|the|\(publ\)|/\w+/?))[.\s]*$",
    re.IGNORECASE,
)
SYMBOLS = {
    "AIR.PA.DE": "AIR.PA",
    "BRK-B": "BRK.B",
    "BF-B": "BF.B",
    "SHELL.AS": "SHEL.L",
    "UNA.AS": "ULVR.L",
    "REN.AS": "REL.L",
}
SYMBOLS |= {
    ".PA": "AF.PA",
    ".DE": "ADV.DE",
    "ABB.ST": "ABBN.SW",
    "ABB.PA": "ABBN.SW",
    "STLAP": "STLAM.MI",
    "STLAP.PA": "STLAM.MI",
}
"""Spellings of one symbol, and the main listing where a list has another one."""

SUBSIDIARIES = ("9434.T",)
"""Listed beside their parents, whose name texts mean."""

DISTINCT = {
    "GAP": "Gap",
    "9434.T": "SoftBank Corp",
    "9984.T": "SoftBank Group",
    "MRK.DE": "Merck KGaA",
    "PRU.L": "Prudential plc",
}
"""Companies that share a bare name, or whose list shouts."""

AMERICAN = frozenset(("S&P 500", "S&P 600", "S&P 100", "NASDAQ 100", "DOW JONES"))
EXCHANGE = {"SDAX": "DE", "MDAX": "DE", "TecDAX": "DE", "DAX": "DE", "CAC Mid 60": "PA", "CAC_40": "PA", "AEX": "AS"}
EXCHANGE |= {"BEL 20": "BR", "IBEX 35": "MC", "FTSE 100": "L", "EURO STOXX 50": "DE", "Switzerland 20": "SW"}
"""The suffix where a list leaves it out."""

COUNTRIES = {
    "United States": "US",
    "United Kingdom": "GB",
    "Germany": "DE",
    "France": "FR",
    "Spain": "ES",
    "Japan": "JP",
}
COUNTRIES |= {"Finland": "FI", "Netherlands": "NL", "Sweden": "SE", "Switzerland": "CH", "Belgium": "BE", "Italy": "IT"}
COUNTRIES |= {"Luxembourg": "LU", "Ireland": "IE", "Isle of Man": "IM", "Guernsey": "GG", "Russian Federation": "RU"}
COUNTRIES |= {"Mexico": "MX", "Austria": "AT", "Bermuda": "BM"}


def bare(name: str) -> str:
    """A name without its legal form."""
    name = re.sub(r"\s*\(.*?\)|\s+/.*$|/\w+$", "", name).strip()
    previous = ""
    while previous != name and len(name) > 2:
        previous, name = name, SUFFIX.sub("", name).strip(" ,.&")
    return re.sub(r"(?<=[a-zà-ö])[ABC]$", "", name or previous)  # Swedish lists glue the share class on


def cased(name: str) -> str:
    """The SEC's upper-case names as people write them."""
    if not name.isupper():
        return name
    return " ".join(
        word if len(word) <= 3 and word not in ("OF", "AND") else word.capitalize() for word in name.split()
    )


class Table:
    """Rows by id; a name is one company however many lists hold it."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, list[str], str]] = {}
        self.by_name: dict[str, str] = {}
        self.by_ticker: dict[str, str] = {}

    def add(self, symbol: str, name: str, country: str, others: list[str]) -> None:
        key = DISTINCT.get(symbol, bare(name)).lower()
        known = self.by_name.get(key) or self.by_ticker.get(symbol)
        if known is None:
            known = symbol
            self.rows[symbol] = (DISTINCT.get(symbol, bare(name)), [], country)
            self.by_name[key] = symbol
        tickers = self.rows[known][1]
        for ticker in [symbol, *others]:
            if ticker not in tickers and ticker not in self.by_ticker:
                tickers.append(ticker)
                self.by_ticker[ticker] = known


def constituents(folder: Path, listed: dict[str, str]) -> Table:
    table = Table()
    with (folder / "sp500_constituents.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            table.add(row["Symbol"], row["Security"], "US", [])
    with (folder / "world_index_constituents.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            symbol = SYMBOLS.get(row["symbol"], row["symbol"])
            if symbol in SUBSIDIARIES:
                continue
            country = COUNTRIES.get(row["country"], "")
            if row["index"] in AMERICAN:
                country = "US"
            elif "." not in symbol:
                symbol = SYMBOLS.get(f"{symbol}.{EXCHANGE[row['index']]}", f"{symbol}.{EXCHANGE[row['index']]}")
            american = [t for t in row["yahoo_symbols"].split(";") if t in listed and row["index"] not in AMERICAN]
            table.add(symbol, row["name"], country, american)
    return table


def add_listed(table: Table, listed: dict[str, str]) -> None:
    names = set(table.by_name)
    for rank, (symbol, name) in enumerate(listed.items()):
        if rank >= LISTED and symbol not in ALSO:
            continue
        short = bare(cased(name))
        if symbol in table.by_ticker or short.lower() in names:
            continue
        # "Toyota Motor" of the SEC is "Toyota" of an index: a name that begins with a known one is taken for it.
        words = short.lower().split()
        if any(" ".join(words[:n]) in names for n in range(1, len(words))):
            continue
        table.add(symbol, short, "", [])


def sec(folder: Path) -> dict[str, str]:
    with gzip.open(folder / "sec_company_tickers.csv.gz", "rt", encoding="utf-8") as file:
        return {row["ticker"]: row["name"] for row in csv.DictReader(file) if row["exchange"] in ("NYSE", "Nasdaq")}


def words(paths: list[Path]) -> list[str]:
    lower: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for path in paths:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                text = row.get("headline") or row.get("text") or ""
                for word in re.findall(r"[A-Za-z]{2,20}", re.sub(r"https?://\S+|[@#$]\w+", " ", text)):
                    every[word.lower()] += 1
                    lower[word.lower()] += word.islower()
    return sorted(w for w, n in lower.items() if n >= WORD_COUNT and n >= WORD_SHARE * every[w])


def main() -> None:
    folder, *texts = map(Path, sys.argv[1:])
    listed = sec(folder)
    table = constituents(folder, listed)
    add_listed(table, listed)
    with (DATA / "universe.tsv").open("w", encoding="utf-8") as file:
        for symbol, (name, tickers, country) in sorted(table.rows.items()):
            file.write(f"{symbol}\t{name}\t{'|'.join(tickers)}\t{country}\n")
    (DATA / "words.txt").write_text("\n".join(words(texts)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
