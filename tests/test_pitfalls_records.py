"""Pitfalls P20 to P24 of Salesforce: ids, fields, currencies, money, person accounts, each against the demo CRM with the fault on.

The numbers are those of the closing note of issue 4; each test's name begins with its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pitfalls import asked, desk, shorten
from salesforce_world import World as Crm
from salesforce_world import billed, running_world
from world import world

from connector.crm.login import id18
from connector.errors import ConfigError
from connector.lookalike.crm.org import Org, Traits

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


# ---------------------------------------------------------------- P20: ids of 15 and 18 characters


def test_p20_known_ids_of_15_characters_become_the_18_of_the_same_record() -> None:
    """Two published pairs; what is no id of 15 characters stays as it is."""
    assert [id18(i) for i in ("70130000001tcyI", "00558000001N0Ke")] == ["70130000001tcyIAAQ", "00558000001N0KeAAK"]
    assert id18("70130000001tcyIAAQ") == "70130000001tcyIAAQ"


def test_p20_a_deal_is_one_subscription_under_both_ids(tmp_path: Path) -> None:
    """Read by its 15 characters, by its 18 and by the poll: one contract, one invoice; a text field may name its parent by 15."""
    with world(tmp_path) as made:
        made.win("acme_seats")
        deal = made.ids["acme_seats"]
        assert made.sync(record=deal[:15]).applied == 1
        made.sync(record=deal)
        made.sync(is_full=True)
        assert [row[1] for row in made.contracts()] == [deal]
        assert len(made.invoices()) == 1


def test_p20_a_written_record_is_known_by_18_characters(running: Crm) -> None:
    """A write that names a record by 15 characters comes back under 18."""
    crm, deal = running.fresh().connected(), running.deals[0]
    (written,) = crm.write([billed(deal[:15], D("12.34"))])
    assert written.id == deal
    assert running.values("Amount_Billed__c", [deal]) == [D("12.34")]


# ---------------------------------------------------------------- P22: currencies


def multi(clock: Callable[[], datetime]) -> Org:
    return Org(clock=clock, multi_currency=True, currency="EUR")


def test_p22_an_org_of_one_currency_is_billed_in_its_own(tmp_path: Path) -> None:
    """Without CurrencyIsoCode in describe no query names it, and the currency is that of the Organization."""
    with desk(tmp_path, org=lambda clock: Org(clock=clock, currency="GBP")) as it:
        soql = asked(it.house.crm)
        it.world.win("acme_seats")
        it.round()
        assert it.world.query("SELECT DISTINCT currency FROM invoice") == [("gbp",)]
    assert soql
    assert not any("CurrencyIsoCode" in one for one in soql)


def test_p22_an_org_of_several_currencies_bills_each_deal_in_its_own_and_never_a_converted_amount(tmp_path: Path) -> None:
    """CurrencyIsoCode of the deal decides, the amounts are those of the deal, convertCurrency is in no query."""
    with desk(tmp_path, org=multi) as it:
        made, soql = it.world, asked(it.house.crm)
        made.add("PricebookEntry", "seat_usd", Product2Id="@seat", Pricebook2Id="@standard", UnitPrice=D(100), CurrencyIsoCode="USD", IsActive=True)
        made.add(
            "Opportunity", "dollars", Name="Dollars", AccountId="@helios", CloseDate="2026-01-01", StageName="Prospecting", CurrencyIsoCode="USD",
            Pricebook2Id="@standard",
        )  # fmt: skip
        made.add("OpportunityLineItem", "dollars_1", OpportunityId="@dollars", PricebookEntryId="@seat_usd", Quantity=2, UnitPrice=D("100.00"))
        made.win("acme_seats", "dollars")
        it.round()
        assert sorted(made.query("SELECT currency, total FROM invoice")) == [("eur", 29000), ("usd", 20000)]
        assert {r["Currency__c"] for r in made.invoices()} == {"EUR", "USD"}
    assert any("CurrencyIsoCode" in one for one in soql)
    assert not any("convertcurrency" in one.lower() for one in soql)


def test_p22_a_currency_that_is_hidden_in_an_org_of_several_stops_the_mapping(tmp_path: Path) -> None:
    """There the org's own currency may not stand in for the deal's: it is a missing right, said before anything is billed."""
    with world(tmp_path, org=multi) as made:
        made.org.faults.apply({"hide": ["Opportunity.CurrencyIsoCode"]})
        made.win("acme_seats")
        with pytest.raises(ConfigError, match="CurrencyIsoCode"):
            made.sync()
        assert made.query("SELECT COUNT(*) FROM invoice") == [(0,)]


# ---------------------------------------------------------------- P23: money is exact


@given(st.decimals(min_value=0, max_value=10**9, places=2), st.decimals(min_value=0, max_value=10**6, places=2))
@settings(max_examples=40)
def test_p23_amounts_survive_the_round_trip(running: Crm, amount: Decimal, more: Decimal) -> None:
    """Any amount and any sum of two, such as 0.10 + 0.20, comes back as it was written: as Decimal, never by way of a float."""
    crm, deal = running.fresh().crm(), running.deals[1]
    (written,) = crm.write([billed(deal, amount + more)])
    assert written.id == deal
    ((row,),) = crm.query([f"SELECT Amount_Billed__c FROM Opportunity WHERE Id = '{deal}'"])
    assert (type(row["Amount_Billed__c"]), row["Amount_Billed__c"]) == (Decimal, amount + more)


# ---------------------------------------------------------------- P24: person accounts


@pytest.mark.parametrize("has_persons", [True, False])
def test_p24_the_customers_name_is_read_with_and_without_person_accounts(tmp_path: Path, has_persons: bool) -> None:
    """A person is billed under first and last name, a company under its own, in orgs of both kinds; one update moves it once."""
    with desk(tmp_path, org=lambda clock: Org(clock=clock, traits=Traits(has_persons=has_persons))) as it:
        made = it.world
        names = {"FirstName": "Ada", "LastName": "Byron"} if has_persons else {"Name": "Ada Byron Ltd"}
        made.add("Account", "ada", Billing_Email__c="ada@byron.example", BillingCountry="France", **names)
        made.deal("engine", {"Quantity": 1}, account="ada")
        made.win("engine", "acme_seats")
        it.round()
        expected = "Ada Byron" if has_persons else "Ada Byron Ltd"
        assert made.query("SELECT name FROM customer WHERE account = ?", made.ids["ada"]) == [(expected,)]
        assert made.query("SELECT name FROM customer WHERE account = ?", made.ids["acme"]) == [("Acme Analytics",)]
        if has_persons:
            made.edit("ada", "Account", LastName="Lovelace")
            for _ in range(4):  # account and contact take turns
                it.round()
            assert made.query("SELECT name FROM customer WHERE account = ?", made.ids["ada"]) == [("Ada Lovelace",)]
            assert len(made.contracts()) == 2
