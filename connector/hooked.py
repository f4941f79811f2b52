"""What Stripe sends to `/webhooks/stripe`: kept if it is Stripe's, for the daemon's next round; optional, as events are polled, too."""

from __future__ import annotations

from connector import app
from connector.billing.stripe_backend.reading import webhooks
from connector.kit import observe


def taken(house: app.House, raw: bytes, signature: str) -> bool | None:
    """Keep an event and return whether it was taken; None: nothing listens here, as Stripe does not bill or no secret is set."""
    stripe = house.config.stripe
    if house.config.billing.backend != "stripe" or not stripe.webhook_secret:
        return None
    now = house.clock.now()
    try:
        event = webhooks.accepted(raw, signature, stripe.webhook_secret, now, is_live=stripe.mode == "live")
    except webhooks.Unsigned as error:
        observe.log("hook.refused", error=str(error), hint="Compare `stripe.webhook_secret` with the endpoint's in Stripe's Dashboard.")
        return False
    with house.database.transaction() as unit:
        webhooks.kept(unit, event, now)
    return True
