"""What every pass works with: the CRM, the billing backend, the database, the compiled sources and a few settings.

Owns nothing; `app.py` builds one `Seam` and the passes take it as their first argument.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from connector.charging import Charge, ChargeResult, Payments
from connector.errors import Problem
from connector.mapping.compile import Compiled
from connector.offers import Quotes
from connector.ports import Billing, Compared, Crm, IntentResult, Org, Pushed, Unit


class Transactions(Protocol):
    """The database: one writer, any number of readers (kit.db)."""

    def transaction(self) -> AbstractContextManager[Unit]:
        """Return a unit that commits at the end, or rolls back on an error."""

    def read(self) -> AbstractContextManager[Unit]:
        """Return a unit that only reads."""


class Dunned(Protocol):
    """What following up unpaid invoices did."""

    @property
    def invoices(self) -> int:
        """How many invoices went to their next step."""

    @property
    def told(self) -> int:
        """Of how many somebody hears."""

    @property
    def deals(self) -> tuple[str, ...]:
        """The deals whose records now say something else."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What kept a step from being taken."""


class Collecting(Protocol):
    """A billing backend that charges and reminds by itself; every call is one short piece of the caller's transaction."""

    payments: Mapping[str, Payments]

    def begin_charges(self, unit: Unit, now: datetime, *, limit: int) -> int:
        """Write a pending try for invoices that are to be charged; return how many were looked at."""

    def pending_charges(self, unit: Unit, *, limit: int, after: str) -> list[Charge]:
        """Return tries whose outcome is not known, in order of their keys from *after* on."""

    def settle_charge(self, unit: Unit, charge: Charge, result: ChargeResult, now: datetime) -> Sequence[str]:
        """Write the outcome of a try once; return the deals to tell."""

    def dun(self, unit: Unit, now: datetime, *, limit: int, hold: bool) -> Dunned:
        """Take the next step for open invoices; fewer than *limit* means that there are no more."""


class Remote(Protocol):
    """A billing backend outside: what was decided is sent there between transactions, what happened there is read back.

    Every pass asks the clock itself, is bounded, ends early at *stop*, and calls *tell* in its own transactions with the deals whose
    records now say something else. Raises: HaltError where the backend wants another key, mode or account.
    """

    def push(
        self, database: Transactions, now: Callable[[], datetime], *, tell: Callable[[Unit, Sequence[str]], None],
        stop: threading.Event, log: Callable[..., None], progress: Callable[[int], None],
    ) -> Pushed:  # fmt: skip
        """Send what was decided, what an interrupted pass began first."""

    def pull(
        self, database: Transactions, now: Callable[[], datetime], *, tell: Callable[[Unit, Sequence[str]], None],
        stop: threading.Event, log: Callable[..., None],
    ) -> int:  # fmt: skip
        """Read back what happened; return how many events of ours were taken."""

    def compare(
        self, database: Transactions, now: Callable[[], datetime], *, tell: Callable[[Unit, Sequence[str]], None],
        stop: threading.Event, log: Callable[..., None],
    ) -> Compared:  # fmt: skip
        """Compare what is there with the books, and read what no event has told."""

    def answer(  # noqa: PLR0913 - what was asked, and by which names its outcome is found
        self, kind: str, data: Mapping[str, Any], unit: Unit, now: datetime, *, key: str, actor: str, sent: Mapping[str, Any]
    ) -> IntentResult | None:
        """Return what a person's request led to that was sent, None while nobody knows; see `intents.settle_sent`."""

    def again(self, unit: Unit, contract_ids: Sequence[str], now: datetime) -> None:
        """Have contracts sent anew whose last decision was refused there."""

    def take_over(self, unit: Unit) -> None:
        """Take what a process left that held the ledger before."""


