"""Money that goes back and forth after a payment: refunds that fail later, notes about earlier refunds, disputes, voids, late payments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stripe_asking import asked
from stripe_world import StripeWorld, stripe_world
from test_stripe_reading import DAY, books, call, deed, log, payments, replay, started


@pytest.fixture
def made(tmp_path: Path) -> Iterator[StripeWorld]:
    """A world with one invoice of 120.00, open."""
    with stripe_world(tmp_path, day=DAY) as world:
        started(world)
        yield world


def first(made: StripeWorld) -> str:
    """Return Stripe's id of the invoice."""
    return str(made.objects("invoice")[0]["id"])


def shown(made: StripeWorld) -> tuple[Any, ...]:
    """Return (status, paid, credit notes) of the invoice's row in the CRM."""
    row = next(r for r in made.invoices() if r["Type__c"] != "Credit note")
    return row["Status__c"], row["Amount_Paid__c"], len(made.invoices()) - 1


def later(made: StripeWorld, days: int) -> None:
    """Go some days ahead."""
    made.clock.move_to(made.clock.now().replace(day=made.clock.now().day + days))


def test_a_refund_that_fails_later_is_money_that_is_here_again(made: StripeWorld) -> None:
    """A refund without a note is booked, fails a week later, is booked back and told on the deal, until another one goes through."""
    deed(made, "pay", invoice=first(made))
    refund = deed(made, "refund", invoice=first(made), amount=2000)
    made.sync()
    assert books(made) == [("paid", 10000, 0)]
    later(made, 7)
    deed(made, "refund-failed", refund=refund["id"])
    made.sync()
    assert books(made) == [("paid", 12000, 0)]
    assert payments(made) == [(12000, "stripe", DAY), (-2000, "stripe", DAY), (2000, "stripe", "2026-03-27")]
    status, message = made.said("harbor_deal")
    assert status == "Needs attention"
    assert message.startswith("A refund for this contract did not reach the customer: the bank sent the money back. Ask the customer for another account")
    assert "20.00 EUR" in message
    assert "payment.refund_failed" in log(made)
    replay(made)
    assert books(made) == [("paid", 12000, 0)]
    later(made, 1)
    deed(made, "refund", invoice=first(made), amount=2000)
    made.sync()
    assert books(made) == [("paid", 10000, 0)]
    assert made.said("harbor_deal")[0] == "Active"


def test_a_refund_of_a_credit_note_that_fails_later(made: StripeWorld) -> None:
    """The note stays as the customer has it; the money counts as here again, and the deal says so."""
    deed(made, "pay", invoice=first(made))
    made.sync()
    call(made, "POST", "/v1/credit_notes", {"invoice": first(made), "amount": 3000, "refund_amount": 3000})
    made.sync()
    assert shown(made) == ("Paid", 90, 1)
    (refund,) = made.objects("refund")
    deed(made, "refund-failed", refund=refund["id"])
    made.sync()
    assert made.query("SELECT total, refunded FROM credit_note") == [(3000, 3000)]
    assert sorted(row[0] for row in payments(made)) == [-3000, 3000, 12000]
    assert shown(made) == ("Paid", 120, 1)
    assert made.said("harbor_deal")[0] == "Needs attention"
    replay(made)
    assert sorted(row[0] for row in payments(made)) == [-3000, 3000, 12000]


def test_a_failed_refund_that_no_event_told_is_swept(made: StripeWorld) -> None:
    """The nightly comparison finds a refund that failed, once."""
    deed(made, "pay", invoice=first(made))
    refund = deed(made, "refund", invoice=first(made), amount=2000)
    made.sync()
    known = len(made.stripe.events)
    deed(made, "refund-failed", refund=refund["id"])
    del made.stripe.events[known:]
    made.sync()
    assert books(made) == [("paid", 10000, 0)]
    made.sweep()
    assert books(made) == [("paid", 12000, 0)]
    again = made.sweep().compared
    assert again is not None
    assert again.missed == 0


@pytest.mark.parametrize("noted", [2000, 1500])
def test_a_credit_note_about_a_refund_that_was_made_before(made: StripeWorld, noted: int) -> None:
    """A refund without a note, and a note that names it (or a part of it) afterwards: the money went back once."""
    deed(made, "pay", invoice=first(made))
    refund = deed(made, "refund", invoice=first(made), amount=2000)
    made.sync()
    call(made, "POST", "/v1/credit_notes", {"invoice": first(made), "amount": noted, "refunds": [{"refund": refund["id"], "amount_refunded": noted}]})
    made.sync()
    assert sum(row[0] for row in payments(made)) == 10000
    assert shown(made) == ("Paid", 100, 1)
    replay(made)
    assert sum(row[0] for row in payments(made)) == 10000
    assert shown(made) == ("Paid", 100, 1)


