"""One invoice of Stripe as one of the books: made once, followed afterwards; idempotent by Stripe's id (decision D-196).

A draft of Stripe is none of the books: it may still change, and until it is final its periods are on their way. Finalized, its lines are
facts, with the amounts that Stripe billed, and the contract is looked at again with them. What the engine expected otherwise is told.

Worked example: 30.00 a month; Stripe's invoice of 1 May over 30.00 becomes IN-0002 of the books, its line the engine's charge of May; a
minute later it is paid: the same invoice, one payment more. Read again, nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time
from functools import partial
from typing import Any, Literal, Protocol

from connector.billing import outbox, store
from connector.billing.batches import in_batches
from connector.billing.events import issued_event
from connector.billing.issue import Billed, deal_of_line, first_recurring, token_for, with_invoice
from connector.billing.locking import hold_customers
from connector.billing.outbox import Mailing
from connector.billing.parts import Part, insert_parts
from connector.billing.store import BookedContract, BookedInvoice
from connector.billing.stripe_backend import coding, following, pushes
from connector.billing.stripe_backend.advancing import advanced
from connector.billing.stripe_backend.compiling import owning
from connector.billing.stripe_backend.compiling.outlook import Outlook
from connector.billing.stripe_backend.compiling.wanted import Wanted
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading import (
    balances,
    crediting,
    differing,
    linking,
    paying,
    prorating,
    returning,
    waived,
)
from connector.billing.stripe_backend.reading.lines import UNKNOWN, Known, price_of, told
from connector.billing.stripe_backend.reading.picked import (
    Data,
    civil_day,
    finalized_at,
    id_of,
    instant,
    metadata_of,
    subscription_of,
)
from connector.billing.stripe_backend.reading.versions import as_agreed_then
from connector.billing.usage import with_usage
from connector.core.lines import Line
from connector.core.period import to_utc
from connector.core.schedule import timeline
from connector.core.settlement import Invoice
from connector.core.terms import ContractTerms, Settings
from connector.core.values import dataclass
from connector.kit.db import new_id
from connector.ports import HowBilled, TaxSource, Unit

_REASONS = ("subscription_create", "subscription_update", "subscription_cycle")
_NOT_YET = ("draft", "deleted", None)


class Engine(Protocol):
    """What mirroring uses of the backend."""

    org: str
    timezone: str
    mailing: Mailing
    tax: TaxSource
    automatic_tax: bool

    def issue_of(self, unit: Unit, contract: BookedContract, now: datetime) -> tuple[Any, list[Line]]:
        """Return the issue that plans one contract, and the contract's facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """An invoice of the books that mirrors one of Stripe's."""

    id: str
    number: str
    status: str


def mirrored(unit: Unit, engine: Engine, invoice: Data, now: datetime) -> list[str]:
    """Bring the books in line with an invoice of Stripe (as `fetching.whole_invoice` reads it); return the deals to tell.

    None for what is not ours, and where nothing is new. The customer is held first, so that two workers that read the same invoice write
    it one after the other: the second finds what the first has written.
    """
    hold(unit, id_of(invoice.get("customer")))
    known = mirror_of(unit, str(invoice["id"]))
    if known is None:
        return [] if invoice.get("status") in _NOT_YET else _made(unit, engine, invoice, now)
    return _followed(unit, engine, known, invoice, now)


def hold(unit: Unit, customer: str) -> None:
    """Wait for the customer of ours behind one of Stripe's, and keep it until the transaction ends."""
    if unit.for_update and customer:
        found = balances.customer_id_of(unit, customer)
        hold_customers(unit, [found] if found else [])


def mirror_of(unit: Unit, stripe_id: str) -> Mirrored | None:
    """Return the invoice of the books behind which Stripe's stands."""
    sql = "SELECT i.id, i.number, i.status FROM stripe_invoice s JOIN invoice i ON i.id = s.invoice_id WHERE s.stripe_id = ?"
    rows = unit.query(sql, (stripe_id,))
    return Mirrored(id=rows[0][0], number=rows[0][1], status=rows[0][2]) if rows else None


def contract_of(unit: Unit, org: str, invoice: Data, now: datetime) -> str | None:
    """Return the contract that an invoice is of, "" for one of a customer alone, None where it is not ours."""
    subscription = subscription_of(invoice)
    if subscription:
        rows = unit.query("SELECT contract_id FROM stripe_subscription WHERE subscription = ?", (subscription,))
        return str(rows[0][0]) if rows else _begun(unit, subscription, metadata_of(invoice), now)
    said = metadata_of(invoice)
    named = said.get("connector_contract")
    if named and unit.query("SELECT 1 FROM contract WHERE id = ?", (named,)):  # of whichever org the ledger was bound to when it was sent
        return named
    if said.get("connector_org", org) != org:  # another org's connector bills the same customer of Stripe
        return None
    return "" if customer_of(unit, invoice) else None


