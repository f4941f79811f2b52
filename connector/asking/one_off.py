"""What is billed beside the contracts: a one-off invoice from a file, and an item that waits for the next invoice (decision D-132).

In a file an amount is either `unit_amount`, in minor units as in scenarios, or `unit_price`, in major units; options of commands
are in major units. Worked example: `unit_amount: 29000` and `unit_price: 290.00` are the same 290.00 EUR.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from connector import app
from connector.asking import contracts
from connector.asking.invoices import minor_units
from connector.asking.shared import bad, file_of, said_text
from connector.billing import books, customers
from connector.core.money import digits, major
from connector.core.money import minor as minor_of
from connector.errors import ConfigError, Problem
from connector.kit.yamlpos import Located
from connector.sync import intents
from connector.verbs import Result, open_config

_KEYS = ("account", "customer", "currency", "lines", "contract", "days_until_due", "po_number", "memo", "description", "id")
_LINE_KEYS = ("description", "quantity", "unit_amount", "unit_price", "tax")


def create(config_path: Path, file: Path) -> Result:
    """Issue the one-off invoice that a YAML or JSON file describes. Raises: ConfigError with every problem of the file, in order."""
    data, config = read_invoice(file_of(file, wanted="account, currency and lines")), open_config(config_path)
    name = str(data.pop("id", "") or "")
    key = intents.named("invoice.create", name) if name else None
    earlier = None
    if key is not None:
        data["said"] = said_text(data)
        with app.reading_house(config) as books_now, books_now.database.read() as unit:
            earlier = intents.done_before(unit, key, data["said"], f"The invoice {name}")
    result = earlier or app.request(config, "invoices create", "invoice.create", data, key=key)
    total = major(int(result["total"]), str(result["currency"]))
    how = "was issued before, by the same file; nothing was done." if earlier else "is issued."
    return {"text": f"{result['number']} over {total} {str(result['currency']).upper()} {how}", **result, "total": str(total)}


def read_invoice(located: Located) -> dict[str, Any]:
    """Return a file's invoice with amounts in minor units. Raises: ConfigError with every problem of the file, in order."""
    said: Mapping[str, Any] = located.value
    problems: list[Problem] = _unknown(located, said, (), _KEYS)
    if not (said.get("account") or said.get("customer")):
        problems.append(located.problem("no-customer", (), "It is not said who is billed.", "Add `account:` with the CRM account's id, or `customer:`."))
    currency = str(said.get("currency") or "").lower()
    try:
        digits(currency)
    except ValueError:
        message = f"{said['currency']} is no currency." if currency else "The currency is not said."
        problems.append(located.problem("bad-currency", ("currency",), message, "Write its ISO 4217 code, such as `currency: eur`."))
        currency = "eur"
    entries = said.get("lines")
    if not isinstance(entries, list) or not entries:
        problems.append(located.problem("no-lines", ("lines",), "The invoice has no lines.", "Add `lines:`, each with description and unit_price."))
        entries = []
    lines = [_line(located, entry, n, currency, problems) for n, entry in enumerate(entries)]
    if problems:
        raise ConfigError(problems)
    return {**{k: v for k, v in said.items() if k != "description"}, "currency": currency, "lines": lines}


def _unknown(located: Located, said: Mapping[str, Any], path: tuple[Any, ...], known: tuple[str, ...]) -> list[Problem]:
    found = []
    for key in said:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            hint = f"Did you mean `{near[0]}`?" if near else f"Known are {', '.join(known)}."
            found.append(located.problem("unknown-key", (*path, key), f"`{key}` is no key here.", hint, at_key=True))
    return found


