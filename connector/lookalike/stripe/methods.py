"""Payment methods: Stripe's test cards, attached to customers. Source: docs.stripe.com/testing, docs.stripe.com/api/payment_methods.

Attaching `pm_card_visa` makes a card of the customer's own. A card that Stripe declines is refused at once, except the one whose
number ends in 0341: it can be attached and fails when it is charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.customers import ATTACHING
from connector.lookalike.stripe.listing import page
from connector.lookalike.stripe.metadata import merged

CARDS: dict[str, tuple[str, str]] = {
    "visa": ("visa", "4242"), "visa_debit": ("visa", "5556"), "mastercard": ("mastercard", "4444"), "amex": ("amex", "0005"),
    "fr": ("visa", "0003"), "de": ("visa", "0016"), "gb": ("visa", "0004"), "us": ("visa", "4242"),
    "chargeDeclined": ("visa", "0002"), "visa_chargeDeclined": ("visa", "0002"),
    "chargeDeclinedInsufficientFunds": ("visa", "9995"), "visa_chargeDeclinedInsufficientFunds": ("visa", "9995"),
    "chargeDeclinedExpiredCard": ("visa", "0069"), "chargeCustomerFail": ("visa", "0341"),
    "authenticationRequired": ("visa", "3184"), "threeDSecure2Required": ("visa", "3220"),
}  # fmt: skip
"""Name of a test card after `pm_card_` or `tok_` -> (brand, last four digits)."""

_REFUSED = {
    "0002": ("card_declined", "generic_decline", "Your card was declined."),
    "9995": ("card_declined", "insufficient_funds", "Your card has insufficient funds."),
    "0069": ("expired_card", "expired_card", "Your card has expired."),
}


def _card(account: Account, name: str, customer: str | None) -> Data:
    brand, last4 = CARDS[name]
    year = int(account.clock().year) + 3
    return _method(account, "card", customer) | {
        "card": {
            "brand": brand, "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": None}, "country": "US",
            "display_brand": brand, "exp_month": 12, "exp_year": year, "fingerprint": f"demo{brand}{last4}", "funding": "credit",
            "generated_from": None, "last4": last4, "networks": {"available": [brand], "preferred": None},
            "regulated_status": "unregulated", "three_d_secure_usage": {"supported": True}, "wallet": None,
        },
    }  # fmt: skip


def _method(account: Account, type_: str, customer: str | None) -> Data:
    address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    return {
        "id": account.new_id("pm"), "object": "payment_method", "allow_redisplay": "unspecified", "created": account.now(),
        "billing_details": {"address": address, "email": None, "name": None, "phone": None, "tax_id": None}, "customer": customer,
        "customer_account": None, "livemode": account.is_live, "metadata": {}, "type": type_,
    }  # fmt: skip


@endpoint("POST", "/v1/payment_methods", "PaymentMethodCreateParams")
def create(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Make a card from a test token such as `tok_visa`, or a SEPA debit from an IBAN."""
    kind = params.get("type")
    if kind == "card":
        token = params.get("card", {}).get("token", "")
        name = token.removeprefix("tok_")
        if not token.startswith("tok_") or name not in CARDS:
            raise Refused(f"No such token: '{token}'", code="resource_missing", param="card[token]")
        made = _card(account, name, None)
    elif kind == "sepa_debit":
        iban = params.get("sepa_debit", {}).get("iban", "").replace(" ", "")
        if len(iban) < 15:
            raise Refused("The IBAN you provided is invalid.", code="invalid_iban", param="sepa_debit[iban]")
        made = _method(account, "sepa_debit", None) | {
            "sepa_debit": {
                "bank_code": iban[4:9],
                "country": iban[:2],
                "fingerprint": f"demo{iban[-4:]}",
                "last4": iban[-4:],
            }
        }
    else:
        raise Refused(f"The look-alike makes no payment methods of type {kind}.", param="type")
    _describe(made, params)
    account.kind("payment_method")[made["id"]] = made
    return made


def _describe(method: Data, params: Data) -> None:
    said = params.get("billing_details") or {}
    details = method["billing_details"]
    for name in ("email", "name", "phone"):
        if name in said:
            details[name] = said[name] or None
    if said.get("address"):
        details["address"] = {name: said["address"].get(name) for name in details["address"]}
    method["metadata"] = merged(method["metadata"], params.get("metadata"))


