"""Asks the Stripe account: who it is, what the key may read, what time it is there. Reads only, and each question has a timeout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from connector import app, backends
from connector.billing.stripe_backend.client import API_VERSION, SDK_API_VERSION, SDK_VERSION
from connector.billing.stripe_backend.guard import Bound, GuardedCalls
from connector.billing.stripe_backend.rights import RIGHTS
from connector.billing.stripe_backend.steps import Calls
from connector.config import Config
from connector.doctor import stripe
from connector.doctor.findings import BY_CODE, STRIPE_CHECKS, Finding, failed, of_problem, skipped
from connector.doctor.house import is_here
from connector.errors import ConfigError, HaltError, RejectedError, RetryableError
from connector.kit.clock import Clock
from connector.kit.db import Database
from connector.migrations import HEAD
from connector.ports import Org
from connector.web.hooks import PATH

_TIMEOUT_S = 20
PROBES: dict[str, tuple[str, dict[str, Any]]] = {
    "Customers": ("customers.list", {}),
    "Products": ("products.list", {}),
    "Prices": ("prices.list", {}),
    "Coupons": ("coupons.list", {}),
    "Tax rates": ("tax_rates.list", {}),
    "Subscriptions": ("subscription_schedules.list", {}),
    "Invoices": ("invoices.list", {}),
    "Credit notes": ("credit_notes.list", {}),
    "Charges and Refunds": ("refunds.list", {}),
    "PaymentIntents": ("payment_intents.list", {}),
    "Payment Records": ("payment_records.list", {}),
    "PaymentMethods": ("payment_methods.list", {"type": "card"}),
    "Disputes": ("disputes.list", {}),
    "Events": ("events.list", {}),
    "Customer portal": ("billing_portal.configurations.list", {}),
    "Billing meters": ("billing.meters.list", {}),
}
"""By resource of the dashboard, a list call that shows whether it may be read; what has none is not here (meter events are only sent)."""


def bound_of(config: Config, org: Org | None) -> Bound | None:
    """Return what Stripe's key must lead to, from the ledger where there is one that can be read; None without Stripe."""
    if not app.has_database(config):
        return backends.bound_to(config, None, org)
    database = Database(config.database, is_looked_at=True)
    try:
        if app.schema_version(database) is None:
            return backends.bound_to(config, None, org)
        with database.read() as unit:
            return backends.bound_to(config, unit, org)
    except (HaltError, RetryableError):  # the check of the database says what is wrong with it
        return backends.bound_to(config, None, org)
    finally:
        database.close()


def _joined(config: Config) -> int:
    """Return how many customers of the books want one invoice for all of their contracts; 0 where that cannot be read."""
    if not app.has_database(config):
        return 0
    database = Database(config.database, is_looked_at=True)
    try:
        if app.schema_version(database) != HEAD:
            return 0
        with database.read() as unit:
            sql = "SELECT COUNT(*) FROM customer WHERE consolidate_set = 'yes' OR (consolidate_set IS NULL AND is_consolidated)"
            return int(unit.query(sql)[0][0])
    except (HaltError, RetryableError):
        return 0
    finally:
        database.close()


def examined(config: Config, org: Org | None, clock: Clock) -> list[Finding]:
    """Return what is to be said of the Stripe account of the configuration; nothing where nobody bills on Stripe."""
    bound = bound_of(config, org)
    if bound is None:
        return []
    form = config.stripe.api_key[: len("sk_")]
    found = [
        *stripe.settings(config.stripe.unused, _joined(config)),
        stripe.mails(config.stripe.mails, bound.mode, has_server=bool(config.mail.url), sends_quotes=config.quotes.is_sent),
    ]
    calls = backends.build_calls(config, bound, timeout_s=_TIMEOUT_S)
    why = _tried(found, "stripe-account", lambda: _account(found, calls, bound, form))
    if any(f.code == "stripe-right" for f in found):
        why = _tried(found, "stripe-rights", lambda: _without_account(found, calls, form)) or "the key may not ask which account it is of"
    elif why == "":
        for name, look in (
            ("stripe-rights", lambda: found.extend(_rights(calls, form))),
            ("stripe-clock", lambda: found.append(stripe.clock(clock.now(), calls.server_now()))),
            ("stripe-webhook", lambda: found.append(_webhook(config, calls))),
            ("stripe-payments", lambda: found.append(stripe.methods(_optional(calls, "payment_method_configurations.list")))),
        ):
            _tried(found, name, look)
    said = {f.name for f in found}
    return [*found, *skipped([name for name in STRIPE_CHECKS if name not in said], why or "Stripe did not answer")]


def _account(found: list[Finding], calls: GuardedCalls, bound: Bound, form: str) -> None:
    bound.refuse_mode()
    answer = calls.account()
    found.append(stripe.key(form, bound.mode, bound.crm))
    found.append(stripe.account(answer, bound.mode))
    found.append(stripe.version(API_VERSION, SDK_VERSION, SDK_API_VERSION))


def _tried(found: list[Finding], name: str, look: Callable[[], Any]) -> str:
    """Carry out a look; what keeps it is said. Return why the rest cannot be known, "" where it can."""
    try:
        look()
    except ConfigError as error:
        found += [of_problem(problem, name) for problem in error.problems]
        return "the key cannot be used"
    except RejectedError as error:
        found.append(of_problem(error.problem, name))
        return "Stripe refused the question"
    except HaltError as error:
        at = BY_CODE.get(error.code, name)
        found.append(failed(at, str(error), error.hint, code=error.code))
        return "it is not the account expected" if at == "stripe-account" else "the key cannot be used"
    except RetryableError as error:
        found.append(failed(name, str(error), error.hint, code="unreachable"))
        return "Stripe did not answer"
    return ""


def _without_account(found: list[Finding], calls: GuardedCalls, form: str) -> None:
    """Say of a key that may not even ask which account it is of what else it lacks, so that one visit to the Dashboard is enough."""
    others = _rights(calls.unasked(), form, lacks=(("Accounts", "read"),))
    found[:] = [f for f in found if f.code != "stripe-right"] + others


def _rights(calls: Calls, form: str, lacks: Sequence[tuple[str, str]] = ()) -> list[Finding]:
    """Return the rights that the key lacks, each probed by a list of one; *lacks*: what is known already."""
    probed = [(right, PROBES[right.resource]) for right in RIGHTS if right.resource in PROBES]
    missing = list(lacks)
    for right, (call, params) in probed if form != "sk_" else ():
        try:
            calls.do(call, {"limit": 1, **params})
        except HaltError as error:
            if error.code != "stripe-right":
                raise
            missing.append((right.resource, right.right))
        except RejectedError:
            pass  # what is wrong with the question is told after the right to ask it
    return stripe.rights(missing, len(probed), form)


def _optional(calls: GuardedCalls, call: str) -> list[dict[str, Any]] | None:
    """Return what a list call of a right that nothing else needs shows, None where this key may not."""
    try:
        return calls.listed(call, {}, limit=100)
    except HaltError as error:
        if error.code != "stripe-right":
            raise
        return None


def _webhook(config: Config, calls: GuardedCalls) -> Finding:
    has_secret = bool(config.stripe.webhook_secret)
    url = config.web.public_url + PATH
    is_reachable = config.web.public_url.startswith("https://") and not is_here(config.web.public_url)
    endpoints = _optional(calls, "webhook_endpoints.list") if has_secret and is_reachable else None
    return stripe.webhook(endpoints, url, API_VERSION, has_secret=has_secret, is_reachable=is_reachable)
