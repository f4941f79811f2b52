"""EU VAT of a seller in a member state, for services: who is taxed, where, and at which standard rate.

The customer's country decides for consumers, its own for customers in the seller's country. A business elsewhere in the EU with a
well-formed VAT id accounts for the tax itself; outside the EU's VAT area none is charged, and the invoice says why.

Worked example: a French seller charges a Paris account 20 %, a Berlin one without VAT id 19 %, one with DE136695976 nothing with
the note on reverse charge, and one in New York nothing because it is outside.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files

from connector.core.terms import DatedRates
from connector.errors import Problem
from connector.ports import AccountTax, CustomerDetails
from connector.tax import places, vat_ids
from connector.tax.rates import ListedRate, dated, no_country

NAME = "VAT"


@cache
def standard_rates() -> Mapping[str, tuple[ListedRate, ...]]:
    """Return the shipped standard rates by place, oldest first: a member state, or a part of one with its own."""
    text = files("connector.tax").joinpath("eu_vat.csv").read_text(encoding="ascii")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    found: dict[str, tuple[ListedRate, ...]] = {}
    for row in rows:
        rate = ListedRate(
            country=row["place"], percentage=Decimal(row["percentage"]), name=f"{NAME} {row['place'].split('-')[0]}",
            valid_from=date.fromisoformat(row["valid_from"]),
        )  # fmt: skip
        found[rate.country] = (*found.get(rate.country, ()), rate)
    return found


def is_member(country: str) -> bool:
    """Whether a country is a member state; Monaco is taxed as France."""
    return country in standard_rates() or country == "MC"


class EuVat:
    """The tax source of `tax: {kind: eu_vat}`; *is_inclusive*: prices contain the tax."""

    def __init__(self, *, seller_country: str, is_inclusive: bool = False) -> None:
        self._home = "FR" if seller_country == "MC" else seller_country
        self._is_inclusive = is_inclusive
        self._rates: Mapping[str, DatedRates] = {
            place: dated([replace(r, is_inclusive=is_inclusive) for r in listed]) for place, listed in standard_rates().items()
        }

    def tax_of(self, customer: CustomerDetails) -> AccountTax:
        """Return the standard rates of the place that taxes the customer, why there are none, or what is wrong with the account."""
        country = places.country_code(customer.address.country)
        if country is None:
            # who is exempt needs no country, unless the price must be freed of its rate
            if customer.tax_exempt == "exempt" and not self._is_inclusive:
                return AccountTax(exempt="exempt", note="exempt")
            return AccountTax(problem=no_country(customer))
        place = places.place_of(country, customer.address)
        if customer.tax_exempt == "exempt":
            return AccountTax(exempt="exempt", rates=self._inside(place), note="exempt", place=places.country_name(place))
        if place not in self._rates:
            return self._outside(place, customer)
        return self._within(country, place, customer)

    def _inside(self, place: str) -> DatedRates:
        """Return the rates that an untaxed customer's price is freed of."""
        return self._rates.get(place, ()) if self._is_inclusive else ()

    def _outside(self, place: str, customer: CustomerDetails) -> AccountTax:
        if places.PARTS.get(place) == self._home:
            name = places.country_name(place)
            return AccountTax(
                problem=Problem(
                    code="tax-territory",
                    message=f"Not billed: the account {customer.name} is in {name}, which has tax rules of its own within {places.country_name(self._home)}.",
                    hint="If no VAT is due, set Tax Exempt to Exempt on the account; else the administrator lists a rate (`tax: {kind: rates}`).",
                )
            )
        return AccountTax(note=f"outside:{place}")

    def _within(self, country: str, place: str, customer: CustomerDetails) -> AccountTax:
        state = place.split("-", maxsplit=1)[0]
        name = places.country_name(place)
        vat_id = customer.tax_id.strip()
        is_reverse = customer.tax_exempt == "reverse"
        if is_reverse or (state != self._home and vat_id):
            problem = _wrong_id(vat_id, state, customer)
            if problem is not None:
                return AccountTax(problem=problem)
            return AccountTax(exempt="reverse", rates=self._inside(place), note="reverse_eu", place=name)
        if places.needs_postal_code(country) and not customer.address.postal_code.strip():
            return AccountTax(
                problem=Problem(
                    code="tax-address-missing",
                    message=f"Not billed: the account {customer.name} has no billing postal code, and parts of {name} have a VAT of their own.",
                    hint="Fill in the billing address of the account.",
                )
            )
        return AccountTax(rates=self._rates[place], place=name)


def _wrong_id(vat_id: str, state: str, customer: CustomerDetails) -> Problem | None:
    """Return what is wrong with the VAT id of a customer who is to account for the tax itself, None: nothing."""
    name = places.country_name(state)
    if not vat_id:
        return Problem(
            code="tax-id-missing",
            message=f"Not billed: the account {customer.name} is marked Reverse charge but has no VAT id.",
            hint="Fill in the Tax ID of the account, or clear Tax Exempt.",
        )
    if not vat_ids.is_well_formed(vat_id):
        return Problem(
            code="tax-id-malformed",
            message=f"Not billed: {vat_id!r} on the account {customer.name} is no valid EU VAT id.",
            hint="Correct the Tax ID, with its country letters (such as DE136695976); clear it if the customer is no business.",
        )
    if vat_ids.country_of(vat_id) != state:
        return Problem(
            code="tax-id-country",
            message=f"Not billed: the VAT id {vat_id} of the account {customer.name} is not one of {name}, where its billing address is.",
            hint="Correct the Tax ID or the billing address, so that both name one country.",
        )
    return None
