"""Pitfalls P25 to P28 and P36 to P38 of Salesforce: limits, locks and writes, each against the demo CRM with the fault on.

The numbers are those of the closing note of issue 4; each test's name begins with its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pitfalls import desk

from connector.crm.session import allocation

# ---------------------------------------------------------------- P25: the daily allocation


@pytest.mark.parametrize(
    ("suffix", "found"),
    [
        ("", (60, 100)),
        ("; api-bursts=1/750", (60, 100)),
        ("; per-app-api-usage=17/250(appName=x)", (60, 100)),
        ("; api-bursts=1/750; per-app-api-usage=17/250(appName=x)", (60, 100)),
    ],
)
def test_p25_every_form_of_the_limit_header_is_read(suffix: str, found: tuple[int, int]) -> None:
    """What stands behind the org's own count, or before it, is never taken for it and never hides it."""
    assert allocation(f"api-usage=60/100{suffix}") == found
    assert allocation(f"{suffix.removeprefix('; ')}; api-usage=60/100") == found


def test_p25_above_the_budget_reading_slows_and_writes_wait(tmp_path: Path) -> None:
    """Above crm.daily_api_budget the CRM is read every 15 minutes and told nothing; the books go on; it heals by itself."""
    with desk(tmp_path) as it:
        made = it.world
        it.round()
        made.org.faults.apply({"limit_suffix": "; api-bursts=1/750; per-app-api-usage=17/250(appName=x)"})
        used = made.crm.front.used
        made.org.daily_limit = limit = used + 5  # so that more than half of it is used
        made.win("acme_seats")
        state = it.round()
        assert (state.standing, state.is_well, it.calls()) == ("slow", True, 2)  # what was won, its lines; no write
        assert made.query("SELECT COUNT(*) FROM invoice WHERE status = 'open'") == [(1,)]
        assert made.record("acme_seats")["Billing_Status__c"] is None
        status, body = it.ready()
        assert (status, body["status"]) == (200, "degraded")
        (calls,) = [c for c in body["checks"] if c["name"] == "crm calls"]
        assert calls["degraded"] is True
        assert f"has used {used + 2} of its {limit} calls of 24 hours, 3 are left" in calls["detail"]
        view = it.console()
        assert [n.title for n in view.notices] == ["The CRM is asked less often than usual"]
        shown = next(g for g in view.groups if g.title == "CRM calls of 24 hours").counts
        assert [(c.label, c.value) for c in shown] == [
            ("used", str(used + 2)), ("left", "3"), ("allowed by crm.daily_api_budget", str(limit // 2))
        ]  # fmt: skip
        for _ in range(29):
            assert (it.round().standing, it.calls()) == ("slow", 0)
        assert (it.round().standing, it.calls()) == ("slow", 1)  # a quarter of an hour later: one look
        made.org.daily_limit = 100_000
        assert it.round(after_s=900).standing == "ok"
        assert made.said("acme_seats")[0] == "Active"
        assert it.ready()[1]["status"] == "ready"
        assert not it.console().notices


def test_p25_at_the_limit_nothing_is_lost_and_billing_goes_on(tmp_path: Path) -> None:
    """While the CRM refuses every call, rounds and billing runs go through, ask once in 15 minutes, and catch up by themselves."""
    with desk(tmp_path) as it:
        made = it.world
        made.win("acme_seats")
        it.round()
        assert made.said("acme_seats")[0] == "Active"
        made.org.faults.apply({"limit_reached": True})
        made.win("cobalt_licence")
        state = it.round()
        assert (state.standing, state.failures, it.calls()) == ("slow", 0, 1)
        assert "takes no more calls for now" in state.error
        assert it.ready()[1]["status"] == "degraded"
        assert [n.title for n in it.console().notices] == ["The CRM's calls are used up"]
        billed = it.billing_run(after_s=40 * 24 * 3600)
        assert (billed.standing, it.calls()) == ("slow", 1)
        assert billed.summary.startswith("0 invoices for 1 contracts, 1 wait as drafts")  # the CRM may have a cancellation
        assert sum(it.round().standing == "slow" and it.calls() == 0 for _ in range(29)) == 29
        made.org.faults.apply({"limit_reached": False})
        assert it.round(after_s=900).standing == "ok"
        assert it.billing_run().standing == "ok"
        assert made.said("cobalt_licence")[0] == "Active"
        assert made.query("SELECT COUNT(*) FROM invoice WHERE status = 'draft'") == [(0,)]
        assert made.record("acme_seats")["Next_Invoice_Date__c"] > "2026-02-10"
