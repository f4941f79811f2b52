"""From lines to money owed: invoices and their states, the customer's balance, payments and credit notes.

A balance below zero is credit; it is taken when an invoice is finalized. A negative invoice is paid at once and its total
goes to the balance, so no refund happens by itself. Worked example: a balance of -150.00 and an invoice of 200.00 leave
50.00 due and a balance of 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import date, datetime, timedelta
from typing import Literal

from connector.core.invoicing import Line, Slice, proposed
from connector.core.lines import Given
from connector.core.money import quotient
from connector.core.period import to_local
from connector.core.terms import ContractTerms, DatedRates
from connector.core.values import dataclass
from connector.errors import Problem, RejectedError, invariant

InvoiceStatus = Literal["draft", "open", "paid", "void", "uncollectible"]
BillingReason = Literal["subscription_create", "subscription_cycle", "subscription_update", "manual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerState:
    """What settling an invoice needs to know of a customer; balances by currency in minor units, below zero = credit.

    given - the discounts that contracts without their own inherit.
    """

    id: str = ""
    balances: Mapping[str, int] = field(default_factory=dict)
    tax_exempt: Literal["none", "exempt", "reverse"] = "none"
    rates: DatedRates = ()
    given: tuple[Given, ...] = ()
    payment: Literal["succeeds", "fails", "none"] = "none"

    def balance(self, currency: str) -> int:
        """Return the balance in *currency*."""
        return self.balances.get(currency, 0)

    def moved(self, currency: str, by: int) -> CustomerState:
        """Return the customer with the balance in *currency* changed by *by*."""
        return self if by == 0 else replace(self, balances={**self.balances, currency: self.balance(currency) + by})


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A bill; amounts in minor units. created_at, finalized_at - aware UTC; due_on - civil date, None: payable at once.

    discount - all discounts; tax - all taxes, inclusive ones too; total = subtotal - discount + exclusive tax. amount_due - of
    the total, what the balance did not settle, less credit notes on it while it was open.
    """

    contract_ids: tuple[str, ...]
    currency: str
    lines: tuple[Line, ...]
    created_at: datetime
    finalized_at: datetime | None
    due_on: date | None
    status: InvoiceStatus
    billing_reason: BillingReason
    subtotal: int
    discount: int
    tax: int
    total: int
    starting_balance: int
    ending_balance: int
    amount_due: int
    amount_paid: int
    amount_remaining: int
    number: str | None = None
    credited: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNote:
    """A correction of a finalized invoice; *lines* are (line key, net of exclusive tax)."""

    total: int
    lines: tuple[tuple[str, int], ...]
    refund: int = 0
    credit: int = 0
    out_of_band: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a billing run did, in order."""

    kind: Literal["invoice.drafted", "invoice.finalized", "invoice.paid", "invoice.voided", "invoice.marked_uncollectible"]
    contract_id: str
    invoice: Invoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One customer with the open slices of its contracts and its unpaid invoices (decision D-34)."""

    customer: CustomerState
    slices: tuple[Slice, ...]
    open_invoices: tuple[Invoice, ...] = ()


def reason_for(lines: Sequence[Line], *, is_first: bool) -> BillingReason:
    """Return why an invoice was made: the contract's first, a change at once, or the cycle."""
    if is_first:
        return "subscription_create"
    return (
        "subscription_update"
        if all(line.is_proration and not line.is_pending for line in lines)
        else "subscription_cycle"
    )


def _sums(lines: Sequence[Line]) -> tuple[int, int, int, int]:
    """Return subtotal, discount, tax and total of lines."""
    subtotal = discount = tax = outside = 0
    for line in lines:
        subtotal += line.amount
        for _, off in line.discounts:
            discount += off
        for _, amount, is_inside in line.taxes:
            tax += amount
            outside += 0 if is_inside else amount
    return subtotal, discount, tax, subtotal - discount + outside


