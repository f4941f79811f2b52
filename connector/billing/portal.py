"""The customer portal's share of the books: who a link belongs to, what the customer sees, what it said about itself.

A link is the customer's time-ordered id, by which it is found, and 128 random bits (decision D-29); it is revoked by making a new
one. The portal never bills: what a customer asks for becomes a request and goes the way of every request (decision D-35).

What the customer says of its details holds until the CRM says something new: for each field both texts are kept, and the
customer's counts as long as the account still says what it said then (decision D-149).

Worked example: the account says ap@acme.example, the customer writes billing@acme.example. Invoices go to billing@ until someone
changes the e-mail in the CRM; from then on the CRM's counts.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from connector.billing import books, desk, store
from connector.billing.batches import in_batches
from connector.billing.books import ContractSheet, InvoiceListing
from connector.billing.customers import customer_named
from connector.billing.desk import refused
from connector.billing.intents import Engine, Handler, Request
from connector.core.period import to_local
from connector.ports import CustomerDetails, IntentResult, Unit

FIELDS = ("name", "email", "line1", "city", "postal_code", "state", "country", "tax_id", "language")
"""What a customer may say of itself; the account and its tax exemption are the seller's business."""
MOST_CHARACTERS = 200
CONTRACTS = 50
INVOICES = 200
_TOKEN_ID = 18  # signs of a customer's id after its prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who a link belongs to: the customer's id and details as they count for its next invoice."""

    customer_id: str
    details: CustomerDetails


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalSheet:
    """What a customer sees of the books: its contracts and its finalized invoices, newest first, bounded."""

    visitor: Visitor
    contracts: tuple[ContractSheet, ...]
    invoices: tuple[InvoiceListing, ...]


# ---------------------------------------------------------------- links


def make_links(unit: Unit, customer_ids: Sequence[str], at: str) -> None:
    """Give each new customer a link."""
    unit.executemany(
        "INSERT INTO portal_link (customer_id, token, said, made_at) VALUES (?,?,'{}',?) ON CONFLICT (customer_id) DO NOTHING",
        [(i, _token_for(i), at) for i in customer_ids],
    )


def _token_for(customer_id: str) -> str:
    return customer_id.removeprefix("cus_") + secrets.token_hex(16)


def links(unit: Unit, customer_ids: Sequence[str]) -> dict[str, str]:
    """Return the tokens of customers; one who has none is missing."""
    found: dict[str, str] = {}
    for batch, marks in in_batches(customer_ids):
        found.update((row[0], row[1]) for row in unit.query(f"SELECT customer_id, token FROM portal_link WHERE customer_id IN ({marks})", batch))
    return found


def visitor(unit: Unit, token: str) -> Visitor | None:
    """Return whose link it is; None: nobody's."""
    customer_id = f"cus_{token[:_TOKEN_ID]}"
    known = links(unit, [customer_id]).get(customer_id)
    if known is None or not hmac.compare_digest(known.encode(), token.encode()):
        return None
    (standing,) = store.customers(unit, ids=[customer_id])
    return Visitor(customer_id=customer_id, details=standing.details)


def portal_sheet(unit: Unit, who: Visitor, timezone: str, now: datetime) -> PortalSheet:
    """Return what a customer sees at *now* (aware)."""
    local = to_local(now, timezone)
    listed = books.contracts(unit, local.date(), customer=who.customer_id, limit=CONTRACTS)
    sheets = [books.contract(unit, c.contract, local, local.date()) for c in listed if c.status not in ("withdrawn", "draft")]
    found = books.invoices(unit, customer=who.customer_id, limit=INVOICES)
    return PortalSheet(
        visitor=who, contracts=tuple(s for s in sheets if s is not None), invoices=tuple(i for i in found if i.status != "draft")
    )


def open_invoices(unit: Unit, who: Visitor) -> list[InvoiceListing]:
    """Return a customer's open invoices, newest first."""
    return books.invoices(unit, status="open", customer=who.customer_id, limit=INVOICES)


# ---------------------------------------------------------------- what customers say of themselves


def said(unit: Unit, org: str, accounts: Sequence[str]) -> dict[str, Mapping[str, Sequence[str]]]:
    """Return what customers said in the portal: by account, field to (what the CRM said then, what the customer said)."""
    found: dict[str, Mapping[str, Sequence[str]]] = {}
    for batch, marks in in_batches(accounts):
        sql = (
            "SELECT c.account, p.said FROM customer c JOIN portal_link p ON p.customer_id = c.id"
            f" WHERE c.org = ? AND p.said <> '{{}}' AND c.account IN ({marks})"
        )
        found.update((account, json.loads(text)) for account, text in unit.query(sql, (org, *batch)))
    return found


