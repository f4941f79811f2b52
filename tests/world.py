"""A whole world for tests: a demo CRM over loopback, a ledger on disk, one clock for both; nothing is mocked but time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from books_world import empty_database

from connector import app
from connector.config import Config, demo_config
from connector.kit.clock import ShiftedClock
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.seed import seed, seed_from
from connector.lookalike.crm.server import CrmServer
from connector.sync import intents, rounds
from connector.sync.rounds import Billed
from connector.sync.seam import Tally

ROOT = Path(__file__).parent.parent
START = date(2026, 1, 1)


def at(day: str) -> datetime:
    """Return nine o'clock UTC of a day."""
    return datetime.fromisoformat(f"{day}T09:00:00+00:00")


class _Record(dict[str, Any]):
    """A record's fields, of which the CRM stores only the filled ones."""

    def __missing__(self, key: str) -> None:
        return None


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
        """Return a record as the CRM holds it; a blank field is None."""
        return _Record(self.org.get(kind, self.ids.get(name, name)))

    def invoices(self) -> list[dict[str, Any]]:
        """Return the invoice rows in the CRM, in order of number."""
        return sorted((dict(r) for r in self.org.rows("Billing_Invoice__c")), key=lambda r: r["Number__c"])

    def add(self, kind: str, ref: str, **fields: Any) -> str:
        """Create a record as the rep does; a value `@name` stands for the id of that name."""
        plain = {k: self.ids[v[1:]] if isinstance(v, str) and v.startswith("@") else v for k, v in fields.items()}
        with self.org.lock:
            made = seed_from(self.org, {kind: [{"ref": ref, **plain}]}, known=self.ids)
        self.ids[ref] = made[ref]
        return made[ref]

    def account(self, ref: str, **fields: Any) -> str:
        """Create a customer with everything that billing needs."""
        address = {"BillingStreet": "1 High Street", "BillingPostalCode": "69001", "BillingCity": "Lyon", "BillingCountry": "France"}
        return self.add(
            "Account", ref, **({"Name": ref.title(), "Billing_Email__c": f"billing@{ref}.example"} | address | fields)
        )

    def deal(self, ref: str, *lines: Mapping[str, Any], account: str = "helios", **fields: Any) -> str:
        """Create an opportunity (closing on the first day, New, monthly, not yet won) and its lines."""
        head = {"Name": ref.replace("_", " ").title(), "AccountId": f"@{account}", "CloseDate": START, "StageName": "Negotiation/Review"}
        made = self.add("Opportunity", ref, **(head | {"Pricebook2Id": "@standard"} | fields))
        for number, line in enumerate(lines, 1):
            self.line(f"{ref}_{number}", ref, **line)
        return made

    def line(self, ref: str, parent: str, kind: str = "Opportunity", **fields: Any) -> str:
        """Create a line; `product` names the catalogue's product (Team Seat by default)."""
        product = fields.pop("product", "seat")
        more = {"PricebookEntryId": f"@{product}_entry", f"{kind}Id": f"@{parent}", "Quantity": 1, "UnitPrice": "100.00"} | fields
        more["UnitPrice"] = Decimal(str(more["UnitPrice"]))
        return self.add(f"{kind}LineItem", ref, **more)

    def quote(self, ref: str, opportunity: str, *lines: Mapping[str, Any], **fields: Any) -> str:
        """Create a presented quote and its lines."""
        head = {"Name": ref.replace("_", " ").title(), "OpportunityId": f"@{opportunity}", "Status": "Presented"}
        made = self.add("Quote", ref, **(head | fields))
        for number, line in enumerate(lines, 1):
            self.line(f"{ref}_{number}", ref, "Quote", **line)
        return made

    def delete(self, name: str, kind: str = "Opportunity") -> None:
        """Move a record to the recycle bin as the rep does."""
        with self.org.lock, self.org.transaction(user=self.org.rep_user):
            self.org.delete(kind, self.ids.get(name, name))

    def said(self, name: str, kind: str = "Opportunity") -> tuple[str | None, str]:
        """Return the status word and the message that the rep reads."""
        record = self.record(name, kind)
        return record.get("Billing_Status__c"), record.get("Billing_Message__c") or ""

    def writes(self) -> int:
        """Return how many records the connector has written to the CRM since the counters were reset."""
        return int(self.crm.front.counters()["records_written"])

    def contracts(self) -> list[tuple[Any, ...]]:
        """Return (id, deal, status) of every contract in the books."""
        return self.query("SELECT id, deal, status FROM contract ORDER BY id")

    def query(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Read the database."""
        with closing(app.open_database(self.config, may_migrate=False)) as database, database.read() as unit:
            return unit.query(sql, params)

    def decisions(self) -> int:
        """Return how many decisions the ledger holds."""
        return int(self.query("SELECT COALESCE(SUM(revision), 0) FROM deal")[0][0])

    def invoice_lines(self, number: str) -> list[tuple[Any, ...]]:
        """Return (description, quantity, first day, end, amount in minor units) of an invoice's lines, in order of start."""
        return self.query(
            "SELECT l.description, l.quantity, l.service_start, l.service_end, l.amount FROM line l JOIN invoice i"
            " ON i.id = l.invoice_id WHERE i.number = ? ORDER BY l.service_start, l.amount",
            number,
        )

    def assert_quiet(self) -> None:
        """Run everything again, also reading all records anew: no decision, no write to the CRM, no line, no invoice."""
        before = self._state()
        self.crm.front.reset_counters()
        with self.house("sync") as house:
            for how in ({}, {"is_full": True}):
                rounds.sync(house.seam, Tally(), **how)
                billed = rounds.bill(house.seam, self.clock.now(), Tally())
                assert (billed.invoices, billed.lines) == (0, 0)
        assert self.writes() == 0
        assert self._state() == before

    def _state(self) -> tuple[Any, ...]:
        return self.decisions(), self.lines(), self.contracts(), self.invoices()

    def house(self, verb: str) -> AbstractContextManager[app.House]:
        """Open the house as a command does; the first one finds a ledger that the revisions made earlier in this process."""
        file = Path(self.config.database.removeprefix("sqlite:///"))
        if self.config.database.startswith("sqlite:///") and not file.exists():
            shutil.copy(empty_database(), file)
        return app.writing_house(self.config, verb, clock=self.clock)

    def ask(self, kind: str, **data: Any) -> intents.Intent:
        """Ask the books for something as the command line does, then run a round; return the request with its result."""
        with self.house("test") as house:
            with house.database.transaction() as unit:
                key = intents.submit(unit, kind, data, actor="cli", now=self.clock.now())
            intents.carry_out(house.database, house.billing, self.clock.now())
            with house.database.read() as unit:
                found = intents.found(unit, key)
        self.sync()
        assert found is not None
        return found

    def sync(self, **how: Any) -> Tally:
        """Run `sync` and return what it did."""
        tally = Tally()
        with self.house("sync") as house:
            rounds.sync(house.seam, tally, **how)
            rounds.count_open(house.seam, tally)
        return tally

    def sweep(self, **how: Any) -> Tally:
        """Run the sweep as the daemon does every night and return what it did."""
        tally = Tally()
        with self.house("sync") as house:
            rounds.reconcile(house.seam, tally, **how)
            rounds.count_open(house.seam, tally)
        return tally

    def bill(self, day: str | None = None) -> tuple[Billed, Tally]:
        """Move the clock to *day* and run `bill`."""
        if day is not None:
            self.clock.move_to(at(day))
        tally = Tally()
        with self.house("bill") as house:
            return rounds.bill(house.seam, self.clock.now(), tally), tally

    def lines(self) -> int:
        """Return how many lines the books hold."""
        return int(self.query("SELECT COUNT(*) FROM line")[0][0])


def mapping_files() -> list[Path]:
    """Return the shipped mappings."""
    return [ROOT / "mappings" / f"salesforce-{n}.yaml" for n in ("opportunity", "quote")]


@contextmanager
def world(
    folder: Path, *, day: str = "2026-01-01", org: Callable[[Callable[[], datetime]], Org] | None = None, is_seeded: bool = True,
    **config: Any,
) -> Iterator[World]:  # fmt: skip
    """Give a running world in *folder*, at nine o'clock of *day*; *org* makes another kind of org from its clock.

    *mappings* are the files of the sources; everything else in *config* replaces a value of the demo's configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clock = ShiftedClock(at(day).astimezone(UTC))
    made = org(clock.now) if org is not None else Org(clock=clock.now)
    ids = seed(made, START) if is_seeded else {}
    with CrmServer(made) as crm:
        mappings = config.pop("mappings", mapping_files())
        used = demo_config(database=f"sqlite:///{folder}/connector.db", crm_url=crm.url, mappings=mappings, port=0)
        yield World(org=made, crm=crm, config=replace(used, **config), clock=clock, ids=ids)
