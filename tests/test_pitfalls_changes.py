"""Pitfalls P1 to P13: every change in the CRM is seen exactly once, whatever stamps, clocks and interruptions do.

Each test bears the number of its row; all of them go over HTTP with the real client library against the demo CRM with the fault on.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_kill import Fuse, FusedCrm, fused_database
from world import START, World, at, world

from connector import app
from connector.errors import ConfigError, RetryableError
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.seed import bulk_deals
from connector.sync import rounds
from connector.sync.seam import Tally

D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def small_pages(made: World, rows: int) -> None:
    """Let the CRM send *rows* rows a page."""
    made.org.faults.apply({"page_size": rows})


def billed_once(made: World, deals: list[str]) -> None:
    """Check that each of these deals has one contract and one invoice, and that nothing else has."""
    assert sorted(deal for _, deal, _ in made.contracts()) == sorted(deals)
    assert sorted(row["Opportunity__c"] for row in made.invoices()) == sorted(deals)


def asked(made: World) -> list[str]:
    """Return every SOQL statement that reached the CRM since the counters were reset."""
    return list(made.crm.front.rest.asked)


# ---------------------------------------------------------------- P1: which stamp


def test_p01_a_back_dated_import_is_billed(demo: World) -> None:
    """An import that says it was created and last modified two years ago is billed like any other deal: its SystemModstamp is of today."""
    demo.sync()
    demo.clock.move_to(at("2026-01-01").replace(hour=11))
    demo.deal("old", {"Quantity": 2})
    demo.win("old")
    row = demo.org.table("Opportunity").rows[demo.ids["old"]]
    past = {"CreatedDate": "2024-02-03T08:00:00.000+0000", "LastModifiedDate": "2024-02-03T08:00:00.000+0000"}
    with demo.org.lock, demo.org.transaction():
        demo.org.put("Opportunity", demo.ids["old"], {**row, **past})
    demo.sync()
    billed_once(demo, [demo.ids["old"]])
    demo.assert_quiet()


@pytest.mark.parametrize("hidden", [("SystemModstamp",), ("SystemModstamp", "LastModifiedDate")])
def test_p01_an_org_that_hides_the_stamp_is_polled_by_the_next_best(demo: World, hidden: tuple[str, ...]) -> None:
    """Without SystemModstamp in describe the poll goes by LastModifiedDate, without that by CreatedDate; with neither hidden it does not."""
    objects = ("Opportunity", "OpportunityLineItem", "Account")
    demo.org.faults.apply({"hide": [f"{o}.{f}" for o in objects for f in hidden if (o, f) != ("Opportunity", "LastModifiedDate") or len(hidden) > 1]})
    demo.win("acme_seats")
    demo.sync()
    assert demo.said("acme_seats")[0] == "Active"
    demo.clock.move_to(at("2026-01-01").replace(hour=13))
    demo.deal("second", {"Quantity": 3}, StageName="Closed Won")
    demo.sync()
    billed_once(demo, [demo.ids["acme_seats"], demo.ids["second"]])
    if len(hidden) == 1:
        demo.win("cobalt_licence")
        demo.sync()
        assert demo.said("cobalt_licence")[0] == "Active"
    polls = [q for q in asked(demo) if "FROM Opportunity " in q and "ORDER BY" in q and "Id IN" not in q]
    assert polls
    assert all(f"ORDER BY {'LastModifiedDate' if len(hidden) == 1 else 'CreatedDate'}, Id" in q for q in polls)


def test_p01_an_org_that_shows_no_stamp_at_all_is_refused_with_the_fix(demo: World) -> None:
    """Without any of the three fields changes cannot be seen; the message names the object and the right that is missing."""
    demo.org.faults.apply({"hide": [f"Account.{f}" for f in ("SystemModstamp", "LastModifiedDate", "CreatedDate")]})
    with pytest.raises(ConfigError, match=r"Account shows none of the fields SystemModstamp") as caught:
        demo.sync()
    assert "Account.SystemModstamp" in caught.value.problems[0].hint


# ---------------------------------------------------------------- P2: mass bumps

MANY = 50_000


@pytest.mark.slow
def test_p02_fifty_thousand_bumped_stamps_are_25_pages_and_nothing_else(tmp_path: Path) -> None:
    """A roll-up field is made and every stamp moves: 25 calls, no decision, no write, no new version, memory as for one page."""
    with world(tmp_path, is_seeded=False, mappings=[started_from(tmp_path, "2026-01-01")]) as made:
        bulk_deals(made.org, MANY - 1_000, lines=0, close_date=date(2025, 6, 30))  # before start_from: read, and left alone
        billed = bulk_deals(made.org, 1_000, lines=1, close_date=START, first=MANY)
        made.sync()
        made.clock.move_to(at("2026-01-01").replace(hour=12))
        made.sync()
        assert made.query("SELECT COUNT(*) FROM record") == [(MANY,)]
        before = (made.decisions(), made.lines(), made.contracts(), made.query("SELECT COUNT(*) FROM version"))
        made.clock.move_to(at("2026-01-01").replace(hour=14))
        made.org.restamp("Opportunity", list(made.org.table("Opportunity").rows))
        peaks: list[int] = []
        with app.writing_house(made.config, "sync", clock=made.clock) as house:
            made.crm.front.reset_counters()

            def watched(what: str, _count: int) -> None:
                if what == "staged":
                    peaks.append(tracemalloc.get_traced_memory()[1])
                    gc.collect()
                    tracemalloc.reset_peak()

            tracemalloc.start()
            rounds.read_all(replace(house.seam, progress=watched), Tally(), turn=0)  # as the daemon does
            tracemalloc.stop()
        assert made.crm.front.counters()["total"] == 25
        assert made.writes() == 0
        assert (made.decisions(), made.lines(), made.contracts(), made.query("SELECT COUNT(*) FROM version")) == before
        assert len(billed) == 1_000
        assert len(peaks) == 25
        assert max(peaks[2:]) < 1.3 * peaks[1] + 4_000_000, peaks


def started_from(folder: Path, day: str) -> Path:
    """Write the shipped opportunity mapping with a `start_from` and return the file."""
    text = (Path(__file__).parent.parent / "mappings" / "salesforce-opportunity.yaml").read_text(encoding="utf-8")
    file = folder / "salesforce-opportunity.yaml"
    file.write_text(text.replace("# start_from: 2026-01-01", f"start_from: {day}"), encoding="utf-8")
    return file


# ---------------------------------------------------------------- P3, P4: equal stamps


@pytest.mark.slow
def test_p03_three_thousand_rows_of_one_stamp_are_billed_once_each(tmp_path: Path) -> None:
    """3,000 deals with one and the same stamp lie across the edges of pages; each has one contract and one invoice."""
    with world(tmp_path, is_seeded=False) as made:
        deals = bulk_deals(made.org, 3_000, lines=1, close_date=START)
        made.org.restamp("Opportunity", deals)
        assert len({made.org.table("Opportunity").rows[d]["SystemModstamp"] for d in deals}) == 1
        small_pages(made, 700)
        made.sync()
        billed_once(made, deals)


def test_p03_bounds_are_whole_seconds_from_below_and_never_beyond(demo: World) -> None:
    """Every window asks for `>=` a whole second in UTC, never `>`, and ends with `<` one."""
    demo.win("acme_seats")
    demo.sync()
    small_pages(demo, 3)
    demo.org.faults.apply({"query_timeout_over_s": 3600})
    demo.clock.move_to(at("2026-01-02"))
    demo.win("cobalt_licence", "everest_support")
    demo.sync()
    found = [q for q in asked(demo) if "SystemModstamp >" in q or "SystemModstamp <" in q]
    assert found
    for soql in found:
        for word in soql.replace("(", " ").replace(")", " ").split("SystemModstamp ")[1:]:
            operator, bound = word.split()[:2]
            if operator in (">=", "<", "=", ">", "<="):
                assert operator in (">=", "<", "="), soql
                assert len(bound) == len("2026-01-01T00:00:00Z"), soql
                assert bound.endswith("Z"), soql


def test_p04_ties_across_pages_are_read_by_stamp_and_id(tmp_path: Path) -> None:
    """Pages of 4 rows cut through deals of one stamp; between two pages one more is won with that very stamp; none is lost or doubled."""
    with world(tmp_path, is_seeded=False) as made:
        deals = bulk_deals(made.org, 30, lines=1, close_date=START)
        small_pages(made, 4)
        with app.writing_house(made.config, "sync", clock=made.clock) as house:
            tally = Tally()
            assert rounds.run_round(house.seam, tally)
            late = bulk_deals(made.org, 3, lines=1, close_date=START, first=900)
            stamp = made.org.table("Opportunity").rows[deals[0]]["SystemModstamp"]
            assert {made.org.table("Opportunity").rows[d]["SystemModstamp"][:16] for d in late} == {stamp[:16]}
            while rounds.run_round(house.seam, tally, goes_on=True):
                pass
        billed_once(made, [*deals, *late])
        polls = [q for q in asked(made) if "FROM Opportunity " in q and "Id IN" not in q]
        assert all(" ORDER BY SystemModstamp, Id LIMIT " in q for q in polls if "Organization" not in q)
        assert len(polls) >= 8


# ---------------------------------------------------------------- P5: late commits


def test_p05_a_row_committed_nine_minutes_late_is_billed_once(demo: World) -> None:
    """A transaction that was open for nine minutes shows up behind newer rows that were read already; the overlap finds it."""
    demo.sync()
    demo.clock.move_to(at("2026-01-01").replace(hour=10))
    demo.win("acme_seats")
    demo.sync()
    demo.deal("late", {"Quantity": 4}, StageName="Closed Won")
    demo.org.restamp("Opportunity", [demo.ids["late"]], seconds=-540)
    demo.org.restamp("OpportunityLineItem", [demo.ids["late_1"]], seconds=-540)
    demo.sync()
    billed_once(demo, [demo.ids["acme_seats"], demo.ids["late"]])
    demo.crm.front.reset_counters()
    for _ in range(3):  # the same rows come back in the overlap
        demo.sync()
    assert demo.writes() == 0
    demo.assert_quiet()


def test_p05_the_overlap_is_a_setting(demo: World) -> None:
    """With `crm.overlap: 2m` a row nine minutes late is left to the sweep, which finds it and counts it as drift."""
    demo.config = replace(demo.config, crm=replace(demo.config.crm, overlap_s=120))
    demo.sync()
    demo.clock.move_to(at("2026-01-01").replace(hour=10))
    demo.sync()
    demo.deal("late", {"Quantity": 4}, StageName="Closed Won")
    demo.org.restamp("Opportunity", [demo.ids["late"]], seconds=-540)
    demo.org.restamp("OpportunityLineItem", [demo.ids["late_1"]], seconds=-540)
    demo.sync()
    assert demo.contracts() == []
    assert (demo.sweep().swept or Tally()).unseen == 1  # type: ignore[union-attr]
    billed_once(demo, [demo.ids["late"]])
    demo.assert_quiet()


# ---------------------------------------------------------------- P6, P7, P10: other ways to ask, clocks, and who we are


def test_p06_nothing_is_built_on_the_replication_calls(demo: World) -> None:
    """A day of sales with deletions and undeletions uses queries and collections only: neither `updated` nor `deleted` is ever asked."""
    demo.win("acme_seats", "cobalt_licence")
    demo.sync()
    demo.delete("cobalt_licence")
    demo.sync()
    demo.sweep()
    assert set(demo.crm.front.counters()["by_kind"]) <= {"token", "composite", "composite/sobjects", "query", "queryAll"}


@pytest.mark.parametrize("hours", [-1, 1])
def test_p07_with_our_clock_an_hour_off_the_bills_are_the_same(tmp_path: Path, hours: int) -> None:
    """The CRM's clock is an hour before or behind ours: deals won in between, an edit and a late row lead to the bills of equal clocks."""
    shown = []
    for name, shift in (("equal", 0), ("apart", hours)):
        made_org = lambda clock, shift=shift: Org(clock=lambda: clock() + timedelta(hours=shift))  # noqa: E731
        with world(tmp_path / name, org=made_org) as made:
            made.win("acme_seats")
            made.sync()
            for minute in (5, 10, 20):
                made.clock.move_to(at("2026-01-02").replace(minute=minute))
                made.win({5: "cobalt_licence", 10: "everest_support", 20: "borealis_ramp"}[minute])
                made.sync()
            made.edit("acme", "Account", Name="Acme SAS")
            made.deal("late", {"Quantity": 4}, StageName="Closed Won")
            made.org.restamp("Opportunity", [made.ids["late"]], seconds=-540)
            made.sync()
            made.bill("2026-02-01")
            lines = "SELECT description, quantity, service_start, service_end, amount FROM line ORDER BY 1, 2, 3, 4, 5"
            shown.append((made.query(lines), made.query("SELECT number, total, issued_on, due_on FROM invoice ORDER BY number")))
            assert len(made.contracts()) == 5
            made.assert_quiet()
    assert shown[0] == shown[1]


