"""Random conditions and orders of SOQL against a naive evaluator, which is written from the rules and shares nothing with the demo CRM.

Every condition is drawn as its text together with a plain function over plain values; both must find the same deals.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.orgs import org_from
from connector.lookalike.crm.soql_run import records

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
STAGES = ("Prospecting", "Closed Won", "Closed Lost")
NAMES = ("alpha", "Beta", "BETA two", "100% wool", "under_score", "O'Neil", "Ärger")
TAGS = ("Seats", "Storage", "Support")
Row = dict[str, Any]
Test = Callable[[Row], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as it is written, and what it means."""

    text: str
    holds: Test


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def made() -> tuple[Org, list[Row]]:
    """Return an org of sixty random deals and the same deals as plain values."""
    dice, clock = Random(4), [NOW]
    fields = [{"field": "Opportunity.Tags__c", "type": "multipicklist", "values": list(TAGS)}]
    org = org_from({"fields": fields}, clock=lambda: clock[0])
    accounts = [(org.create("Account", {"Name": name}), name) for name in NAMES[:4]]
    rows: list[Row] = []
    for _ in range(60):
        clock[0] += timedelta(seconds=dice.choice((0, 0, 1, 30)))
        account, customer = dice.choice([*accounts, (None, None)])
        row: Row = {
            "Name": dice.choice(NAMES), "StageName": dice.choice(STAGES), "CloseDate": f"2026-{dice.randint(1, 5):02}-{dice.randint(1, 28):02}",
            "Amount": dice.choice((None, Decimal("-1.50"), Decimal(0), Decimal("99.99"), Decimal(100))), "NextStep": dice.choice((None, "Call", "call back")),
            "AccountId": account, "Tags__c": dice.choice((None, "Seats", "Seats;Support", "Storage")),
        }  # fmt: skip
        row["Id"] = org.create("Opportunity", {key: value for key, value in row.items() if value is not None})
        row |= {"IsWon": row["StageName"] == "Closed Won", "Account.Name": customer, "SystemModstamp": stamp(clock[0])}
        rows.append(row)
    clock[0] = NOW
    return org, rows


ORG, ROWS = made()


def low(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def written(value: Any) -> str:
    if value is None:
        return "null"
    return quoted(value) if isinstance(value, str) else str(value)


def equal(field: str, sign: str, value: Any) -> Condition:
    def holds(row: Row) -> bool:
        return (low(row[field]) == low(value)) == (sign == "=")

    return Condition(f"{field} {sign} {written(value)}", holds)


def ordered(field: str, sign: str, value: Any, text: str) -> Condition:
    def holds(row: Row) -> bool:
        found = low(row[field])
        if found is None:
            return False
        wanted = low(value)
        return {"<": found < wanted, "<=": found <= wanted, ">": found > wanted, ">=": found >= wanted}[sign]

    return Condition(f"{field} {sign} {text}", holds)


def among(field: str, values: list[str], is_not: bool) -> Condition:
    wanted = {value.lower() for value in values}
    text = f"{field} {'NOT IN' if is_not else 'IN'} ({', '.join(quoted(value) for value in values)})"
    return Condition(text, lambda row: (low(row[field]) in wanted) != is_not)


# an empty value and an empty text are one to SOQL; whether LIKE '%' finds it was not compared with a real org
def like(field: str, pattern: str) -> Condition:
    parts = {"%": ".*", "_": "."}
    expression = re.compile("".join(parts.get(sign, re.escape(sign)) for sign in pattern), re.IGNORECASE | re.DOTALL)
    return Condition(f"{field} LIKE {quoted(pattern)}", lambda row: bool(expression.fullmatch(row[field] or "")))


def tagged(groups: list[list[str]], is_not: bool) -> Condition:
    text = f"Tags__c {'EXCLUDES' if is_not else 'INCLUDES'} ({', '.join(quoted(';'.join(group)) for group in groups)})"

    def holds(row: Row) -> bool:
        chosen = set((row["Tags__c"] or "").split(";"))
        return any(set(group) <= chosen for group in groups) != is_not

    return Condition(text, holds)


def in_days(field: str, sign: str, days: int) -> Condition:
    first, today = (NOW - timedelta(days=days)).date().isoformat(), NOW.date().isoformat()

    def holds(row: Row) -> bool:
        day = row[field]
        return {"=": first <= day <= today, "!=": not first <= day <= today, "<": day < first, "<=": day <= today, ">": day > today, ">=": day >= first}[sign]

    return Condition(f"{field} {sign} LAST_N_DAYS:{days}", holds)


def joined(is_not: bool, won: bool) -> Condition:
    accounts = {row["AccountId"] for row in ROWS if row["IsWon"] == won and row["AccountId"]}
    text = f"AccountId {'NOT IN' if is_not else 'IN'} (SELECT AccountId FROM Opportunity WHERE IsWon = {str(won).lower()})"
    return Condition(text, lambda row: (row["AccountId"] in accounts) != is_not)


ORDERING = st.sampled_from(("<", "<=", ">", ">="))
EQUALITY = st.sampled_from(("=", "!="))
DAYS = st.dates(min_value=datetime(2025, 12, 30).date(), max_value=datetime(2026, 6, 2).date()).map(lambda day: day.isoformat())
AMOUNTS = st.sampled_from((Decimal("-1.5"), Decimal(0), Decimal("99.99"), Decimal(100), Decimal("1000.001")))
STAMPS = st.integers(min_value=-5, max_value=900).map(lambda seconds: stamp(NOW + timedelta(seconds=seconds)))
LEAVES = st.one_of(
    st.builds(equal, st.sampled_from(("Name", "StageName", "NextStep", "Account.Name")), EQUALITY, st.sampled_from((*NAMES, *STAGES, "CALL", None))),
    st.builds(equal, st.just("Amount"), EQUALITY, AMOUNTS | st.none()),
    st.builds(lambda sign, value: Condition(f"IsWon {sign} {str(value).lower()}", lambda row: (row["IsWon"] == value) == (sign == "=")), EQUALITY, st.booleans()),
    st.builds(lambda sign, value: ordered("Amount", sign, value, str(value)), ORDERING, AMOUNTS),
    st.builds(lambda sign, value: ordered("CloseDate", sign, value, value), ORDERING, DAYS),
    st.builds(lambda sign, value: ordered("SystemModstamp", sign, value, value), ORDERING, STAMPS),
    st.builds(lambda sign, value: ordered("Name", sign, value, quoted(value)), ORDERING, st.sampled_from(NAMES)),
    st.builds(among, st.sampled_from(("Name", "NextStep", "Account.Name")), st.lists(st.sampled_from((*NAMES, "Call")), min_size=1, max_size=3), st.booleans()),
    st.builds(like, st.sampled_from(("Name", "Account.Name")), st.lists(st.sampled_from(("%", "_", "a", "B", "e", "'", " ", "100")), min_size=1, max_size=4).map("".join)),
    st.builds(tagged, st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=2, unique=True), min_size=1, max_size=2), st.booleans()),
    st.builds(in_days, st.just("CloseDate"), st.sampled_from(("=", "!=", "<", "<=", ">", ">=")), st.integers(min_value=1, max_value=60)),
)  # fmt: skip
JOINS = st.builds(joined, st.booleans(), st.booleans())


