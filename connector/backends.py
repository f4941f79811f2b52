"""Which billing backend a configuration means: the internal engine, or Stripe behind the guard of its account. Part of the composition root.

Stripe is not asked here: its door opens at the first call, after the guard has seen whose key it is. So verbs that only read the
books, and whatever plans without sending, run with the same backend and without a network.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from connector.billing.internal import InternalBilling
from connector.billing.ladder import Ladder
from connector.billing.outbox import Mailing
from connector.billing.stripe_backend.backend import StripeBilling
from connector.billing.stripe_backend.guard import Bound, GuardedCalls
from connector.billing.taxing import Untaxed
from connector.config import LOOPBACK, Config
from connector.errors import HaltError, RetryableError
from connector.payments.cards import TestCards
from connector.ports import Org, TaxSource, Unit
from connector.sync import ledger
from connector.tax.eu import EuVat
from connector.tax.places import country_code
from connector.tax.rates import ListedRates

ACCOUNT, MODE = "stripe_account", "stripe_mode"
"""Facts of the ledger: the Stripe account and mode that it belongs to."""
_STRIPE_TIMEOUT_S = 30


def build_tax(config: Config) -> TaxSource:
    """Return who knows the tax of customers; where Stripe Tax does, nobody here."""
    if config.tax.kind == "rates":
        return ListedRates(config.tax.rates)
    if config.tax.kind == "eu_vat":
        return EuVat(seller_country=config.seller.country, is_inclusive=config.tax.is_inclusive)
    return Untaxed()


def is_trial(config: Config, *, is_sandbox: bool) -> bool:
    """Return whether the CRM is one for trying: a sandbox, the demo CRM, or one on this machine."""
    return config.crm.kind == "demo" or is_sandbox or (urlsplit(config.crm.url).hostname or "") in LOOPBACK


def build_billing(config: Config, org_id: str, *, is_sandbox: bool, bound: Bound | None = None) -> InternalBilling:
    """Return the backend for one org; nothing leaves a sandbox but to `mail.test_to`.

    bound - what Stripe's key must lead to (`bound_to`). Raises: HaltError for a key of the wrong mode; nobody is asked.
    """
    is_stripe = config.billing.backend == "stripe"
    settings: dict[str, Any] = {
        "org": org_id,
        "timezone": config.timezone,
        "numbering": config.billing.invoice_numbering,
        "prefix": config.billing.invoice_prefix,
        "tax": build_tax(config),
        "quote_expiry_s": config.quotes.expires_after_s,
        "mailing": Mailing(
            is_on=bool(config.mail.url) and not (is_stripe and config.stripe.mails == "stripe"),
            is_held=is_sandbox and not config.mail.test_to,
            has_quotes=config.quotes.is_sent,
        ),
        "ladder": Ladder(remind=config.dunning.remind, retry=config.dunning.retry, after=config.dunning.after),
    }
    if is_stripe:
        guard = bound or Bound(mode=config.stripe.mode, expected=config.stripe.account)
        guard.refuse_mode()
        return StripeBilling(
            **settings, calls=build_calls(config, guard), automatic_tax=config.tax.kind == "stripe",
            countries=country_code, parallel=config.stripe.parallel,
        )  # fmt: skip
    return InternalBilling(**settings, payments={"test": TestCards()} if "test" in config.payments.methods else {})


def build_calls(config: Config, bound: Bound, *, timeout_s: float = _STRIPE_TIMEOUT_S) -> GuardedCalls:
    """Return the guarded door to the Stripe account of the configuration; it opens at the first call."""

    def opened() -> Any:
        from connector.billing.stripe_backend.client import StripeCalls  # the SDK takes a while to load

        return StripeCalls(config.stripe.api_key, api_base=config.stripe.api_base, timeout_s=timeout_s)

    return GuardedCalls(opened, bound)


def account_of(unit: Unit) -> str:
    """Return the Stripe account that the ledger is bound to, "" before the first contact."""
    return ledger.meta(unit, ACCOUNT) or ""


def bound_to(config: Config, unit: Unit | None, org: Org | None = None) -> Bound | None:
    """Return what Stripe's key must lead to, None where nobody bills on Stripe. unit - the ledger; None: there is none yet.

    org - of the CRM; left out, the one that the ledger knows counts.
    """
    if config.billing.backend != "stripe":
        return None
    held = {key: ledger.meta(unit, key) if unit is not None else None for key in ("org_name", "is_sandbox", ACCOUNT, MODE)}
    is_sandbox, name = (org.is_sandbox, org.name) if org is not None else (held["is_sandbox"] == "yes", held["org_name"] or "this org")
    return Bound(
        mode=config.stripe.mode,
        expected=config.stripe.account,
        account=held[ACCOUNT],
        held_mode=held[MODE],
        crm=name if is_trial(config, is_sandbox=is_sandbox) else "",
    )


def refuse_backend(config: Config, unit: Unit) -> None:
    """Raise HaltError where the ledger began with another backend: its contracts are billed there, and would be made anew here."""
    held = ledger.meta(unit, "backend")
    if held not in (None, config.billing.backend):
        raise HaltError(
            f"This ledger belongs to backend {held}, but the configuration leads to backend {config.billing.backend}.",
            hint="Set `billing.backend` back, or point `database:` to another file; a ledger keeps the backend that it began with.",
            code="other-backend",
        )


def identity(config: Config, billing: InternalBilling) -> dict[str, str]:
    """Return what else than org, backend and time zone a ledger is bound to: asks Stripe who the key belongs to.

    While Stripe cannot be reached a ledger that is bound already goes on: the guard compares before anything else is asked there.
    Raises: HaltError for another account or mode than before, RetryableError at first contact where Stripe cannot be reached.
    """
    calls = billing.calls if isinstance(billing, StripeBilling) else None
    if not isinstance(calls, GuardedCalls):
        return {}
    try:
        account = str(calls.account()["id"])
    except RetryableError:
        if calls.bound.account is None:
            raise
        account = calls.bound.account
    return {ACCOUNT: account, MODE: config.stripe.mode}
