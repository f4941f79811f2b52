"""The billing card: what billing wrote on a record, in the order in which a rep asks; and the invoices of a deal or account."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.rep import words
from connector.lookalike.crm.rep.kinds import ACCOUNT, OPPORTUNITY, Kind
from connector.lookalike.crm.rep.words import Fact
from connector.lookalike.crm.schema import ObjectType
from connector.lookalike.crm.table import Row

INVOICES_SHOWN = 100
_INVOICE_COLUMNS = ("Number__c", "Type__c", "Status__c", "Issued_On__c", "Due_On__c", "Total__c", "Amount_Paid__c", "Amount_Due__c")
_FIGURES = (("Amount_Billed__c", "Billed"), ("Amount_Paid__c", "Paid"), ("Amount_Due__c", "Due"))
_FACTS = (
    ("Billing_Contract_Id__c", "Contract"), ("Contract_Value__c", "Contract value"), ("Annual_Value__c", "Value a year"),
    ("Quote_Due_Now__c", "Due on acceptance"), ("Quote_Per_Period__c", "Then each period"), ("Quote_Tax__c", "Tax in it"),
    ("Quote_Accepted_By__c", "Accepted by"), ("Quote_Accepted_At__c", "Accepted on"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What billing says of a record. waiting - what to expect while it says nothing. preview - what it would bill."""

    title: str
    status: str
    tone: str
    message: str
    waiting: str
    figures: tuple[Fact, ...]
    facts: tuple[Fact, ...]
    links: tuple[Fact, ...]
    preview: str
    written: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table of records that belong to this one; a row's first cell leads to its page. more - how many are not shown."""

    key: str
    title: str
    columns: tuple[Fact, ...]
    rows: tuple[tuple[Fact, ...], ...]
    empty: str
    more: str = ""
    new_href: str = ""
    new_label: str = ""
    is_live: bool = False


def card_of(org: Org, kind: Kind, row: Row) -> Card | None:
    """Return the card of a record; None for objects that billing does not write on."""
    if kind is ACCOUNT:
        return _account_card(org, row)
    if not kind.is_billed:
        return None
    one = org.type(kind.name)
    status = str(row.get("Billing_Status__c") or "")
    figures = [_figure(org, row, label, row[name]) for name, label in _FIGURES if org.field(one, name) and row.get(name) is not None]
    facts = [*_invoice_facts(org, one, row), *_filled(org, one, row, _FACTS[:1]), *_term(org, one, row), *_filled(org, one, row, _FACTS[1:])]
    return Card(
        title="Billing", status=status, tone=words.tone_of(status), message=str(row.get("Billing_Message__c") or ""),
        waiting="" if status else _waiting(org, kind, row), figures=tuple(figures), facts=tuple(facts), links=tuple(_links(org, one, row)),
        preview=str(row.get("Billing_Preview__c") or ""), written=_written(org, one, row),
    )  # fmt: skip


def _waiting(org: Org, kind: Kind, row: Row) -> str:
    hidden = org.field(org.type(kind.name), "Billing_Status__c") is None
    if hidden:
        return "The billing fields are hidden from you: field-level security."
    if kind is OPPORTUNITY:
        if row.get("IsWon"):
            return "Won. Billing reads it within seconds, and says here what became of it."
        return "Nothing yet. Once the deal is won, billing says here what became of it."
    if row.get("Status") == "Accepted":
        return "Accepted. Billing reads it within seconds, and says here what became of it."
    return "Nothing yet. Billing prices the quote after each edit; once it is presented, its link stands here."


def _figure(org: Org, row: Row, label: str, amount: Decimal) -> Fact:
    return Fact(label=f"{label}, {words.currency_of(org, row)}", text=f"{amount:,f}")


def _filled(org: Org, one: ObjectType, row: Row, names: Iterable[tuple[str, str]]) -> list[Fact]:
    facts = (words.fact_of(org, one, row, name, label=label) for name, label in names)
    return [fact for fact in facts if fact is not None and fact.text]


def _invoice_facts(org: Org, one: ObjectType, row: Row) -> list[Fact]:
    day, amount = words.fact_of(org, one, row, "Next_Invoice_Date__c"), words.fact_of(org, one, row, "Next_Invoice_Amount__c")
    out = []
    if day is not None and day.text:
        out.append(Fact(label="Next invoice", text=day.text, note=amount.text if amount else ""))
    last, link = words.fact_of(org, one, row, "Last_Invoice_Number__c"), words.fact_of(org, one, row, "Last_Invoice_URL__c")
    if last is not None and last.text:
        status = str(row.get("Last_Invoice_Status__c") or "").replace("_", " ")
        out.append(Fact(label="Last invoice", text=last.text, href=link.href if link else "", note=status))
    return out