def drafted(lines: Sequence[Line], *, terms: ContractTerms, at: datetime, is_first: bool) -> Invoice:
    """Return the lines as a draft: sums without balance, number or due date."""
    subtotal, discount, tax, total = _sums(lines)
    return Invoice(
        contract_ids=_contracts_of(lines), currency=terms.currency, lines=tuple(lines), created_at=at, finalized_at=None,
        due_on=None, status="draft", billing_reason=reason_for(lines, is_first=is_first), subtotal=subtotal, discount=discount,
        tax=tax, total=total, starting_balance=0, ending_balance=0, amount_due=total, amount_paid=0, amount_remaining=total,
    )  # fmt: skip


def _contracts_of(lines: Sequence[Line]) -> tuple[str, ...]:
    return tuple({line.contract_id: None for line in lines})


def finalized(
    lines: Sequence[Line], *, customer: CustomerState, terms: ContractTerms, at: datetime, is_first: bool
) -> tuple[Invoice, CustomerState]:
    """Return the lines as a finalized invoice and the customer after it; *at* is aware UTC.

    The balance is applied; charged automatically it is paid at once where payment succeeds; without anything due it is paid.
    """
    subtotal, discount, tax, total = _sums(lines)
    start = customer.balance(terms.currency)
    owed = total + start
    due, end = (owed, 0) if owed > 0 else (0, owed)
    is_paid = due == 0 or (terms.collection_method == "charge_automatically" and customer.payment == "succeeds")
    due_on = None
    if terms.collection_method == "send_invoice":
        due_on = to_local(at, terms.timezone).date() + timedelta(days=terms.days_until_due)
    invoice = Invoice(
        contract_ids=_contracts_of(lines), currency=terms.currency, lines=tuple(lines), created_at=at, finalized_at=at,
        due_on=due_on, status="paid" if is_paid else "open", billing_reason=reason_for(lines, is_first=is_first),
        subtotal=subtotal, discount=discount, tax=tax, total=total, starting_balance=start, ending_balance=end, amount_due=due,
        amount_paid=due if is_paid else 0, amount_remaining=0 if is_paid else due,
    )  # fmt: skip
    invariant(invoice.total == invoice.amount_due + end - start, "the balance and the amount due make up the total")
    return invoice, customer.moved(terms.currency, end - start)


def _during_pause(draft: Invoice, behavior: str, at: datetime) -> Invoice:
    """Return what a pause that goes on serving makes of an invoice; a draft that is kept asks for nothing and has no number."""
    if behavior == "keep_as_draft":
        return draft
    invoice = replace(draft, finalized_at=at)
    if behavior == "void":
        return replace(invoice, status="void", amount_remaining=0, amount_paid=0)
    return replace(invoice, status="uncollectible", amount_paid=0, amount_remaining=invoice.amount_due)


def pause_behavior(piece: Slice, on: datetime) -> str | None:
    """Return what a running pause does to the invoices made at *on* (local), None without one."""
    zone = piece.contract.terms.timezone
    behavior = None
    for change in piece.contract.changes:
        if to_local(change.effective, zone) > on:
            continue
        if change.kind == "pause":
            behavior = None if change.until is not None and change.until <= on else change.pause_behavior
        elif change.kind == "resume":
            behavior = None
    return behavior


