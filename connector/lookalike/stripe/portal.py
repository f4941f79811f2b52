"""The customer portal: configurations, sessions, and the page a session leads to. Source: docs.stripe.com/api/customer_portal.

A session's address opens once, within five minutes; whoever needs it later asks for another session. The page shows what the
configuration allows and leads back; what customers do there is done by control endpoints.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from connector.lookalike.stripe.account import Account, Data, Refused, endpoint
from connector.lookalike.stripe.controls import control, text_of
from connector.lookalike.stripe.currencies import amount_text
from connector.lookalike.stripe.listing import page
from connector.lookalike.stripe.metadata import merged
from connector.lookalike.stripe.pages import PAGES, escaped, framed
from connector.lookalike.stripe.wire import Request

CONFIGURATION, SESSION = "billing_portal.configuration", "billing_portal.session"
OPEN_S = 300
_ENDED = ("canceled", "incomplete_expired")
_FEATURES: dict[str, Data] = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": False},
    "payment_method_update": {"enabled": False, "payment_method_configuration": None},
    "subscription_cancel": {
        "cancellation_reason": {"enabled": False, "options": []}, "enabled": False, "mode": "at_period_end", "proration_behavior": "none",
    },
    "subscription_pause": {"enabled": False},
    "subscription_update": {
        "billing_cycle_anchor": "unchanged", "default_allowed_updates": [], "enabled": False, "products": None, "proration_behavior": "none",
        "schedule_at_period_end": {"conditions": []}, "trial_update_behavior": "end_trial",
    },
}  # fmt: skip


@endpoint("POST", "/v1/billing_portal/configurations", "billing_portal.ConfigurationCreateParams")
def create_configuration(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Make a configuration: what customers may do in the portal."""
    now = account.now()
    made: Data = {
        "id": account.new_id("bpc"), "object": CONFIGURATION, "active": True, "application": None,
        "business_profile": {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None}, "created": now,
        "default_return_url": None, "features": {name: dict(feature) for name, feature in _FEATURES.items()}, "is_default": False,
        "livemode": account.is_live, "login_page": {"enabled": False, "url": None}, "metadata": {}, "name": None, "updated": now,
    }  # fmt: skip
    _change(account, made, params)
    account.kind(CONFIGURATION)[made["id"]] = made
    account.emit("billing_portal.configuration.created", made)
    return made


def _change(account: Account, made: Data, params: Data) -> None:
    features = {name: {**made["features"][name], **said} for name, said in params.get("features", {}).items()}
    update = {**made["features"], **features}["subscription_update"]
    if update["enabled"] and not (update["products"] and update["default_allowed_updates"]):
        raise Refused(
            "Missing required param: features[subscription_update][products].",
            code="parameter_missing",
            param="features[subscription_update][products]",
        )
    for product in update["products"] or []:
        account.get("product", product["product"], param="features[subscription_update][products]")
        for price in product["prices"]:
            account.get("price", price, param="features[subscription_update][products]")
    if features.get("customer_update", {}).get("enabled") and not features["customer_update"]["allowed_updates"]:
        raise Refused(
            "Missing required param: features[customer_update][allowed_updates].",
            code="parameter_missing",
            param="features[customer_update][allowed_updates]",
        )
    made["features"].update(features)
    made["business_profile"].update({name: value or None for name, value in params.get("business_profile", {}).items()})
    for name in ("default_return_url", "name"):
        if name in params:
            made[name] = params[name] or None
    if "login_page" in params:
        made["login_page"]["enabled"] = params["login_page"]["enabled"]
    made["metadata"] = merged(made["metadata"], params.get("metadata"))
    made["active"] = params.get("active", made["active"])


@endpoint("GET", "/v1/billing_portal/configurations/{id}", "billing_portal.ConfigurationRetrieveParams")
def retrieve_configuration(account: Account, ids: Mapping[str, str], _params: Data) -> Data:
    """Return a configuration."""
    return account.get(CONFIGURATION, ids["id"])


