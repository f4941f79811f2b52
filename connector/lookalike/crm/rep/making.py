"""New records: blank, as a copy of another, or as a deal that changes a contract (Amend, Renew, Cancel, Pause, Resume).

A change names the deal that made the contract and begins with what is most often meant; each running line of that deal can be
chosen with what becomes of it. So a rep who sells five seats more picks Add on the seat's line, writes 5 and is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from connector.lookalike.crm.ids import id18
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.rep import typed, words
from connector.lookalike.crm.rep.kinds import CONTACT, OPPORTUNITY, OUTPUTS, QUOTE, Kind
from connector.lookalike.crm.rep.record import Panel, section_fields
from connector.lookalike.crm.rep.typed import Form, Typed
from connector.lookalike.crm.rep.words import Complaint, Fact
from connector.lookalike.crm.table import Row

ACTIONS = ("Amend", "Renew", "Cancel", "Pause", "Resume")
QUOTE_DAYS = 30
_NOUNS = {"Amend": "amendment", "Renew": "renewal", "Cancel": "cancellation", "Pause": "pause", "Resume": "resumption"}
_INTROS = {
    "Amend": "Choose below what becomes of the running lines; products that are new to the contract are added on the next page. Then win the deal.",
    "Renew": "Without lines the same terms run for another term, raised by the uplift. With lines, they are all of the new term.",
    "Cancel": "Without lines the whole contract ends; with lines only those. If it ends inside a period, say what happens to the unused time.",
    "Pause": "Nothing is billed from that day on until a Resume deal is won.",
    "Resume": "Billing goes on from that day.",
}
_OPENS_AT = "Negotiation/Review"
_NOT_COPIED = frozenset({"Id", "OwnerId", "OpportunityId", "QuoteId", "OpportunityLineItemId", "SyncedQuoteId", "IsPrivate", *OUTPUTS})


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLine:
    """A running line of the deal that is changed: what can be done to it, and what was chosen."""

    id: str
    product: Fact
    now: str
    choices: tuple[str, ...]
    chosen: str
    quantity: str
    price: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPage:
    """A new record's form. hidden - what it was begun with."""

    kind: Kind
    title: str
    intro: str
    href: str
    back: str
    panels: tuple[Panel, ...]
    hidden: Mapping[str, str]
    base: Fact | None
    base_lines: tuple[BaseLine, ...]
    copies: int
    is_copying: bool
    complaint: Complaint | None


def new_page(org: Org, kind: Kind, asked: Form, *, read: Typed | None = None, complaint: Complaint | None = None) -> NewPage:
    """Return the form of a new record that *asked* describes (`account`, `clone`, `base` with `action`), or as it was refused."""
    draft, source = _draft(org, kind, asked)
    action = _action(org, kind, asked)
    one = org.type(kind.name)
    keys = [(section.key, section.title) for section in kind.sections]
    if source is not None and section_fields(org, kind, "more"):
        keys.append(("more", "More"))
    panels = []
    for key, title in keys:
        controls = typed.controls(org, one, section_fields(org, kind, key), draft, typed=read)
        if controls:
            is_folded = _is_aside(key, action) and not any(control.error or control.text != control.was for control in controls)
            panels.append(Panel(key=key, title=title, facts=(), controls=controls, is_folded=is_folded))
    hidden = {name: asked[name] for name in ("account", "clone", "base", "action") if asked.get(name)}
    lines = org.live_children(kind.lines, kind.lookup, source["Id"]) if source is not None and kind.lines and not action else []
    noun = _NOUNS.get(action, kind.one)
    return NewPage(
        kind=kind, title=f"New {noun}", intro=_INTROS.get(action, ""), href=f"/{kind.path}/new",
        back=_back(kind, draft, source),
        panels=tuple(panels), hidden=hidden, complaint=complaint,
        base=Fact(label="Of", text=str(source.get("Name")), href=words.url_of(kind.name, source["Id"])) if source is not None else None,
        base_lines=_base_lines(org, source, action, asked) if action in ("Amend", "Renew", "Cancel") and source is not None else (),
        copies=len(lines), is_copying=not read or bool(asked.get("copy_lines")),
    )  # fmt: skip


