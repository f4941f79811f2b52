"""Requests about issued invoices: amounts come in major units of the invoice's currency and go on in minor units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.shared import TOLD, bad
from connector.billing import desk
from connector.billing.payments import WAYS
from connector.core.money import major
from connector.core.money import minor as minor_of
from connector.verbs import Result, open_config


def minor_units(amount: str, currency: str) -> int:
    """Return an amount in major units as a person writes it, in minor units. Raises: ConfigError for what is no amount."""
    try:
        value = minor_of(Decimal(amount), currency)
    except ArithmeticError as error:
        raise bad(f"{amount} is no amount.", "Write 290.00.") from error
    if not value.is_finite() or value != value.to_integral_value():
        raise bad(f"{amount} is finer than the smallest unit of {currency.upper()}.", "Round it.")
    return int(value)


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise bad(f"{text} is no day.", "Write 2026-07-01.") from error


def _currency(config_path: Path, number: str) -> str:
    with app.reading_house(open_config(config_path)) as books, books.database.read() as unit:
        return desk.held(unit, number).currency


def _ask(config_path: Path, verb: str, kind: str, data: Mapping[str, Any], say: str) -> Result:
    result = app.request(open_config(config_path), f"invoices {verb}", kind, data)
    return {"text": f"{say} {TOLD}", **result}


def pay(config_path: Path, number: str, *, amount: str | None, on: str | None, method: str | None = None, reference: str = "") -> Result:
    """Record a payment that arrived outside (bank transfer, cheque); *amount* None: all that is open."""
    if method is not None and method not in WAYS:
        raise bad(f"{method} is no way money arrives.", f"Write one of {', '.join(WAYS)}.")
    data: dict[str, Any] = {"invoice": number, "on": _day(on) if on else None, "method": method, "reference": reference}
    data["amount"] = minor_units(amount, _currency(config_path, number)) if amount else None
    return _ask(config_path, "pay", "invoice.pay", data, f"{number}: payment recorded.")


def send(config_path: Path, number: str) -> Result:
    """Write the mail of an issued invoice again; it leaves with the next round."""
    result = app.request(open_config(config_path), "invoices send", "invoice.send", {"invoice": number})
    way = "is kept here, because the org is a sandbox and `mail.test_to` is not set" if result["is_held"] else "leaves with the next round"
    if result.get("is_sent"):
        way = "was sent by Stripe (which sends none in test mode)"
    return {"text": f"{number}: the mail to {result['to']} {way}.", **result}


def void(config_path: Path, number: str) -> Result:
    """Take back an open invoice of which nothing was paid."""
    return _ask(config_path, "void", "invoice.void", {"invoice": number}, f"{number} is void; its periods are not billed again.")


def uncollectible(config_path: Path, number: str) -> Result:
    """Give up an open invoice."""
    return _ask(config_path, "uncollectible", "invoice.uncollectible", {"invoice": number}, f"{number} is given up as uncollectible.")


def due(config_path: Path, number: str, on: str) -> Result:
    """Give an open invoice another due date."""
    return _ask(config_path, "due", "invoice.due", {"invoice": number, "on": _day(on)}, f"{number} is due on {on}.")


def reissue(config_path: Path, number: str, *, reason: str) -> Result:
    """Issue an invoice again with today's customer data, the old one void or credited."""
    result = app.request(open_config(config_path), "invoices reissue", "invoice.reissue", {"invoice": number, "reason": reason})
    how = f"credited by {result['note']}" if result["note"] else "void"
    return {"text": f"{number} is {how}; {result['number']} stands in its place. {TOLD}", **result}


def refund(config_path: Path, number: str, *, amount: str | None, reason: str) -> Result:
    """Give back what was paid, all of it or *amount*, with a credit note."""
    data: dict[str, Any] = {"invoice": number, "reason": reason}
    if amount:
        data["amount"] = minor_units(amount, _currency(config_path, number))
    return _noted(config_path, "refund", "invoice.refund", data)


def credit(
    config_path: Path,
    number: str,
    *,
    amount: str | None,
    lines: Mapping[str, Sequence[str]],
    back: Mapping[str, str | None],
    reason: str,
) -> Result:
    """Credit an invoice by amount (with tax), or by *lines*: amount - "N=AMOUNT" before tax on top, quantity - "N=QUANTITY".

    back - by way (refund, credit, out_of_band) an amount or all.
    """
    currency = _currency(config_path, number)
    chosen: list[dict[str, Any]] = []
    for name, texts in lines.items():
        for text in texts:
            line, _, value = text.partition("=")
            if not line.isdecimal() or not value:
                raise bad(f"{text} names no line.", "Write 1=60.00, or 1=2 for a quantity.")
            chosen.append({"line": int(line), name: minor_units(value, currency) if name == "amount" else value})
    data: dict[str, Any] = {"invoice": number, "reason": reason, "lines": chosen}
    if amount:
        data["amount"] = minor_units(amount, currency)
    data |= {way: value if value == "all" else minor_units(value, currency) for way, value in back.items() if value}
    return _noted(config_path, "credit", "invoice.credit", data)


def _noted(config_path: Path, verb: str, kind: str, data: Mapping[str, Any]) -> Result:
    """Ask for a credit note and return what it took, in major units."""
    result = app.request(open_config(config_path), f"invoices {verb}", kind, data)
    currency = str(result["currency"])
    amounts = {k: str(major(int(result[k]), currency)) for k in ("total", "reduced", "refunded", "credited", "out_of_band", "open")}
    text = f"{result['note']}: {amounts['total']} {currency.upper()} of {result['invoice']} credited, {amounts['open']} stays open. {TOLD}"
    return {"text": text, **result, **amounts}
