"""What the actions of a scenario do beyond the tables of tests/scenarios: pauses, usage, payments, quotes, metadata."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from connector.errors import ConfigError
from connector.simulate import simulated

SOLD = dedent("""
    currency: eur
    timezone: UTC
    settings: {proration: day, tax_rounding: line}
    prices:
      seat: {unit_amount: 1000, recurring: {interval: month}}
      gb: {unit_amount: 10, recurring: {interval: month, usage_type: metered}}
      yearly: {unit_amount: 10000, recurring: {interval: month, per: year}}
      monthly: {unit_amount: 10000, recurring: {interval: year, per: {interval: month, interval_count: 1}}}
    """)
SEATS = SOLD + 'contract: {start: 2026-01-01, phases: [{items: [{price: seat, quantity: "2"}, {price: gb}]}]}\n'
QUOTE = SOLD + dedent("""
    quote:
      expires_at: 2026-02-01
      contract: {start: 2026-01-10, phases: [{items: [{price: seat, quantity: "2"}]}]}
    """)


def played(head: str, *actions: str, until: str = "2026-02-15") -> dict[str, Any]:
    """Return the result of the scenario *head* with one action a string."""
    listed = "".join(f"  - {{{a}}}\n" for a in actions)
    return simulated(head + ("actions:\n" + listed if listed else "") + f"until: {until}\n", "s.yaml")[0]


def code_of(head: str, *actions: str, until: str = "2026-02-15") -> str:
    """Return the code of the one problem that the scenario has."""
    with pytest.raises(ConfigError) as caught:
        played(head, *actions, until=until)
    (problem,) = caught.value.problems
    return problem.code


# ---------------------------------------------------------------- pauses


@pytest.mark.parametrize(
    ("behavior", "status", "number", "last"),
    [
        ("keep_as_draft", "draft", None, "INV-0003"),
        ("void", "void", "INV-0003", "INV-0005"),
        ("mark_uncollectible", "uncollectible", "INV-0003", "INV-0005"),
    ],
)  # fmt: skip
def test_a_pause_that_goes_on_serving_settles_its_invoices(behavior: str, status: str, number: str, last: str) -> None:
    """Invoices of March and April are made as the pause says; January, February and May are paid, numbers have no gap."""
    result = played(
        SEATS, f"at: 2026-02-15, do: pause, behavior: {behavior}", "at: 2026-04-15, do: resume", until="2026-05-01"
    )
    invoices = result["invoices"]
    assert [i["status"] for i in invoices] == ["paid", "paid", status, status, "paid"]
    assert (invoices[2]["number"], invoices[4]["number"]) == (number, last)
    assert result["customer"]["balance"] == 0
    assert result["contract"]["status"] == "active"


def test_a_kept_draft_is_billed_once_and_takes_no_balance() -> None:
    """A credit of 50.00 stays whole while drafts are kept, and goes to the first invoice after them."""
    result = played(
        SEATS, "at: 2026-01-15, do: pause, behavior: keep_as_draft", "at: 2026-01-16, do: adjust_balance, amount: -5000",
        "at: 2026-02-10, do: resume", until="2026-03-01",
    )  # fmt: skip
    _, draft, after = result["invoices"]
    assert (draft["status"], draft["starting_balance"], draft["ending_balance"]) == ("draft", 0, 0)
    assert (after["total"], after["starting_balance"], after["ending_balance"]) == (2000, -5000, -3000)
    assert [line["period"]["start"][:10] for line in after["lines"] if line["price"] == "seat"] == ["2026-03-01"]


def test_a_pause_with_credit_stops_the_service() -> None:
    """From mid-February nothing is served: 10.00 of the 20.00 for February go back at once, and March costs nothing."""
    result = played(SEATS, "at: 2026-02-15, do: pause", until="2026-04-01")
    assert [i["total"] for i in result["invoices"]] == [2000, 2000, -1000]
    assert (result["customer"]["balance"], result["contract"]["status"]) == (-1000, "paused")


# ---------------------------------------------------------------- usage and prices


def test_the_same_usage_record_counts_once() -> None:
    """Sent twice under one id: 5 GB at 0.10 are billed once; without ids both count."""
    sent = "at: 2026-01-10, do: usage, price: gb, quantity: 5"
    by_id = played(SEATS, sent + ", id: u1", sent + ", id: u1")
    assert [line["quantity"] for line in by_id["invoices"][1]["lines"] if line["price"] == "gb"] == ["5"]
    without = played(SEATS, sent, sent)
    assert [line["quantity"] for line in without["invoices"][1]["lines"] if line["price"] == "gb"] == ["10"]


def test_an_id_stands_for_one_usage() -> None:
    """Another quantity under a known id is a problem, never a silent choice between the two."""
    sent = "at: 2026-01-10, do: usage, price: gb, id: u1, quantity: "
    assert code_of(SEATS, sent + "5", sent + "6") == "usage-differs"


def test_usage_counts_when_it_was_used() -> None:
    """Told on 20 January about the 3rd of February: billed with February, on 1 March."""
    result = played(SEATS, "at: 2026-01-20, do: usage, price: gb, quantity: 7, on: 2026-02-03", until="2026-03-01")
    found = {i["created"][:10]: line["amount"] for i in result["invoices"] for line in i["lines"] if line["price"] == "gb"}
    assert found == {"2026-02-01": 0, "2026-03-01": 70}


def test_usage_of_a_billed_period_is_refused() -> None:
    """January was billed on 1 February; what is told later would never be billed, so it is a problem."""
    assert code_of(SEATS, "at: 2026-02-10, do: usage, price: gb, quantity: 7, on: 2026-01-20") == "usage-too-late"


def test_a_price_per_another_period_is_converted_exactly() -> None:
    """100.00 a year billed monthly is 8.33, twice 16.67 (rounded once); 100.00 a month billed yearly is 1,200.00."""
    text = SOLD + "contract: {start: 2026-01-01, phases: [{items: [{price: yearly, quantity: %s}, {price: monthly}]}]}\n"
    for quantity, amount in ((1, 833), (2, 1667)):
        (invoice,) = played(text % quantity, until="2026-01-01")["invoices"]
        assert [line["amount"] for line in invoice["lines"]] == [amount, 120000]


# ---------------------------------------------------------------- payments


def test_a_failed_payment_leaves_the_invoice_open_and_the_contract_past_due() -> None:
    """The automatic payment of the second invoice fails: 20.00 remain; a payment settles it."""
    failed = played(SEATS, "at: 2026-02-01, do: fail, invoice: 2")
    assert [(i["status"], i["amount_remaining"]) for i in failed["invoices"]] == [("paid", 0), ("open", 2000)]
    assert failed["contract"]["status"] == "past_due"
    settled = played(SEATS, "at: 2026-02-01, do: fail, invoice: 2", "at: 2026-02-05, do: pay, invoice: 2")
    assert (settled["invoices"][1]["status"], settled["contract"]["status"]) == ("paid", "active")
    table = simulated(SEATS + "actions:\n  - {at: 2026-02-01, do: fail, invoice: 2}\nuntil: 2026-02-15\n", "s.yaml")[1]
    assert "contract past_due" in table.splitlines()


def test_a_part_payment_shows_what_is_left() -> None:
    """Of 20.00 the customer paid 5.00; the table says both."""
    text = SEATS + "customer: {payment: none}\nactions:\n  - {at: 2026-01-05, do: pay, invoice: 1, amount: 500}\nuntil: 2026-01-15\n"
    assert any(row.split() == ["paid", "5.00", "left", "15.00"] for row in simulated(text, "s.yaml")[1].splitlines())


def test_no_payment_of_a_void_invoice_fails() -> None:
    """Void means that nobody owes it."""
    head = SEATS + "customer: {payment: none}\n"
    assert code_of(head, "at: 2026-01-05, do: void, invoice: 1", "at: 2026-01-06, do: fail, invoice: 1") == "nothing-to-pay"


# ---------------------------------------------------------------- quotes


def test_a_quote_is_revised_accepted_and_then_amended() -> None:
    """Three seats from the 12th in its second revision, accepted on the 15th: billed from the 12th, five seats later."""
    revised = "contract: {start: 2026-01-12, phases: [{items: [{price: seat, quantity: 3}]}]}"
    result = played(
        QUOTE, "at: 2026-01-03, do: finalize", "at: 2026-01-04, do: revise, " + revised, "at: 2026-01-05, do: finalize",
        "at: 2026-01-15, do: accept",
        "at: 2026-01-20, do: amend, items: [{set: {price: seat, quantity: 5}}], proration_behavior: always_invoice",
    )  # fmt: skip
    quote, (first, change, _) = result["quote"], result["invoices"]
    assert (quote["status"], quote["number"], quote["revision"]) == ("accepted", "Q-0001", 2)
    assert quote["computed"]["recurring"] == {"amount_subtotal": 3000, "amount_total": 3000}
    assert (first["created"][:10], first["lines"][0]["period"]["start"][:10], first["total"]) == ("2026-01-15", "2026-01-12", 3000)
    assert [line["amount"] for line in change["lines"]] == [-2226, 3710]  # 23 of 31 days of 30.00 and of 50.00


def test_a_quote_ends_unaccepted() -> None:
    """Canceled or past its date it makes no contract; a draft has no number yet."""
    finalized = "at: 2026-01-03, do: finalize"
    canceled = played(QUOTE, finalized, "at: 2026-01-04, do: cancel")
    assert (canceled["quote"]["status"], canceled["contract"], canceled["invoices"]) == ("canceled", None, [])
    assert played(QUOTE, finalized)["quote"]["status"] == "expired"
    draft = played(QUOTE, until="2026-01-31")["quote"]
    assert (draft["status"], draft["number"]) == ("draft", None)


@pytest.mark.parametrize(
    "actions",
    [
        ("at: 2026-01-04, do: accept",),
        ("at: 2026-01-03, do: finalize", "at: 2026-02-10, do: accept"),
        ("at: 2026-01-03, do: finalize", "at: 2026-01-04, do: cancel", "at: 2026-01-05, do: revise"),
        ("at: 2026-01-03, do: finalize", "at: 2026-01-04, do: accept", "at: 2026-01-05, do: accept"),
    ],
    ids=["a draft", "after its date", "a canceled one", "twice"],
)
def test_a_quote_keeps_its_order(actions: tuple[str, ...]) -> None:
    """Only an open quote is accepted or revised."""
    assert code_of(QUOTE, *actions) == "quote-status"


# ---------------------------------------------------------------- the rest


def test_metadata_of_a_phase_is_merged_over_the_contracts() -> None:
    """A phase adds and replaces keys while it runs; the next one starts from the contract's again, an amendment adds to it."""
    text = SOLD + dedent("""
        contract:
          start: 2026-01-01
          metadata: {po: "17", team: red}
          phases:
            - {duration: {interval: month}, metadata: {team: blue}, items: [{price: seat}]}
            - {metadata: {site: Lyon}, items: [{price: seat}]}
        """)
    result = played(text, 'at: 2026-02-10, do: amend, metadata: {po: "18"}')
    assert [p["metadata"] for p in result["contract"]["phases"]] == [
        {"po": "17", "team": "blue"},
        {"po": "17", "team": "red", "site": "Lyon"},
        {"po": "18", "team": "red", "site": "Lyon"},
    ]


