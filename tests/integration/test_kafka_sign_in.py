"""Sign-in and TLS on a real broker: what is right works through all three clients, what is wrong is said in a line."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from pipelines.clock import SystemClock
from pipelines.sources.kafka_consumer import Refused, TopicReader
from pipelines.streams.base import DOCUMENTS, SERIES, Output
from pipelines.streams.kafka import Connection, KafkaEngine, Layout
from tests.conftest import need_kafka
from tests.contract.engine_bench import Counting, make_topics, read_all
from tests.daemon_bench import Daemon
from tests.debian import need
from tests.kafka_secure import PASSWORD, USER, Secure, token

PATIENCE = 60.0


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    need_kafka()
    need("openssl")
    with Secure(tmp_path_factory.mktemp("secure") / "broker") as broker:
        broker.enrol(USER)
        yield broker


def by_name(secure: Secure, mechanism: Any, password: str = PASSWORD, user: str = USER) -> Connection:
    return Connection(
        brokers=(secure.signed,),
        tls=True,
        ca_file=secure.ca,
        mechanism=mechanism,
        username=user,
        secret=lambda: password,
    )


def by_token(secure: Secure, said: str) -> Connection:
    return Connection(
        brokers=(secure.signed,), tls=True, ca_file=secure.ca, mechanism="OAUTHBEARER", secret=lambda: said
    )


def by_certificate(secure: Secure, **changes: Any) -> Connection:
    given = {"tls": True, "ca_file": secure.ca, "cert_file": secure.cert, "key_file": secure.key}
    return Connection(brokers=(secure.mutual,), **given | changes)


def engine(connection: Connection, layout: Layout, folder: Path) -> KafkaEngine:
    return KafkaEngine(connection, layout, folder / "data", clock=SystemClock())


def topics(secure: Secure) -> Layout:
    prefix = f"t{uuid.uuid4().hex[:10]}."
    layout = Layout(topic_prefix=prefix, group_prefix=prefix, partitions=1, replication=1)
    make_topics(secure.plain, layout, [Counting()])
    return layout


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-512", "OAUTHBEARER", "certificate"])
async def test_records_pass_whatever_the_sign_in(how: str, secure: Secure, tmp_path: Path) -> None:
    if how == "certificate":
        connection = by_certificate(secure)
    elif how == "OAUTHBEARER":
        connection = by_token(secure, token())
    else:
        connection = by_name(secure, how)
    layout = topics(secure)
    running = engine(connection, layout, tmp_path)
    await running.start([Counting()])
    try:
        await running.append([Output(DOCUMENTS, "k", str(number).encode()) for number in range(20)])
        await asyncio.wait_for(running.drained(), PATIENCE)
    finally:
        await running.stop(20.0)
    said = await asyncio.to_thread(read_all, secure.plain, layout, SERIES)
    assert len(said) == 20


def wrong(secure: Secure) -> dict[str, tuple[Connection, list[str]]]:
    """What is wrong, by name, with the words that must be said of it."""
    bare = {"brokers": (secure.signed,)}
    trusted = {"tls": True, "ca_file": secure.ca}
    port = secure.signed.rsplit(":", 1)[1]
    password = {"mechanism": "PLAIN", "username": USER, "secret": lambda: PASSWORD}
    return {
        "password": (by_name(secure, "PLAIN", "other"), ["refuses the sign-in (Authentication failed", "password"]),
        "user": (
            by_name(secure, "SCRAM-SHA-512", user="nobody"),
            ["refuses the sign-in", "sasl, username and password"],
        ),
        "token": (by_token(secure, "nonsense"), ["refuses the sign-in", "token"]),
        "no TLS": (Connection(**bare), ["ends the connection", "TLS (tls, ca_file)", "sasl"]),
        "no sign-in": (Connection(**bare, **trusted), ["ends the connection", "a sign-in (sasl)"]),
        "no certificate": (by_certificate(secure, cert_file=None, key_file=None), ["cert_file, key_file"]),
        "authority": (Connection(**bare, tls=True, **password), ["certificate is refused", "ca_file"]),
        "host name": (
            Connection(brokers=(f"localhost:{port}",), **trusted, **password),
            ["certificate is refused", "'localhost'", "a name that the certificate has"],
        ),
        "TLS on a plain listener": (Connection(brokers=(secure.plain,), **trusted), ["no TLS (tls = false)"]),
        "sign-in on a plain listener": (
            Connection(brokers=(secure.plain,), **password),
            ["wants no sign-in", "leave sasl = 'PLAIN' out"],
        ),
        "nobody there": (Connection(brokers=("127.0.0.1:9",)), ["127.0.0.1:9: no connection", "correct brokers"]),
    }


def test_what_is_wrong_is_said_and_leaves_nothing_behind(secure: Secure) -> None:
    """A source tries for as long as it lives: what a trial leaves open would end the daemon at last."""
    for name, (connection, words) in wrong(secure).items():
        reader = TopicReader(connection, "none", start="latest")
        with pytest.raises(Refused):
            reader.read(None)
        before = len(os.listdir("/proc/self/fd")), threading.active_count()
        for _ in range(2):
            with pytest.raises(Refused) as refused:
                reader.read(None)
        for word in words:
            assert word in str(refused.value), (name, str(refused.value))
        assert PASSWORD not in str(refused.value).replace("password", "")
        assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before, name


async def test_a_sign_in_that_is_refused_is_waited_for(secure: Secure, tmp_path: Path) -> None:
    """No crash loop: it says what it waits for, and goes on when the broker knows the user."""
    running = engine(by_name(secure, "SCRAM-SHA-512", user="late"), topics(secure), tmp_path)
    assert "starting" in (running.waiting_for() or ""), "no broker was asked yet"
    starting = asyncio.create_task(running.start([]))
    try:
        async with asyncio.timeout(PATIENCE):
            while "refuses the sign-in" not in (running.waiting_for() or ""):
                await asyncio.sleep(0.1)
        secure.enrol("late")
        _may_do_all(secure, "late")
        await asyncio.wait_for(starting, PATIENCE)
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await running.stop(5.0)


def test_missing_rights_are_said_before_anything_runs(secure: Secure, tmp_path: Path) -> None:
    secure.enrol("weak")
    (tmp_path / "password").write_text(PASSWORD)
    settings = (
        f'[engine]\nkind = "kafka"\n[engine.kafka]\nbrokers = ["{secure.signed}"]\nca_file = "{secure.ca}"\n'
        'sasl = "SCRAM-SHA-512"\nusername = "weak"\npassword_file = "password"\nreplication = 1\npartitions = 1\n'
        'topic_prefix = "weak."\ngroup_prefix = "weak-"\n'
    )
    daemon = Daemon(tmp_path, settings, only="aggregate")
    made = daemon.cli("kafka", "init")
    assert made.returncode == 1 and "no right to create weak.documents" in made.stderr, made.stderr
    checked = daemon.cli("kafka", "check")
    assert checked.returncode == 1 and "topic weak.documents: no right to describe it" in checked.stderr, checked.stderr
    _may_do_all(secure, "weak")
    assert daemon.cli("kafka", "init").returncode == 0
    checked = daemon.cli("kafka", "check")
    for group in ("weak-score", "weak-aggregate", "weak-notify"):
        assert f"group {group}: no right to read" in checked.stderr, checked.stderr
    daemon.start(ready=False)
    assert daemon.process is not None and daemon.process.wait(timeout=PATIENCE) == 1
    assert "group weak-aggregate: no right to read" in daemon.log()


def _may_do_all(secure: Secure, user: str) -> None:
    admin = secure.admin()
    try:
        topics = ResourcePattern(ResourceType.TOPIC, "*")
        admin.create_acls([ACL(f"User:{user}", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, topics)])
    finally:
        admin.close()