def _is_aside(key: str, action: str) -> bool:
    """Whether a change usually leaves a section as it is: blank is unchanged."""
    return key in ("terms", "billing", "more") and bool(action) and (key, action) != ("terms", "Renew")


def _back(kind: Kind, draft: Row, source: Row | None) -> str:
    if source is not None:
        return words.url_of(kind.name, source["Id"])
    return words.url_of("Account", draft["AccountId"]) if draft.get("AccountId") else f"/{kind.path}"


def _action(org: Org, kind: Kind, asked: Form) -> str:
    action = asked.get("action", "")
    return action if kind is OPPORTUNITY and action in ACTIONS and org.row(kind.name, id18(asked.get("base", ""))) else ""


def today(org: Org) -> date:
    """Return the day in the org's time zone."""
    return org.now().astimezone(org.zone).date()


def _draft(org: Org, kind: Kind, asked: Form) -> tuple[Row, Row | None]:
    """Return the values that the form begins with, and the record that it begins from."""
    account = org.row("Account", id18(asked.get("account", "")))
    if _action(org, kind, asked):
        base = org.row(kind.name, id18(asked["base"])) or {}
        return _change(org, base, asked["action"]), base
    source = org.row(kind.name, id18(asked.get("clone", "")))
    if source is not None:
        return _copy(org, kind, source), source
    draft: Row = {"AccountId": account["Id"]} if account is not None and kind in (OPPORTUNITY, CONTACT) else {}
    if kind is OPPORTUNITY:
        draft |= {"CloseDate": today(org).isoformat(), "Type": "Existing Business" if _is_customer(org, account) else "New Business"}
        draft |= {"Billing_Action__c": "New", "Contract_Start_Date__c": today(org).isoformat()}
    return draft, None


def _is_customer(org: Org, account: Row | None) -> bool:
    return account is not None and any(deal.get("IsWon") for deal in org.live_children("Opportunity", "AccountId", account["Id"]))


def _copy(org: Org, kind: Kind, source: Row) -> Row:
    names = {field.name for field in org.type(kind.name).fields if field.createable} - _NOT_COPIED
    draft = {name: value for name, value in source.items() if name in names}
    draft["Name"] = f"{source.get('Name')} (copy)"
    if kind is OPPORTUNITY:
        draft["CloseDate"] = today(org).isoformat()
    return draft


def _change(org: Org, source: Row, action: str) -> Row:
    """Return a change deal of the contract that *source* made or changed."""
    base = org.row("Opportunity", source.get("Amends_Opportunity__c")) or source
    day = today(org).isoformat()
    draft: Row = {
        "Name": f"{base.get('Name')}: {_NOUNS[action]}"[:120], "AccountId": base.get("AccountId"), "CloseDate": day,
        "Type": "Renewal" if action == "Renew" else "Existing Business", "Billing_Action__c": action, "Amends_Opportunity__c": base["Id"],
    }  # fmt: skip
    if "Renewal" not in org.type("Opportunity").by_lower["type"].picklist and action == "Renew":
        draft["Type"] = "Existing Business"
    if action in ("Amend", "Pause", "Resume"):
        draft["Billing_Effective_Date__c"] = day
    if action == "Amend":
        draft["Proration__c"] = "Immediately"
    if action == "Cancel":
        draft["Cancel_When__c"] = "End of period"
    if action == "Renew":
        kept = ("Contract_Term_Months__c", "Renewal_Uplift_Percent__c", "Auto_Renew__c")
        draft |= {name: base[name] for name in kept if name in base}
    return draft


