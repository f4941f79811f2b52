"""Deals in currencies that Stripe counts otherwise than ISO 4217: the same amounts in the CRM, its own units there."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from stripe_asking import asked
from stripe_world import StripeWorld, stripe_world

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


def test_one_customer_has_one_currency(tmp_path: Path) -> None:
    """A second deal of an account in another currency is refused before anything is sent; other accounts are not touched."""
    with stripe_world(tmp_path, day="2026-03-20", org=lambda clock: Org(clock=clock, multi_currency=True)) as made:
        entry = {"UnitPrice": Decimal(100), "IsActive": True, "Pricebook2Id": "@standard", "Product2Id": "@seat"}
        made.add("PricebookEntry", "seat_usd_entry", CurrencyIsoCode="USD", **entry)
        days = {"CloseDate": "2026-03-20", "Contract_Start_Date__c": "2026-03-20"}
        made.account("acme")
        made.account("vega")
        made.deal("euro", {}, account="acme", **days)
        made.deal("dollar", {"product": "seat_usd"}, account="acme", CurrencyIsoCode="USD", **days)
        made.deal("other", {"product": "seat_usd"}, account="vega", CurrencyIsoCode="USD", **days)
        made.win("euro", "other")
        made.sync()
        before = len(made.stripe_server.faults.asked("POST"))
        made.win("dollar")
        made.sync()
        status, text = made.said("dollar")
        assert status == "Needs attention"
        assert "is already billed in EUR" in text
        assert "one customer has one currency there" in text
        assert len(made.stripe_server.faults.asked("POST")) == before
        assert [made.said(d)[0] for d in ("euro", "other")] == ["Active", "Active"]


def test_two_currencies_of_one_account_at_once(tmp_path: Path) -> None:
    """Two deals of a new account in two currencies, won together: the first is billed, the second refused."""
    with stripe_world(tmp_path, day="2026-03-20", org=lambda clock: Org(clock=clock, multi_currency=True)) as made:
        entry = {"UnitPrice": Decimal(100), "IsActive": True, "Pricebook2Id": "@standard", "Product2Id": "@seat"}
        made.add("PricebookEntry", "seat_usd_entry", CurrencyIsoCode="USD", **entry)
        days = {"CloseDate": "2026-03-20", "Contract_Start_Date__c": "2026-03-20"}
        made.account("acme")
        made.deal("euro", {}, account="acme", **days)
        made.deal("dollar", {"product": "seat_usd"}, account="acme", CurrencyIsoCode="USD", **days)
        made.win("euro", "dollar")
        made.sync()
        assert sorted(made.said(d)[0] or "" for d in ("euro", "dollar")) == ["Active", "Needs attention"]
        assert {s["currency"] for s in made.objects("subscription")} in ({"eur"}, {"usd"})


def dollars(made: StripeWorld) -> None:
    """Sell seats and a setup in dollars, too, to an account that pays in euros each month."""
    for product in ("seat", "setup"):
        entry = {"UnitPrice": Decimal(100), "IsActive": True, "Pricebook2Id": "@standard", "Product2Id": f"@{product}"}
        made.add("PricebookEntry", f"{product}_usd_entry", CurrencyIsoCode="USD", **entry)
    made.account("acme")
    made.deal("euro", {}, account="acme", CloseDate="2026-03-20", Contract_Start_Date__c="2026-03-20")
    made.win("euro")
    made.sync()


def test_a_quote_in_another_currency_is_refused_when_it_is_accepted(tmp_path: Path) -> None:
    """Accepted in the CRM, or on the customer's page: in plain words, and nothing is sent."""
    with stripe_world(tmp_path, day="2026-03-20", org=lambda clock: Org(clock=clock, multi_currency=True)) as made:
        dollars(made)
        plain = {"Contract_Term_Months__c": 12, "Billing_Action__c": "New", "Payment_Terms__c": "Net 30"}
        for ref in ("record", "page"):
            made.deal(ref, {"product": "seat_usd", "Quantity": 3}, account="acme", CurrencyIsoCode="USD", **plain)
            made.quote(f"{ref}_offer", ref, {"product": "seat_usd", "Quantity": 3}, **plain)
        made.sync()
        sent = len(made.stripe_server.faults.asked("POST"))
        made.edit("record", SyncedQuoteId=made.ids["record_offer"])
        made.edit("record_offer", "Quote", Status="Accepted")
        made.edit("record", StageName="Closed Won")
        made.sync()
        said = [made.said(*who)[1] for who in (("record", "Opportunity"), ("record_offer", "Quote"))]
        assert any("is already billed in EUR" in text and "one customer has one currency there" in text for text in said), said
        ((number,),) = made.query("SELECT number FROM quote WHERE status = 'open' ORDER BY number DESC LIMIT 1")
        asking = asked(made, "quote.accept", quote=number, name="Ann")
        made.sync()
        texts = [str(asking.result), made.said("page")[1], made.said("page_offer", "Quote")[1]]
        assert any("is already billed in EUR" in text for text in texts), texts
        assert len(made.stripe_server.faults.asked("POST")) == sent


def test_a_one_off_in_another_currency_is_billed_in_it(tmp_path: Path) -> None:
    """Stripe takes one-off invoices of a customer in any currency: a deal and a command; the credit in euros is not used for them."""
    with stripe_world(tmp_path, day="2026-03-20", org=lambda clock: Org(clock=clock, multi_currency=True)) as made:
        dollars(made)
        asked(made, "customer.adjust", customer="Acme", amount=-5_000, currency="eur", reason="apology")
        made.deal("once", {"product": "setup_usd", "UnitPrice": "500.00"}, account="acme", CurrencyIsoCode="USD", CloseDate="2026-03-20")
        made.win("once")
        made.sync()
        assert made.said("once")[0] in ("Active", "Completed"), made.said("once")
        asking = asked(made, "invoice.create", account="Acme", currency="usd", lines=[{"description": "Training", "quantity": 2, "unit_amount": "15000"}])
        assert asking.state == "done", asking.result
        found = [(i["currency"], i["total"], i["amount_due"]) for i in made.objects("invoice")]
        assert found == [("eur", 10000, 10000), ("usd", 50000, 50000), ("usd", 30000, 30000)]
        assert sorted(row["Total__c"] for row in made.invoices()) == [100, 300, 500]
