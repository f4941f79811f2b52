"""`connector import contracts`: from a shell, killed and run again, and as the rep reads it in the CRM."""

from __future__ import annotations

import os
import signal
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_cli import Shell, shell
from world import World, mapping_files, world

from connector import app
from connector.asking.imports import contract_rows
from connector.kit.db import Database

__all__ = ["shell"]

HEAD = "contract,deal,account,name,email,country,currency,start,end,billed_through,product,unit_price,interval,quantity,discount_percent\n"


def csv_of(count: int, **more: str) -> str:
    """Return a CSV of so many contracts of one item, gold at 30.00 a month since January, billed through 2030."""
    rows = [f"OLD-{n},,A{n},Acme {n},ap@acme{n}.example,FR,EUR,2026-01-01,,2030-12-31,gold,30.00,month,{n % 5 + 1},\n" for n in range(count)]
    return HEAD + "".join(rows)


def test_a_csv_comes_into_the_books_with_a_row_for_each_row(shell: Shell) -> None:
    """Two rows of one contract and one of another: a dry run shows them and writes nothing, then they are made, then unchanged."""
    text = (
        "OLD-1,,A1,Acme,ap@acme.example,FR,EUR,2026-01-01,,2030-12-31,gold,30.00,month,2,\n"
        "OLD-1,,A1,,,,EUR,2026-01-01,,,support,600.00,year,1,10\n"
        "OLD-2,,A2,Bolt,ap@bolt.example,FR,EUR,2026-01-01,2031-12-31,2030-12-31,seat,9.99,quarterly,3,\n"
    )
    (shell.folder / "old.csv").write_text(HEAD + text)
    status, shown = shell.json("import", "contracts", "old.csv", "--dry-run")
    assert (status, shown["made"], shown["refused"], shown["dry_run"]) == (0, 2, 0, True)
    assert [(r["row"], r["kind"], r["result"]) for r in shown["rows"]] == [
        ("old.csv:2", "contract", "would be made"), ("old.csv:3", "item", "would be made"), ("old.csv:4", "contract", "would be made"),
    ]  # fmt: skip
    assert (shown["rows"][0]["next_on"], shown["rows"][0]["next_amount"]) == ("2031-01-01", "600.00")
    assert (shown["rows"][2]["next_on"], shown["rows"][2]["next_amount"]) == ("2031-01-01", "29.97")
    status, out, err = shell.run("import", "contracts", "old.csv")
    assert status == 0, err
    assert "old.csv:2  OLD-1  made: ct_" in out
    assert "next invoice 2031-01-01, 600.00 EUR" in out
    assert out.endswith("2 made, 0 unchanged, 0 refused.\n")
    contracts = shell.json("contracts", "list")[1]
    assert len(contracts) == 2
    status, again = shell.json("import", "contracts", "old.csv")
    assert (status, again["made"], again["unchanged"]) == (0, 0, 2)
    assert shell.json("contracts", "list")[1] == contracts
    assert shell.json("invoices", "list")[1] == []


def test_every_bad_row_is_refused_with_its_place_and_the_good_ones_are_made(shell: Shell) -> None:
    """Minor units with a comma, a period cut in the middle, an unknown interval: file, line and column; one row is sound."""
    text = (
        'OLD-1,,A1,Acme,ap@acme.example,FR,EUR,2026-01-01,,2030-12-31,gold,"30,00",month,2,\n'
        "OLD-2,,A2,Bolt,ap@bolt.example,FR,EUR,2026-01-01,,2030-12-15,gold,30.00,month,2,\n"
        "OLD-3,,A3,Bolt,ap@bolt.example,FR,EUR,2026-13-01,,,gold,30.00,fortnight,2,\n"
        "OLD-4,,A4,Dome,ap@dome.example,FR,EUR,2026-01-01,,2030-12-31,gold,30.00,month,2,\n"
        "OLD-5,,A5,,,,EUR,2026-01-01,,2030-12-31,gold,30.00,month,2,\n"
        "OLD-4,,A4,Dome,ap@dome.example,FR,EUR,2026-01-01,,2030-12-31,gold,30.00,month,2,\n"
    )
    (shell.folder / "old.csv").write_text(HEAD + text)
    status, out, _ = shell.run("import", "contracts", "old.csv")
    assert status == 1
    assert "old.csv:2: not-money: unit_price: '30,00' is no amount. Write major units with a point: 30.00." in out
    assert "old.csv:3: billed-inside-period: billed_through: The contract was billed through 2030-12-15" in out
    assert "old.csv:4: unknown-value: interval: 'fortnight' is no interval." in out
    assert "old.csv:4: not-an-instant: start:" in out
    assert "old.csv:6: unknown-customer: The books have no customer for the account A5." in out
    assert "old.csv:7: rows-apart: contract: OLD-4 stood further up already." in out
    assert out.endswith("1 made, 0 unchanged, 5 refused.\n")


