"""What the aggregate stage keeps: the rows of its tables, and what it derives from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappush

import msgspec

from alerts.baseline import Profile
from alerts.flash import Flash
from alerts.key_state import KeyState
from pipelines.coverage import Sights
from pipelines.memories import Memories
from pipelines.watch import Watch
from pipelines.week import Weeks


class Held(msgspec.Struct, array_like=True):
    """A key's detector state, the offset up to which it has been folded, and what the key lives on."""

    state: KeyState
    applied: int = -1
    sights: Sights = msgspec.field(default_factory=Sights)


class Told(msgspec.Struct, array_like=True):
    """A key's last candidate, to be said again after a restart."""

    open: bool
    at: float
    candidate: bytes


class Watched(msgspec.Struct, array_like=True):
    """Since when each key is watched; 0 since the stream began."""

    since: dict[str, float]


class Profiles(msgspec.Struct, array_like=True):
    """Profile versions that items may still need, oldest first."""

    versions: list[Profile]


class Flashes(msgspec.Struct, array_like=True):
    """What each flash rule knows of a key, by its name."""

    rules: dict[str, Flash]


@dataclass
class Standing:
    """Where the rules stand: keys with an open alert, and when which key's silence is looked at next."""

    flashing: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    due: list[tuple[float, str]] = field(default_factory=list)
    """A heap. What ``next`` does not name is void."""
    next: dict[str, float] = field(default_factory=dict)

    def wake(self, key: str, at: float) -> None:
        """Looks at a key's silence at ``at``, unless it does so before."""
        known = self.next.get(key)
        if known is None or at < known:
            self.next[key] = at
            heappush(self.due, (at, key))


@dataclass
class Derived:
    """What is kept in memory of one partition's state, and void with its ``generation``."""

    generation: int
    weeks: Weeks = field(default_factory=Weeks)
    open: set[str] = field(default_factory=set)
    """Keys whose episode is open."""
    touched: dict[str, bool] = field(default_factory=dict)
    """Keys that moved since their open blocks were told, and whether by history."""
    memories: Memories = field(default_factory=Memories)
    shed: float = 0.0
    """When it was last looked for what need not be kept any more."""
    watch: Watch | None = None
    """The watch-lists whose keys are noted in the state."""
    standing: Standing = field(default_factory=Standing)
