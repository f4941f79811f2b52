"""Changes that arrive late, twice or in another order: what random histories found once, each with its figures."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import test_core_properties as properties
from histories import lines_of, played

from connector.core.invoicing import Line, Slice, contract_status, next_due, proposed, window_start
from connector.core.quoting import upcoming
from connector.core.settlement import CustomerState
from connector.core.terms import (
    Change,
    Contract,
    ContractTerms,
    Coupon,
    Interval,
    Item,
    ItemChange,
    Phase,
    Prebill,
    Price,
    Settings,
)

START = datetime(2026, 1, 1)
MONTH, QUARTER, FORTNIGHT, YEAR = Interval(unit="month"), Interval(unit="month", count=3), Interval(unit="week", count=2), Interval(unit="year")


def item(name: str, unit_amount: int, quantity: int, interval: Interval, discounts: tuple[Coupon, ...] = ()) -> Item:
    price = Price(id=name, unit_amount=Decimal(unit_amount), interval=interval)
    return Item(id=name, price=price, quantity=Decimal(quantity), discounts=discounts)


def terms(*items: Item, **more: object) -> ContractTerms:
    end = more.pop("end", None)
    return replace(
        ContractTerms(
            currency="eur",
            timezone="UTC",
            settings=Settings(proration="day", tax_rounding="line"),
            start=START,
            phases=(Phase(start=START, end=end, items=items),),  # type: ignore[arg-type]
        ),
        **more,
    )


def amend(name: str, op: str, changed: Item, effective: datetime, made_at: datetime | None = None, **more: object) -> Change:
    step = ItemChange(op=op, item=changed, item_id=None if op == "add" else changed.id)  # type: ignore[arg-type]
    change = Change(id=name, kind="amend", effective=effective, made_at=made_at or effective, items=(step,), proration_behavior="always_invoice")
    return replace(change, **more)


def total(lines: list[Line]) -> int:
    return sum(line.net for line in lines)


def test_one_change_may_take_back_two_parts_of_a_charge() -> None:
    """A temporary increase was billed 9 x 90.00 for its 5 days; when an earlier change arrives late it is 8: 500 is given back."""
    agreed = terms(item("seat", 9_000, 2, QUARTER))
    until = START + timedelta(days=560)
    changes = (
        amend("a0", "set", item("seat", 9_000, 1, QUARTER), datetime(2026, 1, 2)),
        amend("a2", "delta", item("seat", 9_000, 7, QUARTER), datetime(2026, 1, 12), until=datetime(2026, 1, 17)),
    )
    on_time = lines_of(played(Contract(id="k", terms=agreed, changes=changes), until))
    late = tuple(replace(c, made_at=datetime(2026, 6, 1) if c.id == "a0" else c.made_at) for c in changes)
    belated = lines_of(played(Contract(id="k", terms=agreed, changes=late), until))
    assert total(on_time) == total(belated)
    first_quarter = [line for line in belated if line.start < datetime(2026, 4, 1)]
    assert total(first_quarter) == 200 + 10 * 100 + 5 * 800 + 74 * 100  # 1.00 a seat and day: 2 for one day, then 1, 8 and 1


def test_a_late_amendment_moves_no_other_items_periods() -> None:
    """Fortnightly items begin anew with each term, each by itself: a late neighbour leaves what was billed as it is."""
    agreed = terms(item("base", 0, 1, MONTH), end=datetime(2027, 1, 1), end_behavior="renew")
    new = amend("a1", "add", item("new", 9, 2, FORTNIGHT), datetime(2027, 1, 1))
    neighbour = amend("a2", "add", item("late", 0, 2, FORTNIGHT), START, datetime(2027, 5, 27))
    until = datetime(2027, 10, 1)
    alone = lines_of(played(Contract(id="k", terms=agreed, changes=(new,)), until))
    beside = lines_of(played(Contract(id="k", terms=agreed, changes=(new, neighbour)), until))
    assert [(x.start, x.amount) for x in alone if x.item_id == "new"] == [(x.start, x.amount) for x in beside if x.item_id == "new"]
    assert total(alone) == total(beside) > 0


def test_half_of_a_line_that_discounts_ate_is_no_charge() -> None:
    """0.02 less two coupons of 0.01 is nothing; taking back half of it credits nothing, and charges nothing either."""
    off = tuple(Coupon(id=name, amount_off=1) for name in ("one", "two"))
    agreed = terms(item("seat", 2, 1, MONTH, off))
    stop = Change(id="z", kind="cancel", effective=datetime(2026, 1, 16), made_at=datetime(2026, 1, 16), prorate=True, invoice_now=True)
    lines = lines_of(played(Contract(id="k", terms=agreed, changes=(stop,)), datetime(2026, 6, 1)))
    assert [line.net for line in lines if line.kind == "charge"] == [0]
    assert all(line.net <= 0 for line in lines if line.kind == "credit")


def test_a_cut_line_is_not_completed_where_the_item_ends_sooner() -> None:
    """July was cut at the term's end on the 20th; a cancellation on the 2nd credits, and never bills the 20th to the 31st."""
    agreed = terms(item("seat", 3_100, 1, MONTH), end=datetime(2026, 7, 20))
    changes = (
        Change(id="l1", kind="cancel", effective=START, made_at=START, when="term_end"),
        Change(id="l0", kind="cancel", effective=datetime(2026, 7, 2), made_at=datetime(2026, 7, 2), prorate=True, invoice_now=False),
    )
    lines = lines_of(played(Contract(id="k", terms=agreed, changes=changes), datetime(2027, 1, 1)))
    july = [line for line in lines if line.start >= datetime(2026, 7, 1)]
    assert [(line.kind, line.amount) for line in july] == [("charge", 1_900), ("credit", -1_800)]


