"""The daemon: when jobs run, how failures wait, what signals do.."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from log_lines import logged

from connector.daemon import Daemon, Job, JobName, Jobs, JobState, Schedule, Waits, triggers_of
from connector.errors import (
    ConfigError,
    ConflictError,
    HaltError,
    InvariantError,
    Problem,
    RejectedError,
    RetryableError,
)
from connector.kit.clock import FrozenClock, ShiftedClock, SystemClock
from connector.kit.crontab import cron_trigger, times_a_day

NEVER = "0 0 1 1 *"
START = datetime(2026, 4, 1, 9, 0, tzinfo=UTC)
PATIENCE_S = 15.0


def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds, for 15 s at most."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def calm(_stop: threading.Event) -> str:
    return "nothing to do"


def schedule(every_s: int = 3600, cron: str = NEVER) -> Schedule:
    return Schedule(round_every_s=every_s, billing_run=cron, timezone="UTC")


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    """Run a daemon in a thread, without signals."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(daemon.run(handle_signals=False)))
    thread.start()
    try:
        yield daemon
    finally:
        daemon.stop()
        thread.join(PATIENCE_S)
    assert codes == [0]


def state_of(daemon: Daemon, name: str) -> JobState:
    return next(state for state in daemon.states() if state.name == name)


# ---------------------------------------------------------------- one job: standings and waits


def a_job(errors: list[Exception | None], jitter: float = 0.0) -> tuple[Job, FrozenClock]:
    """A job that raises the errors one after the other, None = goes through; each run takes 2 s of its clock."""
    clock = FrozenClock(START)
    script = iter(errors)

    def work(_stop: threading.Event) -> str:
        clock.sleep(2)
        error = next(script)
        if error is not None:
            raise error
        return "3 applied"

    return Job("round", work, clock, Waits(jitter=lambda: jitter)), clock


def waits(errors: list[Exception | None], jitter: float = 0.0) -> list[float | None]:
    job, _ = a_job(errors, jitter)
    return [job.run(threading.Event()) for _ in errors]


def test_waits_double_up_to_a_cap() -> None:
    """A CRM that is away is asked after 30, 60, 120 ... seconds, at most 15 minutes; success starts anew."""
    away: list[Exception | None] = [RetryableError("unreachable", retry_after_s=30) for _ in range(7)]
    assert waits([*away, None, RetryableError("unreachable")]) == [30, 60, 120, 240, 480, 900, 900, None, 30]


def test_waits_do_not_overflow() -> None:
    """After years of failures the wait is still the cap."""
    assert waits([RetryableError("away", retry_after_s=1)] * 3000)[-1] == 900


def test_asked_wait_is_never_shortened() -> None:
    """An hour asked for is an hour waited, beyond the cap."""
    assert waits([RetryableError("limit reached", retry_after_s=3600)] * 2) == [3600, 3600]


def test_waits_are_spread() -> None:
    """Jitter adds up to a quarter, and never takes any away."""
    assert waits([RetryableError("away", retry_after_s=40)], jitter=0.999)[0] == pytest.approx(50, abs=0.1)
    assert 0 <= Waits().jitter() < 1


@pytest.mark.parametrize(
    ("error", "standing", "wait_s", "hint"),
    [
        (RetryableError("away", hint="Wait.", retry_after_s=10), "waiting", 10, "Wait."),
        (ConflictError("stale"), "waiting", 30, ""),
        (HaltError("login refused", hint="Renew the secret."), "halted", 900, "Renew the secret."),
        (ConfigError([Problem(code="c", message="Bad.")]), "halted", 900, "Correct the file, then reload (SIGHUP)."),
        (InvariantError("lines add up"), "failed", 30, "A bug of ours: please report it with the trace in the log."),
        (
            RejectedError(Problem(code="c", message="m")),
            "failed",
            30,
            "A bug of ours: please report it with the trace in the log.",
        ),
        (ZeroDivisionError(), "failed", 30, "A bug of ours: please report it with the trace in the log."),
    ],
)
def test_errors_decide_standing_and_wait(error: Exception, standing: str, wait_s: float, hint: str) -> None:
    """What is raised decides how the job stands, how long it rests and what the operator reads."""
    job, _ = a_job([error])
    assert job.run(threading.Event()) == wait_s
    assert (job.state.standing, job.state.hint, job.state.failures, job.state.is_well) == (standing, hint, 1, False)
    assert job.state.error


