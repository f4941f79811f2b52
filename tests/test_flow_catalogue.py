"""Prices and coupons of the catalogue on deals, from a closed opportunity to its invoices, with figures worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from world import World, world

from connector.asking.catalogue import entries_of

D = Decimal
PRICES = """\
currency: eur
prices:
  flat: {unit_amount: 0, recurring: {interval: month}, tiers_mode: volume, tiers: [{up_to: inf, unit_amount: 0, flat_amount: 9900}]}
  each: {unit_amount: 2500, recurring: {interval: month}}
  steps:
    recurring: {interval: month}
    tiers_mode: graduated
    tiers: [{up_to: 5, unit_amount: 700}, {up_to: 10, unit_amount: 650}, {up_to: inf, unit_amount: 600}]
  lot: {recurring: {interval: month}, tiers_mode: volume, tiers: [{up_to: 5, unit_amount: 700}, {up_to: inf, unit_amount: 600}]}
  packs: {unit_amount: 500, recurring: {interval: month}, transform_quantity: {divide_by: 10, round: up}}
  sub: {unit_amount: "0.25", recurring: {interval: month}}
  yearly: {unit_amount: 120000, recurring: {interval: year}}
  late: {unit_amount: 1000, recurring: {interval: month, timing: in_arrears}}
  once: {unit_amount: 50000}
  gb: {unit_amount: "12.5", recurring: {interval: month, usage_type: metered}}
  calls:
    recurring: {interval: month, usage_type: metered}
    tiers_mode: graduated
    tiers: [{up_to: 1000, unit_amount: 0, flat_amount: 500}, {up_to: inf, unit_amount: "0.5"}]
  old: {unit_amount: 100, recurring: {interval: month}, active: false}
  dollar: {unit_amount: 100, currency: usd, recurring: {interval: month}}
coupons:
  TEN: {percent_off: 10, duration: forever}
  ONCE20: {amount_off: 2000, duration: once}
  SPRING: {percent_off: 50, duration: repeating, duration_in_months: 2}
  SETUP: {percent_off: 100, duration: forever, applies_to: [once]}
  GONE: {percent_off: 5, duration: forever, active: false}
  USD5: {amount_off: 500, currency: usd, duration: forever}
"""


def stock(here: World, text: str) -> list[tuple[str, str]]:
    """Import a catalogue; return (id, result) of each row."""
    file = Path(here.config.database.removeprefix("sqlite:///")).parent / "catalog.yaml"
    file.write_text(text)
    rows = [e.row for e in entries_of(file)]
    assert None not in rows
    return [(r["id"], r["result"]) for r in here.ask("catalogue.import", rows=rows).result["rows"]]


def product(here: World, ref: str, *, price: str | None, charge: str = "Recurring", unit: str = "1.00") -> None:
    """Sell a product that names a catalogue price."""
    here.add("Product2", ref, Name=ref.title(), ProductCode=ref.upper(), IsActive=True, Charge_Type__c=charge, Billing_Price__c=price)
    here.add("PricebookEntry", f"{ref}_entry", Pricebook2Id="@standard", Product2Id=f"@{ref}", UnitPrice=D(unit), IsActive=True)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    """The demo company with one more customer and a catalogue."""
    with world(tmp_path) as made:
        made.account("acme")
        made.sync()
        stock(made, PRICES)
        yield made


def deal(here: World, ref: str, *lines: dict[str, Any], **fields: Any) -> None:
    """A deal of a year from 1 January that is won."""
    here.deal(ref, *lines, account="acme", **({"Contract_Term_Months__c": 12, "StageName": "Closed Won"} | fields))


def won(here: World, ref: str, *lines: dict[str, Any], **fields: Any) -> None:
    """A deal of a year from 1 January that is won and read."""
    deal(here, ref, *lines, **fields)
    here.sync()


def billed(here: World, ref: str) -> list[tuple[str, Decimal]]:
    """Return (day, total) of the deal's invoices."""
    return [(str(r["Issued_On__c"]), r["Total__c"]) for r in here.invoices() if r["Opportunity__c"] == here.ids[ref]]


