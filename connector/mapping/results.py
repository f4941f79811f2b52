"""What the mapping says of one record: what it asks for, or why it cannot be read, and where each value came from."""

from __future__ import annotations

from typing import Any

from connector.core.values import dataclass
from connector.errors import Problem
from connector.ports import Desired


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