def _term(org: Org, one: ObjectType, row: Row) -> list[Fact]:
    first, last = words.fact_of(org, one, row, "Contract_Starts_On__c"), words.fact_of(org, one, row, "Contract_Ends_On__c")
    if first is None or not first.text:
        return []
    return [Fact(label="Runs", text=f"{first.text} to {last.text}" if last is not None and last.text else f"from {first.text}, open-ended")]


def _links(org: Org, one: ObjectType, row: Row) -> list[Fact]:
    number = str(row.get("Quote_Number__c") or "")
    named = (
        ("Quote_URL__c", f"Quote {number} as the customer sees it".replace("  ", " ")), ("Quote_PDF_URL__c", "Quote as PDF"),
        ("Last_Invoice_URL__c", f"Invoice {row.get('Last_Invoice_Number__c') or ''}".strip()),
    )  # fmt: skip
    links = [(words.fact_of(org, one, row, name), text) for name, text in named]
    account = org.row("Account", row.get("AccountId"))
    if account is not None:
        links.append((words.fact_of(org, org.type("Account"), account, "Portal_URL__c"), "Customer portal"))
    return [Fact(label=text, text=text, href=fact.href) for fact, text in links if fact is not None and fact.href]


def _written(org: Org, one: ObjectType, row: Row) -> str:
    fact = words.fact_of(org, one, row, "Billing_Synced_At__c")
    return f"Written by billing on {fact.text}." if fact is not None and fact.text else ""


def _account_card(org: Org, row: Row) -> Card:
    one = org.type("Account")
    totals: dict[str, list[Decimal]] = {}
    for invoice in org.live_children("Billing_Invoice__c", "Account__c", row["Id"]):
        sums = totals.setdefault(words.currency_of(org, invoice), [Decimal(0), Decimal(0), Decimal(0)])
        sign = -1 if invoice.get("Type__c") == "Credit note" and (invoice.get("Total__c") or 0) > 0 else 1
        is_void = str(invoice.get("Status__c")).lower() in ("void", "draft")
        for place, name in enumerate(("Total__c", "Amount_Paid__c", "Amount_Due__c")):
            sums[place] += Decimal(0) if is_void else sign * (invoice.get(name) or Decimal(0))
    customer = words.fact_of(org, one, row, "Billing_Customer_Id__c", label="Billing customer")
    portal = words.fact_of(org, one, row, "Portal_URL__c")
    return Card(
        title="Billing", status="", tone="plain", message="",
        waiting="" if customer is not None and customer.text else "Not billed yet. With the first deal won, billing makes it a customer.",
        figures=tuple(
            Fact(label=f"{label}, {currency}", text=f"{sums[place]:,f}")
            for currency, sums in totals.items() for place, (_, label) in enumerate(_FIGURES)
        ),
        facts=(customer,) if customer is not None and customer.text else (),
        links=(Fact(label="Customer portal", text="Customer portal", href=portal.href),) if portal is not None and portal.href else (),
        preview="", written="",
    )  # fmt: skip


# -- tables -----------------------------------------------------------------------------------------------------------------


def sheet_of(org: Org, kind: str, rows: list[Row], columns: Iterable[str], **said: str | bool) -> Sheet:
    """Return a table of records, the first *INVOICES_SHOWN* of them; *said* is its key, title and what it says when empty."""
    one = org.type(kind)
    heads = [fact for name in columns if (fact := words.head_of(org, one, name))]
    table = []
    for row in rows[:INVOICES_SHOWN]:
        cells = [words.cell_of(org, one, row, head) for head in heads]
        first = cells[0]
        cells[0] = Fact(label=first.label, text=first.text or row["Id"], href=words.url_of(kind, row["Id"]), name=first.name)
        table.append(tuple(cells))
    left = len(rows) - len(table)
    given = {"more": f"{left:,} more are not shown." if left else "", **said}
    return Sheet(columns=tuple(heads), rows=tuple(table), **given)  # type: ignore[arg-type]  # the keys are those of the class


def invoices_of(org: Org, kind: Kind, row: Row) -> Sheet | None:
    """Return the invoices of a deal or an account, the newest first; None in an org that has no such object yet."""
    lookup = {"Opportunity": "Opportunity__c", "Account": "Account__c"}.get(kind.name)
    if lookup is None or "billing_invoice__c" not in org.schema.by_lower:
        return None
    found = org.live_children("Billing_Invoice__c", lookup, row["Id"])
    found.sort(key=lambda one: (str(one.get("Issued_On__c", "")), str(one.get("Number__c", ""))), reverse=True)
    return sheet_of(
        org, "Billing_Invoice__c", found, (*_INVOICE_COLUMNS, "URL__c"), key="invoices", title="Invoices", empty="No invoices yet.", is_live=True
    )
