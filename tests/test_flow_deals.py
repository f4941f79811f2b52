"""The seed company's story, end to end: what reps close in the CRM becomes contracts and invoices, and the CRM says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from world import World, world


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


D = Decimal


def test_a_won_deal_becomes_a_contract_and_an_invoice_and_the_crm_says_so(demo: World) -> None:
    """Acme's 10 seats at 29.00 are billed 290.00 at once; every output field of the opportunity is filled."""
    demo.win("acme_seats")
    tally = demo.sync()
    record = demo.record("acme_seats")
    ((contract, deal, status),) = demo.contracts()
    assert (deal, status) == (demo.ids["acme_seats"], "active")
    shown = {name: value for name, value in record.items() if name.endswith("__c")}
    assert shown["Billing_Contract_Id__c"] == contract
    assert (shown["Billing_Status__c"], shown["Last_Invoice_Number__c"], shown["Last_Invoice_Status__c"]) == ("Active", "INV-0001", "Open")
    assert shown["Billing_Message__c"] == "Billing since 1 Jan 2026. INV-0001, 290.00 EUR, is open, due 31 Jan. Next invoice 1 Feb."
    assert (shown["Amount_Billed__c"], shown["Amount_Paid__c"], shown["Amount_Due__c"]) == (D(290), D(0), D(290))
    assert (shown["Contract_Value__c"], shown["Annual_Value__c"]) == (D(3480), D(3480))
    assert (shown["Next_Invoice_Date__c"], shown["Next_Invoice_Amount__c"]) == ("2026-02-01", D(290))
    assert (shown["Contract_Starts_On__c"], shown["Contract_Ends_On__c"]) == ("2026-01-01", "2026-12-31")
    assert (tally.applied, tally.parked, tally.problems) == (1, 0, [])
    (row,) = demo.invoices()
    assert shown["Last_Invoice_URL__c"] == row["URL__c"]
    assert row["URL__c"].startswith(f"{demo.config.web.public_url}/i/")
    assert (row["Opportunity__c"], row["Account__c"], row["Contract_Id__c"]) == (deal, demo.ids["acme"], contract)
    assert (row["Total__c"], row["Amount_Due__c"], row["Amount_Paid__c"], row["Currency__c"]) == (D(290), D(290), D(0), "EUR")
    assert (row["Status__c"], row["Type__c"], row["Issued_On__c"], row["Due_On__c"]) == ("Open", "Invoice", "2026-01-01", "2026-01-31")
    assert demo.record("acme", "Account")["Billing_Customer_Id__c"]
    demo.assert_quiet()


def test_the_demo_companys_first_day(demo: World) -> None:
    """Four deals are billed 290, 24,000, 14,500 and 450; each has one invoice row; the amounts of the CRM add up to the books."""
    names = {"acme_seats": D(290), "borealis_ramp": D(24000), "cobalt_licence": D(14500), "everest_support": D(450)}
    demo.win(*names)
    demo.sync()
    assert {n: demo.record(n)["Amount_Billed__c"] for n in names} == names
    assert {r["Opportunity__c"]: r["Total__c"] for r in demo.invoices()} == {demo.ids[n]: v for n, v in names.items()}
    assert [r["Number__c"] for r in demo.invoices()] == ["INV-0001", "INV-0002", "INV-0003", "INV-0004"]
    assert demo.query("SELECT SUM(total) FROM invoice") == [(3924000,)]
    assert demo.record("borealis_ramp")["Contract_Value__c"] == D("140400")  # 50 x 480 + 100 x 480 + 150 x 456
    assert demo.record("everest_support")["Contract_Ends_On__c"] is None
    assert demo.record("everest_support")["Contract_Value__c"] == D(5400)  # open-ended: 12 months
    demo.assert_quiet()