def test_a_contract_paused_for_good_has_no_next_date() -> None:
    """It renews itself month after month without a line: nobody looks for its next invoice for ever."""
    agreed = terms(item("seat", 3_000, 1, MONTH), end=datetime(2026, 2, 1), end_behavior="renew")
    pause = Change(id="p", kind="pause", effective=datetime(2026, 1, 10), made_at=datetime(2026, 1, 10))
    contract = Contract(id="k", terms=agreed, changes=(pause,))
    facts = tuple(lines_of(played(contract, datetime(2026, 1, 20))))
    assert next_due(Slice(contract=contract, facts=facts, has_invoices=True), datetime(2026, 1, 20)) is None


def test_one_resumption_ends_all_pauses() -> None:
    """Paused on the 12th, again on the 14th, resumed in April: the contract is active, not paused for ever, whatever the second pause says."""
    days = [("p1", "pause", datetime(2026, 1, 12)), ("p2", "pause", datetime(2026, 1, 14)), ("r", "resume", datetime(2026, 4, 22))]
    for first, second in (("credit", "credit"), ("credit", "void"), ("void", "credit"), ("void", "keep_as_draft")):
        hows = {"p1": first, "p2": second}
        changes = tuple(Change(id=n, kind=k, effective=d, made_at=d, pause_behavior=hows.get(n, "credit")) for n, k, d in days)  # type: ignore[arg-type]
        contract = Contract(id="k", terms=terms(item("seat", 3_000, 1, MONTH)), changes=changes)
        words = [contract_status(contract, datetime(2026, month, 20), has_overdue=False) for month in (1, 3, 5)]
        assert words == ["paused", "paused", "active"], (first, second)
        starts = [line.start for line in lines_of(played(contract, datetime(2026, 5, 20))) if line.kind == "charge"]
        assert datetime(2026, 5, 1) in starts


def test_a_change_that_waits_makes_no_date_for_another_that_waits() -> None:
    """Two increases of a yearly item wait for the next year's invoice, also when a late run learns of both at once."""
    agreed = terms(item("seat", 36_500, 1, YEAR))
    waiting = {"proration_behavior": "create_prorations"}
    changes = tuple(amend(f"a{n}", "delta", item("seat", 36_500, 1, YEAR), datetime(2026, 1, 2 + n), **waiting) for n in range(2))
    until = datetime(2026, 5, 17)
    for only in (None, [START, until]):
        lines = lines_of(played(Contract(id="k", terms=agreed, changes=changes), until, only=only))
        assert [line.amount for line in lines] == [36_500]


def at_the_last_change(contract: Contract, facts: list[Line]) -> tuple[list[str], list[str]]:
    """Return the keys of the lines when the last change is made: with all facts, and with those of the window."""
    *others, last = contract.changes
    before = replace(contract, changes=tuple(others))
    billed_until = next_due(Slice(contract=before, facts=tuple(facts)), others[-1].made_at)
    since = window_start(contract, billed_until, (last,))
    loaded = facts if since is None else [f for f in facts if f.end > since]
    whole = proposed(Slice(contract=contract, facts=tuple(facts)), last.made_at)
    seen = proposed(Slice(contract=contract, facts=tuple(loaded), since=since), last.made_at)
    return [line.key for line in whole], [line.key for line in seen]


def test_an_end_brings_forward_what_waited_for_the_next_invoice() -> None:
    """Five seats more from 1 January wait for the invoice of 1 March; canceled on 11 February, January's are billed too."""
    agreed = terms(item("seat", 1_000, 2, MONTH))
    more = amend("a", "delta", item("seat", 1_000, 5, MONTH), START, datetime(2026, 2, 10), proration_behavior="create_prorations")
    stop = Change(id="z", kind="cancel", effective=datetime(2026, 2, 11), made_at=datetime(2026, 2, 11))
    facts = lines_of(played(Contract(id="k", terms=agreed), datetime(2026, 2, 9)))
    whole, seen = at_the_last_change(Contract(id="k", terms=agreed, changes=(more, stop)), facts)
    assert seen == whole
    assert "k/seat/a/2026-01-01/charge" in whole


