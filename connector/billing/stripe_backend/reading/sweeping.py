"""The nightly comparison with Stripe: what no event told is read after all, what somebody changed there is said (decision D-197).

Lists are walked page by page, so that memory stays small: invoices of the last 40 days and all open ones, running subscriptions, schedules that
have not begun, refunds and disputes of 40 days. What differs from the books is read as if its event had just come; that an event was missed
costs a day at most. Whatever the comparison finds twice changes nothing.

Back of the envelope: 1,000 contracts billed monthly are about 25 calls a night.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from connector.billing.batches import in_batches
from connector.billing.store import REDUCED
from connector.billing.stripe_backend import pushes
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading import events
from connector.billing.stripe_backend.reading.drifting import KINDS
from connector.billing.stripe_backend.reading.picked import Data, civil_day, id_of, metadata_of, subscription_of
from connector.billing.stripe_backend.reading.pulling import Reading, Work, compared_with, disputed
from connector.core.values import dataclass
from connector.ports import Compared, Unit

DAYS = 40
PAGE = 100
MOST_PAGES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ours:
    """An invoice as the books have it; amounts in minor units, *left* what is open of it."""

    status: str
    left: int
    credited: int
    attempts: int
    due_on: str


def compare(reading: Reading) -> Compared:
    """Compare Stripe with the books and read what differs. Raises: RetryableError, HaltError."""
    with reading.database.transaction() as unit:
        events.take_again(unit)
    since = int((reading.now() - timedelta(days=DAYS)).timestamp())
    before = reading.told
    seen = _invoices(reading, {"created": {"gte": since}}) + _invoices(reading, {"status": "open"})
    _payments(reading, since)
    missed = reading.told - before
    subscriptions = _subscriptions(reading)
    reading.work_off()
    with reading.database.read() as unit:
        drift = _drift(unit)
    return Compared(invoices=seen, subscriptions=subscriptions, missed=missed, drift=drift)


def _pages(reading: Reading, call: str, params: Data) -> Iterator[list[dict[str, Any]]]:
    """Yield the pages of a list, newest first."""
    after: dict[str, str] = {}
    for _ in range(MOST_PAGES):
        if reading.stop.is_set():
            return
        page = reading.calls.do(call, {**params, **after, "limit": PAGE})
        if page["data"]:
            yield page["data"]
        if not page.get("has_more"):
            return
        after = {"starting_after": page["data"][-1]["id"]}


# ---------------------------------------------------------------- invoices and what was paid


def _invoices(reading: Reading, params: Data) -> int:
    """Read the listed invoices of our customers that differ from the books; return how many are ours."""
    seen = 0
    for page in _pages(reading, "invoices.list", params):
        with reading.database.read() as unit:
            customers = _known(unit, "customer", [id_of(i.get("customer")) for i in page])
            running = _running(unit, [subscription_of(i) for i in page])
            ours = [i for i in page if id_of(i.get("customer")) in customers and i.get("status") != "draft" and _is_ours(i, running)]
            books = _books(unit, [id_of(i) for i in ours])
            ours = [i for i in ours if i["status"] != "void" or id_of(i) in books]  # voided before anybody owed it
        seen += len(ours)
        for invoice in ours:
            with_refunds = _credited(invoice) != (books[id_of(invoice)].credited if id_of(invoice) in books else 0)
            if _differs(invoice, books.get(id_of(invoice)), reading.engine.timezone):
                work = Work()
                reading.each(id_of(invoice), partial(reading.invoice, with_refunds=with_refunds, work=work))
                for customer in work.customers:
                    reading.each(customer, reading.balance)
    return seen


def _is_ours(invoice: Data, running: set[str]) -> bool:
    """Whether an invoice of our customer is ours: of a subscription of ours, or of none."""
    subscription = subscription_of(invoice)
    return not subscription or subscription in running or "connector_contract" in metadata_of(invoice)


def _running(unit: Unit, subscriptions: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for batch, marks in in_batches(s for s in subscriptions if s):
        found |= {r[0] for r in unit.query(f"SELECT subscription FROM stripe_subscription WHERE subscription IN ({marks})", batch)}
    return found


def _known(unit: Unit, kind: str, ids: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for batch, marks in in_batches(i for i in ids if i):
        found |= {r[0] for r in unit.query(f"SELECT stripe_id FROM stripe_known WHERE kind = ? AND stripe_id IN ({marks})", (kind, *batch))}
    return found


def _books(unit: Unit, stripe_ids: Sequence[str]) -> dict[str, _Ours]:
    found: dict[str, _Ours] = {}
    for batch, marks in in_batches(stripe_ids):
        sql = (
            f"SELECT s.stripe_id, i.status, i.amount_due - i.amount_paid - {REDUCED}, i.credited, i.attempts, i.due_on FROM stripe_invoice s"
            f" JOIN invoice i ON i.id = s.invoice_id WHERE s.stripe_id IN ({marks})"
        )
        for row in unit.query(sql, batch):
            found[row[0]] = _Ours(status=row[1], left=row[2], credited=row[3], attempts=row[4], due_on=row[5] or "")
    return found


def _credited(invoice: Data) -> int:
    both = (invoice.get("pre_payment_credit_notes_amount") or 0) + (invoice.get("post_payment_credit_notes_amount") or 0)
    return minor_amount(int(both), str(invoice["currency"]))


def _differs(invoice: Data, ours: _Ours | None, timezone: str) -> bool:
    """Whether an invoice of Stripe is another one than that of the books, judged by what a list shows."""
    if ours is None or ours.status != invoice["status"] or ours.credited != _credited(invoice):
        return True
    if invoice["status"] != "open":
        return False
    left = minor_amount(int(invoice.get("amount_remaining") or 0), str(invoice["currency"]))
    due = civil_day(invoice["due_date"], timezone).isoformat() if invoice.get("due_date") else ours.due_on
    return left != ours.left or due != ours.due_on or (bool(invoice.get("attempted")) and int(invoice.get("attempt_count") or 0) > ours.attempts)


def _payments(reading: Reading, since: int) -> None:
    """Read refunds and disputes that the books do not know."""
    for page in _pages(reading, "refunds.list", {"created": {"gte": since}}):
        with reading.database.read() as unit:
            charges = _without(unit, page)
        for charge in charges:
            reading.each(charge, partial(reading.charge, work=Work()))
    for page in _pages(reading, "disputes.list", {"created": {"gte": since}}):
        for dispute in page:
            reading.write(partial(_disputed, dispute, reading))


def _disputed(dispute: Data, reading: Reading, unit: Unit) -> list[str]:
    return disputed(unit, dispute, reading.engine.timezone, reading.now())


def _without(unit: Unit, refunds: Sequence[Data]) -> list[str]:
    """Return the charges of refunds that stand in the books neither as a payment nor in a credit note of theirs."""
    by_row = {f"pay_{id_of(r)}{'_back' if r.get('status') in ('failed', 'canceled') else ''}": id_of(r.get("charge")) for r in refunds}
    for batch, marks in in_batches(list(by_row)):
        for (known,) in unit.query(f"SELECT id FROM payment WHERE id IN ({marks})", batch):
            by_row.pop(known)
    charges = set(by_row.values()) - {""}
    found = []
    for batch, marks in in_batches(sorted(charges)):
        sql = (
            f"SELECT s.charge, (SELECT COALESCE(SUM(n.refunded), 0) FROM credit_note n WHERE n.invoice_id = s.invoice_id) FROM stripe_invoice s"
            f" WHERE s.charge IN ({marks})"
        )
        refunded = {charge: sum(int(r["amount"]) for r in refunds if id_of(r.get("charge")) == charge and f"pay_{id_of(r)}" in by_row) for charge in batch}
        found += [charge for charge, noted in unit.query(sql, batch) if noted < refunded[charge]]
    return found


# ---------------------------------------------------------------- subscriptions


def _subscriptions(reading: Reading) -> int:
    """Compare every subscription and schedule that we hold; return how many."""
    with reading.database.read() as unit:
        held = _held(unit)
    seen: set[str] = set()
    for page in _pages(reading, "subscriptions.list", {"status": "all"}):
        for subscription in page:
            if id_of(subscription) in held:
                seen.add(id_of(subscription))
                reading.write(partial(compared_with, id_of(subscription), subscription, reading.now()))
    for name in sorted(held - seen):
        if name.startswith("sub_sched"):
            work = Work()
            reading.each(name, partial(reading.schedule, work=work))
        else:
            reading.each(name, reading.subscription)
    return len(held)


def _held(unit: Unit) -> set[str]:
    """Return the subscriptions that should run, and the schedules that should begin, by Stripe's id."""
    ids = [row[0] for row in unit.query("SELECT h.contract_id FROM stripe_held h JOIN contract c ON c.id = h.contract_id WHERE c.status <> 'withdrawn'")]
    found: set[str] = set()
    for start in range(0, len(ids), 500):
        for held in pushes.held_of(unit, ids[start : start + 500]).values():
            found |= {g.subscription or g.schedule for g in held.groups if g.phases and not g.is_over}
    return found - {""}


def _drift(unit: Unit) -> int:
    marks = ",".join("?" * len(KINDS))
    return int(unit.query(f"SELECT COUNT(*) FROM stripe_notice WHERE kind IN ({marks}, 'customer_deleted')", KINDS)[0][0])
