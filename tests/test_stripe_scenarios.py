"""Every scenario of tests/scenarios on the Stripe backend: invoices by day, lines, tax, credit and status as on the internal engine.

What differs stands in one of three tables, with why; a scenario that stands there and needs it no more fails its test, too. Every request
is checked against the SDK's own types (see conftest), and books and look-alike have to agree on every invoice.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from scenario_verdicts import difference, totals_by_day
from stripe_scenarios import Refused, played_on_stripe
from test_simulate import all_cases

from connector.simulate import simulated

REFUSED = {
    "credit_notes: negative lines can be credited too": "`connector invoices credit` gives back what lines above zero charged, on either backend.",
    "prebilling: more than five years ahead is refused": "The scenario says so.",
    "terms: more than runs cannot be taken away": "The scenario says so.",
}
"""Scenarios that the backend refuses, in words and with nothing sent, and why."""

_OTHER_SUBSCRIPTION = "A later phase that begins a rhythm of its own is another subscription; what the change gives back is an invoice of ours beside its first."
BY_DAY = {
    "phases: a phase that begins a new cycle bills it whole": _OTHER_SUBSCRIPTION,
}
"""Scenarios of which several invoices are made on a day where the engine makes one, and why; the day's sums and lines are compared."""

BY_SUM = {
    "amendments: an amendment on the first day of a period prorates nothing": "It comes in the very second in which Stripe bills the old quantity: what differs is an invoice of ours beside it.",
}
"""Scenarios of which the sums of each day are compared and not the lines, and why."""

CASES = {case.id: case.values for case in all_cases()}


@pytest.mark.parametrize("case", [case for case in CASES if case not in REFUSED])
def test_a_scenario_on_stripe(tmp_path: Path, case: str) -> None:
    """A scenario leads on Stripe to what it expects, line by line."""
    scenario, expect = CASES[case]
    zone = ZoneInfo(scenario["timezone"])
    engine, found = played_on_stripe(tmp_path, _tree(scenario))
    exact = difference(expect, found, engine, zone, by_day=False)
    if case in BY_SUM:
        assert exact is not None, "its lines are alike now: take it out of the table"
    elif case in BY_DAY:
        assert exact is not None, "it is not split any more: take it out of the table"
        assert difference(expect, found, engine, zone, by_day=True) is None
    else:
        assert exact is None
    assert totals_by_day(found, zone) == totals_by_day(engine, zone)


@pytest.mark.parametrize("case", REFUSED)
def test_a_scenario_is_refused(tmp_path: Path, case: str) -> None:
    """What Stripe, or the books before it, cannot do is refused in words that say what to do, and nothing of it is sent."""
    with pytest.raises(Refused) as refused:
        played_on_stripe(tmp_path, _tree(CASES[case][0]))
    assert refused.value.sent == 0
    assert len(refused.value.problem.message) > 20
    assert refused.value.problem.hint


def test_the_tables_name_scenarios() -> None:
    """Whatever the tables excuse is a scenario, once, with a reason in words."""
    assert len(REFUSED | BY_DAY | BY_SUM) == len(REFUSED) + len(BY_DAY) + len(BY_SUM)
    for name, why in (REFUSED | BY_DAY | BY_SUM).items():
        assert name in CASES
        assert why.endswith(".")


# ---------------------------------------------------------------- in the afternoon of a day that Stripe has billed

_CLOCKED = ("credit_note", "void", "usage", "invoice_item", "migrate_price")


def _tree(scenario: dict[str, Any]) -> Any:
    return json.loads(json.dumps(scenario, default=str))


def _on_billed_days() -> list[str]:
    """Return the scenarios that change a contract on a day on which it is invoiced."""
    found = []
    for name, (scenario, expect) in CASES.items():
        tree = _tree(scenario)
        changes = [a for a in tree.get("actions", ()) if a["do"] not in _CLOCKED]
        if expect.get("exit") == 2 or "quote" in tree or not changes or any("T" in a["at"] for a in changes) or tree["settings"]["proration"] != "day":
            continue
        result, _ = simulated(json.dumps(tree), "scenario.json")
        zone = ZoneInfo(tree["timezone"])
        billed = {datetime.fromisoformat(i["created"]).astimezone(zone).date().isoformat() for i in result["invoices"] if i["billing_reason"] == "subscription_cycle"}
        if billed & {a["at"] for a in changes}:
            found.append(name)
    return found


@pytest.mark.parametrize("case", _on_billed_days())
def test_in_the_afternoon(tmp_path: Path, case: str) -> None:
    """A change that is decided when Stripe has invoiced the day already leads to the totals of the engine, that has done so, too."""
    tree = _tree(CASES[case][0])
    zone = ZoneInfo(tree["timezone"])
    for action in tree["actions"]:
        if action["do"] in _CLOCKED:
            continue
        day = action["at"]
        action["at"] = _at(day, 15, zone)
        if action["do"] != "cancel":
            action.setdefault("effective", day)
        elif action["when"] == "now":
            action["when"] = day
    tree["until"] = _at(tree["until"], 23, zone)
    engine, found = played_on_stripe(tmp_path, tree)
    assert totals_by_day(found, zone) == totals_by_day(engine, zone)


def _at(day: str, hour: int, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(day).replace(hour=hour, tzinfo=zone).isoformat()
