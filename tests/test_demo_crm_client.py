"""A client of some ninety lines, written from Salesforce's public REST API guide alone with http.client, works with the demo CRM.

It knows nothing of this project: it logs in by client credentials, picks an API version, queries with subqueries over all pages,
upserts by external id, and reads and writes sObject Collections and composites.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.seed import bulk_deals
from connector.lookalike.crm.server import CrmServer


class ApiError(Exception):
    """What the API refused: status and the list of errors."""

    def __init__(self, status: int, errors: Any) -> None:
        self.status, self.errors = status, errors
        super().__init__(f"{status}: {errors}")


class Client:
    """A session with one org."""

    def __init__(self, login_url: str, client_id: str, client_secret: str) -> None:
        form = urlencode({"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret})
        self._connection = HTTPConnection(urlsplit(login_url).netloc, timeout=10)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:
            login = self._sent("POST", "/services/oauth2/token", form, headers)
        finally:
            self._connection.close()
        self._connection = HTTPConnection(urlsplit(login["instance_url"]).netloc, timeout=10)
        self._headers = {"Authorization": f"{login['token_type']} {login['access_token']}", "Content-Type": "application/json"}
        self.base = self._sent("GET", "/services/data/", None, self._headers)[-1]["url"]

    def close(self) -> None:
        self._connection.close()

    def _sent(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Any:
        self._connection.request(method, path, body, headers)
        answer: HTTPResponse = self._connection.getresponse()
        raw = answer.read()
        data = json.loads(raw) if raw else None
        if answer.status >= 300:
            raise ApiError(answer.status, data)
        return data

    def call(self, method: str, path: str, body: Any = None) -> Any:
        full = path if path.startswith("/services/") else f"{self.base}/{path}"
        return self._sent(method, full, None if body is None else json.dumps(body), self._headers)

    def query(self, soql: str, *, resource: str = "query") -> Iterator[dict[str, Any]]:
        """Yield every record; child lists are complete, whatever pages they came in."""
        yield from self._records(self.call("GET", f"{resource}/?q={quote(soql)}"))

    def _records(self, page: dict[str, Any]) -> Iterator[dict[str, Any]]:
        while True:
            for record in page["records"]:
                yield {name: self._value(value) for name, value in record.items() if name != "attributes"}
            if page["done"]:
                return
            page = self.call("GET", page["nextRecordsUrl"])

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict) and "records" in value:
            return list(self._records(value))
        if isinstance(value, dict):
            return {name: self._value(inner) for name, inner in value.items() if name != "attributes"}
        return value

    def upsert(self, kind: str, field: str, key: str, fields: dict[str, Any]) -> dict[str, Any]:
        return dict(self.call("PATCH", f"sobjects/{kind}/{field}/{quote(key, safe='')}", fields))

    def update_many(self, kind: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        for start in range(0, len(records), 200):
            chunk = [{"attributes": {"type": kind}, **one} for one in records[start : start + 200]]
            out += self.call("PATCH", "composite/sobjects", {"allOrNone": False, "records": chunk})
        return out


@pytest.fixture
def server() -> Iterator[CrmServer]:
    org = Org()
    bulk_deals(org, 3, lines=450, close_date=date(2026, 1, 31))
    bulk_deals(org, 2_100, close_date=date(2026, 1, 31), first=4)
    with CrmServer(org) as running:
        yield running


@pytest.fixture
def client(server: CrmServer) -> Iterator[Client]:
    made = Client(server.url, "demo-client", "demo-secret")
    yield made
    made.close()


def test_it_logs_in_and_finds_the_newest_version(client: Client) -> None:
    """The last version of the list is the newest; a wrong secret is an error with its reason."""
    assert client.base == "/services/data/v68.0"
    assert "query" in client.call("GET", client.base)
    address = f"http://{client._connection.host}:{client._connection.port}"
    with pytest.raises(ApiError) as refused:
        Client(address, "demo-client", "wrong")
    assert (refused.value.status, refused.value.errors["error"]) == (400, "invalid_client")


def test_it_reads_all_pages_of_records_and_children(client: Client, server: CrmServer) -> None:
    """2,103 deals over two pages; 450 lines a deal over child pages; parents beside them."""
    assert len({one["Id"] for one in client.query("SELECT Id FROM Opportunity")}) == 2_103
    server.org.faults.apply({"child_page_size": 199, "page_sizes": {"min": 40, "max": 120, "seed": 5}})
    lines = "(SELECT Id, Quantity, Product2.ProductCode FROM OpportunityLineItems ORDER BY SortOrder)"
    deals = list(client.query(f"SELECT Id, Name, Account.Name, {lines} FROM Opportunity WHERE Name <= 'Deal 000003' ORDER BY Name"))
    assert [(one["Name"], one["Account"]["Name"], len(one["OpportunityLineItems"])) for one in deals] == [
        (f"Deal {n:06d}", f"Customer {n:06d}", 450) for n in (1, 2, 3)
    ]
    assert [line["Quantity"] for line in deals[2]["OpportunityLineItems"]] == list(range(1, 451))
    assert len({line["Id"] for one in deals for line in one["OpportunityLineItems"]}) == 1_350


def test_it_writes_by_external_id_and_in_collections(client: Client) -> None:
    """An upsert creates, then updates; a collection of 450 updates answers in order, with one bad record among them."""
    first = client.upsert("Billing_Invoice__c", "Billing_Invoice_Id__c", "in/1", {"Number__c": "INV-1", "Total__c": 12.30})
    again = client.upsert("Billing_Invoice__c", "Billing_Invoice_Id__c", "in/1", {"Status__c": "paid"})
    assert (first["created"], again["created"], first["id"] == again["id"]) == (True, False, True)
    found = list(client.query("SELECT Number__c, Status__c, Total__c FROM Billing_Invoice__c"))
    assert found == [{"Number__c": "INV-1", "Status__c": "paid", "Total__c": 12.3}]
    ids = [one["Id"] for one in client.query("SELECT Id FROM Opportunity ORDER BY Id LIMIT 450")]
    records = [{"id": one, "NextStep": "called"} for one in ids]
    records[217] = {"id": ids[217], "StageName": "Nonsense"}
    results = client.update_many("Opportunity", records)
    assert [n for n, one in enumerate(results) if not one["success"]] == [217]
    assert results[217]["errors"][0]["statusCode"] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert next(client.query("SELECT COUNT(Id) n FROM Opportunity WHERE NextStep = 'called'"))["n"] == 449


def test_it_creates_in_one_composite_and_deletes(client: Client) -> None:
    """Account and contact in one call by reference; a deleted one is gone for query and there for queryAll."""
    entries = [
        {"method": "POST", "url": f"{client.base}/sobjects/Account", "referenceId": "account", "body": {"Name": "Composite"}},
        {"method": "POST", "url": f"{client.base}/sobjects/Contact", "referenceId": "person", "body": {"LastName": "L", "AccountId": "@{account.id}"}},
    ]
    answer = client.call("POST", "composite", {"allOrNone": True, "compositeRequest": entries})["compositeResponse"]
    assert [one["httpStatusCode"] for one in answer] == [201, 201]
    account = answer[0]["body"]["id"]
    assert client.call("DELETE", f"sobjects/Account/{account}") is None
    with pytest.raises(ApiError) as refused:
        client.call("GET", f"sobjects/Account/{account}")
    assert (refused.value.status, refused.value.errors[0]["errorCode"]) == (404, "ENTITY_IS_DELETED")
    query = "SELECT Id FROM Account WHERE Name = 'Composite'"
    assert (list(client.query(query)), list(client.query(query, resource="queryAll"))) == ([], [{"Id": account}])
