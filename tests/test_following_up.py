"""Following up what is not paid costs what is due: the run's questions go through indexes that hold open invoices only."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from books_world import Books, at, open_books, terms

from connector.billing.internal import InternalBilling
from connector.billing.ladder import Ladder
from connector.billing.outbox import Mailing
from connector.kit.db import Unit
from connector.payments.cards import TestCards


class Asked(Unit):
    """A unit that keeps the plans of what it is asked."""

    plans: list[str]

    def query(self, sql: str, params: object = ()) -> list[tuple[object, ...]]:  # type: ignore[override]
        """Return the rows, and keep how the database finds them."""
        self.plans += [str(row[-1]) for row in super().query(f"EXPLAIN QUERY PLAN {sql}", params)]  # type: ignore[arg-type]
        return super().query(sql, params)  # type: ignore[arg-type]


def books(folder: Path) -> Books:
    """Return books with 30 customers of a year, who paid all but their last invoice."""
    made = open_books(folder)
    made.billing = InternalBilling(
        org="00Dorg", timezone="UTC", mailing=Mailing(is_on=True), ladder=Ladder(remind=(1, 7), after="unpaid"), payments={"test": TestCards()}
    )
    for number in range(30):
        made.create(f"d{number}", "2025-01-01", terms("2025-01-01"), account=f"001{number}")
    for month in range(2, 13):
        made.bill(f"2025-{month:02d}-01")
    with made.database.transaction() as unit:
        unit.execute("UPDATE invoice SET status = 'paid' WHERE issued_on < '2025-12-01'")
    return made


def test_the_run_looks_at_open_invoices_only(tmp_path: Path) -> None:
    """No question of a quiet run reads a whole table; each goes through a partial index of what is open, pending or queued."""
    here = books(tmp_path)
    with here.database.read() as unit:
        asked = Asked(unit.connection, mark="?")
        asked.plans = []
        here.billing.dun(asked, at("2025-12-15"), limit=100, hold=False)
        here.billing.pending_charges(asked, limit=100, after="")
    tables = [plan for plan in asked.plans if plan.startswith(("SCAN", "SEARCH"))]
    assert tables
    assert [plan for plan in tables if plan.startswith("SCAN") and "invoice_reminded" not in plan and "charge_pending" not in plan] == []
    assert any("invoice_reminded" in plan for plan in tables)


def test_thirty_reminders_are_written_once(tmp_path: Path) -> None:
    """Each step moves each invoice once, in pieces of any size, and a second run of the day does nothing."""
    here = books(tmp_path)
    moved = []
    for day in ("2026-01-01", "2026-01-07", "2026-01-08"):
        while True:
            with here.database.transaction() as unit:
                done = here.billing.dun(unit, at(day), limit=7, hold=False)
            moved.append(done.invoices)
            if done.invoices < 7:
                break
    assert moved == [7, 7, 7, 7, 2, 7, 7, 7, 7, 2, 7, 7, 7, 7, 2]
    assert here.rows("SELECT step, COUNT(*) FROM outbox WHERE kind = 'reminder' GROUP BY step ORDER BY step") == [(1, 30), (7, 30)]
    assert here.rows("SELECT dunning, COUNT(*) FROM invoice WHERE status = 'open' GROUP BY dunning") == [("unpaid", 30)]


@pytest.mark.parametrize(
    ("days", "passed", "step"),
    [(-4, -10_000, None), (-3, -10_000, -3), (0, -10_000, -3), (0, -3, None), (1, -3, 1), (9, -10_000, 7), (100, 1, 14), (100, 14, None)],
)
def test_of_several_steps_the_latest_is_due(days: int, passed: int, step: int | None) -> None:
    """Days from the due date and the step behind say which one is next; what was missed is left out."""
    assert Ladder(remind=(-3, 1, 7, 14)).step_for(days, passed) == step


@pytest.mark.parametrize(("step", "days", "is_in_place"), [(-3, -3, True), (-3, 0, True), (-3, 1, False), (-20, -15, False), (1, 40, True)])
def test_a_step_before_the_due_date_has_its_time(step: int, days: int, is_in_place: bool) -> None:
    """Never after the due date, never on the day of the invoice (issued 15 days before it)."""
    assert Ladder(remind=(step,)).is_in_place(step, days, date(2026, 1, 16), date(2026, 1, 1)) is is_in_place