def test_half_a_year_of_billing_runs(demo: World) -> None:
    """Every month has one invoice; a run on the same day, or a second run, adds nothing; the CRM follows each time."""
    demo.win("acme_seats")
    demo.sync()
    for month in range(2, 7):
        billed, _ = demo.bill(f"2026-{month:02d}-01")
        assert (billed.invoices, billed.lines) == (1, 1)
        again, _ = demo.bill()
        assert (again.invoices, again.lines) == (0, 0)
    record = demo.record("acme_seats")
    assert record["Amount_Billed__c"] == D(1740)
    assert record["Last_Invoice_Number__c"] == "INV-0006"
    assert record["Billing_Status__c"] == "Past due"
    assert record["Billing_Message__c"].startswith("Past due: INV-0001, 290.00 EUR, was due 31 Jan.")
    assert len(demo.invoices()) == 6
    demo.assert_quiet()


def test_missed_months_are_one_invoice_with_a_line_each(demo: World) -> None:
    """A deal won in January but seen in April is one invoice of four lines, dated when it is made (decision D-14)."""
    demo.win("acme_seats")
    demo.clock.move_to(demo.clock.now().replace(month=4, day=2))
    demo.sync()
    (row,) = demo.invoices()
    assert (row["Total__c"], row["Issued_On__c"], row["Due_On__c"]) == (D(1160), "2026-04-02", "2026-05-02")
    assert demo.lines() == 4


def test_a_deal_without_an_e_mail_says_why_and_heals_by_itself(demo: World) -> None:
    """Fjord's deal needs attention and names the two fields; filling the account's Billing Email bills it at the next sync."""
    demo.win("fjord_seats")
    tally = demo.sync()
    assert (tally.parked, tally.applied) == (1, 0)
    assert demo.said("fjord_seats") == (
        "Needs attention",
        (
            "Not billed: no billing e-mail. Fill Billing Contact on this opportunity or Billing Email on the account; it is tried"
            " again by itself."
        ),
    )
    assert demo.record("fjord_seats")["Billing_Contract_Id__c"] is None
    assert demo.contracts() == []
    demo.assert_quiet()
    demo.edit("fjord", "Account", Billing_Email__c="billing@fjord.example")
    tally = demo.sync()
    assert (tally.parked, tally.applied) == (0, 1)
    assert demo.said("fjord_seats")[0] == "Active"
    assert demo.record("fjord_seats")["Amount_Billed__c"] == D(116)
    demo.assert_quiet()


def test_a_deal_without_an_e_mail_also_heals_by_a_billing_contact(demo: World) -> None:
    """A contact whose e-mail comes later heals the deal that names it."""
    demo.win("fjord_seats")
    demo.edit("fjord_seats", Billing_Contact__c=demo.ids["fjord_contact"])
    assert demo.sync().parked == 1
    demo.edit("fjord_contact", "Contact", Email="ingrid@fjord.example")
    assert demo.sync().parked == 0
    assert demo.said("fjord_seats")[0] == "Active"
    assert demo.query("SELECT email FROM customer") == [("ingrid@fjord.example",)]


def test_a_mid_month_upgrade_is_prorated_by_days(demo: World) -> None:
    """5 more seats from 15 March: the paid 10 seats of 17 days are credited (159.03) and 15 seats charged (238.55)."""
    demo.win("acme_seats")
    demo.sync()
    demo.bill("2026-03-01")
    demo.clock.move_to(demo.clock.now().replace(day=15))
    demo.win("acme_upgrade")
    demo.sync()
    number = demo.invoices()[-1]["Number__c"]
    assert [(line[1], line[4]) for line in demo.invoice_lines(number)] == [("10", -15903), ("15", 23855)]
    upgrade = demo.record("acme_upgrade")
    assert upgrade["Billing_Contract_Id__c"] == demo.record("acme_seats")["Billing_Contract_Id__c"]
    assert (upgrade["Amount_Billed__c"], upgrade["Amount_Due__c"]) == (None, None)
    said = f"Changed the contract from 15 Mar 2026: Team Seat +5. Charged 79.52 EUR (238.55 EUR less 159.03 EUR billed before). See {number}."
    assert upgrade["Billing_Message__c"] == f"{said} Past due: INV-0001, 290.00 EUR, was due 31 Jan."
    assert demo.record("acme_seats")["Amount_Billed__c"] == D("949.52")  # January, February + March together, the upgrade
    demo.bill("2026-04-01")
    assert demo.invoices()[-1]["Total__c"] == D(435)
    demo.assert_quiet()


