"""Asking for the same thing twice: what a file names by `id` is done once; and requests that would contradict what is under way."""

from __future__ import annotations

import json
from pathlib import Path

from books_world import item, open_books, terms
from test_cli import Shell, shell
from test_flow_payments import CARDS, ask, customer, won
from test_verbs_contracts import contract_of
from world import world

from connector import app
from connector.sync import intents

__all__ = ["shell"]

ONE = "id: visit-7\naccount: {account}\ncurrency: eur\nlines:\n- {{description: Visit, unit_price: {price}}}\n"


def test_a_one_off_invoice_with_an_id_is_issued_once(shell: Shell) -> None:
    """The same file again says what it made; with other content the id is refused; another id makes another invoice."""
    contract_of(shell)
    account, file = shell.world.ids["acme"], shell.folder / "one.yaml"
    file.write_text(ONE.format(account=account, price="90.00"))
    _, first = shell.json("invoices", "create", "one.yaml")
    status, again = shell.json("invoices", "create", "one.yaml")
    assert (status, again["number"]) == (0, first["number"])
    assert "was issued before, by the same file; nothing was done." in again["text"]
    file.write_text(ONE.format(account=account, price="95.00"))
    status, _, err = shell.run("invoices", "create", "one.yaml")
    assert status == 1
    assert "The invoice visit-7 was asked for already, with other content" in err
    file.write_text(ONE.format(account=account, price="95.00").replace("visit-7", "visit-8"))
    assert shell.json("invoices", "create", "one.yaml")[1]["number"] != first["number"]


def test_a_refused_invoice_is_tried_again_under_its_id(shell: Shell) -> None:
    """An unknown customer is refused; once the file names a known one, the same id is issued."""
    contract_of(shell)
    file = shell.folder / "one.yaml"
    file.write_text(ONE.format(account="001X", price="90.00"))
    assert shell.run("invoices", "create", "one.yaml")[0] == 1
    file.write_text(ONE.format(account=shell.world.ids["acme"], price="90.00"))
    assert shell.run("invoices", "create", "one.yaml")[0] == 0


def test_a_change_with_an_id_is_made_once(shell: Shell) -> None:
    """An amendment's file run twice adds its fee once; other content under the id is refused."""
    contract = contract_of(shell)
    text = "id: fee-1\nprices:\n  setup: {unit_amount: 50000}\nadd_invoice_items:\n  - {price: setup}\nproration_behavior: always_invoice\n"
    (shell.folder / "fee.yaml").write_text(text)
    assert len(shell.json("contracts", "amend", contract, "fee.yaml")[1]["issued"]) == 1
    status, again = shell.json("contracts", "amend", contract, "fee.yaml")
    assert (status, again["issued"]) == (0, [])
    assert "was made before, by the same file; nothing was done." in again["text"]
    assert len(shell.json("invoices", "list")[1]) == 2
    (shell.folder / "fee.yaml").write_text(text.replace("50000", "60000"))
    status, _, err = shell.run("contracts", "amend", contract, "fee.yaml")
    assert (status, f"The change fee-1 of {contract} was asked for already" in err) == (1, True)


def test_an_invoice_that_is_being_charged_is_not_voided(tmp_path: Path) -> None:
    """While nobody knows what became of a charge, voiding waits: else money could come for nothing."""
    with world(tmp_path, payments=CARDS) as here:
        won(here, "Net 30")
        ask(here, "customer.payment_method", customer=customer(here), method="test:ok")
        with app.writing_house(here.config, "test", clock=here.clock) as house:
            with house.database.transaction() as unit:
                wanted = {"invoice": "INV-0001", "customer": customer(here)}
                house.billing.carry_out("invoice.charge", wanted, unit, here.clock.now(), key="it_charge", actor="portal")
                key = intents.submit(unit, "invoice.void", {"invoice": "INV-0001"}, actor="cli", now=here.clock.now())
            intents.carry_out(house.database, house.billing, here.clock.now())
            with house.database.read() as unit:
                found = intents.found(unit, key)
        assert found is not None
        assert (found.state, found.result["code"]) == ("refused", "charge-pending")


def test_the_event_of_an_invoice_is_json_whatever_its_number(tmp_path: Path) -> None:
    """A quotation mark or a backslash in the numbering stays in the number and does not end the text."""
    books = open_books(tmp_path, numbering='{prefix}"\\{seq:04d}', prefix="INV")
    books.create("D1", "2026-01-01", terms(items=[item(quantity=1)]))
    with books.database.read() as unit:
        ((data,),) = unit.query("SELECT data FROM event WHERE name = 'invoice.finalized'")
    assert json.loads(data)["number"] == 'INV"\\0001'
    books.database.close()


def test_names_and_currencies_are_taken_as_people_write_them(shell: Shell) -> None:
    """`events list` knows a customer by its name; XAU, which is gold, is refused as a currency."""
    contract_of(shell)
    name = str(shell.world.record("acme", "Account")["Name"])
    status, found = shell.json("events", "list", "--customer", name.upper())
    assert status == 0
    assert "invoice.finalized" in {e["event"] for e in found}
    status, _, err = shell.run("events", "list", "--customer", "Nobody")
    assert (status, "Nobody" in err) == (1, True)
    status, _, err = shell.run("customers", "adjust-balance", shell.world.ids["acme"], "-5", "--currency", "XAU", "--reason", "test")
    assert (status, "XAU is no currency." in err) == (2, True)
