"""The doors of requests on Stripe: one carries a request out or sends it, the other answers it when what was sent is settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from connector.billing.customers import customer_named
from connector.billing.desk import refused
from connector.billing.intents import HANDLERS, Engine, Handler, Request
from connector.billing.stripe_backend import pushes
from connector.billing.stripe_backend.asking import invoices, people, usage
from connector.billing.stripe_backend.asking.kinds import KINDS
from connector.billing.stripe_backend.begun import Done
from connector.billing.stripe_backend.importing import adopting
from connector.errors import Problem, RejectedError
from connector.ports import IntentResult, Unit

Answer = Callable[[Done, Engine, Unit], IntentResult | None]
_ALL_CONTRACTS = ("customer.discount", "customer.details")
"""Requests about a customer that change what Stripe holds of each of its contracts."""


class Backend(Engine, Protocol):
    """What the doors use of this backend beside the engine."""

    def plan_anew(self, unit: Unit, contract_ids: Sequence[str], now: datetime) -> Sequence[str]:
        """Plan contracts again at once; return the deals to tell."""


SENT: dict[str, tuple[Handler, Answer]] = {
    "invoice.create": (people.create, people.created),
    "invoice.credit": (invoices.credit, invoices.credited),
    "invoice.refund": (invoices.refund, invoices.credited),
    "invoice.void": (invoices.void, invoices.status_of),
    "invoice.uncollectible": (invoices.uncollectible, invoices.status_of),
    "invoice.pay": (invoices.pay, invoices.paid),
    "invoice.enter": (invoices.enter, invoices.paid),
    "invoice.charge": (invoices.charge, invoices.status_of),
    "invoice.send": (invoices.send, invoices.mailed),
    "customer.adjust": (people.adjust, people.adjusted),
    "customer.payment_method": (people.payment_method, people.method_said),
    "contract.adopt": (adopting.adopt, adopting.linked),
    "usage.record": (usage.record, usage.recorded),
}
"""What is sent to Stripe, by kind: who sends it, and who answers when it is done (None: not before what came of it is mirrored)."""


def carried_out(request: Request, engine: Backend, unit: Unit) -> IntentResult:
    """Carry out a request on Stripe: in the books, or by a push that it waits for. Raises: RejectedError, also for what Stripe cannot do."""
    kind = KINDS.get(request.kind)
    if kind is not None and kind.way == "refused":
        raise refused("not-on-stripe", f"{kind.does} So {kind.asked} does nothing there.", kind.instead)
    if request.kind in SENT:
        return SENT[request.kind][0](request, engine, unit)
    handler = HANDLERS.get(request.kind)
    if handler is None:
        raise refused("unknown-request", f"The books know no request {request.kind}.", "Update the connector.")
    done = handler(request, engine, unit)
    if request.kind in _ALL_CONTRACTS:
        customer_id = customer_named(unit, engine.org, str(request.data["customer"]))
        running = unit.query("SELECT id FROM contract WHERE customer_id = ? AND next_due_at IS NOT NULL ORDER BY id", (customer_id,))
        told = engine.plan_anew(unit, [row[0] for row in running], request.now)
        return replace(done, deals=tuple(dict.fromkeys([*done.deals, *told])))
    # a change that sends something is answered when Stripe has it, with the invoices that it made there
    pushed = pushes.found(unit, request.key) if request.kind == "contract.change" else None
    return done if pushed is None or pushed.state == "done" else IntentResult(result=done.result, deals=done.deals, waits_for=(request.key,))


def answered(request: Request, sent: Mapping[str, Any], engine: Engine, unit: Unit) -> IntentResult | None:
    """Return what a request led to whose pushes are settled, None while one is on its way. Raises: RejectedError where Stripe refused one.

    sent - waits_for: the keys of its pushes; so_far: what its handler said when it began.
    """
    found = [pushes.found(unit, key) for key in sent["waits_for"]]
    if any(push is not None and push.state == "pending" for push in found):
        return None
    for key in sent["waits_for"]:
        problem = pushes.problem_of(unit, key)
        if problem is not None:
            raise RejectedError(_in_books(request, problem))
    done = Done(request=request, so_far=sent["so_far"], pushed=tuple(p for p in found if p is not None))
    if request.kind in SENT:
        return SENT[request.kind][1](done, engine, unit)
    return _changed(done, unit)


def _in_books(request: Request, problem: Problem) -> Problem:
    """Return a refusal with what it means for a change that the books have already."""
    if request.kind != "contract.change":
        return problem
    hint = f"{problem.hint} The change stands in the books and is sent again later; withdraw it by another change.".strip()
    return Problem(code=problem.code, message=problem.message, hint=hint, where=problem.where)


def _changed(done: Done, unit: Unit) -> IntentResult:
    """Return a contract's change with the invoices that Stripe made of it."""
    ids = {str(result[name]) for push in done.pushed for result in push.results.values() for name in ("latest_invoice", "id") if result and result.get(name)}
    made = []
    for stripe_id in sorted(ids):
        if stripe_id.startswith("in_"):
            sql = "SELECT i.number, i.total, i.currency FROM invoice i JOIN stripe_invoice s ON s.invoice_id = i.id WHERE s.stripe_id = ? AND i.number IS NOT NULL"
            made += [{"number": n, "total": t, "currency": c} for n, t, c in unit.query(sql, (stripe_id,))]
    return IntentResult(result={**done.so_far, "invoices": made})