def _begun(unit: Unit, subscription: str, said: Mapping[str, str], now: datetime) -> str | None:
    """Note the subscription that a schedule of ours has begun, told by our marks on it; return its contract."""
    contract_id, group_name = said.get("connector_contract", ""), said.get("connector_group", "")
    held = pushes.held_of(unit, [contract_id]).get(contract_id) if contract_id else None
    if held is None or all(g.name != group_name or g.subscription for g in held.groups):
        return None
    groups = tuple(replace(g, subscription=subscription) if g.name == group_name else g for g in held.groups)
    pushes.save_held(unit, replace(held, groups=groups), now)
    return contract_id


def customer_of(unit: Unit, invoice: Data) -> str | None:
    """Return our customer that an invoice is billed to, None for somebody else's."""
    return balances.customer_id_of(unit, id_of(invoice.get("customer")))


# ---------------------------------------------------------------- seen for the first time


def _made(unit: Unit, engine: Engine, invoice: Data, now: datetime) -> list[str]:
    contract_id = contract_of(unit, engine.org, invoice, now)
    if contract_id is None:
        return []
    own = _own_lines(unit, invoice)
    if not contract_id:
        return _made_alone(unit, engine, invoice, own, now)
    (contract,) = with_usage(unit, store.contracts(unit, [contract_id]))
    issue, facts = engine.issue_of(unit, contract, now)
    wanted: Wanted = issue.wanted(contract, facts)
    outlook = Outlook(wanted)
    proposed = outlook.lines
    known = Known(
        contract_id=contract.id, own=own, proposed=proposed, held=wanted.held, prices=_prices(unit, invoice),
        taken=_taken(unit, [*(line.key for line in proposed), *own]), timezone=engine.timezone,
    )  # fmt: skip
    parts = prorating.found(invoice, known, wanted.sent)
    known = replace(known, prorated={place: line for place, (_, line) in parts.items()})
    lines = told(invoice, known)
    if invoice["status"] == "void" and all(line.key.startswith(UNKNOWN) for line in lines):
        return []  # made and voided in one while the contract is paused: nobody ever owed it, and nothing of it was expected
    seen = as_agreed_then(invoice, lines, known, outlook, partial(_taken, unit))
    lines = list(seen.lines)
    own |= {line.key: line for line in known.prorated.values()}
    others = _others(unit, contract, lines)
    booked = _booked(contract, invoice, lines, issue.bill_to(contract), engine.timezone)
    if others:
        booked = replace(booked, contract=replace(contract, id="", deal="", label="", changes=()), deal="")
    _save(unit, booked, invoice, own, now)
    if wanted.held is not None and parts:
        pushes.save_held(unit, prorating.seen(wanted.held, parts, invoice), now)
    waived.left_out(unit, contract.id, booked, differing.lacking(invoice, lines, [*seen.expected, *own.values()], known), id_of(invoice), now)
    made = [_look_again(unit, engine, c, lines, booked.id, now) for c in (contract, *others)]
    if others:
        insert_parts(unit, [_part(booked.id, m, lines) for m in made])
    event = issued_event(booked, made[0].status, "stripe")
    once = contract.terms.settings.tax_rounding == "invoice"
    found = differing.found(invoice, lines, [*seen.expected, *own.values()], known, is_taxed=not engine.automatic_tax, is_rounded_once=once)
    store.insert_events(unit, [event, *differing.events(found, booked, now)], store.at_text(now))
    _mail(unit, engine, booked, now)
    _follow(unit, engine, booked.id, invoice, now)
    following.billed_though_withdrawn(unit, engine.org, contract, invoice, now)
    following.billed_though_paused(unit, engine.org, contract, invoice, now)
    return store.deals_of_contracts(unit, [m.contract.id for m in made])


