"""The wire formats of the demo CRM, endpoint by endpoint, as in our notes on the protocol: exact bodies, headers and statuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import date
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from demo_crm_world import BASE, Caller, caller, error

from connector.lookalike.crm.gate import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_USERNAME
from connector.lookalike.crm.seed import bulk_deals
from connector.lookalike.crm.wire import Reply, Request

KNOWN = {"client_id": DEMO_CLIENT_ID, "client_secret": DEMO_CLIENT_SECRET}


@pytest.fixture
def call() -> Caller:
    return caller()


def token(call: Caller, headers: dict[str, str] | None = None, **form: str) -> Reply:
    return call.front.answer(Request(method="POST", path="/services/oauth2/token", headers=headers or {}, body=urlencode(form)))


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": kind}, **fields}


# -- logging in -----------------------------------------------------------------------------------------------------------


def test_the_token_reply_is_signed(call: Caller) -> None:
    """Every key of the reply, its identity URL, and a signature that the client secret verifies; Basic works like the body."""
    basic = base64.b64encode(f"{DEMO_CLIENT_ID}:{DEMO_CLIENT_SECRET}".encode()).decode()
    for headers, form in (({}, KNOWN), ({"authorization": f"Basic {basic}"}, {})):
        body = token(call, headers, grant_type="client_credentials", **form).body
        assert set(body) == {"access_token", "instance_url", "id", "token_type", "issued_at", "signature", "scope"}
        assert body["access_token"].startswith(call.org.org_id[:15] + "!")
        assert body["id"] == f"{call.front.gate.base_url}/id/{call.org.org_id}/{call.org.integration_user}"
        digest = hmac.new(DEMO_CLIENT_SECRET.encode(), (body["id"] + body["issued_at"]).encode(), hashlib.sha256).digest()
        assert (body["token_type"], body["signature"]) == ("Bearer", base64.b64encode(digest).decode())


@pytest.mark.parametrize(
    ("form", "name", "text"),
    [
        ({"grant_type": "client_credentials", "client_id": "x"}, "invalid_client_id", "client identifier invalid"),
        ({"grant_type": "client_credentials", **KNOWN, "client_secret": "x"}, "invalid_client", "invalid client credentials"),
        ({"grant_type": "password", **KNOWN, "username": "x", "password": "y"}, "invalid_grant", "authentication failure"),
        ({"grant_type": "refresh_token", **KNOWN, "refresh_token": "x"}, "invalid_grant", "expired access/refresh token"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "x"}, "invalid_grant", "invalid assertion"),
        ({"grant_type": "magic"}, "unsupported_grant_type", "grant type not supported"),
        ({}, "unsupported_grant_type", "grant type not supported"),
    ],
)  # fmt: skip
def test_refused_logins(call: Caller, form: dict[str, str], name: str, text: str) -> None:
    """400 with `error` and `error_description`."""
    reply = token(call, None, **form)
    assert (reply.status, reply.body) == (400, {"error": name, "error_description": text})


def test_a_refresh_token_opens_a_session(call: Caller) -> None:
    """With or without the client's secret; the new session works, and the user behind it can be asked for."""
    for form in (KNOWN, {"client_id": DEMO_CLIENT_ID}):
        body = token(call, None, grant_type="refresh_token", refresh_token="demo-refresh", **form).body
        assert "refresh_token" not in body
        info = call("GET", "/services/oauth2/userinfo", headers={"authorization": f"Bearer {body['access_token']}"}).body
        assert (info["organization_id"], info["preferred_username"]) == (call.org.org_id, DEMO_USERNAME)
    assert call("GET", "/services/oauth2/userinfo", headers={"authorization": "Bearer x"}).status == 403


def test_identity_and_both_ways_to_send_a_token(call: Caller) -> None:
    """GET /id/org/user; `OAuth` as well as `Bearer`; another org's identity is a 404, a bad token a 403."""
    path = f"/id/{call.org.org_id}/{call.org.integration_user}"
    assert call("GET", path, headers={"authorization": f"OAuth {call.token}"}).body["user_id"] == call.org.integration_user
    assert call("GET", path, headers={"authorization": "Bearer x"}).body == "Bad_OAuth_Token"
    assert call("GET", f"/id/00D000000000001AAA/{call.org.integration_user}").status == 404
    assert call("GET", "limits", headers={"authorization": f"OAuth {call.token}"}).status == 200


