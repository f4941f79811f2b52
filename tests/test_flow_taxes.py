"""Taxes from the CRM to the invoice: a French seller, its customers in and out of the EU, and what stands where afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import facturx
import pytest
import requests
from world import START, World, world

from connector import app, papers, service
from connector.billing import books
from connector.config import SellerConfig
from connector.config.taxes import TaxConfig
from connector.sync import plan
from connector.tax.rates import ListedRate

D = Decimal
SELLER = SellerConfig(name="Vendeur SARL", address=("1 rue Haute", "69001 Lyon"), country="FR", vat_id="FR40303265045")
GERMAN = {"BillingStreet": "Hafenstr. 1", "BillingPostalCode": "20457", "BillingCity": "Hamburg", "BillingCountry": "Germany"}
AMERICAN = {"BillingPostalCode": "10001", "BillingCity": "New York", "BillingCountry": "United States"}
Sells = Callable[..., World]


@pytest.fixture
def sells(tmp_path: Path) -> Iterator[Sells]:
    """Open a world whose seller charges EU VAT, or what is said."""
    with ExitStack() as opened:

        def make(tax: TaxConfig | None = None, **more: Any) -> World:
            return opened.enter_context(world(tmp_path, seller=SELLER, tax=tax or TaxConfig(kind="eu_vat"), **more))

        yield make


def won(demo: World, ref: str = "deal", *lines: dict[str, Any], who: dict[str, Any] | None = None, **fields: Any) -> None:
    """A deal of a year over 100.00 a month (or *lines*), with a customer of its own, won and read."""
    demo.account(f"{ref}_account", **(who or {}))
    demo.deal(ref, *(lines or ({},)), account=f"{ref}_account", **({"Contract_Term_Months__c": 12, "StageName": "Closed Won"} | fields))
    demo.sync()


def sums(demo: World) -> list[tuple[int, int, int]]:
    """Return (subtotal, tax, total) of every invoice in the books, in minor units."""
    return [(int(s), int(t), int(a)) for s, t, a in demo.query("SELECT subtotal, tax, total FROM invoice ORDER BY number")]


def page(demo: World) -> str:
    """Return the page behind the link of the last invoice, spaces made plain."""
    ((token,),) = demo.query("SELECT token FROM invoice ORDER BY number DESC LIMIT 1")
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, service.pages(house) as url:
        answer = requests.get(f"{url}/i/{token}", timeout=20)
    assert answer.status_code == 200
    return " ".join(answer.text.replace("\xa0", " ").replace("\u202f", " ").split())


# ---------------------------------------------------------------- who pays what


@pytest.mark.parametrize(
    ("who", "tax", "words"),
    [
        (GERMAN, 1900, "VAT DE 19%"),
        (GERMAN | {"Tax_Id__c": "DE136695976"}, 0, "Reverse charge: the customer accounts for the VAT (Article 196"),
        ({}, 2000, "VAT FR 20%"),
        ({"Tax_Id__c": "FR40303265045"}, 2000, "VAT FR 20%"),
        (AMERICAN, 0, "Not subject to EU VAT: the customer is outside its area (United States)."),
        ({"Tax_Exempt__c": "Exempt"}, 0, "The customer is exempt from tax."),
        (GERMAN | {"Tax_Id__c": "DE136695976", "Tax_Exempt__c": "Reverse charge"}, 0, "Reverse charge"),
    ],
)
def test_a_french_seller_taxes_its_customers(sells: Sells, who: dict[str, Any], tax: int, words: str) -> None:
    """Tax in the books, on the CRM record, and on the page with the rate or the reason; the second run adds nothing."""
    demo = sells()
    won(demo, who=who)
    assert sums(demo) == [(10000, tax, 10000 + tax)]
    record = demo.record("deal")
    assert record["Amount_Billed__c"] == record["Next_Invoice_Amount__c"] == D(10000 + tax) / 100
    assert demo.invoices()[0]["Total__c"] == D(10000 + tax) / 100
    text = page(demo)
    assert words in text
    assert "Tax ID FR40303265045" in text
    assert f"Tax ID {who.get('Tax_Id__c', 'FR40303265045')}" in text
    demo.assert_quiet()


def test_the_page_gives_the_reason_in_the_customers_language(sells: Sells) -> None:
    """A French-speaking business in Belgium reads that it owes the VAT itself; one in New York the country in French."""
    demo = sells()
    won(demo, who={"BillingCountry": "Belgium", "Tax_Id__c": "BE0403019261", "Billing_Language__c": "fr"})
    assert "Autoliquidation : TVA due par le preneur (article 196 de la directive 2006/112/CE)." in page(demo)
    won(demo, "far", who=AMERICAN | {"Billing_Language__c": "fr"})
    assert "(États-Unis)" in page(demo)


def test_an_inclusive_price_contains_the_tax_of_its_customer(sells: Sells) -> None:
    """119.00 with 19 % inside is 119.00 for a German consumer, 100.00 for a German business, and 119.00 outside the EU."""
    demo = sells(TaxConfig(kind="eu_vat", is_inclusive=True))
    line = {"UnitPrice": "119.00"}
    won(demo, "consumer", line, who=GERMAN)
    assert "VAT DE 19% (included)" in page(demo)
    won(demo, "business", line, who=GERMAN | {"Tax_Id__c": "DE136695976"})
    won(demo, "far", line, who=AMERICAN)
    assert sums(demo) == [(11900, 1900, 11900), (10000, 0, 10000), (11900, 0, 11900)]


@pytest.mark.parametrize(("rounding", "tax"), [("line", 603), ("invoice", 602)])
def test_tax_is_rounded_where_the_configuration_says(sells: Sells, rounding: Literal["line", "invoice"], tax: int) -> None:
    """Three lines of 10.03 with 20 %: 2.01 each by line, 6.02 of 30.09 once for the invoice."""
    demo = sells()
    demo.config = replace(demo.config, billing=replace(demo.config.billing, tax_rounding=rounding))
    won(demo, "deal", *({"product": p, "UnitPrice": "10.03"} for p in ("seat", "platform", "support")))
    assert sums(demo) == [(3009, tax, 3009 + tax)]
    assert demo.record("deal")["Next_Invoice_Amount__c"] == D(3009 + tax) / 100


def test_listed_rates_are_charged_and_shown(sells: Sells) -> None:
    """Two rates of Quebec add up: 5.00 and 9.98 (9.975 %) of 100.00."""
    rates = tuple(ListedRate(country="CA", region="Quebec", percentage=D(p), name=n) for n, p in (("GST", "5"), ("QST", "9.975")))
    demo = sells(TaxConfig(kind="rates", rates=rates))
    won(demo, who={"BillingCountry": "Canada", "BillingState": "Quebec"})
    assert sums(demo) == [(10000, 1498, 11498)]
    text = page(demo)
    assert "GST 5%" in text
    assert "QST 9.975%" in text


# ---------------------------------------------------------------- the day and the address that count


def test_a_rate_that_changes_holds_for_the_periods_after_it(sells: Sells) -> None:
    """Estonia raised 22 to 24 % on 1 July 2025: June has the old rate and July the new one, also where both are billed ahead."""
    demo = sells(day="2025-06-01")
    estonian, june = {"BillingPostalCode": "10111", "BillingCountry": "Estonia"}, date(2025, 6, 1)
    won(demo, who=estonian, CloseDate=june, Contract_Start_Date__c=june)
    assert demo.record("deal")["Next_Invoice_Amount__c"] == D(124)
    demo.bill("2025-07-01")
    assert sums(demo) == [(10000, 2200, 12200), (10000, 2400, 12400)]
    won(demo, "ahead", who=estonian, CloseDate=june, Contract_Start_Date__c=june, Prebill_Periods__c=2)
    assert sums(demo)[-1] == (20000, 4600, 24600)
    demo.assert_quiet()


def test_a_new_address_counts_from_the_next_invoice_on(sells: Sells) -> None:
    """A customer that moves from Lyon to Hamburg pays 19 % from February on; January's invoice stays as it was issued."""
    demo = sells()
    won(demo)
    demo.edit("deal_account", "Account", **GERMAN)
    demo.sync()
    assert demo.record("deal")["Next_Invoice_Amount__c"] == D(119)
    demo.bill("2026-02-01")
    assert sums(demo) == [(10000, 2000, 12000), (10000, 1900, 11900)]
    demo.assert_quiet()


