"""Bulk API 2.0 of the demo CRM: ingest and query jobs over CSV, and the real client library driving them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import requests
from demo_crm_world import Caller, caller, error
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceOperationError

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.seed import bulk_deals
from connector.lookalike.crm.server import CrmServer

CSV = {"content-type": "text/csv"}


@pytest.fixture
def call() -> Caller:
    return caller()


def table(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


def ingest(call: Caller, kind: str, operation: str, content: str, **more: str) -> str:
    """Run an ingest job to its end; return its id."""
    job = call("POST", "jobs/ingest", {"object": kind, "operation": operation, **more}).body
    assert (job["state"], job["contentUrl"]) == ("Open", f"services/data/v62.0/jobs/ingest/{job['id']}/batches")
    assert call("PUT", f"jobs/ingest/{job['id']}/batches", content, CSV).status == 201
    assert call("PATCH", f"jobs/ingest/{job['id']}", {"state": "UploadComplete"}).body["state"] == "UploadComplete"
    return str(job["id"])


def outcome(call: Caller, job: str, name: str) -> list[dict[str, str]]:
    return table(call("GET", f"jobs/ingest/{job}/{name}/").body)


# -- ingest ---------------------------------------------------------------------------------------------------------------


def test_an_ingest_job_tells_row_by_row(call: Caller) -> None:
    """Good rows are saved, bad ones come back with their error and cells; counts; the job says InProgress as often as asked."""
    call.faults(bulk_polls=1)
    job = ingest(call, "Account", "insert", "Name,NumberOfEmployees,Description\nA,5,\n\n,1,x\nC,many,y\n")
    assert [call("GET", f"jobs/ingest/{job}").body["state"] for _ in range(2)] == ["InProgress", "JobComplete"]
    info = call("GET", f"jobs/ingest/{job}").body
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"], info["operation"]) == (3, 2, "insert")
    done = outcome(call, job, "successfulResults")
    assert [(row["sf__Created"], row["Name"]) for row in done] == [("true", "A")]
    assert call.org.get("Account", done[0]["sf__Id"])["NumberOfEmployees"] == 5
    failed = outcome(call, job, "failedResults")
    assert [row["sf__Error"].partition(":")[0] for row in failed] == ["REQUIRED_FIELD_MISSING", "INVALID_TYPE_ON_FIELD_IN_RECORD"]
    assert failed[0]["Description"] == "x"
    assert outcome(call, job, "unprocessedrecords") == []


def test_blanks_are_ignored_and_na_empties(call: Caller) -> None:
    """On update an empty cell leaves a field alone, `#N/A` empties it, and the text NA stays text."""
    account = call.org.create("Account", {"Name": "A", "Fax": "1", "Site": "s", "Rating": "Hot"})
    ingest(call, "Account", "update", f"Id,Fax,Site,Rating\n{account},,#N/A,NA\n")
    row = call.org.get("Account", account)
    assert (row["Fax"], row.get("Site"), row["Rating"]) == ("1", None, "NA")


def test_upsert_delete_and_hard_delete(call: Caller) -> None:
    """Upsert says which rows are new; delete goes to the bin, hardDelete leaves nothing for queryAll."""
    rows = "Billing_Invoice_Id__c,Status__c\nin_1,open\nin_2,paid\nin_1,void\n"
    job = ingest(call, "Billing_Invoice__c", "upsert", rows, externalIdFieldName="Billing_Invoice_Id__c")
    made = outcome(call, job, "successfulResults")
    assert [row["sf__Created"] for row in made] == ["true", "true", "false"]
    assert call.org.get("Billing_Invoice__c", made[0]["sf__Id"])["Status__c"] == "void"
    ingest(call, "Billing_Invoice__c", "delete", f"Id\n{made[0]['sf__Id']}\n")
    assert call.ids("SELECT Id FROM Billing_Invoice__c WHERE IsDeleted = true", "queryAll") == [made[0]["sf__Id"]]
    ingest(call, "Billing_Invoice__c", "hardDelete", f"Id\n{made[1]['sf__Id']}\n")
    assert call.ids("SELECT Id FROM Billing_Invoice__c", "queryAll") == [made[0]["sf__Id"]]


def test_locks_and_rules_hit_rows_of_jobs(call: Caller) -> None:
    """Knobs on records hold for bulk jobs, too: only the rows they are meant for fail."""
    deals = bulk_deals(call.org, 3, close_date=date(2026, 3, 1))
    call.faults(lock={deals[0]: 1}, refuse={deals[1]: "No."})
    job = ingest(call, "Opportunity", "update", "Id,NextStep\n" + "".join(f"{one},x\n" for one in deals))
    assert [row["sf__Error"] for row in outcome(call, job, "failedResults")][1] == "FIELD_CUSTOM_VALIDATION_EXCEPTION:No.: --"
    assert [row["sf__Id"] for row in outcome(call, job, "successfulResults")] == [deals[2]]


def test_wrong_jobs_states_and_headers(call: Caller) -> None:
    """Unknown objects and operations, data at the wrong time, a wrong header and an aborted job."""
    assert error(call("POST", "jobs/ingest", {"object": "Nope", "operation": "insert"})) == (400, "INVALIDENTITY")
    assert error(call("POST", "jobs/ingest", {"object": "Account", "operation": "x"})) == (400, "INVALIDJOB")
    assert error(call("POST", "jobs/ingest", {"object": "Account", "operation": "upsert", "externalIdFieldName": "Name"})) == (400, "INVALIDJOB")
    job = call("POST", "jobs/ingest", {"object": "Account", "operation": "insert", "columnDelimiter": "SEMICOLON"}).body["id"]
    assert error(call("PUT", f"jobs/ingest/{job}/batches", {"a": 1}, {"content-type": "application/json"})) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert call("PUT", f"jobs/ingest/{job}/batches", "Nope;Name\n1;A\n", CSV).status == 201
    assert error(call("PUT", f"jobs/ingest/{job}/batches", "Name\nB\n", CSV)) == (400, "INVALIDJOBSTATE")
    call("PATCH", f"jobs/ingest/{job}", {"state": "UploadComplete"})
    info = call("GET", f"jobs/ingest/{job}").body
    assert (info["state"], info["errorMessage"]) == ("Failed", "InvalidBatch : Field name not found : Nope")
    assert table(call("GET", f"jobs/ingest/{job}/unprocessedrecords/").body, ";") == [{"Nope": "1", "Name": "A"}]
    other = call("POST", "jobs/ingest", {"object": "Account", "operation": "insert"}).body["id"]
    assert error(call("DELETE", f"jobs/ingest/{other}")) == (400, "INVALIDJOBSTATE")
    assert call("PATCH", f"jobs/ingest/{other}", {"state": "Aborted"}).body["state"] == "Aborted"
    assert [one["state"] for one in call("GET", "jobs/ingest").body["records"]] == ["Failed", "Aborted"]
    assert (call("DELETE", f"jobs/ingest/{other}").status, call("GET", f"jobs/ingest/{other}").status) == (204, 404)


# -- queries --------------------------------------------------------------------------------------------------------------


def test_a_query_job_pages_csv(call: Caller) -> None:
    """Header and quoted cells, parents by dotted names, stamps in Z, a locator until the last page, deleted rows by queryAll."""
    deals = bulk_deals(call.org, 5, close_date=date(2026, 3, 1))
    call("DELETE", f"sobjects/Opportunity/{deals[4]}")
    soql = "select id, account.name, Amount, IsWon, NextStep, SystemModstamp FROM Opportunity ORDER BY Id"
    made = call("POST", "jobs/query", {"operation": "queryAll", "query": soql}).body
    assert (made["state"], made["object"], made["operation"], made["query"]) == ("UploadComplete", "Opportunity", "queryAll", soql)
    path = f"jobs/query/{made['id']}"
    assert (call("GET", path).body["state"], call("GET", path).body["numberRecordsProcessed"]) == ("JobComplete", 5)
    first = call("GET", f"{path}/results", maxRecords="3")
    assert first.media_type == "text/csv"
    assert (first.headers["Sforce-Locator"], first.headers["Sforce-NumberOfRecords"]) == ("3", "3")
    rows = table(first.body)
    assert rows[0] == {
        "Id": deals[0], "Account.Name": "Customer 000001", "Amount": "60.00", "IsWon": "true", "NextStep": "", "SystemModstamp": "2026-03-10T12:00:00.000Z",
    }  # fmt: skip
    last = call("GET", f"{path}/results", maxRecords="3", locator="3")
    assert (last.headers["Sforce-Locator"], [row["Id"] for row in table(last.body)]) == ("null", deals[3:])
    assert call("DELETE", path).status == 204
    assert call("GET", path).status == 404


@pytest.mark.parametrize(
    "soql",
    [
        "SELECT StageName FROM Opportunity GROUP BY StageName", "SELECT COUNT(Id) FROM Opportunity", "SELECT Id FROM Opportunity OFFSET 5",
        "SELECT Id, (SELECT Id FROM OpportunityLineItems) FROM Opportunity", "SELECT BillingAddress FROM Account", "SELECT TYPEOF Owner WHEN User THEN Id END FROM Account",
        "SELECT Nope FROM Account",
    ],
)  # fmt: skip
def test_what_bulk_queries_may_not_hold(call: Caller, soql: str) -> None:
    """Groups, aggregates, OFFSET, TYPEOF, subqueries and compound fields are refused when the job is made."""
    assert call("POST", "jobs/query", {"operation": "query", "query": soql}).status == 400
    assert call("GET", "jobs/query").body["records"] == []


def test_results_wait_for_the_job(call: Caller) -> None:
    """Before the job is complete its results are refused; a job counts as calls of its kind."""
    call.faults(bulk_polls=1)
    made = call("POST", "jobs/query", {"operation": "query", "query": "SELECT Id FROM Account"}).body
    assert error(call("GET", f"jobs/query/{made['id']}/results")) == (400, "INVALIDJOBSTATE")
    call("GET", f"jobs/query/{made['id']}")
    assert call("GET", f"jobs/query/{made['id']}/results").headers["Sforce-NumberOfRecords"] == "0"
    assert call.front.counters()["by_kind"]["jobs/query"] == 4


# -- the client library ---------------------------------------------------------------------------------------------------


class Loopback(HTTPAdapter):
    """Sends what the library addresses to https://….salesforce.com to the demo CRM."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        assert request.url is not None
        request.url = self._url + "/" + request.url.split("/", 3)[3]
        return super().send(request, *args, **more)


