"""Values as columns have them: from the JSON text of terms and changes back to values, from an instant to its text.

Most of a contract's text is its prices, and many contracts share few prices, so that a price is read once for all of them. Lines
of a run share few instants, so that each is written once.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from connector.core.terms import Change, ContractTerms, Price, change_from_data, price_from_data, terms_from_data

INSTANTS_KEPT = 4096  # instants that were written last
PRICES_KEPT = 4096  # prices that were read last; one takes about a kilobyte


class _Terms(msgspec.Struct, kw_only=True):
    """Terms as their text has them, each price still as text."""

    v: int = 0
    body: dict[str, Any]
    prices: dict[str, msgspec.Raw] = {}
    coupons: dict[str, Any] = {}
    tax_rates: dict[str, Any] = {}


_decoded = msgspec.json.Decoder(_Terms).decode


@lru_cache(maxsize=PRICES_KEPT)
def _price(text: bytes) -> Price:
    return price_from_data(msgspec.json.decode(text))


@lru_cache(maxsize=INSTANTS_KEPT)
def local_text(at: datetime) -> str:
    """Return a local instant as the books write it."""
    return at.isoformat()


def terms_from_text(text: str) -> ContractTerms:
    """Return terms; ValueError if another version wrote them."""
    found = _decoded(text)
    prices = {name: _price(bytes(raw)) for name, raw in found.prices.items()}
    lists = {"prices": prices, "coupons": found.coupons, "tax_rates": found.tax_rates}
    return terms_from_data({"v": found.v, **lists, "body": found.body})


def change_from_text(text: str) -> Change:
    """Return a change; ValueError if another version wrote it."""
    return change_from_data(msgspec.json.decode(text))
