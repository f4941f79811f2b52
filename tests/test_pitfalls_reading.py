"""Pitfalls P15 to P19: merged accounts, deals of many lines, odd pages, long queries and queries that take too long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from test_pitfalls_changes import asked, billed_once, small_pages
from world import START, World, at, world

from connector import app
from connector.billing import books, customers, portal
from connector.errors import RetryableError
from connector.lookalike.crm import mischief
from connector.lookalike.crm.seed import bulk_deals
from connector.sync import rounds
from connector.sync.seam import Tally

D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


# ---------------------------------------------------------------- P15: merges


def merge(made: World, winner: str, loser: str) -> None:
    """Merge two accounts as the rep does."""
    with made.org.lock, made.org.transaction(user=made.org.rep_user):
        made.org.merge("Account", made.ids[winner], made.ids[loser])


def invoices_of(made: World, account: str) -> set[str]:
    """Return the numbers that the portal of an account's customer shows."""
    with app.reading_house(made.config, clock=made.clock) as house, house.database.read() as unit:
        customer = customers.customer_named(unit, house.billing.org, made.ids[account])
        listed = {i.number for i in books.invoices(unit, customer=customer)}
        token = unit.query("SELECT token FROM portal_link WHERE customer_id = ?", (customer,))[0][0]
        who = portal.visitor(unit, f"{token}")
        assert who is not None
        shown = {i.number for i in portal.portal_sheet(unit, who, made.config.timezone, made.clock.now()).invoices}
    assert shown == listed
    return shown


@pytest.mark.parametrize("has_own", [False, True])
def test_p15_a_merge_follows_the_master_and_both_histories_stay_reachable(demo: World, has_own: bool) -> None:
    """Acme is merged into Gaia, which has invoices of its own or none: one customer bills on, and its portal shows the invoices of both."""
    demo.win("acme_seats")
    if has_own:
        demo.deal("gaia_seats", {"Quantity": 3}, account="gaia", StageName="Closed Won")
    demo.sync()
    before = {r["Number__c"] for r in demo.invoices()}
    contracts = len(demo.contracts())
    merge(demo, "gaia", "acme")
    tally = demo.sync()
    assert tally.problems == []
    assert invoices_of(demo, "gaia") == before
    run, tally = demo.bill("2026-02-01")
    assert (run.invoices, tally.problems) == (contracts, [])
    assert {r["Account__c"] for r in demo.invoices()} == {demo.ids["gaia"]}
    assert invoices_of(demo, "gaia") == {r["Number__c"] for r in demo.invoices()}
    billing = "SELECT COUNT(DISTINCT customer_id) FROM contract WHERE status <> 'withdrawn'"
    assert demo.query(billing) == [(1,)]
    assert len(demo.contracts()) == contracts
    demo.assert_quiet()


def test_p15_an_invoice_from_before_the_merge_is_still_told(demo: World) -> None:
    """The invoice was sent to Acme, which no longer exists: paid after the merge, its row in the CRM says so and stands with Gaia."""
    demo.win("acme_seats")
    demo.sync()
    merge(demo, "gaia", "acme")
    demo.sync()
    (number,) = [r["Number__c"] for r in demo.invoices()]
    done = demo.ask("invoice.pay", invoice=number)
    assert done.state == "done", done.result
    (row,) = demo.invoices()
    assert (row["Status__c"], row["Account__c"]) == ("Paid", demo.ids["gaia"])
    assert demo.said("acme_seats")[0] == "Active"
    demo.assert_quiet()


def test_p15_a_merge_of_a_merge_is_followed_to_the_end(demo: World) -> None:
    """Acme goes into Gaia and Gaia into Borealis between two polls: the contract ends up with Borealis, once."""
    demo.win("acme_seats")
    demo.sync()
    merge(demo, "gaia", "acme")
    merge(demo, "borealis", "gaia")
    demo.sync()
    run, tally = demo.bill("2026-02-01")
    assert (run.invoices, tally.problems) == (1, [])
    assert {r["Account__c"] for r in demo.invoices()} == {demo.ids["borealis"]}
    assert len(demo.contracts()) == 1
    demo.assert_quiet()


def test_p15_a_merged_account_whose_bin_was_emptied_at_once_is_followed_too(demo: World) -> None:
    """The losing account is gone before any poll: its deals were re-parented, and the sweep finds them if no stamp moved."""
    demo.win("acme_seats")
    demo.sync()
    demo.clock.move_to(at("2026-01-05"))
    demo.sync()
    still = dict(demo.org.table("Opportunity").rows[demo.ids["acme_seats"]])
    merge(demo, "gaia", "acme")
    with demo.org.lock, demo.org.transaction():
        row = demo.org.table("Opportunity").rows[demo.ids["acme_seats"]]
        demo.org.put("Opportunity", row["Id"], {**row, "SystemModstamp": still["SystemModstamp"]})
    mischief.empty_bin(demo.org, "Account")
    demo.sync()
    found = demo.sweep().swept
    assert found is not None
    assert found.gone == 0
    assert demo.query("SELECT account FROM record WHERE id = ?", demo.ids["acme_seats"]) == [(demo.ids["gaia"],)]


