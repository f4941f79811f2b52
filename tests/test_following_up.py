"""Following up what is not paid costs what is due: the run's questions go through indexes that hold open invoices only."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from books_world import Books, at, open_books, terms

from connector.billing.internal import InternalBilling
from connector.billing.ladder import Ladder
from connector.billing.outbox import Mailing
from connector.charging import Chased
from connector.kit.db import Unit
from connector.payments.cards import TestCards
from connector.ports import InvoiceView, Standing
from connector.sync.messages import Words


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


@pytest.mark.parametrize(("step", "days", "is_in_place"), [(-3, -3, True), (-3, 0, True), (-3, 1, False), (-20, -15, False), (1, 40, True), (0, 0, True), (-15, -15, False)])
def test_a_step_before_the_due_date_has_its_time(step: int, days: int, is_in_place: bool) -> None:
    """Never after the due date, never on the day of the invoice (issued 15 days before it)."""
    assert Ladder(remind=(step,)).is_in_place(step, days, date(2026, 1, 16), date(2026, 1, 1)) is is_in_place


def test_an_invoice_due_on_receipt_is_not_reminded_of_on_its_own_day() -> None:
    """Issued and due on one day, reminded on the due date: the invoice itself has just gone out."""
    assert not Ladder(remind=(0,)).is_in_place(0, 0, date(2026, 1, 1), date(2026, 1, 1))


def view(**more: Any) -> InvoiceView:
    """Return INV-0007 over 1,080.00 EUR, due on 1 May."""
    given = {"amount_due": 108000, "amount_paid": 0, "total": 108000, "status": "open", "due_on": date(2026, 5, 1)}
    return InvoiceView(
        id="in_7", deal="d", account="001A", contract_id="ct_1", number="INV-0007", currency="eur", issued_on=date(2026, 4, 1), token="",
        **(given | more),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("chased", "english", "french"),
    [
        (
            Chased(reminded_on=(date(2026, 5, 4), date(2026, 5, 8)), next_on=date(2026, 5, 15)),
            "Past due: INV-0007, 1,080.00 EUR, was due 1 May. Reminded 4 and 8 May, next on 15 May.",
            "En retard : INV-0007, 1 080,00 EUR, était due le 1er mai. Relances : 4 et 8 mai ; la prochaine le 15 mai.",
        ),
        (
            Chased(reminded_on=(date(2026, 4, 28), date(2026, 5, 2), date(2026, 5, 8), date(2026, 5, 15))),
            "Past due: INV-0007, 1,080.00 EUR, was due 1 May. Reminded 2, 8 and 15 May.",
            "En retard : INV-0007, 1 080,00 EUR, était due le 1er mai. Relances : 2, 8 et 15 mai.",
        ),
        (
            Chased(reminded_on=(date(2026, 4, 28), date(2026, 5, 2))),
            "Past due: INV-0007, 1,080.00 EUR, was due 1 May. Reminded 28 Apr and 2 May.",
            "En retard : INV-0007, 1 080,00 EUR, était due le 1er mai. Relances : 28 avr. et 2 mai.",
        ),
        (
            Chased(failed_on=date(2026, 5, 1), failure="The card has expired."),
            ("Past due: INV-0007, 1,080.00 EUR, was due 1 May. The charge of INV-0007, 1,080.00 EUR, failed on 1 May: The card has expired."
            " It is not tried again by itself; the customer needs another payment method."),
            ("En retard : INV-0007, 1 080,00 EUR, était due le 1er mai. Le prélèvement de INV-0007, 1 080,00 EUR, a échoué le 1er mai : La carte a"
            " expiré. Pas de nouvel essai automatique ; le client doit donner un autre moyen de paiement."),
        ),
        (
            Chased(is_unpaid=True, reminded_on=(date(2026, 5, 8),)),
            "Unpaid: INV-0007, 1,080.00 EUR, was due 1 May; all reminders were in vain.",
            "Impayé : INV-0007, 1 080,00 EUR, était due le 1er mai ; toutes les relances sont restées sans effet.",
        ),
    ],
)  # fmt: skip
def test_what_a_rep_reads_of_a_late_invoice(chased: Chased, english: str, french: str) -> None:
    """Each state in both languages, before anything else."""
    standing = Standing(
        deal="d", contract_id="ct_1", customer_id="cus_1", currency="eur", contract_status="past_due", starts_on=date(2026, 4, 1), ends_on=None,
        oldest_open=view(), chased=chased,
    )  # fmt: skip
    said = {language: Words(language, date(2026, 5, 16)).of(standing).replace("\u202f", " ") for language in ("en", "fr")}
    assert said == {"en": english, "fr": french}
