"""The pass that reads back: polls, works the queue of events off, and puts what it finds into the books (decision D-196).

Everything is asked of Stripe outside of transactions, each object once for all events about it, and written in a transaction of its own: what
meets an error of ours is told and left for the nightly sweep, the others go on. Whatever interrupts it, the events stay in the queue, and
reading them again changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from connector.billing import store
from connector.billing.batches import in_batches
from connector.billing.locking import hold_contracts
from connector.billing.stripe_backend import fetching, pushes
from connector.billing.stripe_backend.keeping import Transactions
from connector.billing.stripe_backend.reading import (
    balances,
    differing,
    drifting,
    events,
    links,
    notices,
    returning,
    waived,
)
from connector.billing.stripe_backend.reading.events import Row
from connector.billing.stripe_backend.reading.mirror import Engine, hold, mirrored
from connector.billing.stripe_backend.reading.paying import invoices_charged
from connector.billing.stripe_backend.reading.picked import Data, id_of, metadata_of, subscription_of
from connector.billing.stripe_backend.refusals import Refusal
from connector.billing.stripe_backend.steps import Calls
from connector.errors import HaltError, RetryableError
from connector.ports import Unit

MOST_CHUNKS = 200
"""Chunks of the queue that one pass works off; more come with the next."""


@dataclass(slots=True, kw_only=True)
class Work:
    """What events ask for: which objects are to be read, each once. invoices - with whether their refunds are asked for, too."""

    invoices: dict[str, bool] = field(default_factory=dict)
    charges: dict[str, None] = field(default_factory=dict)
    disputes: dict[str, None] = field(default_factory=dict)
    subscriptions: dict[str, None] = field(default_factory=dict)
    schedules: dict[str, None] = field(default_factory=dict)
    customers: dict[str, None] = field(default_factory=dict)
    deleted: dict[str, None] = field(default_factory=dict)
    unfinal: dict[str, None] = field(default_factory=dict)
    items: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Reading:
    """One pass. tell - notes in the same transaction which deals' records now say something else; *told*: of how many objects that was so."""

    database: Transactions
    calls: Calls
    engine: Engine
    now: Callable[[], datetime]
    tell: Callable[[Unit, Sequence[str]], None]
    stop: threading.Event
    log: Callable[..., None]
    failed: int = 0
    told: int = 0

    def run(self) -> int:
        """Poll and work off what waits; return how many events of ours were taken. Raises: RetryableError, HaltError."""
        events.poll(self.database, self.calls, self.now(), self.stop)
        taken = self.work_off()
        if not self.stop.is_set():
            links.refreshed(self.database, self.calls, self.now(), self.tell)
        with self.database.transaction() as unit:
            events.forget(unit, self.now())
            pushes.forget(unit, self.now())
        return taken

    def work_off(self) -> int:
        """Work off the events that wait; return how many may be of ours: what others of the account do is no reason to look again at once."""
        taken = 0
        for _ in range(MOST_CHUNKS):
            if self.stop.is_set():
                break
            with self.database.read() as unit:
                rows = events.waiting(unit)
                ours = _ours(unit, rows, self.engine.org)
            if not rows:
                break
            failed = self._read(ours)
            with self.database.transaction() as unit:
                events.done(unit, rows, failed)
            taken += len(ours)
        if taken:
            self.log("pull.finished", events=taken)
        return taken

    # ------------------------------------------------------------ one chunk

    def _read(self, rows: Sequence[Row]) -> list[str]:
        """Read every object that events are about; return the events that met an error of ours."""
        work, before = _asked(rows), self.failed
        with self.database.read() as unit:
            first = int(unit.query("SELECT COALESCE(MAX(seq), 0) FROM event")[0][0])
        for invoice_id, with_refunds in work.invoices.items():
            self.each(invoice_id, partial(self.invoice, with_refunds=with_refunds, work=work))
        for charge in work.charges:
            self.each(charge, partial(self.charge, work=work))
        for dispute in work.disputes:
            self.each(dispute, self.dispute)
        for schedule in work.schedules:
            self.each(schedule, partial(self.schedule, work=work))
        for subscription in work.subscriptions:
            self.each(subscription, self.subscription)
        for customer in work.customers:
            self.each(customer, self.balance)
        for customer in work.deleted:
            self.each(customer, self.deleted)
        for invoice_id in work.unfinal:
            self.each(invoice_id, self.unfinal)
        for item in work.items:
            self.each(item, self.item)
        self._tell_differences(first)
        return [row.id for row in rows] if self.failed > before else []

    def each(self, name: str, read: Callable[[str], None]) -> None:
        """Read one object; an error of ours, or a no to the question, is told, and the others go on."""
        try:
            read(name)
        except (RetryableError, HaltError):
            raise
        except Exception as error:  # noqa: BLE001 - one object that cannot be read must not keep all others from it (D-17)
            self.failed += 1
            hint = getattr(error, "hint", "") or "It is read again by the nightly comparison; report it if it stays."
            self.log("pull.failed", error=f"{name}: {error!r}", hint=hint)

    def write(self, written: Callable[[Unit], Iterable[str]]) -> None:
        """Write what was read of one object, in a transaction of its own."""
        with self.database.transaction() as unit:
            deals = list(written(unit))
            self.tell(unit, deals)
        self.told += bool(deals)

    def _asked_for(self, call: str, target: str, params: Data | None = None) -> dict[str, Any] | None:
        """Return an object as it is now, None where it is not there any more."""
        try:
            return self.calls.do(call, params or {}, target=target)
        except Refusal as refusal:
            if refusal.code != "resource_missing":
                raise
            return None

    def invoice(self, invoice_id: str, *, with_refunds: bool = False, work: Work | None = None) -> None:
        """Read one invoice and mirror it."""
        for invoice in fetching.whole_invoices(self.calls, [invoice_id], {invoice_id} if with_refunds else ()):
            self.write(partial(self._mirrored, invoice))
            if work is not None and balances.moves(invoice):
                work.customers[id_of(invoice.get("customer"))] = None

    def _mirrored(self, invoice: Data, unit: Unit) -> list[str]:
        told = mirrored(unit, self.engine, invoice, self.now())
        if invoice.get("status") != "draft":
            told += _finalized_after_all(unit, invoice, self.now())
        return told

    def charge(self, charge: str, work: Work) -> None:
        """Read the invoice that a charge paid, with its refunds."""
        with self.database.read() as unit:
            paid = invoices_charged(unit, [charge]).get(charge, ())
            rows = [row for one in paid for row in unit.query("SELECT stripe_id FROM stripe_invoice WHERE invoice_id = ?", (one,))]
        for (invoice_id,) in rows:
            self.invoice(invoice_id, with_refunds=True, work=work)

    def dispute(self, dispute_id: str) -> None:
        """Read a dispute and tell of it."""
        dispute = self._asked_for("disputes.retrieve", dispute_id)
        if dispute is not None:
            self.write(lambda unit: returning.disputed(unit, self.engine, dispute, self.now()))

    def schedule(self, schedule_id: str, work: Work) -> None:
        """Have the subscription of a schedule compared; one that never began is gone with its schedule."""
        schedule = self._asked_for("subscription_schedules.retrieve", schedule_id)
        found = id_of((schedule or {}).get("subscription") or (schedule or {}).get("released_subscription"))
        if found:
            work.subscriptions[found] = None
        else:
            self.write(lambda unit: _unbegun(unit, schedule_id, self.now()))

    def subscription(self, subscription_id: str) -> None:
        """Compare a subscription with what we hold of it."""
        with self.database.read() as unit:
            if not unit.query("SELECT 1 FROM stripe_subscription WHERE subscription = ?", (subscription_id,)):
                return
        found = self._asked_for("subscriptions.retrieve", subscription_id) or drifting.gone(subscription_id)
        self.compare(fetching.whole_subscription(self.calls, found))

    def compare(self, subscription: Data) -> None:
        """Note what differs of a subscription, as it was just read."""
        self.write(partial(_compared, subscription, self.engine.timezone, self.now()))

    def balance(self, customer: str) -> None:
        """Read what moved a customer's balance."""
        with self.database.read() as unit:
            if balances.customer_id_of(unit, customer) is None:
                return
        try:
            moved = balances.read(self.database, self.calls, customer)
        except Refusal as refusal:
            if refusal.code != "resource_missing":
                raise
            return

        def written(unit: Unit) -> list[str]:
            balances.book(unit, customer, moved, self.now())
            return []

        self.write(written)

    def unfinal(self, invoice_id: str) -> None:
        """Read an invoice that could not be finalized, unless it is by now, and tell why."""
        invoice = self._asked_for("invoices.retrieve", invoice_id)
        if invoice is not None and invoice.get("status") == "draft":
            self.write(partial(_not_finalized, invoice, self.now()))

    def item(self, item_id: str) -> None:
        """Give a line of ours up whose invoice item is gone; one that was billed is read with its invoice."""
        with self.database.read() as unit:
            if not waived.is_waiting(unit, item_id):
                return
        item = self._asked_for("invoice_items.retrieve", item_id)
        if item is None or item.get("deleted"):
            self.write(lambda unit: waived.give_up(unit, item_id, self.now()))
        elif id_of(item.get("invoice")):
            self.invoice(id_of(item.get("invoice")))

    def deleted(self, customer: str) -> None:
        """Tell that a customer of ours was deleted at Stripe."""

        def written(unit: Unit) -> list[str]:
            sql = "SELECT t.id FROM stripe_held h JOIN contract t ON t.id = h.contract_id WHERE h.customer = ?"
            hold(unit, customer)
            ids = [row[0] for row in unit.query(f"{sql} AND t.status NOT IN ('canceled', 'completed', 'withdrawn')", (customer,))]
            for contract_id in ids:
                notices.put(unit, contract_id, "customer_deleted", customer, notices.problem_of("customer_deleted", customer), self.now())
            return store.deals_of_contracts(unit, ids)

        self.write(written)

    def _tell_differences(self, first: int) -> None:
        """Tell those who run billing what was billed otherwise than expected."""
        with self.database.read() as unit:
            rows = unit.query("SELECT data FROM event WHERE seq > ? AND name = ? ORDER BY seq", (first, differing.NAME))
        for (data,) in rows:
            self.log("pull.differs", **differing.told(data))