# ---------------------------------------------------------------- P16: many lines, and whether they are all there


def test_p16_a_deal_of_1200_lines_bills_all_1200(tmp_path: Path) -> None:
    """1,200 lines of 1.00 a month come in pages of any size; all of them stand on the invoice."""
    with world(tmp_path) as made:
        made.org.faults.apply({"child_page_size": 199, "page_sizes": {"min": 200, "max": 500, "seed": 5}})
        made.deal("huge", StageName="Closed Won")
        entry = made.org.get("PricebookEntry", made.ids["seat_entry"])
        with made.org.lock, made.org.transaction(user=made.org.rep_user):
            for number in range(1, 1_201):
                fields = {"OpportunityId": made.ids["huge"], "PricebookEntryId": entry["Id"], "Quantity": 1, "UnitPrice": D(1), "Description": str(number)}
                made.org.create("OpportunityLineItem", fields)
        tally = made.sync()
        assert tally.problems == []
        assert made.record("huge")["Amount_Billed__c"] == D(1200)
        assert made.query("SELECT SUM(quantity), SUM(amount) FROM line") == [(1200, 120_000)]
        made.assert_quiet()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_p16_lines_that_do_not_add_up_to_the_amount_are_said_and_billed(demo: World, language: str) -> None:
    """Amount says 1,000.00 and the lines 200.00: the deal is billed by its lines, and its message says that the two differ until they agree."""
    demo.config = replace(demo.config, crm=replace(demo.config.crm, language=language))
    demo.deal("odd", {"Quantity": 2}, StageName="Closed Won")
    mischief.set_quietly(demo.org, "Opportunity", demo.ids["odd"], {"Amount": D("1000.00")})
    tally = demo.sync()
    status, message = demo.said("odd")
    assert (status, tally.problems) == ("Active", [])
    assert demo.record("odd")["Amount_Billed__c"] == D(200)
    said = {
        "en": "The lines add up to 200.00 EUR, but Amount says 1,000.00 EUR: check the products of this record.",
        "fr": "Les lignes font 200,00 EUR, mais Amount indique 1\u202f000,00 EUR : vérifiez les produits de cette fiche.",
    }
    assert message.endswith(said[language])
    demo.assert_quiet()
    demo.edit("odd_1", "OpportunityLineItem", Description="touched")  # the CRM adds its lines up again
    demo.sync()
    assert demo.record("odd")["Amount"] == D(200)
    assert said[language] not in demo.said("odd")[1]
    demo.assert_quiet()


def test_p16_skipped_lines_discounts_and_half_cents_are_no_difference(demo: World) -> None:
    """The roll-up counts every line with its discount, so that a skipped line, a discount of a line and rounding are said to nobody."""
    demo.deal(
        "fine", {"Quantity": 3, "UnitPrice": "33.33", "Discount": D("7.5")}, {"product": "platform", "UnitPrice": "0.05", "Quantity": 3, "Discount": D("12.5")},
        {"product": "support", "UnitPrice": "45.00", "Skip_Billing__c": True}, StageName="Closed Won", Discount_Percent__c=D(10),
    )  # fmt: skip
    demo.win("borealis_ramp", "cobalt_licence")
    demo.sync()
    for name in ("fine", "borealis_ramp", "cobalt_licence"):
        assert "add up" not in demo.said(name)[1], demo.said(name)


# ---------------------------------------------------------------- P17: pages of any size, addresses that expire


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_p17_pages_of_random_sizes_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    """700 deals with 2 lines in pages of 20 to 90 rows, no two alike: each is billed once with both lines."""
    with world(tmp_path, is_seeded=False) as made:
        deals = bulk_deals(made.org, 700, lines=2, close_date=START)
        made.org.faults.apply({"page_sizes": {"min": 20, "max": 90, "seed": seed}})
        made.sync()
        billed_once(made, deals)
        assert made.query("SELECT COUNT(*), SUM(amount) FROM line") == [(1_400, 700 * 3_000)]


def test_p17_no_address_of_a_page_is_used_so_that_none_can_expire(tmp_path: Path) -> None:
    """Every locator expires at once, in polls, lines and sweeps: nobody notices, because each page is asked for from behind the last row."""
    with world(tmp_path, is_seeded=False) as made:
        deals = bulk_deals(made.org, 60, lines=3, close_date=START)
        small_pages(made, 7)
        made.org.faults.apply({"locator_life_s": 0})
        made.sync()
        made.sweep()
        made.sync(is_full=True)
        billed_once(made, deals)
        assert "query_more" not in made.crm.front.counters()["by_kind"]
        assert "query/" not in str(made.crm.front.counters()["subrequests"])


# ---------------------------------------------------------------- P18: long queries


