"""A record whose billing action is changed after it was applied, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from test_flow_changes import amendment
from world import World, world

D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_another_action_on_an_applied_deal_never_changes_another_contract(demo: World) -> None:
    """A planned Amend deal that is turned into New must not replace the terms of the contract it changed."""
    demo.deal("base", {"Quantity": 10, "UnitPrice": "29.00"}, account="acme", Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    amendment(demo, "more", "base", {"Quantity": 5, "UnitPrice": "1.00"}, Billing_Effective_Date__c=date(2026, 3, 1))
    demo.sync()
    terms = demo.query("SELECT terms FROM contract")
    demo.edit("more", Billing_Action__c="New", Amends_Opportunity__c=None)
    demo.sync()
    assert demo.query("SELECT terms FROM contract WHERE deal = ?", demo.ids["base"]) == terms
    demo.bill("2026-02-01")
    assert demo.record("base")["Amount_Billed__c"] == D(290), demo.said("base")
    demo.assert_quiet()


def test_a_new_deal_turned_into_an_amendment_says_what_to_do(demo: World) -> None:
    """A deal won as New by mistake and then called Amend: flagged once billed; reopened and won again before, it is an amendment."""
    demo.win("acme_seats")
    demo.deal("slip", {"Quantity": 5, "UnitPrice": "29.00"}, account="acme", Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.sync()
    assert len(demo.contracts()) == 2
    change = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": demo.ids["acme_seats"], "Billing_Effective_Date__c": "2026-02-01"}
    demo.edit("slip", StageName="Prospecting", **change)
    demo.sync()
    assert demo.said("slip")[0] == "Withdrawn"
    demo.win("slip")
    tally = demo.sync()
    assert tally.problems == [], tally.problems
    assert demo.record("slip")["Billing_Contract_Id__c"] == demo.record("acme_seats")["Billing_Contract_Id__c"]
    demo.bill("2026-02-01")
    assert [r["Total__c"] for r in demo.invoices()] == [D(290), D(435)]
    demo.assert_quiet()
