"""The nightly comparison with Stripe: what no event told is read after all, what somebody changed there is said (decision D-197).

Lists are walked page by page, a few queries each: invoices of the last 40 days (more where nobody looked for longer) and all open ones, running
subscriptions, schedules that have not begun, refunds and disputes of 40 days. So it costs what is open or happened lately, however long the
history is, and keeps no more in memory than the ids of what is open. What differs from the books is read as if its event had just come; that
an event was missed costs a day at most. Whatever the comparison finds twice changes nothing.

Back of the envelope: 1,000 contracts billed monthly are about 25 calls and 200 queries a night.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from connector.billing import store
from connector.billing.batches import in_batches
from connector.billing.locking import hold_contracts
from connector.billing.store import REDUCED
from connector.billing.stripe_backend import fetching, following, pushes
from connector.billing.stripe_backend.compiling import owning
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading import drifting, events, notices, returning, waived
from connector.billing.stripe_backend.reading.drifting import KINDS
from connector.billing.stripe_backend.reading.paying import invoices_charged
from connector.billing.stripe_backend.reading.picked import Data, civil_day, id_of, metadata_of, subscription_of
from connector.billing.stripe_backend.reading.pulling import Reading, Work
from connector.billing.usage import with_usage
from connector.core.values import dataclass
from connector.ports import Compared, Unit

DAYS = 40
PAGE = 100
REFUND_TOLD = timedelta(days=30)
"""How long a deal tells of a refund that failed, where no other went through, and of an amount that was deleted: it was dealt with by then."""
OVER = "'canceled', 'completed', 'withdrawn'"
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
        gap = events.gap(unit)
    since = int((reading.now() - timedelta(days=DAYS)).timestamp())
    since = since if gap is None else min(since, gap)
    before = reading.told
    still_open: set[str] = set()
    seen = _invoices(reading, {"created": {"gte": since}}, still_open)
    seen += _invoices(reading, {"status": "open", "created": {"lt": since}}, still_open)
    _closed_meanwhile(reading, still_open)
    _payments(reading, since)
    missed = reading.told - before
    subscriptions = _subscriptions(reading)
    _items(reading)
    reading.work_off()
    _missing(reading)
    with reading.database.transaction() as unit:
        if not reading.stop.is_set() and gap is not None:
            events.close_gap(unit)
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


def _invoices(reading: Reading, params: Data, still_open: set[str]) -> int:
    """Read the listed invoices of our customers that differ from the books, and note which are open; return how many are ours."""
    seen = 0
    for page in _pages(reading, "invoices.list", params):
        with reading.database.read() as unit:
            customers = _known(unit, "customer", [id_of(i.get("customer")) for i in page])
            running = _running(unit, [subscription_of(i) for i in page])
            ours = [i for i in page if id_of(i.get("customer")) in customers and i.get("status") != "draft" and _is_ours(i, running)]
            books = _books(unit, [id_of(i) for i in ours])
            ours = [i for i in ours if i["status"] != "void" or id_of(i) in books]  # voided before anybody owed it
            left = [id_of(i.get("customer")) for i in ours if i["status"] == "open" and not i.get("auto_advance")]
            ended = following.uncollected(unit, left, reading.now())
        for subscription in ended:
            reading.each(subscription, reading.subscription)
        seen += len(ours)
        still_open |= {id_of(invoice) for invoice in ours if invoice["status"] == "open"}
        for invoice in ours:
            with_refunds = _credited(invoice) != (books[id_of(invoice)].credited if id_of(invoice) in books else 0)
            if _differs(invoice, books.get(id_of(invoice)), reading.engine.timezone):
                work = Work()
                reading.each(id_of(invoice), partial(reading.invoice, with_refunds=with_refunds, work=work))
                for customer in work.customers:
                    reading.each(customer, reading.balance)
    return seen


def _closed_meanwhile(reading: Reading, still_open: set[str]) -> None:
    """Read the invoices that are open in the books and no longer at Stripe, however old they are."""
    after = ""
    while not reading.stop.is_set():
        with reading.database.read() as unit:
            sql = "SELECT i.id, s.stripe_id FROM invoice i JOIN stripe_invoice s ON s.invoice_id = i.id WHERE i.status = 'open' AND i.id > ? ORDER BY i.id LIMIT ?"
            rows = unit.query(sql, (after, store.READ_ROWS))
        for _, stripe_id in rows:
            if stripe_id not in still_open:
                work = Work()
                reading.each(stripe_id, partial(reading.invoice, with_refunds=True, work=work))
                for customer in work.customers:
                    reading.each(customer, reading.balance)
        if len(rows) < store.READ_ROWS:
            return
        after = rows[-1][0]


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
    """Read refunds and disputes that the books do not know, and disputes that were open when they were read last."""
    for page in _pages(reading, "refunds.list", {"created": {"gte": since}}):
        with reading.database.read() as unit:
            charges = _unknown(unit, page)
        for charge in charges:
            reading.each(charge, partial(reading.charge, work=Work()))
    listed: set[str] = set()
    for page in _pages(reading, "disputes.list", {"created": {"gte": since}}):
        with reading.database.read() as unit:
            moved = _moved(unit, page)
        listed |= {id_of(dispute) for dispute in page}
        for dispute in moved:
            reading.write(partial(_disputed, dispute, reading))
    with reading.database.read() as unit:
        waiting = [row[0] for row in unit.query("SELECT DISTINCT ref FROM stripe_notice WHERE kind = 'disputed' ORDER BY ref")]
        old = store.at_text(reading.now() - REFUND_TOLD)
        rows = unit.query("SELECT contract_id, kind, ref FROM stripe_notice WHERE kind IN ('refund_failed', 'item_deleted', 'left_out') AND made_at < ?", (old,))
    for dispute_id in waiting:
        if dispute_id not in listed:
            reading.each(dispute_id, reading.dispute)
    for contract_id, kind, ref in rows:
        reading.write(partial(_told_long_enough, contract_id, kind, ref, reading.now()))


def _disputed(dispute: Data, reading: Reading, unit: Unit) -> list[str]:
    return returning.disputed(unit, reading.engine, dispute, reading.now())


def _told_long_enough(contract_id: str, kind: notices.Kind, ref: str, now: datetime, unit: Unit) -> list[str]:
    hold_contracts(unit, [contract_id])
    return store.deals_of_contracts(unit, [contract_id]) if notices.clear(unit, contract_id, (kind,), ref, now) else []


def _moved(unit: Unit, disputes: Sequence[Data]) -> list[Data]:
    """Return the disputes of payments of ours that stand otherwise than in the books."""
    invoices = invoices_charged(unit, [id_of(d.get("charge")) for d in disputes])
    stand: dict[str, str] = {}
    for batch, marks in in_batches(i for found in invoices.values() for i in found):
        stand.update(unit.query(f"SELECT invoice_id, dispute FROM stripe_invoice WHERE invoice_id IN ({marks})", batch))
    return [d for d in disputes if any(stand.get(i) != d.get("status") for i in invoices.get(id_of(d.get("charge")), ())[:1])]


def _unknown(unit: Unit, refunds: Sequence[Data]) -> list[str]:
    """Return the charges of ours with refunds that stand in the books neither as a payment nor in a credit note, or that failed since."""
    ids = [f"pay_{id_of(r)}{end}" for r in refunds for end in ("", "_back")]
    booked: set[str] = set()
    for batch, marks in in_batches(ids):
        booked |= {row[0] for row in unit.query(f"SELECT id FROM payment WHERE id IN ({marks})", batch)}
    invoices = invoices_charged(unit, [id_of(r.get("charge")) for r in refunds])
    noted: dict[str, int] = {}
    for batch, marks in in_batches(i for found in invoices.values() for i in found):
        sql = f"SELECT invoice_id, SUM(refunded) FROM credit_note WHERE invoice_id IN ({marks}) GROUP BY invoice_id"
        noted |= {row[0]: int(row[1]) for row in unit.query(sql, batch)}
    lacking: dict[str, int] = {}
    for refund in refunds:
        charge, row_id = id_of(refund.get("charge")), f"pay_{id_of(refund)}"
        in_notes = sum(noted.get(i, 0) for i in invoices.get(charge, ()))
        if charge not in invoices:
            continue
        if refund.get("status") not in ("failed", "canceled"):
            lacking[charge] = lacking.get(charge, -in_notes) + (0 if row_id in booked else minor_amount(int(refund["amount"]), str(refund["currency"])))
        elif f"{row_id}_back" not in booked and (row_id in booked or in_notes):
            lacking[charge] = 1 << 60  # it is read in any case
    return [charge for charge, amount in lacking.items() if amount > 0]


def _items(reading: Reading) -> None:
    """Read the lines of ours that we take to wait for an invoice and that Stripe does not list as waiting."""
    with reading.database.read() as unit:
        waiting = dict.fromkeys(waived.waiting(unit))
    for page in _pages(reading, "invoice_items.list", {"pending": True}) if waiting else ():
        waiting = _without(waiting, page)
    for item in () if reading.stop.is_set() else waiting:
        reading.each(item, reading.item)


# ---------------------------------------------------------------- subscriptions


def _subscriptions(reading: Reading) -> int:
    """Compare every subscription that runs and every schedule that waits to begin with what we hold; return how many we hold.

    Stripe lists those that have not ended, which is what we hold that should run; what is missing there is asked for by its id.
    """
    held = _held(reading)
    missing = dict.fromkeys(held)
    for page in _pages(reading, "subscriptions.list", {}):
        missing = _without(missing, page)
        whole = {id_of(s): fetching.whole_subscription(reading.calls, s) if id_of(s) in held else s for s in page}
        with reading.database.read() as unit:
            moved = drifting.verdicts(unit, list(whole.values()), reading.now(), reading.engine.timezone)
        for verdict in moved:
            reading.each(verdict.ref, lambda ref, whole=whole: reading.compare(whole[ref]))  # type: ignore[misc]
    if any(_is_schedule(name) for name in missing):
        for page in _pages(reading, "subscription_schedules.list", {"scheduled": True}):
            missing = _without(missing, page)
    for name in missing:
        if reading.stop.is_set():
            break
        reading.each(name, partial(reading.schedule, work=Work()) if _is_schedule(name) else reading.subscription)
    return len(held)


def _without(names: dict[str, None], page: Sequence[Data]) -> dict[str, None]:
    for one in page:
        names.pop(id_of(one), None)
    return names


def _is_schedule(name: str) -> bool:
    return name.startswith("sub_sched")


def _held(reading: Reading) -> set[str]:
    """Return the subscriptions that should run, and the schedules that should begin, by Stripe's id; read a batch at a time."""
    found: set[str] = set()
    after, now = "", reading.now()
    while True:
        with reading.database.read() as unit:
            sql = f"SELECT h.contract_id FROM stripe_held h JOIN contract c ON c.id = h.contract_id WHERE c.status NOT IN ({OVER}) AND h.contract_id > ? ORDER BY h.contract_id LIMIT ?"
            ids = [row[0] for row in unit.query(sql, (after, store.READ_ROWS))]
            for held in pushes.held_of(unit, ids).values():
                found |= {g.subscription or g.schedule for g in held.groups if g.phases and not drifting.is_over(g, now)}
        if len(ids) < store.READ_ROWS:
            return found - {""}
        after = ids[-1]


