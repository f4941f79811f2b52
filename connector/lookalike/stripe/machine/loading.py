"""Everything that answers requests: importing this module fills `account.ENDPOINTS` and `account.DUES`."""

from __future__ import annotations

from connector.lookalike.stripe.machine import (
    control,
    credit_note_calls,
    disputes,
    invoice_calls,
    items,
    preview,
    records,
    refunding,
    schedule_calls,
    subscription_calls,
    subscription_item_calls,
)

ROOMS = (
    schedule_calls,
    subscription_calls,
    subscription_item_calls,
    invoice_calls,
    items,
    credit_note_calls,
    refunding,
    records,
    disputes,
    preview,
    control,
)
