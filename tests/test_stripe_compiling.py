"""Contracts compiled for Stripe: worked examples by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from stripe_model import Model

from connector.billing.stripe_backend.compiling.owning import is_stripes, next_own
from connector.billing.stripe_backend.compiling.plan import planned
from connector.billing.stripe_backend.compiling.prices import event_name
from connector.billing.stripe_backend.compiling.wanted import Wanted
from connector.billing.stripe_backend.steps import Held, Plan, Ref
from connector.core.invoicing import proposed
from connector.core.lines import Line, Slice
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
    Tier,
)
from connector.errors import RejectedError
from connector.ports import AccountTax, CustomerDetails, HowBilled

MONTH = Interval(unit="month")
SEAT = Price(id="seat", description="Seat", unit_amount=Decimal(3000), interval=MONTH)
SETUP = Price(id="setup", description="Setup", unit_amount=Decimal(5000))
DETAILS = CustomerDetails(account="001A", name="Acme", email="billing@acme.example")


def contract_of(items: Sequence[Item], start: datetime, **terms: Any) -> Contract:
    phases = terms.pop("phases", (Phase(start=start, end=terms.pop("end", None), items=tuple(items)),))
    settings = Settings(proration="day", tax_rounding="line")
    return Contract(id="k", terms=ContractTerms(currency="eur", timezone="Europe/Paris", settings=settings, start=start, phases=phases, **terms))


def wanted_of(contract: Contract, now: datetime, held: Held | None = None, **more: Any) -> Wanted:
    facts, sent = more.pop("facts", ()), more.pop("sent", {})
    given: dict[str, Any] = {
        "key": "p", "org": "org", "contract": contract, "deal": "006A", "label": "Deal", "how": HowBilled(), "customer_id": "c", "details": DETAILS,
        "tax": AccountTax(), "held": held, "piece": Slice(contract=contract, facts=tuple(facts)), "sent": sent, "now": now, **more,
    }  # fmt: skip
    return Wanted(**given)


def at(year: int, month: int, day: int, hour: int = 9) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


def params_of(plan: Plan, name: str) -> Mapping[str, Any]:
    return next(s.params for s in plan.steps if s.name == name)


def lines_by_key(plan: Plan) -> dict[str, Line]:
    return {line.key: line for line in plan.lines}


def day(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


TEN = Item(id="seat", price=SEAT, quantity=Decimal(10))
ONCE = Item(id="setup", price=SETUP)


def test_a_contract_from_today_is_one_schedule_that_bills_at_once():
    """10 seats and a setup from today: one phase without end, the setup on its first invoice, which is finalized for its link."""
    contract = contract_of([TEN, ONCE], datetime(2026, 4, 1))
    plan = planned(wanted_of(contract, at(2026, 4, 1)))
    assert [s.name.split("-")[0] for s in plan.steps] == [
        "customer", "product", "product", "price", "month/schedule", "month/subscription", "month/finalize",
    ]  # fmt: skip
    made = params_of(plan, "month/schedule")
    assert made["start_date"] == int(at(2026, 4, 1).timestamp())
    assert made["end_behavior"] == "release"
    (phase,) = made["phases"]
    assert phase["items"][0]["quantity"] == 10
    assert [i["price_data"]["unit_amount"] for i in phase["add_invoice_items"]] == [5000]
    assert list(lines_by_key(plan)) == ["k/setup//2026-04-01/one_time"]


def test_a_contract_that_starts_later_waits_at_stripe():
    """What begins next month is a schedule that has not begun, so nothing is finalized; it starts at local noon of its day."""
    plan = planned(wanted_of(contract_of([TEN], datetime(2026, 5, 1)), at(2026, 4, 1)))
    assert [s.name for s in plan.steps if s.shared is None] == ["month/schedule"]
    assert params_of(plan, "month/schedule")["start_date"] == int(datetime(2026, 5, 1, 11, tzinfo=UTC).timestamp())


def test_what_began_before_is_billed_by_ourselves_up_to_now():
    """Known in June of a start in April: an invoice of ours bears the missed months and June; Stripe bills from July on."""
    plan = planned(wanted_of(contract_of([TEN, ONCE], datetime(2026, 4, 1)), at(2026, 6, 10)))
    own = [s.params for s in plan.steps if s.name.startswith("own/item")]
    assert [p["amount"] for p in own] == [30_000, 30_000, 30_000, 5_000]
    assert own[0]["metadata"]["connector_line"] == "k/seat//2026-04-01/charge"
    made = params_of(plan, "month/schedule")
    assert day(made["start_date"]) == date(2026, 6, 1)
    assert made["phases"][0]["proration_behavior"] == "none"


def test_nothing_to_change_is_nothing_to_send():
    """Asked again with what it holds now, a contract needs no steps, whenever that is."""
    contract = contract_of([TEN, ONCE], datetime(2026, 4, 1))
    for now in (at(2026, 3, 1), at(2026, 4, 1), at(2026, 6, 10)):
        plan = planned(wanted_of(contract, now))
        again = planned(wanted_of(contract, now, plan.held, sent=lines_by_key(plan)))
        assert again.steps == ()
        assert again.held == plan.held


def test_held_survives_without_results():
    """What will be held is known before anything is sent; only Stripe's ids are missing."""
    plan = planned(wanted_of(contract_of([TEN], datetime(2026, 4, 1)), at(2026, 4, 1)))
    (group,) = plan.held.groups
    assert (group.name, group.schedule, group.subscription, group.since) == ("month", "", "", date(2026, 4, 1))
    assert replace(group.phases[0].items[0], price="") == replace(group.phases[0].items[0], price="", quantity=Decimal(10))