def test_a_session_can_be_ended(call: Caller) -> None:
    """POST revoke ends the session of the token and no other; what is no token is a 400. It costs no API call."""
    mine, before = call.token, call.front.used
    other = token(call, None, grant_type="client_credentials", **KNOWN).body["access_token"]
    end = Request(method="POST", path="/services/oauth2/revoke", body=urlencode({"token": other}))
    assert [call.front.answer(end).status for _ in range(2)] == [200, 400]
    assert (call("GET", "limits", headers={"authorization": f"Bearer {other}"}).status, call.token) == (401, mine)
    assert call("GET", "limits").status == 200
    assert call.front.used == before + 2
    path = f"/id/{call.org.org_id}/{call.org.integration_user}"
    assert call.front.answer(Request(method="GET", path=path, query={"oauth_token": mine})).body["user_id"] == call.org.integration_user


@pytest.mark.parametrize("prefix", ["n1:", "urn:", ""])
def test_soap_login_by_any_prefix(call: Caller, prefix: str) -> None:
    """The element's namespace prefix does not matter; the reply has bare tags and a server URL of the version."""
    name = prefix.rstrip(":")
    space = f"xmlns:{name}" if name else "xmlns"
    login = f'<{prefix}login {space}="urn:partner.soap.sforce.com"><{prefix}username>{DEMO_USERNAME}</{prefix}username><{prefix}password>demo</{prefix}password></{prefix}login>'
    body = f'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>{login}</e:Body></e:Envelope>'
    reply = call.front.answer(Request(method="POST", path="/services/Soap/u/59.0", body=body))
    assert (reply.status, reply.media_type) == (200, "text/xml;charset=UTF-8")
    assert all(part in reply.body for part in ("<sessionId>", f"/services/Soap/u/59.0/{call.org.org_id[:15]}</serverUrl>", "<organizationId>"))


# -- statuses of the edge -------------------------------------------------------------------------------------------------


def test_methods_types_and_lengths(call: Caller) -> None:
    """404 of an unknown path, 405 with what is allowed, 410, 414 and 431 for length, 415 for other formats; slashes at the end."""
    assert error(call("GET", "sobjects/Account/001000000000000AAA")) == (404, "NOT_FOUND")
    assert call("POST", "limits", {}).body == [{"message": "HTTP Method 'POST' not allowed. Allowed are GET", "errorCode": "METHOD_NOT_ALLOWED"}]
    assert error(call("GET", "/services/data/v25.0/limits")) == (410, "UNSUPPORTED_API_VERSION")
    assert error(call.front.answer(Request(method="POST", path="/services/async/62.0/job", body="<x/>"))) == (404, "NOT_FOUND")
    ids = ",".join(f"'{n:018}'" for n in range(800))
    assert error(call("GET", "query", q=f"SELECT Id FROM Account WHERE Id IN ({ids})")) == (414, "URI_TOO_LONG")
    assert error(call("GET", "limits", headers={"x": "y" * 17_000})) == (431, "REQUEST_HEADER_FIELDS_TOO_LARGE")
    assert error(call("POST", "sobjects/Account", "<x/>", {"content-type": "application/xml"})) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert call("POST", "sobjects/Account/", {"Name": "A"}, {"content-type": "application/json; charset=utf-8"}).status == 201
    for path in ("limits/", "sobjects/", "sobjects/Account/describe/"):
        assert call("GET", path).status == 200


def test_describes_tell_when_they_changed(call: Caller) -> None:
    """If-Modified-Since with the Last-Modified of before is a 304, until a knob changes what the fields are."""
    for path in ("sobjects", "sobjects/Account/describe"):
        since = call("GET", path).headers["Last-Modified"]
        assert call("GET", path, headers={"if-modified-since": since}).status == 304
        call.faults(hide=["Account.Fax"])
        assert call("GET", path, headers={"if-modified-since": since}).status == 200
        call.faults(show=["Account.Fax"])


def test_limits_versions_and_the_global_describe(call: Caller) -> None:
    """The keys that clients read."""
    limits = call("GET", "limits").body
    assert {"DailyApiRequests", "DailyBulkApiBatches", "DailyBulkV2QueryJobs", "DataStorageMB", "FileStorageMB"} == set(limits)
    listed = call("GET", "sobjects").body
    assert (listed["encoding"], listed["maxBatchSize"]) == ("UTF-8", 200)
    account = next(one for one in listed["sobjects"] if one["name"] == "Account")
    assert (account["keyPrefix"], account["queryable"], account["custom"], account["customSetting"]) == ("001", True, False, False)
    versions = call.front.answer(Request(method="GET", path="/services/data/")).body
    assert {"label": "Summer '26", "url": "/services/data/v67.0", "version": "67.0"} in versions
    field = call("GET", "sobjects/Account/describe").body["fields"][0]
    wanted = "name type calculated compoundFieldName nillable updateable createable externalId relationshipName referenceTo length precision scale soapType"
    assert set(wanted.split()) <= set(field)


# -- single records -------------------------------------------------------------------------------------------------------


