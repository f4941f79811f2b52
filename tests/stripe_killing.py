"""Dying at the n-th call to the outside: a work is begun by a process that ends there, and finished by its successor.

`Stage` is a world that was prepared once; every try goes on from it, in processes of its own with a copy of the ledger.

| how it dies | what happens |
|---|---|
| `killed` | a fork of this process does the work against servers in another one, and a real SIGKILL ends it: before the n-th call leaves, when it has left and nobody hears the answer, or with the answer in hand |
| `everywhere` | the work runs once, in a thread beside the servers. At each call the process is forked while that thread stands still: the fork has the servers' and the ledger's state of this moment, and nothing of the work is left in it, no `finally`, no memory. There the successor goes on |

The second asks for a third of the time, so that every call of every kind of work can be tried. What the successor leaves behind is compared
with what an undisturbed try left: everything at Stripe, in the ledger, in the CRM and in the mail server.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import multiprocessing
import os
import re
import shutil
import signal
import smtplib
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import postgres
import requests.adapters
import sqlalchemy
from stripe_wire import WATCH
from stripe_world import StripeWorld, stripe_world
from test_flow_mails import Box, mail, server

from connector.errors import HaltError
from connector.kit.db import Database

WAYS = ("before", "during", "after")
_FORK = multiprocessing.get_context("fork")
_LONGEST_S = 300
Act = Callable[[StripeWorld], Any]
State = dict[str, Counter[str]]
Point = Callable[[int, str, str], None]
"""What happens at a call: (its number, before or after, its name)."""


# ---------------------------------------------------------------- the calls of this process


@dataclass(slots=True)
class Watch:
    """Stands between this process and every HTTP and mail server; calls go one at a time, and *seen* names them in order.

    point - told before a call leaves and when its answer is there. cut - the number of the call whose answer this process dies of hearing.
    """

    point: Point
    cut: int = -1
    seen: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def around(self, what: str, call: Callable[[], Any], cut: Callable[[], None]) -> Any:
        """Make one call."""
        with self.lock:
            n = len(self.seen)
            self.seen.append(what)
            self.point(n, "before", what)
            if n == self.cut:
                cut()
            answer = call()
            self.point(n, "after", what)
            return answer

    def begin(self) -> None:
        """Begin to watch, until this process ends."""
        def sent(adapter: Any, request: Any, *args: Any, **how: Any) -> Any:
            def cut() -> None:
                http.client.HTTPConnection.getresponse = lambda *_, **__: _die()  # type: ignore[method-assign]

            return self.around(f"{request.method} {_path(request.url)}", lambda: _SEND(adapter, request, *args, **how), cut)

        def mailed(smtp: Any, message: Any) -> Any:
            def cut() -> None:
                answers, hear = [0], smtp.getreply

                def heard() -> Any:
                    answers[0] += 1
                    return hear() if answers[0] < 2 else _die()

                smtp.getreply = heard

            return self.around("MAIL", lambda: _MAIL(smtp, message), cut)

        requests.adapters.HTTPAdapter.send = sent  # type: ignore[assignment,method-assign]
        smtplib.SMTP.data = mailed  # type: ignore[assignment,method-assign]

    @staticmethod
    def end() -> None:
        """Watch no more: a fork of a process that was watched."""
        requests.adapters.HTTPAdapter.send = _SEND  # type: ignore[method-assign]
        smtplib.SMTP.data = _MAIL  # type: ignore[method-assign]


_SEND, _MAIL = requests.adapters.HTTPAdapter.send, smtplib.SMTP.data


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit


def _path(url: str) -> str:
    path = re.sub(r"^https?://[^/]+", "", url).partition("?")[0]
    return re.sub(r"/(?:[a-z]+_)?(?=\w*\d)\w{14,}", "/…", path)


# ---------------------------------------------------------------- the stage and what is tried on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One kind of work. prepare - up to the moment before it; run - what dies; again - what the successor does; but - what may differ."""

    name: str
    prepare: Act
    run: Act
    again: Act
    day: str = "2026-01-01"
    mails: bool = False
    but: tuple[str, ...] = ()
    how: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a work ended that nobody disturbed: the calls that it made, and the state after its successor."""

    calls: tuple[str, ...]
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of ending a work everywhere: its calls, how many worlds it left and how many of them were tried; *told*: what went otherwise, in words."""

    calls: tuple[str, ...]
    worlds: int
    tried: int
    calm: State
    told: list[str]


