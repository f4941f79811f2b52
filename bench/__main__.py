"""`python -m bench`: measures, checks the counts on both sides, prints the figures."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.crm import FIRST_DAY, LINES, CrmProcess, counters
from bench.figures import BillFigures, Calls, Figures, History, Memory, Round, SyncFigures, rate, table

_ROOT = Path(__file__).parent.parent
_TIMEOUT_S = 1800
_RECORDS_A_DEAL = 3  # opportunity, account and invoice row
OLD_MONTHS = 60
OLD_ROUNDS = 5


def main() -> int:
    """Run the bench; 0 where every count held, whatever the figures."""
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        figures = measured(asked, Path(folder))
    print(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode() if asked.json else table(figures))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Figures, each beside a floor of the same run."
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and one round: does it work, not how fast is it"
    )
    parser.add_argument("--deals", type=int, help="closed-won deals of the timed runs (4,000; quick 400)")
    parser.add_argument("--rounds", type=int, help="rounds, floor and ours in turn (3; quick 1)")
    parser.add_argument("--memory-deals", type=int, help="deals of the memory run (20,000; quick as --deals)")
    parser.add_argument(
        "--call-deals", type=int, help="deals of the run whose CRM calls are counted (1,000; quick as --deals)"
    )
    parser.add_argument("--contracts", type=int, help="contracts due in the billing run (100,000; quick 400)")
    parser.add_argument(
        "--old-contracts", type=int, help="contracts of the runs with 1 and 60 months of history (2,000; quick 100)"
    )
    parser.add_argument("--only", choices=["sync", "bill"], help="measure one half only")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    asked = parser.parse_args()
    asked.deals = asked.deals or (400 if asked.quick else 4000)
    asked.rounds = asked.rounds or (1 if asked.quick else 3)
    asked.memory_deals = asked.memory_deals or (asked.deals if asked.quick else 20_000)
    asked.call_deals = asked.call_deals or (asked.deals if asked.quick else 1000)
    asked.contracts = asked.contracts or (400 if asked.quick else 100_000)
    asked.old_contracts = asked.old_contracts or (100 if asked.quick else 2000)
    return asked


def measured(asked: argparse.Namespace, folder: Path) -> Figures:
    """Return all figures that were asked for."""
    return Figures(
        sync=None if asked.only == "bill" else sync_figures(asked, folder),
        bill=None if asked.only == "sync" else bill_figures(asked, folder),
    )


def sync_figures(asked: argparse.Namespace, folder: Path) -> SyncFigures:
    """Measure the sync, its CRM calls and its memory."""
    rounds = []
    for number in range(asked.rounds):
        _say(f"round {number + 1} of {asked.rounds}: {asked.deals:,} deals")
        rounds.append(one_round(asked.deals, _made(folder / f"round-{number}")))
    _say(f"CRM calls: {asked.call_deals:,} deals")
    calls = crm_calls(asked.call_deals, _made(folder / "calls"))
    _say(f"memory: {asked.memory_deals:,} deals")
    if asked.memory_deals == asked.deals:
        memory = memory_of(asked.deals, rounds[0].sync, rounds[0].sync_floor)
    else:
        memory = peaks(asked.memory_deals, _made(folder / "memory"))
    return SyncFigures(
        deals=asked.deals,
        rounds=asked.rounds,
        sync=rate("deals, end to end", asked.deals, [(r.sync, r.sync_floor) for r in rounds]),
        calls=calls,
        memory=memory,
        opening_s=sorted(r.sync["opening_s"] for r in rounds)[len(rounds) // 2],
    )


def bill_figures(asked: argparse.Namespace, folder: Path) -> BillFigures:
    """Measure the billing run over many contracts due, and over contracts with a short and with a long history."""
    _say(f"billing run: {asked.contracts:,} contracts due")
    due = _made(folder / "due")
    child("due", {"kind": "make", "folder": str(due), "contracts": asked.contracts})
    runs = [due_run(asked.contracts, due) for _ in range(asked.rounds)]
    months: dict[int, list[float]] = {}
    for span in (1, OLD_MONTHS):
        _say(f"billing run: {asked.old_contracts:,} contracts with {span} month(s) of history")
        child("due", {"kind": "make", "folder": str(_made(folder / f"old-{span}")), "contracts": asked.old_contracts, "months": span})
    for _ in range(1 if asked.quick else OLD_ROUNDS):
        for span in (1, OLD_MONTHS):
            ours = _ours_due(asked.old_contracts, folder / f"old-{span}")
            months.setdefault(span, []).append(ours["cpu_s"] / asked.old_contracts * 1e6)
    return BillFigures(
        contracts=asked.contracts,
        rounds=asked.rounds,
        bill=rate("invoices of a billing run", asked.contracts, runs),
        peak_mib=max(ours["peak_mib"] for ours, _ in runs),
        history=History(
            contracts=asked.old_contracts, months=OLD_MONTHS, young_us=median(months[1]), old_us=median(months[OLD_MONTHS])
        ),
    )


def due_run(contracts: int, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure a billing run over contracts due, then the floor: the very rows that it wrote, written by hand."""
    ours = _ours_due(contracts, folder)
    floor = child("floor", _floor_task("", folder, folder / "before.db", contracts) | {"after": str(folder / "ledger.db")})
    expect("invoices of the floor", floor["invoices"], contracts)
    expect("lines of the floor", floor["lines"], contracts * LINES)
    expect("tables that differ from ours", floor["differing"], [])
    return ours, floor