STAMP = "SystemModstamp"
"""The field that says when a record last changed, for whatever reason; under this name it is known here whichever one an org shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How much one query of an object may ask for, learned where more took the CRM too long; *rows* 0: as many as a page takes."""

    seconds: int
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One CRM object that is polled, with its newest mapping.

    related - by object, the relationship path from the record to it ("Account", "Opportunity.Account"); its changes move the
    deal; line_related - the same from its lines. total - the record's roll-up of its lines, line_total - what it adds up; None where describe
    does not show it. first_load - the condition that only the first load adds (decision D-06). stamps - by object, the field that the poll
    goes by where it is not SystemModstamp. always - what is read of every record beside what the mapping reads. calculated, line_calculated - what the mapping reads that no stamp tells of (P11).
    lengths - by object and field that is written, the characters that it holds.
    reads - stands for the fields that the mapping reads. older_fields, older_line_fields - what only the older revisions read on which billed records still stand.
    """

    name: str
    object: str
    line_object: str | None
    line_parent: str | None
    compiled: Compiled
    related: Mapping[str, str]
    first_load: str
    start_from: date | None
    hash: str
    file: str
    text: str
    total: str | None = None
    line_total: str | None = None
    line_related: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, str] = field(default_factory=dict)
    always: tuple[str, ...] = ("IsDeleted",)
    calculated: tuple[str, ...] = ()
    line_calculated: tuple[str, ...] = ()
    older_fields: tuple[str, ...] = ()
    older_line_fields: tuple[str, ...] = ()
    lengths: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reads: str = ""

    def stamp_of(self, object_name: str) -> str:
        """Return the field by which an object is polled."""
        return self.stamps.get(object_name, STAMP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """overlap_s - how far a poll looks back for rows that became visible late (pitfall P5). page_rows - rows a query asks for.

    api_share - the share of the org's calls in 24 hours that polling may bring it to. quotes_on_accept - (object, field, value) to write
    when a customer accepts by page or command. chunk_deals - deals in one transaction. max_attempts - tries of one deal before it is parked as our own error.
    """

    timezone: str
    language: str = "en"
    public_url: str = "http://127.0.0.1:8080"
    record_url: str = ""
    overlap_s: int = 600
    page_rows: int = 2000
    chunk_deals: int = 200
    write_records: int = 1000
    max_attempts: int = 5
    max_pages_a_round: int = 50
    max_crm_age_s: int = 86_400
    api_share: Decimal = Decimal("0.5")
    quotes_start_on_won: bool = False
    quotes_on_accept: tuple[tuple[str, str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """The two worlds and what lies between; *collecting* charges and reminds, *remote* is billing that is done elsewhere, None: here.

    windows - by object, what the CRM answers in time.

    older - compiles the mapping revision of a hash (decision D-07). paused - by the name of a source, why the CRM does not let it be
    read (P21); it ends by itself. entry_fields - what a poll reads of invoice rows for payments typed there; empty where the org has
    no fields for that.
    """

    crm: Crm
    billing: Billing
    quotes: Quotes
    database: Transactions
    sources: tuple[Source, ...]
    org: Org
    settings: Settings
    now: Callable[[], datetime]
    older: Callable[[str], Compiled | None]
    log: Callable[..., None]
    progress: Callable[[str, int], None] = field(default=lambda _what, _n: None)
    stop: threading.Event = field(default_factory=threading.Event)
    windows: dict[str, Window] = field(default_factory=dict)
    paused: dict[str, Problem] = field(default_factory=dict)
    collecting: Collecting | None = None
    remote: Remote | None = None
    entry_fields: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Collected:
    """What a pass did: charges that went through and that failed, those whose outcome is open, steps taken for unpaid invoices."""

    paid: int = 0
    failed: int = 0
    unknown: int = 0
    steps: int = 0
    problems: tuple[Problem, ...] = ()

    def add(self, other: Collected) -> None:
        """Count what another pass did."""
        self.paid, self.failed = self.paid + other.paid, self.failed + other.failed
        self.unknown, self.steps = self.unknown + other.unknown, self.steps + other.steps
        self.problems += other.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep compared, and the drift it found: what no poll would have seen.

    unseen - records the ledger did not know. changed - a change that was missed. calculated - formulas with another result.
    gone - deleted for good in the CRM.
    """

    checked: int = 0
    unseen: int = 0
    changed: int = 0
    calculated: int = 0
    gone: int = 0

    @property
    def drift(self) -> int:
        """How many records differed."""
        return self.unseen + self.changed + self.calculated + self.gone

    def plus(self, other: Swept) -> Swept:
        """Return both together."""
        return self._with(other, 1)

    def less(self, other: Swept) -> Swept:
        """Return what is not in *other*."""
        return self._with(other, -1)

    def _with(self, other: Swept, sign: int) -> Swept:
        return Swept(**{f.name: getattr(self, f.name) + sign * getattr(other, f.name) for f in fields(self)})

    def text(self) -> str:
        """Return it in words."""
        kinds = {"not seen before": self.unseen, "a change missed": self.changed, "a formula with another result": self.calculated, "deleted for good": self.gone}
        drift = ", ".join(f"{n:,} {what}" for what, n in kinds.items() if n)
        return f"{self.checked:,} records compared, {drift or 'no drift'}"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a run did, counted; the shape of `connector sync --json`.

    slowed - why what the CRM is to be told waits. sent, refused, unsent - decisions that went to a billing backend outside, that it
    refused, and that wait; away - why they do. compared - what a comparison with it found.
    """

    staged: int = 0
    mapped: int = 0
    applied: int = 0
    written: int = 0
    waiting: int = 0
    parked: int = 0
    internal_errors: int = 0
    is_unreachable: bool = False
    slowed: Problem | None = None
    sent: int = 0
    refused: int = 0
    unsent: int = 0
    away: Problem | None = None
    problems: list[Problem] = field(default_factory=list)
    charged: Collected = field(default_factory=Collected)
    swept: Swept | None = None
    compared: Compared | None = None
