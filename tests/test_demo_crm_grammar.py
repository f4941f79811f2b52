"""SOQL of the demo CRM beside the forty queries: what is refused, functions, picklists, currencies, date literals, aggregates."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from demo_crm_shop import Shop, shop
from demo_crm_world import BASE


@pytest.fixture(scope="module")
def one() -> Shop:
    """A shop in a single-currency org."""
    return shop()


@pytest.fixture(scope="module")
def many() -> Shop:
    """A shop in a multi-currency org, where 1 EUR is 1.1 USD."""
    return shop(multi_currency=True)


@pytest.mark.parametrize(
    ("soql", "code", "text"),
    [
        ("SELECT Id FROM Opportunity WHERE IsWon = true AND NOT (Amount > 1)", "MALFORMED_QUERY", "unexpected token: 'NOT'"),
        ("SELECT Id FROM Opportunity; SELECT Id FROM Account", "MALFORMED_QUERY", "unexpected token: ';'"),
        ("SELECT Id FROM Opportunity ALL ROWS", "MALFORMED_QUERY", "unexpected token: 'ALL'"),
        ("SELECT Id FROM Opportunity USING SCOPE mine", "MALFORMED_QUERY", "unexpected token: 'USING'"),
        ("SELECT Id FROM Opportunity WITH SECURITY_ENFORCED", "MALFORMED_QUERY", "unexpected token: 'WITH'"),
        ("SELECT Id FROM Opportunity GROUP BY ROLLUP(StageName)", "MALFORMED_QUERY", "unexpected token: '('"),
        ("SELECT CALENDAR_YEAR(CloseDate) FROM Opportunity", "MALFORMED_QUERY", "unexpected token: 'CALENDAR_YEAR'"),
        ("SELECT FORMAT(Amount) FROM Opportunity", "MALFORMED_QUERY", "unexpected token: 'FORMAT'"),
        ("SELECT Id FROM Opportunity FOR UPDATE", "MALFORMED_QUERY", "unexpected token: 'UPDATE'"),
        ("SELECT Id FROM Opportunity WHERE CloseDate = THIS_FISCAL_YEAR", "MALFORMED_QUERY", "unexpected token: THIS_FISCAL_YEAR"),
        ("SELECT Id FROM Opportunity WHERE Id IN ()", "MALFORMED_QUERY", "unexpected token: ')'"),
        ("SELECT Id FROM Opportunity WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: x"),
        ("SELECT Id FROM Opportunity WHERE Description = 'x'", "INVALID_FIELD", "can not be filtered in a query call"),
        ("SELECT Id FROM Opportunity ORDER BY Description", "MALFORMED_QUERY", "can not be sorted in a query call"),
        ("SELECT Id FROM Opportunity WHERE Amount > USD5", "INVALID_FIELD", "must be of type double"),
        ("SELECT Id FROM Opportunity WHERE StageName INCLUDES ('x')", "INVALID_FIELD", "INCLUDES and EXCLUDES"),
        ("SELECT Id FROM Account ORDER BY Interests__c", "MALFORMED_QUERY", "can not be sorted"),
        ("SELECT Id FROM Account WHERE Interests__c > 'a'", "INVALID_FIELD", "invalid operator on multipicklist field"),
        ("SELECT StageName, Name FROM Opportunity GROUP BY StageName", "MALFORMED_QUERY", "Field must be grouped or aggregated: Name"),
        ("SELECT SUM(Name) FROM Opportunity", "MALFORMED_QUERY", "does not support aggregate operator SUM"),
        ("SELECT Id FROM Opportunity HAVING COUNT(Id) > 1", "MALFORMED_QUERY", "unexpected token: 'HAVING'"),
        ("SELECT Nope.Name FROM Opportunity", "INVALID_FIELD", "Didn't understand relationship 'Nope' in field path."),
        ("SELECT Id, (SELECT Id FROM Nopes) FROM Opportunity", "INVALID_TYPE", "Didn't understand relationship 'Nopes' in FROM part of query call."),
        ("SELECT Id FROM Account WHERE Id IN (SELECT Name FROM Opportunity)", "MALFORMED_QUERY", "Semi join sub-selects can only query id fields"),
        ("SELECT Id FROM Account WHERE Name = 'a' OR Id IN (SELECT AccountId FROM Opportunity)", "MALFORMED_QUERY", "not allowed with the 'OR' operator"),
        ("SELECT Id FROM Account WHERE Parent.Parent.Parent.Parent.Parent.Parent.Name = 'x'", "INVALID_FIELD", "Only 5 levels"),
        ("SELECT Id FROM Opportunity WHERE IsWon = 'true'", "INVALID_FIELD", "must be of type boolean"),
        ("SELECT Id FROM Opportunity WHERE CloseDate = 2026-01-01T00:00:00Z", "INVALID_FIELD", "must be of type date"),
        ("SELECT Id FROM Opportunity WHERE CloseDate = 2026-02-30", "INVALID_FIELD", "must be of type date"),
        ("SELECT Id FROM Opportunity WHERE Name = 'open", "MALFORMED_QUERY", "unexpected token: <EOF>"),
        ("SELECT Id FROM Opportunity LIMIT x", "MALFORMED_QUERY", "unexpected token: 'x'"),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_is_refused(one: Shop, soql: str, code: str, text: str) -> None:
    """Everything outside the grammar is a 400 that points at its place; never all rows."""
    one.refused(soql, code, text)


def test_empty_and_endless_queries_are_refused(one: Shop) -> None:
    """No `q`, an empty one, and one of more than 100,000 characters."""
    for query in ({}, {"q": " "}):
        reply = one.call("GET", "query", **query)
        assert (reply.status, reply.body[0]["errorCode"]) == (400, "MALFORMED_QUERY")
    entry = {"method": "GET", "url": f"{BASE}/query?q=SELECT+Id+FROM+Account" + "+" * 100_000, "referenceId": "a"}
    answer = one.call("POST", "composite", {"compositeRequest": [entry]}).body["compositeResponse"][0]
    assert (answer["httpStatusCode"], answer["body"][0]["errorCode"]) == (400, "QUERY_TOO_COMPLICATED")


@pytest.mark.parametrize("tail", ["FOR VIEW", "FOR REFERENCE", "ORDER BY Name FOR VIEW"])
def test_for_view_and_for_reference_change_nothing(one: Shop, tail: str) -> None:
    """Both are accepted and find the same rows."""
    assert one.page(f"SELECT Id FROM Opportunity {tail}")["totalSize"] == 5


def test_several_picklist_values(one: Shop) -> None:
    """INCLUDES finds any of the groups that is there whole, EXCLUDES the others; the value itself keeps the picklist's order."""

    def names(condition: str) -> set[str]:
        return {record["Name"] for record in one.page(f"SELECT Name FROM Account WHERE {condition}")["records"]}

    assert names("Interests__c INCLUDES ('Support')") == {"100% Wool", "Unused"}
    assert names("Interests__c INCLUDES ('seats;storage', 'Nothing')") == {"O'Neil Ltd", "Unused"}
    assert names("Interests__c EXCLUDES ('Seats')") == {"100% Wool", "100 Wool"}
    assert names("Interests__c = 'Seats;Storage;Support'") == {"Unused"}


