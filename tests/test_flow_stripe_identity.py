"""What people archive, delete or change in Stripe's dashboard of what several deals share: the next deal is billed, and what runs is known."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from stripe_world import StripeWorld, stripe_world
from world import at

from connector.billing.stripe_backend.client import StripeCalls

DAY = "2026-03-20"


def dashboard(made: StripeWorld, call: str, target: str, **params: Any) -> dict[str, Any]:
    """Do something at Stripe as somebody does there by hand."""
    calls = StripeCalls("sk_test_demo", api_base=made.stripe_server.url)
    return calls.do(call, params, target=target, key=f"by-hand/{call}/{target}/{len(made.stripe.events)}")


def sold(made: StripeWorld, ref: str, **fields: Any) -> None:
    """Win a deal over 2 x 60.00 a month from today on, of an account of its own, and bill it."""
    day = made.clock.now().date().isoformat()
    made.account(ref)
    made.deal(f"{ref}_deal", {"UnitPrice": "60.00", "Quantity": 2}, account=ref, **({"CloseDate": day, "Contract_Start_Date__c": day} | fields))
    made.win(f"{ref}_deal")
    made.sync()


def months(made: StripeWorld, day: str) -> list[tuple[str, int]]:
    """Return (key without contract, amount) of the lines in the books that begin on a day."""
    rows = made.query(f"SELECT key, contract_id, amount FROM line WHERE service_start LIKE '{day}%' ORDER BY key")
    return [(str(key).removeprefix(f"{contract}/"), amount) for key, contract, amount in rows]


def test_a_price_that_was_archived_is_made_anew_and_the_old_one_still_known(tmp_path: Path) -> None:
    """The next deal at that price is billed at once, under the same lookup key; the contract that runs on the old price is told by its lines."""
    with stripe_world(tmp_path, day=DAY) as made:
        sold(made, "harbor")
        (old,) = [p for p in made.objects("price") if p["lookup_key"]]
        key = old["lookup_key"]
        dashboard(made, "prices.update", old["id"], active=False)
        sold(made, "vega")
        assert made.said("vega_deal")[0] == "Active", made.said("vega_deal")
        new = made.objects("price")[-1]
        assert (new["lookup_key"], new["unit_amount"], old["lookup_key"]) == (key, 6000, None)
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        assert [s["items"]["data"][0]["price"]["id"] for s in made.objects("subscription")] == [old["id"], new["id"]]
        lines = months(made, "2026-04-20")
        assert [amount for _, amount in lines] == [12000, 12000]
        assert not any(key.startswith("stripe/") for key, _ in lines), lines
        assert made.query("SELECT kind FROM stripe_notice") == []
        assert [made.said(d)[0] for d in ("harbor_deal", "vega_deal")] == ["Past due", "Past due"]


def test_an_amendment_of_what_runs_on_an_archived_price_is_billed(tmp_path: Path) -> None:
    """Stripe takes no archived price in a phase again: a copy of it goes on where it stood, and nothing is billed twice."""
    with stripe_world(tmp_path, day=DAY) as made:
        sold(made, "harbor")
        (old,) = [p for p in made.objects("price") if p["lookup_key"]]
        dashboard(made, "prices.update", old["id"], active=False)
        made.clock.move_to(at("2026-04-04"))
        more = {"Billing_Action__c": "Amend", "Amends_Contract_Id__c": made.contracts()[0][0]}
        made.deal("more", {"UnitPrice": "60.00", "Quantity": 3}, account="harbor", CloseDate="2026-04-04", Contract_Start_Date__c="2026-04-04", **more)
        made.win("more")
        made.sync()
        assert made.said("more")[0] == "Active", made.said("more")
        (subscription,) = made.objects("subscription")
        (item,) = subscription["items"]["data"]
        assert (item["quantity"], item["price"]["unit_amount"], item["price"]["active"]) == (5, 6000, True)
        for day in ("2026-04-21", "2026-05-21"):
            made.clock.move_to(at(day))
            made.sync()
        assert [amount for _, amount in months(made, "2026-04-20") + months(made, "2026-05-20")] == [30000, 30000]
        assert not made.query("SELECT key FROM line WHERE key LIKE 'stripe/%'")
        assert made.query("SELECT kind FROM stripe_notice") == []


def test_a_product_that_was_archived_is_said_and_goes_on_once_it_is_back(tmp_path: Path) -> None:
    """The next deal says what to do, without a second product; made active again, the deal is billed."""
    with stripe_world(tmp_path, day=DAY) as made:
        sold(made, "harbor")
        (product,) = [p for p in made.objects("product") if p["id"].startswith("cn_")]
        dashboard(made, "products.update", product["id"], active=False)
        sold(made, "vega")
        status, text = made.said("vega_deal")
        assert (status, "make it active again" in text) == ("Needs attention", True), text
        dashboard(made, "products.update", product["id"], active=True)
        made.clock.move_to(made.clock.now() + timedelta(hours=2))
        made.sync()
        assert made.said("vega_deal")[0] == "Active", made.said("vega_deal")
        assert len(made.objects("product")) == 1


@pytest.mark.parametrize("kind", ["coupon", "customer"])
def test_what_was_deleted_is_made_anew_for_the_next_deal(tmp_path: Path, kind: str) -> None:
    """A discount or a customer that somebody deleted does not keep the next deal from being billed in the same round."""
    cut = {"Discount_Percent__c": 10}
    with stripe_world(tmp_path, day=DAY) as made:
        sold(made, "harbor", **cut)
        (coupon,) = made.objects("coupon")
        (customer,) = made.objects("customer")
        if kind == "coupon":
            dashboard(made, "coupons.delete", coupon["id"])
            sold(made, "vega", **cut)
            assert [c["id"] for c in made.objects("coupon")] == [coupon["id"]]
        else:
            dashboard(made, "customers.delete", customer["id"])
            made.deal("vega_deal", {"UnitPrice": "60.00", "Quantity": 2}, account="harbor", CloseDate=DAY, Contract_Start_Date__c=DAY, **cut)
            made.win("vega_deal")
            made.sync()
            assert [c["id"] != customer["id"] for c in made.objects("customer")] == [True]
        assert made.said("vega_deal")[0] == "Active", made.said("vega_deal")
        assert made.objects("invoice")[-1]["total"] == 10800
