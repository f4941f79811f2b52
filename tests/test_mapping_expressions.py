"""Expressions: exact, empty-safe, and unable to do anything but calculate."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connector.mapping.functions import ExpressionError, parsed_expression

RECORD: dict[str, Any] = {
    "UnitPrice": Decimal("0.1"), "Quantity": 3, "Discount": None, "Name": "Gold", "ServiceDate": "2026-01-31",
    "Product2": {"Family": "Yearly", "Code": "G-1"}, "Account": None, "Is": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("UnitPrice + 0.2", Decimal("0.3")),
        ("UnitPrice * Quantity == 0.3", True),
        ("Discount > 0", False),
        ("Discount + 1", None),
        ("Account.Name", None),
        ("12 if Product2.Family == 'Yearly' else 1", Decimal(12)),
        ("Product2.Family in 'Yearly, Monthly'", True),
        ("round(2.5)", Decimal(3)),
        ("round(-1.005, 2)", Decimal("-1.01")),
        ("coalesce(Discount, Name)", "Gold"),
        ("add_months(ServiceDate, 1)", "2026-02-28"),
        ("add_days(ServiceDate, 1)", "2026-02-01"),
        ("days_between(ServiceDate, '2026-03-02')", Decimal(30)),
        ("year(ServiceDate) * 100 + month(ServiceDate)", Decimal(202601)),
        ("lower(left(Name, 2)) + '-' + text(Quantity)", "go-3"),
        ("number('12.50') / 4", Decimal("3.125")),
        ("blank(Discount) and not blank(Name)", True),
        ("max(1, Discount, 3)", Decimal(3)),
        ("2 ** 10", Decimal(1024)),
        ("null", None),
        ("Is == true", True),
    ],
)
def test_expression_gives(text: str, value: Any) -> None:
    """Numbers are exact decimals, empty fields stay empty, dates are their text."""
    assert parsed_expression(text).evaluate(RECORD) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "Name.__class__", "().__class__", "open('x')", "[x for x in Name]", "lambda: 1", "Name[0]", "f'{Name}'",
        "a = 1", "1; 2", "", "Name.upper()", "round(number=1)", "max(*Name)", "b'x'", "x" * 2000, "+".join(["1"] * 300), "(" * 300,
        "import os", "{1: 2}", "Name := 1", "1 if", "getattr(Name, 'x')", "1j",
    ],
)  # fmt: skip
def test_anything_else_is_refused_when_read(text: str) -> None:
    """Whatever is not part of the language is refused when the file is read, before any record is."""
    with pytest.raises(ExpressionError):
        parsed_expression(text)


@pytest.mark.parametrize("text", ["1 / 0", "2 ** 1000", "Name * 3", "Name - 1", "number(Name)", "Name > 1", "left(Name, 1.5)", "date('x')"])
def test_what_cannot_be_calculated_is_said(text: str) -> None:
    """What goes wrong for one record is an error with words, never a wrong number."""
    with pytest.raises(ExpressionError) as caught:
        parsed_expression(text).evaluate(RECORD)
    assert caught.value.message


def test_expression_names_the_fields_it_reads() -> None:
    """The fields of an expression are known, so that they can be selected and checked."""
    assert parsed_expression("Account.Owner.Name == 'A' and Amount > max(1, Amount)").paths == ("Account.Owner.Name", "Amount")