def test_p10_every_call_says_who_we_are(demo: World) -> None:
    """Each call carries `Sforce-Call-Options: client=connector`, also after a new login, so that automation can tell our writes."""
    demo.win("acme_seats")
    demo.crm.front.gate.revoke()
    demo.sync()
    total = demo.crm.front.counters()["total"]
    assert dict(demo.crm.front.clients) == {"client=connector": total}
    assert total > 4


# ---------------------------------------------------------------- P8: kill -9 at every page


class PageFuse(FusedCrm):
    """The real client with a point before and after every page that is asked for."""

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name) if name == "pages" else getattr(self._crm, name)


def sync_until(made: World, n: int) -> None:
    """Sync page by page in this process, which dies at point *n*: around each page asked for and each commit that moves a cursor."""
    fuse = Fuse(n)
    app.Database = fused_database(fuse, only="INTO cursor")  # type: ignore[misc]  # this process is a fork made to die
    crm: Any = PageFuse(app.build_crm(made.config), fuse)
    with app.writing_house(made.config, "sync", clock=made.clock, crm=crm) as house:
        rounds.sync(house.seam, Tally())
    os._exit(0)


@pytest.mark.slow
def test_p08_killed_at_every_page_nothing_is_lost_or_billed_twice(tmp_path: Path) -> None:
    """Ten deals come in pages of three; at each page and each move of the watermark the process dies by SIGKILL; the next sync bills the rest."""
    n, ended = 0, -9
    for n in range(200):
        with world(tmp_path / str(n), is_seeded=False, mappings=[started_from(tmp_path, "2026-01-01")]) as made:
            deals = bulk_deals(made.org, 10, lines=1, close_date=START)
            small_pages(made, 3)
            child = multiprocessing.get_context("fork").Process(target=sync_until, args=(made, n))
            child.start()
            child.join(60)
            ended = child.exitcode if child.exitcode is not None else 1
            assert ended in (0, -9), "the forked process failed or hangs"
            made.sync()
            billed_once(made, deals)
            assert made.query("SELECT COUNT(*), SUM(amount) FROM line") == [(10, 10_000)]
            assert made.query("SELECT COUNT(*) FROM record") == [(10,)]
        if ended == 0:
            break
    assert ended == 0
    assert n >= 20, f"{n} points"


