"""The rates that a seller lists in the configuration: by country, and where it matters by region, each from its day on.

Worked example: Canada with 5 % and Quebec with 5 % and 9.975 % tax a customer in Ontario with 5 % and one in Quebec with both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from connector.core.terms import DatedRates, TaxRate
from connector.errors import Problem
from connector.ports import AccountTax, CustomerDetails, exempt_note
from connector.tax.places import country_code, country_name

EVERYWHERE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRate:
    """One rate of the list: *percentage* 0 to 100, of a country's code or "*" for all others, *region* "" for all of it."""

    country: str
    percentage: Decimal
    name: str
    region: str = ""
    is_inclusive: bool = False
    valid_from: date = date.min


def rate_label(name: str, percentage: Decimal) -> str:
    """Return what the invoice calls a rate: "VAT 25.5%"."""
    return f"{name} {percentage.normalize():f}%"


def dated(listed: Sequence[ListedRate]) -> DatedRates:
    """Return the rates of one place by day; of those with one name the latest holds, different names add up."""
    found: list[tuple[date, tuple[TaxRate, ...]]] = []
    for day in sorted({r.valid_from for r in listed}):
        holding = {r.name: r for r in sorted(listed, key=lambda r: r.valid_from) if r.valid_from <= day}
        rates = (
            TaxRate(id=rate_label(r.name, r.percentage), percentage=r.percentage, inclusive=r.is_inclusive)
            for r in holding.values()
        )
        found.append((day, tuple(rates)))
    return tuple(found)


class ListedRates:
    """The tax source of `tax: {kind: rates}`."""

    def __init__(self, listed: Sequence[ListedRate]) -> None:
        places: dict[tuple[str, str], list[ListedRate]] = {}
        for rate in listed:
            places.setdefault((rate.country, rate.region.casefold()), []).append(rate)
        self._places = {place: dated(rates) for place, rates in places.items()}

    def tax_of(self, customer: CustomerDetails) -> AccountTax:
        """Return the rates of the customer's region, else of its country, else of everywhere; without any, the problem."""
        note = exempt_note(customer)
        country = country_code(customer.address.country)
        region = customer.address.state.strip()
        rates: DatedRates | None = None
        problem: Problem | None = None
        if country is None:
            problem = no_country(customer)
        else:
            known = ((country, region.casefold()), (country, ""), (EVERYWHERE, ""))
            rates = next((self._places[place] for place in known if place in self._places), None)
            if rates is None:
                problem = self._no_rate(country, region, customer)
        if customer.tax_exempt != "none":
            # an exempt customer needs no rate but to free an inclusive price of it
            is_inside = any(r.inclusive for found in self._places.values() for _, held in found for r in held)
            problem, rates = (problem, rates) if is_inside else (None, ())
        return AccountTax(
            exempt=customer.tax_exempt, rates=rates or (), note=note, place=country_name(country or ""), problem=problem
        )

    def _no_rate(self, country: str, region: str, customer: CustomerDetails) -> Problem:
        name = country_name(country)
        if any(place[0] == country for place in self._places):
            said = f"the state or province {region!r}" if region else "no state or province"
            return Problem(
                code="tax-rate-missing",
                message=f"Not billed: there are tax rates for parts of {name} only, and the account {customer.name} has {said}.",
                hint="Fill in the state of the billing address as the configuration writes it, or list a rate for it there.",
            )
        return Problem(
            code="tax-rate-missing",
            message=f"Not billed: no tax rate is listed for {name}, where the account {customer.name} is.",
            hint="Ask the administrator to list one in the configuration (`tax: rates:`), or correct the billing country.",
        )


def no_country(customer: CustomerDetails) -> Problem:
    """Return the problem of a customer whose country is missing or unknown."""
    written = customer.address.country.strip()
    if not written:
        return Problem(
            code="tax-country-missing",
            message=f"Not billed: the account {customer.name} has no billing country, so its tax is unknown.",
            hint="Fill in the billing address of the account.",
        )
    return Problem(
        code="tax-country-unknown",
        message=f"Not billed: the billing country {written!r} of the account {customer.name} is not known, so its tax is unknown.",
        hint="Write the country's name or its two-letter code, such as FR.",
    )
