"""The grammar of a mapping file as data: which keys there are, what each one fills, and the values a clean file becomes.

A file has `source` (which records), `deal` and `line` (how they become contract terms) and `write_back` (what is written to
the CRM). Every leaf of `deal` and `line` is a `Value`: `CloseDate` alone reads a field; `{first: [A, B]}` the first of them
that is not empty; `{field: F, default: X, values: {..}}` translates a picklist. What a leaf may fill is its `Slot`: for
example `deal.term_months` takes a whole number, so the field must be a number field. `DEAL`, `LINE` and `WRITABLE` are the
tables that the checker, the compiler, the JSON Schema and docs/mapping.md share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Protocol

from connector.mapping.conditions import Condition
from connector.ports import FieldInfo, ObjectInfo

Kind = Literal["text", "id", "date", "datetime", "integer", "decimal", "percent", "money", "boolean", "word", "days"]
How = Literal["field", "first", "if_exists", "value", "expr"]
Path = tuple[str | int, ...]
Describe = Mapping[str, ObjectInfo]

ORG_REFERENCES = ("$org.currency", "$org.multi_currency")
AS_KINDS: tuple[Kind, ...] = ("date", "decimal", "integer", "percent", "text")


class Located(Protocol):
    """A parsed YAML text that knows where each of its nodes stands."""

    @property
    def value(self) -> Any:
        """The tree: dicts, lists and scalars."""

    @property
    def lines(self) -> Sequence[str]:
        """The text, line by line."""

    def position(self, path: Path) -> tuple[int, int]:
        """Return line and column (1-based) of the value at *path*."""

    def key_position(self, path: Path) -> tuple[int, int]:
        """Return line and column (1-based) of the key at the end of *path*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What one key fills: the *kind* of value, its *words* where it is one of a few, and its meaning for people.

    is_required - the file must have the key. kind days - `automatic` or a number of days.
    """

    kind: Kind
    meaning: str
    words: tuple[str, ...] = ()
    is_required: bool = False


FREQUENCIES = ("month", "quarter", "half_year", "year", "upfront")
PRORATIONS = ("next_invoice", "immediately", "none", "up_front")
_FREQUENCY = "how often it is billed; upfront = once for its whole span"

DEAL: Mapping[str, Slot] = {
    "action": Slot(
        kind="word", words=("new", "amend", "renew", "cancel", "pause", "resume"), meaning="what the deal does", is_required=True
    ),
    "label": Slot(kind="text", meaning="the record's name in messages", is_required=True),
    "amends": Slot(kind="id", meaning="the record whose contract is changed"),
    "amends_contract": Slot(kind="text", meaning="the id of a contract that has no record in the CRM"),
    "closed_on": Slot(kind="date", meaning="the day the deal was closed; orders deals, and start_from is held against it", is_required=True),
    "created_at": Slot(kind="datetime", meaning="orders deals closed on one day", is_required=True),
    "editor": Slot(kind="text", meaning="who last saved the record"),
    "synced_quote": Slot(kind="id", meaning="the quote whose terms hold instead of the record's own"),
    "expires_on": Slot(kind="date", meaning="the last day on which what is offered can be accepted; empty = quotes.expires_after"),
    "contact": Slot(kind="id", meaning="the billing contact"),
    "currency": Slot(kind="text", meaning="the ISO 4217 code of all amounts; never a literal", is_required=True),
    "start": Slot(kind="date", meaning="the first day of service", is_required=True),
    "term_months": Slot(kind="integer", meaning="months of the term; empty = open-ended"),
    "last_day": Slot(kind="date", meaning="the last day of the term, inclusive, in place of its months; of an Amend the new last day"),
    "frequency": Slot(kind="word", words=FREQUENCIES, meaning=_FREQUENCY + "; lines refer to it as $deal.frequency"),
    "effective": Slot(kind="date", meaning="the day a change takes effect (Amend, Pause, Resume)", is_required=True),
    "billing_day": Slot(kind="integer", meaning="the day of the month on which periods begin"),
    "auto_renew": Slot(kind="boolean", meaning="whether the term renews itself when it ends"),
    "renewal_uplift_percent": Slot(kind="percent", meaning="percent by which prices rise at renewal"),
    "trial_days": Slot(kind="integer", meaning="free days from the start"),
    "trial_without_payment": Slot(
        kind="word", words=("invoice", "cancel", "pause"),
        meaning="what follows a free trial of a customer without a stored payment method; empty = invoice",
    ),
    "payment_terms": Slot(kind="days", meaning="automatic, or days until an invoice is due; empty = billing.payment_terms"),
    "po_number": Slot(kind="text", meaning="the customer's order number, on every invoice"),
    "memo": Slot(kind="text", meaning="a note on every invoice"),
    "amend.proration": Slot(kind="word", words=PRORATIONS, meaning="how an amendment charges the running period", is_required=True),
    "cancel.when": Slot(
        kind="word", words=("on_date", "end_of_period", "end_of_term"), meaning="empty = on_date where a date is given, else end_of_period"
    ),
    "cancel.on": Slot(kind="date", meaning="the first day that is no longer served"),
    "cancel.proration": Slot(kind="word", words=PRORATIONS, meaning="what becomes of time paid for and not used", is_required=True),
    "renew.start": Slot(kind="date", meaning="a later first day of the new term; empty = the end of the old one"),
    "prebill.periods": Slot(kind="integer", meaning="periods billed ahead"),
    "prebill.until": Slot(kind="date", meaning="billed ahead up to this day"),
    "coupons": Slot(kind="text", meaning="codes of coupons in the books, in order of application, divided by commas or semicolons"),
    "customer.account": Slot(kind="id", meaning="the account: the customer's identity", is_required=True),
    "customer.name": Slot(kind="text", meaning="the customer's name on documents", is_required=True),
    "customer.email": Slot(kind="text", meaning="where invoices are sent", is_required=True),
    "customer.address.line1": Slot(kind="text", meaning="street"),
    "customer.address.city": Slot(kind="text", meaning="city"),
    "customer.address.postal_code": Slot(kind="text", meaning="postal code"),
    "customer.address.state": Slot(kind="text", meaning="state or province"),
    "customer.address.country": Slot(kind="text", meaning="country, a code or a name"),
    "customer.tax_id": Slot(kind="text", meaning="tax registration number"),
    "customer.tax_exempt": Slot(kind="word", words=("none", "exempt", "reverse"), meaning="whether the customer pays tax"),
    "customer.language": Slot(kind="text", meaning="language of documents"),
    "customer.consolidate": Slot(kind="boolean", meaning="whether all contracts go on one invoice"),
}
LINE: Mapping[str, Slot] = {
    "id": Slot(kind="id", meaning="the line's id", is_required=True),
    "charge": Slot(kind="word", words=("recurring", "one_time", "usage"), meaning="what kind of charge it is", is_required=True),
    "price.unit_amount": Slot(kind="money", meaning="price of one unit, in major units of the currency", is_required=True),
    "price.interval": Slot(kind="word", words=FREQUENCIES, meaning=_FREQUENCY, is_required=True),
    "price.product": Slot(kind="text", meaning="the product's code: the item's name in the contract", is_required=True),
    "price.catalog": Slot(kind="text", meaning="the id of a catalogue price; a line that has one is billed at it, whatever its unit_amount"),
    "price.term_months": Slot(kind="integer", meaning="how many months unit_amount is for on a line without an end (per: term)"),
    "price.timing": Slot(
        kind="word", words=("in_advance", "in_arrears"), meaning="whether a period is billed when it begins or when it is over; empty = in advance, usage in arrears"
    ),
    "description": Slot(kind="text", meaning="what the invoice line says"),
    "quantity": Slot(kind="decimal", meaning="how many units; on an amendment the change", is_required=True),
    "start": Slot(kind="date", meaning="the line's first day; empty = the contract's, on an amendment the effective date"),
    "last_day": Slot(kind="date", meaning="the line's last day of service, inclusive; empty = the contract's end"),
    "runs": Slot(
        kind="word", words=("to_the_end", "until_canceled"),
        meaning="until_canceled: the line has no end, whatever the deal's; the contract has none either then; empty = to_the_end",
    ),
    "change": Slot(kind="word", words=("add", "reduce", "set", "remove"), meaning="what an amendment line does; empty = by the sign of quantity"),
    "amends": Slot(kind="text", meaning="the number of the running item that an amendment line changes"),
    "revises": Slot(kind="id", meaning="the line of an earlier record that an amendment line changes; it wins over amends and price"),
    "base": Slot(kind="id", meaning="the record whose contract an amendment line changes; where lines say it, it counts before deal.amends"),
    "prior_quantity": Slot(kind="decimal", meaning="how many ran when an amendment line was agreed; if others run by now, the record says so"),
    "trial.price": Slot(kind="money", meaning="price of one unit in the paid trial"),
    "trial.periods": Slot(kind="integer", meaning="periods of the paid trial"),
    "coupons": Slot(kind="text", meaning="codes of coupons in the books, in order of application, divided by commas or semicolons"),
}
DISCOUNT: Mapping[str, Slot] = {
    "percent_off": Slot(kind="percent", meaning="percent taken off", is_required=True),
    "months": Slot(kind="integer", meaning="months the discount holds; empty = for good"),
}
PER = ("period", "month", "year", "term")
"""What length of time `price.unit_amount` is for; period = the line's billing period (decision D-04)."""

