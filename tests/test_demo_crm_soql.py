"""SOQL of the demo CRM: what a query finds, in which shape, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from connector.lookalike.crm.org import Org, Traits
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.seed import standard_book
from connector.lookalike.crm.soql_run import Session, records, run


class Clock:
    """A clock that a test sets."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


DEALS = (
    # name, account, stage, close date, amount, seconds after the first
    ("Alpha", "O'Neil Ltd", "Closed Won", "2026-01-05", "100.50", 0),
    ("beta", "O'Neil Ltd", "Closed Lost", "2026-02-20", None, 0),
    ("Gamma", "100% Wool", "Closed Won", "2026-03-10", "99.99", 60),
    ("Delta", None, "Prospecting", "2026-03-31", "0", 120),
    ("alpha two", "100 Wool", "Negotiation/Review", "2026-04-01", "1000", 180),
)


def populated(**settings: Any) -> Org:
    clock = Clock(datetime(2026, 3, 10, 9, 0, tzinfo=UTC))
    org = Org(clock=clock, **settings)
    book = standard_book(org)
    accounts = {
        name: org.create("Account", {"Name": name, "BillingCountry": "France"})
        for name in ("O'Neil Ltd", "100% Wool", "100 Wool", "Unused")
    }
    product = org.create("Product2", {"Name": "Seat", "ProductCode": "SEAT", "IsActive": True})
    entry = org.create(
        "PricebookEntry", {"Pricebook2Id": book, "Product2Id": product, "UnitPrice": Decimal(10), "IsActive": True}
    )
    start = clock.at
    for name, account, stage, close, amount, seconds in DEALS:
        clock.at = start + timedelta(seconds=seconds)
        made = org.create(
            "Opportunity",
            {
                "Name": name,
                "AccountId": accounts.get(account or ""),
                "StageName": stage,
                "CloseDate": close,
                "Amount": amount and Decimal(amount),
            },
        )
        if name == "alpha two":
            for quantity in (3, 1, 2):
                org.create(
                    "OpportunityLineItem",
                    {
                        "OpportunityId": made,
                        "PricebookEntryId": entry,
                        "Quantity": quantity,
                        "UnitPrice": Decimal(10),
                        "SortOrder": quantity % 3 or None,
                    },
                )
    return org


@pytest.fixture(scope="module")
def org() -> Org:
    return populated()


def names(org: Org, condition: str) -> list[str]:
    return [row["Name"] for row in records(org, f"SELECT Name FROM Opportunity {condition}")]


