"""Deals of the demo CRM billed on Stripe: decided in the books, sent step by step, and told to the rep in the same words as ever."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stripe_world import StripeWorld, stripe_world
from world import at

from connector import app
from connector.lookalike.stripe.server import StripeServer
from connector.sync import ledger, rounds
from connector.sync.plan import preview_of
from connector.sync.seam import Tally
from connector.verbs import _tally_result

DAY = "2026-03-20"


def own_lines(made: StripeWorld) -> list[tuple[str, int]]:
    """Return (first day, amount) of every line of ours at Stripe."""
    items = [i for i in made.objects("invoiceitem") if i["metadata"].get("connector_line")]
    return sorted((i["metadata"]["connector_line"].split("/")[3][:10], i["amount"]) for i in items)


def small(made: StripeWorld, ref: str = "harbor", **fields: Any) -> None:
    """Create a won deal over 2 x 60.00 a month from today on."""
    made.account(ref)
    made.deal(f"{ref}_deal", {"UnitPrice": "60.00", "Quantity": 2}, account=ref, **({"CloseDate": DAY, "Contract_Start_Date__c": DAY} | fields))
    made.win(f"{ref}_deal")


def test_a_won_deal_becomes_a_schedule(tmp_path: Path) -> None:
    """A back-dated deal is one customer, one schedule from the next period on, and one invoice of ours over what was missed."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.win("acme_seats")
        tally = made.sync()
        assert (tally.applied, tally.sent, tally.refused, tally.problems) == (1, 1, 0, [])
        assert made.counts("customer", "subscription_schedule", "subscription") == {"customer": 1, "subscription_schedule": 1, "subscription": 1}
        assert own_lines(made) == [("2026-01-01", 29000), ("2026-02-01", 29000), ("2026-03-01", 29000)]
        assert made.said("acme_seats")[0] == "Active"
        (contract,) = made.contracts()
        (customer,) = made.objects("customer")
        (schedule,) = made.objects("subscription_schedule")
        assert schedule["metadata"]["connector_contract"] == contract[0]
        assert schedule["metadata"]["connector_deal"] == made.ids["acme_seats"]
        assert customer["metadata"]["crm_account"] == made.record("acme_seats")["AccountId"]
        made.sync()
        assert len(made.pushes()) == 1, "nothing is sent twice"


def test_what_begins_today_is_invoiced_at_once(tmp_path: Path) -> None:
    """The first invoice of a subscription is finalized in the same round, over the whole first period."""
    with stripe_world(tmp_path, day=DAY) as made:
        small(made)
        made.sync()
        (invoice,) = made.objects("invoice")
        assert (invoice["status"], invoice["total"], invoice["billing_reason"]) == ("open", 12000, "subscription_create")
        status, message = made.said("harbor_deal")
        assert status == "Active"
        assert f"{invoice['number']}, 120.00 EUR, is open, due 19 Apr." in message
        record = made.record("harbor_deal")
        assert (record["Last_Invoice_Number__c"], record["Last_Invoice_URL__c"]) == (invoice["number"], invoice["hosted_invoice_url"])
        (row,) = made.invoices()
        assert (row["Number__c"], row["Status__c"], str(row["Total__c"])) == (invoice["number"], "Open", "120.00")