# ---------------------------------------------------------------- running contracts


def begun(contract: Contract, now: datetime, **more: Any) -> tuple[Held, Plan]:
    """Return what Stripe holds of a contract that begins now, with ids as they come back."""
    plan = planned(wanted_of(contract, now, **more))
    groups = tuple(replace(g, schedule=f"sched_{g.name}", subscription=f"sub_{g.name}") for g in plan.held.groups)
    return replace(plan.held, groups=groups, customer="cus_1"), plan


def facts_of(contract: Contract, until: datetime) -> list[Line]:
    return proposed(Slice(contract=contract), until)


def more_seats(behavior: str, **how: Any) -> Change:
    five = ItemChange(op="delta", item=replace(TEN, quantity=Decimal(5)), item_id="seat")
    return Change(id="a", kind="amend", effective=datetime(2026, 4, 16), made_at=datetime(2026, 4, 16, 8), items=(five,), proration_behavior=behavior, **how)  # type: ignore[arg-type]


def amended(behavior: str, **how: Any) -> Plan:
    """5 more seats on 16 April: what is sent that morning."""
    plain = contract_of([TEN], datetime(2026, 4, 1))
    held, _ = begun(plain, at(2026, 4, 1))
    changed = replace(plain, changes=(more_seats(behavior, **how),))
    return planned(wanted_of(changed, at(2026, 4, 16), held, facts=facts_of(plain, datetime(2026, 4, 1))))


def test_a_proration_that_waits_is_two_items_on_the_subscription():
    """5 seats more in the middle of April: the schedule shows 15 at once without prorating, -150.00 and 225.00 wait for the first of May."""
    plan = amended("create_prorations")
    update = params_of(plan, "month/phases")
    assert update["proration_behavior"] == "none"
    assert [p["items"][0]["quantity"] for p in update["phases"]] == [15]
    waiting = [s.params for s in plan.steps if s.name.startswith("pending/")]
    assert [(p["subscription"], p["amount"], p["discountable"]) for p in waiting] == [("sub_month", -15_000, False), ("sub_month", 22_500, False)]
    assert not any(s.name.startswith("own/") for s in plan.steps)


