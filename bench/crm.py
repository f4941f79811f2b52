"""The demo CRM in a process of its own: `python -m bench.crm N` prints its address and obeys lines on its standard input.

`move INSTANT` sets its clock, the end of the input ends it. The records are a day old when it starts, and its clock stands
still, so that any two of these processes hold the same records with the same ids and stamps.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

FIRST_DAY = datetime(2026, 2, 1, 9, tzinfo=UTC)
LINES = 3
_STOP_TIMEOUT_S = 20


class CrmProcess:
    """A running demo CRM with *deals* closed-won deals; *url* is where it listens."""

    def __init__(self, deals: int) -> None:
        command = [sys.executable, "-m", "bench.crm", str(deals)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the demo CRM did not start; its error stands above")

    def move_to(self, instant: datetime) -> None:
        """Set the CRM's clock."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"move {instant.isoformat()}\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_TIMEOUT_S)
        self._process.stdout.close()


def counters(url: str) -> dict[str, Any]:
    """Return what the demo CRM counted: API calls in `total`, records it saved in `records_written`."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("GET", "/demo/counters")
        found: dict[str, Any] = msgspec.json.decode(connection.getresponse().read())
    finally:
        connection.close()
    return found


def main(deals: int) -> None:
    """Serve until the input ends."""
    from connector.kit.clock import FrozenClock
    from connector.lookalike.crm.org import Org, Traits
    from connector.lookalike.crm.seed import bulk_deals
    from connector.lookalike.crm.server import CrmServer

    clock = FrozenClock(FIRST_DAY - timedelta(days=1))
    org = Org(clock=clock.now, traits=Traits(daily_limit=10_000_000))
    bulk_deals(org, deals, LINES, close_date=FIRST_DAY.date())
    clock.move_to(FIRST_DAY)
    with CrmServer(org) as server:
        print(server.url, flush=True)
        for line in sys.stdin:
            clock.move_to(datetime.fromisoformat(line.removeprefix("move ").strip()))
            print("moved", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
