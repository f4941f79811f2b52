"""What a subscription of Stripe says in our terms, and what has no counterpart."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from connector.billing.stripe_backend.importing.understood import Seen, Understood, understood
from connector.core.elsewhere import billed_elsewhere, through_from_data
from connector.core.lines import Slice
from connector.core.terms import Contract, Settings, terms_from_data

SETTINGS = Settings(proration="day", tax_rounding="line")


def at(text: str, time: str = "09:30:00") -> int:
    """Return Stripe's timestamp of a day."""
    return int(datetime.fromisoformat(f"{text}T{time}").replace(tzinfo=UTC).timestamp())


def price(name: str, amount: str | None = "2000", interval: str = "month", count: int = 1, **more: Any) -> dict[str, Any]:
    """Return a price as Stripe does."""
    usage = more.pop("usage_type", "licensed")
    return {
        "id": f"price_{name}", "lookup_key": name, "currency": "eur", "product": f"prod_{name}", "unit_amount_decimal": amount,
        "billing_scheme": "per_unit", "tax_behavior": "exclusive", "recurring": {"interval": interval, "interval_count": count, "usage_type": usage},
    } | more  # fmt: skip


def item(number: int, of: dict[str, Any], start: str, end: str, quantity: int | None = 1, **more: Any) -> dict[str, Any]:
    """Return an item of a subscription with its running period."""
    return {"id": f"si_{number}", "price": of, "quantity": quantity, "current_period_start": at(start), "current_period_end": at(end), "discounts": [], **more}