def test_a_proration_at_once_is_an_invoice_of_ours():
    """Invoiced immediately, the same two lines stand on an invoice that is finalized in the same push."""
    plan = amended("always_invoice")
    assert [s.params["amount"] for s in plan.steps if s.name.startswith("own/item")] == [-15_000, 22_500]
    made = params_of(plan, "own/invoice")
    assert (made["collection_method"], made["days_until_due"], made["pending_invoice_items_behavior"]) == ("send_invoice", 30, "exclude")
    assert plan.steps[-1].call == "invoices.finalize_invoice"


def test_without_proration_only_the_schedule_changes():
    """5 seats more and no proration: no line of ours, the next period is billed with 15."""
    plan = amended("none")
    assert plan.lines == ()
    assert [s.name.partition("/")[0] for s in plan.steps if s.shared is None] == ["month"]


def test_a_change_of_next_month_leaves_the_running_period_as_it_is():
    """Agreed today for the first of June: two phases, the running one still with 10 seats."""
    plain = contract_of([TEN], datetime(2026, 4, 1))
    held, _ = begun(plain, at(2026, 4, 1))
    later = replace(more_seats("none"), effective=datetime(2026, 6, 1))
    plan = planned(wanted_of(replace(plain, changes=(later,)), at(2026, 4, 16), held, facts=facts_of(plain, datetime(2026, 4, 1))))
    phases = params_of(plan, "month/phases")["phases"]
    assert [(p["items"][0]["quantity"], day(p["end_date"])) for p in phases[:1]] == [(10, date(2026, 6, 1))]
    assert phases[1]["items"][0]["quantity"] == 15


def test_a_contract_canceled_now_is_canceled_without_stripes_own_lines():
    """Canceled on 16 April with a credit: 150.00 back on an invoice of ours; the schedule ends, invoicing and prorating nothing itself."""
    plain = contract_of([TEN], datetime(2026, 4, 1))
    held, _ = begun(plain, at(2026, 4, 1))
    end = Change(id="c", kind="cancel", effective=datetime(2026, 4, 16), made_at=datetime(2026, 4, 16, 8), prorate=True, invoice_now=True)
    plan = planned(wanted_of(replace(plain, changes=(end,)), at(2026, 4, 16), held, facts=facts_of(plain, datetime(2026, 4, 1))))
    assert [s.params["amount"] for s in plan.steps if s.name.startswith("own/item")] == [-15_000]
    assert params_of(plan, "month/cancel") == {"invoice_now": False, "prorate": False}
    again = planned(wanted_of(replace(plain, changes=(end,)), at(2026, 4, 16), plan.held, facts=facts_of(plain, datetime(2026, 4, 1)), sent=lines_by_key(plan)))
    assert again.steps == ()


def test_a_withdrawn_contract_leaves_nothing_at_stripe():
    """Withdrawn before it began, its schedule is canceled and the setup that rode on it is dropped."""
    plain = contract_of([TEN, ONCE], datetime(2026, 5, 1))
    held, first = begun(plain, at(2026, 4, 1))
    plan = planned(wanted_of(replace(plain, withdrawn=True), at(2026, 4, 2), held, sent=lines_by_key(first)))
    assert [s.name for s in plan.steps] == ["month/cancel"]
    assert plan.dropped == ("k/setup//2026-05-01/one_time",)


# ---------------------------------------------------------------- what a schedule looks like


def phases_of(contract: Contract, now: datetime, name: str = "month") -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = params_of(planned(wanted_of(contract, now)), f"{name}/schedule")["phases"]
    return found


def prices_of(plan: Plan) -> list[Any]:
    return [s.params.get("unit_amount", s.params.get("unit_amount_decimal")) for s in plan.steps if s.call == "prices.create"]


