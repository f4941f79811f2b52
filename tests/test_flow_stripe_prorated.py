"""Changes that are left to Stripe's own proration (`billing.proration: second`): what is said to Stripe, and what comes back to books and CRM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from stripe_killing import killed_at
from stripe_world import StripeWorld, stripe_world

from connector.billing.stripe_backend.coding import line_from_text
from connector.config import BillingConfig

SECONDS = {"billing": BillingConfig(proration="second")}
JANUARY_S = 31 * 86_400


@contextmanager
def seats(folder: Path, quantity: int = 10, price: str = "30.00", **fields: Any) -> Iterator[StripeWorld]:
    """A world by the second with a deal over 10 seats at 30.00 a month from 1 January, nine o'clock, billed and read back."""
    with stripe_world(folder, **SECONDS) as made:
        made.account("acme")
        head = {"Contract_Term_Months__c": 12, "StageName": "Closed Won", "Payment_Terms__c": "Net 30", "CloseDate": date(2026, 1, 1)}
        made.deal("base", {"Quantity": quantity, "UnitPrice": price}, account="acme", **(head | fields))
        made.sync()
        yield made


def change(made: StripeWorld, when: str, quantity: int, *, ref: str = "more", how: str = "Immediately", hour: int = 9, price: str = "30.00", **fields: Any) -> None:
    """Let a rep close a change of the deal on a day, at an hour, effective that day."""
    at = datetime.fromisoformat(f"{when}T{hour:02d}:00:00+00:00")
    if at > made.clock.now():
        made.clock.move_to(at)
    head = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@base", "StageName": "Closed Won", "CloseDate": date.fromisoformat(when), "Proration__c": how}
    made.deal(ref, *([{"Quantity": quantity, "UnitPrice": price}] if quantity else []), account="acme", **(head | fields))


def late(made: StripeWorld, by: timedelta) -> None:
    """Let everything reach Stripe so much later than it was decided."""
    made.stripe.clock = lambda: made.clock.now() + by


def said(made: StripeWorld) -> list[Any]:
    """Return what the last change of a schedule said of prorations: the top level's behavior, or a cancellation's two words."""
    last = [e.params for e in made.stripe_server.faults.log if e.method == "POST" and e.path.startswith("/v1/subscription_schedules/")][-1]
    return [last[name] for name in ("proration_behavior", "prorate", "invoice_now") if name in last]


def keyed(made: StripeWorld) -> dict[str, int]:
    """Return the lines of the books, by what follows the contract in their keys."""
    return {key.split("/", 2)[2]: amount for key, amount in made.query("SELECT key, amount FROM line ORDER BY key")}


def alike(made: StripeWorld) -> None:
    """Books, CRM and Stripe show the same invoices, and nothing of ours stands beside them."""
    there = sorted(Decimal(i["total"]) / 100 for i in made.objects("invoice") if i["status"] != "draft")
    assert there == sorted(r["Total__c"] for r in made.invoices())
    assert there == sorted(Decimal(total) / 100 for (total,) in made.query("SELECT total FROM invoice"))
    assert not [i for i in made.objects("invoiceitem") if i["metadata"].get("connector_line")]
    assert len({key for (key,) in made.query("SELECT key FROM line")}) == len(made.query("SELECT key FROM line"))


# ---------------------------------------------------------------- what is said to Stripe


@pytest.mark.parametrize(("how", "expected"), [("Immediately", "always_invoice"), ("Next invoice", "create_prorations"), ("None", "none")])
def test_the_update_says_how_to_prorate(tmp_path: Path, how: str, expected: str) -> None:
    """Each way of billing a change is Stripe's own word on the update; the phases themselves never prorate."""
    with seats(tmp_path) as made:
        change(made, "2026-01-16", 5, how=how)
        made.sync()
        assert said(made) == [expected]
        (update,) = [e.params for e in made.stripe_server.faults.log if e.path.startswith("/v1/subscription_schedules/") and e.method == "POST"]
        assert {phase["proration_behavior"] for phase in update["phases"].values()} == {"none"}
        alike(made)


def test_an_invoice_of_prorations_is_collected_as_any_other(tmp_path: Path) -> None:
    """Stripe finalizes what it bills at once and does nothing more with it; it is told to."""
    with seats(tmp_path) as made:
        change(made, "2026-01-16", 5)
        made.sync()
        invoice = made.objects("invoice")[-1]
        assert (invoice["billing_reason"], invoice["status"], invoice["auto_advance"]) == ("subscription_update", "open", True)