def test_a_deal_and_its_amendment_pass_in_one_round(tmp_path: Path) -> None:
    """The amendment waits inside the round until the deal has gone through; the difference is on an invoice of ours."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.win("acme_seats", "acme_upgrade")
        tally = made.sync()
        assert (tally.applied, tally.sent, tally.waiting) == (2, 2, 0)
        assert [state for _, state in made.pushes()] == ["done", "done"]
        assert {("2026-03-01", -15903), ("2026-03-15", 23855)} <= set(own_lines(made))
        assert made.said("acme_upgrade")[0] == "Active"
        (subscription,) = made.objects("subscription")
        assert [i["quantity"] for i in subscription["items"]["data"]] == [15]
        assert sorted(str(r["Total__c"]) for r in made.invoices()) == ["79.52", "870.00"]


def test_a_deal_that_begins_today_and_its_amendment_pass_in_one_round(tmp_path: Path) -> None:
    """What Stripe invoiced at once is read back before the amendment is counted against it: the second quantity is charged once."""
    with stripe_world(tmp_path, day=DAY) as made:
        small(made)
        made.deal("more", {"Quantity": 3, "UnitPrice": "60.00"}, account="harbor", CloseDate=DAY, Billing_Action__c="Amend",
                  Amends_Opportunity__c="@harbor_deal", Billing_Effective_Date__c=DAY)  # fmt: skip
        made.win("more")
        made.sync()
        made.clock.move_to(at(DAY).replace(minute=20))
        made.sync()
        assert made.said("more")[0] == "Active"
        (subscription,) = made.objects("subscription")
        assert [i["quantity"] for i in subscription["items"]["data"]] == [5]
        assert sum(i["total"] for i in made.objects("invoice")) == 5 * 6000


def test_an_amendment_of_a_day_that_stripe_billed_is_ours(tmp_path: Path) -> None:
    """Effective on the first day of a period that Stripe invoiced already, an upgrade gives that back and bills it anew, by items of ours."""
    with stripe_world(tmp_path, day=DAY) as made:
        small(made)
        made.sync()
        made.clock.move_to(at("2026-04-25"))
        made.sync()
        made.deal("more", {"Quantity": 3, "UnitPrice": "60.00"}, account="harbor", CloseDate="2026-04-25", Billing_Action__c="Amend",
                  Amends_Opportunity__c="@harbor_deal", Billing_Effective_Date__c="2026-04-20")  # fmt: skip
        made.win("more")
        made.sync()
        assert own_lines(made) == [("2026-04-20", -12000), ("2026-04-20", 30000)]
        made.clock.move_to(at("2026-05-22"))
        made.sync()
        assert sum(i["total"] for i in made.objects("invoice")) == 12000 + 30000 + 30000
        assert made.objects("subscription")[0]["status"] != "canceled"


def test_stripe_down_then_up(tmp_path: Path) -> None:
    """While Stripe cannot be reached the record says Queued and the run says why; with Stripe back everything goes through by itself."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.sync()  # the ledger is bound
        small(made)
        port = int(made.stripe_server.url.rpartition(":")[2])
        made.stripe_server.stop()
        tally = made.sync()
        assert (tally.applied, tally.sent, tally.unsent) == (1, 0, 1)
        assert tally.away is not None
        assert [p.code for p in tally.problems] == ["stripe-unreachable"]
        assert made.said("harbor_deal") == ("Queued", "Waiting to be billed; it is tried again by itself.")
        with StripeServer(made.stripe, port=port):
            tally = made.sync()
        assert (tally.sent, tally.unsent, tally.away) == (1, 0, None)
        assert made.said("harbor_deal")[0] == "Active"


