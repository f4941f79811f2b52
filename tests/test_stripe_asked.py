"""Requests of people that go to Stripe and come back: checked, sent once, answered from the mirrored books."""

from __future__ import annotations

from dataclasses import replace

from stripe_asking import asked, at_stripe, demo, number_of
from stripe_world import StripeWorld

from connector import app, cashier
from connector.lookalike.stripe.machine import control
from connector.web.views import PaymentForm

__all__ = ["demo"]


def test_an_invoice_is_voided_at_stripe_and_the_books_follow(demo: StripeWorld) -> None:
    """Void there, void here and in the CRM; a second time it is refused before anything is sent."""
    number = number_of(demo)
    done = asked(demo, "invoice.void", invoice=number)
    assert (done.state, dict(done.result)) == ("done", {"invoice": number, "status": "void"})
    assert at_stripe(demo, number)["status"] == "void"
    assert demo.invoices()[-1]["Status__c"] == "Void"
    pushes = len(demo.pushes())
    again = asked(demo, "invoice.void", invoice=number)
    assert (again.state, again.result["code"]) == ("refused", "already-void")
    assert len(demo.pushes()) == pushes


def test_an_invoice_is_given_up_at_stripe(demo: StripeWorld) -> None:
    """Uncollectible there and here."""
    number = number_of(demo)
    done = asked(demo, "invoice.uncollectible", invoice=number)
    assert (done.state, done.result["status"]) == ("done", "uncollectible")
    assert at_stripe(demo, number)["status"] == "uncollectible"


def test_a_payment_from_outside_is_taken_whole_with_what_is_known_of_it(demo: StripeWorld) -> None:
    """All that is open marks Stripe's invoice paid outside, with day, way and reference in the books."""
    number = number_of(demo)
    done = asked(demo, "invoice.pay", invoice=number, amount=40_000, on="2026-01-01", method="cheque", reference="CHQ 17")
    assert done.state == "done", done.result
    assert dict(done.result) == {
        "invoice": number, "amount": 40_000, "currency": "eur", "on": "2026-01-01", "open": 0, "method": "cheque", "reference": "CHQ 17",
    }  # fmt: skip
    assert (at_stripe(demo, number)["status"], demo.objects("charge")) == ("paid", [])
    assert demo.query("SELECT amount, method, reference, paid_on FROM payment") == [(40_000, "cheque", "CHQ 17", "2026-01-01")]
    assert demo.invoices()[-1]["Status__c"] == "Paid"


def test_a_payment_typed_in_the_crm_is_answered_on_its_row(demo: StripeWorld) -> None:
    """What is more than open is answered in words and stays; the whole is recorded at Stripe and the fields are cleared."""
    (row,) = demo.invoices()
    demo.edit(row["Id"], "Billing_Invoice__c", Payment_Received__c=500)
    demo.sync()
    said = demo.invoices()[0]
    assert said["Payment_Message__c"].startswith(f"Not recorded: 500.00 EUR is more than the 400.00 EUR that are open of {row['Number__c']}.")
    demo.edit(row["Id"], "Billing_Invoice__c", Payment_Received__c=400, Payment_Reference__c="SEPA 9")
    demo.sync()
    demo.sync()
    said = demo.invoices()[0]
    assert said["Payment_Message__c"].startswith("Recorded: 400.00 EUR"), said["Payment_Message__c"]
    assert said.get("Payment_Received__c") is None
    assert at_stripe(demo, str(row["Number__c"]))["status"] == "paid"


def test_what_stripe_cannot_do_says_where_to_do_it(demo: StripeWorld) -> None:
    """Another due date, an invoice issued again, one invoice for all contracts: refused, each with another way, and nothing is sent."""
    number, pushes = number_of(demo), len(demo.pushes())
    for kind, data in (
        ("invoice.due", {"invoice": number, "on": "2026-03-01"}), ("invoice.reissue", {"invoice": number, "reason": "address"}),
        ("customer.settle", {"customer": "Vega", "consolidate": "yes"}),
    ):  # fmt: skip
        refused = asked(demo, kind, **data)
        assert (refused.state, refused.result["code"]) == ("refused", "not-on-stripe")
        assert refused.result["hint"]
    assert len(demo.pushes()) == pushes


def test_what_stripe_refuses_is_told_to_who_asked(demo: StripeWorld) -> None:
    """Somebody voided the invoice in the Dashboard a moment ago: the payment is refused in plain words, and the books know why a round later."""
    number = number_of(demo)
    with demo.stripe.lock:
        control.void(demo.stripe, at_stripe(demo, number)["id"])
    refused = asked(demo, "invoice.pay", invoice=number)
    assert refused.state == "refused", refused.result
    assert "stripe" not in str(refused.result["message"]).lower()
    demo.sync()
    assert demo.invoices()[-1]["Status__c"] == "Void"


def test_a_payment_typed_in_the_console_goes_to_stripe(demo: StripeWorld) -> None:
    """Too much is refused on the form in words; a part is kept, is on its way, and then stands on the invoice's page."""
    number = number_of(demo)
    given = PaymentForm(entry="0" * 32, amount="500.00", on="2026-01-01", latest="2026-01-01", currency="EUR", method="bank_transfer", reference="SEPA 1")
    with app.writing_house(demo.config, "test", clock=demo.clock) as house:
        complaint = cashier.record(house, number, given)
        assert complaint is not None
        assert complaint.startswith("500.00 EUR is more than the 400.00 EUR that are open.")
        assert cashier.record(house, number, replace(given, amount="100.00")) == ""
        page = cashier.invoice(house, number)
        assert page is not None
        assert page.is_waiting
    demo.sync()
    with app.writing_house(demo.config, "test", clock=demo.clock) as house:
        page = cashier.invoice(house, number)
    assert page is not None
    assert [(p.what, p.detail) for p in page.payments] == [("Bank transfer", "SEPA 1")]
    assert at_stripe(demo, number)["amount_remaining"] == 30_000
