"""Everything that answers requests: importing this module fills `account.ENDPOINTS` and `account.DUES`."""

from __future__ import annotations

from connector.lookalike.stripe.machine import invoice_calls, items, schedule_calls

ROOMS = (schedule_calls, invoice_calls, items)
