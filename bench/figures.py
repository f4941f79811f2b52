"""From children's results to the figures: medians over rounds, ratios to the floor of the same round."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round: our sync, and the floor that followed its trail."""

    sync: dict[str, Any]
    sync_floor: dict[str, Any]


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A rate in units a second of wall time, and ratios of ours to the floor: 1 = as fast as the floor."""

    name: str
    ours: float
    floor: float
    ratio: float
    cpu_ratio: float
    ours_cpu_us: float
    floor_cpu_us: float
    aim: float = 0.25


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """CRM calls: of a first sync with everything in it, of a poll that sees our own writes, and of an idle one."""

    deals: int
    first_sync: int
    floor: int
    echo_poll: int
    idle_poll: int
    per_1000_deals: float
    aim: float = 10


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Peak memory in MiB of whole processes that took *deals* deals."""

    deals: int
    ours_mib: float
    floor_mib: float
    import_mib: float
    aim_mib: float = 300


class History(msgspec.Struct, frozen=True, kw_only=True):
    """CPU time in microseconds for a contract with 1 month and with *months* months of invoices behind it."""

    contracts: int
    months: int
    young_us: float
    old_us: float
    aim: float = 1.3

    @property
    def ratio(self) -> float:
        """Return how much more a long history costs."""
        return self.old_us / self.young_us


class SyncFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The sync; *opening_s* is part of it: lock, schema, login, mappings."""

    deals: int
    rounds: int
    sync: Rate
    calls: Calls
    memory: Memory
    opening_s: float


class BillFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The billing run over *contracts* contracts due; *peak_mib* is the most that its process ever held."""

    contracts: int
    rounds: int
    bill: Rate
    peak_mib: float
    history: History
    aim_mib: float = 300


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `make bench` measures; what was not asked for is None."""

    sync: SyncFigures | None
    bill: BillFigures | None


def rate(name: str, count: int, pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> Rate:
    """Return the rate of *count* units, each pair being (ours, floor) of one round."""
    return Rate(
        name=name,
        ours=median(count / ours["wall_s"] for ours, _ in pairs),
        floor=median(count / floor["wall_s"] for _, floor in pairs),
        ratio=median(floor["wall_s"] / ours["wall_s"] for ours, floor in pairs),
        cpu_ratio=median(floor["cpu_s"] / ours["cpu_s"] for ours, floor in pairs),
        ours_cpu_us=median(ours["cpu_s"] / count * 1e6 for ours, _ in pairs),
        floor_cpu_us=median(floor["cpu_s"] / count * 1e6 for _, floor in pairs),
    )


_HEAD = ("figure", "unit", "ours", "floor", "ratio", "CPU ratio", "aim")
_Row = tuple[str, ...]


def _rate_row(r: Rate) -> _Row:
    return (r.name, "1/s", f"{r.ours:,.0f}", f"{r.floor:,.0f}", f"{r.ratio:.2f}", f"{r.cpu_ratio:.2f}", f">= {r.aim:.2f}")


def _sync_rows(sync: SyncFigures) -> tuple[list[_Row], list[str]]:
    calls, memory = sync.calls, sync.memory
    rows = [
        _rate_row(sync.sync),
        (
            f"CRM calls, first sync of {calls.deals:,}",
            "per 1,000 deals",
            f"{calls.per_1000_deals:.1f}",
            f"{calls.floor * 1000 / calls.deals:.1f}",
            f"{calls.first_sync / calls.floor:.2f}",
            "",
            f"<= {calls.aim:.0f}",
        ),
        ("CRM calls, idle poll", "calls", str(calls.idle_poll), "1", f"{calls.idle_poll:.2f}", "", ""),
        (
            f"peak memory, {memory.deals:,} deals",
            "MiB",
            f"{memory.ours_mib:.0f}",
            f"{memory.floor_mib:.0f}",
            f"{memory.ours_mib / memory.floor_mib:.2f}",
            "",
            f"<= {memory.aim_mib:.0f}",
        ),
    ]
    rate = sync.sync
    notes = [
        f"Sync: {sync.deals:,} deals, {sync.rounds} round(s). CPU a deal: {rate.ours_cpu_us:,.0f} us (floor {rate.floor_cpu_us:,.0f}).",
        f"The sync includes {sync.opening_s:.2f} s of opening: lock, schema, login, mappings.",
        f"A poll that sees our own writes: {calls.echo_poll} call(s). A bare import: {memory.import_mib:.0f} MiB.",
    ]
    return rows, notes


def _bill_rows(bill: BillFigures) -> tuple[list[_Row], list[str]]:
    history, rate = bill.history, bill.bill
    rows = [
        _rate_row(rate),
        ("peak memory of the billing run", "MiB", f"{bill.peak_mib:.0f}", "", "", "", f"<= {bill.aim_mib:.0f}"),
        (
            f"{history.months} months of history / 1 month",
            "CPU us a contract",
            f"{history.old_us:,.0f}",
            f"{history.young_us:,.0f}",
            "",
            f"{history.ratio:.2f}",
            f"<= {history.aim:.2f}",
        ),
    ]
    notes = [
        f"Billing run: {bill.contracts:,} contracts due, 3 lines each, {bill.rounds} round(s).",
        "Its floor is sqlite3's executemany of the very same rows into the same schema, in the same chunks.",
        f"CPU an invoice: {rate.ours_cpu_us:,.0f} us (floor {rate.floor_cpu_us:,.0f}). History: {history.contracts:,} contracts each.",
    ]
    return rows, notes


def table(figures: Figures) -> str:
    """Return the figures as a table; *ratio* is ours to the floor of the same round, higher is better for rates."""
    halves = [_sync_rows(figures.sync)] if figures.sync else []
    halves += [_bill_rows(figures.bill)] if figures.bill else []
    rows = [_HEAD, *(row for found, _ in halves for row in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    lines = [
        "  ".join(
            text.ljust(width) if at < 2 else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    notes = ["Each ratio is the median of the rounds' own.", *(note for _, found in halves for note in found)]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *notes])
