"""Whether groups may be joined, as brokers answer it that have had none yet."""

from __future__ import annotations

from typing import Any

import pytest
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    NotCoordinatorError,
)

from monitor.stages import STAGES
from pipelines.streams.kafka.topics import Layout, group_rights


class Answers:
    """An admin client of brokers that answer with these errors, one a question, and with none from then on."""

    def __init__(self, *errors: type[Exception]) -> None:
        self._errors = list(errors)

    def remove_group_members(self, group: str, members: Any) -> None:
        if self._errors:
            raise self._errors.pop(0)


@pytest.mark.parametrize(
    "first",
    [CoordinatorNotAvailableError, NotCoordinatorError, CoordinatorLoadInProgressError],
    ids=lambda e: e.__name__,
)
def test_brokers_that_do_not_know_their_groups_yet_are_asked_again(first: type[Exception]) -> None:
    admin: Any = Answers(first)
    assert group_rights(admin, Layout(partitions=2), STAGES) == []


def test_a_right_that_is_missing_behind_it_is_said() -> None:
    admin: Any = Answers(NotCoordinatorError, GroupAuthorizationFailedError)
    (missing,) = group_rights(admin, Layout(partitions=2), STAGES)
    assert missing.startswith("group tapewatch.score: no right to read")
