"""The pages on which a person plays the sales rep: opportunities, quotes, one record, a form that moves its stage or status.

Everything shown is what the API would answer; the form saves as the rep, not as the integration user. A form that another
site posts is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from connector.lookalike.crm.catalogue import QUOTE_STATUSES, STAGES
from connector.lookalike.crm.front import Front
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import NUMBERS, Field, labelled
from connector.lookalike.crm.table import Row

_LIST_ROWS = 500
_MAX_FORM_BYTES = 4096
_INPUTS_END = "Amends_Contract_Id__c"
_INVOICE_FIELDS = (
    "Number__c",
    "Type__c",
    "Status__c",
    "Issued_On__c",
    "Due_On__c",
    "Total__c",
    "Amount_Paid__c",
    "Amount_Due__c",
    "URL__c",
)
_LINE_FIELDS = (
    "ProductCode",
    "Description",
    "Charge_Type__c",
    "ServiceDate",
    "End_Date__c",
    "Quantity",
    "UnitPrice",
    "Discount",
    "TotalPrice",
)
_ACCOUNT_FIELDS = (
    "Name",
    "BillingStreet",
    "BillingPostalCode",
    "BillingCity",
    "BillingCountry",
    "Tax_Id__c",
    "Billing_Email__c",
)
_HIDDEN = frozenset(
    [
        "Id",
        "IsDeleted",
        "CreatedDate",
        "CreatedById",
        "LastModifiedDate",
        "LastModifiedById",
        "SystemModstamp",
        "Name",
        "StageName",
        "Status",
        "OwnerId",
        "Pricebook2Id",
        "Fiscal",
        "FiscalYear",
        "FiscalQuarter",
        "ForecastCategory",
        "ForecastCategoryName",
        "HasOpportunityLineItem",
        "IsPrivate",
        "AccountId",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A labelled value as it is shown; *href* where it is a link."""

    label: str
    text: str
    href: str = ""
    is_number: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table of child records."""

    title: str
    columns: tuple[str, ...]
    numbers: frozenset[str]
    rows: tuple[tuple[Fact, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """An object that has pages. state - its field that the form changes."""

    name: str
    path: str
    title: str
    state: str
    states: tuple[str, ...]
    lines: str
    lookup: str
    columns: tuple[str, ...]


_KINDS = (
    Kind(name="Opportunity", path="opportunities", title="Opportunities", state="StageName", states=tuple(STAGES), lines="OpportunityLineItem",
         lookup="OpportunityId", columns=("Name", "StageName", "CloseDate", "Amount", "Billing_Status__c")),
    Kind(name="Quote", path="quotes", title="Quotes", state="Status", states=QUOTE_STATUSES, lines="QuoteLineItem", lookup="QuoteId",
         columns=("Name", "QuoteNumber", "Status", "ExpirationDate", "GrandTotal", "Billing_Status__c")),
)  # fmt: skip


def routes(front: Front) -> list[BaseRoute]:
    """Return the routes of the pages."""
    pages = Pages(front.org)
    out: list[BaseRoute] = [Route("/", pages.list_of(_KINDS[0]), methods=["GET"])]
    for kind in _KINDS:
        if kind.name.lower() in front.org.schema.by_lower:
            out.append(Route(f"/{kind.path}", pages.list_of(kind), methods=["GET"]))
            out.append(Route(f"/{kind.path}/{{record}}", pages.record_of(kind), methods=["GET", "POST"]))
    out.append(Route("/{record:str}", pages.by_id, methods=["GET"]))
    return out


class Pages:
    """Renders the pages of an org."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._views = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(default=True)
        )

    def _render(self, template: str, status: int = 200, **view: Any) -> Response:
        organization = next(self._org.rows("Organization"))
        today = self._org.now().astimezone(self._org.zone).strftime("%d %B %Y").lstrip("0")
        text = self._views.get_template(template).render(company=organization["Name"], today=today, **view)
        return HTMLResponse(
            text,
            status_code=status,
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )

    def list_of(self, kind: Kind) -> Any:
        """Return the endpoint that lists records of *kind*, closest close date first."""

        async def endpoint(_request: Request) -> Response:
            with self._org.lock:
                found = sorted(self._org.rows(kind.name), key=lambda row: (row.get("CloseDate", ""), row["Id"]))
                rows = [
                    {
                        "href": f"/{kind.path}/{row['Id']}",
                        "cells": [self._fact(kind.name, row, name) for name in kind.columns],
                    }
                    for row in found[:_LIST_ROWS]
                ]
                more = f"{len(found) - _LIST_ROWS} more are not shown." if len(found) > _LIST_ROWS else ""
                columns = [self._label(kind.name, name) for name in kind.columns]
                return self._render(
                    "list.html",
                    title=kind.title,
                    columns=columns,
                    numbers=("Amount", "Grand Total"),
                    rows=rows,
                    more=more,
                )

        return endpoint

    def record_of(self, kind: Kind) -> Any:
        """Return the endpoint that shows one record of *kind*, and saves its form."""

        async def endpoint(request: Request) -> Response:
            raw = await request.body()
            with self._org.lock:
                return self._record(kind, request, raw)

        return endpoint

    def by_id(self, request: Request) -> Response:
        """Send `/ID` to the record's page, as Salesforce does."""
        record = request.path_params["record"]
        with self._org.lock:
            found = next((k for k in _KINDS if self._org.row(k.name, record) is not None), None)
        if found is None:
            return self._render("list.html", 404, title="There is no such page.", columns=(), numbers=(), rows=(), more="")
        return RedirectResponse(f"/{found.path}/{record}", status_code=303)

    def _record(self, kind: Kind, request: Request, raw: bytes) -> Response:
        error = ""
        try:
            row = self._org.get(kind.name, request.path_params["record"])
        except Refusal as refusal:
            return self._render("list.html", 404, title=refusal.message, columns=(), numbers=(), rows=(), more="")
        if request.method == "POST":
            error = self._saved(kind, row, request, raw)
            if not error:
                return RedirectResponse(f"/{kind.path}/{row['Id']}", status_code=303)
        view = self._view(kind, row)
        return self._render("record.html", 400 if error else 200, error=error, **view)

    def _saved(self, kind: Kind, row: Row, request: Request, raw: bytes) -> str:
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return "This form was sent from another site and was not saved."
        form = dict(parse_qsl(raw[:_MAX_FORM_BYTES].decode(errors="replace")))
        try:
            with self._org.transaction(user=self._org.rep_user):
                self._org.update(kind.name, row["Id"], {kind.state: form.get("value", "")})
        except Refusal as refusal:
            return refusal.message
        return ""

    # -- views ------------------------------------------------------------------------------------------------------------

    def _view(self, kind: Kind, row: Row) -> dict[str, Any]:
        fields = [
            field
            for field in self._org.type(kind.name).fields
            if field.name not in _HIDDEN and row.get(field.name) is not None
        ]
        names = [field.name for field in self._org.type(kind.name).fields]
        outputs = set(names[names.index(_INPUTS_END) + 1 :]) - {"Amends_Opportunity__c", "Billing_Contact__c"}
        account = self._org.row("Account", row.get("AccountId")) or {}
        lines = sorted(
            self._org.live_children(kind.lines, kind.lookup, row["Id"]),
            key=lambda line: (line.get("SortOrder", 0), line["Id"]),
        )
        sheets = [self._sheet("Lines", kind.lines, _LINE_FIELDS, lines)]
        if kind.name == "Opportunity":
            invoices = self._org.live_children("Billing_Invoice__c", "Opportunity__c", row["Id"])
            sheets.append(self._sheet("Invoices", "Billing_Invoice__c", _INVOICE_FIELDS, invoices))
        return {
            "kind": labelled(kind.name), "title": row.get("Name", ""), "state": row.get(kind.state, ""), "states": kind.states,
            "state_label": labelled(kind.state), "action": f"/{kind.path}/{row['Id']}", "tables": sheets,
            "billing": [self._fact(kind.name, row, field.name) for field in fields if field.name in outputs],
            "details": [self._fact(kind.name, row, field.name) for field in fields if field.name not in outputs],
            "account": [self._fact("Account", account, name) for name in _ACCOUNT_FIELDS if account.get(name) is not None],
        }  # fmt: skip

    def _sheet(self, title: str, kind: str, names: tuple[str, ...], rows: list[Row]) -> Sheet:
        labels = tuple(self._label(kind, name) for name in names)
        numbers = frozenset(self._label(kind, name) for name in names if self._field(kind, name).type in NUMBERS)
        facts = tuple(tuple(self._fact(kind, row, name) for name in names) for row in rows)
        return Sheet(title=title, columns=labels, numbers=numbers, rows=facts)

    def _field(self, kind: str, name: str) -> Field:
        return self._org.type(kind).by_lower[name.lower()]

    def _label(self, kind: str, name: str) -> str:
        field = self._field(kind, name)
        return field.label or labelled(field.name)

    def _fact(self, kind: str, row: Row, name: str) -> Fact:
        field, value = self._field(kind, name), row.get(name)
        href = value if field.type == "url" and str(value).startswith(("http://", "https://")) else ""
        return Fact(
            label=self._label(kind, name),
            text=self._text(field, value),
            href=href or "",
            is_number=field.type in NUMBERS,
        )

    def _text(self, field: Field, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return "Yes" if value else "No"
        if isinstance(value, Decimal):
            shown = f"{value:,f}"
            return f"{shown} %" if field.type == "percent" else shown
        if field.type == "reference":
            target = self._org.row(field.target, value)
            return str((target or {}).get("Name", value))
        if field.type == "datetime":
            return f"{value[:10]} {value[11:16]} UTC"
        return str(value)