def _missing(reading: Reading) -> None:
    """Say of which contracts an invoice has been due for days and has not come; take it back where it came."""
    long_ago = (reading.now() - owning.LONGEST).date().isoformat()
    with reading.database.read() as unit:
        sql = (
            "SELECT c.id FROM contract c WHERE c.status <> 'withdrawn' AND ((c.billed_until <> '' AND c.billed_until < ?) OR (NOT c.is_invoiced AND c.starts_on < ?)"
            " OR EXISTS (SELECT 1 FROM stripe_notice n WHERE n.contract_id = c.id AND n.kind = 'missing'))"
            " AND EXISTS (SELECT 1 FROM stripe_held h WHERE h.contract_id = c.id) ORDER BY c.id"
        )
        ids = [row[0] for row in unit.query(sql, (long_ago, long_ago))]
    for contract_id in ids:
        reading.each(contract_id, lambda name: reading.write(partial(_told_missing, name, reading)))


def _told_missing(contract_id: str, reading: Reading, unit: Unit) -> list[str]:
    now = reading.now()
    hold_contracts(unit, [contract_id])
    (contract,) = with_usage(unit, store.contracts(unit, [contract_id]))
    issue, facts = reading.engine.issue_of(unit, contract, now)
    day = owning.missing(issue.wanted(contract, facts))
    if day is None or pushes.busy(unit, [contract_id]):
        moved = notices.clear(unit, contract_id, ("missing",), "", now)
    else:
        moved = notices.put(unit, contract_id, "missing", "", notices.problem_of("missing", f"due {day.isoformat()}"), now)
    return store.deals_of_contracts(unit, [contract_id]) if moved else []


def _drift(unit: Unit) -> int:
    marks = ",".join("?" * len(KINDS))
    return int(unit.query(f"SELECT COUNT(*) FROM stripe_notice WHERE kind IN ({marks}, 'customer_deleted')", KINDS)[0][0])
