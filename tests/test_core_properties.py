"""Invariants of the billing engine (billing.md section 3), each over random histories of contracts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
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
    Contract,
    ContractTerms,
    Coupon,
    Interval,
    Item,
    ItemChange,
    Phase,
    Price,
    Settings,
    TaxRate,
    change_from_data,
    change_to_data,
    terms_from_data,
    terms_to_data,
)

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
START = datetime(2026, 1, 1)
INTERVALS = st.sampled_from(
    [Interval(unit="month"), Interval(unit="month", count=3), Interval(unit="year"), Interval(unit="week", count=2)]
)
days = st.integers(min_value=0, max_value=500)


@st.composite
def prices(draw, number: int) -> Price:
    return Price(
        id=f"p{number}",
        unit_amount=draw(st.decimals(min_value=0, max_value=50_000, places=draw(st.sampled_from([0, 0, 2])))),
        interval=draw(INTERVALS),
        timing=draw(st.sampled_from(["in_advance", "in_advance", "in_advance", "in_arrears"])),
    )


coupons = st.builds(
    Coupon,
    id=st.sampled_from(["c1", "c2"]),
    percent_off=st.decimals(min_value=0, max_value=100, places=1),
    duration=st.just("forever"),
)


@st.composite
def all_terms(draw) -> ContractTerms:
    start = START + timedelta(days=draw(st.integers(0, 60)))
    count = draw(st.integers(1, 3))
    items = [Item(id=f"p{n}", price=draw(prices(n)), quantity=Decimal(draw(st.integers(1, 20)))) for n in range(count)]
    end = draw(st.sampled_from([None, None, plus_months(start, 12), start + timedelta(days=200)]))
    return ContractTerms(
        currency="eur",
        timezone=draw(st.sampled_from(["UTC", "Europe/Paris", "America/Denver"])),
        settings=Settings(
            proration=draw(st.sampled_from(["day", "second", "month_and_day"])),
            tax_rounding=draw(st.sampled_from(["line", "invoice"])),
        ),
        start=start,
        anchor=draw(st.sampled_from([None, None, start.replace(day=1), start + timedelta(days=10)])),
        phases=(Phase(start=start, end=end, items=tuple(items)),),
        end_behavior="release" if end is None else draw(st.sampled_from(["cancel", "release", "renew"])),
        discounts=tuple(draw(st.lists(coupons, max_size=1))),
        tax_rates=draw(st.sampled_from([(), (TaxRate(id="vat", percentage=Decimal(20)),)])),
    )


@st.composite
def amendments(draw, terms: ContractTerms, number: int) -> Change:
    at = terms.start + timedelta(days=draw(days))
    late = draw(st.sampled_from([0, 0, 0, 40]))
    item = draw(st.sampled_from(terms.phases[0].items))
    kind = draw(st.sampled_from(["grow", "grow", "set", "new", "shrink"]))
    if kind == "shrink":
        step = ItemChange(op="delta", item=replace(item, quantity=Decimal(-1)), item_id=item.id)
    elif kind == "grow":
        step = ItemChange(op="delta", item=replace(item, quantity=Decimal(draw(st.integers(1, 9)))), item_id=item.id)
    elif kind == "set":
        step = ItemChange(op="set", item=replace(item, quantity=Decimal(draw(st.integers(1, 9)))), item_id=item.id)
    else:
        step = ItemChange(op="add", item=Item(id=f"new{number}", price=draw(prices(90 + number)), quantity=Decimal(2)))
    behavior = draw(st.sampled_from(["create_prorations", "always_invoice", "none"]))
    return Change(
        id=f"a{number}",
        kind="amend",
        effective=at,
        made_at=at + timedelta(days=late),
        items=(step,),
        proration_behavior=behavior,
    )


@st.composite
def contracts(draw, *, has_changes: bool = True, behaviors: tuple[str, ...] = ()) -> Contract:
    terms = draw(all_terms())
    changes = [draw(amendments(terms, n)) for n in range(draw(st.integers(0, 3)) if has_changes else 0)]
    if behaviors:
        changes = [replace(c, proration_behavior=draw(st.sampled_from(behaviors))) for c in changes]
    contract = Contract(id="k", terms=terms, changes=tuple(changes))
    while contract.changes and problems(contract):  # what is refused never reaches billing
        contract = replace(contract, changes=contract.changes[:-1])
    return contract


@st.composite
def lives(draw) -> Contract:
    """A contract with amendments and what else happens in a life: cancellations, pauses, renewals, trials and phases."""
    contract = draw(contracts())
    terms = contract.terms
    if draw(st.booleans()) and terms.phases[0].end is None:
        middle = terms.start + timedelta(days=draw(st.integers(20, 200)))
        items = tuple(replace(i, quantity=Decimal(draw(st.integers(1, 9)))) for i in terms.phases[0].items)
        second = Phase(
            start=middle, items=items, proration_behavior=draw(st.sampled_from([None, "none", "always_invoice"]))
        )
        terms = replace(terms, phases=(replace(terms.phases[0], end=middle), second))
    if draw(st.booleans()):
        terms = replace(terms, trial_end=terms.start + timedelta(days=draw(st.integers(1, 40))))
    changes = list(contract.changes)
    for number in range(draw(st.integers(0, 3))):
        at = terms.start + timedelta(days=draw(days))
        made = at + timedelta(days=draw(st.sampled_from([0, 0, 20, -30])))
        kind = draw(st.sampled_from(["cancel", "pause", "resume", "renew", "renew"]))
        when = (
            draw(st.sampled_from(["at", "period_end", "term_end"]))
            if kind == "cancel"
            else draw(st.sampled_from(["at", "term_end"]))
        )
        changes.append(
            Change(
                id=f"l{number}",
                kind=kind,
                effective=at,
                made_at=max(made, terms.start),
                when=when,
                prorate=draw(st.booleans()),
                invoice_now=draw(st.booleans()),
                duration=Interval(unit="month", count=draw(st.integers(1, 14))),
                uplift_percent=Decimal(draw(st.integers(0, 20))),
                proration_behavior=draw(st.sampled_from(["create_prorations", "always_invoice"])),
            )
        )
    found = replace(contract, terms=terms, changes=())
    for change in sorted(changes, key=lambda c: c.made_at):  # what is refused when it arrives never reaches billing
        if not problems(tried := replace(found, changes=(*found.changes, change))):
            found = tried
    return found


def played(
    contract: Contract, until: datetime, *, only: list[datetime] | None = None, customer: CustomerState | None = None
) -> list[Invoice]:
    """Bill a contract as time passes, changes becoming known when they are made; *only*: run at these instants alone."""
    zone = contract.terms.timezone
    account = Account(
        customer=customer or CustomerState(payment="none"), slices=(Slice(contract=replace(contract, changes=())),)
    )
    now, found = contract.terms.start - timedelta(seconds=1), []
    while True:
        times = [c.made_at for c in contract.changes if c.made_at > now]
        if only is None:
            due = next_due(account.slices[0], now)
            times += [due] if due is not None else []
        else:
            times = [t for t in only if t > now]
        if not times or min(times) > until:
            return found
        now = min(times)
        known = tuple(c for c in contract.changes if c.made_at <= now)
        if known != account.slices[0].contract.changes:
            account = replace(account, slices=(replace(account.slices[0], contract=replace(contract, changes=known)),))
        account, events = advance(account, to_utc(now, zone))
        found += [e.invoice for e in events if e.kind == "invoice.finalized"]
        assert advance(account, to_utc(now, zone))[1] == (), "billing twice adds nothing"


def lines_of(invoices: list[Invoice]) -> list[Line]:
    return [line for invoice in invoices for line in invoice.lines]


@QUICK
@given(st.integers(-10_000, 10_000), st.lists(st.integers(0, 5_000), min_size=1, max_size=8))
def test_parts_sum_to_the_whole(amount, weights):
    """However an amount is split, its parts add up to it, and the opposite amount is split into the opposite parts."""
    parts = allocate(amount, weights)
    assert sum(parts) == amount
    assert allocate(-amount, weights) == tuple(-p for p in parts)


@QUICK
@given(st.fractions(max_denominator=1000))
def test_rounding_is_half_away_from_zero(value):
    """Rounding moves by at most half, and a value and its opposite round to opposites."""
    assert abs(Fraction(rounded(value)) - value) <= Fraction(1, 2)
    assert rounded(-value) == -rounded(value)


@QUICK
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


@QUICK
@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)),
    st.sampled_from(["Europe/Paris", "America/Denver", "Australia/Lord_Howe", "UTC"]),
)
def test_local_time_survives_the_way_through_utc_unless_it_does_not_exist(local, zone):
    """A local time comes back from UTC as it was, or later where the clock was put forward over it."""
    local = local.replace(microsecond=0)
    back = to_local(to_utc(local, zone), zone)
    assert back == local or timedelta(0) < back - local <= timedelta(hours=1)


@QUICK
@given(st.sampled_from(["day", "second"]), st.integers(0, 29), st.integers(0, 29), st.integers(0, 29))
def test_splitting_a_period_changes_nothing_before_rounding(basis, a, b, c):
    """The shares of the parts of a period add up to the share of the whole part."""
    low, high = datetime(2026, 4, 1), datetime(2026, 5, 1)
    x, y, z = sorted(low + timedelta(days=d) for d in (a, b, c))
    month = Interval(unit="month")
    parts = [Fraction(*share(basis, p, (low, high), month, "Europe/Paris")) for p in ((x, y), (y, z), (x, z))]
    assert parts[0] + parts[1] == parts[2]


@QUICK
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


@QUICK
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


@QUICK
@given(contracts())
def test_a_credit_of_everything_mirrors_its_charge(contract):
    """When a contract is canceled back to its start with proration, all that was billed is credited to the cent."""
    until = contract.terms.start + timedelta(days=100)
    contract = replace(contract, changes=tuple(c for c in contract.changes if c.made_at < until))
    stop = Change(
        id="z", kind="cancel", effective=contract.terms.start, made_at=until - timedelta(days=1), prorate=True, invoice_now=True,
        proration_behavior="always_invoice",
    )  # fmt: skip
    contract = replace(contract, changes=(*contract.changes, stop))
    lines = lines_of(played(contract, until + timedelta(days=500)))
    assert sum(line.amount for line in lines) == 0
    assert sum(line.gross for line in lines) == 0


@QUICK
@given(contracts(), st.lists(days, min_size=1, max_size=6))
def test_late_runs_make_the_same_lines(contract, runs):
    """Where every change was known in time, billing late makes the very lines that billing on time would have made."""
    contract = replace(contract, changes=tuple(replace(c, made_at=c.effective) for c in contract.changes))
    until = contract.terms.start + timedelta(days=501)
    late = [contract.terms.start + timedelta(days=d) for d in sorted(runs)] + [until]
    on_time = lines_of(played(contract, until))
    rarely = lines_of(played(contract, until, only=late))
    timely = {
        line.key: (line.amount, line.start, line.end) for line in on_time if not line.is_pending or line.due <= until
    }
    found = {
        line.key: (line.amount, line.start, line.end) for line in rarely if not line.is_pending or line.due <= until
    }
    assert {k: v for k, v in timely.items() if k not in found} == {}
    assert {k: v for k, v in found.items() if k not in timely} == {}
    assert timely == found


@QUICK
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


@QUICK
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


@QUICK
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


@QUICK
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


@QUICK
@given(lives())
def test_terms_and_changes_survive_as_data(contract):
    """Terms and changes read back from their data are equal, and equal terms write equal data."""
    data = terms_to_data(contract.terms)
    assert terms_from_data(data) == contract.terms
    assert terms_to_data(terms_from_data(data)) == data
    for change in contract.changes:
        assert change_from_data(change_to_data(change)) == change
