"""The daemon: three jobs, one at a time, until a signal says stop.

Owns: when a job runs, what happens when it fails, and the signals. Does not own: what a job does; it knows nothing of CRM and
billing and is given callables. `round` comes every N seconds, `billing_run` and `reconcile` by cron expressions in the business time zone;
all share one thread, so nothing else writes while one of them does (decision D-35).

| a job raises | what follows |
|---|---|
| nothing, and returns `Slowed` | the usual rhythm; shown as slow, with the reason |
| RetryableError, ConflictError | again after the wait it asks for, doubled with each failure up to 15 min, plus up to a quarter at random |
| HaltError, ConfigError | that job rests until the next reload, at most 15 min; the other one goes on |
| anything else | a bug of ours: logged with its trace, then as RetryableError; the daemon lives on |

Worked example: the CRM is away and asks for 30 s. The rounds come after 30, 60, 120, 240, 480, 900, 900 ... seconds, each a
little more; the first that goes through logs `run.recovered` and the usual rhythm is back.

Signals: SIGTERM and SIGINT let the running pass finish its chunk, then everything stops and `run` returns 0; a second one ends
the process at once, which the ledger survives like any crash. SIGHUP reads configuration and mappings anew, between two
jobs; what has a problem is not taken over, and the old one goes on.
Time: the scheduler reads the machine's clock; the instants of `JobState` come from the `Clock` given, which may be shifted.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from types import FrameType
from typing import Literal, Protocol

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from connector.errors import ConfigError, ConflictError, HaltError, Problem, RetryableError
from connector.kit.clock import Clock
from connector.kit.crontab import cron_trigger
from connector.kit.observe import RUN_SECONDS, RUNS, log

JobName = Literal["round", "billing_run", "reconcile"]
Standing = Literal["new", "running", "ok", "slow", "waiting", "halted", "failed"]

EXIT_STOPPED = 0
EXIT_CANNOT_START = 3
FIRST_WAIT_S = 30
_CORRECT_IT = "Correct it, then reload again; until then the old one goes on."


# ---------------------------------------------------------------- what the daemon is given, and what it shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When the jobs run: *round_every_s* is the smallest interval of the sources, *billing_run* and *reconcile* have five cron fields."""

    round_every_s: int
    billing_run: str
    timezone: str
    reconcile: str = "0 3 * * *"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowed:
    """What a job that went through did, and why it could not do all: nothing failed, and it ends by itself."""

    summary: str
    why: str
    hint: str = ""


