"""Books on disk with the real engine, and short ways to write terms, changes and commands."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from connector import migrations
from connector.billing.internal import InternalBilling
from connector.core.terms import Change, ContractTerms, Interval, Item, ItemChange, Phase, Price, Settings
from connector.kit.db import Database, Unit
from connector.ports import Address, BilledRun, Command, CustomerDetails, HowBilled, Outcome, Standing

MONTH = Interval(unit="month")


def at(day: str) -> datetime:
    """Return nine o'clock UTC of a day."""
    return datetime.fromisoformat(f"{day}T09:00:00+00:00")


def day(text: str) -> datetime:
    """Return the local start of a day."""
    return datetime.fromisoformat(text)


def item(name: str = "gold", unit_amount: int = 3000, quantity: int = 1, **more: Any) -> Item:
    """Return a monthly item at so many cents."""
    price = Price(id=name, product=name, unit_amount=Decimal(unit_amount), interval=more.pop("interval", MONTH))
    return Item(id=name, price=price, quantity=Decimal(quantity), **more)


def terms(start: str = "2026-01-01", end: str | None = None, items: Sequence[Item] = (), **more: Any) -> ContractTerms:
    """Return terms of one phase in UTC, billed by invoice."""
    phase = Phase(start=day(start), end=day(end) if end else None, items=tuple(items) or (item(),))
    return ContractTerms(
        currency="eur",
        timezone=more.pop("timezone", "UTC"),
        settings=Settings(proration="day", tax_rounding="line"),
        start=day(start),
        phases=(phase,),
        end_behavior=more.pop("end_behavior", "cancel" if end else "release"),
        collection_method="send_invoice",
        days_until_due=30,
        **more,
    )


def delta(deal: str, effective: str, quantity: int, *, made: str | None = None, **more: Any) -> Change:
    """Return an amendment by so many units of gold, invoiced at once."""
    return Change(
        id=deal,
        kind="amend",
        effective=day(effective),
        made_at=day(made or effective),
        items=(ItemChange(op="delta", item=item(quantity=quantity)),),
        proration_behavior=more.pop("proration_behavior", "always_invoice"),
        **more,
    )


def cancellation(deal: str, effective: str, **more: Any) -> Change:
    """Return a cancellation of the whole contract on a day."""
    return Change(id=deal, kind="cancel", effective=day(effective), made_at=day(effective), **more)


@dataclass
class Books:
    """A database file with the engine's schema, and the engine."""

    database: Database
    billing: InternalBilling
    made: int = 0
    accounts: dict[str, CustomerDetails] = field(default_factory=dict)

    def command(self, kind: str, deal: str, *, account: str = "001A", **more: Any) -> Command:
        """Return a command with its own key."""
        self.made += 1
        details = CustomerDetails(
            account=account,
            name=f"Acme {account}",
            email="ap@acme.example",
            address=Address(line1="1 Main St", country="FR"),
        )
        return Command(
            key=f"org/{deal}/r{self.made}",
            kind=kind,  # type: ignore[arg-type]
            deal=deal,
            label=more.pop("label", f"Deal {deal}"),
            customer=more.pop("customer", details),
            how=more.pop("how", HowBilled(collection_method="send_invoice", days_until_due=30)),
            **more,
        )

    def apply(self, day_text: str, *commands: Command, hold: bool = False) -> list[Outcome]:
        """Carry out commands on a day, in one transaction."""
        with self.database.transaction() as unit:
            return self.billing.apply(commands, unit, at(day_text), hold=hold)

    def create(self, deal: str, day_text: str, agreed: ContractTerms, **more: Any) -> str:
        """Create a contract and return its id."""
        (outcome,) = self.apply(day_text, self.command("create", deal, terms=agreed, **more))
        assert outcome.problem is None, outcome.problem
        assert outcome.contract_id is not None
        return outcome.contract_id

    def change(self, day_text: str, contract_id: str, change: Change, kind: str = "change") -> Outcome:
        """Apply one change to a contract of whichever customer has it."""
        owners = self.rows("SELECT c.account FROM contract t JOIN customer c ON c.id = t.customer_id WHERE t.id = ?", contract_id)
        account = owners[0][0] if owners else "001A"
        (outcome,) = self.apply(day_text, self.command(kind, change.id, account=account, contract_id=contract_id, change=change))
        return outcome

    def bill(self, day_text: str, *, hold: bool = False, chunk: int = 200) -> BilledRun:
        """Run billing over everything due on a day."""
        runs: list[BilledRun] = []
        while not runs or runs[-1].contracts >= chunk:
            with self.database.transaction() as unit:
                runs.append(self.billing.bill(unit, at(day_text), limit=chunk, hold=hold))
        return BilledRun(
            contracts=sum(r.contracts for r in runs),
            invoices=sum(r.invoices for r in runs),
            drafts=sum(r.drafts for r in runs),
            lines=sum(r.lines for r in runs),
            deals=tuple(dict.fromkeys(deal for r in runs for deal in r.deals)),
            problems=tuple(p for r in runs for p in r.problems),
        )

    def standing(self, deal: str, day_text: str) -> Standing:
        """Return how a deal stands on a day."""
        with self.database.read() as unit:
            return self.billing.standings([deal], unit, at(day_text))[deal]

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return rows of the books."""
        with self.database.read() as unit:
            return unit.query(sql, params)

    def invoices(self) -> list[tuple[Any, ...]]:
        """Return (number, status, issued on, total) of all invoices in order."""
        return self.rows("SELECT number, status, issued_on, total FROM invoice ORDER BY id")

    def lines(self) -> list[tuple[Any, ...]]:
        """Return (start, end, amount) of all lines in order."""
        sql = "SELECT service_start, service_end, amount FROM line ORDER BY invoice_id, position"
        return [(a[:10], b[:10], n) for a, b, n in self.rows(sql)]

    @contextmanager
    def reading(self) -> Iterator[Unit]:
        """Give a unit that only reads."""
        with self.database.read() as unit:
            yield unit


@cache
def empty_database() -> Path:
    """Return a database file with the newest schema, made once by the revisions; it is copied, never opened."""
    folder = Path(tempfile.mkdtemp(prefix="books-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = Database(f"sqlite:///{folder / 'empty.db'}")
    with database.engine.begin() as connection:
        migrations.upgrade(connection)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return folder / "empty.db"


class Elsewhere:
    """Where books are opened instead of a file, if a test says so."""

    database_url: Callable[[], str] | None = None
    opened: ClassVar[list[Database]] = []


def open_books(folder: Path, **more: Any) -> Books:
    """Return empty books in a folder."""
    if Elsewhere.database_url is not None:
        database = Database(Elsewhere.database_url())
        Elsewhere.opened.append(database)
    else:
        shutil.copy(empty_database(), folder / "books.db")
        database = Database(f"sqlite:///{folder / 'books.db'}")
    return Books(database=database, billing=InternalBilling(org="00Dorg", timezone="UTC", **more))
