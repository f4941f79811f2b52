"""Usage from a file to the invoice: in arrears, once each, never late in silence, and foretold in the CRM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_cli import Shell, shell
from test_flow_catalogue import PRICES, billed, deal, product, stock, won
from world import World, world

from connector import app
from connector.asking.usage import rows_of
from connector.billing import metering, store
from connector.billing.usage import is_metered, with_usage

__all__ = ["shell"]
D = Decimal


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    """The demo company with a catalogue, and products that are billed by use."""
    with world(tmp_path) as made:
        made.account("acme")
        made.sync()
        stock(made, PRICES)
        product(made, "storage_gb", price="gb", charge="Usage")
        product(made, "api", price="calls", charge="Usage")
        product(made, "call_out", price=None, charge="Usage")
        yield made


def used(here: World, *rows: tuple[str, str, str, str, str]) -> Any:
    """Record usage given as (id, contract, for, time, quantity); return what became of it."""
    keys = ("id", "contract", "for", "time", "quantity")
    return here.ask("usage.record", rows=[dict(zip(keys, row, strict=True)) for row in rows]).result


def refusals(result: Any) -> list[str]:
    """Return why rows were refused."""
    return [what for _, what in result["refused"]]


def test_usage_is_billed_at_the_end_of_its_period(demo: World) -> None:
    """Gigabytes, graduated calls and call-outs at the line's own price: nothing at first, then by the month, foretold on the record."""
    lines = [
        {"product": "storage_gb"}, {"product": "api"}, {"product": "call_out", "UnitPrice": "80.00"}, {"product": "seat", "UnitPrice": "10.00"},
    ]  # fmt: skip
    won(demo, "deal", *lines)
    contract = demo.contracts()[0][0]
    assert billed(demo, "deal") == [("2026-01-01", D(10))]
    rows = [
        ("u1", contract, "STORAGE_GB", "2026-01-05", "100"), ("u2", demo.ids["deal"], "gb", "2026-01-31T23:30:00Z", "60.5"),
        ("u3", contract, "API", "2026-01-09T10:00:00+01:00", "1500"), ("u4", contract, "CALL_OUT", "2026-01-20", "2"),
        ("u5", contract, "API", "2026-02-01", "999"),
    ]  # fmt: skip
    result = used(demo, *rows)
    assert (result["made"], result["unchanged"], result["refused"]) == (5, [], [])
    # 160.5 x 0.125 = 20.06; 5.00 + 500 x 0.005 = 7.50; 2 x 80.00 = 160.00; February's seat 10.00
    record = demo.record("deal")
    assert (str(record["Next_Invoice_Date__c"]), record["Next_Invoice_Amount__c"]) == ("2026-02-01", D("197.56"))
    again = used(demo, *rows)
    assert (again["made"], again["unchanged"]) == (0, [0, 1, 2, 3, 4])
    demo.bill("2026-02-01")
    assert billed(demo, "deal")[1] == ("2026-02-01", D("197.56"))
    lines_billed = demo.invoice_lines(demo.record("deal")["Last_Invoice_Number__c"])
    assert [(name, quantity, amount) for name, quantity, _, _, amount in lines_billed[:3]] == [
        ("Api", "1500", 750), ("Storage_Gb", "160.5", 2006), ("Call_Out", "2", 16000),
    ]  # fmt: skip
    late = used(demo, ("u6", contract, "API", "2026-01-31", "1"), ("u7", contract, "API", "2026-02-03", "501"))
    assert late["made"] == 1
    (why,) = refusals(late)
    assert why == (
        "Too late: API was billed from 2026-01-01 to 2026-01-31, so usage of 2026-01-31 is on no invoice any more."
        " Record it in an open period, or bill it by `connector invoices create`."
    )
    demo.bill("2026-03-01")
    assert billed(demo, "deal")[2] == ("2026-03-01", D("17.50"))  # 999 + 501 calls: 5.00 + 500 x 0.005, and the seat
    demo.assert_quiet()


