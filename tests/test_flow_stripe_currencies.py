"""Deals in currencies that Stripe counts otherwise than ISO 4217: the same amounts in the CRM, its own units there."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from stripe_world import stripe_world

from connector.lookalike.crm.org import Org


@pytest.mark.parametrize(
    ("currency", "price", "first", "sent"),
    [
        ("JPY", "1500", "3000", 3000),
        ("ISK", "1500", "3000", 300000),
        ("KWD", "1.500", "3.000", 3000),
        ("EUR", "15.00", "30.00", 3000),
    ],
)
def test_a_deal_in_another_currency_is_billed_to_its_smallest_unit(tmp_path: Path, currency: str, price: str, first: str, sent: int) -> None:
    """Two seats cost twice the price, in the CRM by its currency and at Stripe in Stripe's unit of it."""
    with stripe_world(tmp_path, day="2026-03-20", org=lambda clock: Org(clock=clock, currency=currency)) as made:
        made.account("acme")
        made.deal("deal", {"UnitPrice": price, "Quantity": 2}, account="acme", CloseDate="2026-03-20", Contract_Start_Date__c="2026-03-20")
        made.win("deal")
        made.sync()
        assert made.said("deal")[0] == "Active", made.said("deal")
        (invoice,) = made.objects("invoice")
        assert (invoice["currency"], invoice["total"]) == (currency.lower(), sent)
        assert [row["Total__c"] for row in made.invoices()] == [Decimal(first)]


def test_an_amount_between_stripes_steps_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """1.125 KWD cannot be billed at Stripe: the deal says so in plain words, and nothing of it is there."""
    with stripe_world(tmp_path, day="2026-03-20", org=lambda clock: Org(clock=clock, currency="KWD")) as made:
        made.account("acme")
        made.deal("deal", {"UnitPrice": "2.25", "Quantity": Decimal("0.5")}, account="acme", CloseDate="2026-03-20", Contract_Start_Date__c="2026-03-20")
        made.win("deal")
        made.sync()
        status, text = made.said("deal")
        assert status == "Needs attention"
        assert "1.125 KWD" in text, text
        assert not made.objects("subscription_schedule")
