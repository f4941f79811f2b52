"""Customers with their tax ids. Source: docs.stripe.com/api/customers, docs.stripe.com/api/tax_ids.

A deleted customer stays as {"id", "object", "deleted": true} for who retrieves it, and is nobody for everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.expand import HIDDEN
from connector.lookalike.stripe.listing import page, within
from connector.lookalike.stripe.metadata import merged

GONE: list[Callable[[Account, Data], None]] = []
"""Who is told before a customer is deleted, e.g. to cancel subscriptions."""

_DELETED = "deleted.customer"
_PREFIX = re.compile(r"[A-Z0-9]{3,12}")
_PLAIN = ("business_name", "description", "email", "individual_name", "name", "phone")
_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


@endpoint("POST", "/v1/customers", "CustomerCreateParams")
def create(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Make a customer."""
    id_ = account.new_id("cus")
    customer: Data = {
        "id": id_, "object": "customer", "address": None, "balance": params.get("balance", 0), "created": account.now(), "currency": None,
        "customer_account": None, "default_source": None, "delinquent": False, "description": None, "discount": None, "email": None,
        "invoice_prefix": _own_prefix(account, id_), "livemode": account.is_live, "metadata": {}, "name": None, "next_invoice_sequence": 1,
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None},
        "phone": None, "preferred_locales": [], "shipping": None, "tax_exempt": "none", "test_clock": None,
        "tax": {"automatic_tax": "unrecognized_location", "ip_address": None, "location": None, "provider": "stripe"},
    }  # fmt: skip
    if params.get("balance"):
        customer["currency"] = account.currency
    for unknown in ("source", "test_clock", "cash_balance"):
        if unknown in params:
            raise Refused(f"The look-alike does not know {unknown} of a customer.", param=unknown)
    tax_ids = [_tax_id(account, id_, one["type"], one["value"]) for one in params.get("tax_id_data", ())]
    account.kind("customer")[id_] = customer
    try:
        _change(account, customer, _with_method(account, id_, params))
    except Refused:
        del account.kind("customer")[id_]
        raise
    for one in tax_ids:
        account.kind("tax_id")[one["id"]] = one
    account.emit("customer.created", customer)
    for one in tax_ids:
        account.emit("customer.tax_id.created", one)
    return customer


ATTACHING: list[Callable[[Account, str, str], Data]] = []
"""How a payment method comes to a customer: (account, payment method, customer) -> the method as the customer has it."""


def _with_method(account: Account, customer: str, params: Data) -> Data:
    """Attach the payment method that a new customer comes with; return the parameters, a default of that name meaning what it became."""
    if "payment_method" not in params:
        return params
    said, settings = params["payment_method"], params.get("invoice_settings", {})
    for attach in ATTACHING:
        method = attach(account, said, customer)
        if settings.get("default_payment_method") == said:
            return {**params, "invoice_settings": {**settings, "default_payment_method": method["id"]}}
    return params