MODELS = [
    ("flat", "Recurring", 7, "99.00", "99.00"),  # 99.00 however many
    ("each", "Recurring", 7, "175.00", "175.00"),  # 7 x 25.00
    ("steps", "Recurring", 20, "127.50", "127.50"),  # 5 x 7.00 + 5 x 6.50 + 10 x 6.00
    ("lot", "Recurring", 20, "120.00", "120.00"),  # 20 x 6.00
    ("packs", "Recurring", 41, "25.00", "25.00"),  # 5 packs of 10
    ("sub", "Recurring", 1001, "2.50", "2.50"),  # 1001 x 0.0025 = 2.5025
    ("yearly", "Recurring", 2, "2400.00", None),
    ("late", "Recurring", 3, None, "30.00"),  # January, billed at its end
    ("once", "One-time", 2, "1000.00", None),
]


def test_a_line_is_billed_at_the_price_its_product_names(demo: World) -> None:
    """Flat, per unit, graduated, volume, package, sub-cent, yearly, in arrears and one-time: the invoices of the first two months."""
    for price, charge, quantity, _, _ in MODELS:
        product(demo, f"p_{price}", price=price, charge=charge)
        deal(demo, price, {"product": f"p_{price}", "Quantity": quantity, "UnitPrice": "77.77"})
    demo.sync()
    demo.bill("2026-02-01")
    expected = {
        price: [(f"2026-0{n}-01", D(total)) for n, total in ((1, january), (2, february)) if total is not None]
        for price, _, _, january, february in MODELS
    }
    assert {price: billed(demo, price) for price in expected} == expected
    demo.assert_quiet()


def test_a_line_in_the_terms_it_says_itself_is_checked(demo: World) -> None:
    """A line that says Annual of a monthly price is refused in the rep's words; the deal's own frequency is for lines without such a price."""
    product(demo, "thing", price="each")
    won(demo, "deal", {"product": "thing", "Billing_Frequency__c": "Annual"})
    assert demo.said("deal") == (
        "Needs attention",
        (
            'Not billed: line "Thing": it says billed every year, but the price each is billed every month.'
            " Clear the frequency of the line, or correct Billing Price on the product; it is tried again by itself."
        ),
    )
    won(demo, "other", {"product": "thing"}, Billing_Frequency__c="Annual")
    assert billed(demo, "other") == [("2026-01-01", D(25))]


BAD_PRICES = [
    ("eech", "Recurring", 'the catalogue has no price "eech". Did you mean "each"? Correct Billing Price on the product, or import the price (`connector import catalog`)'),
    ("old", "Recurring", "the price old is no longer sold. Name another price in Billing Price on the product, or have this one sold again (`active: true`)"),
    ("dollar", "Recurring", "the price dollar is in USD, the deal in EUR. Name a price in EUR in Billing Price on the product"),
    ("once", "Recurring", "its charge type says Recurring, but the price once is billed once. Correct the charge type, or Billing Price on the product"),
    ("gb", "Recurring", "its charge type says Recurring, but the price gb is metered. Correct the charge type, or Billing Price on the product"),
    ("each", "Usage", "its charge type says Usage, but the price each is billed every month. Correct the charge type, or Billing Price on the product"),
    ("each", "One-time", "its charge type says One-time, but the price each is billed every month. Correct the charge type, or Billing Price on the product"),
]  # fmt: skip


def test_a_price_that_cannot_be_is_said_in_the_words_of_the_record(demo: World) -> None:
    """An unknown, inactive or foreign price, or one of another kind than the line, is a problem that names the field; nothing is billed."""
    for number, (price, charge, _) in enumerate(BAD_PRICES):
        product(demo, f"thing{number}", price=price, charge=charge)
        deal(demo, f"deal{number}", {"product": f"thing{number}"})
    demo.sync()
    for number, (_, _, message) in enumerate(BAD_PRICES):
        expected = f'Not billed: line "Thing{number}": {message}; it is tried again by itself.'
        assert demo.said(f"deal{number}") == ("Needs attention", expected)
    assert demo.contracts() == []


def test_what_was_missing_is_billed_when_the_catalogue_has_it(demo: World) -> None:
    """A deal held for a price and a coupon that the catalogue lacks is billed at the next round after the import, untouched in the CRM."""
    product(demo, "thing", price="new")
    won(demo, "deal", {"product": "thing"}, Coupons__c="WELCOME")
    assert demo.said("deal")[1] == (
        'Not billed, for several reasons. (1) line "Thing": the catalogue has no price "new".'
        " Correct Billing Price on the product, or import the price (`connector import catalog`); it is tried again by itself."
        ' (2) there is no coupon "WELCOME".'
        " Correct Coupons on this opportunity, or import the coupon (`connector import catalog`); it is tried again by itself."
    )
    more = "currency: eur\nprices:\n  new: {unit_amount: 4000, recurring: {interval: month}}\ncoupons:\n  WELCOME: {percent_off: 25, duration: once}\n"
    assert stock(demo, more) == [("new", "made"), ("WELCOME", "made")]
    demo.sync()
    assert billed(demo, "deal") == [("2026-01-01", D(30))]
    demo.assert_quiet()


