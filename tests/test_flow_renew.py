"""Renew and Cancel deals, sentence by sentence as deals.md section 3 has them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_flow_changes import amendment
from world import World, at, world

D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def quarter(demo: World, **fields: Any) -> None:
    """A New deal "base": 10 seats at 29.00 a month for three months from January, first month billed."""
    demo.deal("base", {"Quantity": 10, "UnitPrice": "29.00"}, account="acme", StageName="Closed Won", Contract_Term_Months__c=3, **fields)
    demo.sync()


def renewal(demo: World, *lines: dict[str, Any], on: str = "2026-03-10", ref: str = "renewal", **fields: Any) -> None:
    """A won Renew deal of the base, closed on a day."""
    head = {"Billing_Action__c": "Renew", "Amends_Opportunity__c": "@base", "CloseDate": date.fromisoformat(on), "account": "acme"}
    demo.deal(ref, *lines, StageName="Closed Won", **(head | fields))


def totals(demo: World, *days: str) -> list[Decimal]:
    """Bill on these days and return the total of what each run made."""
    found = []
    for day in days:
        before = sum((r["Total__c"] for r in demo.invoices()), D(0))
        demo.bill(day)
        found.append(sum((r["Total__c"] for r in demo.invoices()), D(0)) - before)
    return found


def test_without_lines_it_is_the_same_terms_raised_by_the_uplift(demo: World) -> None:
    """Three months more at 5 %: 10 x 30.45 from April on; the first deal is Completed and names the renewal; one contract id."""
    quarter(demo)
    totals(demo, "2026-02-01", "2026-03-01")
    renewal(demo, Renewal_Uplift_Percent__c=D(5))
    demo.clock.move_to(at("2026-03-10"))
    demo.sync()
    assert demo.said("renewal")[0] == "Scheduled"
    assert totals(demo, "2026-04-01", "2026-05-01", "2026-06-01", "2026-07-01") == [D("304.50")] * 3 + [D(0)]
    assert demo.said("base")[0] == "Completed"
    assert demo.said("base")[1].startswith("Completed: renewed by Renewal.")
    assert demo.said("renewal")[0] == "Completed"
    assert demo.record("renewal")["Contract_Ends_On__c"] == "2026-06-30"
    assert demo.record("renewal")["Contract_Value__c"] == D("913.50")
    assert demo.record("base")["Billing_Contract_Id__c"] == demo.record("renewal")["Billing_Contract_Id__c"]
    assert (demo.record("base")["Amount_Billed__c"], demo.record("renewal")["Amount_Billed__c"]) == (D(870), D("913.50"))
    assert len(demo.contracts()) == 1
    demo.assert_quiet()


def test_with_lines_it_is_the_complete_new_set(demo: World) -> None:
    """The renewal names support only: the seats are gone from April on."""
    quarter(demo)
    renewal(demo, {"product": "support", "UnitPrice": "70.00"}, Contract_Term_Months__c=2)
    assert totals(demo, "2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01", "2026-06-01") == [D(290), D(290), D(70), D(70), D(0)]
    demo.assert_quiet()


def test_won_after_the_end_there_is_no_hole(demo: World) -> None:
    """The term ended in March, the renewal is won on 20 April: April is billed too."""
    quarter(demo)
    totals(demo, "2026-02-01", "2026-03-01", "2026-04-01")
    assert demo.said("base")[0] == "Completed"
    renewal(demo, on="2026-04-20")
    assert totals(demo, "2026-04-20", "2026-05-01") == [D(290), D(290)]
    assert demo.invoice_lines(demo.invoices()[-2]["Number__c"])[0][2][:10] == "2026-04-01"
    demo.assert_quiet()


def test_won_after_the_end_with_a_later_start_there_is_the_hole_that_was_asked_for(demo: World) -> None:
    """Contract Start 1 June: nothing for April and May."""
    quarter(demo)
    totals(demo, "2026-02-01", "2026-03-01", "2026-04-01")
    renewal(demo, on="2026-04-20", Contract_Start_Date__c=date(2026, 6, 1))
    assert totals(demo, "2026-04-20", "2026-05-01", "2026-06-01") == [D(0), D(0), D(290)]
    demo.assert_quiet()


def test_over_a_term_that_renewed_itself_it_replaces_it_from_its_start(demo: World) -> None:
    """It renewed itself on 1 April; the Renew deal of 20 April at 200.00 replaces it from 1 April; the 290.00 billed are credited."""
    quarter(demo, Auto_Renew__c=True)
    totals(demo, "2026-02-01", "2026-03-01", "2026-04-01")
    renewal(demo, {"Quantity": 10, "UnitPrice": "20.00"}, on="2026-04-20", Contract_Term_Months__c=3)
    assert totals(demo, "2026-04-20", "2026-05-01") == [D(-90), D(200)]
    assert demo.record("renewal")["Contract_Starts_On__c"] == "2026-04-01"
    demo.assert_quiet()


def test_a_planned_renewal_is_replaced_or_withdrawn_with_its_record(demo: World) -> None:
    """Edited before its term begins it is another renewal; reopened, the term simply ends."""
    quarter(demo)
    totals(demo, "2026-02-01", "2026-03-01")
    renewal(demo, Renewal_Uplift_Percent__c=D(5))
    demo.sync()
    demo.edit("renewal", Renewal_Uplift_Percent__c=D(10))
    assert demo.sync().problems == []
    assert totals(demo, "2026-04-01") == [D(319)]
    renewal(demo, on="2026-04-10", ref="next", Amends_Opportunity__c="@renewal")
    demo.clock.move_to(at("2026-04-10"))
    demo.sync()
    assert demo.said("next")[0] == "Scheduled", demo.said("next")
    demo.edit("next", StageName="Prospecting")
    demo.sync()
    assert demo.said("next")[0] == "Withdrawn"
    assert totals(demo, "2026-05-01", "2026-06-01", "2026-07-01") == [D(319), D(319), D(0)]
    assert demo.said("renewal")[0] == "Completed"
    demo.assert_quiet()


# ---------------------------------------------------------------- cancel


def cancellation(demo: World, *lines: dict[str, Any], on: str, **fields: Any) -> None:
    """A won Cancel deal of the base, closed on a day."""
    head = {"Billing_Action__c": "Cancel", "Amends_Opportunity__c": "@base", "CloseDate": date.fromisoformat(on), "account": "acme"}
    demo.deal("cancel", *lines, StageName="Closed Won", **(head | fields))


def running(demo: World, *more: dict[str, Any], **fields: Any) -> None:
    """A New deal "base" without an end: 10 seats at 30.00, January to April billed."""
    demo.deal("base", {"Quantity": 10, "UnitPrice": "30.00"}, *more, account="acme", StageName="Closed Won", **fields)
    demo.sync()
    for month in (2, 3, 4):
        demo.bill(f"2026-0{month}-01")


@pytest.mark.parametrize(("proration", "credited"), [("Immediately", D(150)), ("Next invoice", D(150)), ("None", D(0))])
def test_what_becomes_of_unused_time_is_as_said(demo: World, proration: str, credited: Decimal) -> None:
    """On 16 April, half the month unused: credited with the final invoice or to the balance, or not at all; nothing follows."""
    running(demo)
    cancellation(demo, on="2026-04-10", Cancel_When__c="On date", Billing_Effective_Date__c=date(2026, 4, 16), Proration__c=proration)
    demo.clock.move_to(at("2026-04-10"))
    demo.sync()
    demo.bill("2026-04-16")
    assert demo.query("SELECT COALESCE(SUM(amount), 0) FROM balance_entry") == [(int(-100 * credited),)]
    assert demo.said("base")[0] == "Canceled"
    assert demo.record("base")["Contract_Ends_On__c"] == "2026-04-15"
    assert totals(demo, "2026-05-01", "2026-06-01") == [D(0), D(0)]
    demo.assert_quiet()


def test_unused_time_must_be_said_where_it_falls_inside_a_period_of_any_item(demo: World) -> None:
    """1 June is the end of a month but not of the support's quarter: Proration must be said, and the message names the field."""
    running(demo, {"product": "support", "UnitPrice": "90.00", "Billing_Frequency__c": "Quarterly"})
    cancellation(demo, on="2026-04-10", Billing_Effective_Date__c=date(2026, 6, 1))
    demo.clock.move_to(at("2026-04-10"))
    demo.sync()
    status, message = demo.said("cancel")
    assert status == "Needs attention"
    assert "Proration" in message
    demo.edit("cancel", Proration__c="None")
    demo.sync()
    assert demo.said("cancel")[0] != "Needs attention", demo.said("cancel")


