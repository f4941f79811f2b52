"""One invoice of Stripe as one of the books: made once, followed afterwards; idempotent by Stripe's id (decision D-196).

A draft of Stripe is none of the books: it may still change, and until it is final its periods are on their way. Finalized, its lines are
facts, with the amounts that Stripe billed, and the contract is looked at again with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from connector.billing import desk, store
from connector.billing.events import issued_event
from connector.billing.issue import Billed, deal_of_line, first_recurring, token_for, with_invoice
from connector.billing.store import BookedContract, BookedInvoice
from connector.billing.stripe_backend import coding, pushes
from connector.billing.stripe_backend.advancing import advanced
from connector.billing.stripe_backend.compiling import owning
from connector.billing.stripe_backend.compiling.outlook import Outlook
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading.lines import Data, Known, price_of, told
from connector.core.lines import Line
from connector.core.schedule import timeline
from connector.core.settlement import Invoice
from connector.core.values import dataclass
from connector.kit.db import new_id
from connector.ports import Unit

_REASONS = {"subscription_create": "subscription_create", "subscription_update": "subscription_update", "subscription_cycle": "subscription_cycle"}
_LINK_LIVES = timedelta(days=30)  # behind the day on which it is due, as documented


class Engine(Protocol):
    """What mirroring uses of the backend."""

    org: str
    timezone: str

    def issue_of(self, unit: Unit, contract: BookedContract, now: datetime) -> tuple[Any, list[Line]]:
        """Return the issue that plans one contract, and the contract's facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An invoice of the books that mirrors one of Stripe's."""

    id: str
    number: str
    status: str
    paid: int


def mirrored(unit: Unit, engine: Engine, invoice: Data, now: datetime) -> list[str]:
    """Bring the books in line with an invoice of Stripe (with all its lines); return the deals to tell, none for what is not ours."""
    standing = _standing(unit, str(invoice["id"]))
    if standing is None and invoice["status"] in ("draft", "deleted", None):
        return []
    if standing is None:
        return _made(unit, engine, invoice, now)
    return _followed(unit, standing, invoice, now)


def _standing(unit: Unit, stripe_id: str) -> Standing | None:
    sql = "SELECT i.id, i.number, i.status, i.amount_paid FROM stripe_invoice s JOIN invoice i ON i.id = s.invoice_id WHERE s.stripe_id = ?"
    rows = unit.query(sql, (stripe_id,))
    return Standing(id=rows[0][0], number=rows[0][1], status=rows[0][2], paid=rows[0][3]) if rows else None


def contract_of(unit: Unit, invoice: Data, now: datetime) -> str | None:
    """Return the contract that an invoice is of, "" for one of a customer alone, None where it is not ours."""
    details = ((invoice.get("parent") or {}).get("subscription_details")) or {}
    subscription = details.get("subscription")
    if subscription:
        rows = unit.query("SELECT contract_id FROM stripe_subscription WHERE subscription = ?", (str(subscription),))
        return str(rows[0][0]) if rows else _begun(unit, str(subscription), details.get("metadata") or {}, now)
    named = (invoice.get("metadata") or {}).get("connector_contract")
    if named:
        return str(named) if unit.query("SELECT 1 FROM contract WHERE id = ?", (str(named),)) else None
    return "" if customer_of(unit, invoice) else None


def _begun(unit: Unit, subscription: str, metadata: Mapping[str, Any], now: datetime) -> str | None:
    """Note the subscription that a schedule of ours has begun, told by our marks on it; return its contract."""
    contract_id, group_name = str(metadata.get("connector_contract") or ""), str(metadata.get("connector_group") or "")
    held = pushes.held_of(unit, [contract_id]).get(contract_id) if contract_id else None
    if held is None or all(g.name != group_name or g.subscription for g in held.groups):
        return None
    groups = tuple(replace(g, subscription=subscription) if g.name == group_name else g for g in held.groups)
    pushes.save_held(unit, replace(held, groups=groups), now)
    return contract_id


def customer_of(unit: Unit, invoice: Data) -> str | None:
    """Return our customer that an invoice is billed to, None for somebody else's."""
    sql = "SELECT key FROM stripe_object WHERE kind = 'customer' AND stripe_id = ?"
    rows = unit.query(sql, (str(invoice["customer"]),))
    return str(rows[0][0]) if rows else None


# ---------------------------------------------------------------- seen for the first time