def test_an_end_before_the_wait_began_brings_it_forward_too() -> None:
    """The same where the contract turns out to have ended before the increase was known: it is billed from 3 January on."""
    seat = item("seat", 1_000, 1, MONTH)
    phases = (Phase(start=START, end=datetime(2026, 1, 21), items=(seat,)), Phase(start=datetime(2026, 1, 21), items=(seat,)))
    agreed = terms(phases=phases, anchor=datetime(2026, 1, 11))
    first = amend("a", "delta", item("seat", 1_000, 1, MONTH), START, proration_behavior="create_prorations")
    more = amend("b", "delta", item("seat", 1_000, 1, MONTH), datetime(2026, 1, 3), datetime(2026, 2, 12), proration_behavior="create_prorations")
    stop = Change(id="z", kind="cancel", effective=datetime(2026, 1, 24), made_at=datetime(2026, 2, 13))
    facts = lines_of(played(Contract(id="k", terms=agreed, changes=(first,)), datetime(2026, 2, 11)))
    whole, seen = at_the_last_change(Contract(id="k", terms=agreed, changes=(first, more, stop)), facts)
    assert seen == whole
    assert "k/seat/b/2026-01-03/charge" in whole


def test_a_cancellation_credits_what_would_have_begun_again_after_it() -> None:
    """Without the seat on 1 January only, not prorated: 30.00 for February to April; canceled back to 1 January, all is credited."""
    agreed = terms(item("seat", 3_000, 1, MONTH))
    day_off = amend("a", "delta", item("seat", 3_000, -1, MONTH), START, until=datetime(2026, 1, 2), proration_behavior="none")
    stop = Change(id="z", kind="cancel", effective=START, made_at=datetime(2026, 4, 10), prorate=True, invoice_now=True)
    lines = lines_of(played(Contract(id="k", terms=agreed, changes=(day_off, stop)), datetime(2026, 9, 1)))
    assert [(line.amount, line.change_id) for line in lines] == [(3_000, "a")] * 3 + [(-3_000, "z")] * 3
    unpaid = replace(stop, prorate=False)
    lines = lines_of(played(Contract(id="k", terms=agreed, changes=(day_off, unpaid)), datetime(2026, 9, 1)))
    assert [line.amount for line in lines] == [3_000] * 3


def test_a_change_of_prebilled_months_charges_them_no_sooner_than_it_credits_them() -> None:
    """Three months prebilled, on 10 February one more seat from 1 March: March is credited and charged on 1 March, in one invoice."""
    agreed = terms(item("seat", 3_000, 1, MONTH), prebill=Prebill(periods=3))
    for behavior, on in (("always_invoice", datetime(2026, 3, 1)), ("create_prorations", datetime(2026, 4, 1))):
        more = amend("a", "delta", item("seat", 3_000, 1, MONTH), datetime(2026, 3, 1), datetime(2026, 2, 10), proration_behavior=behavior)
        invoices = played(Contract(id="k", terms=agreed, changes=(more,)), datetime(2026, 4, 2))
        totals = [(i.created_at.date(), i.total) for i in invoices]
        april = (datetime(2026, 4, 1).date(), 6_000)
        whole = [(on.date(), 3_000), april] if behavior == "always_invoice" else [(on.date(), 9_000)]
        assert totals == [(START.date(), 9_000), *whole]


def test_a_preview_of_a_contract_that_is_paused_for_good_ends() -> None:
    """Paused on its first day while an increase waits for the next invoice: it renews itself for ever and is never billed."""
    agreed = terms(item("seat", 3_480, 1, MONTH), end=datetime(2026, 7, 1), end_behavior="renew")
    pause = Change(id="p", kind="pause", effective=START, made_at=START)
    more = amend("a", "delta", item("seat", 3_480, 8, MONTH), START, until=datetime(2026, 2, 9), proration_behavior="create_prorations")
    contract = Contract(id="k", terms=agreed, changes=(pause, more))
    assert upcoming(Slice(contract=contract), CustomerState(payment="none"), 4) == ()


def test_a_late_renewal_gives_back_what_another_renewal_billed_before_it() -> None:
    """Canceled on 12 June, renewed from there in February; a renewal from 4 February on comes in later and leaves the months between free."""
    agreed = terms(item("seat", 1_000, 1, MONTH))
    ended = Change(id="end", kind="cancel", effective=datetime(2026, 6, 12), made_at=datetime(2026, 5, 13), when="at", prorate=True)
    year = Interval(unit="month", count=12)
    filled = Change(
        id="fill", kind="renew", effective=datetime(2027, 2, 11), made_at=datetime(2027, 2, 11), when="term_end", duration=year
    )
    late = replace(filled, id="late", effective=datetime(2027, 2, 4), made_at=datetime(2027, 2, 24), when="at")
    contract = Contract(id="k", terms=agreed, changes=(ended, filled, late))
    properties.test_a_window_of_facts_bills_like_all_of_them.hypothesis.inner_test(contract)  # a bounded run gives back as much
    lines = lines_of(played(contract, datetime(2027, 2, 25)))
    between = [line for line in lines if datetime(2026, 6, 12) <= line.start < datetime(2027, 2, 4)]
    assert any(line.kind == "credit" for line in between)
    assert total(between) == 0
