"""The demo CRM under random use: indexes never differ from the rows, and nothing but a Refusal ever comes back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.lookalike.crm.front import Front
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.seed import seed
from connector.lookalike.crm.soql_run import Session, run
from connector.lookalike.crm.table import Row, Table
from connector.lookalike.crm.wire import Request

START = date(2026, 1, 1)
BASE = "/services/data/v62.0"


class UndoneError(Exception):
    """Rolls a transaction back."""


def scanned(table: Table, field: str, value: str) -> set[str]:
    return {one for one, row in table.rows.items() if row.get(field) == value}


@pytest.mark.parametrize("number", range(5))
def test_indexes_agree_with_the_rows(number: int) -> None:
    """After random saves, deletes, stamps out of order and rollbacks, every look-up finds what a scan finds."""
    dice = Random(number)
    at = [datetime(2026, 1, 1, tzinfo=UTC)]
    org = Org(clock=lambda: at[0])
    accounts = [org.create("Account", {"Name": f"A{n}"}) for n in range(4)]
    invoices: list[str] = []

    def act() -> None:
        at[0] += timedelta(seconds=dice.choice((0, 0, 1, 30, -20)))
        roll = dice.random()
        if roll < 0.4 or not invoices:
            key = f"in_{dice.randrange(60)}"
            made, is_created = org.upsert(
                "Billing_Invoice__c", "Billing_Invoice_Id__c", key, {"Account__c": dice.choice(accounts)}
            )
            invoices.extend([made] if is_created else [])
        elif roll < 0.8:
            org.update("Billing_Invoice__c", dice.choice(invoices), {"Account__c": dice.choice([*accounts, None])})
        elif roll < 0.9:
            org.delete("Billing_Invoice__c", dice.choice(invoices))
        else:
            org.restamp(
                "Billing_Invoice__c", dice.sample(invoices, min(3, len(invoices))), seconds=dice.randrange(-50, 50)
            )

    def doomed() -> None:
        with org.transaction():
            for _ in range(3):
                act()
            raise UndoneError

    for _ in range(400):
        before = list(invoices)
        try:
            if dice.random() < 0.2:
                doomed()
            else:
                act()
        except UndoneError:
            invoices[:] = before
        except Refusal:
            invoices[:] = [one for one in invoices if one in org.table("Billing_Invoice__c").rows]
    table = org.table("Billing_Invoice__c")
    by_stamp = sorted(table.rows.values(), key=lambda row: (row["SystemModstamp"], row["Id"]))
    assert list(table.stamped("", "~")) == by_stamp
    stamps = sorted({row["SystemModstamp"] for row in table.rows.values()})
    low, high = stamps[len(stamps) // 4], stamps[len(stamps) // 2]
    assert list(table.stamped(low, high)) == [row for row in by_stamp if low <= row["SystemModstamp"] <= high]
    for account in accounts:
        assert set(table.children("Account__c", account)) == scanned(table, "Account__c", account)
    for key in (f"in_{n}" for n in range(60)):
        assert set(table.matching("Billing_Invoice_Id__c", key)) == scanned(table, "Billing_Invoice_Id__c", key)


@pytest.fixture(scope="module")
def org() -> Org:
    made = Org()
    seed(made, START)
    return made


FIELDS = (
    "Amount",
    "Name",
    "IsWon",
    "CloseDate",
    "SystemModstamp",
    "Id",
    "AccountId",
    "Account.Name",
    "StageName",
    "Billing_Message__c",
)
VALUES = (
    "1",
    "-2.5",
    "'x'",
    "''",
    "null",
    "true",
    "2026-01-01",
    "2026-01-01T00:00:00Z",
    "TODAY",
    "LAST_N_DAYS:3",
    "USD5",
    "'%a_'",
)
OPERATORS = ("=", "!=", "<", ">=", "LIKE", "IN", "NOT IN")


def compared() -> st.SearchStrategy[str]:
    def text(field: str, operator: str, value: str) -> str:
        return f"{field} {operator} ({value}, {value})" if operator.endswith("IN") else f"{field} {operator} {value}"

    return st.builds(text, st.sampled_from(FIELDS), st.sampled_from(OPERATORS), st.sampled_from(VALUES))


CONDITIONS = st.recursive(
    compared(), lambda inner: st.one_of(st.builds("({} AND {})".format, inner, inner), st.builds("({} OR {})".format, inner, inner), st.builds("(NOT {})".format, inner)), max_leaves=6
)  # fmt: skip


def outcome(org: Org, soql: str) -> list[Row] | str:
    """Return the rows that a query finds, or the code with which it is refused."""
    try:
        return run(Session(org=org), soql).items
    except Refusal as refusal:
        return refusal.code


@settings(max_examples=150, deadline=None)
@given(condition=CONDITIONS)
@example(condition="(Amount = 'x' AND Id = '%a_')")  # two mistakes, the second one of an indexed field
def test_an_index_never_changes_the_answer(org: Org, condition: str) -> None:
    """A query through an index finds the rows that a scan finds; what one refuses the other refuses."""
    indexed = outcome(org, f"SELECT Id FROM Opportunity WHERE {condition} ORDER BY Id")
    # no index covers a negated condition
    by_scan = outcome(org, f"SELECT Id FROM Opportunity WHERE (NOT (NOT {condition})) ORDER BY Id")
    assert indexed == by_scan


WORDS = st.sampled_from(
    [
        "SELECT",
        "FROM",
        "WHERE",
        "AND",
        "OR",
        "NOT",
        "(",
        ")",
        ",",
        "=",
        ">",
        "IN",
        "LIKE",
        "null",
        "true",
        "'a'",
        "5",
        "Id",
        "Name",
        "Amount",
        "Account.Name",
        "Opportunity",
        "Account",
        "COUNT()",
        "COUNT(Id)",
        "GROUP",
        "BY",
        "HAVING",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "FIELDS(ALL)",
        "SUM(Amount)",
        "x",
        "TODAY",
        "NULLS",
        "LAST",
        "DESC",
        "FOR",
        "VIEW",
        "OpportunityLineItems",
    ]
)


@settings(max_examples=300, deadline=None)
@given(words=st.lists(WORDS, max_size=14))
def test_word_soup_is_answered_or_refused(org: Org, words: list[str]) -> None:
    """No text, however odd, breaks the parser or the evaluator."""
    for text in (
        " ".join(words),
        "SELECT Id FROM Opportunity " + " ".join(words),
        "SELECT " + " ".join(words) + " FROM Opportunity",
    ):
        assert outcome(org, text) is not None


ENTRY = st.fixed_dictionaries(
    {
        "method": st.sampled_from(("GET", "POST", "PATCH", "")),
        "url": st.sampled_from(
            (
                f"{BASE}/sobjects/Account",
                f"{BASE}/query?q=SELECT+Id+FROM+Account",
                "@{a.id}",
                "x",
                f"{BASE}/composite/batch",
            )
        ),
        "referenceId": st.sampled_from(("a", "b", "c")),
    },
    optional={
        "body": st.one_of(st.none(), st.just([1]), st.just({"Name": "@{a[0].x}"})),
        "httpHeaders": st.sampled_from((None, 3, {"A": 1})),
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(("attributes", "type", "id", "Id", "Name", "records", "compositeRequest", "method", "url", "referenceId", "body", "ids", "fields", "allOrNone")),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
PATHS = ("sobjects/Account", "composite", "composite/sobjects", "composite/batch", "composite/sobjects/Account", "sobjects/Billing_Invoice__c/Billing_Invoice_Id__c/a",
         "composite/sobjects/Billing_Invoice__c/Billing_Invoice_Id__c", "sobjects/Opportunity/x")  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    body=JSON
    | st.builds(lambda one: {"compositeRequest": one, "allOrNone": True}, st.lists(ENTRY, max_size=4))
    | st.builds(lambda one: {"batchRequests": one}, st.lists(ENTRY | st.integers(), max_size=3))
    | st.builds(lambda one: {"ids": one, "fields": one}, st.lists(st.sampled_from(("Name", "x", 3)), max_size=3)),
    path=st.sampled_from(PATHS),
    method=st.sampled_from(("POST", "PATCH")),
)
def test_any_json_body_is_answered(org: Org, body: Any, path: str, method: str) -> None:
    """Every body gets a reply in Salesforce's shape; none is a crash."""
    front = Front(org)
    form = "grant_type=client_credentials&client_id=demo-client&client_secret=demo-secret"
    token = front.answer(Request(method="POST", path="/services/oauth2/token", body=form)).body["access_token"]
    reply = front.answer(
        Request(method=method, path=f"{BASE}/{path}", headers={"authorization": f"Bearer {token}"}, body=body)
    )
    assert reply.status < 500
