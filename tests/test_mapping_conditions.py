"""Source conditions: parsed, written back, and evaluated as Salesforce would."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.mapping.conditions import (
    Among,
    Compare,
    Condition,
    ConditionError,
    Either,
    Every,
    Negated,
    matcher,
    parsed_condition,
    soql,
)

PATHS = st.sampled_from(["IsWon", "Amount", "Account.Name", "Type", "A.B.C__c"])
TEXTS = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12).filter(lambda s: "\\" not in s)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-10**6, max_value=10**6)
LITERALS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.dates(), st.datetimes(timezones=st.just(UTC)))
ORDERED = st.one_of(NUMBERS, TEXTS, st.dates())
SIMPLE = st.one_of(
    st.builds(lambda p, o, v: Compare(path=p, op=o, value=v), PATHS, st.sampled_from(["=", "!="]), LITERALS),
    st.builds(lambda p, o, v: Compare(path=p, op=o, value=v), PATHS, st.sampled_from(["<", "<=", ">", ">="]), ORDERED),
    st.builds(lambda p, v: Compare(path=p, op="LIKE", value=v), PATHS, TEXTS),
    st.builds(lambda p, v, n: Among(path=p, values=tuple(v), is_negated=n), PATHS, st.lists(LITERALS, min_size=1, max_size=3), st.booleans()),
)


def joined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    parts = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        st.builds(lambda p: Every(parts=p), parts), st.builds(lambda p: Either(parts=p), parts), st.builds(lambda p: Negated(part=p), inner)
    )


@settings(max_examples=200, deadline=None)
@given(st.recursive(SIMPLE, joined, max_leaves=6))
def test_writing_then_parsing_is_the_identity(condition: Condition) -> None:
    """A condition written as SOQL and parsed again is the same condition."""
    assert parsed_condition(soql(condition)) == condition


def test_quotes_and_wildcards_survive() -> None:
    """Quotes, backslashes and escaped wildcards keep their meaning through writing and parsing."""
    for text in (r"Name = 'O\'Neil \\ Sons'", r"Name LIKE '100\%\_of %'", r"Name = 'a\nb'"):
        assert soql(parsed_condition(text)) == text


@pytest.mark.parametrize(
    ("text", "record", "holds"),
    [
        ("IsWon = true", {"IsWon": True}, True),
        ("IsWon = true", {"IsWon": False}, False),
        ("IsWon = TRUE and Type != null", {"IsWon": True, "Type": None}, False),
        ("Type = 'new business'", {"Type": "New Business"}, True),
        ("Type != 'Renewal'", {"Type": None}, True),
        ("Type NOT IN ('Renewal', 'Other')", {"Type": None}, True),
        ("Type IN ('renewal', null)", {"Type": None}, True),
        ("Amount > 5000", {"Amount": Decimal("5000.01")}, True),
        ("Amount > 5000", {"Amount": None}, False),
        ("Amount <= 5000", {"Amount": None}, False),
        ("Amount = 5000", {"Amount": Decimal("5000.00")}, True),
        ("CloseDate >= 2026-01-01", {"CloseDate": "2026-01-01"}, True),
        ("CloseDate < 2026-01-01", {"CloseDate": "2025-12-31"}, True),
        ("CreatedDate > 2026-01-01T00:00:00+02:00", {"CreatedDate": "2025-12-31T22:00:01.000+0000"}, True),
        ("Name LIKE 'acme%'", {"Name": "ACME GmbH"}, True),
        ("Name LIKE 'a_me'", {"Name": "acme"}, True),
        (r"Name LIKE '100\%'", {"Name": "1000"}, False),
        ("Account.Name = 'Acme'", {"Account": None}, False),
        ("Account.Owner.Name = 'Rita'", {"Account": {"Owner": {"Name": "Rita"}}}, True),
        ("NOT (Type = 'A' OR Type = 'B')", {"Type": "C"}, True),
        ("NOT Type = 'A' AND IsWon = true", {"Type": "B", "IsWon": True}, True),
    ],
)
def test_condition_holds_as_in_soql(text: str, record: dict[str, Any], holds: bool) -> None:
    """Conditions are evaluated as SOQL does: without case, empty is null, order never holds for null."""
    assert matcher(parsed_condition(text), lambda path: "")(record) is holds


def test_ids_of_15_and_18_characters_are_one_id() -> None:
    """An id literal of 15 characters fits the 18 that the API returns, in their exact case."""
    matches = matcher(parsed_condition("RecordTypeId = '70130000001tcyI'"), lambda path: "reference")
    assert matches({"RecordTypeId": "70130000001tcyIAAQ"})
    assert not matches({"RecordTypeId": "70130000001TCYIAAQ"})


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("IsWon", "Expected a comparison after IsWon, found the end.", 5),
        ("IsWon = true AND", "Expected a field, found the end.", 16),
        ("a = 1 AND b = 2 OR c = 3", "AND and OR stand side by side.", 16),
        ("CloseDate = TODAY", "TODAY is no value.", 12),
        ('Type = "x"', "'\"' is not understood here.", 7),
        ("CloseDate = 2026-02-30", "2026-02-30 is no day of the calendar.", 12),
        ("IsWon > true", '">" has no meaning for true.', 8),
        ("(a = 1", 'Expected ")", found the end.', 6),
        ("a IN ()", 'Expected a value, found ")".', 6),
        ("a = 1 b = 2", 'Expected AND, OR or the end, found "b".', 6),
        ("a LIKE 5", "LIKE takes a text in single quotes.", 7),
    ],
)
def test_what_is_no_condition_is_said_with_its_place(text: str, message: str, offset: int) -> None:
    """The first thing that is not understood is named, with its place in the text."""
    with pytest.raises(ConditionError) as caught:
        parsed_condition(text)
    assert (caught.value.message, caught.value.offset) == (message, offset)


def test_depth_and_length_are_bounded() -> None:
    """A hostile condition is refused instead of exhausting the stack."""
    for text in ("(" * 100 + "a = 1" + ")" * 100, "NOT " * 100 + "a = 1", "a = 1 AND " * 1000 + "a = 1"):
        with pytest.raises(ConditionError):
            parsed_condition(text)


def test_dates_compare_with_python_dates_too() -> None:
    """A record that carries dates as dates compares like one that carries their text."""
    assert matcher(parsed_condition("CloseDate = 2026-01-01"), lambda path: "date")({"CloseDate": date(2026, 1, 1)})
    assert matcher(parsed_condition("At = 2026-01-01T00:00:00Z"), lambda path: "")({"At": datetime(2026, 1, 1, tzinfo=UTC)})