def _made_alone(unit: Unit, engine: Engine, invoice: Data, own: Mapping[str, Line], now: datetime) -> list[str]:
    """Make an invoice that belongs to a customer and no contract: one that we were asked for, or one that somebody made at Stripe."""
    customer_id = customer_of(unit, invoice)
    (customer,) = store.customers(unit, ids=[str(customer_id)])
    known = Known(contract_id="", own=own, proposed=(), held=None, prices={}, taken=_taken(unit, own), timezone=engine.timezone)
    lines = told(invoice, known)
    start = datetime.combine(civil_day(invoice["created"], engine.timezone), time())
    method = _method(invoice)
    terms = ContractTerms(
        currency=str(invoice["currency"]), timezone=engine.timezone, settings=Settings(proration="day", tax_rounding="line"), start=start,
        phases=(), collection_method=method, days_until_due=0,
    )  # fmt: skip
    holder = BookedContract(
        id="", deal="", label="", customer_id=customer.id, terms=terms, data="", how=HowBilled(collection_method=method, days_until_due=0),
        starts_on=start.date(),
    )  # fmt: skip
    note = "" if any(line.taxes for line in lines) else engine.tax.tax_of(customer.details).note
    booked = _booked(holder, invoice, lines, store.bill_to_text(customer.details, note), engine.timezone)
    _save(unit, booked, invoice, own, now)
    store.insert_events(unit, [issued_event(booked, "", "stripe")], store.at_text(now))
    _mail(unit, engine, booked, now)
    _follow(unit, engine, booked.id, invoice, now)
    return paying.deals_to_tell(unit, booked.id)


def _save(unit: Unit, booked: BookedInvoice, invoice: Data, own: Mapping[str, Line], now: datetime) -> None:
    store.insert_invoices(unit, [booked])
    linking.save(unit, booked.id, invoice, now)
    keys = [(booked.id, line.key) for line in booked.invoice.lines if line.key in own]
    unit.executemany("UPDATE stripe_line SET invoice_id = ? WHERE key = ?", keys)


def _own_lines(unit: Unit, invoice: Data) -> dict[str, Line]:
    """Return the lines that we sent as items and that stand on this invoice, by key."""
    keys = {str((line.get("metadata") or {}).get("connector_line") or "") for line in invoice["lines"]["data"]} - {""}
    found: dict[str, Line] = {}
    for batch, marks in in_batches(sorted(keys)):
        for key, data in unit.query(f"SELECT key, data FROM stripe_line WHERE invoice_id IS NULL AND key IN ({marks})", batch):
            found[key] = coding.line_from_text(data)
    return found


def _prices(unit: Unit, invoice: Data) -> dict[str, list[str]]:
    """Return our keys of the prices on an invoice, by Stripe's id."""
    return pushes.keys_of(unit, "price", (price_of(line) for line in invoice["lines"]["data"]))


def _taken(unit: Unit, keys: Iterable[str]) -> frozenset[str]:
    """Return those of the keys that stand on an invoice already: such a line is billed once, whatever happens."""
    day = "substr({0}, length({0}) - 16, 10)"  # as the index of keys begins
    found: set[str] = set()
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), store.READ_ROWS):
        batch = wanted[start : start + store.READ_ROWS]
        sql = (
            f"WITH w(key) AS (VALUES {','.join(['(?)'] * len(batch))}) SELECT l.key FROM w"
            f" JOIN line l ON {day.format('l.key')} = {day.format('w.key')} AND l.key = w.key"
        )
        found.update(str(row[0]) for row in unit.query(sql, batch))
    return frozenset(found)


def _others(unit: Unit, contract: BookedContract, lines: Sequence[Line]) -> list[BookedContract]:
    """Return the other contracts that have lines on an invoice: items of theirs that waited for the customer's next one."""
    ids = {line.contract_id for line in lines} - {contract.id, ""}
    return with_usage(unit, store.contracts(unit, ids)) if ids else []


def _part(invoice_id: str, made: Billed, lines: Sequence[Line]) -> Part:
    own = [line for line in lines if line.contract_id == made.contract.id]
    return Part(
        invoice_id=invoice_id, contract_id=made.contract.id, deal=made.contract.deal, label=made.contract.label, total=sum(x.gross for x in own)
    )  # fmt: skip


def _booked(contract: BookedContract, invoice: Data, lines: Sequence[Line], bill_to: str, timezone: str) -> BookedInvoice:
    """Return an invoice as it was when it was finalized; what became of it since is followed."""
    currency = str(invoice["currency"])

    def minor(name: str) -> int:
        return minor_amount(int(invoice.get(name) or 0), currency)

    finalized = finalized_at(invoice)
    issued_on = civil_day(invoice.get("effective_at") or finalized, timezone)
    invoice_id = new_id("in", instant(invoice["created"]))
    due = minor("amount_due") + minor("pre_payment_credit_notes_amount")
    tax = sum(minor_amount(t["amount"], currency) for t in invoice.get("total_taxes") or ())
    made = Invoice(
        contract_ids=(contract.id,) if contract.id else (), currency=currency, lines=tuple(lines), created_at=instant(invoice["created"]),
        finalized_at=instant(finalized), due_on=civil_day(invoice["due_date"], timezone) if invoice.get("due_date") else None,
        status="paid" if due == 0 and invoice["status"] == "paid" else "open",
        billing_reason=invoice["billing_reason"] if invoice.get("billing_reason") in _REASONS else "manual",
        subtotal=sum(line.amount for line in lines), discount=sum(line.amount - line.net for line in lines), tax=tax,
        total=minor("total"), starting_balance=minor("starting_balance"), ending_balance=minor("ending_balance"),
        amount_due=due, amount_paid=0, amount_remaining=due, number=invoice.get("number"),
    )  # fmt: skip
    method = _method(invoice)
    holder = replace(contract, how=replace(contract.how, collection_method=method))
    return BookedInvoice(
        id=invoice_id, number=str(invoice.get("number") or ""), token=token_for(invoice_id), invoice=made, contract=holder,
        deal=_deal(contract, lines), issued_on=issued_on, made_at=store.at_text(instant(finalized)), bill_to=bill_to,
    )  # fmt: skip


