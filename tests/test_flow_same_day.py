"""Amendments that come in after the period they begin with was billed: nobody pays a month twice, and the rep reads one difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_flow_changes import amendment
from world import World, at, world

D = Decimal
AUGUST = date(2026, 8, 1)
SEATS = {"Quantity": 4, "UnitPrice": "29.00"}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, day="2026-07-01") as made:
        yield made


def billed_july(demo: World) -> None:
    """Bill four seats for July, due in 60 days."""
    demo.deal("base", SEATS, account="acme", StageName="Closed Won", CloseDate=date(2026, 7, 1), Payment_Terms__c="Net 60")
    demo.sync()
    demo.bill("2026-07-01")


def billed(demo: World) -> None:
    """Bill four seats for July and August."""
    billed_july(demo)
    demo.bill("2026-08-01")


def amended(demo: World, *lines: dict[str, Any], **fields: Any) -> str:
    """Bill four seats for July and August, amend them on 1 August, and return what the rep reads."""
    billed(demo)
    amendment(demo, "more", "base", *lines, **({"CloseDate": AUGUST, "Billing_Effective_Date__c": AUGUST} | fields))
    demo.sync()
    demo.bill()
    return demo.said("more")[1]


def totals(demo: World) -> list[Decimal]:
    return [D(str(i["Total__c"])) for i in demo.invoices()]


@pytest.mark.parametrize("proration", ["Next invoice", "Immediately", "None", "Up front"])
def test_two_more_seats_after_the_month_was_billed_are_one_difference(demo: World, proration: str) -> None:
    """August was billed for 4 seats in the morning, 6 are agreed: 174.00 in all, so 58.00 more; nothing is charged twice."""
    said = amended(demo, SEATS | {"Quantity": 2}, Proration__c=proration)
    assert said == "Changed the contract from 1 Aug 2026: Team Seat +2. Charged 58.00 EUR (174.00 EUR less 116.00 EUR billed before). See INV-0003."
    demo.bill("2026-09-01")
    assert totals(demo) == [D(116), D(116), D(58), D(174)]
    demo.assert_quiet()


def test_two_seats_less_after_the_month_was_billed_are_one_difference(demo: World) -> None:
    """Of the 116.00 billed for August 58.00 are given back; September is paid from that."""
    said = amended(demo, SEATS | {"Quantity": 2, "Line_Change__c": "Reduce"}, Proration__c="None")
    assert said == "Changed the contract from 1 Aug 2026: Team Seat −2. Credited 58.00 EUR (116.00 EUR billed before, less 58.00 EUR). See INV-0003."
    demo.bill("2026-09-01")
    assert totals(demo) == [D(116), D(116), D(-58), D(58)]
    assert D(str(demo.invoices()[-1]["Amount_Due__c"])) == 0
    demo.assert_quiet()


def test_a_discount_on_a_line_after_the_month_was_billed_charges_nothing_twice(demo: World) -> None:
    """10 % off from the day on which August was billed: 11.60 come back, where August used to be billed a second time."""
    said = amended(demo, SEATS | {"Line_Change__c": "Set", "Discount": D(10)})
    assert said == (
        "Changed the contract from 1 Aug 2026: Team Seat from now on 4 x 29.00 − 10 %."
        " Credited 11.60 EUR (116.00 EUR billed before, less 104.40 EUR). See INV-0003."
    )
    demo.bill("2026-09-01")
    assert totals(demo) == [D(116), D(116), D("-11.60"), D("104.40")]
    demo.assert_quiet()


def test_without_proration_a_deal_closed_weeks_ago_bills_no_month_twice(demo: World) -> None:
    """Closed on 15 July without proration, but read after August was billed for 4 seats: August is 6 seats, July stays as it was."""
    july = {"CloseDate": date(2026, 7, 15), "Billing_Effective_Date__c": date(2026, 7, 15)}
    amended(demo, SEATS | {"Quantity": 2}, Proration__c="None", **july)
    demo.bill("2026-09-01")
    assert totals(demo) == [D(116), D(116), D(58), D(174)]
    demo.assert_quiet()


def test_a_difference_that_waits_is_told_as_one(demo: World) -> None:
    """Closed on 5 August for the next invoice: the difference of 58.00 comes with September's 174.00; the rep reads it before and after."""
    billed(demo)
    demo.bill("2026-08-05")
    amendment(demo, "later", "base", SEATS | {"Quantity": 2}, CloseDate=date(2026, 8, 5), Billing_Effective_Date__c=AUGUST, Proration__c="Next invoice")
    demo.sync()
    said = "Changed the contract from 1 Aug 2026: Team Seat +2. Charged 58.00 EUR (174.00 EUR less 116.00 EUR billed before)."
    assert demo.said("later")[1] == f"{said} It comes with the next invoice."
    demo.bill("2026-09-01")
    assert demo.said("later")[1] == f"{said} See INV-0003. Past due: INV-0001, 116.00 EUR, was due 30 Aug."
    assert totals(demo) == [D(116), D(116), D(232)]


