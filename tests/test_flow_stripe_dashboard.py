"""What somebody ended or released in Stripe's dashboard: nothing waits for it for ever, and the CRM still has the last word in plain ones."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from stripe_world import EveningWorld, StripeWorld, stripe_world
from test_flow_catalogue import stock
from test_stripe_reading import DAY, call, deed, started
from world import at

from connector import app
from connector.billing.stripe_backend import pushes
from connector.billing.stripe_backend.steps import Held, Plan, Step


def change(made: StripeWorld, ref: str, day: str, action: str = "Amend", **fields: Any) -> None:
    """Win a change on a day and run a round."""
    if made.clock.now() < at(day):
        made.clock.move_to(at(day))
    lines = [{"Quantity": 3, "UnitPrice": "60.00"}] if action == "Amend" else []
    made.deal(ref, *lines, account="harbor", CloseDate=day, Billing_Action__c=action, Amends_Opportunity__c="@harbor_deal", **fields)
    made.win(ref)
    made.sync()


def own(made: StripeWorld) -> list[int]:
    """Return the amounts of every line of ours at Stripe."""
    return [i["amount"] for i in made.objects("invoiceitem") if i["metadata"].get("connector_line")]


def canceled(made: StripeWorld, day: str = "2026-04-05") -> None:
    """Let somebody cancel the subscription in the dashboard."""
    started(made)
    made.clock.move_to(at(day))
    deed(made, "subscription", subscription=made.objects("subscription")[0]["id"], cancel={})


def released(made: StripeWorld) -> None:
    """Let somebody release the schedule in the dashboard."""
    started(made)
    made.clock.move_to(at("2026-04-05"))
    (schedule,) = made.objects("subscription_schedule")
    call(made, "POST", "/v1/subscription_schedules/{id}/release", {}, id=schedule["id"])


def test_a_change_of_what_was_canceled_there_is_refused_in_words(tmp_path: Path) -> None:
    """After a cancellation in the dashboard, also weeks later, a deal over more is refused with what to do; nothing is made at Stripe."""
    with stripe_world(tmp_path, day=DAY) as made:
        canceled(made)
        made.sync()
        change(made, "more", "2026-05-10")
        status, message = made.said("more")
        assert status == "Needs attention"
        assert message.startswith("The running contract was ended where it is billed")
        assert "Close a Cancel deal" in message
        made.clock.move_to(at("2026-06-25"))
        made.bill()
        made.sync()
        assert made.counts("subscription", "invoice") == {"subscription": 1, "invoice": 1}


def test_what_was_canceled_there_is_canceled_here(tmp_path: Path) -> None:
    """A Cancel deal succeeds as nothing is left to do: what was paid for and not used is given back, and nobody needs attention any more."""
    with stripe_world(tmp_path, day=DAY) as made:
        canceled(made)
        made.sync()
        assert made.said("harbor_deal")[0] == "Needs attention"
        change(made, "stop", "2026-04-10", "Cancel", Billing_Effective_Date__c="2026-04-10", Proration__c="Immediately")
        assert made.said("stop")[0] == "Canceled"
        assert own(made) == [round(-12000 * 10 / 31)]
        made.clock.move_to(at("2026-06-25"))
        made.sync()
        assert made.said("harbor_deal")[0] == "Canceled"
        assert made.counts("subscription") == {"subscription": 1}


def test_canceled_there_and_here_before_we_heard_of_it(tmp_path: Path) -> None:
    """The same where Stripe's event comes after the deal: what is canceled already counts as done."""
    with stripe_world(tmp_path, day=DAY) as made:
        canceled(made)
        change(made, "stop", "2026-04-05", "Cancel", Cancel_When__c="End of period")
        for _ in range(2):
            made.clock.move_to(made.clock.now() + timedelta(minutes=20))
            made.sync()
        made.clock.move_to(at("2026-06-25"))
        made.sync()
        assert made.said("harbor_deal")[0] == "Canceled"
        assert made.said("stop")[0] == "Canceled"
        assert made.counts("subscription", "invoice") == {"subscription": 1, "invoice": 1}


def test_a_released_schedule_is_taken_up_again_by_a_change(tmp_path: Path) -> None:
    """The schedule was released in the dashboard: the deal says so, and an amendment puts the subscription under a new one."""
    with stripe_world(tmp_path, day=DAY) as made:
        released(made)
        made.sync()
        assert made.said("harbor_deal")[1].startswith("The running contract is no longer steered")
        change(made, "more", "2026-04-10", Proration__c="None")
        assert made.said("more")[0] == "Active"
        assert [s["status"] for s in made.objects("subscription_schedule")] == ["released", "active"]
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        assert [i["quantity"] for i in made.objects("subscription")[0]["items"]["data"]] == [5]
        assert made.said("harbor_deal")[0] != "Needs attention"


