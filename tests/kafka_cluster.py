"""A real Apache Kafka of one or three nodes from Maven artefacts: for tests, ``make kafka`` and ``make run-kafka``.

Needs Java 17 and Maven; the jars (55 MB) are kept in the checkout's ``.cache``. Every node is broker and controller
(KRaft combined mode) and a process of its own that can be killed, frozen and started again on the same data.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

VERSION = os.environ.get("KAFKA_VERSION", "4.3.1")
CACHE = Path(__file__).parents[1] / ".cache" / "kafka"

LOG4J = "2.24.3"
"""Kafka's POM leaves the log back-end to the distribution: log4j2, with its bridge for slf4j 1.7."""

PATIENCE = 90.0
"""Seconds for a cluster to come up on a busy machine; idle it takes 3 to 6."""

QUIET = """status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


def leash(name: str) -> tuple[str, ...]:
    """What stands before a command to send it signal ``name`` when this process is gone, where the system has a tool
    for it: whoever is killed leaves nothing behind."""
    return ("setpriv", "--pdeathsig", name) if shutil.which("setpriv") else ()


class KafkaError(Exception):
    """The broker can't be set up or doesn't come up."""


def missing() -> str | None:
    """What this machine lacks to run a broker, None where it can."""
    lacking = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if "mvn" in lacking and _jars(VERSION).joinpath(".complete").exists():
        lacking.remove("mvn")
    return f"{' and '.join(lacking)} not found: a real Kafka needs Java 17 and Maven" if lacking else None


def _jars(version: str) -> Path:
    return CACHE / version


def resolve(version: str = VERSION) -> Path:
    """The folder of the broker's jars, downloaded where they are not there; safe for several callers at once."""
    folder = _jars(version)
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _download(version, folder)
            (folder / ".complete").touch()
    return folder