def test_a_ramp_is_a_phase_for_each_step():
    """10 seats for three months, then 20: two phases; the contract's end cancels."""
    twenty = replace(TEN, quantity=Decimal(20))
    ramp = (
        Phase(start=datetime(2026, 4, 1), end=datetime(2026, 7, 1), items=(TEN,)),
        Phase(start=datetime(2026, 7, 1), end=datetime(2027, 4, 1), items=(twenty,)),
    )
    contract = contract_of([], datetime(2026, 4, 1), phases=ramp, end_behavior="cancel")
    assert [(p["items"][0]["quantity"], day(p["end_date"])) for p in phases_of(contract, at(2026, 4, 1))] == [
        (10, date(2026, 7, 1)),
        (20, date(2027, 4, 1)),
    ]


def test_a_first_part_before_the_billing_day_is_a_phase_of_its_own_price():
    """From 21 April, billed on the first: 10 of 30 days of 300.00 are a phase at 100.00; the rhythm begins anew on 1 May."""
    contract = contract_of([TEN], datetime(2026, 4, 21), anchor=datetime(2026, 5, 1))
    plan = planned(wanted_of(contract, at(2026, 4, 21)))
    first, then = params_of(plan, "month/schedule")["phases"]
    assert prices_of(plan) == [10_000, 3_000]
    assert (first["items"][0]["quantity"], day(first["end_date"]), first.get("billing_cycle_anchor")) == (1, date(2026, 5, 1), None)
    assert (then["items"][0]["quantity"], then["billing_cycle_anchor"]) == (10, "phase_start")


def test_a_last_part_before_a_known_end_is_ours():
    """Ending on 15 June: Stripe would prorate a period in which it cancels once more, so it cancels on 1 June; 14 of 30 days of 300.00 are ours."""
    contract = contract_of([TEN], datetime(2026, 4, 1), end=datetime(2026, 6, 15), end_behavior="cancel")
    plan = planned(wanted_of(contract, at(2026, 4, 1)))
    schedule = params_of(plan, "month/schedule")
    assert prices_of(plan) == [3_000]
    assert (schedule["end_behavior"], [day(p["end_date"]) for p in schedule["phases"]]) == ("cancel", [date(2026, 6, 1)])
    held = begun(contract, at(2026, 4, 1))[0]
    later = planned(wanted_of(contract, at(2026, 6, 1), held, facts=facts_of(contract, datetime(2026, 5, 31))))
    assert [s.params["amount"] for s in later.steps if s.name.startswith("own/item")] == [14_000]


def test_a_contract_of_a_part_of_a_period_alone_is_an_invoice_of_ours():
    """Half a year of a yearly price: a subscription that is canceled in its first period would be billed for half of the half."""
    yearly = Item(id="year", price=replace(SEAT, id="year", unit_amount=Decimal(36_500), interval=Interval(unit="year")))
    contract = contract_of([yearly], datetime(2026, 4, 1), end=datetime(2026, 10, 1), end_behavior="cancel")
    plan = planned(wanted_of(contract, at(2026, 4, 1)))
    assert plan.held.groups == ()
    assert [s.params["amount"] for s in plan.steps if s.name.startswith("own/item")] == [18_300]


def test_use_keeps_a_subscription_until_its_true_end():
    """Beside use, which is never prorated, the subscription runs to the contract's end without the seats, whose last part is ours."""
    used = Item(id="calls", price=replace(SEAT, id="calls", unit_amount=Decimal(2), usage_type="metered", timing="in_arrears"))
    contract = contract_of([TEN, used], datetime(2026, 4, 1), end=datetime(2026, 6, 15), end_behavior="cancel")
    phases = params_of(planned(wanted_of(contract, at(2026, 4, 1))), "month/schedule")["phases"]
    assert [(day(p["end_date"]), [i["metadata"]["connector_item"] for i in p["items"]]) for p in phases] == [
        (date(2026, 6, 1), ["seat", "calls"]), (date(2026, 6, 15), ["calls"]),
    ]  # fmt: skip


