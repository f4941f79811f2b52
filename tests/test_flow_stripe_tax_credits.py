"""Where Stripe finds the tax a change's credit is a credit note on the invoice that billed the time (D-217)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from stripe_asking import asked
from stripe_world import StripeWorld, stripe_world
from test_flow_catalogue import stock
from test_flow_stripe_identity import DAY, dashboard, sold
from test_flow_stripe_tax import taxed
from world import at

from connector.lookalike.stripe.machine import control
from connector.sync.plan import preview_of

D = Decimal


def changed(made: StripeWorld, ref: str, day: str, quantity: int, **fields: Any) -> None:
    """Win an amendment by so many seats at 60.00 as of a day, and carry it out."""
    head = {"Billing_Action__c": "Amend", "Amends_Contract_Id__c": made.contracts()[0][0], "Billing_Effective_Date__c": day, "CloseDate": day}
    made.deal(ref, {"UnitPrice": "60.00", "Quantity": quantity}, account="harbor", **(head | fields))
    made.win(ref)
    made.sync()


def rows(made: StripeWorld) -> list[tuple[str, Decimal]]:
    """Return (day, total) of invoices and notes as the CRM has them."""
    return [(str(r["Issued_On__c"]), r["Total__c"]) for r in made.invoices()]


def test_fewer_seats_are_a_credit_note_on_the_invoice_that_is_still_open(tmp_path: Path) -> None:
    """One of two seats less from 4 April: 16 of 31 days are credited with their tax, what is open becomes less, and the one seat is billed anew."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        sold(made, "harbor")
        made.clock.move_to(at("2026-04-04"))
        changed(made, "fewer", "2026-04-04", -1)
        assert made.said("fewer")[0] == "Active", made.said("fewer")
        (note,) = made.objects("credit_note")
        first, second = made.objects("invoice")
        assert (note["invoice"], note["lines"]["data"][0]["amount"], note["total"], note["pre_payment_amount"]) == (first["id"], 6194, 7433, 7433)
        assert (first["amount_remaining"], second["total"]) == (14400 - 7433, 3716)
        assert rows(made) == [(DAY, D("144.00")), ("2026-04-04", D("-74.33")), ("2026-04-04", D("37.16"))]
        assert made.query("SELECT kind, amount, invoice_id LIKE 'cn_%' FROM line WHERE credits IS NOT NULL") == [("credit", -6194, 1)]
        assert made.query("SELECT invoice_id IS NULL, COUNT(*) FROM stripe_line GROUP BY 1") == [(0, 2)]
        pushed = len(made.pushes())
        made.sync()
        made.bill("2026-04-10")
        made.sync()
        assert (len(made.objects("credit_note")), len(made.pushes())) == (1, pushed)
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        assert rows(made)[-1] == ("2026-04-20", D("72.00"))
        assert not made.query("SELECT data FROM event WHERE name = 'invoice.differs'")


def paid(made: StripeWorld) -> None:
    """Have the customer pay every open invoice at Stripe."""
    with made.stripe.lock:
        for invoice in made.objects("invoice"):
            if invoice["status"] == "open":
                control.pay(made.stripe, invoice["id"])
    made.sync()


def french(made: StripeWorld) -> None:
    """Have Stripe find the tax, 20 % in France."""
    taxed(made)
    made.stripe.machine["registrations"] = {"FR": "20"}


def test_what_was_paid_goes_to_the_balance_and_the_next_invoice_takes_it(tmp_path: Path) -> None:
    """Stripe says what the note comes to with tax; all of it is credit of the customer, and the invoice that follows at once is paid from it."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        sold(made, "harbor")
        paid(made)
        made.clock.move_to(at("2026-04-04"))
        changed(made, "fewer", "2026-04-04", -1)
        (note,) = made.objects("credit_note")
        second = made.objects("invoice")[-1]
        assert (note["pre_payment_amount"], note["post_payment_amount"], second["status"], second["amount_due"]) == (0, 7433, "paid", 0)
        made.sync()
        ((balances,),) = made.query("SELECT balances FROM customer")
        assert str(7433 - 3716) in balances
        assert made.query("SELECT total, reduced, credited FROM credit_note") == [(7433, 0, 7433)]
        status, text = made.said("fewer")
        assert (status, "30.97" in text or "-30.97" in text) == ("Active", True), text


def test_plan_says_that_credits_are_credit_notes(tmp_path: Path) -> None:
    """Before anything is sent."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        sold(made, "harbor")
        made.clock.move_to(at("2026-04-04"))
        head = {"Billing_Action__c": "Amend", "Amends_Contract_Id__c": made.contracts()[0][0], "CloseDate": "2026-04-04"}
        record = made.deal("fewer", {"UnitPrice": "60.00", "Quantity": -1}, account="harbor", Billing_Effective_Date__c="2026-04-04", **head)
        made.win("fewer")
        with made.house("test") as house:
            found = preview_of(house.seam, record)
        preview = found.preview
        assert preview is not None, found
        assert preview.holding is not None
        assert "credits for unused time, as credit notes on the invoices that billed it: Team Seat (2026-04-04 to 2026-04-19)" in preview.holding.by_connector