def test_a_cancellation_bills_up_to_its_day_and_nothing_after(demo: World) -> None:
    """Everest's support ends on 1 May: April is billed, May is not, and both records say so."""
    demo.win("everest_support")
    demo.sync()
    demo.clock.move_to(demo.clock.now().replace(month=4, day=1))
    demo.edit("everest_cancel", StageName="Closed Won", Proration__c="None")
    demo.sync()
    demo.bill("2026-04-01")
    for day in ("2026-05-01", "2026-06-01", "2026-07-01"):
        billed, _ = demo.bill(day)
        assert billed.invoices == 0
    assert demo.record("everest_support")["Amount_Billed__c"] == D(1800)
    status, message = demo.said("everest_support")
    assert status == "Canceled"
    assert "30 Apr 2026" in message
    assert demo.record("everest_support")["Next_Invoice_Date__c"] is None
    assert demo.record("everest_support")["Contract_Ends_On__c"] == "2026-04-30"
    demo.assert_quiet()


def test_a_cancellation_on_the_first_day_of_a_period_needs_no_word_about_unused_time(demo: World) -> None:
    """1 May falls on the end of a period, so that nothing is paid for and unused; Proration may stay blank (deals.md 3)."""
    demo.win("everest_support")
    demo.sync()
    demo.clock.move_to(demo.clock.now().replace(month=4, day=1))
    demo.edit("everest_cancel", StageName="Closed Won", Proration__c=None)
    demo.sync()
    assert demo.said("everest_cancel")[0] != "Needs attention", demo.said("everest_cancel")[1]


def test_a_cancellation_inside_a_period_must_say_what_becomes_of_unused_time(demo: World) -> None:
    """Without Proration a mid-period cancellation is not carried out, and its record says which field to fill."""
    demo.win("everest_support")
    demo.sync()
    demo.clock.move_to(demo.clock.now().replace(month=4, day=1))
    demo.edit("everest_cancel", StageName="Closed Won", Billing_Effective_Date__c="2026-04-16", Proration__c=None)
    demo.sync()
    status, message = demo.said("everest_cancel")
    assert status == "Needs attention"
    assert "Proration" in message
    demo.edit("everest_cancel", Proration__c="Immediately")
    demo.sync()
    demo.bill("2026-04-16")
    assert demo.said("everest_support")[0] == "Canceled"
    assert demo.record("everest_support")["Amount_Billed__c"] == D(1575)  # four months less half of April
    demo.assert_quiet()


def test_a_cancellation_at_the_end_of_the_period(demo: World) -> None:
    """End of period, closed on 10 April: the month that runs is the last one."""
    demo.win("everest_support")
    demo.sync()
    demo.clock.move_to(demo.clock.now().replace(month=4, day=10))
    demo.edit(
        "everest_cancel", StageName="Closed Won", CloseDate="2026-04-10", Billing_Effective_Date__c=None, Cancel_When__c="End of period"
    )
    demo.sync()
    demo.bill("2026-06-01")
    assert demo.said("everest_cancel")[0] != "Needs attention", demo.said("everest_cancel")[1]
    assert demo.record("everest_support")["Contract_Ends_On__c"] == "2026-04-30"
    assert demo.record("everest_support")["Amount_Billed__c"] == D(1800)


def test_a_trial_is_free_and_its_end_becomes_the_anchor_or_the_first_charge(demo: World) -> None:
    """Gaia's 14 free days: Trialing, nothing billed; the first invoice comes when the trial ends."""
    demo.win("gaia_trial")
    demo.sync()
    status, message = demo.said("gaia_trial")
    assert status == "Trialing"
    assert demo.record("gaia_trial")["Amount_Billed__c"] == D(0)
    assert demo.record("gaia_trial")["Next_Invoice_Date__c"] == "2026-01-15"
    assert "15 Jan" in message
    billed, _ = demo.bill("2026-01-15")
    assert billed.invoices == 1
    assert demo.said("gaia_trial")[0] == "Active"
    demo.assert_quiet()


