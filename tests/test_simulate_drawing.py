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
    assert legend == "A amend, P pause, U resume, C cancel"
    assert invoices[0] == "*"
    assert all(len(line) <= 90 for line in table[:6])


def test_two_invoices_in_one_column_are_counted() -> None:
    """Twenty years of monthly invoices on one axis: each column tells how many, none is lost."""
    text = SCENARIO.split("actions:", maxsplit=1)[0] + "until: 2045-12-31\n"
    invoices = simulated(text, "a.yaml")[1].splitlines()[2][16:]
    assert invoices.startswith(("3", "4"))
    assert sum(int(c) for c in invoices if c.isdigit()) + invoices.count("*") == 240
