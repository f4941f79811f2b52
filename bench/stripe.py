"""`python -m bench.stripe`: how many calls a second the push pass makes, beside a floor of the same run.

A server in a process of its own answers every call after a fixed time, as Stripe does after about 0.3 s. Ours: the push pass with the real SDK and
a ledger on disk, for one customer after the other and for several at once. The floor: as many calls of the same size by http.client over
kept connections, from as many threads, and nothing else. What is left between the two is the SDK, the ledger's commits and ourselves.
"""

from __future__ import annotations

import argparse
import http.client
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from connector import migrations
from connector.billing.stripe_backend import keeping, pushes, pushing
from connector.billing.stripe_backend.client import StripeCalls
from connector.billing.stripe_backend.steps import Held, HeldGroup, HeldItem, HeldPhase, Plan, Push, Ref, Step
from connector.core.terms import Interval
from connector.kit.db import Database
from connector.ports import Unit

NOW = datetime(2026, 4, 1, 9, tzinfo=UTC)
CALLS_A_DEAL = 5  # look for the customer, make it, make the schedule, look at the subscription, finalize
_BODY = b"customer=cus_1&metadata[connector_step]=bench&phases[0][items][0][price]=price_1&phases[0][items][0][quantity]=1"


def served(delay_s: float) -> None:
    """Answer every call after a while, until the input ends."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            self._answer({"object": "list", "data": [], "has_more": False, "url": self.path} if self.path.endswith(("s", "100")) or "?" in self.path else _made(self.path))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(_made(self.path))

        def _answer(self, said: dict[str, Any]) -> None:
            time.sleep(delay_s)
            body = msgspec.json.encode(said)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            del format, args

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Answers)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


def _made(path: str) -> dict[str, Any]:
    kind = path.partition("?")[0].split("/")[2].removesuffix("s")
    return {"id": f"{kind}_{time.monotonic_ns()}", "object": kind, "status": "open", "subscription": "sub_1", "latest_invoice": "in_1"}


class Books:
    """Books that note what Stripe holds, and read nothing back."""

    def read_back(self, push: Push) -> Any:
        """Return nothing."""
        del push

    def settle(self, unit: Unit, settled: keeping.Settled, now: datetime) -> Sequence[str]:
        """Keep what Stripe holds."""
        pushes.save_held(unit, settled.held, now)
        return []

    def anew(self, unit: Unit, push: Push, now: datetime) -> Plan | None:
        """Return no other plan: nothing is late here."""
        del unit, push, now
        return None


def plan_of(number: int) -> Plan:
    """Return what a first deal of a customer sends, without what deals share."""
    name = f"cus_{number}"
    customer, schedule, look = Ref(step="customer"), Ref(step="month/schedule", path="subscription"), Ref(step="month/subscription", path="latest_invoice")
    group = HeldGroup(
        name="month", interval=Interval(unit="month", count=1), at_time="09:00:00", anchor=date(2026, 4, 1), since=date(2026, 4, 1),
        phases=(HeldPhase(start=date(2026, 4, 1), end=None, items=(HeldItem(item_id="seat", price="cn_1"),)),),
    )  # fmt: skip
    steps = (
        Step(name="customer", call="customers.create", shared=("customer", name), params={"email": f"{number}@x.example", "metadata": {"connector_customer": name}}),
        Step(name="month/schedule", call="subscription_schedules.create", params={"customer": customer}, keeps=("subscription",)),
        Step(name="month/subscription", call="subscriptions.retrieve", target=schedule, keeps=("latest_invoice",)),
        Step(name="month/finalize", call="invoices.finalize_invoice", target=look),
    )  # fmt: skip
    return Plan(steps=steps, held=Held(contract_id=f"ct_{number}", groups=(group,)))


def _row(unit: Unit, table: str, **known: Any) -> None:
    columns = [(r[1], r[2]) for r in unit.query(f"PRAGMA table_info({table})")]
    values = [known.get(name, 0 if "INT" in kind or "BOOL" in kind else "") for name, kind in columns]
    unit.execute(f"INSERT INTO {table} ({', '.join(name for name, _ in columns)}) VALUES ({', '.join('?' * len(columns))})", values)


def ours(url: str, folder: Path, deals: int, parallel: int) -> float:
    """Send the first deals of as many customers and return how many calls a second that was."""
    database = Database(f"sqlite:///{folder}/bench-{parallel}.db")
    with database.engine.begin() as connection:
        migrations.upgrade(connection)
    with database.transaction() as unit:
        for n in range(deals):
            _row(unit, "customer", id=f"cus_{n}", account=f"a{n}")
            _row(unit, "contract", id=f"ct_{n}", customer_id=f"cus_{n}", deal=f"d{n}")
            pushes.begin(unit, key=f"org/d{n}/r1", contract_id=f"ct_{n}", deal=f"d{n}", plan=plan_of(n), now=NOW)
    passage = pushing.Passage(
        database=database, calls=StripeCalls("sk_test_bench", api_base=url), books=Books(), now=lambda: NOW, tell=lambda _u, _d: None,
        stop=threading.Event(), log=lambda name, **said: print(name, said, file=sys.stderr), parallel=parallel,
    )  # fmt: skip
    began = time.perf_counter()
    done = passage.run()
    took = time.perf_counter() - began
    database.close()
    if (done.done, done.refused) != (deals, 0):
        raise AssertionError(f"{done.done} of {deals} pushes came through")
    return deals * CALLS_A_DEAL / took


def floor(url: str, calls: int, threads: int) -> float:
    """Make as many calls by hand and return how many a second that was."""

    def some(count: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        for _ in range(count):
            connection.request("POST", "/v1/subscription_schedules", _BODY, {"Content-Type": "application/x-www-form-urlencoded"})
            connection.getresponse().read()
        connection.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(some, [calls // threads] * threads))
    return calls // threads * threads / (time.perf_counter() - began)


def main() -> int:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.stripe", description="Calls a second of the push pass, beside a floor.")
    parser.add_argument("--deals", type=int, default=40)
    parser.add_argument("--delay-ms", type=int, default=100, help="how long the server takes for a call (100)")
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve is not None:
        served(asked.serve)
        return 0
    command = [sys.executable, "-m", "bench.stripe", "--serve", str(asked.delay_ms / 1000)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    assert server.stdin is not None
    assert server.stdout is not None
    print(f"{asked.deals} first deals of as many customers, {CALLS_A_DEAL} calls each, {asked.delay_ms} ms a call")
    print(f"{'at once':>8} {'calls/s':>9} {'floor':>9} {'of it':>7}")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        url = server.stdout.readline().strip()
        for parallel in asked.parallel:
            low = floor(url, asked.deals * CALLS_A_DEAL, parallel)
            rate = ours(url, Path(folder), asked.deals, parallel)
            print(f"{parallel:>8} {rate:>9.1f} {low:>9.1f} {rate / low:>6.0%}", flush=True)
    server.stdin.close()
    server.wait(20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
