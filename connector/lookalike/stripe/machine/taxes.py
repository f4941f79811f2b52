"""Manual tax rates on lines, and the totals of an invoice.

Exclusive tax counts on the amount after discounts; an inclusive price holds A - A / (1 + r) of tax; with both, the exclusive
rate counts on the amount less the inclusive tax. Rounded per line, or per invoice and rate (`tax_rounding` of the machine). An
exempt customer or reverse charge: no tax, and an inclusive price drops to its net (100 at 10 % -> 90.91).
Source: docs.stripe.com/billing/taxes/tax-rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine.figures import fraction_of, rounded

MOST = 5
REASONS = {"none": "standard_rated", "exempt": "customer_exempt", "reverse": "reverse_charge"}


def rates_of(account: Account, ids: Sequence[str] | str | None, param: str = "tax_rates") -> list[Data]:
    """Return the tax rates of a request. Raises: Refused (unknown, archived, more than five)."""
    if not ids or isinstance(ids, str):
        return []
    if len(ids) > MOST:
        raise Refused(f"You may apply at most {MOST} tax rates.", param=param)
    rates = [account.get("tax_rate", id_, param=param) for id_ in ids]
    for rate in rates:
        if not rate.get("active", True):
            raise Refused(f"The tax rate {rate['id']} is not active.", param=param)
    return rates


def share_of(rate: Data) -> Fraction:
    """Return a rate as a share of the amount."""
    return fraction_of(rate["percentage"]) / 100


def net_of_inclusive(amount: int, rates: Sequence[Data]) -> int:
    """Return an inclusive amount without its tax."""
    inside = sum((share_of(rate) for rate in rates if rate["inclusive"]), Fraction(0))
    return rounded(amount / (1 + inside))


def tax_line(line: Data, rates: Sequence[Data], exempt: str) -> dict[str, Fraction]:
    """Write `taxes` into a line, rounded there; return the exact amounts by rate."""
    base = line["amount"] - sum(one["amount"] for one in line["discount_amounts"])
    inside = (
        sum((share_of(rate) for rate in rates if rate["inclusive"]), Fraction(0)) if exempt == "none" else Fraction(0)
    )
    net = base / (1 + inside)
    exact = {rate["id"]: net * share_of(rate) if exempt == "none" else Fraction(0) for rate in rates}
    held = sum(rounded(exact[rate["id"]]) for rate in rates if rate["inclusive"])
    for rate in rates:
        if not rate["inclusive"] and exempt == "none":
            exact[rate["id"]] = (base - held) * share_of(rate)
    line["taxes"] = [
        {
            "amount": rounded(exact[rate["id"]]), "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
            "tax_rate_details": {"tax_rate": rate["id"]}, "taxability_reason": REASONS[exempt],
            "taxable_amount": base - held if exempt == "none" else 0, "type": "tax_rate_details",
        }
        for rate in rates
    ]  # fmt: skip
    return exact


def level(lines: Sequence[Data], exact: Sequence[dict[str, Fraction]]) -> None:
    """Round each rate once for the whole invoice; the last line with that rate takes the difference."""
    for rate in {id_: None for one in exact for id_ in one}:
        whole = rounded(sum((one[rate] for one in exact if rate in one), Fraction(0)))
        taxes = [tax for line in lines for tax in line["taxes"] if tax["tax_rate_details"]["tax_rate"] == rate]
        taxes[-1]["amount"] += whole - sum(tax["amount"] for tax in taxes)


def summed(lines: Sequence[Data]) -> list[Data]:
    """Return an invoice's `total_taxes`: the taxes of its lines by rate."""
    by_rate: dict[str, Data] = {}
    for line in lines:
        for tax in line["taxes"]:
            held = by_rate.setdefault(tax["tax_rate_details"]["tax_rate"], {**tax, "amount": 0, "taxable_amount": 0})
            held["amount"] += tax["amount"]
            held["taxable_amount"] += tax["taxable_amount"] or 0
    return list(by_rate.values())
