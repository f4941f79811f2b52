"""What the CRM's refusals mean: for the loop (which of our errors) and for people (a `Problem` in plain words).

Two shapes come in: the error body of a reply (`errorCode`) and the entry of a record in a collection (`statusCode`), often
inside a 200. Salesforce's own message is always kept, because administrators search for it.

Example: `INVALID_FIELD`, "No such column 'Rabatt__c' on entity 'Opportunity'" becomes RejectedError with the problem
"The field Opportunity.Rabatt__c does not exist, or the integration user lacks field access."
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.errors import ConnectorError, HaltError, Problem, RejectedError, RetryableError, Where
from connector.ports import Upsert

SPENT_SIGN = "TotalRequests"  # what tells the daily limit from the one of long calls, which bears the same code (P26)


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One error as the CRM says it."""

    code: str
    message: str
    fields: tuple[str, ...] = ()


_COLUMN = re.compile(r"No such column '([^']+)' on (?:entity|sobject of type) '?(\w+)'?")
_RELATION = re.compile(r"Didn't understand relationship '([^']+)'")
_SOBJECT = re.compile(r"sObject type '([^']+)' is not supported")
_TRANSIENT = frozenset({
    "UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "QUERY_TIMEOUT", "UNKNOWN_EXCEPTION",
    "PROCESSING_HALTED", "ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUEST_LIMIT_EXCEEDED", "API_CURRENTLY_DISABLED",
    "INVALID_QUERY_LOCATOR", "INVALID_SESSION_ID",
})  # fmt: skip
_NEVER_HEALS = ("not valid for use with the REST API", "not attached to Agent")


def complaints(content: Any) -> tuple[Complaint, ...]:
    """Return the errors of a reply's body or of a record's `errors`; text that is no JSON becomes one without a code."""
    if isinstance(content, bytes):
        content = content.decode(errors="replace")
    if isinstance(content, str):
        return (Complaint(code="", message=content[:200]),)
    if isinstance(content, Mapping):
        content = [content]
    return tuple(
        Complaint(
            code=str(one.get("errorCode") or one.get("statusCode") or one.get("error") or ""),
            message=str(one.get("message") or one.get("error_description") or ""),
            fields=tuple(one.get("fields") or ()),
        )
        for one in content or ()
        if isinstance(one, Mapping)
    )


def has_code(content: Any, code: str) -> bool:
    """Whether the body of a refusal carries this error code."""
    return any(one.code == code for one in complaints(content))


def is_healing(content: Any) -> bool:
    """Whether a 401 with this body may heal by a new login; two messages never do (P29)."""
    return not any(sign in one.message for one in complaints(content) for sign in _NEVER_HEALS)


# ---------------------------------------------------------------- whole replies


def error_from_reply(status: int, content: Any, *, api_version: str) -> ConnectorError:
    """Return the error that a refused request means for the loop.

    Args: status - HTTP status; 0 if a part of a composite was not answered, 200 if the answer has another form. content - decoded body, or text.
    """
    said = complaints(content)
    first = said[0] if said else Complaint(code="", message="")
    if status < 300:
        return RetryableError(
            "The CRM left a part of the request unanswered."
            if status == 0
            else "The CRM's answer is not what was asked for.",
            hint="Nothing to do: it is asked again by itself. If it lasts, check crm.url and what stands between us and the CRM.",
        )
    if status == 401:
        return _no_session(first)
    if first.code == "REQUEST_LIMIT_EXCEEDED":
        return _limit(first)
    if status == 410 or first.code == "UNSUPPORTED_API_VERSION" or (status == 404 and first.code in ("NOT_FOUND", "")):
        return HaltError(
            f"The CRM does not offer API version {api_version} at this address (HTTP {status}, {_told(first)}).",
            hint="Set crm.api_version to a version that `connector check` lists, and check crm.url.",
            code="crm-api-version",
        )
    if first.code in _TRANSIENT or status == 406 or status >= 500:
        return RetryableError(
            f"The CRM could not do it now ({_told(first) if first.code else f'HTTP {status}'}).",
            hint="Nothing to do: it is asked again by itself.",
        )
    if status == 403:
        return HaltError(
            f"The CRM does not let the integration user in ({_told(first)}).",
            hint="Give the integration user API access and the permission set of the billing connector.",
            code="crm-no-access",
        )
    if 300 < status < 400:
        return HaltError(
            f"The CRM sends us to another address (HTTP {status}).",
            hint="Set crm.url to the org's present My Domain.",
            code="crm-redirect",
        )
    return RejectedError(_query_problem(first, status))


