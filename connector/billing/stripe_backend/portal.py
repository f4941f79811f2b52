"""The customer's portal at Stripe: a session of it for whoever follows our link, in a configuration made once from `portal.allow`.

Our link stays the same for ever; Stripe's sessions live for minutes, so each visit opens a fresh one. What changes a contract is not
opened there: the books own what is agreed, and a change made at Stripe would go past its price and its deal.

Worked example: `allow: [pay, download]` is a configuration with invoices and payment methods and nothing else, found by the digest
of that in its metadata; the next start of the connector finds it again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from connector.billing.stripe_backend.pushes import forget_shared, save_shared, shared_id
from connector.billing.stripe_backend.steps import Calls
from connector.errors import RejectedError
from connector.kit.db import Database
from connector.ports import Unit

_UPDATES = ("email", "name", "address", "tax_id")
_MOST_CONFIGURATIONS = 100
_LANGUAGES = ("en", "fr")


def features(allow: Sequence[str]) -> dict[str, Any]:
    """Return what a portal configuration lets customers do; each feature is said, so that no default of Stripe's counts."""
    details: dict[str, Any] = {"enabled": "details" in allow}
    if "details" in allow:
        details["allowed_updates"] = list(_UPDATES)
    return {
        "customer_update": details,
        "invoice_history": {"enabled": "download" in allow or "pay" in allow},
        "payment_method_update": {"enabled": "payment_method" in allow or "pay" in allow},
        "subscription_cancel": {"enabled": False},
        "subscription_update": {"enabled": False},
    }


def _digest(allow: Sequence[str]) -> str:
    return hashlib.blake2b(repr(features(allow)).encode(), digest_size=8).hexdigest()


def known_customer(unit: Unit, customer_id: str) -> str | None:
    """Return Stripe's id of a customer, None where it has none yet."""
    return shared_id(unit, ("customer", customer_id))


class Sessions:
    """Opens sessions of Stripe's portal for one org."""

    def __init__(self, calls: Calls, org: str, allow: Sequence[str]) -> None:
        self._calls, self._org, self._allow = calls, org, tuple(allow)

    def url(self, database: Database, customer: str, *, language: str, now: datetime) -> str:
        """Return the address of a fresh session. Raises: RetryableError, RejectedError, HaltError as every call."""
        shared = ("portal", _digest(self._allow))
        with database.read() as unit:
            known = shared_id(unit, shared)
        if known is not None:
            try:
                return self._open(customer, known, language)
            except RejectedError:  # somebody switched the configuration off: the next look finds or makes another
                with database.transaction() as unit:
                    forget_shared(unit, shared)
        known = self._configuration()
        with database.transaction() as unit:
            save_shared(unit, shared, known, now)
        return self._open(customer, known, language)

    def _open(self, customer: str, configuration: str, language: str) -> str:
        params: dict[str, Any] = {"customer": customer, "configuration": configuration, "locale": language if language in _LANGUAGES else "auto"}
        return str(self._calls.do("billing_portal.sessions.create", params, key=f"portal/{secrets.token_hex(16)}")["url"])

    def _configuration(self) -> str:
        """Return the id of the configuration for what is allowed, found or made."""
        digest = _digest(self._allow)
        for found in self._calls.listed("billing_portal.configurations.list", {"active": True}, limit=_MOST_CONFIGURATIONS):
            metadata = found.get("metadata") or {}
            if metadata.get("connector_portal") == digest and metadata.get("connector_org") == self._org:
                return str(found["id"])
        params = {"features": features(self._allow), "metadata": {"connector_org": self._org, "connector_portal": digest}}
        return str(self._calls.do("billing_portal.configurations.create", params, key=f"portal/{self._org}/{digest}/{secrets.token_hex(8)}")["id"])