def test_a_busy_contract_takes_nothing_new(tmp_path: Path) -> None:
    """An edit of a deal that is still on its way waits for it; afterwards Stripe holds the newest terms alone."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.sync()
        small(made, Contract_Start_Date__c="2026-05-01")
        made.stripe_server.faults.add("cut_before", path="/v1/subscription_schedules", times=3)
        made.sync()
        assert [state for _, state in made.pushes()] == ["pending"]
        made.edit("harbor_deal_1", "OpportunityLineItem", Quantity=3)
        made.stripe_server.faults.add("cut_before", path="/v1/subscription_schedules", times=3)
        made.sync()
        assert [state for _, state in made.pushes()] == ["pending"]
        assert made.said("harbor_deal") == ("Queued", "Waiting to be billed; it is tried again by itself.")
        made.stripe_server.faults.clear()
        made.sync()
        assert [state for _, state in made.pushes()] == ["done", "done"]
        (schedule,) = made.objects("subscription_schedule")
        assert [i["quantity"] for i in schedule["phases"][0]["items"]] == [3]
        assert made.said("harbor_deal")[0] == "Scheduled"


def test_a_refusal_is_told_and_an_edit_sends_anew(tmp_path: Path) -> None:
    """What Stripe refuses needs attention on the record, in plain words; correcting the record makes a new push, and one schedule."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.sync()
        small(made)
        made.stripe_server.faults.add("refuse", method="POST", path="/v1/customers$", code="email_invalid", message="Invalid email address: x")
        tally = made.sync()
        assert (tally.sent, tally.refused) == (0, 1)
        status, message = made.said("harbor_deal")
        assert status == "Needs attention"
        assert "e-mail" in message.lower()
        assert [state for _, state in made.pushes()] == ["refused"]
        made.edit("harbor", "Account", Billing_Email__c="right@harbor.example")
        made.sync()
        assert [state for _, state in made.pushes()] == ["refused", "done"]
        assert made.said("harbor_deal")[0] == "Active"
        assert made.counts("customer", "subscription") == {"customer": 1, "subscription": 1}
        assert made.objects("customer")[0]["email"] == "right@harbor.example"


def test_a_retry_sends_a_refused_deal_anew(tmp_path: Path) -> None:
    """`deals retry` plans the contract anew where nothing about the record changed, from what Stripe holds already."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.sync()
        small(made)
        made.stripe_server.faults.add("refuse", method="POST", path="/v1/subscription_schedules$", message="No.")
        made.sync()
        assert made.said("harbor_deal")[0] == "Needs attention"
        retry(made, "harbor_deal")
        made.sync()
        assert [state for _, state in made.pushes()] == ["refused", "done"]
        assert made.said("harbor_deal")[0] == "Active"
        assert made.counts("customer", "price", "subscription") == {"customer": 1, "price": 1, "subscription": 1}


def retry(made: StripeWorld, name: str) -> None:
    """Do what `connector deals retry` does."""
    with app.writing_house(made.config, "test", clock=made.clock) as house, house.database.transaction() as unit:
        (deal,) = ledger.deals(unit, [made.ids[name]]).values()
        ledger.make_due(unit, [(deal.name, deal.label, deal.root)], deal.org, ledger.iso(made.clock.now()))


def test_a_refused_deal_is_planned_anew_by_itself(tmp_path: Path) -> None:
    """An hour after a refusal the next round tries again: what was wrong may have been put right at Stripe."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.sync()
        small(made)
        made.stripe_server.faults.add("refuse", method="POST", path="/v1/subscription_schedules$", message="No.")
        made.sync()
        made.sync()
        assert [state for _, state in made.pushes()] == ["refused"]
        made.clock.move_to(at(DAY).replace(hour=10, minute=1))
        made.sync()
        assert [state for _, state in made.pushes()] == ["refused", "done"]


def test_a_withdrawn_deal_is_called_off(tmp_path: Path) -> None:
    """A deal that begins later and is reopened leaves nothing at Stripe that would bill."""
    with stripe_world(tmp_path, day=DAY) as made:
        small(made, Contract_Start_Date__c="2026-05-01")
        made.sync()
        assert made.said("harbor_deal")[0] == "Scheduled"
        made.edit("harbor_deal", StageName="Negotiation/Review")
        made.sync()
        assert made.said("harbor_deal")[0] == "Withdrawn"
        (schedule,) = made.objects("subscription_schedule")
        assert schedule["status"] == "canceled"