# ---------------------------------------------------------------- what the deals say whose invoices a change leaves open


def test_a_canceled_deal_names_what_is_still_to_be_paid(demo: World) -> None:
    """Canceled on 10 July with a credit of 22 of 31 days: the credit is no invoice "paid", and the July invoice stays open."""
    billed_july(demo)
    demo.clock.move_to(at("2026-07-10"))
    day = {"CloseDate": date(2026, 7, 10), "Billing_Effective_Date__c": date(2026, 7, 10)}
    amendment(demo, "end", "base", Billing_Action__c="Cancel", Proration__c="Immediately", **day)
    demo.sync()
    demo.bill()
    assert demo.said("end")[1] == "Canceled, ended on 9 Jul 2026. Credited 82.32 EUR. See INV-0002."
    said = "Canceled, ended on 9 Jul 2026. INV-0002 credits 82.32 EUR to the customer's balance. INV-0001, 116.00 EUR, is open, due 30 Aug."
    assert demo.said("base")[1].startswith(said)


def test_an_invoice_paid_in_part_says_what_is_left(demo: World) -> None:
    """100.00 of 116.00 arrived: the rep reads the invoice and the 16.00 that are left."""
    billed_july(demo)
    row = demo.invoices()[0]["Id"]
    demo.edit(row, "Billing_Invoice__c", Payment_Received__c=D(100))
    demo.sync()
    assert demo.said("base")[1].startswith("Billing since 1 Jul 2026. INV-0001, 116.00 EUR, is open, due 30 Aug; 16.00 EUR of it is left to pay.")
    demo.assert_quiet()


def test_in_french_a_quote_and_what_is_billed_through_it_are_said_in_french(demo: World) -> None:
    """A month ends in one point, the first is "1er", and the record whose terms differ says what bills it and what to do."""
    demo.config = replace(demo.config, crm=replace(demo.config.crm, language="fr"))
    demo.deal("deal", SEATS, account="acme", CloseDate=date(2026, 7, 1))
    demo.quote("offer", "deal", SEATS | {"Quantity": 3})
    demo.sync()
    assert demo.said("offer", "Quote")[1].startswith("Le devis Q-00001 peut être accepté jusqu'au 31 juil. 87,00 EUR à payer le 1er juil., puis ")
    demo.edit("offer", "Quote", Status="Accepted")
    demo.win("deal")
    demo.sync()
    status, message = demo.said("deal")
    assert status == "Needs attention"
    assert message.replace("\u202f", " ") == (
        "Facturé par le devis Q-00001, dont les conditions valent : 1 044,00 EUR là, 1 392,00 EUR ici."
        " Mettez cette fiche en accord, ou clôturez une affaire Amend avec la différence."
    )


def test_a_canceled_line_is_told_by_its_name_and_its_own_day(demo: World) -> None:
    """Support is canceled on 20 July at the end of the period: the rep reads its name, and that it ends with July."""
    demo.deal("base", SEATS, {"product": "support", "UnitPrice": "50.00"}, account="acme", StageName="Closed Won", CloseDate=date(2026, 7, 1))
    demo.sync()
    demo.bill("2026-07-20")
    day = {"CloseDate": date(2026, 7, 20), "Billing_Effective_Date__c": None, "Proration__c": None}
    line = {"product": "support", "UnitPrice": "50.00"}
    amendment(demo, "less", "base", line, Billing_Action__c="Cancel", Cancel_When__c="End of period", **day)
    demo.sync()
    assert demo.said("less")[1] == "Will change the contract on 1 Aug 2026: Premium Support ended."


def test_a_credit_that_waits_is_told_also_where_nothing_takes_the_lines_place(demo: World) -> None:
    """Support is removed on 20 July for the next invoice: 12 of 31 days of 50.00 wait for it, and the rep reads that."""
    demo.deal("base", SEATS, {"product": "support", "UnitPrice": "50.00"}, account="acme", StageName="Closed Won", CloseDate=date(2026, 7, 1))
    demo.sync()
    demo.bill("2026-07-20")
    day = {"CloseDate": date(2026, 7, 20), "Billing_Effective_Date__c": date(2026, 7, 20), "Proration__c": "Next invoice"}
    amendment(demo, "less", "base", {"product": "support", "UnitPrice": "50.00", "Line_Change__c": "Remove"}, **day)
    demo.sync()
    assert demo.said("less")[1] == "Changed the contract from 20 Jul 2026: Premium Support ended. Credited 19.35 EUR. It comes with the next invoice."