def subscription(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a subscription since 15 January, billed on the 15th."""
    return {
        "id": "sub_1", "customer": "cus_1", "status": "active", "currency": "eur", "start_date": at("2026-01-15"), "billing_cycle_anchor": at("2026-01-15"),
        "collection_method": "send_invoice", "days_until_due": 30, "items": {"data": list(items)}, "discounts": [], "cancel_at": None, "metadata": {},
    } | more  # fmt: skip


def read(sub: dict[str, Any], schedule: dict[str, Any] | None = None, seen: Seen | None = None) -> Understood:
    """Return a subscription in our terms."""
    return understood(sub, schedule, seen or Seen(), account="001000000000001AAA", timezone="Europe/Paris", settings=SETTINGS)


def facts(found: Understood) -> list[tuple[str, str, str, int]]:
    """Return what the contract counts as billed before: item, start, end, net."""
    assert found.entry is not None
    contract = Contract(id="ct_1", terms=terms_from_data(found.entry["terms"]))
    lines = billed_elsewhere(Slice(contract=contract), through_from_data(found.entry["billed_through"]))
    return [(n.item_id, str(n.start.date()), str(n.end.date()), n.net) for n in lines]


def test_a_plain_subscription_is_a_contract_billed_to_its_period_s_end() -> None:
    """Price, quantity, billing day, end and terms are taken over; the months up to the running one count as billed."""
    found = read(subscription(item(1, price("seat"), "2026-03-15", "2026-04-15", 3), cancel_at=at("2027-01-15")))
    assert found.entry is not None, found.problems
    terms = terms_from_data(found.entry["terms"])
    assert (terms.start, terms.anchor, terms.end_behavior) == (datetime(2026, 1, 15), datetime(2026, 1, 15), "cancel")
    assert (terms.phases[0].end, terms.days_until_due) == (datetime(2027, 1, 15), 30)
    assert facts(found) == [
        ("seat", "2026-01-15", "2026-02-15", 6000), ("seat", "2026-02-15", "2026-03-15", 6000), ("seat", "2026-03-15", "2026-04-15", 6000),
    ]  # fmt: skip
    assert found.prices == (("seat", "price_seat", "si_1"),)


def test_what_is_billed_behind_is_billed_to_its_period_s_start() -> None:
    """A metered item counts as billed up to the running period, a yearly one to the end of its year."""
    found = read(
        subscription(
            item(1, price("seat"), "2026-03-15", "2026-04-15"),
            item(2, price("api", "1", usage_type="metered"), "2026-03-15", "2026-04-15", None),
            item(3, price("base", "60000", "year"), "2026-01-15", "2027-01-15"),
        )
    )
    assert found.entry is not None, found.problems
    ends = {i: max(end for j, _, end, _ in facts(found) if j == i) for i in ("seat", "api", "base")}
    assert ends == {"seat": "2026-04-15", "api": "2026-03-15", "base": "2027-01-15"}


def test_a_product_s_code_is_the_crm_s_where_anything_says_it() -> None:
    """The code stands in the metadata of product or price, else the books know the product's name; so that deals meet the item."""
    sub = subscription(item(1, price("seat"), "2026-03-15", "2026-04-15"))
    said = Seen(products={"prod_seat": {"id": "prod_seat", "name": "Seats", "metadata": {"sku": "SEAT-1"}}})
    named = Seen(products={"prod_seat": {"id": "prod_seat", "name": "Seats", "metadata": {}}}, codes={"Seats": "SEAT"})
    codes = []
    for seen in (said, named, Seen()):
        entry = read(sub, seen=seen).entry
        assert entry is not None
        codes.append(terms_from_data(entry["terms"]).phases[0].items[0].price.product)
    assert codes == ["SEAT-1", "SEAT", "prod_seat"]


def test_tiers_and_parts_of_a_cent_are_taken_exactly() -> None:
    """A tiered price brings its tiers, a price of 0.035 cents stays one."""
    tiers = [{"up_to": 5, "unit_amount_decimal": "700"}, {"up_to": None, "unit_amount_decimal": "0.035", "flat_amount": 100}]
    tiered = price("tier", None, billing_scheme="tiered", tiers_mode="graduated")
    found = read(subscription(item(1, tiered, "2026-03-15", "2026-04-15", 7)), seen=Seen(tiered={"price_tier": {**tiered, "tiers": tiers}}))
    assert found.entry is not None, found.problems
    got = terms_from_data(found.entry["terms"]).phases[0].items[0].price
    assert (got.unit_amount, got.tiers_mode, got.tiers[1].unit_amount, got.tiers[1].flat_amount) == (None, "graduated", Decimal("0.035"), 100)
    assert read(subscription(item(1, tiered, "2026-03-15", "2026-04-15"))).problems == ("The tiers of the price tier cannot be read.",)


def test_a_discount_that_ends_holds_for_the_months_that_are_left() -> None:
    """10 % until 15 June, billed to 15 April: two more months; one that ends with the running period is gone."""
    coupon = {"id": "TEN", "percent_off": 10, "duration": "repeating", "duration_in_months": 5}
    seen = Seen(coupons={"TEN": coupon})

    def with_end(end: str) -> Understood:
        discount = {"id": "di_1", "source": {"coupon": "TEN", "type": "coupon"}, "end": at(end), "start": at("2026-01-15")}
        return read(subscription(item(1, price("seat"), "2026-03-15", "2026-04-15"), discounts=[discount]), seen=seen)

    found = with_end("2026-06-15")
    assert found.entry is not None, found.problems
    terms = terms_from_data(found.entry["terms"])
    assert [(c.id, c.duration, c.duration_in_months) for c in terms.discounts] == [("TEN", "repeating", 5)]
    assert facts(found)[-1] == ("seat", "2026-03-15", "2026-04-15", 1800)
    gone = with_end("2026-04-15")
    assert gone.entry is not None
    assert terms_from_data(gone.entry["terms"]).discounts == ()


def test_what_the_running_period_was_billed_at_is_taken_from_the_latest_invoice() -> None:
    """A discount that was used up made the running month 15.00 instead of 20.00: that is what a later credit is a share of."""
    line = {
        "amount": 2000, "discount_amounts": [{"amount": 500, "discount": "di_1"}], "period": {"start": at("2026-03-15"), "end": at("2026-04-15")},
        "parent": {"subscription_item_details": {"subscription_item": "si_1", "proration": False}},
    }  # fmt: skip
    found = read(subscription(item(1, price("seat"), "2026-03-15", "2026-04-15"), latest_invoice={"lines": {"data": [line]}}))
    assert facts(found)[-2:] == [("seat", "2026-02-15", "2026-03-15", 2000), ("seat", "2026-03-15", "2026-04-15", 1500)]


def test_a_schedule_brings_its_coming_phases() -> None:
    """The running phase counts from the contract's start, the coming one has other quantities, and the schedule's end is the contract's."""
    seat = price("seat")
    schedule = {
        "id": "sub_sched_1", "status": "active", "end_behavior": "cancel", "current_phase": {"start_date": at("2026-02-15")},
        "phases": [
            {"start_date": at("2026-01-15"), "end_date": at("2026-02-15"), "items": [{"price": seat, "quantity": 1}]},
            {"start_date": at("2026-02-15"), "end_date": at("2026-07-15"), "items": [{"price": seat, "quantity": 3}]},
            {"start_date": at("2026-07-15"), "end_date": at("2027-01-15"), "items": [{"price": "price_seat", "quantity": 5}], "proration_behavior": "none"},
        ],
    }  # fmt: skip
    found = read(subscription(item(1, seat, "2026-03-15", "2026-04-15", 3), schedule="sub_sched_1"), schedule)
    assert found.entry is not None, found.problems
    terms = terms_from_data(found.entry["terms"])
    assert [(str(p.start.date()), str(p.end and p.end.date()), p.items[0].quantity) for p in terms.phases] == [
        ("2026-01-15", "2026-07-15", 3), ("2026-07-15", "2027-01-15", 5),
    ]  # fmt: skip
    assert terms.end_behavior == "cancel"


def test_a_trial_that_runs_is_free_to_its_end() -> None:
    """Nothing counts as billed, and the first paid period begins where the trial ends."""
    sub = subscription(
        item(1, price("seat"), "2026-01-15", "2026-02-14"), status="trialing", trial_end=at("2026-02-14"), billing_cycle_anchor=at("2026-02-14")
    )
    found = read(sub)
    assert found.entry is not None, found.problems
    assert found.entry["billed_through"] is None
    assert terms_from_data(found.entry["terms"]).trial_end == datetime(2026, 2, 14)


def test_the_deal_that_it_came_from_is_named_by_its_metadata() -> None:
    """An opportunity's id in the metadata links its deal; anything else there does not."""
    own = item(1, price("seat"), "2026-03-15", "2026-04-15")
    found = [read(subscription(own, metadata={"salesforce_opportunity_id": text})).entry for text in ("006000000000001AAA", "Q-17")]
    assert [e and e["deal"] for e in found] == ["006000000000001AAA", ""]


def test_what_has_no_counterpart_is_said_all_at_once() -> None:
    """A paused collection, a threshold and a price in another currency are three reasons, and nothing is taken over."""
    sub = subscription(
        item(1, price("seat", currency="usd"), "2026-03-15", "2026-04-15"), pause_collection={"behavior": "void"}, billing_thresholds={"amount_gte": 1}
    )
    found = read(sub)
    assert found.entry is None
    assert found.problems == (
        "Its collection is paused; resume it first.", "It is billed by a threshold, which contracts do not have.",
        "The price seat is in USD, the subscription in EUR.",
    )  # fmt: skip


def test_an_item_with_a_billing_day_of_its_own_is_left_alone() -> None:
    """Periods that do not begin on the subscription's billing day cannot be one contract's."""
    found = read(subscription(item(1, price("seat"), "2026-03-20", "2026-04-20")))
    assert found.problems[0] == "The periods of seat do not begin on the subscription's billing day."