# ---------------------------------------------------------------- what events ask for


def _ours(unit: Unit, rows: Sequence[Row], org: str) -> list[Row]:
    """Return the events that may be about something of ours: of a customer of ours, or of an invoice of the books; the rest is looked up
    when it is read."""
    whose = {row.id: _whose(row) for row in rows}
    ours: set[str] = set()
    for sql in _OWNERS:
        for batch, marks in in_batches(sorted(set(whose.values()) - {""})):
            ours |= {r[0] for r in unit.query(f"{sql} AND stripe_id IN ({marks})", batch)}
    return [row for row in rows if whose[row.id] in ours | {""} or metadata_of(row.about).get("connector_org") == org]


_OWNERS = ("SELECT stripe_id FROM stripe_known WHERE kind = 'customer'", "SELECT stripe_id FROM stripe_invoice WHERE 1 = 1")


def _whose(row: Row) -> str:
    """Return the customer that an event is of, the invoice where only that is said, "" where neither is."""
    about = row.about
    if about.get("object") == "invoice_payment":
        return id_of(about.get("invoice"))
    return id_of(about if about.get("object") == "customer" else about.get("customer"))


_PLACES: Sequence[tuple[str, str, str]] = (
    ("invoice_payment.", "invoices", "invoice"), ("charge.dispute.", "disputes", ""), ("charge.", "charges", ""), ("refund.", "charges", "charge"), ("customer.subscription.", "subscriptions", ""),
    ("subscription_schedule.", "schedules", ""), ("customer.deleted", "deleted", ""), ("customer.updated", "customers", ""), ("invoiceitem.", "items", ""),
)  # fmt: skip
"""What an event's name begins with, where its object is noted, and the field that names it ("" for its own id)."""


