"""`connector simulate`: the scenarios of tests/scenarios hold, bad ones say where and why, and the table can be read."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connector.errors import ConfigError
from connector.kit.yamlpos import loads
from connector.simulate import main, run, simulated

FOLDER = Path(__file__).parent / "scenarios"
IN_ORDER = {"invoices", "discounts", "credit_notes", "phases"}
FLAGS = {"complete", "lines_complete", "ignore_zero", "exit"}


def all_cases() -> list[Any]:
    out = []
    for path in sorted(FOLDER.glob("*.yaml")):
        cases = loads(path.read_text(encoding="utf-8"), path.name).value
        out.extend(pytest.param(case["scenario"], case["expect"], id=f"{path.stem}: {case['name']}") for case in cases)
    return out


# ---------------------------------------------------------------- the comparer: the first difference, or None


def moment(text: str, zone: ZoneInfo) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=zone)


def difference(want: Any, got: Any, key: str, zone: ZoneInfo) -> str | None:
    if isinstance(want, dict) and set(want) == {"one_of"}:
        return (
            None
            if any(difference(w, got, key, zone) is None for w in want["one_of"])
            else f"{key}: {got} is none of {want['one_of']}"
        )
    if isinstance(want, dict):
        return next(filter(None, (field(want, k, w, got, zone) for k, w in want.items() if k not in FLAGS)), None)
    if key in ("created", "due", "start", "end") and isinstance(want, str) and got is not None:
        return None if moment(want, zone) == moment(got, zone) else f"{key}: expected {want}, got {got}"
    if key == "quantity" and got is not None:
        return None if Decimal(str(want)) == Decimal(str(got)) else f"{key}: expected {want}, got {got}"
    return None if want == got else f"{key}: expected {want}, got {got}"


def field(parent: dict[str, Any], key: str, want: Any, got: Any, zone: ZoneInfo) -> str | None:
    if not isinstance(got, dict):
        return f"{key}: nothing there"
    if key == "net":
        net = got["amount"] - sum(d["amount"] for d in got["discounts"])
        return None if net == want else f"net: expected {want}, got {net}"
    if key.endswith("_on"):
        day = moment(got[key[:-3]], zone).astimezone(zone).date().isoformat()
        return None if day == want else f"{key}: expected {want}, got {day}"
    if isinstance(want, list):
        rows = got[key]
        if key in ("discounts", "taxes"):
            rows = [r for r in rows if r["amount"]]
        is_whole = key not in ("invoices", "lines") or bool(parent.get("complete"))
        return difference_of_lists(want, rows, key, zone, is_whole=is_whole)
    return difference(want, got.get(key), key, zone)


def difference_of_lists(want: list[Any], got: list[Any], key: str, zone: ZoneInfo, *, is_whole: bool) -> str | None:
    if is_whole and len(want) != len(got):
        return f"{key}: expected {len(want)}, got {len(got)}: {json.dumps(got)[:600]}"
    if key in IN_ORDER and is_whole:
        return next(filter(None, (difference(w, g, key, zone) for w, g in zip(want, got, strict=True))), None)
    left = list(got)
    for w in want:
        at = next((i for i, g in enumerate(left) if difference(w, g, key, zone) is None), None)
        if at is None:
            return f"{key}: {w} is missing among {json.dumps(left)[:600]}"
        left = left[at + 1 :] if key in IN_ORDER else left[:at] + left[at + 1 :]
    return None


def verdict(expect: dict[str, Any], result: dict[str, Any], zone: ZoneInfo) -> str | None:
    invoices = result["invoices"]
    if expect.get("ignore_zero"):
        invoices = [{**i, "lines": [line for line in i["lines"] if line["amount"]]} for i in invoices]
        invoices = [i for i in invoices if i["lines"] or i["total"]]
    lines = [line for i in invoices for line in i["lines"]]
    prorations = [line for line in lines if line["proration"] and line["amount"]]
    figures = {
        "invoices_total": sum(i["total"] for i in invoices),
        "proration_net": sum(line["amount"] - sum(d["amount"] for d in line["discounts"]) for line in prorations),
        "proration_count": len(prorations),
    }
    for key, want in expect.items():
        if key in figures:
            found = None if figures[key] == want else f"{key}: expected {want}, got {figures[key]}"
        elif key == "lines":
            found = difference_of_lists(want, lines, key, zone, is_whole=bool(expect.get("lines_complete")))
        elif key == "invoices":
            found = difference_of_lists(want, invoices, key, zone, is_whole=bool(expect.get("complete")))
        else:
            found = None if key in FLAGS else field(expect, key, want, result, zone)
        if found:
            return found
    return None


@pytest.mark.parametrize(("scenario", "expect"), all_cases())
def test_scenarios_hold(scenario: dict[str, Any], expect: dict[str, Any]) -> None:
    """Every scenario in tests/scenarios leads to the figures written beside it."""
    text = json.dumps(scenario, default=str)
    if expect.get("exit") == 2:
        with pytest.raises(ConfigError) as caught:
            simulated(text, "scenario.json")
        assert caught.value.problems
        return
    result, table = simulated(text, "scenario.json")
    assert verdict(expect, json.loads(json.dumps(result)), ZoneInfo(scenario["timezone"])) is None
    assert table
    for invoice in result["invoices"]:
        assert invoice["subtotal"] == sum(line["amount"] for line in invoice["lines"])


def billed_again(scenario: dict[str, Any], result: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    """Return the scenario with one more billing run a second after each of its invoices."""
    second = timedelta(seconds=1)
    made = sorted({i["created"] for i in result["invoices"]})
    runs = [{"at": (moment(at, zone) + second).isoformat(), "do": "adjust_balance", "amount": 0} for at in made]
    actions = sorted([*scenario.get("actions", []), *runs], key=lambda a: moment(a["at"], zone))
    return {**scenario, "actions": actions, "until": (moment(scenario["until"], zone) + 2 * second).isoformat()}


@pytest.mark.parametrize(("scenario", "expect"), [case for case in all_cases() if case.values[1].get("exit") != 2])
def test_billing_twice_adds_nothing(scenario: dict[str, Any], expect: dict[str, Any]) -> None:
    """In every scenario a second run right after each invoice yields nothing; play itself runs each step twice, too."""
    plain = json.loads(json.dumps(scenario, default=str))
    zone = ZoneInfo(plain["timezone"])
    once, _ = simulated(json.dumps(plain), "scenario.json")
    again, _ = simulated(json.dumps(billed_again(plain, once, zone)), "scenario.json")
    assert again["invoices"] == once["invoices"]
    assert len(once["invoices"]) >= len(expect.get("invoices", []))


# ---------------------------------------------------------------- bad input and output

GOOD = """
currency: eur
timezone: Europe/Paris
settings: {proration: day, tax_rounding: line}
prices:
  seat: {unit_amount: 3000, recurring: {interval: month}, description: Seat}
