"""Charging and reminding between two transactions: what is begun is kept first, what came of it after (decision D-143).

Nobody outside is ever asked inside a transaction of the books. A crash leaves tries pending; the next pass asks for them again
under their own keys before it begins others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from connector.charging import Charge
from connector.errors import RetryableError
from connector.sync import ledger
from connector.sync.seam import Collected, Collecting, Transactions

AT_ONCE = 100


def collect(
    database: Transactions, collecting: Collecting | None, now: datetime, *, stop: threading.Event, log: Callable[..., None]
) -> Collected:
    """Charge every invoice that is to be charged by *now*, those of an interrupted pass first."""
    done = Collected()
    if collecting is None or not collecting.payments:
        return done
    passage = _Passage(database=database, collecting=collecting, now=now, stop=stop, log=log, done=done)
    passage.ask_pending()
    while not stop.is_set() and not passage.silent:
        with database.transaction() as unit:
            if not collecting.begin_charges(unit, now, limit=AT_ONCE):
                break
        passage.ask_pending()
    return done


@dataclass(slots=True, kw_only=True)
class _Passage:
    """One pass: *asked* are the keys it has asked for, *silent* the methods that did not answer and are left alone until the next."""

    database: Transactions
    collecting: Collecting
    now: datetime
    stop: threading.Event
    log: Callable[..., None]
    done: Collected
    asked: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)

    def ask_pending(self) -> None:
        """Ask for every pending try once."""
        after = ""
        while not self.stop.is_set():
            with self.database.read() as unit:
                charges = self.collecting.pending_charges(unit, limit=AT_ONCE, after=after)
            if not charges:
                return
            for charge in charges:
                if charge.key not in self.asked and not self.stop.is_set():
                    self.asked.add(charge.key)
                    self._ask(charge)
            after = charges[-1].key

    def _ask(self, charge: Charge) -> None:
        adapter = self.collecting.payments.get(charge.method)
        if adapter is None or charge.method in self.silent:
            self.done.unknown += 1
            return
        try:
            result = adapter.charge(charge)
        except RetryableError as error:
            self.silent.add(charge.method)
            self.done.unknown += 1
            self.log("charge.failed", key=charge.key, error=str(error), hint=error.hint, wait_s=error.retry_after_s)
            return
        with self.database.transaction() as unit:
            ledger.tell_crm(unit, self.collecting.settle_charge(unit, charge, result, self.now))
        self.done.paid += result.is_paid
        self.done.failed += not result.is_paid


def dun(database: Transactions, collecting: Collecting | None, now: datetime, done: Collected, *, hold: bool, stop: threading.Event) -> None:
    """Take the next step for every invoice that is not paid, in bounded pieces."""
    while collecting is not None and not stop.is_set():
        with database.transaction() as unit:
            dunned = collecting.dun(unit, now, limit=AT_ONCE, hold=hold)
            ledger.tell_crm(unit, dunned.deals)
        done.steps += dunned.told
        done.problems += dunned.problems
        if dunned.invoices < AT_ONCE:
            break