SCOPES = ("deal", "customer", "invoice")
WRITABLE: Mapping[str, Mapping[str, Kind]] = {
    "deal": {
        "status": "text", "message": "text", "contract_id": "text", "synced_at": "datetime", "next_invoice_date": "date",
        "next_invoice_amount": "money", "last_invoice_number": "text", "last_invoice_status": "text", "last_invoice_url": "text",
        "amount_billed": "money", "amount_paid": "money", "amount_due": "money", "contract_value": "money", "annual_value": "money",
        "starts_on": "date", "ends_on": "date", "quote_number": "text", "quote_url": "text", "quote_pdf_url": "text", "quote_due_now": "money",
        "quote_per_period": "money", "quote_tax": "money", "accepted_by": "text", "accepted_at": "datetime",
    },
    "customer": {"customer_id": "text", "portal_url": "text"},
    "invoice": {
        "invoice_id": "text", "number": "text", "status": "text", "type": "text", "contract_id": "text", "issued_on": "date",
        "due_on": "date", "total": "money", "amount_due": "money", "amount_paid": "money", "paid_on": "date", "currency": "text",
        "url": "text", "opportunity": "id", "account": "id",
    },
}  # fmt: skip
"""Per scope of a write_back block: the sources that exist and what they are."""

FITS: Mapping[Kind, tuple[str, ...]] = {
    "text": ("string", "textarea", "picklist", "combobox", "email", "phone", "url", "encryptedstring", "id", "reference"),
    "id": ("id", "reference"),
    "date": ("date",),
    "datetime": ("datetime",),
    "integer": ("int", "double", "long"),
    "decimal": ("double", "int", "long", "currency", "percent"),
    "percent": ("percent", "double", "int"),
    "money": ("currency", "double", "int", "long"),
    "boolean": ("boolean",),
    "word": ("picklist", "string", "combobox", "textarea"),
    "days": ("picklist", "string", "combobox", "double", "int"),
}
"""The types of CRM fields that a kind takes (Salesforce's words, as describe shows them)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One leaf of `deal` or `line` as written. *paths* - of field, first and if_exists, in order; may hold $org references.

    default - what an empty source becomes before `values` ($deal.x: after). is_required - empty is a problem of the record.
    at - where it stands in the file.
    """

    how: How
    at: Path
    paths: tuple[str, ...] = ()
    literal: Any = None
    expr: str = ""
    default: Any = None
    is_required: bool = False
    values: tuple[tuple[str, str | int], ...] | None = None
    when: str = ""
    as_kind: Kind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountRule:
    """A percent discount that a record or line may carry; *when* is an expression, "" = always."""

    percent_off: Value
    months: Value | None = None
    when: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesRule:
    """Where a deal's lines are: *object*, its lookup *parent* to the record, and the checkbox *skip* that leaves one out."""

    object: str
    parent: str
    skip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRule:
    """Which records are deals. *name* - the path of the deal's name (decisions D-01, D-39); conditions as in decision D-06.

    instead_of - the path of the deal that a record is billed in place of: an order's opportunity.
    """

    object: str
    name: str
    when: Condition
    lines: LinesRule
    open: Condition | None = None
    drop: Condition | None = None
    preview: Condition | None = None
    start_from: date | None = None
    instead_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBlock:
    """What is written to one object: CRM field -> source; *key* is the external id field of rows that we create."""

    object: str
    per: Literal["deal", "customer", "invoice"]
    fields: Mapping[str, str]
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingFile:
    """A clean mapping file. *deal* and *line* are keyed as in `DEAL` and `LINE`."""

    name: str
    source: SourceRule
    deal: Mapping[str, Value]
    line: Mapping[str, Value]
    per: Literal["period", "month", "year", "term"]
    deal_discounts: tuple[DiscountRule, ...]
    line_discounts: tuple[DiscountRule, ...]
    write_back: tuple[WriteBlock, ...]
    edits: Literal["flag", "amend"] = "flag"
    on_reopen: Literal["flag", "pause"] = "flag"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceText:
    """A parsed mapping file with its name for messages."""

    file: str
    located: Located


