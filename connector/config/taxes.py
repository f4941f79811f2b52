"""The `tax:` block of the configuration: which kind, and the rates that it lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from connector.kit.yamlpos import Path as At
from connector.tax import vat_ids
from connector.tax.eu import is_member
from connector.tax.places import country_code
from connector.tax.rates import EVERYWHERE, ListedRate

_KEYS = ("country", "region", "name", "percentage", "inclusive", "valid_from")
_DECIMALS = 4
_SAMPLE = "Write {country: DE, percentage: 19, name: VAT}."


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxConfig:
    """How tax is charged; stripe: Stripe Tax knows. rates - of kind rates. is_inclusive - of kind eu_vat: prices contain the tax."""

    kind: Literal["none", "rates", "eu_vat", "stripe"] = "none"
    rates: tuple[ListedRate, ...] = ()
    is_inclusive: bool = False


class Reader(Protocol):
    """What is used of the configuration's reader: values by path, and a place for problems."""

    def raw(self, path: At) -> Any:
        """Return a value as written, None where there is none."""

    def choice(self, path: At, known: tuple[str, ...], default: Any) -> Any:
        """Return one of the known words."""

    def add(self, code: str, path: At, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem."""


def read_tax(reader: Reader, seller_country: str, seller_vat_id: str, *, backend: str = "internal") -> TaxConfig:
    """Return the block; what is wrong with it, or lacks of the seller, is noted with the reader."""
    kind = reader.choice(("tax", "kind"), ("none", "rates", "eu_vat", "stripe"), "none")
    if kind == "stripe" and backend != "stripe":
        text = "`kind: stripe` lets Stripe Tax find the tax of the invoices that Stripe issues; here they are ours."
        reader.add("bad-value", ("tax", "kind"), text, "Choose none, rates or eu_vat, or set `billing: {backend: stripe}`.")
    listed = reader.raw(("tax", "rates"))
    if kind != "rates" and listed is not None:
        reader.add("bad-value", ("tax", "rates"), f"`rates` are not used with `kind: {kind}`.", "Remove them, or write `kind: rates`.")
    if kind != "eu_vat" and reader.raw(("tax", "inclusive")) is not None:
        hint = "Remove it; with `kind: rates` each rate says `inclusive` itself."
        reader.add("bad-value", ("tax", "inclusive"), f"`inclusive` is not used with `kind: {kind}`.", hint)
    if kind == "eu_vat":
        _check_seller(reader, seller_country, seller_vat_id)
        return TaxConfig(kind="eu_vat", is_inclusive=_flag(reader, ("tax", "inclusive"), reader.raw(("tax", "inclusive"))))
    return TaxConfig(kind=kind, rates=_rates(reader, listed) if kind == "rates" else ())


def _check_seller(reader: Reader, country: str, vat_id: str) -> None:
    """EU VAT is charged by a seller in a member state, with its VAT id on every invoice."""
    if not is_member(country):
        text = f"`tax: {{kind: eu_vat}}` is for sellers in the EU; the seller's country is {country or 'not said'}."
        reader.add("bad-value", ("seller", "country"), text, "Write `seller: {country: FR}`, or choose `tax: {kind: rates}`.")
    if not vat_id:
        reader.add("missing-key", ("seller",), "`seller.vat_id` must be said with `tax: {kind: eu_vat}`.", "It stands on every invoice.")
    elif not vat_ids.is_well_formed(vat_id):
        hint = "Write it with its country letters, such as FR40303265045."
        reader.add("bad-value", ("seller", "vat_id"), f"{vat_id!r} is no valid EU VAT id.", hint)


def _flag(reader: Reader, at: At, value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    reader.add("bad-type", at, f"`{at[-1]}` is true or false.", "Write true or false, without quotes.")
    return False


def _rates(reader: Reader, listed: Any) -> tuple[ListedRate, ...]:
    if not isinstance(listed, list) or not listed:
        reader.add("missing-key", ("tax",), "`tax.rates` lists at least one rate.", _SAMPLE)
        return ()
    found: list[ListedRate] = []
    for number, node in enumerate(listed):
        at: At = ("tax", "rates", number)
        rate = _rate(reader, at, node)
        if rate is None:
            continue
        if any(_place(rate) == _place(other) for other in found):
            text = f"{rate.name} of {rate.country} {rate.region} from this day is listed twice."
            reader.add("duplicate-rate", at, text, "Give it another `valid_from` or `name`, or remove one.")
        found.append(rate)
    return tuple(found)


def _place(rate: ListedRate) -> tuple[str, str, str, date]:
    return rate.country, rate.region.casefold(), rate.name, rate.valid_from


def _rate(reader: Reader, at: At, node: Any) -> ListedRate | None:
    if not isinstance(node, dict) or "country" not in node or "percentage" not in node:
        reader.add("missing-key", at, "A rate has a `country` and a `percentage`.", _SAMPLE)
        return None
    for key in node:
        if key not in _KEYS:
            reader.add("unknown-key", (*at, key), f"There is no key `{key}` here.", f"Known: {', '.join(_KEYS)}.", at_key=True)
    # `NO` is false in YAML 1.1, and a country here
    written = "NO" if node["country"] is False else str(node["country"])
    country = EVERYWHERE if written == EVERYWHERE else country_code(written)
    if country is None:
        hint = 'Write a two-letter code such as DE, or "*" for every country that is not listed.'
        reader.add("bad-value", (*at, "country"), f"There is no country {written!r}.", hint)
        return None
    return ListedRate(
        country=country, percentage=_percentage(reader, (*at, "percentage"), node["percentage"]), name=str(node.get("name") or "Tax"),
        region=str(node.get("region") or "").strip(), is_inclusive=_flag(reader, (*at, "inclusive"), node.get("inclusive")),
        valid_from=_day(reader, (*at, "valid_from"), node),
    )  # fmt: skip


def _percentage(reader: Reader, at: At, value: Any) -> Decimal:
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        percentage = Decimal(value)
        exponent = percentage.normalize().as_tuple().exponent
        if 0 <= percentage <= 100 and isinstance(exponent, int) and -exponent <= _DECIMALS:
            return percentage
    reader.add("bad-value", at, f"`percentage` cannot be {value!s}.", "Write a number from 0 to 100 with up to 4 decimals, such as 8.1.")
    return Decimal(0)


def _day(reader: Reader, at: At, node: Mapping[str, Any]) -> date:
    value = node.get("valid_from")
    if value is None:
        return date.min
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        reader.add("bad-value", at, f"{value!s} is no day.", "Write 2026-01-01.")
        return date.min
