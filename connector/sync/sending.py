"""The pass to a billing backend outside: what was decided is sent there, what happened there is read back (decision D-194).

Between two transactions, bounded, ended early by `seam.stop`. Where the backend cannot be reached, everything waits: the records say
"Queued", the run says why, and the next round tries again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from connector.errors import Problem, RetryableError
from connector.ports import Unit
from connector.sync import intents, ledger
from connector.sync.seam import Remote, Seam, Tally, Transactions


def told(unit: Unit, deals: Sequence[str]) -> None:
    """Make deals due for write-back, and those due for a decision that wait for one of them."""
    ledger.tell_crm(unit, deals)
    ledger.wake_waiting(unit, deals)


def take_over(database: Transactions, remote: Remote | None) -> None:
    """Take what a dead process left of sending; the caller holds the ledger's lock, so that nobody else is at it."""
    if remote is not None:
        with database.transaction() as unit:
            remote.take_over(unit)


def send(seam: Seam, tally: Tally) -> bool:
    """Send what was decided; return whether anything came to its end, so that what waited for it can go on."""
    if seam.remote is None or seam.stop.is_set():
        return False
    return send_books(seam.database, seam.remote, seam.now, tally, stop=seam.stop, log=seam.log, progress=lambda n: seam.progress("sent", n))


def send_books(  # noqa: PLR0913 - what a seam holds, without its CRM
    database: Transactions, remote: Remote, now: Callable[[], datetime], tally: Tally, *, stop: threading.Event, log: Callable[..., None],
    progress: Callable[[int], None] = lambda _n: None,
) -> bool:  # fmt: skip
    """Send what was decided without asking the CRM; see `send`. Raises: HaltError."""
    pushed = remote.push(database, now, tell=told, stop=stop, log=log, progress=progress)
    tally.sent += pushed.done
    tally.refused += pushed.refused
    tally.unsent, tally.away = pushed.wait, pushed.problem
    intents.settle_sent(database, remote, now())
    return pushed.done + pushed.refused > 0 and pushed.problem is None


def pull(seam: Seam, tally: Tally) -> int:
    """Read back what happened at the backend; return how many events of ours were taken."""
    if seam.remote is None or seam.stop.is_set() or tally.away is not None:
        return 0
    try:
        return seam.remote.pull(seam.database, seam.now, tell=told, stop=seam.stop, log=seam.log)
    except RetryableError as error:
        tally.away = Problem(code="stripe-unreachable", message=str(error), hint=error.hint or "It is tried again by itself.")
        seam.log("pull.failed", error=str(error), hint=error.hint, wait_s=error.retry_after_s)
        return 0


def compare(seam: Seam, tally: Tally) -> None:
    """Compare the backend with the books and read what was missed; where it cannot be reached, the next night does."""
    if seam.remote is None or seam.stop.is_set() or tally.away is not None:
        return
    try:
        tally.compared = seam.remote.compare(seam.database, seam.now, tell=told, stop=seam.stop, log=seam.log)
    except RetryableError as error:
        tally.away = Problem(code="stripe-unreachable", message=str(error), hint=error.hint or "It is tried again by itself.")
        seam.log("pull.failed", error=str(error), hint=error.hint, wait_s=error.retry_after_s)
