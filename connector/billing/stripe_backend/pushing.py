"""The push pass: what was decided is carried out at Stripe, step by step, between transactions (decisions D-19, D-194).

Before a call goes out it is written down that it begins, under which key; its answer is kept with the beginning of the next one. So
whatever interrupts us, the next pass asks for the very same thing under the very same key, and Stripe answers what it did.

| a call ends with | then |
|---|---|
| an answer | kept; the next step |
| nothing: time ran out, the connection was lost | asked again at once under the same key, then after a wait |
| a failure that Stripe keeps under the key (5xx) | looked up by our own id; found: taken over, else once more under the key's next suffix |
| the same, 20 hours after the key was first used (Stripe forgets keys) | looked up first, likewise |
| "not now" (429, a lock) | a short wait, then again; nothing happened |
| no connection | the pass ends: everything waits and is tried again by itself |
| a definite no because a price, product or discount is gone or archived there | it is looked for, or made, anew; the step is asked again |
| a definite no | what was done stays kept, the push is refused, its contract says why; an edit, a retry or an hour makes a new plan |
| a definite no to a step that may have been carried out before | looked up first: "already finalized" is as good as done |

A push that comes so late that one of its subscriptions has billed since it was planned is planned anew, from what was carried out of it
(see `late`), once Stripe's invoices up to now are read.

Two workers never send pushes of one customer at the same time, not even where one has lost the ledger without noticing (kit.claims): who works for
a customer has claimed it, and sees before each call that it still has. A push is taken with a lease, and whoever holds the ledger takes over
what a dead process left (`pushes.take_over`). The one call that may be under way when a claim is lost is asked for again under its own key.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from connector.billing.stripe_backend import drafts, lanes, late, lookup, pushes, settling, shared
from connector.billing.stripe_backend.keeping import Books, Settled, Transactions
from connector.billing.stripe_backend.refusal_words import DEFAULT, PARTLY
from connector.billing.stripe_backend.refusals import Refusal, Unanswered
from connector.billing.stripe_backend.steps import Calls, Held, Plan, Push, Step
from connector.errors import (
    ConnectorError,
    HaltError,
    InvariantError,
    Problem,
    RejectedError,
    RetryableError,
    Where,
    invariant,
)
from connector.kit.claims import Claims, Unclaimed
from connector.ports import Pushed, Unit

AT_ONCE = 1000  # pushes of one pass; more come with the next
KEY_AGE = timedelta(hours=20)
_QUICK_S = 5  # waits up to this long are waited out inside a pass
_QUICK_TRIES = 3  # calls of one step in one pass
_LONGEST_WAIT_S = 900
_UNREAD_WAIT = timedelta(minutes=2)  # until a push whose contract is to be planned anew is looked at again
_FOUND_FIRST = ("customers.tax_ids.create",)  # what the customer may have given itself
_MOST_FAILURES = 3  # pushes in a row that end without an answer; then the pass ends


class _Late(Exception):  # noqa: N818 - not an error
    """A period that this push took as ahead begins by now: its unsent steps no longer hold. *until*: when it does."""

    def __init__(self, until: datetime) -> None:
        self.until = until
        super().__init__(str(until))


class _Later(Exception):  # noqa: N818 - not an error
    """This push goes on in a later pass; *ends*: so do all others."""

    def __init__(self, error: RetryableError, *, ends: bool) -> None:
        self.error, self.ends = error, ends
        super().__init__(str(error))


@dataclass(slots=True, kw_only=True)
class Passage:
    """One pass. now - the clock, asked before each call. tell - notes in the same transaction which deals' records now say something else."""

    database: Transactions
    calls: Calls
    books: Books
    now: Callable[[], datetime]
    tell: Callable[[Unit, Sequence[str]], None]
    stop: threading.Event
    log: Callable[..., None]
    progress: Callable[[int], None] = field(default=lambda _n: None)
    sent: int = 0
    done: int = 0
    refused: int = 0
    failures: int = 0
    problem: Problem | None = None
    parallel: int = 1
    makers: lanes.Makers = field(default_factory=lanes.Makers)
    brake: lanes.Brake = field(default_factory=lanes.Brake)
    claims: Claims = field(default_factory=lambda: Claims(None))
    _new_ids: list[tuple[tuple[str, str], str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Pushed:
        """Carry out what is pending. Raises: HaltError where Stripe wants another key, mode or account."""
        with self.database.read() as unit:
            due = pushes.due(unit, self.now(), AT_ONCE)
        with self.database.claims() as self.claims:
            lanes.spread(due, partial(self._claimed, dict(due)), parallel=self.parallel)
        with self.database.read() as unit:
            wait = pushes.waiting(unit)
        return Pushed(sent=self.sent, done=self.done, refused=self.refused, wait=wait, problem=self.problem if wait else None)

    def _claimed(self, customers: Mapping[str, str], push_id: str) -> bool:
        """Carry out one push, unless another process works for its customer; return whether the pass may go on."""
        if self.stop.is_set():
            return False
        customer = customers[push_id]
        try:
            if self.claims.take(customer):
                try:
                    return self._one(push_id)
                finally:
                    self.claims.give(customer)
        except Unclaimed as error:
            self.problem = Problem(code="database", message=f"The database was lost while sending: {error}", hint="It is tried again by itself.")
            self.log("push.unclaimed", error=str(error))
            return False
        return True

    def _one(self, push_id: str) -> bool:
        """Take one push and carry it out; return whether the pass may go on."""
        with self.database.transaction() as unit:
            push = pushes.taken(unit, self.now(), push_id)
        return push is None or self._passed(push)

    def _passed(self, push: Push) -> bool:
        """Carry out one push as far as it goes; return whether the pass may go on."""
        walk = _Walk(passage=self, push=push)
        try:
            self._walked(walk)
            with self._lock:
                self.failures = 0
        except _Later as later:
            self._wait(walk.push, later.error)
            with self._lock:
                self.failures += 1
                return not later.ends and self.failures < _MOST_FAILURES
        except Unclaimed:
            raise
        except HaltError:
            self.release(walk.push)
            raise
        except RejectedError as error:
            self._refuse(walk.push, error.problem)
        except ConnectorError as error:
            if not isinstance(error, InvariantError):
                self.release(walk.push)
                raise
            self._refuse(walk.push, _own_error(walk.push, error))
        except Exception as error:  # noqa: BLE001 - our bug in one push is told on its deal; the others go on (D-17)
            self._refuse(walk.push, _own_error(walk.push, error))
        return True

    def _walked(self, walk: _Walk) -> None:
        """Carry out a push; one that comes too late is planned anew first."""
        if _is_emptied(walk.push) and not self._planned_anew(walk):
            return
        try:
            walk.go()
        except _Late as late_now:
            if self.now() < late_now.until:
                self.keep(replace(walk.push, next_try_at=late_now.until))
                return
            self._empty(walk)
            if self._planned_anew(walk):
                walk.go()

    def _empty(self, walk: _Walk) -> None:
        """Keep what was carried out of a push, and drop the rest."""
        push = walk.push
        self.log("push.late", key=push.key, planned=push.made_at.isoformat(), hint="A period began meanwhile: planned anew.")
        self._take_back(push)
        read = self._read_back(push) if push.results else None
        with self.database.transaction() as unit:
            self._keep_ids(unit)
            self.tell(unit, self._written(unit, push, read, None))
            held = pushes.held_of(unit, [push.contract_id]).get(push.contract_id) or Held(contract_id=push.contract_id)
            walk.push = pushes.replaced(unit, push, Plan(held=held), self.now())

    def _planned_anew(self, walk: _Walk) -> bool:
        """Give an emptied push the plan of now; return whether it has one, False while something is still to be read."""
        now = self.now()
        with self.database.transaction() as unit:
            plan = self.books.anew(unit, walk.push, now)
            walk.push = (
                replace(walk.push, next_try_at=now + _UNREAD_WAIT) if plan is None else pushes.replaced(unit, walk.push, plan, now)
            )
            pushes.save(unit, walk.push)
        return plan is not None

    # ------------------------------------------------------------ what is kept

    def keep(self, push: Push) -> None:
        """Keep how far a push came, and the ids of shared objects that it found or made; also before each call."""
        with self.database.transaction() as unit:
            self._keep_ids(unit)
            pushes.save(unit, push)

    def calling(self) -> None:
        """Count a call, and wait where Stripe asked for it."""
        with self._lock:
            self.sent += 1
        self.brake.hold(self.stop)

    def found_or_made(self, kind: tuple[str, str], stripe_id: str) -> None:
        """Note the id of a shared object; it is written with what is kept next."""
        with self._lock:
            self._new_ids.append((kind, stripe_id))

    def _take_back(self, push: Push) -> None:
        self.claims.check()  # else it might be what somebody else goes on with
        drafts.take_back(self.calls, push, self.log)

    def _keep_ids(self, unit: Unit) -> None:
        self.claims.check()  # before anything is written or asked: whoever lost its claim stops here
        with self._lock:
            found, self._new_ids = self._new_ids, []
        for kind, stripe_id in found:
            pushes.save_shared(unit, kind, stripe_id, self.now())

    def forget(self, lost: Sequence[settling.Lost]) -> None:
        """Use shared objects no more that are gone or withdrawn at Stripe."""
        with self.database.transaction() as unit:
            self._keep_ids(unit)
            for shared_object, stripe_id in lost:
                self.makers.made.pop(shared_object, None)
                pushes.forget_shared(unit, shared_object, stripe_id)

    def _wait(self, push: Push, error: RetryableError) -> None:
        """Keep a push for later: the longer, the more often it was in vain."""
        attempts = push.attempts + 1
        wait_s = max(error.retry_after_s, min(_LONGEST_WAIT_S, 30 * 2 ** min(attempts - 1, 10)))
        self.problem = Problem(code="stripe-unreachable", message=str(error), hint=error.hint or "It is tried again by itself.")
        self.log("push.failed", key=push.key, step=push.begun, error=str(error), hint=error.hint, wait_s=wait_s, attempt=attempts)
        self.keep(replace(push, attempts=attempts, next_try_at=self.now() + timedelta(seconds=wait_s)))

    def release(self, push: Push) -> None:
        """Give a push back, to be taken by whoever comes next."""
        self.keep(replace(push, next_try_at=None))

    def settle(self, push: Push) -> None:
        """Write what came of a push whose steps were all carried out."""
        read = self._read_back(push)
        with self.database.transaction() as unit:
            self._keep_ids(unit)
            if not pushes.finish(unit, push):
                return
            self.tell(unit, self._written(unit, push, read, None))
        with self._lock:
            self.done += 1
            self.progress(1)

    def _read_back(self, push: Push) -> Any:
        try:
            return self.books.read_back(push)
        except RetryableError as error:
            raise _Later(error, ends=not isinstance(error, Unanswered)) from error

    def _refuse(self, push: Push, problem: Problem) -> None:
        problem = replace(problem, where=Where(record=push.deal)) if push.deal else problem
        if push.results and problem.message == DEFAULT[0]:
            problem = replace(problem, message=PARTLY)
        self.log("push.refused", key=push.key, step=push.begun, error=problem.message, hint=problem.hint)
        self._take_back(push)
        with self.database.transaction() as unit:
            self._keep_ids(unit)
            if not pushes.refuse(unit, push, problem, self.now()):
                return
            self.tell(unit, self._written(unit, push, None, problem))
        with self._lock:
            self.refused += 1
            self.progress(1)

    def _written(self, unit: Unit, push: Push, read: Any, problem: Problem | None) -> Sequence[str]:
        before = pushes.held_of(unit, [push.contract_id]).get(push.contract_id) if push.contract_id else None
        lines, items = settling.lines_after(push)
        made = Settled(push=push, held=settling.held_after(push, before), lines=lines, items=items, read=read, problem=problem)
        return self.books.settle(unit, made, self.now())


@dataclass(slots=True, kw_only=True)
class _Walk:
    """The way of one push through its steps; *push* is as it stands now."""

    passage: Passage
    push: Push

    def go(self) -> None:
        """Carry out every step that has no result yet, then settle.

        What somebody deleted or archived at Stripe is forgotten, and found or made anew, as often as a refusal names something else.
        """
        forgotten: set[settling.Lost] = set()
        while True:
            try:
                return self._go()
            except Refusal as refusal:
                lost = [one for one in settling.lost(self.push, refusal) if one not in forgotten]
                if not lost:
                    raise
                forgotten |= {*lost}
                self._look_anew(lost, refusal)

    def _look_anew(self, lost: Sequence[settling.Lost], refusal: Refusal) -> None:
        self.passage.forget(lost)
        self.passage.log("push.lost", key=self.push.key, step=self.push.begun, ids=", ".join(i for _, i in lost), error=refusal.message)
        names = settling.named_by(self.push, lost)
        tries = {**self.push.tries, **{n: int(self.push.tries.get(n, 0)) + 1 for n in (*names, self.push.begun) if n}}
        left = {n: given for n, given in self.push.results.items() if n not in names}
        self.push = replace(self.push, results=left, tries=tries, begun="", begun_at=None)

    def _go(self) -> None:
        until = self._deadline()
        for step in self.push.plan.steps:
            if step.name in self.push.results:
                continue
            if self.passage.stop.is_set():
                self.passage.release(self.push)
                return
            if until is not None and late.is_timed(step) and until <= self.passage.now() + late.MARGIN:
                found = self._looked_up(self._ready(step)) if self._may_be_done(step) else None
                if found is None:
                    raise _Late(until)
                self._keep(step, found, is_new=True)
                continue
            known = self._known(step)
            self._keep(step, {"id": known} if known else self._answer(step), is_new=not known)
        self.passage.settle(self.push)

    def _deadline(self) -> datetime | None:
        """Return when the steps that are left no longer hold, None where they always do."""
        if not self.push.contract_id or not late.left(self.push):
            return None
        with self.passage.database.read() as unit:
            before = pushes.held_of(unit, [self.push.contract_id]).get(self.push.contract_id)
        return late.deadline(self.push, before)

    def _may_be_done(self, step: Step) -> bool:
        """Whether a step was begun before, so that it may have been carried out."""
        return self.push.begun == step.name or bool(self.push.tries.get(step.name))

    def _known(self, step: Step) -> str | None:
        """Return the id of a shared object that we know already."""
        if step.shared is None or step.keeps:
            return None
        with self.passage.database.read() as unit:
            return pushes.shared_id(unit, step.shared, self.push.contract_id)

    def _keep(self, step: Step, answer: dict[str, Any], *, is_new: bool) -> None:
        kept = settling.kept(step, answer) if answer else {}
        if step.shared is not None and is_new and "id" in kept:
            self.passage.found_or_made(step.shared, str(kept["id"]))
        self.push = replace(self.push, results={**self.push.results, step.name: kept}, begun="", begun_at=None, attempts=0)

    def _answer(self, step: Step) -> dict[str, Any]:
        """Return what a step gives; {} where it is left out."""
        results = self.push.results
        if step.needs is not None and not settling.value_of(step.needs, results):
            return {}
        return self._asked(self._ready(step))

    def _ready(self, step: Step) -> Step:
        """Return a step with its references resolved, and our mark."""
        target = settling.resolved(step.target, self.push.results)
        invariant(step.target is None or isinstance(target, str), f"{step.call} has a target in the step {step.name}")
        ready = replace(step, params=settling.resolved(step.params, self.push.results), target=target)
        return settling.marked(ready, self._full_key(step))

    def _asked(self, step: Step) -> dict[str, Any]:
        """Ask for a step whose references are resolved until it is answered. Raises: _Later, RejectedError, HaltError."""
        if self.push.begun == step.name and self._is_key_old():
            found = self._looked_up(step)
            if found is not None:
                return found
            self._next_key(step)
        for tries_left in range(_QUICK_TRIES - 1, -1, -1):
            answer = self._tried(step, is_first=tries_left == _QUICK_TRIES - 1, is_last=not tries_left)
            if answer is not None:
                return answer
        raise InvariantError("a step ends with an answer or a wait")

    def _tried(self, step: Step, *, is_first: bool, is_last: bool) -> dict[str, Any] | None:
        """Ask for a step once; None: it may be asked again at once."""
        may_be_done = not is_first or self._may_be_done(step) or step.target is not None
        self._begin(step)
        self.passage.calling()
        try:
            return self._called(step)
        except Unanswered as error:
            found = self._looked_up(step) if error.is_stored else None
            if error.is_stored and found is None:
                self._next_key(step)
            if found is None and is_last:
                raise _Later(error, ends=False) from error
            return found
        except RetryableError as error:
            if is_last or error.retry_after_s > _QUICK_S:
                raise _Later(error, ends=True) from error
            self.passage.brake.pull(error.retry_after_s)
            return None
        except RejectedError as error:
            found = self._looked_up(step, error) if may_be_done else None
            if found is None:
                raise
            return found

    def _called(self, step: Step) -> dict[str, Any]:
        key = self._key(step)
        if step.shared is not None:
            return self._shared(step, step.shared, key)
        if step.call in _FOUND_FIRST:
            found = lookup.found(self.passage.calls, step, step.params, self._full_key(step))
            if found is not None:
                return found
        if settling.is_read(step):
            return self.passage.calls.do(step.call, step.params, target=_text(step.target))
        return self.passage.calls.do(step.call, step.params, target=_text(step.target), key=key)

    def _shared(self, step: Step, name: tuple[str, str], key: str) -> dict[str, Any]:
        """Find or make a shared object, unless another worker did so meanwhile."""
        with self.passage.makers.making(name):
            known = self.passage.makers.made.get(name)
            if known is not None and not step.keeps:
                return {"id": known}
            with self.passage.database.read() as unit:
                was = pushes.former_id(unit, name)
            found = shared.find_or_make(self.passage.calls, step, key, was)
            self.passage.makers.made[name] = str(found["id"])
            return found

    def _begin(self, step: Step) -> None:
        """Write down that a step is being sent, with everything that was kept so far."""
        now = self.passage.now()
        began = self.push.begun_at if self.push.begun == step.name and self.push.begun_at else now
        self.push = replace(self.push, begun=step.name, begun_at=began, next_try_at=now + pushes.LEASE)
        self.passage.keep(self.push)

    def _key(self, step: Step) -> str:
        tries = int(self.push.tries.get(step.name, 0))
        return self._full_key(step) + (f"/a{tries}" if tries else "")

    def _full_key(self, step: Step) -> str:
        generation = int(self.push.tries.get(pushes.PLANS, 0))
        return f"{self.push.key}/p{generation}/{step.name}" if generation else f"{self.push.key}/{step.name}"

    def _next_key(self, step: Step) -> None:
        tries = {**self.push.tries, step.name: int(self.push.tries.get(step.name, 0)) + 1}
        self.push = replace(self.push, tries=tries, begun="", begun_at=None)

    def _is_key_old(self) -> bool:
        return self.push.begun_at is not None and self.passage.now() - self.push.begun_at > KEY_AGE

    def _looked_up(self, step: Step, refusal: RejectedError | None = None) -> dict[str, Any] | None:
        """Return the answer that a step would have given, where it was carried out after all."""
        try:
            since, said = int(self.push.made_at.timestamp()), refusal if isinstance(refusal, Refusal) else None
            found = lookup.found(self.passage.calls, step, step.params, self._full_key(step), since=since, refusal=said)
            if found is None and refusal is None and step.call == lookup.USAGE:
                sent = [s.params for s in self.push.plan.steps if s.call == step.call and s.name in self.push.results]
                found = lookup.counted(self.passage.calls, step.params, sent)
        except RetryableError as error:
            raise _Later(error, ends=not isinstance(error, Unanswered)) from error
        if found is not None:
            self.passage.log("push.found", key=self.push.key, step=step.name, id=str(found.get("id") or ""))
        return found


def _is_emptied(push: Push) -> bool:
    """Whether a push waits for its plan of now."""
    return not push.plan.steps and bool(push.contract_id)


def _text(target: Any) -> str | None:
    return None if target is None else str(target)


def _own_error(push: Push, error: BaseException) -> Problem:
    return Problem(
        code="internal-error",
        message=f"Not billed: the connector itself failed on this deal ({type(error).__name__}: {error}).",
        hint="Ask the people who run the billing connector; its log names the cause.",
        where=Where(record=push.deal),
    )
