"""Killed at every call to Stripe, the next run ends as if nothing had happened: a real SIGKILL, a real ledger, the look-alike's own log."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from stripe_world import StripeWorld, stripe_world

from connector import app
from connector.billing.stripe_backend import client
from connector.sync import rounds
from connector.sync.seam import Tally

DAY = "2026-03-20"
MOST_CALLS = 100
DEALS = ("acme_seats", "acme_upgrade", "harbor_mix")
_KINDS = ("customer", "product", "price", "subscription_schedule", "subscription", "subscription_item", "invoice", "invoiceitem")
_REAL = client.StripeCalls


class FusedCalls(_REAL):
    """The real door to Stripe; this process dies at the n-th call: before it leaves, while Stripe works on it, or with the answer in hand."""

    n = 0
    where = ""
    calls = 0

    def _send(self, call: str, params: dict[str, Any], target: str | None, key: str) -> Any:
        mine = type(self).calls == self.n
        type(self).calls += 1
        if mine and self.where == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if mine and self.where == "during":  # the answer comes late; by then Stripe has done it, and nobody is here to hear of it
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
        answer = super()._send(call, params, target, key)
        if mine and self.where == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def sync_until(made: StripeWorld, n: int, where: str) -> None:
    """Run one whole sync in this process, which dies at call *n*; leaves with 0 where it comes through."""
    FusedCalls.n, FusedCalls.where, FusedCalls.calls = n, where, 0
    client.StripeCalls = FusedCalls  # type: ignore[misc]  # this process is a fork made to die
    with app.writing_house(made.config, "sync", clock=made.clock) as house:
        rounds.sync(house.seam, Tally())
    os._exit(0)


def killed_at(made: StripeWorld, n: int, where: str) -> int:
    """Return how the forked process ended: -9 where it was killed, 0 where there is no call *n* any more."""
    if where == "during":
        made.stripe_server.faults.add("late", path=".", after=n, delay_s=1.0)
    child = multiprocessing.get_context("fork").Process(target=sync_until, args=(made, n, where))
    child.start()
    child.join(60)
    made.stripe_server.faults.clear()
    assert child.exitcode is not None, "the forked process hangs"
    return child.exitcode


def prepared(made: StripeWorld) -> None:
    """Let the rep act: a back-dated deal, an upgrade of it, and one that begins today, monthly and yearly in one, with a set-up fee."""
    made.account("harbor")
    made.deal(
        "harbor_mix",
        {"UnitPrice": "60.00", "Quantity": 2},
        {"product": "platform", "UnitPrice": "900.00", "Billing_Frequency__c": "Annual"},
        {"product": "setup", "UnitPrice": "250.00"},
        account="harbor", CloseDate=DAY, Contract_Start_Date__c=DAY,
    )  # fmt: skip
    made.win(*DEALS)


def end_state(made: StripeWorld) -> dict[str, Any]:
    """Return what Stripe holds, what books and CRM show, without ids, links and times, which differ from run to run."""
    shown: dict[str, Any] = {"counts": made.counts(*_KINDS)}
    shown["subscriptions"] = sorted(
        (s["status"], sorted((i["price"]["unit_amount"], i["quantity"]) for i in s["items"]["data"])) for s in made.objects("subscription")
    )
    shown["invoices"] = sorted((i["status"], i["total"], sorted(x["amount"] for x in i["lines"]["data"])) for i in made.objects("invoice"))
    own = Counter(str(i["metadata"].get("connector_line")).partition("/")[2] for i in made.objects("invoiceitem") if i["metadata"].get("connector_line"))
    assert set(own.values()) <= {1}, "a line of ours stands at Stripe once"
    shown["own"] = sorted(own)
    shown["deals"] = [(made.said(name)[0], made.record(name)["Amount_Billed__c"], made.record(name)["Next_Invoice_Date__c"]) for name in DEALS]
    shown["rows"] = sorted((str(r["Status__c"]), str(r["Total__c"]), str(r["Due_On__c"])) for r in made.invoices())
    shown["lines"] = sorted(made.query("SELECT product, service_start, service_end, amount, kind FROM line"))
    shown["ledger"] = made.query("SELECT name, state, revision, apply_due, begun FROM deal ORDER BY name")
    shown["contracts"] = made.query("SELECT deal, status, value FROM contract ORDER BY deal")
    shown["pushes"] = [(key.rpartition("/")[2], state) for key, state in made.pushes()]
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "during", "after"])
def test_killed_at_every_call_then_sync_ends_as_if_undisturbed(tmp_path: Path, where: str) -> None:
    """At each call to Stripe the process dies; a new sync leaves one contract a deal, one schedule a rhythm, each own line once."""
    with stripe_world(tmp_path / "calm", day=DAY) as calm:
        prepared(calm)
        calm.sync()
        expected = end_state(calm)
    assert expected["counts"]["subscription_schedule"] >= 2
    assert all(state == "done" for _, state in expected["pushes"])
    assert len(expected["rows"]) == len(expected["invoices"]) == 3
    n = 0
    for n in range(MOST_CALLS):
        with stripe_world(tmp_path / str(n), day=DAY) as made:
            prepared(made)
            ended = killed_at(made, n, where)
            if ended == 0:
                break
            assert ended == -signal.SIGKILL
            made.sync()
            assert end_state(made) == expected, f"killed {where} call {n}"
    assert 15 < n < MOST_CALLS
