"""What is sent later than it was planned: Stripe was away over noon, so that a period that the plan took as ahead was billed meanwhile.

The oracle is the internal engine, to which nobody was away: whatever was billed in between, in the end the customer owes the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from backend_stories import CATALOGUE, STORIES, Story
from stripe_world import StripeWorld, stripe_world
from test_flow_catalogue import stock
from world import World, world

from connector.core.terms import Change, change_to_data
from connector.lookalike.stripe.server import StripeServer
from connector.sync import rounds as runs
from connector.sync.seam import Tally

BY_NAME = {s.name: s for s in STORIES}
BACK = "2026-02-02"
LAST = ("2026-03-01", "2026-04-01")


def day(here: World, text: str, hour: int = 9) -> None:
    """Move the clock to an hour of a day."""
    here.clock.move_to(here.clock.now().replace(year=int(text[:4]), month=int(text[5:7]), day=int(text[8:]), hour=hour, minute=0, second=0))


def rounds(here: World, text: str) -> None:
    """Read, send and bill on a day, in the morning and late in the evening, when Stripe's drafts have become final."""
    day(here, text)
    here.sync()
    day(here, text, 22)
    here.bill()
    here.sync()


@contextmanager
def away(made: World) -> Iterator[None]:
    """Let Stripe be away for us; what it has to bill it bills meanwhile."""
    if not isinstance(made, StripeWorld):
        yield
        return
    port = int(made.stripe_server.url.rpartition(":")[2])
    made.stripe_server.stop()
    yield
    made.stripe_server = StripeServer(made.stripe, port=port).start()


def played(here: World, story: Story) -> tuple[Decimal, str | None]:
    """Play a story whose acts are decided in January and sent on 2 February; return what is owed in the end, and the deal's word."""
    here.account("acme")
    here.sync()
    stock(here, CATALOGUE)
    acts = {d: act for d, act in story.acts.items() if d > "2026-01-01"}
    story.begin(here)
    rounds(here, "2026-01-01")
    before = [d for d in acts if d < max(acts)]
    for text in before:
        day(here, text)
        acts[text](here)
        rounds(here, text)
    day(here, max(acts))
    with away(here):
        acts[max(acts)](here)
        here.sync()
        day(here, BACK, 18)
    here.sync()
    for text in (BACK, *LAST):
        rounds(here, text) if text != BACK else None
        day(here, text, 23)
        here.bill()
        here.sync()
    return sum((r["Total__c"] for r in here.invoices() if r["Status__c"] != "Void"), Decimal(0)), here.said("base")[0]


LATE = ("more_next", "more_free", "up_front", "cancel_waiting", "cancel_period", "edited", "withdrawn")
AS_WELL = ("more_now", "planned", "fewer", "new_item", "two_changes", "by_the_second", "cancel_now", "cancel_term", "migration")


@pytest.mark.parametrize("name", [*LATE, *(pytest.param(name, marks=pytest.mark.slow) for name in AS_WELL)])
def test_a_change_that_is_sent_after_the_next_period_began(tmp_path: Path, name: str) -> None:
    """Decided in January and sent on 2 February, after Stripe billed February as it was: the customer owes what was agreed."""
    story = BY_NAME[name]
    with world(tmp_path / "internal", **story.config) as here:
        expected = played(here, story)
    with stripe_world(tmp_path / "stripe", **story.config) as made:
        assert played(made, story) == expected
        assert {state for _, state in made.pushes()} == {"done"}


def test_a_deal_that_is_sent_after_it_began(tmp_path: Path) -> None:
    """A deal from 1 February that Stripe first hears of on the 2nd: February is an invoice of ours, Stripe bills from March on."""
    with stripe_world(tmp_path) as made:
        made.sync()
        made.account("acme")
        with away(made):
            made.deal("base", {"Quantity": 2}, account="acme", Contract_Start_Date__c="2026-02-01", StageName="Closed Won")
            made.sync()
            day(made, BACK, 18)
        made.sync()
        for text in LAST:
            rounds(made, text)
        assert [(i["total"], i["billing_reason"]) for i in made.objects("invoice")] == [
            (20000, "manual"), (20000, "subscription_cycle"), (20000, "subscription_cycle"),
        ]  # fmt: skip
        assert made.said("base")[0] == "Past due"


