"""`connector quotes`: an offer from a file becomes a numbered quote, and what was accepted is what is billed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from test_cli import Shell, files, shell
from test_verbs_contracts import contract_of

__all__ = ["shell"]

NEW = """
label: Acme two years
customer: {account: acme, name: Acme Ltd, email: billing@acme.example, address: {line1: 1 High Street, city: Lyon, country: FR}}
currency: eur
prices:
  seat: {unit_amount: 1000, recurring: {interval: month}}
  support: {unit_amount: 60000, recurring: {interval: year}}
  setup: {unit_amount: 50000}
coupons:
  ten: {percent_off: 10, duration: forever}
quote:
  contract:
    start: START
    discounts: [ten]
    end_behavior: cancel
    phases:
      - duration: {interval: month, interval_count: 6}
        items: [{price: seat, quantity: "2"}, {price: support, quantity: "1"}]
        add_invoice_items: [{price: setup}]
      - duration: {interval: month, interval_count: 6}
        items: [{price: seat, quantity: "5"}, {price: support, quantity: "1"}]
"""
MORE = """
quote: {changes: CONTRACT, do: amend, items: [{delta: {price: SEAT-TEAM, quantity: "5"}}], proration_behavior: always_invoice}
"""


def drafted(site: Shell, text: str, *options: str) -> dict[str, Any]:
    """Make a draft of a file and return what the command says."""
    (site.folder / "offer.yaml").write_text(text)
    status, made = site.json("quotes", "create", "offer.yaml", *options)
    assert status == 0
    return dict(made)


def own(site: Shell, *options: str) -> list[dict[str, Any]]:
    """Return the quotes that were made by command, newest first."""
    return [q for q in site.json("quotes", "list", *options)[1] if q["deal"] == q["quote"]]


@pytest.fixture
def ready(shell: Shell) -> Shell:
    """A shell whose ledger is set up."""
    assert shell.run("sync")[0] == 0
    return shell


def test_an_accepted_quote_is_billed_as_it_was_quoted(ready: Shell) -> None:
    """Two phases, two intervals, a setup fee and 10 % off: the first invoice has the quote's lines and total; again is refused."""
    text = NEW.replace("START", str(datetime.now(UTC).date()))
    before = files(ready.folder)
    dry = drafted(ready, text, "--dry-run")
    assert {k: v for k, v in files(ready.folder).items() if not k.endswith("offer.yaml")} == before
    made = drafted(ready, text)
    assert (made["status"], made["number"]) == ("draft", None)
    assert (made["due_now"], made["value"]) == (dry["due_now"], dry["value"]) == ("1008.00", "1368.00")
    assert [[p["total"] for p in s["periods"]] for s in made["stages"]] == [["18.00", "540.00"], ["45.00", "540.00"]]
    status, sent = ready.json("quotes", "send", made["quote"])
    assert (status, sent["number"], sent["status"]) == (0, "Q-00001", "open")
    assert ready.json("quotes", "accept", "Q-00001", "--name", "Ann", "--dry-run")[1]["invoices"][0]["total"] == "1008.00 EUR"
    status, done = ready.json("quotes", "accept", "Q-00001", "--name", "Ann Bell", "--title", "CFO")
    assert (status, done["accepted_by"], done["accepted_title"]) == (0, "Ann Bell", "CFO")
    (issued,) = done["issued"]
    assert issued["total"] == "1008.00 EUR"
    invoice = ready.json("invoices", "show", issued["number"])[1]
    quoted = [(x["description"], x["amount"], x["discount"]) for x in made["lines"]]
    assert [(x["description"], x["amount"], x["discount"]) for x in invoice["lines"]] == quoted
    status, _, err = ready.run("quotes", "accept", "Q-00001", "--name", "Bob")
    assert (status, "accepted already, by Ann Bell" in err) == (1, True)
    assert len(ready.json("contracts", "list")[1]) == 1


def test_a_quote_that_changes_a_contract_becomes_outdated_when_it_changes_otherwise(ready: Shell) -> None:
    """Five more seats are quoted; a pause comes between: it says so and cannot be accepted; sent again it is revision 2."""
    contract = contract_of(ready)
    made = drafted(ready, MORE.replace("CONTRACT", contract))
    assert (made["kind"], made["changes"]) == ("amend", contract)
    assert ready.json("quotes", "send", made["quote"])[1]["number"] == "Q-00001"
    file = ready.folder / "setup.yaml"
    file.write_text("prices:\n  setup: {unit_amount: 50000}\nadd_invoice_items:\n  - {price: setup}\nproration_behavior: always_invoice\n")
    assert ready.run("contracts", "amend", contract, "setup.yaml")[0] == 0
    status, _, err = ready.run("quotes", "accept", "Q-00001", "--name", "Ann")
    assert status == 1
    assert "outdated: the contract has changed since (connector contracts amend)" in err
    assert "connector quotes send Q-00001" in err
    again = ready.json("quotes", "send", "Q-00001")[1]
    assert (again["number"], again["revision"], again["status"]) == ("Q-00001", 2, "open")
    done = ready.json("quotes", "accept", "Q-00001", "--name", "Ann")[1]
    assert [i["total"] for i in done["issued"]] == [f"{again['due_now']} EUR"]
    assert [r["status"] for r in ready.json("quotes", "show", "Q-00001")[1]["revisions"]] == ["replaced", "accepted"]


def test_what_is_wrong_with_a_file_is_said_with_its_place(ready: Shell) -> None:
    """Every problem at once, at its line; nothing is made."""
    (ready.folder / "bad.yaml").write_text(
        "labl: x\ncustomer: {acount: acme}\ncurrency: eur\nprices: {}\nquote:\n  contract:\n    start: 2026-01-01\n    phases: [{items: [{price: no}]}]\n"
    )
    status, _, err = ready.run("quotes", "create", "bad.yaml")
    assert status == 2
    for place in ("bad.yaml:1:1: unknown-key", "bad.yaml:2:12: unknown-key", "bad.yaml:8:31: unknown-price"):
        assert place in err
    (ready.folder / "who.yaml").write_text(NEW.replace("START", "2026-12-01").replace("account: acme, name: Acme Ltd,", "account: nobody,"))
    status, _, err = ready.run("quotes", "create", "who.yaml")
    assert (status, "no customer for the account nobody" in err) == (1, True)
    assert own(ready) == []


def test_a_quote_is_declined_or_canceled_and_nothing_else_then(ready: Shell) -> None:
    """Declined with its reason, canceled as a draft: neither can be accepted or sent; numbers have no gap."""
    text = NEW.replace("START", "2027-01-01")
    first, second, third = (drafted(ready, text)["quote"] for _ in range(3))
    ready.json("quotes", "send", first)
    assert ready.json("quotes", "decline", "Q-00001", "--reason", "too dear")[1]["reason"] == "too dear"
    assert ready.json("quotes", "cancel", second)[1]["status"] == "canceled"
    assert ready.json("quotes", "send", third)[1]["number"] == "Q-00002"
    status, _, err = ready.run("quotes", "accept", "Q-00001", "--name", "Ann")
    assert (status, "declined or canceled: too dear" in err) == (1, True)
    assert ready.run("quotes", "send", second)[0] == 1
    assert ready.run("quotes", "accept", "Q-00002", "--name", " ")[0] == 1
    assert ready.run("quotes", "show", "Q-00009")[0] == 1
    assert [q["status"] for q in own(ready)] == ["open", "canceled", "canceled"]
    assert [q["number"] for q in own(ready, "--status", "open")] == ["Q-00002"]
    assert ready.run("quotes", "list", "--status", "lost")[0] == 2
