"""Requests about contracts and customers on Stripe: changes answered with their invoices, discounts, payment methods, usage."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from stripe_asking import asked, demo
from stripe_world import StripeWorld, stripe_world
from test_flow_catalogue import PRICES, product, stock, won

from connector import app
from connector.core.period import Interval
from connector.core.terms import Change, Item, ItemChange, Price, change_to_data
from connector.sync.plan import preview_of

__all__ = ["demo"]


def contract_of(made: StripeWorld) -> str:
    """Return the contract of the seats."""
    return str(made.contracts()[0][0])


def more(made: StripeWorld, quantity: int) -> dict[str, object]:
    """Return the request for so many more seats from today on, invoiced at once."""
    today = made.clock.now().replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    price = Price(id="seat", product="SEAT-TEAM", unit_amount=Decimal(10_000), interval=Interval(unit="month"))
    step = ItemChange(op="delta", item=Item(id="seat", price=price, quantity=Decimal(quantity)))
    change = Change(id="it_x", kind="amend", effective=today, made_at=today, items=(step,), proration_behavior="always_invoice")
    return {"contract": contract_of(made), "label": "connector contracts amend", "change": change_to_data(change)}


def test_a_change_is_answered_with_the_invoices_that_stripe_made_of_it(demo: StripeWorld) -> None:
    """Two more seats on 11 January are charged at once by Stripe's invoice, whose number and total the command prints."""
    demo.clock.move_to(datetime.fromisoformat("2026-01-11T15:00:00+00:00"))
    done = asked(demo, "contract.change", **more(demo, 2))
    assert done.state == "done", done.result
    (issued,) = done.result["invoices"]
    (row,) = [i for i in demo.invoices() if i["Number__c"] == issued["number"]]
    assert (issued["total"], row["Total__c"]) == (13_548, Decimal("135.48"))  # 2 x 100.00 x 21 / 31


def test_a_customer_s_discount_reaches_its_schedule_at_once(demo: StripeWorld) -> None:
    """10 % given today are in the schedule before the next invoice, which Stripe makes by itself."""
    with_coupon = {"kind": "coupon", "id": "TEN", "data": {"percent_off": "10", "duration": "forever"}, "currency": "", "active": True, "row": "1"}
    assert asked(demo, "catalogue.import", rows=[with_coupon]).state == "done"
    done = asked(demo, "customer.discount", customer="Vega", coupons=["TEN"])
    assert done.state == "done", done.result
    demo.bill("2026-02-02")
    assert [i["Total__c"] for i in demo.invoices()] == [400, 360]


def test_a_payment_method_of_stripe_s_becomes_the_customer_s_default(demo: StripeWorld) -> None:
    """It is attached and made the default; taken away again; and a method of ours is refused with where methods are kept."""
    done = asked(demo, "customer.payment_method", customer="Vega", method="stripe:pm_card_visa")
    assert (done.state, done.result.get("method")) == ("done", "visa 4242"), done.result
    (customer,) = demo.objects("customer")
    assert customer["invoice_settings"]["default_payment_method"] is not None
    gone = asked(demo, "customer.payment_method", customer="Vega", method="")
    assert (gone.state, gone.result["method"]) == ("done", "")
    assert demo.objects("customer")[0]["invoice_settings"]["default_payment_method"] is None
    wrong = asked(demo, "customer.payment_method", customer="Vega", method="test:ok")
    assert (wrong.state, wrong.result["code"]) == ("refused", "unknown-method")


def test_usage_becomes_meter_events_once(tmp_path: Path) -> None:
    """Two records are two events of the item's own meter and of its customer; sent again they are none; too old and too early are refused."""
    with stripe_world(tmp_path) as made:
        made.account("acme")
        made.sync()
        stock(made, PRICES)
        product(made, "storage_gb", price="gb", charge="Usage")
        won(made, "deal", {"product": "storage_gb"}, {"product": "seat", "UnitPrice": "10.00"})
        made.clock.move_to(datetime.fromisoformat("2026-01-12T09:00:00+00:00"))
        contract = str(made.contracts()[0][0])
        rows = [
            {"id": "u1", "contract": contract, "for": "STORAGE_GB", "time": "2026-01-05", "quantity": "100"},
            {"id": "u2", "contract": contract, "for": "STORAGE_GB", "time": "2026-01-09T10:00:00+01:00", "quantity": "60.5"},
            {"id": "u3", "contract": contract, "for": "STORAGE_GB", "time": "2026-01-13", "quantity": "1"},
        ]
        done = asked(made, "usage.record", rows=rows)
        assert done.state == "done", done.result
        assert (done.result["made"], [n for n, _ in done.result["refused"]]) == (2, [2])
        assert done.result["refused"][0][1].startswith("Too early: Stripe takes no usage of the future")
        events = made.objects("billing.meter_event")
        (customer,) = made.objects("customer")
        (meter,) = made.objects("billing.meter")
        assert [(e["event_name"], e["payload"]) for e in events] == [
            (meter["event_name"], {"stripe_customer_id": customer["id"], "value": value}) for value in ("100", "60.5")
        ]
        (boundary,) = {g["current_period_start"] for x in made.objects("subscription") for g in x["items"]["data"]}
        first = asked(made, "usage.record", rows=[rows[0] | {"id": "u0", "time": "2026-01-01"}])
        assert first.state == "done", first.result
        assert made.objects("billing.meter_event")[-1]["timestamp"] == boundary  # the first day belongs to the period that begins on it
        again = asked(made, "usage.record", rows=rows[:2])
        assert (again.state, again.result["made"], again.result["unchanged"]) == ("done", 0, [0, 1])
        assert len(made.objects("billing.meter_event")) == 3
        made.clock.move_to(datetime.fromisoformat("2026-02-20T09:00:00+00:00"))
        late = asked(made, "usage.record", rows=[rows[0] | {"id": "u4", "time": "2026-01-14"}])
        assert late.result["refused"][0][1].startswith("Too late")


def test_use_that_is_counted_keeps_its_price(tmp_path: Path) -> None:
    """Another price for use that Stripe's meter has already is refused in plan as in sync, with the day it can begin; from that day on it is taken."""
    with stripe_world(tmp_path) as made:
        made.account("acme")
        made.sync()
        calls = {"Charge_Type__c": "Usage", "UnitPrice": "0.10"}
        won(made, "deal", calls)
        made.clock.move_to(datetime.fromisoformat("2026-01-20T09:00:00+00:00"))
        row = {"id": "u1", "contract": str(made.contracts()[0][0]), "for": "SEAT-TEAM", "time": "2026-01-18", "quantity": "100"}
        assert asked(made, "usage.record", rows=[row]).state == "done"
        cheaper = {**calls, "UnitPrice": "0.08", "Line_Change__c": "Set"}
        fields = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@deal", "StageName": "Closed Won", "CloseDate": made.clock.now().date()}
        made.deal("change", cheaper, account="acme", **fields, Proration__c="Immediately", Billing_Effective_Date__c=date(2026, 1, 15))
        with app.writing_house(made.config, "test", clock=made.clock) as house:
            planned = preview_of(house.seam, made.ids["change"])
        made.sync()
        words = "Use of Team Seat up to 2026-01-18 is counted at its price so far already. Let the new price take effect on 2026-01-19 or later"
        assert words in str(made.said("change")), made.said("change")
        assert words.partition(" Let")[0] in repr(planned)
        made.edit("change", Billing_Effective_Date__c="2026-01-19")
        made.sync()
        assert made.said("change")[0] not in ("Needs attention", "Blocked"), made.said("change")
