"""Lines of Stripe's invoices as the engine's: taxes are known by our rates, so that a credit bears them again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from test_stripe_pushing import LINE

from connector.billing.stripe_backend.reading.lines import Taxes, billed

OURS: Taxes = (("vat", 3929, False), ("city", 1021, False), ("held", 834, True))


def taxed(*taxes: tuple[str, int, bool], lines: int = 3) -> Taxes:
    """Return the taxes of a line that Stripe taxed so, on an invoice of so many lines."""
    data: dict[str, Any] = {
        "amount": 20_415,
        "taxes": [{"amount": a, "tax_behavior": "inclusive" if i else "exclusive", "tax_rate_details": {"tax_rate": r}} for r, a, i in taxes],
    }
    invoice = {"currency": "eur", "lines": {"data": [data] * lines}}
    return billed(replace(LINE, amount=20_415, taxes=OURS), data, invoice).taxes


def test_a_tax_that_rounding_moved_keeps_the_name_of_our_rate() -> None:
    """Rounded once for the invoice a line may bear a cent more, in whatever order Stripe names its rates."""
    assert taxed(("txr_3", 834, True), ("txr_2", 1021, False), ("txr_1", 3930, False)) == (("held", 834, True), ("city", 1021, False), ("vat", 3930, False))


def test_a_tax_of_another_rate_keeps_the_name_that_it_has_at_stripe() -> None:
    """What somebody changed in the Dashboard is none of our rates: a credit gives it back by Stripe's own."""
    assert taxed(("txr_9", 4100, False), ("txr_2", 1021, False), ("txr_3", 834, True)) == (("txr_9", 4100, False), ("txr_2", 1021, False), ("held", 834, True))
    assert taxed(("txr_9", 4100, False)) == (("txr_9", 4100, False),)