def test_a_released_schedule_is_found_out_by_the_refusal(tmp_path: Path) -> None:
    """The same where the change comes before Stripe's event: the refusal makes us look, and the next round goes on."""
    with stripe_world(tmp_path, day=DAY) as made:
        released(made)
        change(made, "more", "2026-04-05", Proration__c="None")
        made.clock.move_to(made.clock.now() + timedelta(minutes=5))
        made.sync()
        made.sync()
        assert made.said("more")[0] == "Active"
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        assert [i["quantity"] for i in made.objects("subscription")[0]["items"]["data"]] == [5]


def test_a_released_schedule_is_canceled(tmp_path: Path) -> None:
    """A Cancel deal ends a subscription whose schedule was released there."""
    with stripe_world(tmp_path, day=DAY) as made:
        released(made)
        made.sync()
        change(made, "stop", "2026-04-10", "Cancel", Billing_Effective_Date__c="2026-04-10", Proration__c="Immediately")
        assert made.said("stop")[0] == "Canceled"
        assert made.objects("subscription")[0]["status"] == "canceled"
        assert own(made) == [round(-12000 * 10 / 31)]


def test_what_is_owed_is_collected_after_the_end(tmp_path: Path) -> None:
    """Stripe stops collecting a customer's open invoices when a subscription ends; what was owed before is collected again."""
    for how in ({"Billing_Effective_Date__c": "2026-04-10", "Proration__c": "None"}, {"Cancel_When__c": "End of period"}):
        with stripe_world(tmp_path / str(len(how)), day=DAY) as made:
            invoice = started(made)
            assert invoice["auto_advance"]
            change(made, "stop", "2026-04-10", "Cancel", **how)
            made.clock.move_to(at("2026-04-22"))
            made.sync()
            made.sync()
            assert made.objects("subscription")[0]["status"] == "canceled"
            assert [(i["status"], i["auto_advance"]) for i in made.objects("invoice")] == [("open", True)]
            made.sync()
            assert len([key for key, _ in made.pushes() if key.startswith("collect/")]) == 1


def test_what_is_owed_is_collected_though_nobody_told_of_the_end(tmp_path: Path) -> None:
    """The event of the end is lost: the nightly comparison sees that Stripe stopped collecting, and has it go on, once."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        change(made, "stop", "2026-04-10", "Cancel", Cancel_When__c="End of period")
        made.clock.move_to(at("2026-04-22"))
        call(made, "GET", "/v1/invoices", {})  # the account's clock comes along
        made.stripe.events.clear()
        made.sync()
        assert [(i["status"], i["auto_advance"]) for i in made.objects("invoice")] == [("open", False)]
        made.sweep()
        made.sync()
        assert [(i["status"], i["auto_advance"]) for i in made.objects("invoice")] == [("open", True)]
        made.stripe.kind("invoice")[made.objects("invoice")[0]["id"]]["auto_advance"] = False  # somebody's own wish, afterwards
        made.sweep()
        made.sync()
        assert [i["auto_advance"] for i in made.objects("invoice")] == [False]


WEEKLY = """\
currency: eur
prices:
  visits: {unit_amount: 700, recurring: {interval: week}}
