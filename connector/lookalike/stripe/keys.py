"""Whose request it is: secret and restricted keys, by `Authorization: Bearer` or as the name of basic authentication.

Every well-formed key of the account's mode is let in. A restricted key may be told its rights (`restrict`), by Stripe's own names:
{"customer": "read", "invoice": "write"}; without any it may do everything. Source: docs.stripe.com/keys, docs.stripe.com/keys/restricted-api-keys.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from connector.lookalike.stripe.account import Account, Refused

_KEY = re.compile(r"(?:sk|rk)_(test|live)_[A-Za-z0-9_]{2,}")
RIGHTS: dict[str, str] = {
    "account": "accounts_kyc_basic", "accounts": "accounts_kyc_basic", "billing/meter_event_adjustments": "billing_meter_event",
    "billing/meter_events": "billing_meter_event", "billing/meters": "billing_meter", "billing_portal/configurations": "customer_portal",
    "billing_portal/sessions": "customer_portal", "charges": "charge", "coupons": "coupon", "credit_notes": "credit_note",
    "customers": "customer", "disputes": "dispute", "events": "event", "invoice_payments": "invoice_payment", "invoiceitems": "invoice",
    "invoices": "invoice", "payment_intents": "payment_intent", "payment_records": "payment_record", "payment_methods": "payment_method", "payment_method_configurations": "payment_method_configuration", "prices": "plan", "products": "product",
    "promotion_codes": "promotion_code", "refunds": "charge", "subscription_items": "subscription", "subscription_schedules": "subscription",
    "subscriptions": "subscription", "tax_rates": "tax_rate", "webhook_endpoints": "webhook", "test_helpers": "test_clock",
}  # fmt: skip
"""First parts of a path below /v1 -> the right that Stripe asks for, without `rak_` and `_read` or `_write`."""


class Keys:
    """The keys of an account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._rights: dict[str, dict[str, str]] = {}
        self._gone: set[str] = set()

    def restrict(self, key: str, rights: Mapping[str, str]) -> None:
        """Give a restricted key these rights and no others; a right to write includes reading."""
        for name, right in rights.items():
            if name not in RIGHTS.values() or right not in ("read", "write", "none"):
                known = ", ".join(sorted(set(RIGHTS.values())))
                raise Refused(
                    f"rights: {name}: {right} is no right; there are {known}, each read, write or none", param="rights"
                )
        self._rights[key] = dict(rights)

    def revoke(self, key: str) -> None:
        """Let a key be known no more, as when it was rolled in the dashboard."""
        self._gone.add(key)

    def check(self, authorization: str, method: str, path: str) -> str:
        """Return the key that a request came with. Raises: Refused 401 for none or a wrong one, 403 where a right is missing."""
        key = _key_in(authorization)
        if not key:
            raise Refused(
                "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth "
                "(e.g. 'Authorization: Bearer YOUR_SECRET_KEY').", status=401,
            )  # fmt: skip
        fits = _KEY.fullmatch(key)
        if fits is None or (fits[1] == "live") != self._account.is_live:
            raise Refused(f"Invalid API Key provided: {_hidden(key)}", status=401)
        if key in self._gone:
            raise Refused(f"Expired API Key provided: {_hidden(key)}", status=401, code="api_key_expired")
        self._check_right(key, method, path)
        return key

    def _check_right(self, key: str, method: str, path: str) -> None:
        rights = self._rights.get(key)
        if rights is None:
            return
        parts = path.removeprefix("/v1/").split("/")
        name = RIGHTS.get("/".join(parts[:2])) or RIGHTS.get(parts[0])
        needed = "read" if method == "GET" or path.endswith(("/create_preview", "/preview")) else "write"
        if name is not None and rights.get(name, "none") not in (needed, "write"):
            raise Refused(
                f"The provided key '{_hidden(key)}' does not have the required permissions for this endpoint on account "
                f"'{self._account.id}'. Having the 'rak_{name}_{needed}' permission would allow this request to continue.",
                status=403, code="more_permissions_required",
            )  # fmt: skip


def _key_in(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _hidden(key: str) -> str:
    """Return a key with its middle hidden, as Stripe names it."""
    shown = len("sk_test_") if len(key) > 2 * len("sk_test_") else 2
    return f"{key[:shown]}{'*' * max(4, len(key) - shown - 4)}{key[-4:] if shown > 2 else ''}"