def test_a_dispute_that_was_lost_is_money_that_went_back(made: StripeWorld) -> None:
    """While it runs nothing is booked; lost, what was paid is less by it, and the deal says so."""
    deed(made, "pay", invoice=first(made))
    dispute = deed(made, "dispute", invoice=first(made), amount=5000)
    made.sync()
    assert books(made) == [("paid", 12000, 0)]
    deed(made, "dispute-closed", dispute=dispute["id"], won=False)
    made.sync()
    assert books(made) == [("paid", 7000, 0)]
    assert made.said("harbor_deal")[1].startswith("A disputed payment of this contract was lost")
    replay(made)
    assert books(made) == [("paid", 7000, 0)]


def test_a_dispute_in_another_currency_is_told_with_its_amount_and_not_booked(made: StripeWorld) -> None:
    """The bank took dollars back for a payment in euros: how much of it that is nobody says, so the payment stays and the deal says both."""
    deed(made, "pay", invoice=first(made))
    dispute = deed(made, "dispute", invoice=first(made), amount=5000)
    with made.stripe.lock:
        made.stripe.get("dispute", dispute["id"]).update(currency="usd", amount=5410)
    deed(made, "dispute-closed", dispute=dispute["id"], won=False)
    made.sync()
    message = made.said("harbor_deal")[1]
    assert message.startswith("A disputed payment of this contract was lost")
    assert "54.10 USD, in another currency than the invoice: what was paid for it counts in full until it is credited" in message
    assert books(made) == [("paid", 12000, 0)]
    replay(made)
    assert payments(made) == [(12000, "stripe", DAY)]


def test_an_invoice_voided_after_a_part_was_paid(made: StripeWorld) -> None:
    """It is void, its lines are given back once, and the deal says that money was kept until it went back."""
    deed(made, "pay", invoice=first(made), amount=5000)
    made.sync()
    assert shown(made) == ("Open", 50, 0)
    deed(made, "void", invoice=first(made))
    made.sync()
    assert shown(made)[0] == "Void"
    status, message = made.said("harbor_deal")
    assert (status, message.startswith("An invoice of this contract was voided although a part of it had been paid.")) == ("Needs attention", True)
    assert "50.00 EUR" in message
    deed(made, "refund", invoice=first(made))
    made.sync()
    assert made.said("harbor_deal")[0] == "Active"
    assert [row[0] for row in payments(made)] == [5000, -5000]


def test_an_invoice_that_was_given_up_is_paid_later(made: StripeWorld) -> None:
    """A customer pays what was marked uncollectible: it is paid with its day, and nothing of it stays open."""
    deed(made, "uncollectible", invoice=first(made))
    made.sync()
    assert shown(made)[0] == "Uncollectible"
    later(made, 3)
    deed(made, "pay", invoice=first(made))
    made.sync()
    assert books(made) == [("paid", 12000, 0)]
    assert payments(made) == [(12000, "stripe", "2026-03-23")]
    assert shown(made)[:2] == ("Paid", 120)


def test_an_older_state_that_is_read_late_changes_nothing(made: StripeWorld) -> None:
    """What another worker read before the payment, and writes after it, neither opens the invoice again nor takes the payment away."""
    from connector import app
    from connector.billing.stripe_backend import fetching
    from connector.billing.stripe_backend.backend import StripeBilling
    from connector.billing.stripe_backend.reading.mirror import mirrored

    with app.writing_house(made.config, "test", clock=made.clock) as house:
        billing = house.billing
        assert isinstance(billing, StripeBilling)
        (old,) = fetching.whole_invoices(billing.calls, [first(made)])
    deed(made, "pay", invoice=first(made))
    made.sync()
    with app.writing_house(made.config, "test", clock=made.clock) as house, house.database.transaction() as unit:
        assert mirrored(unit, house.billing, old, made.clock.now()) == []  # type: ignore[arg-type]
    assert books(made) == [("paid", 12000, 0)]


def test_a_refund_asked_for_beyond_what_came_through_stripe(made: StripeWorld) -> None:
    """70.00 by card and 50.00 by cheque: at most 70.00 can go back by Stripe, and whoever asks for more reads so."""
    deed(made, "pay", invoice=first(made), amount=7000)
    made.sync()
    number = str(made.invoices()[0]["Number__c"])
    assert asked(made, "invoice.pay", invoice=number, method="cheque").state == "done"
    refused = asked(made, "invoice.refund", invoice=number, amount=9000)
    assert (refused.state, refused.result["code"]) == ("refused", "paid-outside")
    assert "Only 70.00 EUR" in refused.result["message"]