def test_usage_until_a_cancellation_is_billed_with_it(demo: World) -> None:
    """Canceled on 16 January, what was used until then is on the final invoice at once; what comes after is refused."""
    won(demo, "deal", {"product": "storage_gb"})
    contract = demo.contracts()[0][0]
    used(demo, ("u1", contract, "", "2026-01-15", "800"))
    demo.clock.move_to(datetime(2026, 1, 16, 9, tzinfo=UTC))
    won(
        demo, "stop", Billing_Action__c="Cancel", Amends_Opportunity__c="@deal", Cancel_When__c="On date", Billing_Effective_Date__c="2026-01-16",
        Proration__c="Immediately", Contract_Term_Months__c=None, CloseDate="2026-01-16",
    )  # fmt: skip
    assert billed(demo, "deal") == [("2026-01-16", D(100))]
    result = used(demo, ("u2", contract, "", "2026-01-16", "1"), ("u3", contract, "", "2026-01-10", "1"))
    assert refusals(result)[0] == f"{contract} has nothing metered on 2026-01-16."
    assert refusals(result)[1].startswith("Too late: STORAGE_GB was billed from 2026-01-01 to 2026-01-15")
    demo.assert_quiet()


def test_what_cannot_be_usage_is_refused_row_by_row(demo: World) -> None:
    """Unknown contracts and items, bad quantities and times, and ids with other content are refused with the reason; the rest counts."""
    won(demo, "deal", {"product": "storage_gb"}, {"product": "api"})
    won(demo, "seats", {})
    first, second = (c[0] for c in demo.contracts())
    result = used(
        demo, ("a", first, "API", "2026-01-02", "5"), ("a", first, "API", "2026-01-02", "6"), ("a", first, "API", "2026-01-02", "5.0"),
        ("b", "ct_none", "", "2026-01-02", "5"), ("c", "", "", "2026-01-02", "5"), ("", first, "API", "2026-01-02", "5"),
        ("d", first, "", "2026-01-02", "5"), ("e", first, "GB", "2026-01-02", "5"), ("f", first, "API", "2026-01-02", "-1"),
        ("g", first, "API", "2026-01-02", "1e40"), ("h", first, "API", "last week", "5"), ("i", first, "API", "2026-01-02T10:00:00", "5"),
        ("j", second, "", "2026-01-02", "5"), ("k", first, "API", "2025-12-31", "5"), ("l", first, "API", "2036-01-02", "5"), ("m", first, "API", "2026-01-02", ""),
    )  # fmt: skip
    assert (result["made"], result["unchanged"]) == (1, [2])
    assert refusals(result) == [
        "The id a exists, differs in quantity (5 there, 6 here). Give other usage another id.",
        "The books have no contract ct_none, and no deal of that id made one.",
        "It names no contract and no deal.",
        "It has no id; the id is what keeps usage from being counted twice.",
        f"{first} meters several items on 2026-01-02: API (price calls), STORAGE_GB (price gb); name one by its item.",
        f"{first} meters nothing named GB on 2026-01-02; it meters API (price calls), STORAGE_GB (price gb).",
        "The quantity is -1, below zero; usage is at least 0.",
        "The quantity 1e40 is out of bounds: at most 10^15, with at most 12 decimals.",
        "The time 'last week' is not understood; write 2026-03-05, or 2026-03-05T14:30:00Z with an offset.",
        "The time 2026-01-02T10:00:00 has no offset; write 2026-01-02T10:00:00Z for UTC, or 2026-01-02T10:00:00+01:00.",
        f"{second} has no metered item.",
        f"{first} has nothing metered on 2025-12-31.",
        "2036-01-02 is more than two years ahead.",
        "It has no quantity.",
    ]


def test_an_amendment_may_repeat_or_remove_a_metered_line(demo: World) -> None:
    """The same usage line on an Amend deal changes nothing; one that reduces it ends it, and what was used is billed."""
    won(demo, "deal", {"product": "storage_gb"}, {"product": "seat", "UnitPrice": "10.00"})
    contract = demo.contracts()[0][0]
    change = {"Billing_Action__c": "Amend", "Amends_Opportunity__c": "@deal", "Contract_Term_Months__c": None, "Billing_Effective_Date__c": "2026-01-11"}
    used(demo, ("u1", contract, "STORAGE_GB", "2026-01-05", "80"))
    deal(demo, "same", {"product": "storage_gb"}, {"product": "seat", "UnitPrice": "10.00"}, **change)
    deal(demo, "less", {"product": "storage_gb", "Quantity": 1, "Line_Change__c": "Reduce"}, **(change | {"Billing_Effective_Date__c": "2026-01-21"}))
    demo.sync()
    assert demo.said("same")[0] == "Active"
    assert refusals(used(demo, ("u2", contract, "", "2026-01-25", "1"))) == [f"{contract} has nothing metered on 2026-01-25."]
    demo.bill("2026-02-01")
    last = [(name, amount) for name, _, _, _, amount in demo.invoice_lines(demo.record("deal")["Last_Invoice_Number__c"])]
    assert ("Storage_Gb", 1000) in last  # 80 x 0.125
    assert ("Team Seat", 2000) in last