@dataclass(slots=True, kw_only=True)
class Stage:
    """A prepared world whose servers stand still; *known* are the ids that every try has in common."""

    folder: Path
    work: Work
    made: StripeWorld
    box: Box
    known: frozenset[str]

    def undisturbed(self) -> Ended:
        """Do the work and what its successor does, in a process of its own."""

        def tried(made: StripeWorld) -> Ended:
            watch = Watch(lambda *_: None)
            watch.begin()
            self.work.run(made)
            calls = tuple(watch.seen)
            return Ended(calls=calls, state=self._finished(made))

        found: Ended = _in_fork(lambda: self._going_on(tried, self.made.config.database))
        return found

    def everywhere(self, wanted: Callable[[int], bool]) -> Tried:
        """Do the work once and let it end before and after each call; go on in the worlds that this leaves, and in the one that nobody disturbed.

        A world that is the same as one before, bit by bit, is not tried again. Of the others those whose number is *wanted* are.
        """

        def tried(made: StripeWorld) -> Tried:
            wrong: list[str] = []
            left: list[tuple[str, State]] = []
            waiting, going = threading.Semaphore(0), threading.Semaphore(0)
            at: list[tuple[int, str, str]] = []
            seen: set[str] = set()

            def point(n: int, way: str, what: str) -> None:
                at.append((n, way, what))
                waiting.release()
                going.acquire()

            def work() -> None:
                try:
                    self.work.run(made)
                except BaseException:  # noqa: BLE001 - told to who reads it
                    wrong.append(traceback.format_exc())
                at.clear()
                waiting.release()

            watch = Watch(point)
            watch.begin()
            threading.Thread(target=work, daemon=True).start()
            while waiting.acquire() and at:
                n, way, what = at.pop()
                with made.stripe.lock, made.org.lock:
                    world = _fingerprint(made)
                    if world not in seen and wanted(len(seen)):
                        left.append((f"ended {way} {what} (call {n})", _in_fork(lambda: self._left(made))))
                    seen.add(world)
                going.release()
            Watch.end()
            calm = self._finished(made)
            told = [f"{where}: {text}" for where, state in left for text in differences(state, calm)]
            return Tried(calls=tuple(watch.seen), worlds=len(seen), tried=len(left), calm=calm, told=[*wrong, *told])

        found: Tried = _in_fork(lambda: self._going_on(tried, self.made.config.database), longest_s=20 * _LONGEST_S)
        return found

    def _state(self, made: StripeWorld) -> State:
        return {name: rows for name, rows in state_of(made, self.box, self.known).items() if name not in self.work.but}

    def _finished(self, made: StripeWorld) -> State:
        """Do what a successor does; return what stands then."""
        self.work.again(made)
        WATCH.settle()
        return self._state(made)

    def _left(self, made: StripeWorld) -> State:
        """Let the successor go on here, where nothing of the work is left; return what stands in the end."""
        made.stripe.lock.release()
        made.org.lock.release()
        Watch.end()
        found: State = self._going_on(self._finished, made.config.database)
        return found

    def killed(self, n: int, way: str, calm: Ended) -> list[str]:
        """Do the work in a process that is killed at call *n*; say in words what its successor left otherwise.

        With several threads it may need one or two calls fewer than undisturbed: at those it ends by itself, and is compared all the same.
        """

        def tried(made: StripeWorld) -> list[str]:
            made.config = replace(made.config, stripe=replace(made.config.stripe, parallel=4))
            ended = killed_at(made, n, way, self.work.run)
            assert ended == -signal.SIGKILL or (ended == 0 and n >= len(calm.calls) - 2)
            if not _is_file(made.config.database):
                postgres.wait_until_left(made.config.database)
            return differences(self._finished(made), calm.state)

        found: list[str] = _in_fork(lambda: self._going_on(tried, self.made.config.database))
        return [f"killed {way} call {n}: {text}" for text in found]

    def beside(self, n: int, calm: State) -> tuple[str, list[str]]:
        """Stop a worker in the midst of call *n*, let another try beside it, kill the first; return how the other was refused, and what it left otherwise."""

        def tried(made: StripeWorld) -> tuple[str, list[str]]:
            stopped = _FORK.Event()

            def stop(m: int, way: str, _what: str) -> None:
                if (m, way) == (n, "after"):
                    stopped.set()
                    threading.Event().wait()

            def doomed() -> None:
                Watch(stop).begin()
                WATCH.is_on = False
                self.work.run(made)

            first = _FORK.Process(target=doomed)
            first.start()
            assert stopped.wait(_LONGEST_S)
            refused = ""
            try:
                self.work.again(made)
            except HaltError as error:
                refused = error.code
            first.kill()
            first.join()
            return refused, differences(self._finished(made), calm)

        found: tuple[str, list[str]] = _in_fork(lambda: self._going_on(tried, self.made.config.database))
        return found

    def _going_on(self, tried: Callable[[StripeWorld], Any], ledger: str) -> Any:
        """Let CRM, Stripe and mail server go on in this process, with a copy of the ledger at *ledger*."""
        made, folder = self.made, self.folder / str(os.getpid())
        folder.mkdir()
        try:
            with ExitStack() as stack:
                made.crm.start()
                made.stripe_server.start()
                made.config = replace(
                    made.config, database=stack.enter_context(_copied(ledger, folder)), crm=replace(made.config.crm, url=made.crm.url),
                    stripe=replace(made.config.stripe, api_base=made.stripe_server.url),
                )  # fmt: skip
                if made.config.mail.url:
                    made.config = replace(made.config, mail=replace(made.config.mail, url=f"smtp://{stack.enter_context(server(self.box))}"))
                return tried(made)
        finally:
            shutil.rmtree(folder)


