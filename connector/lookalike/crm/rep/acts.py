"""What a button or form of a record's page does: one function for each act, carried out by the org's own verbs as the rep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from connector.lookalike.crm.ids import id18
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.rep import typed, words
from connector.lookalike.crm.rep.kinds import LINE_FIELDS, LINE_MORE, OPPORTUNITY, QUOTE, Kind
from connector.lookalike.crm.rep.lines import LineForm
from connector.lookalike.crm.rep.making import problems_of, quote_from
from connector.lookalike.crm.rep.record import Open, section_fields, writable
from connector.lookalike.crm.rep.typed import Form
from connector.lookalike.crm.rep.words import Complaint
from connector.lookalike.crm.table import Row

DONE = {
    "saved": "Saved.", "unchanged": "Nothing was changed, so nothing was saved.", "state": "Saved. Billing reads it within seconds.",
    "made": "Made.", "line": "The line is saved.", "line_gone": "The line is gone.", "restored": "It is back from the recycle bin.",
    "deleted": "Moved to the recycle bin.", "quote": "A draft quote with the lines and terms of the opportunity.",
    "sync": "Synced: the opportunity now has the lines of this quote.", "unsync": "No longer synced; the opportunity keeps its lines.",
    "made_change": "Made. Add what is missing, then win it: choose Closed Won on the path.", "moved": "The day was moved; billing works through it.",
}  # fmt: skip
"""What a page says after an act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where to go after an act; or, where it was refused, what is open on the page."""

    href: str = ""
    opened: Open | None = None


def carried_out(org: Org, kind: Kind, row: Row, form: Form) -> Outcome:
    """Carry out the act that a form names on a record."""
    act = _ACTS.get(form.get("act", ""))
    if act is None:
        return Outcome(opened=Open(complaint=Complaint(text="This page does not know that button.")))
    try:
        return act(org, kind, row, form)
    except Refusal as refusal:
        return Outcome(opened=Open(complaint=words.complaint_of(org, kind.name, refusal)))


def unsaved(org: Org, kind: Kind, row: Row, form: Form, why: str) -> Open:
    """Return a form that was not even tried, open with everything that was typed."""
    complaint = Complaint(text=why)
    if form.get("act") in ("line-edit", "line-add"):
        line = org.row(kind.lines, id18(form.get("line", ""))) if kind.lines else None
        read = typed.read(org, org.type(kind.lines), (*LINE_FIELDS, *LINE_MORE), form, line or {}) if kind.lines else None
        return Open(line=LineForm(line=line["Id"] if line else "", chosen=form.get("entry", ""), typed=read, complaint=complaint))
    key = form.get("section", "")
    names = section_fields(org, kind, key)
    return Open(section=key if names else "", typed=typed.read(org, org.type(kind.name), names, form, row), complaint=complaint)


def _back(kind: Kind, record: str, done: str, at: str = "") -> Outcome:
    return Outcome(href=f"{words.url_of(kind.name, record)}?{urlencode({'done': done})}{'#' if at else ''}{at}")


def _edit(org: Org, kind: Kind, row: Row, form: Form) -> Outcome:
    key = form.get("section", "")
    names = writable(section_fields(org, kind, key), kind, row)
    if kind.is_read_only or not names:
        return Outcome(opened=Open(complaint=Complaint(text="This section cannot be edited.")))
    read = typed.read(org, org.type(kind.name), names, form, row)
    if read.problems:
        return Outcome(opened=Open(section=key, typed=read, complaint=problems_of(read)))
    if not read.values:
        return _back(kind, row["Id"], "unchanged", key)
    try:
        with org.transaction(user=org.rep_user):
            org.update(kind.name, row["Id"], read.values)
    except Refusal as refusal:
        complaint = words.complaint_of(org, kind.name, refusal)
        read.problems.update({name: complaint.text for name in complaint.fields if name in read.texts})
        return Outcome(opened=Open(section=key, typed=read, complaint=complaint))
    return _back(kind, row["Id"], "saved", key)


def _state(org: Org, kind: Kind, row: Row, form: Form) -> Outcome:
    if not kind.state:
        return Outcome(opened=Open(complaint=Complaint(text="This record has no stages.")))
    value = form.get("value", "")
    if row.get(kind.state) == value:
        return _back(kind, row["Id"], "unchanged")
    with org.transaction(user=org.rep_user):
        org.update(kind.name, row["Id"], {kind.state: value})
    return _back(kind, row["Id"], "state")


def _add_line(org: Org, kind: Kind, row: Row, form: Form) -> Outcome:
    entry = org.row("PricebookEntry", id18(form.get("entry", "")))
    one = org.type(kind.lines)
    filled = dict(form)
    if entry is not None and not form.get("f.UnitPrice", "").strip():
        filled["f.UnitPrice"] = f"{entry['UnitPrice']:f}"  # blank: the list price
    read = typed.read(org, one, (*LINE_FIELDS, *LINE_MORE), filled, {})
    complaint = None
    if entry is None:
        complaint = Complaint(text="Choose a product.")
    elif read.problems:
        complaint = problems_of(read)
    else:
        values = {name: value for name, value in read.values.items() if value is not None}
        try:
            with org.transaction(user=org.rep_user):
                org.create(kind.lines, {kind.lookup: row["Id"], "PricebookEntryId": entry["Id"], **values})
            return _back(kind, row["Id"], "line", "lines")
        except Refusal as refusal:
            complaint = words.complaint_of(org, kind.lines, refusal)
    read.texts["UnitPrice"] = form.get("f.UnitPrice", "")
    return Outcome(opened=Open(line=LineForm(chosen=form.get("entry", ""), typed=read, complaint=complaint)))


def _own_line(org: Org, kind: Kind, row: Row, form: Form) -> Row:
    line = org.get(kind.lines, form.get("line", ""))
    if line.get(kind.lookup) != row["Id"]:
        raise Refusal("NOT_FOUND", "The requested resource does not exist", status=404)
    return line


def _edit_line(org: Org, kind: Kind, row: Row, form: Form) -> Outcome:
    line = _own_line(org, kind, row, form)
    read = typed.read(org, org.type(kind.lines), (*LINE_FIELDS, *LINE_MORE), form, line)
    complaint = problems_of(read) if read.problems else None
    if complaint is None and not read.values:
        return _back(kind, row["Id"], "unchanged", "lines")
    if complaint is None:
        try:
            with org.transaction(user=org.rep_user):
                org.update(kind.lines, line["Id"], read.values)
            return _back(kind, row["Id"], "line", "lines")
        except Refusal as refusal:
            complaint = words.complaint_of(org, kind.lines, refusal)
    return Outcome(opened=Open(line=LineForm(line=line["Id"], typed=read, complaint=complaint)))


def _drop_line(org: Org, kind: Kind, row: Row, form: Form) -> Outcome:
    line = _own_line(org, kind, row, form)
    with org.transaction(user=org.rep_user):
        org.delete(kind.lines, line["Id"])
    return _back(kind, row["Id"], "line_gone", "lines")


def _delete(org: Org, kind: Kind, row: Row, _form: Form) -> Outcome:
    with org.transaction(user=org.rep_user):
        org.delete(kind.name, row["Id"])
    return Outcome(href=f"/{kind.path}?{urlencode({'done': 'deleted', 'gone': row['Id']})}")


def _quote(org: Org, kind: Kind, row: Row, _form: Form) -> Outcome:
    if kind is not OPPORTUNITY or QUOTE.name.lower() not in org.schema.by_lower:
        return Outcome(opened=Open(complaint=Complaint(text="Quotes are not enabled in this org.")))
    return _back(QUOTE, quote_from(org, row), "quote")


def _sync(org: Org, kind: Kind, row: Row, form: Form) -> Outcome:
    if kind is not QUOTE or not row.get("OpportunityId"):
        return Outcome(opened=Open(complaint=Complaint(text="Only a quote of an opportunity can be synced.")))
    is_on = form.get("act") == "sync"
    with org.transaction(user=org.rep_user):
        org.update(OPPORTUNITY.name, row["OpportunityId"], {"SyncedQuoteId": row["Id"] if is_on else None})
    return _back(kind, row["Id"], "sync" if is_on else "unsync")


_ACTS: dict[str, Callable[[Org, Kind, Row, Form], Outcome]] = {
    "edit": _edit, "state": _state, "line-add": _add_line, "line-edit": _edit_line, "line-delete": _drop_line, "delete": _delete,
    "quote": _quote, "sync": _sync, "unsync": _sync,
}  # fmt: skip