def test_outcomes_are_remembered() -> None:
    """The console knows when a job ran and what it did; a failure keeps the last good summary, a success clears the error."""
    job, _ = a_job([None, RetryableError("away"), RetryableError("away"), None])
    assert job.state.standing == "new"
    job.run(threading.Event())
    assert (job.state.started_at, job.state.finished_at) == (START, START + timedelta(seconds=2))
    assert (job.state.standing, job.state.summary) == ("ok", "3 applied")
    job.run(threading.Event())
    job.run(threading.Event())
    assert (job.state.standing, job.state.summary, job.state.error, job.state.failures) == (
        "waiting",
        "3 applied",
        "away",
        2,
    )
    job.run(threading.Event())
    assert (job.state.standing, job.state.error, job.state.failures) == ("ok", "", 0)


def test_bookkeeping_of_a_run_is_logged() -> None:
    """A failure names attempt and wait once in 30 s, the first success after it says recovered, a bug leaves its trace."""
    away = f"away {time.monotonic()}"  # repeated errors are counted for the whole process
    job, _ = a_job([RetryableError(away), RetryableError(away), None, ZeroDivisionError(f"{away}, too")])
    with logged() as lines:
        for _ in range(4):
            job.run(threading.Event())
    assert [line["event"] for line in lines] == ["run.failed", "run.recovered", "run.finished", "run.failed"]
    assert (lines[0]["attempt"], lines[0]["wait_s"], lines[1]["failures"]) == (1, 30, 2)
    assert "ZeroDivisionError" in lines[3]["trace"]
    assert "trace" not in lines[0]


# ---------------------------------------------------------------- cron


@pytest.mark.parametrize(
    ("expression", "after", "fires"),
    [
        ("*/10 * * * *", "2026-04-01 09:01", "2026-04-01 09:10"),
        ("0 3 * * *", "2026-04-01 09:00", "2026-04-02 03:00"),
        ("0 3 * * 0", "2026-04-01 09:00", "2026-04-05 03:00"),  # Sunday
        ("0 3 * * 7", "2026-04-01 09:00", "2026-04-05 03:00"),
        ("0 3 * * 1-5", "2026-04-03 09:00", "2026-04-06 03:00"),  # Friday to Monday
        ("0 3 * * fri-sun", "2026-04-04 09:00", "2026-04-05 03:00"),
        ("0 3 * * MON,3", "2026-04-06 09:00", "2026-04-08 03:00"),
        ("0 3 * * */3", "2026-04-01 09:00", "2026-04-04 03:00"),  # 0, 3, 6
        ("0 3 15 * 1", "2026-04-01 09:00", "2026-04-06 03:00"),  # the 15th or a Monday
        ("0 3 15 * 1", "2026-04-14 09:00", "2026-04-15 03:00"),
        ("30 2 1 jan *", "2026-04-01 09:00", "2027-01-01 02:30"),
    ],
)
def test_cron_reads_like_crontab(expression: str, after: str, fires: str) -> None:
    """Weekday 0 and 7 are Sunday, and a day together with a weekday means either."""
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert cron_trigger(expression, "UTC").get_next_fire_time(None, start) == datetime.fromisoformat(fires).replace(
        tzinfo=UTC
    )


@pytest.mark.parametrize(("expression", "times"), [("*/10 * * * *", 144), ("0 3 * * *", 1), ("0 8-18 * * *", 11), ("0 0 30 2 *", 0)])
def test_how_often_an_expression_comes_due_in_a_day(expression: str, times: int) -> None:
    """Counted over the 24 hours that follow; a day that never comes is never."""
    assert times_a_day(expression, "Europe/Paris", datetime(2026, 1, 14, 12, 0, 30, tzinfo=UTC)) == times


def test_cron_counts_in_the_business_time_zone() -> None:
    """Three at night in Paris is one o'clock UTC in summer."""
    start = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    assert cron_trigger("0 3 * * *", "Europe/Paris").get_next_fire_time(None, start) == datetime(
        2026, 7, 2, 1, 0, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("expression", "timezone"),
    [("* * * *", "UTC"), ("99 * * * *", "UTC"), ("* * * * 8", "UTC"), ("* * * * 5-2", "UTC"), ("* * * * 1/0", "UTC"),
     ("* * * * someday", "UTC"), ("", "UTC"), ("* * * * *", "Europe/Atlantis")],
)  # fmt: skip
def test_bad_schedules_are_problems(expression: str, timezone: str) -> None:
    """What is no schedule is refused when the daemon is built, with the fix."""
    bad = Schedule(round_every_s=1, billing_run=expression, timezone=timezone)
    with pytest.raises(ConfigError) as caught:
        triggers_of(bad)
    assert caught.value.problems[0].code == "bad-schedule"
    with pytest.raises(ConfigError):
        Daemon(Jobs(round=calm, billing_run=calm, reconcile=calm, reload=schedule), SystemClock(), bad)


