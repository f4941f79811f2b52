"""Where Stripe finds the tax everything that is billed says whether it holds it: subscriptions, what rides with them, items of our own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stripe_world import StripeWorld, stripe_world
from test_flow_stripe_identity import DAY, sold
from world import at


def taxed(made: StripeWorld) -> None:
    """Have Stripe find the tax."""
    made.config = replace(made.config, tax=replace(made.config.tax, kind="stripe"))


def behaviors(made: StripeWorld, amount: int) -> set[str]:
    """Return how the prices of an amount stand to tax."""
    return {p["tax_behavior"] for p in made.objects("price") if p["unit_amount"] == amount}


def test_everything_of_a_deal_says_how_it_stands_to_tax(tmp_path: Path) -> None:
    """A subscription, a one-time line with its start, and missed periods of ours: no price without a word about tax, no rates of ours."""
    with stripe_world(tmp_path, day=DAY) as made:
        taxed(made)
        sold(made, "harbor")
        made.account("vega")
        days = {"CloseDate": DAY, "Contract_Start_Date__c": "2026-01-20"}
        made.deal("late", {"UnitPrice": "60.00", "Quantity": 2}, {"product": "setup", "UnitPrice": "500.00"}, account="vega", **days)
        made.win("late")
        made.sync()
        assert [made.said(d)[0] for d in ("harbor_deal", "late")] == ["Active", "Active"], [made.said(d) for d in ("harbor_deal", "late")]
        assert all(s["automatic_tax"]["enabled"] for s in made.objects("subscription"))
        assert all(i["automatic_tax"]["enabled"] for i in made.objects("invoice"))
        assert {p["tax_behavior"] for p in made.objects("price")} == {"exclusive"}
        own = [i for i in made.objects("invoiceitem") if i["metadata"].get("connector_line")]
        assert sorted(i["amount"] for i in own) == [12000, 12000, 50000]
        assert {made.stripe.get("price", i["pricing"]["price_details"]["price"])["product"] for i in own} <= {p["id"] for p in made.objects("product")}
        assert not made.objects("tax_rate")
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        assert not made.query("SELECT key FROM line WHERE key LIKE 'stripe/%'")
