"""A whole world for tests: a demo CRM over loopback, a ledger on disk, one clock for both; nothing is mocked but time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from connector import app
from connector.config import Config, demo_config
from connector.kit.clock import ShiftedClock
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.seed import seed
from connector.lookalike.crm.server import CrmServer
from connector.sync import rounds
from connector.sync.rounds import Billed
from connector.sync.seam import Tally

ROOT = Path(__file__).parent.parent
START = date(2026, 1, 1)


def at(day: str) -> datetime:
    """Return nine o'clock UTC of a day."""
    return datetime.fromisoformat(f"{day}T09:00:00+00:00")


@dataclass(slots=True)
class World:
    """The demo company, its CRM server, and the connector's configuration; `ids` by the seed's names."""

    org: Org
    crm: CrmServer
    config: Config
    clock: ShiftedClock
    ids: dict[str, str] = field(default_factory=dict)

    def edit(self, name: str, kind: str = "Opportunity", **fields: Any) -> None:
        """Change a record as the rep does."""
        with self.org.lock, self.org.transaction(user=self.org.rep_user):
            self.org.update(kind, self.ids.get(name, name), fields)

    def win(self, *names: str) -> None:
        """Close opportunities as won."""
        for name in names:
            self.edit(name, StageName="Closed Won")

    def record(self, name: str, kind: str = "Opportunity") -> dict[str, Any]:
        """Return a record as the CRM holds it."""
        return self.org.get(kind, self.ids.get(name, name))

    def invoices(self) -> list[dict[str, Any]]:
        """Return the invoice rows in the CRM, in order of number."""
        return sorted((dict(r) for r in self.org.rows("Billing_Invoice__c")), key=lambda r: r["Number__c"])

    def sync(self, **how: Any) -> Tally:
        """Run `sync` and return what it did."""
        tally = Tally()
        with app.writing_house(self.config, "sync", clock=self.clock) as house:
            rounds.sync(house.seam, tally, **how)
            rounds.count_open(house.seam, tally)
        return tally

    def bill(self, day: str | None = None) -> tuple[Billed, Tally]:
        """Move the clock to *day* and run `bill`."""
        if day is not None:
            self.clock.move_to(at(day))
        tally = Tally()
        with app.writing_house(self.config, "bill", clock=self.clock) as house:
            return rounds.bill(house.seam, self.clock.now(), tally), tally

    def lines(self) -> int:
        """Return how many lines the books hold."""
        with app.reading_house(self.config) as books, books.database.read() as unit:
            return int(unit.query("SELECT COUNT(*) FROM line")[0][0])


def mapping_files() -> list[Path]:
    """Return the shipped mappings."""
    return [ROOT / "mappings" / f"salesforce-{n}.yaml" for n in ("opportunity", "quote")]


@contextmanager
def world(folder: Path, *, day: str = "2026-01-01", is_seeded: bool = True, **config: Any) -> Iterator[World]:
    """Give a running world in *folder*, at nine o'clock of *day*."""
    clock = ShiftedClock(at(day).astimezone(UTC))
    org = Org(clock=clock.now)
    ids = seed(org, START) if is_seeded else {}
    with CrmServer(org) as crm:
        made = demo_config(
            database=f"sqlite:///{folder}/connector.db", crm_url=crm.url, mappings=config.pop("mappings", mapping_files()), port=0
        )
        yield World(org=org, crm=crm, config=made, clock=clock, ids=ids)
