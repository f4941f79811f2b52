"""Money that went back to the customer: refunds without a credit note, refunds that failed later, disputes that were lost (decision D-206).

Each is a payment below zero under Stripe's id, and one above zero where it came back; a note that names a refund takes its row over. What
people must do something about stands on the deal (`notices`).

Worked example: 120.00 are paid and 60.00 refunded with a note. A week later the bank gives the 60.00 back, because the account was closed: the
note stays as the customer has it, a payment of 60.00 says that the money is here, and the deal needs attention until it was sent another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from connector.billing import desk, store
from connector.billing.batches import in_batches
from connector.billing.desk import Held
from connector.billing.stripe_backend.fetching import NOTES, REFUNDS
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading import notices
from connector.billing.stripe_backend.reading.notices import Kind
from connector.billing.stripe_backend.reading.paying import METHOD, Keeper, held_of, invoices_charged, say
from connector.billing.stripe_backend.reading.picked import Data, civil_day, id_of
from connector.ports import Unit

_LOST = ("failed", "canceled")
_ANSWERED = ("needs_response", "warning_needs_response")
_REFUNDS, _DISPUTES = ("payment.refunded", "payment.refund_failed"), ("payment.charged_back", "payment.charge_back_reversed")
_WON = ("won", "warning_closed", "prevented")


# ---------------------------------------------------------------- refunds


def follow_refunds(unit: Unit, keeper: Keeper, invoice_id: str, invoice: Data, now: datetime) -> bool:
    """Book what no credit note stands for of each refund once, and one that failed afterwards the other way round."""
    refunds: Sequence[Data] = sorted(invoice.get(REFUNDS) or (), key=lambda r: (int(r["created"]), id_of(r)))
    if not refunds:
        return False
    noted = _noted(unit, invoice)
    rows = _rows(unit, [f"pay_{id_of(r)}{end}" for r in refunds for end in ("", "_back")])
    is_new, failed = False, ""
    for refund in refunds:
        row_id, currency = f"pay_{id_of(refund)}", str(refund["currency"])
        amount, in_notes = minor_amount(int(refund["amount"]), currency), minor_amount(noted.get(id_of(refund), 0), currency)
        owner = rows.get(row_id, "")
        if owner and owner != invoice_id:
            continue  # one payment of several invoices: it was booked on another
        if refund.get("status") not in _LOST:
            failed = ""
            if not owner and amount > in_notes:
                is_new = True
                _book(unit, keeper, invoice_id, refund, (row_id, in_notes - amount), now)
        elif owner or in_notes:
            failed = id_of(refund)
            if f"{row_id}_back" not in rows:
                is_new = True
                _book(unit, keeper, invoice_id, refund, (f"{row_id}_back", amount if owner else in_notes), now)
    return _tell_failed(unit, invoice_id, failed, refunds, now) or is_new


def _noted(unit: Unit, invoice: Data) -> dict[str, int]:
    """Return how much of each refund the notes of the books stand for, in Stripe's amounts, by the refund's id."""
    found: dict[str, int] = {}
    for note in invoice.get(NOTES) or ():
        if not unit.query("SELECT 1 FROM stripe_invoice WHERE stripe_id = ?", (id_of(note),)):
            continue
        for refund in note.get("refunds") or ():
            name = id_of(refund.get("refund"))
            found[name] = found.get(name, 0) + int(refund.get("amount_refunded") or 0)
    return found


def _rows(unit: Unit, ids: Sequence[str]) -> dict[str, str]:
    """Return the invoice of those payments that the books have."""
    found: dict[str, str] = {}
    for batch, marks in in_batches(ids):
        found.update(unit.query(f"SELECT id, invoice_id FROM payment WHERE id IN ({marks})", batch))
    return found


def _book(  # noqa: PLR0913 - what it is, and where it is said
    unit: Unit, keeper: Keeper, invoice_id: str, about: Data, row: tuple[str, int], now: datetime, *, names: tuple[str, str] = _REFUNDS
) -> None:
    """Book money that went back (below zero), or came back after all; *row*: the payment's id and amount, *names* of either event."""
    before, (row_id, amount) = held_of(unit, invoice_id), row
    on = civil_day(about["created"], keeper.timezone) if amount < 0 else civil_day(int(now.timestamp()), keeper.timezone)
    unit.execute(
        "INSERT INTO payment (id, invoice_id, amount, currency, method, reference, paid_on, note_id, made_at) VALUES (?,?,?,?,?,?,?,NULL,?)",
        (row_id, invoice_id, amount, before.currency, METHOD, id_of(about), on.isoformat(), store.at_text(now)),
    )
    unit.execute("UPDATE invoice SET amount_paid = amount_paid + ? WHERE id = ?", (amount, invoice_id))
    told: dict[str, Any] = {"amount": abs(amount), "reference": id_of(about), "reason": str(about.get("failure_reason") or about.get("reason") or "")}
    say(unit, names[amount > 0], before, told, now)
    if amount < 0:
        _settle_kept(unit, invoice_id, now)


