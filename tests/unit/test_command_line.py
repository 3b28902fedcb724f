"""Commands as a user runs them: real processes, exit codes, what goes where."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.replay.labels import keys_of
from pipelines.entities import Entity, EntityConfigError, load_universe, resolve
from pipelines.watch import Watch, WatchList


def run(*arguments: object, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "monitor", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, timeout=60)


def lines(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def test_init_writes_what_check_config_accepts_and_never_overwrites(tmp_path: Path) -> None:
    assert run("init", tmp_path).returncode == 0
    checked = run("check-config", "-c", tmp_path / "tapewatch.toml")
    assert checked.returncode == 0, checked.stderr
    resolved = json.loads(checked.stdout)
    classes = {source["class"] for source in resolved["sources"]}
    assert classes == {"news", "filing", "social"}
    assert len(checked.stdout.splitlines()) < 40, "the verdict is lost behind what is as it is by default"
    assert b"sources, " in checked.stderr and b"0 channels" in checked.stderr
    whole = json.loads(run("check-config", "--all", "-c", tmp_path / "tapewatch.toml").stdout)
    assert (whole["engine"]["retention"], whole["detection"]["lateness"]) == ("7d", "10m")
    assert run("init", tmp_path).returncode == 2
    assert run("init", tmp_path, "--force").returncode == 0


def test_wrong_usage_and_settings_exit_with_2(tmp_path: Path) -> None:
    assert run("predict", "--nope").returncode == 2
    assert run("predict", tmp_path / "none.jsonl").returncode == 2
    bad = tmp_path / "tapewatch.toml"
    bad.write_text('[[watchlists]]\nname = "x"\nentities = ["Deutche Bank"]\n')
    answer = run("check-config", "-c", bad)
    assert answer.returncode == 2
    assert b"Deutsche Bank" in answer.stderr
    assert answer.stdout == b""
    bad.write_text('[[watchlists]]\nname = "x"\ntopics = ["Earning"]\n')
    assert b"Earnings" in run("check-config", "-c", bad).stderr


def test_predict_keeps_order_and_names_bad_lines(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl.gz"
    rows = [
        b'{"id": "a", "text": "https://x.example/a  Shares plunge after a profit warning", "entities": ["Shares", "Nobody"]}',
        b"{bad",
        b'{"id": "b", "text": "Record profit, shares soar"}',
        b'{"id": "c"}',
        b'{"id": "d", "text": "' + b"shares plunge " * 70_000 + b'"}',
    ]
    rows_text = "https://x.example/a  Shares plunge after a profit warning"
    source.write_bytes(gzip.compress(b"\n".join(rows)))
    answer = run("predict", "--why", source)
    assert answer.returncode == 1
    assert b"line 2: not JSON" in answer.stderr and b'write a line as {"text": "Shares plunge"}' in answer.stderr
    found = lines(answer.stdout)
    assert [(row["id"], row["sentiment"]["label"]) for row in found] == [
        ("a", "negative"),
        ("b", "positive"),
        ("d", "negative"),
    ]
    assert [(e["name"], e["found"]) for e in found[0]["entities"]] == [("Shares", True), ("Nobody", False)]
    assert found[0]["entities"][1]["basis"] == "document"
    assert found[0]["entities"][1]["sentiment"] == found[0]["sentiment"]
    assert b"line 2" in answer.stderr and b"line 4" in answer.stderr
    assert abs(sum(found[0]["sentiment"][name] for name in ("negative", "neutral", "positive")) - 1) < 1e-4
    phrases = found[0]["why"]
    assert phrases and {rows_text[one["start"] : one["end"]] for one in phrases} == {one["text"] for one in phrases}
    assert all(0.05 <= one["weight"] <= 1 for one in phrases) and "unexplained" not in found[0]
    assert found[0]["entities"][1]["why"] == phrases and found[0]["entities"][0]["why"] is not None
    assert (found[1]["why"], found[1]["unexplained"]) == (None, "not_bad")
    assert (found[2]["why"], found[2]["unexplained"]) == (None, "length")


def test_predict_reads_csv(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text('id,headline\n1,"Profit falls, shares slump"\n')
    assert lines(run("predict", source).stdout)[0]["sentiment"]["label"] == "negative"


def test_predict_names_line_and_column_of_what_is_wrong_in_a_table(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    rows = [
        b"\xef\xbb\xbfid,day,text",
        b"a,monday,Record profit",
        b"b,tuesday",
        b'c,friday,"Shares',
        b'plunge, again"',
        b"d,friday,Shares plunge, again",
        b"e,friday,Soci\xe9t\xe9 falls",
        b"",
        b"f,friday,Shares soar",
        b'g,friday,"Never closed',
    ]
    source.write_bytes(b"\r\n".join(rows) + b"\r\n")
    answer = run("predict", source)
    assert answer.returncode == 1 and [row["id"] for row in lines(answer.stdout)] == ["a", "c", "f"]
    assert answer.stderr.decode().splitlines() == [
        "line 3: column text: missing, the row ends after 2 of 3 columns",
        'line 6: 4 fields for 3 columns; put what holds commas in quotes, as in "Up, then down"',
        "line 7: column text: no UTF-8 text; save the file as UTF-8",
        "line 10: a quoted field that begins here is never closed",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "in.csv: is empty"),
        (b"id,title\n1,Shares plunge\n", "in.csv: line 1: columns id, title: none is text or headline"),
        ("id,text\n1,Société\n".encode("utf-16"), "in.csv: line 1: the names of the columns are no UTF-8 text"),
        (b'"id,text\n1,x\n', "in.csv: line 1: a quoted field that begins here is never closed"),
    ],
)
def test_predict_refuses_a_table_without_texts(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "in.csv").write_bytes(content)
    answer = run("predict", tmp_path / "in.csv")
    assert answer.returncode == 2 and says in answer.stderr.decode() and answer.stdout == b""


def test_lines_that_can_not_be_are_named_and_the_rest_is_done() -> None:
    nested = b"[" * 200_000
    answer = run("predict", stdin=b'{"text": "Shares plunge"}\n' + nested + b'\n{"text": "Shares rise"}\n')
    assert answer.returncode == 1 and len(answer.stdout.splitlines()) == 2 and b"line 2: not JSON" in answer.stderr
    good = b'{"key": "a", "ts": 1790000000, "p_negative": 0.9}\n'
    bad = {
        b'{"key": "a", "ts": 1e300, "p_negative": 0.9}': b"1970 and 9999",
        b'{"key": "a", "ts": -1, "p_negative": 0.9}': b"1970 and 9999",
        b'{"key": "a", "ts": "0001-01-01T00:00:00+14:00", "p_negative": 0.9}': b"1970 and 9999",
        b'{"key": "a", "ts": 1790000000, "p_negative": 0.9, "weight": 1e308}': b"within 0 and 1e+06",
        nested: b"not JSON",
    }
    answer = run("detect", "--end", "2026-12-01T00:00:00Z", stdin=good + b"\n".join(bad) + b"\n" + good)
    told = answer.stderr.splitlines()
    assert answer.returncode == 1 and len(told) == len(bad)
    for number, (line, says) in enumerate(zip(told, bad.values(), strict=True), 2):
        assert line.startswith(b"line %d:" % number) and says in line
    assert run("detect", "--end", "inf", stdin=good).returncode == 2


@pytest.mark.parametrize("name", ["in.csv.gz", "in.jsonl.gz"])
def test_predict_and_detect_say_when_a_file_breaks_off(tmp_path: Path, name: str) -> None:
    whole = b'text\n"Shares plunge"\n' if "csv" in name else b'{"text": "Shares plunge"}\n'
    for cut, says in ((gzip.compress(whole * 2_000)[:-20], "can't be read to its end"), (whole, "Not a gzipped file")):
        (tmp_path / name).write_bytes(cut)
        for command in ("predict", "detect"):
            answer = run(command, tmp_path / name)
            assert answer.returncode == 1 and says in answer.stderr.decode() and b"Traceback" not in answer.stderr


def test_models_list_show_verify_and_a_tampered_file_is_refused(tmp_path: Path) -> None:
    import shutil

    from models.card import WEIGHTS

    assert b"default" in run("models", "list").stdout
    assert b"Evaluation" in run("models", "show").stdout
    assert run("models", "verify").returncode == 0
    copy = tmp_path / "copy"
    shutil.copytree(WEIGHTS / "default", copy)
    changed = bytearray((copy / "model.onnx").read_bytes())
    changed[len(changed) // 2] ^= 1
    (copy / "model.onnx").write_bytes(changed)
    answer = run("models", "verify", copy)
    assert answer.returncode == 1 and b"model.onnx" in answer.stderr and b"changed" in answer.stderr
    assert run("predict", "--model", copy, stdin=b'{"text": "x"}').returncode == 1
    (copy / "tokenizer.json").unlink()
    (copy / "model.onnx").write_bytes((WEIGHTS / "default" / "model.onnx").read_bytes())
    assert b"tokenizer.json" in run("models", "verify", copy).stderr


def test_models_evaluate_prints_one_object(tmp_path: Path) -> None:
    data = tmp_path / "own.csv"
    data.write_text(
        "split,text,label\nvalid,Shares plunge after a profit warning,negative\nvalid,Record profit lifts shares,positive\n"
        "valid,Up here and down there,mixed\ntrain,Not read,neutral\n"
    )
    found = json.loads(run("models", "evaluate", "--task", "sentiment", "--data", data, "--split", "valid").stdout)
    assert (found["n"], found["accuracy"], found["mixed_left_out"]) == (2, 1.0, 1)
    assert set(found) >= {"macro_f1", "per_class", "ece", "nll", "confusion"}


def test_models_evaluate_refuses_a_split_without_rows(tmp_path: Path) -> None:
    data = tmp_path / "own.csv"
    data.write_text("split,text,label\ntrain,Record profit lifts shares,positive\n")
    answer = run("models", "evaluate", "--task", "sentiment", "--data", data, "--split", "test")
    said = answer.stderr.decode()
    assert answer.returncode == 2 and "own.csv" in said and "'test'" in said
    assert not answer.stdout


def test_kafka_and_training_say_plainly_what_is_missing(tmp_path: Path) -> None:
    assert run("kafka", "init").returncode == 2
    answer = run("models", "train", "--data", tmp_path, "--out", tmp_path / "o")
    assert answer.returncode == 1 and b"make train" in answer.stderr


def test_an_event_finds_its_company_as_a_watch_list_does() -> None:
    own = Entity(id="zorblatt", name="Zorblatt Industries Ltd", tickers=("ZBLT",), aliases=("Motors",), custom=True)
    listed = [resolve(name, load_universe()) for name in ("Facebook", "GM", "GS")]
    watch = Watch([WatchList(name="mine", entities=(own, *listed), topics=("Earnings",))], ())
    for text in ("ZBLT", "zorblatt industries", "Zorblatt", "Motors"):
        assert keys_of(text, watch) == {"entity:zorblatt", "entity:zorblatt/topic:earnings"}, text
    assert keys_of("Facebook", watch) == {"entity:META", "entity:META/topic:earnings"}
    assert keys_of("entity:META", watch) == {"entity:META"} and keys_of("Market", watch) == {"market"}
    # No word of a name is a name, nor a name a part of more words; what isn't watched can't be found.
    for text in ("Platforms", "Goldman 1MDB", "Rolling Motors", "Nobody Corp", "Boeing"):
        assert keys_of(text, watch) == set(), text


def test_an_event_of_several_companies_is_refused_with_their_ids() -> None:
    twins = [Entity(id=f"orion-{n}", name=f"Orion {n}", aliases=("Orion",), custom=True) for n in ("Mines", "Wines")]
    watch = Watch([WatchList(name="mine", entities=tuple(twins))], ())
    with pytest.raises(EntityConfigError, match=r"several companies: orion-Mines \(Orion Mines\), orion-Wines"):
        keys_of("Orion", watch)


def test_onnx_runtime_tells_its_maker_nothing(tmp_path: Path) -> None:
    """Where it does, it keeps a name for this machine and the events to be sent in its user's cache."""
    kept = {}
    # It writes in the background: the process stays until it has, and no longer than is bearable.
    alone = (
        "import os, pathlib, time, onnxruntime\n"
        "kept, end = pathlib.Path(os.environ['XDG_CACHE_HOME']), time.monotonic() + 20\n"
        "while time.monotonic() < end and not any(path.is_file() for path in kept.rglob('*')): time.sleep(0.05)\n"
    )
    for name, command in {"alone": ["-c", alone], "daemon": ["-m", "monitor", "predict"]}.items():
        # Nothing else of this environment: where it names a build service, the library keeps silent by itself.
        environment = {"HOME": str(tmp_path / name), "XDG_CACHE_HOME": str(tmp_path / name), "PATH": os.environ["PATH"]}
        # Without a network, so that what this is about can't happen here either.
        prefix = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--net"]
        done = subprocess.run(
            [*prefix, sys.executable, *command], input=b'{"text": "Shares plunge"}\n', capture_output=True,
            env=environment, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        kept[name] = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
    assert kept["alone"], "this build has nothing to switch off: the test and the switch can go"
    assert not kept["daemon"]
