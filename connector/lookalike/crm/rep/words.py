"""How values read on a page: dates as people write them, money with its currency, links, tones; and refusals in plain words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.rep.kinds import FIELD_LABELS, KINDS
from connector.lookalike.crm.schema import NUMBERS, Field, ObjectType, labelled
from connector.lookalike.crm.table import Row

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TONES = {
    "good": ("Active", "Accepted", "Closed Won", "paid", "Paid", "Approved"),
    "busy": ("Trialing", "Scheduled", "Queued", "Quoted", "Presented", "open", "Open"),
    "warn": ("Blocked", "Past due", "Outdated", "past_due", "Paused"),
    "bad": ("Needs attention", "Unpaid", "Denied", "Rejected", "Declined", "Closed Lost", "uncollectible"),
}
_TONE_OF = {word: tone for tone, words in _TONES.items() for word in words}
_PILLS = ("Billing_Status__c", "Status__c", "Status", "StageName")
_PATHS = {kind.name: kind.path for kind in KINDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A labelled value as it is shown; *href* where it is a link, *tone* where it is a pill."""

    label: str
    text: str
    href: str = ""
    tone: str = ""
    is_number: bool = False
    is_day: bool = False
    note: str = ""
    name: str = ""

    @property
    def look(self) -> str:
        """The class of its cell."""
        return "n" if self.is_number else "day" if self.is_day else ""

    @property
    def is_outside(self) -> bool:
        """Whether the link leaves these pages."""
        return not self.href.startswith("/")


def day_text(value: str) -> str:
    """Return `2026-02-01` as `1 Feb 2026`."""
    return f"{int(value[8:10])} {_MONTHS[int(value[5:7]) - 1]} {value[:4]}"


def instant_text(value: str) -> str:
    """Return an instant as day and time, UTC."""
    return f"{day_text(value)}, {value[11:16]} UTC"


def tone_of(word: str) -> str:
    """Return the colour of a status word."""
    return _TONE_OF.get(word, "plain")


def label_of(field: Field) -> str:
    """Return what people call a field."""
    return field.label or FIELD_LABELS.get(field.name) or labelled(field.name)


def url_of(kind: str, record: str) -> str:
    """Return the address of a record's page; empty where its object has none."""
    path = _PATHS.get(kind)
    return f"/{path}/{record}" if path else ""


def currency_of(org: Org, row: Row) -> str:
    """Return the currency of a record's amounts."""
    return str(row.get("CurrencyIsoCode") or row.get("Currency__c") or org.currency).upper()


def text_of(org: Org, one: ObjectType, name: str, row: Row) -> str:
    """Return what a record shows in a field, as people read it; empty for none."""
    field = one.by_lower[name.lower()]
    value = org.value(one, field, row) if row else None
    if value is None:
        return ""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if field.type == "currency":
        return f"{value:,f} {currency_of(org, row)}"
    if isinstance(value, Decimal):
        return f"{plain_number(value)} %" if field.type == "percent" else plain_number(value)
    if field.type == "reference":
        target = org.table(field.target).rows.get(value) or {}
        return str(target.get("Name") or target.get("Number__c") or value)
    if field.type == "date":
        return day_text(value)
    if field.type == "datetime":
        return instant_text(value)
    return str(value)


def plain_number(value: Decimal) -> str:
    """Return a number without idle zeros behind its point, thousands apart."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def fact_of(org: Org, one: ObjectType, row: Row, name: str, *, label: str = "") -> Fact | None:
    """Return one field of a record as it is shown; None if the org does not have it, or hides it."""
    field = org.field(one, name)
    if field is None:
        return None
    text, value = text_of(org, one, name, row), row.get(field.name)
    href = ""
    if field.type == "url" and str(value).startswith(("http://", "https://")):
        href = str(value)
    elif field.type == "reference" and value is not None:
        href = url_of(field.target, value)
    elif field.type == "email" and value:
        href = f"mailto:{value}"
    tone = tone_of(text) if name in _PILLS and text else ""
    return Fact(label=label or label_of(field), text=text, href=href, tone=tone, is_number=field.type in NUMBERS, is_day=field.type == "date", name=field.name)


def head_of(org: Org, one: ObjectType, name: str) -> Fact | None:
    """Return the head of a column: of amounts with the org's currency, where it has one only."""
    fact = fact_of(org, one, {}, name)
    if fact is None or one.by_lower[name.lower()].type != "currency" or org.is_multi_currency():
        return fact
    return replace(fact, label=f"{fact.label}, {org.currency.upper()}")


def cell_of(org: Org, one: ObjectType, row: Row, head: Fact) -> Fact:
    """Return a record's cell in the column of *head*, which says the currency if it is the org's only one."""
    fact = fact_of(org, one, row, head.name)
    if fact is None:
        return head
    tail = f" {org.currency.upper()}"
    is_said = not org.is_multi_currency() and one.by_lower[head.name.lower()].type == "currency"
    return replace(fact, label=head.label, text=fact.text.removesuffix(tail) if is_said else fact.text)


# -- refusals in plain words ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """Why nothing was saved, in plain words. fields - API names it concerns. official - Salesforce's own words."""

    text: str
    fields: tuple[str, ...] = ()
    official: str = ""


def complaint_of(org: Org, kind: str, refusal: Refusal) -> Complaint:
    """Return a refusal of the CRM as a person can act on it, with Salesforce's own words beside it."""
    one = org.type(kind)
    labels = [label_of(one.by_lower[name.lower()]) for name in refusal.fields if name.lower() in one.by_lower]
    named = " and ".join(labels) or "A field"
    tail = refusal.message.partition(": ")[2] or refusal.message
    texts = {
        "ENTITY_IS_LOCKED": "The record is locked, for an approval as a rule, so nothing was saved. An administrator can unlock it.",
        "UNABLE_TO_LOCK_ROW": "Somebody else is saving this record at this moment, so nothing was saved. Send it again.",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION": refusal.message,
        "REQUIRED_FIELD_MISSING": f"{named} must be filled.",
        "INVALID_FIELD_FOR_INSERT_UPDATE": f"You may not change {named}: your profile lacks the right. An administrator can give it.",
        "INVALID_FIELD": "A field is hidden from you, or this org does not have it; nothing was saved.",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": f"{named}: choose a value of the list ({tail}).",
        "STRING_TOO_LONG": f"{named} is too long: {tail}.",
        "INVALID_EMAIL_ADDRESS": f"{named} is no e-mail address.",
        "NUMBER_OUTSIDE_VALID_RANGE": f"{named} is too large a number.",
        "JSON_PARSER_ERROR": f"{named} cannot be read as such a value.",
        "ENTITY_IS_DELETED": "The record, or one that it names, is in the recycle bin.",
        "DUPLICATE_VALUE": f"Another record has this value already: {refusal.message}.",
        "NOT_FOUND": "The record is not there any more.",
        "INVALID_CROSS_REFERENCE_KEY": f"{named} names a record that is not there any more.",
        "UNDELETE_FAILED": "It is not in the recycle bin any more.",
    }
    text = texts.get(refusal.code)
    if text is None:
        text = f"{refusal.message[:1].upper()}{refusal.message[1:]}"
    return Complaint(text=text, fields=refusal.fields, official=f"{refusal.code}: {refusal.message}")
