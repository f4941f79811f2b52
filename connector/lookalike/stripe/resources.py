"""Every room with endpoints, imported so that they are registered."""

from __future__ import annotations

from connector.lookalike.stripe import (
    balance,
    catalogue,
    customers,
    happenings,
    hosted,
    metering,
    methods,
    offers,
    portal,
    settings,
    webhooks,
)
from connector.lookalike.stripe.machine import loading

ROOMS = (
    balance,
    catalogue,
    customers,
    happenings,
    hosted,
    metering,
    methods,
    offers,
    portal,
    settings,
    webhooks,
    *loading.ROOMS,
)
