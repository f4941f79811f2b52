"""`python -m bench`: measures, checks the counts on both sides, prints the four figures."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from bench.crm import FIRST_DAY, LINES, CrmProcess, counters
from bench.figures import Calls, Figures, Memory, Round, rate, table

_ROOT = Path(__file__).parent.parent
_TIMEOUT_S = 1800
_RECORDS_A_DEAL = 3  # opportunity, account and invoice row


def main() -> int:
    """Run the bench; 0 where every count held, whatever the figures."""
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        figures = measured(asked, Path(folder))
    print(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode() if asked.json else table(figures))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Four figures, each beside a floor of the same run."
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
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    asked = parser.parse_args()
    asked.deals = asked.deals or (400 if asked.quick else 4000)
    asked.rounds = asked.rounds or (1 if asked.quick else 3)
    asked.memory_deals = asked.memory_deals or (asked.deals if asked.quick else 20_000)
    asked.call_deals = asked.call_deals or (asked.deals if asked.quick else 1000)
    return asked


def measured(asked: argparse.Namespace, folder: Path) -> Figures:
    """Return all figures."""
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
    return Figures(
        deals=asked.deals,
        rounds=asked.rounds,
        sync=rate("deals, end to end", asked.deals, [(r.sync, r.sync_floor) for r in rounds]),
        bill=rate("invoices of a billing run", asked.deals, [(r.bill, r.bill_floor) for r in rounds]),
        calls=calls,
        memory=memory,
        opening_s=sorted(r.sync["opening_s"] for r in rounds)[len(rounds) // 2],
    )


def one_round(deals: int, folder: Path) -> Round:
    """Measure our sync and billing run, then both floors, each against a fresh CRM."""
    with CrmProcess(deals) as crm:
        ours = child("ours", {"crm": crm.url, "folder": str(folder), "kind": "sync and bill"})
        check_sync(ours["sync"], deals, counters(crm.url))
    bill = ours["bill"]
    expect("invoices of the billing run", bill["invoices"], deals)
    expect("lines of the billing run", bill["lines"], deals * LINES)
    expect("problems of the billing run", bill["problems"], 0)
    expect("invoices in the books", bill["counts"]["invoices"], deals * 2)
    sync_floor = floor_of(deals, folder, folder / "before.db")
    bill_floor = child(
        "floor", _floor_task("", folder, folder / "before.db", deals) | {"after": str(folder / "ledger.db")}
    )
    expect("invoices of the floor", bill_floor["invoices"], deals)
    expect("lines of the floor", bill_floor["lines"], deals * LINES)
    expect("tables that differ from ours", bill_floor["differing"], [])
    return Round(sync=ours["sync"], bill=bill, sync_floor=sync_floor, bill_floor=bill_floor)


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
