"""The billing machine over HTTP with the real SDK: what it answers is what the SDK reads, and all its parameters are known there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import requests
import stripe

from connector.lookalike.stripe.account import ENDPOINTS, Account
from connector.lookalike.stripe.params import known
from connector.lookalike.stripe.server import StripeServer
from tests.stripe_machine import at, day

START = datetime(2026, 4, 1, tzinfo=UTC)


class Shop:
    """A server and the SDK's client of it, with a customer, a product and a clock that is moved."""

    def __init__(self, server: StripeServer) -> None:
        self.server = server
        self.v1 = stripe.StripeClient("sk_test_demo", base_addresses={"api": server.url}).v1
        self.customer = self.v1.customers.create({"name": "Acme", "email": "a@example.com"}).id
        self.product = self.v1.products.create({"name": "Gold"}).id

    def price(self, amount: int) -> str:
        made = self.v1.prices.create(
            {"product": self.product, "currency": "usd", "unit_amount": amount, "recurring": {"interval": "month"}}
        )
        return made.id

    def to(self, moment: str) -> None:
        self.server.account.clock = lambda: datetime.fromisoformat(moment).replace(tzinfo=UTC)

    def control(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(requests.post(f"{self.server.url}/_control/{name}", json=body, timeout=10).json())

    def schedule(self, *phases: Any, **more: Any) -> Any:
        return self.v1.subscription_schedules.create({
            "customer": self.customer, "start_date": "now", "phases": list(phases), "billing_mode": {"type": "flexible"},
            "default_settings": {"collection_method": "send_invoice", "invoice_settings": {"days_until_due": 30}}, **more,
        })  # fmt: skip


@pytest.fixture
def shop() -> Iterator[Shop]:
    server = StripeServer(Account(clock=lambda: START)).start()
    yield Shop(server)
    server.stop()


def test_every_endpoint_names_parameters_that_the_sdk_types() -> None:
    """Each endpoint's class of parameters stands in the SDK."""
    for _, params in ENDPOINTS.values():
        assert params == "" or known(params) is not None


def test_a_schedule_from_its_beginning_to_its_last_payment(shop: Shop) -> None:
    """Made, finalized, updated, paid, credited, refunded and canceled through the SDK; lists, lines and previews agree with it."""
    price = shop.price(1000)
    coupon = shop.v1.coupons.create({"percent_off": 10, "duration": "forever"}).id
    made = shop.schedule(
        {
            "items": [{"price": price, "quantity": 2, "metadata": {"connector_item": "i1"}}], "duration": {"interval": "year"}, "discounts": [{"coupon": coupon}],
            "add_invoice_items": [{"price_data": {"currency": "usd", "product": shop.product, "unit_amount": 500}, "metadata": {"connector_line": "k"}}],
            "metadata": {"connector_contract": "c1"},
        }
    )  # fmt: skip
    subscription = shop.v1.subscriptions.retrieve(
        made.subscription, {"expand": ["latest_invoice", "customer", "discounts"]}
    )
    assert subscription.metadata.to_dict() == {"connector_contract": "c1"}
    assert subscription["items"].data[0].metadata.to_dict() == {"connector_item": "i1"}
    invoice = shop.v1.invoices.finalize_invoice(subscription.latest_invoice.id, {"auto_advance": True})
    assert (invoice.status, invoice.total, invoice.amount_due) == ("open", 2250, 2250)
    page = shop.v1.invoices.line_items.list(invoice.id)
    assert [(line.amount, line.parent.type) for line in page.data] == [
        (2000, "subscription_item_details"),
        (500, "invoice_item_details"),
    ]
    assert page.data[1].metadata.to_dict() == {"connector_line": "k"}
    shop.to("2026-04-16")
    shown = shop.v1.invoices.create_preview({
        "subscription": subscription.id, "subscription_details": {"items": [{"id": subscription["items"].data[0].id, "quantity": 4}]},
    })  # fmt: skip
    shop.v1.subscription_schedules.update(made.id, {
        "phases": [{"start_date": at("2026-04-01"), "end_date": at("2027-04-01"), "items": [{"price": price, "quantity": 4}], "discounts": [{"coupon": coupon}]}],
        "proration_behavior": "create_prorations", "end_behavior": "cancel",
    })  # fmt: skip
    shop.to("2026-05-02")
    latest = shop.v1.invoices.list({"subscription": subscription.id, "status": "open", "limit": 1}).data[0]
    assert (latest.total, shown.total, day(latest.created)) == (4500, 4500, "2026-05-01")
    shop.control("pay", {"invoice": latest.id})
    paid = shop.v1.invoices.retrieve(latest.id, {"expand": ["payments"]})
    assert (paid.status, paid.payments.data[0].payment.type) == ("paid", "payment_intent")
    note = shop.v1.credit_notes.create(
        {"invoice": paid.id, "amount": 300, "refund_amount": 300, "reason": "order_change"}
    )
    assert [
        refund.amount
        for refund in shop.v1.refunds.list({"payment_intent": paid.payments.data[0].payment.payment_intent}).data
    ] == [300]
    assert shop.v1.credit_notes.list({"invoice": paid.id}).data[0].id == note.id
    gone = shop.v1.subscription_schedules.cancel(made.id, {"invoice_now": True, "prorate": True})
    assert (gone.status, shop.v1.subscriptions.retrieve(subscription.id).status) == ("canceled", "canceled")
    assert shop.v1.subscriptions.list({"customer": shop.customer}).data == []


def test_more_than_ten_lines_stand_on_further_pages(shop: Shop) -> None:
    """An invoice shows ten of its lines; the others are listed."""
    invoice = shop.v1.invoices.create(
        {"customer": shop.customer, "collection_method": "send_invoice", "days_until_due": 5}
    )
    for number in range(13):
        shop.v1.invoice_items.create(
            {"customer": shop.customer, "invoice": invoice.id, "amount": 100 + number, "currency": "usd"}
        )
    held = shop.v1.invoices.retrieve(invoice.id)
    assert (len(held.lines.data), held.lines.has_more) == (10, True)
    assert [line.amount for line in held.lines.auto_paging_iter()] == [100 + number for number in range(13)]


def test_a_card_error_reaches_the_sdk(shop: Shop) -> None:
    """Paying with a card that is declined raises the SDK's CardError with its codes."""
    method = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": shop.customer})
    shop.v1.customers.update(shop.customer, {"invoice_settings": {"default_payment_method": method.id}})
    invoice = shop.v1.invoices.create({"customer": shop.customer})
    shop.v1.invoice_items.create({"customer": shop.customer, "invoice": invoice.id, "amount": 100, "currency": "usd"})
    with pytest.raises(stripe.CardError) as caught:
        shop.v1.invoices.pay(invoice.id)
    assert (caught.value.code, caught.value.http_status) == ("card_declined", 402)


def test_items_and_subscriptions_by_the_sdk(shop: Shop) -> None:
    """A subscription with a custom anchor is made, its item changed and deleted, and it is canceled, all by the SDK."""
    made = shop.v1.subscriptions.create({
        "customer": shop.customer, "items": [{"price": shop.price(1000)}, {"price": shop.price(700)}], "collection_method": "send_invoice",
        "days_until_due": 14, "billing_mode": {"type": "flexible"}, "billing_cycle_anchor": at("2026-04-16"), "off_session": True,
    })  # fmt: skip
    items = shop.v1.subscription_items.list({"subscription": made.id}).data
    shop.v1.subscription_items.update(items[0].id, {"metadata": {"connector_item": "x"}})
    shop.v1.subscription_items.delete(items[1].id, {"proration_behavior": "none"})
    held = shop.v1.subscriptions.update(made.id, {"metadata": {"a": "b"}, "pause_collection": {"behavior": "void"}})
    assert [item.metadata.to_dict() for item in held["items"].data] == [{"connector_item": "x"}]
    assert held.pause_collection.behavior == "void"
    gone = shop.v1.subscriptions.cancel(made.id, {"invoice_now": False, "prorate": False})
    assert gone.status == "canceled"


def test_a_customer_who_is_deleted_takes_the_subscriptions_along(shop: Shop) -> None:
    """Deleting a customer ends everything that runs for it."""
    made = shop.schedule({"items": [{"price": shop.price(1000)}], "duration": {"interval": "year"}})
    shop.v1.customers.delete(shop.customer)
    assert shop.v1.subscriptions.retrieve(made.subscription).status == "canceled"
    assert shop.v1.subscription_schedules.retrieve(made.id).status == "canceled"


def test_control_endpoints(shop: Shop) -> None:
    """An invoice by hand, a dispute, a refund, a voided invoice and an edited subscription come by control requests."""
    first = shop.control(
        "invoice", {"customer": shop.customer, "amount": 900, "currency": "usd", "description": "Training"}
    )
    shop.control("pay", {"invoice": first["id"]})
    dispute = shop.control("dispute", {"invoice": first["id"], "reason": "duplicate"})
    assert shop.v1.disputes.retrieve(dispute["id"]).reason == "duplicate"
    assert shop.control("dispute-closed", {"dispute": dispute["id"], "won": True})["status"] == "won"
    assert shop.control("refund", {"invoice": first["id"], "amount": 100})["amount"] == 100
    second = shop.control(
        "invoice", {"customer": shop.customer, "amount": 900, "currency": "usd", "description": "Training"}
    )
    assert shop.control("void", {"invoice": second["id"]})["status"] == "void"
    made = shop.schedule({"items": [{"price": shop.price(1000)}], "duration": {"interval": "year"}})
    shop.control("subscription", {"subscription": made.subscription, "change": {"metadata": {"by": "hand"}}})
    assert shop.v1.subscriptions.retrieve(made.subscription).metadata.to_dict() == {"by": "hand"}
    assert shop.control("subscription", {"subscription": made.subscription, "cancel": {}})["status"] == "canceled"


def test_usage_that_was_reported_is_billed(shop: Shop) -> None:
    """Meter events by the SDK, one of them canceled, are billed with the period in which they lie: a line for each tier."""
    meter = shop.v1.billing.meters.create(
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    )
    price = shop.v1.prices.create({
        "product": shop.product, "currency": "usd", "billing_scheme": "tiered", "tiers_mode": "graduated",
        "tiers": [{"up_to": 10, "unit_amount": 0}, {"up_to": "inf", "unit_amount_decimal": Decimal("0.5")}],
        "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
    })  # fmt: skip
    shop.schedule({"items": [{"price": price.id}], "duration": {"interval": "year"}})
    shop.to("2026-04-20")
    for number, value in enumerate(("13", "100", "7")):
        payload = {"stripe_customer_id": shop.customer, "value": value}
        shop.v1.billing.meter_events.create(
            {"event_name": "calls", "identifier": f"u{number}", "payload": payload, "timestamp": at("2026-04-20")}
        )
    shop.v1.billing.meter_event_adjustments.create(
        {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "u1"}}
    )
    shop.to("2026-05-02")
    latest = shop.v1.invoices.list({"customer": shop.customer, "limit": 1}).data[0]
    assert [(line.amount, line.quantity) for line in latest.lines.data] == [(0, 10), (5, 10)]
