"""What people ask of the books, by kind: which function carries out which request (decision D-35).

A handler changes the books in the caller's unit and returns plain values for whoever asked; it raises RejectedError with plain
words where it cannot, and the caller rolls back. Handlers live beside what they change and are listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from connector.billing.issue import Issue, Moment, Series
from connector.billing.ladder import Ladder
from connector.billing.outbox import Mailing
from connector.charging import Payments
from connector.core.lines import Line
from connector.errors import Problem, RejectedError
from connector.ports import Command, IntentResult, Outcome, Preview, TaxSource, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What commands come to before it is written: one outcome a command, what was billed, and the function that writes it all.

    imported - the lines that stand for what another system billed, by contract id.
    """

    outcomes: tuple[Outcome, ...]
    issue: Issue
    imported: Mapping[str, Sequence[Line]]
    write: Callable[[Unit], None]


class Engine(Protocol):
    """What a handler may use of the engine that calls it; quote_expiry_s - how long an opened quote can be accepted, 0 = for good."""

    org: str
    timezone: str
    series: Series
    tax: TaxSource
    quote_expiry_s: int
    mailing: Mailing
    ladder: Ladder
    payments: Mapping[str, Payments]

    def apply(self, commands: Sequence[Command], unit: Unit, now: datetime, *, hold: bool) -> list[Outcome]:
        """Carry out commands and bill what became due."""

    def worked_out(self, commands: Sequence[Command], unit: Unit, now: datetime, *, hold: bool) -> Work:
        """Return what `apply` would do, with nothing written yet."""

    def preview(self, command: Command, unit: Unit, now: datetime) -> Preview:
        """Return what a command would cause."""

    def moment(self, at: datetime, *, hold: bool) -> Moment:
        """Return how something is billed at an instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: *data* as JSON carries it, *key* unique for good, *actor* who asked, *now* aware UTC."""

    kind: str
    data: Mapping[str, Any]
    key: str
    actor: str
    now: datetime


Handler = Callable[[Request, Engine, Unit], IntentResult]

HANDLERS: dict[str, Handler] = {}


def carried_out(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Carry out one request. Raises: RejectedError, also for a kind that nobody knows."""
    handler = HANDLERS.get(request.kind)
    if handler is None:
        raise RejectedError(Problem(code="unknown-request", message=f"The books know no request {request.kind}.", hint="Update the connector."))
    return handler(request, engine, unit)