def test_many_contracts_are_asked_for_at_once_and_only_open_periods(demo: World) -> None:
    """A chunk of contracts reads its usage with one statement, none of them what stands on invoices, and none at all without metered items."""
    won(demo, "deal", {"product": "storage_gb"})
    won(demo, "plain", {})
    contract = demo.contracts()[0][0]
    used(demo, *[(f"jan{n}", contract, "", f"2026-01-{n:02d}", "1") for n in range(1, 31)])
    demo.bill("2026-02-01")
    used(demo, ("feb", contract, "", "2026-02-02", "3"))
    with app.reading_house(demo.config) as books, books.database.read() as unit:
        found = {c.id: c for c in with_usage(unit, store.contracts(unit, [c[0] for c in demo.contracts()]))}
        assert [u.quantity for u in found[contract].usage] == [D(3)]
        assert [is_metered(c) for c in found.values() if c.id != contract] == [False]


def test_usage_files_by_command(shell: Shell) -> None:
    """A CSV, its dry run, the same again as JSON Lines, and a column that nobody knows; the exit status says whether rows were refused."""
    (shell.folder / "catalog.yaml").write_text(PRICES)
    assert shell.run("import", "catalog", "catalog.yaml")[0] == 0
    product(shell.world, "storage_gb", price="gb", charge="Usage")
    shell.world.account("acme")
    shell.world.deal("metered", {"product": "storage_gb"}, account="acme", StageName="Closed Won")
    assert shell.run("sync")[0] == 0
    contract = next(c["contract"] for c in shell.json("contracts", "list")[1] if c["name"] == "Metered")
    day = datetime.now(UTC).date().isoformat()
    (shell.folder / "usage.csv").write_text(f"id,contract,item,quantity,time\nu1,{contract},STORAGE_GB,12.5,{day}\nu2,ct_x,,1,{day}\n")
    status, dry = shell.json("usage", "import", "usage.csv", "--dry-run")
    assert (status, dry["made"], dry["refused"], dry["dry_run"]) == (1, 1, 1, True)
    status, out, _ = shell.run("usage", "import", "usage.csv")
    assert (status, "usage.csv:3" in out, "1 made, 0 unchanged, 1 refused." in out) == (1, True, True)
    (shell.folder / "usage.jsonl").write_text(json.dumps({"id": "u1", "deal": shell.world.ids["metered"], "quantity": 12.5, "time": day}) + "\n")
    status, again = shell.json("usage", "import", "usage.jsonl")
    assert (status, again["made"], again["unchanged"], again["refused"]) == (0, 0, 1, 0)
    (shell.folder / "usage.csv").write_text("id,contract,amount,time\n")
    status, _, err = shell.run("usage", "import", "usage.csv")
    assert (status, "unknown-column" in err, 'The column "quantity" is missing.' in err) == (2, True, True)


def test_rows_keep_their_lines(tmp_path: Path) -> None:
    """Rows of a semicolon CSV with quoted line breaks and of a JSON list know where they stand."""
    sheet, listed = tmp_path / "u.csv", tmp_path / "u.json"
    sheet.write_text('\ufeffid;contract;quantity;time\n"u\n1";c;1,5;2026-01-02\nu2;c;2;2026-01-03\n', encoding="utf-8")
    listed.write_text('[{"id": "u1", "quantity": 0.1, "time": "2026-01-02"}, {"id": "u2", "quantity": null, "time": ""}]')
    assert [(r.line, r.values["id"]) for r in rows_of(sheet)] == [(2, "u\n1"), (4, "u2")]
    assert [(r.line, dict(r.values)) for r in rows_of(listed)] == [(1, {"id": "u1", "quantity": D("0.1"), "time": "2026-01-02"}), (2, {"id": "u2"})]
    assert D(10) ** 15 == metering.MOST