def _line(located: Located, entry: Any, number: int, currency: str, problems: list[Problem]) -> dict[str, Any]:
    path: tuple[Any, ...] = ("lines", number)
    if not isinstance(entry, dict):
        problems.append(located.problem("wrong-type", path, "A line is a mapping.", "Write description and unit_price."))
        return {}
    problems += _unknown(located, entry, path, _LINE_KEYS)
    read: dict[str, Any] = {"description": str(entry.get("description") or "")}
    for key in ("quantity", "tax"):
        if entry.get(key) is not None:
            value = _decimal(entry[key])
            if value is None:
                problems.append(located.problem("bad-number", (*path, key), f"{entry[key]} is no number.", "Write 2 or 1.5."))
            read[key] = str(value)
    amount, said = _unit_amount(entry, currency)
    if amount is None:
        named = next((k for k in ("unit_amount", "unit_price") if k in entry), None)
        hint = f"Write either unit_price in {currency.upper()}, such as 290.00, or unit_amount in the smallest unit, such as {minor_of(Decimal(290), currency):f}."
        problems.append(located.problem("bad-amount", (*path, named) if named else path, said, hint))
    return read | {"unit_amount": str(amount)}


def _unit_amount(entry: Mapping[str, Any], currency: str) -> tuple[Decimal | None, str]:
    """Return the amount of one in minor units, or None with what is wrong with it."""
    given = [k for k in ("unit_amount", "unit_price") if entry.get(k) is not None]
    if len(given) != 1:
        return None, "The line has two amounts." if given else "The line has no amount."
    said = entry[given[0]]
    value = _decimal(said)
    if value is None:
        return None, f"{said} is no amount."
    if given[0] == "unit_price":
        return minor_of(value, currency), ""
    is_whole_with_point = isinstance(said, str) and "." in said and value == value.to_integral_value()
    if not isinstance(said, (int, str)) or is_whole_with_point:
        return None, f"unit_amount is in the smallest unit of {currency.upper()}; {said} looks like an amount in {currency.upper()}."
    return value, ""


def _decimal(said: Any) -> Decimal | None:
    if isinstance(said, bool):
        return None
    try:
        value = Decimal(str(said))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


# ---------------------------------------------------------------- an item that waits


def add_item(  # noqa: PLR0913 - one value of the item each
    config_path: Path, name: str, *, description: str, price: str, quantity: str, currency: str | None, contract: str | None, is_dry: bool
) -> Result:  # fmt: skip
    """Let an item wait for the next invoice of a customer, or of its *contract*; *price* of one in major units.

    It is a one-time item of the contract whose invoice comes next, so that it is taxed and discounted like the contract's lines;
    where that is billed ahead, it is billed at the next renewal date all the same.
    """
    chosen, code = _next_contract(config_path, name, currency, contract)
    if _decimal(quantity) is None:
        raise bad(f"{quantity} is no quantity.", "Write 2 or 1.5.")
    item = f"item-{secrets.token_hex(4)}"
    action = {
        "do": "amend",
        "prices": {item: {"unit_amount": minor_units(price, code), "product": description}},
        "add_invoice_items": [{"price": item, "quantity": quantity}],
        "proration_behavior": "create_prorations",
    }
    done = contracts.change(config_path, chosen, action, is_dry=is_dry)
    what = f"{quantity} x {description} at {price} {code.upper()}"
    text = f"Nothing was written. {what} would go" if is_dry else f"{what} goes"
    return {**done, "text": f"{text} on the next invoice of {chosen}."}


def _next_contract(config_path: Path, name: str, currency: str | None, contract: str | None) -> tuple[str, str]:
    """Return the contract whose invoice comes next, and its currency. Raises: ConfigError where none fits."""
    with app.reading_house(open_config(config_path)) as house, house.database.read() as unit:
        customer_id = customers.customer_named(unit, house.billing.org, name)
        today = house.now().date()
        found = books.contracts(unit, today, customer=customer_id, limit=books.LIST_ROWS)
    running = [c for c in found if c.next_on is not None and (contract is None or contract in (c.contract, c.deal))]
    if currency is not None:
        running = [c for c in running if c.currency == currency.lower()]
    if not running:
        what = f"no contract {contract}" if contract else "no contract"
        wanted = f" in {currency.upper()}" if currency else ""
        raise bad(f"{name} has {what}{wanted} that will be billed again.", "Issue an invoice at once: `connector invoices create FILE`.")
    codes = sorted({c.currency.upper() for c in running})
    if len(codes) > 1:
        raise bad(f"{name} is billed in {' and '.join(codes)}; the currency of the price is not said.", "Give --currency, such as --currency EUR.")
    first = min(running, key=lambda c: (c.next_on or today, c.contract))
    return first.contract, first.currency
