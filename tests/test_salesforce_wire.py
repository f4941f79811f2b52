"""The Salesforce client against replies as real orgs give them: error bodies, composites, collections, odd answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import responses
from requests import PreparedRequest
from salesforce_wire import DATA, EXPIRED, HOST, LOGIN, ONE, SOQL, client, sent, with_token

from connector.crm.salesforce import SalesforceCrm
from connector.errors import ConnectorError, HaltError, RejectedError, RetryableError
from connector.ports import Upsert, Written


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


# ---------------------------------------------------------------- sessions


def test_instance_that_moves_between_pages_is_followed(wire: responses.RequestsMock) -> None:
    """A new login in mid-query may name another instance; the next page is read there (P30)."""
    with_token(wire)
    with_token(wire, instance_url="https://acme2.my.salesforce.com", access_token="00D!second")
    first = {**ONE, "done": False, "nextRecordsUrl": "/services/data/v62.0/query/01g-500"}
    wire.get(f"{DATA}/query", json=first)
    wire.get(f"{DATA}/query/01g-500", status=401, json=EXPIRED)
    moved = wire.get("https://acme2.my.salesforce.com/services/data/v62.0/query/01g-500", json=ONE)
    assert len(client().query(SOQL)[0]) == 2
    assert moved.calls[0].request.headers["Authorization"] == "Bearer 00D!second"


def test_org_that_changes_with_a_new_login_is_refused(wire: responses.RequestsMock) -> None:
    """A sandbox that was refreshed under us is another org; nothing more is read or written (P33)."""
    with_token(wire)
    with_token(wire, id="https://login.salesforce.com/id/00D5g0000000002EAA/005000000000001AAA")
    wire.get(f"{DATA}/query", status=401, json=EXPIRED)
    with pytest.raises(HaltError) as caught:
        client().query(SOQL)
    assert caught.value.code == "other-org"


@pytest.mark.parametrize(
    "message",
    ["This session is not valid for use with the REST API", "Connected app is not attached to Agent"],
)
def test_sessions_that_never_heal_cost_no_login(wire: responses.RequestsMock, message: str) -> None:
    """Two messages under the code of an expired session are final (P29)."""
    with_token(wire)
    wire.get(f"{DATA}/query", status=401, json=[{"message": message, "errorCode": "INVALID_SESSION_ID"}])
    with pytest.raises(HaltError, match="refuses our session"):
        client().query(SOQL)
    assert len(sent(wire, "/oauth2/token")) == 1


def test_401_that_is_no_json_is_renewed_too(wire: responses.RequestsMock) -> None:
    """An expired session told in HTML is renewed like any other (P29)."""
    with_token(wire)
    wire.get(f"{DATA}/query", status=401, body="<html>401</html>")
    wire.get(f"{DATA}/query", json=ONE)
    assert client().query(SOQL) == [[{"Id": "001"}]]


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}], HaltError, "used up"),
        (403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "ConcurrentPerOrgLongTxn Limit exceeded."}], RetryableError, "long calls"),
        (403, [{"errorCode": "API_DISABLED_FOR_ORG", "message": "API is not enabled"}], HaltError, "API_DISABLED_FOR_ORG"),
        (404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}], HaltError, "API version 62.0"),
        (410, [{"errorCode": "UNSUPPORTED_API_VERSION", "message": "gone"}], HaltError, "API version 62.0"),
        (400, [{"errorCode": "QUERY_TIMEOUT", "message": "Your query request was running for too long."}], RetryableError, "QUERY_TIMEOUT"),
        (400, [{"errorCode": "INVALID_FIELD", "message": "Didn't understand relationship 'Acount' in field path."}], RejectedError, "Acount"),
        (406, "<html>no</html>", RetryableError, "HTTP 406"),
        (414, "<html>long</html>", RejectedError, "HTTP 414"),
    ],
)  # fmt: skip
def test_refusals_mean_what_the_loop_does_next(
    wire: responses.RequestsMock, status: int, body: Any, kind: type[ConnectorError], text: str
) -> None:
    """Each refusal becomes the error whose class says what happens next."""
    with_token(wire)
    wire.get(f"{DATA}/query", status=status, body=body if isinstance(body, str) else json.dumps(body))
    with pytest.raises(kind, match=text):
        client().query(SOQL)


# ---------------------------------------------------------------- composites


def composite(wire: responses.RequestsMock, answer: Callable[[dict[str, Any]], tuple[int, Any] | None]) -> list[int]:
    """Answer POST /composite part by part with *answer*; return the list that gets the size of each composite."""
    sizes: list[int] = []

    def whole(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        parts = json.loads(request.body or b"")["compositeRequest"]
        sizes.append(len(parts))
        said = [(part["referenceId"], answer(part)) for part in parts]
        told = [
            {"referenceId": ref, "httpStatusCode": one[0], "httpHeaders": {}, "body": one[1]}
            for ref, one in reversed(said)
            if one
        ]
        return 200, {}, json.dumps({"compositeResponse": told})

    wire.add_callback(responses.POST, f"{DATA}/composite", callback=whole)
    return sizes


def test_pages_are_read_singly_where_composites_do_not_take_them(wire: responses.RequestsMock) -> None:
    """An org that refuses further pages inside a composite is asked page by page from then on [unverified behaviour]."""
    with_token(wire)

    def answer(part: dict[str, Any]) -> tuple[int, Any]:
        if "?q=" not in part["url"]:
            return 400, [{"errorCode": "INVALID_BATCH_REQUEST", "message": "not here"}]
        return 200, {**ONE, "done": False, "nextRecordsUrl": f"/services/data/v62.0/query/{part['referenceId']}-1"}

    sizes = composite(wire, answer)
    for at in (0, 1):
        more = {**ONE, "done": False, "nextRecordsUrl": f"/services/data/v62.0/query/r{at}-2"}
        wire.get(f"{DATA}/query/r{at}-1", json=more)
        wire.get(f"{DATA}/query/r{at}-2", json=ONE)
    crm = client()
    assert [len(rows) for rows in crm.query(SOQL * 2)] == [3, 3]
    assert [len(rows) for rows in crm.query(SOQL * 2)] == [3, 3]
    assert sizes == [2, 2, 2]


def test_missing_part_of_a_composite_is_for_later(wire: responses.RequestsMock) -> None:
    """A query that a composite leaves unanswered is never taken for an empty result."""
    with_token(wire)
    composite(wire, lambda part: (200, ONE) if part["referenceId"] == "r0" else None)
    with pytest.raises(RetryableError):
        client().query(SOQL * 2)


def test_page_that_names_itself_as_the_next_is_no_endless_loop(wire: responses.RequestsMock) -> None:
    """A page whose next page is itself ends the query with an error."""
    with_token(wire)
    url = "/services/data/v62.0/query/01g-500"
    wire.get(f"{DATA}/query", json={**ONE, "done": False, "nextRecordsUrl": url})
    wire.get(f"{HOST}{url}", json={**ONE, "done": False, "nextRecordsUrl": url})
    with pytest.raises(RetryableError, match="another page"):
        client().query(SOQL)


# ---------------------------------------------------------------- collections

COLLECTION = f"{DATA}/composite/sobjects"


def deals(count: int, **values: Any) -> list[Upsert]:
    return [
        Upsert(object="Opportunity", id=f"0065g000000{n:04d}AAA", values=values or {"A__c": n}) for n in range(count)
    ]


def singly(upserts: list[Upsert]) -> list[Upsert]:
    """Give every record a text that keeps its batch out of composites."""
    return [replace(one, values={**one.values, "Text__c": "@{"}) for one in upserts]


def saving(wire: responses.RequestsMock, refuse: Callable[[list[dict[str, Any]]], Any]) -> list[int]:
    """Save collections unless *refuse* returns an error body for them; return the list that gets their sizes."""
    sizes: list[int] = []

    def save(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        records = json.loads(request.body or b"")["records"]
        sizes.append(len(records))
        if error := refuse(records):
            return 400, {}, json.dumps(error)
        return 200, {}, json.dumps([{"id": one["id"], "success": True, "errors": []} for one in records])

    wire.add_callback(responses.PATCH, COLLECTION, callback=save)
    return sizes


def failed(written: list[Written]) -> list[int]:
    return [at for at, one in enumerate(written) if one.problem is not None]


def test_money_is_written_as_an_exact_number(wire: responses.RequestsMock) -> None:
    """Decimals go out as JSON numbers with their digits, instants with a zone."""
    with_token(wire)
    saving(wire, lambda _records: None)
    when = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    client().write(deals(1, Big__c=Decimal("123456789012345.67"), When__c=when, None__c=None, Yes__c=True))
    body = sent(wire, "/sobjects")[0].body
    assert body == (
        b'{"allOrNone":false,"records":[{"attributes":{"type":"Opportunity"},"id":"0065g0000000000AAA",'
        b'"Big__c":123456789012345.67,"When__c":"2026-01-31T09:30:00Z","None__c":null,"Yes__c":true}]}'
    )


def test_missing_result_never_counts_as_written(wire: responses.RequestsMock) -> None:
    """A reply with fewer results than records leaves the last ones unwritten, for later (P28)."""
    with_token(wire)
    wire.patch(COLLECTION, json=[{"id": "006", "success": True, "errors": []}])
    wire.patch(COLLECTION, json=[])
    written = client().write(deals(2))
    assert written[0].problem is None
    assert written[1].is_transient
    assert written[1].problem is not None
    assert written[1].problem.code == "crm-no-answer"


def test_field_refused_for_the_whole_batch_fails_its_carriers_only(wire: responses.RequestsMock) -> None:
    """A request refused for one unknown field is sent again without the records that carry it."""
    with_token(wire)
    error = [{"errorCode": "INVALID_FIELD", "message": "No such column 'Typo__c' on sobject of type Opportunity"}]
    sizes = saving(wire, lambda records: error if any("Typo__c" in one for one in records) else None)
    upserts = deals(10)
    upserts[4] = replace(upserts[4], values={"Typo__c": 1})
    written = client().write(upserts)
    assert failed(written) == [4]
    assert sizes == [10, 9]
    assert written[4].problem is not None
    assert written[4].problem.where.field == "Typo__c"


def test_poison_that_spoils_the_whole_request_is_found(wire: responses.RequestsMock) -> None:
    """A batch refused without naming a field is cut into five until the poison record is alone."""
    with_token(wire)
    error = [{"errorCode": "JSON_PARSER_ERROR", "message": "Cannot deserialize instance of double from VALUE_STRING"}]
    sizes = saving(wire, lambda records: error if any(one["A__c"] == 77 for one in records) else None)
    written = client().write(singly(deals(200)))
    assert failed(written) == [77]
    assert not written[77].is_transient
    assert sum(sizes) < 600


def test_whole_batches_refused_for_good_have_a_bound(wire: responses.RequestsMock) -> None:
    """If every record is refused without a field, the search for a poison record ends soon."""
    with_token(wire)
    error = [{"errorCode": "JSON_PARSER_ERROR", "message": "Unexpected character"}]
    sizes = saving(wire, lambda _records: error)
    written = client().write(singly(deals(200)))
    assert failed(written) == list(range(200))
    assert len(sizes) < 60


@pytest.mark.parametrize(
    ("code", "message", "is_transient", "said"),
    [
        ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access", True, "crm-busy"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "X: execution of AfterUpdate caused by: UNABLE_TO_LOCK_ROW", True, "crm-busy"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "X: execution of AfterUpdate caused by: NullPointer", False, "crm-automation"),
        ("REQUIRED_FIELD_MISSING", "Required fields are missing: [Region__c]", False, "crm-required-field"),
        ("ENTITY_IS_DELETED", "entity is deleted", False, "crm-record-gone"),
        ("SOMETHING_NEW", "brand new", False, "crm-write-refused"),
    ],
)  # fmt: skip
def test_record_errors_say_who_can_fix_them(
    wire: responses.RequestsMock, code: str, message: str, is_transient: bool, said: str
) -> None:
    """Each refusal of a record keeps Salesforce's words, names the field, and says who can act."""
    with_token(wire)
    fields = ["Region__c"] if "Region__c" in message else []
    wire.patch(
        COLLECTION, json=[{"success": False, "errors": [{"statusCode": code, "message": message, "fields": fields}]}]
    )
    (written,) = client().write(deals(1))
    assert written.problem is not None
    assert (written.is_transient, written.problem.code) == (is_transient, said)
    assert message in written.problem.message
    assert "{fields}" not in written.problem.message + written.problem.hint
    assert written.problem.hint
    assert written.problem.where.field == ("Region__c" if fields else None)


def test_batch_that_ran_too_long_shrinks_the_next(wire: responses.RequestsMock) -> None:
    """A composite whose batches time out is followed by smaller ones; each record is still answered."""
    with_token(wire)
    late = [(500, [{"errorCode": "REQUEST_RUNNING_TOO_LONG", "message": "too long"}])] * 4

    def answer(part: dict[str, Any]) -> tuple[int, Any]:
        done = [{"id": one["id"], "success": True, "errors": []} for one in part["body"]["records"]]
        return late.pop() if late else (200, done)

    sizes = composite(wire, answer)
    crm = SalesforceCrm(LOGIN, write_batches=4, sleep=lambda _s: None)
    assert failed(crm.write(deals(800))) == []
    assert sizes == [4, 2, 2]