@endpoint("POST", "/v1/billing_portal/configurations/{id}", "billing_portal.ConfigurationUpdateParams")
def update_configuration(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change a configuration; the default one stays active."""
    made = account.get(CONFIGURATION, ids["id"])
    if made["is_default"] and params.get("active") is False:
        raise Refused("You cannot deactivate the default portal configuration.", param="active")
    _change(account, made, params)
    made["updated"] = account.now()
    account.emit("billing_portal.configuration.updated", made)
    return made


@endpoint("GET", "/v1/billing_portal/configurations", "billing_portal.ConfigurationListParams")
def list_configurations(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """List configurations, newest first."""
    found = [
        one
        for one in reversed(account.kind(CONFIGURATION).values())
        if all(one[name] == params[name] for name in ("active", "is_default") if name in params)
    ]
    return page(found, params, "/v1/billing_portal/configurations")


@control("default-portal")
def make_default(account: Account, body: Data) -> Data:
    """Make a configuration the default one, as saving it in the Dashboard does: `{"configuration": "bpc_..."}`."""
    chosen = account.get(CONFIGURATION, text_of(body, "configuration"))
    for one in account.kind(CONFIGURATION).values():
        one["is_default"] = one is chosen
    return chosen


# -- sessions -----------------------------------------------------------------------------------------------------------------


@endpoint("POST", "/v1/billing_portal/sessions", "billing_portal.SessionCreateParams")
def create_session(account: Account, _ids: Mapping[str, str], params: Data) -> Data:
    """Open the portal for a customer: the answer has the address."""
    if "customer" not in params:
        raise Refused("Missing required param: customer.", code="parameter_missing", param="customer")
    customer = account.get("customer", params["customer"], param="customer")
    configuration = _configuration(account, params.get("configuration"))
    _check_flow(account, customer, params.get("flow_data"))
    token = secrets.token_urlsafe(24)
    base = account.machine.get("page", "https://billing.stripe.com")
    session: Data = {
        "id": account.new_id("bps"), "object": SESSION, "configuration": configuration["id"], "created": account.now(),
        "customer": customer["id"], "customer_account": None, "flow": params.get("flow_data"), "livemode": account.is_live,
        "locale": params.get("locale"), "on_behalf_of": params.get("on_behalf_of"),
        "return_url": params.get("return_url") or configuration["default_return_url"], "url": f"{base}/p/session/{token}",
    }  # fmt: skip
    account.kind(SESSION)[session["id"]] = session
    _tokens(account)[token] = session
    account.emit("billing_portal.session.created", session)
    return session


def _configuration(account: Account, said: str | None) -> Data:
    if said is not None:
        found = account.get(CONFIGURATION, said, param="configuration")
        if not found["active"]:
            raise Refused(f"The portal configuration {said} is not active.", param="configuration")
        return found
    default = next((one for one in account.kind(CONFIGURATION).values() if one["is_default"]), None)
    if default is None:
        mode = "live" if account.is_live else "test"
        raise Refused(
            f"No configuration provided and your {mode} mode default configuration has not been created. Provide a configuration or create "
            "your default by saving your customer portal settings in the Dashboard.",
        )
    return default


def _check_flow(account: Account, customer: Data, flow: Data | None) -> None:
    """Look at the subscription that a flow is about."""
    for name in ("subscription_cancel", "subscription_update", "subscription_update_confirm", "subscription_pause"):
        said = (flow or {}).get(name)
        if said is not None:
            subscription = account.get("subscription", said["subscription"], param=f"flow_data[{name}][subscription]")
            if subscription["customer"] != customer["id"]:
                raise Refused(
                    "The subscription does not belong to the customer.", param=f"flow_data[{name}][subscription]"
                )


def _tokens(account: Account) -> dict[str, Data]:
    tokens: dict[str, Data] = account.machine.setdefault("portal", {})
    return tokens


def portal_page(account: Account, parts: list[str], _request: Request) -> str:
    """Show a session's page, once and soon."""
    session = _tokens(account).pop(parts[1], None) if len(parts) == 2 and parts[0] == "session" else None
    if session is None or account.now() > session["created"] + OPEN_S:
        raise Refused("This link has expired. Go back to where you found it and open it again.", status=410)
    customer = account.get("customer", session["customer"])
    features = account.get(CONFIGURATION, session["configuration"])["features"]
    shown = [f"<p>{escaped(customer['name'] or customer['email'] or customer['id'])}</p>", "<h2>Subscriptions</h2><ul>"]
    may = [word for name, word in _MAY.items() if features[name]["enabled"]]
    shown += [
        _subscription(account, one) for one in _of(account, "subscription", customer) if one["status"] not in _ENDED
    ]
    shown.append("</ul>" + (f"<p>You may: {', '.join(may)}.</p>" if may else ""))
    if features["invoice_history"]["enabled"]:
        shown += [
            "<h2>Invoices</h2><ul>",
            *(_invoice(one) for one in _of(account, "invoice", customer) if one["number"]),
            "</ul>",
        ]
    if session["return_url"]:
        shown.append(f'<p><a href="{escaped(session["return_url"])}">Back</a></p>')
    return framed("Billing", "".join(shown))


_MAY = {
    "subscription_cancel": "cancel a subscription", "subscription_update": "change a subscription", "subscription_pause": "pause a subscription",
    "payment_method_update": "change the payment method", "customer_update": "change your details",
}  # fmt: skip


def _of(account: Account, kind: str, customer: Data) -> list[Any]:
    return [one for one in account.kind(kind).values() if one["customer"] == customer["id"]]


def _subscription(account: Account, subscription: Data) -> str:
    names = [
        account.kind("product").get(item["price"]["product"], {}).get("name", "")
        for item in subscription["items"]["data"]
    ]
    return f"<li>{escaped(', '.join(names) or subscription['id'])}: {escaped(subscription['status'])}</li>"


def _invoice(invoice: Data) -> str:
    total = amount_text(invoice["total"], invoice["currency"])
    return f'<li><a href="{escaped(invoice["hosted_invoice_url"])}">{escaped(invoice["number"])}</a>: {escaped(total)}, {escaped(invoice["status"])}</li>'


PAGES["p"] = portal_page
