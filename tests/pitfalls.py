"""The daemon's jobs over a world, run one at a time, and its pages: what the tests of Salesforce's pitfalls share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote
from urllib.request import urlopen

from log_lines import logged
from world import World, world

from connector import app, service
from connector.crm.salesforce import SalesforceCrm
from connector.daemon import Job, JobState, Waits
from connector.lookalike.crm.org import Org
from connector.operate import Running, check_of


@dataclass
class Desk:
    """A world with the daemon's jobs over it, and its pages. *events*: what was logged, once all is over."""

    world: World
    house: app.House
    jobs: dict[str, Job]
    url: str
    events: list[dict[str, Any]]
    _before: int = 0

    def round(self, *, after_s: int = 30) -> JobState:
        """Let time pass and run a round; `calls` then says what it cost."""
        return self._ran("round", after_s)

    def billing_run(self, *, after_s: int = 30) -> JobState:
        """Let time pass and run the billing run."""
        return self._ran("billing_run", after_s)

    def _ran(self, name: str, after_s: int) -> JobState:
        self.world.clock.move_to(self.world.clock.now() + timedelta(seconds=after_s))
        self._before = self.world.crm.front.used
        self.jobs[name].run(self.house.seam.stop)
        return self.jobs[name].state

    def calls(self) -> int:
        """Return the calls of the last job."""
        return self.world.crm.front.used - self._before

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Return what /readyz answers."""
        try:
            with urlopen(f"{self.url}/readyz", timeout=10) as reply:
                return reply.status, json.load(reply)
        except HTTPError as error:
            return error.code, json.load(error)

    def console(self) -> service.ConsoleView:
        """Return the console's first page, as its template gets it."""
        with self.house.database.read() as unit:
            return service.console_view(self.house, unit, service.Watch())


def shorten(org: Org, kind: str, **lengths: int) -> Org:
    """Make fields of an org as short as an administrator may have made them."""
    for name, length in lengths.items():
        object.__setattr__(org.schema.by_lower[kind.lower()].by_lower[name.lower()], "length", length)
    return org


def asked(crm: SalesforceCrm) -> list[str]:
    """Return a list that fills with the text of everything the client sends from now on, addresses and bodies decoded."""
    sent: list[str] = []
    send = crm._session.send

    def noted(request: Any, **kwargs: Any) -> Any:
        body = request.body.decode() if isinstance(request.body, bytes) else str(request.body or "")
        sent.append(unquote(f"{request.method} {request.url} {body}"))
        return send(request, **kwargs)

    crm._session.send = noted  # type: ignore[method-assign]
    return sent


@contextmanager
def desk(folder: Path, **config: Any) -> Iterator[Desk]:
    """Give a running world with the daemon's jobs, at nine o'clock of 1 January 2026."""
    with logged() as events, world(folder, **config) as made, made.house("test") as house:
        running = Running(house, folder / "config.yaml")
        jobs = {
            "round": Job("round", running.round, made.clock, Waits()),
            "billing_run": Job("billing_run", running.billing_run, made.clock, Waits()),
        }
        with service.pages(house, service.Watch(checks=lambda: [check_of(job.state) for job in jobs.values()])) as url:
            yield Desk(made, house, jobs, url, events)
