"""Payments of an invoice as Stripe tells them: money that arrived, tries that failed, another due date (decision D-196).

A declined card is how a payment stands, never a failure of ours: the CRM says "Past due …" and why, in the words of the internal engine.

Worked example: 30.00 are due, the card is declined on 1 May and tried again on 4 May: one failed try with its reason and the next day. On
4 May it is paid: one payment of 30.00 under the id of Stripe's charge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Protocol

from connector.billing import desk, store
from connector.billing.batches import in_batches
from connector.billing.desk import Held
from connector.billing.outbox import Entry, Mailing
from connector.billing.payments import MOST_REFERENCE
from connector.billing.store import Event
from connector.billing.stripe_backend import pushes
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading.picked import Data, civil_day, id_of, instant
from connector.billing.stripe_backend.refusals import decline_words
from connector.core.period import to_local
from connector.core.values import dataclass
from connector.kit.db import new_id
from connector.ports import Unit

METHOD = "stripe"
NO_METHOD = "No payment method is stored."
_WAITS = ("requires_action", "requires_confirmation")


class Keeper(Protocol):
    """What following uses of the backend: the zone in which the company counts its days, and its mails."""

    timezone: str
    mailing: Mailing


def held_of(unit: Unit, invoice_id: str) -> Held:
    """Return an invoice of the books by its id."""
    return desk.held(unit, str(unit.query("SELECT number FROM invoice WHERE id = ?", (invoice_id,))[0][0]))


def deals_to_tell(unit: Unit, invoice_id: str) -> list[str]:
    """Return the deals whose records show something of an invoice."""
    return list(desk.deals_to_tell(unit, held_of(unit, invoice_id)))


def say(unit: Unit, name: str, before: Held, data: dict[str, Any], now: datetime) -> None:
    """Append what Stripe did to an invoice to the event log, with the figures before and after."""
    after = held_of(unit, before.id)
    event = Event(
        id=new_id("ev", now), actor=METHOD, name=name, contract_id=before.contract_id, customer_id=before.customer_id, invoice_id=before.id,
        data=store.event_text({"number": before.number, "currency": before.currency, **data}), before=store.event_text(before.state()),
        after=store.event_text(after.state()),
    )  # fmt: skip
    store.insert_events(unit, [event], store.at_text(now))


# ---------------------------------------------------------------- money that arrived


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A payment of an invoice that went through: *amount* as Stripe counts it, the civil day *on*; *charge* - what it was paid with, "" where
    the money arrived outside Stripe, of which *method* and *reference* tell what is known."""

    id: str
    amount: int
    on: date
    method: str
    reference: str
    charge: str = ""


def follow_payments(unit: Unit, keeper: Keeper, invoice_id: str, invoice: Data, now: datetime) -> bool:
    """Book each payment once, under Stripe's id of it; return whether there was a new one."""
    is_new = False
    known = {row[0] for row in unit.query("SELECT id FROM payment WHERE invoice_id = ?", (invoice_id,))}
    for paid in payments_of(invoice, keeper.timezone):
        if f"pay_{paid.id}" not in known:
            is_new = True
            _book(unit, keeper, invoice_id, invoice, paid, now)
    return _paid_otherwise(unit, keeper.timezone, invoice_id, invoice, now) or is_new


def _book(unit: Unit, keeper: Keeper, invoice_id: str, invoice: Data, paid: Paid, now: datetime) -> None:
    before = held_of(unit, invoice_id)
    currency, amount = before.currency, minor_amount(paid.amount, before.currency)
    unit.execute(
        "INSERT INTO payment (id, invoice_id, amount, currency, method, reference, paid_on, note_id, made_at) VALUES (?,?,?,?,?,?,?,NULL,?)",
        (f"pay_{paid.id}", invoice_id, amount, currency, paid.method, paid.reference, paid.on.isoformat(), store.at_text(now)),
    )
    left = before.invoice.amount_remaining - amount
    unit.execute("UPDATE invoice SET amount_paid = amount_paid + ?, next_charge_at = NULL WHERE id = ?", (amount, invoice_id))
    if paid.charge:
        note_charge(unit, invoice_id, paid.charge, now)
    if invoice["status"] == "paid" and left <= 0:
        desk.set_status(unit, invoice_id, "paid", paid.on)
    told = {"amount": amount, "open": max(0, left), "on": paid.on.isoformat(), "method": paid.method, "reference": paid.reference}
    say(unit, "payment.recorded", before, told, now)
    data = {"number": before.number, "currency": currency, "invoice": before.number, **told}
    keeper.mailing.write(unit, [Entry(key=f"pay_{paid.id}/paid", kind="receipt", invoice_id=invoice_id, data=data)], now)


