"""`connector run`: the house under the daemon, with its pages, until a signal says stop.

The ledger's lock is held for as long as the daemon runs. A reload (SIGHUP) builds CRM client, mappings and seam anew from the
edited files and takes them over between two jobs, only if all of it checks clean.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from connector import app, backends, posting, service
from connector.config import Config
from connector.daemon import Daemon, Jobs, JobState, Schedule, Slowed
from connector.documents import formats
from connector.errors import ConfigError, HaltError, Problem
from connector.kit.clock import SystemClock
from connector.sync import budget, rounds
from connector.sync.seam import Seam, Swept, Tally
from connector.verbs import open_config
from connector.web.views import Check, Notice, RunRow, Tone
from connector.webhooks.courier import Courier

_TONES: dict[str, Tone] = {"ok": "good", "slow": "warn", "running": "busy", "waiting": "warn", "halted": "bad", "failed": "bad"}


class Running:
    """The house as it is now, and the jobs over it."""

    def __init__(self, house: app.House, file: Path) -> None:
        self.house = house
        self._file = file
        self._turn = 0
        self._pace = budget.Pace()

    def round(self, stop: threading.Event) -> str | Slowed:
        """Run rounds until no page waits; without the CRM, what the books alone can do. Return what was done."""
        tally = Tally()
        seam = self._seam(stop)
        if self._pace.may_look(budget.budget_of(seam), self.house.clock.now()):
            self._look(seam, tally)
        else:
            rounds.drain(seam, tally, hold=rounds.is_silent(seam))
        return self._result(seam, tally_text(tally) + self._posted(stop), tally)

    def _look(self, seam: Seam, tally: Tally) -> None:
        try:
            rounds.read_all(seam, tally, turn=self._turn, is_slow=True)
        except HaltError as error:
            if not budget.is_spent(error):
                raise
            rounds.drain(seam, tally, hold=rounds.is_silent(seam))
        self._turn += 1

    def _result(self, seam: Seam, summary: str, tally: Tally) -> str | Slowed:
        found = budget.budget_of(seam)
        paused = [f"The source {name} is paused: {problem.message}" for name, problem in seam.paused.items()]
        away = [tally.away] if tally.away is not None else []
        whys = [*([] if found.state == "within" else [found.text()]), *paused, *(p.message for p in away)]
        hints = dict.fromkeys((found.hint(), *(p.hint for p in (*seam.paused.values(), *away))))
        return Slowed(summary=summary, why=" ".join(whys), hint=" ".join(filter(None, hints))) if whys else summary

    def billing_run(self, stop: threading.Event) -> str | Slowed:
        """Bill what is due now; return what was done."""
        tally = Tally()
        seam = self._seam(stop)
        may_look = self._pace.may_look(budget.budget_of(seam), self.house.clock.now())
        billed = rounds.bill(seam, self.house.clock.now(), tally, reads_crm=may_look)
        drafts = f", {billed.drafts} wait as drafts" if billed.drafts else ""
        paid = f", {billed.paid} charged, {billed.failed} charges failed" if billed.paid or billed.failed else ""
        steps = f", {billed.steps} unpaid ones followed up" if billed.steps else ""
        return self._result(seam, f"{billed.invoices} invoices for {billed.contracts} contracts{drafts}{paid}{steps}{self._posted(stop)}", tally)

    def reconcile(self, stop: threading.Event) -> str | Slowed:
        """Compare every record with the CRM and put right what no poll has seen; return what was found."""
        tally = Tally()
        seam = self._seam(stop)
        rounds.reconcile(seam, tally)
        there = f"; at Stripe {tally.compared.text()}" if tally.compared is not None else ""
        return self._result(seam, (tally.swept or Swept()).text() + there + self._posted(stop), tally)

    def _posted(self, stop: threading.Event) -> str:
        """Send the mails that are due; return what was done, in words."""
        return posting.post(self.house.config, self.house.database, self.house.clock.now(), stop=stop).text()

    def _seam(self, stop: threading.Event) -> Seam:
        return replace(self.house.seam, stop=stop)

    def reload(self) -> Schedule:
        """Take over the edited configuration and mappings, or raise and change nothing."""
        config = open_config(self._file)
        held = self.house.config
        for name in ("database", "timezone"):
            if getattr(config, name) != getattr(held, name):
                text = f"`{name}` cannot change while the daemon runs."
                raise ConfigError([Problem(code="needs-restart", message=text, hint="Stop and start it.")])
        crm = app.build_crm(config)
        seam, billing = app.build_seam(config, clock=self.house.clock, database=self.house.database, crm=crm)
        rounds.bind(seam, backend=config.billing.backend, beside=backends.identity(config, billing))
        rounds.adopt_mappings(seam)
        self.house = replace(self.house, config=config, crm=crm, billing=billing, seam=seam)
        return schedule_of(config)


def tally_text(tally: Tally) -> str:
    """Return what a round did, in words."""
    counts = {"read": tally.staged, "applied": tally.applied, "sent to Stripe": tally.sent, "written": tally.written}
    return ", ".join(f"{n} {word}" for word, n in counts.items() if n) or "nothing new"


def schedule_of(config: Config) -> Schedule:
    """Return when the jobs run."""
    every_s = min(s.every_s for s in config.sources)
    return Schedule(round_every_s=every_s, billing_run=config.billing_run, reconcile=config.reconcile, timezone=config.timezone)


def run(file: Path) -> int:
    """Run the daemon until SIGTERM or SIGINT; return the exit status."""
    config = open_config(file)
    clock = SystemClock()
    with app.writing_house(config, "run", clock=clock) as house:
        running = Running(house, file)
        jobs = Jobs(round=running.round, billing_run=running.billing_run, reconcile=running.reconcile, reload=running.reload)
        watch = service.Watch()
        server = service.web_server(lambda: running.house, watch)
        courier = Courier(house.database, lambda: running.house.config.webhooks, clock.now)
        daemon = Daemon(jobs, clock, schedule_of(config), beside=[server, courier])
        watch.runs = lambda: [_row(state, config.timezone) for state in daemon.states()]
        watch.checks = lambda: [check_of(state) for state in daemon.states()]
        watch.notices = lambda: _notices(daemon)
        return daemon.run()


def _row(state: JobState, timezone: str) -> RunRow:
    def text(at: datetime | None) -> str:
        return service.time_text(at, timezone) if at is not None else ""

    return RunRow(
        job=state.name.replace("_", " "),
        state=state.standing,
        tone=_TONES.get(state.standing, "plain"),
        started=text(state.started_at),
        took=formats.length_text(state.took_s) if state.finished_at else "",
        summary=" ".join(filter(None, (state.summary if state.is_well else "", state.error))),
        next=text(state.next_at),
        hint=state.hint,
    )


def check_of(state: JobState) -> Check:
    """Return how a job stands; what slowed one that comes seldom may be over long before its next run, and is told live elsewhere."""
    is_slow = state.standing == "slow"
    return Check(
        name=f"job {state.name}",
        is_ok=state.is_well,
        is_degraded=is_slow and state.name == "round",
        detail=f"at its last run: {state.error}" if is_slow and state.name != "round" else state.error or state.standing,
        hint=state.hint,
    )


def _notices(daemon: Daemon) -> list[Notice]:
    rejection = daemon.rejection
    if rejection is None:
        return []
    return [Notice(title="An edited configuration was not taken over", text=rejection.text, hint=rejection.hint, tone="bad")]