def test_use_without_a_known_end_stands_in_the_last_phase_too():
    """Usage of a contract that runs on is billed as long as its subscription runs, not only as far as lines were looked ahead."""
    used = Item(id="calls", price=replace(SEAT, id="calls", unit_amount=Decimal(2), usage_type="metered", timing="in_arrears"))
    for items in ([used], [TEN, used]):
        (phase,) = params_of(planned(wanted_of(contract_of(items, datetime(2026, 4, 1)), at(2026, 4, 1))), "month/schedule")["phases"]
        assert [i["metadata"]["connector_item"] for i in phase["items"]] == [i.id for i in items]


def test_use_that_is_taken_away_stays_until_its_period_is_billed():
    """Removed on 15 April: with prorations off Stripe bills no use of an item that leaves inside its period, so it leaves on 1 May."""
    used = Item(id="calls", price=replace(SEAT, id="calls", unit_amount=Decimal(2), usage_type="metered", timing="in_arrears"))
    contract = contract_of([TEN, used], datetime(2026, 4, 1))
    held = begun(contract, at(2026, 4, 1))[0]
    gone = ItemChange(op="remove", item_id="calls")
    change = Change(id="a", kind="amend", effective=datetime(2026, 4, 15), made_at=datetime(2026, 4, 15, 8), items=(gone,))
    plan = planned(wanted_of(replace(contract, changes=(change,)), at(2026, 4, 15), held, facts=facts_of(contract, datetime(2026, 4, 2))))
    phases = params_of(plan, "month/phases")["phases"]
    assert [(day(p["end_date"]), [i["metadata"]["connector_item"] for i in p["items"]]) for p in phases] == [
        (date(2026, 5, 1), ["seat", "calls"]), (date(2031, 6, 1), ["seat"]),
    ]  # fmt: skip


