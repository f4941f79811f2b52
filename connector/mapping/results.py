"""What the mapping says of one record: what it asks for, or why it cannot be read, and where each value came from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.core.values import dataclass
from connector.errors import Problem
from connector.ports import Desired

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedValue:
    """One field of a record as the mapping read it, for previews: where it came from and what it became."""

    target: str
    source: str
    value: Any
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapResult:
    """What the mapping made of one record: a desired state, or every problem it has."""

    desired: Desired | None
    problems: tuple[Problem, ...] = ()
    values: tuple[MappedValue, ...] = ()


class Made:
    """When a change was made, by which deal, and the records whose contracts its lines say they change."""

    __slots__ = ("at", "bases", "closed_on", "name")

    def __init__(self, name: str, closed_on: datetime, created_at: datetime, bases: Sequence[str]) -> None:
        self.name = name
        self.bases = bases
        self.closed_on = closed_on
        # CloseDate, then CreatedDate, in one instant: the hours since 2000, as microseconds of the second before the day, so
        # that a change of that very day is not known later than it takes effect
        hours = (created_at - _EPOCH) // _HOUR
        self.at = closed_on - _SECOND + timedelta(microseconds=hours)
