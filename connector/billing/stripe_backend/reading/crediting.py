"""Credit notes, voiding and giving up of an invoice, wherever somebody did it: here, or in Stripe's dashboard (decision D-196).

A note of Stripe becomes one of the books under Stripe's number, and stands for the refunds that it names. What a note takes of lines, no
change of the contract credits once more. (Money that went back without a note: `returning`.)

Worked example: 120.00 with 20.00 tax is paid and 60.00 of it refunded with a note: 50.00 net and 10.00 tax off its line, 60.00 went back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from connector.billing import desk, store
from connector.billing.desk import Held
from connector.billing.issue import token_for
from connector.billing.outbox import Entry
from connector.billing.parts import credit_parts
from connector.billing.stripe_backend.fetching import NOTES
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading import giving_back, returning
from connector.billing.stripe_backend.reading.lines import places_of
from connector.billing.stripe_backend.reading.paying import METHOD, Keeper, held_of, say
from connector.billing.stripe_backend.reading.picked import Data, civil_day, id_of
from connector.billing.taken import take_from_lines
from connector.core.lines import Line
from connector.core.money import allocate
from connector.core.settlement import taken_back
from connector.core.values import dataclass
from connector.kit.db import new_id
from connector.ports import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """What a note adds up to and what became of it, in minor units; see the table of credit notes."""

    total: int
    tax: int
    reduced: int
    refunded: int
    credited: int
    out_of_band: int


def follow_notes(unit: Unit, keeper: Keeper, invoice_id: str, invoice: Data, now: datetime, given_back: Callable[[Sequence[Line]], None]) -> bool:
    """Book each credit note once, and take back one that was voided; return whether there was anything new.

    given_back - is told of credits of changes that came as notes, once they are facts.
    """
    found = sorted(invoice.get(NOTES) or (), key=lambda note: (note["created"], note["id"]))
    news = [_noted(unit, keeper, invoice_id, invoice, note, now) for note in found]
    facts = [fact for note in found for fact in giving_back.booked(unit, note)]
    if facts:
        given_back(facts)
    return any(news)


def _noted(unit: Unit, keeper: Keeper, invoice_id: str, invoice: Data, note: Data, now: datetime) -> bool:
    rows = unit.query(
        "SELECT n.id, n.total FROM stripe_invoice s JOIN credit_note n ON n.id = s.invoice_id WHERE s.stripe_id = ?", (id_of(note),)
    )
    is_void = note.get("status") == "void"
    if rows:
        return bool(rows[0][1]) and is_void and _taken_back(unit, invoice_id, rows[0][0], note, now)
    if is_void:
        return False
    before, note_id = held_of(unit, invoice_id), new_id("cn", now)
    sums = _sums(note)
    _save(unit, before, note_id, note, sums, (keeper.timezone, now))
    _take(unit, before, note_id, invoice, note, sums)
    sent = sums.refunded - _taken_along(unit, before, note_id, note)
    for amount, reference in ((sent, note["number"]), (sums.out_of_band, f"{note['number']}, out of band")):
        if amount > 0:
            on = civil_day(note["created"], keeper.timezone)
            desk.save_payment(unit, before, -amount, on=on, now=now, note=(note_id, str(reference)), method=METHOD)
    unit.execute("UPDATE invoice SET credited = credited + ? WHERE id = ?", (sums.total, invoice_id))
    told = {
        "note": note["number"], "total": sums.total, "reduced": sums.reduced, "refunded": sums.refunded, "credited": sums.credited,
        "out_of_band": sums.out_of_band, "reason": _reason(note),
    }  # fmt: skip
    say(unit, "invoice.credited", before, told, now)
    left = max(0, before.invoice.amount_remaining - sums.reduced)
    data = {"note": note["number"], "total": sums.total, "currency": before.currency, "open": left, "reason": _reason(note)}
    keeper.mailing.write(unit, [Entry(key=f"{note['number']}/issued", kind="credit_note", invoice_id=invoice_id, data=data)], now)
    return True


def _taken_along(unit: Unit, held: Held, note_id: str, note: Data) -> int:
    """Let a note stand for refunds that were booked before it came; return how much of what it refunded that is."""
    booked = 0
    for refund in note.get("refunds") or ():
        row_id = f"pay_{id_of(refund.get('refund'))}"
        for (amount,) in unit.query("SELECT amount FROM payment WHERE id = ? AND invoice_id = ? AND note_id IS NULL", (row_id, held.id)):
            part = min(-amount, minor_amount(int(refund.get("amount_refunded") or 0), held.currency))
            unit.execute("UPDATE invoice SET amount_paid = amount_paid + ? WHERE id = ?", (part, held.id))
            if part == -amount:
                unit.execute("UPDATE payment SET note_id = ? WHERE id = ?", (note_id, row_id))
                booked += part
            else:
                unit.execute("UPDATE payment SET amount = amount + ? WHERE id = ?", (part, row_id))
    return booked


def _sums(note: Data) -> _Sums:
    currency = str(note["currency"])

    def minor(amount: object) -> int:
        return minor_amount(int(str(amount or 0)), currency)

    total, reduced = minor(note["total"]), minor(note.get("pre_payment_amount"))
    refunded = sum(minor(r.get("amount_refunded")) for r in note.get("refunds") or ())
    outside = minor(note.get("out_of_band_amount"))
    return _Sums(
        total=total, tax=sum(minor(t["amount"]) for t in note.get("total_taxes") or ()), reduced=reduced, refunded=refunded,
        credited=max(0, total - reduced - refunded - outside), out_of_band=outside,
    )  # fmt: skip


def _reason(note: Data) -> str:
    return str(note.get("memo") or (note.get("reason") or "").replace("_", " "))


def _save(unit: Unit, held: Held, note_id: str, note: Data, sums: _Sums, when: tuple[str, datetime]) -> None:
    timezone, now = when
    on = civil_day(note.get("effective_at") or note["created"], timezone)
    unit.execute(
        "INSERT INTO credit_note (id, number, token, invoice_id, customer_id, contract_id, deal, currency, issued_on, reason, total, tax,"
        " reduced, refunded, credited, out_of_band, bill_to, created_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            note_id, str(note["number"]), token_for(note_id), held.id, held.customer_id, held.contract_id, held.deal, held.currency,
            on.isoformat(), _reason(note), sums.total, sums.tax, sums.reduced, sums.refunded, sums.credited, sums.out_of_band, held.bill_to,
            store.at_text(now),
        ),
    )  # fmt: skip
    unit.execute(
        "INSERT INTO stripe_invoice (invoice_id, stripe_id, url, pdf, url_until, charge, dispute) VALUES (?,?,'',?,NULL,'','')",
        (note_id, id_of(note), str(note.get("pdf") or "")),
    )


def _take(unit: Unit, held: Held, note_id: str, invoice: Data, note: Data, sums: _Sums) -> None:
    """Write what a note takes of which line; what it credits without naming one is spread over what is left of all."""
    places = places_of(invoice)
    if len(set(places.values())) != len(held.invoice.lines):
        places = {}  # a line there is several here
    before = _credited_before(unit, held.id)
    rows: list[tuple[Line, int, list[tuple[str, int, bool]]]] = []
    for line in (note.get("lines") or {}).get("data") or ():
        net, taxes = _net(line, held.currency), _taxes(line, held.currency)
        place = places.get(id_of(line.get("invoice_line_item")))
        if place is not None and place < len(held.invoice.lines):
            rows.append((held.invoice.lines[place], net, taxes))
        else:
            rows += _spread(held, net, taxes, before)
    unit.executemany(
        "INSERT INTO credit_note_line (note_id, position, line_key, description, quantity, amount, tax, taxes) VALUES (?,?,?,?,?,?,?,?)",
        [
            (note_id, n, line.key, line.description or line.product, None, net, sum(t for _, t, _ in taxes), json.dumps(taxes))
            for n, (line, net, taxes) in enumerate(rows, 1)
        ],
    )
    if not held.contract_id:
        shared: dict[str, int] = {}
        for line, net, taxes in rows:
            shared[line.contract_id] = shared.get(line.contract_id, 0) + net + sum(t for _, t, inside in taxes if not inside)
        credit_parts(unit, held.id, shared, sums.credited)
    copies = {desk.root_key(line.key): net for line, net, _ in rows if store.COPY in line.key}
    take_from_lines(unit, f"{note_id}/copies", copies)


def _net(line: Data, currency: str) -> int:
    """Return what a line of a note takes, after discounts and net of tax on top."""
    return minor_amount(int(line["amount"]) - int(line.get("discount_amount") or 0), currency)


def _taxes(line: Data, currency: str) -> list[tuple[str, int, bool]]:
    return [
        (id_of((tax.get("tax_rate_details") or {}).get("tax_rate")) or "tax", minor_amount(tax["amount"], currency), tax.get("tax_behavior") == "inclusive")
        for tax in line.get("taxes") or ()
    ]


def _spread(held: Held, net: int, taxes: Sequence[tuple[str, int, bool]], before: Mapping[str, int]) -> list[tuple[Line, int, list[tuple[str, int, bool]]]]:
    """Return an amount that names no line as taken of all, in proportion to what is left of them; the tax inside goes with the first."""
    weights = [max(0, line.gross - before.get(line.key, 0)) for line in held.invoice.lines]
    if not held.invoice.lines:
        return []
    if not any(weights):
        weights = [1] * len(held.invoice.lines)
    shares = allocate(net, weights)
    found = []
    for line, gross in zip(held.invoice.lines, shares, strict=True):
        # an amount without lines is one with tax: what is on top of the line is taken in proportion, not as net
        own = line.net * gross // line.gross if line.gross > 0 and not taxes else gross
        found.append((line, own, list(taxes) if line is held.invoice.lines[0] else []))
    return [(line, own, named) for line, own, named in found if own]


def _credited_before(unit: Unit, invoice_id: str) -> dict[str, int]:
    sql = (
        "SELECT line_key, SUM(amount) FROM credit_note_line WHERE note_id IN (SELECT id FROM credit_note WHERE invoice_id = ?)"
        " GROUP BY line_key"
    )
    return {key: int(taken) for key, taken in unit.query(sql, (invoice_id,))}


def _taken_back(unit: Unit, invoice_id: str, note_id: str, note: Data, now: datetime) -> bool:
    """Undo a note that was voided: it credits nothing any more."""
    before, sums = held_of(unit, invoice_id), _sums(note)
    unit.execute("UPDATE invoice SET credited = credited - ? WHERE id = ?", (sums.total, invoice_id))
    unit.execute("DELETE FROM credit_note_line WHERE note_id IN (?, ?, ?)", (note_id, f"{note_id}/copies", f"{note_id}/change"))
    unit.execute("UPDATE credit_note SET total = 0, tax = 0, reduced = 0, refunded = 0, credited = 0, out_of_band = 0 WHERE id = ?", (note_id,))
    say(unit, "credit_note.voided", before, {"note": note["number"], "total": sums.total}, now)
    return True


# ---------------------------------------------------------------- the end of an invoice


_ENDS = {"void": "invoice.voided", "uncollectible": "invoice.given_up"}


def follow_end(unit: Unit, invoice_id: str, invoice: Data, now: datetime) -> bool:
    """Book that an invoice was voided or given up; return whether it was.

    Nothing comes back from void or paid, and what was given up is only paid or voided: a state from before, which another worker read and
    writes late, changes nothing.
    """
    status = str(invoice["status"])
    if status not in _ENDS:
        return False
    before = held_of(unit, invoice_id)
    if before.invoice.status not in ("open", "uncollectible") or before.invoice.status == status:
        return False
    unit.execute("UPDATE invoice SET next_charge_at = NULL WHERE id = ?", (invoice_id,))
    desk.set_status(unit, invoice_id, status, None)  # type: ignore[arg-type]
    if status == "void":
        taken = _credited_before(unit, invoice_id)
        take_from_lines(unit, invoice_id, {desk.root_key(k): net - taken.get(k, 0) for k, net in taken_back(before.invoice).items()})
        returning.tell_kept(unit, before, now)
    say(unit, _ENDS[status], before, {"status": status}, now)
    return True
