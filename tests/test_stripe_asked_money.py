"""Money that people move on Stripe: one-off invoices, credit notes, refunds, balances; each once, and the same on both sides."""

from __future__ import annotations

from decimal import Decimal

import pytest
from stripe_asking import asked, at_stripe, demo, keep, number_of, pay_at_stripe, state_of
from stripe_world import StripeWorld

from connector.lookalike.stripe.machine import control

__all__ = ["demo"]


@pytest.mark.parametrize("fault", ["cut_after", "error_after", "cut_before", "lock_timeout"])
def test_an_answer_that_got_lost_does_it_once(demo: StripeWorld, fault: str) -> None:
    """Whatever happens to the call, the one-off invoice is one, and who asked gets its number."""
    demo.stripe_server.faults.add(fault, method="POST", path="/v1/invoices$", times=1)
    key = keep(demo, "invoice.create", account="Vega", currency="eur", lines=[{"description": "Training", "quantity": 2, "unit_amount": "15000"}])
    for _ in range(6):
        demo.sync()
        if not state_of(demo, key).is_waiting:
            break
        demo.clock.move_to(demo.clock.now().replace(minute=demo.clock.now().minute + 5))
    done = state_of(demo, key)
    assert done.state == "done", done.result
    assert (done.result["total"], done.result["status"]) == (30_000, "open")
    made = [i for i in demo.objects("invoice") if i["billing_reason"] == "manual"]
    assert [(i["total"], i["status"], i["number"]) for i in made] == [(30_000, "open", done.result["number"])]


def test_a_one_off_invoice_bears_the_lines_as_asked(demo: StripeWorld) -> None:
    """Each line is an item with its quantity and tax; the books show the same, and a file of the same id is issued once."""
    lines = [{"description": "Training", "quantity": 2, "unit_amount": "15000", "tax": "20"}, {"description": "Travel", "unit_amount": "4990"}]
    done = asked(demo, "invoice.create", account="Vega", currency="eur", lines=lines, days_until_due=14, memo="Thank you")
    assert done.state == "done", done.result
    made = at_stripe(demo, str(done.result["number"]))
    assert (made["total"], made["description"], made["due_date"] - made["effective_at"]) == (40_990, "Thank you", 14 * 86_400)
    assert sorted((n["quantity"], n["amount"]) for n in made["lines"]["data"]) == [(1, 4_990), (2, 30_000)]
    shown = demo.invoice_lines(str(done.result["number"]))
    assert sorted((description, amount) for description, _, _, _, amount in shown) == [("Training", 30_000), ("Travel", 4_990)]


def _pays_unseen(demo: StripeWorld, number: str) -> None:
    """Pay an invoice on Stripe's page; nobody has read that back yet."""
    with demo.stripe.lock:
        control.pay(demo.stripe, at_stripe(demo, number)["id"])


def test_money_from_outside_for_an_invoice_that_the_customer_has_just_paid(demo: StripeWorld) -> None:
    """A transfer is recorded a minute after the card was charged: it is refused, as for any paid invoice, and no transfer stands in the books."""
    number = number_of(demo)
    _pays_unseen(demo, number)
    done = asked(demo, "invoice.pay", invoice=number, method="bank_transfer", reference="T-1")
    assert (done.state, done.result.get("code")) == ("refused", "invoice-not-open"), done.result
    assert done.result["message"] == f"{number} is paid; only an open invoice takes a payment."
    assert demo.query("SELECT amount, method FROM payment") == [(40_000, "stripe")]


def test_a_payment_typed_for_an_invoice_that_the_customer_has_just_paid(demo: StripeWorld) -> None:
    """Typed on the row in the CRM it is not said to be recorded: finance reads that the invoice is paid already."""
    number = number_of(demo)
    _pays_unseen(demo, number)
    (row,) = demo.invoices()
    demo.edit(row["Id"], "Billing_Invoice__c", Payment_Received__c=Decimal("400.00"), Payment_Received_On__c="2026-01-01")
    demo.sync()
    demo.sync()
    assert demo.record(row["Id"], "Billing_Invoice__c")["Payment_Message__c"].startswith(f"Not recorded: {number} is paid already.")
    assert demo.query("SELECT amount, method FROM payment") == [(40_000, "stripe")]


