"""Everything that answers requests: importing this module fills `account.ENDPOINTS` and `account.DUES`."""

from __future__ import annotations

from connector.lookalike.stripe.machine import (
    disputes,
    invoice_calls,
    items,
    refunding,
    schedule_calls,
    subscription_calls,
)

ROOMS = (schedule_calls, subscription_calls, invoice_calls, items, refunding, disputes)
