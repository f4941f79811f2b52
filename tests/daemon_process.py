"""A daemon with fake jobs, for tests that send signals: `python daemon_process.py FOLDER CASE`.

Each job writes what it does as a line of FOLDER/journal; FOLDER/config holds the seconds between rounds, or nonsense.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from connector.daemon import Daemon, Jobs, Schedule
from connector.errors import ConfigError, HaltError, Problem
from connector.kit import observe
from connector.kit.clock import SystemClock

FOLDER = Path(sys.argv[1])
CASE = sys.argv[2]
NEVER = "0 0 1 1 *"


def journal(line: str) -> None:
    with (FOLDER / "journal").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


class Neighbour:
    """Stands for the web server."""

    def start(self) -> None:
        if CASE == "taken":
            raise HaltError("cannot listen on 127.0.0.1:8080", hint="Change web.listen.")
        journal("web up")

    def stop(self) -> None:
        journal("web down")


def one_round(stop: threading.Event) -> str:
    journal("pass begins")
    if CASE == "long":  # chunks of 50 ms; the event is looked at between chunks, the last one is finished
        for _ in range(400):
            time.sleep(0.05)
            if stop.is_set():
                time.sleep(0.3)
                break
    if CASE == "stubborn":
        time.sleep(20)
    journal("pass ends")
    return "done"


def read_schedule() -> Schedule:
    text = (FOLDER / "config").read_text(encoding="utf-8").strip()
    if not text.isdecimal():
        raise ConfigError([Problem(code="bad-number", message=f"{text!r} is no number.", hint="Write seconds.")])
    journal(f"every {text}")
    return Schedule(round_every_s=int(text), billing_run=NEVER, timezone="Europe/Paris")


def main() -> int:
    """Run until a signal says stop."""
    observe.configure()
    jobs = Jobs(round=one_round, billing_run=lambda _stop: "billed", reconcile=lambda _stop: "compared", reload=read_schedule)
    return Daemon(jobs, SystemClock(), read_schedule(), beside=[Neighbour()]).run()


if __name__ == "__main__":
    sys.exit(main())
