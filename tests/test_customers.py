"""`connector customers`: who is billed, from a shell; balances that people correct and the next invoice uses."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from test_cli import Shell, shell

__all__ = ["shell"]


def rows(site: Shell, sql: str) -> list[tuple[Any, ...]]:
    """Read the folder's database."""
    with sqlite3.connect(site.folder / "connector.db") as books:
        return list(books.execute(sql))


def bill_next_month(site: Shell) -> None:
    """Bill what is due 32 days from now: the second period of what began today."""
    later = datetime.now(UTC) + timedelta(days=32)
    status, done = site.json("bill", "--as-of", later.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert (status, done["invoices"]) == (0, 1)


@pytest.fixture
def billed(shell: Shell) -> Shell:
    """A folder whose deal of Acme, 2 x 100.00 a month from today on, is billed."""
    shell.world.account("acme")
    shell.world.deal("licences", {"Quantity": 2}, account="acme", CloseDate=datetime.now(UTC).date())
    shell.world.win("licences")
    assert shell.run("sync")[0] == 0
    return shell


def test_a_customer_is_found_by_id_account_or_name(billed: Shell) -> None:
    """`customers show` takes each of the three, in any letters; a name nobody has is refused."""
    _, (row,) = billed.json("customers", "list")
    assert (row["name"], row["contracts"], row["open"], row["balance"]) == ("Acme", 1, ["200.00 EUR"], [])
    for name in (row["customer"], row["account"], "ACME"):
        status, sheet = billed.json("customers", "show", name)
        assert (status, sheet["customer"]) == (0, row["customer"])
    assert sheet["address"] == ["1 High Street", "69001 Lyon", "France"]
    assert [c["contract"] for c in sheet["contract_list"]] == [rows(billed, "SELECT id FROM contract")[0][0]]
    assert [i["open"] for i in sheet["open_invoices"]] == ["200.00 EUR"]
    status, _, err = billed.run("customers", "show", "nobody")
    assert (status, "no customer nobody" in err) == (1, True)
    text = billed.run("customers", "show", "acme")[1]
    assert "consolidation: one invoice a contract, as the account says in the CRM" in text
    assert "balance history" not in text


def test_two_customers_of_one_name_are_told_apart(billed: Shell) -> None:
    """The refusal lists both with their accounts, so that one can be named."""
    billed.world.account("acme2", Name="Acme")
    billed.world.deal("more", {"Quantity": 1}, account="acme2", CloseDate=datetime.now(UTC).date())
    billed.world.win("more")
    assert billed.run("sync")[0] == 0
    status, _, err = billed.run("customers", "show", "acme")
    assert status == 1
    assert all(account in err for account in (billed.world.ids["acme"], billed.world.ids["acme2"]))


def test_credit_is_given_and_used_by_the_next_invoice(billed: Shell) -> None:
    """-50.00 is 50.00 of credit; the invoice a month later over 200.00 leaves 150.00 due; the history shows both with their reasons."""
    status, done = billed.json("customers", "adjust-balance", "acme", "-50.00", "--reason", "apology", "--currency", "eur")
    assert (status, done["balance"], done["was"]) == (0, "-50.00", "0.00")
    assert done["text"] == "Acme has 50.00 EUR of credit now; it was a balance of nothing. The next invoice in EUR uses it."
    assert billed.json("customers", "show", "acme")[1]["balance"] == ["-50.00 EUR"]
    bill_next_month(billed)
    invoice, first = billed.json("invoices", "list")[1]
    assert (invoice["total"], invoice["amount_due"], first["amount_due"]) == ("200.00", "150.00", "200.00")
    history = billed.json("customers", "show", "acme")[1]["history"]
    assert [(m["amount"], m["balance"], m["why"]) for m in history] == [
        ("50.00 EUR", "0.00 EUR", invoice["number"]),
        ("-50.00 EUR", "-50.00 EUR", "apology"),
    ]
    ((actor, before, after),) = rows(billed, "SELECT actor, before, after FROM event WHERE name = 'customer.balance_adjusted'")
    assert (actor.partition(":")[0], before, after) == ("cli", '{"balance":{"eur":0}}', '{"balance":{"eur":-5000}}')


def test_what_is_no_amount_of_a_currency_is_refused(billed: Shell) -> None:
    """A cent's half, yen with decimals, no such currency, no reason: each is said in words and the balance stays."""
    for words, said in (
        (("-50.005", "--reason", "x"), "finer than the smallest unit of EUR"),
        (("-50.5", "--reason", "x", "--currency", "JPY"), "finer than the smallest unit of JPY"),
        (("-50", "--reason", "x", "--currency", "EURO"), "EURO is no currency"),
        (("ten", "--reason", "x"), "ten is no amount"),
    ):
        status, _, err = billed.run("customers", "adjust-balance", "acme", *words)
        assert (status, said in err) == (2, True), err
    status, _, err = billed.run("customers", "adjust-balance", "acme", "0", "--reason", "x")
    assert (status, "changes nothing" in err) == (1, True)
    assert billed.run("customers", "adjust-balance", "acme", "-50")[0] == 2
    assert billed.json("customers", "show", "acme")[1]["balance"] == []


def test_the_currency_must_be_said_where_there_are_two(billed: Shell) -> None:
    """A customer with a balance in yen, too, is not guessed at; three digits of the dinar are kept."""
    assert billed.run("customers", "adjust-balance", "acme", "-500", "--reason", "gift", "--currency", "JPY")[0] == 0
    status, _, err = billed.run("customers", "adjust-balance", "acme", "-1", "--reason", "x")
    assert (status, "billed in EUR and JPY" in err) == (2, True)
    assert billed.json("customers", "adjust-balance", "acme", "-1.234", "--reason", "x", "--currency", "KWD")[1]["balance"] == "-1.234"
    assert billed.json("customers", "show", "acme")[1]["balance"] == ["-500 JPY", "-1.234 KWD"]


def test_consolidation_is_set_by_command_or_left_to_the_crm(billed: Shell) -> None:
    """The command's word counts above the account's until --follow-crm; saying nothing, or two things, is refused."""
    assert billed.json("customers", "set", "acme", "--consolidate")[1]["is_consolidated"] is True
    said = billed.json("customers", "show", "acme")[1]
    assert (said["is_consolidated"], said["consolidation"]) == (True, "one invoice for all contracts, set by command")
    assert billed.json("customers", "set", "acme", "--no-consolidate")[1]["is_consolidated"] is False
    assert billed.json("customers", "set", "acme", "--follow-crm")[1]["is_consolidated"] is False
    assert "as the account says" in billed.json("customers", "show", "acme")[1]["consolidation"]
    assert billed.run("customers", "set", "acme")[0] == 2
    assert billed.run("customers", "set", "acme", "--consolidate", "--follow-crm")[0] == 2


def test_lists_show_what_is_really_open_and_paid(billed: Shell) -> None:
    """A void invoice has nothing due; what was refunded is not paid any more, in the list as on the invoice."""
    ((number,),) = rows(billed, "SELECT number FROM invoice")
    assert billed.run("invoices", "pay", number)[0] == 0
    assert billed.run("invoices", "refund", number, "--amount", "50.00")[0] == 0
    (row,) = billed.json("invoices", "list")[1]
    assert (row["amount_paid"], row["amount_due"]) == ("150.00", "0.00")
    assert Decimal(row["amount_paid"]) == Decimal(billed.json("invoices", "show", number)[1]["amount_paid"])
    bill_next_month(billed)
    second = billed.json("invoices", "list")[1][0]["number"]
    assert billed.run("invoices", "void", second)[0] == 0
    assert billed.json("invoices", "list")[1][0]["amount_due"] == "0.00"


def test_a_credit_note_is_shown_by_its_number_and_a_change_by_who_asked(billed: Shell) -> None:
    """`invoices show CN-0001` names what it corrects; `contracts show` says who asked for a pause, and not only the request's id."""
    ((number,),) = rows(billed, "SELECT number FROM invoice")
    assert billed.run("invoices", "credit", number, "--amount", "20.00", "--reason", "late")[0] == 0
    note = billed.json("invoices", "show", "CN-0001")[1]
    assert (note["corrects"], note["total"], note["reduced"], note["reason"]) == (number, "20.00", "20.00", "late")
    assert "corrects: INV-0001" in billed.run("invoices", "show", "CN-0001")[1]
    ((contract,),) = rows(billed, "SELECT id FROM contract")
    assert billed.run("contracts", "pause", contract)[0] == 0
    text = billed.run("contracts", "show", contract)[1]
    assert re.search(rf"pause: connector contracts pause, asked by cli\S* on {datetime.now(UTC).date()}", text), text


def test_a_one_off_invoice_says_in_which_unit_its_amounts_are(billed: Shell) -> None:
    """unit_price 290.00 and unit_amount 29000 are the same; what could mean the other is refused with its place, all problems at once."""
    file = billed.folder / "one.yaml"
    file.write_text("customer: acme\ncurrency: eur\nlines:\n- {description: Workshop, unit_price: 290.00}\n- {description: Book, unit_amount: 29000}\n")
    assert billed.json("invoices", "create", "one.yaml")[1]["total"] == "580.00"
    file.write_text(
        "customer: acme\ncurency: eur\ncurrency: eur\nlines:\n- {description: Workshop, unit_amount: 290.00}\n"
        '- {description: Workshop, unit_amount: "290.00"}\n- {description: Workshop, unit_amount: 1, unit_price: 1}\n- {quantity: many}\n'
    )
    status, _, err = billed.run("invoices", "create", "one.yaml")
    assert status == 2
    for said in (
        "one.yaml:2:1: unknown-key", "Did you mean `currency`?", "one.yaml:5:40: bad-amount", "290.00 looks like an amount in EUR",
        "one.yaml:6:40: bad-amount", "two amounts", "many is no number", "has no amount",
    ):  # fmt: skip
        assert said in err, (said, err)
    assert rows(billed, "SELECT COUNT(*) FROM invoice") == [(2,)]


def test_an_item_waits_for_the_next_invoice(billed: Shell) -> None:
    """2 x 45.50 wait: nothing is issued now, the dry run writes nothing, the invoice a month later is 200.00 + 91.00."""
    words = ("invoices", "add-item", "acme", "--description", "Training", "--price", "45.50", "--quantity", "2")
    assert billed.json(*words, "--dry-run")[1]["issued"] == []
    assert rows(billed, "SELECT COUNT(*) FROM change") == [(0,)]
    status, done = billed.json(*words)
    assert (status, done["issued"]) == (0, [])
    assert "2 x Training at 45.50 EUR goes on the next invoice" in done["text"]
    bill_next_month(billed)
    assert billed.json("invoices", "list")[1][0]["total"] == "291.00"
    status, _, err = billed.run("invoices", "add-item", "acme", "--description", "x", "--price", "1", "--currency", "USD")
    assert (status, "no contract in USD" in err) == (2, True)
