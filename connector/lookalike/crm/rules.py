"""What the CRM derives by itself when a record is saved.

An opportunity with lines of 10 x 9.00 less 10 % and 1 x 500.00 has Amount 581.00, and an Amount sent with an update is
ignored; moving it to Closed Won sets IsWon, IsClosed and 100 %. Choosing a synced quote replaces the opportunity's lines,
under new ids, by the quote's; custom line fields are not copied.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from connector.lookalike.crm import orders, persons
from connector.lookalike.crm.catalogue import STAGES
from connector.lookalike.crm.catalogue_extra import address_prefixes
from connector.lookalike.crm.places import settle_address
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import Schema
from connector.lookalike.crm.table import Row
from connector.lookalike.crm.values import rounded

_PARENT_OF_LINE = {
    "OpportunityLineItem": ("Opportunity", "OpportunityId"), "QuoteLineItem": ("Quote", "QuoteId"), "OrderItem": ("Order", "OrderId"),
}  # fmt: skip
_COPIED = (
    "PricebookEntryId",
    "Product2Id",
    "Quantity",
    "UnitPrice",
    "Discount",
    "ServiceDate",
    "Description",
    "SortOrder",
)
_ZERO = Decimal(0)


class Records(Protocol):
    """What rules may ask of the org and do to it."""

    schema: Schema

    def has_codes(self) -> bool:
        """Say whether countries and states are picklists."""
        ...

    def row(self, kind: str, record: str | None) -> Row | None:
        """Return a record that is not deleted, or None."""
        ...

    def live_children(self, kind: str, field: str, parent: str) -> list[Row]:
        """Return the records not deleted whose lookup *field* points at *parent*."""
        ...

    def derive(self, kind: str, record: str, changes: dict[str, Any]) -> None:
        """Store derived values; the record's stamp moves as with any save."""
        ...

    def insert(self, kind: str, fields: dict[str, Any]) -> str:
        """Store a new record with its derived values; return its id."""
        ...

    def erase(self, kind: str, record: str) -> None:
        """Remove a record for good."""
        ...

    def is_multi_currency(self) -> bool:
        """Say whether records carry a currency."""
        ...

    def stamp(self) -> str:
        """Return the org's time as records carry it."""
        ...


def before_save(records: Records, kind: str, draft: Row, old: Row | None) -> None:
    """Complete *draft* with what the CRM derives from the record itself and its parents."""
    one = records.schema.by_lower[kind.lower()]
    if "ispersonaccount" in one.by_lower:
        if kind == "Account":
            persons.complete(draft, old)
        else:
            persons.check_contact(old)
    for prefix in address_prefixes(one) if records.has_codes() else ():
        settle_address(draft, old, prefix)
    if kind == "Opportunity":
        _opportunity(records, draft, old)
    elif kind in _PARENT_OF_LINE:
        _line(records, kind, draft, old)
    elif kind == "Quote":
        _quote(records, draft)
    elif kind == "Order":
        orders.save_order(draft, old, items=records.live_children("OrderItem", "OrderId", draft["Id"]), now=records.stamp())
    elif kind in ("Contact", "User"):
        draft["Name"] = persons.name_of(draft)
    elif kind == "PricebookEntry":
        product = records.row("Product2", draft["Product2Id"]) or {}
        draft["Name"], draft["ProductCode"] = product.get("Name"), product.get("ProductCode")


def after_save(records: Records, kind: str, new: Row, old: Row | None) -> None:
    """Carry a save on to the records that depend on it."""
    if kind in _PARENT_OF_LINE:
        roll_up(records, *_parent(kind, new))
    elif kind == "Opportunity" and new.get("SyncedQuoteId") != (old or {}).get("SyncedQuoteId"):
        _sync(records, new, old or {})
    elif kind == "Account" and new.get("IsPersonAccount"):
        _person(records, new)


def _person(records: Records, account: Row) -> None:
    contact = account.get("PersonContactId")
    fields = persons.contact_of(account)
    if contact is None:
        made = records.insert("Contact", fields)
        records.derive("Account", account["Id"], {"PersonContactId": made})
    else:
        records.derive("Contact", contact, {**fields, "Name": account["Name"]})


def after_delete(records: Records, kind: str, old: Row) -> None:
    """Carry the deletion of a line on to its parent."""
    if kind in ("Order", "OrderItem"):
        orders.check_delete(kind, old, records.row("Order", old.get("OrderId")))
    if kind in _PARENT_OF_LINE:
        roll_up(records, *_parent(kind, old))


