"""The demo org: what a save checks and derives, what deletes leave, and what survives a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connector.errors import ConfigError
from connector.lookalike.crm.ids import id18, minted
from connector.lookalike.crm.org import Org, Traits
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import labelled
from connector.lookalike.crm.seed import bulk_deals, seed, seed_from
from connector.lookalike.crm.soql_run import Session, records, run

START = date(2026, 1, 1)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, 8, 0, 0, 750_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def on(self, seconds: int) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def org(clock: Clock) -> Org:
    return Org(clock=clock)


def test_ids_have_the_checksum_of_salesforce() -> None:
    """Both vectors of our notes hold, ids rise with their number, and a wrong checksum is no id."""
    assert id18("70130000001tcyI") == "70130000001tcyIAAQ"
    assert id18("00558000001N0Ke") == "00558000001N0KeAAK"
    assert id18("70130000001tcyIAAX") is None
    made = [minted("006", number) for number in (1, 9, 10, 61, 62, 5000)]
    assert made == sorted(made)
    assert all(id18(one[:15]) == one for one in made)


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({}, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]"),
        ({"Name": "A", "Nope": 1}, "INVALID_FIELD", "No such column 'Nope' on sobject of type Account"),
        ({"Name": "A", "Id": "001"}, "INVALID_FIELD", "The Id field should not be specified in the sobject data."),
        ({"Name": "A", "SystemModstamp": "2026-01-01T00:00:00Z"}, "INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: SystemModstamp"),
        ({"Name": "x" * 256}, "STRING_TOO_LONG", "max length=255"),
        ({"Name": 5}, "JSON_PARSER_ERROR", "Cannot deserialize instance of string from VALUE_NUMBER_INT"),
        ({"Name": "A", "Payment_Terms__c": "Net 7"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "bad value for restricted picklist field: Net 7"),
        ({"Name": "A", "AnnualRevenue": Decimal("1e18")}, "NUMBER_OUTSIDE_VALID_RANGE", "outside of valid range"),
        ({"Name": "A", "AnnualRevenue": "12"}, "JSON_PARSER_ERROR", "currency from VALUE_STRING"),
        ({"Name": "A", "Billing_Email__c": "nobody"}, "INVALID_EMAIL_ADDRESS", "invalid email address"),
        ({"Name": "A", "ParentId": "001000000000999AAA"}, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"),
        ({"Name": "A", "ParentId": "xyz"}, "MALFORMED_ID", "id value of incorrect type"),
    ],
)  # fmt: skip
def test_a_save_is_checked(org: Org, fields: dict[str, Any], code: str, text: str) -> None:
    """Each wrong field is refused with its own code, and nothing is stored."""
    with pytest.raises(Refusal) as refused:
        org.create("Account", fields)
    assert (refused.value.code, text in refused.value.message) == (code, True)
    assert list(org.rows("Account")) == []


def test_stamps_are_whole_seconds_of_the_org_clock(org: Org, clock: Clock) -> None:
    """Created and modified differ after an update; the milliseconds are cut."""
    made = org.create("Account", {"Name": "A"})
    clock.on(5)
    with org.transaction(user=org.rep_user):
        org.update("Account", made, {"Phone": "1"})
    row = org.get("Account", made[:15])
    assert row["CreatedDate"] == "2026-01-01T08:00:00.000+0000"
    assert row["SystemModstamp"] == row["LastModifiedDate"] == "2026-01-01T08:00:05.000+0000"
    assert (row["CreatedById"], row["LastModifiedById"]) == (org.integration_user, org.rep_user)


def test_lines_make_the_amount_and_move_the_stamp(org: Org, clock: Clock) -> None:
    """10 x 29.00 less 10 % is 261.00; a line saved later moves its opportunity; an Amount sent is ignored."""
    ids = seed(org, START)
    deal = ids["acme_seats"]
    line = org.live_children("OpportunityLineItem", "OpportunityId", deal)[0]
    clock.on(60)
    org.update("OpportunityLineItem", line["Id"], {"Discount": 10})
    row = org.get("Opportunity", deal)
    assert (row["Amount"], row["HasOpportunityLineItem"]) == (Decimal("261.00"), True)
    assert row["SystemModstamp"] == "2026-01-01T08:01:00.000+0000"
    org.update("Opportunity", deal, {"Amount": 5, "StageName": "Closed Won"})
    row = org.get("Opportunity", deal)
    assert (row["Amount"], row["IsWon"], row["IsClosed"], row["Probability"]) == (
        Decimal("261.00"),
        True,
        True,
        Decimal(100),
    )
    org.delete("OpportunityLineItem", line["Id"])
    assert org.get("Opportunity", deal)["HasOpportunityLineItem"] is False
    with pytest.raises(Refusal, match="INVALID_FIELD_FOR_INSERT_UPDATE"):
        org.update("OpportunityLineItem", ids_line(org, ids["cobalt_licence"]), {"TotalPrice": 1})


def ids_line(org: Org, deal: str) -> str:
    return str(org.live_children("OpportunityLineItem", "OpportunityId", deal)[0]["Id"])


def test_syncing_a_quote_replaces_the_lines_under_new_ids(org: Org) -> None:
    """Old lines are gone even for queryAll, custom fields are not copied, and editing the quote replaces them again."""
    ids = seed(org, START)
    deal, quote = ids["delta_platform"], ids["delta_quote"]
    before = ids_line(org, deal)
    org.update("Opportunity", deal, {"SyncedQuoteId": quote})
    assert (
        run(Session(org=org, has_deleted=True), f"SELECT Id FROM OpportunityLineItem WHERE Id = '{before}'").total == 0
    )
    assert org.get("Quote", quote)["IsSyncing"] is True
    assert org.get("Opportunity", deal)["Amount"] == Decimal("5220.00")
    between = ids_line(org, deal)
    quote_line = org.live_children("QuoteLineItem", "QuoteId", quote)[0]
    org.update("QuoteLineItem", quote_line["Id"], {"Quantity": 2, "Charge_Type__c": "Recurring"})
    assert ids_line(org, deal) != between
    assert "Charge_Type__c" not in org.get("OpportunityLineItem", ids_line(org, deal))
    assert org.get("Opportunity", deal)["Amount"] == org.get("Quote", quote)["GrandTotal"] == Decimal("8640.00")
    with pytest.raises(Refusal, match="must belong to this opportunity"):
        org.update("Opportunity", deal, {"SyncedQuoteId": ids["gaia_quote"]})


def test_deleting_takes_children_along_and_undelete_brings_them_back(org: Org) -> None:
    """An opportunity goes to the recycle bin with its lines, and comes back with them."""
    ids = seed(org, START)
    deal = ids["cobalt_licence"]
    org.delete("Opportunity", deal)
    assert org.live_children("OpportunityLineItem", "OpportunityId", deal) == []
    with pytest.raises(Refusal) as gone:
        org.update("Opportunity", deal, {"Name": "x"})
    assert (gone.value.code, gone.value.status) == ("ENTITY_IS_DELETED", 404)
    org.undelete("Opportunity", deal)
    assert len(org.live_children("OpportunityLineItem", "OpportunityId", deal)) == 2
    assert org.get("Opportunity", deal)["Amount"] == Decimal("14500.00")


def test_a_merge_moves_children_and_names_the_winner(org: Org) -> None:
    """The loser is deleted with MasterRecordId; its deals follow the winner."""
    ids = seed(org, START)
    org.merge("Account", ids["acme"], ids["everest"])
    assert org.get("Opportunity", ids["everest_support"])["AccountId"] == ids["acme"]
    found = run(
        Session(org=org, has_deleted=True), "SELECT MasterRecordId FROM Account WHERE IsDeleted = true"
    ).answers()
    assert [row["MasterRecordId"] for row in found] == [ids["acme"]]


def test_external_ids_are_unique_and_address_records(org: Org) -> None:
    """Upsert creates once and then updates, whatever the case of the key; a twin is refused."""
    first, is_created = org.upsert("Billing_Invoice__c", "Billing_Invoice_Id__c", "in_1", {"Total__c": Decimal("0.30")})
    assert is_created
    again, is_created = org.upsert(
        "Billing_Invoice__c", "Billing_Invoice_Id__c", "IN_1", {"Total__c": Decimal("0.1") + Decimal("0.2")}
    )
    assert (again, is_created) == (first, False)
    assert org.get("Billing_Invoice__c", first)["Total__c"] == Decimal("0.30")
    other = org.create("Billing_Invoice__c", {"Billing_Invoice_Id__c": "in_2"})
    with pytest.raises(Refusal, match="DUPLICATE_VALUE"):
        org.update("Billing_Invoice__c", other, {"Billing_Invoice_Id__c": "in_1"})


def test_a_failed_transaction_leaves_nothing(org: Org) -> None:
    """A line that fails after its opportunity was written takes the opportunity with it; indexes forget both."""
    ids = seed(org, START)

    def half() -> None:
        with org.transaction():
            deal = {"Name": "half", "StageName": "Prospecting", "CloseDate": "2026-01-01", "AccountId": ids["iris"]}
            org.create("Opportunity", deal)
            org.create("OpportunityLineItem", {"OpportunityId": ids["iris_pilot"], "Quantity": 1, "UnitPrice": 1})

    with pytest.raises(Refusal):
        half()
    assert len(records(org, f"SELECT Id FROM Opportunity WHERE AccountId = '{ids['iris']}'")) == 1
    assert records(org, "SELECT Id FROM Opportunity WHERE Name = 'half'") == []


def test_a_mass_bump_moves_stamps_only(org: Org, clock: Clock) -> None:
    """Restamp puts rows into a later window, once each, with the same content."""
    deals = bulk_deals(org, 50, close_date=START)
    clock.on(3600)
    org.restamp("Opportunity", deals)
    found = records(
        org,
        "SELECT Id, LastModifiedDate FROM Opportunity WHERE SystemModstamp >= 2026-01-01T09:00:00Z ORDER BY SystemModstamp, Id",
    )
    assert [row["Id"] for row in found] == sorted(deals)
    assert {row["LastModifiedDate"] for row in found} == {"2026-01-01T08:00:00.000+0000"}
    assert records(org, "SELECT Id FROM Opportunity WHERE SystemModstamp < 2026-01-01T09:00:00Z") == []


def test_bulk_deals_equal_saved_ones(org: Org) -> None:
    """A bulk deal has what a save would have derived: saving its line again changes nothing but stamps."""
    deals = bulk_deals(org, 3, close_date=START)
    deals += bulk_deals(org, 2, close_date=START, first=4)
    assert len(set(deals)) == 5
    deal = dict(org.get("Opportunity", deals[0]))
    assert (deal["Amount"], deal["IsWon"]) == (Decimal("60.00"), True)
    lines = org.live_children("OpportunityLineItem", "OpportunityId", deals[0])
    assert [line["TotalPrice"] for line in lines] == [Decimal("10.00"), Decimal("20.00"), Decimal("30.00")]
    with org.transaction(user=org.rep_user):
        org.update("OpportunityLineItem", lines[0]["Id"], {"Quantity": 1})
    assert org.get("Opportunity", deals[0]) == deal
    assert org.get("Account", deal["AccountId"])["Billing_Email__c"] == "billing@customer000001.example"


def test_the_seeded_company_is_open_and_complete(org: Org) -> None:
    """Nothing is won yet; every deal has an account; one account has no billing e-mail."""
    seed(org, START)
    assert records(org, "SELECT Id FROM Opportunity WHERE IsClosed = true OR AccountId = null") == []
    counts = {
        name: run(Session(org=org), f"SELECT COUNT() FROM {name}").total
        for name in ("Account", "Product2", "Opportunity", "Quote")
    }
    assert counts == {"Account": 9, "Product2": 8, "Opportunity": 12, "Quote": 3}
    assert [row["Name"] for row in records(org, "SELECT Name FROM Account WHERE Billing_Email__c = null")] == [
        "Fjord Seafood"
    ]
    upgrade = records(
        org,
        "SELECT Billing_Effective_Date__c, Amends_Opportunity__r.Name FROM Opportunity WHERE Billing_Action__c = 'Amend'",
    )[0]
    assert (upgrade["Billing_Effective_Date__c"], upgrade["Amends_Opportunity__r"]["Name"]) == (
        "2026-03-15",
        "Acme team seats",
    )


def test_a_seed_file_may_name_records_and_reports_all_problems(org: Org) -> None:
    """References resolve; wrong records are all listed, and nothing of a bad file is created."""
    data = {
        "Account": [{"ref": "a", "Name": "Seeded", "AnnualRevenue": 12.0}],
        "Opportunity": [
            {"Name": "D", "AccountId": {"ref": "a"}, "StageName": "Prospecting", "CloseDate": date(2026, 2, 1)}
        ],
    }
    ids = seed_from(org, data)
    assert records(org, "SELECT Account.Name, CloseDate FROM Opportunity")[0]["Account"]["Name"] == "Seeded"
    assert org.get("Account", ids["a"])["AnnualRevenue"] == 12
    bad: dict[str, list[dict[str, Any]]] = {
        "Account": [{"Name": "Fine"}, {"Nope": 1}],
        "Contact": [{"LastName": "L", "AccountId": {"ref": "ghost"}}],
    }
    with pytest.raises(ConfigError) as refused:
        seed_from(org, bad)
    assert [problem.code for problem in refused.value.problems] == ["seed-refused", "seed-unknown-ref"]
    assert records(org, "SELECT Id FROM Account WHERE Name = 'Fine'") == []


def test_a_file_brings_back_every_record(tmp_path: Path, clock: Clock) -> None:
    """After closing, the same org comes back: values, types, order, ids that go on, org id and currency mode."""
    path = tmp_path / "org.db"
    org = Org(clock=clock, path=path, multi_currency=True, traits=Traits(org_number=7))
    ids = seed(org, START)
    org.delete("Account", ids["iris"])
    before = {kind.name: dict(org.table(kind.name).rows) for kind in org.schema.types}
    org.close()
    again = Org(clock=clock, path=path)
    assert {kind.name: dict(again.table(kind.name).rows) for kind in again.schema.types} == before
    assert (again.org_id, again.is_multi_currency()) == (org.org_id, True)
    assert again.create("Account", {"Name": "next"}) not in before["Account"]
    assert len(records(again, f"SELECT Id FROM Opportunity WHERE AccountId = '{ids['acme']}'")) == 2
    again.close()


def test_a_killed_org_keeps_what_it_answered(tmp_path: Path) -> None:
    """Kill -9 right after a save: the save is in the file, an open transaction is not."""
    path = tmp_path / "org.db"
    script = (
        "import sys\n"
        "from connector.lookalike.crm.org import Org\n"
        "org = Org(path=sys.argv[1])\n"
        "org.create('Account', {'Name': 'kept'})\n"
        "with org.transaction():\n"
        "    org.create('Account', {'Name': 'lost'})\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    org = Org(path=path)
    assert [row["Name"] for row in org.rows("Account")] == ["kept"]
    org.close()


def test_labels_are_words() -> None:
    """API names become what people read."""
    assert [labelled(name) for name in ("Billing_Email__c", "CloseDate", "AccountId", "Id")] == [
        "Billing Email",
        "Close Date",
        "Account",
        "Id",
    ]
