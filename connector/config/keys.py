"""The keys a configuration may have, block by block, and those whose feature is still to come."""

from __future__ import annotations

from typing import Any

# Keys that interfaces promise and that later features bring: each with its documented default, or the value that means "off".
LATER: dict[str, Any] = {
    "billing.mode": "live",
    "billing.draft_hold": "0m",
    "renewals.opportunity_days_before": 0,
    "alerts.mail": None,
    "alerts.url": None,
    "guards.new_contracts_per_round": 0,
    "guards.invoice_amount": 0,
    "retention.staged": "400d",
    "retention.attempts": "400d",
    "schedule.backup": "30 3 * * *",
    "web.api_tokens": [],
    "seller.logo": None,
}
KNOWN: dict[str, tuple[str, ...]] = {
    "": (
        "database", "timezone", "crm", "billing", "stripe", "sources", "web", "schedule", "log", "seller", "tax", "quotes",
        "payments", "dunning", "portal", "mail", "renewals", "webhooks", "alerts", "guards", "retention",
    ),
    "crm": (
        "kind", "url", "auth", "client_id", "client_secret", "username", "password", "security_token", "private_key_file",
        "api_version", "org_id", "daily_api_budget", "language", "overlap", "bulk_above",
    ),
    "billing": (
        "backend", "proration", "tax_rounding", "invoice_numbering", "invoice_prefix", "cancellation_day", "payment_terms",
        "mode", "max_crm_age", "draft_hold",
    ),
    "stripe": ("api_key", "api_base", "webhook_secret", "account", "mails", "account_ids", "parallel"),
    "web": ("listen", "public_url", "secret", "admin_password", "api_tokens"),
    "schedule": ("billing_run", "reconcile", "backup"),
    "log": ("format", "level"),
    "seller": ("name", "address", "country", "vat_id", "email", "logo", "iban"),
    "tax": ("kind", "rates", "inclusive"),
    "quotes": ("send", "expires_after", "start", "on_accept"),
    "payments": ("methods",),
    "dunning": ("remind", "retry", "after"),
    "portal": ("allow",),
    "mail": ("url", "from", "pay_link", "test_to"),
    "renewals": ("opportunity_days_before",),
    "alerts": ("mail", "url"),
    "guards": ("new_contracts_per_round", "invoice_amount"),
    "retention": ("staged", "attempts"),
}  # fmt: skip