# ---------------------------------------------------------------- the schedule at work


def test_one_job_at_a_time() -> None:
    """Round and billing run never overlap, nor does a job with itself; a job that came due meanwhile runs once after it."""
    busy = threading.Lock()
    overlaps: list[str] = []
    runs: list[str] = []

    def job(name: str) -> Callable[[threading.Event], str]:
        def work(_stop: threading.Event) -> str:
            if not busy.acquire(blocking=False):
                overlaps.append(name)
                return ""
            runs.append(name)
            time.sleep(1.4 if name == "round" else 0.1)
            busy.release()
            return name

        return work

    daemon = Daemon(
        Jobs(round=job("round"), billing_run=job("billing_run"), reconcile=calm, reload=schedule), SystemClock(), schedule(every_s=1)
    )
    with running(daemon):
        until(lambda: runs, "the first round runs")
        # due now, while the round is under way
        daemon._due_in("billing_run", 0)
        until(lambda: "billing_run" in runs and runs.count("round") >= 2, "both jobs have run")
    assert overlaps == []
    assert runs[:3] == ["round", "billing_run", "round"]


def test_first_round_starts_at_once() -> None:
    """The daemon does not wait an interval before its first round; the billing run waits for its hour."""
    ran: list[str] = []

    def one_round(_stop: threading.Event) -> str:
        ran.append("round")
        return "1 staged"

    clock = ShiftedClock(START)
    daemon = Daemon(Jobs(round=one_round, billing_run=calm, reconcile=calm, reload=schedule), clock, schedule())
    with running(daemon):
        until(lambda: state_of(daemon, "round").standing == "ok", "the first round is done")
        state, other = state_of(daemon, "round"), state_of(daemon, "billing_run")
        assert state.summary == "1 staged"
        assert state.next_at is not None
        assert timedelta(minutes=59) < state.next_at - clock.now() < timedelta(minutes=61)  # on the shifted clock
        assert (other.standing, other.is_well) == ("new", True)
    assert ran == ["round"]


def test_failures_are_tried_again_before_the_next_turn() -> None:
    """A billing run that failed is not left to its next hour: it runs after its wait, and then follows the schedule again."""
    script = iter([RetryableError("locked", retry_after_s=1), None])

    def billing_run(_stop: threading.Event) -> str:
        error = next(script)
        if error is not None:
            raise error
        return "2 invoices"

    daemon = Daemon(
        Jobs(round=calm, billing_run=billing_run, reconcile=calm, reload=schedule),
        SystemClock(),
        schedule(),
        waits=Waits(jitter=lambda: 0),
    )
    with running(daemon):
        until(lambda: state_of(daemon, "round").standing == "ok", "the daemon is up")
        daemon._due_in("billing_run", 0)
        until(lambda: state_of(daemon, "billing_run").standing == "waiting", "the billing run has failed")
        until(lambda: state_of(daemon, "billing_run").standing == "ok", "the billing run went through")
        due = state_of(daemon, "billing_run").next_at
        assert due is not None
        assert (due.month, due.day) == (1, 1)


def test_a_halted_job_rests_until_the_reload() -> None:
    """After a refused login the round rests while the other job goes on; a reload that was taken over wakes it at once."""
    rounds: list[str] = []

    def one_round(_stop: threading.Event) -> str:
        rounds.append("")
        if len(rounds) == 1:
            raise HaltError("login refused", hint="Renew the secret, then reload.")
        return "fine"

    daemon = Daemon(Jobs(round=one_round, billing_run=calm, reconcile=calm, reload=schedule), SystemClock(), schedule(every_s=1))
    with running(daemon):
        until(lambda: state_of(daemon, "round").standing == "halted", "the round has halted")
        daemon._due_in("billing_run", 0)
        until(lambda: state_of(daemon, "billing_run").standing == "ok", "the billing run went through")
        time.sleep(1.3)
        assert len(rounds) == 1
        daemon.reload()
        until(lambda: state_of(daemon, "round").standing == "ok", "the round went through")


