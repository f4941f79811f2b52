"""The lines of a deal: as they stand, one of them as a form, and the form that adds a product of the price book."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.rep import typed, words
from connector.lookalike.crm.rep.kinds import LINE_FIELDS, LINE_MORE, Kind
from connector.lookalike.crm.rep.typed import Control, Typed
from connector.lookalike.crm.rep.words import Complaint, Fact
from connector.lookalike.crm.table import Row

LINES_SHOWN = 200
PRODUCTS_SHOWN = 500
_COLUMNS = ("Charge_Type__c", "Quantity", "UnitPrice", "Discount", "ServiceDate", "End_Date__c", "TotalPrice")
_ALWAYS = ("Charge_Type__c", "Quantity", "UnitPrice", "TotalPrice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A product that can be added: its price book entry."""

    id: str
    name: str
    note: str
    price: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line as it stands; as a form where it is being edited. details - what it says besides."""

    id: str
    product: Fact
    cells: tuple[Fact, ...]
    details: str
    controls: tuple[Control, ...] = ()
    more: tuple[Control, ...] = ()
    complaint: Complaint | None = None
    stamp: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineTable:
    """The lines of a deal. note - what is special about them."""

    columns: tuple[Fact, ...]
    rows: tuple[Line, ...]
    total: str
    note: str
    left: str
    entries: tuple[Entry, ...]
    chosen: str
    new: tuple[Control, ...]
    new_more: tuple[Control, ...]
    complaint: Complaint | None
    is_adding: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LineForm:
    """A form of a line that was refused, or is being edited. line - id; empty for a new line. chosen - its price book entry."""

    line: str = ""
    chosen: str = ""
    typed: Typed | None = None
    complaint: Complaint | None = None


def lines_of(org: Org, kind: Kind, row: Row, form: LineForm | None) -> LineTable:
    """Return the lines of an opportunity or quote in their order; *form* is the one that is open."""
    one = org.type(kind.lines)
    rows = sorted(org.live_children(kind.lines, kind.lookup, row["Id"]), key=lambda line: (line.get("SortOrder", 0), line["Id"]))
    used = [name for name in _COLUMNS if name in _ALWAYS or any(line.get(name) is not None for line in rows)]
    heads = tuple(fact for name in used if (fact := words.head_of(org, one, name)))
    shown = tuple(_line(org, kind, line, heads, form if form is not None and form.line == line["Id"] else None) for line in rows[:LINES_SHOWN])
    is_adding = form is not None and not form.line
    refused = form.typed if is_adding and form is not None else None
    owner = org.type(kind.name)
    total = words.fact_of(org, owner, row, "GrandTotal" if kind.name == "Quote" else "Amount") if rows else None
    entries = entries_of(org, row.get("Pricebook2Id"))
    quote = org.row("Quote", row.get("SyncedQuoteId")) if kind.name == "Opportunity" and row.get("SyncedQuoteId") else None
    blank: Row = {"Quantity": Decimal(1)}
    return LineTable(
        columns=heads, rows=shown, total=total.text if total is not None else "", left=_left(len(rows) - len(shown)), entries=entries,
        note=f"They come from the synced quote “{quote.get('Name')}”; an edit of that quote replaces them." if quote else "",
        chosen=form.chosen if is_adding and form is not None else "",
        new=tuple(map(_as_new, typed.controls(org, one, LINE_FIELDS, blank, typed=refused, prefix="new"))),
        new_more=typed.controls(org, one, LINE_MORE, {}, typed=refused, prefix="new"),
        complaint=form.complaint if is_adding and form is not None else None, is_adding=is_adding,
    )  # fmt: skip


def _as_new(control: Control) -> Control:
    return replace(control, is_required=False, hint="For one billing period. Blank: the list price.") if control.name == "UnitPrice" else control


def _left(count: int) -> str:
    return f"{count:,} more lines are not shown." if count > 0 else ""


def _line(org: Org, kind: Kind, line: Row, heads: tuple[Fact, ...], form: LineForm | None) -> Line:
    one = org.type(kind.lines)
    product = org.row("Product2", line.get("Product2Id")) or {}
    cells = {head.name: words.cell_of(org, one, line, head) for head in heads}
    charge = cells.get("Charge_Type__c")
    if charge is not None and not charge.text and product.get("Charge_Type__c"):
        cells["Charge_Type__c"] = Fact(label=charge.label, text=str(product["Charge_Type__c"]), name=charge.name)
    details = [str(line["Description"])] if line.get("Description") else []
    for name in LINE_MORE:
        fact = words.fact_of(org, one, line, name)
        if fact is not None and fact.text and line.get(name) is not False:
            details.append(f"{fact.label}: {fact.text}")
    if product.get("Billing_Price__c"):
        details.append(f"Catalogue price: {product['Billing_Price__c']}")
    name = str(product.get("Name") or line.get("ProductCode") or "Product")
    first = Fact(label="Product", text=name, href=words.url_of("Product2", product["Id"]) if product else "", note=str(line.get("ProductCode") or ""))
    out = Line(id=line["Id"], product=first, cells=tuple(cells[head.name] for head in heads), details=" · ".join(details))
    if form is None:
        return out
    prefix = f"line-{line['Id']}"
    return Line(
        id=out.id, product=first, cells=out.cells, details=out.details, complaint=form.complaint, stamp=line["LastModifiedDate"],
        controls=typed.controls(org, one, LINE_FIELDS, line, typed=form.typed, prefix=prefix),
        more=typed.controls(org, one, LINE_MORE, line, typed=form.typed, prefix=prefix),
    )  # fmt: skip


def entries_of(org: Org, book: str | None) -> tuple[Entry, ...]:
    """Return the products on sale in a price book (the standard one where none is said), by name: a bounded number."""
    if not book:
        book = next((row["Id"] for row in org.rows("Pricebook2") if row.get("IsStandard")), None)
    found = []
    for entry in org.live_children("PricebookEntry", "Pricebook2Id", book) if book else ():
        product = org.row("Product2", entry.get("Product2Id"))
        if product is None or not entry.get("IsActive") or not product.get("IsActive"):
            continue
        price = words.text_of(org, org.type("PricebookEntry"), "UnitPrice", entry)
        by = f"catalogue price {product['Billing_Price__c']}" if product.get("Billing_Price__c") else price
        note = " · ".join(part for part in (str(product.get("Charge_Type__c") or ""), by) if part)
        found.append(Entry(id=entry["Id"], name=str(product.get("Name")), note=note, price=str(entry.get("UnitPrice", ""))))
    return tuple(sorted(found, key=lambda one: one.name.lower())[:PRODUCTS_SHOWN])