# ---------------------------------------------------------------- what is given back once


SENT = SEATS.replace("start: 2026-01-01,", "start: 2026-01-01, collection_method: send_invoice, days_until_due: 30,")
LESS = 'at: 2026-01-16, do: amend, items: [{set: {price: seat, quantity: "1"}}], proration_behavior: always_invoice'


def test_a_void_invoice_is_not_credited_by_a_later_change() -> None:
    """January is voided on the 10th; a seat given up on the 16th gives nothing of it back."""
    invoices = played(SENT, "at: 2026-01-10, do: void, invoice: 1", LESS)["invoices"]
    assert [line["amount"] for i in invoices for line in i["lines"] if line["amount"] < 0] == []


def test_what_a_change_gave_back_is_not_given_back_again() -> None:
    """Of 20.00 a change credited 16 of 31 days, 10.32: the invoice cannot be voided, and a note takes 9.68 at most."""
    assert code_of(SENT, LESS, "at: 2026-01-20, do: void, invoice: 1") == "already-credited"
    assert code_of(SENT, LESS, "at: 2026-01-20, do: credit_note, invoice: 1, lines: [{line: 1, amount: 969}]") == "credit-too-large"
    notes = played(SENT, LESS, "at: 2026-01-20, do: credit_note, invoice: 1, lines: [{line: 1, amount: 968}]")["credit_notes"]
    assert [note["total"] for note in notes] == [968]
