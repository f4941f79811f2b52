"""`connector contracts amend|cancel|pause|resume|renew`: from a shell, and as the rep reads it in the CRM."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from test_cli import Shell, crm_records, files, shell
from test_flow_notes import ask
from world import world

from connector import app
from connector.core.terms import (
    Change,
    Contract,
    ContractTerms,
    Interval,
    Item,
    Phase,
    Price,
    Settings,
    change_to_data,
)
from connector.simulate.actions import read_change

__all__ = ["shell"]


def contract_of(site: Shell) -> str:
    """Bill an open-ended deal and return its contract's id."""
    site.world.edit("acme_seats", Contract_Term_Months__c=None)
    site.world.win("acme_seats")
    assert site.run("sync")[0] == 0
    return str(site.json("contracts", "list")[1][0]["contract"])


def test_a_dry_run_shows_the_invoices_and_writes_nothing(shell: Shell) -> None:
    """Adding a setup fee of 500.00 at once: the dry run names it and leaves every byte; then it is issued, once."""
    contract = contract_of(shell)
    file = shell.folder / "setup.yaml"
    file.write_text("prices:\n  setup: {unit_amount: 50000}\nadd_invoice_items:\n  - {price: setup}\nproration_behavior: always_invoice\n")
    before, told = files(shell.folder), crm_records(shell.world)
    status, shown = shell.json("contracts", "amend", contract, "setup.yaml", "--dry-run")
    assert (status, shown["issued"]) == (0, [])
    assert shown["invoices"][0]["total"] == "500.00 EUR"
    assert files(shell.folder) == before
    assert crm_records(shell.world) == told
    status, done = shell.json("contracts", "amend", contract, "setup.yaml")
    assert status == 0
    assert [i["total"] for i in done["issued"]] == ["500.00 EUR"]
    assert len(shell.json("invoices", "list")[1]) == 2
    assert shell.run("sync")[0] == 0
    assert shell.world.record("acme_seats")["Last_Invoice_Number__c"] == done["issued"][0]["number"]


def test_what_cannot_be_is_refused_with_its_place(shell: Shell) -> None:
    """Every problem of a file stands with line and column; an option that must be said is named; nothing is changed."""
    contract = contract_of(shell)
    (shell.folder / "bad.yaml").write_text("items:\n  - add: {price: nothing, quantity: 3}\nfoo: 1\n")
    (shell.folder / "less.yaml").write_text("items:\n  - delta: {price: SEAT-TEAM, quantity: -11}\nproration_behavior: none\n")
    status, _, err = shell.run("contracts", "amend", contract, "bad.yaml")
    assert status == 2
    assert "bad.yaml:2:18: unknown-price" in err
    assert "bad.yaml:3:1: unknown-key" in err
    status, _, err = shell.run("contracts", "cancel", contract, "--when", "now")
    assert status == 2
    assert "'prorate'" in err
    assert "'invoice_now'" in err
    assert "connector contracts cancel --help" in err
    status, _, err = shell.run("contracts", "amend", contract, "less.yaml")
    assert (status, "Team Seat" in err) == (1, True)
    assert shell.run("contracts", "resume", contract)[0] == 1
    assert shell.run("contracts", "pause", "ct_nothing")[0] == 1
    assert "changes" not in shell.run("contracts", "show", contract)[1]