WHOLE = ["Alpha", "beta", "Gamma", "Delta", "alpha two"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("LIMIT 1", ["Alpha"]),
        ("WHERE SystemModstamp >= 2026-03-10T09:01:00Z AND SystemModstamp < 2026-03-10T09:03:00Z ORDER BY SystemModstamp ASC, Id ASC", ["Gamma", "Delta"]),
        ("WHERE SystemModstamp >= 2026-03-10T10:01:00.900+01:00 AND SystemModstamp < 2026-03-10T09:02:00Z", ["Gamma"]),
        ("WHERE IsWon = true", ["Alpha", "Gamma"]),
        ("WHERE StageName IN ('closed won', 'Prospecting')", ["Alpha", "Gamma", "Delta"]),
        ("WHERE StageName NOT IN ('Closed Lost')", ["Alpha", "Gamma", "Delta", "alpha two"]),
        ("WHERE NOT (StageName = 'Closed Lost' OR Amount = 0)", ["Alpha", "Gamma", "alpha two"]),
        ("WHERE Amount != null AND Amount >= 100.50", ["Alpha"]),
        ("WHERE Amount = null", ["beta"]),
        ("WHERE Amount < 100", ["Gamma", "Delta", "alpha two"]),
        ("WHERE Amount <> 0 AND IsClosed = false", ["alpha two"]),
        ("WHERE Account.Name LIKE 'O\\'neil%'", ["Alpha", "beta"]),
        ("WHERE Account.Name LIKE '100\\%%'", ["Gamma"]),
        ("WHERE Account.Name LIKE '100_Wool'", ["alpha two"]),
        ("WHERE Name LIKE '%A'", ["Alpha", "beta", "Gamma", "Delta"]),
        ("WHERE (NOT Name LIKE 'a%') AND IsWon = true", ["Gamma"]),
        ("WHERE AccountId = null", ["Delta"]),
        ("WHERE Account.Name = null", ["Delta"]),
        ("WHERE Account.Name != 'Unused'", WHOLE),
        ("WHERE CloseDate >= 2026-01-01 AND CloseDate < 2026-03-01", ["Alpha", "beta"]),
        ("WHERE CloseDate = TODAY", ["Gamma"]),
        ("WHERE CloseDate = LAST_N_DAYS:30", ["beta", "Gamma"]),
        ("WHERE CloseDate = THIS_MONTH ORDER BY CloseDate DESC NULLS LAST", ["Delta", "Gamma"]),
        ("WHERE CloseDate = NEXT_MONTH", ["alpha two"]),
        ("WHERE CloseDate > THIS_QUARTER", ["alpha two"]),
        ("WHERE CloseDate <= LAST_MONTH", ["Alpha", "beta"]),
        ("WHERE CloseDate = N_DAYS_AGO:18", ["beta"]),
        ("WHERE CreatedDate = TODAY", WHOLE),
        ("WHERE CreatedDate = YESTERDAY", []),
        ("ORDER BY Name", ["Alpha", "alpha two", "beta", "Delta", "Gamma"]),
        ("ORDER BY Amount NULLS LAST, Name DESC", ["Delta", "alpha two", "Gamma", "Alpha", "beta"]),
        ("ORDER BY Amount DESC", ["beta", "Alpha", "Gamma", "alpha two", "Delta"]),
        ("ORDER BY Account.Name DESC, CloseDate LIMIT 3 OFFSET 1", ["Alpha", "beta", "Gamma"]),
        ("o WHERE o.IsWon = true AND o.Account.Name LIKE '100%' FOR VIEW", ["Gamma"]),
        ("WHERE Opportunity.Name = 'DELTA'", ["Delta"]),
        ("WHERE Id IN (SELECT OpportunityId FROM OpportunityLineItem WHERE Quantity > 1)", ["alpha two"]),
        ("WHERE AccountId IN (SELECT Id FROM Account WHERE Name LIKE '100%')", ["Gamma", "alpha two"]),
    ],
)  # fmt: skip
def test_conditions_find_exactly_their_rows(org: Org, condition: str, expected: list[str]) -> None:
    """Comparisons, lists, LIKE with escapes, dates, order and semi-joins mean what SOQL says."""
    assert names(org, condition) == expected


def test_a_keyset_page_continues_behind_ties(org: Org) -> None:
    """Two rows of one stamp are split by Id, so a page never loses a tie."""
    first, second = records(org, "SELECT Id, SystemModstamp FROM Opportunity ORDER BY SystemModstamp, Id LIMIT 2")
    assert first["SystemModstamp"] == second["SystemModstamp"] == "2026-03-10T09:00:00.000+0000"
    where = f"(SystemModstamp = 2026-03-10T09:00:00Z AND Id > '{first['Id']}') OR SystemModstamp > 2026-03-10T09:00:00Z"
    found = records(org, f"SELECT Name FROM Opportunity WHERE {where} ORDER BY SystemModstamp, Id LIMIT 2")
    assert [row["Name"] for row in found] == ["beta", "Gamma"]


def test_an_anti_join_ignores_null_lookups(org: Org) -> None:
    """An opportunity without account does not empty NOT IN."""
    found = records(org, "SELECT Name FROM Account WHERE Id NOT IN (SELECT AccountId FROM Opportunity)")
    assert [row["Name"] for row in found] == ["Unused"]