# ---------------------------------------------------------------- fields of describe


def field_at(describe: Describe, object_name: str, path: str) -> tuple[str, FieldInfo | None, str]:
    """Return what *path* of *object_name* leads to: the object the last step is on, its field, and the step that failed.

    The field is None if a step does not exist; the failed step is "" otherwise. A relationship step is `Account` for the
    lookup `AccountId`, `Billing_Contact__r` for `Billing_Contact__c`.
    """
    current = object_name
    *hops, last = path.split(".")
    for hop in hops:
        lookup = lookup_named(describe, current, hop)
        if lookup is None or not lookup.reference_to:
            return current, None, hop
        current = lookup.reference_to[0]
    info = describe.get(current)
    field = info.fields.get(last) if info else None
    return current, field, "" if field else last


def lookup_named(describe: Describe, object_name: str, relationship: str) -> FieldInfo | None:
    """Return the lookup field of *object_name* whose parent is read as *relationship*."""
    info = describe.get(object_name)
    if info is None:
        return None
    return next((f for f in info.fields.values() if f.relationship == relationship), None)


def settled(value: Value, describe: Describe, object_name: str, *, is_multi_currency: bool) -> tuple[str, ...]:
    """Return the paths that an `if_exists` reads in this org: its first that exists; of any other value all (decision D-08).

    `$org.currency` exists only in single-currency orgs (decision D-32).
    """
    if value.how != "if_exists":
        return value.paths
    for path in value.paths:
        if path == "$org.currency" and is_multi_currency:
            continue
        if path.startswith("$") or field_at(describe, object_name, path)[1] is not None:
            return (path,)
    return ()