# -- the lines of the deal that is changed ------------------------------------------------------------------------------------


def running_lines(org: Org, source: Row) -> list[Row]:
    """Return the lines of the deal that made the contract, and those that won amendments added: one for each product and price."""
    base = org.row("Opportunity", source.get("Amends_Opportunity__c")) or source
    changes = [one for one in org.live_children("Opportunity", "Amends_Opportunity__c", base["Id"]) if one.get("IsWon")]
    added = [one for one in changes if one.get("Billing_Action__c") == "Amend"]
    out: dict[tuple[Any, Any], Row] = {}
    for deal in (base, *added):
        for line in org.live_children("OpportunityLineItem", "OpportunityId", deal["Id"]):
            out.setdefault((line.get("Product2Id"), line.get("UnitPrice")), line)
    return list(out.values())


def charge_of(org: Org, line: Row) -> str:
    """Return the charge type of a line, or of its product."""
    return str(line.get("Charge_Type__c") or (org.row("Product2", line.get("Product2Id")) or {}).get("Charge_Type__c") or "")


def _base_lines(org: Org, source: Row, action: str, asked: Form) -> tuple[BaseLine, ...]:
    out = []
    for line in running_lines(org, source):
        charge = charge_of(org, line)
        if action != "Renew" and charge == "One-time":
            continue
        choices = {"Amend": ("Add", "Reduce", "Set", "Remove"), "Cancel": ("Cancel this line",), "Renew": ("Keep in the new term",)}[action]
        if charge == "Usage" and action == "Amend":
            choices = ("Remove",)
        product = org.row("Product2", line.get("Product2Id")) or {}
        key = f"base.{line['Id']}"
        quantity = words.plain_number(line["Quantity"])
        out.append(BaseLine(
            id=line["Id"], product=Fact(label="Product", text=str(product.get("Name")), href=words.url_of("Product2", product.get("Id", ""))),
            now=f"{quantity} × {words.text_of(org, org.type('OpportunityLineItem'), 'UnitPrice', line)}", choices=choices,
            chosen=asked.get(f"{key}.change", ""), quantity=asked.get(f"{key}.quantity", "" if action == "Amend" else quantity.replace(",", "")),
            price=asked.get(f"{key}.price", f"{line['UnitPrice']:f}"),
        ))  # fmt: skip
    return tuple(out)


# -- saving -------------------------------------------------------------------------------------------------------------------


class Refused(Exception):  # noqa: N818 - an answer to the rep, not an error
    """A form that was not saved: its page says why, with everything that was typed."""

    def __init__(self, page: NewPage) -> None:
        self.page = page
        super().__init__(page.title)


def _read(org: Org, kind: Kind, form: Form) -> Typed:
    keys = (*(section.key for section in kind.sections), "more")
    return typed.read(org, org.type(kind.name), [name for key in keys for name in section_fields(org, kind, key)], form, {})


def as_typed(org: Org, kind: Kind, form: Form, complaint: Complaint) -> NewPage:
    """Return the form of a new record as it was sent, with why it was not tried."""
    return new_page(org, kind, form, read=_read(org, kind, form), complaint=complaint)


def make(org: Org, kind: Kind, form: Form) -> str:
    """Create the record of a form, with the lines it brings; return its id. All or nothing. Raises: Refused."""
    read = _read(org, kind, form)
    if read.problems:
        raise Refused(new_page(org, kind, form, read=read, complaint=problems_of(read)))
    values = {name: value for name, value in read.values.items() if value is not None}
    if kind is OPPORTUNITY:
        values.setdefault("StageName", _OPENS_AT)
    _draft_values, source = _draft(org, kind, form)
    if source is not None and kind.lines:
        values |= {name: source[name] for name in ("Pricebook2Id",) if name in source}
    try:
        with org.transaction(user=org.rep_user):
            made = org.create(kind.name, values)
            for line in _lines_for(org, kind, form, source):
                org.create(kind.lines, {kind.lookup: made, **line})
    except ValueError as error:
        raise Refused(new_page(org, kind, form, read=read, complaint=Complaint(text=str(error)))) from error
    except Refusal as refusal:
        complaint = words.complaint_of(org, kind.name, refusal)
        read.problems.update({name: complaint.text for name in complaint.fields if name in read.texts})
        raise Refused(new_page(org, kind, form, read=read, complaint=complaint)) from refusal
    return made


