"""Pitfalls P11, P12 and P14: what no poll by stamp can see is found by comparing every record with the CRM."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from test_pitfalls_changes import asked, billed_once, small_pages, started_from
from world import World, at, world

from connector import app, service
from connector.errors import RetryableError
from connector.lookalike.crm import mischief
from connector.lookalike.crm.seed import bulk_deals
from connector.sync import rounds, sweep
from connector.sync.seam import Swept, Tally
from connector.web.views import CountGroup

D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def swept(made: World, *, is_deep: bool = False) -> Swept:
    """Run a sweep and return what it found."""
    found = made.sweep(is_deep=is_deep).swept
    assert found is not None
    return found


def sweep_counts(made: World) -> CountGroup:
    """Return what the console shows of the last sweep."""
    with app.writing_house(made.config, "test", clock=made.clock) as house, house.database.read() as unit:
        groups = service.console_view(house, unit, service.Watch()).groups
    return next(g for g in groups if g.title.startswith("Compared with the CRM"))


def sweep_metrics(made: World) -> dict[str, float]:
    """Return the sweep's figures as Prometheus reads them."""
    with app.writing_house(made.config, "test", clock=made.clock) as house:
        text = service.web_services(lambda: house, service.Watch()).metrics().decode()
    lines = [line for line in text.splitlines() if line.startswith("connector_swept_records{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


# ---------------------------------------------------------------- P11: formulas


@pytest.fixture
def formula(tmp_path: Path) -> Iterator[World]:
    """A world whose mapping reads the memo, and the description of a line, from formula fields."""
    text = (Path(__file__).parent.parent / "mappings" / "salesforce-opportunity.yaml").read_text(encoding="utf-8")
    file = tmp_path / "formula.yaml"
    file.write_text(text.replace("memo: Invoice_Memo__c", "memo: NextStep").replace("description: Product2.Name", "description: Description"), encoding="utf-8")
    with world(tmp_path, mappings=[file]) as made:
        made.org.faults.apply({"formula": ["Opportunity.NextStep", "OpportunityLineItem.Description"]})
        yield made


def test_p11_a_formula_that_flips_by_date_alone_is_seen_at_the_next_sweep(formula: World) -> None:
    """The memo is a formula; its result changes and no stamp moves. Polls do not see it; the sweep does, and the next invoice says it."""
    formula.win("acme_seats")
    formula.sync()
    formula.clock.move_to(at("2026-01-05"))
    formula.sync()
    mischief.set_quietly(formula.org, "Opportunity", formula.ids["acme_seats"], {"NextStep": "In your second year"})
    for hour in (10, 11):
        formula.clock.move_to(at("2026-01-05").replace(hour=hour))
        formula.sync()
    assert formula.query("SELECT COUNT(*) FROM version WHERE id = ?", formula.ids["acme_seats"]) == [(1,)]
    found = swept(formula)
    assert (found.calculated, found.drift) == (1, 1)
    formula.bill("2026-02-01")
    assert formula.query("SELECT memo FROM invoice ORDER BY number") in ([("",), ("In your second year",)], [(None,), ("In your second year",)])
    assert swept(formula).drift == 0
    formula.assert_quiet()


def test_p11_a_formula_on_a_line_is_swept_too(formula: World) -> None:
    """What a formula of a line says changes before anything is billed: the sweep reads the lines again and the contract follows."""
    formula.deal("later", {"Quantity": 2}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    formula.sync()
    formula.clock.move_to(at("2026-01-05"))
    formula.sync()
    mischief.set_quietly(formula.org, "OpportunityLineItem", formula.ids["later_1"], {"Description": "Seats in Lyon"})
    assert swept(formula).calculated == 1
    formula.bill("2026-02-01")
    assert formula.query("SELECT description FROM line") == [("Seats in Lyon",)]


def test_p11_the_mapping_check_warns_and_names_the_schedule(formula: World) -> None:
    """A formula used as a trigger or an amount gets a warning that says when its changes are seen."""
    with app.writing_house(formula.config, "test", clock=formula.clock) as house:
        source = app.load_mapping("m.yaml", house.seam.sources[0].text.replace("when: IsWon = true", "when: IsWon = true"))
        _, found = app.checked(source, app.described(house.crm, [source]), house.seam.org)
        assert house.seam.sources[0].calculated == ("NextStep",)
        assert house.seam.sources[0].line_calculated == ("Description",)
    warnings = [p.message for p in found if p.code == "warn-calculated-field"]
    assert len(warnings) == 2
    assert all("schedule.reconcile" in w for w in warnings)


# ---------------------------------------------------------------- P12: drift


def test_p12_drift_of_every_kind_is_found_counted_and_put_right(demo: World) -> None:
    """A deal that was never seen, a change that was missed and a deal deleted for good: three drifts in the result, console and metrics."""
    demo.win("acme_seats", "cobalt_licence", "everest_support")
    demo.deal("later", {"Quantity": 2}, Contract_Start_Date__c=date(2026, 3, 1), StageName="Closed Won")
    demo.sync()
    demo.clock.move_to(at("2026-01-05"))
    demo.sync()
    assert swept(demo).drift == 0
    demo.deal("unseen", {"Quantity": 4}, StageName="Closed Won")
    demo.edit("later_1", "OpportunityLineItem", Quantity=3)
    old = -3 * 86_400
    demo.org.restamp("Opportunity", [demo.ids["unseen"], demo.ids["later"]], seconds=old)
    demo.org.restamp("OpportunityLineItem", [demo.ids["unseen_1"], demo.ids["later_1"]], seconds=old)
    mischief.purge(demo.org, "Opportunity", demo.ids["everest_support"])
    demo.sync()
    assert len(demo.contracts()) == 4
    tally = demo.sweep()
    found = tally.swept
    assert found is not None
    assert (found.unseen, found.changed, found.gone, found.calculated, found.drift) == (1, 1, 1, 0, 3)
    assert found.text().endswith("1 not seen before, 1 a change missed, 1 deleted for good")
    assert demo.said("unseen")[0] == "Active"
    assert demo.record("later")["Next_Invoice_Amount__c"] == D(300)
    assert [p.code for p in tally.problems] == ["reopened-after-billing"]
    shown = {c.label: c.value for c in sweep_counts(demo).counts}
    assert shown | {"compared": ""} == {"compared": "", "drift": "3", "not seen before": "1", "changes missed": "1", "deleted for good": "1"}
    assert sweep_metrics(demo) | {"checked": 0} == {"checked": 0, "unseen": 1, "changed": 1, "calculated": 0, "gone": 1}
    assert swept(demo).drift == 0
    assert {c.label: c.value for c in sweep_counts(demo).counts}["drift"] == "0"
    demo.assert_quiet()


def test_p12_two_thousand_records_are_one_call(tmp_path: Path) -> None:
    """4,500 deals in scope are compared by ids and stamps in three calls, and nothing else is asked or written."""
    with world(tmp_path, is_seeded=False, mappings=[started_from(tmp_path, "2026-01-01")]) as made:
        bulk_deals(made.org, 4_500, lines=0, close_date=date(2025, 6, 30))
        made.sync()
        made.clock.move_to(at("2026-01-01").replace(hour=11))
        with app.writing_house(made.config, "run", clock=made.clock) as house:
            tally = Tally()
            rounds.read_all(house.seam, tally)
            made.crm.front.reset_counters()
            sweep.sweep(house.seam, tally, is_deep=False, before_page=lambda: None)
        assert made.crm.front.counters()["total"] == 3
        assert made.writes() == 0
        assert tally.swept == Swept(checked=4_500)
        pages = asked(made)
        assert all(q.startswith("SELECT Id, SystemModstamp, IsDeleted, Account.Id FROM Opportunity WHERE (IsWon = true)") for q in pages)


def test_p12_a_sweep_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    """Stopped after the first page, then without a budget, it keeps its place and its counts, and ends at the next run."""
    with world(tmp_path, is_seeded=False, mappings=[started_from(tmp_path, "2026-01-01")]) as made:
        deals = bulk_deals(made.org, 30, lines=0, close_date=date(2025, 6, 30))
        made.sync()
        made.clock.move_to(at("2026-01-05"))
        made.sync()
        mischief.purge(made.org, "Opportunity", deals[0])
        mischief.purge(made.org, "Opportunity", deals[-1])
        small_pages(made, 10)
        stop = threading.Event()
        with app.writing_house(made.config, "run", clock=made.clock) as house:
            tally = Tally()
            seam = replace(house.seam, stop=stop, progress=lambda what, _n: stop.set() if what == "compared" else None)
            sweep.sweep(seam, tally, is_deep=False, before_page=lambda: None)
            assert tally.swept == Swept(checked=11, gone=1)
            assert sweep_title(house).endswith(", not finished")

            def refuse() -> None:
                raise RetryableError("no calls left")

            with pytest.raises(RetryableError):
                sweep.sweep(house.seam, tally, is_deep=False, before_page=refuse)
            made.crm.front.reset_counters()
            rest = Tally()
            sweep.sweep(house.seam, rest, is_deep=False, before_page=lambda: None)
            assert rest.swept == Swept(checked=19, gone=1)
            assert len(asked(made)) == 3  # two pages, and the one look at what was missing
            assert not sweep_title(house).endswith(", not finished")


def sweep_title(house: app.House) -> str:
    """Return the title of the console's figures of the sweep."""
    with house.database.read() as unit:
        return next(g.title for g in service.console_view(house, unit, service.Watch()).groups if g.title.startswith("Compared"))


def test_p12_a_full_sync_reads_everything_again_and_says_what_it_compared(demo: World) -> None:
    """`sync --full` reads all records with their lines: what was changed without any stamp, even a line, is found."""
    demo.deal("later", {"Quantity": 2}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.sync()
    demo.clock.move_to(at("2026-01-05"))
    demo.sync()
    mischief.set_quietly(demo.org, "OpportunityLineItem", demo.ids["later_1"], {"Quantity": 7})
    assert swept(demo).drift == 0
    tally = demo.sync(is_full=True)
    assert tally.swept is not None
    assert tally.swept.calculated == 1
    assert demo.record("later")["Next_Invoice_Amount__c"] == D(700)
    demo.assert_quiet()


def test_p12_our_own_writes_and_late_edits_are_no_drift(demo: World) -> None:
    """A sweep right after a round that wrote, and with an edit that the next poll would see anyway, counts nothing."""
    demo.win("acme_seats", "cobalt_licence")
    assert swept(demo).drift == 0
    demo.edit("acme_seats", PO_Number__c="PO-1")
    assert swept(demo).drift == 0
    demo.crm.front.reset_counters()
    assert swept(demo).drift == 0
    assert demo.writes() == 0


# ---------------------------------------------------------------- P14: deleted for good


@pytest.mark.parametrize("how", ["purged", "emptied bin"])
def test_p14_a_won_deal_deleted_for_good_is_found_by_the_sweep(demo: World, how: str) -> None:
    """No poll ever shows it again: billed, it goes on and a person is told; not yet billed, its contract is withdrawn."""
    demo.deal("later", {"Quantity": 2}, Contract_Start_Date__c=date(2026, 2, 1), StageName="Closed Won")
    demo.win("acme_seats")
    demo.sync()
    demo.clock.move_to(at("2026-01-05"))
    demo.sync()
    for name in ("acme_seats", "later"):
        if how == "purged":
            mischief.purge(demo.org, "Opportunity", demo.ids[name])
        else:
            demo.delete(name)
    mischief.empty_bin(demo.org)
    assert demo.sync().problems == []  # nothing to be seen
    tally = demo.sweep()
    assert tally.swept is not None
    assert tally.swept.gone == 2
    assert [(p.code, p.where.record) for p in tally.problems] == [("reopened-after-billing", demo.ids["acme_seats"])]
    assert {deal: status for _, deal, status in demo.contracts()} == {demo.ids["acme_seats"]: "active", demo.ids["later"]: "withdrawn"}
    run, _ = demo.bill("2026-02-01")
    assert run.invoices == 1  # Acme's second month
    assert [row["Total__c"] for row in demo.invoices()] == [D(290), D(290)]
    assert swept(demo).drift == 0
    demo.assert_quiet()


def test_p14_a_deleted_deal_is_flagged_and_undeleting_it_bills_nothing_twice(demo: World) -> None:
    """Deleted after its first invoice it bills on and a person is told; restored, the flag is gone and there is one contract and one bill."""
    demo.win("acme_seats")
    demo.sync()
    demo.delete("acme_seats")
    tally = demo.sync()
    assert [p.code for p in tally.problems] == ["reopened-after-billing"]
    assert tally.problems[0].message.startswith("The record of this deal was deleted in the CRM")
    assert f"connector contracts cancel {demo.contracts()[0][0]}" in tally.problems[0].hint
    with demo.org.lock, demo.org.transaction(user=demo.org.rep_user):
        demo.org.undelete("Opportunity", demo.ids["acme_seats"])
    tally = demo.sync()
    assert tally.problems == []
    assert demo.said("acme_seats")[0] == "Active"
    billed_once(demo, [demo.ids["acme_seats"]])
    demo.bill("2026-02-01")
    assert demo.record("acme_seats")["Amount_Billed__c"] == D(580)
    demo.assert_quiet()


def test_p14_deleted_rows_are_polled_with_query_all(demo: World) -> None:
    """Deleted and undeleted between two polls, and deleted in a page further on: both are seen as they stand."""
    demo.win("acme_seats", "cobalt_licence")
    demo.sync()
    small_pages(demo, 2)
    demo.clock.move_to(at("2026-01-02"))
    demo.org.restamp("Opportunity", [r["Id"] for r in demo.org.rows("Opportunity")])
    demo.delete("acme_seats")
    with demo.org.lock, demo.org.transaction(user=demo.org.rep_user):
        demo.org.undelete("Opportunity", demo.ids["acme_seats"])
    demo.delete("cobalt_licence")
    tally = demo.sync()
    assert [p.where.record for p in tally.problems] == [demo.ids["cobalt_licence"]]
    assert demo.said("acme_seats")[0] == "Active"
    assert len(demo.contracts()) == 2