def test_by_the_day_nothing_is_left_to_stripe(tmp_path: Path) -> None:
    """Prorated by days the same change is an invoice of ours, with Stripe's proration off."""
    with stripe_world(tmp_path) as made:
        made.account("acme")
        made.deal("base", {"Quantity": 10, "UnitPrice": "30.00"}, account="acme", Contract_Term_Months__c=12, StageName="Closed Won", CloseDate=date(2026, 1, 1))
        made.sync()
        change(made, "2026-01-16", 5)
        made.sync()
        assert said(made) == ["none"]
        assert sorted(i["amount"] for i in made.objects("invoiceitem")) == [-15484, 23226]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"Billing_Effective_Date__c": date(2026, 1, 14)}, "it counts from a day before"),
        ({"Billing_Effective_Date__c": date(2026, 1, 20)}, "it counts from a later day"),
        ({"Proration__c": "Up front", "Billing_Effective_Date__c": date(2026, 2, 10)}, "it is billed before it counts"),
    ],
)
def test_what_does_not_count_from_now_stays_ours(tmp_path: Path, fields: dict[str, Any], why: str) -> None:
    """Stripe would count from the second of the request: what counts from another day is billed by items of ours."""
    with seats(tmp_path) as made:
        change(made, "2026-01-16", 5, **fields)
        made.sync()
        made.clock.move_to(made.clock.now().replace(day=28))
        made.bill()
        made.sync()
        assert said(made) == ["none"], why
        assert all(not (line["parent"]["subscription_item_details"] or {}).get("proration") for i in made.objects("invoice") for line in i["lines"]["data"])


def test_a_change_with_a_fee_stays_ours_as_a_whole(tmp_path: Path) -> None:
    """A one-time fee of the change is no proration: fee and parts stand together on one invoice of ours, as on the internal engine."""
    with seats(tmp_path) as made:
        made.clock.move_to(datetime.fromisoformat("2026-01-16T09:00:00+00:00"))
        head = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@base", "StageName": "Closed Won", "CloseDate": date(2026, 1, 16), "Proration__c": "Immediately"}
        made.deal("more", {"Quantity": 5, "UnitPrice": "30.00"}, {"product": "setup", "UnitPrice": "250.00"}, account="acme", **head)
        made.sync()
        assert said(made) == ["none"]
        assert [i["total"] for i in made.objects("invoice")] == [30000, 32742]


# ---------------------------------------------------------------- what comes back


def test_37_seconds_between_decision_and_arrival(tmp_path: Path) -> None:
    """Stripe counts from its own second: its cents are in books and CRM, each line under the engine's key, once; nothing is told as differing."""
    with seats(tmp_path, price="9000.00") as made:
        late(made, timedelta(seconds=37))
        change(made, "2026-01-16", 5, price="9000.00")
        made.sync()
        (_, invoice) = made.objects("invoice")
        assert (invoice["billing_reason"], invoice["status"]) == ("subscription_update", "open")
        credit, charge = sorted(invoice["lines"]["data"], key=lambda line: line["amount"])
        left = credit["period"]["end"] - credit["period"]["start"]
        assert credit["period"]["start"] - datetime.fromisoformat("2026-01-16T09:00:00+00:00").timestamp() >= 37, "it arrived later than it was decided"
        assert credit["amount"] == -round(9_000_000 * left / JANUARY_S) != -round(9_000_000 * 16 / 31)
        found = keyed(made)
        assert found[f"/2026-01-01/credit/{made.ids['more']}"] == credit["amount"]
        assert found[f"{made.ids['more']}/2026-01-16/charge"] == charge["amount"]
        assert made.query("SELECT data FROM event WHERE name = 'invoice.differs'") == []
        assert f"Charged {invoice['total'] / 100:,.2f} EUR" in made.said("more")[1]
        alike(made)
        made.bill()
        made.sync()
        assert len(made.objects("invoice")) == 2, "asked again nothing is billed"


def test_hours_between_decision_and_arrival_are_told(tmp_path: Path) -> None:
    """What arrives hours later costs noticeably less than the rep was shown: Stripe's amount counts, and the log says so."""
    with seats(tmp_path) as made:
        late(made, timedelta(hours=5))
        change(made, "2026-01-16", 5)
        made.sync()
        (text,) = made.query("SELECT data FROM event WHERE name = 'invoice.differs'")[0]
        assert "Stripe billed -152.82 EUR, expected -154.84 EUR" in text
        alike(made)


