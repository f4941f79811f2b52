"""A thousand closed-won deals at once: everything is right, it takes few calls, and a second run has nothing to do.

Every test brings the world to where it needs it, so that it may run alone or after any of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from world import START, World, at, world

from connector import app
from connector.lookalike.crm.seed import bulk_deals
from connector.sync import rounds
from connector.sync.seam import Tally

D = Decimal
COUNT = 1000


@pytest.fixture(scope="module")
def billed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A thousand deals, synced and billed once."""
    folder = tmp_path_factory.mktemp("thousand")
    with world(folder, is_seeded=False) as made:
        made.ids["deals"] = ",".join(bulk_deals(made.org, COUNT, close_date=START))
        made.crm.front.reset_counters()
        tally = made.sync()
        assert (tally.staged, tally.applied, tally.parked, tally.waiting, tally.problems) == (COUNT, COUNT, 0, 0, [])
        made.ids["written"] = str(made.writes())
        made.bill()
        yield made


def calls_of(made: World, house: app.House, *, turn: int) -> tuple[Tally, dict[str, Any]]:
    """Run the daemon's round; return what it did and its calls by kind, with what the composites carried."""
    made.crm.front.reset_counters()
    tally = Tally()
    rounds.read_all(house.seam, tally, turn=turn)
    return tally, made.crm.front.counters()


def test_a_thousand_deals_are_six_calls_once_logged_in(tmp_path: Path) -> None:
    """A thousand deals with 3 lines each, of a thousand accounts: 5 calls on the first load, 6 while the daemon runs, 1 when idle."""
    with world(tmp_path, is_seeded=False) as made:
        bulk_deals(made.org, COUNT, close_date=START)
        made.clock.move_to(made.clock.now() + timedelta(minutes=5))  # nobody wins a thousand deals within the second of a poll
        with app.writing_house(made.config, "test", clock=made.clock) as house:
            tally, spent = calls_of(made, house, turn=0)
            assert (tally.staged, tally.applied, spent["records_written"]) == (COUNT, COUNT, 3 * COUNT)
            assert spent["total"] <= 5, spent  # the deals with their accounts, their lines; 3 x 5 x 200 records
            for turn in range(1, 7):  # accounts, contacts and products take turns: then our own writes have been seen
                made.clock.move_to(made.clock.now() + timedelta(minutes=15))
                _, spent = calls_of(made, house, turn=turn)
            assert (spent["total"], spent["by_kind"]) == (1, {"composite": 1}), spent
            assert spent["subrequests"] == {"queryAll": 5}
            bulk_deals(made.org, COUNT, close_date=START, first=COUNT + 1)
            made.clock.move_to(made.clock.now() + timedelta(seconds=15))
            tally, spent = calls_of(made, house, turn=9)
            assert (tally.staged, tally.applied, spent["records_written"]) == (COUNT, COUNT, 3 * COUNT)
            assert spent["total"] <= 6, spent  # the stamps of the lines have a second page


def test_a_thousand_deals_by_command_are_eight_calls(billed: World, tmp_path: Path) -> None:
    """A process of its own adds the org (1 call) and what its fields are (2); the login itself is none."""
    assert int(billed.ids["written"]) == 3 * COUNT  # the opportunity, its account, its invoice
    with world(tmp_path, is_seeded=False) as made:
        bulk_deals(made.org, COUNT, close_date=START)
        made.sync()
        spent = made.crm.front.counters()
    assert spent["total"] <= 8, spent


def test_every_opportunity_has_its_status_amounts_and_contract(billed: World) -> None:
    """Lines of 10, 20 and 30 a month for a year: 60.00 are billed and due, 720.00 agreed, on each record alone."""
    contracts = {deal: contract for contract, deal, _ in billed.contracts()}
    deals = billed.ids["deals"].split(",")
    assert len(set(contracts.values())) == COUNT
    for deal in deals:
        record = billed.record(deal)
        found = tuple(record[f"{n}__c"] for n in ("Billing_Status", "Amount_Billed", "Amount_Due", "Amount_Paid", "Contract_Value"))
        assert found == ("Active", D(60), D(60), D(0), D(720))
        assert record["Billing_Contract_Id__c"] == contracts[deal]
        assert record["Next_Invoice_Date__c"] == "2026-02-01"
        assert record["Billing_Message__c"].startswith(f"Billing since 1 Jan 2026. {record['Last_Invoice_Number__c']}, 60.00 EUR, is open")


def test_one_invoice_row_an_invoice_without_a_gap(billed: World) -> None:
    """A thousand rows, numbers 0001 to 1000, each for its own deal, equal to the books."""
    rows = billed.invoices()
    assert [r["Number__c"] for r in rows] == [f"INV-{n:04d}" for n in range(1, COUNT + 1)]
    assert {r["Opportunity__c"] for r in rows} == set(billed.ids["deals"].split(","))
    books = billed.query("SELECT id, number, total, status FROM invoice ORDER BY number")
    assert [(r["Billing_Invoice_Id__c"], r["Number__c"], int(r["Total__c"] * 100), r["Status__c"].lower()) for r in rows] == books
    assert sum(r["Total__c"] for r in rows) == 60 * COUNT


def test_a_second_run_has_nothing_to_do(billed: World) -> None:
    """Sync and bill again, also with everything read anew: no decision, no write, no line."""
    billed.assert_quiet()


def test_an_idle_sync_asks_for_stamps_only(billed: World) -> None:
    """When nothing has changed, a further process logs in, describes (2 calls) and asks once for all stamps (at most 2)."""
    billed.clock.move_to(at("2026-01-01").replace(hour=11))
    billed.sync()
    billed.clock.move_to(at("2026-01-01").replace(hour=12))
    billed.crm.front.reset_counters()
    billed.sync()
    assert billed.crm.front.counters()["total"] <= 5, billed.crm.front.counters()


def test_the_next_month_is_one_run(billed: World) -> None:
    """On 1 February a thousand invoices more, in few calls; then nothing again."""
    billed.crm.front.reset_counters()
    run, tally = billed.bill("2026-02-01")
    spent = billed.crm.front.counters()
    assert (run.invoices, run.contracts, tally.problems) == (COUNT, COUNT, [])
    assert spent["total"] <= 12, spent
    assert {billed.record(d)["Amount_Billed__c"] for d in billed.ids["deals"].split(",")} == {D(120)}
    billed.assert_quiet()
    assert billed.query("SELECT COUNT(*), COUNT(DISTINCT number) FROM invoice") == [(2 * COUNT, 2 * COUNT)]


def test_a_hundred_deals_won_while_a_thousand_stand(billed: World) -> None:
    """Only the new ones are read with their lines, decided and written."""
    billed.bill("2026-02-01")
    billed.crm.front.reset_counters()
    bulk_deals(billed.org, 100, close_date=date(2026, 2, 1), first=5001)
    tally = billed.sync()
    assert (tally.staged, tally.applied) == (100, 100)
    assert billed.writes() == 300
    assert billed.crm.front.counters()["total"] <= 12, billed.crm.front.counters()
