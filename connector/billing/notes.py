"""What becomes of an invoice after it was issued: credit notes, refunds, voiding, giving up, another due date.

An issued invoice never changes but in what is open of it. Worked example: INV-0001 over 120.00 (20.00 of it tax) is open; a
credit of 60.00 is CN-0001 with 50.00 net and 10.00 tax, and 60.00 stays due. Were it paid, the 60.00 would go back to the
customer, to the customer's balance, or be noted as settled outside, in the proportions asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from connector.billing import desk, store
from connector.billing.desk import Held, money_text, refused
from connector.billing.intents import Engine, Handler, Request
from connector.billing.issue import Series, today_in, token_for
from connector.billing.outbox import Entry
from connector.billing.parts import credit_parts
from connector.billing.taken import proration_credits, take_from_lines
from connector.core.invoicing import Line
from connector.core.money import allocate, quotient, rounded
from connector.core.settlement import (
    CreditNote,
    Invoice,
    credit_note,
    marked_uncollectible,
    prorated,
    taken_back,
    voided,
)
from connector.kit.db import new_id
from connector.ports import IntentResult, Unit

PREFIX = "CN"
NEVER_REMINDED = -10_000
_ALL = "all"
_WAYS = ("refund", "credit", "out_of_band")


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A credit note that stands: its number, what it took, and the invoice after it."""

    number: str
    note: CreditNote
    reduced: int
    invoice: Invoice
    on: date
    reason: str

    def result(self, held: Held) -> dict[str, Any]:
        """Return what whoever asked is told; amounts in minor units."""
        note = self.note
        return {
            "invoice": held.number, "note": self.number, "currency": held.currency, "total": note.total, "reduced": self.reduced,
            "refunded": note.refund, "credited": note.credit, "out_of_band": note.out_of_band,
            "status": self.invoice.status, "open": self.invoice.amount_remaining,
        }  # fmt: skip


