"""What Stripe sends to `/webhooks/stripe`: kept if it is Stripe's, for the daemon's next round; optional, as events are polled, too."""

from __future__ import annotations

from connector import app, backends
from connector.billing.stripe_backend.reading import webhooks
from connector.kit import observe


def taken(house: app.House, raw: bytes, signature: str) -> bool | None:
    """Keep an event and return whether it was taken; None: nothing listens here, as Stripe does not bill or no secret is set."""
    stripe = house.config.stripe
    if house.config.billing.backend != "stripe" or not stripe.webhook_secrets:
        return None
    now = house.clock.now()
    try:
        event = webhooks.accepted(raw, signature, stripe.webhook_secrets, now, is_live=stripe.mode == "live")
    except webhooks.Unsigned as error:
        observe.log("hook.refused", error=str(error), hint=error.hint)
        return False
    with house.database.read() as unit:
        account = backends.account_of(unit) or stripe.account or ""
    why = webhooks.ignored(event, account)
    if why:
        observe.log("hook.ignored", id=str(event["id"]), reason=why)
        return True
    with house.database.transaction() as unit:
        webhooks.kept(unit, event, now)
    return True