@pytest.fixture
def server() -> Iterator[CrmServer]:
    with CrmServer(Org()) as running:
        yield running


@pytest.fixture
def sf(server: CrmServer) -> Salesforce:
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Loopback(server.url))
    return Salesforce(consumer_key="demo-client", consumer_secret="demo-secret", domain="demo.my", session=session, version="62.0")


def test_simple_salesforce_moves_records_in_bulk(server: CrmServer, sf: Salesforce) -> None:
    """Insert, update, upsert, delete, failed rows and queries through the library's bulk2."""
    made = sf.bulk2.Account.insert(records=[{"Name": f"A{n}", "Fax": "1"} for n in range(20)], batch_size=10, wait=0)
    assert [(one["numberRecordsProcessed"], one["numberRecordsFailed"]) for one in made] == [(10, 0), (10, 0)]
    found = table("".join(sf.bulk2.Account.query("SELECT Id, Name FROM Account ORDER BY Name", max_records=50, wait=0)))
    assert (len(found), found[0]["Name"]) == (20, "A0")
    sf.bulk2.Account.update(records=[{"Id": one["Id"], "Fax": "#N/A"} for one in found], wait=0)
    assert not [row for row in server.org.rows("Account") if row.get("Fax")]
    rows = [{"Billing_Invoice_Id__c": f"in_{n}", "Total__c": "1.10"} for n in range(3)]
    for _ in range(2):
        done = sf.bulk2.Billing_Invoice__c.upsert(records=rows, external_id_field="Billing_Invoice_Id__c", wait=0)
    assert (done[0]["numberRecordsProcessed"], len(list(server.org.rows("Billing_Invoice__c")))) == (3, 3)
    bad = sf.bulk2.Account.update(records=[{"Id": found[0]["Id"], "Name": "Z"}, {"Id": "001000000000001AAA", "Name": "Q"}], wait=0)
    failed = table(sf.bulk2.Account.get_failed_records(bad[0]["job_id"]))
    assert failed[0]["sf__Error"].startswith("NOT_FOUND:")
    sf.bulk2.Account.delete(records=[{"Id": one["Id"]} for one in found], wait=0)
    assert list(server.org.rows("Account")) == []
    assert len(table("".join(sf.bulk2.Account.query_all("SELECT Id FROM Account", wait=0)))) == 20
    with pytest.raises(SalesforceOperationError):
        sf.bulk2.Account.insert(records=[{"Nope": "x"}], wait=0)


