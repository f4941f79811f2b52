"""Customers of the books: lists and sheets as plain values, and requests about balances; amounts come and go in major units."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connector import app
from connector.asking.invoices import minor_units
from connector.asking.shared import bad
from connector.billing import books, portal
from connector.billing import customers as people
from connector.billing.customers import CustomerListing
from connector.core.money import digits, major
from connector.sync.write_back import portal_url
from connector.verbs import Result, open_config


def money(minor: int, currency: str) -> str:
    """Return an amount as people write it: 60.00 EUR."""
    return f"{major(minor, currency)} {currency.upper()}"


def _amounts(by_currency: Mapping[str, int]) -> list[str]:
    return [money(amount, currency) for currency, amount in sorted(by_currency.items()) if amount]


def _listed(found: CustomerListing) -> Result:
    return {
        "customer": found.id,
        "account": found.account,
        "name": found.name,
        "email": found.email,
        "contracts": found.contracts,
        "open": _amounts(found.open),
        "balance": _amounts(found.balances),
        "is_consolidated": found.is_consolidated,
    }


def listed(config_path: Path, *, limit: int) -> list[Result]:
    """Return customers in order of name; `balance` below zero is credit."""
    with app.reading_house(open_config(config_path)) as house, house.database.read() as unit:
        return [_listed(c) for c in people.customers(unit, house.billing.org, limit=limit)]


def shown(config_path: Path, name: str) -> Result:
    """Return one customer with contracts, open invoices and balances. Raises: RejectedError for an unknown or ambiguous name."""
    with app.reading_house(open_config(config_path)) as house, house.database.read() as unit:
        sheet = people.customer(unit, house.billing.org, name)
        today = house.now().astimezone(ZoneInfo(house.config.timezone)).date()
        contracts = books.contracts(unit, today, customer=sheet.listing.id, limit=books.LIST_ROWS)
        invoices = books.invoices(unit, status="open", customer=sheet.listing.id, limit=books.LIST_ROWS)
    details, place = sheet.details, sheet.details.address
    city = " ".join(p for p in (place.postal_code, place.city) if p)
    set_here = {None: "as the account says in the CRM", True: "set by command", False: "set by command"}[sheet.listing.is_set]
    return _listed(sheet.listing) | {
        "address": [p for p in (place.line1, city, place.state, place.country) if p],
        "tax_id": details.tax_id,
        "tax_exempt": details.tax_exempt,
        "language": details.language,
        "discounts": [f"{g.coupon.id} since {g.since.date()}" for g in sheet.given],
        "consolidation": f"{'one invoice for all contracts' if sheet.listing.is_consolidated else 'one invoice a contract'}, {set_here}",
        "contract_list": [
            {"contract": c.contract, "status": c.status, "name": c.name, "next_on": c.next_on, "value": money(c.value, c.currency)}
            for c in contracts
        ],
        "open_invoices": [
            {"number": i.number, "issued_on": i.issued_on, "due_on": i.due_on, "total": money(i.total, i.currency),
             "open": money(i.amount_open, i.currency)}
            for i in invoices
        ],
        "history": [
            {"at": m.at, "amount": money(m.amount, m.currency), "balance": money(m.ending_balance, m.currency),
             "why": m.reason or m.invoice}
            for m in sheet.moves
        ],
    }  # fmt: skip


def _currency(config_path: Path, name: str, given: str | None) -> tuple[str, str]:
    """Return the customer's id and the currency meant, lower case. Raises: ConfigError where it must be said, or is none."""
    with app.reading_house(open_config(config_path)) as house, house.database.read() as unit:
        customer_id = people.customer_named(unit, house.billing.org, name)
        known = people.currencies(unit, customer_id)
    if given is None and len(known) != 1:
        have = f"{name} is billed in {' and '.join(c.upper() for c in known)}" if known else f"{name} was never billed"
        raise bad(f"{have}; the currency of the amount is not said.", "Give --currency, such as --currency EUR.")
    currency = (given or known[0]).lower()
    try:
        digits(currency)
    except ValueError as error:
        raise bad(f"{given} is no currency.", "Write its ISO 4217 code, such as EUR.") from error
    return customer_id, currency


def adjust(config_path: Path, name: str, amount: str, *, currency: str | None, reason: str) -> Result:
    """Move a customer's balance by *amount* in major units, below zero is credit for the customer."""
    customer_id, code = _currency(config_path, name, currency)
    data: dict[str, Any] = {"customer": customer_id, "amount": minor_units(amount, code), "currency": code, "reason": reason}
    done = app.request(open_config(config_path), "customers adjust-balance", "customer.adjust", data)
    is_, was = (_in_words(int(done[key]), code) for key in ("balance", "was"))
    values = {key: str(major(int(done[key]), code)) for key in ("amount", "balance", "was")}
    return {"text": f"{done['name']} has {is_} now; it was {was}. The next invoice in {code.upper()} uses it.", **done, **values}


def _in_words(balance: int, currency: str) -> str:
    if not balance:
        return "a balance of nothing"
    return f"{money(abs(balance), currency)} {'of credit' if balance < 0 else 'to pay on top'}"


def settle(config_path: Path, name: str, *, consolidate: bool | None, follows_crm: bool) -> Result:
    """Say whether all contracts of a customer go on one invoice, or that the CRM decides."""
    if (consolidate is None) == (not follows_crm):
        raise bad("It is not said how the customer is billed.", "Give one of --consolidate, --no-consolidate and --follow-crm.")
    wanted = "crm" if consolidate is None else "yes" if consolidate else "no"
    done = app.request(open_config(config_path), "customers set", "customer.settle", {"customer": name, "consolidate": wanted})
    how = "one invoice for all contracts of a billing run" if done["is_consolidated"] else "one invoice a contract"
    differs = "" if done["is_consolidated"] == done["says_crm"] else " The account in the CRM says otherwise; this command's word counts."
    return {"text": f"{done['name']} gets {how}, from the next invoice on.{differs}", **done}


def portal_link(config_path: Path, name: str, *, is_new: bool) -> Result:
    """Return a customer's portal link; *is_new* replaces it. Raises: RejectedError for an unknown or ambiguous name."""
    config = open_config(config_path)
    with app.reading_house(config) as house, house.database.read() as unit:
        customer_id = people.customer_named(unit, house.billing.org, name)
        token = portal.links(unit, [customer_id]).get(customer_id)
    if is_new or token is None:
        app.request(config, "customers portal-link", "customer.link", {"customer": customer_id, "is_new": is_new})
        with app.reading_house(config) as house, house.database.read() as unit:
            token = portal.links(unit, [customer_id])[customer_id]
    url = portal_url(config.web.public_url, token)
    return {"text": url, "customer": customer_id, "url": url}


def discount(config_path: Path, name: str, *, coupons: str, since: str | None) -> Result:
    """Give a customer these coupons, in order of application, in place of the discounts it has; none ends them."""
    codes = [code for part in coupons.replace(";", ",").split(",") if (code := part.strip())]
    data: dict[str, Any] = {"customer": name, "coupons": codes}
    if since is not None:
        try:
            data["since"] = date.fromisoformat(since).isoformat()
        except ValueError as error:
            raise bad(f"{since} is no day.", "Write 2026-07-01.") from error
    done = app.request(open_config(config_path), "customers discount", "customer.discount", data)
    shown = ", ".join(f"{g['coupon']} (for periods from {g['since']} on)" for g in done["discounts"])
    has = f"has {shown}; contracts without discounts of their own inherit it" if shown else "has no discounts any more"
    return {"text": f"{done['name']} {has}. What is on invoices stays.", **done}
