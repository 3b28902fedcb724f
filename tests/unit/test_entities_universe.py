"""The shipped companies, and how watch-lists name them."""

import pytest

from pipelines.entities import EntityIndex
from pipelines.universe import EntityConfigError, bare_name, load_universe, resolve

UNIVERSE = load_universe()


def test_ids_are_unique_and_safe_in_keys() -> None:
    ids = [entity.id for entity in UNIVERSE]
    assert len(ids) == len(set(ids)) > 2_000
    assert not [name for name in ids if "/" in name or " " in name or name.startswith(".")]
    assert all(entity.name and entity.tickers for entity in UNIVERSE)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("JPM", "JPM"),
        ("$TSLA", "TSLA"),
        ("Deutsche Bank", "DBK.DE"),
        ("deutsche bank ag", "DBK.DE"),
        ("SAP.DE", "SAP.DE"),
        ("SAP", "SAP.DE"),
        ("Facebook", "META"),
        ("GOOG", "GOOGL"),
        ("Nissan Motor Co", "7201.T"),
        ("PG&E", "PCG"),
        ("阿里巴巴", "BABA"),
    ],
)
def test_a_ticker_name_or_alias_resolves(spec: str, name: str) -> None:
    assert resolve(spec, UNIVERSE).id == name


def test_a_near_miss_names_what_is_near() -> None:
    with pytest.raises(EntityConfigError, match=r"Volkswagon.*VOW3\.DE \(Volkswagen\)"):
        resolve("Volkswagon", UNIVERSE)


def test_a_name_of_several_companies_asks_which() -> None:
    own = [resolve({"name": "Acme", "id": "acme-us"}, ()), resolve({"name": "Acme plc", "id": "acme-uk"}, ())]
    with pytest.raises(EntityConfigError, match=r"several companies: acme-us \(Acme\), acme-uk \(Acme plc\)"):
        resolve("Acme", own)


def test_an_unknown_name_says_how_to_write_ones_own() -> None:
    with pytest.raises(EntityConfigError, match=r'write \{ name = "Zzyzx"'):
        resolve("Zzyzx", UNIVERSE)


def test_an_entity_of_the_users_own() -> None:
    entity = resolve(
        {"name": "Patisserie Valerie", "tickers": ["CAKE.L"], "aliases": ["Patisserie Holdings"]}, UNIVERSE
    )
    assert entity.id == "patisserie-valerie"
    assert entity.custom
    assert entity.tickers == ("CAKE.L",)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"nmae": "x"}, "'nmae' is unknown"),
        ({"name": ""}, "name must be a text"),
        ({}, "name must be a text"),
        ({"name": "A", "tickers": "ACME"}, "tickers must be a list"),
        ({"name": "A", "aliases": [3]}, "aliases must be"),
        ({"name": "A", "id": "a b"}, "no space or slash"),
        ("  ", "empty text"),
    ],
)
def test_wrong_entries_are_refused_by_name(spec: object, message: str) -> None:
    with pytest.raises(EntityConfigError, match=message):
        resolve(spec, UNIVERSE)  # what a configuration file may hold


@pytest.mark.parametrize("word", ["The", "A", "And", "it", "of the", "The Company", "Inc", "Holdings", "X", "--"])
@pytest.mark.parametrize("key", ["name", "aliases", "associates"])
def test_what_every_text_holds_names_nobody(word: str, key: str) -> None:
    spec = {"name": word} if key == "name" else {"name": "Acme Corp", key: ["Acme", word]}
    with pytest.raises(EntityConfigError, match=rf"{key} '{word}'.*tickers"):
        resolve(spec, UNIVERSE)


@pytest.mark.parametrize("name", ["Gap", "Visa", "Apple", "Next", "On Holding", "WHO", "3M", "Ørsted", "小米"])
def test_short_and_everyday_names_are_names(name: str) -> None:
    own = resolve({"name": name, "aliases": ["The Body Shop"], "tickers": ["A", "ON"], "id": "own"}, UNIVERSE)
    assert [hit.id for hit in EntityIndex([own]).find(f"Shares of {name} fall after profit warning")] == ["own"]


def test_the_legal_form_is_no_part_of_a_name() -> None:
    assert [bare_name(n) for n in ("Acme Inc.", "Acme Holdings plc", "The Acme Company", "Acme S.A.", "Co")] == [
        "Acme",
        "Acme",
        "Acme",
        "Acme",
        "Co",
    ]
