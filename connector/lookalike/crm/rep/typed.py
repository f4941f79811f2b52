"""What a person types: the control of a field, and the value that its text stands for.

Each control carries what it showed (`was.FIELD`), and only what differs from that is saved: so a rep who changes the PO number
does not put back what somebody else changed meanwhile. If just that field was changed by somebody else, it is said first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from connector.lookalike.crm.ids import id18
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.rep import words
from connector.lookalike.crm.rep.kinds import HINTS, LABELS
from connector.lookalike.crm.schema import NUMBERS, Field, ObjectType
from connector.lookalike.crm.table import Row
from connector.lookalike.crm.values import stored

SUGGESTIONS = 20
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d*)?")
_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)")
_ID_AT_END = re.compile(r"(?:.*\()?([0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?)\)?")
_WIDGETS = {"picklist": "select", "boolean": "check", "date": "date", "textarea": "area", "reference": "lookup", "email": "email"}
Form = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A choice of a control."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A field of a form. text - what it shows; was - what it showed first; choices - records that the typed name may mean."""

    name: str
    id: str
    label: str
    widget: str
    text: str
    was: str
    options: tuple[Option, ...] = ()
    choices: tuple[Option, ...] = ()
    hint: str = ""
    error: str = ""
    target: str = ""
    is_required: bool = False
    length: int = 0

    @property
    def suggests(self) -> bool:
        """Whether it offers records by name."""
        return self.widget == "lookup"


