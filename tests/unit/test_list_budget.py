"""A budget of a whole watch-list: what it is for each key, who is told, and that the list rings about as often."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.assembly import assemble
from monitor.settings import SettingsError, load

TOPICS = ["Earnings", "Legal | Regulation"]
FIRST = '[[watchlists]]\nname = "first"\nentities = ["JPM", "AAPL", "JPM"]\ntopics = ["Earnings"]\n'
SECOND = '[[watchlists]]\nname = "second"\nentities = ["AAPL", "MSFT"]\n'
DAY = 86_400.0
MONTH = 30.4 * DAY
START = 1_790_000_000.0


def run(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "monitor", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120)


def budgets(tmp_path: Path, text: str) -> dict[str, float | None]:
    file = tmp_path / "tapewatch.toml"
    file.write_text(text)
    return {key: watched.budget for key, watched in assemble(load(file, {}), TOPICS).watch.keys.items()}


def test_a_list_s_budget_is_shared_equally_by_all_its_keys(tmp_path: Path) -> None:
    found = budgets(tmp_path, FIRST + "false_alarms_per_list_month = 3\n")
    assert {key: budget for key, budget in found.items() if budget is not None} == dict.fromkeys(
        (
            "list:first",
            "topic:earnings",
            "entity:JPM",
            "entity:JPM/topic:earnings",
            "entity:AAPL",
            "entity:AAPL/topic:earnings",
        ),
        0.5,
    ), "a company that is named twice is one key"
    assert found["market"] is None and found["topic:legal-regulation"] is None


@pytest.mark.parametrize(("second", "apple"), [("false_alarms_per_list_month = 6", 2.0), ("", 0.5)])
def test_a_key_of_several_lists_takes_the_largest(tmp_path: Path, second: str, apple: float) -> None:
    found = budgets(tmp_path, f"{FIRST}false_alarms_per_list_month = 3\n{SECOND}{second}\n")
    assert found["entity:AAPL"] == apple and found["entity:JPM"] == 0.5
    each = f"{FIRST}false_alarms_per_list_month = 3\n{SECOND}false_alarms_per_key_month = 0.1\n"
    assert budgets(tmp_path, each)["entity:AAPL"] == 0.5 and budgets(tmp_path, each)["entity:MSFT"] == 0.1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            FIRST + "false_alarms_per_key_month = 0.1\nfalse_alarms_per_list_month = 2\n",
            ("watchlists #1 (first)", "false_alarms_per_key_month = 0.1", "give one"),
        ),
        (FIRST + "false_alarms_per_list_month = 0\n", ("false_alarms_per_list_month", "greater than 0")),
        (FIRST + "false_alarms_per_list_month = 600\n", ("600", "100 for each of its keys", "at most 180")),
        ('[[watchlists]]\nname = "none"\nfalse_alarms_per_list_month = 1\n', ("#1 (none)", "no keys")),
    ],
)
def test_what_can_not_be_is_refused(tmp_path: Path, text: str, says: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as refused:
        budgets(tmp_path, text)
    for part in ("tapewatch.toml", *says):
        assert part in str(refused.value)


def test_check_config_says_what_it_means_for_a_key_and_the_sum(tmp_path: Path) -> None:
    file = tmp_path / "tapewatch.toml"
    file.write_text(f"{FIRST}false_alarms_per_list_month = 3\n{SECOND}")
    told = run("check-config", "-c", file).stderr.decode()
    assert "watchlists #1 (first): 6 keys, 0.5 false alarms expected of each a month, 3 of all\n" in told
    second = "watchlists #2 (second): 3 keys, 0.05 false alarms expected of each a month, 0.6 of all; 1 of them has"
    assert second in told
    found = re.search(r"all (\d+) watched keys together: ([\d.]+) false alarms expected a month", told)
    # Six at .5; the second list, MSFT, the market and the other topics at .05.
    assert found is not None and float(found[2]) == pytest.approx(6 * 0.5 + (int(found[1]) - 6) * 0.05, rel=0.01)


def test_two_hundred_keys_ring_about_as_often_as_their_list_may(capsys: pytest.CaptureFixture[str]) -> None:
    """A share of .15 bad, a third of a story to two a day, each drawing .4 others of its mood; alarms count after two
    months."""
    rng, months, keys = random.Random(8), 8, 200
    lines = []
    for key in range(keys):
        at, a_day = START, 0.33 * 6 ** (key / keys)
        while (at := at + rng.expovariate(a_day / DAY)) < START + (2 + months) * MONTH:
            b = rng.betavariate(8, 1.5) if rng.random() < 0.15 else rng.betavariate(1, 12)
            told = at
            lines.append((told, json.dumps({"key": f"k{key}", "ts": told, "p_negative": b})))
            while rng.random() < 0.4 / 1.4:
                told += rng.expovariate(1 / DAY)
                lines.append((told, json.dumps({"key": f"k{key}", "ts": told, "p_negative": b})))
    stdin = "\n".join(line for _, line in sorted(lines)).encode()

    options = ("--false-alarms-per-month", 2, "--list-of", keys, "--class", "news", "--start", START + 2 * MONTH)
    answer = run("detect", *options, stdin=stdin)
    assert answer.returncode == 0, answer.stderr
    found = answer.stdout.count(b'"alert.firing"')
    with capsys.disabled():
        print(f"\n{len(lines)} stories of {keys} keys: {found / months:.2f} alarms a month at 2 of the list")
    assert 0 < found <= 1.5 * 2 * months
