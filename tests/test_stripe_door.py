"""The door to Stripe against the look-alike: faults before and after the work, replays, look-ups, shared objects, rights."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import stripe
from stripe_server_world import StripeWorld, seconds
from stripe_wire import RecordingHttp, unchecked

from connector.billing.stripe_backend.client import StripeCalls
from connector.billing.stripe_backend.lookup import found
from connector.billing.stripe_backend.refusals import Refusal, Unanswered
from connector.billing.stripe_backend.rights import RIGHTS
from connector.billing.stripe_backend.shared import find_or_make
from connector.billing.stripe_backend.steps import Step
from connector.errors import HaltError, InvariantError, RejectedError, RetryableError

KEY = "rk_test_door00000001"


@pytest.fixture
def world() -> Iterator[StripeWorld]:
    with StripeWorld("2026-01-15") as made:
        yield made


def door(world: StripeWorld, key: str = KEY, timeout_s: float = 5) -> StripeCalls:
    return StripeCalls(key, api_base=world.url, timeout_s=timeout_s)


def customer(calls: StripeCalls, mark: str = "C-1") -> str:
    made = calls.do("customers.create", {"email": "a@acme.example", "metadata": {"connector_customer": mark}}, key=f"customer/{mark}")
    return str(made["id"])


ITEM = {"amount": 250, "currency": "usd", "description": "Set-up"}


def item(customer_id: str, mark: str = "d-1/item") -> Mapping[str, Any]:
    return {**ITEM, "customer": customer_id, "metadata": {"connector_step": mark}}


@pytest.mark.parametrize("kind", ["rate_limit", "lock_timeout", "cut_before", "cut_after", "error_before", "error_after"])
def test_each_fault_ends_in_one_object(world: StripeWorld, kind: str) -> None:
    """Whatever strikes a creation, before or after the work: asked again as decision D-19 says, there is one object in the end."""
    calls = door(world)
    who = customer(calls)
    world.server.faults.add(kind, method="POST", path="/v1/invoiceitems")
    params = item(who)
    step = Step(name="item", call="invoice_items.create", params=params)
    with pytest.raises(RetryableError) as caught:
        calls.do("invoice_items.create", params, key="d-1/item")
    was_open = isinstance(caught.value, Unanswered)
    assert was_open is (kind not in ("rate_limit", "lock_timeout"))
    if isinstance(caught.value, Unanswered) and caught.value.is_stored:
        assert kind in ("error_before", "error_after")
        with pytest.raises(Unanswered) as again:  # the same key gives the same failure again
            calls.do("invoice_items.create", params, key="d-1/item")
        assert again.value.status == 500
        answer = found(calls, step, params, "d-1/item")
        assert (answer is not None) is (kind == "error_after")
        if answer is None:
            answer = calls.do("invoice_items.create", params, key="d-1/item/a1")
    else:
        answer = calls.do("invoice_items.create", params, key="d-1/item")
    listed = calls.listed("invoice_items.list", {"customer": who})
    assert [i["id"] for i in listed] == [answer["id"]]
    assert found(calls, step, params, "d-1/item", since=seconds("2026-01-15")) == listed[0]


def test_a_slow_answer_is_given_up_and_found(world: StripeWorld) -> None:
    """An answer that comes after the time-out is lost here, but the object is there and is found."""
    who = customer(door(world))
    world.server.faults.add("late", method="POST", path="/v1/invoiceitems", delay_s=1.0)
    calls = door(world, timeout_s=0.3)
    with pytest.raises(Unanswered, match="no answer in time"):
        calls.do("invoice_items.create", item(who), key="d-1/item")
    step = Step(name="item", call="invoice_items.create", params=item(who))
    assert found(calls, step, item(who), "d-1/item") is not None


def test_a_key_at_work_is_waited_for(world: StripeWorld) -> None:
    """While the same key is still at work elsewhere, the second request waits its turn and then gets the first one's answer."""
    who = customer(door(world))
    world.server.faults.add("delay", method="POST", path="/v1/invoiceitems", delay_s=0.8)
    answers: list[Mapping[str, Any]] = []
    first = threading.Thread(target=lambda: answers.append(door(world).do("invoice_items.create", item(who), key="d-1/item")))
    first.start()
    time.sleep(0.2)
    with pytest.raises(RetryableError, match="still being carried out") as caught:
        door(world).do("invoice_items.create", item(who), key="d-1/item")
    assert not isinstance(caught.value, Unanswered)
    first.join(10)
    assert door(world).do("invoice_items.create", item(who), key="d-1/item") == answers[0]