contract:
  start: 2026-04-01
  collection_method: send_invoice
  phases:
    - items: [{price: seat, quantity: "10"}]
until: 2026-05-01
"""


def problems_of(text: str) -> list[tuple[str, int | None, int | None]]:
    with pytest.raises(ConfigError) as caught:
        simulated(text, "s.yaml")
    return [(p.code, p.where.line, p.where.column) for p in caught.value.problems]


def test_every_problem_is_reported_at_once_in_file_order() -> None:
    """Wrong keys, values and names are all named with their line and column, top to bottom."""
    text = (
        GOOD.replace("proration: day", "proration: daily")
        .replace("price: seat", "price: saet")
        .replace("until: 2026-05-01", "untill: 2026-05-01")
    )
    assert problems_of(text) == [
        ("missing-key", 2, 1),
        ("unknown-value", 4, 23),
        ("unknown-price", 11, 23),
        ("unknown-key", 12, 1),
    ]


def test_money_with_a_point_is_refused() -> None:
    """A price written as 30.00 is a problem that asks for minor units."""
    with pytest.raises(ConfigError, match="minor units"):
        simulated(GOOD.replace("unit_amount: 3000", "unit_amount: 30.00"), "s.yaml")


def test_a_price_migration_names_prices_that_are_there() -> None:
    """A price that the file does not know, one on which nothing runs, and a word that is missing are problems at their keys."""
    text = GOOD + "actions:\n  - {at: 2026-04-10, do: migrate_price, from: seat, to: gold, when: later}\n"
    assert problems_of(text) == [("unknown-price", 14, 57), ("unknown-value", 14, 69)]
    text = GOOD + "actions:\n  - {at: 2026-04-10, do: migrate_price, from: gold, to: seat, when: now}\n"
    assert problems_of(text) == [("price-not-running", 14, 47)]
    text = GOOD + "actions:\n  - {at: 2026-04-10, do: migrate_price, to: seat}\n"
    assert [code for code, _, _ in problems_of(text)] == ["missing-key", "missing-key"]


def test_a_cancellation_says_whether_it_prorates_and_bills() -> None:
    """Prorate and invoice_now are never defaulted, except at the end of a period."""
    text = GOOD + "actions:\n  - {at: 2026-04-10, do: cancel, when: now}\n"
    assert [code for code, _, _ in problems_of(text)] == ["missing-key", "missing-key"]
    simulated(text.replace("when: now", "when: period_end"), "s.yaml")


def test_candidates_are_numbered_where_a_reduction_could_mean_several() -> None:
    """A negative change that fits several items names each with number, quantity and price."""
    text = GOOD.replace(
        "  seat: {unit_amount: 3000, recurring: {interval: month}, description: Seat}",
        "  g10: {unit_amount: 1000, recurring: {interval: month}, product: Gold}\n"
        "  g12: {unit_amount: 1200, recurring: {interval: month}, product: Gold}\n"
        "  g15: {unit_amount: 1500, recurring: {interval: month}, product: Gold}",
    ).replace('[{price: seat, quantity: "10"}]', '[{price: g10, quantity: "10"}, {price: g12, quantity: "5"}]')
    text += 'actions:\n  - {at: 2026-04-10, do: amend, items: [{delta: {price: g15, quantity: "-1"}}]}\n'
    with pytest.raises(ConfigError, match=r"1: Gold 10 x 10\.00 · 2: Gold 5 x 12\.00"):
        simulated(text, "s.yaml")
    named = text.replace('"-1"}}]', '"-1"}, item: "2"}]')
    result, _ = simulated(named, "s.yaml")
    assert [i["quantity"] for i in result["contract"]["phases"][-1]["items"]] == ["10", "4"]


def test_a_contract_that_has_ended_takes_no_amendment() -> None:
    """The problem names the last day and says how to go on."""
    text = GOOD.replace("until: 2026-05-01", "until: 2026-08-01") + (
        "actions:\n  - {at: 2026-04-10, do: cancel, when: period_end}\n"
        '  - {at: 2026-05-10, do: amend, items: [{delta: {price: seat, quantity: "1"}}]}\n'
    )
    with pytest.raises(ConfigError, match=r"last day was 2026-04-30.*Close it as Renew or New"):
        simulated(text, "s.yaml")


def test_the_table_is_aligned_and_in_major_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the contract stands on its axis, the invoices in aligned columns, an amount at the end of each line."""
    path = tmp_path / "s.yaml"
    path.write_text(
        GOOD
        + 'actions:\n  - {at: 2026-04-16, do: amend, items: [{delta: {price: seat, quantity: "5"}}], proration_behavior: always_invoice}\n'
    )
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == (
        "                2026-04-01                                                    2026-05-01\n"
        "Seat            |10=================================|15=================================\n"
        "changes                                             A\n"
        "                A amend\n"
        "invoices        *                                   *                                  *\n"
        "\n"
        "2026-04-01  INV-0001                     open, due 2026-05-01\n"
        "            Seat 2026-04-01..2026-05-01  10 x 30.00             300.00\n"
        "            total                                               300.00\n"
        "2026-04-16  INV-0002                     open, due 2026-05-16\n"
        "            Seat 2026-04-16..2026-05-01  unused 10 x 30.00     -150.00\n"
        "            Seat 2026-04-16..2026-05-01  remaining 15 x 30.00   225.00\n"
        "            total                                                75.00\n"
        "2026-05-01  INV-0003                     open, due 2026-05-31\n"
        "            Seat 2026-05-01..2026-06-01  15 x 30.00             450.00\n"
        "            total                                               450.00\n"
        "contract active\n"
        "balance 0.00 EUR\n"
    )


def test_exit_status_and_json_of_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad file exits 2; with --json stdout holds the problems and nothing else."""
    path = tmp_path / "bad.json"
    path.write_text('{"currency": "eur",\n "timezone": "Mars/Base"}')
    assert run(str(path), True) == 2
    data = json.loads(capsys.readouterr().out)
    assert data["invoices"] == []
    assert ("unknown-timezone", 2) in [(p["code"], p["where"]["line"]) for p in data["problems"]]
    assert run(str(tmp_path / "none.yaml"), False) == 2
    assert "cannot be read" in capsys.readouterr().err
