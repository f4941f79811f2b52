"""Two readers at once on PostgreSQL: a webhook's daemon and another one read the same invoice, and it is written once, without a deadlock."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import postgres
import pytest
from stripe_world import StripeWorld, stripe_world
from test_stripe_reading import DAY, books, call, deed, payments

from connector import app
from connector.billing.stripe_backend.backend import StripeBilling
from connector.kit.db import Database


class Together:
    """Calls of one of two readers: whoever has read an invoice waits until the other has, too, so that both write what they read."""

    def __init__(self, calls: Any, barrier: threading.Barrier) -> None:
        self.calls, self.barrier, self.waited = calls, barrier, 0

    def do(self, call: str, params: Mapping[str, Any], *, target: str | None = None, key: str = "") -> dict[str, Any]:
        """Carry out a call."""
        answer = self.calls.do(call, params, target=target, key=key)
        if call == "invoices.retrieve":
            self.waited += 1
            self.barrier.wait(20)
        return dict(answer)

    def listed(self, call: str, params: Mapping[str, Any], *, target: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """List."""
        return list(self.calls.listed(call, params, target=target, limit=limit))


def read_together(made: StripeWorld) -> list[str]:
    """Let two readers, each with connections of its own, work off what happened; return what went wrong."""
    wrong: list[str] = []
    barrier = threading.Barrier(2)
    waited: list[int] = []

    def read(billing: StripeBilling) -> None:
        database = Database(made.config.database)
        calls = Together(billing.calls, barrier)
        billing.calls = calls  # type: ignore[assignment]
        try:
            billing.pull(
                database, made.clock.now, tell=lambda _unit, _deals: None, stop=threading.Event(),
                log=lambda name, **said: wrong.append(f"{name} {said}") if name == "pull.failed" else None,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what went wrong
            wrong.append(repr(error))
        waited.append(calls.waited)
        database.close()

    with app.writing_house(made.config, "one", clock=made.clock) as one:
        first = one.billing
    with app.writing_house(made.config, "two", clock=made.clock) as two:
        second = two.billing
    assert isinstance(first, StripeBilling)
    assert isinstance(second, StripeBilling)
    readers = [threading.Thread(target=read, args=(billing,)) for billing in (first, second)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
    assert len(waited) == 2
    assert waited[0] == waited[1] > 0  # both have read every invoice
    return wrong


@pytest.fixture
def url() -> str:
    """Return the address of an empty database of a PostgreSQL server."""
    return postgres.new_database()


def test_two_readers_write_what_happened_once(tmp_path: Path, url: str) -> None:
    """A new invoice, its payment, a note and a refund, read by both at the same time: each stands in the books once."""
    with stripe_world(tmp_path, day=DAY, database=url) as made:
        for name in ("harbor", "vega"):
            made.account(name)
            made.deal(f"{name}_deal", {"UnitPrice": "60.00", "Quantity": 2}, account=name, CloseDate=DAY, Contract_Start_Date__c=DAY)
            made.win(f"{name}_deal")
        made.sync()
        for invoice in made.objects("invoice"):
            deed(made, "pay", invoice=invoice["id"])
            call(made, "POST", "/v1/credit_notes", {"invoice": invoice["id"], "amount": 3000, "refund_amount": 3000})
            deed(made, "refund", invoice=invoice["id"], amount=1000)
        assert read_together(made) == []
        assert books(made) == [("paid", 11000, 3000)] * 2
        assert sorted(row[0] for row in payments(made)) == [-3000, -3000, -1000, -1000, 12000, 12000]
        made.clock.move_to(made.clock.now().replace(month=4, day=21))
        assert read_together(made) == []
        assert sorted(books(made)) == [("open", 0, 0)] * 2 + [("paid", 11000, 3000)] * 2
        assert made.query("SELECT COUNT(*), COUNT(DISTINCT key) FROM line") == [(4, 4)]
        assert made.query("SELECT COUNT(*), COUNT(DISTINCT invoice_id) FROM event WHERE name = 'invoice.finalized'") == [(4, 4)]