def test_what_waits_after_a_refusal_is_planned_as_of_then(tmp_path: Path) -> None:
    """A change that Stripe refused in January is planned anew in February only when Stripe's invoice of February is read."""
    with stripe_world(tmp_path) as made:
        made.account("acme")
        BY_NAME["more_now"].begin(made)
        made.sync()
        day(made, "2026-01-16")
        BY_NAME["more_now"].acts["2026-01-16"](made)
        made.stripe_server.faults.add("refuse", method="POST", path="/v1/subscription_schedules/", message="No.")
        made.sync()
        assert made.said("change")[0] == "Needs attention"
        day(made, "2026-02-01", 22)  # Stripe's invoice of noon is final, and was not read yet
        made.sync()
        made.sync()
        rounds(made, "2026-03-01")
        assert sum(i["total"] for i in made.objects("invoice")) == 30000 + 7742 + 45000 + 45000
        assert made.said("change")[0] == "Past due"


@pytest.mark.parametrize(("behavior", "word"), [("void", "Void"), ("mark_uncollectible", "Uncollectible")])
@pytest.mark.parametrize("effective", ["2026-01-20", "2026-02-01"])
def test_a_pause_that_stripe_hears_of_too_late(tmp_path: Path, behavior: str, word: str, effective: str) -> None:
    """Paused in time, while Stripe was away until it had billed February: that is owed no more than if it had heard of it; March, resumed, is."""
    with stripe_world(tmp_path) as here:
        here.account("acme")
        BY_NAME["more_next"].begin(here)
        rounds(here, "2026-01-01")
        (contract,) = here.query("SELECT id FROM contract")[0]

        def change(kind: str, on: str, how: Any = "credit") -> None:
            at = datetime.fromisoformat(on)
            made = Change(id="it", kind=kind, effective=at, made_at=here.clock.now(), pause_behavior=how)  # type: ignore[arg-type]
            here.ask("contract.change", contract=contract, label=f"connector contracts {kind}", change=change_to_data(made))

        day(here, "2026-01-20")
        with away(here):
            change("pause", effective, behavior)
            day(here, BACK, 18)
        for _ in range(3):
            here.sync()
            here.bill()
        change("resume", BACK)
        rounds(here, "2026-02-03")
        rounds(here, "2026-03-01")
        found = sorted((str(r["Issued_On__c"]), r["Status__c"], r["Total__c"]) for r in here.invoices())
        assert [f[1:] for f in found] == [("Open", Decimal(300)), (word, Decimal(300)), ("Open", Decimal(300))]
        assert {state for _, state in here.pushes()} == {"done"}


def test_a_credit_of_a_day_on_which_the_connector_was_down(tmp_path: Path) -> None:
    """Fewer of a yearly line from the day on which months are billed, planned in January; down until Stripe has billed that day: given back that day, not a month later."""
    with stripe_world(tmp_path) as here:
        here.account("acme")
        yearly = {"Quantity": 2, "UnitPrice": "365.00", "product": "support", "Billing_Frequency__c": "Annual"}
        here.deal("base", {"Quantity": 1}, yearly, account="acme", StageName="Closed Won", Contract_Term_Months__c=12, Contract_Start_Date__c=date(2026, 1, 1))
        rounds(here, "2026-01-01")
        day(here, "2026-01-10")
        fewer = {**yearly, "Quantity": -1}
        head = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@base", "StageName": "Closed Won", "CloseDate": date(2026, 1, 10)}
        here.deal("less", fewer, account="acme", Billing_Effective_Date__c=date(2026, 2, 1), Proration__c="Next invoice", **head)
        rounds(here, "2026-01-10")
        day(here, "2026-02-01", 22)
        here.bill()
        here.sync()
        found = [(str(r["Issued_On__c"]), r["Total__c"]) for r in here.invoices()]
        assert sum(total for on, total in found if on == "2026-02-01") == 100 - 334, found
        assert not [i for i in here.objects("invoiceitem") if not i["invoice"]]


def test_what_is_due_goes_out_in_the_run_that_reads(tmp_path: Path) -> None:
    """Reading Stripe's invoice of a day takes seconds; a fee of that day goes out in that very run, not in the next one, which may be tomorrow's."""
    with stripe_world(tmp_path) as here:
        here.account("acme")
        fee = {"product": "setup", "Charge_Type__c": "One-time", "UnitPrice": "50.00", "ServiceDate": date(2026, 2, 1)}
        here.deal("base", {"Quantity": 2}, fee, account="acme", StageName="Closed Won", Contract_Term_Months__c=12, Contract_Start_Date__c=date(2026, 1, 1))
        here.sync()
        day(here, "2026-02-01", 22)
        with here.house("bill") as house:
            runs.bill(house.seam, here.clock.now() - timedelta(seconds=3), Tally())
        assert sorted(r["Total__c"] for r in here.invoices()) == [Decimal(50), Decimal(200), Decimal(200)]