def test_p18_long_soql_goes_by_composite(demo: World) -> None:
    """200 ids and forty fields are more than an address may hold: it travels in a body, counts as one call, and no reply is 414 or 431."""
    with app.writing_house(demo.config, "test", clock=demo.clock) as house:
        bulk = bulk_deals(demo.org, 600, lines=0, close_date=date(2025, 1, 1))
        soql = f"SELECT Id, Name FROM Opportunity WHERE Id IN ({','.join(repr(i) for i in bulk)}) ORDER BY Id"
        assert len(soql) > 12_000
        demo.crm.front.reset_counters()
        (page,) = house.crm.pages([soql])
        assert (len(page.rows), page.is_whole) == (600, True)
        assert demo.crm.front.counters()["by_kind"] == {"composite": 1}
        demo.crm.front.reset_counters()
        (page,) = house.crm.pages([soql[:1_000].rpartition(",")[0] + ") ORDER BY Id"])
        assert demo.crm.front.counters()["by_kind"] == {"query": 1}
        assert 30 < len(page.rows) < 60


# ---------------------------------------------------------------- P19: queries that take too long


def test_p19_a_first_load_over_years_is_halved_until_it_comes(tmp_path: Path) -> None:
    """The CRM answers windows of ninety days only: deals of three years are all read, each once."""
    with world(tmp_path, is_seeded=False, day="2023-01-02") as made:
        deals = []
        for number, day in enumerate(("2023-01-02", "2023-01-05", "2024-06-01", "2025-12-24"), 1):
            made.clock.move_to(at(day))
            deals += bulk_deals(made.org, 3, lines=1, close_date=date(2026, 1, 1), first=number * 10)
        made.clock.move_to(at("2026-01-01"))
        made.org.faults.apply({"query_timeout_over_s": 90 * 86_400})
        made.sync()
        billed_once(made, deals)
        assert 50 < sum("FROM Opportunity WHERE" in q and "SystemModstamp <" in q for q in asked(made)) < 300
        made.org.faults.apply({"reset": True})
        made.assert_quiet()


def test_p19_down_to_one_second_and_then_by_fewer_rows(tmp_path: Path) -> None:
    """300 deals of one second, and a CRM that gives up on more than 50 rows or on more than a second: the loop goes on and bills each once."""
    with world(tmp_path, is_seeded=False) as made:
        made.sync()
        made.clock.move_to(at("2026-01-01").replace(hour=10))
        made.org.faults.apply({"equal_stamps": True})
        deals = bulk_deals(made.org, 300, lines=1, close_date=START)
        made.org.faults.apply({"equal_stamps": False, "query_timeout_over_rows": 50})
        made.clock.move_to(at("2026-01-01").replace(hour=11))
        made.sync()
        billed_once(made, deals)
        narrow = [q for q in asked(made) if "FROM Opportunity " in q and " LIMIT " in q]
        assert any(int(q.rpartition(" LIMIT ")[2]) <= 51 for q in narrow)


def test_p19_a_wide_gap_after_days_offline_never_ends_the_loop(demo: World) -> None:
    """Ten days without a poll, and a CRM that answers an hour at a time: the daemon's round gets through; the next one asks plainly again."""
    demo.win("acme_seats")
    demo.sync()
    for day in ("2026-01-04", "2026-01-08"):
        demo.clock.move_to(at(day))
        demo.win("cobalt_licence" if day == "2026-01-04" else "everest_support")
    demo.clock.move_to(at("2026-01-11"))
    demo.org.faults.apply({"query_timeout_over_s": 3600})
    with app.writing_house(demo.config, "run", clock=demo.clock) as house:
        tally = Tally()
        rounds.read_all(house.seam, tally, turn=0)
        assert tally.applied == 2
        assert house.seam.windows
        demo.org.faults.apply({"reset": True})
        for turn in range(1, 30):
            rounds.read_all(house.seam, Tally(), turn=turn)
        demo.crm.front.reset_counters()
        rounds.read_all(house.seam, Tally(), turn=30)
        assert demo.crm.front.counters()["total"] == 1
    billed_once(demo, [demo.ids[n] for n in ("acme_seats", "cobalt_licence", "everest_support")])


def test_p19_lines_that_take_too_long_are_asked_in_halves(tmp_path: Path) -> None:
    """Reading the lines of 40 deals at once takes the CRM too long three times: they are asked for in halves, and all are billed."""
    with world(tmp_path, is_seeded=False) as made:
        deals = bulk_deals(made.org, 40, lines=3, close_date=START)
        made.org.faults.apply({"fail": [{"as": "query_timeout", "times": 3, "kind": "query", "after": 1}]})
        made.sync()
        billed_once(made, deals)
        assert made.query("SELECT COUNT(*) FROM line") == [(120,)]


def test_p19_what_never_comes_waits_and_is_asked_again(demo: World) -> None:
    """A CRM that gives up on every query is left alone for a quarter of an hour, with the advice whom to ask; afterwards all is read."""
    demo.win("acme_seats")
    demo.org.faults.apply({"fail": [{"as": "query_timeout", "times": "for_ever", "kind": "queryAll"}, {"as": "query_timeout", "times": "for_ever", "kind": "composite:queryAll"}]})
    with pytest.raises(RetryableError, match="takes too long") as caught:
        demo.sync()
    assert caught.value.retry_after_s == 900
    demo.org.faults.apply({"reset": True})
    demo.sync()
    billed_once(demo, [demo.ids["acme_seats"]])
