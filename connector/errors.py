"""The whole error tree, typed by what happens next, and `Problem`, the one shape of a complaint.

A `Problem` is a value: it says what is wrong, where, and what to do. A function that reads what people wrote collects
all of them and raises `ConfigError(problems)` once. The six classes below are the only errors that cross a room's door;
adapters translate foreign errors into them once (`raise ... from`), and only the passes and the command line catch them.

| class | raised by | the loop does | exit of a one-shot command |
|---|---|---|---|
| ConfigError | config, mapping, arguments | prints all problems, refuses to start | 2 |
| RetryableError | adapters: 429, 5xx, lock, network | waits with back-off | 3 if nothing could be reached |
| ConflictError | adapters: stale or duplicate | reads again, decides again, bounded | 0 |
| RejectedError | adapters, mapping: this record is wrong | parks it with the hint | 1 |
| HaltError | adapters: login refused, other org, version gone | stops that direction | 3 |
| InvariantError | anyone: our bug | parks that chain, goes on | 70 |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a problem lies: in a file (1-based line and column), or on a CRM record and field, or in both."""

    file: str | None = None
    line: int | None = None
    column: int | None = None
    object: str | None = None
    record: str | None = None
    field: str | None = None


NOWHERE = Where()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One complaint in words for the person who can fix it (decision D-28).

    code - kebab-case, stable, listed in docs. message - what is wrong, with the offending value. hint - the next action
    in one sentence. excerpt - the source line with a caret below, where there is a file.
    """

    code: str
    message: str
    hint: str = ""
    where: Where = NOWHERE
    excerpt: str = ""

    def text(self) -> str:
        """Return the problem as people read it: place and code, excerpt, message, hint."""
        place = ""
        if self.where.file:
            place = ":".join(str(p) for p in (self.where.file, self.where.line, self.where.column) if p is not None) + ": "
        elif self.where.record or self.where.object:
            place = "/".join(p for p in (self.where.object, self.where.record, self.where.field) if p) + ": "
        parts = [place + self.code]
        if self.excerpt:
            parts.append(self.excerpt)
        parts.append(f"{self.message} {self.hint}".strip())
        return "\n".join(parts)


class ConnectorError(Exception):
    """The root of every error that this package raises on purpose."""


class ConfigError(ConnectorError):
    """What people wrote (config, mapping, scenario, arguments) cannot be used; holds every problem, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n\n".join(p.text() for p in self.problems))


class RetryableError(ConnectorError):
    """The outside could not do it now; the same call may succeed after *retry_after_s* seconds."""

    def __init__(self, message: str, *, hint: str = "", retry_after_s: int = 30) -> None:
        self.hint = hint
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ConflictError(ConnectorError):
    """What we knew is stale or already exists with other content; read again and decide again."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


class RejectedError(ConnectorError):
    """This one record is wrong; *problem* tells a person what to change."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.text())


class HaltError(ConnectorError):
    """Nothing more can be done in this direction until a person acts; *hint* says how."""

    def __init__(self, message: str, *, hint: str = "", code: str = "halted") -> None:
        self.hint = hint
        self.code = code
        super().__init__(message)


class InvariantError(ConnectorError):
    """Something we promised does not hold: a bug of ours."""


def invariant(holds: object, promise: str) -> None:
    """Raise InvariantError naming *promise* unless *holds*."""
    if not holds:
        raise InvariantError(promise)