def test_a_deal_wide_discount_stands_on_every_line(demo: World) -> None:
    """Helios has 10 % off 3,600.00 and 3 x 255.00 a quarter: 3,928.50."""
    demo.win("helios_discount")
    demo.sync()
    assert demo.record("helios_discount")["Amount_Billed__c"] == D("3928.50")
    assert demo.record("helios_discount")["Contract_Value__c"] == D("15714.00")


def test_a_deal_of_next_month_is_scheduled(demo: World) -> None:
    """A contract that starts later is made at once, says when it starts, and is first billed on that day."""
    demo.deal("later", {}, Contract_Start_Date__c=date(2026, 2, 15), StageName="Closed Won")
    demo.sync()
    assert demo.said("later")[0] == "Scheduled"
    assert demo.record("later")["Amount_Billed__c"] == D(0)
    assert demo.record("later")["Next_Invoice_Date__c"] == "2026-02-15"
    assert demo.record("later")["Next_Invoice_Amount__c"] == D(100)
    assert demo.bill("2026-02-14")[0].invoices == 0
    assert demo.bill("2026-02-15")[0].invoices == 1
    assert demo.said("later")[0] == "Active"


def test_an_amount_alone_is_never_billed(demo: World) -> None:
    """A won New deal without a line needs attention; adding a product heals it."""
    demo.deal("empty", Amount=D(5000), StageName="Closed Won")
    demo.sync()
    status, message = demo.said("empty")
    assert status == "Needs attention"
    assert "product" in message
    demo.line("one", "empty")
    demo.sync()
    assert demo.said("empty")[0] == "Active"
    assert demo.record("empty")["Amount_Billed__c"] == D(100)


def test_an_open_deal_is_no_deal(demo: World) -> None:
    """Nothing is written on an opportunity that was never won, nor on a lost one; only the quotes are priced."""
    demo.edit("gaia_trial", StageName="Closed Lost")
    tally = demo.sync()
    assert (tally.applied, tally.written) == (0, len(list(demo.org.rows("Quote"))))
    assert demo.said("gaia_trial") == (None, "")
    demo.assert_quiet()


def test_the_term_ends_and_the_deal_is_completed(demo: World) -> None:
    """After twelve invoices nothing more is billed; the record shows Completed and the last day."""
    demo.win("acme_seats")
    demo.sync()
    demo.bill("2026-12-01")
    demo.bill("2027-01-01")
    assert demo.bill("2027-02-01")[0].invoices == 0
    assert demo.said("acme_seats")[0] == "Completed"
    assert demo.record("acme_seats")["Amount_Billed__c"] == D(3480)
    assert demo.record("acme_seats")["Next_Invoice_Date__c"] is None
    demo.assert_quiet()


def test_a_renewal_goes_on_with_the_same_contract(demo: World) -> None:
    """Cobalt's renewal adds 5 % for another year from 1 January 2027, on the same contract; the first deal is Completed."""
    demo.edit("cobalt_licence", Auto_Renew__c=False)
    demo.win("cobalt_licence")
    demo.sync()
    demo.clock.move_to(demo.clock.now().replace(month=12, day=1))
    demo.win("cobalt_renewal")
    demo.sync()
    assert demo.said("cobalt_renewal")[0] == "Scheduled", demo.said("cobalt_renewal")
    demo.bill("2027-01-01")
    old, new = demo.record("cobalt_licence"), demo.record("cobalt_renewal")
    assert old["Billing_Contract_Id__c"] == new["Billing_Contract_Id__c"]
    assert (old["Billing_Status__c"], old["Amount_Billed__c"]) == ("Completed", D(14500))
    assert old["Billing_Message__c"].startswith("Completed: renewed by Cobalt licence renewal.")
    assert (new["Billing_Status__c"], new["Amount_Billed__c"]) == ("Active", D(12600))
    assert demo.invoices()[-1]["Opportunity__c"] == demo.ids["cobalt_renewal"]
    demo.assert_quiet()
