"""The contract on its time axis, as `connector simulate` prints it for people."""

from __future__ import annotations

from textwrap import dedent

from connector.simulate import simulated

SCENARIO = dedent("""
    currency: eur
    timezone: UTC
    settings: {proration: day, tax_rounding: line}
    prices:
      seat: {unit_amount: 1000, recurring: {interval: month}}
      gold: {unit_amount: 500, recurring: {interval: month}}
    contract:
      start: 2026-01-01
      trial_end: 2026-02-01
      phases: [{items: [{price: seat, quantity: "2"}]}]
    actions:
      - {at: 2026-03-16, do: amend, items: [{add: {price: gold, quantity: "7"}}], proration_behavior: always_invoice}
      - {at: 2026-05-01, do: pause, behavior: credit}
      - {at: 2026-06-01, do: resume}
      - {at: 2026-08-01, do: cancel, when: now, prorate: true, invoice_now: true}
    until: 2026-09-01
    """)


def test_the_axis_shows_trial_items_changes_and_invoices() -> None:
    """Free until February, two seats, gold from mid-March, no bar in the pause of May, nothing after the end in August."""
    table = simulated(SCENARIO, "a.yaml")[1].splitlines()
    axis, seat, gold, changes, legend, invoices = (line[16:] for line in table[:6])
    assert (axis[:10], axis[-10:]) == ("2026-01-01", "2026-09-01")
    month = {m: (d * 72) // 243 for m, d in {"feb": 31, "mid_march": 74, "may": 120, "june": 151, "august": 212}.items()}
    assert seat.startswith("|2......")
    assert seat[month["feb"] : month["may"]] == "|2" + "=" * (month["may"] - month["feb"] - 2)
    assert seat[month["may"] : month["june"]].strip() == ""
    assert seat[month["june"] : month["june"] + 3] == "|2="
    assert len(seat) == month["august"]
    assert gold[: month["mid_march"]].strip() == ""
    assert gold[month["mid_march"] :].startswith("|7=")
    assert [changes[month[m]] for m in ("mid_march", "may", "june", "august")] == ["A", "P", "U", "C"]
    assert legend == "A amend, P pause, U resume, C cancel, . free"
    assert invoices[0] == "*"
    assert all(len(line) <= 90 for line in table[:6])


def test_two_invoices_in_one_column_are_counted() -> None:
    """Twenty years of monthly invoices on one axis: each column tells how many, none is lost."""
    text = SCENARIO.split("actions:", maxsplit=1)[0] + "until: 2045-12-31\n"
    invoices = simulated(text, "a.yaml")[1].splitlines()[3][16:]
    assert invoices.startswith(("3", "4"))
    assert sum(int(c) for c in invoices if c.isdigit()) + invoices.count("*") == 240


def test_phases_are_numbered_where_they_begin() -> None:
    """A ramp of two quarters shows 1 at the start and 2 in the middle, and the quantity of each in the bar."""
    text = SCENARIO.split("contract:", maxsplit=1)[0] + dedent("""
        contract:
          start: 2026-01-01
          end_behavior: cancel
          phases:
            - {duration: {interval: month, interval_count: 3}, items: [{price: seat, quantity: "2"}]}
            - {duration: {interval: month, interval_count: 3}, items: [{price: seat, quantity: "9"}]}
        until: 2026-02-01
        """)
    axis, phases, seat = (line[16:] for line in simulated(text, "a.yaml")[1].splitlines()[:3])
    middle = 90 * 72 // 181  # 1 April of 181 days, on 72 columns
    assert axis.endswith("2026-07-01")
    assert (phases[:2], phases.index("|2")) == ("|1", middle)
    assert (seat[:2], seat.index("|9")) == ("|2", middle)


def test_changes_of_one_day_show_as_several() -> None:
    """Two kinds of change in one column give a plus sign and its meaning; two of one kind keep their letter."""
    head = SCENARIO.split("actions:", maxsplit=1)[0]
    more = '  - {at: 2026-03-16, do: amend, items: [{set: {price: seat, quantity: "3"}}]}\n'
    twice = "actions:\n" + more + more.replace('"3"', '"4"')
    rows = simulated(head + twice + "until: 2026-09-01\n", "a.yaml")[1].splitlines()
    assert (rows[2].split(), rows[3].strip()) == (["changes", "A"], "A amend, . free")
    paused = twice + "  - {at: 2026-03-16, do: pause, behavior: void}\n"
    rows = simulated(head + paused + "until: 2026-09-01\n", "a.yaml")[1].splitlines()
    assert (rows[2].split(), rows[3].strip()) == (["changes", "+"], "A amend, P pause, + several, . free")


def test_an_open_quote_is_drawn_with_its_totals() -> None:
    """Before anybody accepts it, a quote shows the contract it offers and what it comes to, at the start and later."""
    text = SCENARIO.split("contract:", maxsplit=1)[0] + dedent("""
          setup: {unit_amount: 5000}
        quote:
          contract:
            start: 2026-01-01
            phases: [{items: [{price: seat, quantity: "2"}], add_invoice_items: [{price: setup}]}]
        actions:
          - {at: 2025-12-20, do: finalize}
        until: 2025-12-31
        """)
    rows = simulated(text, "a.yaml")[1].splitlines()
    assert rows[1].split("|")[0].strip() == "seat"
    assert rows[-4:-1] == [
        "quote Q-0001 open: 70.00 EUR at the start", "  from 2026-01-01: 20.00 EUR a month", "  290.00 EUR in 12 months, before tax",
    ]  # fmt: skip
