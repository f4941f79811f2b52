"""Random histories of contracts for the property tests: terms, amendments, whole lives; and the clock that bills them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st

from connector.core.invoicing import Line, Slice, next_due
from connector.core.period import plus_months, to_utc
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
    PaidTrial,
    Phase,
    Prebill,
    Price,
    Renewal,
    Settings,
    TaxRate,
    Tier,
)

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "1000"))  # a longer run: PROPERTY_EXAMPLES=20000 make test
THOROUGH = settings(
    derandomize="PROPERTY_EXAMPLES" not in os.environ,  # the suite tries the same histories each time; a longer run draws new ones
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
START = datetime(2026, 1, 1)
INTERVALS = st.sampled_from(
    [Interval(unit="month"), Interval(unit="month", count=3), Interval(unit="year"), Interval(unit="week", count=2)]
)
days = st.integers(min_value=0, max_value=500)


amounts = st.sampled_from([0, 0, 2]).flatmap(lambda places: st.decimals(min_value=0, max_value=50_000, places=places))


@st.composite
def tiers(draw) -> tuple[Tier, ...]:
    tops = sorted({draw(st.integers(1, 15)) for _ in range(draw(st.integers(0, 2)))})
    flats = st.sampled_from([Decimal(0), Decimal(0), Decimal(1_000)])
    return tuple(Tier(up_to=None if t is None else Decimal(t), unit_amount=draw(amounts), flat_amount=draw(flats)) for t in (*tops, None))


@st.composite
def prices(draw, number: int) -> Price:
    kind = draw(st.sampled_from(["per_unit", "per_unit", "per_unit", "graduated", "volume", "package"]))
    plain = Price(
        id=f"p{number}",
        unit_amount=draw(amounts),
        interval=draw(INTERVALS),
        timing=draw(st.sampled_from(["in_advance", "in_advance", "in_advance", "in_arrears"])),
    )
    if kind == "package":
        return replace(plain, divide_by=draw(st.integers(2, 7)), divide_round=draw(st.sampled_from(["up", "down"])))
    if kind != "per_unit":
        return replace(plain, unit_amount=None, tiers_mode=kind, tiers=draw(tiers()))
    return plain


@st.composite
def coupons(draw, name: str) -> Coupon:
    duration = draw(st.sampled_from(["forever", "once", "repeating"]))
    months = draw(st.integers(1, 5)) if duration == "repeating" else None
    if draw(st.booleans()):
        return Coupon(id=name, percent_off=draw(st.decimals(min_value=0, max_value=100, places=1)), duration=duration, duration_in_months=months)
    return Coupon(id=name, amount_off=draw(st.integers(1, 20_000)), duration=duration, duration_in_months=months)


@st.composite
def stacks(draw, name: str) -> tuple[Coupon, ...]:
    """Mostly no discount, at times one or two, in order of application."""
    return tuple(draw(coupons(f"{name}{n}")) for n in range(draw(st.sampled_from([0, 0, 0, 1, 2]))))


@st.composite
def quantities(draw) -> Decimal:
    return draw(st.one_of(st.integers(1, 20).map(Decimal), st.decimals(min_value=Decimal("0.5"), max_value=20, places=1)))


@st.composite
def all_terms(draw) -> ContractTerms:
    start = START + timedelta(days=draw(st.integers(0, 60)))
    count = draw(st.integers(1, 3))
    items = [Item(id=f"p{n}", price=draw(prices(n)), quantity=draw(quantities()), discounts=draw(stacks(f"i{n}"))) for n in range(count)]
    setup = Item(id="setup", price=Price(id="setup", unit_amount=draw(amounts)), discounts=draw(stacks("s")))
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
        phases=(Phase(start=start, end=end, items=tuple(items), add_invoice_items=draw(st.sampled_from([(), (setup,)]))),),
        end_behavior="release" if end is None else draw(st.sampled_from(["cancel", "release", "renew"])),
        discounts=draw(stacks("c")),
        tax_rates=draw(st.sampled_from([(), (), (TaxRate(id="vat", percentage=Decimal(20)),), (TaxRate(id="in", percentage=Decimal(10), inclusive=True),)])),
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
    until = draw(st.sampled_from([None, None, None, at + timedelta(days=draw(st.integers(1, 90)))]))
    return Change(
        id=f"a{number}",
        kind="amend",
        effective=at,
        made_at=at + timedelta(days=late),
        items=(step,),
        until=until,
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
            start=middle,
            items=items,
            proration_behavior=draw(st.sampled_from([None, "none", "always_invoice"])),
            billing_behavior=draw(st.sampled_from(["prorate_on_next_phase", "prorate_on_next_phase", "prorate_up_front"])),
            billing_cycle_anchor=draw(st.sampled_from(["automatic", "automatic", "phase_start"])),
            discounts=draw(st.sampled_from([None, None, ()])) if draw(st.booleans()) else draw(stacks("ph")) or None,
        )
        terms = replace(terms, phases=(replace(terms.phases[0], end=middle), second))
    if draw(st.booleans()):
        terms = replace(terms, trial_end=terms.start + timedelta(days=draw(st.integers(1, 40))))
    elif draw(st.booleans()):
        first, *others = terms.phases
        intro = PaidTrial(
            price=replace(first.items[0].price, id="intro", unit_amount=draw(amounts), tiers_mode=None, tiers=(), divide_by=None),
            periods=draw(st.integers(1, 3)),
            billing_cycle_anchor=draw(st.sampled_from(["now", "unchanged"])),
        )
        terms = replace(terms, phases=(replace(first, items=(replace(first.items[0], trial=intro), *first.items[1:])), *others))
    elif draw(st.booleans()):
        terms = replace(terms, prebill=Prebill(periods=draw(st.integers(1, 4))))
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
                discounts_add=draw(stacks(f"d{number}_")) if kind == "renew" else (),
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
    return as_they_arrive(replace(contract, terms=terms), changes)


def as_they_arrive(contract: Contract, changes: Iterable[Change]) -> Contract:
    """A contract with those of *changes* that are possible when they arrive; what is refused then never reaches billing."""
    found = replace(contract, changes=())
    for change in sorted(changes, key=lambda c: c.made_at):
        if not problems(tried := replace(found, changes=(*found.changes, change))):
            found = tried
    return found


@st.composite
def prebilled_lives(draw) -> Contract:
    """A life that is billed ahead, mostly further than its term, and mostly renews itself; changes of it may bill ahead, too."""
    contract = draw(lives())
    terms = contract.terms
    end = terms.phases[-1].start + timedelta(days=draw(st.sampled_from([31, 59, 90, 181, 200, 365])))
    phases = (*terms.phases[:-1], replace(terms.phases[-1], end=end))
    behavior = draw(st.sampled_from(["renew", "renew", "renew", "release", "cancel"]))
    uplift = Renewal(uplift_percent=Decimal(draw(st.sampled_from([0, 0, 5]))))
    terms = replace(terms, phases=phases, end_behavior=behavior, renewal=uplift, prebill=draw(_prebills(terms)))
    changes = [
        replace(c, prebill=draw(_prebills(replace(terms, start=c.effective)))) if c.kind in ("amend", "renew") and draw(st.sampled_from([False, False, True])) else c
        for c in contract.changes
    ]
    whole = replace(contract, terms=terms, changes=())
    assume(not problems(whole))
    return as_they_arrive(whole, changes)


@st.composite
def _prebills(draw, terms: ContractTerms) -> Prebill:
    only = draw(st.sampled_from([(), (), (), (terms.phases[0].items[0].id,)]))
    if draw(st.sampled_from([False, False, True])):
        return Prebill(until=terms.start + timedelta(days=draw(st.integers(40, 700))), prices=only)
    return Prebill(periods=draw(st.integers(1, 9)), prices=only)


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
