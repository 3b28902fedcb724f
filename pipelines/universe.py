"""The built-in universe: members of stock indices with their tickers, a table of facts.

``python -m pipelines.universe ALIASES_FOLDER`` makes the table anew from lists of index constituents (columns
``Symbol, Security`` for the S&P 500; ``name, symbol, country`` for the others).
"""

from __future__ import annotations

import csv
import gzip
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec

TABLE = "universe.csv.gz"


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A company. ``id``: its US ticker, else its ticker with the exchange's suffix, or what the user chose."""

    id: str
    name: str
    tickers: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    country: str = ""
    custom: bool = False


ALIASES = {
    "META": ("Facebook", "Meta Platforms", "Instagram", "WhatsApp", "Zuckerberg"),
    "GOOGL": ("Google", "Alphabet", "YouTube"),
    "AMZN": ("Amazon", "Amazon.com", "AWS"),
    "MSFT": ("Microsoft",),
    "AAPL": ("Apple", "iPhone maker", "苹果公司"),
    "TSLA": ("Tesla", "Elon Musk", "Musk", "特斯拉"),
    "BA": ("Boeing", "737 Max", "737 MAX"),
    "JPM": ("JPMorgan", "JP Morgan", "J.P. Morgan", "JPMorgan Chase", "摩根大通"),
    "GS": ("Goldman Sachs", "Goldman", "高盛"),
    "BAC": ("Bank of America", "BofA", "Merrill Lynch"),
    "C": ("Citigroup", "Citi", "Citibank"),
    "WFC": ("Wells Fargo",),
    "MS": ("Morgan Stanley",),
    "PCG": ("PG&E", "PG & E", "Pacific Gas and Electric", "Pacific Gas & Electric"),
    "GE": ("General Electric",),
    "GM": ("General Motors",),
    "F": ("Ford Motor", "Ford"),
    "XOM": ("Exxon", "ExxonMobil", "Exxon Mobil"),
    "JNJ": ("Johnson & Johnson", "J&J"),
    "PG": ("Procter & Gamble", "P&G"),
    "NVDA": ("Nvidia", "英伟达"),
    "NFLX": ("Netflix",),
    "DIS": ("Disney", "Walt Disney"),
    "WMT": ("Walmart", "Wal-Mart"),
    "KO": ("Coca-Cola", "Coke"),
    "PEP": ("PepsiCo", "Pepsi"),
    "MCD": ("McDonald's", "McDonald’s"),
    "VOW3.DE": ("Volkswagen", "VW"),
    "BMW.DE": ("BMW",),
    "DBK.DE": ("Deutsche Bank",),
    "SIE.DE": ("Siemens",),
    "BAYN.DE": ("Bayer", "Monsanto"),
    "HSBA.L": ("HSBC",),
    "RBS.L": ("Royal Bank of Scotland", "RBS"),
    "VOD.L": ("Vodafone",),
    "TSCO.L": ("Tesco",),
    "SBRY.L": ("Sainsbury's", "Sainsbury"),
    "MKS.L": ("Marks & Spencer", "M&S"),
}
"""Everyday names by id, beside those that the table has."""


@cache
def load_universe() -> tuple[Entity, ...]:
    """The shipped table with the everyday names."""
    packed = files("pipelines").joinpath("data", TABLE).read_bytes()
    rows = csv.DictReader(gzip.decompress(packed).decode().splitlines())
    return tuple(
        Entity(
            id=row["id"],
            name=row["name"],
            tickers=tuple(row["tickers"].split(";")),
            aliases=ALIASES.get(row["id"], ()),
            country=row["country"],
        )
        for row in rows
    )


def build(folder: Path) -> list[dict[str, str]]:
    """The table's rows, the S&P 500 first; a company is taken once, by its name."""
    rows: dict[str, dict[str, str]] = {}
    names: set[str] = set()
    with (folder / "sp500_constituents.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            ticker = row["Symbol"].strip()
            name = row["Security"].replace(" (Class A)", "").replace(" (Class C)", "").strip()
            if name.lower() in names:
                continue
            names.add(name.lower())
            rows[ticker] = {"id": ticker, "name": name, "tickers": ticker, "country": "United States"}
    with (folder / "world_index_constituents.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            ticker, name = row["symbol"].strip(), row["name"].strip()
            if not ticker or not name or ticker in rows or name.lower() in names:
                continue
            names.add(name.lower())
            rows[ticker] = {"id": ticker, "name": name, "tickers": ticker, "country": row["country"]}
    return sorted(rows.values(), key=lambda row: row["id"])


def main(folder: Path) -> None:
    target = Path(__file__).parent / "data" / TABLE
    with gzip.GzipFile(target, "wb", mtime=0) as packed:
        lines = ["id,name,tickers,country"]
        lines += [",".join(_quote(row[c]) for c in ("id", "name", "tickers", "country")) for row in build(folder)]
        packed.write(("\n".join(lines) + "\n").encode())


def _quote(value: str) -> str:
    return f'"{value}"' if "," in value else value.replace('"', "")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
