"""The billing run over everything that is due: one transaction a chunk, so that a crash loses at most the chunk it hit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from connector.ports import BilledRun, Billing, Unit

CHUNK_CONTRACTS = 200


class Transactions(Protocol):
    """The database as the run needs it (see kit.db)."""

    def transaction(self) -> AbstractContextManager[Unit]:
        """Return a unit that commits at the end, or rolls back on an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """chunk_contracts - contracts in one transaction. chunks - the most chunks of one run."""

    chunk_contracts: int = CHUNK_CONTRACTS
    chunks: int = 100_000


def billing_run(
    database: Transactions,
    billing: Billing,
    as_of: datetime,
    *,
    hold: bool,
    limits: RunLimits = RunLimits(),
    after_chunk: Callable[[Unit, BilledRun], None] = lambda _unit, _run: None,
) -> BilledRun:
    """Bill everything that is due at *as_of* and return what was done; running it again adds nothing.

    *after_chunk* is called inside each chunk's transaction, so that what it notes (which deals the CRM must be told of)
    commits together with the invoices.
    """
    runs: list[BilledRun] = []
    for _ in range(limits.chunks):
        with database.transaction() as unit:
            run = billing.bill(unit, as_of, limit=limits.chunk_contracts, hold=hold)
            after_chunk(unit, run)
        runs.append(run)
        if run.contracts < limits.chunk_contracts:
            break
    return BilledRun(
        contracts=sum(r.contracts for r in runs),
        invoices=sum(r.invoices for r in runs),
        drafts=sum(r.drafts for r in runs),
        lines=sum(r.lines for r in runs),
        deals=tuple(dict.fromkeys(deal for r in runs for deal in r.deals)),
        problems=tuple(p for r in runs for p in r.problems),
    )
