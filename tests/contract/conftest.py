"""What the tests of sources are given."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipelines.parse import Jail
from pipelines.sources.base import Tools
from tests.contract.source_bench import BenchClock, tools


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jail() -> AsyncIterator[Jail]:
    made = Jail()
    yield made
    await made.close()


@pytest.fixture
def clock() -> BenchClock:
    return BenchClock()


@pytest_asyncio.fixture(loop_scope="module")
async def given(clock: BenchClock, jail: Jail) -> AsyncIterator[Tools]:
    async with tools(clock, jail) as made:
        yield made
