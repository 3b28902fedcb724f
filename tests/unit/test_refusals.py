"""Settings that can't work are refused before anything starts: file, key, value and what to do, whichever command reads
them. `check-config` is called as the entry point calls it; `run` as the process that it is."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import onnxruntime
import pytest

from monitor.cli import main

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
NOT_PEM, FOLDER, FILE, EMPTY = "junk.pem", "folder", "file", "empty"


def feed(rest: str, name: str = "a") -> str:
    return f'[[sources]]\nkind = "feed"\nname = "{name}"\n{rest}\n'


def hook(url: str, rest: str = "") -> str:
    return f'[[channels]]\nkind = "webhook"\nname = "desk"\nurl = "{url}"\nsecret = "{SECRET}"\n{rest}'


def unsigned(rest: str) -> str:
    return f'[[channels]]\nkind = "webhook"\nname = "desk"\nurl = "https://desk.example/h"\n{rest}\n'


def watched(*entities: str, name: str = "x") -> str:
    return f'[[watchlists]]\nname = "{name}"\nentities = [{", ".join(entities)}]\n'


BAD: list[tuple[str, str, list[str]]] = [
    ("syntax", "[engine\n", ["line 1"]),
    ("a text without quotation marks", "[engine]\nkind = embedded\n", ["line 2", "quotation marks"]),
    ("no text", '[engine]\nkind = "\x00"\n', ["line 2"]),
    ("a section that is none", "engine = 3\n", ["engine = 3"]),
    ("an entry that is a table", '[sources]\nkind = "feed"\n', ["sources"]),
    ("an unknown section", "[detecton]\nx = 1\n", ["detecton", "did you mean 'detection'"]),
    ("an unknown key", "[model]\nthread = 1\n", ["model.thread", "did you mean 'threads'"]),
    ("a folder for a store", f'[engine]\npath = "{FOLDER}"\n', ["engine.path", FOLDER, "is a folder", "tapewatch.db"]),
    (
        "a store below a file",
        f'[engine]\npath = "{FILE}/x.db"\n',
        ["engine.path", f"{FILE}/x.db", "a file in a folder"],
    ),
    ("no retention", '[engine]\nretention = "0s"\n', ["engine.retention", '"0s"', "more than 0"]),
    ("an endless retention", f'[engine]\nretention = "{"9" * 400}d"\n', ["engine.retention", "at most"]),
    ("a bare number", "[engine]\ndrain = 20\n", ["engine.drain = 20", '"20s"']),
    ("no age", '[detection]\nmax_age = "0h"\n', ["detection.max_age", '"0h"', "more than 0"]),
    ("an alert for ever", '[detection]\nmin_open = "36500d"\n', ["detection.min_open", '"36500d"', 'at most "7d"']),
    ("a lateness of years", '[detection]\nlateness = "900d"\n', ["detection.lateness", '"900d"', 'at most "7d"']),
    ("a stop without end", '[engine]\ndrain = "2d"\n', ["engine.drain", '"2d"', 'at most "1h"']),
    ("a poll a year", feed('url = "https://a.example/f"\ninterval = "365d"'), ["sources #1 (a).interval", '"7d"']),
    *(
        (f"a source called {name}", feed('url = "https://a.example/f"', name), [f"sources #1 ({name}).name", "another"])
        for name in ("api", "backfill", "replay")
    ),
    ("a device without its library", '[model]\ndevice = "cuda"\n', ["model.device", '"cuda"', "tapewatch[gpu]"]),
    ("a device that is none", '[model]\ndevice = "tpu"\n', ["model.device", '"tpu"', "'auto', 'cpu' or 'cuda'"]),
    ("a model that is none", '[model]\nname = "defualt"\n', ["model.name", "defualt", "default"]),
    ("certificates that are missing", '[network]\nca_file = "no.pem"\n', ["network.ca_file", "no.pem", "not found"]),
    ("certificates that are none", f'[network]\nca_file = "{NOT_PEM}"\n', ["network.ca_file", NOT_PEM, "PEM"]),
    ("certificates in a folder", f'[network]\nca_file = "{FOLDER}"\n', ["network.ca_file", FOLDER, "PEM"]),
    ("a junk proxy", '[network]\nproxy = "junk"\n', ["network.proxy", "http://proxy.example:3128"]),
    ("a proxy of another kind", '[network]\nproxy = "socks5://p:1"\n', ["network.proxy", "'socks5'", "http://proxy"]),
    ("a proxy without a host", '[network]\nproxy = "http://"\n', ["network.proxy", "no host"]),
    ("a user agent of two lines", '[network]\nuser_agent = "a\\nb"\n', ["network.user_agent", '"a\\nb"', "one line"]),
    ("a range that is none", '[network]\nallow_private = ["lan"]\n', ["network.allow_private", "lan", "127.0.0.0/8"]),
    ("a feed without a host", feed('url = "https://"'), ["sources #1 (a).url", '"https://"', "newswire.example"]),
    ("a feed that is a word", feed('url = "newswire"'), ["sources #1 (a).url", '"newswire"', "newswire.example"]),
    ("a feed of another kind", feed('url = "ftp://x.example/f"'), ["sources #1 (a).url", "ftp://x.example", "'ftp'"]),
    ("a sign-in in an address", feed('url = "https://u:hunter2@x.example/"'), ["sources #1 (a).url", "user name"]),
    ("a port beyond all", feed('url = "https://x.example:99999/"'), ["sources #1 (a).url", "not an address"]),
    (
        "a private feed",
        feed('url = "http://127.0.0.1:1/f"'),
        ["sources #1 (a).url", "127.0.0.1 is no public address", 'allow_private = ["127.0.0.1/32"]'],
    ),
    ("a feed on localhost", feed('url = "http://localhost:1/f"'), ["sources #1 (a).url", "127.0.0.1", "allow_private"]),
    ("a number as an address", feed('url = "http://2130706433/"'), ["sources #1 (a).url", "2130706433", "neither"]),
    ("a percent sign in a host", feed('url = "https://a%2eb.example/"'), ["sources #1 (a).url", "a%2eb.example"]),
    ("polls without end", feed('url = "https://x.example/"\ninterval = "0.5s"'), ["(a).interval", '"0.5s"', '"1s"']),
    ("a zone that is none", feed('url = "https://x.example/"\ntimezone = "Mars"'), ["(a).timezone", '"Mars"', "Asia"]),
    ("a name with a slash", feed('url = "https://x.example/"', "a/b"), ["sources #1 (a/b).name", '"a/b"', "a letter"]),
    ("a private webhook", hook("https://10.0.0.1/h"), ["channels #1 (desk).url", "10.0.0.1", "allow_private"]),
    ("a webhook without a secret", unsigned(""), ["channels #1 (desk)", "secret_file", "openssl rand"]),
    (
        "a secret file that is missing",
        unsigned('secret_file = "no.secret"'),
        ["channels #1 (desk)", "no.secret: No such file", "openssl rand -base64 32", "no.secret"],
    ),
    ("a plain webhook", hook("http://desk.example/h"), ["channels #1 (desk).url", "http://desk.example", "https://"]),
    (
        "a plain webhook beside what is allowed",
        hook("http://10.0.0.1/h") + '[network]\nallow_private = ["127.0.0.0/8"]\n',
        ["channels #1 (desk).url", "10.0.0.1", "allow_private"],
    ),
    (
        "a plain webhook behind a proxy",
        hook("http://desk/h") + '[network]\nallow_private = ["10.0.0.0/8"]\nproxy = "http://10.0.0.1:1"\n',
        ["channels #1 (desk).url", "http://desk", "https://"],
    ),
    ("a webhook with a percent sign", hook("https://hooks.slack.com%2f.x.example/"), ["channels #1 (desk)", "%"]),
    ("a patience beyond all", hook("https://d.example/", 'timeout = "9m"\n'), ["channels #1 (desk)", "timeout", "30"]),
    ("no token", '[web]\nlisten = "0.0.0.0:1"\ntoken = ""\n', ["web: token", "empty", "openssl rand"]),
    ("a token file of nothing", f'[web]\ntoken_file = "{EMPTY}"\n', ["web: token_file", EMPTY, "openssl rand"]),
    ("a name like loopback", '[web]\nlisten = "127.evil.example:80"\n', ["web", "127.evil.example:80", "token_file"]),
    ("a port beyond all to listen on", '[web]\nlisten = "127.0.0.1:99999"\n', ["web.listen", "99999", "65535"]),
    ("no port", '[web]\nlisten = "127.0.0.1"\n', ["web.listen", '"127.0.0.1"', "host:port"]),
    ("an address that is none", '[web]\nlisten = "127.0.0.256:80"\n', ["web.listen", "127.0.0.256", "neither"]),
    ("IPv6 without brackets", '[web]\nlisten = "::1:80"\n', ["web.listen", '"::1:80"', "[::1]:8686"]),
    (
        "one address for two",
        '[web]\nlisten = "127.0.0.1:81"\nmetrics_listen = "127.0.0.1:81"\n',
        ["web: metrics_listen 127.0.0.1:81", "another"],
    ),
    ("a link to nowhere", '[web]\nexternal_url = "tape"\n', ["web.external_url", "tape", "https://tapewatch.example"]),
    ("a pattern of no event", '[[routes]]\ntypes = ["alrt.*"]\nchannels = []\n', ["routes #1.types", "alert.firing"]),
    ("a silence of nothing", '[[silences]]\nuntil = "2030-01-01T00:00:00Z"\n', ["silences #1", "hushes nothing"]),
    (
        "a silence that ends some time",
        '[[silences]]\nuntil = "soon"\nkeys = ["*"]\n',
        ["silences #1", "'soon'", "2026"],
    ),
    (
        "two companies of one id",
        watched('{ name = "Acme Corp", id = "acme" }', '{ name = "Acme Mining", id = "acme" }'),
        ["watchlists #1 (x).entities: 'Acme Mining'", "entity:acme", "'Acme Corp'", "another id"],
    ),
    (
        "two lists of one key",
        watched('"JPM"', name="My Banks") + watched('"BA"', name="my banks"),
        ["watchlists #2 (my banks).name", "list:my-banks", "another name"],
    ),
    (
        "a company called as everything is",
        watched('{ name = "Acme Corp", aliases = ["The"] }'),
        ["watchlists #1 (x): entities", "'Acme Corp': aliases 'The'", "tickers"],
    ),
    ("a company that is none", watched('"Deutche Bank"'), ["watchlists #1 (x): entities", "Deutsche Bank"]),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / NOT_PEM).write_text("junk")
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FILE).touch()
    (tmp_path / EMPTY).touch()
    return tmp_path / "tapewatch.toml"


@pytest.mark.parametrize(("text", "parts"), [entry[1:] for entry in BAD], ids=[entry[0] for entry in BAD])
def test_check_config_refuses(
    file: Path, text: str, parts: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if '"cuda"' in text and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has CUDA")
    file.write_text(text)
    monkeypatch.setattr(sys, "argv", ["tapewatch", "check-config", "-c", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, ""), said.err
    for part in ("tapewatch.toml: ", *parts):
        assert part in said.err, said.err
    assert "hunter2" not in said.err
    assert len(said.err.splitlines()) == 1, said.err


def test_check_config_warns_of_an_everyday_word(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    companies = ('{ name = "Bridge" }', '{ name = "Garden", context = ["crypto"] }', '{ name = "Gap" }', '"AAPL"')
    file.write_text(watched(*companies))
    monkeypatch.setattr(sys, "argv", ["tapewatch", "check-config", "-c", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert not ended.value.code and "fine" in said
    warned = [line for line in said.splitlines() if "everyday_word" in line]
    assert len(warned) == 1 and "Bridge" in warned[0] and "watchlists #1 (x)" in warned[0] and "context" in warned[0]


AT_START = ("a folder for a store", "a device without its library", "certificates that are none", "a private feed")


def test_run_refuses_in_the_same_words(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = {name: (text, parts) for name, text, parts in BAD}
    answers: dict[str, subprocess.CompletedProcess[str]] = {}

    def start(name: str) -> None:
        own = file.with_name(f"{AT_START.index(name)}.toml")
        own.write_text(known[name][0])
        command = [sys.executable, "-m", "monitor", "run", "-c", str(own)]
        answers[name] = subprocess.run(command, capture_output=True, text=True, timeout=60)

    threads = [threading.Thread(target=start, args=(name,)) for name in AT_START]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, answer in answers.items():
        assert answer.returncode == 2, answer.stderr
        assert "Traceback" not in answer.stderr
        for part in (".toml: ", *known[name][1]):
            assert part in answer.stderr, answer.stderr
    assert set(answers) == set(AT_START)
    with capsys.disabled():
        print(f"\nbad settings: through check-config {len(BAD)}, through run {len(answers)}")


def test_run_says_in_few_words_that_the_port_is_taken_and_that_a_variable_is_no_setting(file: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAPEWATCH_")}
    environment["TAPEWATCH_SERVICE_HOST"] = "10.0.0.7"
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        file.write_text(f'[web]\nlisten = "{listen}"\n')
        command = [sys.executable, "-m", "monitor", "run", "-c", str(file)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    warned, told = answer.stderr.splitlines()
    assert "environment TAPEWATCH_SERVICE_HOST: is no setting, and ignored" in warned
    assert told == f'{file}: web.listen = "{listen}": Address already in use; choose another address'
    assert answer.returncode == 2
