"""From children's results to the four figures: medians over rounds, ratios to the floor of the same round."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round: our sync and billing run, and the floors that followed their trail."""

    sync: dict[str, Any]
    bill: dict[str, Any]
    sync_floor: dict[str, Any]
    bill_floor: dict[str, Any]


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


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `make bench` measures; *opening_s* is part of the sync: lock, schema, login, mappings."""

    deals: int
    rounds: int
    sync: Rate
    bill: Rate
    calls: Calls
    memory: Memory
    opening_s: float


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


def table(figures: Figures) -> str:
    """Return the figures as a table; *ratio* is ours to the floor of the same round, higher is better for rates."""
    sync, bill, calls, memory = figures.sync, figures.bill, figures.calls, figures.memory
    rows = [
        ("figure", "unit", "ours", "floor", "ratio", "CPU ratio", "aim"),
        *(
            (
                r.name,
                "1/s",
                f"{r.ours:,.0f}",
                f"{r.floor:,.0f}",
                f"{r.ratio:.2f}",
                f"{r.cpu_ratio:.2f}",
                f">= {r.aim:.2f}",
            )
            for r in (sync, bill)
        ),
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
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join(
            text.ljust(width) if at < 2 else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    sizes = f"{figures.deals:,} deals, {figures.rounds} round(s); each ratio is the median of the rounds' own."
    cpu = (
        f"CPU a deal: {sync.ours_cpu_us:,.0f} us (floor {sync.floor_cpu_us:,.0f});"
        f" an invoice: {bill.ours_cpu_us:,.0f} us (floor {bill.floor_cpu_us:,.0f})."
    )
    opening = f"The sync includes {figures.opening_s:.2f} s of opening: lock, schema, login, mappings."
    others = f"A poll that sees our own writes: {calls.echo_poll} call(s). A bare import: {memory.import_mib:.0f} MiB."
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", sizes, cpu, opening, others])
