"""Stripe Tax in the look-alike: found by country and registration, on credit notes, too; what it takes no item of; what it cannot finalize."""

from __future__ import annotations

import pytest
from stripe_machine import SEND, Machine

from connector.lookalike.stripe.account import Data, Refused
from connector.lookalike.stripe.controls import CONTROLS

ON: Data = {"automatic_tax": {"enabled": True}}


def german(**more: Data) -> Machine:
    """Return an account that is registered in Germany, with a customer there."""
    world = Machine()
    world.account.machine["registrations"] = {"DE": "19"}
    world.customer["address"] = {"country": "DE", **more}
    return world


def opened(world: Machine, *amounts: int, behavior: str = "exclusive") -> Data:
    """Return an open invoice with automatic tax."""
    made = world.post("invoices", {"customer": "cus_1", "currency": "usd", "collection_method": "send_invoice", "days_until_due": 30, **ON})
    for amount in amounts:
        world.post("invoiceitems", {"customer": "cus_1", "invoice": made["id"], "amount": amount, "currency": "usd", "tax_behavior": behavior})
    return world.post("invoices/{id}/finalize", id=made["id"])


@pytest.mark.parametrize(("behavior", "total", "tax"), [("exclusive", 1190, 190), ("inclusive", 1000, 160)])
def test_tax_is_found_by_the_customer_s_country(behavior: str, total: int, tax: int) -> None:
    """On top of the amount or inside it, as the item says; without a registration there is none."""
    made = opened(german(), 1000, behavior=behavior)
    assert (made["total"], made["total_taxes"][0]["amount"], made["automatic_tax"]["status"]) == (total, tax, "complete")
    other = german()
    other.customer["address"] = {"country": "IT"}
    assert (opened(other, 1000)["total"], other.account.kind("tax_rate")) == (1000, {})


@pytest.mark.parametrize(("behavior", "amount", "gross"), [("exclusive", 500, 595), ("inclusive", 420, 500)])
def test_the_amount_of_a_credit_note_s_line_is_without_tax(behavior: str, amount: int, gross: int) -> None:
    """Stripe finds the tax of a credit note; a preview says what it comes to, without a word about where it goes; free lines are refused."""
    world = german()
    made = opened(world, 1000, behavior=behavior)
    line = {"type": "invoice_line_item", "invoice_line_item": made["lines"]["data"][0]["id"], "amount": amount}
    world.post("invoices/{id}/pay", {"paid_out_of_band": True}, id=made["id"])
    shown = world.call("GET", "/v1/credit_notes/preview", {"invoice": made["id"], "lines": [line]})
    assert (shown["total"], shown["post_payment_amount"], world.account.kind("credit_note")) == (gross, gross, {})
    with pytest.raises(Refused, match="must equal"):
        world.post("credit_notes", {"invoice": made["id"], "lines": [line], "credit_amount": gross - 95})
    world.post("credit_notes", {"invoice": made["id"], "lines": [line], "credit_amount": gross})
    assert world.customer["balance"] == -gross
    with pytest.raises(Refused, match="not valid"):
        world.post("credit_notes", {"invoice": made["id"], "lines": [{"type": "custom_line_item", "unit_amount": 5}]})


def test_no_item_below_zero_where_tax_is_found() -> None:
    """Neither on an invoice nor waiting on a subscription, nor with a change of it."""
    world = german()
    world.price("p", 1000)
    running = world.subscribe({"price": "p"}, collection_method="send_invoice", days_until_due=30, **ON)
    made = world.post("invoices", {"customer": "cus_1", "currency": "usd", **ON})
    for where in ({"invoice": made["id"]}, {"subscription": running["id"]}):
        with pytest.raises(Refused, match="negative amount"):
            world.post("invoiceitems", {"customer": "cus_1", "amount": -5, "currency": "usd", "tax_behavior": "exclusive", **where})
    less = {"price_data": {"currency": "usd", "product": "prod_1", "unit_amount": -5}}
    with pytest.raises(Refused, match="negative amount"):
        world.post("subscriptions/{id}", {"add_invoice_items": [less]}, id=running["id"])


def test_an_invoice_without_a_location_stays_a_draft() -> None:
    """A one-off is refused and says why; it is finalized once the address is there."""
    world = german()
    world.customer["address"] = None
    made = world.post("invoices", {"customer": "cus_1", "currency": "usd", **ON})
    world.post("invoiceitems", {"customer": "cus_1", "invoice": made["id"], "amount": 1000, "currency": "usd", "tax_behavior": "exclusive"})
    with pytest.raises(Refused, match="location"):
        world.post("invoices/{id}/finalize", id=made["id"])
    assert (made["status"], made["last_finalization_error"]["code"]) == ("draft", "customer_tax_location_invalid")
    assert world.events("invoice.finalization_failed") == ["2026-01-01 invoice.finalization_failed"]
    world.customer["address"] = {"country": "DE"}
    world.post("invoices/{id}/finalize", id=made["id"])
    assert (made["status"], made["total"], made["last_finalization_error"]) == ("open", 1190, None)


def test_a_subscription_without_a_location_goes_on_without_tax() -> None:
    """Its invoice is final without tax, and automatic tax is off from then on: on subscription, running phase and defaults of the schedule."""
    world = german()
    world.price("p", 1000)
    schedule = world.schedule({"items": [{"price": "p"}], "end_date": 1798761600}, default_settings={**SEND, **ON})
    running = world.account.get("subscription", schedule["subscription"])
    world.to("2026-01-02")
    world.customer["address"] = None
    world.to("2026-02-02")
    assert [(i["total"], i["automatic_tax"]["disabled_reason"]) for i in world.invoices()] == [(1190, None), (1000, "finalization_requires_location_inputs")]
    assert (running["automatic_tax"]["enabled"], running["automatic_tax"]["disabled_reason"]) == (False, "requires_location_inputs")
    assert [h["automatic_tax"]["enabled"] for h in (schedule["default_settings"], schedule["phases"][0])] == [False, False]


def test_drafts_fail_to_finalize_on_purpose() -> None:
    """As long as the control says so a customer's drafts stay, and an event says why."""
    world = german()
    world.price("p", 1000)
    CONTROLS["finalization"](world.account, {"customer": "cus_1", "code": "finalization_system_error"})
    world.subscribe({"price": "p"}, collection_method="send_invoice", days_until_due=30, **ON)
    world.wait(hours=2)
    (made,) = world.invoices()
    assert (made["status"], made["last_finalization_error"]["code"]) == ("draft", "finalization_system_error")
    CONTROLS["finalization"](world.account, {"customer": "cus_1"})
    world.post("invoices/{id}/finalize", id=made["id"])
    assert made["status"] == "open"
