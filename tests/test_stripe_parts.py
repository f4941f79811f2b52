"""Invoices that are paid in parts: from outside as reported, by several cards, more than an answer shows at once; each part once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from stripe_asking import asked, at_stripe, demo, keep, number_of, state_of
from stripe_world import StripeWorld, stripe_world
from test_stripe_reading import DAY, books, deed, log, payments, replay, started

__all__ = ["demo"]


def test_a_part_from_outside_is_a_payment_record(demo: StripeWorld) -> None:
    """100.00 of 400.00 by cheque leave 300.00 open at Stripe and here; the rest marks the invoice as paid; each with its day and reference."""
    number = number_of(demo)
    part = asked(demo, "invoice.pay", invoice=number, amount=10_000, on="2025-12-30", method="cheque", reference="CHQ 17")
    assert part.state == "done", part.result
    assert dict(part.result) == {
        "invoice": number, "amount": 10_000, "currency": "eur", "on": "2025-12-30", "open": 30_000, "method": "cheque", "reference": "CHQ 17",
    }  # fmt: skip
    (record,) = demo.objects("payment_record")
    assert record["processor_details"] == {"type": "custom", "custom": {"payment_reference": "CHQ 17"}}
    assert record["payment_method_details"]["custom"] == {"display_name": "Cheque"}
    there = at_stripe(demo, number)
    assert (there["status"], there["amount_paid"], there["amount_remaining"]) == ("open", 10_000, 30_000)
    assert (demo.invoices()[-1]["Amount_Paid__c"], demo.invoices()[-1]["Status__c"]) == (100, "Open")
    rest = asked(demo, "invoice.pay", invoice=number, on="2026-01-01", method="bank_transfer", reference="SEPA 9")
    assert (rest.state, rest.result["amount"], rest.result["open"]) == ("done", 30_000, 0)
    assert demo.query("SELECT amount, method, reference, paid_on FROM payment ORDER BY amount") == [
        (10_000, "cheque", "CHQ 17", "2025-12-30"), (30_000, "bank_transfer", "SEPA 9", "2026-01-01"),
    ]  # fmt: skip
    assert (at_stripe(demo, number)["status"], demo.invoices()[-1]["Status__c"]) == ("paid", "Paid")
    replay(demo)
    assert demo.query("SELECT COUNT(*) FROM payment") == [(2,)]


def test_a_part_typed_in_the_crm_is_recorded_on_its_row(demo: StripeWorld) -> None:
    """100.00 typed on the row are recorded at Stripe, the fields cleared, and the row says what is still open."""
    (row,) = demo.invoices()
    demo.edit(row["Id"], "Billing_Invoice__c", Payment_Received__c=100, Payment_Reference__c="SEPA 9")
    demo.sync()
    demo.sync()
    said = demo.invoices()[0]
    assert said["Payment_Message__c"] == f"Recorded: 100.00 EUR, received on 1 Jan 2026, reference SEPA 9. 300.00 EUR of {row['Number__c']} is still open."
    assert said.get("Payment_Received__c") is None
    assert at_stripe(demo, str(row["Number__c"]))["amount_remaining"] == 30_000


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_payment_that_stripe_refuses_says_why_on_its_row(tmp_path: Path, language: str) -> None:
    """The invoice was voided in the Dashboard a moment ago: the row says so, in the language of the CRM, not that something went wrong."""
    with stripe_world(tmp_path) as made:
        made.config = replace(made.config, crm=replace(made.config.crm, language=language))
        made.account("vega")
        made.deal("seats", {"Quantity": 4}, account="vega", StageName="Closed Won")
        made.sync()
        (row,) = made.invoices()
        made.edit(row["Id"], "Billing_Invoice__c", Payment_Received__c=100)
        known = len(made.stripe.events)
        deed(made, "void", invoice=at_stripe(made, str(row["Number__c"]))["id"])
        del made.stripe.events[known:]  # it is not heard of before the payment goes out
        made.sync()
        made.sync()
        said = str(made.invoices()[0]["Payment_Message__c"])
        expected = {"en": "Not recorded: The invoice", "fr": "Non enregistré : La facture"}[language]
        assert said.startswith(expected), said
        assert "went wrong" not in said
        assert made.query("SELECT COUNT(*) FROM payment") == [(0,)]


@pytest.mark.parametrize("fault", ["cut_after", "error_after", "cut_before"])
@pytest.mark.parametrize("path", ["/v1/payment_records/report_payment", "/attach_payment"])
def test_a_lost_answer_records_a_part_once(demo: StripeWorld, fault: str, path: str) -> None:
    """Whatever is lost on the way, one part is credited once."""
    number = number_of(demo)
    demo.stripe_server.faults.add(fault, method="POST", path=path, times=1)
    key = keep(demo, "invoice.pay", invoice=number, amount=10_000)
    for _ in range(6):
        demo.sync()
        if not state_of(demo, key).is_waiting:
            break
        demo.clock.move_to(demo.clock.now().replace(minute=demo.clock.now().minute + 5))
    assert state_of(demo, key).state == "done", state_of(demo, key).result
    assert at_stripe(demo, number)["amount_paid"] == 10_000
    assert demo.query("SELECT amount FROM payment") == [(10_000,)]


def test_an_invoice_paid_by_many_cards(tmp_path: Path) -> None:
    """Twelve part payments, two more than an answer shows, are twelve payments; refunds and disputes of any of them find the invoice."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        for n in range(12):
            deed(made, "pay", invoice=invoice["id"], amount=1_000)
            if n == 5:
                made.sync()
                assert made.said("harbor_deal")[0] == "Active"
        made.sync()
        assert books(made) == [("paid", 12_000, 0)]
        assert [p[0] for p in payments(made)] == [1_000] * 12
        first = made.objects("charge")[0]["id"]
        deed(made, "refund", invoice=invoice["id"], charge=first, amount=400)
        made.sync()
        assert books(made) == [("paid", 11_600, 0)]
        dispute = deed(made, "dispute", invoice=invoice["id"], charge=made.objects("charge")[1]["id"])
        made.sync()
        assert made.said("harbor_deal")[1].startswith("A payment of this contract is disputed")
        deed(made, "dispute-closed", dispute=dispute["id"], won=False)
        made.sync()
        assert made.said("harbor_deal")[1].startswith("A disputed payment of this contract was lost")
        assert books(made) == [("paid", 10_600, 0)]
        replay(made)
        assert books(made) == [("paid", 10_600, 0)]
        assert "payment.charged_back" in log(made)
        number = str(made.invoices()[0]["Number__c"])
        asked_back = asked(made, "invoice.refund", invoice=number, amount=500)
        assert (asked_back.state, asked_back.result["code"]) == ("refused", "paid-in-parts")


def test_an_invoice_with_many_lines_is_read_whole(demo: StripeWorld) -> None:
    """120 lines, more than a page, stand in the books each once."""
    lines = [{"description": f"Item {n}", "unit_amount": str(100 + n)} for n in range(120)]
    done = asked(demo, "invoice.create", account="Vega", currency="eur", lines=lines)
    assert done.state == "done", done.result
    shown = demo.invoice_lines(str(done.result["number"]))
    assert sorted(row[4] for row in shown) == [100 + n for n in range(120)]


def test_a_paid_invoice_without_a_payment_was_paid_outside(tmp_path: Path) -> None:
    """Where Stripe says that an invoice is paid and shows no payment of it, the money came from outside, on the day that it was noted."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        deed(made, "pay", invoice=invoice["id"])
        (there,) = made.objects("invoice")
        there["payments"]["data"].clear()
        made.sync()
        assert payments(made) == [(12_000, "manual", DAY)]
        replay(made)
        assert books(made) == [("paid", 12_000, 0)]