def _ours_due(contracts: int, folder: Path) -> dict[str, Any]:
    ours = child("due", {"kind": "run", "folder": str(folder), "contracts": contracts})
    expect("contracts of the billing run", ours["contracts"], contracts)
    expect("invoices of the billing run", ours["invoices"], contracts)
    expect("lines of the billing run", ours["lines"], contracts * LINES)
    expect("problems of the billing run", ours["problems"], 0)
    return ours


def one_round(deals: int, folder: Path) -> Round:
    """Measure our sync, then the floor, each against a fresh CRM."""
    with CrmProcess(deals) as crm:
        sync = child("ours", {"crm": crm.url, "folder": str(folder), "kind": "sync"})["sync"]
        check_sync(sync, deals, counters(crm.url))
    return Round(sync=sync, sync_floor=floor_of(deals, folder, folder / "ledger.db"))


def floor_of(deals: int, folder: Path, ledger: Path) -> dict[str, Any]:
    """Measure the hand-written pipeline against a fresh CRM with the same records."""
    with CrmProcess(deals) as crm:
        floor = child("floor", _floor_task(crm.url, folder, ledger, deals))
        expect("records that the floor saved", floor["written"], deals * _RECORDS_A_DEAL)
        expect("records that its CRM saved", counters(crm.url)["records_written"], deals * _RECORDS_A_DEAL)
        floor["calls"] = counters(crm.url)["total"]
    expect("tables that differ from ours", floor["differing"], [])
    return floor


def _floor_task(crm: str, folder: Path, ledger: Path, deals: int) -> dict[str, Any]:
    return {
        "crm": crm,
        "ledger": str(ledger),
        "trail": str(folder / "trail.jsonl"),
        "folder": str(folder),
        "deals": deals,
    }


def check_sync(sync: dict[str, Any], deals: int, crm: dict[str, Any]) -> None:
    """Raise AssertionError where not every deal became a contract with one invoice that the CRM was told of."""
    expect("deals applied", sync["applied"], deals)
    expect("deals written back", sync["counts"]["deals_written"], deals)
    expect("contracts", sync["counts"]["contracts"], deals)
    expect("invoices", sync["counts"]["invoices"], deals)
    expect("lines", sync["counts"]["lines"], deals * LINES)
    expect("records that the CRM saved", crm["records_written"], deals * _RECORDS_A_DEAL)


def crm_calls(deals: int, folder: Path) -> Calls:
    """Count the calls of a first sync, of the poll after it, and of an idle one."""
    with CrmProcess(deals) as crm:
        sync = child("ours", {"crm": crm.url, "folder": str(folder), "kind": "sync"})["sync"]
        counted = counters(crm.url)
        check_sync(sync, deals, counted)
        crm.move_to(FIRST_DAY + timedelta(hours=1))
        polls = child("ours", {"crm": crm.url, "folder": str(folder), "kind": "poll"})
        expect("records written by polls that saw no edit", polls["written"], 0)
    floor = floor_of(deals, folder, folder / "ledger.db")
    return Calls(
        deals=deals,
        first_sync=counted["total"],
        floor=floor["calls"],
        echo_poll=polls["echo_calls"],
        idle_poll=polls["idle_calls"],
        per_1000_deals=counted["total"] * 1000 / deals,
    )


def peaks(deals: int, folder: Path) -> Memory:
    """Measure how much memory whole processes need at most."""
    with CrmProcess(deals) as crm:
        sync = child("ours", {"crm": crm.url, "folder": str(folder), "kind": "sync"})["sync"]
        check_sync(sync, deals, counters(crm.url))
    return memory_of(deals, sync, floor_of(deals, folder, folder / "ledger.db"))


def memory_of(deals: int, sync: dict[str, Any], floor: dict[str, Any]) -> Memory:
    """Put peaks beside that of a bare import."""
    return Memory(
        deals=deals,
        ours_mib=sync["peak_mib"],
        floor_mib=floor["peak_mib"],
        import_mib=child("bare", {})["peak_mib"],
    )


def child(name: str, task: dict[str, Any]) -> dict[str, Any]:
    """Run one measurement in a fresh process and return what it hands back."""
    command = [sys.executable, "-m", f"bench.{name}", msgspec.json.encode(task).decode()]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_TIMEOUT_S, check=True, cwd=_ROOT)
    result: dict[str, Any] = msgspec.json.decode(done.stdout)
    return result


def expect(what: str, found: Any, wanted: Any) -> None:
    """Raise AssertionError, naming both, where a count does not hold."""
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, expected {wanted!r}")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.chdir(_ROOT)
    sys.exit(main())