def payments_of(invoice: Data, timezone: str) -> list[Paid]:
    """Return the payments of an invoice that went through, oldest first."""
    listed = [p for p in (invoice.get("payments") or {}).get("data") or () if p.get("status") == "paid" and int(p.get("amount_paid") or 0) > 0]
    found = [_paid(invoice, payment, timezone) for payment in sorted(listed, key=lambda p: (_paid_at(p), p["id"]))]
    rest = int(invoice.get("amount_paid") or 0) - sum(paid.amount for paid in found)
    if invoice["status"] == "paid" and rest > 0:  # paid, and no payment says with what: outside
        said = _said(invoice.get("metadata") or {})
        at = (invoice.get("status_transitions") or {}).get("paid_at") or invoice["created"]
        found.append(Paid(id=f"{id_of(invoice)}_outside", amount=rest, on=said.on or civil_day(at, timezone), method=said.method, reference=said.reference))
    return found


def _paid_at(payment: Data) -> int:
    return int((payment.get("status_transitions") or {}).get("paid_at") or payment["created"])


def _paid(invoice: Data, payment: Data, timezone: str) -> Paid:
    about, on = payment.get("payment") or {}, civil_day(_paid_at(payment), timezone)
    plain = Paid(id=id_of(payment), amount=int(payment["amount_paid"]), on=on, method=METHOD, reference="")
    intent = about.get("payment_intent")
    charge = (id_of(intent.get("latest_charge")) if isinstance(intent, dict) else "") or id_of(intent) or id_of(about.get("charge"))
    if charge:
        return replace(plain, reference=charge, charge=charge)
    record = about.get("payment_record")
    told = record if isinstance(record, dict) else {}
    said = _said({**(invoice.get("metadata") or {}), **(told.get("metadata") or {})})
    outside = ((told.get("processor_details") or {}).get("custom") or {}).get("payment_reference")
    return replace(plain, on=said.on or on, method=said.method, reference=said.reference or str(outside or "")[:MOST_REFERENCE])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    on: date | None
    method: str
    reference: str


def _said(metadata: Mapping[str, str]) -> _Said:
    """Return what was said of money that arrived outside, by whoever recorded it here; the day is Stripe's where nobody said one."""
    on = str(metadata.get("connector_paid_on") or "")
    try:
        day = date.fromisoformat(on) if on else None
    except ValueError:  # somebody wrote there by hand
        day = None
    method, reference = metadata.get("connector_paid_method"), metadata.get("connector_paid_reference")
    return _Said(on=day, method=str(method or "manual"), reference=str(reference or "")[:MOST_REFERENCE])


def note_charge(unit: Unit, invoice_id: str, charge: str, now: datetime) -> None:
    """Keep what an invoice was paid with: refunds and disputes name the charge alone, and a split payment has several."""
    unit.execute("UPDATE stripe_invoice SET charge = ? WHERE invoice_id = ?", (charge, invoice_id))
    pushes.save_shared(unit, ("charge", f"{invoice_id}/{charge}"), charge, now)


def invoices_charged(unit: Unit, charges: Iterable[str]) -> dict[str, list[str]]:
    """Return the invoices of the books that each of these charges paid."""
    found: dict[str, list[str]] = {}
    for batch, marks in in_batches(c for c in charges if c):
        sql = f"SELECT stripe_id, key FROM stripe_object WHERE kind = 'charge' AND stripe_id IN ({marks}) ORDER BY key"
        for charge, key in unit.query(sql, batch):
            found.setdefault(charge, []).append(key.partition("/")[0])
    return found


def _paid_otherwise(unit: Unit, timezone: str, invoice_id: str, invoice: Data, now: datetime) -> bool:
    """Book that nothing is due any more though no money came: the balance covered it, or credit notes did."""
    if invoice["status"] != "paid" or unit.query("SELECT 1 FROM invoice WHERE id = ? AND status = 'paid'", (invoice_id,)):
        return False
    before = held_of(unit, invoice_id)
    at = (invoice.get("status_transitions") or {}).get("paid_at")
    desk.set_status(unit, invoice_id, "paid", civil_day(at, timezone) if at else to_local(now, timezone).date())
    if before.invoice.amount_due and not unit.query("SELECT 1 FROM credit_note WHERE invoice_id = ?", (invoice_id,)):
        say(unit, "invoice.settled", before, {}, now)
    return True


