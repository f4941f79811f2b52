"""Properties of the billing machine over random schedules and changes: how the clock moves does not matter, and sums are sums."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.lookalike.stripe.account import Data, Refused
from tests.stripe_machine import SEND, Machine, at

ENOUGH = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
PRICES = ("m1", "m2", "m3", "q1", "y1")
BEHAVIORS = ("create_prorations", "always_invoice", "none")
START = datetime(2026, 1, 1, tzinfo=UTC)

items = st.lists(
    st.tuples(st.sampled_from(PRICES), st.integers(1, 9)), min_size=1, max_size=3, unique_by=lambda one: one[0]
)
phases = st.lists(
    st.tuples(
        items,
        st.integers(1, 100),
        st.sampled_from(BEHAVIORS),
        st.sampled_from((None, "phase_start", "trial")),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)
lives = st.tuples(
    phases, st.integers(-20, 40), st.sampled_from(("release", "cancel")), st.sampled_from(("4242", "0341", "send"))
)


def shop(last4: str) -> Machine:
    """Return an account with some prices, a coupon and a card."""
    world = Machine("2026-01-01")
    for number, name in enumerate(("m1", "m2", "m3"), 1):
        world.price(name, 1001 * number)
    world.price("q1", 2503, "month", 3)
    world.price("y1", 10_007, "year")
    world.coupon("ten", percent_off=10)
    world.rate("tax", "7.7")
    if last4 != "send":
        world.card(last4)
    return world


def begun(world: Machine, life: tuple[list[Data], int, str, str]) -> Data:
    """Make the schedule of a random life."""
    given_phases, start_day, end_behavior, card = life
    start = int((START + timedelta(days=start_day)).timestamp())
    end, made = max(start, at("2026-01-01")), []
    for wanted, days, behavior, kind, is_discounted in given_phases:
        end += days * 86_400
        phase: Data = {
            "items": [{"price": price, "quantity": quantity} for price, quantity in wanted],
            "end_date": end,
            "proration_behavior": behavior,
        }
        if kind == "trial":
            phase["trial"] = True
        elif kind is not None:
            phase["billing_cycle_anchor"] = kind
        if is_discounted:
            phase |= {"discounts": [{"coupon": "ten"}], "default_tax_rates": ["tax"]}
        made.append(phase)
    how = {"default_settings": SEND} if card == "send" else {}
    return world.schedule(*made, start=start, end_behavior=end_behavior, **how)


def summary(world: Machine) -> list[tuple[object, ...]]:
    """Return what a run came to."""
    rows: list[tuple[object, ...]] = [
        (row, one["attempt_count"], one["amount_paid"])
        for row, one in zip(world.table(), world.invoices(), strict=True)
    ]
    rows += [(one["status"], one["ended_at"]) for one in world.account.kind("subscription").values()]
    return [*rows, world.customer["balance"], sorted((one["created"], one["type"]) for one in world.account.events)]


@ENOUGH
@given(lives)
def test_one_leap_does_what_many_steps_do(life):
    """A clock that leaps 400 days leaves the same invoices, states, events and stamps as one that goes on day by day."""
    leaping, walking = shop(life[3]), shop(life[3])
    begun(leaping, life)
    begun(walking, life)
    leaping.wait(days=400)
    for _ in range(800):
        walking.wait(hours=12)
    assert summary(leaping) == summary(walking)


@ENOUGH
@given(lives)
def test_sums_are_sums(life):
    """On each invoice lines, discounts and taxes come to the total, and what was charged, credited and is due to its amount."""
    world = shop(life[3])
    begun(world, life)
    world.wait(days=400)
    for one in world.invoices():
        lines = one["lines"]["data"]
        net = sum(line["amount"] - sum(cut["amount"] for cut in line["discount_amounts"]) for line in lines)
        assert one["total"] == net + sum(
            tax["amount"] for line in lines for tax in line["taxes"] if tax["tax_behavior"] == "exclusive"
        )
        assert one["amount_remaining"] == (0 if one["status"] == "paid" else one["amount_due"] - one["amount_paid"])
        assert all(line["period"]["start"] <= line["period"]["end"] for line in lines)
    credit = sum(one["amount"] for one in world.account.kind("customer_balance_transaction").values())
    assert credit == world.customer["balance"]
    stamps = [one["created"] for one in world.account.events]
    assert stamps == sorted(stamps)


@ENOUGH
@given(lives, st.integers(1, 200))
def test_a_preview_is_the_next_invoice(life, days):
    """At any moment the preview of a running subscription is the next invoice that it gets, and leaves nothing behind."""
    world = shop(life[3])
    made = begun(world, life)
    world.wait(days=days)
    subscription = world.account.kind("subscription").get(made["subscription"] or made["released_subscription"] or "")
    if subscription is None or subscription["status"] == "canceled":
        return
    before = summary(world)
    known = set(world.account.kind("invoice"))
    shown = None
    with contextlib.suppress(Refused):
        shown = world.post("invoices/create_preview", {"subscription": subscription["id"]})
    assert summary(world) == before
    while not set(world.account.kind("invoice")) - known and world.moment < START + timedelta(days=1200):
        world.wait(days=1)
    fresh = [one for id_, one in world.account.kind("invoice").items() if id_ not in known]
    if shown is None:
        assert not fresh
        return
    assert [(line["amount"], line["period"]) for line in shown["lines"]["data"]] == [
        (line["amount"], line["period"]) for line in fresh[0]["lines"]["data"]
    ]
    assert (shown["total"], shown["created"]) == (fresh[0]["total"], fresh[0]["created"])


@ENOUGH
@given(
    st.lists(st.tuples(st.sampled_from(PRICES), st.integers(1, 9)), min_size=1, max_size=5), st.integers(0, 30), items
)
def test_there_and_back_is_nothing(changes, days, first):
    """Changes made and taken back in one moment leave credits and charges that come to nothing."""
    world = shop("4242")
    made = world.subscribe(*({"price": price, "quantity": quantity} for price, quantity in first))
    world.wait(days=days, hours=5)
    held = {item["id"]: (item["price"]["id"], item["quantity"]) for item in made["items"]["data"]}
    one = next(iter(held))
    others = {price for id_, (price, _) in held.items() if id_ != one}
    for price, quantity in [*((p, q) for p, q in changes if p not in others), held[one]]:
        world.post("subscriptions/{id}", {"items": [{"id": one, "price": price, "quantity": quantity}]}, id=made["id"])
    waiting = [item["amount"] for item in world.account.kind("invoiceitem").values() if item["invoice"] is None]
    assert sum(waiting) == 0