def _asked(rows: Sequence[Row]) -> Work:
    """Return what events ask for."""
    work = Work()
    for row in rows:
        about, kind = row.about, row.type
        if kind.startswith("credit_note."):
            work.invoices[id_of(about.get("invoice"))] = True
        elif kind == "invoice.finalization_failed":
            work.unfinal[id_of(about)] = None
        elif kind.startswith("invoice."):
            work.invoices.setdefault(id_of(about), False)
        else:
            place = next((p for p in _PLACES if kind.startswith(p[0])), None)
            if place is not None:
                getattr(work, place[1]).setdefault(id_of(about.get(place[2]) if place[2] else about), None)
    work.invoices.pop("", None)
    work.charges.pop("", None)
    return work


# ---------------------------------------------------------------- what is written


def _compared(subscription: Data, timezone: str, now: datetime, unit: Unit) -> list[str]:
    """Compare a subscription of ours with what we hold of it; return the deals to tell."""
    contract_id = drifting.compared(unit, subscription, now, timezone)
    return store.deals_of_contracts(unit, [contract_id]) if contract_id else []


def _unbegun(unit: Unit, schedule_id: str, now: datetime) -> list[str]:
    """Note that a schedule of ours was canceled before it began."""
    contract_id = drifting.schedule_gone(unit, schedule_id, now)
    return store.deals_of_contracts(unit, [contract_id]) if contract_id else []


def _contract_of(unit: Unit, invoice: Data) -> str:
    rows = unit.query("SELECT contract_id FROM stripe_subscription WHERE subscription = ?", (subscription_of(invoice),))
    said = metadata_of(invoice).get("connector_contract", "")
    return str(rows[0][0]) if rows else said


def _not_finalized(invoice: Data, now: datetime, unit: Unit) -> list[str]:
    """Note that Stripe could not finalize an invoice, and why."""
    contract_id = _contract_of(unit, invoice)
    hold_contracts(unit, [contract_id])
    if not contract_id or not unit.query("SELECT 1 FROM contract WHERE id = ?", (contract_id,)):
        return []
    error = invoice.get("last_finalization_error") or {}
    problem = notices.problem_of("not_finalized", ", ".join(filter(None, (id_of(invoice), str(error.get("code") or "")))))
    return store.deals_of_contracts(unit, [contract_id]) if notices.put(unit, contract_id, "not_finalized", id_of(invoice), problem, now) else []


def _finalized_after_all(unit: Unit, invoice: Data, now: datetime) -> list[str]:
    """Take away that an invoice could not be finalized."""
    rows = unit.query("SELECT contract_id FROM stripe_notice WHERE kind = 'not_finalized' AND ref = ?", (id_of(invoice),))
    gone = [row[0] for row in rows if notices.clear(unit, row[0], ("not_finalized",), id_of(invoice), now)]
    return store.deals_of_contracts(unit, gone)
