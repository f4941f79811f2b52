"""Impossible scenarios: each exits 2 and names file, line and column; all of a file's problems are named at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.errors import ConfigError
from connector.simulate import run, simulated

HEAD = """currency: eur
timezone: UTC
settings: {proration: day, tax_rounding: line}
prices:
  seat: {unit_amount: 1000, recurring: {interval: month}}
  gb: {unit_amount: 10, recurring: {interval: month, usage_type: metered}}
  setup: {unit_amount: 5000}
"""
SEATS = HEAD + 'contract: {start: 2026-01-01, phases: [{items: [{price: seat, quantity: "2"}]}]}\n'
END = "until: 2026-05-01\n"


def terms(text: str) -> str:
    """Return a scenario whose contract is *text*, on line 8."""
    return HEAD + f"contract: {{start: 2026-01-01, {text}}}\n" + END


def action(text: str) -> str:
    """Return a scenario with one action, on line 9."""
    return SEATS + f"actions: [{{{text}}}]\n" + END


TERMS = {
    "a gap between phases": (
        "phase-gap", "2026-04-01", "start",
        terms("phases: [{end: 2026-03-01, items: [{price: seat}]}, {start: 2026-04-01, items: [{price: seat}]}]"),
    ),
    "an open-ended phase before another": ("phase-without-end", "{items", "phase", terms("phases: [{items: [{price: seat}]}, {items: [{price: seat}]}]")),
    "a negative quantity": ("negative-quantity", '"-2"', "quantity", terms('phases: [{items: [{price: seat, quantity: "-2"}]}]')),
    "an unknown price": ("unknown-price", "saet", "price", terms("phases: [{items: [{price: saet}]}]")),
    "an unknown coupon": ("unknown-coupon", "zz", "coupon", terms("discounts: [zz], phases: [{items: [{price: seat}]}]")),
    "no phase": ("missing-key", "[]", "phase", terms("phases: []")),
    "prebilling beyond the end": (
        "prebill-beyond-end", "2026-09-01", "2026-06-01",
        terms("end_behavior: cancel, prebill: {until: 2026-09-01}, phases: [{end: 2026-06-01, items: [{price: seat}]}]"),
    ),
    "more periods than the term has": (
        "prebill-beyond-end", "6}", "2026-06-01",
        terms("end_behavior: cancel, prebill: {periods: 6}, phases: [{end: 2026-06-01, items: [{price: seat}]}]"),
    ),
    "a trial that ends before the start": ("trial-end", "2025-12-01", "trial", terms("trial_end: 2025-12-01, phases: [{items: [{price: seat}]}]")),
    "a price of another currency": ("currency-mix", "usd", "currency", SEATS.replace("5000", "5000, currency: usd") + END),
    "tiers without an end": (
        "tier-order", "{up_to", "up to inf",
        SEATS.replace("unit_amount: 1000", "tiers_mode: volume, tiers: [{up_to: 5, unit_amount: 700}]") + END,
    ),
    "a tier without its limit": (
        "missing-key", "{unit_amount: 700", "up_to", SEATS.replace("unit_amount: 1000", "tiers_mode: volume, tiers: [{unit_amount: 700}]") + END,
    ),
    "a discount above 100 percent": ("not-a-percentage", "120", "percent_off", SEATS + "coupons: {c: {percent_off: 120}}\n" + END),
    "a negative discount": ("too-small", "-5", "amount_off", SEATS + "coupons: {c: {amount_off: -5}}\n" + END),
    "a coupon of another currency": ("currency-mix", "usd", "currency", SEATS + "coupons: {c: {amount_off: 5, currency: usd}}\n" + END),
}  # fmt: skip
ACTIONS = {
    "an amendment before the start": ("before-start", "2025-11-01", "2025-11-01", action("at: 2026-02-01, do: amend, effective: 2025-11-01, items: [{remove: seat}]")),
    "an amendment after the end": (
        "contract-ended", "2026-06-01", "2026-01-31",
        SEATS + "actions: [{at: 2026-01-15, do: cancel, when: period_end}, {at: 2026-01-16, do: amend, effective: 2026-06-01, items: [{remove: seat}]}]\nuntil: 2026-07-01\n",
    ),
    "a temporary change that ends before it begins": ("until-before-effective", "2026-01-15", "until|ends", action('at: 2026-02-01, do: amend, until: 2026-01-15, items: [{set: {price: seat, quantity: "3"}}]')),
    "a pause that ends before it begins": ("until-before-effective", "2026-01-15", "ends", action("at: 2026-02-01, do: pause, until: 2026-01-15")),
    "more taken away than there is": ("over-decrease", "[{delta", "takes 3 away, but only 2", action('at: 2026-02-01, do: amend, items: [{delta: {price: seat, quantity: "-3"}}]')),
    "an item that does not run": ("unknown-item", "[{remove", "gold", action("at: 2026-02-01, do: amend, items: [{remove: gold}]")),
    "an entry with two verbs": ("item-change", "{remove", "add, set, remove and delta", action("at: 2026-02-01, do: amend, items: [{remove: seat, add: {price: gb}}]")),
    "a resumption without a pause": ("not-paused", "{at", "not paused", action("at: 2026-02-01, do: resume")),
    "an action without a verb": ("missing-key", "{at", "do", action("at: 2026-02-01")),
    "an unknown action": ("unknown-value", "amnd", "amend", action("at: 2026-02-01, do: amnd")),
    "a recurring price as a one-off": ("recurring-price", "seat}]", "amendment", action("at: 2026-02-01, do: invoice_item, price: seat")),
    "usage of what is not metered": ("not-metered", "seat, quantity: 2}]", "metered", action("at: 2026-02-01, do: usage, price: seat, quantity: 2")),
    "negative usage": ("negative-quantity", "-2", "usage", action("at: 2026-02-01, do: usage, price: gb, quantity: -2")),
    "an invoice that is not there": ("unknown-invoice", "9", "invoice 9", action("at: 2026-02-01, do: pay, invoice: 9")),
    "a credit note beyond the invoice": ("credit-too-large", "{at", "9999", action("at: 2026-02-01, do: credit_note, invoice: 1, amount: 9999")),
    "acceptance without a quote": ("no-quote", "accept", "quote", action("at: 2026-02-01, do: accept")),
}  # fmt: skip


@pytest.mark.parametrize(("code", "there", "word", "text"), [*TERMS.values(), *ACTIONS.values()], ids=[*TERMS, *ACTIONS])
def test_what_is_impossible_is_named_where_it_stands(code: str, there: str, word: str, text: str) -> None:
    """One problem, with the code, at the place where *there* last stands, in words that name the key or value."""
    with pytest.raises(ConfigError) as caught:
        simulated(text, "s.yaml")
    (problem,) = caught.value.problems
    assert problem.code == code
    assert any(w in f"{problem.message} {problem.hint}" for w in word.split("|"))
    where = problem.where
    assert where.file == "s.yaml"
    assert where.line is not None
    assert where.column is not None
    assert text.splitlines()[where.line - 1][where.column - 1 :].startswith(there)
    assert problem.text().startswith(f"s.yaml:{where.line}:{where.column}: {code}")


def test_all_problems_of_a_file_come_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nine mistakes in one file: exit status 2, no invoice on stdout, and each with its line and column, top to bottom."""
    path = tmp_path / "s.yaml"
    path.write_text(
        "currency: eur\n"
        "timezone: Mars/Base\n"
        "settings: {proration: daily, tax_rounding: line}\n"
        "prices:\n"
        "  seat: {unit_amount: 10.50, recurring: {interval: month}}\n"
        "  usd: {unit_amount: 5, currency: usd}\n"
        "coupons: {c: {percent_off: 101}}\n"
        "contract:\n"
        "  start: 2026-01-01\n"
        "  phases:\n"
        '    - {end: 2026-03-01, items: [{price: seat, quantity: "-1"}]}\n'
        "    - {start: 2026-04-01, items: [{price: saet}]}\n"
        "actions: [{at: 2026-02-01, do: amend, items: [{set: {price: nix}}]}]\n"
        "until: 2026-05-01\n"
    )
    assert run(str(path), False) == 2
    out, err = capsys.readouterr()
    assert out == ""
    heads = [line.removeprefix(f"{path}:") for line in err.splitlines() if line.startswith(str(path))]
    assert heads == [
        "2:11: unknown-timezone",
        "3:23: unknown-value",
        "5:23: not-money",
        "6:35: currency-mix",
        "7:28: not-a-percentage",
        "11:57: negative-quantity",
        "12:15: phase-gap",
        "12:43: unknown-price",
        "13:61: unknown-price",
    ]


def test_prebilling_up_to_the_end_is_possible() -> None:
    """Five periods of a term of five months, the yearly support among them, and any number where the contract goes on."""
    text = terms("end_behavior: cancel, prebill: {periods: 5}, phases: [{end: 2026-06-01, items: [{price: seat}]}]")
    assert len(simulated(text, "s.yaml")[0]["invoices"][0]["lines"]) == 5
    mixed = text.replace("  setup", "  care: {unit_amount: 9000, recurring: {interval: year}}\n  setup").replace("[{price: seat}]", "[{price: seat}, {price: care}]")
    assert [i["total"] for i in simulated(mixed, "s.yaml")[0]["invoices"]] == [5 * 1000 + 9000 * 151 // 365]
    on = text.replace("cancel", "release").replace("periods: 5", "periods: 8")
    assert len(simulated(on, "s.yaml")[0]["invoices"][0]["lines"]) == 8