def test_amounts_with_a_currency(many: Shop) -> None:
    """USD200 compares with amounts in other currencies by the rates; a bare number compares raw numbers."""
    org = many.call.org
    org.update("Opportunity", many.ids["Alpha"], {"CurrencyIsoCode": "USD", "Amount": 200})
    assert "Alpha" in many.names("Amount >= USD200")
    assert "Alpha" not in many.names("Amount > EUR181.82")
    assert "Alpha" in many.names("Amount = USD200")
    many.refused("SELECT Id FROM Opportunity WHERE Amount > QQQ5", "INVALID_FIELD", "Invalid currency code: QQQ")
    org.update("Opportunity", many.ids["Alpha"], {"CurrencyIsoCode": "EUR", "Amount": Decimal("100.50")})


def test_five_levels_up(one: Shop) -> None:
    """Parents can be followed five levels; a sixth is refused (above)."""
    org = one.call.org
    parent = None
    made = [parent := org.create("Account", {"Name": f"level {n}", "ParentId": parent}) for n in range(6)]
    record = one.page(f"SELECT Parent.Parent.Parent.Parent.Parent.Name FROM Account WHERE Id = '{made[-1]}'")["records"][0]
    assert record["Parent"]["Parent"]["Parent"]["Parent"]["Parent"]["Name"] == "level 0"
    for account in made:
        org.erase("Account", account)


