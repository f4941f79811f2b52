"""Days of what happens at Stripe: a payment has the day of the company's calendar, a period the day that it was sent with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stripe_world import StripeWorld, stripe_world
from test_stripe_reading import DAY, call, deed, started

from connector.billing.stripe_backend.reading.picked import boundary_day, civil_day


@pytest.fixture
def paris(tmp_path: Path) -> Iterator[StripeWorld]:
    """A world whose company counts its days in Paris, at 10:00 there."""
    with stripe_world(tmp_path, day=DAY, timezone="Europe/Paris") as made:
        yield made


def days(made: StripeWorld, table: str, column: str) -> list[Any]:
    """Return a day of every row of a table, in order."""
    return [row[0] for row in made.query(f"SELECT {column} FROM {table} ORDER BY 1")]


def at(made: StripeWorld, day: int, hour: int, minute: int = 0) -> None:
    """Move on to an instant of that month, UTC."""
    made.clock.move_to(made.clock.now().replace(day=day, hour=hour, minute=minute))


def test_a_moment_and_a_boundary_have_two_days() -> None:
    """23:30 UTC is the next day in Paris and the same in New York; as the boundary of a period it stands for its UTC date alone."""
    late = 1_774_049_400  # 20 March 2026, 23:30 UTC
    assert [civil_day(late, z).isoformat() for z in ("Europe/Paris", "America/New_York", "UTC")] == ["2026-03-21", "2026-03-20", "2026-03-20"]
    assert boundary_day(late).isoformat() == "2026-03-20"
    early = late - 20 * 3600  # 03:30 UTC
    assert civil_day(early, "America/New_York").isoformat() == "2026-03-19"


def test_a_payment_late_in_the_evening_is_of_the_next_day(paris: StripeWorld) -> None:
    """Paid at 23:30 UTC on 24 March it is the 25th in Paris: payment, paid day and receipt say so; the period keeps its first day."""
    invoice = started(paris)
    at(paris, 24, 23, 30)
    deed(paris, "pay", invoice=invoice["id"])
    paris.sync()
    assert days(paris, "payment", "paid_on") == ["2026-03-25"]
    assert days(paris, "invoice", "paid_on") == ["2026-03-25"]
    assert paris.query("SELECT service_start, service_end FROM line") == [("2026-03-20T00:00:00", "2026-04-20T00:00:00")]
    (row,) = paris.invoices()
    assert row["Paid_On__c"] == "2026-03-25"


def test_a_refund_a_note_and_a_try_late_in_the_evening(paris: StripeWorld) -> None:
    """So are money that went back, a credit note, and a declined card with the day of its next try."""
    invoice = started(paris)
    at(paris, 24, 23, 30)
    deed(paris, "pay", invoice=invoice["id"], last4="9995")
    paris.sync()
    assert '"on":"2026-03-25"' in paris.query("SELECT data FROM event WHERE name = 'payment.failed'")[0][0].replace(" ", "")
    deed(paris, "pay", invoice=invoice["id"])
    deed(paris, "refund", invoice=invoice["id"], amount=2000)
    call(paris, "POST", "/v1/credit_notes", {"invoice": invoice["id"], "amount": 3000, "refund_amount": 3000})
    paris.sync()
    assert days(paris, "payment", "paid_on") == ["2026-03-25"] * 3
    assert days(paris, "credit_note", "issued_on") == ["2026-03-25"]


def test_an_invoice_made_late_in_the_evening(paris: StripeWorld) -> None:
    """An invoice that somebody finalizes at 23:30 UTC is of the next day, and so is the day until when it is to be paid."""
    started(paris)
    (customer,) = paris.objects("customer")
    at(paris, 24, 23, 30)
    deed(paris, "invoice", customer=customer["id"], amount=4200, currency="eur", description="Training")
    paris.sync()
    issued, due, start = paris.query("SELECT i.issued_on, i.due_on, l.service_start FROM invoice i JOIN line l ON l.invoice_id = i.id WHERE i.contract_id = ''")[0]
    assert (issued, due, start[:10]) == ("2026-03-25", "2026-04-24", "2026-03-25")
    sweep = paris.sweep().compared
    assert sweep is not None
    assert sweep.missed == 0  # the comparison counts its days alike


def test_periods_of_a_subscription_that_began_late_in_the_evening(tmp_path: Path) -> None:
    """A subscription begun at 22:30 UTC in winter bills at 00:30 of the next day in summer: its periods keep the day that was agreed."""
    with stripe_world(tmp_path, day=DAY, timezone="Europe/Paris") as made:
        made.clock.move_to(made.clock.now().replace(hour=22, minute=30))
        started(made)
        made.clock.move_to(made.clock.now().replace(month=4, day=21, hour=12))
        made.bill()
        made.sync()
        assert [d[:10] for d in days(made, "line", "service_start")] == ["2026-03-20", "2026-04-20"]
        assert made.query("SELECT COUNT(*) FROM event WHERE name = 'invoice.differs'") == [(0,)]