def test_a_cancellation_gives_back_by_a_note_alone(tmp_path: Path) -> None:
    """Nothing is charged instead: the subscription ends, the note is on the open invoice, the contract is canceled, and nothing is sent again."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        sold(made, "harbor")
        made.clock.move_to(at("2026-04-04"))
        fields = {"Billing_Action__c": "Cancel", "Billing_Effective_Date__c": "2026-04-04", "Proration__c": "Immediately", "Amends_Contract_Id__c": made.contracts()[0][0]}
        made.deal("end", account="harbor", CloseDate="2026-04-04", **fields)
        made.win("end")
        made.sync()
        assert made.said("end")[0] in ("Canceled", "Active"), made.said("end")
        assert [(n["subtotal"], n["total"], n["pre_payment_amount"]) for n in made.objects("credit_note")] == [(6194, 7433, 7433)]
        assert (len(made.objects("invoice")), [s["status"] for s in made.objects("subscription")]) == (1, ["canceled"])
        pushed = len(made.pushes())
        made.bill("2026-04-25")
        made.sync()
        assert len(made.pushes()) == pushed


def test_a_second_change_credits_only_what_the_first_left(tmp_path: Path) -> None:
    """Fewer on 4 April and again on 10 April: each note takes its days; what a person may still credit of the invoice is what both left."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        made.account("harbor")
        made.deal("harbor_deal", {"UnitPrice": "60.00", "Quantity": 3}, account="harbor", CloseDate=DAY, Contract_Start_Date__c=DAY)
        made.win("harbor_deal")
        made.sync()
        for ref, day in (("fewer", "2026-04-04"), ("fewest", "2026-04-10")):
            made.clock.move_to(at(day))
            changed(made, ref, day, -1)
            assert made.said(ref)[0] == "Active", made.said(ref)
        first, second = made.objects("credit_note")
        # 180.00 x 16 of 31 days; of the 2 seats that were billed anew for 16 days (61.94), 10 days
        assert [n["subtotal"] for n in (first, second)] == [9290, 3871]
        assert [n["invoice"] for n in (first, second)] == [i["id"] for i in made.objects("invoice")[:2]]
        number = made.objects("invoice")[0]["number"]
        asking = asked(made, "invoice.credit", invoice=number, amount=21600 - first["total"] + 1)
        assert (asking.state, "is left" in str(asking.result)) == ("refused", True), asking.result
        asking = asked(made, "invoice.credit", invoice=number, amount=21600 - first["total"])
        assert asking.state == "done", asking.result
        assert made.objects("invoice")[0]["amount_remaining"] == 0