def test_a_preview_has_the_tax_of_the_invoice(sells: Sells) -> None:
    """`plan` shows 119.00 for a German consumer, and the problem for an account that cannot be taxed; neither writes."""
    demo = sells()
    demo.account("hamburg", **GERMAN)
    demo.account("nowhere", BillingCountry=None)
    for ref in ("hamburg", "nowhere"):
        demo.deal(f"{ref}_deal", {}, account=ref, Contract_Term_Months__c=12, StageName="Closed Won")
    with app.writing_house(demo.config, "plan", clock=demo.clock) as house:
        shown = plan.preview_of(house.seam, demo.ids["hamburg_deal"])
        refused = plan.preview_of(house.seam, demo.ids["nowhere_deal"])
    assert shown.preview is not None
    assert [(i.total, i.lines[0].tax) for i in shown.preview.invoices[:2]] == [(11900, 1900), (11900, 1900)]
    assert [p.code for p in refused.problems] == ["tax-country-missing"]
    assert demo.contracts() == []


# ---------------------------------------------------------------- who cannot be taxed


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        ({"BillingCountry": None}, {"BillingCountry": "Germany"}, "has no billing country"),
        (GERMAN | {"Tax_Id__c": "DE1"}, {"Tax_Id__c": None}, "'DE1' on the account Deal_Account is no valid EU VAT id"),
    ],
)
def test_a_deal_that_cannot_be_taxed_waits_and_says_why(sells: Sells, wrong: dict[str, Any], right: dict[str, Any], words: str) -> None:
    """Nothing is billed, the record says what to correct; once it is, the deal is billed with its tax."""
    demo = sells()
    won(demo, who=wrong)
    status, message = demo.said("deal")
    assert (status, demo.contracts()) == ("Needs attention", [])
    assert message.startswith("Not billed: ")
    assert words in message
    demo.assert_quiet()
    demo.edit("deal_account", "Account", **right)
    demo.sync()
    assert demo.said("deal")[0] == "Active"
    assert sums(demo) == [(10000, 1900, 11900)]
    demo.assert_quiet()