_NET = re.compile(r"(?:net\s*)?(\d{1,3})(?:\s*days?)?", re.IGNORECASE)


def payment_days(text: str) -> int | Literal["automatic"] | None:
    """Return what payment terms say: days until due, "automatic" for a charge by itself, None if they are not understood."""
    plain = text.strip().lower()
    if plain in ("automatic", "charge automatically"):
        return "automatic"
    if plain == "due on receipt":
        return 0
    match = _NET.fullmatch(plain)
    return int(match.group(1)) if match else None


_DOTTED = re.compile(r"[A-Za-z]\w*(?:\.[A-Za-z]\w*)+")
_MAX_NODES = 20_000


def objects_needed(tree: Any, describe: Describe) -> tuple[str, ...]:
    """Return the objects whose describe a mapping file needs, as far as *describe* lets us follow its paths.

    Called again with the fuller describe until nothing new is asked for (at most five steps: paths are that long).
    """
    source = tree.get("source") if isinstance(tree, Mapping) else None
    source = source if isinstance(source, Mapping) else {}
    lines = source.get("lines")
    roots = [source.get("object"), lines.get("object") if isinstance(lines, Mapping) else None]
    needed = {root: None for root in roots if isinstance(root, str)}
    bases = tuple(needed)
    write_back = tree.get("write_back") if isinstance(tree, Mapping) else None
    if isinstance(write_back, Mapping):
        needed.update({str(name): None for name in write_back})
    for path in dict.fromkeys(path for text in _texts(tree) for path in _DOTTED.findall(text)):
        for base in bases:
            needed.update(dict.fromkeys(_parents(describe, base, path)))
    return tuple(needed)


def _texts(tree: Any) -> list[str]:
    texts: list[str] = []
    todo = [tree]
    for _ in range(_MAX_NODES):
        if not todo:
            break
        node = todo.pop()
        if isinstance(node, str):
            texts.append(node)
        elif isinstance(node, Mapping):
            todo.extend(node.values())
        elif isinstance(node, (list, tuple)):
            todo.extend(node)
    return texts


def _parents(describe: Describe, base: str, path: str) -> list[str]:
    found: list[str] = []
    current = base
    for hop in path.split(".")[:-1]:
        lookup = lookup_named(describe, current, hop)
        if lookup is None or not lookup.reference_to:
            break
        current = lookup.reference_to[0]
        found.append(current)
    return found
