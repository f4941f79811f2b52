"""The customer and what concerns all its invoices: details, tax ids and rates, how they are collected and labelled."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from connector.billing.stripe_backend.compiling.prices import digest
from connector.billing.stripe_backend.steps import Push, Ref, Step
from connector.core.terms import TaxRate
from connector.core.values import dataclass
from connector.ports import CustomerDetails, HowBilled

NUMBER, FORMER = "tax-number", "former-tax-number"
"""Names of the steps that give a customer its tax number, and take the former one away."""

_EU = ("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "EL", "ES", "FI", "FR", "HR", "HU", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL",
       "PT", "RO", "SE", "SI", "SK", "XI")  # fmt: skip
_ELSEWHERE = {
    "GB": "gb_vat", "CH": "ch_vat", "CHE": "ch_vat", "NO": "no_vat", "US": "us_ein", "AU": "au_abn", "CA": "ca_bn", "NZ": "nz_gst", "IN": "in_gst",
    "JP": "jp_cn", "SG": "sg_gst", "MX": "mx_rfc", "BR": "br_cnpj", "ZA": "za_vat", "TR": "tr_tin", "AE": "ae_trn", "SA": "sa_vat",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What Stripe knows of a customer: its id there, a digest of the details it was told, and the tax number that we gave it, with its id.

    tax_number - type and value, "eu_vat DE123456789". "" for what it does not know.
    """

    stripe_id: str = ""
    digest: str = ""
    tax_id: str = ""
    tax_number: str = ""


def tax_id_type(tax_id: str, country: str) -> str | None:
    """Return how Stripe calls a tax id, None where we cannot tell: an EU number by its own letters, any other by the country's code."""
    text = tax_id.replace(" ", "").upper()
    place = country.strip().upper()
    if text[:2] in _EU and text[2:3].isalnum():
        return "eu_vat"
    if text[:3] == "CHE":
        return "ch_vat"
    if text[:2] == "GB":
        return "gb_vat"
    return _ELSEWHERE.get(place)


def is_code(country: str) -> bool:
    """Whether a country is given as its code."""
    return len(country) == 2 and country.isalpha()


def tax_number(details: CustomerDetails) -> str:
    """Return type and value of a customer's tax number as Stripe takes them, "" where there is none or nobody can tell which it is."""
    kind = tax_id_type(details.tax_id, details.address.country) if details.tax_id else None
    if kind is None:
        return ""
    value = " ".join(details.tax_id.split())
    if kind in ("eu_vat", "gb_vat"):
        value = re.sub(r"[\s.\-]", "", value).upper()
    return f"{kind} GB{value}" if kind == "gb_vat" and value[:2].isdigit() else f"{kind} {value}"


def customer_params(customer_id: str, details: CustomerDetails, org: str, *, is_new: bool) -> dict[str, Any]:
    """Return a customer as Stripe has it, without its tax number; of one that is there what is empty is emptied, too."""
    address = details.address
    lines = {
        "line1": address.line1, "city": address.city, "postal_code": address.postal_code, "state": address.state, "country": address.country,
    }  # fmt: skip
    params: dict[str, Any] = {
        "name": details.name[:256], "tax_exempt": details.tax_exempt,
        "metadata": {"connector_customer": customer_id, "connector_org": org, "crm_account": details.account},
    }  # fmt: skip
    if details.email or not is_new:
        params["email"] = details.email
    if any(lines.values()):
        params["address"] = {k: v for k, v in lines.items() if v}  # an address takes the place of the former as a whole
    elif not is_new:
        params["address"] = ""
    if details.language:  # Stripe takes no empty list: the language it was told last stays
        params["preferred_locales"] = [details.language]
    return params


def customer_step(customer_id: str, details: CustomerDetails, org: str) -> Step:
    """Return the step that finds or makes the customer; its answer's `id` is the customer."""
    params = customer_params(customer_id, details, org, is_new=True)
    return Step(name="customer", call="customers.create", shared=("customer", customer_id), params=params)