@dataclass(slots=True, kw_only=True)
class Typed:
    """A form as read: values to save by API name, problems and possible records by field, and all texts as they were typed."""

    values: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    choices: dict[str, tuple[Option, ...]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    was: dict[str, str] = field(default_factory=dict)


def typed_text(org: Org, one: Field, value: Any) -> str:
    """Return a stored value as its control shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, Decimal):
        return f"{value:f}" if one.type == "currency" else words.plain_number(value).replace(",", "")
    if one.type == "reference":
        return _name_of(org, one.target, value)
    return str(value)


def _name_of(org: Org, kind: str, record: str) -> str:
    row = org.table(kind).rows.get(record) or {}
    name = str(row.get("Name") or record)
    twins = sum(1 for other in org.rows(kind) if other.get("Name") == name)
    return name if twins == 1 else f"{name} ({record})"


# -- controls ---------------------------------------------------------------------------------------------------------------


def controls(org: Org, one: ObjectType, names: Iterable[str], row: Row, *, typed: Typed | None = None, prefix: str = "f") -> tuple[Control, ...]:
    """Return the controls of the fields that a person may write, showing *row* or, where given, what was typed."""
    out = []
    for name in names:
        found = org.field(one, name)
        is_new = "Id" not in row
        if found is None or not (found.createable if is_new else found.updateable) or (one.name, found.name) in org.faults.calculated:
            continue
        out.append(_control(org, one, found, row, prefix))
    return tuple(_as_typed(control, typed) for control in out) if typed is not None else tuple(out)


def _control(org: Org, one: ObjectType, found: Field, row: Row, prefix: str) -> Control:
    text = typed_text(org, found, row.get(found.name))
    widget = "number" if found.type in NUMBERS or found.type == "int" else _WIDGETS.get(found.type, "text")
    options: tuple[Option, ...] = ()
    if found.type == "picklist" and found.picklist:
        listed = found.picklist if text in ("", *found.picklist) else (*found.picklist, text)
        options = tuple(Option(value=v, label=v) for v in listed)
    elif widget == "select":
        widget = "text"
    elif widget == "lookup":
        options = suggestions(org, found.target, "", row.get("AccountId"))
    return Control(
        name=found.name, id=f"{prefix}-{found.name}", label=words.label_of(found), widget=widget, text=text, was=text, options=options,
        hint=HINTS.get(found.name, ""), target=found.target, is_required=not found.nillable and found.type != "boolean" and found.default is None,
        length=found.length if widget in ("text", "area") else 0,
    )  # fmt: skip


def _as_typed(control: Control, typed: Typed) -> Control:
    return replace(
        control, text=typed.texts.get(control.name, control.text), was=typed.was.get(control.name, control.was),
        error=typed.problems.get(control.name, ""), choices=typed.choices.get(control.name, ()),
    )  # fmt: skip


# -- reading ----------------------------------------------------------------------------------------------------------------


def read(org: Org, one: ObjectType, names: Iterable[str], form: Form, row: Row) -> Typed:
    """Read a form over *row* (empty for a new record): all its problems at once."""
    out = Typed()
    for name in names:
        found = org.field(one, name)
        if found is None or (f"was.{name}" not in form and f"f.{name}" not in form):
            continue
        text = form.get(f"f.{name}", "").replace("\r\n", "\n").strip()
        was = form.get(f"was.{name}", "").replace("\r\n", "\n").strip()
        out.texts[name], out.was[name] = text, was
        if text == was and "Id" in row:
            continue
        now = typed_text(org, found, row.get(name)).strip() if "Id" in row else was
        if now not in (was, text):
            who = (org.row("User", row.get("LastModifiedById")) or {}).get("Name", "somebody else")
            out.problems[name] = f"Meanwhile {who} changed it to “{now or 'blank'}”. Save again to put yours in its place."
            out.was[name] = now
            continue
        _read_one(org, found, form, row, out)
    return out


def _read_one(org: Org, found: Field, form: Form, row: Row, out: Typed) -> None:
    name, text = found.name, out.texts[found.name]
    try:
        if found.type == "reference":
            value: Any = _record_named(org, found, form, row, out)
        elif found.type == "boolean":
            value = text == "1"
        elif found.type in NUMBERS or found.type == "int":
            value = number_of(text)
        else:
            value = text or None
        if value is None and not found.nillable:
            out.problems[name] = f"{words.label_of(found)} must be filled."
        if name not in out.problems:
            stored(found, value)
            out.values[name] = value
    except ValueError as error:
        out.problems[name] = str(error)
    except Refusal as refusal:
        out.problems[name] = _said(found, text, refusal)


def _said(found: Field, text: str, refusal: Refusal) -> str:
    label = words.label_of(found)
    return {
        "STRING_TOO_LONG": f"{label} takes at most {found.length} characters; these are {len(text)}.",
        "INVALID_EMAIL_ADDRESS": f"“{text}” is no e-mail address.",
        "NUMBER_OUTSIDE_VALID_RANGE": f"{label} takes at most {found.precision - found.scale} digits before the point.",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": f"“{text}” is not in the list.",
        "JSON_PARSER_ERROR": f"“{text}” is no day. Write it as 2026-01-31." if found.type == "date" else f"“{text}” is no whole number.",
    }.get(refusal.code, refusal.message)


def number_of(text: str) -> Decimal | None:
    """Return the number that *text* stands for; None for nothing. Raises: ValueError with what to write instead."""
    if not text:
        return None
    bare = text.replace(" ", "").replace(" ", "")
    if _THOUSANDS.fullmatch(bare):
        bare = bare.replace(",", "")
    if not _NUMBER.fullmatch(bare):
        raise ValueError(f"“{text}” is no number. Write digits, with a point before decimals: 1200.50")
    try:
        return Decimal(bare)
    except InvalidOperation as error:
        raise ValueError(f"“{text}” is no number.") from error


def _record_named(org: Org, found: Field, form: Form, row: Row, out: Typed) -> str | None:
    """Return the id of the record that the typed name means; what it may mean instead goes to the choices."""
    text = out.texts[found.name]
    picked = org.row(found.target, id18(form.get(f"pick.{found.name}", "")))
    if picked is not None:
        return str(picked["Id"])
    if not text:
        return None
    ending = _ID_AT_END.fullmatch(text)
    if ending and (full := id18(ending[1])) and full in org.table(found.target).rows:
        return full
    account = (form.get("f.AccountId") and _only(org, "Account", form["f.AccountId"])) or row.get("AccountId")
    exact = [one for one in org.rows(found.target) if str(one.get("Name", "")).lower() == text.lower()]
    near = [one for one in exact if account and one.get("AccountId") == account]
    for group in (exact, near):
        if len(group) == 1:
            return str(group[0]["Id"])
    what = LABELS.get(found.target, found.target).lower()
    if exact:
        out.choices[found.name] = _choices(org, found.target, exact[:SUGGESTIONS])
        out.problems[found.name] = f"Several are called “{text}”. Choose which one is meant."
    else:
        out.choices[found.name] = _choices(org, found.target, _matching(org, found.target, text, account))
        tail = " Choose one of these, or correct the name." if out.choices[found.name] else ""
        out.problems[found.name] = f"No {what} is called “{text}”.{tail}"
    return None


def _only(org: Org, kind: str, name: str) -> str | None:
    found = [str(row["Id"]) for row in org.rows(kind) if str(row.get("Name", "")).lower() == name.strip().lower()]
    return found[0] if len(found) == 1 else None


# -- suggestions ------------------------------------------------------------------------------------------------------------


def suggestions(org: Org, kind: str, text: str, account: str | None) -> tuple[Option, ...]:
    """Return the records whose name has all words of *text*, those of *account* first: a bounded number."""
    found = _matching(org, kind, text, account)
    names = [str(row.get("Name", "")) for row in found]
    options = zip(found, _choices(org, kind, found), strict=True)
    return tuple(
        replace(option, value=option.label if names.count(option.label) == 1 else f"{option.label} ({row['Id']})") for row, option in options
    )


def _matching(org: Org, kind: str, text: str, account: str | None) -> list[Row]:
    parts = text.lower().split()
    own: list[Row] = []
    others: list[Row] = []
    for row in org.rows(kind):
        name = str(row.get("Name", "")).lower()
        if all(part in name for part in parts):
            is_own = account is not None and row.get("AccountId") == account
            (own if is_own else others).append(row)
        if len(own) >= SUGGESTIONS:
            break
    if own and not parts:
        others = []  # nothing typed: the account's own are what is meant
    return [*own, *sorted(others, key=lambda row: str(row.get("Name", "")).lower())][:SUGGESTIONS]


def _choices(org: Org, kind: str, rows: Iterable[Row]) -> tuple[Option, ...]:
    """Return records as choices, by id, with what tells them apart."""
    out = []
    for row in rows:
        account = (org.row("Account", row.get("AccountId")) or {}).get("Name")
        tail = row.get("StageName") or row.get("Title") or row.get("BillingCity")
        note = " · ".join(str(part) for part in (account, tail) if part)
        out.append(Option(value=str(row["Id"]), label=str(row.get("Name") or LABELS.get(kind, kind)), note=note))
    return tuple(out)
