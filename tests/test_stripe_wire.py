"""The tooling that checks what leaves for Stripe: each documented bad request is refused, and right ones are not."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from stripe_wire import WATCH, BadRequest, RecordingHttp, params_type, unchecked, validated

from connector.billing.stripe_backend.client import StripeCalls

ITEM = {"price": "price_1"}
MONTH = {"interval": "month", "interval_count": 1}
PHASE = {"items": [ITEM], "duration": MONTH}
SCHEDULE = {"customer": "cus_1", "phases": [PHASE]}

GOOD: list[tuple[str, Mapping[str, Any]]] = [
    ("subscription_schedules.create", {**SCHEDULE, "start_date": 1790000000, "end_behavior": "release", "billing_mode": {"type": "flexible"}}),
    ("subscription_schedules.create", {"from_subscription": "sub_1"}),
    ("subscription_schedules.update", {"phases": [{**PHASE, "start_date": "now", "discounts": ""}], "proration_behavior": "none"}),
    ("subscription_schedules.cancel", {"invoice_now": False, "prorate": False}),
    ("subscriptions.update", {"billing_cycle_anchor": {"type": "now"}, "metadata": {"a": "b"}}),
    ("prices.create", {"currency": "eur", "product": "p", "unit_amount_decimal": Decimal("0.5"), "recurring": MONTH, "lookup_key": "cn_1"}),
    ("prices.create", {"currency": "eur", "product": "p", "billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": [{"up_to": 5, "unit_amount": 700}, {"up_to": "inf", "unit_amount": 600}]}),
    ("coupons.create", {"id": "cn_1", "percent_off": 12.5, "duration": "forever"}),
    ("coupons.create", {"id": "cn_1", "amount_off": 500, "currency": "eur", "duration": "repeating", "duration_in_months": 3}),
    ("invoice_items.create", {"customer": "cus_1", "amount": -250, "currency": "eur", "discountable": False, "period": {"start": 1790000000, "end": 1790000000}}),
    ("invoices.create", {"customer": "cus_1", "auto_advance": True, "collection_method": "send_invoice", "days_until_due": 30}),
    ("customers.balance_transactions.create", {"amount": -100, "currency": "eur"}),
    ("billing.meter_events.create", {"event_name": "api", "payload": {"value": "3", "stripe_customer_id": "cus_1"}, "identifier": "u-1"}),
    ("billing_portal.sessions.create", {"customer": "cus_1", "return_url": "https://billing.example"}),
    ("events.list", {"created": {"gte": 1790000000}, "limit": 100}),
    ("accounts.retrieve_current", {}),
]  # fmt: skip


def phases(**more: Any) -> Mapping[str, Any]:
    return {"customer": "cus_1", "phases": [{**PHASE, **more}]}


BAD: list[tuple[str, Mapping[str, Any], str]] = [
    # preview features and names of older versions (unknown keys, at any depth)
    ("subscription_schedules.create", {**SCHEDULE, "prebilling": {}}, "prebilling"),
    ("subscription_schedules.create", {**SCHEDULE, "billing_behavior": "prorate_up_front"}, "billing_behavior"),
    ("subscription_schedules.create", phases(iterations=12), "iterations"),
    ("subscription_schedules.create", phases(coupon="x"), "coupon"),
    ("subscription_schedules.create", phases(effective_at="billing_period_start"), "effective_at"),
    ("quotes.create", {"customer": "cus_1", "lines": [{}]}, "lines"),
    ("invoice_items.create", {"customer": "cus_1", "price": "price_1"}, "price"),
    ("subscription_schedules.create", phases(items=[{"price_data": {"currency": "eur", "product": "p", "recurring": {"interval": "month"}, "unit_amount": 5, "tiers": [1]}}]), "tiers"),
    ("subscriptions.cancel", {"proration_behavior": "none"}, "proration_behavior"),
    # options of the SDK are no parameters
    ("customers.create", {"idempotency_key": "k"}, "idempotency_key"),
    # missing and mistyped
    ("subscription_schedules.create", {"customer": "cus_1", "phases": [{"duration": MONTH}]}, "items"),
    ("subscription_schedules.create", phases(items=[{"price": "p", "quantity": "2"}]), "quantity"),
    ("subscription_schedules.create", phases(items=[{"price": "p", "quantity": Decimal(2)}]), "quantity"),
    ("subscriptions.update", {"billing_cycle_anchor": "now"}, "billing_cycle_anchor"),
    ("prices.create", {"currency": "eur", "product": "p", "unit_amount_decimal": "0.5"}, "unit_amount_decimal"),
    ("invoices.create", {"customer": "cus_1", "auto_advance": 1}, "auto_advance"),
    # misspelt enums, which the types alone let pass
    ("subscription_schedules.create", {**SCHEDULE, "end_behavior": "stop"}, "end_behavior"),
    ("subscription_schedules.create", phases(proration_behavior="never"), "proration_behavior"),
    ("subscription_schedules.create", phases(duration={"interval": "months"}), "interval"),
    ("invoices.list", {"status": "opened"}, "status"),
    ("credit_notes.create", {"invoice": "in_1", "reason": "because"}, "reason"),
    # phases
    ("subscription_schedules.create", phases(end_date=1790000000), "duration together with end_date"),
    ("subscription_schedules.create", {"customer": "cus_1", "phases": [PHASE] * 11}, "10 at most"),
    ("subscription_schedules.create", {"customer": "cus_1", "phases": [{"items": [ITEM]}, PHASE]}, "another one follows"),
    ("subscription_schedules.create", phases(trial=True, trial_end=1790000000), "trial together with trial_end"),
    ("subscription_schedules.create", phases(trial=True, billing_cycle_anchor="phase_start"), "anchor of its own"),
    ("subscription_schedules.update", {"phases": [{"items": [ITEM], "start_date": 1790000000, "end_date": 1780000000}]}, "ends before"),
    ("subscription_schedules.create", {"from_subscription": "sub_1", "phases": [PHASE]}, "from_subscription together"),
    ("subscription_schedules.create", {"phases": [PHASE]}, "a customer or a subscription"),
    # items
    ("subscription_schedules.create", phases(items=[{"price": f"p{i}"} for i in range(21)]), "20 at most"),
    ("subscription_schedules.create", phases(items=[ITEM, ITEM]), "twice"),
    ("subscription_schedules.create", phases(items=[{"quantity": 1}]), "no price"),
    ("subscription_schedules.create", phases(items=[{"price": "p", "price_data": {"currency": "eur", "product": "p", "recurring": {"interval": "month"}}}]), "price together with price_data"),
    # money
    ("subscription_schedules.create", phases(currency="eur", add_invoice_items=[{"price_data": {"currency": "usd", "product": "p", "unit_amount": 1}}]), "mixed currencies"),
    ("invoice_items.create", {"customer": "cus_1", "amount": 5}, "currency"),
    ("invoice_items.create", {"customer": "cus_1", "amount": 5, "currency": "Euro"}, "no currency"),
    ("invoice_items.create", {"customer": "cus_1", "amount": 5, "currency": "eur", "pricing": {"price": "p"}}, "pricing together with amount"),
    ("prices.create", {"currency": "eur", "product": "p", "unit_amount": 5, "unit_amount_decimal": Decimal(5)}, "together"),
    ("prices.create", {"currency": "eur", "product": "p", "unit_amount_decimal": Decimal("0.1234567890123")}, "twelve decimals"),
    ("prices.create", {"currency": "eur", "product": "p"}, "an amount, or tiers"),
    ("prices.create", {"currency": "eur", "unit_amount": 5}, "a product"),
    ("prices.create", {"currency": "eur", "product": "p", "unit_amount": 5, "recurring": {"interval": "month", "interval_count": 37}}, "three years"),
    ("prices.create", {"currency": "eur", "product": "p", "billing_scheme": "tiered", "tiers_mode": "volume", "tiers": [{"up_to": 5, "unit_amount": 1}]}, "the last tier"),
    ("coupons.create", {"duration": "once"}, "takes off nothing"),
    ("coupons.create", {"percent_off": 10.0, "amount_off": 5, "currency": "eur", "duration": "once"}, "percent_off together with amount_off"),
    ("coupons.create", {"amount_off": 5, "duration": "once"}, "without currency"),
    ("coupons.create", {"percent_off": 120.0, "duration": "once"}, "at most 100"),
    ("coupons.create", {"percent_off": 10.0, "duration": "repeating"}, "duration_in_months"),
    # terms
    ("invoices.create", {"customer": "c", "collection_method": "charge_automatically", "days_until_due": 30}, "days_until_due"),
    ("invoices.create", {"customer": "c", "collection_method": "send_invoice"}, "without days_until_due"),
    ("invoices.create", {"customer": "c", "collection_method": "send_invoice", "days_until_due": 3, "due_date": 1790000000}, "days_until_due together with due_date"),
    ("subscriptions.create", {"customer": "c", "items": [ITEM], "billing_schedules": [{"key": "k", "bill_until": {"type": "duration", "duration": MONTH}}]}, "flexible"),
    ("subscriptions.create", {"customer": "c", "items": [ITEM], "billing_cycle_anchor": 1790000000, "billing_cycle_anchor_config": {"day_of_month": 1}}, "together"),
    ("credit_notes.create", {"invoice": "in_1", "amount": 5, "lines": [{"type": "invoice_line_item"}]}, "lines together with amount"),
    # what vanishes in a form, metadata, instants
    ("subscription_schedules.update", {"phases": [{**PHASE, "discounts": []}]}, "never arrives"),
    ("customers.update", {"metadata": {}}, "never arrives"),
    ("customers.create", {"email": None}, "email"),
    ("customers.create", {"metadata": {"k" * 41: "x"}}, "too long"),
    ("customers.create", {"metadata": {"a[b]": "x"}}, "brackets"),
    ("customers.create", {"metadata": {"a": "x" * 501}}, "500"),
    ("customers.create", {"metadata": {f"k{i}": "x" for i in range(51)}}, "50 at most"),
    ("customers.create", {"metadata": {"a": 1}}, "metadata"),
    ("subscription_schedules.create", {**SCHEDULE, "start_date": 1790000000000}, "no instant"),
    ("invoice_items.create", {"customer": "c", "amount": 1, "currency": "eur", "period": {"start": 1790000001, "end": 1790000000}}, "ends before"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "params"), GOOD)
def test_a_right_request_passes(call: str, params: Mapping[str, Any]) -> None:
    """What Stripe's pinned version takes is not refused."""
    validated(call, params)