@pytest.mark.parametrize("kind", ["cut_after", "error_after"])
def test_a_note_whose_answer_is_lost_is_made_once(tmp_path: Path, kind: str) -> None:
    """Stripe made it and the answer is lost, or a failure is kept under its key: it is asked again, or found by our mark."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        sold(made, "harbor")
        made.clock.move_to(at("2026-04-04"))
        made.stripe_server.faults.add(kind, method="POST", path="/v1/credit_notes")
        changed(made, "fewer", "2026-04-04", -1)
        assert made.said("fewer")[0] == "Active", made.said("fewer")
        assert len(made.objects("credit_note")) == 1
        assert made.query("SELECT COUNT(*), SUM(amount) FROM line WHERE credits IS NOT NULL") == [(1, -6194)]


def test_inclusive_prices_are_credited_without_the_tax_inside(tmp_path: Path) -> None:
    """Of 120.00 a month, tax included, 16 of 31 days are 61.94 with their tax: the note takes exactly that."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        stock(made, "currency: eur\nprices:\n  gross: {unit_amount: 6000, recurring: {interval: month}, tax_behavior: inclusive}\n")
        made.add("Product2", "gross", Name="Gross", ProductCode="GROSS", IsActive=True, Charge_Type__c="Recurring", Billing_Price__c="gross")
        made.add("PricebookEntry", "gross_entry", Pricebook2Id="@standard", Product2Id="@gross", UnitPrice=D("60.00"), IsActive=True)
        made.account("harbor")
        made.deal("harbor_deal", {"product": "gross", "UnitPrice": "60.00", "Quantity": 2}, account="harbor", CloseDate=DAY, Contract_Start_Date__c=DAY)
        made.win("harbor_deal")
        made.sync()
        assert made.objects("invoice")[0]["total"] == 12000
        made.clock.move_to(at("2026-04-04"))
        head = {"Billing_Action__c": "Amend", "Amends_Contract_Id__c": made.contracts()[0][0], "Billing_Effective_Date__c": "2026-04-04", "CloseDate": "2026-04-04"}
        made.deal("fewer", {"product": "gross", "UnitPrice": "60.00", "Quantity": -1}, account="harbor", **head)
        made.win("fewer")
        made.sync()
        assert made.said("fewer")[0] == "Active", made.said("fewer")
        (note,) = made.objects("credit_note")
        assert (note["total"], sum(t["amount"] for t in note["total_taxes"])) == (6194, 1032)
        assert made.query("SELECT amount FROM line WHERE credits IS NOT NULL") == [(-6194,)]


def test_what_no_note_can_give_back_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """A line with a negative price: neither an item nor a credit note of what was billed."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        made.account("harbor")
        made.deal("odd", {"UnitPrice": "60.00", "Quantity": 2}, {"product": "setup", "UnitPrice": "-20.00"}, account="harbor", CloseDate=DAY, Contract_Start_Date__c=DAY)
        made.win("odd")
        made.sync()
        status, text = made.said("odd")
        assert (status, "price below zero" in text, "discount" in text) == ("Needs attention", True, True), text
        assert made.pushes() == []


def test_a_voided_note_is_not_made_again(tmp_path: Path) -> None:
    """Somebody voids it in the Dashboard: the invoice is due again, and nothing undoes that behind their back."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        sold(made, "harbor")
        made.clock.move_to(at("2026-04-04"))
        changed(made, "fewer", "2026-04-04", -1)
        dashboard(made, "credit_notes.void_credit_note", made.objects("credit_note")[0]["id"])
        made.sync()
        made.bill("2026-04-06")
        made.sync()
        assert [n["status"] for n in made.objects("credit_note")] == ["void"]
        assert made.objects("invoice")[0]["amount_remaining"] == 14400


def test_what_was_voided_is_not_credited(tmp_path: Path) -> None:
    """Nothing is owed of a voided period, so that fewer seats give nothing back of it: no note, and no charge for what runs instead."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        sold(made, "harbor")
        dashboard(made, "invoices.void_invoice", made.objects("invoice")[0]["id"])
        made.sync()
        made.clock.move_to(at("2026-04-04"))
        changed(made, "fewer", "2026-04-04", -1)
        assert made.said("fewer")[0] == "Active", made.said("fewer")
        assert (made.objects("credit_note"), len(made.objects("invoice"))) == ([], 1)


def test_a_credit_that_somebody_asks_for_names_lines(tmp_path: Path) -> None:
    """Half of a paid invoice by amount, and a refund of the rest: Stripe finds the tax of either by its lines, and what goes back is what it says."""
    with stripe_world(tmp_path, day=DAY) as made:
        french(made)
        sold(made, "harbor")
        paid(made)
        number = made.objects("invoice")[0]["number"]
        half = asked(made, "invoice.credit", invoice=number, amount=7200, credit="all")
        assert (half.state, half.result["total"], half.result["credited"]) == ("done", 7200, 7200), half.result
        rest = asked(made, "invoice.refund", invoice=number)
        assert (rest.state, rest.result["total"], rest.result["refunded"]) == ("done", 7200, 7200), rest.result
        assert [sum(t["amount"] for t in n["total_taxes"]) for n in made.objects("credit_note")] == [1200, 1200]