def _made(unit: Unit, engine: Engine, invoice: Data, now: datetime) -> list[str]:
    contract_id = contract_of(unit, invoice, now)
    if contract_id is None:
        return []
    if not contract_id:
        return []
    (contract,) = store.contracts(unit, [contract_id])
    issue, facts = engine.issue_of(unit, contract, now)
    wanted = issue.wanted(contract, facts)
    own = _own_lines(unit, invoice)
    known = Known(
        contract_id=contract.id, own=own, proposed=Outlook(wanted).lines, held=wanted.held, prices=_prices(unit, invoice),
        taken=frozenset(_taken(unit, contract.id, invoice, own)),
    )  # fmt: skip
    lines = told(invoice, known)
    booked = _booked(contract, invoice, lines, issue.bill_to(contract), now)
    store.insert_invoices(unit, [booked])
    _save_link(unit, booked.id, invoice)
    unit.executemany("UPDATE stripe_line SET invoice_id = ? WHERE key = ?", [(booked.id, line.key) for line in lines if line.key in own])
    made = _look_again(unit, engine, contract, lines, booked.id, now)
    store.insert_events(unit, [issued_event(booked, made.status, "stripe")], store.at_text(now))
    _move_balance(unit, booked, invoice, now)
    _follow_payment(unit, booked.id, str(booked.number), 0, invoice, now)
    return store.deals_of_contracts(unit, [contract.id])


def _own_lines(unit: Unit, invoice: Data) -> dict[str, Line]:
    keys = [str((line.get("metadata") or {}).get("connector_line") or "") for line in invoice["lines"]["data"]]
    found: dict[str, Line] = {}
    for key in filter(None, keys):
        for (data,) in unit.query("SELECT data FROM stripe_line WHERE key = ? AND invoice_id IS NULL", (key,)):
            found[key] = coding.line_from_text(data)
    return found


def _prices(unit: Unit, invoice: Data) -> dict[str, list[str]]:
    """Return our keys of the prices on an invoice, by Stripe's id."""
    found: dict[str, list[str]] = {}
    for line in invoice["lines"]["data"]:
        price = price_of(line)
        if price and price not in found:
            rows = unit.query("SELECT key FROM stripe_object WHERE kind = 'price' AND stripe_id = ?", (price,))
            found[price] = [str(row[0]) for row in rows]
    return found


def _taken(unit: Unit, contract_id: str, invoice: Data, own: Mapping[str, Line]) -> list[str]:
    """Return the keys among those that could be given that stand on another invoice already."""
    del invoice
    rows = unit.query("SELECT key FROM line WHERE contract_id = ?", (contract_id,)) if own else []
    return [str(row[0]) for row in rows]


def day_of(seconds: int) -> date:
    """Return the civil day of an instant of Stripe's."""
    return datetime.fromtimestamp(seconds, UTC).date()


def _booked(contract: BookedContract, invoice: Data, lines: Sequence[Line], bill_to: str, now: datetime) -> BookedInvoice:
    currency = str(invoice["currency"])

    def minor(name: str) -> int:
        return minor_amount(int(invoice.get(name) or 0), currency)

    issued_on = day_of(invoice.get("effective_at") or invoice["created"])
    finalized = invoice["status_transitions"].get("finalized_at") or invoice["created"]
    invoice_id = new_id("in", datetime.fromtimestamp(invoice["created"], UTC))
    tax = sum(t[1] for line in lines for t in line.taxes)
    made = Invoice(
        contract_ids=(contract.id,), currency=currency, lines=tuple(lines), created_at=datetime.fromtimestamp(invoice["created"], UTC),
        finalized_at=datetime.fromtimestamp(finalized, UTC), due_on=day_of(invoice["due_date"]) if invoice.get("due_date") else None,
        status="open" if invoice["status"] == "paid" and minor("amount_paid") else invoice["status"],
        billing_reason=_REASONS.get(invoice["billing_reason"], "manual"),  # type: ignore[arg-type]
        subtotal=sum(line.amount for line in lines), discount=sum(line.amount - line.net for line in lines), tax=tax,
        total=minor("total"), starting_balance=minor("starting_balance"), ending_balance=minor("ending_balance"),
        amount_due=minor("amount_due") + minor("pre_payment_credit_notes_amount"), amount_paid=0, amount_remaining=minor("amount_remaining"),
        number=invoice["number"],
    )  # fmt: skip
    plan = timeline(contract.contract, horizon=lines[0].start if lines else None)
    return BookedInvoice(
        id=invoice_id, number=invoice["number"], token=token_for(invoice_id), invoice=made, contract=contract,
        deal=deal_of_line(plan, contract, first_recurring(lines)) if lines else contract.deal, issued_on=issued_on,
        made_at=store.at_text(datetime.fromtimestamp(finalized, UTC)), bill_to=bill_to,
    )  # fmt: skip


