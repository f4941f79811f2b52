"""Fills an org: with a believable company, with what a file says, or with thousands of equal deals.

`seed_from(org, {"Account": [{"ref": "acme", "Name": "Acme"}], "Opportunity": [{"AccountId": {"ref": "acme"}, ...}]})` creates
the records in the order given; `ref` beside the fields names a record, `{"ref": name}` as a value stands for its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from connector.errors import ConfigError, Problem, Where
from connector.lookalike.crm import rules
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.seed_company import company
from connector.lookalike.crm.seed_orders import orders
from connector.lookalike.crm.table import Row
from connector.lookalike.crm.values import instant_text, rounded

_BULK_CHUNK = 2000
_STANDARD_BOOK = "Standard Price Book"


def seed(org: Org, start: date) -> dict[str, str]:
    """Create the demo company's records, whose deals begin around *start*; nothing is won yet. Return ids by name.

    The names are those in seed_company.py: `acme_seats` is the opportunity, `acme` its account, and so on.
    """
    ids = {"standard": standard_book(org)}
    records = {
        kind: [{name: value for name, value in row.items() if not name.endswith("__c") or org.has(kind, name)} for row in rows]
        for kind, rows in (company(start) | (orders(start) if org.has("Order", "SBQQ__Quote__c") else {})).items()
        if kind.lower() in org.schema.by_lower
    }
    return ids | seed_from(org, records, known=ids)


def seed_from(
    org: Org, data: dict[str, list[dict[str, Any]]], *, known: dict[str, str] | None = None
) -> dict[str, str]:
    """Create the records of *data*, {object: [fields]}; return ids by symbolic name. All or none are created.

    Raises: ConfigError with every record that cannot be created and why.
    """
    ids: dict[str, str] = {"standard": standard_book(org)} | (known or {})
    problems: list[Problem] = []

    def create_all() -> None:
        for kind, records in data.items():
            for number, record in enumerate(records, 1):
                try:
                    with org.transaction(user=org.rep_user):
                        made = org.create(
                            kind, {name: _value(value, ids) for name, value in record.items() if name != "ref"}
                        )
                    if "ref" in record:
                        ids[str(record["ref"])] = made
                except (Refusal, KeyError) as error:
                    problems.append(_problem(kind, number, record, error))
        if problems:
            raise ConfigError(problems)

    with org.transaction(user=org.rep_user):
        create_all()
    return ids


def _value(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict) and set(value) == {"ref"}:
        return ids[str(value["ref"])]
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        # a YAML or JSON number with a point; its shortest text is what was written
        return Decimal(str(value))
    return value


def _problem(kind: str, number: int, record: dict[str, Any], error: Exception) -> Problem:
    where = Where(object=kind, record=str(record.get("ref") or record.get("Name") or number))
    if isinstance(error, KeyError):
        return Problem(
            code="seed-unknown-ref",
            message=f'No record before this one has ref "{error.args[0]}".',
            hint="Name it, or move it up.",
            where=where,
        )
    return Problem(code="seed-refused", message=str(error), hint="Correct the field in the seed file.", where=where)


def standard_book(org: Org) -> str:
    """Return the id of the org's standard price book, created at first use."""
    for row in org.rows("Pricebook2"):
        if row.get("IsStandard"):
            return str(row["Id"])
    return org.insert("Pricebook2", {"Name": _STANDARD_BOOK, "IsActive": True, "IsStandard": True})


# -- thousands of deals ---------------------------------------------------------------------------------------------------