"""


def in_two(made: StripeWorld) -> dict[str, Any]:
    """Sell seats by the month and visits by the week, which no subscription holds together, and return the second, which somebody ends."""
    made.account("harbor")
    made.sync()
    stock(made, WEEKLY)
    made.add("Product2", "visit", Name="Visit", ProductCode="VISIT", IsActive=True, Charge_Type__c="Recurring", Billing_Price__c="visits")
    made.add("PricebookEntry", "visit_entry", Pricebook2Id="@standard", Product2Id="@visit", UnitPrice=Decimal("7.00"), IsActive=True)
    seats, visits = {"UnitPrice": "60.00", "Quantity": 2}, {"product": "visit", "UnitPrice": "7.00"}
    made.deal("harbor_deal", seats, visits, account="harbor", CloseDate=DAY, Contract_Start_Date__c=DAY, Contract_Term_Months__c=3, Auto_Renew__c=True)
    made.win("harbor_deal")
    made.sync()
    assert made.counts("subscription") == {"subscription": 2}
    (weekly,) = (s for s in made.objects("subscription") if s["items"]["data"][0]["price"]["recurring"]["interval"] == "week")
    made.clock.move_to(at("2026-04-05"))
    made.sync()
    deed(made, "subscription", subscription=weekly["id"], cancel={})
    made.sync()
    return weekly


def test_the_rest_of_a_contract_goes_on(tmp_path: Path) -> None:
    """One of two subscriptions was ended in the dashboard: the deal says which, the other one is changed, bills and renews as ever."""
    with stripe_world(tmp_path, day=DAY, kind=EveningWorld) as made:
        weekly = in_two(made)
        status, message = made.said("harbor_deal")
        assert (status, message.partition(";")[0]) == ("Needs attention", "A part of the running contract was ended where it is billed")
        assert "VISIT: ended 2026-04-05" in message
        change(made, "more", "2026-04-10", Proration__c="None")
        assert made.said("more")[0] in ("Active", "Past due"), made.said("more")
        made.bill("2026-07-25")
        assert [i["total"] for i in made.objects("invoice") if i["total"] > 700] == [12000, 30000, 30000, 30000, 30000]
        assert len([i for i in made.objects("invoice") if i["total"] == 700]) == 3, "nothing more of the visits after the end, renewal or not"
        assert made.counts("subscription") == {"subscription": 2}
        assert weekly["status"] == "canceled"
        assert made.said("harbor_deal")[0] == "Needs attention"


def test_what_concerns_the_ended_part_is_refused_until_it_has_ended_here(tmp_path: Path) -> None:
    """More visits are refused in words; a Cancel deal over them ends them here, too, and nobody needs attention any more."""
    with stripe_world(tmp_path, day=DAY) as made:
        in_two(made)
        more = {"product": "visit", "UnitPrice": "7.00", "Quantity": 2}
        fields = {"account": "harbor", "CloseDate": "2026-04-06", "Amends_Opportunity__c": "@harbor_deal"}
        made.deal("visits", more, Billing_Action__c="Amend", Proration__c="None", **fields)
        made.win("visits")
        made.sync()
        assert made.said("visits")[0] == "Needs attention"
        assert made.said("visits")[1].startswith("A part of this contract was ended where it is billed, and this change concerns it.")
        made.edit("visits", StageName="Closed Lost")
        made.clock.move_to(at("2026-04-06"))
        made.deal("stop", {"product": "visit", "UnitPrice": "7.00"}, Billing_Action__c="Cancel", Billing_Effective_Date__c="2026-04-06", Proration__c="None", **fields)
        made.win("stop")
        made.sync()
        assert "Needs attention" not in (made.said("stop")[0], made.said("harbor_deal")[0]), (made.said("stop"), made.said("harbor_deal"))
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        made.sweep()
        assert made.said("harbor_deal")[0] == "Past due"
        assert [i["total"] for i in made.objects("invoice") if i["total"] > 700] == [12000, 12000]


def test_nothing_waits_for_ever_for_an_invoice(tmp_path: Path) -> None:
    """Collection is paused in the dashboard so that invoices stay drafts: a change waits three days at most, and the deal says what is missing."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        subscription = made.objects("subscription")[0]["id"]
        deed(made, "subscription", subscription=subscription, change={"pause_collection": {"behavior": "keep_as_draft"}})
        made.clock.move_to(at("2026-04-21"))
        made.sync()
        change(made, "more", "2026-04-22", Proration__c="Immediately")
        assert made.said("more")[0] == "Queued"
        made.clock.move_to(at("2026-04-24"))
        made.sweep()
        assert "An invoice of this contract is missing" in made.said("harbor_deal")[1]
        assert "due 2026-04-20" in made.said("harbor_deal")[1]
        made.sync()
        made.sync()
        assert [i["quantity"] for i in made.objects("subscription")[0]["items"]["data"]] == [5]
        assert "Queued" not in str(made.said("more")[0])


def test_old_pushes_are_forgotten(tmp_path: Path) -> None:
    """What was sent and is over is kept for 90 days; what is on its way or stands refused stays."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        with app.writing_house(made.config, "test", clock=made.clock) as house, house.database.transaction() as unit:
            plan = Plan(steps=(Step(name="x", call="invoices.retrieve", target="in_none"),), held=Held(contract_id=""))
            pushes.begin(unit, key="waits", contract_id="", deal="", plan=plan, now=made.clock.now())
            assert pushes.forget(unit, made.clock.now() + timedelta(days=89)) == 0
            assert pushes.forget(unit, made.clock.now() + timedelta(days=91)) == 1
            assert pushes.forget(unit, made.clock.now() + timedelta(days=91)) == 0
        assert made.pushes() == [("waits", "pending")]