def test_blank_when_is_on_date_where_a_date_is_given_else_the_end_of_the_period(demo: World) -> None:
    """No date and no word: April is the last month."""
    running(demo)
    cancellation(demo, on="2026-04-10")
    demo.clock.move_to(at("2026-04-10"))
    demo.sync()
    assert demo.record("base")["Contract_Ends_On__c"] == "2026-04-30"
    assert demo.said("cancel")[1].startswith("Canceled: the last day will be 30 Apr 2026.")
    assert totals(demo, "2026-05-01") == [D(0)]
    assert demo.said("base")[0] == "Canceled"
    assert demo.said("cancel")[1] == "Canceled, ended on 30 Apr 2026."
    demo.assert_quiet()


def test_on_date_without_a_date_is_a_problem(demo: World) -> None:
    """On date, but the date is empty: the message says so."""
    running(demo)
    cancellation(demo, on="2026-04-10", Cancel_When__c="On date", Proration__c="None")
    demo.sync()
    assert demo.said("cancel")[0] == "Needs attention"
    assert "the date is empty" in demo.said("cancel")[1]


def test_lines_cancel_only_those(demo: World) -> None:
    """A Cancel deal with the support's line ends the support and leaves the seats."""
    running(demo, {"product": "support", "UnitPrice": "50.00"})
    cancellation(demo, {"product": "support", "UnitPrice": "50.00"}, on="2026-04-10", Cancel_When__c="End of period")
    demo.clock.move_to(at("2026-04-10"))
    demo.sync()
    assert demo.said("cancel")[0] != "Needs attention", demo.said("cancel")
    assert totals(demo, "2026-05-01", "2026-06-01") == [D(300), D(300)]
    assert demo.said("base")[0] in ("Active", "Past due")
    assert demo.record("cancel")["Contract_Value__c"] < 0
    demo.assert_quiet()