def _method(invoice: Data) -> Literal["charge_automatically", "send_invoice"]:
    return "send_invoice" if invoice.get("collection_method") == "send_invoice" else "charge_automatically"


def _deal(contract: BookedContract, lines: Sequence[Line]) -> str:
    own = [line for line in lines if line.contract_id == contract.id]
    if not contract.id or not own:
        return contract.deal
    line = first_recurring(own)
    return deal_of_line(timeline(contract.contract, horizon=line.start), contract, line)


def _look_again(unit: Unit, engine: Engine, contract: BookedContract, lines: Sequence[Line], invoice_id: str, now: datetime) -> Billed:
    """Bring a contract on with its new facts: status, window, what its changes caused, when the run looks again."""
    own = [line for line in lines if line.contract_id == contract.id]
    before = contract
    contract = replace(contract, is_invoiced=True)
    issue, facts = engine.issue_of(unit, contract, now)
    wanted: Wanted = issue.wanted(contract, facts)
    known = [*facts, *(line for line in wanted.sent.values() if not line.is_pending)]
    made = advanced(
        contract, known, issue.state_of(contract), now, issue.credited, emitted=own, look_at=_look_at(wanted, now)
    )
    at = store.at_text(now)
    store.advance_contracts(unit, [(made.status, made.is_invoiced, made.billed_until, made.window_on, made.next_due_at, at, contract.id)])
    if made.changes:
        after = with_invoice(made.changes, own, invoice_id)
        store.update_changes(unit, [(contract.id, c) for c, old in zip(after, contract.changes, strict=True) if c != old])
    return replace(made, contract=before)


def _look_at(wanted: Wanted, now: datetime) -> datetime | None:
    """Return when the run must look again: at once where a line of ours is due that no run has sent yet, also in the round that reads this."""
    due = [to_utc(min(line.due, line.start), wanted.contract.terms.timezone) for line in owning.own_lines(wanted, wanted.held)]
    return min(now, *due) if due else owning.next_own(wanted, wanted.held)


def _mail(unit: Unit, engine: Engine, booked: BookedInvoice, now: datetime) -> None:
    """Write the invoice's mail, where mails are ours to send (decision D-197)."""
    engine.mailing.write(unit, outbox.issued([(booked.id, booked.invoice.status, booked.invoice.total)]), now)


# ---------------------------------------------------------------- followed


def _follow(unit: Unit, engine: Engine, invoice_id: str, invoice: Data, now: datetime) -> bool:
    """Book what became of an invoice since it was finalized; return whether anything is new."""
    steps = (
        paying.follow_payments(unit, engine, invoice_id, invoice, now),
        crediting.follow_notes(unit, engine, invoice_id, invoice, now, partial(_given_back, unit, engine, invoice_id, now)),
        returning.follow_refunds(unit, engine, invoice_id, invoice, now),
        paying.follow_tries(unit, engine, invoice_id, invoice, now),
        crediting.follow_end(unit, invoice_id, invoice, now),
        paying.follow_due(unit, engine.timezone, invoice_id, invoice, now),
    )
    return any(steps)


def _given_back(unit: Unit, engine: Engine, invoice_id: str, now: datetime, lines: Sequence[Line]) -> None:
    """Bring on the contracts whose credits came as notes on an invoice."""
    for contract in with_usage(unit, store.contracts(unit, {line.contract_id for line in lines})):
        _look_again(unit, engine, contract, lines, invoice_id, now)


def _followed(unit: Unit, engine: Engine, known: Mirrored, invoice: Data, now: datetime) -> list[str]:
    """Follow what became of an invoice of the books: paid, failed, credited, void, given up, due another day, its links."""
    has_moved = linking.save(unit, known.id, invoice, now)
    is_new = _follow(unit, engine, known.id, invoice, now)
    return paying.deals_to_tell(unit, known.id) if is_new or has_moved else []