# Tuesday 10 March 2026; weeks begin on Sunday
@pytest.mark.parametrize(
    ("literal", "first", "last"),
    [
        ("TODAY", "2026-03-10", "2026-03-10"), ("YESTERDAY", "2026-03-09", "2026-03-09"), ("TOMORROW", "2026-03-11", "2026-03-11"),
        ("LAST_N_DAYS:3", "2026-03-07", "2026-03-10"), ("NEXT_N_DAYS:3", "2026-03-11", "2026-03-13"), ("N_DAYS_AGO:3", "2026-03-07", "2026-03-07"),
        ("LAST_90_DAYS", "2025-12-10", "2026-03-10"), ("NEXT_90_DAYS", "2026-03-11", "2026-06-08"),
        ("LAST_WEEK", "2026-03-01", "2026-03-07"), ("THIS_WEEK", "2026-03-08", "2026-03-14"), ("NEXT_WEEK", "2026-03-15", "2026-03-21"),
        ("LAST_N_WEEKS:2", "2026-02-22", "2026-03-07"), ("NEXT_N_WEEKS:2", "2026-03-15", "2026-03-28"), ("N_WEEKS_AGO:2", "2026-02-22", "2026-02-28"),
        ("LAST_MONTH", "2026-02-01", "2026-02-28"), ("THIS_MONTH", "2026-03-01", "2026-03-31"), ("NEXT_MONTH", "2026-04-01", "2026-04-30"),
        ("LAST_N_MONTHS:2", "2026-01-01", "2026-02-28"), ("NEXT_N_MONTHS:2", "2026-04-01", "2026-05-31"), ("N_MONTHS_AGO:2", "2026-01-01", "2026-01-31"),
        ("LAST_QUARTER", "2025-10-01", "2025-12-31"), ("THIS_QUARTER", "2026-01-01", "2026-03-31"), ("NEXT_QUARTER", "2026-04-01", "2026-06-30"),
        ("LAST_N_QUARTERS:2", "2025-07-01", "2025-12-31"), ("NEXT_N_QUARTERS:1", "2026-04-01", "2026-06-30"), ("N_QUARTERS_AGO:1", "2025-10-01", "2025-12-31"),
        ("LAST_YEAR", "2025-01-01", "2025-12-31"), ("THIS_YEAR", "2026-01-01", "2026-12-31"), ("NEXT_YEAR", "2027-01-01", "2027-12-31"),
        ("LAST_N_YEARS:2", "2024-01-01", "2025-12-31"), ("NEXT_N_YEARS:1", "2027-01-01", "2027-12-31"), ("N_YEARS_AGO:1", "2025-01-01", "2025-12-31"),
    ],
)  # fmt: skip
def test_date_literals(one: Shop, literal: str, first: str, last: str) -> None:
    """A literal covers its days from the first to the last, and the five comparisons cut at its ends."""
    org, deal = one.call.org, one.ids["Delta"]
    days = [(date.fromisoformat(first).toordinal() - 1, "before"), (date.fromisoformat(first).toordinal(), "in"), (date.fromisoformat(last).toordinal(), "in"),
            (date.fromisoformat(last).toordinal() + 1, "after")]  # fmt: skip
    for ordinal, where in days:
        org.update("Opportunity", deal, {"CloseDate": date.fromordinal(ordinal).isoformat()})
        found = {sign for sign in ("=", "!=", "<", "<=", ">", ">=") if "Delta" in one.names(f"CloseDate {sign} {literal}")}
        assert found == {"before": {"!=", "<", "<="}, "in": {"=", "<=", ">="}, "after": {"!=", ">", ">="}}[where], (ordinal, where)
    org.update("Opportunity", deal, {"CloseDate": "2026-03-31"})


@pytest.mark.parametrize(
    ("aggregate", "value"),
    [
        ("COUNT(Amount)", 4), ("COUNT_DISTINCT(AccountId)", 3), ("SUM(Amount)", Decimal("255.49")), ("MIN(Amount)", Decimal(-5)), ("MAX(Amount)", Decimal("100.50")),
        ("AVG(Amount)", Decimal("63.8725")), ("MIN(CloseDate)", "2026-01-05"), ("MAX(Name)", "Gamma"), ("COUNT_DISTINCT(StageName)", 4),
    ],
)  # fmt: skip
def test_aggregates(one: Shop, aggregate: str, value: Any) -> None:
    """Aggregates leave out what is empty; texts are counted and compared without case."""
    assert one.page(f"SELECT {aggregate} FROM Opportunity")["records"] == [{"attributes": {"type": "AggregateResult"}, "expr0": value}]


def test_groups_can_be_sorted_limited_and_filtered(one: Shop) -> None:
    """ORDER BY an aggregate or alias, LIMIT, HAVING over a grouped field; a group of parents; empty values are one group."""
    page = one.page("SELECT StageName s, COUNT(Id) n FROM Opportunity GROUP BY StageName HAVING StageName != 'Prospecting' ORDER BY COUNT(Id) DESC, StageName LIMIT 2")
    assert [(record["s"], record["n"]) for record in page["records"]] == [("Closed Won", 2), ("Closed Lost", 1)]
    page = one.page("SELECT Account.Name, COUNT(Id) FROM Opportunity GROUP BY Account.Name ORDER BY Account.Name NULLS LAST")
    assert [(record["Name"], record["expr0"]) for record in page["records"]] == [("100 Wool", 1), ("100% Wool", 1), ("O'Neil Ltd", 2), (None, 1)]
