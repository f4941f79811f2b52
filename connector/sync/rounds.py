"""Rounds: stage, map, apply, write back, in this order, until nothing is due; and the billing run that ends in the CRM.

A crash between two passes is only a shorter round: every pass reads what is due from the ledger. Each loop is bounded by what
is due and by `settings.max_pages_a_round`; `seam.stop` ends it after the pass in hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from connector.errors import HaltError, Problem, RetryableError
from connector.ports import Billing
from connector.sync import adopting, entries, intents, ledger, quoting, sending
from connector.sync.apply import apply
from connector.sync.budget import budget_of, is_spent, keep_budget, may_write
from connector.sync.collect import collect, dun
from connector.sync.mapper import map_records
from connector.sync.requests import DealRequests
from connector.sync.seam import Collected, Collecting, Seam, Tally, Transactions
from connector.sync.stage import stage, stage_record
from connector.sync.sweep import sweep
from connector.sync.write_back import write_back

_LISTED_PROBLEMS = 1000
_BILL_CHUNK = 500
_MOST_TURNS = 100  # of deciding and sending in one round; a chain of amendments takes one a deal


@dataclass(slots=True, kw_only=True)
class Billed:
    """What a billing run did."""

    contracts: int = 0
    invoices: int = 0
    drafts: int = 0
    lines: int = 0
    paid: int = 0
    failed: int = 0
    steps: int = 0
    problems: tuple[Problem, ...] = ()

    def add(self, collected: Collected) -> None:
        """Count what became of the invoices."""
        self.paid, self.failed, self.steps = collected.paid, collected.failed, collected.steps
        self.problems += collected.problems


def bind(seam: Seam, *, backend: str, beside: Mapping[str, str] | None = None) -> None:
    """Bind the ledger to this org, backend and time zone at first contact; refuse another (deals.md section 8).

    beside - what else it belongs to: Stripe's account and mode. Raises: HaltError naming both and the way out.
    """
    wanted = {"org": seam.org.id, "backend": backend, "timezone": seam.settings.timezone} | dict(beside or {})
    with seam.database.transaction() as unit:
        for key, value in wanted.items():
            held = ledger.meta(unit, key)
            if held is None:
                ledger.save_meta(unit, key, value)
            elif held != value:
                raise _other(key, held, value)
        ledger.save_meta(unit, "org_name", seam.org.name)
        ledger.save_meta(unit, "is_sandbox", "yes" if seam.org.is_sandbox else "no")


def _other(key: str, held: str, value: str) -> HaltError:
    """Return the refusal of a ledger that belongs to something else."""
    words = {"timezone": "time zone", "stripe_account": "Stripe account", "stripe_mode": "Stripe mode"}.get(key, key)
    hint = f"Point `database:` to another file, or set the configuration back; a ledger never changes its {words}."
    if key == "org":
        hint = (
            "Set crm.url back, or point `database:` to another file. A refreshed sandbox is another org, and may hold copies of deals"
            " that are billed elsewhere: `connector crm rebind` shows what would follow, and confirms it."
        )
    return HaltError(f"This ledger belongs to {words} {held}, but the configuration leads to {words} {value}.", hint=hint, code=f"other-{key}")


def adopt_mappings(seam: Seam) -> int:
    """Keep the newest mapping revisions, and make records due that an older one kept from being billed; return how many.

    Where a revision reads fields that were not read before, everything is read again first: a blank that nobody read is no blank.
    """
    due = 0
    now = ledger.iso(seam.now())
    with seam.database.transaction() as unit:
        for source in seam.sources:
            ledger.save_mapping_revision(unit, (source.hash, source.name, source.object, source.file, source.text), now)
            fields = {*source.compiled.record_fields, *(f"line.{f}" for f in source.compiled.line_fields)}
            held = ledger.meta(unit, f"fields {source.object}")
            ledger.save_meta(unit, f"fields {source.object}", " ".join(sorted(fields)))
            if held is not None and fields - set(held.split()):
                ledger.forget_cursors(unit, source.object)
            else:
                due += ledger.remap(unit, source.object, source.hash)
    return due


def run_round(seam: Seam, tally: Tally, *, turn: int | None = None, goes_on: bool = False, is_slow: bool = False) -> bool:
    """Run one round: one page of every source, then everything that is due; return whether pages wait.

    *is_slow*: the caller looks so seldom that it may above the budget.
    """
    if not is_slow:
        keep_budget(seam)
    more = stage(seam, tally, turn=turn, goes_on=goes_on)
    drain(seam, tally, hold=False)
    return more


def drain(seam: Seam, tally: Tally, *, hold: bool) -> None:
    """Map, apply and write back until nothing is due."""
    while not seam.stop.is_set() and map_records(seam, tally):
        pass
    asked = DealRequests(billing=seam.billing, language=seam.settings.language, timezone=seam.settings.timezone).handlers()
    for_deals = {**asked, adopting.ADOPT: adopting.handler(seam)}
    while not seam.stop.is_set() and intents.carry_out(seam.database, seam.billing, seam.now(), for_deals=for_deals) == intents.AT_ONCE:
        pass
    while not seam.stop.is_set() and map_records(seam, tally):  # what a request moved to another mapping
        pass
    quoting.take_up_moved(seam)
    halted = _carried_through(seam, tally, hold=hold)
    tally.charged.add(collect(seam.database, seam.collecting, seam.now(), stop=seam.stop, log=seam.log))
    tell(seam, tally)
    if halted is not None:
        raise halted


def _carried_through(seam: Seam, tally: Tally, *, hold: bool) -> HaltError | None:
    """Decide what is due and send it, in turns: an amendment comes after the deal it changes has gone through outside.

    Return why the backend outside takes nothing from us, None: it does.
    """
    for _ in range(_MOST_TURNS):
        for _ in range(_bound(seam)):
            if seam.stop.is_set() or not _applied_any(seam, tally, hold=hold):
                break
        try:
            if not sending.send(seam, tally) and not sending.pull(seam, tally):
                break
        except HaltError as error:
            return error
    return None


def tell(seam: Seam, tally: Tally) -> None:
    """Write back what is due while the budget allows it; the rest stays due, and the tally says so."""
    try:
        while not seam.stop.is_set() and may_write(seam) and write_back(seam, tally):
            pass
        while not seam.stop.is_set() and may_write(seam) and entries.answer(seam, tally):
            pass
    except HaltError as error:
        if not is_spent(error):
            raise
    if not may_write(seam):
        found = budget_of(seam)
        tally.slowed = Problem(code="crm-budget", message=found.text(), hint=found.hint())
        seam.log("crm.limited", error=found.text(), hint=found.hint())


def _applied_any(seam: Seam, tally: Tally, *, hold: bool) -> bool:
    """Apply one chunk; a chunk that wakes waiting deals makes more work, so look again until none is due."""
    apply(seam, tally, hold=hold)
    quoting.take_up_moved(seam)
    with seam.database.read() as unit:
        return bool(ledger.due_for_apply(unit, ledger.iso(seam.now()), 1))


def _bound(seam: Seam) -> int:
    return seam.settings.max_pages_a_round * max(1, seam.settings.page_rows // seam.settings.chunk_deals) * 4


def sync(seam: Seam, tally: Tally, *, record: str | None = None, is_full: bool = False) -> None:
    """Run rounds until nothing is due; *record* reads only that record, *is_full* also compares everything with the CRM again.

    Raises: RetryableError if the CRM could not be reached at all.
    """
    if record is not None:
        if not stage_record(seam, record, tally):
            raise HaltError(
                f"No configured source knows the record {record}.", hint="Check the id and `sources:`.", code="unknown-record"
            )
        drain(seam, tally, hold=False)
        return
    if is_full:
        reconcile(seam, tally, is_deep=True)
    else:
        read_all(seam, tally)
    _note_run(seam, "sync")


def reconcile(seam: Seam, tally: Tally, *, is_deep: bool = False) -> None:
    """Poll, then compare every record in scope with the CRM, and a backend outside with the books; put right what no poll has seen (P11, P12).

    A sweep that was cut off goes on where it was. Raises: RetryableError where the CRM cannot be reached, or the budget is used up.
    """
    read_all(seam, tally)
    if tally.written:
        read_all(seam, tally)  # our own writes come back first, so that they are no drift
    sweep(seam, tally, is_deep=is_deep, before_page=lambda: keep_budget(seam))
    sending.compare(seam, tally)
    read_all(seam, tally)
    _note_run(seam, "reconcile")


def read_all(seam: Seam, tally: Tally, *, turn: int | None = None, is_slow: bool = False) -> None:
    """Run rounds until no page of the CRM waits, or the stop event is set; *is_slow*: only one page above the budget."""
    more = run_round(seam, tally, turn=turn, is_slow=is_slow)
    while more and not seam.stop.is_set() and (may_write(seam) or not is_slow):
        more = run_round(seam, tally, goes_on=True, is_slow=is_slow)


def bill(seam: Seam, as_of: datetime, tally: Tally, *, reads_crm: bool = True) -> Billed:
    """Read the CRM, bill everything due at *as_of*, then tell the CRM; without the CRM its invoices may stay drafts.

    Where the CRM cannot be reached the run goes on; `hold` decides by the age of the last complete poll (deals.md section 9).
    """
    if reads_crm:
        try:
            read_all(seam, tally)
        except (RetryableError, HaltError) as error:
            if isinstance(error, HaltError) and not is_spent(error):
                raise
            tally.is_unreachable = True
            seam.log("run.failed", error=str(error), hint=error.hint)
    hold = is_silent(seam)
    done = bill_books(seam.database, seam.billing, as_of, hold=hold, stop=seam.stop)
    halted = _carried_through(seam, tally, hold=hold) if seam.remote is not None else None
    tally.charged.add(follow_up(seam.database, seam.collecting, as_of, hold=hold, stop=seam.stop, log=seam.log))
    done.add(tally.charged)
    tally.internal_errors += sum(p.code == "internal-error" for p in done.problems)
    seam.progress("billed", done.contracts)
    quoting.take_up_moved(seam)
    if not tally.is_unreachable:
        tell(seam, tally)
    _note_run(seam, "bill")
    if halted is not None:
        raise halted
    return done


def follow_up(
    database: Transactions, collecting: Collecting | None, as_of: datetime, *, hold: bool, stop: threading.Event, log: Callable[..., None]
) -> Collected:
    """Charge what is to be charged by *as_of*, then remind of what is still open and give up what all reminders did not move."""
    collected = collect(database, collecting, as_of, stop=stop, log=log)
    dun(database, collecting, as_of, collected, hold=hold, stop=stop)
    return collected


def bill_books(database: Transactions, billing: Billing, as_of: datetime, *, hold: bool, stop: threading.Event) -> Billed:
    """Bill everything due at *as_of*, a chunk in one transaction that notes which deals the CRM must be told of; asks no CRM."""
    done = Billed()
    while not stop.is_set():
        with database.transaction() as unit:
            run = billing.bill(unit, as_of, limit=_BILL_CHUNK, hold=hold)
            ledger.tell_crm(unit, run.deals)
        done.contracts += run.contracts
        done.invoices += run.invoices
        done.drafts += run.drafts
        done.lines += run.lines
        done.problems += run.problems
        if run.contracts < _BILL_CHUNK:
            break
    return done


def is_silent(seam: Seam) -> bool:
    """Return whether the CRM was last read to the end longer ago than `billing.max_crm_age`."""
    objects = [s.object for s in seam.sources]
    return is_silent_since(seam.database, objects, seam.now(), max_age_s=seam.settings.max_crm_age_s)


def is_silent_since(database: Transactions, objects: Sequence[str], now: datetime, *, max_age_s: int) -> bool:
    """Return whether the last complete poll of *objects* is older than *max_age_s* (0 = never mind); never read = silent."""
    if max_age_s == 0:
        return False
    with database.read() as unit:
        last = ledger.last_complete_poll(unit, objects)
    return last is None or (now - ledger.instant(last)).total_seconds() > max_age_s


def _note_run(seam: Seam, verb: str) -> None:
    with seam.database.transaction() as unit:
        ledger.save_meta(unit, f"last_{verb}", ledger.iso(seam.now()))


def count_open(seam: Seam, tally: Tally) -> None:
    """Fill in how many deals wait or are parked, and their problems."""
    with seam.database.read() as unit:
        states = ledger.counts(unit)
        tally.waiting, tally.parked = states.get("waiting", 0), states.get("parked", 0)
        for state in ("parked", "waiting"):
            for deal in ledger.list_deals(unit, state, "", _LISTED_PROBLEMS):
                if deal.problem is not None:
                    tally.problems.append(deal.problem)
        for deal in ledger.flagged_deals(unit, _LISTED_PROBLEMS):
            tally.problems += [p for p in (deal.problem, deal.write_problem) if p is not None]
        tally.problems += ledger.aside_problems(unit, _LISTED_PROBLEMS)
    tally.problems += [*seam.paused.values()]
    tally.problems += [p for p in (tally.slowed, tally.away) if p is not None]
