"""[[rules]] in the settings: what can't work is refused with its place; what it would have rung is counted."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from alerts.rules import FlashRule, SilenceRule
from models.classifier import FakeClassifier
from monitor.assembly import assemble
from monitor.rule_settings import rules_of
from monitor.settings import SettingsError, load
from tests.daemon_bench import ACME
from tests.inside_bench import inside

FLASH = '[[rules]]\nkind = "flash"\nname = "fraud charge"\n'


def run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "monitor", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60)


def written(folder: Path, text: str) -> Path:
    file = folder / "tapewatch.toml"
    file.write_text(ACME + text)
    return file


def test_rules_are_read(tmp_path: Path) -> None:
    text = FLASH + (
        'risks = ["fraud"]\nphrases = ["立案调查"]\npublishers = 2\nwithin = "30m"\ncooldown = "12h"\n'
        'probability = 0.95\nfalse_alarms_per_month = 0.5\nwatchlists = ["mine"]\n'
        '[[rules]]\nkind = "silence"\nname = "gone"\nexpected = 20\n'
    )
    rules = rules_of(load(written(tmp_path, text), {}).rules)
    assert rules.flash == (
        FlashRule(
            name="fraud charge", risks=("fraud",), phrases=("立案调查",), publishers=2, within=1_800.0,
            cooldown=43_200.0, probability=0.95, budget=0.5, watchlists=("mine",),
        ),
    )  # fmt: skip
    assert rules.silence == (SilenceRule(name="gone", expected=20.0),)
    changed = rules_of(load(written(tmp_path, text.replace("0.95", "0.9")), {}).rules)
    assert changed.flash[0].version != rules.flash[0].version and changed.silence == rules.silence


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (FLASH, 'rules #1 (fraud charge): rings for nothing; give risks, topics or phrases, as in risks = ["insolvency"]'),
        (FLASH + 'risks = ["fraud"]\nexpected = 12\n', "rules #1 (fraud charge): a rule of kind flash has no expected"),
        ('[[rules]]\nkind = "silence"\nname = "a"\nwithin = "1h"\n', "a rule of kind silence has no within"),
        ('[[rules]]\nkind = "noise"\nname = "a"\n', "rules #1 (a).kind = \"noise\""),
        (FLASH + 'phrases = ["x"]\n', "one of fewer than two characters is in every text"),
        (FLASH + 'risks = ["fraud"]\nprobability = 1.5\n', "rules #1 (fraud charge).probability = 1.5"),
        (FLASH + 'risks = ["fraud"]\npublishers = 13\n', "rules #1 (fraud charge).publishers = 13"),
        (FLASH + 'risks = ["fraud"]\nwithin = "8d"\n', 'must be at most "7d"'),
        (FLASH + 'risks = ["fraud"]\nwithin = "2h"\ncooldown = "1h"\n', "cooldown must not be less than within"),
        (FLASH + 'risks = ["fraud"]\nwatchlists = ["ours"]\n', "rules #1 (fraud charge): watch-list 'ours' is not among"),
        (FLASH + 'risks = ["fraud"]\nfalse_alarms_per_month = 0\n', "false_alarms_per_month = 0"),
        (2 * (FLASH + 'risks = ["fraud"]\n'), "rules: two are named 'fraud charge'"),
        ('[[rules]]\nkind = "silence"\nname = "a"\nexpected = 3\n', "rules #1 (a).expected = 3"),
    ],
)  # fmt: skip
def test_what_can_not_work_is_refused_by_name(tmp_path: Path, text: str, why: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        load(file, {})
    assert why in str(refused.value) and str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "heads", "why"),
    [
        ('risks = ["frod"]\n', True, "rules #1 (fraud charge): risks: 'frod' is none of the model's risks: fraud, "),
        ('risks = ["fraud"]\n', False, "it has no head for adverse events; give phrases or topics"),
        ('topics = ["Erning"]\n', True, "topics: 'Erning' is none of the model's topics: "),
    ],
)
def test_what_the_model_never_names_is_refused(tmp_path: Path, text: str, heads: bool, why: str) -> None:
    settings, model = load(written(tmp_path, FLASH + text), {}), FakeClassifier(five_heads=heads)
    with pytest.raises(SettingsError) as refused:
        assemble(settings, model.topics, model.risks)
    assert why in str(refused.value)


async def test_its_alerts_are_counted_over_the_history(tmp_path: Path) -> None:
    """As often as the daemon rang: the same stories, rule and windows."""
    rule = FLASH + 'phrases = ["fraud"]\nprobability = 0.85\npublishers = 2\nwithin = "3h"\ncooldown = "4h"\n'
    rng, words = random.Random(3), ("ledger", "harbour", "bridge", "turbine", "bonds", "orders", "lawyers", "margins")
    async with inside(tmp_path, ACME + rule) as daemon:
        for number in range(24):
            about = " ".join(rng.sample(words, 4))
            text = {"title": f"Acme fraud {number} {about}", "publisher": f"Paper {rng.randrange(4)}"}
            status, _, _ = await daemon.push(text)
            assert status == 202
            await daemon.clock.advance(rng.choice((600.0, 7_200.0, 20_000.0)))
            await daemon.daemon.engine.drained()
        await daemon.pass_time(3.0, 1.0, idle=True)
        alerts = daemon.daemon.read_model.alerts(limit=1_000)
    rang = [one for one in alerts if one["body"]["data"]["rule"]["kind"] == "flash"]
    config = tmp_path / "tapewatch.toml"
    shown = run("rules", "check", "-c", config)
    assert shown.returncode == 0, shown.stderr
    (line,) = [json.loads(text) for text in shown.stdout.splitlines()]
    assert line["alerts"] == len(rang) > 3 and line["keys"] == {"entity:acme-corp": len(rang)}
    assert line["documents"] == 24 and line["false_alarms_per_month"] == 1.0 < line["alerts_per_month"]
    assert b"rules #1 (fraud charge): WARNING: would have rung" in shown.stderr
    checked = run("check-config", "-c", config)
    assert checked.returncode == 0 and b"WARNING: would have rung" in checked.stderr, "it refuses nothing"


def test_without_history_or_rules_it_says_so(tmp_path: Path) -> None:
    quiet = '[[rules]]\nkind = "silence"\nname = "gone"\n'
    file = written(tmp_path, FLASH + 'risks = ["fraud"]\n' + quiet)
    shown = run("rules", "check", "-c", file)
    flash, silence = (json.loads(text) for text in shown.stdout.splitlines())
    assert shown.returncode == 0 and flash["alerts"] == 0 and flash["alerts_per_month"] is None
    assert b"no history to count by yet" in shown.stderr
    assert silence["watched"] == 2 and silence["false_alarms_per_key_month"] == 0.5
    bare = run("rules", "check", "-c", written(tmp_path, ""))
    assert bare.returncode == 2 and b"has no [[rules]]" in bare.stderr