def test_p08_the_watermark_follows_the_newest_row_and_only_what_is_stored(demo: World) -> None:
    """A page that could not be stored moves no cursor: the next poll asks for it again."""
    demo.sync()
    before = demo.query("SELECT object, watermark, pos_stamp FROM cursor ORDER BY object")
    demo.clock.move_to(at("2026-01-01").replace(hour=12))
    demo.win("acme_seats")
    demo.org.faults.apply({"fail": [{"status": 503, "times": 99}]})
    with pytest.raises(RetryableError):
        demo.sync()
    assert demo.query("SELECT object, watermark, pos_stamp FROM cursor ORDER BY object") == before
    demo.org.faults.apply({"reset": True})
    demo.sync()
    assert demo.said("acme_seats")[0] == "Active"


# ---------------------------------------------------------------- P9: our own writes come back


def reread(made: World) -> list[str]:
    """Return the queries by id that the last syncs asked: records and lines that were read again."""
    return [q for q in asked(made) if " IN (" in q]


def test_p09_after_writing_three_hundred_deals_one_re_read_is_the_end_of_it(tmp_path: Path) -> None:
    """The next poll sees our own stamps and reads the deals of the touched accounts once; from then on nothing is read by id or written."""
    with world(tmp_path, is_seeded=False) as made:
        bulk_deals(made.org, 300, lines=2, close_date=START)
        assert made.sync().written == 900
        decisions = made.decisions()
        calls = []
        for hour in (10, 11, 12):
            made.clock.move_to(at("2026-01-01").replace(hour=hour, minute=5))
            made.crm.front.reset_counters()
            made.sync()
            assert made.writes() == 0
            calls.append(len(reread(made)))
        assert calls[0] <= 4  # 300 records and their lines, 200 ids a query, in two calls
        assert calls[1:] == [0, 0]
        assert made.decisions() == decisions