def _download(version: str, folder: Path) -> None:
    wanted = (
        ("org.apache.kafka", "kafka_2.13", version),
        ("org.apache.kafka", "kafka-tools", version),
        ("org.apache.logging.log4j", "log4j-core", LOG4J),
        ("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J),
    )
    entries = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{number}</version></dependency>"
        for group, name, number in wanted
    )
    with tempfile.TemporaryDirectory() as scratch:
        pom = Path(scratch) / "pom.xml"
        pom.write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            "<groupId>tapewatch</groupId><artifactId>broker</artifactId><version>1</version>"
            f"<dependencies>{entries}</dependencies></project>"
        )
        goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        command = ["mvn", "-q", "-B", "-f", str(pom), goal, "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise KafkaError(f"Maven could not fetch Kafka {version}: {(done.stdout + done.stderr)[-800:]}")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nothing listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def brokers_known_to(port: int) -> int:
    """How many live brokers the node at ``port`` reports: one Metadata request, 0 where nothing answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            request = struct.pack(
                ">hhihi", 3, 0, 1, -1, 0
            )  # Metadata, version 0, correlation 1, no client id, no topics
            link.sendall(struct.pack(">i", len(request)) + request)
            answer = b""
            while len(answer) < 12:
                part = link.recv(64)
                if not part:
                    return 0
                answer += part
            return int(struct.unpack(">i", answer[8:12])[0])
    except OSError:
        return 0


class Node:
    """One broker process."""

    def __init__(self, number: int, port: int, folder: Path, jars: Path, heap: str) -> None:
        self.number, self.port, self.folder = number, port, folder
        self._jars, self._heap = jars, heap
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def prepare(self, properties: Mapping[str, object], cluster: str) -> None:
        """Writes the settings and formats the data folder once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "log4j2.properties").write_text(QUIET)
        settings = self.folder / "server.properties"
        settings.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        if not (self.folder / "data" / "meta.properties").exists():
            # With "=": one id in 64 begins with a dash, and would be read as an option.
            tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config", str(settings)]
            done = subprocess.run(self._java("64m", *tool), capture_output=True, text=True)
            if done.returncode:
                raise KafkaError(f"node {self.number} could not be formatted: {(done.stdout + done.stderr)[-800:]}")

    def _java(self, heap: str, *arguments: str) -> list[str]:
        # The first compiler alone: a broker of tests lives too short for the second to pay.
        flags = [f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        log = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        return ["java", *flags, log, "-cp", f"{self._jars}/*", *arguments]

    def start(self) -> None:
        with (self.folder / "out.log").open("ab") as out:
            self.process = subprocess.Popen(
                [*leash("KILL"), *self._java(self._heap, "kafka.Kafka", str(self.folder / "server.properties"))],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal: SIGKILL, SIGSTOP and SIGCONT are what tests want."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            if number is signal.SIGKILL:
                self.process.wait()

    def tail(self) -> str:
        return (self.folder / "out.log").read_text(errors="replace")[-1500:]


class Cluster:
    """Brokers of one KRaft cluster under ``folder``; use it in a ``with`` block, or ``start`` and ``stop``."""

    def __init__(
        self,
        folder: Path,
        nodes: int = 1,
        *,
        ports: Sequence[int] = (),
        heap: str = "384m",
        extra: Mapping[str, object] | None = None,
        version: str = VERSION,
    ) -> None:
        jars = resolve(version)
        self.folder = folder
        self._extra = dict(extra or {})
        folder.mkdir(parents=True, exist_ok=True)
        remembered = folder / "ports"
        if remembered.exists():
            chosen = [int(port) for port in remembered.read_text().split()]
        else:
            chosen = [*ports, *free_ports(2 * nodes - len(ports))]
            remembered.write_text(" ".join(map(str, chosen)))
        self._controllers = chosen[nodes:]
        self.nodes = [Node(i + 1, chosen[i], folder / f"node{i + 1}", jars, heap) for i in range(nodes)]

    @property
    def address(self) -> str:
        """What clients are given."""
        return ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        """Starts the nodes that don't run and returns when all of them know each other."""
        name = self.folder / "cluster.id"
        if not name.exists():
            name.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22])
        for node in self.nodes:
            if not node.alive():
                node.prepare(self._properties(node), name.read_text())
                node.start()
        self.wait()

    def _properties(self, node: Node) -> dict[str, object]:
        count = len(self.nodes)
        safe = 2 if count > 1 else 1
        controller = self._controllers[node.number - 1]
        voters = ",".join(f"{i + 1}@127.0.0.1:{port}" for i, port in enumerate(self._controllers))
        return {
            "process.roles": "broker,controller",
            "node.id": node.number,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{node.address},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{node.address}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": node.folder / "data",
            "auto.create.topics.enable": "false",
            "default.replication.factor": count,
            "min.insync.replicas": safe,
            "offsets.topic.replication.factor": count,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": count,
            "transaction.state.log.min.isr": safe,
            "transaction.state.log.num.partitions": 8,
            "share.coordinator.state.topic.replication.factor": count,
            "share.coordinator.state.topic.min.isr": safe,
            "group.initial.rebalance.delay.ms": 0,
            # A restarted node waits until its old registration expires: 9 s by default, most of a warm start.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            **self._extra,
        }

    def wait(self, patience: float = PATIENCE) -> None:
        """Returns when every running node knows all running nodes."""
        deadline = time.monotonic() + patience
        running = [node for node in self.nodes if node.alive()]
        while not all(brokers_known_to(node.port) >= len(running) for node in running):
            for node in running:
                if not node.alive():
                    raise KafkaError(f"node {node.number} ended: {node.tail()}")
            if time.monotonic() > deadline:
                raise KafkaError(f"no cluster in {patience:.0f} s: {running[0].tail()}")
            time.sleep(0.05)

    def stop(self, patience: float = 8.0) -> None:
        """SIGTERM, and SIGKILL after ``patience`` seconds: the last of three has lost its quorum and would hang."""
        for node in self.nodes:
            node.signal(signal.SIGCONT)
            node.signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        for node in self.nodes:
            if node.process is not None:
                try:
                    node.process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    node.signal(signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL to all."""
        for node in self.nodes:
            node.signal(signal.SIGKILL)

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _run(command: Sequence[str]) -> int:
    """Runs a command to its end; its exit code."""
    parent, ended = os.getppid(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: None)  # the command has it too, and ends by itself
    with subprocess.Popen([*leash("TERM"), *command]) as running:
        while running.poll() is None:
            if ended.wait(0.2) or os.getppid() != parent:
                running.terminate()
                return running.wait()
        return running.returncode


def main() -> None:
    """Runs a cluster in the foreground and prints its address; Ctrl-C or SIGTERM stops it, its data stay.

    With a command after "--" it runs that instead, "{}" in it being the address of a cluster that goes with it. The
    command is ended, with all that it started, when this is, and when who started this is gone.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("command", nargs="*")
    parser.add_argument("--nodes", type=int, choices=(1, 3), default=1)
    parser.add_argument("--port", type=int, default=9092, help="of the first node; the others follow")
    parser.add_argument("--folder", type=Path, default=Path(".kafka"))
    options = parser.parse_args()
    lacking = missing()
    if lacking:
        sys.exit(lacking)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if options.command:
        with tempfile.TemporaryDirectory(prefix="kafka-") as scratch, Cluster(Path(scratch), options.nodes) as cluster:
            sys.exit(_run([part.replace("{}", cluster.address) for part in options.command]))
    folder = options.folder.resolve() / f"nodes-{options.nodes}"
    cluster = Cluster(folder, options.nodes, ports=[options.port + i for i in range(options.nodes)], heap="512m")
    try:
        cluster.start()
        print(cluster.address, flush=True)
        signal.pause()
    except KafkaError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