def test_a_reload_takes_its_turn() -> None:
    """A reload comes between two runs, never into one; what has a problem is told and changes nothing, a good one clears it."""
    inside = threading.Event()
    go_on = threading.Event()
    seen: list[str] = []
    edits: list[Schedule | Exception] = [
        ConfigError([Problem(code="unknown-key", message="There is no key `evry`.", hint="Write every.")]),
        RetryableError("the CRM is away"),
        KeyError("sources"),
        schedule(cron="nonsense"),
        schedule(every_s=1),
    ]

    def one_round(_stop: threading.Event) -> str:
        inside.set()
        assert go_on.wait(PATIENCE_S)
        seen.append("round")
        return ""

    def reload() -> Schedule:
        seen.append("reload")
        edit = edits.pop(0)
        if isinstance(edit, Exception):
            raise edit
        return edit

    daemon = Daemon(Jobs(round=one_round, billing_run=calm, reconcile=calm, reload=reload), SystemClock(), schedule())
    texts = []
    with running(daemon):
        assert inside.wait(PATIENCE_S)
        for _ in range(5):  # asked five times while the round runs: read once after it
            daemon.reload()
        until(lambda: daemon._has_reload.is_set() and len(daemon._scheduler.get_jobs()) == 3, "the reloads queue up")
        assert seen == []
        go_on.set()
        until(lambda: daemon.rejection is not None, "the first edit is refused")
        assert seen == ["round", "reload"]
        texts.append(daemon.rejection)
        for _ in range(3):
            daemon.reload()
            until(lambda: daemon.rejection is not texts[-1], "the next edit is refused")
            texts.append(daemon.rejection)
        daemon.reload()
        until(lambda: daemon.rejection is None, "the good edit is taken over")
        until(lambda: seen.count("round") >= 3, "rounds come every second now")
    said = [rejection.text for rejection in texts if rejection is not None]
    assert "no key `evry`" in said[0]
    assert said[1:3] == ["the CRM is away", "KeyError: 'sources'"]
    assert "schedule.billing_run" in said[3]


def test_a_bug_does_not_end_the_daemon() -> None:
    """A job that raises what nobody expects is tried again later; the daemon stays."""

    def broken(_stop: threading.Event) -> str:
        raise ZeroDivisionError("in a pass")

    daemon = Daemon(Jobs(round=broken, billing_run=calm, reconcile=calm, reload=schedule), SystemClock(), schedule())
    with running(daemon):
        until(lambda: state_of(daemon, "round").standing == "failed", "the round has failed")
        assert state_of(daemon, "round").error == "in a pass"


def test_a_stop_between_a_failed_run_and_its_next_wait_ends_the_daemon() -> None:
    """The stop arrives just before the failed job asks the scheduler for another turn: neither waits for the other for ever."""
    is_asking = threading.Event()

    class SlowToAsk(Daemon):
        def _due_in(self, name: JobName, wait_s: float) -> None:
            if wait_s > 0:
                is_asking.set()
                assert self._stop.wait(PATIENCE_S)
                time.sleep(0.2)  # what ends the daemon has gone as far as it can
            super()._due_in(name, wait_s)

    def broken(_stop: threading.Event) -> str:
        raise ZeroDivisionError("in a pass")

    with running(SlowToAsk(Jobs(round=broken, billing_run=calm, reconcile=calm, reload=schedule), SystemClock(), schedule())):
        assert is_asking.wait(PATIENCE_S)


def test_what_waits_its_turn_is_not_begun_after_stop() -> None:
    """A job that queued behind the running one is dropped when the daemon stops, and the stop event is the one given."""
    begun = threading.Event()
    billed: list[str] = []
    stop = threading.Event()

    def one_round(given: threading.Event) -> str:
        begun.set()
        assert given is stop
        assert given.wait(PATIENCE_S)
        time.sleep(0.2)
        return "chunk finished"

    def billing_run(_stop: threading.Event) -> str:
        billed.append("")
        return ""

    daemon = Daemon(
        Jobs(round=one_round, billing_run=billing_run, reconcile=calm, reload=schedule), SystemClock(), schedule(), stop=stop
    )
    with running(daemon):
        assert begun.wait(PATIENCE_S)
        daemon._due_in("billing_run", 0)
        time.sleep(0.3)
    assert billed == []
    assert daemon._running["round"].state.summary == "chunk finished"