def test_a_file_that_is_none_is_refused_whole(shell: Shell) -> None:
    """Unknown and missing columns, amounts in minor units, no such file, broken YAML: exit 2, nothing is made."""
    (shell.folder / "bad.csv").write_text("contract,acount,unit_amount\nOLD-1,A1,3000\n")
    status, _, err = shell.run("import", "contracts", "bad.csv")
    assert status == 2
    assert 'There is no column "acount". Did you mean "account"?' in err
    assert "major units (30.00) in the column unit_price" in err
    assert 'The column "start" is missing.' in err
    (shell.folder / "bad.yaml").write_text("contracts: [\n")
    assert shell.run("import", "contracts", "bad.yaml")[0] == 2
    assert shell.run("import", "contracts", "nothing.csv")[0] == 2
    status, shown = shell.json("import", "contracts", "bad.csv")
    assert (status, shown["error"]) == (2, "bad-config")


def test_yaml_and_json_lines_are_read_in_the_words_of_scenarios(shell: Shell) -> None:
    """Shared prices, the catalogue's, months left of a coupon; each problem at its line and column."""
    (shell.folder / "catalog.yaml").write_text("currency: eur\nprices:\n  GOLD_M: {product: gold, unit_amount: 3000, recurring: {interval: month}}\n")
    assert shell.run("sync")[0] == 0
    assert shell.run("import", "catalog", "catalog.yaml")[0] == 0
    (shell.folder / "old.yaml").write_text(
        "currency: eur\n"
        "coupons:\n"
        "  ten: {percent_off: 10, months_left: 3}\n"
        "contracts:\n"
        "  - id: OLD-1\n"
        "    customer: {account: A1, name: Acme, email: ap@acme.example}\n"
        "    billed_through: 2030-12-31\n"
        "    contract: {start: 2026-01-01, discounts: [ten], phases: [{items: [{price: GOLD_M, quantity: 2}]}]}\n"
        "  - id: OLD-2\n"
        "    customer: {account: A1}\n"
        "    billed_through: 2030-12-30\n"
        "    contract: {start: 2026-01-01, phases: [{items: [{price: GOLD_X}]}]}\n"
    )
    status, shown = shell.json("import", "contracts", "old.yaml")
    assert (status, shown["made"], shown["refused"]) == (1, 1, 1)
    assert shown["rows"][0]["next_amount"] == "54.00"
    (problem,) = shown["rows"][1]["problems"]
    assert (problem["code"], problem["where"]["line"], problem["where"]["column"]) == ("unknown-price", 12, 61)
    line = (
        '{"id": "OLD-3", "customer": "A1", "currency": "eur", "billed_through": "2030-12-31",'
        ' "contract": {"start": "2026-01-01", "phases": [{"items": [{"price": "GOLD_M"}]}]}}\n'
    )
    (shell.folder / "old.jsonl").write_text(line + line.replace("OLD-3", "OLD-4").replace("GOLD_M", "x") + "{nonsense\n")
    status, shown = shell.json("import", "contracts", "old.jsonl")
    assert (status, shown["made"], shown["refused"]) == (1, 1, 2)
    assert [(r["row"], [p["code"] for p in r["problems"]]) for r in shown["rows"]] == [
        ("old.jsonl:1", []), ("old.jsonl:2", ["unknown-price"]), ("old.jsonl:3", ["bad-json"]),
    ]  # fmt: skip