def test_one_key_for_two_requests_is_a_bug_of_ours(world: StripeWorld) -> None:
    """The same key with other parameters is refused by Stripe, and parks the chain as our own fault."""
    calls = door(world)
    who = customer(calls)
    calls.do("invoice_items.create", item(who), key="d-1/item")
    with pytest.raises(InvariantError, match="one request only"):
        calls.do("invoice_items.create", {**item(who), "amount": 251}, key="d-1/item")


PRODUCT = Step(name="product", call="products.create", params={"id": "cn_gold", "name": "Gold"}, shared=("product", "cn_gold"))
COUPON = Step(name="coupon", call="coupons.create", params={"id": "cn_10", "percent_off": 10.0, "duration": "forever"}, shared=("coupon", "cn_10"))
RATE = Step(name="rate", call="tax_rates.create", params={"display_name": "VAT", "percentage": 19.0, "inclusive": False, "metadata": {"connector_key": "vat-19"}}, shared=("tax_rate", "vat-19"))
METER = Step(
    name="meter",
    call="billing.meters.create",
    params={
        "display_name": "API",
        "event_name": "api",
        "default_aggregation": {"formula": "sum"},
        "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
        "value_settings": {"event_payload_key": "value"},
    },
    shared=("meter", "api"),
)
PRICE = Step(
    name="price",
    call="prices.create",
    params={"currency": "usd", "product": "cn_gold", "unit_amount": 2900, "recurring": {"interval": "month", "interval_count": 1}, "lookup_key": "cn_p1", "tax_behavior": "exclusive"},
    shared=("price", "cn_p1"),
)
TIERED = Step(
    name="tiered",
    call="prices.create",
    params={
        "currency": "usd",
        "product": "cn_gold",
        "billing_scheme": "tiered",
        "tiers_mode": "graduated",
        "tiers": [{"up_to": 5, "unit_amount": 700}, {"up_to": "inf", "unit_amount": 600, "flat_amount": 100}],
        "recurring": {"interval": "month"},
        "lookup_key": "cn_t1",
    },
    shared=("price", "cn_t1"),
)
CUSTOMER = Step(
    name="customer",
    call="customers.create",
    params={"name": "Acme", "email": "a@acme.example", "metadata": {"connector_customer": "C-7"}},
    shared=("customer", "C-7"),
)


def test_shared_objects_are_made_once_by_several_pushes(world: StripeWorld) -> None:
    """Two pushes that need the same product, coupon, rate, meter, prices and customer make each of them once."""
    calls = door(world)
    for step in (PRODUCT, COUPON, RATE, METER, PRICE, TIERED, CUSTOMER):
        first = find_or_make(calls, step, f"d-1/{step.name}")
        second = find_or_make(calls, step, f"d-2/{step.name}")
        assert first["id"] == second["id"], step.name
    kinds = ("product", "coupon", "tax_rate", "billing.meter", "price", "customer")
    assert {kind: len(world.account.kind(kind)) for kind in kinds} == dict.fromkeys(kinds, 1) | {"price": 2}


@pytest.mark.parametrize("step", [PRODUCT, COUPON, RATE, METER, CUSTOMER])
def test_a_shared_object_that_was_cut_off_is_found(world: StripeWorld, step: Step) -> None:
    """A creation whose answer was lost, and whose key is forgotten or was never kept, is found under its own key."""
    calls = door(world)
    world.server.faults.add("cut_after", method="POST")
    with pytest.raises(Unanswered):
        find_or_make(calls, step, f"d-1/{step.name}")
    answer = found(calls, step, step.params, f"d-1/{step.name}")
    assert answer is not None
    assert find_or_make(calls, step, f"d-2/{step.name}")["id"] == answer["id"]


def test_usage_that_was_cut_off_is_counted_once(world: StripeWorld) -> None:
    """Usage whose answer was lost is sent again under its own identifier; that it is known already is as good as done."""
    calls = door(world)
    who = customer(calls)
    find_or_make(calls, METER, "d-1/meter")
    params = {"event_name": "api", "payload": {"value": "3", "stripe_customer_id": who}, "identifier": "u-1"}
    step = Step(name="usage", call="billing.meter_events.create", params=params)
    world.server.faults.add("error_after", method="POST", path="meter_events")
    with pytest.raises(Unanswered) as lost:
        calls.do(step.call, params, key="d-1/usage")
    assert lost.value.is_stored
    assert found(calls, step, params, "d-1/usage") is None
    with pytest.raises(Refusal) as again:
        calls.do(step.call, params, key="d-1/usage/a1")
    assert again.value.problem.code == "stripe-usage-already-sent"
    assert found(calls, step, params, "d-1/usage", refusal=again.value) == {"object": "billing.meter_event", **params}