def test_a_contract_keeps_the_price_it_was_made_with(demo: World) -> None:
    """A price that changes in the catalogue changes no contract and no deal that was billed; the next deal gets the new one; the report says who keeps it."""
    product(demo, "thing", price="each")
    won(demo, "before", {"product": "thing"})
    found = demo.ask("catalogue.import", rows=[
        {"kind": "price", "id": "each", "row": "f:1", "product": "", "currency": "eur", "active": True,
         "data": {"unit_amount": 3000, "recurring": {"interval": "month"}}},
    ]).result  # fmt: skip
    assert found["rows"][0]["what"] == (
        "unit_amount 2500 -> 3000; 1 contract keeps the price as it was agreed, only deals from now on get the new one"
    )
    demo.assert_quiet()
    won(demo, "after", {"product": "thing"})
    demo.bill("2026-02-01")
    assert billed(demo, "before") == [("2026-01-01", D(25)), ("2026-02-01", D(25))]
    assert billed(demo, "after") == [("2026-01-01", D(30)), ("2026-02-01", D(30))]
    demo.edit("before_1", "OpportunityLineItem", Quantity=3)
    demo.sync()
    assert "costs 100.00 EUR now" in demo.said("before")[1]  # 2 x 25.00 for each of the two months that were billed


def test_an_amendment_at_a_price_that_is_no_longer_sold(demo: World) -> None:
    """Taken away is at the contract's own price, even when it is no longer sold; more of it is refused."""
    product(demo, "thing", price="steps")
    won(demo, "deal", {"product": "thing", "Quantity": 20})
    stock(demo, "currency: eur\nprices:\n  steps: {unit_amount: 1, recurring: {interval: month}, active: false}\n")
    change = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@deal", "Billing_Effective_Date__c": "2026-02-01"}
    demo.bill("2026-01-20")
    won(demo, "more", {"product": "thing", "Quantity": 1}, **change, Contract_Term_Months__c=None)
    assert "the price steps is no longer sold" in demo.said("more")[1]
    demo.edit("more", StageName="Closed Lost")
    won(demo, "less", {"product": "thing", "Quantity": -10}, **change, Contract_Term_Months__c=None)
    demo.bill("2026-02-01")
    assert billed(demo, "deal") == [("2026-01-01", D("127.50")), ("2026-02-01", D("67.50"))]  # 5 x 7.00 + 5 x 6.50


# ---------------------------------------------------------------- coupons


def test_coupons_of_deal_and_line_stack_in_order(demo: World) -> None:
    """10 % of the deal, then the codes as listed; the line's own before them; once, two months and for good run out in their time."""
    product(demo, "thing", price="each")
    won(
        demo, "deal", {"product": "thing", "Quantity": 4, "Coupons__c": "SPRING"}, {"product": "setup", "UnitPrice": "100.00"},
        Discount_Percent__c=10, Coupons__c="ONCE20; TEN",
    )  # fmt: skip
    for month in ("02", "03"):
        demo.bill(f"2026-{month}-01")
    # January: seats 100.00 - 50.00 (line), setup 100.00; -10 % = 45.00 + 90.00; -20.00 by list = 6.66 + 13.34; -10 % of 38.34 + 76.66
    # February: 100.00 - 50.00 = 50.00, -10 % = 45.00, -10 % = 40.50; March: 100.00, 90.00, 81.00
    assert billed(demo, "deal") == [("2026-01-01", D("103.50")), ("2026-02-01", D("40.50")), ("2026-03-01", D("81.00"))]
    demo.assert_quiet()


BAD_COUPONS = [
    ("NOPE", None, 'there is no coupon "NOPE". Correct Coupons on this opportunity, or import the coupon (`connector import catalog`)'),
    ("ten", None, 'there is no coupon "ten". Did you mean "TEN"? Correct Coupons on this opportunity, or import the coupon (`connector import catalog`)'),
    ("GONE", None, "the coupon GONE is no longer given. Take it out of Coupons on this opportunity, or have it given again (`active: true`)"),
    ("USD5", None, "the coupon USD5 is in USD, the deal in EUR. Take it out of Coupons on this opportunity"),
    ("SETUP", None, "the coupon SETUP is for once only, none of which is on this deal. Take it out of Coupons on this opportunity"),
    (None, "SETUP", 'line "Thing": the coupon SETUP is for once only, which this is not. Take it out of Coupons on the line'),
]