def merged(details: CustomerDetails, answers: Mapping[str, Sequence[str]] | None) -> CustomerDetails:
    """Return the CRM's details with what the customer said, field by field, where the CRM still says what it said then."""
    if not answers:
        return details
    flat = flat_details(details)
    return _with(details, {field: now for field, (was, now) in answers.items() if flat[field] == was})


def flat_details(details: CustomerDetails) -> dict[str, str]:
    """Return the fields a customer may change, as plain texts."""
    place = details.address
    return {
        "name": details.name, "email": details.email, "line1": place.line1, "city": place.city, "postal_code": place.postal_code,
        "state": place.state, "country": place.country, "tax_id": details.tax_id, "language": details.language,
    }  # fmt: skip


def _with(details: CustomerDetails, changed: Mapping[str, str]) -> CustomerDetails:
    own = {k: v for k, v in changed.items() if k in ("name", "email", "tax_id", "language")}
    place = {k: v for k, v in changed.items() if k not in own}
    return replace(details, address=replace(details.address, **place), **own)  # type: ignore[arg-type]


def _change_details(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Change what a customer says of itself (data: customer, and the fields that change); it counts from the next invoice on.

    Raises: RejectedError for a field that must not be empty, or an address that cannot be taxed.
    """
    customer_id = str(request.data["customer"])
    (standing,) = store.customers(unit, ids=[customer_id])
    before = flat_details(standing.details)
    wanted = {f: " ".join(str(request.data[f]).split())[:MOST_CHARACTERS] for f in FIELDS if f in request.data}
    changed = {f: text for f, text in wanted.items() if text != before[f]}
    missing = [f for f in ("name", "email") if f in changed and not changed[f]]
    if missing:
        raise refused("details-missing", f"The {' and the '.join(missing)} cannot be empty.", "Fill it in.")
    details = _with(standing.details, changed)
    problem = engine.tax.tax_of(details).problem
    if problem is not None and engine.tax.tax_of(standing.details).problem is None:
        raise refused("details-untaxable", "With these details no invoice can be made.", problem.hint)
    if not changed:
        return IntentResult(result={"changed": []})
    at = store.at_text(request.now)
    store.update_customers(unit, [replace(standing, details=details)], at)
    _remember(unit, customer_id, {f: (before[f], text) for f, text in changed.items()}, at)
    result = {"changed": sorted(changed)}
    unit.execute(
        "INSERT INTO event (id, made_at, actor, name, contract_id, invoice_id, data, before, after, customer_id) VALUES (?,?,?,?,?,?,?,?,?,?)",
        (
            desk.event_id(request.key), at, request.actor, "customer.details_changed", "", None, store.event_text({"customer": customer_id, **result}),
            store.event_text({f: before[f] for f in changed}), store.event_text(changed), customer_id,
        ),
    )  # fmt: skip
    return IntentResult(result=result, deals=tuple(_deals_of(unit, customer_id)))


def _remember(unit: Unit, customer_id: str, answers: Mapping[str, tuple[str, str]], at: str) -> None:
    """Keep what was said; a field said again keeps what the CRM said the first time."""
    make_links(unit, [customer_id], at)
    ((text,),) = unit.query("SELECT said FROM portal_link WHERE customer_id = ?", (customer_id,))
    known: dict[str, Sequence[str]] = json.loads(text)
    for field, (was, now) in answers.items():
        first = known[field][0] if field in known and known[field][1] == was else was
        known[field] = (first, now)
    unit.execute("UPDATE portal_link SET said = ? WHERE customer_id = ?", (json.dumps(known, ensure_ascii=False, sort_keys=True), customer_id))


def _deals_of(unit: Unit, customer_id: str) -> list[str]:
    return [row[0] for row in unit.query("SELECT deal FROM contract WHERE customer_id = ? AND status <> 'withdrawn' ORDER BY id", (customer_id,))]


def _renew_link(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Make a new link for a customer (data: customer); the old one leads nowhere from now on."""
    customer_id = customer_named(unit, engine.org, str(request.data["customer"]))
    at = store.at_text(request.now)
    make_links(unit, [customer_id], at)
    if request.data.get("is_new"):
        unit.execute("UPDATE portal_link SET token = ?, made_at = ? WHERE customer_id = ?", (_token_for(customer_id), at, customer_id))
        unit.execute(
            "INSERT INTO event (id, made_at, actor, name, contract_id, invoice_id, data, before, after, customer_id) VALUES (?,?,?,?,?,?,?,?,?,?)",
            (desk.event_id(request.key), at, request.actor, "customer.link_renewed", "", None, store.event_text({"customer": customer_id}), "", "", customer_id),
        )
    return IntentResult(result={"customer": customer_id}, deals=tuple(_deals_of(unit, customer_id)))


HANDLED: dict[str, Handler] = {"customer.details": desk.once(_change_details), "customer.link": _renew_link}
