"""The REST surface of the demo CRM: shapes of replies, composites, login, faults, pages, and the real client library."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceAuthenticationFailed, SalesforceMalformedRequest

from connector.lookalike.crm.front import Front
from connector.lookalike.crm.gate import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_USERNAME, Logins
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.seed import bulk_deals, seed
from connector.lookalike.crm.server import CrmServer
from connector.lookalike.crm.wire import Reply, Request

BASE = "/services/data/v62.0"
START = date(2026, 1, 1)


class Caller:
    """Calls a front as a signed-in client, without a socket."""

    def __init__(self, org: Org) -> None:
        self.org = org
        self.front = Front(org)
        self.sign_in()

    def sign_in(self) -> None:
        form = {"grant_type": "client_credentials", "client_id": DEMO_CLIENT_ID, "client_secret": DEMO_CLIENT_SECRET}
        reply = self.front.answer(Request(method="POST", path="/services/oauth2/token", body=urlencode(form)))
        self.token = reply.body["access_token"]

    def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **query: str
    ) -> Reply:
        full = path if path.startswith("/") else f"{BASE}/{path}"
        sent = {"authorization": f"Bearer {self.token}", **(headers or {})}
        return self.front.answer(Request(method=method, path=full, query=query, headers=sent, body=body))

    def soql(self, text: str) -> Any:
        return self("GET", "query", q=text).body

    def faults(self, **knobs: Any) -> None:
        assert self("POST", "/demo/faults", knobs).status == 204


@pytest.fixture
def call() -> Caller:
    return Caller(Org())


def error(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.body[0]["errorCode"]


# -- records --------------------------------------------------------------------------------------------------------------


def test_a_record_is_created_read_changed_and_deleted(call: Caller) -> None:
    """201 with id, 200 with attributes, 204, 204, then 404 ENTITY_IS_DELETED."""
    made = call("POST", "sobjects/Account/", {"Name": "Acme", "AnnualRevenue": Decimal("0.30")})
    assert (made.status, made.body["success"], made.body["errors"]) == (201, True, [])
    record = made.body["id"]
    read = call("GET", f"sobjects/account/{record[:15]}", fields="Name,AnnualRevenue")
    assert read.body == {
        "attributes": {"type": "Account", "url": f"{BASE}/sobjects/Account/{record}"},
        "Name": "Acme",
        "AnnualRevenue": Decimal(0),
    }
    assert (
        call("PATCH", f"sobjects/Account/{record}", {"Name": "B"}).status,
        call("GET", f"sobjects/Account/{record}").body["Name"],
    ) == (204, "B")
    assert call("DELETE", f"sobjects/Account/{record}").status == 204
    assert error(call("GET", f"sobjects/Account/{record}")) == (404, "ENTITY_IS_DELETED")
    assert error(call("GET", "sobjects/Account/001000000000000AAA")) == (404, "NOT_FOUND")


def test_upsert_by_external_id(call: Caller) -> None:
    """201 created, then 200 with created false; below version 46 it is 204; the key must not be in the body."""
    path = "sobjects/Billing_Invoice__c/Billing_Invoice_Id__c/in%2F1"
    assert call("PATCH", path, {"Status__c": "open"}).body["created"] is True
    assert call("PATCH", path, {"Status__c": "paid"}).body["created"] is False
    assert call("PATCH", f"/services/data/v45.0/{path}", {"Status__c": "paid"}).status == 204
    assert error(call("PATCH", path, {"Billing_Invoice_Id__c": "x"})) == (400, "INVALID_FIELD")
    assert call("GET", path).body["Status__c"] == "paid"
    missing = call("PATCH", "sobjects/Account/Name/x", {})
    assert (missing.status, missing.body[0]["message"]) == (
        404,
        "Provided external ID field does not exist or is not accessible: Name",
    )


def test_a_lookup_may_be_set_by_external_id(call: Caller) -> None:
    """A nested parent names its external id instead of the record id; an unknown one is refused."""
    call("POST", "sobjects/Billing_Connector__c", {"Ledger__c": "L1"})
    account = call("POST", "sobjects/Account", {"Name": "A"}).body["id"]
    made = call("POST", "sobjects/Billing_Invoice__c", {"Account__r": {"Nope__c": "x"}})
    assert error(made) == (400, "INVALID_FIELD")
    assert call("POST", "sobjects/Billing_Invoice__c", {"Account__c": account}).status == 201


def test_paths_methods_and_versions(call: Caller) -> None:
    """Unknown paths 404, wrong methods 405, versions below 31 410, beyond the newest 404, no token 401."""
    assert error(call("GET", "sobjects/Nope")) == (404, "NOT_FOUND")
    assert error(call("GET", "nope")) == (404, "NOT_FOUND")
    assert error(call("PUT", "query")) == (405, "METHOD_NOT_ALLOWED")
    assert error(call("GET", "/services/data/v30.0/limits")) == (410, "UNSUPPORTED_API_VERSION")
    assert error(call("GET", "/services/data/v69.0/limits")) == (404, "NOT_FOUND")
    assert error(call.front.answer(Request(method="GET", path=f"{BASE}/limits"))) == (401, "INVALID_SESSION_ID")
    assert call("GET", f"{BASE}/limits/").body["DailyApiRequests"]["Max"] == 100_000
    assert error(call("GET", "query", q="x" * 17_000)) == (414, "URI_TOO_LONG")
    listed = call.front.answer(Request(method="GET", path="/services/data")).body
    assert (listed[0]["version"], listed[-1]) == (
        "31.0",
        {"label": "Winter '27", "url": "/services/data/v68.0", "version": "68.0"},
    )


def test_describe_tells_types_and_rights(call: Caller) -> None:
    """Types, lengths, relationships, external ids, formulas; a hidden field is absent from describe and from SOQL alike."""
    fields = {one["name"]: one for one in call("GET", "sobjects/Opportunity/describe").body["fields"]}
    assert (fields["Amount"]["type"], fields["Amount"]["precision"], fields["Amount"]["scale"]) == ("currency", 18, 2)
    assert (fields["Billing_Message__c"]["length"], fields["Billing_Message__c"]["filterable"]) == (32768, False)
    assert (fields["Amends_Opportunity__c"]["relationshipName"], fields["Amends_Opportunity__c"]["referenceTo"]) == (
        "Amends_Opportunity__r",
        ["Opportunity"],
    )
    assert (fields["IsWon"]["updateable"], fields["ExpectedRevenue"]["calculated"]) == (False, True)
    assert "Semiannual" in [one["value"] for one in fields["Billing_Frequency__c"]["picklistValues"]]
    invoice = {one["name"]: one for one in call("GET", "sobjects/Billing_Invoice__c/describe").body["fields"]}
    assert (invoice["Billing_Invoice_Id__c"]["externalId"], invoice["Billing_Invoice_Id__c"]["unique"]) == (True, True)
    children = {
        one["relationshipName"] for one in call("GET", "sobjects/Opportunity/describe").body["childRelationships"]
    }
    assert {"OpportunityLineItems", "Quotes", "Billing_Invoices__r"} <= children
    listed = {one["name"] for one in call("GET", "sobjects").body["sobjects"]}
    assert {"Quote", "PricebookEntry", "Billing_Invoice__c"} <= listed
    assert "CurrencyType" not in listed
    call.faults(hide=["Opportunity.Amount"], read_only=["Opportunity.Billing_Status__c"])
    fields = {one["name"]: one for one in call("GET", "sobjects/Opportunity/describe").body["fields"]}
    assert ("Amount" in fields, fields["Billing_Status__c"]["updateable"]) == (False, False)
    assert error(call("GET", "query", q="SELECT Amount FROM Opportunity")) == (400, "INVALID_FIELD")


# -- queries --------------------------------------------------------------------------------------------------------------


def test_pages_follow_the_locator(call: Caller) -> None:
    """TotalSize is the whole count on every page; the locator in the path wins over q; a bad one is refused."""
    bulk_deals(call.org, 450, close_date=START)
    page = call("GET", "query", q="SELECT Id FROM Opportunity", headers={"sforce-query-options": "batchSize=200"}).body
    seen = [row["Id"] for row in page["records"]]
    while not page["done"]:
        assert page["totalSize"] == 450
        page = call(
            "GET", page["nextRecordsUrl"], q="SELECT Id FROM Account", headers={"sforce-query-options": "batchSize=200"}
        ).body
        seen += [row["Id"] for row in page["records"]]
    assert (len(seen), len(set(seen))) == (450, 450)
    assert error(call("GET", "query/0r8000000000000AAA-200")) == (400, "INVALID_QUERY_LOCATOR")
    assert error(call("GET", "query", q="")) == (400, "MALFORMED_QUERY")
    call.faults(page_size=200)
    page = call.soql("SELECT Id FROM Opportunity")
    assert len(page["records"]) == 200
    call.faults(forget_locators=True)
    assert error(call("GET", page["nextRecordsUrl"])) == (400, "INVALID_QUERY_LOCATOR")


def test_child_pages_are_capped_and_can_be_followed(call: Caller) -> None:
    """A deal with 250 lines answers 199 of them and a locator to the rest."""
    deal = bulk_deals(call.org, 1, lines=250, close_date=START)[0]
    call.faults(child_page_size=199)
    query = f"SELECT Id, (SELECT Id, TotalPrice FROM OpportunityLineItems) FROM Opportunity WHERE Id = '{deal}'"
    first = call.soql(query)["records"][0]["OpportunityLineItems"]
    assert (first["totalSize"], first["done"], len(first["records"])) == (250, False, 199)
    rest = call("GET", first["nextRecordsUrl"]).body
    assert (rest["done"], len(rest["records"])) == (True, 51)


def test_query_all_shows_deleted_rows_on_every_page(call: Caller) -> None:
    """NextRecordsUrl of a queryAll says /query/ and still includes deleted rows."""
    deals = bulk_deals(call.org, 300, close_date=START)
    call("DELETE", f"sobjects/Opportunity/{deals[250]}")
    page = call(
        "GET", "queryAll", q="SELECT Id, IsDeleted FROM Opportunity", headers={"sforce-query-options": "batchSize=200"}
    ).body
    assert (page["totalSize"], page["nextRecordsUrl"].startswith(f"{BASE}/query/")) == (300, True)
    assert [row["Id"] for row in call("GET", page["nextRecordsUrl"]).body["records"] if row["IsDeleted"]] == [
        deals[250]
    ]


# -- several at once ------------------------------------------------------------------------------------------------------


def account(**fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Account"}, **fields}


def test_collections_answer_in_request_order(call: Caller) -> None:
    """Good records are saved beside bad ones; errors carry statusCode; results keep the order."""
    made = call("POST", "composite/sobjects", {"records": [account(Name="A"), account(), account(Name="C")]}).body
    assert [one["success"] for one in made] == [True, False, True]
    assert made[1]["errors"] == [
        {"statusCode": "REQUIRED_FIELD_MISSING", "message": "Required fields are missing: [Name]", "fields": ["Name"]}
    ]
    changes = {
        "records": [account(id=made[0]["id"], Name="AA"), account(id=made[2]["id"], Nope=1), account(Name="no id")]
    }
    changed = call("PATCH", "composite/sobjects", changes).body
    assert [one["errors"][0]["statusCode"] if one["errors"] else "" for one in changed] == [
        "",
        "INVALID_FIELD",
        "MISSING_ARGUMENT",
    ]
    names = call(
        "POST", "composite/sobjects/Account", {"ids": [made[0]["id"], "001000000000000AAA"], "fields": ["Name"]}
    ).body
    assert (names[0]["Name"], names[1]) == ("AA", None)
    gone = call("DELETE", "composite/sobjects", ids=f"{made[0]['id']},{made[2]['id']}").body
    assert [one["success"] for one in gone] == [True, True]
    assert error(call("POST", "composite/sobjects", {"records": [account(Name="A")] * 201})) == (
        400,
        "EXCEEDED_ID_LIMIT",
    )


def test_all_or_none_rolls_collections_back(call: Caller) -> None:
    """The culprit keeps its code, the others say that they were rolled back."""
    body = {"allOrNone": True, "records": [account(Name="A"), account(), account(Name="C")]}
    codes = [one["errors"][0]["statusCode"] for one in call("POST", "composite/sobjects", body).body]
    assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING", "ALL_OR_NONE_OPERATION_ROLLED_BACK"]
    assert call.soql("SELECT COUNT() FROM Account")["totalSize"] == 0


def test_collections_upsert_by_external_id(call: Caller) -> None:
    """Created says which rows are new; the key is read from each record."""
    rows = [
        {"attributes": {"type": "Billing_Invoice__c"}, "Billing_Invoice_Id__c": key, "Total__c": 5}
        for key in ("a", "b", "a")
    ]
    made = call("PATCH", "composite/sobjects/Billing_Invoice__c/Billing_Invoice_Id__c", {"records": rows}).body
    assert [one["created"] for one in made] == [True, True, False]
    assert made[0]["id"] == made[2]["id"]


def sub(method: str, path: str, reference: str, body: Any = None) -> dict[str, Any]:
    return {
        "method": method,
        "url": f"{BASE}/{path}",
        "referenceId": reference,
        **({"body": body} if body is not None else {}),
    }


def test_a_composite_is_one_call_and_passes_values_on(call: Caller) -> None:
    """Query, create and read in one call; @{ref.id} takes the id of an earlier create; a dependant of a failure is halted."""
    before = call.front.used
    entries = [
        sub("POST", "sobjects/Account", "new", {"Name": "Acme"}),
        sub("POST", "sobjects/Contact", "person", {"LastName": "L", "AccountId": "@{new.id}"}),
        sub("GET", "query?q=" + quote("SELECT Id, Account.Name FROM Contact"), "found"),
        sub("GET", "sobjects/Account/@{found.records[0].Account.Name}", "odd"),
        sub("POST", "sobjects/Account", "bad", {"Nope": 1}),
        sub("PATCH", "sobjects/Account/@{bad.id}", "after", {"Name": "x"}),
    ]
    reply = call("POST", "composite", {"allOrNone": False, "compositeRequest": entries})
    found = {one["referenceId"]: one for one in reply.body["compositeResponse"]}
    assert [found[name]["httpStatusCode"] for name in ("new", "person", "found", "odd", "bad", "after")] == [
        201,
        201,
        200,
        404,
        400,
        400,
    ]
    assert found["found"]["body"]["records"][0]["Account"]["Name"] == "Acme"
    assert found["after"]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert call.front.used == before + 1


def test_a_composite_of_five_collections_carries_a_thousand_updates(call: Caller) -> None:
    """5 x 200 updates are one call; a sixth collection is refused, and so is a 26th request."""
    deals = bulk_deals(call.org, 1000, close_date=START)
    call("DELETE", "/demo/counters")

    def chunk(start: int) -> dict[str, Any]:
        rows = [
            {"attributes": {"type": "Opportunity"}, "id": one, "Billing_Status__c": "Active"}
            for one in deals[start : start + 200]
        ]
        return sub("PATCH", "composite/sobjects", f"r{start}", {"allOrNone": False, "records": rows})

    reply = call("POST", "composite", {"compositeRequest": [chunk(start) for start in range(0, 1000, 200)]})
    assert all(result["success"] for one in reply.body["compositeResponse"] for result in one["body"])
    assert call.soql("SELECT COUNT() FROM Opportunity WHERE Billing_Status__c = 'Active'")["totalSize"] == 1000
    counters = call("GET", "/demo/counters").body
    assert (counters["by_kind"], counters["records_written"]) == ({"composite": 1, "query": 1}, 1000)
    assert error(call("POST", "composite", {"compositeRequest": [chunk(n) for n in range(6)]})) == (
        400,
        "LIMIT_EXCEEDED",
    )
    assert error(
        call("POST", "composite", {"compositeRequest": [sub("GET", "limits", f"r{n}") for n in range(26)]})
    ) == (400, "LIMIT_EXCEEDED")
    assert error(call("POST", "composite", {"compositeRequest": [{"method": "GET", "url": f"{BASE}/limits"}]})) == (
        400,
        "MISSING_ARGUMENT",
    )


def test_an_all_or_none_composite_overrides_inner_collections(call: Caller) -> None:
    """One failed record inside a collection rolls the whole composite back."""
    entries = [
        sub("POST", "sobjects/Account", "one", {"Name": "A"}),
        sub("POST", "composite/sobjects", "two", {"allOrNone": False, "records": [account(Name="B"), account()]}),
    ]
    reply = call("POST", "composite", {"allOrNone": True, "compositeRequest": entries})
    assert reply.body["compositeResponse"][0]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert call.soql("SELECT COUNT() FROM Account")["totalSize"] == 0


def test_a_batch_counts_every_request(call: Caller) -> None:
    """composite/batch is no bargain: each request in it is a call."""
    before = call.front.used
    reply = call(
        "POST",
        "composite/batch",
        {"batchRequests": [{"method": "GET", "url": "v62.0/limits"}, {"method": "GET", "url": "v62.0/nope"}]},
    )
    assert (reply.body["hasErrors"], [one["statusCode"] for one in reply.body["results"]]) == (True, [200, 404])
    assert call.front.used == before + 2


# -- gate -----------------------------------------------------------------------------------------------------------------


def token(front: Front, **form: str) -> Reply:
    return front.answer(Request(method="POST", path="/services/oauth2/token", body=urlencode(form)))


def test_wrong_credentials_are_400_with_a_reason(call: Caller) -> None:
    """Unknown client, wrong secret, wrong password, unknown grant: each its own error."""
    front = call.front
    known = {"client_id": DEMO_CLIENT_ID, "client_secret": DEMO_CLIENT_SECRET}
    replies = [
        token(front, grant_type="client_credentials", client_id="x", client_secret="y"),
        token(front, grant_type="client_credentials", client_id=DEMO_CLIENT_ID, client_secret="y"),
        token(front, grant_type="password", username=DEMO_USERNAME, password="no", **known),
        token(front, grant_type="magic"),
    ]
    assert [(one.status, one.body["error"]) for one in replies] == [
        (400, "invalid_client_id"), (400, "invalid_client"), (400, "invalid_grant"), (400, "unsupported_grant_type"),
    ]  # fmt: skip
    good = token(front, grant_type="password", username=DEMO_USERNAME, password="demo", **known)
    org, user = good.body["id"].split("/")[-2:]
    assert call("GET", f"/id/{org}/{user}").body["username"] == DEMO_USERNAME


def test_jwt_assertions_are_verified_against_the_key() -> None:
    """RS256 of the configured key passes; another key, audience or an expired assertion does not."""
    mine, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    public = (
        mine.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    front = Front(Org(), Logins(jwt_public_key=public))

    def granted(key: rsa.RSAPrivateKey, aud: str = "https://login.salesforce.com", life_s: int = 180) -> Reply:
        claims = {"iss": DEMO_CLIENT_ID, "sub": DEMO_USERNAME, "aud": aud, "exp": str(int(time.time()) + life_s)}
        assertion = jwt.encode(claims, key, algorithm="RS256")
        return token(front, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=assertion)

    assert granted(mine).body["token_type"] == "Bearer"
    assert granted(other).body["error"] == "invalid_grant"
    assert granted(mine, aud="https://elsewhere.example").body["error_description"] == "Audience validation failed"
    assert granted(mine, life_s=-10).status == 400


def test_soap_login_is_gone_from_version_65(call: Caller) -> None:
    """The legacy call works below 65.0 and is unsupported from there on."""
    envelope = (
        '<env:Envelope xmlns:env="x"><env:Body><n1:login xmlns:n1="urn:partner.soap.sforce.com"><n1:username>{0}</n1:username>'
        "<n1:password>{1}</n1:password></n1:login></env:Body></env:Envelope>"
    )

    def login(version: str, password: str) -> Reply:
        body = envelope.format(DEMO_USERNAME, password)
        return call.front.answer(Request(method="POST", path=f"/services/Soap/u/{version}", body=body))

    assert "<sessionId>" in login("59.0", "demo").body
    wrong = login("59.0", "no")
    assert (wrong.status, "<sf:exceptionCode>INVALID_LOGIN</sf:exceptionCode>" in wrong.body) == (500, True)
    assert "UNSUPPORTED_API_VERSION" in login("65.0", "demo").body


# -- faults ---------------------------------------------------------------------------------------------------------------


def test_faults_hit_the_calls_they_are_meant_for(call: Caller) -> None:
    """503 as HTML for the next queries only, 429 once for anything, then business as usual; unknown knobs are refused."""
    call.faults(fail=[{"status": 503, "times": 2, "kind": "query", "html": True}, {"status": 429}])
    assert call("GET", "query", q="SELECT Id FROM Account").media_type == "text/html"
    assert error(call("GET", "limits"))[0] == 429
    assert call("GET", "limits").status == 200
    assert call("GET", "query", q="SELECT Id FROM Account").status == 503
    assert call("GET", "query", q="SELECT Id FROM Account").status == 200
    assert call("POST", "/demo/faults", {"nope": 1}).status == 400
    call.faults(limit_reached=True, limit_suffix="; api-bursts=1/750")
    refused = call("GET", "limits")
    assert error(refused) == (403, "REQUEST_LIMIT_EXCEEDED")
    assert refused.headers["Sforce-Limit-Info"].endswith("/100000; api-bursts=1/750")
    call.faults(reset=True, revoke_tokens=True)
    assert error(call("GET", "limits")) == (401, "INVALID_SESSION_ID")
    call.sign_in()
    assert call("GET", "limits").status == 200


def test_locks_heal_and_validation_rules_do_not(call: Caller) -> None:
    """A locked record fails as often as told, also through its account; a refused one fails for ever, alone."""
    deals = bulk_deals(call.org, 3, close_date=START)
    account_id = call.org.get("Opportunity", deals[2])["AccountId"]
    call.faults(lock={deals[0]: 1, account_id: 1}, refuse={deals[1]: "No edits after closing."})
    body = {
        "records": [{"attributes": {"type": "Opportunity"}, "id": one, "Billing_Status__c": "Active"} for one in deals]
    }

    def codes() -> list[str]:
        results = call("PATCH", "composite/sobjects", body).body
        return [one["errors"][0]["statusCode"] if one["errors"] else "" for one in results]

    assert codes() == ["UNABLE_TO_LOCK_ROW", "FIELD_CUSTOM_VALIDATION_EXCEPTION", "UNABLE_TO_LOCK_ROW"]
    assert codes() == ["", "FIELD_CUSTOM_VALIDATION_EXCEPTION", ""]


def test_the_date_header_is_the_clock_of_the_org() -> None:
    """A shifted demo clock shows in Date, and a skew on top of it."""
    call = Caller(Org(clock=lambda: datetime(2026, 4, 1, 12, tzinfo=UTC)))
    assert call("GET", "limits").headers["Date"] == "Wed, 01 Apr 2026 12:00:00 GMT"
    call.faults(clock_skew_s=3600)
    assert call("GET", "limits").headers["Date"] == "Wed, 01 Apr 2026 13:00:00 GMT"


# -- over a real connection -----------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[CrmServer]:
    with CrmServer(Org()) as running:
        yield running


class Loopback(HTTPAdapter):
    """Sends what simple-salesforce addresses to https://….salesforce.com to the demo CRM."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
        assert request.url is not None
        request.url = self._url + "/" + request.url.split("/", 3)[3]
        return super().send(request, *args, **more)