def advance(account: Account, until_at: datetime) -> tuple[Account, tuple[Event, ...]]:
    """Return the account after one billing run at *until_at* (aware UTC), and what happened, contracts in order of id.

    One invoice per contract and run, dated *until_at*; nothing due: the same account and no event. A draft that a pause
    keeps counts as billed: its lines are never proposed again, whether anybody finalizes it or not.
    """
    customer, slices, events = account.customer, list(account.slices), []
    opened = list(account.open_invoices)
    for at in sorted(range(len(slices)), key=lambda i: slices[i].contract.id):
        piece = slices[at]
        if (piece.tax_exempt, piece.rates, piece.given) != (customer.tax_exempt, customer.rates, customer.given):
            piece = replace(piece, tax_exempt=customer.tax_exempt, rates=customer.rates, given=customer.given)
        local = to_local(until_at, piece.contract.terms.timezone)
        lines = proposed(piece, local)
        if not lines:
            continue
        behavior = pause_behavior(piece, local)
        terms = piece.contract.terms
        if behavior in ("keep_as_draft", "void", "mark_uncollectible"):
            draft = drafted(lines, terms=terms, at=until_at, is_first=not piece.has_invoices)
            invoice = _during_pause(draft, behavior, until_at)
        else:
            invoice, customer = finalized(
                lines, customer=customer, terms=terms, at=until_at, is_first=not piece.has_invoices
            )
        what: Literal["invoice.drafted", "invoice.finalized"] = "invoice.finalized" if invoice.finalized_at else "invoice.drafted"
        events.append(Event(kind=what, contract_id=piece.contract.id, invoice=invoice))
        if invoice.status == "paid":
            events.append(Event(kind="invoice.paid", contract_id=piece.contract.id, invoice=invoice))
        elif invoice.status == "open":
            opened.append(invoice)
        credited = credited_after(piece.credited, invoice)
        slices[at] = replace(piece, facts=piece.facts + tuple(lines), has_invoices=True, credited=credited)
    return replace(account, customer=customer, slices=tuple(slices), open_invoices=tuple(opened)), tuple(events)


# ---------------------------------------------------------------- after finalization


def _refuse(code: str, message: str, hint: str) -> RejectedError:
    return RejectedError(Problem(code=code, message=message, hint=hint))


def paid(invoice: Invoice, amount: int | None = None) -> Invoice:
    """Return the invoice after a payment of *amount* (None: all that remains); RejectedError where nothing so large is due."""
    remaining = invoice.amount_remaining
    amount = remaining if amount is None else amount
    if invoice.status not in ("open", "uncollectible") or amount <= 0 or amount > remaining:
        raise _refuse(
            "payment-too-large",
            f"A payment of {amount} does not fit: {remaining} is due and the invoice is {invoice.status}.",
            "Pay what is due.",
        )
    left = remaining - amount
    return replace(
        invoice,
        amount_paid=invoice.amount_paid + amount,
        amount_remaining=left,
        status="paid" if left == 0 else invoice.status,
    )


def prorated(lines: Iterable[Line], facts: Iterable[Line]) -> tuple[dict[str, int], int]:
    """Return what changes have credited of *lines* on other invoices: net by key, and in all with the taxes on top; minor units."""
    keys, taken, gross = {line.key for line in lines}, dict[str, int](), 0
    for fact in facts:
        if fact.credits in keys and fact.credits is not None:
            taken[fact.credits] = taken.get(fact.credits, 0) - fact.net
            gross -= fact.gross
    return taken, gross


def taken_back(invoice: Invoice) -> dict[str, int]:
    """Return what no change may credit any more once *invoice* is void: all of its charges, net by key."""
    return {line.key: line.net for line in invoice.lines if line.net > 0}


def credited_after(credited: Mapping[str, int], invoice: Invoice | None) -> Mapping[str, int]:
    """Return what credit notes and voiding took of lines (net by key, minor units) once *invoice* is made, which a pause may void."""
    return {**credited, **taken_back(invoice)} if invoice is not None and invoice.status == "void" else credited


def voided(invoice: Invoice, *, prorated: int = 0) -> Invoice:
    """Return the invoice void; its lines keep their keys, so their periods are not billed again (decision D-31).

    prorated - what later invoices credited of its lines: voiding it as well would give that back twice.
    """
    if prorated:
        raise _refuse(
            "already-credited", f"{prorated} of the invoice was credited on a later invoice by a change of the contract.",
            "Write a credit note on what is left of it instead.",
        )  # fmt: skip
    if invoice.status not in ("open", "uncollectible") or invoice.amount_paid:
        raise _refuse(
            "not-voidable",
            f"The invoice is {invoice.status} and {invoice.amount_paid} was paid.",
            "Write a credit note instead.",
        )
    return replace(invoice, status="void", amount_remaining=0)


