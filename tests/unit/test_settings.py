"""Settings: what is wrong is named with file, key, value and what is allowed."""

import base64
import json
from pathlib import Path

import pytest

from monitor.commands.setup import check
from monitor.settings import SettingsError, load

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()


def write(folder: Path, text: str) -> Path:
    path = folder / "tapewatch.toml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(write(folder, text), environ or {})
    return str(caught.value)


def test_paths_start_at_the_files_folder_and_durations_have_units(tmp_path: Path) -> None:
    settings = load(write(tmp_path, '[engine]\npath = "x.db"\nretention = "3d"\n[detection]\nmin_open = "90s"\n'), {})
    assert settings.engine.path == tmp_path / "x.db"
    assert (settings.engine.retention, settings.detection.min_open) == (3 * 86_400.0, 90.0)
    assert load(write(tmp_path, ""), {}).engine.path == tmp_path / "tapewatch.db"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "[detection]\nfalse_alarms_per_key_month = 0\n",
            ["tapewatch.toml", "detection.false_alarms_per_key_month", "0"],
        ),
        ('[detection]\nmax_age = "24"\n', ["detection.max_age", '"24"', "unit"]),
        ("[detection]\nmax_age = 24\n", ["detection.max_age", "24", "unit"]),
        ("[detection]\nmaxage = 1\n", ["detection.maxage", "did you mean 'max_age'"]),
        ('[engine]\nkind = "kafak"\n', ["engine.kind", "kafak", "embedded"]),
        ('[[sources]]\nkind = "feed"\nname = "a"\n', ["sources #1 (a)", "url"]),
        ('[[sources]]\nkind = "feed"\nname = "a"\nurl = "ftp://x"\n', ["sources #1 (a)", "https://"]),
        ('[web]\nlisten = "0.0.0.0:8686"\n', ["web", "token_file"]),
        ('[web]\nlisten = "127.0.0.1:99999"\n', ["web.listen", "99999", "65535"]),
        ('[network]\nallow_private = ["10.0.0.0/99"]\n', ["network.allow_private", "10.0.0.0/99"]),
        ('[[routes]]\nchannels = ["nobody"]\n', ["routes #1", "nobody"]),
        (
            '[[routes]]\ntypes = ["ops.*", "alrt.*"]\nchannels = []\n',
            ["routes #1.types", "'alrt.*'", "alert.firing, alert.updated, alert.resolved, ops.source_stale"],
        ),
        ("[detection\n", ["tapewatch.toml", "line 1"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, parts: list[str]) -> None:
    message = refusal(tmp_path, text)
    for part in parts:
        assert part in message, message


def channel(url: str, secret: str = SECRET) -> str:
    return f'[[channels]]\nkind = "webhook"\nname = "desk"\nurl = "{url}"\nsecret = "{secret}"\n'


def test_webhooks_that_can_not_work_are_refused(tmp_path: Path) -> None:
    assert "Slack" in refusal(tmp_path, channel("https://hooks.slack.com/services/T0/B0/x"))
    assert "allow_private" in refusal(tmp_path, channel("http://desk.example/hook"))
    assert "user" in refusal(tmp_path, channel("https://me:pw@desk.example/hook")).lower()
    assert "whsec_" in refusal(tmp_path, channel("https://desk.example/hook", "short"))
    load(write(tmp_path, channel("http://127.0.0.1:1/hook") + '[network]\nallow_private = ["127.0.0.0/8"]\n'), {})


def test_secrets_appear_nowhere(tmp_path: Path) -> None:
    canary = "whsec_" + base64.b64encode(b"canary-canary-canary-canary").decode()
    settings = load(write(tmp_path, channel("https://desk.example/canary-path", canary)), {})
    assert settings.redacted()["channels"][0]["url"] == "https://desk.example/…"
    assert "canary" not in json.dumps(settings.redacted()) + repr(settings) + str(settings)
    assert canary not in refusal(tmp_path, channel("https://desk.example/x", canary) + "colour = 1\n")


def test_the_environment_overrides_and_names_itself(tmp_path: Path) -> None:
    path = write(tmp_path, "[model]\nthreads = 1\n")
    assert load(path, {"TAPEWATCH_MODEL__THREADS": "2"}).model.threads == 2
    assert load(path, {"TAPEWATCH_DETECTION__MAX_AGE": "2h"}).detection.max_age == 7200.0
    with pytest.raises(SettingsError, match="TAPEWATCH_NOPE__X"):
        load(path, {"TAPEWATCH_NOPE__X": "1"})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("TAPEWATCH_ENGINE", "engine is a section; a variable sets one key, as TAPEWATCH_ENGINE__KIND does"),
        ("TAPEWATCH_SOURCES", "its entries stand in the file"),
        ("TAPEWATCH_SOURCES__NAME", "is a list, which stands in the file"),
        ("TAPEWATCH_ENGINE_KAFKA_DATA_DIR", "TAPEWATCH_ENGINE__KAFKA__DATA_DIR is"),
        ("TAPEWATCH_WEB_LISTEN", "TAPEWATCH_WEB__LISTEN is"),
        ("TAPEWATCH_MODEL__THREADS__X", "model.threads is a value"),
        ("TAPEWATCH_NOPE__X", "sections are engine, model, detection"),
    ],
)
def test_a_variable_that_would_set_nothing_is_refused(tmp_path: Path, name: str, says: str) -> None:
    path = write(tmp_path, '[model]\nthreads = 1\n[[sources]]\nkind = "stdin"\nname = "a"\n')
    with pytest.raises(SettingsError) as told:
        load(path, {name: "x"})
    assert f"environment {name}: " in str(told.value) and says in str(told.value)


def test_variables_of_others_are_let_be_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kubernetes gives every pod such variables of a service called tapewatch."""
    monkeypatch.setenv("TAPEWATCH_SERVICE_HOST", "10.0.0.7")
    check(write(tmp_path, ""), whole=False)
    assert "environment TAPEWATCH_SERVICE_HOST: is no setting, and ignored" in capsys.readouterr().err


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tapewatch init"):
        load(tmp_path / "none.toml", {})