def _tell_failed(unit: Unit, invoice_id: str, failed: str, refunds: Sequence[Data], now: datetime) -> bool:
    """Note on the deal that the last refund of an invoice failed, until another went through; return whether that is new."""
    held = held_of(unit, invoice_id)
    of = whose(unit, held)
    if not of:
        return False
    is_new = False
    for refund in refunds:
        if id_of(refund) != failed:
            is_new = notices.clear(unit, of, ("refund_failed",), id_of(refund), now) or is_new
        else:
            why = str(refund.get("failure_reason") or "").replace("_", " ")
            amount = desk.money_text(minor_amount(int(refund["amount"]), held.currency), held.currency)
            is_new = _put(unit, of, "refund_failed", failed, ", ".join(filter(None, (held.number, amount, why))), now) or is_new
    return is_new


# ---------------------------------------------------------------- disputes


def disputed(unit: Unit, keeper: Keeper, dispute: Data, now: datetime) -> list[str]:
    """Note a dispute of a payment of ours, or its end: lost, the money went back; return the deals to tell."""
    charge, ref, status = id_of(dispute.get("charge")), id_of(dispute), str(dispute.get("status") or "")
    told: list[str] = []
    for invoice_id in invoices_charged(unit, [charge]).get(charge, ())[:1]:
        held = held_of(unit, invoice_id)
        unit.execute("UPDATE stripe_invoice SET dispute = ? WHERE invoice_id = ? AND dispute <> ?", (status, invoice_id, status))
        has_moved = _book_dispute(unit, keeper, invoice_id, dispute, now)
        of = whose(unit, held)
        if of:
            facts = _facts(dispute, held, keeper.timezone)
            if status in _WON:
                has_moved = notices.clear(unit, of, ("disputed", "dispute_lost"), ref, now) or has_moved
            elif status == "lost":
                has_moved = notices.clear(unit, of, ("disputed",), ref, now) or has_moved
                has_moved = _put(unit, of, "dispute_lost", ref, facts, now) or has_moved
            else:
                has_moved = _put(unit, of, "disputed", ref, facts, now) or has_moved
        if has_moved:
            told += [*desk.deals_to_tell(unit, held), *(store.deals_of_contracts(unit, [of]) if of else ())]
    return list(dict.fromkeys(told))


def _book_dispute(unit: Unit, keeper: Keeper, invoice_id: str, dispute: Data, now: datetime) -> bool:
    """Book the money of a dispute that was lost, and back again where it was won after all."""
    if str(dispute.get("currency")) != held_of(unit, invoice_id).currency:
        return False  # how much of the payment that is nobody says; the deal does (`_facts`)
    row_id, amount = f"pay_{id_of(dispute)}", minor_amount(int(dispute.get("amount") or 0), str(dispute["currency"]))
    rows = _rows(unit, [row_id, f"{row_id}_back"])
    if dispute.get("status") == "lost" and row_id not in rows and amount:
        _book(unit, keeper, invoice_id, dispute, (row_id, -amount), now, names=_DISPUTES)
        return True
    if dispute.get("status") == "won" and row_id in rows and f"{row_id}_back" not in rows:
        _book(unit, keeper, invoice_id, dispute, (f"{row_id}_back", amount), now, names=_DISPUTES)
        return True
    return False


def _facts(dispute: Data, held: Held, timezone: str) -> str:
    due = (dispute.get("evidence_details") or {}).get("due_by")
    answer = f"answer by {civil_day(due, timezone).isoformat()}" if due and dispute.get("status") in _ANSWERED else ""
    currency, apart = str(dispute.get("currency") or held.currency), ""
    if currency != held.currency:
        amount = desk.money_text(minor_amount(int(dispute.get("amount") or 0), currency), currency)
        apart = f"{amount}, in another currency than the invoice: what was paid for it counts in full until it is credited"
    return ", ".join(filter(None, (held.number, str(dispute.get("reason") or "").replace("_", " "), answer, apart)))


# ---------------------------------------------------------------- money kept for an invoice that is void


def tell_kept(unit: Unit, held: Held, now: datetime) -> None:
    """Note on the deal that an invoice was voided of which a part had been paid: that money belongs to nothing any more."""
    of, kept = whose(unit, held), _kept(unit, held.id)
    if of and kept > 0:
        _put(unit, of, "voided_paid", held.id, f"{held.number}, {desk.money_text(kept, held.currency)}", now)


def _settle_kept(unit: Unit, invoice_id: str, now: datetime) -> None:
    for (contract_id,) in unit.query("SELECT contract_id FROM stripe_notice WHERE kind = 'voided_paid' AND ref = ?", (invoice_id,)):
        if _kept(unit, invoice_id) <= 0:
            notices.clear(unit, contract_id, ("voided_paid",), invoice_id, now)


def _kept(unit: Unit, invoice_id: str) -> int:
    return int(unit.query("SELECT COALESCE(SUM(amount), 0) FROM payment WHERE invoice_id = ?", (invoice_id,))[0][0])


def whose(unit: Unit, held: Held) -> str:
    """Return the contract on whose deals something of an invoice is told: its own, or the customer's newest; "" for none."""
    rows = unit.query("SELECT MAX(id) FROM contract WHERE customer_id = ?", (held.customer_id,)) if not held.contract_id else ()
    return held.contract_id or str((rows[0][0] if rows else "") or "")


def _put(unit: Unit, of: str, kind: Kind, ref: str, facts: str, now: datetime) -> bool:
    return notices.put(unit, of, kind, ref, notices.problem_of(kind, facts), now)