def _parent(kind: str, line: Row) -> tuple[str, str]:
    parent_kind, field = _PARENT_OF_LINE[kind]
    return parent_kind, line[field]


def roll_up(records: Records, parent_kind: str, parent: str) -> None:
    """Set the totals of an opportunity or quote to those of its lines; its stamp moves."""
    owner = records.row(parent_kind, parent)
    if owner is None:
        return
    if parent_kind == "Opportunity":
        lines = records.live_children("OpportunityLineItem", "OpportunityId", parent)
        records.derive("Opportunity", parent, opportunity_totals(owner, lines))
        return
    if parent_kind == "Order":
        items = records.live_children("OrderItem", "OrderId", parent)
        records.derive("Order", parent, {"TotalAmount": sum((item["TotalPrice"] for item in items), _ZERO)})
        return
    lines = records.live_children("QuoteLineItem", "QuoteId", parent)
    records.derive("Quote", parent, quote_totals(owner, lines))
    if owner.get("IsSyncing"):
        replace_lines(records, owner["OpportunityId"], lines)


def opportunity_totals(opportunity: Row, lines: list[Row]) -> dict[str, Any]:
    """Return what the lines of an opportunity make of it; without lines the Amount stays as it is."""
    if not lines:
        return {"HasOpportunityLineItem": False, "TotalOpportunityQuantity": None}
    amount = sum((line["TotalPrice"] for line in lines), _ZERO)
    return {
        "HasOpportunityLineItem": True,
        "Amount": amount,
        "TotalOpportunityQuantity": sum((line["Quantity"] for line in lines), _ZERO),
        "ExpectedRevenue": rounded(amount * (opportunity.get("Probability") or _ZERO) / 100, 2),
    }


def quote_totals(quote: Row, lines: list[Row]) -> dict[str, Any]:
    """Return the totals of a quote: before and after line discounts, and with tax and shipping."""
    subtotal = sum((line["Subtotal"] for line in lines), _ZERO)
    total = sum((line["TotalPrice"] for line in lines), _ZERO)
    return {
        "Subtotal": subtotal,
        "TotalPrice": total,
        "Discount": rounded((subtotal - total) * 100 / subtotal, 2) if subtotal else _ZERO,
        "GrandTotal": total + (quote.get("Tax") or _ZERO) + (quote.get("ShippingHandling") or _ZERO),
        "LineItemCount": len(lines),
    }


def line_prices(line: Row) -> dict[str, Any]:
    """Return subtotal and total of a line: quantity x unit price, less its discount in percent."""
    subtotal = rounded(line["Quantity"] * line["UnitPrice"], 2)
    share = (100 - (line.get("Discount") or _ZERO)) / Decimal(100)
    return {"Subtotal": subtotal, "TotalPrice": rounded(line["Quantity"] * line["UnitPrice"] * share, 2)}


def stage_fields(stage: str) -> dict[str, Any]:
    """Return what a stage says about an opportunity."""
    probability, is_closed, is_won, category = STAGES[stage]
    return {
        "IsClosed": is_closed, "IsWon": is_won, "ForecastCategoryName": category,
        "ForecastCategory": category.replace(" ", ""), "Probability": rounded(Decimal(probability), 2),
    }  # fmt: skip


def fiscal_fields(close_date: str) -> dict[str, Any]:
    """Return the fiscal period of a close date; fiscal years are calendar years."""
    day = date.fromisoformat(close_date)
    quarter = (day.month + 2) // 3
    return {"FiscalYear": day.year, "FiscalQuarter": quarter, "Fiscal": f"{day.year} {quarter}"}


def _opportunity(records: Records, draft: Row, old: Row | None) -> None:
    before = old or {}
    if draft["StageName"] != before.get("StageName"):
        derived = stage_fields(draft["StageName"])
        if draft.get("Probability") != before.get("Probability"):
            del derived["Probability"]
        draft.update(derived)
    draft.update(fiscal_fields(draft["CloseDate"]))
    if before.get("HasOpportunityLineItem"):
        draft["Amount"] = before.get("Amount")
        if records.is_multi_currency() and draft.get("CurrencyIsoCode") != before.get("CurrencyIsoCode"):
            raise Refusal(
                "FIELD_INTEGRITY_EXCEPTION",
                "field integrity exception: CurrencyIsoCode (an opportunity with products keeps its currency)",
            )
        if draft.get("Pricebook2Id") != before.get("Pricebook2Id"):
            raise Refusal(
                "FIELD_INTEGRITY_EXCEPTION",
                "field integrity exception: Pricebook2Id (an opportunity with products keeps its price book)",
            )
    amount = draft.get("Amount")
    draft["ExpectedRevenue"] = (
        rounded(amount * (draft.get("Probability") or _ZERO) / 100, 2) if amount is not None else None
    )
    quote = draft.get("SyncedQuoteId")
    if quote and quote != before.get("SyncedQuoteId"):
        owner = records.row("Quote", quote)
        if owner is None or owner.get("OpportunityId") != draft["Id"]:
            raise Refusal(
                "FIELD_INTEGRITY_EXCEPTION",
                "Synced Quote ID: the quote must belong to this opportunity",
                fields=("SyncedQuoteId",),
            )


