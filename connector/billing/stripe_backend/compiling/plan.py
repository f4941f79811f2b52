"""The plan: the steps that bring Stripe from what it holds of a contract to what the contract says, in the order in which they are sent.

The same function serves a new contract, every change, and the daily run. Where nothing has to change it returns no steps.

Worked example: 10 seats at 30.00 a month from today. Steps: the customer, the product, its price, a schedule with one phase from now on; then
the subscription is looked at for its first invoice, which is finalized so that its page can be shown at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from connector.billing.stripe_backend.compiling import leaving, limits, noting
from connector.billing.stripe_backend.compiling.ahead import arranged
from connector.billing.stripe_backend.compiling.days import day_ahead, instant_of, moment, noon
from connector.billing.stripe_backend.compiling.groups import Group, current_phase, has_begun, is_over
from connector.billing.stripe_backend.compiling.outlook import Outlook
from connector.billing.stripe_backend.compiling.own import Items
from connector.billing.stripe_backend.compiling.owning import missed_of, own_of, put_back, waiting_items
from connector.billing.stripe_backend.compiling.people import (
    collection,
    known_rate_step,
    people_steps,
    rate_step,
    settings,
    subscribed,
    told_of,
)
from connector.billing.stripe_backend.compiling.prices import digest, price_steps
from connector.billing.stripe_backend.compiling.sending import (
    MOST_PHASES,
    bills_later_today,
    ends_first,
    held_phases,
    is_let_go,
    item_params,
    joined,
    phases_params,
    says_the_same,
)
from connector.billing.stripe_backend.compiling.wanted import Wanted
from connector.billing.stripe_backend.steps import Held, HeldGroup, Left, Plan, Ref, Step
from connector.core.lines import Line
from connector.errors import RejectedError

MOST_RIDERS = 20
_BEHAVIORS = {"credit": "void", "void": "void", "keep_as_draft": "keep_as_draft", "mark_uncollectible": "mark_uncollectible"}


def planned(wanted: Wanted) -> Plan:
    """Return the steps that bring Stripe to what is wanted, and what it holds then.

    Raises: RejectedError with everything at once that Stripe cannot hold.
    """
    return _Planning(wanted).plan()


class _Planning:
    """One plan in the making."""

    def __init__(self, wanted: Wanted) -> None:
        self.put_back = put_back(wanted)
        if self.put_back:
            wanted = replace(wanted, sent={key: line for key, line in wanted.sent.items() if key not in self.put_back})
        self.wanted = wanted
        self.outlook = Outlook(wanted)
        self.held = wanted.held or Held(contract_id=wanted.contract.id)
        self.steps: list[Step] = []
        self.shared: dict[str, Step] = {}
        self.lines: list[Line] = []
        self.claimed: set[str] = set()
        self.rider_home = ""
        self.is_billing_now = False
        self.leaves: Mapping[str, leaving.Leave] = {}
        self.metadata = {"connector_org": wanted.org, "connector_contract": wanted.contract.id, "connector_deal": wanted.deal[:500]}
        self.items = Items(self.outlook, self.metadata)
        self.details = replace(wanted.details, tax_exempt=wanted.tax.exempt) if wanted.tax.exempt != "none" else wanted.details
        self.how = digest(settings(wanted.how, automatic_tax=wanted.automatic_tax))

    def plan(self) -> Plan:
        """Return the plan."""
        for number, key in enumerate(sorted(self.put_back), 1):  # before anything ends that would bill them
            self.steps.append(Step(name=f"back/item-{number}", call="invoice_items.delete", target=self.wanted.items[key]))
        groups = [] if self.wanted.contract.withdrawn else arranged(self.outlook)
        self.claimed = {key for g in groups for key in g.laid.taken}
        self.rider_home = self._rider_home(groups)
        over = [g for g in self.held.groups if is_over(g, self.outlook)]
        mine = {g.name: g for g in groups}
        gone = [g for g in self.held.groups if g not in over and g.name not in mine]
        self.leaves = self._left_to_stripe(groups, gone)
        problem = limits.problem_of(self.outlook, groups, {line.key for leave in self.leaves.values() for line in leave.lines})
        if problem is not None:
            raise RejectedError(problem)
        kept = [*over, *(self._ended(g) for g in gone)]
        kept += [self._converged(g) for g in groups]
        held = self._pauses(replace(self.held, groups=tuple(kept)))
        if not self.wanted.contract.withdrawn:
            self._own(held)
        return self._whole(held)

    def _whole(self, held: Held) -> Plan:
        told = self.wanted.told if self.wanted.told.digest else replace(self.wanted.told, digest=self.held.told)
        people = people_steps(self.wanted.customer_id, self.details, self.wanted.org, told, customer=self.held.customer)
        if not self.steps and not (people and self.held.customer and self.held.told):
            return Plan(held=self.wanted.held or held)
        held = replace(held, told=told_of(self.wanted.customer_id, self.details, self.wanted.org))
        shared = [*self.shared.values(), *{s.name: s for s in self.items.shared if s.name not in self.shared}.values()]
        steps = [*people, *shared, *self.steps]
        gone = self.wanted.not_begun - {k for g in held.groups for p in g.phases for k in p.once}
        until = leaving.good_until(self.outlook) if self.leaves else None
        return Plan(steps=tuple(_in_order(steps)), held=held, lines=tuple(self.lines), dropped=tuple(sorted(gone)), until=until)

    def _customer(self) -> Any:
        return self.held.customer or Ref(step="customer")

    def _need(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.shared.setdefault(step.name, step)

    # ------------------------------------------------------------------ subscriptions

    def _left_to_stripe(self, groups: Sequence[Group], gone: Sequence[HeldGroup]) -> Mapping[str, leaving.Leave]:
        """Return what is left to Stripe's own proration, by subscription."""
        if self.wanted.contract.withdrawn or self.wanted.contract.terms.settings.proration != "second":
            return {}
        ending = [*gone, *(g.held for g in groups if g.held is not None and self._ends_now(g))]
        due = [line for line in own_of(self.outlook, self.held) if line.key not in self.claimed]
        found = leaving.leaves(self.outlook, groups, ending, due)
        for group in groups:
            leave = found.get(group.name)
            if leave is not None and leave.phase is not None:
                group.laid.stretches[0] = leave.phase
        return found

    def _left(self, old: HeldGroup) -> tuple[Left, ...]:
        """Note what is left to Stripe now, and return all that was in periods that still run."""
        leave = self.leaves.get(old.name)
        running = tuple(x for x in old.left if x.end > self.wanted.now.timestamp())
        if leave is None:
            return running
        self.lines += leave.lines
        return (*running, *leave.left)

    def _ends_now(self, group: Group) -> bool:
        ends = group.laid.end is not None and group.laid.end <= self.outlook.today and not self._goes_on(group)
        return ends or not group.laid.stretches

    def _converged(self, group: Group) -> HeldGroup:
        """Return a subscription as it is held after the steps that this adds."""
        old = group.held
        if old is None:
            return self._made(group) if group.ahead_to is None else self._made_ahead(group)
        if group.ahead_to is not None:
            return old
        if self._ends_now(group):
            is_told = bool(old.phases) and old.ends_with == "cancel" and old.phases[-1].end == group.laid.end
            return old if is_told else self._ended(old)
        phases = held_phases(group)
        riders = self._riders(group) if group.standing is None else []
        same_riders = [(r.key, r.net) for r in riders] == [(k, self.wanted.sent[k].net) for k in old.phases[0].once if k in self.wanted.sent]
        is_same = says_the_same(old, group, phases) and old.told == self.how and (group.standing is not None or same_riders)
        is_same = is_same and group.name not in self.leaves
        return old if is_same else self._updated(group, old, riders)

    def _goes_on(self, group: Group) -> bool:
        return any(s.start >= group.floor for s in group.laid.stretches)

    def _made(self, group: Group) -> HeldGroup:
        """Add the steps of a new subscription."""
        riders = self._riders(group)
        phases, end_behavior = phases_params(group, {**self.metadata, "connector_group": group.name})
        first = group.laid.stretches[0]
        if group.how != "past":
            phases[0]["proration_behavior"] = "create_prorations"
        if riders:
            phases[0]["add_invoice_items"] = [self.items.rider(line, group.at_time) for line in riders]
            self.lines += riders
        self._objects(group)
        params = {
            "customer": self._customer(), "start_date": instant_of(first.start, group.at_time), "end_behavior": end_behavior,
            "billing_mode": {"type": "flexible"}, "default_settings": settings(self.wanted.how, automatic_tax=self.wanted.automatic_tax),
            "phases": phases, "metadata": {**self.metadata, "connector_group": group.name},
        }  # fmt: skip
        name = f"{group.name}/schedule"
        self.steps.append(Step(name=name, call="subscription_schedules.create", params=params, keeps=("subscription",)))
        if moment(first.start, group.at_time) <= self.wanted.now:
            self.is_billing_now = self.is_billing_now or (group.how == "today" and not first.is_trial)
            self._finalized(group, Ref(step=name, path="subscription"))
        held = held_phases(group)
        held = (replace(held[0], once=tuple(r.key for r in riders)), *held[1:])
        return HeldGroup(
            name=group.name, interval=group.interval, at_time=group.at_time, anchor=first.anchor, since=group.floor if group.how != "future" else first.start,
            phases=held[:MOST_PHASES], ends_with=end_behavior, told=self.how, bills_from=group.floor if group.how == "past" else first.start,  # type: ignore[arg-type]
        )  # fmt: skip

    def _made_ahead(self, group: Group) -> HeldGroup:
        """Add the steps of a plain subscription that bills the periods ahead with its first invoice, by itself."""
        assert group.ahead_to is not None
        riders = self._riders(group)
        (stretch,), laid = group.laid.stretches, group.laid
        self._objects(group)
        start = instant_of(stretch.start, group.at_time)
        params: dict[str, Any] = {
            "customer": self._customer(), "items": [item_params(e) for e in stretch.entries], "backdate_start_date": start,
            "billing_mode": {"type": "flexible"}, "proration_behavior": "always_invoice",
            "billing_schedules": [{"bill_until": {"type": "timestamp", "timestamp": instant_of(group.ahead_to, group.at_time)}}],
            "discounts": [{"coupon": c.id} for c in stretch.coupons] or "",
            **subscribed(self.wanted.how, automatic_tax=self.wanted.automatic_tax), "metadata": {**self.metadata, "connector_group": group.name},
        }  # fmt: skip
        if laid.end is not None:
            params["cancel_at"] = instant_of(laid.end, group.at_time)
        if riders:
            params["add_invoice_items"] = [self.items.rider(line, group.at_time) for line in riders]
            self.lines += riders
        name = f"{group.name}/ahead"
        self.steps.append(Step(name=name, call="subscriptions.create", params=params))
        self._finalized(group, Ref(step=name))  # it should be final already; one that is counts as done
        (held,) = held_phases(group)
        return HeldGroup(
            name=group.name, interval=group.interval, at_time=group.at_time, anchor=stretch.anchor, since=group.floor, told=self.how,
            phases=(replace(held, once=tuple(r.key for r in riders)),), ends_with="release" if laid.end is None else "cancel",
            bills_from=stretch.start, ahead_to=group.ahead_to,
        )  # fmt: skip

    def _finalized(self, group: Group, subscription: Ref) -> None:
        """Finalize the first invoice, so that it has its page at once; what begins without a charge has none."""
        how = self.wanted.contract.terms.trial_missing_payment
        if group.laid.stretches[0].is_trial and how != "create_invoice":
            ending = {"end_behavior": {"missing_payment_method": how}}
            self.steps.append(
                Step(name=f"{group.name}/trial", call="subscriptions.update", target=subscription, params={"trial_settings": ending}, needs=subscription)
            )
        if group.how == "past":
            return
        look = f"{group.name}/subscription"
        self.steps.append(Step(name=look, call="subscriptions.retrieve", target=subscription, keeps=("latest_invoice",), needs=subscription))
        invoice = Ref(step=look, path="latest_invoice")
        self.steps.append(
            Step(name=f"{group.name}/finalize", call="invoices.finalize_invoice", target=invoice, params={"auto_advance": True}, needs=invoice)
        )

    def _objects(self, group: Group) -> None:
        """Note the prices, coupons and rates that the phases need."""
        for stretch in group.laid.stretches[:MOST_PHASES]:
            for entry in stretch.entries:
                self._need(price_steps(entry.shown))
                self._need(c.step() for c in entry.cuts)
                self._need(rate_step(r) for r in entry.taxes)
                self._need(known_rate_step(key) for key in entry.rates)
            self._need(c.step() for c in stretch.coupons)

    def _updated(self, group: Group, old: HeldGroup, riders: Sequence[Line]) -> HeldGroup:
        """Add the steps that give a schedule all its current and future phases anew."""
        phases, end_behavior = phases_params(group, {**self.metadata, "connector_group": group.name})
        if riders:
            phases[0]["add_invoice_items"] = [self.items.rider(line, group.at_time) for line in riders]
            self.lines += riders
        if group.standing is None:
            phases[0]["proration_behavior"] = "create_prorations"
        self._objects(group)
        leave = self.leaves.get(group.name)
        schedule: str | Ref = old.schedule
        start: int | Ref = instant_of(group.laid.stretches[0].start, group.at_time)
        if is_let_go(old, self.outlook.today):
            name = f"{group.name}/schedule"
            self.steps.append(
                Step(name=name, call="subscription_schedules.create", params={"from_subscription": old.subscription}, keeps=("phases.0.start_date",))
            )
            schedule, start = Ref(step=name), Ref(step=name, path="phases.0.start_date")
        phases[0] = {"start_date": start, **phases[0]}
        params = {
            "phases": phases, "end_behavior": end_behavior, "proration_behavior": leave.behavior if leave is not None else "none",
            "default_settings": settings(self.wanted.how, automatic_tax=self.wanted.automatic_tax),
            "metadata": {**self.metadata, "connector_group": group.name},
        }  # fmt: skip
        self.steps.append(
            Step(name=f"{group.name}/phases", call="subscription_schedules.update", target=schedule, params=params, keeps=("subscription",))
        )
        if leave is not None and leave.behavior == "always_invoice":
            self._invoiced_now(group.name, old.subscription or Ref(step=f"{group.name}/phases", path="subscription"))
        new = held_phases(group)[:MOST_PHASES]
        new = (replace(new[0], once=tuple(r.key for r in riders)), *new[1:])
        kept = joined(old.phases, new, group.floor) if group.standing is not None else new
        from_day = new[0].start if group.standing is None else old.bills_from
        return replace(old, phases=kept, since=group.floor, ends_with=end_behavior, told=self.how, bills_from=from_day, left=self._left(old), let_go=False)  # type: ignore[arg-type]

    def _invoiced_now(self, name: str, subscription: str | Ref) -> None:
        """Let the invoice that Stripe made of its proration have its page at once, and be collected as any other: Stripe would not go on with it."""
        look = f"{name}/prorated"
        self.steps.append(Step(name=look, call="subscriptions.retrieve", target=subscription, keeps=("latest_invoice",)))
        invoice = Ref(step=look, path="latest_invoice")
        self.steps.append(Step(name=f"{name}/finalize", call="invoices.finalize_invoice", target=invoice, params={"auto_advance": True}, needs=invoice))
        self.steps.append(Step(name=f"{name}/collect", call="invoices.update", target=invoice, params={"auto_advance": True}, needs=invoice))

    def _ended(self, old: HeldGroup) -> HeldGroup:
        """Add the step that ends a subscription now; Stripe credits its unused time only where that is left to it.

        What waits on it for the next invoice, and usage up to now, goes on a final one: Stripe would leave either unbilled.
        """
        is_let = is_let_go(old, self.outlook.today)
        call = "subscriptions.cancel" if is_let else "subscription_schedules.cancel"
        final = has_begun(old, self.outlook) and self._is_open(old)
        is_left = old.name in self.leaves
        subscription = self._subscription(old) if is_left else ""
        params = {"invoice_now": final or is_left, "prorate": is_left}
        self.steps.append(Step(name=f"{old.name}/cancel", call=call, target=old.subscription if is_let else old.schedule, params=params))
        if is_left:
            self._invoiced_now(old.name, subscription)
        today = self.wanted.now.date()
        if not has_begun(old, self.outlook):
            return replace(old, phases=(), ends_with="cancel", is_over=True)
        phases = joined(old.phases, (), _ended_on(old, today, self.wanted))
        return replace(old, phases=phases, ends_with="cancel", is_over=True, left=self._left(old))

    def _is_open(self, group: HeldGroup) -> bool:
        """Whether something of a subscription is still to be billed when it ends: items of ours that wait, or usage."""
        is_metered = any(item.is_metered for phase in group.phases for item in phase.items)
        return is_metered or any(line.is_pending for line in self.wanted.sent.values())

    # ------------------------------------------------------------------ our own lines

    def _rider_home(self, groups: Sequence[Group]) -> str:
        """Return the subscription with whose start our lines are billed that fall due then: the one that bears them already, else the first."""
        found = [g for g in groups if g.standing is None and g.laid.stretches]
        return next((g.name for g in [*filter(_bears, found), *found]), "")

    def _riders(self, group: Group) -> list[Line]:
        """Return the lines of ours that are billed with the start of a subscription: what is due by then, once it was sent so."""
        if group.name != self.rider_home or not group.laid.stretches:
            return []
        start = group.laid.stretches[0].start
        if group.how == "today" or (start == self.outlook.today and _bears(group)):
            found = [line for line in self.outlook.due if not line.is_pending]
        elif start == self.wanted.contract.terms.start.date():
            found = [line for line in self.outlook.lines if line.due.date() == start]
        else:
            return []
        return [line for line in found if line.amount and line.key not in self.claimed and not noting.is_noted(self.outlook, line)][:MOST_RIDERS]

    def _own(self, held: Held) -> None:
        """Add our own items: waiting ones on a subscription, all others on an invoice of their own; credits before them where they are notes."""
        riding = {line.key for line in self.lines}
        due = [line for line in own_of(self.outlook, held) if line.key not in riding]
        back, due = [x for x in due if noting.is_noted(self.outlook, x)], [x for x in due if not noting.is_noted(self.outlook, x)]
        host = self._host(held)
        missed = missed_of(self.outlook, held, due)
        waiting = [line for line in due if host is not None and line not in missed and (line.due > self.outlook.local or host[1])]
        is_next_today = host is None and self._begins_today(held)
        now = [line for line in due if line not in waiting and (line.due <= self.outlook.local or is_next_today or line in missed)]
        at_time = noon(self.wanted.contract.terms.timezone)
        taken = self._taken_along() if now or self.is_billing_now else []
        if taken or now:
            now, waiting = [replace(line, is_pending=False) for line in (*taken, *now, *waiting)], []
        self._noted([line for line in back if now or self.is_billing_now or line.due <= self.outlook.local])
        for number, line in enumerate(waiting, 1):
            assert host is not None
            where = {"subscription": self._subscription(host[0])}
            self.steps.append(Step(name=f"pending/item-{number}", call="invoice_items.create", params=self.items.item(line, self._customer(), at_time, where)))
        if now:
            self._invoice(now, at_time, taken)
            self._prorations_taken_along(held)
        self.lines += [*waiting, *now]

    def _noted(self, back: Sequence[Line]) -> None:
        """Add the credit notes that give back what is due; an invoice of ours comes after them, so that it uses their balance up."""
        notes = noting.noted(self.outlook, back)
        memos = ["; ".join(self.items.description(line) for line, _ in note)[:500] for note in notes]
        self.steps += noting.note_steps(self.outlook, notes, memos, self.metadata)
        self.lines += [line for note in notes for line, _ in note]

    def _taken_along(self) -> list[Line]:
        """Return the lines of ours that wait for the next invoice, where it comes at once: as on the internal engine, it takes them along."""
        return waiting_items(self.wanted)

    def _prorations_taken_along(self, held: Held) -> None:
        """Add invoices of what Stripe's own prorations left waiting: it bills them beside ours, where nothing else of theirs is billed now."""
        sent = self.wanted.sent
        for group in held.groups:
            is_waiting = any(x.key in sent and sent[x.key].is_pending for x in group.left)
            if not is_waiting or group.name in self.leaves or is_over(group, self.outlook) or self.wanted.automatic_tax:
                continue  # with automatic tax no invoice of ours may have the negative ones among them
            params = {
                "customer": self._customer(), "subscription": self._subscription(group), "pending_invoice_items_behavior": "include",
                "auto_advance": True, **collection(self.wanted.how), "metadata": self.metadata,
            }  # fmt: skip
            name = f"{group.name}/waiting"
            self.steps.append(Step(name=name, call="invoices.create", params=params))
            self.steps.append(Step(name=f"{name}/finalize", call="invoices.finalize_invoice", target=Ref(step=name), params={"auto_advance": True}))

    def _begins_today(self, held: Held) -> bool:
        """Whether a subscription begins later today: its first invoice is the next one, and nothing can wait on it yet."""
        ahead = [g for g in held.groups if not is_over(g, self.outlook) and not has_begun(g, self.outlook)]
        return any((g.phases[0].began or g.phases[0].start) == self.outlook.today for g in ahead)

    def _host(self, held: Held) -> tuple[HeldGroup, bool] | None:
        """Return the subscription whose next invoice comes first, and whether that is today; none that ends before it."""
        ahead = [g for g in held.groups if not is_over(g, self.outlook) and has_begun(g, self.outlook) and not g.is_paused]
        found = []
        for group in ahead:
            phase = current_phase(group, self.outlook)
            today = self.wanted.now.date()
            if phase is not None and phase.kind != "trial" and not ends_first(group, phase, today):
                is_today = moment(today, group.at_time) > self.wanted.now and today == self.outlook.today and bills_later_today(group, phase, today)
                found.append((not is_today, group.interval.unit == "year", group.name, group, is_today))
        return min(found, key=lambda f: f[:3])[3:] if found else None

    def _subscription(self, group: HeldGroup) -> str | Ref:
        """Return the id of a subscription, asking for it where only its schedule is known."""
        if group.subscription:
            return group.subscription
        ahead = f"{group.name}/ahead"
        if any(s.name == ahead for s in self.steps):
            return Ref(step=ahead)
        made = f"{group.name}/schedule"
        if any(s.name == made for s in self.steps):
            return Ref(step=made, path="subscription")
        name = f"{group.name}/begun"
        if not any(s.name == name for s in self.steps):
            self.steps.append(Step(name=name, call="subscription_schedules.retrieve", target=group.schedule, keeps=("subscription",)))
        return Ref(step=name, path="subscription")

    def _invoice(self, lines: Sequence[Line], at_time: str, taken: Sequence[Line]) -> None:
        """Add an invoice of ours with these lines, finalized at once; those that were *taken* along wait no more."""
        params = {
            "customer": self._customer(), "currency": self.outlook.currency, "auto_advance": False, "pending_invoice_items_behavior": "exclude",
            **collection(self.wanted.how), "metadata": self.metadata,
        }  # fmt: skip
        if self.wanted.automatic_tax:
            params["automatic_tax"] = {"enabled": True}
        self.steps.append(Step(name="own/invoice", call="invoices.create", params=params))
        invoice = Ref(step="own/invoice")
        for number, line in enumerate(lines, 1):
            item = self.items.item(line, self._customer(), at_time, {"invoice": invoice})
            self.steps.append(Step(name=f"own/item-{number}", call="invoice_items.create", params=item))
        for number, line in enumerate(taken, 1):
            self.steps.append(Step(name=f"own/taken-{number}", call="invoice_items.delete", target=self.wanted.items[line.key]))
        self.steps.append(Step(name="own/finalize", call="invoices.finalize_invoice", target=invoice, params={"auto_advance": True}))

    # ------------------------------------------------------------------ pauses

    def _pause_of(self, group: HeldGroup) -> tuple[str, date | None] | None:
        """Return how a subscription is to be paused now and until when, None where it collects.

        A pause that begins (or ends) within a day counts already, if nothing is billed before: the boundary of its first day must meet it.
        """
        local, soon = self.outlook.local, timedelta(days=1)
        ahead = day_ahead(self.wanted.now, group.at_time)
        for start, end, how in self.outlook.plan.pauses:
            begins = start <= local or (start - local <= soon and start.date() <= ahead)
            ends = end is not None and (end <= local or (end - local <= soon and end.date() <= ahead))
            if begins and not ends:
                return _BEHAVIORS[how], end.date() if end is not None else None
        return None

    def _pauses(self, held: Held) -> Held:
        """Add the steps that let running subscriptions collect nothing, or collect again."""
        groups = []
        for group in held.groups:
            pause = None if is_over(group, self.outlook) or not has_begun(group, self.outlook) else self._pause_of(group)
            if group.is_paused != (pause is not None) and not is_over(group, self.outlook):
                params: dict[str, Any] = {"pause_collection": ""}
                if pause is not None:
                    params = {"pause_collection": {"behavior": pause[0]}}
                    if pause[1] is not None:
                        params["pause_collection"]["resumes_at"] = instant_of(pause[1], group.at_time) - 60
                name = f"{group.name}/{'pause' if pause is not None else 'resume'}"
                self.steps.append(Step(name=name, call="subscriptions.update", target=self._subscription(group), params=params))
                group = replace(group, is_paused=pause is not None)
            groups.append(group)
        return replace(held, groups=tuple(groups))


def _bears(group: Group) -> bool:
    """Whether lines of ours were sent with a subscription's start."""
    return group.held is not None and any(p.once for p in group.held.phases)


def _ended_on(group: HeldGroup, today: date, wanted: Wanted) -> date:
    """Return the day up to which an ended subscription has billed: today's boundary, if it has passed, was billed."""
    return today + timedelta(days=1) if moment(today, group.at_time) <= wanted.now else today


_CALLS = {"products.create": 0, "billing.meters.create": 1, "prices.create": 2, "coupons.create": 2, "tax_rates.create": 2}


def _in_order(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with what others need first; everything else in its order."""
    first = [s for s in steps if s.name == "customer"]
    shared = sorted((s for s in steps if s.shared is not None and s.name != "customer"), key=lambda s: _CALLS.get(s.call, 3))
    return [*first, *shared, *(s for s in steps if s.shared is None)]