def loopback(server: CrmServer) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Loopback(server.url))
    return session


def connected(server: CrmServer, secret: str = DEMO_CLIENT_SECRET) -> Salesforce:
    return Salesforce(
        consumer_key=DEMO_CLIENT_ID,
        consumer_secret=secret,
        domain="demo.my",
        session=loopback(server),
        version="62.0",
        parse_float=Decimal,
    )


def test_simple_salesforce_walks_through_the_whole_surface(server: CrmServer) -> None:
    """Login, describe, create, query over pages, upsert, composite, delete and errors with the real library."""
    seed(server.org, START)
    sf = connected(server)
    assert any(one["name"] == "Opportunity" for one in sf.describe()["sobjects"])
    assert sf.is_sandbox() is False
    deal = sf.query("SELECT Id, Amount FROM Opportunity WHERE Name = 'Acme team seats'")["records"][0]
    assert deal["Amount"] == Decimal("290.00")
    assert sf.Opportunity.update(deal["Id"], {"StageName": "Closed Won"}) == 204
    assert sf.Opportunity.get(deal["Id"])["IsWon"] is True
    assert (
        sf.Billing_Invoice__c.upsert("Billing_Invoice_Id__c/in_1", {"Opportunity__c": deal["Id"], "Number__c": "INV-1"})
        == 201
    )
    assert sf.Billing_Invoice__c.get_by_custom_id("Billing_Invoice_Id__c", "in_1")["Number__c"] == "INV-1"
    bulk_deals(server.org, 2500, close_date=START)
    assert len(sf.query_all("SELECT Id FROM Opportunity")["records"]) == 2512
    body = {"compositeRequest": [sub("GET", "query?q=" + quote("SELECT COUNT() FROM Quote"), "quotes")]}
    assert (
        sf.restful("composite", method="POST", data=json.dumps(body))["compositeResponse"][0]["body"]["totalSize"] == 3
    )
    used, limit = sf.api_usage["api-usage"]
    assert (used, limit) == (server.front.used, 100_000)
    with pytest.raises(SalesforceMalformedRequest) as refused:
        sf.query("SELECT Nope FROM Account")
    assert refused.value.content[0]["errorCode"] == "INVALID_FIELD"
    with pytest.raises(SalesforceAuthenticationFailed):
        connected(server, secret="wrong")