def bulk_deals(org: Org, n: int, lines: int = 3, *, close_date: date, first: int = 1) -> list[str]:
    """Create *n* accounts with one closed-won opportunity each, of *lines* monthly lines; return the opportunity ids.

    Line k of a deal is k x 10.00 a month. Numbering starts at *first*, so that a second batch can follow. Skips the checks of
    a save, but stores what a save would store.
    """
    entries = _bulk_products(org, lines)
    out: list[str] = []
    for begin in range(first, first + n, _BULK_CHUNK):
        numbers = range(begin, min(begin + _BULK_CHUNK, first + n))
        with org.transaction(user=org.rep_user):
            accounts = org.load("Account", (_bulk_account(org, number) for number in numbers))
            deals = list(zip(numbers, accounts, strict=True))
            made = org.load(
                "Opportunity",
                (_bulk_opportunity(org, number, account, entries, close_date) for number, account in deals),
            )
            org.load("OpportunityLineItem", _bulk_lines(org, numbers, made, entries))
        out += made
    return out


def _bulk_products(org: Org, lines: int) -> list[Row]:
    book = standard_book(org)
    known = {row.get("ProductCode"): row for row in org.rows("Product2")}
    entries = []
    with org.transaction(user=org.rep_user):
        for number in range(1, lines + 1):
            code = f"BULK-{number}"
            if code in known:
                entries += org.live_children("PricebookEntry", "Product2Id", known[code]["Id"])[:1]
                continue
            product = org.create(
                "Product2",
                {
                    "Name": f"Bulk service {number}",
                    "ProductCode": code,
                    "IsActive": True,
                    "Charge_Type__c": "Recurring",
                },
            )
            entry = org.create(
                "PricebookEntry",
                {"Pricebook2Id": book, "Product2Id": product, "UnitPrice": Decimal(10), "IsActive": True},
            )
            entries.append(org.get("PricebookEntry", entry))
    return entries


def _currency(org: Org) -> Row:
    return {"CurrencyIsoCode": org.currency} if org.is_multi_currency() else {}


def _bulk_account(org: Org, number: int) -> Row:
    return {
        "Name": f"Customer {number:06d}", "OwnerId": org.rep_user, "Billing_Email__c": f"billing@customer{number:06d}.example",
        "BillingStreet": f"{number} Market Street", "BillingCity": "Lyon", "BillingPostalCode": "69001", "BillingCountry": "France", **_currency(org),
    }  # fmt: skip


def _bulk_opportunity(org: Org, number: int, account: str, entries: list[Row], close_date: date) -> Row:
    day = close_date.isoformat()
    draft: Row = {
        "Name": f"Deal {number:06d}", "AccountId": account, "StageName": "Closed Won", "CloseDate": day, "OwnerId": org.rep_user,
        "Type": "New Business", "Pricebook2Id": entries[0]["Pricebook2Id"] if entries else None, "Contract_Start_Date__c": day,
        "Contract_Term_Months__c": Decimal(12), "Billing_Frequency__c": "Monthly", "Payment_Terms__c": "Net 30", "Billing_Action__c": "New",
        **rules.stage_fields("Closed Won"), **rules.fiscal_fields(day), **_currency(org),
    }  # fmt: skip
    prices = [_bulk_line(entry, quantity) for quantity, entry in enumerate(entries, 1)]
    return {
        name: value for name, value in {**draft, **rules.opportunity_totals(draft, prices)}.items() if value is not None
    }


def _bulk_line(entry: Row, quantity: int) -> Row:
    line: Row = {"Quantity": rounded(Decimal(quantity), 2), "UnitPrice": rounded(Decimal(10), 2)}
    return {**line, **rules.line_prices(line)}


def _bulk_lines(org: Org, numbers: range, opportunities: list[str], entries: list[Row]) -> Iterator[Row]:
    for number, opportunity in zip(numbers, opportunities, strict=True):
        for quantity, entry in enumerate(entries, 1):
            yield {
                "OpportunityId": opportunity, "PricebookEntryId": entry["Id"], "Product2Id": entry["Product2Id"], "ProductCode": entry["ProductCode"],
                "Name": f"Deal {number:06d} {entry['Name']}", "ListPrice": entry["UnitPrice"], "Charge_Type__c": "Recurring",
                "SortOrder": quantity, **_bulk_line(entry, quantity), **_currency(org),
            }  # fmt: skip
