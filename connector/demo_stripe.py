"""The demo with Stripe in place of the internal engine: a look-alike on this machine, on the demo's clock (decision D-30).

The look-alike issues invoices by itself at the time of day at which a subscription began, an hour as drafts first, as Stripe does; so
a day of the story has an afternoon, in which they are read back. Customers pay there, not in our books.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from connector.config import Config
from connector.config.billing import BillingConfig
from connector.config.collecting import PaymentsConfig
from connector.config.stripe import StripeConfig
from connector.core.money import major
from connector.errors import ConfigError, Problem
from connector.kit.clock import ShiftedClock, SystemClock
from connector.lookalike.stripe.account import Account, catch_up
from connector.lookalike.stripe.controls import CONTROLS
from connector.lookalike.stripe.currencies import CURRENCIES
from connector.lookalike.stripe.server import StripeServer, serve

AFTERNOON = 15
_KEY = "sk_test_demo"
_BILLED = ("open", "paid", "uncollectible")


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """The look-alike's account, and who pays there how many days after the invoice's date."""

    account: Account
    url: str
    pays_after_days: Mapping[str, int]

    def customers_pay(self, today: date) -> None:
        """Let the bank transfers arrive that were sent up to today."""
        with self.account.lock:
            catch_up(self.account)
            customers = self.account.kind("customer")
            for invoice in list(self.account.kind("invoice").values()):
                days = self.pays_after_days.get(str(customers[invoice["customer"]].get("name")))
                if invoice["status"] == "open" and days is not None and _day(invoice) + timedelta(days=days) <= today:
                    CONTROLS["pay"](self.account, {"invoice": invoice["id"]})

    def totals(self, currency: str) -> tuple[Decimal, int]:
        """Return the look-alike's own sum (major units) and number of invoices that stand."""
        with self.account.lock:
            catch_up(self.account)
            found = [i for i in self.account.kind("invoice").values() if i["status"] in _BILLED and i["currency"] == currency.lower()]
        return major(sum(int(i["total"]) for i in found), currency), len(found)


def arrival(morning: datetime, now: datetime) -> datetime:
    """Return when of a day the demo arrives: in the afternoon, and behind the hour at which what began just now is final again."""
    behind = now + timedelta(minutes=90)
    latest = morning.replace(hour=23, minute=30)
    wanted = morning.replace(hour=AFTERNOON)
    if behind.date() == now.date():
        wanted = max(wanted, morning.replace(hour=behind.hour, minute=behind.minute))
    return min(wanted if behind.date() == now.date() else latest, latest)


def _day(invoice: Mapping[str, object]) -> date:
    return datetime.fromtimestamp(int(str(invoice["created"])), UTC).date()


@contextmanager
def elsewhere(clock: ShiftedClock, currency: str, pays_after_days: Mapping[str, int], *, port: int = 0) -> Iterator[Elsewhere]:
    """Give an account at the look-alike while the block runs."""
    account = Account(clock=clock.now, country="FR", currency=currency.lower())
    server = StripeServer(account, port=port).start()
    try:
        yield Elsewhere(account=account, url=server.url, pays_after_days=pays_after_days)
    finally:
        server.stop()


def on_stripe(config: Config, url: str) -> Config:
    """Return the demo's configuration with the look-alike as its billing backend."""
    return replace(
        config,
        billing=BillingConfig(backend="stripe"),
        stripe=StripeConfig(api_key=_KEY, api_base=url),
        payments=PaymentsConfig(methods=("stripe",)),
    )


def serve_stripe(*, port: int, country: str, currency: str) -> int:
    """Run the look-alike alone, on the machine's clock, until it is ended; return the exit status."""

    def ready(url: str) -> None:
        sys.stdout.write(f"Stripe look-alike on {url}/ (stripe: {{api_key: {_KEY}, api_base: {url}}}). Ctrl-C ends it.\n")
        sys.stdout.flush()

    account = Account(clock=SystemClock().now, country=country.upper(), currency=currency.lower())
    if account.currency not in CURRENCIES:
        hint = "Write three letters, such as --currency EUR."
        raise ConfigError([Problem(code="bad-currency", message=f"Stripe has no currency {currency}.", hint=hint)])
    try:
        serve(account, port=port, on_ready=ready)
    except OSError as error:
        hint = "End what listens there, or choose another with --port."
        message = f"Port {port} cannot be listened on: {error.strerror or error}."
        raise ConfigError([Problem(code="port-taken", message=message, hint=hint)]) from error
    return 0