def credit(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Credit an invoice: `amount` in minor units with tax, or `lines` of {line, amount | quantity}; without either, all that is left.

    `refund`, `credit` and `out_of_band` say what becomes of the part that was paid: minor units, or "all" for one of them.
    """
    held = desk.held(unit, str(request.data.get("invoice", "")))
    issued = write_note(request, engine, unit, held, request.data)
    return _credited(request, unit, held, issued, "invoice.credited")


def refund(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Give money back: a credit note of `amount` (minor units, with tax; default all that was paid) whose paid part is refunded."""
    held = desk.held(unit, str(request.data.get("invoice", "")))
    issued = write_note(request, engine, unit, held, refund_wanted(unit, held, request.data))
    return _credited(request, unit, held, issued, "invoice.refunded")


def refund_wanted(unit: Unit, held: Held, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the note that a refund is (see `credit`). Raises: RejectedError where nothing was paid."""
    left = held.invoice.amount_paid - desk.given_back(unit, held.id)
    free = held.invoice.total - held.invoice.credited - _add_prorated(unit, held, {})
    if held.invoice.status != "paid" or left <= 0:
        raise refused(
            "nothing-paid", f"{held.number} is {held.invoice.status}; only what was paid can be refunded.", "Credit it instead."
        )
    amount = data.get("amount")
    return {"amount": (min(left, free) or left) if amount is None else amount, "refund": _ALL, "reason": data.get("reason", "")}


def _credited(request: Request, unit: Unit, held: Held, issued: Issued, name: str) -> IntentResult:
    result = issued.result(held)
    after = replace(held, invoice=issued.invoice)
    return desk.save_event(unit, request, name, result, before=held, after=after)


def write_note(
    request: Request, engine: Engine, unit: Unit, held: Held, wanted: Mapping[str, Any], *, is_moved: bool = False
) -> Issued:
    """Write a credit note on an invoice and move what it moves; see `credit` for *wanted*. Raises: RejectedError.

    is_moved - the lines go to another invoice as they are, so that what changes credited of them counts there.
    """
    invoice = held.invoice
    note, after, to_balance = worked_out(unit, held, wanted, is_moved=is_moved)
    reduced = note.total - note.refund - note.credit - note.out_of_band
    on = today_in(engine.timezone, request.now)
    number = _number(engine.series, unit, on)
    issued = Issued(number=number, note=note, reduced=reduced, invoice=after, on=on, reason=str(wanted.get("reason", "")))
    _save(request, unit, held, issued)
    if after.status != invoice.status:
        desk.set_status(unit, held.id, after.status, on if after.status == "paid" else None)
    unit.execute("UPDATE invoice SET credited = ? WHERE id = ?", (after.credited, held.id))
    if to_balance:
        desk.move_balance(unit, held.customer_id, held.currency, -to_balance, held.id, request.now, actor=request.actor)
    told = {"note": number, "total": note.total, "currency": held.currency, "open": after.amount_remaining, "reason": issued.reason}
    engine.mailing.write(unit, [Entry(key=f"{number}/issued", kind="credit_note", invoice_id=held.id, data=told)], request.now)
    return issued


def worked_out(unit: Unit, held: Held, wanted: Mapping[str, Any], *, is_moved: bool = False) -> tuple[CreditNote, Invoice, int]:
    """Return the note that `credit` asks for, the invoice after it and what goes to the balance; nothing is written. Raises: RejectedError."""
    invoice = held.invoice
    credited, on_others = _credited_before(unit, held), 0
    if not is_moved:
        on_others = _add_prorated(unit, held, credited)
    lines = _lines(held, wanted.get("lines") or (), credited)
    amount = wanted.get("amount")
    if lines and amount is not None:
        raise refused("two-amounts", "Give an amount or lines, not both.")
    if not lines and amount is None:
        amount = invoice.total - invoice.credited - on_others
    total = _checked_total(held, amount, lines, on_others)
    beyond = max(0, total - invoice.amount_remaining)
    back = _back(unit, held, wanted, beyond)
    return credit_note(invoice, amount=amount, lines=lines, paid_back=back, credited=credited)


def _checked_total(held: Held, amount: int | None, lines: Sequence[tuple[str, int]], on_others: int) -> int:
    """Return what a note would add up to. Raises: RejectedError where it is not above zero or more than what is left."""
    invoice = held.invoice
    if invoice.status not in ("open", "paid", "uncollectible"):
        raise refused("not-creditable", f"{held.number} is {invoice.status}; only an issued invoice can be credited.")
    by_key = {line.key: line for line in invoice.lines}
    total = amount if amount is not None else sum(net + _top(by_key[key], net) for key, net in lines)
    left = invoice.total - invoice.credited - on_others
    if not 0 < total <= left:
        most = money_text(max(0, left), held.currency)
        if on_others:
            most = f"{money_text(on_others, held.currency)} of it was credited on later invoices, {most}"
        raise refused(
            "credit-too-large", f"A credit of {money_text(total, held.currency)} does not fit {held.number}: {most} of it is left.",
            "Credit more than zero and at most what is left.",
        )  # fmt: skip
    return total


def _top(line: Line, net: int) -> int:
    return quotient(line.exclusive_tax * net, line.net) if line.net > 0 else 0


def _credited_before(unit: Unit, held: Held) -> dict[str, int]:
    """Return what earlier notes took of each line, net of tax on top, in minor units."""
    sql = (
        "SELECT line_key, SUM(amount) FROM credit_note_line WHERE note_id IN (SELECT id FROM credit_note WHERE invoice_id = ?)"
        " GROUP BY line_key"
    )
    return {key: int(taken) for key, taken in unit.query(sql, (held.id,))}


def _add_prorated(unit: Unit, held: Held, credited: dict[str, int]) -> int:
    """Add to *credited* what changes credited of the lines on later invoices; return the sum of that with tax on top."""
    originals = {desk.root_key(line.key): line.key for line in held.invoice.lines}
    known = [replace(line, key=desk.root_key(line.key)) for line in held.invoice.lines]
    taken, gross = prorated(known, proration_credits(unit, known))
    for root, net in taken.items():
        credited[originals[root]] = credited.get(originals[root], 0) + net
    return gross


def _lines(held: Held, asked: Sequence[Mapping[str, Any]], credited: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return (line key, net) for lines asked for by their number on the invoice, with an amount or a quantity."""
    found: dict[str, int] = {}
    for entry in asked:
        number = int(entry["line"])
        if not 1 <= number <= len(held.invoice.lines):
            raise refused("unknown-line", f"{held.number} has no line {number}; it has {len(held.invoice.lines)}.")
        line = held.invoice.lines[number - 1]
        net = int(entry["amount"]) if "amount" in entry else _worth(line, str(entry["quantity"]))
        left = line.net - credited.get(line.key, 0)
        if line.key in found or not 0 < net <= left:
            most = money_text(max(0, left), held.currency)
            raise refused(
                "credit-too-large",
                f"A credit of {money_text(net, held.currency)} before tax does not fit line {number} of {held.number}: {most} of it is left.",
                "Name each line once, with more than zero and at most what is left.",
            )
        found[line.key] = net
    return tuple(found.items())


def _worth(line: Line, quantity: str) -> int:
    try:
        part = Decimal(quantity)
    except InvalidOperation as error:
        raise refused("bad-quantity", f"{quantity} is no quantity.", "Write 2 or 1.5.") from error
    if not line.quantity or not 0 < part <= line.quantity:
        raise refused("bad-quantity", f"The line has {line.quantity}; {quantity} of it cannot be credited.")
    return rounded(line.net * part / line.quantity)


def _back(unit: Unit, held: Held, wanted: Mapping[str, Any], beyond: int) -> dict[str, int]:
    """Return what becomes of the part that is not open any more. Raises: RejectedError where that is not said, or cannot be."""
    asked = {way: wanted[way] for way in _WAYS if wanted.get(way)}
    whole = [way for way, value in asked.items() if value == _ALL]
    back = {way: int(value) for way, value in asked.items() if value != _ALL}
    rest = beyond - sum(back.values())
    if len(whole) > 1:
        raise refused("credit-split", "Only one way can take all; give amounts.")
    if whole and rest > 0:
        back[whole[0]] = rest
    elif rest and not (rest == beyond > 0 and not asked and held.invoice.status == "open"):
        what = money_text(beyond, held.currency)
        raise refused(
            "credit-split", f"{what} of the credit goes beyond what is open of {held.number}; it is not said where all of it goes.",
            f"Give refund, balance and out of band amounts that add up to {what}, or one of them all of it.",
        )  # fmt: skip
    returned = back.get("refund", 0) + back.get("out_of_band", 0)
    most = held.invoice.amount_paid - desk.given_back(unit, held.id)
    if returned > most:
        raise refused(
            "refund-too-large", f"{money_text(most, held.currency)} of what was paid for {held.number} can still go back.",
            "Put the rest on the customer's balance.",
        )  # fmt: skip
    return back


def _number(series: Series, unit: Unit, on: date) -> str:
    """Take the next number of the credit notes' own series (decision D-15)."""
    numbering = series.numbering if "{prefix" in series.numbering else "{prefix}-" + series.numbering
    return Series(numbering=numbering, prefix=PREFIX).numbers(unit, [on.year])[0]


def _save(request: Request, unit: Unit, held: Held, issued: Issued) -> None:
    """Write the note, its lines with their taxes, and the payments that it sends back."""
    note, number, on = issued.note, issued.number, issued.on
    by_key = {line.key: line for line in held.invoice.lines}
    rows = [(by_key[key], net) for key, net in note.lines]
    on_top = allocate(note.total - sum(net for _, net in rows), [max(0, _top(line, net)) for line, net in rows])
    taxed = [_taxes(line, net, top) for (line, net), top in zip(rows, on_top, strict=True)]
    note_id = new_id("cn", request.now)
    unit.execute(
        "INSERT INTO credit_note (id, number, token, invoice_id, customer_id, contract_id, deal, currency, issued_on, reason, total, tax,"
        " reduced, refunded, credited, out_of_band, bill_to, created_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            note_id, number, token_for(note_id), held.id, held.customer_id, held.contract_id, held.deal, held.currency, on.isoformat(),
            issued.reason, note.total, sum(tax for entries in taxed for _, tax, _ in entries), issued.reduced, note.refund, note.credit,
            note.out_of_band, held.bill_to, store.at_text(request.now),
        ),
    )  # fmt: skip
    unit.executemany(
        "INSERT INTO credit_note_line (note_id, position, line_key, description, quantity, amount, tax, taxes) VALUES (?,?,?,?,?,?,?,?)",
        [
            (note_id, n, line.key, line.description or line.product, None, net, sum(t for _, t, _ in entries), json.dumps(entries))
            for n, ((line, net), entries) in enumerate(zip(rows, taxed, strict=True), 1)
        ],
    )
    if not held.contract_id:
        shared: dict[str, int] = {}
        for (line, net), top in zip(rows, on_top, strict=True):
            shared[line.contract_id] = shared.get(line.contract_id, 0) + net + top
        credit_parts(unit, held.id, shared, note.credit)
    copies = {desk.root_key(line.key): net for line, net in rows if store.COPY in line.key}
    take_from_lines(unit, f"{note_id}/copies", copies)  # what a copy loses, the line it is a copy of loses
    for sent, reference in ((note.refund, number), (note.out_of_band, f"{number}, out of band")):
        if sent:
            desk.save_payment(unit, held, -sent, on=on, now=request.now, note=(note_id, reference))


def _taxes(line: Line, net: int, on_top: int) -> list[tuple[str, int, bool]]:
    """Return the taxes of a note's line: *on_top* split as on the line, those inside the price in proportion."""
    top = iter(allocate(on_top, [max(0, t) for _, t, inside in line.taxes if not inside] or [1]))
    return [
        (rate, quotient(tax * net, line.net) if inside and line.net > 0 else next(top) if not inside else 0, inside)
        for rate, tax, inside in line.taxes
    ]


# ---------------------------------------------------------------- without a note


def void(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Take back an open invoice: nothing of it is due, its periods are not billed again (decision D-31); balance used returns."""
    held = desk.held(unit, str(request.data.get("invoice", "")))
    desk.refuse_charging(unit, held)
    result = {"invoice": held.number, "status": "void"}
    after = write_void(request, unit, held)
    return desk.save_event(unit, request, "invoice.voided", result, before=held, after=after)


def write_void(request: Request, unit: Unit, held: Held, *, is_moved: bool = False) -> Held:
    """Void an invoice and return it after that. Raises: RejectedError where something was paid or credited later, or it is not open.

    is_moved - the lines go to another invoice as they are, so that what changes credited of them counts there.
    """
    refuse_void(unit, held, is_moved=is_moved)
    after = voided(held.invoice)
    desk.set_status(unit, held.id, after.status, None)
    used = held.invoice.ending_balance - held.invoice.starting_balance
    if used > 0:
        desk.move_balance(unit, held.customer_id, held.currency, -used, held.id, request.now, actor=request.actor)
    before = _credited_before(unit, held)
    taken = {desk.root_key(key): net - before.get(key, 0) for key, net in taken_back(held.invoice).items()}
    take_from_lines(unit, held.id, taken)
    return replace(held, invoice=after)


def refuse_void(unit: Unit, held: Held, *, is_moved: bool = False) -> None:
    """Raise RejectedError where an invoice cannot be voided; see `write_void`."""
    on_others = 0 if is_moved else _add_prorated(unit, held, {})
    if on_others:
        raise refused(
            "already-credited",
            f"{money_text(on_others, held.currency)} of {held.number} was credited on a later invoice by a change of the contract; voiding it would give that back twice.",
            f"Credit what is left of it: `connector invoices credit {held.number} --reason TEXT`.",
        )
    if held.invoice.status == "void":
        raise refused("already-void", f"{held.number} is void already.", "Nothing is to be done.")
    if held.invoice.status not in ("open", "uncollectible") or held.invoice.amount_paid:
        paid = money_text(held.invoice.amount_paid, held.currency)
        raise refused(
            "not-voidable", f"{held.number} is {held.invoice.status} and {paid} was paid; it cannot be voided.", "Credit it instead."
        )


def uncollectible(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Give up an open invoice: it stays on the books as owed, and nobody expects it to be paid."""
    held = desk.held(unit, str(request.data.get("invoice", "")))
    refuse_uncollectible(held)
    after = replace(held, invoice=marked_uncollectible(held.invoice))
    desk.set_status(unit, held.id, after.invoice.status, None)
    result = {"invoice": held.number, "status": "uncollectible"}
    return desk.save_event(unit, request, "invoice.given_up", result, before=held, after=after)


def refuse_uncollectible(held: Held) -> None:
    """Raise RejectedError where an invoice cannot be given up."""
    if held.invoice.status != "open":
        raise refused("not-open", f"{held.number} is {held.invoice.status}; only an open invoice can be given up.")


def due(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Give an open invoice another due date, `on` as YYYY-MM-DD, not before it was issued."""
    held = desk.held(unit, str(request.data.get("invoice", "")))
    on = date.fromisoformat(str(request.data["on"]))
    if held.invoice.status != "open":
        raise refused("not-open", f"{held.number} is {held.invoice.status}; only an open invoice has a due date to move.")
    if on < held.issued_on:
        raise refused("due-before-issue", f"{held.number} was issued on {held.issued_on}; it cannot be due on {on}.", "Give a later day.")
    result = {"invoice": held.number, "due_on": on.isoformat()}
    if on == held.invoice.due_on:
        return IntentResult(result=result)
    is_late = on < today_in(engine.timezone, request.now)
    # its reminders begin anew, counted from the new day
    again = "reminded = ?, reminded_on = '', dunning = ''"
    unit.execute(f"UPDATE invoice SET due_on = ?, is_overdue = ?, {again} WHERE id = ?", (on.isoformat(), is_late, NEVER_REMINDED, held.id))
    after = replace(held, invoice=replace(held.invoice, due_on=on), is_overdue=is_late)
    return desk.save_event(unit, request, "invoice.due_moved", result, before=held, after=after)


HANDLED: dict[str, Handler] = {
    "invoice.credit": desk.once(credit),
    "invoice.refund": desk.once(refund),
    "invoice.void": desk.once(void),
    "invoice.uncollectible": desk.once(uncollectible),
    "invoice.due": desk.once(due),
}
