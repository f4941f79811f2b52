"""Invariants of the billing engine (billing.md section 3), each over random histories of contracts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from histories import INTERVALS, THOROUGH, contracts, days, lines_of, lives, played
from hypothesis import given
from hypothesis import strategies as st

from connector.core.invoicing import Line, Slice, next_due, proposed, window_start
from connector.core.money import allocate, rounded
from connector.core.period import boundary, index, plus_months, to_local, to_utc
from connector.core.pricing import cost
from connector.core.proration import share
from connector.core.quoting import upcoming
from connector.core.schedule import problems
from connector.core.settlement import Account, CustomerState, Invoice, advance
from connector.core.terms import (
    Change,
    Interval,
    change_from_data,
    change_to_data,
    terms_from_data,
    terms_to_data,
)


@THOROUGH
@given(st.integers(-10_000, 10_000), st.lists(st.integers(0, 5_000), min_size=1, max_size=8))
def test_parts_sum_to_the_whole(amount, weights):
    """However an amount is split, its parts add up to it, and the opposite amount is split into the opposite parts."""
    parts = allocate(amount, weights)
    assert sum(parts) == amount
    assert allocate(-amount, weights) == tuple(-p for p in parts)


@THOROUGH
@given(st.fractions(max_denominator=1000))
def test_rounding_is_half_away_from_zero(value):
    """Rounding moves by at most half, and a value and its opposite round to opposites."""
    assert abs(Fraction(rounded(value)) - value) <= Fraction(1, 2)
    assert rounded(-value) == -rounded(value)


@THOROUGH
@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)),
    INTERVALS,
    st.integers(-50, 50),
    st.datetimes(datetime(1990, 1, 1), datetime(2080, 1, 1)),
)
def test_boundaries_tile_without_gap_or_overlap(anchor, interval, k, at):
    """Boundaries rise with k, and every instant lies in exactly one period."""
    assert boundary(anchor, interval, k) < boundary(anchor, interval, k + 1)
    found = index(anchor, interval, at)
    assert boundary(anchor, interval, found) <= at < boundary(anchor, interval, found + 1)


@THOROUGH
@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)),
    st.sampled_from(["Europe/Paris", "America/Denver", "Australia/Lord_Howe", "UTC"]),
)
def test_local_time_survives_the_way_through_utc_unless_it_does_not_exist(local, zone):
    """A local time comes back from UTC as it was, or later where the clock was put forward over it."""
    local = local.replace(microsecond=0)
    back = to_local(to_utc(local, zone), zone)
    assert back == local or timedelta(0) < back - local <= timedelta(hours=1)


@THOROUGH
@given(st.sampled_from(["day", "second"]), st.integers(0, 29), st.integers(0, 29), st.integers(0, 29))
def test_splitting_a_period_changes_nothing_before_rounding(basis, a, b, c):
    """The shares of the parts of a period add up to the share of the whole part."""
    low, high = datetime(2026, 4, 1), datetime(2026, 5, 1)
    x, y, z = sorted(low + timedelta(days=d) for d in (a, b, c))
    month = Interval(unit="month")
    parts = [Fraction(*share(basis, p, (low, high), month, "Europe/Paris")) for p in ((x, y), (y, z), (x, z))]
    assert parts[0] + parts[1] == parts[2]


@THOROUGH
@given(lives())
def test_billing_twice_adds_nothing_and_invoices_add_up(contract):
    """Every run is followed by one that finds nothing, keys are never used twice, and totals are the sums of their lines."""
    until = contract.terms.start + timedelta(days=560)
    invoices = played(contract, until)
    keys = [line.key for line in lines_of(invoices)]
    assert len(keys) == len(set(keys))
    for invoice in invoices:
        assert invoice.total == sum(line.gross for line in invoice.lines)
        assert invoice.total == invoice.subtotal - invoice.discount + sum(line.exclusive_tax for line in invoice.lines)


@THOROUGH
@given(lives())
def test_no_credit_exceeds_its_charge(contract):
    """The credits against a line never exceed it, in amount, discount and tax, and cover only its time."""
    lines = lines_of(played(contract, contract.terms.start + timedelta(days=560)))
    by_key = {line.key: line for line in lines}
    for line in lines:
        against = [c for c in lines if c.credits == line.key]
        assert -sum(c.amount for c in against) <= line.amount or not against
        assert -sum(c.net for c in against) <= line.net or not against
        assert -sum(c.exclusive_tax for c in against) <= line.exclusive_tax or not against
    for credit in lines:
        if credit.credits is not None:
            assert by_key[credit.credits].start <= credit.start < credit.end <= by_key[credit.credits].end


@THOROUGH
@given(contracts())
def test_a_credit_of_everything_mirrors_its_charge(contract):
    """When a contract is canceled back to its start with proration, all that was billed for time is credited to the cent.

    What a change took away without proration is given up for good, so that decreases prorate here.
    """
    until = contract.terms.start + timedelta(days=100)
    contract = replace(contract, changes=tuple(prorating_decrease(c) for c in contract.changes if c.made_at < until))
    stop = Change(
        id="z", kind="cancel", effective=contract.terms.start, made_at=until - timedelta(days=1), prorate=True, invoice_now=True,
        proration_behavior="always_invoice",
    )  # fmt: skip
    contract = replace(contract, changes=(*contract.changes, stop))
    lines = [line for line in lines_of(played(contract, until + timedelta(days=500))) if line.kind != "one_time"]
    assert sum(line.amount for line in lines) == 0
    assert sum(line.gross for line in lines) == 0


def prorating_decrease(change: Change) -> Change:
    is_less = any(step.op == "delta" and step.item is not None and (step.item.quantity or 0) < 0 for step in change.items)
    return replace(change, proration_behavior="always_invoice") if is_less and change.proration_behavior == "none" else change


def by_key(lines: list[Line]) -> dict[str, tuple[int, datetime, datetime]]:
    return {line.key: (line.amount, line.start, line.end) for line in lines}


def is_due(line: Line, until: datetime) -> bool:
    return not line.is_pending or line.due <= until


@THOROUGH
@given(contracts(), st.lists(days, min_size=1, max_size=6))
def test_late_runs_make_the_same_lines(contract, runs):
    """Where every change was known in time, billing late makes the very lines that billing on time would have made."""
    contract = replace(contract, changes=tuple(replace(c, made_at=c.effective) for c in contract.changes))
    until = contract.terms.start + timedelta(days=501)
    late = [contract.terms.start + timedelta(days=d) for d in sorted(runs)] + [until]
    on_time = lines_of(played(contract, until))
    rarely = lines_of(played(contract, until, only=late))
    timely, found = by_key(on_time), by_key(rarely)
    # what waits for the next invoice may ride on an earlier one that a late run makes; nobody else's line may be missing
    assert [line.key for line in on_time if is_due(line, until) and line.key not in found] == []
    assert [line.key for line in rarely if is_due(line, until) and line.key not in timely] == []
    assert {k: v for k, v in timely.items() if k in found} == {k: v for k, v in found.items() if k in timely}


@THOROUGH
@given(contracts(behaviors=("create_prorations", "always_invoice")))
def test_history_sums_to_the_integral_of_the_price(contract):
    """Over any history, what an item was billed for whole periods equals its price over time, but for a minor unit a line."""
    terms = replace(
        contract.terms, discounts=(), tax_rates=(), settings=replace(contract.terms.settings, proration="day")
    )
    contract = replace(contract, terms=terms)
    if problems(contract):
        return
    stop = plus_months(terms.start, 12)
    end = Change(id="z", kind="cancel", effective=stop, made_at=stop, prorate=True, invoice_now=True)
    changes = tuple(c for c in contract.changes if c.made_at < stop)
    invoices = played(replace(contract, changes=(*changes, end)), stop + timedelta(days=800))
    from connector.core.schedule import timeline

    plan = timeline(replace(contract, changes=(*changes, end)), horizon=stop)
    for item_id in {s.item.id for s in plan.segments}:
        exact = Fraction(0)
        for segment in (s for s in plan.segments if s.item.id == item_id):
            at, interval = segment.start, segment.price.interval
            while interval is not None and at < (segment.end or stop):
                k = index(segment.anchor, interval, at)
                low, high = boundary(segment.anchor, interval, k), boundary(segment.anchor, interval, k + 1)
                until = min(high, segment.end or stop)
                exact += Fraction(*cost(segment.price, segment.item.quantity)) * Fraction(
                    *share("day", (at, until), (low, high), interval, "UTC")
                )
                at = until
        lines = [line for line in lines_of(invoices) if line.item_id == item_id]
        assert abs(sum(line.amount for line in lines) - exact) <= max(1, len(lines))


@THOROUGH
@given(contracts(behaviors=("always_invoice",)), st.permutations([0, 1, 2]))
def test_order_of_arrival_changes_no_later_period(contract, order):
    """Amendments that arrive in another order lead to the same timeline, the same later periods and, by item, the same sum."""
    if contract.terms.settings.proration == "month_and_day":
        return  # months and days do not add up to a period, so that other cuts make other sums
    changes = contract.changes
    late = contract.terms.start + timedelta(days=510)
    when = {c.id: late + timedelta(days=order[n % 3]) for n, c in enumerate(changes)}
    until = late + timedelta(days=130)

    def arriving(shuffled: bool) -> list[Line]:
        zone = contract.terms.timezone
        account = Account(customer=CustomerState(), slices=(Slice(contract=replace(contract, changes=())),))
        now, found = contract.terms.start - timedelta(seconds=1), list[Invoice]()
        arrival = {c.id: when[c.id] if shuffled else c.made_at for c in changes}
        while True:
            due = next_due(account.slices[0], now)
            times = [t for t in arrival.values() if t > now] + ([due] if due is not None else [])
            if not times or min(times) > until:
                return lines_of(found)
            now = min(times)
            known = tuple(c for c in changes if arrival[c.id] <= now)
            account = replace(account, slices=(replace(account.slices[0], contract=replace(contract, changes=known)),))
            if problems(account.slices[0].contract):
                return []
            account, events = advance(account, to_utc(now, zone))
            found += [e.invoice for e in events if e.kind == "invoice.finalized"]

    straight, shuffled = arriving(shuffled=False), arriving(shuffled=True)
    if not straight or not shuffled:
        return
    after = max([late + timedelta(days=3), *(c.made_at for c in changes)])

    def later(lines: list[Line]) -> list[tuple[str, datetime, int]]:
        return sorted(
            (line.item_id, line.start, line.amount) for line in lines if line.start >= after and line.kind == "charge"
        )

    assert later(straight) == later(shuffled)
    count = len(straight) + len(shuffled)
    assert abs(sum(line.amount for line in straight) - sum(line.amount for line in shuffled)) <= count


@THOROUGH
@given(lives())
def test_preview_equals_invoice(contract):
    """The next invoices as previewed are, to the line, the invoices that are then made."""
    contract = replace(contract, changes=tuple(replace(c, made_at=c.effective) for c in contract.changes))
    if problems(contract):
        return
    customer = CustomerState(payment="none")
    preview = upcoming(Slice(contract=contract), customer, 4)
    zone = contract.terms.timezone
    account = Account(customer=customer, slices=(Slice(contract=contract),))
    made = []
    for invoice in preview:
        account, events = advance(account, invoice.created_at)
        made += [e.invoice for e in events if e.kind == "invoice.finalized"]
    assert tuple(made) == preview
    assert all(to_local(i.created_at, zone) >= contract.terms.start for i in preview)


@THOROUGH
@given(lives())
def test_a_window_of_facts_bills_like_all_of_them(contract):
    """A run that knows only the facts after the window's start makes the lines that a run with all facts makes."""
    zone, until = contract.terms.timezone, contract.terms.start + timedelta(days=530)
    facts: list[Line] = []
    now, billed = contract.terms.start - timedelta(seconds=1), None
    known: tuple[Change, ...] = ()
    while True:
        whole = Slice(contract=replace(contract, changes=known), facts=tuple(facts))
        due = next_due(whole, now)
        times = [c.made_at for c in contract.changes if c.made_at > now] + ([due] if due is not None else [])
        if not times or min(times) > until:
            return
        new = min(times)
        fresh = tuple(c for c in contract.changes if now < c.made_at <= new)
        known, now = known + fresh, new
        current = replace(contract, changes=known)
        since = window_start(current, billed, fresh)
        wanted = proposed(Slice(contract=current, facts=tuple(facts)), now)
        loaded = facts if since is None else [f for f in facts if f.end > since]
        assert proposed(Slice(contract=current, facts=tuple(loaded), since=since), now) == wanted
        facts += wanted
        billed = next_due(Slice(contract=current, facts=tuple(facts)), now)
        assert to_utc(now, zone).tzinfo is UTC


@THOROUGH
@given(lives())
def test_terms_and_changes_survive_as_data(contract):
    """Terms and changes read back from their data are equal, and equal terms write equal data."""
    data = terms_to_data(contract.terms)
    assert terms_from_data(data) == contract.terms
    assert terms_to_data(terms_from_data(data)) == data
    for change in contract.changes:
        assert change_from_data(change_to_data(change)) == change
