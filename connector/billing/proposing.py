"""The amendment that an edit of a billed deal would take, and what it costs, by the very functions that would carry it out (D-115)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from connector.billing import commands as carrying
from connector.billing import store
from connector.billing.commands import Copy
from connector.billing.intents import Engine
from connector.billing.issue import billed, window_with
from connector.billing.named import Names, settled_change, settled_terms
from connector.billing.store import BookedChange, BookedContract
from connector.billing.taken import taken_of
from connector.billing.taxing import require_tax, state_of
from connector.billing.usage import with_usage
from connector.core.closing import Closing, Difference, closing_of
from connector.core.edit_ids import is_edit_of
from connector.core.invoicing import Line
from connector.core.period import to_local
from connector.core.quoting import per_period
from connector.core.schedule import problems
from connector.core.terms import Contract
from connector.errors import Problem, RejectedError
from connector.ports import AccountTax, Command, Proposal, Unit


def proposed(engine: Engine, command: Command, change_id: str, unit: Unit, now: datetime) -> Proposal:
    """Return the amendment *change_id* that lets the contract of a billed deal be what *command* says, and what it costs.

    command - kind replace with the terms of a New deal, or replace_change with the change of another one.
    """
    copy = carrying.loaded(unit, engine.org, [command], now)
    standing = copy.contract_of(command.deal) or copy.after.get(command.contract_id or "")
    if standing is None:
        return Proposal(currency="", problem=Problem(code="unknown-contract", message="Its contract is not in the books."))
    currency = standing.terms.currency
    try:
        wanted = _wanted(standing, command, copy.names)
    except RejectedError as error:
        return Proposal(currency=currency, problem=error.problem)
    if wanted is None:
        return Proposal(currency=currency, differences=(Difference(what="other"),))
    if wanted.terms.currency != currency:
        return Proposal(currency=currency, differences=(Difference(what="currency", old=currency.upper(), new=wanted.terms.currency.upper()),))
    refused = problems(wanted)
    if refused:
        return Proposal(currency=currency, problem=refused[0])
    local = to_local(now, wanted.terms.timezone)
    closing = closing_of(standing.contract, wanted, change_id=change_id, made_at=now, on=local)
    return _priced(engine, copy, standing, closing, unit, now)


def _wanted(standing: BookedContract, command: Command, names: Names) -> Contract | None:
    """Return the contract as the record asks for it: without the amendments that earlier edits of the record led to.

    Raises: RejectedError where the record names a price or coupon that cannot be.
    """
    others = tuple(c.change for c in standing.changes if not is_edit_of(c.change.id, command.deal))
    if command.kind == "replace" and command.terms is not None and standing.deal == command.deal:
        kept = {"settings": standing.terms.settings, "timezone": standing.terms.timezone, "entered_at": standing.terms.entered_at}
        how = {"collection_method": standing.terms.collection_method, "days_until_due": standing.terms.days_until_due}
        terms = settled_terms(command.terms, names, command.deal, standing.terms)
        return replace(standing.contract, terms=replace(terms, **kept, **how), changes=others)  # type: ignore[arg-type]
    own = next((c for c in others if c.id == command.deal), None)
    if command.change is None or own is None or own.kind != command.change.kind:
        return None
    new = settled_change(replace(command.change, id=command.deal), standing.contract, names, command.deal)
    return replace(standing.contract, changes=tuple(new if c is own else c for c in others))


def _priced(engine: Engine, copy: Copy, standing: BookedContract, closing: Closing, unit: Unit, now: datetime) -> Proposal:
    """Return the amendment with what it makes at once and what each later period then costs; what differs, where there is none."""
    change, differences = closing.change, closing.differences
    if change is None:
        return Proposal(currency=standing.terms.currency, differences=differences)
    booked = BookedChange(seq=standing.seq + 1, change=change, data="")
    after = replace(standing, changes=(*standing.changes, booked))
    after, standing = with_usage(unit, [replace(after, window_on=window_with(after, [change])), standing])
    facts = store.facts(unit, {standing.id: after.window_on}).get(standing.id, []) if standing.is_invoiced else []
    credited = taken_of(unit, [line.key for line in facts]) if facts else {}
    customer = copy.customer_by_id(standing.customer_id)
    tax = engine.tax.tax_of(customer.details)
    try:
        due_now = sum(
            sign * _total(engine, contract, facts, (tax, customer), credited, now) for sign, contract in ((1, after), (-1, standing))
        )
    except RejectedError as error:
        return Proposal(currency=standing.terms.currency, differences=differences, problem=error.problem)
    local, state = to_local(now, standing.terms.timezone), state_of(customer, tax)
    new, old = per_period(after.contract, state, local), per_period(standing.contract, state, local)
    steps = {i: new.get(i, 0) - old.get(i, 0) for i in {**old, **new}}
    return Proposal(
        currency=standing.terms.currency, differences=differences, change=change, due_now=due_now,
        per_period=tuple((i, by) for i, by in steps.items() if by),
    )  # fmt: skip


def _total(
    engine: Engine, contract: BookedContract, facts: list[Line], who: tuple[AccountTax, store.Customer], credited: Mapping[str, int],
    now: datetime,
) -> int:  # fmt: skip
    tax, customer = who
    made, _ = billed(contract, facts, state_of(customer, tax), engine.moment(now, hold=False), credited)
    require_tax(contract, made.invoice, tax)
    return made.invoice.total if made.invoice is not None else 0