def test_whoever_holds_the_ledger_does_it(shell: Shell) -> None:
    """While the daemon runs, it imports at its next round, and the command waits for it and prints the same report."""
    (shell.folder / "old.csv").write_text(csv_of(3))
    assert shell.run("sync")[0] == 0
    shell.change("every: 30s", "every: 1s")
    daemon = shell.start("run")
    try:
        time.sleep(3)
        status, shown = shell.json("import", "contracts", "old.csv")
        assert (status, shown["made"]) == (0, 3)
    finally:
        os.kill(daemon.pid, signal.SIGTERM)
        daemon.communicate()


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_each_contract_is_there_once(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after each commit of an import of parts of two, then run to the end: nine contracts, nine times the lines of one, no invoice."""
    (shell.folder / "old.csv").write_text(csv_of(9))
    assert shell.run("sync")[0] == 0
    config = shell.folder / "config.yaml"
    for point in range(40):
        child = os.fork()
        if child == 0:
            die_at(point, config, shell)
        _, ended = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(ended) == 0:
            break
        assert os.waitstatus_to_exitcode(ended) == -signal.SIGKILL
    assert point > 5
    status, shown = shell.json("import", "contracts", "old.csv")
    assert (status, shown["made"], shown["unchanged"]) == (0, 0, 9)
    database = Database(f"sqlite:///{shell.folder}/connector.db")
    with database.read() as unit:
        assert unit.query("SELECT COUNT(*), COUNT(DISTINCT deal) FROM contract") == [(9, 9)]
        assert unit.query("SELECT COUNT(*) FROM line") == [(9 * 60,)]
        assert unit.query("SELECT COUNT(*) FROM invoice") == [(0,)]
    database.close()


def die_at(point: int, config: Path, site: Shell) -> None:
    """Import in this process, in parts of two contracts, and die by SIGKILL at the *point*-th commit; leave with 0 after all."""
    from test_kill import Fuse, fused_database

    from connector.asking import imports

    app.Database = fused_database(Fuse(point))  # type: ignore[misc]  # this process is a fork made to die
    imports.AT_ONCE, imports.REQUESTS_AT_ONCE = 2, 2  # type: ignore[misc]
    os.environ.update(site.env)
    os.chdir(site.folder)
    for _ in contract_rows(config, Path("old.csv"), is_dry=False):
        pass
    os._exit(0)


# ---------------------------------------------------------------- in the CRM


def since_2026(folder: Path) -> list[Path]:
    """Return the shipped mappings, of which the opportunities' leaves deals alone that were closed before 2026."""
    opportunity, quote = mapping_files()
    text = opportunity.read_text(encoding="utf-8")
    assert "  # start_from: 2026-01-01 " in text
    file = folder / "opportunity.yaml"
    file.write_text(text.replace("  # start_from: 2026-01-01 ", "  start_from: 2026-01-01 "), encoding="utf-8")
    return [file, quote]


def rows_for(here: World, deal: str, **cells: str) -> str:
    """Return a CSV of one contract of an opportunity: gold at 30.00 a month since January 2025, billed through January 2026."""
    account = here.record(deal)["AccountId"]
    return HEAD + f"OLD-1,{here.ids[deal]},{account},Acme,ap@acme.example,France,EUR,2025-01-01,,2026-01-31,GOLD,30.00,month,2,\n"


def brought(here: World, text: str, folder: Path) -> list[dict[str, Any]]:
    """Import a CSV as the command does, at the world's time."""
    from connector.asking.contract_files import contracts_of
    from connector.asking.imports import common_of
    from connector.sync import intents

    file = folder / "old.csv"
    file.write_text(text)
    data = {"contracts": [f.data for f in contracts_of(file, common_of(here.config)) if f.data is not None]}
    with app.writing_house(here.config, "test", clock=here.clock) as house:
        with house.database.transaction() as unit:
            key = intents.submit(unit, "contract.import", data, actor="test", now=here.clock.now())
        intents.carry_out(house.database, house.billing, here.clock.now())
        with house.database.read() as unit:
            done = intents.found(unit, key)
    assert done is not None
    assert done.state == "done", done.result
    rows: list[dict[str, Any]] = done.result["rows"]
    return rows


def test_the_linked_deal_is_told_and_never_billed_again(tmp_path: Path) -> None:
    """A deal closed before billing began gets its contract: status, id and next invoice stand on it, a second sync changes nothing."""
    with world(tmp_path, mappings=since_2026(tmp_path)) as here:
        here.account("acme")
        here.deal("licences", {"Quantity": 2}, account="acme", CloseDate="2024-12-20")
        here.win("licences")
        here.sync()
        assert here.record("licences")["Billing_Contract_Id__c"] is None
        (row,) = brought(here, rows_for(here, "licences"), tmp_path)
        here.sync()
        record = here.record("licences")
        assert record["Billing_Contract_Id__c"] == row["contract"]
        assert (record["Billing_Status__c"], record["Next_Invoice_Date__c"], record["Next_Invoice_Amount__c"]) == ("Active", "2026-02-01", Decimal(60))
        assert (record["Amount_Billed__c"], record["Last_Invoice_Number__c"]) == (Decimal(0), None)
        here.assert_quiet()
        here.bill("2026-02-01")
        assert here.record("licences")["Amount_Billed__c"] == Decimal(60)
        assert [i["Total__c"] for i in here.invoices()] == [Decimal(60)]


def test_an_edit_of_the_linked_deal_after_the_import_is_flagged(tmp_path: Path) -> None:
    """What the record said at the import counts as agreed; a line added later needs attention, and the contract goes on."""
    with world(tmp_path, mappings=since_2026(tmp_path)) as here:
        here.account("acme")
        here.deal("licences", {"Quantity": 2}, account="acme", CloseDate="2024-12-20")
        here.win("licences")
        here.sync()
        brought(here, rows_for(here, "licences"), tmp_path)
        here.sync()
        assert here.said("licences")[0] == "Active"
        here.clock.move_to(here.clock.now().replace(hour=12))
        here.line("more", "licences", Quantity=5)
        here.sync()
        assert here.said("licences")[0] == "Needs attention"
        assert len(here.contracts()) == 1


def test_an_amendment_names_the_imported_contract(tmp_path: Path) -> None:
    """A contract without a deal: an Amend deal names it by Amends Contract Id and is prorated against what the other system billed."""
    with world(tmp_path) as here:
        here.account("acme")
        here.sync()
        account = here.ids["acme"]
        text = HEAD + f"OLD-1,,{account},Acme,ap@acme.example,France,EUR,2025-01-01,,2026-01-31,SEAT-TEAM,30.00,month,2,\n"
        (row,) = brought(here, text, tmp_path)
        here.deal(
            "more", {"Quantity": 1, "UnitPrice": "30.00"}, account="acme", Billing_Action__c="Amend", Amends_Contract_Id__c=row["contract"],
            Billing_Effective_Date__c="2026-01-17", CloseDate="2026-01-01",
        )  # fmt: skip
        here.win("more")
        here.sync()
        here.bill("2026-01-17")
        assert here.said("more")[0] == "Active", here.said("more")
        assert [i["Total__c"] for i in here.invoices()] == [Decimal("14.52")]
        assert [i.get("Opportunity__c") for i in here.invoices()] == [None]
        here.bill("2026-02-01")
        assert [i["Total__c"] for i in here.invoices()] == [Decimal("14.52"), Decimal(90)]


def test_a_change_that_waited_for_its_base_is_tried_when_that_is_imported(tmp_path: Path) -> None:
    """An Amend deal of a deal that was closed before billing began needs attention; the import of its contract lets it pass."""
    with world(tmp_path, mappings=since_2026(tmp_path)) as here:
        here.account("acme")
        here.deal("licences", {"Quantity": 2}, account="acme", CloseDate="2024-12-20")
        line = {"product": "seat", "Quantity": 1, "UnitPrice": "30.00"}
        here.deal("more", line, account="acme", Billing_Action__c="Amend", Amends_Opportunity__c="@licences", Billing_Effective_Date__c="2026-01-17")
        here.win("licences", "more")
        here.sync()
        assert here.said("more")[0] == "Needs attention"
        brought(here, rows_for(here, "licences").replace(",GOLD,", ",SEAT-TEAM,"), tmp_path)
        here.sync()
        here.bill("2026-01-17")
        assert here.said("more")[0] == "Active", here.said("more")
        assert [i["Total__c"] for i in here.invoices()] == [Decimal("14.52")]
        assert here.record("licences")["Amount_Billed__c"] == Decimal("14.52")
