"""The bench: it runs, its counts hold, and it prints its figures; how fast is never a matter of a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_TIMEOUT_S = 180


@pytest.mark.slow
def test_quick_bench_prints_its_figures_and_its_counts_hold() -> None:
    """A tiny run ends well, which it does only if every count held on both sides, and names each figure, floor and aim."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--deals", "50", "--contracts", "50", "--old-contracts", "10"],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    for figure in (
        "deals, end to end",
        "invoices of a billing run",
        "CRM calls, first sync of 50",
        "CRM calls, idle poll",
        "peak memory, 50 deals",
        "peak memory of the billing run",
        "60 months of history / 1 month",
    ):
        assert figure in rows, done.stdout
    assert all(word in rows["figure"] for word in ("unit", "ours", "floor", "ratio", "CPU ratio", "aim"))
    assert rows["CRM calls, idle poll"].split()[-3:] == ["1", "1", "1.00"], "an idle poll is one call"


def test_a_count_that_does_not_hold_ends_the_bench() -> None:
    """A figure whose counts are wrong is never printed."""
    from bench.__main__ import expect

    expect("deals", 3, 3)
    with pytest.raises(AssertionError, match="deals: 2, expected 3"):
        expect("deals", 2, 3)


@pytest.mark.slow
def test_the_bench_of_the_push_pass_sends_every_deal() -> None:
    """A tiny run to a server of its own ends well, which it does only if every push came through, one at a time and several at once."""
    command = [sys.executable, "-m", "bench.stripe", "--deals", "4", "--delay-ms", "1", "--parallel", "1", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["1", "2"]