def test_a_free_trial_is_a_phase_that_is_free():
    """Two weeks free: a trial phase, then the full price; what becomes of it without a payment method is told."""
    contract = contract_of([TEN], datetime(2026, 4, 1), trial_end=datetime(2026, 4, 15), trial_missing_payment="cancel")
    plan = planned(wanted_of(contract, at(2026, 4, 1)))
    trial, full = params_of(plan, "month/schedule")["phases"]
    assert (trial["trial"], day(trial["end_date"]), "trial" in full) == (True, date(2026, 4, 15), False)
    assert params_of(plan, "month/trial") == {"trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}}}


def test_a_discount_of_the_first_invoice_is_a_phase_with_a_coupon():
    """20 % once: the coupon stands on the first month's phase, for as long as the phase lasts."""
    contract = contract_of([TEN], datetime(2026, 4, 1), discounts=(Coupon(id="launch", percent_off=Decimal(20), duration="once"),))
    plan = planned(wanted_of(contract, at(2026, 4, 1)))
    (coupon,) = [s.params for s in plan.steps if s.call == "coupons.create"]
    assert (coupon["percent_off"], coupon["duration"]) == (20.0, "forever")
    first, rest = params_of(plan, "month/schedule")["phases"]
    assert (first["discounts"], rest["discounts"]) == ([{"coupon": coupon["id"]}], "")
    assert day(first["end_date"]) == date(2026, 5, 1)


def test_half_a_cent_of_discount_is_said_as_an_amount():
    """10 % of 12.55 is 1.255: no rounding of a percentage is trusted with it, the line bears a coupon of 1.26."""
    odd = Item(id="odd", price=replace(SEAT, id="odd", unit_amount=Decimal(1255)), discounts=(Coupon(id="ten", percent_off=Decimal(10)),))
    plan = planned(wanted_of(contract_of([odd], datetime(2026, 4, 1)), at(2026, 4, 1)))
    assert [s.params.get("amount_off") for s in plan.steps if s.call == "coupons.create"] == [126]


def test_a_graduated_price_with_a_discount_is_said_as_its_amount():
    """5 at 7.00 and 5 at 6.50, a quarter off: Stripe shows a line for each tier, and may take the discount off each; 67.50 once leaves no doubt."""
    tiers = (Tier(up_to=Decimal(5), unit_amount=Decimal(700)), Tier(up_to=None, unit_amount=Decimal(650)))
    steps = Item(id="steps", price=replace(SEAT, id="steps", unit_amount=None, tiers_mode="graduated", tiers=tiers), quantity=Decimal(10))
    plain = planned(wanted_of(contract_of([steps], datetime(2026, 4, 1)), at(2026, 4, 1)))
    cut = replace(steps, discounts=(Coupon(id="quarter", percent_off=Decimal(25)),))
    plan = planned(wanted_of(contract_of([cut], datetime(2026, 4, 1)), at(2026, 4, 1)))
    prices = [next(s.params for s in p.steps if s.call == "prices.create") for p in (plain, plan)]
    assert ["tiers" in p for p in prices] == [True, False]
    assert prices[1]["unit_amount"] == 6750
    assert params_of(plan, "month/schedule")["phases"][0]["items"][0]["quantity"] == 1


def test_months_and_years_share_a_subscription_and_what_does_not_fit_has_its_own():
    """Monthly and yearly items stand together; every two and every three months do not divide each other."""
    year = Item(id="year", price=replace(SEAT, id="year", interval=Interval(unit="year")))
    together = planned(wanted_of(contract_of([TEN, year], datetime(2026, 4, 1)), at(2026, 4, 1)))
    assert [g.name for g in together.held.groups] == ["month"]
    two, three = (Item(id=f"i{n}", price=replace(SEAT, id=f"i{n}", interval=Interval(unit="month", count=n))) for n in (2, 3))
    apart = planned(wanted_of(contract_of([two, three], datetime(2026, 4, 1)), at(2026, 4, 1)))
    assert [g.name for g in apart.held.groups] == ["2-month", "3-month"]


def test_more_than_twenty_items_are_two_subscriptions():
    """A subscription takes 20 items; the 21st stands in another, under one contract."""
    items = [Item(id=f"i{n}", price=replace(SEAT, id=f"i{n}")) for n in range(21)]
    plan = planned(wanted_of(contract_of(items, datetime(2026, 4, 1)), at(2026, 4, 1)))
    assert [(g.name, len(g.phases[0].items)) for g in plan.held.groups] == [("month", 20), ("month-2", 1)]


def test_more_than_ten_phases_are_sent_in_parts():
    """Twelve steps of a ramp: ten are sent, the run comes back before they are used up."""
    starts = [datetime(2026 + (3 + n) // 12, (3 + n) % 12 + 1, 1) for n in range(13)]
    steps = tuple(Phase(start=starts[n], end=starts[n + 1], items=(replace(TEN, quantity=Decimal(n + 1)),)) for n in range(12))
    contract = contract_of([], datetime(2026, 4, 1), phases=steps, end_behavior="cancel")
    held, plan = begun(contract, at(2026, 4, 1))
    assert len(params_of(plan, "month/schedule")["phases"]) == 10
    later = wanted_of(contract, at(2026, 10, 2), held, facts=facts_of(contract, datetime(2026, 10, 1, 12)))
    assert len(params_of(planned(later), "month/phases")["phases"]) == 6
    look = next_own(wanted_of(contract, at(2026, 4, 1), held), held)
    assert look is not None
    assert look < at(2027, 2, 1)


def test_one_time_items_alone_are_one_invoice():
    """A deal without anything recurring is an invoice of ours; nothing is scheduled."""
    plan = planned(wanted_of(contract_of([ONCE], datetime(2026, 4, 1)), at(2026, 4, 1)))
    assert [s.name for s in plan.steps] == ["customer", "own/invoice", "own/item-1", "own/finalize"]
    assert plan.held.groups == ()


def test_an_interval_above_three_years_is_billed_by_ourselves():
    """Stripe's prices recur at least every three years; a five-year price is an item of ours when it falls due."""
    long = Item(id="long", price=replace(SEAT, id="long", interval=Interval(unit="year", count=5)))
    plan = planned(wanted_of(contract_of([long], datetime(2026, 4, 1)), at(2026, 4, 1)))
    assert [s.name for s in plan.steps if s.shared is None] == ["own/invoice", "own/item-1", "own/finalize"]


def test_use_is_metered_for_each_contract_and_item():
    """A metered item has a meter of its own, because Stripe counts by customer, and no quantity."""
    gb = Item(id="gb", price=replace(SEAT, id="gb", usage_type="metered"), quantity=None)
    plan = planned(wanted_of(contract_of([gb], datetime(2026, 4, 1)), at(2026, 4, 1)))
    (meter,) = [s.params for s in plan.steps if s.call == "billing.meters.create"]
    assert meter["event_name"] == event_name("k", "gb") == "k_gb"
    assert "quantity" not in params_of(plan, "month/schedule")["phases"][0]["items"][0]


def test_taxes_stand_on_the_items_and_on_our_own_lines():
    """20 % VAT of the contract: one rate object, named by the item and by the setup that rides on the first invoice."""
    contract = contract_of([TEN, ONCE], datetime(2026, 4, 1), tax_rates=(TaxRate(id="vat", percentage=Decimal(20)),))
    plan = planned(wanted_of(contract, at(2026, 4, 1)))
    (rate,) = [s for s in plan.steps if s.call == "tax_rates.create"]
    assert (rate.params["percentage"], rate.params["inclusive"]) == (20.0, False)
    (phase,) = params_of(plan, "month/schedule")["phases"]
    assert phase["items"][0]["tax_rates"] == [Ref(step=rate.name)] == phase["add_invoice_items"][0]["tax_rates"]


def test_everything_impossible_is_said_at_once():
    """Two lines above the largest amount and a second currency: one refusal, three reasons, before anything is sent."""
    huge = [Item(id=f"big{n}", price=replace(SEAT, id=f"big{n}", description=f"Big {n}", unit_amount=Decimal(10**8)), quantity=Decimal(n)) for n in (2, 3)]
    with pytest.raises(RejectedError) as refused:
        planned(wanted_of(contract_of(huge, datetime(2026, 4, 1)), at(2026, 4, 1), currencies={"usd": "Other"}))
    problem = refused.value.problem
    assert problem.code == "stripe-limits"
    assert "Acme is already billed in USD (Other)" in problem.message
    assert "2,000,000.00 EUR (Big 2), 3,000,000.00 EUR (Big 3) is more than Stripe takes on one line" in problem.message


def test_who_bills_a_line_is_told_by_what_was_sent():
    """Whole periods of the schedule are Stripe's, the parts that a change makes are ours."""
    plain = contract_of([TEN], datetime(2026, 4, 1))
    held, _ = begun(plain, at(2026, 4, 1))
    changed = replace(plain, changes=(more_seats("always_invoice"),))
    facts = facts_of(plain, datetime(2026, 4, 1))
    plan = planned(wanted_of(changed, at(2026, 4, 16), held, facts=facts))
    lines = proposed(Slice(contract=changed, facts=tuple(facts)), datetime(2026, 5, 1))
    assert [(line.key, is_stripes(plan.held, line)) for line in lines] == [
        ("k/seat//2026-04-01/credit/a", False), ("k/seat/a/2026-04-16/charge", False), ("k/seat/a/2026-05-01/charge", True),
    ]  # fmt: skip


def test_every_request_fits_the_types_of_the_sdk():
    """What these examples send is known to the pinned version, key by key."""
    for plan in (amended("create_prorations"), amended("always_invoice"), begun(contract_of([TEN, ONCE], datetime(2026, 4, 1)), at(2026, 4, 1))[1]):
        Model().check(plan)