def _look_again(unit: Unit, engine: Engine, contract: BookedContract, lines: Sequence[Line], invoice_id: str, now: datetime) -> Billed:
    """Bring the contract on with its new facts: status, window, what its changes caused, when the run looks again."""
    contract = replace(contract, is_invoiced=True)
    issue, facts = engine.issue_of(unit, contract, now)
    wanted = issue.wanted(contract, facts)
    known = [*facts, *(line for line in wanted.sent.values() if not line.is_pending)]
    look = owning.next_own(wanted, wanted.held)
    made = advanced(contract, known, issue.state_of(contract), now, issue.credited, emitted=lines, look_at=look)
    at = store.at_text(now)
    store.advance_contracts(unit, [(made.status, made.is_invoiced, made.billed_until, made.window_on, made.next_due_at, at, contract.id)])
    if made.changes:
        after = with_invoice(made.changes, lines, invoice_id)
        store.update_changes(unit, [(contract.id, c) for c, old in zip(after, contract.changes, strict=True) if c != old])
    return made


def _save_link(unit: Unit, invoice_id: str, invoice: Data) -> None:
    last = invoice.get("due_date") or invoice["status_transitions"].get("finalized_at") or invoice["created"]
    until = datetime.fromtimestamp(last, UTC) + _LINK_LIVES
    unit.execute(
        "INSERT INTO stripe_invoice (invoice_id, stripe_id, url, pdf, url_until, charge, dispute) VALUES (?,?,?,?,?,'','')"
        " ON CONFLICT (invoice_id) DO UPDATE SET url = excluded.url, pdf = excluded.pdf, url_until = excluded.url_until",
        (invoice_id, str(invoice["id"]), invoice.get("hosted_invoice_url") or "", invoice.get("invoice_pdf") or "", store.at_text(until)),
    )


def _move_balance(unit: Unit, booked: BookedInvoice, invoice: Data, now: datetime) -> None:
    """Move the customer's balance as the invoice did."""
    by = booked.invoice.ending_balance - booked.invoice.starting_balance
    if by and invoice["status"] != "draft":
        desk.move_balance(unit, booked.contract.customer_id, booked.invoice.currency, by, booked.id, now, actor=None)


# ---------------------------------------------------------------- followed


def _followed(unit: Unit, standing: Standing, invoice: Data, now: datetime) -> list[str]:
    """Follow what became of an invoice of the books: paid, void, uncollectible, its links."""
    _save_link(unit, standing.id, invoice)
    changed = _follow_payment(unit, standing.id, standing.number, standing.paid, invoice, now)
    status = str(invoice["status"])
    if status != standing.status and status in ("void", "uncollectible", "open"):
        unit.execute("UPDATE invoice SET status = ? WHERE id = ?", (status, standing.id))
        changed = True
    return list(desk.deals_to_tell(unit, desk.held(unit, standing.number))) if changed else []


def _follow_payment(unit: Unit, invoice_id: str, number: str, before: int, invoice: Data, now: datetime) -> bool:
    """Book what was paid since; return whether anything was."""
    paid = minor_amount(int(invoice.get("amount_paid") or 0), str(invoice["currency"]))
    at = invoice["status_transitions"].get("paid_at")
    on = day_of(at) if at else now.astimezone(UTC).date()
    if paid > before:
        held = desk.held(unit, number)
        about = invoice.get("metadata") or {}
        method = str(about.get("connector_paid_method") or "stripe")
        unit.execute("UPDATE invoice SET amount_paid = ? WHERE id = ?", (paid, invoice_id))
        desk.save_payment(unit, held, paid - before, on=on, now=now, note=(None, str(about.get("connector_paid_reference") or "")), method=method)
    if invoice["status"] == "paid":
        unit.execute("UPDATE invoice SET status = 'paid', paid_on = ? WHERE id = ? AND status <> 'paid'", (on.isoformat(), invoice_id))
    return paid > before
