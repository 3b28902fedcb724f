"""What tests of several folders are given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from tests.kafka_cluster import Cluster, missing

ADDRESS = "TAPEWATCH_TEST_KAFKA"

LONGEST = (
    "tests/faults/test_kafka_faults.py",
    "tests/monitoring/",
    "tests/integration/test_demo.py",
    "tests/integration/test_demo_kafka.py",
    "tests/contract/test_engines_contract.py",
)
"""Minutes each, most of them waiting: begun last, they would leave one worker at work and the others without."""

TOGETHER = {
    "tests/monitoring/": "one story, watched by one Prometheus",
    "tests/integration/test_wheel.py": "one installed wheel",
    "tests/integration/test_hardened.py": "one installed wheel",
}
"""Files that one worker gets, and what of theirs is then made once."""

# Some tests import ONNX Runtime before the daemon's own module has forbidden it to tell its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(autouse=True)
def log_of_its_own() -> Iterator[None]:
    """A test that sets up the log, in this process, as a command does, leaves none to the next."""
    yield
    structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, all else as it was."""
    ranks = {start: rank for rank, start in enumerate(LONGEST)}
    items.sort(key=lambda item: next((ranks[start] for start in LONGEST if item.nodeid.startswith(start)), len(ranks)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deals whole files to the workers, and some files together."""
    from xdist.scheduler import LoadFileScheduling  # not in the training environment

    class Dealing(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((group for start, group in TOGETHER.items() if nodeid.startswith(start)), nodeid.split("::")[0])

    return Dealing(config, log)


def need_kafka() -> None:
    """Skips where no real Kafka can be had; CI must have one."""
    lacking = missing()
    if lacking is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(lacking)
    pytest.skip(f"{lacking}, or the address of one in {ADDRESS}")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real broker: the one that the environment names, else one of this run's own."""
    address = os.environ.get(ADDRESS)
    if address is not None:
        yield address
        return
    need_kafka()
    with Cluster(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster.address


@pytest.fixture
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker that this test may kill, freeze and start again."""
    need_kafka()
    with Cluster(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest.fixture
def counted(capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Prints what a fault test injected and what it saw of it: ``counted("bombs", injected=3, refused=3)``. A count of
    nothing fails: that fault did not happen, or was not seen."""

    def tell(what: str, **counts: float) -> None:
        with capsys.disabled():
            print(f"\n{what}: " + ", ".join(f"{name.replace('_', ' ')} {count:g}" for name, count in counts.items()))
        assert all(counts.values()), f"{what}: a fault did not happen, or was not seen: {counts}"

    return tell