def test_p09_a_person_s_edit_in_the_second_of_our_own_write_is_seen(demo: World) -> None:
    """The rep changes the quantity in the very second in which we write the status: same stamp, and last modified by us; it is flagged."""
    demo.win("acme_seats")
    demo.sync()
    deal = demo.ids["acme_seats"]
    ours = demo.org.table("Opportunity").rows[deal]["SystemModstamp"]
    (line,) = demo.org.live_children("OpportunityLineItem", "OpportunityId", deal)
    demo.edit(line["Id"], "OpportunityLineItem", Quantity=12)
    with demo.org.lock, demo.org.transaction():
        for kind, record in (("Opportunity", deal), ("OpportunityLineItem", line["Id"])):
            row = demo.org.table(kind).rows[record]
            demo.org.put(kind, record, {**row, "SystemModstamp": ours, "LastModifiedDate": ours, "LastModifiedById": demo.org.integration_user})
    demo.sync()
    status, message = demo.said("acme_seats")
    assert status == "Needs attention"
    assert "10 → 12" in message


# ---------------------------------------------------------------- P13: each object by its own stamp


@pytest.mark.parametrize("what", ["line", "new line", "account", "contact", "quote line"])
def test_p13_a_change_beside_the_deal_re_evaluates_it(demo: World, what: str) -> None:
    """A line, the account, the billing contact or a quote's line changes, while the deal's own stamp stands still: its bill follows."""
    day = date(2026, 2, 1)
    demo.add("Contact", "carla", LastName="Carla", AccountId="@helios", Email="carla@helios.example")
    demo.deal("later", {"Quantity": 2}, Contract_Start_Date__c=day, Billing_Contact__c="@carla")
    if what == "quote line":
        demo.quote("offer", "later", {"Quantity": 2})
    else:
        demo.win("later")
    demo.sync()
    demo.clock.move_to(at("2026-01-01").replace(hour=11))
    demo.sync()
    deal = demo.ids["later"]
    still = dict(demo.org.table("Opportunity").rows[deal])
    acts: dict[str, Any] = {
        "line": lambda: demo.edit("later_1", "OpportunityLineItem", Quantity=3),
        "new line": lambda: demo.line("more", "later", product="platform", UnitPrice="100.00"),
        "account": lambda: demo.edit("helios", "Account", Name="Helios SAS"),
        "contact": lambda: demo.edit("carla", "Contact", Email="finance@helios.example"),
        "quote line": lambda: demo.edit("offer_1", "QuoteLineItem", Quantity=3),
    }
    acts[what]()
    with demo.org.lock, demo.org.transaction():  # whatever the CRM does with the parent's stamp: here it stands still
        now = demo.org.table("Opportunity").rows[deal]
        demo.org.put("Opportunity", deal, {**now, "SystemModstamp": still["SystemModstamp"], "Amount": still.get("Amount")})
    demo.sync()
    if what == "quote line":
        assert demo.record("offer", "Quote")["Quote_Per_Period__c"] == D(300)
        return
    demo.bill("2026-02-01")
    (bill_to, total), = demo.query("SELECT bill_to, total FROM invoice")
    assert total == (30_000 if "line" in what else 20_000)
    assert {"account": "Helios SAS", "contact": "finance@helios.example"}.get(what, "") in bill_to


