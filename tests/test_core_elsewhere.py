"""What another system billed and what we bill after it are together what we would have billed alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from histories import THOROUGH, all_terms, lines_of, played
from hypothesis import assume, given
from hypothesis import strategies as st

from connector.core.elsewhere import (
    BilledThrough,
    billed_elsewhere,
    through_from_data,
    through_problems,
    through_to_data,
)
from connector.core.invoicing import Line, Slice, next_due
from connector.core.period import boundary, to_utc
from connector.core.settlement import Account, CustomerState, advance
from connector.core.terms import Contract, ContractTerms


def without_shared_amounts(terms: ContractTerms) -> ContractTerms:
    """Return the terms without coupons of an amount on the whole contract, whose split depends on what falls due together."""
    return replace(terms, discounts=tuple(c for c in terms.discounts if c.amount_off is None))


def gone_on(contract: Contract, facts: tuple[Line, ...], until: datetime) -> list[Line]:
    """Bill a contract from the facts on as time passes."""
    since = max((f.start for f in facts), default=contract.terms.start) - timedelta(seconds=1)
    piece = Slice(contract=contract, facts=facts, has_invoices=bool(facts))
    account, found = Account(customer=CustomerState(payment="none"), slices=(piece,)), list[Line]()
    while (due := next_due(account.slices[0], since)) is not None and due <= until:
        since = due
        account, events = advance(account, to_utc(due, contract.terms.timezone))
        found += [line for e in events if e.kind == "invoice.finalized" for line in e.invoice.lines]
        assert advance(account, to_utc(due, contract.terms.timezone))[1] == (), "billing twice adds nothing"
    return found


@THOROUGH
@given(all_terms(), st.integers(0, 2), st.integers(1, 8))
def test_imported_and_later_lines_are_those_of_the_native_run(terms: ContractTerms, item: int, periods: int) -> None:
    """Billed through the end of any period of any item: no line is missing, none stands twice, each has the native amount."""
    terms = without_shared_amounts(terms)
    contract = Contract(id="k", terms=terms)
    price = terms.phases[0].items[item % len(terms.phases[0].items)].price
    assert price.interval is not None
    at = boundary(terms.anchor or terms.start, price.interval, periods)
    through = BilledThrough(at=at)
    assume(at > terms.start and not through_problems(contract, through))
    until = at + timedelta(days=400)
    facts = tuple(billed_elsewhere(Slice(contract=contract), through))
    native = {line.key: (line.net, line.start, line.end) for line in lines_of(played(contract, until))}
    later = gone_on(contract, facts, until)
    together = {line.key: (line.net, line.start, line.end) for line in (*facts, *later)}
    assert len(together) == len(facts) + len(later)
    assert together == native
    assert all(line.start >= at or line.end > at for line in later if line.kind == "charge")


@THOROUGH
@given(all_terms(), st.integers(1, 300))
def test_a_day_inside_a_period_of_everything_is_refused(terms: ContractTerms, days: int) -> None:
    """Whatever day is named, either it ends a period of something that runs there, or it is a problem that names two days that do."""
    at = terms.start + timedelta(days=days)
    contract = Contract(id="k", terms=terms)
    found = through_problems(contract, BilledThrough(at=at))
    anchor, end = terms.anchor or terms.start, terms.phases[0].end
    ends = {boundary(anchor, i.price.interval, k) for i in terms.phases[0].items if i.price.interval for k in range(-40, 60)}
    if end is None:
        assert bool(found) == (at not in ends)
    elif found and at <= end:  # in the terms after it, periods counted in weeks begin anew
        assert at not in ends


def test_how_far_it_was_billed_comes_back_from_data_as_it_was() -> None:
    """Every part of it, the blank one too."""
    day = datetime(2026, 7, 1)
    for through in (BilledThrough(), BilledThrough(at=day, items=(("a", day),), amounts=(("a", 5),), months_left=(("ten", 2),))):
        assert through_from_data(through_to_data(through)) == through
