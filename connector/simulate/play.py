"""The clock of a scenario: from one date on which something happens to the next, with the functions that bill for real."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from connector.core.bounds import MAX_LINES
from connector.core.drawing import is_on
from connector.core.invoicing import Slice, Usage, next_due
from connector.core.money import quotient
from connector.core.period import to_utc
from connector.core.quoting import Quoted, quoted, quoted_change
from connector.core.schedule import problems, running_items
from connector.core.settlement import (
    Account,
    CreditNote,
    CustomerState,
    Invoice,
    advance,
    credit_note,
    credited_after,
    marked_uncollectible,
    paid,
    prorated,
    voided,
)  # fmt: skip
from connector.core.terms import Change, Contract, ContractTerms
from connector.errors import Problem, RejectedError, invariant
from connector.simulate.scenario import Scenario, Settle
from connector.simulate.values import Complaint, Path

_TICK = timedelta(microseconds=1)
# where a problem of a whole change lies in its action; a key that the action does not have points at the action
_FIELDS = {
    "before-start": "effective", "contract-ended": "effective", "over-decrease": "items", "unknown-item": "items",
    "ambiguous-item": "items", "interval-differs": "items", "duplicate-item": "items",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Quote:
    """The quote of a scenario on its way from draft to accepted, canceled or expired; *seen*: changes of the contract it was made on."""

    terms: ContractTerms
    change: Change | None = None
    seen: int = 0
    status: str = "draft"
    number: str | None = None
    revision: int = 1


@dataclass(slots=True, kw_only=True)
class Played:
    """What a scenario led to."""

    contract: Contract | None
    customer: CustomerState
    invoices: list[Invoice] = field(default_factory=list)
    notes: list[tuple[int, CreditNote]] = field(default_factory=list)
    quote: Quote | None = None
    totals: Quoted | None = None
    complaints: list[Complaint] = field(default_factory=list)


class _Play:
    """One run of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.pending = list(scenario.actions)
        self.paths: dict[str, Path] = {}
        self.result = Played(contract=None, customer=scenario.customer)
        self.account: Account | None = None
        if scenario.is_quote:
            self.result.quote = Quote(terms=scenario.terms)
        if not scenario.is_quote or scenario.is_change:
            self._begin(scenario.terms)

    # ------------------------------------------------------------------ time

    def run(self) -> Played:
        """Let the clock run to the end and return what happened."""
        first = [a[0] for a in self.pending[:1]]
        if self.account is not None:
            terms = self.account.slices[0].contract.terms
            first.append(max(terms.start, terms.entered_at or terms.start))
        now = min(first, default=self.scenario.until) - _TICK
        lines = 0
        while not self.result.complaints:
            following = self._next(now)
            if following is None or following > self.scenario.until:
                break
            now = following
            self._step(now)
            lines = len(self.account.slices[0].facts) if self.account is not None else 0
            if lines > MAX_LINES:
                self._complain(
                    "too-many-lines",
                    ("until",),
                    f"The contract makes more than {MAX_LINES} lines.",
                    "Shorten the time.",
                )
        self._finish()
        return self.result

    def _next(self, now: datetime) -> datetime | None:
        times = [a[0] for a in self.pending[:1]]
        if self.account is not None:
            due = next_due(self.account.slices[0], now)
            if due is not None:
                times.append(due)
        return min((max(t, now) if t <= now else t for t in times), default=None)

    def _step(self, now: datetime) -> None:
        today = [a for a in self.pending if a[0] <= now]
        self.pending = self.pending[len(today) :]
        for at, path, action in today:
            if isinstance(action, Change):
                self._change(action, path)
            elif isinstance(action, Usage):
                self._usage(action, path)
            elif action.do.startswith("quote_"):
                self._quote(action, at)
        if self.result.complaints:
            return
        self._bill(now)
        for _, _, action in today:
            if isinstance(action, Settle) and not action.do.startswith("quote_"):
                self._settle(action)

    def _bill(self, now: datetime) -> None:
        if self.account is None:
            return
        at = to_utc(now, self.scenario.timezone)
        self.account, events = advance(replace(self.account, customer=self.result.customer), at)
        self.result.customer = self.account.customer
        self.result.invoices += [e.invoice for e in events if e.kind in ("invoice.drafted", "invoice.finalized")]
        again, more = advance(self.account, at)
        invariant(not more and again.customer == self.account.customer, "billing twice adds nothing")

    def _finish(self) -> None:
        result, quote = self.result, self.result.quote
        if self.account is not None:
            result.contract = self.account.slices[0].contract
        if quote is not None:
            expires = self.scenario.expires_at
            if quote.status in ("draft", "open") and expires is not None and expires <= self.scenario.until:
                quote.status = "expired"
            if not result.complaints and not self.scenario.is_change:
                result.totals = quoted(Contract(id="contract", terms=quote.terms), self.scenario.customer)

    def _complain(self, code: str, path: Path, message: str, hint: str = "") -> None:
        self.result.complaints.append(Complaint(code=code, path=path, message=message, hint=hint))

    # ------------------------------------------------------------------ the contract

    def _begin(self, terms: ContractTerms) -> None:
        contract = Contract(id="contract", terms=terms, changes=self._trial_change(terms))
        is_offered = self.scenario.is_quote and not self.scenario.is_change
        self._check(contract, ("quote", "contract") if is_offered else ("contract",))
        self.account = Account(customer=self.result.customer, slices=(Slice(contract=contract),))

    def _trial_change(self, terms: ContractTerms) -> tuple[Change, ...]:
        """Return what happens at the end of a trial for want of a payment method."""
        behavior = terms.trial_missing_payment
        if terms.trial_end is None or behavior == "create_invoice" or self.scenario.customer.payment != "none":
            return ()
        end = Change(
            id="trial-end",
            kind="cancel" if behavior == "cancel" else "pause",
            effective=terms.trial_end,
            made_at=terms.start,
            pause_behavior="credit",
        )
        return (end,)

    def _check(self, contract: Contract, base: Path) -> bool:
        found = problems(contract)
        for problem in found:
            self.result.complaints.append(self._located(problem, base))
        return not found

    def _located(self, problem: Problem, base: Path) -> Complaint:
        path = self.paths.get(problem.where.record or "", base)
        field = problem.where.field or (
            "" if path == base and not problem.where.record else _FIELDS.get(problem.code, "")
        )
        for part in field.replace("]", "").replace("[", ".").split("."):
            if part:
                path = (*path, int(part) if part.isdigit() else part)
        return Complaint(code=problem.code, path=path, message=problem.message, hint=problem.hint)

    def _change(self, change: Change, path: Path) -> None:
        if self.account is None:
            self._complain("no-contract", path, "There is no contract yet.", "Accept the quote first.")
            return
        self.paths[change.id] = path
        piece = self.account.slices[0]
        contract = replace(piece.contract, changes=(*piece.contract.changes, change))
        if not self._runs_on(contract, change):
            name = change.items[0].item_id
            running = ", ".join(dict.fromkeys(i.price.id for _, i, _ in running_items(piece.contract, change.made_at)))
            message = f"Nothing runs on the price {name} on {change.made_at.date()}."
            self._complain("price-not-running", (*path, "from"), message, f"There run: {running or 'no prices'}.")
        elif self._check(contract, path):
            self.account = replace(self.account, slices=(replace(piece, contract=contract),))

    def _runs_on(self, contract: Contract, change: Change) -> bool:
        """Whether something runs on every price that a change migrates; true for other changes."""
        names = [s.item_id or "" for s in change.items if s.op == "reprice"]
        running = [item for _, item, _ in running_items(contract, change.made_at)] if names else []
        before = [i for p in contract.terms.phases for i in p.items] if names else []
        return all(any(is_on(i, name) for i in running) or any(is_on(i, name) for i in before) for name in names)

    def _usage(self, usage: Usage, path: Path) -> None:
        if self.account is None:
            self._complain("no-contract", path, "There is no contract yet.")
            return
        piece = self.account.slices[0]
        billed = next((f for f in piece.facts if f.price_id == usage.price and f.start <= usage.at < f.end), None)
        if billed is not None:
            self._complain(
                "usage-too-late",
                (*path, "on"),
                f"The usage of {usage.price} until {billed.end.date()} has been billed; that of {usage.at.date()} comes too late.",
                "Record it inside a period that is not billed yet.",
            )
            return
        self.account = replace(self.account, slices=(replace(piece, usage=(*piece.usage, usage)),))

    # ------------------------------------------------------------------ invoices and balance

    def _settle(self, action: Settle) -> None:
        currency = self.scenario.currency
        if action.do == "adjust_balance":
            self.result.customer = self.result.customer.moved(currency, action.amount or 0)
            return
        if action.invoice > len(self.result.invoices):
            self._complain(
                "unknown-invoice",
                (*action.path, "invoice"),
                f"There is no invoice {action.invoice} yet, only {len(self.result.invoices)}.",
            )
            return
        at = action.invoice - 1
        invoice = self.result.invoices[at]
        simple: dict[str, Callable[[Invoice], Invoice]] = {
            "pay": lambda i: paid(i, action.amount), "fail": _failed, "void": self._void, "mark_uncollectible": marked_uncollectible,
        }  # fmt: skip
        try:
            self.result.invoices[at] = (
                simple[action.do](invoice) if action.do in simple else self._credit(action, invoice)
            )
        except RejectedError as error:
            self._complain(error.problem.code, action.path, error.problem.message, error.problem.hint)

    def _prorated(self, invoice: Invoice) -> tuple[dict[str, int], int]:
        """Return what changes credited of an invoice's lines on invoices that stand."""
        return prorated(invoice.lines, (fact for i in self.result.invoices if i.status != "void" for fact in i.lines))

    def _void(self, invoice: Invoice) -> Invoice:
        assert self.account is not None
        after = voided(invoice, prorated=self._prorated(invoice)[1])
        piece = self.account.slices[0]
        self.account = replace(
            self.account, slices=(replace(piece, credited=credited_after(piece.credited, after)),)
        )
        return after

    def _credit(self, action: Settle, invoice: Invoice) -> Invoice:
        assert self.account is not None
        piece = self.account.slices[0]
        taken = Counter(dict(piece.credited))
        taken.update(self._prorated(invoice)[0])
        lines = []
        for number, amount, quantity in action.lines:
            if number > len(invoice.lines):
                self._complain(
                    "unknown-line",
                    action.path,
                    f"Invoice {action.invoice} has {len(invoice.lines)} lines, no line {number}.",
                )
                return invoice
            line = invoice.lines[number - 1]
            if amount is None:
                n, d = (quantity or Decimal(0)).as_integer_ratio()
                q, e = (line.quantity or Decimal(1)).as_integer_ratio()
                amount = quotient(line.net * n * e, d * q) if q else 0
            lines.append((line.key, amount))
        note, after, to_balance = credit_note(
            invoice, amount=action.amount, lines=lines, paid_back=action.paid_back, credited=taken
        )
        credited = dict(piece.credited)
        for key, part in note.lines:
            credited[key] = credited.get(key, 0) + part
        self.account = replace(self.account, slices=(replace(piece, credited=credited),))
        self.result.customer = self.result.customer.moved(self.scenario.currency, -to_balance)
        self.result.notes.append((action.invoice, note))
        return after

    # ------------------------------------------------------------------ the quote

    def _quote(self, action: Settle, at: datetime) -> None:
        quote, expires = self.result.quote, self.scenario.expires_at
        if quote is None:
            return
        if quote.status in ("draft", "open") and expires is not None and expires <= at:
            quote.status = "expired"
        needed = {
            "quote_finalize": ("draft",),
            "quote_accept": ("open",),
            "quote_cancel": ("draft", "open"),
            "quote_revise": ("open",),
        }
        if quote.status not in needed[action.do]:
            self._complain(
                "quote-status",
                (*action.path, "do"),
                f"The quote is {quote.status}.",
                f"It must be {' or '.join(needed[action.do])}.",
            )
        elif action.change is not None:
            self._quote_change(quote, action, action.change)
        elif action.do == "quote_finalize":
            quote.status, quote.number = "open", quote.number or "Q-0001"
        elif action.do == "quote_cancel":
            quote.status = "canceled"
        elif action.do == "quote_revise":
            quote.status, quote.revision, quote.terms = "draft", quote.revision + 1, action.terms or quote.terms
        else:
            quote.status = "accepted"
            self._begin(replace(quote.terms, entered_at=max(at, quote.terms.entered_at or at)))


    def _quote_change(self, quote: Quote, action: Settle, change: Change) -> None:
        """A step of a quote on the running contract: priced when it is finalized; what has changed since makes it outdated."""
        if self.account is None:
            return
        piece = self.account.slices[0]
        if action.do == "quote_cancel":
            quote.status = "canceled"
        elif action.do == "quote_revise":
            quote.status, quote.revision = "draft", quote.revision + 1
        elif action.do == "quote_accept":
            if len(piece.contract.changes) != quote.seen:
                text, hint = "The quote is outdated: the contract has changed since.", "Revise and finalize it again."
                self._complain("quote-outdated", (*action.path, "do"), text, hint)
                return
            quote.status = "accepted"
            self._change(change, ("quote",))
        elif self._check(replace(piece.contract, changes=(*piece.contract.changes, change)), ("quote",)):
            quote.status, quote.number, quote.seen = "open", quote.number or "Q-0001", len(piece.contract.changes)
            self.result.totals = quoted_change(piece, change, self.result.customer)


def _failed(invoice: Invoice) -> Invoice:
    """Return the invoice after its payment failed or was returned: open, with all of it due.

    Raises: RejectedError where nothing was ever due, or it is void or given up.
    """
    if invoice.status not in ("open", "paid") or invoice.amount_due == 0:
        message = f"The invoice is {invoice.status} with {invoice.amount_due} due, so no payment of it can fail."
        raise RejectedError(
            Problem(code="nothing-to-pay", message=message, hint="Name an invoice that asks for money.")
        )
    return replace(invoice, status="open", amount_paid=0, amount_remaining=invoice.amount_due)


def play(scenario: Scenario) -> Played:
    """Return what a scenario leads to; impossible steps end it with complaints."""
    return _Play(scenario).run()
