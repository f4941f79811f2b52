"""What `connector plan` says of a deal on Stripe before it is real: how Stripe will hold it, what the connector bills there, what it refuses."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from stripe_world import StripeWorld, stripe_world
from world import world

from connector import app, printing, verbs
from connector.ports import Preview
from connector.sync.plan import preview_of


def preview(here: Any, ref: str) -> Preview:
    """Return what `plan` works out for a record."""
    with app.writing_house(here.config, "test", clock=here.clock) as house:
        found = preview_of(house.seam, here.ids[ref]).preview
    assert found is not None
    return found


def told(here: StripeWorld, ref: str) -> list[str]:
    """Return the lines about Stripe that `plan` prints for a record."""
    return printing.held_lines(verbs.held_as(preview(here, ref)))


def sold(here: StripeWorld, *lines: dict[str, Any], **fields: Any) -> None:
    here.account("acme")
    here.deal("base", *lines, account="acme", **({"Contract_Term_Months__c": 12, "StageName": "Closed Won", "Payment_Terms__c": "Net 30"} | fields))


RAMP: tuple[dict[str, Any], ...] = ({"Quantity": 5, "End_Date__c": date(2026, 1, 31)}, {"Quantity": 8, "ServiceDate": date(2026, 2, 1)})
MIXED: tuple[dict[str, Any], ...] = ({}, {"UnitPrice": "1200.00", "Billing_Frequency__c": "Annual", "product": "support", "ServiceDate": date(2026, 3, 1)})


@pytest.mark.parametrize(("lines", "fields", "said"), [
    (({},), {}, ["On Stripe: 1 subscription: monthly from 2026-01-01 until 2027-01-01."]),
    (MIXED, {}, [
        "On Stripe: 1 subscription: monthly from 2026-01-01 until 2027-01-01.",
        "Billed by items of the connector: parts of periods: Premium Support (2026-03-01 to 2026-12-31).",
    ]),
    (RAMP, {}, ["On Stripe: 1 subscription: monthly from 2026-01-01 until 2027-01-01, 2 phases."]),
    (({"Charge_Type__c": "One-time"},), {}, ["On Stripe: no subscription.", "Billed by items of the connector: one-time charges: Team Seat (2026-01-01)."]),
    (({}, {"Charge_Type__c": "One-time", "product": "setup", "ServiceDate": date(2026, 2, 10)}), {}, [
        "On Stripe: 1 subscription: monthly from 2026-01-01 until 2027-01-01.",
        "Billed by items of the connector: one-time charges: Setup Fee (2026-02-10).",
    ]),
    (({},), {"Contract_Start_Date__c": date(2025, 11, 1)}, [
        "On Stripe: 1 subscription: monthly from 2025-12-01 until 2026-11-01.",
        "Billed by items of the connector: periods that began before the subscription: Team Seat (2025-11-01 to 2025-12-31).",
    ]),
    (({"Quantity": Decimal("2.5")},), {}, [
        "On Stripe: 1 subscription: monthly from 2026-01-01 until 2027-01-01.",
        "Not shown on Stripe: price and quantity of Team Seat: the amount of each period stands there.",
    ]),
    (({"UnitPrice": "12.55"},), {"Discount_Percent__c": 10}, [
        "On Stripe: 1 subscription: monthly from 2026-01-01 until 2027-01-01.",
        "Not shown on Stripe: the percentage of a discount on Team Seat: the amount that it takes off stands there.",
    ]),
    (({},), {"Auto_Renew__c": True}, [
        "On Stripe: 1 subscription: monthly from 2026-01-01.", "Not shown on Stripe: renewals from 2028-01-01 on: they are sent as they come near.",
    ]),
])  # fmt: skip
def test_how_stripe_will_hold_a_new_deal(tmp_path: Path, lines: Any, fields: Any, said: list[str]) -> None:
    """Subscriptions with their days and phases, what the connector bills, and what will stand there in another way."""
    with stripe_world(tmp_path) as here:
        sold(here, *lines, **fields)
        assert told(here, "base") == said
        assert not here.objects("customer")  # nothing was sent


def test_how_stripe_will_hold_a_change(tmp_path: Path) -> None:
    """An amendment in mid-period names the parts and credits that the connector bills for it; as data, too."""
    with stripe_world(tmp_path) as here:
        sold(here, {"Quantity": 10, "UnitPrice": "30.00"})
        here.sync()
        here.clock.move_to(here.clock.now().replace(day=16))
        head = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@base", "StageName": "Closed Won", "CloseDate": date(2026, 1, 16)}
        here.deal("more", {"Quantity": 5, "UnitPrice": "30.00"}, account="acme", Proration__c="Immediately", **head)
        held = verbs.held_as(preview(here, "more"))
        assert held == {
            "at": "Stripe",
            "subscriptions": [{
                "name": "month", "every": "monthly", "starts_on": date(2026, 1, 1), "ends_on": date(2027, 1, 1), "phases": 1, "items": 1,
                "billed_ahead_to": None,
            }],
            "by_connector": ["parts of periods: Team Seat (2026-01-16 to 2026-01-31)", "credits for unused time: Team Seat (2026-01-16 to 2026-01-31)"],
            "not_shown": [],
        }  # fmt: skip


def test_the_internal_engine_holds_nothing_elsewhere(tmp_path: Path) -> None:
    """Without Stripe a plan says nothing of it."""
    with world(tmp_path) as here:
        here.account("acme")
        here.deal("base", {}, account="acme", StageName="Closed Won")
        assert verbs.held_as(preview(here, "base")) is None


def test_a_deal_that_stripe_cannot_hold_is_decided_as_not_billed(tmp_path: Path) -> None:
    """Where a limit refuses the deal, the decision says so, too, and not that a contract would be made."""
    with stripe_world(tmp_path) as here:
        sold(here, {"UnitPrice": "1000000.00"})
        with app.writing_house(here.config, "test", clock=here.clock) as house:
            found = preview_of(house.seam, here.ids["base"])
    assert (found.decision, [p.message for p in found.problems]) == (
        "cannot be billed", ["Not billed: 1,000,000.00 EUR (Team Seat) is more than Stripe takes on one line."],
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["internal", "stripe"])
@pytest.mark.parametrize(("months", "is_more"), [(12, False), (13, True)])
def test_a_plan_says_that_more_invoices_follow(tmp_path: Path, backend: str, months: int, is_more: bool) -> None:
    """Of more than twelve invoices the first twelve are shown, and that others follow; twelve are all there are."""
    with (world(tmp_path) if backend == "internal" else stripe_world(tmp_path)) as here:
        sold(here, {}, Contract_Term_Months__c=months, Auto_Renew__c=False)
        shown = preview(here, "base")
        assert (len(shown.invoices), shown.has_more) == (12, is_more)
        text = printing.plan_text({
            "label": "x", "object": "Opportunity", "record": "006", "decision": "d", "values": [], "problems": [], "note": "", "held": None,
            "invoices": verbs.preview_invoices(shown, shown.currency), "more_follow": shown.has_more,
        })  # fmt: skip
        assert ("More invoices follow: these are the first 12." in text) == is_more
