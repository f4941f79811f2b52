"""What a deal on Stripe says of its next invoice: the one that is on its way, and not the one after it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from stripe_world import EveningWorld, StripeWorld, stripe_world
from test_flow_stripe_waiting import deleted, waiting
from test_stripe_reading import DAY, started
from world import at


def coming(made: StripeWorld, name: str) -> tuple[str, str, Decimal]:
    """Return status, day and amount of the next invoice, as the record shows them."""
    row = made.record(name)
    return row["Billing_Status__c"], str(row["Next_Invoice_Date__c"]), row["Next_Invoice_Amount__c"]


def test_a_queued_deal_shows_the_invoice_that_is_on_its_way(tmp_path: Path) -> None:
    """31.00 a month, closed on 6 February while Stripe is away: the first invoice comes next, with its own amount; once billed, the second."""
    with stripe_world(tmp_path, day="2026-02-06") as made:
        made.stripe_server.faults.add("rate_limit", method="POST", path="/v1/subscription_schedules", times=20)
        made.account("harbor")
        made.deal("seat", {"UnitPrice": "31.00", "Quantity": 1}, account="harbor", CloseDate="2026-02-06", Contract_Start_Date__c="2026-02-06")
        made.win("seat")
        made.sync()
        assert coming(made, "seat") == ("Queued", "2026-02-06", 31)
        made.stripe_server.faults.clear()
        made.clock.move_to(made.clock.now() + timedelta(minutes=30))
        made.sync()
        assert coming(made, "seat") == ("Active", "2026-03-06", 31)


def test_while_stripes_invoice_is_a_draft_it_is_the_next_one(tmp_path: Path) -> None:
    """In the hour between the beginning of a period and Stripe's finalized invoice the record shows that invoice, and one period."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        made.clock.move_to(at("2026-04-20").replace(hour=0, minute=20))
        StripeWorld.bill(made)
        assert [i["status"] for i in made.objects("invoice")][1:] in ([], ["draft"])
        assert coming(made, "harbor_deal")[1:] == ("2026-04-20", 120)
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        assert coming(made, "harbor_deal")[1:] == ("2026-05-20", 120)


def test_what_was_deleted_at_stripe_is_in_no_next_invoice(tmp_path: Path) -> None:
    """The waiting items of three more seats are deleted at Stripe: the next invoice is that of five seats alone, on its own day."""
    with stripe_world(tmp_path, day=DAY, kind=EveningWorld) as made:
        items = waiting(made)
        deleted(made, items)
        made.sync()
        assert coming(made, "harbor_deal")[1:] == ("2026-04-20", 300)
