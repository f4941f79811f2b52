"""The endpoints of subscription items; a change of one is a change of its subscription."""

from __future__ import annotations

from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Data, endpoint
from connector.lookalike.stripe.listing import page
from connector.lookalike.stripe.machine import subscription_calls

PATH = "/v1/subscription_items"
WHOLE = ("proration_behavior", "proration_date", "payment_behavior", "off_session")
"""Parameters that concern the subscription."""


def _changed(account: Account, subscription: str, item: Data, params: Data) -> Data:
    """Change one item of a subscription; return the subscription."""
    asked = {name: value for name, value in params.items() if name not in (*WHOLE, "subscription")} | item
    given = {name: value for name, value in params.items() if name in WHOLE}
    return subscription_calls.update(account, {"id": subscription}, {**given, "items": [asked]})


@endpoint("GET", PATH, "SubscriptionItemListParams")
def listed(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """List the items of a subscription."""
    return page(
        account.get("subscription", params["subscription"], param="subscription")["items"]["data"], params, PATH
    )


@endpoint("GET", f"{PATH}/{{id}}", "SubscriptionItemRetrieveParams")
def retrieve(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Return an item of a subscription."""
    return account.get("subscription_item", ids["id"])


@endpoint("POST", PATH, "SubscriptionItemCreateParams")
def create(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Add an item to a subscription."""
    after: Data = _changed(account, params["subscription"], {}, params)["items"]["data"][-1]
    return after


@endpoint("POST", f"{PATH}/{{id}}", "SubscriptionItemUpdateParams")
def update(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Change an item of a subscription."""
    item = account.get("subscription_item", ids["id"])
    _changed(account, item["subscription"], {"id": item["id"]}, params)
    return item


@endpoint("DELETE", f"{PATH}/{{id}}", "SubscriptionItemDeleteParams")
def delete(account: Account, ids: Mapping[str, str], params: Data) -> Data:
    """Take an item off a subscription."""
    item = account.get("subscription_item", ids["id"])
    _changed(account, item["subscription"], {"id": item["id"], "deleted": True}, params)
    return {"id": item["id"], "object": "subscription_item", "deleted": True}