def marked_uncollectible(invoice: Invoice) -> Invoice:
    """Return the invoice as one that nobody expects to be paid."""
    if invoice.status != "open":
        raise _refuse(
            "not-open", f"The invoice is {invoice.status}.", "Only an open invoice can be marked uncollectible."
        )
    return replace(invoice, status="uncollectible")


def _spread(invoice: Invoice, amount: int, credited: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Split *amount* (with exclusive tax) over the lines by what is left of them, in whole lines' proportion."""
    rows = [(line, line.net - credited.get(line.key, 0)) for line in invoice.lines if line.gross > 0]
    left = [net + (quotient(line.exclusive_tax * net, line.net) if line.net else 0) for line, net in rows]
    total, out, given = sum(left), [], 0
    for at, ((line, net), gross) in enumerate(zip(rows, left, strict=True)):
        part = amount - given if at == len(rows) - 1 else amount * gross // total if total else 0
        given += part
        out.append((line.key, min(net, quotient(part * net, gross)) if gross else 0))
    return tuple((key, part) for key, part in out if part)


def credit_note(
    invoice: Invoice,
    *,
    amount: int | None,
    lines: Sequence[tuple[str, int]],
    paid_back: Mapping[str, int],
    credited: Mapping[str, int],
) -> tuple[CreditNote, Invoice, int]:
    """Return a credit note, the invoice after it and what it adds to the balance as credit (a positive number).

    amount - with exclusive tax, spread over the lines; or lines - (key, net). paid_back - refund, credit, out_of_band of a
    paid invoice, which make up the total. credited - by line key, from earlier notes. RejectedError beyond what was invoiced.
    """
    if invoice.status not in ("open", "paid", "uncollectible"):
        raise _refuse(
            "not-creditable", f"The invoice is {invoice.status}.", "Only a finalized invoice takes a credit note."
        )
    by_key = {line.key: line for line in invoice.lines}
    if amount is None:
        parts = tuple(lines)
        total = 0
        for key, net in parts:
            line = by_key[key]
            rest = line.net - credited.get(key, 0)
            if (net > rest) if line.net >= 0 else (net < rest):
                raise _refuse(
                    "credit-too-large",
                    f"The credit of {net} is more than the line's {rest}.",
                    "Credit at most what was invoiced.",
                )
            total += net + (quotient(line.exclusive_tax * net, line.net) if line.net else 0)
    else:
        parts, total = _spread(invoice, amount, credited), amount
    if total <= 0 or total > invoice.total - invoice.credited:
        raise _refuse(
            "credit-too-large", f"The credit of {total} is more than the {invoice.total - invoice.credited} that is left of the invoice.",
            "Credit at most what was invoiced.",
        )  # fmt: skip
    after = min(total, invoice.amount_remaining)
    beyond = total - after
    back = sum(paid_back.values())
    if back not in (beyond, 0) or (
        back == 0 and beyond and invoice.status == "paid" and invoice.amount_paid and not paid_back
    ):
        raise _refuse(
            "credit-split",
            f"Of the credit {beyond} goes beyond what is due, but refund, credit and out_of_band add up to {back}.",
            "Make them add up.",
        )
    to_balance = paid_back.get("credit", 0) + (beyond if back == 0 else 0)
    left = invoice.amount_remaining - after
    changed = replace(
        invoice, credited=invoice.credited + total, amount_remaining=left, amount_due=invoice.amount_due - after,
        status="paid" if left == 0 and invoice.status == "open" else invoice.status,
    )  # fmt: skip
    note = CreditNote(
        total=total,
        lines=parts,
        refund=paid_back.get("refund", 0),
        credit=to_balance,
        out_of_band=paid_back.get("out_of_band", 0),
    )
    return note, changed, to_balance