# ---------------------------------------------------------------- tries that failed


def follow_tries(unit: Unit, keeper: Keeper, invoice_id: str, invoice: Data, now: datetime) -> bool:
    """Book the latest failed try once, and when the next one is; return whether there was a new one."""
    attempts = int(invoice.get("attempt_count") or 0)
    failure = _failure(invoice) if attempts and invoice["status"] in ("open", "uncollectible") else None
    again = invoice.get("next_payment_attempt") if invoice["status"] == "open" else None
    at = store.at_text(instant(again)) if again else None
    if failure is None:
        unit.execute("UPDATE invoice SET next_charge_at = ? WHERE id = ? AND COALESCE(next_charge_at, '') <> COALESCE(?, '')", (at, invoice_id, at))
        return False
    code, decline, reference, why = failure
    reference = f"{reference or id_of(invoice)}/{attempts}"
    rows = unit.query("SELECT reference FROM charge WHERE invoice_id = ?", (invoice_id,))
    moved = unit.execute(
        "UPDATE invoice SET attempts = ?, next_charge_at = ? WHERE id = ? AND (attempts <> ? OR COALESCE(next_charge_at, '') <> COALESCE(?, ''))",
        (attempts, at, invoice_id, attempts, at),
    )
    if reference in {row[0] for row in rows}:
        return bool(moved)
    before, number, on = held_of(unit, invoice_id), len(rows) + 1, now
    unit.execute(
        "INSERT INTO charge (id, invoice_id, customer_id, number, method, token, amount, currency, state, code, message, reference, made_at, done_at)"
        " VALUES (?,?,?,?,?,'',?,?,'failed',?,?,?,?,?)",
        (
            f"{invoice_id}/c{number}", invoice_id, before.customer_id, number, METHOD, before.invoice.amount_remaining, before.currency,
            (decline or code)[:100], why, reference, store.at_text(on), store.at_text(on),
        ),
    )  # fmt: skip
    data = {
        "amount": before.invoice.amount_remaining, "method": METHOD, "code": decline or code, "message": why, "on": to_local(on, keeper.timezone).date().isoformat(),
        "retry_on": civil_day(again, keeper.timezone).isoformat() if again else "",
    }  # fmt: skip
    say(unit, "payment.failed", before, data, now)
    told = {"number": before.number, "currency": before.currency, **data}
    keeper.mailing.write(unit, [Entry(key=f"{invoice_id}/c{number}/failed", kind="payment_failed", invoice_id=invoice_id, data=told)], now)
    return True


def _failure(invoice: Data) -> tuple[str, str, str, str] | None:
    """Return (code, decline code, reference, plain words) of the latest try, None where none failed."""
    intents = [
        (p.get("payment") or {}).get("payment_intent") for p in (invoice.get("payments") or {}).get("data") or () if p.get("status") == "open"
    ]
    intent = next((i for i in reversed(intents) if isinstance(i, dict)), None)
    if intent is None:
        return ("no_method", "", "", NO_METHOD) if invoice.get("collection_method") == "charge_automatically" and not intents else None
    if intent.get("status") in ("succeeded", "processing"):
        return None
    error = intent.get("last_payment_error") or {}
    reference = id_of(intent.get("latest_charge")) or id_of(intent)
    if error:
        code, decline = str(error.get("code") or ""), str(error.get("decline_code") or "")
        return code, decline, reference, decline_words(decline, code)
    if intent.get("status") in _WAITS:
        return "authentication_required", "", reference, decline_words("authentication_required")
    return "no_method", "", reference, NO_METHOD


# ---------------------------------------------------------------- another due date


def follow_due(unit: Unit, timezone: str, invoice_id: str, invoice: Data, now: datetime) -> bool:
    """Book another due date of an open invoice; return whether it moved."""
    if invoice["status"] != "open" or not invoice.get("due_date"):
        return False
    on = civil_day(invoice["due_date"], timezone)
    if unit.query("SELECT 1 FROM invoice WHERE id = ? AND due_on = ?", (invoice_id, on.isoformat())):
        return False
    before = held_of(unit, invoice_id)
    is_late = on < to_local(now, timezone).date()
    unit.execute("UPDATE invoice SET due_on = ?, is_overdue = ? WHERE id = ?", (on.isoformat(), is_late, invoice_id))
    say(unit, "invoice.due_moved", before, {"due_on": on.isoformat()}, now)
    return True