def test_simple_salesforce_logs_in_by_jwt_and_password(server: CrmServer) -> None:
    """The other two flows of the library get a session as well."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    by_jwt = Salesforce(
        username=DEMO_USERNAME, consumer_key=DEMO_CLIENT_ID, privatekey=pem, session=loopback(server), version="62.0"
    )
    assert by_jwt.query("SELECT COUNT() FROM Account")["totalSize"] == 0
    by_soap = Salesforce(
        username=DEMO_USERNAME, password="demo", security_token="", session=loopback(server), version="62.0"
    )
    assert by_soap.query("SELECT COUNT() FROM Account")["totalSize"] == 0


def test_a_reply_may_be_lost_after_the_commit(server: CrmServer) -> None:
    """The connection drops, the record is there."""
    sf = connected(server)
    server.org.faults.apply({"drop_after_commit": 1})
    with pytest.raises(requests.ConnectionError):
        sf.restful("sobjects/Account", method="POST", data='{"Name": "kept"}')
    assert sf.query("SELECT COUNT() FROM Account WHERE Name = 'kept'")["totalSize"] == 1


def test_bad_json_is_a_400(server: CrmServer) -> None:
    """A body that is no JSON is JSON_PARSER_ERROR, and money keeps its digits on the wire."""
    sf = connected(server)
    url = f"{server.url}{BASE}/sobjects/Account"
    reply = requests.post(url, data="{", headers=sf.headers, timeout=5)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
    made = requests.post(
        f"{server.url}{BASE}/sobjects/Billing_Invoice__c",
        data='{"Total__c": 1234567890123.10}',
        headers=sf.headers,
        timeout=5,
    ).json()
    text = requests.get(
        f"{server.url}{BASE}/sobjects/Billing_Invoice__c/{made['id']}", headers=sf.headers, timeout=5
    ).text
    assert '"Total__c":1234567890123.10' in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_foreground_server_ends_well_on_a_signal(number: signal.Signals) -> None:
    """`serve` says where it listens, answers, and returns when told to stop."""
    script = (
        "from connector.lookalike.crm.org import Org\n"
        "from connector.lookalike.crm.server import serve\n"
        "serve(Org(), port=0, on_ready=lambda url: print(url, flush=True))\n"
        "print('done')\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert requests.get(f"{url}/services/data", timeout=10).status_code == 200
        process.send_signal(number)
        assert process.stdout.read() == "done\n"
        assert process.wait(10) == 0
