"""What an account says of itself, and which payment methods its Dashboard has switched on. Source: docs.stripe.com/api/accounts,
/payment_method_configurations.
"""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.controls import control
from connector.lookalike.stripe.listing import page

_NAME = "Northwind Instruments"
_CONFIGURATION = "pmc_00000000000001"
_USUAL = ("card", "sepa_debit", "customer_balance")


@endpoint("GET", "/v1/account", "AccountRetrieveCurrentParams")
def this_account(account: Account, _ids: Mapping[str, str], _params: Data) -> Data:
    """Return the account that the key belongs to; a test account may charge from its first day."""
    is_active = bool(account.machine.get("is_activated", True))
    return {
        "id": account.id, "object": "account", "business_profile": {"name": _NAME, "url": None}, "capabilities": {"card_payments": "active"},
        "charges_enabled": is_active, "country": account.country, "default_currency": account.currency, "details_submitted": is_active,
        "email": "billing@northwind.example", "metadata": {}, "payouts_enabled": is_active,
        "settings": {"dashboard": {"display_name": _NAME, "timezone": "Etc/UTC"}}, "type": "standard",
    }  # fmt: skip


@endpoint("GET", "/v1/payment_method_configurations", "PaymentMethodConfigurationListParams")
def configurations(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Return the one configuration that every account has."""
    switched_on = account.machine.get("payment_methods", _USUAL)
    one: Data = {
        "id": _CONFIGURATION, "object": "payment_method_configuration", "active": True, "application": None, "is_default": True,
        "livemode": account.is_live, "name": "Default", "parent": None,
    }  # fmt: skip
    for name in _USUAL:
        preference = "on" if name in switched_on else "off"
        one[name] = {
            "available": name in switched_on,
            "display_preference": {"overridable": None, "preference": preference, "value": preference},
        }
    return page([one], params, "/v1/payment_method_configurations")


@control("settings")
def change_settings(account: Account, body: Data) -> Data:
    """Change what the Dashboard has: `{"is_activated": false, "payment_methods": ["card"], "registrations": {"DE": "19"}}`."""
    for name, kind in (("is_activated", bool), ("payment_methods", list), ("registrations", dict)):
        if name in body and not isinstance(body[name], kind):
            raise Refused(f"{name}: a {kind.__name__} is required", param=name)
        if name in body:
            account.machine[name] = body[name]
    return {name: account.machine.get(name) for name in ("is_activated", "payment_methods", "registrations")}