def test_what_a_create_refuses(call: Caller) -> None:
    """An Id in the body, a missing field, an unknown one, a wrong type: each with its code, text and fields."""
    post = lambda **fields: call("POST", "sobjects/Account", fields).body[0]  # noqa: E731 - one line a case
    assert post(Id="001000000000001AAA", Name="x") == {"message": "The Id field should not be specified in the sobject data.", "errorCode": "INVALID_FIELD"}
    assert post() == {"message": "Required fields are missing: [Name]", "errorCode": "REQUIRED_FIELD_MISSING", "fields": ["Name"]}
    assert post(Name="x", Nope=1) == {"message": "No such column 'Nope' on sobject of type Account", "errorCode": "INVALID_FIELD"}
    assert post(Name="x", NumberOfEmployees="many")["errorCode"] == "JSON_PARSER_ERROR"
    assert post(Name="x" * 256)["errorCode"] == "STRING_TOO_LONG"
    assert post(Name="x", ParentId="006000000000001AAA")["errorCode"] == "FIELD_INTEGRITY_EXCEPTION"
    assert post(Name="x", ParentId="001000000000001AAA")["errorCode"] == "INVALID_CROSS_REFERENCE_KEY"
    assert post(Name="x", ParentId="abc")["errorCode"] == "MALFORMED_ID"
    assert error(call("POST", "sobjects/Account")) == (400, "JSON_PARSER_ERROR")


def test_a_record_by_its_id_and_its_external_id(call: Caller) -> None:
    """201, 204, 200 with `created`, 404 after deletion, and a parent set by external id."""
    made = call("POST", "sobjects/Account", {"Name": "A"})
    account = made.body["id"]
    assert made.headers["Location"] == f"{BASE}/sobjects/Account/{account}"
    assert call("GET", f"sobjects/Account/{account[:15]}").body["attributes"] == {"type": "Account", "url": f"{BASE}/sobjects/Account/{account}"}
    path = "sobjects/Billing_Invoice__c/Billing_Invoice_Id__c/in_1"
    first = call("PATCH", path, {"Account__c": account})
    assert (first.status, set(first.body), first.body["created"]) == (201, {"id", "success", "errors", "created"}, True)
    assert (call("PATCH", path, {"Status__c": "open"}).status, call("DELETE", f"sobjects/Billing_Invoice__c/{first.body['id']}").status) == (200, 204)
    assert error(call("GET", path)) == (404, "NOT_FOUND")
    gone = call("PATCH", f"sobjects/Billing_Invoice__c/{first.body['id']}", {})
    assert (gone.status, gone.body) == (404, [{"message": "entity is deleted", "errorCode": "ENTITY_IS_DELETED"}])
    assert call("GET", "sobjects/Account/Nope/x").body[0]["message"] == "Provided external ID field does not exist or is not accessible: Nope"


def test_updated_and_deleted(call: Caller) -> None:
    """Ids of the window with seconds cut, deletions with their date; a slow transaction ends what is covered; wrong windows."""
    deals = bulk_deals(call.org, 2, close_date=date(2026, 3, 1))
    call.clock.pass_by(120)
    call("DELETE", f"sobjects/Opportunity/{deals[1]}")
    window = {"start": "2026-03-10T12:00:40+00:00", "end": "2026-03-10T12:05:30+00:00"}
    assert call("GET", "sobjects/Opportunity/updated/", **window).body == {"ids": [deals[0]], "latestDateCovered": "2026-03-10T12:05:00.000+0000"}
    gone = call("GET", "sobjects/Opportunity/deleted/", **window).body
    assert gone["deletedRecords"] == [{"id": deals[1], "deletedDate": "2026-03-10T12:02:00.000+0000"}]
    assert set(gone) == {"deletedRecords", "earliestDateAvailable", "latestDateCovered"}
    call.demo("late", object="Account", seconds=600, fields={"Name": "slow"})
    assert call("GET", "sobjects/Account/updated", **window).body["latestDateCovered"] == "2026-03-10T12:02:00.000+0000"
    for start, end in (("2026-03-10T12:00:00Z", "2026-03-10T12:00:59Z"), ("2025-03-10T12:00:00Z", "2026-03-10T12:00:00Z"), ("2026-03-10T12:00:00:", "x"), ("", "")):
        assert error(call("GET", "sobjects/Opportunity/updated/", start=start, end=end)) == (400, "INVALID_REPLICATION_DATE")


# -- several records ------------------------------------------------------------------------------------------------------


