"""Person accounts: an account that is a human being, with a contact of its own beneath.

`{"FirstName": "Ada", "LastName": "Byron", "PersonEmail": "ada@example.com"}` as an Account makes an account named Ada Byron and a
contact of that name; every later change of the account moves both stamps.
"""

from __future__ import annotations

from typing import Any

from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.table import Row

_COPIED = {
    "FirstName": "FirstName", "LastName": "LastName", "Salutation": "Salutation", "PersonEmail": "Email", "PersonMobilePhone": "MobilePhone",
    "PersonTitle": "Title", "OwnerId": "OwnerId", "Loyalty_Number__pc": "Loyalty_Number__c", "CurrencyIsoCode": "CurrencyIsoCode",
}  # fmt: skip
_PERSONAL = ("FirstName", "LastName", "Salutation", "PersonEmail", "PersonMobilePhone", "PersonTitle", "Loyalty_Number__pc")


def name_of(row: Row) -> str:
    """Return the full name of a person."""
    return " ".join(part for part in (row.get("FirstName"), row.get("LastName")) if part)


def complete(draft: Row, old: Row | None) -> None:
    """Derive the name of a person account, and refuse fields that its kind of account has not. Raises: Refusal."""
    before = old or {}
    is_person = bool(before.get("IsPersonAccount") if old else draft.get("LastName"))
    changed = {name for name in draft if draft[name] != before.get(name)}
    wrong = sorted(changed & {"Name"} if is_person else changed & set(_PERSONAL))
    if wrong:
        raise Refusal(
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            f"Account: bad field names on insert/update call: {', '.join(wrong)}",
            fields=tuple(wrong),
        )
    draft["IsPersonAccount"] = is_person
    if is_person:
        draft["Name"] = name_of(draft)


def contact_of(account: Row) -> dict[str, Any]:
    """Return the fields of the contact beneath a person account."""
    fields = {target: account[name] for name, target in _COPIED.items() if account.get(name) is not None}
    return {"AccountId": account["Id"], "IsPersonAccount": True, **fields}


def check_contact(old: Row | None) -> None:
    """Raise the Refusal that a direct save of a person account's contact gets."""
    if old is not None and old.get("IsPersonAccount"):
        raise Refusal("INVALID_PERSON_ACCOUNT_OPERATION", "the contact of a person account is changed through its account")