def test_what_waits_is_known_and_billed_once(tmp_path: Path) -> None:
    """Prorations that wait for the next invoice are known as Stripe has them; they come with February, and a run in between adds nothing."""
    with seats(tmp_path) as made:
        late(made, timedelta(minutes=37))
        change(made, "2026-01-16", -4, how="Next invoice")
        made.sync()
        made.bill()
        made.sync()
        assert len(made.objects("invoice")) == 1
        waiting = {line.key.split("/", 2)[2]: line.net for line in map(line_from_text, [d for (d,) in made.query("SELECT data FROM stripe_line")])}
        assert sorted(waiting.values()) == sorted(i["amount"] for i in made.objects("invoiceitem")), "known with the cents that Stripe has"
        made.clock.move_to(datetime.fromisoformat("2026-02-01T12:00:00+00:00"))
        made.bill()
        made.sync()
        (_, invoice) = made.objects("invoice")
        assert len(invoice["lines"]["data"]) == 3
        assert set(keyed(made)) == {
            "/2026-01-01/charge", f"/2026-01-01/credit/{made.ids['more']}", f"{made.ids['more']}/2026-01-16/charge", f"{made.ids['more']}/2026-02-01/charge",
        }  # fmt: skip
        assert made.query("SELECT data FROM event WHERE name = 'invoice.differs'") == []
        alike(made)


def test_a_change_of_the_next_day_gives_back_what_stripe_billed(tmp_path: Path) -> None:
    """The second credit is a share of Stripe's own charge of the day before, by Stripe and in the forecast of `plan` alike."""
    with seats(tmp_path) as made:
        late(made, timedelta(hours=3))
        change(made, "2026-01-16", 5)
        made.sync()
        change(made, "2026-01-17", 5, ref="again")
        made.sync()
        found = keyed(made)
        first = found[f"{made.ids['more']}/2026-01-16/charge"]
        back = found[f"{made.ids['more']}/2026-01-16/credit/{made.ids['again']}"]
        assert 0 < -back < first
        assert abs(back + first * 15 / (16 - 3 / 24)) < first * 3 / 24 / 15 + 1
        alike(made)


def test_a_late_change_gives_back_at_most_what_stripe_billed(tmp_path: Path) -> None:
    """A change in the past after Stripe's proration is ours: its credits are shares of what Stripe billed, with Stripe's cents, never more."""
    with seats(tmp_path) as made:
        late(made, timedelta(hours=3))
        change(made, "2026-01-16", 5)
        made.sync()
        change(made, "2026-01-20", -15, ref="less", Billing_Effective_Date__c=date(2026, 1, 16), hour=15)
        made.sync()
        assert said(made)[0] != "always_invoice"
        charge = keyed(made)[f"{made.ids['more']}/2026-01-16/charge"]
        back = sum(amount for key, amount in keyed(made).items() if "/credit/" in key and made.ids["less"] in key)
        assert back == -charge


def test_two_changes_of_one_day(tmp_path: Path) -> None:
    """Each arrives at its own second; the second gives back what the first charged, and their lines are told apart by time."""
    with seats(tmp_path) as made:
        change(made, "2026-01-16", 5, how="Next invoice")
        made.sync()
        change(made, "2026-01-16", 5, ref="again", how="Next invoice", hour=15)
        made.sync()
        made.clock.move_to(datetime.fromisoformat("2026-02-01T12:00:00+00:00"))
        made.bill()
        made.sync()
        more, again = made.ids["more"], made.ids["again"]
        found = keyed(made)
        assert found[f"/2026-01-01/credit/{more}"] == pytest.approx(-15484, abs=5)
        assert found[f"{more}/2026-01-16/charge"] == pytest.approx(23226, abs=5)
        assert found[f"{more}/2026-01-16/credit/{again}"] == pytest.approx(-22863, abs=5)
        assert found[f"{again}/2026-01-16/charge"] == pytest.approx(30484, abs=5)
        assert made.query("SELECT data FROM event WHERE name = 'invoice.differs'") == []
        alike(made)


@pytest.mark.parametrize("kind", ["error_after", "cut_after", "cut_before", "error_before"])
def test_a_lost_answer_prorates_once(tmp_path: Path, kind: str) -> None:
    """The answer to the update is lost, before or after Stripe did it: there is one proration invoice, and the books have it."""
    with seats(tmp_path) as made:
        made.stripe_server.faults.add(kind, method="POST", path=r"/v1/subscription_schedules/sub_sched_\w+$", times=2)
        change(made, "2026-01-16", 5)
        made.sync()
        made.clock.move_to(made.clock.now() + timedelta(minutes=5))
        made.sync()
        assert [i["billing_reason"] for i in made.objects("invoice")] == ["subscription_create", "subscription_update"]
        assert made.said("more")[0] != "Queued"
        alike(made)


# ---------------------------------------------------------------- cancellation, credit notes


def test_a_cancellation_credits_by_the_second(tmp_path: Path) -> None:
    """Canceled at once, Stripe credits the unused time of what it billed on a final invoice, and the balance has it."""
    with seats(tmp_path) as made:
        late(made, timedelta(seconds=37))
        change(made, "2026-01-16", 0, ref="end", Billing_Action__c="Cancel", Billing_Effective_Date__c=date(2026, 1, 16))
        made.sync()
        assert said(made) == ["true", "true"]
        (_, final) = made.objects("invoice")
        assert final["total"] < 0
        assert made.said("base")[0] == "Canceled"
        alike(made)