def test_p13_a_corrected_product_wakes_the_deals_it_holds_and_no_billed_one(demo: World) -> None:
    """A product names a price nobody has: its deal is held. The product is corrected, and the deal is billed, though neither it nor a line moved."""
    demo.edit("support", "Product2", Billing_Price__c="nobody-has-it")
    demo.deal("held", {"product": "support", "UnitPrice": "45.00"}, StageName="Closed Won")
    demo.win("acme_seats")
    tally = demo.sync()
    assert tally.parked == 1
    demo.clock.move_to(at("2026-01-01").replace(hour=11))
    demo.sync()
    decisions = demo.decisions()
    demo.edit("support", "Product2", Billing_Price__c=None)
    demo.edit("seat", "Product2", Name="Seat of a team")
    demo.crm.front.reset_counters()
    tally = demo.sync()
    assert (tally.parked, tally.applied, tally.problems) == (0, 1, [])
    assert demo.said("held")[0] == "Active"
    assert demo.decisions() == decisions + 1
    assert demo.said("acme_seats")[0] == "Active"  # renaming a product is no edit of what was sold
    demo.clock.move_to(at("2026-01-01").replace(hour=12))
    demo.sync()
    demo.crm.front.reset_counters()
    demo.sync()
    assert reread(demo) == []


def test_p13_related_objects_take_turns_so_that_an_idle_poll_stays_one_call(demo: World) -> None:
    """With both default sources an idle round is one call, and four rounds have looked at accounts, contacts, products and typed payments."""
    demo.sync()
    demo.clock.move_to(at("2026-01-01").replace(hour=11))
    with app.writing_house(demo.config, "run", clock=demo.clock) as house:
        rounds.read_all(house.seam, Tally())
        demo.crm.front.reset_counters()
        for turn in range(8):
            rounds.read_all(house.seam, Tally(), turn=turn)
    assert demo.crm.front.counters()["total"] == 8
    looked = [q.split(" FROM ")[1].split()[0] for q in asked(demo)]
    assert {name: looked.count(name) for name in set(looked)} == {
        "Opportunity": 8, "OpportunityLineItem": 8, "Quote": 8, "QuoteLineItem": 8, "Account": 2, "Contact": 2, "Product2": 2,
        "Billing_Invoice__c": 2,
    }  # fmt: skip