def test_simple_salesforce_walks_through_the_rest(server: CrmServer, sf: Salesforce) -> None:
    """Updated and deleted, limits, describes, records by external id, paging by hand, batches of one type."""
    deals = bulk_deals(server.org, 300, close_date=date(2026, 3, 1))
    server.org.faults.apply({"page_size": 200})
    page = sf.query("SELECT Id FROM Opportunity")
    assert len(sf.query_more(page["nextRecordsUrl"], identifier_is_url=True)["records"]) == 100
    assert [row["Id"] for row in sf.query_all_iter("SELECT Id FROM Opportunity ORDER BY Id")] == deals
    assert sf.Opportunity.delete(deals[0]) == 204
    assert sf.query_all("SELECT Id FROM Opportunity", include_deleted=True)["totalSize"] == 300
    now = datetime.now(UTC)
    assert sf.Opportunity.deleted(now - timedelta(days=1), now + timedelta(minutes=2))["deletedRecords"][0]["id"] == deals[0]
    assert len(sf.Opportunity.updated(now - timedelta(days=1), now + timedelta(minutes=2))["ids"]) == 299
    assert sf.limits()["DailyApiRequests"]["Max"] == 100_000
    assert sf.Opportunity.metadata()["objectDescribe"]["name"] == "Opportunity"
    assert sf.Opportunity.describe()["fields"][0]["name"] == "Id"
    made = sf.Account.create({"Name": "made"})
    assert (made["success"], sf.Account.get(made["id"])["Name"]) == (True, "made")