def test_a_cancellation_while_prorations_wait_is_ours(tmp_path: Path) -> None:
    """Stripe would take waiting prorations away: they go on the final invoice, and the unused time is credited by us."""
    with seats(tmp_path) as made:
        change(made, "2026-01-16", 5, how="Next invoice")
        made.sync()
        change(made, "2026-01-21", 0, ref="end", Billing_Action__c="Cancel", Billing_Effective_Date__c=date(2026, 1, 21))
        made.sync()
        assert said(made) == ["false", "true"]
        made.clock.move_to(made.clock.now() + timedelta(hours=2))
        made.sync()
        assert sum(amount for key, amount in keyed(made).items()) == pytest.approx(30000 - 15484 + 23226 - 15968, abs=5)
        assert sum(i["total"] for i in made.objects("invoice")) == sum(keyed(made).values())


def test_a_credit_note_on_a_prorated_line(tmp_path: Path) -> None:
    """Part of a prorated charge is credited by a note; what is given back of that line later is ours, and never more than what is left."""
    with seats(tmp_path) as made:
        change(made, "2026-01-16", 5)
        made.sync()
        (_, number) = [r["Number__c"] for r in made.invoices()]
        made.ask("invoice.credit", invoice=number, amount=5000, reason="A gesture")
        made.sync()
        change(made, "2026-01-17", -15, ref="less")
        made.sync()
        assert said(made)[0] != "always_invoice", "Stripe's proration does not know of notes"
        charge = keyed(made)[f"{made.ids['more']}/2026-01-16/charge"]
        back = keyed(made).get(f"{made.ids['more']}/2026-01-16/credit/{made.ids['less']}", 0)
        assert back == -(charge - 5000)


# ---------------------------------------------------------------- Stripe is away


def cut_off(made: StripeWorld, times: int = 1000) -> None:
    """Let nothing reach Stripe any more."""
    made.stripe_server.faults.add("cut_before", path="/v1/", times=times)


def test_stripe_is_away_for_hours(tmp_path: Path) -> None:
    """Sent three hours later, the change is planned anew: Stripe counts from then, as the day of the change is still today, and nothing is told."""
    with seats(tmp_path) as made:
        cut_off(made)
        change(made, "2026-01-16", 5)
        made.sync()
        assert made.said("more")[0] == "Queued"
        made.stripe_server.faults.clear()
        made.clock.move_to(datetime.fromisoformat("2026-01-16T12:00:00+00:00"))
        made.sync()
        (_, invoice) = made.objects("invoice")
        assert sorted(line["amount"] for line in invoice["lines"]["data"]) == [pytest.approx(-15363, abs=5), pytest.approx(23044, abs=5)]
        assert made.query("SELECT data FROM event WHERE name = 'invoice.differs'") == []
        alike(made)


def test_stripe_is_away_until_the_next_day(tmp_path: Path) -> None:
    """The change counts from its own day, whenever it is sent: on the next day Stripe would count too little, so it is an invoice of ours."""
    with seats(tmp_path) as made:
        cut_off(made)
        change(made, "2026-01-16", 5)
        made.sync()
        made.stripe_server.faults.clear()
        made.clock.move_to(datetime.fromisoformat("2026-01-17T12:00:00+00:00"))
        made.sync()
        assert said(made) == ["none"]
        assert sorted(i["amount"] for i in made.objects("invoiceitem")) == [-15484, 23226]
        assert [i["total"] for i in made.objects("invoice")] == [30000, 7742]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "after"])
def test_killed_at_every_call_it_prorates_once(tmp_path: Path, where: str) -> None:
    """The process dies at every call of a change in turn, and begins anew: one proration invoice comes of it, and one final one of the cancellation."""
    with seats(tmp_path) as made:
        change(made, "2026-01-16", 5)
        for n in range(40):
            if killed_at(made, n, where) == 0:
                break
        assert 5 < n < 40
        assert [i["billing_reason"] for i in made.objects("invoice")] == ["subscription_create", "subscription_update"]
        assert keyed(made)[f"/2026-01-01/credit/{made.ids['more']}"] == pytest.approx(-15484, abs=10)
        alike(made)
        change(made, "2026-01-21", 0, ref="end", Billing_Action__c="Cancel", Billing_Effective_Date__c=date(2026, 1, 21))
        for n in range(40):
            if killed_at(made, n, where) == 0:
                break
        assert 3 < n < 40
        made.sync()
        assert len(made.objects("invoice")) == 3
        assert made.said("base")[0] == "Canceled"
        alike(made)
