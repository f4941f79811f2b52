"""Contracts compiled for Stripe: worked examples by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from connector.billing.stripe_backend.compiling.plan import planned
from connector.billing.stripe_backend.compiling.wanted import Wanted
from connector.billing.stripe_backend.steps import Held, Plan
from connector.core.lines import Line, Slice
from connector.core.terms import Contract, ContractTerms, Interval, Item, Phase, Price, Settings
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