def test_parents_are_nested_with_attributes(org: Org) -> None:
    """A dotted field comes back inside its parent, in canonical case; a missing parent is null."""
    query = "select id, account.name, account.owner.name, account.billingcountry from opportunity where stagename in ('prospecting', 'closed lost')"
    lost, open_deal = records(org, query)
    assert list(lost) == ["attributes", "Id", "Account"]
    assert lost["attributes"] == {
        "type": "Opportunity",
        "url": f"/services/data/v62.0/sobjects/Opportunity/{lost['Id']}",
    }
    assert lost["Account"]["attributes"]["type"] == "Account"
    assert lost["Account"]["Name"] == "O'Neil Ltd"
    assert lost["Account"]["Owner"]["Name"] == "Billing Integration"
    assert lost["Account"]["BillingCountry"] == "France"
    assert open_deal["Account"] is None


def test_children_come_as_pages_and_null_where_there_are_none(org: Org) -> None:
    """A subquery answers a page per record; its own order and fields hold."""
    query = "SELECT Name, (SELECT Quantity, Product2.ProductCode FROM OpportunityLineItems ORDER BY SortOrder NULLS LAST) FROM Opportunity ORDER BY Name"
    found = {row["Name"]: row["OpportunityLineItems"] for row in records(org, query)}
    assert found["Alpha"] is None
    page = found["alpha two"]
    assert (page["totalSize"], page["done"]) == (3, True)
    assert [line["Quantity"] for line in page["records"]] == [1, 2, 3]
    assert page["records"][0]["Product2"]["ProductCode"] == "SEAT"


def test_counts_and_groups(org: Org) -> None:
    """COUNT() has no records; aggregates without alias are expr0, expr1; HAVING and ORDER BY work on groups."""
    bare = run(Session(org=org), "SELECT COUNT() FROM Opportunity WHERE IsWon = true")
    assert (bare.total, bare.answers()) == (2, [])
    assert records(org, "SELECT COUNT(Id), MAX(CloseDate) FROM Opportunity") == [
        {"attributes": {"type": "AggregateResult"}, "expr0": 5, "expr1": "2026-04-01"}
    ]
    groups = records(
        org,
        "SELECT StageName s, COUNT(Id) cnt1, SUM(Amount) total FROM Opportunity GROUP BY StageName ORDER BY COUNT(Id) DESC, StageName",
    )
    assert next((row["s"], row["cnt1"], row["total"]) for row in groups) == ("Closed Won", 2, Decimal("200.49"))
    kept = records(
        org,
        "SELECT Account.Name, COUNT_DISTINCT(StageName) FROM Opportunity GROUP BY Account.Name HAVING COUNT(Id) > 1",
    )
    assert [(row["Name"], row["expr0"]) for row in kept] == [("O'Neil Ltd", 2)]
    assert records(org, "SELECT AVG(Amount) a FROM Opportunity WHERE Name = 'nobody'")[0]["a"] is None


def test_fields_functions(org: Org) -> None:
    """FIELDS(ALL) gives every field; toLabel keeps the field's key."""
    row = records(org, "SELECT FIELDS(ALL) FROM Opportunity LIMIT 1")[0]
    assert {"Id", "Amount", "Billing_Status__c", "SystemModstamp"} <= set(row)
    assert "Billing_Status__c" not in records(org, "SELECT FIELDS(STANDARD) FROM Opportunity")[0]
    assert records(org, "SELECT toLabel(StageName) FROM Opportunity LIMIT 1")[0]["StageName"] == "Closed Won"


def test_deleted_rows_show_through_query_all_only() -> None:
    """Query hides the recycle bin, queryAll shows it with IsDeleted."""
    org = populated()
    gone = records(org, "SELECT Id FROM Account WHERE Name = 'Unused'")[0]["Id"]
    org.delete("Account", gone)
    query = "SELECT Id, IsDeleted, MasterRecordId FROM Account WHERE IsDeleted = true"
    assert records(org, query) == []
    found = run(Session(org=org, has_deleted=True), query).answers()
    assert [row["Id"] for row in found] == [gone]