def test_two_payments_at_once_take_no_more_than_is_open(demo: StripeWorld) -> None:
    """300.00 of 400.00 are recorded twice before the first is at Stripe: the second waits for it, and is refused for the 100.00 that are left."""
    number = number_of(demo)
    first, second = (keep(demo, "invoice.pay", invoice=number, amount=30_000, method="bank_transfer", reference=r) for r in ("A", "B"))
    demo.sync()
    assert (state_of(demo, first).state, state_of(demo, second).state) == ("done", "pending")
    demo.sync()
    late = state_of(demo, second)
    assert (late.state, late.result["code"]) == ("refused", "bad-amount"), late.result
    assert demo.query("SELECT amount, reference FROM payment") == [(30_000, "A")]
    assert at_stripe(demo, number)["amount_remaining"] == 10_000


def test_an_open_invoice_is_credited_in_part_and_by_line(demo: StripeWorld) -> None:
    """60.00 and then one of four seats are credit notes of Stripe's, which the books and the CRM show with their numbers."""
    number = number_of(demo)
    done = asked(demo, "invoice.credit", invoice=number, amount=6_000, reason="apology")
    assert done.state == "done", done.result
    assert (done.result["total"], done.result["reduced"], done.result["open"]) == (6_000, 6_000, 34_000)
    by_line = asked(demo, "invoice.credit", invoice=number, lines=[{"line": 1, "quantity": "1"}], reason="one seat")
    assert by_line.state == "done", by_line.result
    assert (by_line.result["total"], by_line.result["open"]) == (10_000, 24_000)
    notes = demo.objects("credit_note")
    assert [(n["amount"], n["memo"]) for n in notes] == [(6_000, "apology"), (10_000, "one seat")]
    assert [n["number"] for n in notes] == [done.result["note"], by_line.result["note"]]
    too_much = asked(demo, "invoice.credit", invoice=number, amount=50_000)
    assert (too_much.state, too_much.result["code"]) == ("refused", "credit-too-large")


def test_what_was_paid_at_stripe_goes_back_by_stripe(demo: StripeWorld) -> None:
    """150.00 of a paid invoice are refunded to what it was paid with; an invoice that was paid outside says where to send it back."""
    number = number_of(demo)
    pay_at_stripe(demo, number)
    done = asked(demo, "invoice.refund", invoice=number, amount=15_000, reason="late")
    assert done.state == "done", done.result
    assert (done.result["refunded"], done.result["total"], done.result["status"]) == (15_000, 15_000, "paid")
    assert [r["amount"] for r in demo.objects("refund")] == [15_000]
    demo.bill("2026-02-02")
    outside = number_of(demo)
    assert asked(demo, "invoice.pay", invoice=outside).state == "done"
    refused = asked(demo, "invoice.refund", invoice=outside)
    assert (refused.state, refused.result["code"]) == ("refused", "paid-outside")


def test_an_adjusted_balance_is_the_same_on_both_sides(demo: StripeWorld) -> None:
    """50.00 of credit stand at Stripe and in the books, and the next invoice takes them once."""
    done = asked(demo, "customer.adjust", customer="Vega", amount=-5_000, currency="eur", reason="apology")
    assert done.state == "done", done.result
    assert done.result["balance"] == -5_000
    (customer,) = demo.objects("customer")
    assert customer["balance"] == -5_000
    demo.sync()
    assert demo.query("SELECT balances FROM customer") == [('{"eur":-5000}',)]
    demo.bill("2026-02-02")
    assert (demo.invoices()[-1]["Total__c"], demo.invoices()[-1]["Amount_Due__c"]) == (400, 350)
    assert demo.objects("customer")[0]["balance"] == 0
