"""Billing runs over contracts that are due, in a process of its own, on books made without a CRM.

`python -m bench.due {"folder": …, "kind": "make" | "run", …}` prints one line of JSON. *make* leaves contracts of three lines
each, each with its deal in the ledger, billed for some months by the very engine that is measured later; *run* copies them
first and bills the next month as `connector bill` does, chunk by chunk, the marks that tell the CRM included.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec

from bench.crm import LINES
from bench.ours import copy_database
from bench.watch import Watch, hand_back, peak_mib
from connector import app, backends
from connector.config import demo_config
from connector.core.terms import ContractTerms, Interval, Item, Phase, Price, Settings
from connector.kit.db import Database
from connector.ports import Address, Billing, Command, CustomerDetails, HowBilled
from connector.sync import ledger, rounds

_ORG = "00D5g0000000001EAA"
_CHUNK = 200
_LAST_MONTH = 2026 * 12 + 1  # February 2026: what it bills falls due after 1 March, so that the run measured finds nothing overdue
_MONTH = Interval(unit="month")


class Task(msgspec.Struct, kw_only=True):
    """What to do: make *contracts* whose last *months* months are billed, or bill the month after, in a copy named *name*."""

    folder: str
    kind: Literal["make", "run"]
    contracts: int
    months: int = 1
    name: str = "ledger.db"


def first_of(month: int) -> datetime:
    """Return nine o'clock UTC of the first day of a month counted from year 0."""
    return datetime(month // 12, month % 12 + 1, 1, 9, tzinfo=UTC)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Database, Billing]]:
    """Open database and engine as the program does."""
    config = demo_config(database=f"sqlite:///{path}", crm_url="http://127.0.0.1:9", mappings=[], port=0)
    database = app.open_database(config, may_migrate=True)
    app.settle_memory()
    try:
        yield database, backends.build_billing(config, _ORG, is_sandbox=False)
    finally:
        database.close()


def agreed(number: int, start: datetime) -> Command:
    """Return the command that a won deal of three lines becomes."""
    items = tuple(
        Item(
            id=f"BULK-{n}",
            price=Price(
                id=f"BULK-{n} 10 EUR a month", product=f"BULK-{n}", description=f"Bulk service {n}",
                unit_amount=Decimal(1000), interval=_MONTH,
            ),
            quantity=Decimal(n),
            crm_lines=(f"00k{number * LINES + n:012d}AAQ",),
        )
        for n in range(1, LINES + 1)
    )  # fmt: skip
    start = start.replace(hour=0, tzinfo=None)
    end = start.replace(year=start.year + 10)
    terms = ContractTerms(
        currency="eur", timezone="UTC", settings=Settings(proration="day", tax_rounding="line"), start=start,
        phases=(Phase(start=start, end=end, items=items),), end_behavior="cancel", collection_method="send_invoice",
        days_until_due=30,
    )  # fmt: skip
    customer = CustomerDetails(
        account=f"001{number:012d}AAA", name=f"Customer {number:06d}", email=f"billing@customer{number:06d}.example",
        address=Address(line1="1 Market Street", city="Lyon", postal_code="69001", country="France"),
    )  # fmt: skip
    deal = f"006{number:012d}AAA"
    return Command(
        key=f"{_ORG}/{deal}/r1", kind="create", deal=deal, label=f"Deal {number:06d}", customer=customer, how=HowBilled(),
        terms=terms,
    )  # fmt: skip


def made(task: Task) -> dict[str, Any]:
    """Make the contracts, billed up to and with the last month before the one that is measured."""
    first = _LAST_MONTH - task.months + 1
    with opened(Path(task.folder) / "before.db") as (database, billing):
        for at in range(0, task.contracts, _CHUNK):
            commands = [agreed(n, first_of(first)) for n in range(at, min(task.contracts, at + _CHUNK))]
            with database.transaction() as unit:
                outcomes = billing.apply(commands, unit, first_of(first), hold=False)
                deals = [
                    ledger.Deal(
                        org=_ORG, name=c.deal, label=c.label, state="written", contract_id=o.contract_id, root=c.deal,
                        account=c.customer.account, revision=1, decision_key=c.key, apply_due=False,
                    )
                    for c, o in zip(commands, outcomes, strict=True)
                ]  # fmt: skip
                ledger.make_due(unit, [(d.name, d.label, d.root) for d in deals], _ORG, ledger.iso(first_of(first)))
                ledger.save_deals(unit, deals, ledger.iso(first_of(first)))
        for month in range(first + 1, _LAST_MONTH + 1):
            run(database, billing, first_of(month))
    return {"contracts": task.contracts}


def run(database: Database, billing: Billing, at: datetime) -> rounds.Billed:
    """Bill everything that is due."""
    return rounds.bill_books(database, billing, at, hold=False, stop=threading.Event())


def measured(task: Task) -> dict[str, Any]:
    """Bill the next month in a copy of the books; return times, peak memory and counts."""
    path = Path(task.folder) / task.name
    copy_database(path.with_name("before.db"), path)
    with opened(path) as (database, billing):
        gc.collect()
        watch = Watch()
        with watch.running():
            done = run(database, billing, first_of(_LAST_MONTH + 1))
    counts = {"contracts": done.contracts, "invoices": done.invoices, "lines": done.lines, "problems": len(done.problems)}
    return watch.times | counts | {"peak_mib": peak_mib()}


def main(words: Sequence[str]) -> None:
    """Carry out one task."""
    task = msgspec.json.decode(words[0], type=Task)
    hand_back(made(task) if task.kind == "make" else measured(task))


if __name__ == "__main__":
    main(sys.argv[1:])
