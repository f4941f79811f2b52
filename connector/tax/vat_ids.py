"""The form of EU VAT ids, country by country, check digits included; offline, so a well-formed id may still be unregistered."""

from __future__ import annotations

from stdnum.eu import vat

_NOT_MEMBERS = ("XI",)  # has ids like a member state's, for goods only


def is_well_formed(vat_id: str) -> bool:
    """Whether a VAT id with its country prefix (EL for Greece) is one of a member state, signs and spaces aside."""
    compact = "".join(c for c in vat_id.upper() if c.isalnum())
    return compact[:2] not in _NOT_MEMBERS and bool(vat.is_valid(compact))


def country_of(vat_id: str) -> str:
    """Return the country whose prefix a VAT id bears."""
    prefix = vat_id.strip()[:2].upper()
    return "GR" if prefix == "EL" else prefix