def _no_session(first: Complaint) -> HaltError:
    return HaltError(
        f"The CRM refuses our session, also after a new login ({_told(first)}).",
        hint="Check in the connected app that it may use the API (scope api) and that the integration user may use it.",
        code="crm-session-refused",
    )


def _limit(first: Complaint) -> ConnectorError:
    """Tell the two limits with one code apart by their text (P26)."""
    if SPENT_SIGN in first.message:
        return HaltError(
            f"The org has used up its API calls of the last 24 hours ({first.message}).",
            hint="It goes on when the allocation frees up; see which app uses it under Setup, System Overview, API Usage.",
            code="crm-call-limit",
        )
    return RetryableError(
        f"The CRM has too many long calls running ({first.message}).",
        hint="Nothing to do: it is asked again by itself. If it lasts, look for other integrations with slow calls.",
        retry_after_s=60,
    )


def _query_problem(first: Complaint, status: int) -> Problem:
    """Return the problem of a query that the CRM refuses for good; its caret excerpt is kept as such."""
    excerpt, text = _split(first.message)
    if first.code == "INVALID_TYPE" and (found := _SOBJECT.search(text)):
        return Problem(
            code="crm-object-hidden",
            message=f"The object {found[1]} does not exist, or the integration user lacks access to it.",
            hint="Correct the name in the mapping, or let an administrator grant read access to the object.",
            where=Where(object=found[1]),
            excerpt=excerpt,
        )
    if first.code == "INVALID_FIELD" and (found := _COLUMN.search(text)):
        return hidden_field(found[2], found[1], excerpt)
    if first.code == "INVALID_FIELD" and (found := _RELATION.search(text)):
        return hidden_field("", found[1], excerpt)
    return Problem(
        code="crm-request-refused",
        message=f"The CRM refuses the request: {first.code or f'HTTP {status}'}, {text or 'without a reason'}.",
        hint="Check the mapping's source conditions and field names.",
        excerpt=excerpt,
    )


def hidden_field(name: str, field: str, excerpt: str = "") -> Problem:
    """Return the problem of a field that the CRM does not show us: unknown and forbidden look the same (P21)."""
    full = f"{name}.{field}" if name else field
    return Problem(
        code="crm-field-hidden",
        message=f"The field {full} does not exist, or the integration user lacks field access.",
        hint="Correct the name in the mapping, or let an administrator give the integration user access to the field.",
        where=Where(object=name or None, field=field),
        excerpt=excerpt,
    )


def _split(message: str) -> tuple[str, str]:
    """Return (snippet with caret, text): a message has the snippet, "ERROR at Row:1:Column:12", then the text."""
    before, sign, after = message.partition("ERROR at Row:")
    if not sign:
        return "", message.strip()
    return before.strip("\n"), after.partition("\n")[2].strip()


def _told(one: Complaint) -> str:
    return ": ".join(part for part in (one.code, _split(one.message)[1]) if part) or "without a reason"


# ---------------------------------------------------------------- single records


