"""The records that an org has from its first moment: its two users, itself, its currencies."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from connector.lookalike.crm.table import Row

_RATES = {"EUR": "1", "USD": "1.1", "GBP": "0.85", "CHF": "0.95", "JPY": "165"}


def users(people: dict[str, tuple[str, str]], system: Row, zone: str) -> list[Row]:
    """Return the user records of {id: (first and last name, login)}."""
    return [
        {
            "Id": record, **system, "Username": f"{login}@demo.example", "FirstName": name.split()[0], "LastName": name.split()[1],
            "Name": name, "Email": f"{login}@demo.example", "IsActive": True, "UserType": "Standard", "TimeZoneSidKey": zone,
        }
        for record, (name, login) in people.items()
    ]  # fmt: skip


def organization(org_id: str, system: Row, facts: dict[str, Any]) -> Row:
    """Return the org's own record."""
    return {
        "Id": org_id, **system, "InstanceName": "DEMO1", "OrganizationType": "Developer Edition", "Country": "FR",
        "LanguageLocaleKey": "en_US", "DefaultLocaleSidKey": "en_US", **facts,
    }  # fmt: skip


def currencies(corporate: str, system: Row) -> list[Row]:
    """Return the currencies of a multi-currency org, without ids: the corporate one and a few with their rates."""
    return [
        {
            **system, "IsoCode": code, "ConversionRate": Decimal(_RATES.get(code, "1")), "DecimalPlaces": 0 if code == "JPY" else 2,
            "IsActive": True, "IsCorporate": code == corporate,
        }
        for code in dict.fromkeys((corporate, *_RATES))
    ]  # fmt: skip
