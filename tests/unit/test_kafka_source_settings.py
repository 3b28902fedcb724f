"""[[sources]] of kind kafka: what can't work is named, and what is missing on this machine, too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.settings import Settings, SettingsError, load

BROKERS = 'brokers = ["kafka-1.example:9093"]\n'
WHOLE = BROKERS + 'topic = "articles"\nfields = { title = "headline", text = "body.plain" }\n'


def loaded(folder: Path, keys: str, kind: str = "kafka") -> Settings:
    path = folder / "tapewatch.toml"
    path.write_text(f'[[sources]]\nkind = "{kind}"\nname = "house"\n{keys}')
    (folder / "secret").write_text("canary\n")
    return load(path, {})


def test_it_is_reached_as_the_engine_is(tmp_path: Path) -> None:
    signed = WHOLE + 'sasl = "SCRAM-SHA-512"\nusername = "me"\npassword_file = "secret"\ngroup = "shown"\n'
    settings = loaded(tmp_path, signed)
    options = settings.sources[0].options()
    secret = options.pop("secret")
    assert callable(secret) and secret() == "canary"
    assert options == {
        "name": "house",
        "class_": "news",
        "topic": "articles",
        "group": "shown",
        "fields": {"title": "headline", "text": "body.plain"},
        "brokers": ("kafka-1.example:9093",),
        "tls": True,
        "sasl": "SCRAM-SHA-512",
        "username": "me",
    }
    inline = loaded(tmp_path, WHOLE + 'sasl = "PLAIN"\nusername = "me"\npassword = "canary"\n')
    assert "canary" not in json.dumps(inline.redacted()) + repr(inline)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (BROKERS + 'topic = "articles"\n', ["house", "needs fields"]),
        (BROKERS + 'fields = { title = "t" }\n', ["needs topic"]),
        ('topic = "articles"\nfields = { title = "t" }\n', ["needs brokers", "kafka-1.example:9093"]),
        (BROKERS + 'topic = "a b"\nfields = { title = "t" }\n', ["topic", '"a b"']),
        (BROKERS + 'topic = "articles"\nfields = { url = "t" }\n', ["fields needs title or text"]),
        (BROKERS + 'topic = "articles"\nfields = { titel = "t" }\n', ["titel", "unknown key", "title"]),
        (WHOLE + 'url = "https://x.example"\n', ["a kafka source has no url"]),
        (WHOLE + 'interval = "1s"\n', ["a kafka source has no interval"]),
        (WHOLE + 'start = "yesterday"\n', ["start", '"yesterday"', "latest"]),
        (WHOLE + "tls = false\n", ["beyond loopback", "plaintext = true"]),
        (WHOLE + 'sasl = "SCRAM-SHA-512"\npassword = "x"\n', ["needs username"]),
    ],
)
def test_what_can_not_work_is_named(tmp_path: Path, keys: str, says: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, keys)
    for part in says:
        assert part in str(caught.value)


def test_other_kinds_have_none_of_its_keys(tmp_path: Path) -> None:
    for keys, name in ((BROKERS, "brokers"), ('topic = "articles"\n', "topic"), ("plaintext = true\n", "plaintext")):
        with pytest.raises(SettingsError, match=f"a feed source has no {name}"):
            loaded(tmp_path, 'url = "https://x.example"\n' + keys, kind="feed")


WITHOUT = """
import sys
sys.modules["kafka"] = None
from pipelines.sources import registry
from pipelines.sources.base import SourceConfigError
assert "faust" not in sys.modules and "aiokafka" not in sys.modules
try:
    registry.build("kafka", {"name": "house", "brokers": ["x:1"], "topic": "t", "fields": {"title": "t"}}, None)
except SourceConfigError as error:
    print(error)
"""


def test_without_the_extra_it_is_named_and_nothing_of_it_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "source 'house'" in done.stdout
    assert "pip install 'tapewatch[kafka]'" in done.stdout
