"""The knobs and control endpoints of the demo CRM: each makes it misbehave exactly as docs/demo-crm.md says, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests
from demo_crm_world import BASE, Caller, caller, error

from connector.errors import ConfigError
from connector.lookalike.crm.failures import NAMED
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.orgs import org_from
from connector.lookalike.crm.seed import bulk_deals, seed
from connector.lookalike.crm.server import CrmServer

START = date(2026, 3, 1)


@pytest.fixture
def call() -> Caller:
    return caller()


def edit(call: Caller, record: str, **fields: Any) -> None:
    """Change an opportunity as the rep."""
    with call.org.transaction(user=call.org.rep_user):
        call.org.update("Opportunity", record, fields)


def stamp(call: Caller, record: str) -> str:
    return str(call.soql(f"SELECT SystemModstamp FROM Opportunity WHERE Id = '{record}'")["records"][0]["SystemModstamp"])


# -- stamps and clocks ----------------------------------------------------------------------------------------------------


def test_a_late_commit_shows_up_with_its_old_stamp(call: Caller) -> None:
    """A save of the rep is unseen for 540 s, locks its record meanwhile, and then carries the stamp of the save."""
    deal = bulk_deals(call.org, 1, close_date=START)[0]
    call.clock.pass_by(60)
    call.faults(late_commit={"seconds": 540})
    edit(call, deal, NextStep="late")
    query = f"SELECT NextStep, SystemModstamp FROM Opportunity WHERE Id = '{deal}'"
    before = call.soql(query)["records"][0]
    assert (before["NextStep"], before["SystemModstamp"]) == (None, "2026-03-10T12:00:00.000+0000")
    assert error(call("PATCH", f"sobjects/Opportunity/{deal}", {"NextStep": "x"})) == (400, "UNABLE_TO_LOCK_ROW")
    call.clock.pass_by(539)
    assert call.soql(query)["records"][0]["NextStep"] is None
    call.clock.pass_by(1)
    after = call.soql(query)["records"][0]
    assert (after["NextStep"], after["SystemModstamp"]) == ("late", "2026-03-10T12:01:00.000+0000")
    assert call("PATCH", f"sobjects/Opportunity/{deal}", {"NextStep": "x"}).status == 204


def test_the_integration_users_own_saves_are_not_late(call: Caller) -> None:
    """Only others' transactions are held, as many as were asked for; `by: any` holds every one's."""
    call.faults(late_commit={"seconds": 60})
    assert call("POST", "sobjects/Account", {"Name": "mine"}).status == 201
    assert call.soql("SELECT COUNT() FROM Account")["totalSize"] == 1
    with call.org.transaction(user=call.org.rep_user):
        call.org.create("Account", {"Name": "late"})
    with call.org.transaction(user=call.org.rep_user):
        call.org.create("Account", {"Name": "at once"})
    assert call.soql("SELECT COUNT() FROM Account")["totalSize"] == 2
    call.clock.pass_by(60)
    assert call.soql("SELECT COUNT() FROM Account")["totalSize"] == 3
    call.faults(late_commit={"seconds": 60, "by": "any"})
    call("POST", "sobjects/Account", {"Name": "mine too"})
    assert call.soql("SELECT COUNT() FROM Account")["totalSize"] == 3


def test_one_record_can_be_saved_late(call: Caller) -> None:
    """POST /demo/late saves one record as the rep; a refused save holds nothing later."""
    made = call.demo("late", object="Account", seconds=60, fields={"Name": "A"})["id"]
    assert call.ids("SELECT Id FROM Account") == []
    call.clock.pass_by(60)
    assert call.ids("SELECT Id FROM Account") == [made]
    assert error(call("POST", "/demo/late", {"object": "Account", "seconds": 60, "fields": {"Nope": 1}}))[1] == "INVALID_FIELD"
    with call.org.transaction(user=call.org.rep_user):
        call.org.create("Account", {"Name": "B"})
    assert len(call.ids("SELECT Id FROM Account")) == 2


def test_what_a_killed_slow_transaction_saved_never_was(tmp_path: Any) -> None:
    """A held save is not in the file before it is seen."""
    call = caller(path=tmp_path / "crm.db")
    call.demo("late", object="Account", seconds=60, fields={"Name": "A"})
    call("POST", "sobjects/Account", {"Name": "B"})
    call.org.close()
    again = Org(path=tmp_path / "crm.db")
    assert [row["Name"] for row in again.rows("Account")] == ["B"]


def test_equal_stamps_and_mass_bumps(call: Caller) -> None:
    """The stamp stands still on demand; a bump moves the stamps of all records of an object and not LastModifiedDate."""
    call.faults(equal_stamps=True)
    first = call.org.create("Account", {"Name": "A"})
    call.clock.pass_by(30)
    call.org.create("Account", {"Name": "B"})
    assert len({row["SystemModstamp"] for row in call.org.rows("Account")}) == 1
    call.faults(equal_stamps=False)
    call.clock.pass_by(30)
    assert call.demo("bump", object="account")["moved"] == 2
    row = call.org.get("Account", first)
    assert (row["SystemModstamp"], row["LastModifiedDate"]) == ("2026-03-10T12:01:00.000+0000", "2026-03-10T12:00:00.000+0000")
    assert call.demo("bump", object="Account", ids=[first[:15]], seconds=-90)["moved"] == 1
    assert call.org.get("Account", first)["SystemModstamp"] == "2026-03-10T11:59:30.000+0000"


def test_a_formula_flips_without_a_stamp(call: Caller) -> None:
    """A field that became a formula says `calculated`, cannot be written, and changes while the stamp stands."""
    deal = bulk_deals(call.org, 1, close_date=START)[0]
    call.faults(formula=["Opportunity.Contract_Value__c"])
    before = stamp(call, deal)
    call.clock.pass_by(5)
    call.demo("flip", object="Opportunity", id=deal, fields={"Contract_Value__c": 500})
    found = call.soql(f"SELECT Contract_Value__c, SystemModstamp FROM Opportunity WHERE Id = '{deal}'")["records"][0]
    assert (found["Contract_Value__c"], found["SystemModstamp"]) == (500, before)
    fields = {one["name"]: one for one in call("GET", "sobjects/Opportunity/describe").body["fields"]}
    told = fields["Contract_Value__c"]
    assert (told["calculated"], told["updateable"], told["createable"]) == (True, False, False)
    refused = call("PATCH", f"sobjects/Opportunity/{deal}", {"Contract_Value__c": 1})
    assert error(refused) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")


# -- pages ----------------------------------------------------------------------------------------------------------------


def test_page_sizes_vary_by_a_seed(call: Caller) -> None:
    """Pages hold a random number of rows within bounds, the same ones for the same seed; every row comes once."""
    bulk_deals(call.org, 900, close_date=START)

    def sizes() -> list[int]:
        call.faults(page_sizes={"min": 50, "max": 200, "seed": 7})
        page = call.soql("SELECT Id FROM Opportunity ORDER BY Id")
        out, seen = [len(page["records"])], [row["Id"] for row in page["records"]]
        while not page["done"]:
            page = call("GET", page["nextRecordsUrl"]).body
            out.append(len(page["records"]))
            seen += [row["Id"] for row in page["records"]]
        assert (len(seen), len(set(seen)), page["totalSize"]) == (900, 900, 900)
        return out

    first = sizes()
    assert (first, len(set(first)) > 1, all(50 <= one <= 200 for one in first[:-1])) == (sizes(), True, True)


def test_locators_expire(call: Caller) -> None:
    """A locator lives two days, or as many seconds or pages as a knob says."""
    bulk_deals(call.org, 500, close_date=START)
    call.faults(page_size=200)
    page = call.soql("SELECT Id FROM Opportunity")
    call.clock.pass_by(2 * 24 * 3600)
    assert call("GET", page["nextRecordsUrl"]).status == 200
    call.clock.pass_by(1)
    assert error(call("GET", page["nextRecordsUrl"])) == (400, "INVALID_QUERY_LOCATOR")
    call.faults(locator_life_pages=1)
    page = call("GET", call.soql("SELECT Id FROM Opportunity")["nextRecordsUrl"]).body
    assert error(call("GET", page["nextRecordsUrl"])) == (400, "INVALID_QUERY_LOCATOR")


def test_wide_windows_time_out(call: Caller) -> None:
    """Windows of stamps wider than told are QUERY_TIMEOUT, also open ones; narrow ones and look-ups by id are answered."""
    deal = bulk_deals(call.org, 30, close_date=START)[0]
    call.faults(query_timeout_over_s=60)
    wide = "SELECT Id FROM Opportunity WHERE SystemModstamp >= 2026-03-10T11:58:59Z"
    assert error(call("GET", "query", q=wide)) == (400, "QUERY_TIMEOUT")
    assert error(call("GET", "query", q="SELECT Id FROM Opportunity WHERE SystemModstamp < 2026-03-10T12:00:00Z"))[1] == "QUERY_TIMEOUT"
    narrow = wide + " AND SystemModstamp < 2026-03-10T11:59:59Z"
    assert (call.soql(narrow)["totalSize"], len(call.ids(f"SELECT Id FROM Opportunity WHERE Id = '{deal}'"))) == (0, 1)
    call.faults(reset=["query_timeout_over_s"], query_timeout_over_rows=20)
    assert error(call("GET", "query", q=wide)) == (400, "QUERY_TIMEOUT")
    assert len(call.ids(wide + " ORDER BY SystemModstamp, Id LIMIT 20")) == 20


# -- what others do to records --------------------------------------------------------------------------------------------


def test_delete_undelete_empty_bin_and_purge(call: Caller) -> None:
    """Deleted shows in queryAll, comes back with its lines; an emptied bin and a purge leave nothing to see."""
    deals = bulk_deals(call.org, 2, close_date=START)
    call.demo("delete", object="Opportunity", id=deals[0])
    assert call.ids("SELECT Id FROM Opportunity WHERE IsDeleted = true", "queryAll") == [deals[0]]
    assert len(call.ids("SELECT Id FROM OpportunityLineItem")) == 3
    call.demo("undelete", object="Opportunity", id=deals[0])
    assert len(call.ids("SELECT Id FROM OpportunityLineItem")) == 6
    call.demo("delete", object="Opportunity", id=deals[0])
    assert call.demo("empty-bin", object="Opportunity", older_than_days=1)["removed"] == 0
    assert call.demo("empty-bin")["removed"] == 4
    assert call.demo("purge", object="Opportunity", id=deals[1])["removed"] == 4
    assert call.ids("SELECT Id FROM Opportunity", "queryAll") == call.ids("SELECT Id FROM OpportunityLineItem", "queryAll") == []
    assert error(call("POST", "/demo/purge", {"object": "Opportunity", "id": deals[1]})) == (404, "NOT_FOUND")


def test_the_bin_holds_fifteen_days(call: Caller) -> None:
    """After fifteen days a deleted record is gone from queryAll."""
    record = call.org.create("Account", {"Name": "A"})
    call.demo("delete", object="Account", id=record)
    call.clock.pass_by(15 * 24 * 3600)
    assert call.ids("SELECT Id FROM Account", "queryAll") == [record]
    call.clock.pass_by(24 * 3600)
    assert call.ids("SELECT Id FROM Account", "queryAll") == []


def test_merge_moves_the_children(call: Caller) -> None:
    """The loser is deleted with MasterRecordId, its deal belongs to the winner."""
    deal = bulk_deals(call.org, 1, close_date=START)[0]
    loser = call.org.get("Opportunity", deal)["AccountId"]
    winner = call.org.create("Account", {"Name": "W"})
    call.demo("merge", object="Account", winner=winner, loser=loser)
    assert call.org.get("Opportunity", deal)["AccountId"] == winner
    rows = call.soql("SELECT Id, MasterRecordId FROM Account WHERE IsDeleted = true", "queryAll")["records"]
    assert [(row["Id"], row["MasterRecordId"]) for row in rows] == [(loser, winner)]
    assert error(call("POST", "/demo/merge", {"object": "Opportunity", "winner": deal, "loser": deal})) == (400, "INVALID_TYPE")


def test_a_quote_synced_again_gives_every_line_a_new_id(call: Caller) -> None:
    """Old lines are gone even for queryAll, the new ones say the same; the first sync and the next alike."""
    ids = seed(call.org, START)
    lines = f"SELECT Id, Quantity, UnitPrice FROM OpportunityLineItem WHERE OpportunityId = '{ids['delta_platform']}' ORDER BY Id"
    for _ in range(2):
        before = call.ids(lines, "queryAll")
        made = call.demo("resync", quote=ids["delta_quote"])["ids"]
        assert (call.ids(lines, "queryAll"), set(made) & set(before)) == (sorted(made), set())
    prices = [(row["Quantity"], row["UnitPrice"]) for row in call.soql(lines)["records"]]
    assert prices == [(1, 3600), (2, 900)]


def test_a_refreshed_sandbox_is_another_org(call: Caller) -> None:
    """New org id in the login and in Organization, IsSandbox, no token lives on; records keep their ids; the file too."""
    account = call.org.create("Account", {"Name": "A"})
    before = call.org.org_id
    after = call.demo("refresh")["org_id"]
    assert (after != before, error(call("GET", "limits"))) == (True, (401, "INVALID_SESSION_ID"))
    assert after in call.sign_in()["id"]
    assert call.soql("SELECT Id, IsSandbox FROM Organization LIMIT 1")["records"][0]["Id"] == after
    assert call.ids("SELECT Id FROM Account") == [account]


# -- rights and rules -----------------------------------------------------------------------------------------------------


def test_field_access_is_taken_and_given_back(call: Caller) -> None:
    """A hidden field is unknown to SOQL, describe and saves; show and writable undo it."""
    account = call.org.create("Account", {"Name": "A"})
    call.faults(hide=["Account.Tax_Id__c"], read_only=["Account.Fax"])
    assert error(call("GET", "query", q="SELECT Tax_Id__c FROM Account")) == (400, "INVALID_FIELD")
    assert error(call("PATCH", f"sobjects/Account/{account}", {"Tax_Id__c": "x"})) == (400, "INVALID_FIELD")
    assert error(call("PATCH", f"sobjects/Account/{account}", {"Fax": "1"})) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    call.faults(show=["Account.Tax_Id__c"], writable=["Account.Fax"])
    assert call("PATCH", f"sobjects/Account/{account}", {"Fax": "1", "Tax_Id__c": "x"}).status == 204


def test_locks_rules_and_approvals(call: Caller) -> None:
    """Lock of a record or account a few times, a rule per record with its own code, a required field, a record under approval."""
    deals = bulk_deals(call.org, 4, close_date=START)
    account = call.org.get("Opportunity", deals[1])["AccountId"]
    call.faults(lock={deals[0][:15]: 2, account: 1}, refuse={deals[2]: {"code": "CANNOT_EXECUTE_FLOW_TRIGGER", "message": "Flow failed", "fields": ["NextStep"]}})
    call.faults(record_locks=[deals[3]])

    def codes() -> list[str]:
        rows = [{"attributes": {"type": "Opportunity"}, "id": one, "NextStep": "x"} for one in deals]
        return [one["errors"][0]["statusCode"] if one["errors"] else "" for one in call("PATCH", "composite/sobjects", {"records": rows}).body]

    assert codes() == ["UNABLE_TO_LOCK_ROW", "UNABLE_TO_LOCK_ROW", "CANNOT_EXECUTE_FLOW_TRIGGER", "ENTITY_IS_LOCKED"]
    assert codes() == ["UNABLE_TO_LOCK_ROW", "", "CANNOT_EXECUTE_FLOW_TRIGGER", "ENTITY_IS_LOCKED"]
    call.faults(reset=["lock", "refuse", "record_locks"], require={"Opportunity.Description": "Say why."})
    refused = call("PATCH", f"sobjects/Opportunity/{deals[0]}", {"NextStep": "y"})
    assert refused.body == [{"message": "Say why.", "errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "fields": ["Description"]}]
    assert call("PATCH", f"sobjects/Opportunity/{deals[0]}", {"Description": "so"}).status == 204


def test_an_ambiguous_external_id_is_a_300(call: Caller) -> None:
    """Two records with one external id: 300 and their paths; in a collection DUPLICATE_EXTERNAL_ID; without the knob a duplicate."""
    made = {"Billing_Invoice_Id__c": "in_1"}
    call("POST", "sobjects/Billing_Invoice__c", made)
    assert error(call("POST", "sobjects/Billing_Invoice__c", made)) == (400, "DUPLICATE_VALUE")
    call.faults(not_unique=["Billing_Invoice__c.Billing_Invoice_Id__c"])
    assert call("POST", "sobjects/Billing_Invoice__c", made).status == 201
    several = call("PATCH", "sobjects/Billing_Invoice__c/Billing_Invoice_Id__c/in_1", {"Status__c": "paid"})
    ids = call.ids("SELECT Id FROM Billing_Invoice__c ORDER BY Id")
    assert (several.status, several.body) == (300, [f"{BASE}/sobjects/Billing_Invoice__c/{one}" for one in ids])
    rows = [{"attributes": {"type": "Billing_Invoice__c"}, **made}]
    result = call("PATCH", "composite/sobjects/Billing_Invoice__c/Billing_Invoice_Id__c", {"records": rows}).body
    assert result[0]["errors"][0]["statusCode"] == "DUPLICATE_EXTERNAL_ID"


# -- limits, sessions, versions -------------------------------------------------------------------------------------------


def test_the_limit_header_shows_what_the_knobs_say(call: Caller) -> None:
    """Used and allowed calls, a suffix; beyond the limit 403 without being carried out, and /limits agrees."""
    call.faults(limit_max=15_000, limit_used=14_990, limit_suffix="; per-app-api-usage=17/250(appName=x)")
    reply = call("GET", "limits")
    assert reply.headers["Sforce-Limit-Info"] == "api-usage=14991/15000; per-app-api-usage=17/250(appName=x)"
    assert reply.body["DailyApiRequests"] == {"Max": 15_000, "Remaining": 9}
    call.faults(limit_used=15_000)
    refused = call("GET", "limits")
    assert (error(refused), refused.body[0]["message"]) == ((403, "REQUEST_LIMIT_EXCEEDED"), "TotalRequests Limit exceeded.")
    call.faults(limit_used=None)
    assert call("GET", "limits").status == 200


def test_the_allocation_rolls_over_24_hours(call: Caller) -> None:
    """Calls of more than a day ago no longer count."""
    call.faults(limit_max=2)
    assert [call("GET", "limits").status for _ in range(3)] == [200, 200, 403]
    call.clock.pass_by(25 * 3600)
    assert call("GET", "limits").status == 200


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("session_expired", 401, "Session expired or invalid"), ("session_not_for_rest", 401, "This session is not valid for use with the REST API"),
        ("app_not_attached", 401, "Connected app is not attached to Agent"), ("session_html", 401, "<html>"),
        ("limit_total", 403, "TotalRequests Limit exceeded."), ("limit_concurrent", 403, "ConcurrentPerOrgLongTxn Limit exceeded."),
        ("setting_up", 420, "We are setting things up"), ("too_many", 429, "Limit exceeded"), ("bad_gateway", 502, "Bad Gateway"),
        ("unavailable", 503, "SERVER_UNAVAILABLE"), ("unavailable_html", 503, "<html>"), ("query_timeout", 400, "QUERY_TIMEOUT"),
        ("version_gone", 410, "UNSUPPORTED_API_VERSION"), ("server_error", 500, "UNKNOWN_EXCEPTION"), ("gateway_timeout", 504, "Gateway Timeout"),
        ("not_acceptable", 406, "Not Acceptable"), ("api_disabled", 403, "API_DISABLED_FOR_ORG"),
    ],
)  # fmt: skip
def test_named_failures(call: Caller, name: str, status: int, text: str) -> None:
    """Each named failure has its status and text, twice after one call that goes through, and is not carried out."""
    call.faults(fail=[{"as": name, "times": 2, "after": 1, "kind": "sobjects"}])
    replies = [call("POST", "sobjects/Account", {"Name": "A"}) for _ in range(4)]
    assert [one.status for one in replies] == [201, status, status, 201]
    assert text in str(replies[1].body)
    assert call.soql("SELECT COUNT() FROM Account")["totalSize"] == 2


def test_failures_for_ever_for_logins_and_inside_composites(call: Caller) -> None:
    """A failure may last until it is reset, hit the token endpoint, carry its own body and headers, or one subrequest."""
    call.faults(fail=[{"as": "session_expired", "times": "for_ever", "kind": "limits"}, {"as": "invalid_grant", "kind": "token"}])
    assert [call("GET", "limits").status for _ in range(5)] == [401] * 5
    refused = call.sign_in()
    assert refused == {"error": "invalid_grant", "error_description": "expired access/refresh token"}
    assert "access_token" in call.sign_in()
    call.faults(reset=["fail"], fail=[{"status": 429, "headers": {"Retry-After": "7"}, "code": "X", "message": "busy"}])
    busy = call("GET", "limits")
    assert (busy.headers["Retry-After"], busy.body) == ("7", [{"message": "busy", "errorCode": "X"}])
    call.faults(fail=[{"as": "query_timeout", "kind": "composite:query"}])
    entry = {"method": "GET", "url": f"{BASE}/query?q=SELECT+Id+FROM+Account"}
    body = {"compositeRequest": [{**entry, "referenceId": "a"}, {**entry, "referenceId": "b"}]}
    assert [one["httpStatusCode"] for one in call("POST", "composite", body).body["compositeResponse"]] == [400, 200]


def test_old_versions_are_retired_on_demand(call: Caller) -> None:
    """Below the given version calls are 410, and the list of versions begins there."""
    call.faults(retired_below=63)
    assert error(call("GET", "limits")) == (410, "UNSUPPORTED_API_VERSION")
    assert call("GET", "/services/data/v63.0/limits").status == 200
    assert call("GET", "/services/data").body[0]["version"] == "63.0"


# -- knobs themselves -----------------------------------------------------------------------------------------------------


def test_wrong_knobs_are_all_named_and_none_is_turned(call: Caller) -> None:
    """One bad knob spoils the request: every problem is said, nothing changes."""
    reply = call("POST", "/demo/faults", {"page_size": 0, "hide": ["Amount"], "nope": 1, "limit_reached": True, "fail": [{"as": "x"}]})
    assert reply.status == 400
    said = reply.body[0]["message"]
    assert all(part in said for part in ("page_size: takes a whole number, 1 or more", "hide: names a field as Object.Field", "no knob nope", "`as` is one of"))
    assert call("GET", "/demo/faults").body == {}
    call.faults(hide=["Account.Fax"], lock={"001000000000000": 2}, late_commit={"seconds": 5})
    shown = call("GET", "/demo/faults").body
    assert (shown["hidden"], shown["locked"], shown["late"][0]["seconds"]) == (["Account.Fax"], {"001000000000000AAA": 2}, 5)
    assert call("DELETE", "/demo/faults").status == 204
    assert call("GET", "/demo/faults").body == {}


def test_the_control_endpoints_list_themselves(call: Caller) -> None:
    """GET /demo names every endpoint; an unknown one, a wrong method and a missing value say what is expected."""
    assert "/demo/merge" in call("GET", "/demo").body["endpoints"]
    assert "there are" in call("POST", "/demo/nope", {}).body[0]["message"]
    assert error(call("GET", "/demo/merge")) == (405, "METHOD_NOT_ALLOWED")
    assert call("POST", "/demo/delete", {"object": "Account"}).body[0]["message"] == "id: a text is required"
    assert call.front.used == 0


def test_every_knob_endpoint_and_setting_is_documented(call: Caller) -> None:
    """docs/demo-crm.md names each knob, each named failure, each control endpoint and each setting of an org."""
    text = (Path(__file__).parent.parent / "docs" / "demo-crm.md").read_text(encoding="utf-8")
    knobs = call("POST", "/demo/faults", {"nope": 1}).body[0]["message"].partition("there are ")[2].split(", ")
    with pytest.raises(ConfigError) as raised:
        org_from({"nope": 1})
    settings = raised.value.problems[0].message.partition("there are ")[2].rstrip(".").split(", ")
    assert (len(knobs) > 30, len(settings) > 15) == (True, True)
    assert [one for one in (*knobs, *NAMED, *settings) if f"`{one}" not in text and f" {one}:" not in text] == []
    assert [one for one in call("GET", "/demo").body["endpoints"] if one not in text] == []


def test_calls_are_counted_by_kind(call: Caller) -> None:
    """Logins, queries, composites and their subrequests each have their count; a DELETE starts anew."""
    call("GET", "limits")
    call("POST", "composite", {"compositeRequest": [{"method": "GET", "url": f"{BASE}/limits", "referenceId": "a"}]})
    counters = call("GET", "/demo/counters").body
    assert counters == {
        "total": 2, "by_kind": {"token": 1, "limits": 1, "composite": 1}, "subrequests": {"limits": 1}, "records_written": 0,
    }  # fmt: skip
    call("DELETE", "/demo/counters")
    assert call("GET", "/demo/counters").body["by_kind"] == {}


# -- over a real connection -----------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[CrmServer]:
    with CrmServer(Org()) as running:
        yield running


def signed_in(url: str) -> tuple[requests.Session, dict[str, Any]]:
    session = requests.Session()
    session.trust_env = False
    form = {"grant_type": "client_credentials", "client_id": "demo-client", "client_secret": "demo-secret"}
    login = session.post(f"{url}/services/oauth2/token", data=form, timeout=5).json()
    session.headers["Authorization"] = f"Bearer {login['access_token']}"
    return session, login


def test_replies_are_lost_before_or_after_the_commit(server: CrmServer) -> None:
    """The connection breaks either way; only what was lost after the commit is there. Reads can be hit by their kind."""
    session, _ = signed_in(server.url)
    path = f"{server.url}{BASE}"
    for when in ("before", "after"):
        requests.post(f"{server.url}/demo/faults", json={"drop": [{"when": when}]}, timeout=5).raise_for_status()
        assert session.get(f"{path}/limits", timeout=5).status_code == 200
        with pytest.raises(requests.ConnectionError):
            session.post(f"{path}/sobjects/Account", json={"Name": when}, timeout=5)
    assert [row["Name"] for row in server.org.rows("Account")] == ["after"]
    requests.post(f"{server.url}/demo/faults", json={"drop": [{"when": "after", "kind": "limits"}]}, timeout=5).raise_for_status()
    with pytest.raises(requests.ConnectionError):
        session.get(f"{path}/limits", timeout=5)


def test_the_instance_moves_to_another_port(server: CrmServer) -> None:
    """A second server takes the org over: logins at either name it as the instance, and sessions hold on both."""
    session, before = signed_in(server.url)
    with CrmServer(server.org, front=server.front) as moved:
        again, login = signed_in(server.url)
        assert (before["instance_url"], login["instance_url"]) == (server.url, moved.url)
        assert again.get(f"{moved.url}{BASE}/limits", timeout=5).status_code == 200
        assert session.get(f"{moved.url}{BASE}/limits", timeout=5).status_code == 200
    server.org.faults.apply({"instance_url": "https://demo2.my.salesforce.com"})
    assert signed_in(server.url)[1]["instance_url"] == "https://demo2.my.salesforce.com"