def test_a_pause_by_request_reaches_the_record_and_counts_once(tmp_path: Path) -> None:
    """Paused on the first day, 2 x 100.00 are credited and the rep reads so; the same request again adds nothing; then it goes on."""
    with world(tmp_path) as here:
        here.account("acme")
        here.deal("licences", {"Quantity": 2}, account="acme")
        here.win("licences")
        here.sync()
        contract = here.record("licences")["Billing_Contract_Id__c"]
        day = datetime(2026, 1, 1)
        pause = Change(id="x", kind="pause", effective=day, made_at=day, proration_behavior="always_invoice")
        data = {"contract": contract, "label": "pause", "change": change_to_data(pause)}
        assert ask(here, "contract.change", **data) == "done"
        assert here.said("licences")[0] == "Paused"
        assert here.record("licences")["Amount_Billed__c"] == Decimal(0)
        with app.writing_house(here.config, "test", clock=here.clock) as house, house.database.transaction() as unit:
            ((key,),) = unit.query("SELECT id FROM intent")
            house.billing.carry_out("contract.change", data, unit, here.clock.now(), key=key, actor="cli")
            assert unit.query("SELECT COUNT(*) FROM change")[0][0] == 1
            assert unit.query("SELECT COUNT(*) FROM invoice")[0][0] == 2
        resume = Change(id="x", kind="resume", effective=datetime(2026, 1, 2), made_at=day, proration_behavior="always_invoice")
        assert ask(here, "contract.change", contract=contract, label="resume", change=change_to_data(resume)) == "done"
        here.bill("2026-01-02")
        assert here.said("licences")[0] == "Active"
        assert here.record("licences")["Amount_Billed__c"] == Decimal("193.55")
        here.assert_quiet()


def test_a_name_that_means_two_prices_is_not_guessed() -> None:
    """The product has two prices in the contract: its name is refused, each price's own name is taken."""
    month, at = Interval(unit="month"), datetime(2026, 1, 1)
    items = tuple(Item(id=n, price=Price(id=n, product="gold", unit_amount=Decimal(a), interval=month)) for n, a in (("old", 900), ("new", 1100)))
    settings = Settings(proration="day", tax_rounding="line")
    terms = ContractTerms(currency="eur", timezone="UTC", settings=settings, start=at, phases=(Phase(start=at, items=items),))
    contract = Contract(id="k", terms=terms)
    change, complaints = read_change({"do": "amend", "items": [{"delta": {"price": "gold"}}]}, contract, at)
    assert [c.code for c in complaints] == ["unknown-price"]
    change, complaints = read_change({"do": "amend", "items": [{"delta": {"price": "new"}}]}, contract, at)
    assert complaints == []
    assert change is not None
    assert change.items[0].item is not None
    assert change.items[0].item.price.unit_amount == 1100


def test_a_contract_is_canceled_once(shell: Shell) -> None:
    """A second cancellation at the same end is refused with the day, and leaves no second change; an earlier one is taken."""
    contract = contract_of(shell)
    assert shell.run("contracts", "cancel", contract, "--when", "period_end")[0] == 0
    status, _, said = shell.run("contracts", "cancel", contract, "--when", "period_end")
    assert status == 1
    assert " already. Nothing is to be done." in " ".join(said.split())
    assert len(shell.json("contracts", "show", contract)[1]["changes"]) == 1
    assert shell.run("contracts", "cancel", contract, "--when", "now", "--no-prorate", "--no-invoice-now")[0] == 0
    assert len(shell.json("contracts", "show", contract)[1]["changes"]) == 2


def test_an_invoice_is_written_to_a_file(shell: Shell) -> None:
    """`invoices pdf` writes the document under its number or where it is told; what cannot be written or found is said."""
    contract_of(shell)
    number = str(shell.json("invoices", "list")[1][0]["number"])

    def write(*more: str) -> int:
        """Run it in an interpreter of its own: the typesetter's threads do not survive a fork."""
        words = [sys.executable, "-m", "connector", "invoices", "pdf", number, *more]
        return subprocess.run(words, cwd=shell.folder, env=shell.env, capture_output=True, timeout=120, check=False).returncode

    assert (write(), write("-o", "other.pdf"), write("-o", "nowhere/other.pdf")) == (0, 0, 2)
    assert (shell.folder / f"{number}.pdf").read_bytes().startswith(b"%PDF-")
    assert (shell.folder / "other.pdf").exists()
    assert shell.run("invoices", "pdf", "INV-9999")[0] == 1