def test_a_line_that_is_not_there_cannot_be_canceled(demo: World) -> None:
    """The message lists what runs."""
    running(demo)
    cancellation(demo, {"product": "support", "UnitPrice": "50.00"}, on="2026-04-10", Cancel_When__c="End of period")
    demo.clock.move_to(at("2026-04-10"))
    demo.sync()
    status, message = demo.said("cancel")
    assert status == "Needs attention"
    assert "Team Seat 10 x 30.00" in message


def test_a_planned_cancellation_is_replaced_or_withdrawn_with_its_record(demo: World) -> None:
    """A cancellation of 1 July is moved to 1 June, then taken back: the contract bills on."""
    running(demo)
    cancellation(demo, on="2026-04-10", Billing_Effective_Date__c=date(2026, 7, 1))
    demo.clock.move_to(at("2026-04-10"))
    demo.sync()
    assert demo.record("base")["Contract_Ends_On__c"] == "2026-06-30"
    demo.edit("cancel", Billing_Effective_Date__c="2026-06-01")
    demo.sync()
    assert demo.record("base")["Contract_Ends_On__c"] == "2026-05-31"
    assert demo.said("cancel")[1].startswith("Canceled: the last day will be 31 May 2026.")
    demo.edit("cancel", StageName="Closed Lost")
    demo.sync()
    assert demo.said("cancel")[0] == "Withdrawn"
    assert demo.record("base")["Contract_Ends_On__c"] is None
    assert totals(demo, "2026-05-01", "2026-06-01", "2026-07-01") == [D(300)] * 3
    demo.assert_quiet()


def test_a_pause_credits_unused_time_and_a_resumption_charges_from_its_day(demo: World) -> None:
    """Paused on 16 April: 150.00 credited; resumed on 16 May: 16 of 31 days of May are charged."""
    running(demo)
    amendment(demo, "pause", "base", Billing_Action__c="Pause", CloseDate=date(2026, 4, 16), Billing_Effective_Date__c=date(2026, 4, 16))
    assert totals(demo, "2026-04-16", "2026-05-01") == [D(-150), D(0)]
    assert demo.said("base")[0] == "Paused"
    assert demo.said("base")[1].startswith("Paused: nothing is billed until it is resumed.")
    amendment(demo, "resume", "base", Billing_Action__c="Resume", CloseDate=date(2026, 5, 16), Billing_Effective_Date__c=date(2026, 5, 16))
    first, second = totals(demo, "2026-05-16", "2026-06-01")
    assert first + second == D("154.84") + D(300)
    demo.assert_quiet()


def test_a_second_resumption_says_that_nothing_is_paused(demo: World) -> None:
    """Resume on a running contract needs attention."""
    running(demo)
    amendment(demo, "resume", "base", Billing_Action__c="Resume", CloseDate=date(2026, 4, 16), Billing_Effective_Date__c=date(2026, 4, 16))
    demo.bill("2026-04-16")
    assert demo.said("resume")[0] == "Needs attention"
    assert "not paused" in demo.said("resume")[1]