def _quote(records: Records, draft: Row) -> None:
    opportunity = records.row("Opportunity", draft.get("OpportunityId")) or {}
    draft["AccountId"] = opportunity.get("AccountId")
    draft.setdefault("Pricebook2Id", opportunity.get("Pricebook2Id"))
    if records.is_multi_currency() and opportunity:
        draft["CurrencyIsoCode"] = opportunity.get("CurrencyIsoCode")
    draft.update(quote_totals(draft, records.live_children("QuoteLineItem", "QuoteId", draft["Id"])))


def _line(records: Records, kind: str, draft: Row, old: Row | None) -> None:
    parent_kind, parent_id = _parent(kind, draft)
    parent = records.row(parent_kind, parent_id) or {}
    if kind == "OrderItem":
        orders.save_item(parent, draft, old, lambda new: _resolve_product(records, parent_kind, parent, new))
        if old is None and records.is_multi_currency():
            draft["CurrencyIsoCode"] = parent.get("CurrencyIsoCode")
        return
    if old is None:
        _resolve_product(records, parent_kind, parent, draft)
        if records.is_multi_currency():
            draft["CurrencyIsoCode"] = parent.get("CurrencyIsoCode")
    product = records.row("Product2", draft.get("Product2Id")) or {}
    draft["ProductCode"] = product.get("ProductCode")
    if kind == "OpportunityLineItem" and old is None:
        draft["Name"] = f"{parent.get('Name')} {product.get('Name')}"[:376]
    draft.update(line_prices(draft))


def _resolve_product(records: Records, parent_kind: str, parent: Row, draft: Row) -> None:
    entry = records.row("PricebookEntry", draft.get("PricebookEntryId"))
    book = parent.get("Pricebook2Id")
    if entry is None and draft.get("Product2Id"):
        entry = _entry_for(records.live_children("PricebookEntry", "Product2Id", draft["Product2Id"]), records, book)
    if entry is None:
        raise Refusal(
            "REQUIRED_FIELD_MISSING", "Required fields are missing: [PricebookEntryId]", fields=("PricebookEntryId",)
        )
    if book is None:
        records.derive(parent_kind, parent["Id"], {"Pricebook2Id": entry["Pricebook2Id"]})
    elif entry["Pricebook2Id"] != book:
        raise Refusal(
            "FIELD_INTEGRITY_EXCEPTION",
            "field integrity exception: PricebookEntryId (pricebook entry is not in the same pricebook as the parent)",
            fields=("PricebookEntryId",),
        )
    draft["PricebookEntryId"], draft["Product2Id"] = entry["Id"], entry["Product2Id"]
    draft["ListPrice"] = entry["UnitPrice"]


def _entry_for(entries: Iterable[Row], records: Records, book: str | None) -> Row | None:
    for entry in entries:
        is_standard = (records.row("Pricebook2", entry["Pricebook2Id"]) or {}).get("IsStandard")
        if entry["Pricebook2Id"] == book or (book is None and is_standard):
            return entry
    return None


def _sync(records: Records, new: Row, old: Row) -> None:
    if old.get("SyncedQuoteId") and records.row("Quote", old["SyncedQuoteId"]):
        records.derive("Quote", old["SyncedQuoteId"], {"IsSyncing": False})
    quote = new.get("SyncedQuoteId")
    if quote:
        records.derive("Quote", quote, {"IsSyncing": True})
        replace_lines(records, new["Id"], records.live_children("QuoteLineItem", "QuoteId", quote))


def replace_lines(records: Records, opportunity: str, quote_lines: list[Row]) -> None:
    """Remove the lines of an opportunity for good and put copies of *quote_lines* in their place, under new ids."""
    for line in records.live_children("OpportunityLineItem", "OpportunityId", opportunity):
        records.erase("OpportunityLineItem", line["Id"])
    for line in quote_lines:
        copied = {name: line[name] for name in _COPIED if name in line}
        records.insert("OpportunityLineItem", {"OpportunityId": opportunity, **copied})
    roll_up(records, "Opportunity", opportunity)