def test_collections_are_limited_and_read_by_id(call: Caller) -> None:
    """201 records, eleven runs of one type, a missing type; DELETE of many; POST retrieve gives null for what is not there."""
    assert error(call("POST", "composite/sobjects", {"records": []})) == (400, "MISSING_ARGUMENT")
    runs = [typed("Account" if n % 2 else "Product2", Name="x") for n in range(11)]
    assert error(call("POST", "composite/sobjects", {"records": runs})) == (400, "INVALID_INPUT")
    assert error(call("POST", "composite/sobjects", {"records": [{"Name": "x"}]})) == (400, "INVALID_INPUT")
    made = [one["id"] for one in call("POST", "composite/sobjects", {"records": [typed("Account", Name=name) for name in "abc"]}).body]
    gone = call("DELETE", "composite/sobjects", ids=f"{made[0]},001000000000001AAA", allOrNone="false").body
    assert [one["success"] for one in gone] == [True, False]
    assert gone[1]["errors"][0]["statusCode"] == "NOT_FOUND"
    both = call("DELETE", "composite/sobjects", ids=f"{made[1]},001000000000001AAA", allOrNone="true").body
    assert both[0]["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    read = call("POST", "composite/sobjects/Account", {"ids": made, "fields": ["Id", "Name"]}).body
    assert [one and one["Name"] for one in read] == [None, "b", "c"]


def test_a_composite_with_a_bad_reference_or_none(call: Caller) -> None:
    """A missing referenceId fails the whole request; a reference to nothing fails its own part; all or none halts the others."""
    entry = {"method": "POST", "url": f"{BASE}/sobjects/Account", "body": {"Name": "A"}}
    assert error(call("POST", "composite", {"compositeRequest": [entry]})) == (400, "MISSING_ARGUMENT")
    bad = {"method": "GET", "url": f"{BASE}/sobjects/Account/@{{a.nope}}", "referenceId": "b"}
    body = {"allOrNone": True, "compositeRequest": [{**entry, "referenceId": "a"}, bad]}
    first, second = call("POST", "composite", body).body["compositeResponse"]
    assert (first["httpStatusCode"], first["body"]) == (
        400,
        [{"errorCode": "PROCESSING_HALTED", "message": "The transaction was rolled back since another operation in the same transaction failed."}],
    )
    assert (second["httpStatusCode"], call.soql("SELECT COUNT() FROM Account")["totalSize"]) == (400, 0)


def test_trees_make_parents_and_children(call: Caller) -> None:
    """Accounts with their contacts in one call, 201; one wrong child and nothing is made, 400 with its reference."""

    def tree(last: str | None) -> dict[str, Any]:
        contact = {"attributes": {"type": "Contact", "referenceId": "c"}, "LastName": last}
        return {"records": [{"attributes": {"type": "Account", "referenceId": "a"}, "Name": "A", "Contacts": {"records": [contact]}}]}

    bad = call("POST", "composite/tree/Account", tree(None))
    assert (bad.status, bad.body["hasErrors"], [one["referenceId"] for one in bad.body["results"]]) == (400, True, ["c"])
    assert call.soql("SELECT COUNT() FROM Account")["totalSize"] == 0
    good = call("POST", "composite/tree/Account", tree("L"))
    assert (good.status, [one["referenceId"] for one in good.body["results"]]) == (201, ["a", "c"])
    assert call.soql("SELECT Account.Name FROM Contact")["records"][0]["Account"]["Name"] == "A"
    twice = {"records": tree("L")["records"] * 2}
    assert error(call("POST", "composite/tree/Account", twice)) == (400, "INVALID_INPUT")


def test_graphs_stand_or_fall_each_by_itself(call: Caller) -> None:
    """Two graphs in one call: the one with a failure leaves nothing, the other stands, references included."""

    def graph(name: str, last: str | None) -> dict[str, Any]:
        account = {"method": "POST", "url": f"{BASE}/sobjects/Account", "referenceId": "a", "body": {"Name": name}}
        contact = {"method": "POST", "url": f"{BASE}/sobjects/Contact", "referenceId": "c", "body": {"LastName": last, "AccountId": "@{a.id}"}}
        return {"graphId": name, "compositeRequest": [account, contact]}

    before = call.front.used
    answer = call("POST", "composite/graph", {"graphs": [graph("one", "L"), graph("two", None)]}).body["graphs"]
    assert [(one["graphId"], one["isSuccessful"]) for one in answer] == [("one", True), ("two", False)]
    assert answer[1]["graphResponse"]["compositeResponse"][0]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    assert [row["Name"] for row in call.soql("SELECT Name FROM Account")["records"]] == ["one"]
    assert call.front.used == before + 2
    query = {"method": "GET", "url": f"{BASE}/query?q={quote('SELECT Id FROM Account')}", "referenceId": "q"}
    assert error(call("POST", "composite/graph", {"graphs": [{"graphId": "g", "compositeRequest": [query]}]})) == (400, "INVALID_INPUT")
