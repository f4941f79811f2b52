"""A customer's discounts as its row keeps them: coupons as they were given, each with the day from which it counts (D-120)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from connector.billing.catalogue import as_text, coupon_of, coupon_to_data
from connector.core.lines import Given


@lru_cache(maxsize=4_096)
def given_of(text: str) -> tuple[Given, ...]:
    """Return the discounts that `given_text` wrote."""
    return tuple(
        Given(coupon=coupon_of(g["coupon"], as_text(g["data"])), since=datetime.fromisoformat(g["since"]), currency=g["currency"])
        for g in json.loads(text)
    )


def given_text(given: Sequence[Given]) -> str:
    """Return discounts as the JSON text of their column, in order of application."""
    rows = [
        {"coupon": g.coupon.id, "since": g.since.date().isoformat(), "currency": g.currency, "data": coupon_to_data(g.coupon)} for g in given
    ]
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False)
