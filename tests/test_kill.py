"""Killed at any moment, the next run ends as if nothing had happened: a real SIGKILL at every outside call and every commit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from world import World, world

from connector import app
from connector.kit.db import Database, Unit
from connector.sync import rounds
from connector.sync.seam import Tally

DAY = "2026-03-20"
MOST_POINTS = 400
WON = ("acme_seats", "cobalt_licence", "fjord_seats", "acme_upgrade", "delta_platform")


class Fuse:
    """Kills this process at the n-th point that it passes."""

    def __init__(self, n: int) -> None:
        self.left = n

    def point(self) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1


class FusedCrm:
    """The real CRM client; every outside call has a point before it and one after it."""

    def __init__(self, crm: Any, fuse: Fuse) -> None:
        self._crm, self._fuse = crm, fuse

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._crm, name)
        if name not in ("connect", "describe", "query", "pages", "write"):
            return real

        def called(*args: Any, **how: Any) -> Any:
            self._fuse.point()
            result = real(*args, **how)
            self._fuse.point()
            return result

        return called


def fused_database(fuse: Fuse, *, only: str = "") -> type[Database]:
    """Return the real database class with a point before and after every commit, or those with a statement that has *only* in it."""

    class Fused(Database):
        @contextmanager
        def transaction(self) -> Iterator[Unit]:
            seen = [not only]
            with super().transaction() as unit:
                real = unit.execute

                def execute(sql: str, params: Any = ()) -> int:
                    seen[0] = seen[0] or only in sql
                    return real(sql, params)

                unit.execute = execute  # type: ignore[method-assign]
                yield unit
                if seen[0]:
                    fuse.point()
            if seen[0]:
                fuse.point()

    return Fused


def sync_until(made: World, n: int) -> None:
    """Run one whole sync and billing run in this process, which dies at point *n*; leaves with 0 where it comes through."""
    fuse = Fuse(n)
    app.Database = fused_database(fuse)  # type: ignore[misc]  # this process is a fork made to die
    crm: Any = FusedCrm(app.build_crm(made.config), fuse)
    with app.writing_house(made.config, "sync", clock=made.clock, crm=crm) as house:
        tally = Tally()
        rounds.sync(house.seam, tally)
        rounds.bill(house.seam, house.clock.now(), tally)
    os._exit(0)


def killed_at(made: World, n: int) -> int:
    """Return how the forked process ended: -9 where it was killed, 0 where there is no point *n* any more."""
    child = multiprocessing.get_context("fork").Process(target=sync_until, args=(made, n))
    child.start()
    child.join(60)
    assert child.exitcode is not None, "the forked process hangs"
    return child.exitcode


def prepared(made: World) -> None:
    """Let the rep act: new deals, one that cannot be billed, an upgrade, a quote accepted and its opportunity won."""
    made.edit("delta_quote", "Quote", Status="Accepted")
    made.win(*WON)


def end_state(made: World) -> dict[str, Any]:
    """Return what CRM and books show, without ids, links and times, which differ from run to run."""
    shown: dict[str, Any] = {}
    for name in (*WON, "delta_quote"):
        record = made.record(name, "Quote" if name == "delta_quote" else "Opportunity")
        keep = ("Billing_Status__c", "Billing_Message__c", "Amount_Billed__c", "Amount_Due__c", "Contract_Value__c", "Next_Invoice_Date__c",
                "Next_Invoice_Amount__c", "Last_Invoice_Number__c", "Contract_Starts_On__c", "Contract_Ends_On__c")  # fmt: skip
        shown[name] = [str(record.get(key)) for key in keep] + [bool(record.get("Billing_Contract_Id__c"))]
    shown["invoices"] = [
        [str(row.get(key)) for key in ("Number__c", "Status__c", "Total__c", "Due_On__c", "Opportunity__c", "Account__c")]
        for row in made.invoices()
    ]
    with app.reading_house(made.config) as books, books.database.read() as unit:
        shown["lines"] = unit.query("SELECT product, service_start, service_end, amount, kind FROM line ORDER BY 1, 2, 3, 4, 5")
        shown["deals"] = unit.query("SELECT name, state, revision, apply_due, write_due, begun FROM deal ORDER BY name")
        shown["contracts"] = unit.query("SELECT deal, status, value FROM contract ORDER BY deal")
    return shown


@pytest.mark.slow
def test_kill_at_every_point_then_sync_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """At each call to the CRM and each commit the process dies by SIGKILL; a new sync and bill leave the undisturbed end state."""
    with world(tmp_path, day=DAY) as calm:
        prepared(calm)
        calm.sync()
        calm.bill()
        expected = end_state(calm)
    assert len(expected["invoices"]) >= 4
    n = 0
    for n in range(MOST_POINTS):
        folder = tmp_path / str(n)
        folder.mkdir()
        with world(folder, day=DAY) as made:
            prepared(made)
            ended = killed_at(made, n)
            made.sync()
            made.bill()
            assert end_state(made) == expected, f"killed at point {n}"
        if ended == 0:
            break
    assert 20 < n < MOST_POINTS, f"{n} points"