def _is_file(url: str) -> bool:
    return url.startswith("sqlite:")


@contextmanager
def _copied(ledger: str, folder: Path) -> Iterator[str]:
    """Give a copy of a ledger: of its files, or of its database on the server."""
    if not _is_file(ledger):
        with postgres.copy_of(ledger) as url:
            yield url
        return
    path = Path(ledger.removeprefix("sqlite:///"))
    for file in (*path.parent.glob(path.name), *path.parent.glob(f"{path.name}-wal")):
        shutil.copy(file, folder / file.name)
    yield f"sqlite:///{folder}/{path.name}"


def _fingerprint(made: StripeWorld) -> str:
    """Return a digest of the whole world: the ledger's files, everything that CRM and Stripe hold."""
    ledger = made.config.database.removeprefix("sqlite:///")
    digest = hashlib.blake2b()
    for file in (Path(ledger), Path(f"{ledger}-wal")):
        digest.update(file.read_bytes() if file.exists() else b"")
    rows = [[dict(row) for row in made.org.rows(kind)] for kind in _IN_CRM]
    digest.update(json.dumps([made.stripe.objects, len(made.stripe.events), len({entry.key for entry in made.stripe_server.faults.log}), rows], default=str).encode())
    return digest.hexdigest()


def _in_fork(work: Callable[[], Any], *, longest_s: int = _LONGEST_S) -> Any:
    """Return what *work* returns in a fork of this process, which ends with it."""
    ours, theirs = _FORK.Pipe(duplex=False)

    def forked() -> None:
        try:
            theirs.send((True, work()))
        except BaseException:  # noqa: BLE001 - told to who reads it
            theirs.send((False, traceback.format_exc()))
        os._exit(0)

    child = _FORK.Process(target=forked)
    child.start()
    theirs.close()
    is_good, found = ours.recv() if ours.poll(longest_s) else (False, "The fork hangs.")
    child.kill()
    child.join()
    assert is_good, found
    return found


def killed_at(made: StripeWorld, n: int, way: str, run: Act = StripeWorld.sync) -> int:
    """Do a work in a fork of this process that is killed at call *n*; return how it ended: -9, or 0 where there is no such call."""

    def doomed() -> None:
        watch = Watch(lambda m, at, _: _die() if (m, at) == (n, way) else None, cut=n if way == "during" else -1)
        watch.begin()
        WATCH.is_on = False
        run(made)
        os._exit(0)

    child = _FORK.Process(target=doomed)
    child.start()
    child.join(_LONGEST_S)
    assert child.exitcode is not None, "the forked process hangs"
    return child.exitcode


@contextmanager
def staged(folder: Path, work: Work, **how: Any) -> Iterator[Stage]:
    """Prepare a world once, and stop its servers; *how* as of `stripe_world`."""
    box = Box()
    with ExitStack() as stack:
        more = {"mail": mail(stack.enter_context(server(box)))} if work.mails else {}
        with stripe_world(folder / "stage", day=work.day, **more, **work.how, **how) as made:
            if work.mails:
                made.config = replace(made.config, stripe=replace(made.config.stripe, mails="connector"))
            made.config = replace(made.config, stripe=replace(made.config.stripe, parallel=1))  # one thread of the work, which stands still
            made.sync()
            work.prepare(made)
            known = frozenset(_IDS.findall(json.dumps(raw_state(made, box), default=str)))
    yield Stage(folder=folder, work=work, made=made, box=box, known=known)


# ---------------------------------------------------------------- what stands in the end

