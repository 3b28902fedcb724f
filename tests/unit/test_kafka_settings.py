"""[engine.kafka]: what is sent where, in the clear or not, is refused or chosen as the settings say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.engines import between_watermarks
from monitor.settings import Settings, SettingsError, load

FAR, NEAR = '["kafka-1.example:9093", "kafka-2.example:9093"]', '["127.0.0.1:9092", "[::1]:9092", "localhost:9092"]'


def written(folder: Path, kafka: str, kind: str = "kafka") -> Path:
    path = folder / "tapewatch.toml"
    path.write_text(f'[engine]\nkind = "{kind}"\n[engine.kafka]\n{kafka}\n')
    for name in ("ca.pem", "client.pem", "client.key"):
        (folder / name).touch()
    (folder / "secret").write_text("canary-of-the-file\n")
    return path


def accepted(folder: Path, kafka: str) -> Settings:
    return load(written(folder, kafka), {})


@pytest.mark.parametrize(
    ("kafka", "protocol"),
    [
        (f"brokers = {NEAR}", "PLAINTEXT"),
        (f"brokers = {NEAR}\ntls = true", "SSL"),
        (f'brokers = {NEAR}\nca_file = "ca.pem"', "SSL"),
        (f'brokers = {NEAR}\nsasl = "PLAIN"\nusername = "me"\npassword = "x"', "SASL_PLAINTEXT"),
        (f"brokers = {FAR}", "SSL"),
        (f'brokers = {FAR}\ncert_file = "client.pem"\nkey_file = "client.key"', "SSL"),
        (f"brokers = {FAR}\nplaintext = true", "PLAINTEXT"),
        (f"brokers = {FAR}\nplaintext = true\ntls = false", "PLAINTEXT"),
        (f'brokers = {FAR}\nplaintext = true\nsasl = "SCRAM-SHA-256"\nusername = "me"\npassword = "x"', "SASL_PLAINTEXT"),
        (f'brokers = {FAR}\nsasl = "SCRAM-SHA-512"\nusername = "me"\npassword_file = "secret"', "SASL_SSL"),
        (f'brokers = {FAR}\nsasl = "PLAIN"\nusername = "me"\npassword = "x"', "SASL_SSL"),
        (f'brokers = {FAR}\nsasl = "OAUTHBEARER"\npassword_file = "secret"', "SASL_SSL"),
        (f'brokers = {FAR}\nsasl = "GSSAPI"', "SASL_SSL"),
        ('brokers = ["localhost:9092", "kafka-1.example:9093"]', "SSL"),
    ],
)  # fmt: skip
def test_connections_are_encrypted_wherever_nobody_said_otherwise(tmp_path: Path, kafka: str, protocol: str) -> None:
    assert accepted(tmp_path, kafka).engine.kafka.security_protocol == protocol


@pytest.mark.parametrize(
    ("kafka", "says"),
    [
        ("", ["engine", 'kind = "kafka"', "brokers"]),
        ('brokers = ["kafka-1.example"]', ["engine.kafka.brokers #1", '"kafka-1.example"', "host:port"]),
        ('brokers = ["kafka-1.example:99999"]', ["engine.kafka.brokers #1", "99999"]),
        ('brokers = ["me:pw@kafka-1.example:9093"]', ["engine.kafka.brokers #1", "host:port"]),
        (f"brokers = {FAR}\ntls = false", ["kafka-1.example:9093", "beyond loopback", "plaintext = true"]),
        (f"brokers = {FAR}\ntls = true\nplaintext = true", ["plaintext = true and tls = true"]),
        (f'brokers = {FAR}\nplaintext = true\nca_file = "ca.pem"', ["ca_file", "without tls"]),
        (f'brokers = {FAR}\ncert_file = "client.pem"', ["both cert_file and key_file"]),
        (f'brokers = {FAR}\nca_file = "none.pem"', ["ca_file", "none.pem", "not found"]),
        (f'brokers = {FAR}\nsasl = "SCRAM"\nusername = "me"', ["engine.kafka.sasl", '"SCRAM"', "SCRAM-SHA-512"]),
        (f'brokers = {FAR}\nsasl = "SCRAM-SHA-512"\npassword = "x"', ["needs username"]),
        (f'brokers = {FAR}\nsasl = "SCRAM-SHA-512"\nusername = "me"', ["exactly one of password and password_file"]),
        (
            f'brokers = {FAR}\nsasl = "PLAIN"\nusername = "me"\npassword = "x"\npassword_file = "secret"',
            ["exactly one of password and password_file"],
        ),
        (f'brokers = {FAR}\nsasl = "PLAIN"\nusername = "me"\npassword_file = "none"', ["password_file", "not found"]),
        (
            f'brokers = {FAR}\nplaintext = true\nsasl = "PLAIN"\nusername = "me"\npassword = "x"',
            ["'PLAIN'", "in the clear", "tls"],
        ),
        (f'brokers = {FAR}\nplaintext = true\nsasl = "OAUTHBEARER"\npassword = "x"', ["'OAUTHBEARER'", "tls"]),
        (f'brokers = {FAR}\nusername = "me"', ["username is of no use without sasl"]),
        (f'brokers = {FAR}\nsasl = "GSSAPI"\npassword = "x"', ["password is of no use with sasl = 'GSSAPI'"]),
        (f'brokers = {FAR}\nsasl = "OAUTHBEARER"\nusername = "me"\npassword = "x"', ["username is of no use"]),
        (f"brokers = {FAR}\npartitions = 0", ["engine.kafka.partitions", "0"]),
        (f"brokers = {FAR}\nreplication = 0", ["engine.kafka.replication", "0"]),
        (f'brokers = {FAR}\ntopic_prefix = "a b"', ["engine.kafka.topic_prefix", '"a b"']),
        (f"brokers = {FAR}\ncheck_hostname = false", ["engine.kafka.check_hostname", "unknown key"]),
    ],
)
def test_what_can_not_work_is_named(tmp_path: Path, kafka: str, says: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        accepted(tmp_path, kafka)
    message = str(caught.value)
    assert "tapewatch.toml" in message
    for part in says:
        assert part in message, message


def test_both_engines_may_stand_in_one_file(tmp_path: Path) -> None:
    settings = load(written(tmp_path, f"brokers = {FAR}", "embedded"), {})
    assert (settings.engine.kind, len(settings.engine.kafka.brokers)) == ("embedded", 2)


def test_paths_start_at_the_files_folder_also_by_default(tmp_path: Path) -> None:
    kafka = accepted(tmp_path, f'brokers = {FAR}\nca_file = "ca.pem"').engine.kafka
    assert (kafka.ca_file, kafka.data_dir) == (tmp_path / "ca.pem", tmp_path / "tapewatch-data")
    kafka = accepted(tmp_path, f'brokers = {FAR}\ndata_dir = "tables"').engine.kafka
    assert kafka.data_dir == tmp_path / "tables"


def test_the_environment_reaches_a_section_within_a_section(tmp_path: Path) -> None:
    path = written(tmp_path, 'topic_prefix = "x."')
    environ = {
        "TAPEWATCH_ENGINE__KAFKA__BROKERS": FAR,
        "TAPEWATCH_ENGINE__KAFKA__DATA_DIR": "/elsewhere",
        "TAPEWATCH_ENGINE__KAFKA__TOPIC_PREFIX": "y.",
    }
    kafka = load(path, environ).engine.kafka
    assert (kafka.brokers[0], kafka.data_dir, kafka.topic_prefix) == ("kafka-1.example:9093", Path("/elsewhere"), "y.")
    with pytest.raises(SettingsError, match="did you mean 'brokers'"):
        load(path, {"TAPEWATCH_ENGINE__KAFKA__BROKRES": FAR})


def test_a_credential_is_read_when_asked_for_and_shown_nowhere(tmp_path: Path) -> None:
    settings = accepted(tmp_path, f'brokers = {FAR}\nsasl = "OAUTHBEARER"\npassword_file = "secret"')
    assert settings.engine.kafka.credential() == "canary-of-the-file"
    (tmp_path / "secret").write_text("canary of another hour\n")
    assert settings.engine.kafka.credential() == "canary of another hour"
    inline = accepted(tmp_path, f'brokers = {FAR}\nsasl = "PLAIN"\nusername = "me"\npassword = "canary"')
    assert inline.engine.kafka.credential() == "canary"
    for shown in (settings, inline):
        assert "canary" not in json.dumps(shown.redacted()) + repr(shown) + str(shown)
    with pytest.raises(SettingsError) as caught:
        accepted(tmp_path, f'brokers = {FAR}\nsasl = "PLAIN"\npassword = ["canary"]')
    assert "canary" not in str(caught.value) and "engine.kafka.password" in str(caught.value)


@pytest.mark.parametrize(("partitions", "seconds"), [(1, 0.25), (6, 0.25), (24, 0.576), (64, 4.096), (1_000, 10.0)])
def test_watermarks_come_seldomer_where_more_partitions_speak_to_each_other(
    tmp_path: Path, partitions: int, seconds: float
) -> None:
    settings = accepted(tmp_path, f"brokers = {NEAR}\npartitions = {partitions}")
    assert between_watermarks(settings) == pytest.approx(seconds)


BARE = """
import importlib.metadata as metadata
import sys
def none(name):
    raise metadata.PackageNotFoundError(name)
metadata.distribution = none
sys.modules.update(aiokafka=None, faust=None, kafka=None)
from monitor.cli import main
main()
"""


@pytest.mark.parametrize("command", ["init", "check"])
def test_an_installation_without_the_extra_is_told_what_to_install(tmp_path: Path, command: str) -> None:
    file = written(tmp_path, 'brokers = ["127.0.0.1:1"]')
    run = [sys.executable, "-c", BARE, "kafka", command, "-c", str(file)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'tapewatch[kafka]'" in done.stderr