Work = Callable[[threading.Event], "str | Slowed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """What is to be done. A job looks at the event between chunks, and returns one line that says what it did.

    reload - takes over what was edited and returns the new schedule, or raises and changes nothing.
    """

    round: Work
    billing_run: Work
    reconcile: Work
    reload: Callable[[], Schedule]


class Beside(Protocol):
    """Something that runs as long as the daemon does, such as the web server."""

    def start(self) -> None:
        """Start and return; HaltError or RetryableError where it cannot."""

    def stop(self) -> None:
        """Stop within a bound of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long a failing job waits, in seconds.

    cap_s - bounds the doubling. halt_s - the rest after a HaltError. jitter - gives a number in [0, 1) at each call.
    """

    cap_s: int = 900
    halt_s: int = 900
    jitter: Callable[[], float] = field(default_factory=lambda: random.SystemRandom().random)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """How a job stands. *summary* is that of the last run that went through; *error* and *hint* are of the last that did not.

    Of a slow job (`Slowed`) *error* is why, although nothing failed.
    """

    name: JobName
    standing: Standing = "new"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    took_s: float = 0.0
    summary: str = ""
    error: str = ""
    hint: str = ""
    failures: int = 0
    next_at: datetime | None = None

    @property
    def is_well(self) -> bool:
        """Whether the last run went through, or none has failed yet."""
        return self.failures == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why an edited configuration was not taken over: *text* as people read it."""

    at: datetime
    text: str
    hint: str = ""


# ---------------------------------------------------------------- one job


class Job:
    """Runs one callable, turns what it raises into a standing and a wait, and remembers both."""

    def __init__(self, name: JobName, work: Work, clock: Clock, waits: Waits) -> None:
        self.state = JobState(name=name)
        self._work = work
        self._clock = clock
        self._waits = waits

    def run(self, stop: threading.Event) -> float | None:
        """Run once; return the seconds to wait before the next try, None to follow the schedule."""
        before = self.state
        self.state = replace(before, standing="running", started_at=self._clock.now(), finished_at=None)
        began = time.monotonic()
        try:
            done = self._work(stop)
        except (RetryableError, ConflictError) as error:
            return self._failed("waiting", error, error.hint, began)
        except HaltError as error:
            return self._failed("halted", error, error.hint, began)
        except ConfigError as error:
            return self._failed("halted", error, "Correct the file, then reload (SIGHUP).", began)
        except Exception as error:  # noqa: BLE001 - a bug in one run must not end the daemon; it is logged with its trace
            return self._failed("failed", error, "A bug of ours: please report it with the trace in the log.", began)
        self._went_through(before, done, began)
        return None

    def _went_through(self, before: JobState, done: str | Slowed, began: float) -> None:
        slowed = done if isinstance(done, Slowed) else Slowed(summary=str(done), why="")
        standing: Standing = "slow" if slowed.why else "ok"
        took_s = self._measured(began, standing)
        self.state = replace(
            self.state,
            standing=standing,
            finished_at=self._clock.now(),
            took_s=took_s,
            summary=slowed.summary,
            error=slowed.why,
            hint=slowed.hint,
            failures=0,
        )
        name = self.state.name
        if before.failures or (before.error and not slowed.why):
            log("run.recovered", job=name, failures=before.failures, error=before.error)
        log("run.finished", job=name, took_s=round(took_s, 3), summary=slowed.summary)

    def _failed(self, standing: Standing, error: Exception, hint: str, began: float) -> float:
        took_s = self._measured(began, standing)
        failures = self.state.failures + 1
        wait_s = self._wait_s(error, failures)
        text = str(error) or type(error).__name__
        self.state = replace(
            self.state,
            standing=standing,
            finished_at=self._clock.now(),
            took_s=took_s,
            error=text,
            hint=hint,
            failures=failures,
        )
        trace = {"trace": "".join(traceback.format_exception(error))} if standing == "failed" else {}
        log(
            "run.failed", job=self.state.name, error=text, hint=hint, attempt=failures, wait_s=round(wait_s, 1), **trace
        )
        return wait_s

    def _measured(self, began: float, outcome: str) -> float:
        took_s = time.monotonic() - began
        RUN_SECONDS.labels(self.state.name).observe(took_s)
        RUNS.labels(self.state.name, outcome).inc()
        return took_s

    def _wait_s(self, error: Exception, failures: int) -> float:
        if isinstance(error, HaltError | ConfigError):
            return float(self._waits.halt_s)
        asked_s = max(error.retry_after_s, 1) if isinstance(error, RetryableError) else FIRST_WAIT_S
        # past 20 doublings every wait has met its cap, and the number would only grow
        doubled_s = min(asked_s << min(failures - 1, 20), self._waits.cap_s)
        return max(asked_s, doubled_s) * (1 + self._waits.jitter() / 4)


# ---------------------------------------------------------------- when the jobs run


def triggers_of(schedule: Schedule) -> dict[JobName, BaseTrigger]:
    """Return when each job comes due. Raises: ConfigError for an expression or a time zone that cannot be read."""
    found: dict[JobName, BaseTrigger] = {"round": IntervalTrigger(seconds=schedule.round_every_s, timezone=UTC)}
    planned: dict[JobName, str] = {"billing_run": schedule.billing_run, "reconcile": schedule.reconcile}
    problems = []
    for name, expression in planned.items():
        try:
            found[name] = cron_trigger(expression, schedule.timezone)
        except (ValueError, KeyError) as error:  # a zone that nobody knows is a KeyError
            hint = 'Write minute, hour, day, month and weekday as in crontab, such as "*/10 * * * *".'
            problems.append(Problem(code="bad-schedule", message=f"`schedule.{name}` cannot be read: {error}.", hint=hint))
    if problems:
        raise ConfigError(problems)
    return found


# ---------------------------------------------------------------- the daemon


class Daemon:
    """Runs the jobs on their schedule until it is told to stop.

    beside - started in this order before the first job and stopped in reverse after the last. stop - the event that jobs are
    given; pass one where something else (a house of passes) must see it too.
    Raises: ConfigError for a schedule that cannot be read.
    """

    def __init__(
        self,
        jobs: Jobs,
        clock: Clock,
        schedule: Schedule,
        *,
        beside: Sequence[Beside] = (),
        waits: Waits | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._jobs, self._clock = jobs, clock
        self._schedule, self._triggers = schedule, triggers_of(schedule)
        self._beside = tuple(beside)
        self._stop = stop or threading.Event()
        self._running: dict[JobName, Job] = {
            "round": Job("round", jobs.round, clock, waits or Waits()),
            "billing_run": Job("billing_run", jobs.billing_run, clock, waits or Waits()),
            "reconcile": Job("reconcile", jobs.reconcile, clock, waits or Waits()),
        }
        self._rejection: Rejection | None = None
        self._has_reload = threading.Event()
        self._reloads = itertools.count(1)
        # a queue, because a signal handler may put into it at any moment; an Event's lock could be held by the very thread
        self._told: SimpleQueue[int] = SimpleQueue()
        self._is_ending = False
        # the scheduler's shutdown waits for the turn at work while it holds the lock that `modify_job` needs, so none may be at work
        self._at_work = threading.Lock()
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(max_workers=1)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
            timezone=UTC,
        )

    # ------------------------------------------------------------ for the console and /readyz

    def states(self) -> tuple[JobState, ...]:
        """Return how the jobs stand, with the instant of their next run on the clock given."""
        # in whole seconds: the two clocks are never read at the very same moment
        shift = timedelta(seconds=round((self._clock.now() - datetime.now(UTC)).total_seconds()))
        shown = []
        for name, job in self._running.items():
            planned = self._scheduler.get_job(name)
            due = planned.next_run_time if planned is not None else None
            shown.append(replace(job.state, next_at=due.astimezone(UTC) + shift if due is not None else None))
        return tuple(shown)

    @property
    def rejection(self) -> Rejection | None:
        """Return why the last edit was not taken over; None when the newest one is in force."""
        return self._rejection

    # ------------------------------------------------------------ running

    def run(self, *, handle_signals: bool = True) -> int:
        """Run until told to stop; return 0, or 3 where something beside could not start.

        handle_signals - only in the main thread; without, `stop` is the only way to end it.
        """
        with self._signals() if handle_signals else _nothing():
            started: list[Beside] = []
            try:
                for service in self._beside:
                    service.start()
                    started.append(service)
            except (HaltError, RetryableError) as error:
                _stop_all(started)
                log("daemon.refused", error=str(error), hint=error.hint)
                return EXIT_CANNOT_START
            try:
                self._start()
                self._wait()
            finally:
                self._stop.set()
                log("daemon.stopping")
                with self._at_work:  # from here on each turn sees the stop and leaves the scheduler alone
                    pass
                if self._scheduler.running:
                    self._scheduler.shutdown(wait=True)
                _stop_all(started)
            log("daemon.stopped")
            return EXIT_STOPPED

    def stop(self) -> None:
        """Ask the daemon to finish the pass and end, from any thread."""
        self._told.put(signal.SIGTERM)

    def reload(self) -> None:
        """Ask for the edited configuration to be taken over as soon as no job runs, from any thread."""
        self._told.put(signal.SIGHUP)

    def _start(self) -> None:
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # it warns of each turn that a long round skips
        self._scheduler.start(paused=True)
        for name, trigger in self._triggers.items():
            self._scheduler.add_job(self._turn, trigger, args=(name,), id=name)
        self._due_in("round", 0)
        gc.collect()
        gc.freeze()  # what exists now lives as long as the process; no collection need look at it again
        log("daemon.started", round_every_s=self._schedule.round_every_s, billing_run=self._schedule.billing_run)
        self._scheduler.resume()

    def _wait(self) -> None:
        while True:
            if self._told.get() != signal.SIGHUP:
                return
            self._has_reload.set()
            self._scheduler.add_job(self._reload_turn, id=f"reload-{next(self._reloads)}")

    def _due_in(self, name: JobName, wait_s: float) -> None:
        # the scheduler's own clock, not ours, which may be shifted
        self._scheduler.modify_job(name, next_run_time=datetime.now(UTC) + timedelta(seconds=wait_s))

    def _turn(self, name: JobName) -> None:
        with self._at_work:
            if self._stop.is_set():
                return
            wait_s = self._running[name].run(self._stop)
            if wait_s is not None and not self._stop.is_set():
                self._due_in(name, wait_s)

    # ------------------------------------------------------------ reload

    def _reload_turn(self) -> None:
        with self._at_work:
            if not self._stop.is_set() and self._has_reload.is_set():  # else an earlier turn has read what this one was asked for
                self._take_over()

    def _take_over(self) -> None:
        self._has_reload.clear()  # before reading: an edit made from here on asks again
        try:
            schedule = self._jobs.reload()
            triggers = triggers_of(schedule)
        except ConfigError as error:
            self._rejected(str(error), _CORRECT_IT)
            return
        except (HaltError, RetryableError) as error:
            self._rejected(str(error), error.hint or "It could not be checked; reload again.")
            return
        except Exception as error:  # noqa: BLE001 - whatever a reload meets, the configuration in force goes on
            self._rejected(f"{type(error).__name__}: {error}", _CORRECT_IT)
            return
        self._schedule, self._triggers, self._rejection = schedule, triggers, None
        for name, trigger in triggers.items():
            self._scheduler.reschedule_job(name, trigger=trigger)
            if name == "round" or not self._running[name].state.is_well:
                self._due_in(name, 0)
        log("config.reloaded", round_every_s=schedule.round_every_s, billing_run=schedule.billing_run)

    def _rejected(self, text: str, hint: str) -> None:
        self._rejection = Rejection(at=self._clock.now(), text=text, hint=hint)
        log("config.rejected", error=text, hint=hint)

    # ------------------------------------------------------------ signals

    @contextmanager
    def _signals(self) -> Iterator[None]:
        wanted = {signal.SIGTERM: self._on_end, signal.SIGINT: self._on_end, signal.SIGHUP: self._on_reload}
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_end(self, number: int, _frame: FrameType | None) -> None:
        if self._is_ending:
            os._exit(128 + number)  # asked twice: as after a crash, the next start takes up what was begun
        self._is_ending = True
        self._told.put(number)

    def _on_reload(self, number: int, _frame: FrameType | None) -> None:
        self._told.put(number)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _stop_all(started: list[Beside]) -> None:
    for service in reversed(started):
        service.stop()
