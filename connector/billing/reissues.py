"""Invoices that people ask for: a one-off one, and an issued one again with today's customer data.

Worked example: INV-0001 over 120.00 went out with the old address and nothing was paid: it is void, and INV-0002 has the same
lines, the new address and a new due date. Had it been paid, a credit note of 120.00 to the balance would stand against it, and
the balance would pay INV-0002 at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from connector.billing import desk, notes, outbox, store
from connector.billing.customers import customer_named
from connector.billing.desk import Held, refused
from connector.billing.intents import Engine, Handler, Request
from connector.billing.issue import today_in, token_for
from connector.billing.locking import hold_contracts
from connector.billing.parts import copy_parts
from connector.billing.store import BookedContract, BookedInvoice, Customer
from connector.billing.taken import take_from_lines
from connector.core.invoicing import Line
from connector.core.money import digits, rounded
from connector.core.settlement import CustomerState, finalized
from connector.core.tax import line_taxes, rates_on
from connector.core.terms import ContractTerms, Settings, TaxRate
from connector.errors import RejectedError
from connector.kit.db import new_id
from connector.ports import AccountTax, HowBilled, IntentResult, Unit

_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An invoice to issue: for whom, with which lines, and the contract and deal it belongs to, "" for none."""

    customer: Customer
    currency: str
    lines: Sequence[Line]
    how: HowBilled
    contract_id: str = ""
    deal: str = ""
    rates: tuple[TaxRate, ...] = ()


def _issued(request: Request, engine: Engine, unit: Unit, wanted: Wanted, invoice_id: str) -> Held:
    """Finalize and write an invoice dated now: the balance counts towards it, its number comes last (decision D-15)."""
    on = today_in(engine.timezone, request.now)
    start = datetime.combine(on, time())
    customer, how = wanted.customer, wanted.how
    terms = ContractTerms(
        currency=wanted.currency, timezone=engine.timezone, settings=Settings(proration="day", tax_rounding="line"), start=start, phases=(),
        collection_method=how.collection_method, days_until_due=how.days_until_due,
    )  # fmt: skip
    state = CustomerState(id=customer.id, balances=customer.balances)
    invoice, _ = finalized(wanted.lines, customer=state, terms=terms, at=request.now, is_first=False)
    holder = BookedContract(
        id=wanted.contract_id, deal=wanted.deal, label="", customer_id=customer.id, terms=terms, data="", how=how, starts_on=on
    )
    (number,) = engine.series.numbers(unit, [on.year])
    note = "" if any(line.taxes for line in wanted.lines) else engine.tax.tax_of(customer.details).note
    booked = BookedInvoice(
        id=invoice_id, number=number, token=token_for(invoice_id), invoice=replace(invoice, billing_reason="manual"), contract=holder,
        deal=wanted.deal, issued_on=on, made_at=store.at_text(request.now), bill_to=store.bill_to_text(customer.details, note),
    )  # fmt: skip
    store.insert_invoices(unit, [booked])
    used = invoice.ending_balance - invoice.starting_balance
    if used:
        desk.move_balance(unit, customer.id, wanted.currency, used, invoice_id, request.now, actor=request.actor)
    engine.mailing.write(unit, outbox.issued([(invoice_id, invoice.status, invoice.total)]), request.now)
    return desk.held(unit, number)


