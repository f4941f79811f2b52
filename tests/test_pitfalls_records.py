"""Pitfalls P20 to P24 of Salesforce: ids, fields, currencies, money, person accounts, each against the demo CRM with the fault on.

The numbers are those of the closing note of issue 4; each test's name begins with its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from pitfalls import desk, shorten
from salesforce_world import World as Crm
from salesforce_world import running_world
from world import world

from connector.errors import ConfigError
from connector.lookalike.crm.org import Org

D = Decimal


@pytest.fixture(scope="module")
def running() -> Iterator[Crm]:
    with running_world() as made:
        yield made


# ---------------------------------------------------------------- P21: fields that are hidden


def test_p21_access_revoked_mid_run_pauses_that_mapping_and_heals_by_itself(tmp_path: Path) -> None:
    """A field hidden while we run: its source pauses in words, the other goes on, nothing is blanked; back again, it goes on."""
    with desk(tmp_path) as it:
        made = it.world
        made.win("acme_seats")
        it.round()
        before = dict(made.record("acme_seats"))
        made.org.faults.apply({"hide": ["Opportunity.Billing_Frequency__c"]})
        made.edit("acme", "Account", Name="Acme Renamed")
        made.quote("offer", "borealis_ramp", {"UnitPrice": 100, "Quantity": 2})
        state = it.round()
        assert (state.standing, state.failures) == ("slow", 0)
        assert "The source opportunity is paused: The field Opportunity.Billing_Frequency__c does not exist, or the integration user" in state.error
        assert made.said("offer", "Quote")[0] == "Quoted"
        status, body = it.ready()
        assert (status, body["status"]) == (200, "degraded")
        assert [n.title for n in it.console().notices] == ["The source opportunity is paused"]
        assert dict(made.record("acme_seats")) == before
        made.win("cobalt_licence")
        for _ in range(3):
            assert it.round().standing == "slow"
        assert made.query("SELECT COUNT(*) FROM contract") == [(1,)]
        made.org.faults.apply({"reset": True})
        assert it.round().standing == "ok"
        assert made.said("cobalt_licence")[0] == "Active"
        assert made.query("SELECT name FROM customer WHERE name LIKE 'Acme R%'") == [("Acme Renamed",)]  # changed while it was paused
        assert it.ready()[1]["status"] == "ready"


def test_p21_a_write_right_revoked_is_said_and_heals_by_itself(tmp_path: Path) -> None:
    """A field that may no longer be written fails its records in words, not the invoice rows; given back, it is written unasked."""
    with desk(tmp_path) as it:
        made = it.world
        made.org.faults.apply({"read_only": ["Opportunity.Billing_Status__c"]})
        made.win("acme_seats")
        it.round()
        assert made.record("acme_seats")["Billing_Status__c"] is None
        assert [r["Number__c"] for r in made.invoices()] == ["INV-0001"]
        ((problem,),) = made.query("SELECT write_problem FROM deal WHERE name = ?", made.ids["acme_seats"])
        assert "crm-field-read-only" in problem
        assert "Let an administrator give the integration user edit access (Billing_Status__c)." in problem
        made.org.faults.apply({"reset": True})
        it.round(after_s=900)
        assert made.said("acme_seats")[0] == "Active"
        assert made.query("SELECT COUNT(*) FROM deal WHERE write_problem IS NOT NULL") == [(0,)]


def test_p21_before_work_every_missing_field_is_listed_with_both_causes(tmp_path: Path) -> None:
    """A start with hidden fields names each of them at its line, and says that it may be missing or hidden."""
    with world(tmp_path) as made:
        made.org.faults.apply({"hide": ["Opportunity.Billing_Frequency__c", "OpportunityLineItem.End_Date__c"]})
        with pytest.raises(ConfigError) as caught:
            made.sync()
    told = [p.text() for p in caught.value.problems]
    for field in ("Billing_Frequency__c", "End_Date__c"):
        assert any(field in text and "does not exist, or the integration user lacks field access" in text for text in told), told
    assert all(p.where.line for p in caught.value.problems)


def test_p21_a_new_field_is_seen_at_the_next_look_at_describe(running: Crm) -> None:
    """What describe says is asked anew each time; no copy of it is kept that a new field would have to outlive."""
    crm = running.fresh().connected()
    running.server.org.faults.apply({"hide": ["Account.Tax_Id__c"]})
    assert "Tax_Id__c" not in crm.describe(["Account"])["Account"].fields
    running.server.org.faults.apply({"show": ["Account.Tax_Id__c"]})
    assert "Tax_Id__c" in crm.describe(["Account"])["Account"].fields


# ---------------------------------------------------------------- texts longer than their field


def test_a_text_longer_than_its_field_is_cut_and_a_number_left_out(tmp_path: Path) -> None:
    """A message is cut with an ellipsis, a link or an id that does not fit stays blank; nothing fails, and the log tells it."""
    with desk(tmp_path, org=lambda clock: shorten(Org(clock=clock), "Opportunity", Billing_Message__c=40, Last_Invoice_URL__c=20)) as it:
        made = it.world
        made.win("acme_seats")
        it.round()
        record = made.record("acme_seats")
        assert record["Billing_Status__c"] == "Active"
        assert record["Billing_Message__c"].startswith("Billing since 1 Jan 2026. INV-0001, 29")
        assert (len(record["Billing_Message__c"]), record["Billing_Message__c"][-1]) == (40, "…")
        assert record["Last_Invoice_URL__c"] is None
        assert it.round().standing == "ok"
    (event,) = [e for e in it.events if e["event"] == "text.shortened"]
    assert (event["record_id"], event["field"]) == (made.ids["acme_seats"], "Billing_Message__c, Last_Invoice_URL__c")
