"""Amounts of ours that wait for the next invoice at Stripe: deleted there they are given up and told, and what is billed at once takes them along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
