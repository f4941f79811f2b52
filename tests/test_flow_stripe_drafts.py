"""An invoice of ours that Stripe refused half-way leaves nothing behind that would be billed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from stripe_world import stripe_world
from test_stripe_pushing import CONTRACT, Desk, desk, plan_of, refusal
from world import at

from connector.billing.stripe_backend import pushes
from connector.lookalike.stripe.account import Account

__all__ = ["desk"]


def waiting(account: Account) -> list[int]:
    """Return the amounts of items that wait for a next invoice."""
    return [i["amount"] for i in account.kind("invoiceitem").values() if i["invoice"] is None]


@pytest.mark.parametrize(("path", "after"), [("/v1/invoices/.*/finalize", 0), ("/v1/invoiceitems$", 2)])
def test_a_refused_invoice_of_ours_leaves_nothing(tmp_path: Path, path: str, after: int) -> None:
    """Refused at its third item or when it is finalized: no draft and no waiting item is left, and the retry bills the three months once."""
    with stripe_world(tmp_path, day="2026-03-20") as made:
        made.win("acme_seats")
        made.stripe_server.faults.add("refuse", method="POST", path=path, code="amount_too_large", message="Too large.", after=after)
        made.sync()
        assert made.said("acme_seats")[0] == "Needs attention"
        assert (waiting(made.stripe), [i["status"] for i in made.objects("invoice") if i["status"] == "draft"]) == ([], [])
        made.stripe_server.faults.clear()
        made.edit("acme_seats", Description="read again")
        made.clock.move_to(made.clock.now() + timedelta(hours=2))
        made.sync()
        assert made.said("acme_seats")[0] == "Active", made.said("acme_seats")
        made.clock.move_to(at("2026-04-02"))
        made.sync()
        assert sorted(i["total"] for i in made.objects("invoice")) == [29000, 87000]


def test_an_invoice_of_ours_never_advances_before_it_is_whole(tmp_path: Path) -> None:
    """While its items are on their way Stripe does not finalize it by itself, however long that takes."""
    with stripe_world(tmp_path, day="2026-03-20") as made:
        made.win("acme_seats")
        made.stripe_server.faults.add("rate_limit", method="POST", path="/v1/invoiceitems$", after=1, times=40)
        made.sync()
        made.clock.move_to(made.clock.now() + timedelta(hours=5))
        made.stripe_server.faults.clear()
        made.sync()
        assert [(i["total"], i["status"]) for i in made.objects("invoice")] == [(87000, "open")]


def test_an_unfinished_invoice_of_a_refused_push_is_removed(desk: Desk) -> None:
    """The draft that a refused push leaves is deleted, and its line counts as not sent."""
    desk.account.faults = [("invoices.finalize_invoice", "stored", refusal("invoice_no_customer"))]
    desk.begin(plan_of())
    assert desk.run().refused == 1
    assert desk.account.objects["invoices"] == {}
    assert desk.account.objects["invoice_items"] == {}, "without its draft it would wait for the customer's next invoice"
    with desk.database.read() as unit:
        assert pushes.sent_of(unit, [CONTRACT]) == {}


def test_an_unfinished_invoice_that_somebody_finalized_is_voided(desk: Desk) -> None:
    """Finalized by hand before it was whole, it is voided, so that its lines are billed once; deleted by hand, there is nothing to do."""
    for number, becomes in enumerate(("open", "gone"), 1):

        def by_hand(call: str, target: str | None, becomes: str = becomes) -> None:
            invoices = desk.account.objects.get("invoices", {})
            if call == "invoices.void_invoice" and target is not None:
                invoices[target]["status"] = "void"
            elif call == "invoices.retrieve" and target in invoices:
                invoices[target]["status"] = "open"
                if becomes == "gone":
                    del invoices[target]

        desk.account.on_call = by_hand
        desk.account.faults = [("invoice_items.create", "stored", refusal("amount_too_small"))]
        desk.begin(plan_of(), key=f"org/d1/r{number}")
        assert desk.run().refused == 1
    assert [i["status"] for i in desk.account.objects["invoices"].values()] == ["void"]
