"""The life of a contract on the model of Stripe, beside the engine's own: what both bill must be the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stripe_model import Billed, Model
from test_stripe_compiling import wanted_of

from connector.billing.stripe_backend.compiling.leaving import at_net, net_at
from connector.billing.stripe_backend.compiling.outlook import Outlook
from connector.billing.stripe_backend.compiling.owning import instant_billed, is_stripes, next_own, unread
from connector.billing.stripe_backend.compiling.plan import planned
from connector.billing.stripe_backend.compiling.wanted import Wanted
from connector.billing.stripe_backend.steps import Held, Plan
from connector.core.invoicing import Slice, proposed
from connector.core.lines import Line
from connector.core.period import to_local, to_utc
from connector.core.terms import Contract

MOST_STEPS = 400


class Life:
    """One contract from the instant at which it is made, run by run."""

    def __init__(self, contract: Contract, made: datetime) -> None:
        self.whole, self.now = contract, made
        self.contract = replace(contract, changes=())
        self.zone = contract.terms.timezone
        self.model = Model()
        self.held: Held | None = None
        self.facts: list[Line] = []
        self.sent: dict[str, Line] = {}
        self.items: dict[str, str] = {}
        self.waited: set[str] = set()
        self.engine: list[Line] = []
        self.seen = 0
        self.plans = 0
        self.left: set[str] = set()

    # ------------------------------------------------------------------ what happens

    def run(self, until: datetime) -> None:
        """Live up to an instant."""
        self._know()
        for _ in range(MOST_STEPS):
            self._bill_by_engine()
            self._push()
            at = self._next()
            if at is None or at > until:
                break
            self.now = at
            self._read()
            self._know()
        self.now = until
        self._read()
        self._bill_by_engine()

    def _know(self) -> None:
        local = to_local(self.now, self.zone)
        is_billing = any(one.at == int(self.now.timestamp()) for one in self.model.billed[-20:])  # who is first in one second, nobody can say
        known = tuple(c for c in self.whole.changes if (at := to_local(c.made_at, self.zone)) < local or (at == local and not is_billing))
        if known != self.contract.changes:
            assert not unread(replace(self.wanted(), now=self.now - timedelta(minutes=11))), "the mirror lags"
            self.contract = replace(self.contract, changes=known)

    def wanted(self) -> Wanted:
        items = {key: item for key, item in self.items.items() if key in self.sent}
        return wanted_of(self.contract, self.now, self.held, facts=self.facts, sent=self.sent, items=items)

    def _push(self) -> None:
        plan = planned(self.wanted())
        self._carry_out(plan)
        again = planned(self.wanted())
        assert again.steps == (), f"asked again it sends {[s.name for s in again.steps]}"
        look = next_own(self.wanted(), self.held)
        assert look is None or look > self.now, "what was sent is not looked at again"

    def _carry_out(self, plan: Plan) -> None:
        self.plans += bool(plan.steps)
        results = self.model.carry_out(plan, int(self.now.timestamp()))
        self.held = _filled(plan.held, results)
        self.waited |= {line.key for line in plan.lines if line.is_pending}
        made = [step for step in plan.steps if step.call == "invoice_items.create"]
        self.items |= {step.params["metadata"]["connector_line"]: results[step.name]["id"] for step in made}
        deleted = {step.target for step in plan.steps if step.call == "invoice_items.delete"}
        for key in [*plan.dropped, *[key for key in self.sent if self.items.get(key) in deleted]]:
            self.sent.pop(key, None)
        self.sent |= {line.key: line for line in plan.lines}
        self._read()

    def _next(self) -> datetime | None:
        found = [next_own(self.wanted(), self.held)]
        found += [to_utc(to_local(c.made_at, self.zone), self.zone) for c in self.whole.changes]
        found += [datetime.fromtimestamp(at, UTC) for s in self.model.subs.values() if not s.is_ended for at in self.model._instants(s)]
        if any(to_local(c.made_at, self.zone) <= to_local(self.now, self.zone) and c not in self.contract.changes for c in self.whole.changes):
            found.append(self.now + timedelta(minutes=1))
        return min((at for at in found if at is not None and at > self.now), default=None)

    def _bill_by_engine(self) -> None:
        local = to_local(self.now, self.zone)
        self.engine += proposed(Slice(contract=self.contract, facts=tuple(self.engine)), local)

    # ------------------------------------------------------------------ the mirror

    def _read(self) -> None:
        self.model.advance(int(self.now.timestamp()))
        fresh, self.seen = self.model.billed[self.seen :], len(self.model.billed)
        for one in fresh:
            if not one.is_void:
                self._mirror(one)
        for line in Outlook(self.wanted()).lines:  # what is free bears nothing, and stands on Stripe's first invoice
            at = instant_billed(self.held, line) if self.held is not None else None
            if line.amount == 0 and at is not None and at <= self.now:
                self.facts.append(line)

    def _part(self, one: Billed) -> None:
        """Take a proration of Stripe's own for the line that was left to it, with Stripe's amount, which the second explains."""
        assert self.held is not None
        left = [x for g in self.held.groups for x in g.left if (x.item_id, x.kind) == (one.item_id, one.prorated) and x.key in self.sent and x.at <= one.began]
        assert left, f"Stripe prorated what nobody left to it: {one}"
        first = min(left, key=lambda x: x.at)
        assert abs(net_at(first, one.began) - one.net) <= 1, f"{first}: {one}"
        self.facts.append(at_net(self.sent.pop(first.key), one.net))
        self.left.add(first.key)
        groups = (replace(g, left=tuple(replace(x, began=one.began) if x.key == first.key else x for x in g.left)) for g in self.held.groups)
        self.held = replace(self.held, groups=tuple(groups))

    def _mirror(self, one: Billed) -> None:
        if one.prorated:
            self._part(one)
            return
        if one.line:
            line = self.sent.pop(one.line)
            assert line.net == one.net, f"{line.key}: {one.net} billed for {line.net}"
            self.facts.append(line)
            return
        lines = Outlook(self.wanted()).lines
        found = [x for x in lines if x.item_id == one.item_id and x.start.date() == one.start and is_stripes(self.held, x)]
        if not found and one.is_metered:
            return
        assert len(found) == 1, f"Stripe billed {one} where the engine has {[(x.key, x.net) for x in found]}"
        line = found[0]
        if not one.is_metered and line.net != one.net:  # a fixed discount was shared with what is a fact by now; Stripe's amount counts
            line = replace(line, amount=one.net, discounts=())
        self.facts.append(line)

    # ------------------------------------------------------------------ what it came to

    def compared(self, until: datetime) -> tuple[dict[str, int], dict[str, int]]:
        """Return the net amounts by key, the engine's and Stripe's, of everything due some days before the end."""
        local = to_local(until, self.zone) - timedelta(days=3)
        ours = {line.key: line.net for line in self.engine if line.amount and line.due <= local}
        theirs = {line.key: line.net for line in [*self.facts, *self.sent.values()] if line.amount and line.due <= local}
        return ours, theirs


def _filled(held: Held, results: dict[str, dict[str, Any]]) -> Held:
    groups = []
    for group in held.groups:
        for name, found in results.items():
            if name.startswith(f"{group.name}/") and name.partition("/")[2] in ("schedule", "phases", "begun"):
                schedule = found["id"] if name.endswith("/schedule") else group.schedule
                group = replace(group, schedule=schedule or group.schedule, subscription=found.get("subscription") or group.subscription)
            if name == f"{group.name}/ahead":
                group = replace(group, subscription=found["id"])
        groups.append(group)
    customer = results["customer"]["id"] if "customer" in results else held.customer
    return replace(held, groups=tuple(groups), customer=customer)


def lived(contract: Contract, made: datetime, until: datetime) -> Life:
    life = Life(contract, made)
    life.run(until)
    return life


def differences(life: Life, until: datetime, *, by_item: bool = False) -> Sequence[str]:
    """Return what differs between the two, in words; parts that were left to Stripe, and what gives them back, begin at another second there.

    by_item - only what each item came to counts: a contract made hours later knows more changes, and gives back less that it billed before.
    """
    ours, theirs = life.compared(until)
    behind = to_local(until, life.zone) - timedelta(days=3)  # what waits for the next invoice meets another one there than here
    groups = life.held.groups if life.held else ()
    waiting = {x.key for g in groups for x in g.left if x.key in life.sent and life.sent[x.key].is_pending}
    there = sorted([*life.facts, *life.sent.values()], key=lambda x: x.due)
    later = [line for line in [*there, *life.engine] if line.key in life.waited and line.due > behind]
    given_later = {line.credits for line in later} - {None}  # of these a part was given back there, and waits: the rest is less
    apart = life.left | waiting | {line.key for line in [*later, *[x for x in [*there, *life.engine] if x.credits in given_later]]}
    for line in there:
        if line.credits in apart:
            apart.add(line.key)
        apart |= _sent_before(life, line, ours, theirs)
    taken: dict[str, int] = {}
    for line in life.facts:
        if line.credits is not None:
            taken[line.credits] = taken.get(line.credits, 0) - line.net
    over = [f"{f.key}: {taken[f.key]} given back of {f.net}" for f in life.facts if f.kind == "charge" and 0 <= f.net < taken.get(f.key, 0)]
    lost = [f"{key}: never billed" for g in groups for x in g.left for key in [x.key] if key in life.sent and not life.sent[key].is_pending and life.sent[key].net]
    for key in apart:
        ours.pop(key, None)
        theirs.pop(key, None)
    slack: dict[str, float] = {}
    if by_item:
        for line in there:
            if line.key in life.waited and ours.get(line.key) != theirs.get(line.key):
                slack[line.item_id] = slack.get(line.item_id, 0) + _slack(life, line)
        ours, theirs = _by_item(ours), _by_item(theirs)
    more = {k: abs(theirs.get(k, 0) - ours.get(k, 0)) for k in ours.keys() | theirs.keys()}
    return over + lost + [f"{k}: engine {ours.get(k)}, Stripe {theirs.get(k)}" for k in sorted(more) if more[k] > slack.get(k, 0)]


def _sent_before(life: Life, line: Line, ours: Mapping[str, int], theirs: Mapping[str, int]) -> set[str]:
    """Return a charge and what gives it back, where it was sent to wait and the engine knew of the next change before its invoice.

    The engine bills the part that is left, Stripe the whole and takes back the rest.
    """
    back = [x.key for x in [*life.facts, *life.sent.values()] if x.credits == line.key and x.key not in ours and x.key in theirs]
    if line.key not in life.waited or line.kind != "charge" or not back or line.key not in theirs:
        return set()
    got = theirs[line.key] + sum(theirs[key] for key in back)
    return {line.key, *back} if abs(got - ours.get(line.key, 0)) <= _slack(life, line) else set()


def _slack(life: Life, line: Line) -> float:
    """Return by how much what waited and was changed before its invoice may differ: each part is rounded, and months and days do not add up."""
    is_additive = life.contract.terms.settings.proration != "month_and_day"
    return 1 if is_additive else 1 + abs(line.net) * (timedelta(days=3) / (line.end - line.start))


def _by_item(amounts: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, amount in amounts.items():
        item = key.split("/")[1]
        found[item] = found.get(item, 0) + amount
    return found
