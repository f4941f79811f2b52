"""Amounts of ours that wait for the next invoice at Stripe: deleted there they are given up and told, and what is billed at once takes them along."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from stripe_world import EveningWorld, StripeWorld, stripe_world
from test_flow_stripe_dashboard import change, own
from test_stripe_reading import DAY, call, started
from world import at

from connector.sync.plan import preview_of

BACK, MORE = round(2 * 6000 * 10 / 31), round(5 * 6000 * 10 / 31)  # five seats in place of two for the last ten days of a period


def waiting(made: StripeWorld) -> list[dict[str, Any]]:
    """Win three seats more that wait for the next invoice, and return Stripe's items."""
    started(made)
    change(made, "more", "2026-04-10", Proration__c="Next invoice")
    items = made.objects("invoiceitem")
    assert [(i["amount"], i["invoice"]) for i in items] == [(-BACK, None), (MORE, None)]
    return items


def deleted(made: StripeWorld, items: list[dict[str, Any]]) -> None:
    """Let somebody delete waiting items in the dashboard."""
    for item in items:
        call(made, "DELETE", "/v1/invoiceitems/{id}", {}, id=item["id"])


def totals(made: StripeWorld) -> list[tuple[str, Any]]:
    """Return (day, total) of every invoice in the CRM."""
    return [(str(row["Issued_On__c"]), row["Total__c"]) for row in made.invoices()]


def test_what_somebody_deletes_is_given_up_and_told(tmp_path: Path) -> None:
    """The deal says what was deleted for thirty days; the next invoice comes without it, nothing bills it again, nothing waits for it."""
    with stripe_world(tmp_path, day=DAY, kind=EveningWorld) as made:
        deleted(made, waiting(made))
        made.sync()
        status, message = made.said("harbor_deal")
        assert status == "Needs attention"
        assert message.startswith("An amount of this contract that waited for the next invoice was deleted where it is billed")
        assert "Team Seat from 2026-04-10: 96.77 EUR" in message
        made.bill("2026-04-20")
        made.bill("2026-05-20")
        assert [t for _, t in totals(made)] == [120, 300, 300]
        assert own(made) == []
        assert made.query("SELECT DISTINCT pending_charged, pending_credited FROM change") == [(0, 0)]
        made.sweep()
        assert "was deleted" not in made.said("harbor_deal")[1]
        made.assert_quiet()


def test_the_sweep_finds_what_no_event_told(tmp_path: Path) -> None:
    """The same where the event is lost: the nightly comparison does not find the item among those that wait."""
    with stripe_world(tmp_path, day=DAY) as made:
        items = waiting(made)
        made.sweep()
        assert made.said("harbor_deal")[0] != "Needs attention"
        for item in items:
            made.stripe.kind("invoiceitem").pop(item["id"])
        made.sync()
        assert made.said("harbor_deal")[0] != "Needs attention"
        made.sweep()
        assert "was deleted where it is billed" in made.said("harbor_deal")[1]


def test_nothing_is_given_back_of_what_was_given_up(tmp_path: Path) -> None:
    """Three seats fewer later in the month credit nothing of the three whose charge was deleted; plan and Stripe say the same."""
    with stripe_world(tmp_path, day=DAY, kind=EveningWorld) as made:
        deleted(made, waiting(made))
        made.sync()
        made.clock.move_to(at("2026-04-15"))
        made.deal("less", {"Quantity": -3, "UnitPrice": "60.00"}, account="harbor", CloseDate="2026-04-15", Billing_Action__c="Amend",
                  Amends_Opportunity__c="@harbor_deal", Proration__c="Immediately")  # fmt: skip
        made.win("less")
        with made.house("test") as house:
            shown = preview_of(house.seam, made.ids["less"]).preview
        assert shown is not None
        assert [i.total for i in shown.invoices if i.total][:1] == [12000]
        made.sync()
        made.bill("2026-04-20")
        assert [t for _, t in totals(made)] == [120, 120]
        assert own(made) == []


@pytest.mark.parametrize(("path", "after"), [("/v1/invoices/.*/finalize", 0), ("/v1/invoiceitems$", 3)])
def test_what_is_taken_along_is_billed_once_though_stripe_refuses(tmp_path: Path, path: str, after: int) -> None:
    """A change at once takes along what waits; refused at its last item or at the end, the next try bills both, once, and nothing waits."""
    with stripe_world(tmp_path, day=DAY) as made:
        waiting(made)
        made.stripe_server.faults.add("refuse", method="POST", path=path, code="amount_too_large", message="Too large.", after=after)
        change(made, "again", "2026-04-15", Proration__c="Immediately")
        assert made.said("again")[0] == "Needs attention"
        made.stripe_server.faults.clear()
        made.clock.move_to(made.clock.now() + timedelta(hours=2))
        made.sync()
        made.sync()
        assert made.said("again")[0] == "Active", made.said("again")
        back, more = round(5 * 6000 * 5 / 31), round(8 * 6000 * 5 / 31)
        assert own(made) == [-BACK, MORE, -back, more]
        assert [i["total"] for i in made.objects("invoice")] == [12000, MORE - BACK + more - back]
        assert all(i["invoice"] for i in made.objects("invoiceitem"))
        made.bill("2026-04-20")
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        assert [i["total"] for i in made.objects("invoice")][2:] == [48000]


def test_what_was_taken_along_waits_for_the_period_that_begins_first(tmp_path: Path) -> None:
    """Stripe is away over the beginning of the next period: its invoice takes what waits, and the late change bills itself alone."""
    with stripe_world(tmp_path, day=DAY) as made:
        waiting(made)
        made.stripe_server.faults.add("cut_before", method="POST", path="/v1/invoice", times=500)
        change(made, "again", "2026-04-19", Proration__c="Immediately")
        made.stripe_server.faults.clear()
        for day in ("2026-04-20", "2026-04-21"):
            made.clock.move_to(at(day) + timedelta(hours=9))
            made.sync()
            made.sync()
        back, more = round(5 * 6000 / 31), round(8 * 6000 / 31)
        assert "Charged 5.80 EUR" in made.said("again")[1]
        billed = 12000 + MORE - BACK + more - back + 48000
        assert sum(i["total"] for i in made.objects("invoice")) == billed
        assert all(i["invoice"] for i in made.objects("invoiceitem"))