def test_a_cancellation_ends_the_schedule(tmp_path: Path) -> None:
    """A Cancel deal ends the last phase at Stripe; nothing is billed after it."""
    with stripe_world(tmp_path, day=DAY) as made:
        small(made)
        made.sync()
        made.deal("stop", account="harbor", CloseDate=DAY, Billing_Action__c="Cancel", Amends_Opportunity__c="@harbor_deal", Cancel_When__c="End of period")
        made.win("stop")
        made.sync()
        (schedule,) = made.objects("subscription_schedule")
        assert schedule["end_behavior"] == "cancel"
        made.clock.move_to(at("2026-07-01"))
        made.sync()
        (subscription,) = made.objects("subscription")
        assert subscription["status"] == "canceled"
        assert len(made.objects("invoice")) == 1


def test_a_plan_shows_the_engines_invoices_and_sends_nothing(tmp_path: Path) -> None:
    """`connector plan` shows the same invoices as on the internal engine; Stripe hears nothing of it."""
    shown = {}
    for backend in ("internal", "stripe"):
        with stripe_world(tmp_path / backend, day=DAY) as made:
            if backend == "internal":
                made.config = replace(made.config, billing=replace(made.config.billing, backend="internal"))
            for name in ("acme_seats", "cobalt_licence", "delta_platform", "gaia_trial", "borealis_ramp"):
                made.win(name)
                with app.planning_house(made.config, None) as house:
                    # the planning house reads the machine's clock; what it plans is compared, not told
                    planned = preview_of(replace(house.seam, now=made.clock.now), made.ids[name])
                assert planned.preview is not None
                assert not planned.problems
                shown[name, backend] = (planned.decision, planned.preview.invoices, planned.preview.value)
            assert made.stripe_server.faults.asked("POST") == []
    names = {name for name, _ in shown}
    assert all(shown[name, "internal"] == shown[name, "stripe"] for name in names)


def test_a_silent_crm_begins_nothing_new(tmp_path: Path) -> None:
    """When the CRM was last read too long ago, the billing run sends nothing new and says so."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.win("acme_seats")
        made.sync()
        made.clock.move_to(at("2026-06-02"))
        with app.writing_house(made.config, "bill", clock=made.clock) as house:
            billed = rounds.bill(house.seam, made.clock.now(), Tally(), reads_crm=False)
        assert [p.code for p in billed.problems] == ["billing-held"]
        assert [state for _, state in made.pushes()] == ["done"]


def test_the_json_of_sync_says_how_much_was_sent(tmp_path: Path) -> None:
    """`connector sync --json` keeps its keys and has one more: what was sent."""
    with stripe_world(tmp_path, day=DAY) as made:
        small(made)
        shown = json.loads(json.dumps(_tally_result(made.sync(), 0)))
    assert shown["sent"] == 1
    assert {"staged", "mapped", "applied", "written", "waiting", "parked", "api_calls", "internal_errors", "problems"} <= shown.keys()


FAULTS = ["rate_limit", "lock_timeout", "error_before", "error_after", "cut_before", "cut_after"]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_at_every_request_changes_nothing(tmp_path: Path, kind: str) -> None:
    """Every single write to Stripe is struck once, by a limit, a lock, a failure or a broken line: the end is the undisturbed one."""
    with stripe_world(tmp_path / "calm", day=DAY) as calm:
        small(calm)
        calm.sync()
        expected = ends(calm)
        writes = len(calm.stripe_server.faults.asked("POST"))
    with stripe_world(tmp_path / "struck", day=DAY) as made:
        made.sync()
        small(made)
        for n in range(writes):
            made.stripe_server.faults.add(kind, method="POST", path=".", after=2 * n)
        made.sync()
        for _ in range(8):
            made.clock.move_to(made.clock.now().replace(minute=made.clock.now().minute + 5))
            made.sync()
        assert ends(made) == expected


def ends(made: StripeWorld) -> Any:
    """Return what stands at Stripe and on the record in the end."""
    kinds = ("customer", "product", "price", "subscription_schedule", "subscription", "invoice")
    return made.counts(*kinds), [(i["status"], i["total"]) for i in made.objects("invoice")], made.said("harbor_deal"), [s for _, s in made.pushes()]