def people_steps(customer_id: str, details: CustomerDetails, org: str, told: Told, *, customer: str = "") -> list[Step]:
    """Return the steps that find or make a customer, and tell Stripe what it does not know of it yet.

    customer - its id there, "" where the step `customer` gives it.
    """
    steps = [] if customer else [customer_step(customer_id, details, org)]
    if told.digest == told_of(customer_id, details, org):
        return steps
    target: str | Ref = customer or Ref(step="customer")
    known = customer or told.stripe_id
    if known:
        params = customer_params(customer_id, details, org, is_new=False)
        steps.append(Step(name="details", call="customers.update", target=target, params=params))
    number = tax_number(details)
    if number != told.tax_number:
        if number:
            kind, _, value = number.partition(" ")
            steps.append(Step(name=NUMBER, call="customers.tax_ids.create", target=target, params={"type": kind, "value": value}))
        if told.tax_id and known:
            steps.append(Step(name=FORMER, call="customers.tax_ids.delete", target=f"{known}/{told.tax_id}"))
    return steps


def told_of(customer_id: str, details: CustomerDetails, org: str) -> str:
    """Return a digest of the details as they are sent."""
    return digest(customer_params(customer_id, details, org, is_new=False), tax_number(details))


def told_by(push: Push, before: Told) -> tuple[str, Told] | None:
    """Return which customer of ours the steps of a push told Stripe of, and what it knows now; None where they told it nothing."""
    named = next((s for s in push.plan.steps if s.name in ("customer", "details") and s.name in push.results), None)
    customer_id = (named.params.get("metadata") or {}).get("connector_customer") if named is not None else None
    if named is None or not customer_id:
        return None
    steps = {s.name: s for s in push.plan.steps}
    is_told = all(name in push.results for name in (NUMBER, FORMER) if name in steps)
    after = replace(before, digest=push.plan.held.told if is_told and push.plan.held.told else before.digest)
    if NUMBER in push.results:
        params = steps[NUMBER].params
        after = replace(after, tax_id=str(push.results[NUMBER].get("id") or ""), tax_number=f"{params['type']} {params['value']}")
    elif FORMER in push.results:
        after = replace(after, tax_id="", tax_number="")
    return str(customer_id), after


def rate_key(rate: TaxRate) -> str:
    """Return the key of a tax rate as an object of ours."""
    return digest(rate.id, f"{rate.percentage.normalize():f}", rate.inclusive)


def rate_step(rate: TaxRate) -> Step:
    """Return the step that finds or makes a tax rate."""
    key = rate_key(rate)
    params = {"display_name": rate.id[:50], "percentage": float(rate.percentage), "inclusive": rate.inclusive, "metadata": {"connector_key": key}}
    return Step(name=f"rate-{key}", call="tax_rates.create", shared=("tax_rate", key), params=params)


def known_rate_step(key: str) -> Step:
    """Return the step that finds a tax rate that is there already."""
    return Step(name=f"rate-{key}", call="tax_rates.create", shared=("tax_rate", key), params={"metadata": {"connector_key": key}})


def collection(how: HowBilled) -> dict[str, Any]:
    """Return how an invoice of ours is collected and what it bears, as `invoices.create` takes it."""
    params: dict[str, Any] = {"collection_method": how.collection_method}
    if how.collection_method == "send_invoice":
        params["days_until_due"] = how.days_until_due
    return params | _labels(how)


def _labels(how: HowBilled) -> dict[str, Any]:
    params: dict[str, Any] = {}
    if how.po_number:
        params["custom_fields"] = [{"name": "PO number", "value": how.po_number[:140]}]
    if how.memo:
        params["description"] = how.memo[:500]
    return params


def subscribed(how: HowBilled, *, automatic_tax: bool) -> dict[str, Any]:
    """Return the same as a subscription without a schedule has it."""
    params = settings(how, automatic_tax=automatic_tax)
    invoices = params.pop("invoice_settings", {})
    if "days_until_due" in invoices:
        params["days_until_due"] = invoices.pop("days_until_due")
    return params | ({"invoice_settings": invoices} if invoices else {})


def settings(how: HowBilled, *, automatic_tax: bool) -> dict[str, Any]:
    """Return the same as the default settings of a schedule."""
    params: dict[str, Any] = {"collection_method": how.collection_method}
    invoices = _labels(how)
    if how.collection_method == "send_invoice":
        invoices["days_until_due"] = how.days_until_due
    if invoices:
        params["invoice_settings"] = invoices
    if automatic_tax:
        params["automatic_tax"] = {"enabled": True}
    return params