def grouped(parts: list[Condition], word: str) -> Condition:
    text = f"({f' {word} '.join(part.text for part in parts)})"
    return Condition(text, lambda row: (all if word == "AND" else any)(part.holds(row) for part in parts))


def negated(part: Condition) -> Condition:
    return Condition(f"(NOT {part.text})", lambda row: not part.holds(row))


TREES = st.recursive(LEAVES, lambda inner: st.builds(grouped, st.lists(inner, min_size=2, max_size=3), st.sampled_from(("AND", "OR"))) | st.builds(negated, inner), max_leaves=8)


@given(condition=TREES | st.builds(lambda one, other: grouped([one, other], "AND"), TREES, JOINS))
def test_a_condition_finds_what_a_naive_evaluator_finds(condition: Condition) -> None:
    """Comparisons, lists, patterns, date literals, semi-joins and any nesting of AND, OR and NOT agree with their plain meaning."""
    found = {record["Id"] for record in records(ORG, f"SELECT Id FROM Opportunity WHERE {condition.text}")}
    assert found == {row["Id"] for row in ROWS if condition.holds(row)}, condition.text
    counted = records(ORG, f"SELECT COUNT(Id) n, SUM(Amount) s FROM Opportunity WHERE {condition.text}")[0]
    amounts = [row["Amount"] for row in ROWS if condition.holds(row) and row["Amount"] is not None]
    assert (counted["n"], counted["s"]) == (len(found), sum(amounts) if amounts else None)


@given(
    keys=st.lists(st.tuples(st.sampled_from(("Amount", "Name", "NextStep", "CloseDate", "Account.Name")), st.booleans(), st.booleans()), max_size=3),
    limit=st.none() | st.integers(min_value=0, max_value=70),
    offset=st.integers(min_value=0, max_value=70),
)  # fmt: skip
def test_an_order_is_what_naive_sorting_gives(keys: list[tuple[str, bool, bool]], limit: int | None, offset: int) -> None:
    """ORDER BY over several keys, empty values first or last, LIMIT and OFFSET; the id settles ties."""
    wanted = sorted(ROWS, key=lambda row: str(row["Id"]))
    for field, is_descending, is_last in reversed(keys):
        filled = [row for row in wanted if row[field] is not None]
        filled.sort(key=lambda row, field=field: low(row[field]), reverse=is_descending)
        empty = [row for row in wanted if row[field] is None]
        wanted = filled + empty if is_last else empty + filled
    texts = [f"{field} {'DESC' if is_descending else 'ASC'} NULLS {'LAST' if is_last else 'FIRST'}" for field, is_descending, is_last in keys]
    tail = f" LIMIT {limit}" if limit is not None else ""
    soql = f"SELECT Id FROM Opportunity ORDER BY {', '.join([*texts, 'Id'])}{tail} OFFSET {offset}"
    end = None if limit is None else offset + limit
    assert [record["Id"] for record in records(ORG, soql)] == [row["Id"] for row in wanted][offset:end]
