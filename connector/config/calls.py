"""What the configuration says about calls of the CRM: the share of the allocation, and from when writes go in bulk."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Protocol

from connector.kit.yamlpos import Path as At

_BUDGET: At = ("crm", "daily_api_budget")
_BULK_ABOVE: At = ("crm", "bulk_above")


class Reader(Protocol):
    """What of the configuration's reader these keys need."""

    def raw(self, path: At) -> Any:
        """Return a value as written, None where there is none."""

    def add(self, code: str, path: At, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem at a place of the file."""


def read_budget(reader: Reader) -> str:
    """Return the share of the org's calls of 24 hours up to which we work at full pace."""
    value = reader.raw(_BUDGET)
    if value is None:
        return "0.5"
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or not 0 < value <= 1:
        text = f"`daily_api_budget` cannot be {value!s}."
        reader.add("bad-value", _BUDGET, text, "Write the share of the org's calls, such as 0.5 for half.")
        return "0.5"
    return str(value)


def read_bulk_above(reader: Reader) -> int:
    """Return the number of records above which writes go by Bulk API 2.0; 0: never."""
    value = reader.raw(_BULK_ABOVE)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        reader.add("bad-value", _BULK_ABOVE, f"`bulk_above` cannot be {value!s}.", "Write a number of records such as 6000; 0 = never.")
        return 0
    return value
