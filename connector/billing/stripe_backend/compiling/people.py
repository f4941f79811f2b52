"""The customer and what concerns all its invoices: details, tax ids and rates, how they are collected and labelled."""

from __future__ import annotations

from typing import Any

from connector.billing.stripe_backend.compiling.prices import digest
from connector.billing.stripe_backend.steps import Step
from connector.core.terms import TaxRate
from connector.ports import CustomerDetails, HowBilled

_EU = ("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "EL", "ES", "FI", "FR", "HR", "HU", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL",
       "PT", "RO", "SE", "SI", "SK", "XI")  # fmt: skip
_ELSEWHERE = {
    "GB": "gb_vat", "CH": "ch_vat", "CHE": "ch_vat", "NO": "no_vat", "US": "us_ein", "AU": "au_abn", "CA": "ca_bn", "NZ": "nz_gst", "IN": "in_gst",
    "JP": "jp_cn", "SG": "sg_gst", "MX": "mx_rfc", "BR": "br_cnpj", "ZA": "za_vat", "TR": "tr_tin", "AE": "ae_trn", "SA": "sa_vat",
}  # fmt: skip


def tax_id_type(tax_id: str, country: str) -> str | None:
    """Return how Stripe calls a tax id, None where we cannot tell: an EU number by its own letters, any other by the country."""
    text = tax_id.replace(" ", "").upper()
    place = country.strip().upper()
    if text[:2] in _EU and text[2:3].isalnum():
        return "eu_vat"
    if text[:3] == "CHE":
        return "ch_vat"
    if text[:2] == "GB":
        return "gb_vat"
    return _ELSEWHERE.get(place)


def customer_params(customer_id: str, details: CustomerDetails, org: str) -> dict[str, Any]:
    """Return a customer as Stripe has it, without its tax ids."""
    address = details.address
    lines = {
        "line1": address.line1, "city": address.city, "postal_code": address.postal_code, "state": address.state,
        "country": address.country if len(address.country) == 2 else "",
    }  # fmt: skip
    params: dict[str, Any] = {
        "name": details.name[:256], "tax_exempt": details.tax_exempt,
        "metadata": {"connector_customer": customer_id, "connector_org": org, "crm_account": details.account},
    }  # fmt: skip
    if details.email:
        params["email"] = details.email
    if any(lines.values()):
        params["address"] = {k: v for k, v in lines.items() if v}
    if details.language:
        params["preferred_locales"] = [details.language]
    return params


def customer_step(customer_id: str, details: CustomerDetails, org: str) -> Step:
    """Return the step that finds or makes the customer; its answer's `id` is the customer."""
    params = customer_params(customer_id, details, org)
    kind = tax_id_type(details.tax_id, details.address.country) if details.tax_id else None
    if kind is not None:
        params["tax_id_data"] = [{"type": kind, "value": details.tax_id}]
    return Step(name="customer", call="customers.create", shared=("customer", customer_id), params=params)


def details_step(customer: str, customer_id: str, details: CustomerDetails, org: str) -> Step:
    """Return the step that tells Stripe a customer's details anew."""
    return Step(name="details", call="customers.update", target=customer, params=customer_params(customer_id, details, org))


def told_of(customer_id: str, details: CustomerDetails, org: str) -> str:
    """Return a digest of the details as they are sent."""
    return digest(customer_params(customer_id, details, org))


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