def test_a_coupon_that_cannot_be_is_said_in_the_words_of_the_record(demo: World) -> None:
    """An unknown, ended or foreign coupon, or one for other things, is a problem that names the field."""
    product(demo, "thing", price="each")
    for number, (on_deal, on_line, _) in enumerate(BAD_COUPONS):
        deal(demo, f"deal{number}", {"product": "thing", "Coupons__c": on_line}, Coupons__c=on_deal)
    demo.sync()
    for number, (_, _, message) in enumerate(BAD_COUPONS):
        assert demo.said(f"deal{number}") == ("Needs attention", f"Not billed: {message}; it is tried again by itself.")
    assert demo.contracts() == []


def test_a_coupon_for_one_price_takes_nothing_off_another(demo: World) -> None:
    """SETUP is for the price `once` alone: the set-up is free, the seats are not."""
    product(demo, "thing", price="each")
    product(demo, "start", price="once", charge="One-time")
    won(demo, "deal", {"product": "thing"}, {"product": "start"}, Coupons__c="SETUP")
    assert billed(demo, "deal") == [("2026-01-01", D(25))]


def test_an_amendment_gives_the_contract_other_coupons(demo: World) -> None:
    """Codes on an Amend deal take the place of the contract's discounts from its day on; blank codes leave them."""
    product(demo, "thing", price="each")
    won(demo, "deal", {"product": "thing", "Quantity": 4}, Coupons__c="TEN")
    change = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@deal", "Contract_Term_Months__c": None}
    won(demo, "more", {"product": "thing", "Quantity": 4}, **change, Billing_Effective_Date__c="2026-02-01")
    won(demo, "half", **change, Billing_Effective_Date__c="2026-03-01", Coupons__c="SPRING,TEN")
    for month in ("02", "03"):
        demo.bill(f"2026-{month}-01")
    assert billed(demo, "deal") == [("2026-01-01", D(90)), ("2026-02-01", D(180)), ("2026-03-01", D(90))]  # 200.00 x 0.5 x 0.9


# ---------------------------------------------------------------- a customer's discounts


def test_a_customer_s_discount_is_inherited_from_its_day_on(demo: World) -> None:
    """TEN given on 10 January: from February on the plain deal has 10 % off, foretold on its record; the one with its own 20 % keeps it; ended, it is gone."""
    product(demo, "thing", price="each")
    won(demo, "plain", {"product": "thing", "Quantity": 4})
    won(demo, "own", {"product": "thing", "Quantity": 4}, Discount_Percent__c=20)
    demo.bill("2026-01-10")
    customer = demo.query("SELECT customer_id FROM contract ORDER BY id")[0][0]
    refused = demo.ask("customer.discount", customer=customer, coupons=["NOPE", "GONE"])
    assert (refused.state, refused.result["message"]) == ("refused", "There is no coupon NOPE; the coupon GONE is no longer given.")
    done = demo.ask("customer.discount", customer=customer, coupons=["TEN"])
    assert done.result["discounts"] == [{"coupon": "TEN", "since": "2026-01-10"}]
    assert demo.record("plain")["Next_Invoice_Amount__c"] == D(90)
    demo.bill("2026-02-01")
    again = demo.ask("customer.discount", customer=customer, coupons=["TEN", "ONCE20"])
    assert [g["since"] for g in again.result["discounts"]] == ["2026-01-10", "2026-02-02"]  # 1 February is billed
    demo.bill("2026-03-01")
    demo.ask("customer.discount", customer=customer, coupons=[])
    demo.bill("2026-04-01")
    assert [total for _, total in billed(demo, "plain")] == [D(100), D(90), D(70), D(100)]  # March: 100.00 - 10.00 - 20.00
    assert [total for _, total in billed(demo, "own")] == [D(80)] * 4
    won(demo, "later", {"product": "thing", "Quantity": 4}, CloseDate="2026-04-01", Contract_Start_Date__c="2026-04-01")
    assert billed(demo, "later") == [("2026-04-01", D(100))]
    events = demo.query("SELECT before, after FROM event WHERE name = 'customer.discounted' ORDER BY id")
    assert [before == '{"discounts":[]}' for before, _ in events] == [True, False, False]
    demo.assert_quiet()