def test_multi_currency_orgs_know_currencies() -> None:
    """CurrencyType and CurrencyIsoCode exist in multi-currency orgs only, and so does convertCurrency."""
    org = populated(multi_currency=True)
    assert names(org, "WHERE CurrencyIsoCode = 'EUR' AND IsWon = true") == ["Alpha", "Gamma"]
    assert {"EUR", "USD"} <= {
        row["IsoCode"] for row in records(org, "SELECT IsoCode, ConversionRate FROM CurrencyType WHERE IsActive = true")
    }
    assert records(org, "SELECT convertCurrency(Amount) c FROM Opportunity LIMIT 1")[0]["c"] == Decimal("100.50")


REFUSED = [
    ("SELECT Id, Nope__c FROM Opportunity", "INVALID_FIELD", "No such column 'Nope__c' on entity 'Opportunity'. If you are attempting"),
    ("SELECT Id, Nope.Name FROM Opportunity", "INVALID_FIELD", "Didn't understand relationship 'Nope' in field path"),
    ("SELECT Id FROM Nope__c", "INVALID_TYPE", "sObject type 'Nope__c' is not supported."),
    ("SELECT Id, (SELECT Id FROM Nopes) FROM Opportunity", "INVALID_TYPE", "Didn't understand relationship 'Nopes'"),
    ("SELECT Id FRM Opportunity", "MALFORMED_QUERY", "unexpected token: 'FRM'"),
    ("SELECT Id FROM Opportunity WHERE CreatedDate > '2026-01-01'", "INVALID_FIELD", "must be of type dateTime and should not be enclosed in quotes"),
    ("SELECT Id FROM Opportunity WHERE CreatedDate > 2026-01-01", "INVALID_FIELD", "must be of type dateTime"),
    ("SELECT Id FROM Opportunity WHERE CloseDate > 2026-01-01T00:00:00Z", "INVALID_FIELD", "must be of type date"),
    ("SELECT Id FROM Opportunity WHERE Name = 5", "INVALID_FIELD", "must be of type string and should be enclosed"),
    ("SELECT Id FROM Opportunity WHERE IsWon = 'true'", "INVALID_FIELD", "must be of type boolean"),
    ("SELECT Id FROM Opportunity WHERE IsWon > true", "INVALID_FIELD", "invalid operator on boolean field"),
    ("SELECT Id FROM Opportunity WHERE Id LIKE '006%'", "INVALID_FIELD", "invalid operator on id field"),
    ("SELECT Id FROM Opportunity WHERE Id = 'abc'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: abc"),
    ("SELECT Id FROM Opportunity WHERE Billing_Message__c = 'x'", "INVALID_FIELD", "can not be filtered"),
    ("SELECT Id FROM Opportunity WHERE Amount > USD5000", "INVALID_FIELD", "must be of type double"),
    ("SELECT Id FROM Opportunity WHERE CloseDate = LAST_FISCAL_YEAR", "MALFORMED_QUERY", "unexpected token: LAST_FISCAL_YEAR"),
    ("SELECT Id FROM Opportunity WHERE IsWon = true AND Amount > 1 OR Amount < 0", "MALFORMED_QUERY", "unexpected token: OR"),
    ("SELECT Id FROM Opportunity WHERE IsWon = true AND NOT (Amount > 1)", "MALFORMED_QUERY", "unexpected token: 'NOT'"),
    ("SELECT Id, Id FROM Opportunity", "MALFORMED_QUERY", "duplicate field selected: Id"),
    ("SELECT Id FROM Opportunity; SELECT Id FROM Account", "MALFORMED_QUERY", "unexpected token: ';'"),
    ("SELECT Id FROM Opportunity ALL ROWS", "MALFORMED_QUERY", "unexpected token: 'ALL'"),
    ("SELECT Id FROM Opportunity WHERE Name = 'open", "MALFORMED_QUERY", "unexpected token"),
    ("SELECT Id FROM Opportunity WHERE Name = 'a\\q'", "MALFORMED_QUERY", "Illegal character sequence '\\q'"),
    ("SELECT Id FROM Opportunity LIMIT 5 OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"),
    ("SELECT FIELDS(ALL) FROM Opportunity", "MALFORMED_QUERY", "LIMIT of at most 200"),
    ("SELECT FIELDS(ALL) FROM Opportunity LIMIT 201", "MALFORMED_QUERY", "LIMIT of at most 200"),
    ("SELECT Id, Owner.Name, TYPEOF Owner WHEN User THEN Email END FROM Opportunity", "MALFORMED_QUERY", "unexpected token: 'TYPEOF'"),
    ("SELECT Id FROM Opportunity WHERE CurrencyIsoCode = 'EUR'", "INVALID_FIELD", "No such column 'CurrencyIsoCode'"),
    ("SELECT Id, convertCurrency(Amount) c FROM Opportunity", "INVALID_FIELD", "multi-currency"),
    ("SELECT IsoCode FROM CurrencyType", "INVALID_TYPE", "sObject type 'CurrencyType' is not supported"),
    ("SELECT Name, COUNT(Id) FROM Opportunity", "MALFORMED_QUERY", "Field must be grouped or aggregated: Name"),
    ("SELECT SUM(Name) FROM Opportunity", "MALFORMED_QUERY", "does not support aggregate operator SUM"),
    ("SELECT Id FROM Opportunity WHERE Name IN (SELECT Id FROM Account)", "MALFORMED_QUERY", "must be an id or reference field"),
    ("SELECT Id FROM Opportunity WHERE IsWon = true OR AccountId IN (SELECT Id FROM Account)", "MALFORMED_QUERY", "not allowed with the 'OR'"),
    ("SELECT Id FROM Opportunity GROUP", "MALFORMED_QUERY", "unexpected token"),
    ("SELECT FORMAT(Amount) FROM Opportunity", "MALFORMED_QUERY", "unexpected token: 'FORMAT'"),
    ("SELECT Id FROM Opportunity WHERE DAY_ONLY(CreatedDate) = 2026-01-01", "MALFORMED_QUERY", "unexpected token: 'DAY_ONLY'"),
    ("SELECT Id FROM Opportunity WHERE " + "(" * 60 + "IsWon = true" + ")" * 60, "QUERY_TOO_COMPLICATED", "parentheses"),
    ("", "MALFORMED_QUERY", "unexpected token: <EOF>"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "code", "text"), REFUSED, ids=[query[:60] for query, _, _ in REFUSED])
def test_what_cannot_be_evaluated_is_refused(org: Org, query: str, code: str, text: str) -> None:
    """Nothing is ignored or guessed: each is a 400 with Salesforce's code."""
    with pytest.raises(Refusal) as refused:
        run(Session(org=org), query)
    assert (refused.value.status, refused.value.code) == (400, code)
    assert text in refused.value.message


def test_the_caret_points_at_the_place(org: Org) -> None:
    """A malformed query quotes the line, with a caret, row and column."""
    with pytest.raises(Refusal) as refused:
        run(Session(org=org), "SELECT Id\nFROM Opportunity\nWHERE Nope = 1")
    assert refused.value.message.startswith("\nWHERE Nope = 1\n      ^\nERROR at Row:3:Column:7\nNo such column 'Nope'")


def test_quotes_can_be_switched_off() -> None:
    """An org without quotes has no Quote object."""
    org = Org(traits=Traits(has_quotes=False))
    with pytest.raises(Refusal, match="INVALID_TYPE"):
        run(Session(org=org), "SELECT Id FROM Quote")