@endpoint("POST", "/v1/payment_methods/{id}/attach", "PaymentMethodAttachParams")
def attach(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Attach a payment method, or a test card of that name, to a customer."""
    if "customer" not in params:
        raise Refused("Missing required param: customer.", code="parameter_missing", param="customer")
    return attached(account, ids["id"], params["customer"])


def attached(account: Account, id_: str, customer_id: str) -> Data:
    """Attach a payment method; return it as the customer has it. Raises: Refused."""
    customer = account.get("customer", customer_id, param="customer")
    name = id_.removeprefix("pm_card_")
    is_test_card = id_.startswith("pm_card_") and name in CARDS
    if is_test_card and account.is_live:
        raise Refused(
            f"No such PaymentMethod: '{id_}'; a similar object exists in test mode, but a live mode key was used.",
            status=404,
            code="resource_missing",
            param="payment_method",
        )
    method = _card(account, name, None) if is_test_card else account.get("payment_method", id_, param="payment_method")
    if method["customer"] not in (None, customer["id"]):
        raise Refused(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    refusal = _REFUSED.get(method.get("card", {}).get("last4", ""))
    if refusal is not None:
        code, decline, message = refusal
        raise Refused(message, status=402, kind="card_error", code=code, decline_code=decline)
    method["customer"] = customer["id"]
    account.kind("payment_method")[method["id"]] = method
    account.emit("payment_method.attached", method)
    return method


ATTACHING.append(attached)


@endpoint("POST", "/v1/payment_methods/{id}/detach", "PaymentMethodDetachParams")
def detach(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Take a payment method from its customer; it can never be attached again."""
    method = account.get("payment_method", ids["id"], param="payment_method")
    if method["customer"] is None:
        raise Refused(
            "The payment method you provided is not attached to a customer so detachment is impossible.",
            code="payment_method_unexpected_state", param="payment_method",
        )  # fmt: skip
    customer = account.kind("customer").get(method["customer"])
    if customer is not None and customer["invoice_settings"]["default_payment_method"] == method["id"]:
        customer["invoice_settings"]["default_payment_method"] = None
        account.emit("customer.updated", customer, {"invoice_settings": {"default_payment_method": method["id"]}})
    before, method["customer"] = method["customer"], None
    account.emit("payment_method.detached", method, {"customer": before})
    return method


@endpoint("GET", "/v1/payment_methods/{id}", "PaymentMethodRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a payment method."""
    return account.get("payment_method", ids["id"], param="payment_method")


@endpoint("POST", "/v1/payment_methods/{id}", "PaymentMethodUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change the billing details or metadata of a payment method."""
    method = account.get("payment_method", ids["id"], param="payment_method")
    _describe(method, params)
    account.emit("payment_method.updated", method)
    return method


@endpoint("GET", "/v1/payment_methods", "PaymentMethodListParams")
def listed(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """List payment methods, of one customer where one is named."""
    return _page(account, params.get("customer"), params, "/v1/payment_methods")


@endpoint("GET", "/v1/customers/{customer}/payment_methods", "CustomerPaymentMethodListParams")
def listed_of_customer(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List the payment methods of a customer."""
    customer = account.get("customer", ids["customer"])
    return _page(account, customer["id"], params, f"/v1/customers/{customer['id']}/payment_methods")


@endpoint("GET", "/v1/customers/{customer}/payment_methods/{id}", "CustomerPaymentMethodRetrieveParams")
def retrieve_of_customer(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a payment method of a customer."""
    method: dict[str, Any] = account.get("payment_method", ids["id"], param="payment_method")
    if method["customer"] != ids["customer"]:
        raise Refused(
            f"No such payment_method: '{ids['id']}'", status=404, code="resource_missing", param="payment_method"
        )
    return method


def _page(account: Account, customer: str | None, params: Data, url: str) -> Data:
    if customer is not None:
        account.get("customer", customer, param="customer")
    found = [
        one
        for one in reversed(account.kind("payment_method").values())
        if one["customer"] == customer
        and one["customer"] is not None
        and params.get("type", one["type"]) == one["type"]
    ]
    return page(found, params, url)