@endpoint("GET", "/v1/customers/{id}", "CustomerRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a customer, also one that was deleted."""
    gone = account.kind(_DELETED).get(ids["id"])
    return gone if gone is not None else account.get("customer", ids["id"])


@endpoint("POST", "/v1/customers/{id}", "CustomerUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change a customer."""
    customer = account.get("customer", ids["id"])
    before = {key: customer.get(key) for key in customer}
    trial = {**customer, "invoice_settings": dict(customer["invoice_settings"])}
    _change(account, trial, params)
    customer.update(trial)
    if "balance" in params:
        customer["balance"] = params["balance"]
    changed = {key: old for key, old in before.items() if customer[key] != old}
    if changed:
        account.emit("customer.updated", customer, changed)
    return customer


@endpoint("DELETE", "/v1/customers/{id}", "CustomerDeleteParams")
def delete(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Delete a customer for good; what it subscribes to is canceled."""
    customer = account.get("customer", ids["id"])
    for told in GONE:
        told(account, customer)
    del account.kind("customer")[customer["id"]]
    gone = account.kind(_DELETED)[customer["id"]] = {"id": customer["id"], "object": "customer", "deleted": True}
    account.emit("customer.deleted", customer)
    return gone


@endpoint("GET", "/v1/customers", "CustomerListParams")
def listed(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """List customers, newest first; an e-mail fits by case."""
    email = params.get("email")
    found = [
        one
        for one in reversed(account.kind("customer").values())
        if (email is None or one["email"] == email) and within(one["created"], params.get("created"))
    ]
    return page(found, params, "/v1/customers")


def _change(account: Account, customer: Data, params: Data) -> None:
    """Write what the parameters of create and update share."""
    for name in _PLAIN:
        if name in params:
            customer[name] = params[name] or None
    if "address" in params:
        customer["address"] = _address(params["address"])
    if "shipping" in params:
        said = params["shipping"]
        customer["shipping"] = (
            {"address": _address(said["address"]), "name": said["name"], "phone": said.get("phone")} if said else None
        )
    for name in ("preferred_locales", "next_invoice_sequence"):
        if name in params:
            customer[name] = params[name]
    if "tax_exempt" in params:
        customer["tax_exempt"] = params["tax_exempt"] or "none"
    if "invoice_prefix" in params:
        _set_prefix(account, customer, params["invoice_prefix"])
    if "invoice_settings" in params:
        _set_invoicing(account, customer, params["invoice_settings"])
    customer["metadata"] = merged(customer["metadata"], params.get("metadata"))


def _address(said: Data | str | None) -> Data | None:
    if not said or isinstance(said, str):
        return None
    return {name: said.get(name) or None for name in _ADDRESS}


def _set_prefix(account: Account, customer: Data, prefix: str) -> None:
    if not _PREFIX.fullmatch(prefix):
        raise Refused("Invoice prefixes must be 3 to 12 uppercase letters or numbers.", param="invoice_prefix")
    if any(
        one["invoice_prefix"] == prefix and one["id"] != customer["id"] for one in account.kind("customer").values()
    ):
        raise Refused(f"The invoice prefix {prefix} is already in use by another customer.", param="invoice_prefix")
    customer["invoice_prefix"] = prefix


def _own_prefix(account: Account, id_: str) -> str:
    """Return eight letters and digits that no other customer has."""
    number = int(id_.rpartition("_")[2]) + len(account.id) * 1_000_003
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    text = ""
    for _ in range(8):
        number, digit = divmod(number, len(letters))
        text = letters[digit] + text
    return text


def _set_invoicing(account: Account, customer: Data, said: Data) -> None:
    settings = customer["invoice_settings"]
    if "custom_fields" in said:
        settings["custom_fields"] = said["custom_fields"] or None
    if "footer" in said:
        settings["footer"] = said["footer"] or None
    if "rendering_options" in said:
        settings["rendering_options"] = said["rendering_options"] or None
    if "default_payment_method" in said:
        method = account.kind("payment_method").get(said["default_payment_method"])
        if method is None or method["customer"] != customer["id"]:
            raise Refused(
                f"The customer does not have a payment method with the ID {said['default_payment_method']}. The payment method must be "
                "attached to the customer.",
                code="resource_missing",
                param="invoice_settings[default_payment_method]",
            )
        settings["default_payment_method"] = method["id"]


# -- tax ids ------------------------------------------------------------------------------------------------------------------


@endpoint("POST", "/v1/customers/{customer}/tax_ids", "CustomerTaxIdCreateParams")
def create_tax_id(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Give a customer a tax id."""
    customer = account.get("customer", ids["customer"])
    made = account.kind("tax_id")
    tax_id = _tax_id(account, customer["id"], params["type"], params["value"])
    made[tax_id["id"]] = tax_id
    account.emit("customer.tax_id.created", tax_id)
    return tax_id


@endpoint("GET", "/v1/customers/{customer}/tax_ids", "CustomerTaxIdListParams")
def list_tax_ids(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List the tax ids of a customer."""
    customer = account.get("customer", ids["customer"])
    return page(_tax_ids(account, customer)[::-1], params, f"/v1/customers/{customer['id']}/tax_ids")


@endpoint("GET", "/v1/customers/{customer}/tax_ids/{id}", "CustomerTaxIdRetrieveParams")
def retrieve_tax_id(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a tax id of a customer."""
    return _tax_id_of(account, ids)


@endpoint("DELETE", "/v1/customers/{customer}/tax_ids/{id}", "CustomerTaxIdDeleteParams")
def delete_tax_id(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Take a tax id from a customer."""
    tax_id = _tax_id_of(account, ids)
    del account.kind("tax_id")[tax_id["id"]]
    account.emit("customer.tax_id.deleted", tax_id)
    return {"id": tax_id["id"], "object": "tax_id", "deleted": True}


def _tax_id_of(account: Account, ids: Mapping[str, str]) -> Data:
    customer = account.get("customer", ids["customer"])
    tax_id = account.get("tax_id", ids["id"])
    if tax_id["customer"] != customer["id"]:
        raise Refused(f"No such tax_id: '{ids['id']}'", status=404, code="resource_missing", param="id")
    return tax_id


def _tax_ids(account: Account, customer: Data) -> list[Data]:
    return [one for one in account.kind("tax_id").values() if one["customer"] == customer["id"]]


def _tax_id(account: Account, customer: str, type_: str, value: str) -> Data:
    country = value[:2] if type_ == "eu_vat" else type_.partition("_")[0].upper()
    if type_ == "eu_vat" and not re.fullmatch(r"[A-Z]{2}[0-9A-Z+*.]{2,13}", value):
        raise Refused(f"Invalid value for {type_}.", code="tax_id_invalid", param="value")
    return {
        "id": account.new_id("txi"), "object": "tax_id", "country": country, "created": account.now(), "customer": customer,
        "customer_account": None, "livemode": account.is_live, "owner": {"customer": customer, "type": "customer"}, "type": type_, "value": value,
        "verification": {"status": "pending", "verified_address": None, "verified_name": None},
    }  # fmt: skip


def _all_tax_ids(account: Account, customer: Data) -> Data:
    found = _tax_ids(account, customer)
    return {"object": "list", "data": found, "has_more": False, "url": f"/v1/customers/{customer['id']}/tax_ids"}


HIDDEN["customer", "tax_ids"] = _all_tax_ids