def test_an_archived_price_and_another_coupon(world: StripeWorld) -> None:
    """An archived price is made anew under its lookup key; a coupon with our id and another percentage is refused."""
    calls = door(world)
    find_or_make(calls, PRODUCT, "d-1/product")
    old = find_or_make(calls, PRICE, "d-1/price")
    calls.do("prices.update", {"active": False}, target=old["id"], key="archive")
    new = find_or_make(calls, PRICE, "d-2/price")
    assert new["id"] != old["id"]
    assert find_or_make(calls, PRICE, "d-3/price")["id"] == new["id"]
    find_or_make(calls, COUPON, "d-1/coupon")
    other = Step(name="coupon", call="coupons.create", params={**COUPON.params, "percent_off": 20.0}, shared=COUPON.shared)
    with pytest.raises(RejectedError, match=r"percent_off is 10\.0, wanted 20\.0"):
        find_or_make(calls, other, "d-2/coupon")


def test_refusals_of_the_look_alike_find_their_words(world: StripeWorld) -> None:
    """What is missing, archived, mixed or unknown there is told to a rep in a sentence."""
    calls = door(world)
    who = customer(calls)

    def told(call: str, params: Mapping[str, Any], target: str | None = None) -> str:
        with unchecked(), pytest.raises(Refusal) as caught:
            calls.do(call, params, target=target, key=f"k{time.monotonic_ns()}")
        return caught.value.problem.code

    assert told("invoices.pay", {}, "in_none") == "stripe-missing-invoice"
    assert told("invoice_items.create", {**ITEM, "customer": "cus_none"}) == "stripe-missing-customer"
    assert told("subscription_schedules.create", {"customer": who, "start_date": "now", "phases": [{"items": [{"price": "price_none"}], "duration": {"interval": "month"}}]}) == "stripe-missing-price"
    assert told("customers.create", {"e_mail": "x"}) == "stripe-parameter-unknown"
    made = calls.do("invoices.create", {"customer": who, "collection_method": "send_invoice", "days_until_due": 30, "pending_invoice_items_behavior": "exclude"}, key="in")
    calls.do("invoice_items.create", {**ITEM, "customer": who, "invoice": made["id"]}, key="ii")
    calls.do("invoices.finalize_invoice", {}, target=made["id"], key="fin")
    assert told("invoice_items.create", {**ITEM, "customer": who, "invoice": made["id"]}) == "stripe-invoice-not-editable"
    assert told("invoices.finalize_invoice", {}, made["id"]) in ("stripe-invoice-not-editable", "stripe-invoice-already-finalized")
    step = Step(name="f", call="invoices.finalize_invoice", target=made["id"])
    assert (found(calls, step, {}, "d/f") or {})["status"] == "open"


def test_a_key_without_rights_names_the_one_that_is_missing(world: StripeWorld) -> None:
    """With the rights of the guide everything goes; each right taken away is named in the dashboard's words."""
    world.server.front.keys.restrict(KEY, {"product": "read"})
    calls = door(world)
    with pytest.raises(HaltError, match="may not do this") as caught:
        calls.do("products.create", {"id": "cn_x", "name": "X"}, key="k")
    assert "'Products: write'" in caught.value.hint
    with pytest.raises(HaltError) as caught:
        calls.listed("customers.list", {})
    assert "'Customers: read'" in caught.value.hint
    assert ["'Customers", " read'"][0].strip("'") in {r.resource for r in RIGHTS}
    world.server.front.keys.revoke(KEY)
    with pytest.raises(HaltError) as caught:
        calls.account()
    assert caught.value.code == "stripe-key"


def test_long_lists_come_whole_and_in_order(world: StripeWorld) -> None:
    """A list of more than a page is read to its end, each object once, newest first."""
    calls = door(world)
    who = customer(calls)
    made = [calls.do("invoice_items.create", item(who, f"d-{n}/i"), key=f"d-{n}/i")["id"] for n in range(130)]
    wire = RecordingHttp(inner=stripe.RequestsClient(timeout=5))
    watching = StripeCalls(KEY, api_base=world.url, http_client=wire)
    assert [i["id"] for i in watching.listed("invoice_items.list", {"customer": who})] == made[::-1]
    assert len(wire.sent) == 2


def test_threads_share_one_door(world: StripeWorld) -> None:
    """Several threads at one door each get their own answers."""
    calls = door(world)
    who = customer(calls)
    answers: dict[str, str] = {}

    def work(n: int) -> None:
        for m in range(5):
            key = f"d-{n}-{m}/i"
            answers[key] = calls.do("invoice_items.create", item(who, key), key=key)["metadata"]["connector_step"]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 20
    assert all(key == mark for key, mark in answers.items())