_ADMIN_RIGHTS = "Let an administrator give the integration user edit access ({fields})."
_WORDS: Mapping[str, tuple[str, str, str]] = {
    # Salesforce's code: (our code, what is wrong, who can fix it and how); {fields} stands for the names it complains of
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": (
        "crm-validation-rule",
        "A validation rule of the org refused the update",
        "Change the record so that the rule is content, or let an administrator exempt the integration user from the rule.",
    ),
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": (
        "crm-automation",
        "An automation of the org (trigger or flow) stopped the update",
        "Let an administrator look at the named trigger or flow.",
    ),
    "CANNOT_EXECUTE_FLOW_TRIGGER": (
        "crm-automation",
        "An automation of the org (flow) stopped the update",
        "Let an administrator look at the named flow.",
    ),
    "REQUIRED_FIELD_MISSING": (
        "crm-required-field",
        "A field that the org requires is not filled by the connector ({fields})",
        "Let an administrator give {fields} a default value, or fill it in the mapping's write_back.",
    ),
    "INVALID_FIELD_FOR_INSERT_UPDATE": ("crm-field-read-only", "The connector may not write {fields}", _ADMIN_RIGHTS),
    "INVALID_FIELD": ("crm-field-hidden", "The field does not exist, or is hidden from the integration user ({fields})", _ADMIN_RIGHTS),
    "INVALID_TYPE": ("crm-object-hidden", "The object does not exist, or is hidden from the integration user", _ADMIN_RIGHTS),
    "INSUFFICIENT_ACCESS_OR_READONLY": ("crm-no-access", "The integration user may not edit this record", _ADMIN_RIGHTS),
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": (
        "crm-no-access",
        "The integration user has no access to a record that this one refers to ({fields})",
        "Let an administrator share the record with the integration user.",
    ),
    "STRING_TOO_LONG": ("crm-value-too-long", "A text is too long for {fields}", "Let an administrator lengthen {fields}."),
    "NUMBER_OUTSIDE_VALID_RANGE": ("crm-number-range", "A number is too large for {fields}", "Let an administrator widen {fields}."),
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": (
        "crm-picklist-value",
        "A value is not in the restricted picklist {fields}",
        "Let an administrator add the value to {fields}, or make the picklist unrestricted.",
    ),
    "ENTITY_IS_LOCKED": (
        "crm-record-locked",
        "The record is locked, as a rule by an approval",
        "Unlock the record, or let an administrator allow the integration user to edit locked records.",
    ),
    "ENTITY_IS_DELETED": ("crm-record-gone", "The record is deleted", "Restore it from the recycle bin, or leave it be."),
    "NOT_FOUND": ("crm-record-gone", "The record does not exist", "It was deleted, or the integration user cannot see it."),
    "INVALID_CROSS_REFERENCE_KEY": (
        "crm-record-gone",
        "The record, or one it refers to, does not exist ({fields})",
        "It was deleted, or the integration user cannot see it.",
    ),
    "MALFORMED_ID": ("crm-bad-id", "An id does not belong to the object or is no id ({fields})", "Check the mapping."),
    "DUPLICATE_EXTERNAL_ID": (
        "crm-duplicate-key",
        "Several records of the CRM carry this external id",
        "Let an administrator delete the surplus records and mark the external id field as unique.",
    ),
    "DUPLICATE_VALUE": ("crm-duplicate-key", "Another record already has this value ({fields})", "Correct one of the two records."),
    "DUPLICATES_DETECTED": (
        "crm-duplicate-rule",
        "A duplicate rule of the org refused the record",
        "Let an administrator exempt the integration user from the rule.",
    ),
    "STORAGE_LIMIT_EXCEEDED": ("crm-storage-full", "The org's storage is full", "Let an administrator free or buy storage."),
}  # fmt: skip


def is_transient(errors: Any) -> bool:
    """Whether the same write may succeed later; an automation that ran into a lock says so only in its message."""
    said = complaints(errors)
    return bool(said) and all(one.code in _TRANSIENT or "UNABLE_TO_LOCK_ROW" in one.message for one in said)


def record_problem(errors: Any, upsert: Upsert) -> Problem:
    """Return what a person should know about a record that could not be written; errors are told in full."""
    said = complaints(errors) or (Complaint(code="NO_REASON", message="without a reason"),)
    first = said[0]
    if found := _COLUMN.search(first.message):
        first = Complaint(code=first.code, message=first.message, fields=(found[1],))
    fields = ", ".join(first.fields)
    if is_transient(errors):
        code, wrong, fix = (
            "crm-busy",
            "The CRM could not save the record now",
            "Nothing to do: it is tried again by itself.",
        )
    else:
        code, wrong, fix = _WORDS.get(
            first.code,
            ("crm-write-refused", "The CRM refused the record", "Let an administrator look at the reason given."),
        )
    told = "; ".join(_told(one) for one in said)
    return Problem(
        code=code,
        message=f"{_filled(wrong, fields)}. The CRM says: {told}",
        hint=_filled(fix, fields),
        where=Where(
            object=upsert.object, record=upsert.id or upsert.key, field=first.fields[0] if first.fields else None
        ),
    )


def _filled(text: str, fields: str) -> str:
    if not fields:
        text = text.replace(" ({fields})", "").replace("{fields}", "the field")
    return text.replace("{fields}", fields)


def no_answer(upsert: Upsert, why: str) -> Problem:
    """Return the problem of a record whose result is missing: it may or may not be written, and is written again."""
    return Problem(
        code="crm-no-answer",
        message=f"It is not known whether the CRM saved the record: {why}",
        hint="Nothing to do: it is tried again by itself, which cannot make a second record.",
        where=Where(object=upsert.object, record=upsert.id or upsert.key),
    )


def named_field(content: Any) -> str | None:
    """Return the one field that the refusal of a whole batch names, if it names one."""
    for one in complaints(content):
        if found := _COLUMN.search(one.message):
            return found[1]
        if one.fields:
            return one.fields[0]
    return None