def problems_of(read: Typed) -> Complaint:
    """Return what stands above a form with problems at its fields."""
    count = len(read.problems)
    text = "One field needs another look; nothing was saved yet." if count == 1 else f"{count} fields need another look; nothing was saved yet."
    return Complaint(text=text, fields=tuple(read.problems))


def _lines_for(org: Org, kind: Kind, form: Form, source: Row | None) -> list[dict[str, Any]]:
    if source is None or not kind.lines:
        return []
    if not _action(org, kind, form):
        lines = org.live_children(kind.lines, kind.lookup, source["Id"]) if form.get("copy_lines") else []
        return [line_copy(org, kind.lines, line) for line in lines]
    out: list[dict[str, Any]] = []
    for line in running_lines(org, source):
        key = f"base.{line['Id']}"
        change = form.get(f"{key}.change")
        if not change:
            continue
        product = str((org.row("Product2", line.get("Product2Id")) or {}).get("Name"))
        quantity = _amount(form.get(f"{key}.quantity", ""), f"the quantity of {product}")
        if quantity is None and change not in ("Remove", "Cancel this line"):
            raise ValueError(f"Say how many of {product}: the quantity is empty.")
        price = _amount(form.get(f"{key}.price", ""), f"the price of {product}")
        copied: dict[str, Any] = {n: line[n] for n in ("PricebookEntryId", "Charge_Type__c", "Billing_Frequency__c") if n in line}
        word: dict[str, Any] = {"Line_Change__c": change} if change in ("Add", "Reduce", "Set", "Remove") else {}
        out.append({
            **copied, **word, "Quantity": line["Quantity"] if quantity is None else quantity, "UnitPrice": line["UnitPrice"] if price is None else price,
        })  # fmt: skip
    return out


def _amount(text: str, what: str) -> Decimal | None:
    try:
        return typed.number_of(text.strip())
    except ValueError as error:
        raise ValueError(f"Correct {what}: {error}") from error


def line_copy(org: Org, kind: str, line: Row) -> dict[str, Any]:
    """Return what a new line of *kind* takes from another line: everything that a person may write, and its product."""
    names = {field.name for field in org.type(kind).fields if field.createable} - _NOT_COPIED
    return {name: value for name, value in line.items() if name in names and name != "CurrencyIsoCode"}


def quote_from(org: Org, deal: Row) -> str:
    """Make a quote of an opportunity: its billing terms and its lines; return its id. Raises: Refusal."""
    fields = org.type(QUOTE.name).fields
    own = {field.name for field in fields if field.createable and field.is_custom and org.field(org.type(QUOTE.name), field.name)}
    values = {name: value for name, value in deal.items() if name in own and name not in OUTPUTS}
    values |= {
        "Name": str(deal.get("Name")), "OpportunityId": deal["Id"], "Status": "Draft",
        "ExpirationDate": (today(org) + timedelta(days=QUOTE_DAYS)).isoformat(),
    }  # fmt: skip
    if deal.get("Billing_Contact__c"):
        values["ContactId"] = deal["Billing_Contact__c"]
    with org.transaction(user=org.rep_user):
        made = org.create(QUOTE.name, values)
        for line in org.live_children(OPPORTUNITY.lines, OPPORTUNITY.lookup, deal["Id"]):
            org.create(QUOTE.lines, {QUOTE.lookup: made, **line_copy(org, QUOTE.lines, line)})
    return made

