"""A record as a page: its head with buttons and path, its sections (one of them a form), card, lines, and what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.rep import typed, words
from connector.lookalike.crm.rep.card import Card, Sheet, card_of, invoices_of, sheet_of
from connector.lookalike.crm.rep.kinds import ACCOUNT, CONTACT, KINDS, OPPORTUNITY, OUTPUTS, PRODUCT, QUOTE, Kind
from connector.lookalike.crm.rep.lines import LineForm, LineTable, lines_of
from connector.lookalike.crm.rep.typed import Control, Typed
from connector.lookalike.crm.rep.words import Complaint, Fact
from connector.lookalike.crm.table import Row

_CHANGES = ("Amend", "Renew", "Cancel")
_SYSTEM = ("Id", "OwnerId", "CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById")
_OPPORTUNITY_COLUMNS = ("Name", "Billing_Action__c", "StageName", "CloseDate", "Amount", "Billing_Status__c")
_QUOTE_COLUMNS = ("Name", "QuoteNumber", "Status", "ExpirationDate", "GrandTotal", "Billing_Status__c")
_DONE, _NOW, _TODO = "done", "now", "todo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """Something to do: a link, or an act that is posted with a value."""

    label: str
    href: str = ""
    act: str = ""
    value: str = ""
    look: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stage on the path: done, now or todo."""

    value: str
    place: str
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A section; with controls where it is being edited. is_folded - its form opens on demand."""

    key: str
    title: str
    facts: tuple[Fact, ...]
    controls: tuple[Control, ...] = ()
    complaint: Complaint | None = None
    is_editable: bool = True
    is_folded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """What is open on a page: a section or a line as a form, with what was typed and why it was refused."""

    section: str = ""
    typed: Typed | None = None
    complaint: Complaint | None = None
    line: LineForm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPage:
    """A record as it is shown."""

    kind: Kind
    id: str
    href: str
    object_label: str
    title: str
    state: str
    tone: str
    head: tuple[Fact, ...]
    buttons: tuple[Button, ...]
    steps: tuple[Step, ...]
    panels: tuple[Panel, ...]
    card: Card | None
    invoices: Sheet | None
    lines: LineTable | None
    sheets: tuple[Sheet, ...]
    system: tuple[Fact, ...]
    complaint: Complaint | None


NOTHING_OPEN = Open()


def record_page(org: Org, kind: Kind, row: Row, opened: Open = NOTHING_OPEN) -> RecordPage:
    """Return the page of a record; *opened* is its form, if one is open."""
    one = org.type(kind.name)
    state = str(row.get(kind.state) or "") if kind.state else ""
    name = row.get("Number__c") if kind.is_read_only else row.get("Name")
    is_elsewhere = not opened.section and opened.line is None
    return RecordPage(
        kind=kind, id=row["Id"], href=words.url_of(kind.name, row["Id"]), object_label=kind.one[:1].upper() + kind.one[1:],
        title=str(name or row["Id"]), state=state, tone=words.tone_of(state), head=_head(org, kind, row), buttons=tuple(_buttons(kind, row)),
        steps=_steps(kind, state), panels=_panels(org, kind, row, opened), card=card_of(org, kind, row), invoices=invoices_of(org, kind, row),
        lines=lines_of(org, kind, row, opened.line) if kind.lines else None, sheets=tuple(_sheets(org, kind, row)),
        system=tuple(fact for n in _SYSTEM if (fact := words.fact_of(org, one, row, n)) and fact.text),
        complaint=opened.complaint if is_elsewhere else None,
    )  # fmt: skip


def _head(org: Org, kind: Kind, row: Row) -> tuple[Fact, ...]:
    names = {
        "Opportunity": ("AccountId", "CloseDate", "Amount", "Amends_Opportunity__c", "SyncedQuoteId"),
        "Quote": ("AccountId", "OpportunityId", "QuoteNumber", "ExpirationDate", "GrandTotal"), "Account": ("BillingCity", "BillingCountry", "OwnerId"),
        "Contact": ("AccountId", "Title", "Email"), "Product2": ("ProductCode", "Family", "Charge_Type__c"),
        "Billing_Invoice__c": ("Account__c", "Opportunity__c", "Total__c", "Amount_Due__c", "Due_On__c"),
    }[kind.name]  # fmt: skip
    facts = (words.fact_of(org, org.type(kind.name), row, name) for name in names)
    return tuple(fact for fact in facts if fact is not None and fact.text)


def _buttons(kind: Kind, row: Row) -> list[Button]:
    out: list[Button] = []
    if kind is OPPORTUNITY:
        base = f"/{kind.path}/new?base={row['Id']}&action="
        if row.get("IsWon") or row.get("Billing_Contract_Id__c"):
            changes = (*_CHANGES, "Resume" if row.get("Billing_Status__c") == "Paused" else "Pause")
            out += [Button(label=f"{change}…", href=base + change) for change in changes]
        out += [Button(label="Make a quote", act="quote"), Button(label="Clone…", href=f"/{kind.path}/new?clone={row['Id']}")]
    elif kind is QUOTE:
        out += _quote_buttons(row)
    elif kind is ACCOUNT:
        out += [
            Button(label="New opportunity…", href=f"/{OPPORTUNITY.path}/new?account={row['Id']}", look="main"),
            Button(label="New contact…", href=f"/{CONTACT.path}/new?account={row['Id']}"),
        ]
    if not kind.is_read_only and kind is not PRODUCT:
        out.append(Button(label="Delete", act="delete", look="quiet"))
    return out


def _quote_buttons(row: Row) -> list[Button]:
    status, out = row.get("Status"), []
    if status in ("Draft", "Needs Review", "In Review", "Approved"):
        out.append(Button(label="Present", act="state", value="Presented", look="main"))
    if status == "Presented":
        out += [Button(label="Accept", act="state", value="Accepted", look="main"), Button(label="Decline", act="state", value="Denied")]
        out.append(Button(label="Back to draft", act="state", value="Draft"))
    is_syncing = bool(row.get("IsSyncing"))
    out.append(Button(label="Stop syncing" if is_syncing else "Sync with the opportunity", act="unsync" if is_syncing else "sync"))
    return out


def _steps(kind: Kind, state: str) -> tuple[Step, ...]:
    if not kind.states:
        return ()
    at = kind.states.index(state) if state in kind.states else -1
    ends = ("Closed Lost", "Denied", "Rejected")  # beside the path, not on it
    return tuple(
        Step(value=value, place=_NOW if n == at else _DONE if n < at and not {state, value} & {*ends} else _TODO, tone=words.tone_of(value) if n == at else "")
        for n, value in enumerate(kind.states)
    )


# -- sections ---------------------------------------------------------------------------------------------------------------


def section_fields(org: Org, kind: Kind, key: str) -> tuple[str, ...]:
    """Return the fields of a section; `more` has those that no other section names and a person may write."""
    for section in kind.sections:
        if section.key == key:
            return section.fields
    if key != "more" or kind.is_read_only:
        return ()
    named = {name for section in kind.sections for name in section.fields} | OUTPUTS | {kind.state}
    own = (f for f in org.type(kind.name).fields if f.is_custom or f.name == "CurrencyIsoCode")
    return tuple(f.name for f in own if f.updateable and f.name not in named)


def _panels(org: Org, kind: Kind, row: Row, opened: Open) -> tuple[Panel, ...]:
    out = []
    more = section_fields(org, kind, "more")
    titles = [(section.key, section.title, section.fields) for section in kind.sections] + ([("more", "More", more)] if more else [])
    one = org.type(kind.name)
    for key, title, names in titles:
        facts = tuple(fact for name in names if (fact := words.fact_of(org, one, row, name)))
        controls: tuple[Control, ...] = ()
        complaint = None
        if opened.section == key and not kind.is_read_only:
            controls = typed.controls(org, one, writable(names, kind, row), row, typed=opened.typed)
            complaint = opened.complaint
        if facts:
            out.append(Panel(key=key, title=title, facts=facts, controls=controls, complaint=complaint, is_editable=not kind.is_read_only))
    return tuple(out)


def writable(names: tuple[str, ...], kind: Kind, row: Row) -> tuple[str, ...]:
    """Return the fields that a form offers: the Amount of an opportunity with lines is counted, not typed."""
    if kind is OPPORTUNITY and row.get("HasOpportunityLineItem"):
        return tuple(name for name in names if name != "Amount")
    return names


# -- what belongs to it -----------------------------------------------------------------------------------------------------


def _sheets(org: Org, kind: Kind, row: Row) -> list[Sheet]:
    known = {one.name for one in KINDS if one.name.lower() in org.schema.by_lower}
    if kind is OPPORTUNITY:
        return _of_opportunity(org, row, has_quotes=QUOTE.name in known)
    if kind is ACCOUNT:
        return _of_account(org, row, has_quotes=QUOTE.name in known)
    if kind is PRODUCT:
        entries = org.live_children("PricebookEntry", "Product2Id", row["Id"])
        return [sheet_of(org, "PricebookEntry", entries, ("Pricebook2Id", "UnitPrice", "IsActive"), key="prices", title="Prices", empty="In no price book.")]
    return []


def _of_opportunity(org: Org, row: Row, *, has_quotes: bool) -> list[Sheet]:
    out = []
    if has_quotes:
        quotes = org.live_children("Quote", "OpportunityId", row["Id"])
        out.append(sheet_of(org, "Quote", quotes, _QUOTE_COLUMNS, key="quotes", title="Quotes", empty="No quotes."))
    changes = org.live_children("Opportunity", "Amends_Opportunity__c", row["Id"])
    if changes:
        out.append(sheet_of(org, "Opportunity", changes, _OPPORTUNITY_COLUMNS, key="changes", title="Changes of this contract", empty=""))
    return out


def _of_account(org: Org, row: Row, *, has_quotes: bool) -> list[Sheet]:
    deals = sorted(org.live_children("Opportunity", "AccountId", row["Id"]), key=lambda one: str(one.get("CloseDate")), reverse=True)
    contacts = org.live_children("Contact", "AccountId", row["Id"])
    out = [
        sheet_of(org, "Opportunity", deals, _OPPORTUNITY_COLUMNS, key="deals", title="Opportunities", empty="No opportunities."),
        sheet_of(org, "Contact", contacts, ("Name", "Title", "Email", "Phone"), key="contacts", title="Contacts", empty="No contacts."),
    ]
    if has_quotes:
        quotes = org.live_children("Quote", "AccountId", row["Id"])
        out.append(sheet_of(org, "Quote", quotes, _QUOTE_COLUMNS, key="quotes", title="Quotes", empty="No quotes."))
    return out