_IDS = re.compile(r"\b(?:[a-z]+_(?=\w*\d)\w{10,}|[a-zA-Z0-9]{15}(?:[A-Z]{3})?|[0-9a-f]{20,})\b")
_TIMES = re.compile(r"\b(20\d\d-\d\d-\d\d)[T ]\d\d:\d\d:\d\d[.\d]*(?:Z|\+\d\d:?\d\d)?")
_SECONDS = re.compile(r"\b1[5-9]\d{8}\b")
_RUNS = re.compile(r"/run/\w+")
_CLOCK = re.compile(r"\b\d\d:\d\d:\d\d\b")
_PLACES = re.compile(r"\b(AAA\w{5}|BI-\d{6})\b")  # of customers and rows in the order in which they came: customers go at once
_LINKS = re.compile(r"https?://[^\s\"\\]+")
_LEFT_OUT = {"alembic_version", "stripe_event", "meta", "cursor"}  # how far something was read, not what it led to
_BESIDE = {  # how often and when something was tried
    "attempts", "tries", "begun", "begun_at", "next_try_at", "updated_at", "made_at", "fetched_at", "staged_at", "id", "token", "seq", "seen", "stamp",
}  # fmt: skip


def raw_state(made: StripeWorld, box: Box) -> dict[str, Any]:
    """Return everything that stands at Stripe, in the ledger, in the CRM and in the mail server."""
    shown: dict[str, Any] = {}
    books = Database(made.config.database)
    with books.read() as unit:
        for name in sorted(sqlalchemy.inspect(unit.connection).get_table_names()):
            if name not in _LEFT_OUT:
                rows = [dict(row._mapping) for row in unit.connection.exec_driver_sql(f'SELECT * FROM "{name}"')]
                shown[f"ledger {name}"] = [{k: v for k, v in row.items() if k not in _BESIDE} for row in rows]
    books.close()
    with made.stripe.lock:
        for kind, objects in made.stripe.objects.items():
            shown[f"stripe {kind}"] = list(objects.values())
    with made.org.lock:
        for kind in _IN_CRM:
            shown[f"crm {kind}"] = [dict(row) for row in made.org.rows(kind)]
    mails = {str(m["Message-ID"]): {"to": to, "subject": str(m["Subject"])} for to, m in zip(box.to, box.taken, strict=True)}
    shown["mails"] = list(mails.values())  # a mail that comes twice bears one id, and is shown once by whoever reads it
    return shown


def state_of(made: StripeWorld, box: Box, known: frozenset[str]) -> State:
    """Return `raw_state` without what differs from one run to the next: new ids, times of day, links."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        if isinstance(value, int) and not isinstance(value, bool) and 1_000_000_000 < value < 5_000_000_000:
            return f"day {value // 86_400}"
        if isinstance(value, bytes):
            value = value.decode()
        if not isinstance(value, str):
            return str(value)
        text = _CLOCK.sub("a time", _TIMES.sub(r"\1", _LINKS.sub("a link", value)))
        text = _PLACES.sub("…", _RUNS.sub("/run/_", text))
        text = _SECONDS.sub(lambda m: f"day {int(m[0]) // 86_400}", text)
        return _IDS.sub(lambda m: m[0] if m[0] in known else f"{m[0].partition('_')[0] if '_' in m[0] else ''}_", text)

    raw = raw_state(made, box)
    return {name: Counter(json.dumps(plain(one), sort_keys=True) for one in rows) for name, rows in raw.items()}


def differences(found: State, expected: State) -> list[str]:
    """Return what differs between two states, in words."""
    told = []
    for name in sorted(found.keys() | expected.keys()):
        one, other = found.get(name, _NONE), expected.get(name, _NONE)
        more, fewer = sorted((one - other).elements()), sorted((other - one).elements())
        told += [f"{name} differs: {_apart(*pair)}" for pair in zip(more, fewer, strict=False)]
        told += [f"{name}: too much: {text}" for text in more[len(fewer) :]]
        told += [f"{name}: missing: {text}" for text in fewer[len(more) :]]
    return told


_NONE: Counter[str] = Counter()
_IN_CRM = ("Opportunity", "Quote", "Account", "Billing_Invoice__c")


def _apart(found: str, expected: str) -> str:
    """Return two texts from shortly before the place where they part."""
    same = next((n for n, (one, other) in enumerate(zip(found, expected, strict=False)) if one != other), 0)
    begin = max(0, same - 60)
    return f"…{found[begin : begin + 180]}… instead of …{expected[begin : begin + 180]}…"
