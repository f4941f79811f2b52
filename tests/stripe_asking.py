"""A world with one invoice at Stripe, and asking for things there as a command does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stripe_world import StripeWorld, stripe_world

from connector import app
from connector.lookalike.stripe.machine import control
from connector.sync import intents
from connector.sync.intents import Intent


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[StripeWorld]:
    """A world with one customer, 4 seats at 100.00 a month for a year, of which January is invoiced: 400.00, open."""
    with stripe_world(tmp_path) as made:
        made.account("vega")
        made.deal("seats", {"Quantity": 4}, account="vega", Contract_Term_Months__c=12, StageName="Closed Won")
        made.sync()
        yield made


def keep(made: StripeWorld, kind: str, **data: Any) -> str:
    """Keep a request as a command does, and return its id."""
    with app.reading_house(made.config, clock=made.clock) as house, house.database.transaction() as unit:
        return intents.submit(unit, kind, data, actor="cli:test", now=made.clock.now())


def state_of(made: StripeWorld, key: str) -> Intent:
    """Return a request as it stands."""
    with app.reading_house(made.config) as house, house.database.read() as unit:
        found = intents.found(unit, key)
    assert found is not None
    return found


def asked(made: StripeWorld, kind: str, **data: Any) -> Intent:
    """Ask for something, run a round, and return what it led to."""
    key = keep(made, kind, **data)
    made.sync()
    return state_of(made, key)


def number_of(made: StripeWorld) -> str:
    """Return the number of the latest invoice in the CRM."""
    return str(made.invoices()[-1]["Number__c"])


def at_stripe(made: StripeWorld, number: str) -> dict[str, Any]:
    """Return Stripe's invoice of a number."""
    (found,) = [i for i in made.objects("invoice") if i["number"] == number]
    return found


def pay_at_stripe(made: StripeWorld, number: str) -> None:
    """Pay an invoice on Stripe's page, as the customer does."""
    with made.stripe.lock:
        control.pay(made.stripe, at_stripe(made, number)["id"])
    made.sync()