def test_a_running_contract_whose_account_cannot_be_taxed_any_more_is_not_billed(sells: Sells) -> None:
    """The next invoice is not made; the record says so and heals: the missed month is billed when the country is back."""
    demo = sells()
    won(demo)
    demo.edit("deal_account", "Account", BillingCountry=None)
    demo.sync()
    assert demo.said("deal")[0] == "Needs attention"
    assert demo.record("deal")["Next_Invoice_Amount__c"] is None
    billed, _ = demo.bill("2026-02-01")
    assert (billed.invoices, [p.code for p in billed.problems]) == (0, ["tax-country-missing"])
    assert "has no billing country" in demo.said("deal")[1]
    demo.edit("deal_account", "Account", BillingCountry="France")
    demo.sync()
    assert sums(demo) == [(10000, 2000, 12000)] * 2
    assert demo.said("deal")[0] != "Needs attention"
    demo.assert_quiet()


def test_a_listed_rate_that_is_missing_is_said_at_once_and_found_later(sells: Sells) -> None:
    """A deal for a country without a rate names it; a contract of before the first rate is refused, not billed without."""
    rate = ListedRate(country="DE", percentage=D(19), name="USt", valid_from=date(2026, 2, 1))
    demo = sells(TaxConfig(kind="rates", rates=(rate,)))
    won(demo, "french")
    assert "no tax rate is listed for France" in demo.said("french")[1]
    won(demo, "early", who=GERMAN)
    assert "no tax rate of Germany is known for 2026-01-01; the first is from 2026-02-01" in demo.said("early")[1]
    won(demo, "timely", who=GERMAN, Contract_Start_Date__c=date(2026, 2, 1))
    demo.bill("2026-02-01")
    assert sums(demo) == [(10000, 1900, 11900)]


def test_a_one_off_invoice_bears_the_tax_of_its_customer(sells: Sells) -> None:
    """A line without a rate of its own has the customer's 19 %; one that says 0 has none."""
    demo = sells()
    won(demo, who=GERMAN)
    account = demo.query("SELECT account FROM customer")[0][0]
    lines = [{"description": "Workshop", "unit_amount": "5000"}, {"description": "Book", "unit_amount": "1000", "tax": 0}]
    app.request(demo.config, "invoices create", "invoice.create", {"account": account, "currency": "eur", "lines": lines})
    assert sums(demo)[-1] == (6000, 950, 6950)


def test_a_cancellation_credits_the_tax_that_was_billed(sells: Sells) -> None:
    """Half of January is taken back with the 20 % it was billed with, though the customer has moved to 19 % since."""
    demo = sells()
    won(demo)
    demo.edit("deal_account", "Account", **GERMAN)
    when = date(2026, 1, 17)
    demo.deal(
        "stop", {}, account="deal_account", Billing_Action__c="Cancel", Amends_Opportunity__c="@deal", CloseDate=when,
        Billing_Effective_Date__c=when, Proration__c="Immediately", StageName="Closed Won",
    )  # fmt: skip
    demo.sync()
    demo.bill("2026-01-17")
    assert sums(demo)[-1] == (-4839, -968, -5807)  # 15 of 31 days of 100.00 and of 20.00


# ---------------------------------------------------------------- on paper


def test_the_link_gives_the_document_with_its_e_invoice(sells: Sells) -> None:
    """The PDF behind the link holds the e-invoice of the books; for a customer abroad there is a PDF and no e-invoice."""
    demo = sells()
    won(demo, "berlin", who=GERMAN)
    won(demo, "york", who=AMERICAN)
    tokens = [str(token) for (token,) in demo.query("SELECT token FROM invoice ORDER BY number")]
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, service.pages(house) as url:
        home, abroad = (requests.get(f"{url}/i/{token}.pdf", timeout=20).content for token in tokens)
        with house.database.read() as unit:
            sheet = books.invoice(unit, "INV-0001", START)
    assert sheet is not None
    assert facturx.get_xml_from_pdf(home)[1] == papers.invoice_xml(sheet, demo.config)
    assert abroad.startswith(b"%PDF-")
    assert b"factur-x.xml" not in abroad