def reissue(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Take an issued invoice back (void, or credited in full to the balance) and issue its lines anew, billed to the customer of today."""
    held = desk.held(unit, str(request.data.get("invoice", "")))
    old = held.invoice
    if old.status not in ("open", "paid", "uncollectible") or old.total <= 0 or old.credited:
        raise refused(
            "not-reissuable", f"{held.number} is {old.status}, over {desk.money_text(old.total, held.currency)}, and may have credit notes.",
            "Only an issued invoice above zero without credit notes can be issued again.",
        )  # fmt: skip
    desk.refuse_charging(unit, held)
    note = ""
    if old.amount_paid or old.status == "paid":
        wanted = {"amount": old.total, "credit": "all", "reason": request.data.get("reason", "")}
        issued = notes.write_note(request, engine, unit, held, wanted, is_moved=True)
        note = issued.number
        desk.also(unit, request, "invoice.credited", before=held, after=replace(held, invoice=issued.invoice))
    else:
        desk.also(unit, request, "invoice.voided", before=held, after=notes.write_void(request, unit, held, is_moved=True))
    (customer,) = store.customers(unit, ids=[held.customer_id])
    days = (old.due_on - held.issued_on).days if old.due_on else 0
    how = HowBilled(
        collection_method="send_invoice" if held.collection_method == "send_invoice" else "charge_automatically",
        days_until_due=max(0, days), po_number=held.po_number, memo=held.memo,
    )  # fmt: skip
    new = Wanted(
        customer=customer, currency=held.currency, lines=[replace(line, key=desk.copy_key(line.key)) for line in old.lines], how=how,
        contract_id=held.contract_id, deal=held.deal,
    )  # fmt: skip
    invoice_id = new_id("in", request.now)
    made = _issued(request, engine, unit, new, invoice_id)
    unit.execute("UPDATE invoice SET reissues = ? WHERE id = ?", (held.id, made.id))
    copy_parts(unit, held.id, made.id)
    again = {desk.root_key(line.key): -line.net for line in old.lines if line.net > 0}
    take_from_lines(unit, f"{made.id}/again", again)
    result = {"invoice": held.number, "note": note, "number": made.number, "status": made.invoice.status}
    return desk.save_event(unit, request, "invoice.reissued", result, before=None, after=made)


def create(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Issue a one-off invoice to a customer of the books.

    data: account or customer, currency, lines of {description, quantity, unit_amount in minor units, tax in percent on top}, and
    where wanted contract, days_until_due, po_number, memo. A line that says no tax bears the customer's rates of today.
    """
    invoice_id = new_id("in", request.now)
    made = _issued(request, engine, unit, asked := wanted(request, engine, unit, invoice_id), invoice_id)
    result = {"number": made.number, "total": made.invoice.total, "currency": asked.currency, "status": made.invoice.status}
    return desk.save_event(unit, request, "invoice.created", result, before=None, after=made)


def wanted(request: Request, engine: Engine, unit: Unit, name_of_it: str) -> Wanted:
    """Return the one-off invoice that is asked for (see `create`); its lines' keys begin with *name_of_it*. Raises: RejectedError."""
    data = request.data
    name = str(data.get("account") or data.get("customer") or "")
    (who,) = store.customers(unit, ids=[customer_named(unit, engine.org, name)])
    hold_contracts(unit, (), org=engine.org, accounts=[who.details.account])
    found = store.customers(unit, ids=[who.id])
    contract_id, deal = str(data.get("contract") or ""), ""
    if contract_id:
        rows = unit.query("SELECT deal FROM contract WHERE id = ? AND customer_id = ?", (contract_id, found[0].id))
        if not rows:
            raise refused("unknown-contract", f"The customer has no contract {contract_id}.", "See `connector contracts list`.")
        deal = str(rows[0][0])
    currency = str(data.get("currency", "")).lower()
    start = datetime.combine(today_in(engine.timezone, request.now), time())
    tax = engine.tax.tax_of(found[0].details)
    read = [_line(entry, n, f"{name_of_it}/{n}", currency, start, tax) for n, entry in enumerate(data.get("lines") or (), 1)]
    lines, rates = [line for line, _ in read], tuple(dict.fromkeys(rate for _, own in read for rate in own))
    if not lines or sum(line.gross for line in lines) <= 0:
        raise refused("nothing-to-bill", "The invoice has no lines, or adds up to nothing.", "Add lines above zero.")
    how = HowBilled(
        days_until_due=int(data.get("days_until_due", _DAYS)), po_number=str(data.get("po_number", "")), memo=str(data.get("memo", ""))
    )
    return Wanted(customer=found[0], currency=currency, lines=lines, how=how, contract_id=contract_id, deal=deal, rates=rates)


def _rates(entry: Mapping[str, Any], percent: Decimal, tax: AccountTax, start: datetime) -> tuple[TaxRate, ...]:
    """Return the rates of a line: the one it names, else the customer's. Raises: RejectedError where nobody can say."""
    if tax.exempt != "none":
        return ()
    if entry.get("tax") is not None:
        return (TaxRate(id=f"{percent}%", percentage=percent),) if percent else ()
    if tax.problem is not None:
        raise RejectedError(tax.problem)
    return rates_on(tax.rates, start.date())


def _line(entry: Mapping[str, Any], number: int, key: str, currency: str, start: datetime, tax: AccountTax) -> tuple[Line, tuple[TaxRate, ...]]:
    try:
        quantity, percent = Decimal(str(entry.get("quantity", 1))), Decimal(str(entry.get("tax") or 0))
        price = Decimal(str(entry["unit_amount"]))
        digits(currency)
        amount = rounded(price * quantity)
    except (InvalidOperation, KeyError, ValueError) as error:
        hint = "Give quantity, unit_amount (29000) and tax (20) as numbers, and a known currency."
        raise refused("bad-line", f"Line {number} cannot be read: {error!r}.", hint) from error
    rates = _rates(entry, percent, tax, start)
    line = Line(
        key=key, contract_id="", item_id="", price_id="", product="", description=str(entry.get("description", "")), quantity=quantity,
        unit_amount=price, amount=amount, kind="one_time", start=start, end=start, due=start,
        taxes=line_taxes(amount, rates) if rates else (), order=number,
    )  # fmt: skip
    return line, rates


HANDLED: dict[str, Handler] = {"invoice.create": desk.once(create), "invoice.reissue": desk.once(reissue)}
