"""Billing features reached from CRM records through the shipped mappings, end to end, with amounts worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from world import World, world

D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.account("acme")
        yield made


def won(demo: World, ref: str, *lines: dict[str, Any], **fields: Any) -> None:
    """A deal of a year that is won, read and billed on its first day, 1 January."""
    demo.deal(ref, *lines, account="acme", **({"Contract_Term_Months__c": 12, "StageName": "Closed Won"} | fields))
    demo.sync()
    demo.bill()


def totals(demo: World, ref: str) -> list[tuple[str, Decimal]]:
    """Return (day, total) of the deal's invoices."""
    rows = [r for r in demo.invoices() if r["Opportunity__c"] == demo.ids[ref]]
    return [(str(r["Issued_On__c"]), r["Total__c"]) for r in rows]


# ---------------------------------------------------------------- prebilling


def test_three_periods_are_billed_ahead(demo: World) -> None:
    """Prebill Periods 3 bills January to March at once, a line each; nothing comes before April, then a month at a time."""
    won(demo, "ahead", {"Quantity": 2}, Prebill_Periods__c=3)
    record = demo.record("ahead")
    assert totals(demo, "ahead") == [("2026-01-01", D(600))]
    lines = demo.invoice_lines(record["Last_Invoice_Number__c"])
    assert [(start[:10], amount) for _, _, start, _, amount in lines] == [("2026-01-01", 20000), ("2026-02-01", 20000), ("2026-03-01", 20000)]
    assert (str(record["Next_Invoice_Date__c"]), record["Next_Invoice_Amount__c"]) == ("2026-04-01", D(200))
    demo.bill("2026-03-31")
    demo.bill("2026-04-01")
    assert totals(demo, "ahead") == [("2026-01-01", D(600)), ("2026-04-01", D(200))]


def test_billed_ahead_until_a_day(demo: World) -> None:
    """Prebill Until 1 July bills January to June at once."""
    won(demo, "ahead", {}, Prebill_Until__c=date(2026, 7, 1))
    assert totals(demo, "ahead") == [("2026-01-01", D(600))]
    assert str(demo.record("ahead")["Next_Invoice_Date__c"]) == "2026-07-01"


def test_periods_and_day_of_prebilling_exclude_each_other(demo: World) -> None:
    """Both prebilling fields filled are a problem in the rep's words, and nothing is billed."""
    won(demo, "ahead", {}, Prebill_Periods__c=3, Prebill_Until__c=date(2026, 7, 1))
    assert demo.said("ahead") == (
        "Needs attention",
        "Not billed: both Prebill Periods and Prebill Until are filled. Keep one of them; it is tried again by itself.",
    )


# ---------------------------------------------------------------- paid trials


def test_paid_trial_then_the_full_price(demo: World) -> None:
    """Two months at 10.00 a unit, then the full 100.00."""
    won(demo, "trial", {"Quantity": 3, "Trial_Price__c": D("10.00"), "Trial_Periods__c": 2})
    demo.bill("2026-02-01")
    demo.bill("2026-03-01")
    assert totals(demo, "trial") == [("2026-01-01", D(30)), ("2026-02-01", D(30)), ("2026-03-01", D(300))]
    assert demo.record("trial")["Contract_Value__c"] == D(2 * 30 + 10 * 300)


def test_half_a_paid_trial_says_what_is_missing(demo: World) -> None:
    """A trial price without its number of periods is a problem of the line."""
    won(demo, "trial", {"Trial_Price__c": D("10.00")})
    status, message = demo.said("trial")
    assert status == "Needs attention"
    assert "Trial Periods is missing for the paid trial. Fill both trial fields, or neither" in message


# ---------------------------------------------------------------- who pays no tax


def test_tax_exempt_account_is_billed_and_known_as_exempt(demo: World) -> None:
    """Reverse charge on the account reaches the customer in the books; the deal is billed."""
    demo.edit("acme", "Account", Tax_Exempt__c="Reverse charge")
    won(demo, "exempt", {})
    assert totals(demo, "exempt") == [("2026-01-01", D(100))]
    assert demo.query("SELECT tax_exempt FROM customer") == [("reverse",)]


# ---------------------------------------------------------------- amendments


def amendment(demo: World, *lines: dict[str, Any], **fields: Any) -> None:
    """A won Amend deal "more" of the deal "base"."""
    head = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@base", "StageName": "Closed Won", "account": "acme"}
    demo.deal("more", *lines, **(head | fields))
    demo.sync()


def test_up_front_puts_a_coming_change_on_the_invoice_of_its_period(demo: World) -> None:
    """One seat more from 16 April, signed in March: its 15 of 30 days are on the invoice of 1 April, none on 1 May."""
    won(demo, "base", {"Quantity": 2})
    demo.bill("2026-03-01")
    amendment(demo, {}, CloseDate=date(2026, 3, 10), Billing_Effective_Date__c=date(2026, 4, 16), Proration__c="Up front")
    demo.bill("2026-04-01")
    assert totals(demo, "base")[-1] == ("2026-04-01", D(250))
    demo.bill("2026-04-16")
    assert totals(demo, "base")[-1] == ("2026-04-01", D(250))
    demo.bill("2026-05-01")
    assert totals(demo, "base")[-1] == ("2026-05-01", D(300))


def test_blank_frequency_of_an_amendment_is_that_of_the_running_item(demo: World) -> None:
    """A yearly seat at 365.00 gets one more from 1 July with no frequency said: 184 of 365 days, 184.00, not a month's price."""
    won(demo, "base", {"UnitPrice": "365.00"}, Billing_Frequency__c="Annual", Contract_Term_Months__c=24)
    demo.bill("2026-07-01")
    amendment(demo, {"UnitPrice": "365.00"}, CloseDate=date(2026, 7, 1), Proration__c="Immediately")
    demo.bill()
    assert demo.said("more")[1].startswith("Changed the contract from 1 Jul 2026: ")
    assert [total for _, total in totals(demo, "base")] == [D(365), D(184)]
    demo.bill("2027-01-01")
    assert totals(demo, "base")[-1] == ("2027-01-01", D(730))