@pytest.mark.parametrize(("call", "params", "named"), BAD)
def test_each_documented_bad_request_is_refused(call: str, params: Mapping[str, Any], named: str) -> None:
    """A request that Stripe would refuse is refused before, with the place that is wrong."""
    with pytest.raises(BadRequest) as caught:
        validated(call, params)
    assert named in str(caught.value)


def test_every_wrong_place_is_named_at_once() -> None:
    """All that is wrong with a request is told together."""
    with pytest.raises(BadRequest) as caught:
        validated("subscription_schedules.create", {"customer": 5, "phases": [{"items": [{"quantity": "2"}], "iterations": 1}]})
    assert all(place in str(caught.value) for place in ("customer:", "phases.0.items.0.quantity:", "phases.0.iterations:", "no price"))


def test_every_call_of_the_sdk_has_its_type() -> None:
    """The type of a call's parameters is found for services at any depth, and a misspelt call has none."""
    for call in ("customers.tax_ids.create", "billing.meter_events.create", "test_helpers.test_clocks.advance", "invoices.finalize_invoice"):
        found = params_type(call)
        assert found is not None
        assert found.__name__.endswith("Params")
    with pytest.raises(AttributeError):
        params_type("invoices.finalise")


def test_a_wrong_request_fails_its_test_even_where_the_error_is_swallowed() -> None:
    """The watch stops a wrong request before it leaves, counts what it saw, and remembers it until the test has failed."""
    wire = RecordingHttp((200, {"id": "cus_1"}), (200, {"id": "cus_1"}))
    calls = StripeCalls("sk_test_1234567890", http_client=wire)
    before = WATCH.counts["customers.create"]
    calls.do("customers.create", {"email": "a@b.example"}, key="k1")
    with contextlib.suppress(BadRequest):
        calls.do("customers.create", {"e_mail": "a@b.example"}, key="k2")
    assert WATCH.counts["customers.create"] == before + 2
    assert [s.key for s in wire.sent] == ["k1"]
    with pytest.raises(AssertionError, match="e_mail"):
        WATCH.settle()
    WATCH.settle()  # told once


def test_wrong_requests_can_be_let_out_on_purpose() -> None:
    """A test of whoever refuses wrong requests lets them out, and only while it says so."""
    wire = RecordingHttp((400, {"error": {"type": "invalid_request_error", "code": "parameter_unknown", "message": "Received unknown parameter: e_mail", "param": "e_mail"}}))
    calls = StripeCalls("sk_test_1234567890", http_client=wire)
    with unchecked(), pytest.raises(Exception, match="stripe-parameter-unknown"):
        calls.do("customers.create", {"e_mail": "a@b.example"}, key="k")
    with pytest.raises(BadRequest):
        validated("customers.create", {"e_mail": "a@b.example"})


def test_the_transport_passes_on_what_it_keeps() -> None:
    """A recorder in front of another transport keeps each request and hands it on unchanged."""
    inner = RecordingHttp((200, {"id": "acct_1", "object": "account"}))
    outer = RecordingHttp(inner=inner)
    assert StripeCalls("sk_test_1234567890", http_client=outer).account()["id"] == "acct_1"
    assert [s.path for s in outer.sent] == [s.path for s in inner.sent] == ["/v1/account"]
