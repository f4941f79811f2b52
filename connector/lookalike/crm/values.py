"""Values as the CRM stores and sends them.

Texts, ids and picklist values are str; numbers are Decimal with the field's decimal places (int for whole-number fields);
dates are `2026-01-31`, instants `2026-01-31T09:30:00.000+0000` in UTC and whole seconds: so they compare, sort and travel
as they are. Nothing is stored for an empty value.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from connector.lookalike.crm.ids import id18
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import NUMBERS, Field

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_STEPS = {scale: Decimal(1).scaleb(-scale) for scale in range(13)}


def instant_text(at: datetime) -> str:
    """Return the wire form of an instant, cut to whole seconds as SOQL compares them."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def instant_from_text(text: str) -> datetime | None:
    """Return the instant that *text* names with an offset; None if it does not."""
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def rounded(amount: Decimal, scale: int) -> Decimal:
    """Return *amount* with *scale* decimal places, half away from zero."""
    return amount.quantize(_STEPS[scale], rounding=ROUND_HALF_UP)


def stored(field: Field, value: Any) -> Any:
    """Return *value*, as it came from JSON, in the form in which the CRM stores it.

    Raises: Refusal with Salesforce's code for a wrong type, a text too long, an unknown value of a restricted picklist.
    """
    if value is None or value == "":
        return None
    kind = field.type
    if kind in NUMBERS or kind == "int":
        return _number(field, value)
    if kind == "boolean":
        if not isinstance(value, bool):
            raise _wrong_type(field, value)
        return value
    if not isinstance(value, str):
        raise _wrong_type(field, value)
    if kind == "date":
        return _day(field, value)
    if kind == "datetime":
        return _instant(field, value)
    if kind in ("reference", "id"):
        return _id(field, value)
    return _string(field, value)


def _number(field: Field, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise _wrong_type(field, value)
    if field.type == "int":
        if value != int(value):
            raise _wrong_type(field, value)
        return int(value)
    amount = Decimal(value)
    if not amount.is_finite() or abs(amount) >= Decimal(10) ** (field.precision - field.scale):
        raise Refusal(
            "NUMBER_OUTSIDE_VALID_RANGE", f"{field.name}: value outside of valid range: {value}", fields=(field.name,)
        )
    return rounded(amount, field.scale)


def _day(field: Field, value: str) -> str:
    try:
        if _DAY.fullmatch(value):
            return date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise _wrong_type(field, value)


def _instant(field: Field, value: str) -> str:
    at = instant_from_text(value)
    if at is None:
        raise _wrong_type(field, value)
    return instant_text(at)


def _id(field: Field, value: str) -> str:
    full = id18(value)
    if full is None:
        raise Refusal("MALFORMED_ID", f"{field.name}: id value of incorrect type: {value}", fields=(field.name,))
    return full


def _string(field: Field, value: str) -> str | None:
    text = value.strip()
    if field.length and len(text) > field.length:
        shown = text if len(text) <= 255 else text[:255] + "..."
        raise Refusal(
            "STRING_TOO_LONG",
            f"{field.name}: data value too large: {shown} (max length={field.length})",
            fields=(field.name,),
        )
    if field.type == "picklist" and field.restricted and text and text not in field.picklist:
        raise Refusal(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"{field.name}: bad value for restricted picklist field: {text}",
            fields=(field.name,),
        )
    if field.type == "multipicklist" and text:
        chosen = [one.strip() for one in text.split(";") if one.strip()]
        for one in chosen:
            if one not in field.picklist:
                raise Refusal(
                    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                    f"{field.name}: bad value for restricted picklist field: {one}",
                    fields=(field.name,),
                )
        return ";".join(value for value in field.picklist if value in chosen)
    if field.type == "email" and text and not _EMAIL.fullmatch(text):
        raise Refusal("INVALID_EMAIL_ADDRESS", f"{field.name}: invalid email address: {text}", fields=(field.name,))
    return text or None


def _wrong_type(field: Field, value: Any) -> Refusal:
    token = {
        bool: "VALUE_TRUE" if value is True else "VALUE_FALSE",
        int: "VALUE_NUMBER_INT",
        Decimal: "VALUE_NUMBER_FLOAT",
        str: "VALUE_STRING",
    }
    name = token.get(type(value), "START_OBJECT" if isinstance(value, dict) else "START_ARRAY")
    shown = f" value {value}" if not isinstance(value, (dict, list)) else ""
    return Refusal(
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {field.type} from {name}{shown} or request may be missing a required field ({field.name})",
    )
