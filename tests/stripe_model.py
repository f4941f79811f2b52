"""A tiny model of what Stripe does with the steps of a plan, in civil instants: phases, periods, items; independent of the compiler and the look-alike.

It knows whole periods at a price, coupons on an item or a phase, and that nothing is prorated but what an update or a cancellation says. Every step is
checked against the SDK's types.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from stripe_wire import validated

from connector.billing.stripe_backend.steps import Plan, Ref, Step


@dataclass(kw_only=True)
class ItemOf:
    price: str
    item_id: str
    quantity: int | None
    coupons: list[str]
    start: int = 0
    end: int = 0
    debits: list[tuple[int, int, int]] = field(default_factory=list)
    """What was charged for it and not given back: from, to, net."""


@dataclass(kw_only=True)
class Sub:
    schedule: str
    id: str = ""
    phases: list[dict[str, Any]] = field(default_factory=list)
    end_behavior: str = "release"
    at: int = -1
    anchor: int = 0
    items: list[ItemOf] = field(default_factory=list)
    coupons: list[str] = field(default_factory=list)
    trial_end: int | None = None
    is_ended: bool = False
    is_paused: bool = False
    resumes_at: int | None = None
    pending: dict[str, Billed] = field(default_factory=dict)
    prorated: list[Billed] = field(default_factory=list)


@dataclass(kw_only=True)
class Billed:
    """A line that was billed: at an instant, by a subscription (item id and start of the period) or by an item of ours (line key).

    prorated - credit or charge of Stripe's own proration, which begins at *began*.
    """

    at: int
    net: int
    item_id: str = ""
    start: date | None = None
    line: str = ""
    is_metered: bool = False
    is_void: bool = False
    prorated: str = ""
    began: int = 0


def _shift(anchor: int, every: tuple[str, int], k: int) -> int:
    base = datetime.fromtimestamp(anchor, UTC)
    unit, count = every
    if unit in ("day", "week"):
        return int((base + timedelta(days=(7 if unit == "week" else 1) * count * k)).timestamp())
    months = base.year * 12 + base.month - 1 + (12 if unit == "year" else 1) * count * k
    year, month = divmod(months, 12)
    return int(base.replace(year=year, month=month + 1, day=min(base.day, monthrange(year, month + 1)[1])).timestamp())


def next_after(anchor: int, every: tuple[str, int], at: int) -> int:
    """Return the first boundary after an instant."""
    days = {"day": 1, "week": 7, "month": 30.4, "year": 365}[every[0]] * every[1]
    k = int((at - anchor) / 86400 / days) - 2
    while _shift(anchor, every, k) <= at:
        k += 1
    return _shift(anchor, every, k)


def next_before(anchor: int, every: tuple[str, int], at: int) -> int:
    """Return the last boundary up to an instant."""
    k = int((at - anchor) / 86400 / ({"day": 1, "week": 7, "month": 30.4, "year": 365}[every[0]] * every[1])) + 2
    while _shift(anchor, every, k) > at:
        k -= 1
    return _shift(anchor, every, k)


class Model:
    """Stripe, as far as plans use it."""

    def __init__(self) -> None:
        self.results: dict[str, dict[str, Any]] = {}
        self.prices: dict[str, Mapping[str, Any]] = {}
        self.price_ids: dict[str, str] = {}
        self.coupons: dict[str, Mapping[str, Any]] = {}
        self.subs: dict[str, Sub] = {}
        self.invoices: dict[str, list[Billed]] = {}
        self.billed: list[Billed] = []
        self.currency = ""
        self.now = 0
        self.count = 0

    # ------------------------------------------------------------------ steps

    def carry_out(self, plan: Plan, now: int) -> dict[str, dict[str, Any]]:
        """Carry out the steps of a plan and return their results by name."""
        self.now, self.results = now, {}
        for step in plan.steps:
            if step.needs is not None and not self._resolved(step.needs):
                self.results[step.name] = {"id": None, "latest_invoice": None}
                continue
            params = self._resolved(step.params)
            if step.shared is None or set(params) not in ({"lookup_key"}, {"metadata"}):  # of what is there already only the key is known
                validated(step.call, params)
            self.results[step.name] = self._do(step, params, self._resolved(step.target))
        return self.results

    def check(self, plan: Plan) -> None:
        """Check the parameters of a plan alone, whatever it goes on from."""
        names = {step.name for step in plan.steps}
        for step in plan.steps:
            self.results = {name: _Anything() for name in names}
            validated(step.call, self._resolved(step.params))

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, Ref):
            found: Any = self.results[value.step]
            for part in value.path.split("."):
                found = found[int(part)] if part.isdigit() else found.get(part)
            return found
        if isinstance(value, Mapping):
            return {k: self._resolved(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._resolved(v) for v in value]
        return value

    def _id(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}_{self.count}"

    def _do(self, step: Step, params: dict[str, Any], target: Any) -> dict[str, Any]:
        call = step.call
        if call == "prices.create":
            key = params["lookup_key"]
            if key not in self.price_ids:
                assert len(params) > 1, f"the price {key} was never made"
                self.price_ids[key] = self._id("price")
                self.prices[self.price_ids[key]] = params
            return {"id": self.price_ids[key]}
        if call == "coupons.create":
            self.coupons[params["id"]] = params
            return {"id": params["id"]}
        if call == "invoices.create":
            id_ = self._id("in")
            self.invoices[id_] = self._waiting(params["subscription"]) if "subscription" in params else []
            return {"id": id_}
        if call == "invoice_items.create":
            return self._item(params)
        if call == "invoice_items.delete":
            sub = next(s for s in self.subs.values() if target in s.pending)
            del sub.pending[target]
            return {"id": target}
        if call == "invoices.finalize_invoice":
            self.billed += [replace(one, at=self.now) for one in self.invoices.pop(target, ())]
            return {"id": target}
        if call == "subscriptions.create":
            return self._ahead(params)
        if call.startswith(("subscription_schedules.", "subscriptions.")):
            return self._schedule(call.partition(".")[2], call, params, target)
        return {"id": params.get("id") or self._id(call.split(".")[0])}

    def _item(self, params: dict[str, Any]) -> dict[str, Any]:
        assert params["currency"] == (self.currency or params["currency"])
        id_, line = self._id("ii"), Billed(at=0, net=params["amount"], line=params["metadata"]["connector_line"])
        if "invoice" in params:
            self.invoices[params["invoice"]].append(line)
        else:
            sub = next(s for s in self.subs.values() if s.id == params["subscription"])
            assert not sub.is_ended, "an item waits on a subscription that has ended"
            sub.pending[id_] = line
        return {"id": id_}

    def _waiting(self, subscription: str) -> list[Billed]:
        """Return what waits on a subscription, which waits no more."""
        sub = next(s for s in self.subs.values() if s.id == subscription)
        found = [*sub.prorated, *sub.pending.values()]
        sub.prorated, sub.pending = [], {}
        assert found, "nothing waits for this invoice"
        return found

    def _ahead(self, params: dict[str, Any]) -> dict[str, Any]:
        """Begin a subscription without a schedule that bills its periods up to a day with its first invoice."""
        start, (schedule,) = params["backdate_start_date"], params["billing_schedules"]
        until = schedule["bill_until"]["timestamp"]
        assert until <= params.get("cancel_at", until)
        sub = Sub(schedule="", id=self._id("sub"), at=0, anchor=start, end_behavior="cancel")
        self.subs[sub.id] = sub
        if "cancel_at" in params:
            sub.phases = [{"start_date": start, "end_date": params["cancel_at"], "items": None}]
        self._dress(sub, params, start, is_entered=True)
        periods = []
        for item in sub.items:
            item.start = item.end = start
            while item.end < until:
                item.start, item.end = item.end, next_after(sub.anchor, self._every(item), item.end)
                periods.append(ItemOf(**vars(item)))
        self._bill(sub, start, periods, riders=params.get("add_invoice_items", ()))
        return {"id": sub.id, "latest_invoice": None}

    def _schedule(self, verb: str, call: str, params: dict[str, Any], target: Any) -> dict[str, Any]:
        if call == "subscription_schedules.create" and "from_subscription" in params:
            sub = next(s for s in self.subs.values() if s.id == params["from_subscription"])
            sub.schedule = self._id("sched")
            sub.phases = [{"start_date": min(i.start for i in sub.items), "items": None}]
            sub.at = 0
            return {"id": sub.schedule, "phases": sub.phases}
        if call == "subscription_schedules.create":
            sub = Sub(schedule=self._id("sched"), end_behavior=params["end_behavior"])
            self.subs[sub.schedule] = sub
            sub.phases = _chained(params["phases"], params["start_date"])
            assert params["start_date"] <= self.now or sub.phases[0]["start_date"] > self.now
            if params["start_date"] <= self.now:
                self._begin(sub)
            return {"id": sub.schedule, "subscription": sub.id or None}
        sub = next(s for s in self.subs.values() if target in (s.schedule, s.id))
        if verb == "update" and call.startswith("subscription_schedules"):
            self._update(sub, params)
        elif verb == "cancel":
            assert not sub.is_ended
            if params["prorate"]:
                assert not [*sub.pending, *sub.prorated], "with both, Stripe takes away what waits"
                for item in sub.items:
                    self._credited(sub, item)
            sub.is_ended = True
            assert params["invoice_now"] or not (sub.pending or sub.prorated), "items wait on a subscription that is canceled"
            self._bill(sub, self.now, [])
        elif verb == "update" and "pause_collection" in params:
            sub.is_paused = bool(params["pause_collection"])
            sub.resumes_at = (params["pause_collection"] or {}).get("resumes_at")
        return {"id": target, "subscription": sub.id or None, "latest_invoice": None}

    def _update(self, sub: Sub, params: dict[str, Any]) -> None:
        assert not sub.is_ended, "an ended schedule cannot be changed"
        phases = _chained(params["phases"], params["phases"][0]["start_date"])
        sub.end_behavior = params["end_behavior"]
        if sub.at < 0:
            sub.phases = phases
            if phases[0]["start_date"] <= self.now:
                self._begin(sub)
            return
        assert phases[0]["start_date"] == sub.phases[sub.at]["start_date"], "the running phase keeps its start"
        assert phases[0]["end_date"] > self.now, "the running phase does not end in the past"
        sub.phases, sub.at = phases, 0
        before, coupons = [ItemOf(**vars(i)) for i in sub.items], sub.coupons
        self._dress(sub, phases[0], self.now, is_entered=False)
        if params["proration_behavior"] != "none":
            assert coupons == sub.coupons, "what is prorated keeps its discounts"
            self._prorate(sub, before)
        if params["proration_behavior"] == "always_invoice":
            self._bill(sub, self.now, [])

    def _prorate(self, sub: Sub, before: list[ItemOf]) -> None:
        """Credit what was debited for items that changed, and charge the rest of their periods anew: by the second, each rounded on its own."""
        here = {i.price: i for i in sub.items}
        for item in before:
            now = here.pop(item.price, None)
            if now is None or now.quantity != item.quantity:
                assert now is None or now.coupons == item.coupons
                self._credited(sub, item)
                if now is not None:
                    self._debited(sub, now)
        for item in here.values():
            self._debited(sub, item)

    def _credited(self, sub: Sub, item: ItemOf) -> None:
        for start, end, net in item.debits:
            amount = _round(Decimal(net) * (end - self.now) / (end - start)) if end > self.now else 0
            if amount:
                sub.prorated.append(Billed(at=0, net=-amount, item_id=item.item_id, prorated="credit", began=self.now))

    def _debited(self, sub: Sub, item: ItemOf) -> None:
        assert not self._is_metered(item)
        low = next_before(sub.anchor, self._every(item), self.now)
        net = _round(Decimal(self._net(sub, item)) * (item.end - self.now) / (item.end - low))
        item.debits = [(self.now, item.end, net)]
        sub.prorated.append(Billed(at=0, net=net, item_id=item.item_id, prorated="charge", began=self.now))

    # ------------------------------------------------------------------ time

    def _begin(self, sub: Sub) -> None:
        sub.id, sub.at = self._id("sub"), 0
        phase = sub.phases[0]
        start = phase["start_date"]
        sub.anchor = start
        self._dress(sub, phase, start, is_entered=True)
        for item in sub.items:
            item.start, item.end = start, start
        if sub.trial_end is not None:
            for item in sub.items:
                item.end = sub.trial_end
            self._bill(sub, start, [])
            return
        is_silent = phase["proration_behavior"] == "none" and start < self.now
        lines = []
        for item in sub.items:
            item.end = next_after(sub.anchor, self._every(item), start)
            assert item.end > self.now or is_silent, "a start so far back bills several periods"
            while item.end <= self.now:
                item.start, item.end = item.end, next_after(sub.anchor, self._every(item), item.end)
            if not is_silent and not self._is_metered(item):
                lines.append(item)
        if not is_silent:
            self._bill(sub, start, lines, riders=phase.get("add_invoice_items", ()))
        else:
            assert not phase.get("add_invoice_items")

    def _every(self, item: ItemOf) -> tuple[str, int]:
        recurring = self.prices[item.price]["recurring"]
        return recurring["interval"], recurring["interval_count"]

    def _is_metered(self, item: ItemOf) -> bool:
        return bool(self.prices[item.price]["recurring"].get("usage_type") == "metered")

    def _dress(self, sub: Sub, phase: dict[str, Any], at: int, *, is_entered: bool) -> None:
        old = {i.price: i for i in sub.items}
        sub.items = []
        for given in phase["items"]:
            item = ItemOf(price=given["price"], item_id=given["metadata"]["connector_item"], quantity=given.get("quantity"), coupons=[d["coupon"] for d in given.get("discounts", ())])
            before = old.get(item.price)
            if before is not None:
                item.start, item.end, item.debits = before.start, before.end, before.debits
            else:
                item.start = at
                item.end = at if next_after(sub.anchor, self._every(item), at - 1) == at and is_entered else next_after(sub.anchor, self._every(item), at)
            sub.items.append(item)
        sub.coupons = [d["coupon"] for d in phase["discounts"] or ()]
        sub.trial_end = phase["end_date"] if phase.get("trial") else None
        if sub.trial_end is not None:
            for item in sub.items:
                item.end = sub.trial_end

    def advance(self, until: int) -> None:
        """Do everything that falls due up to an instant."""
        while True:
            found = min((at for s in self.subs.values() if not s.is_ended for at in self._instants(s)), default=None)
            if found is None or found > until:
                return
            self.now = found
            for sub in self.subs.values():
                if not sub.is_ended and found in list(self._instants(sub)):
                    self._at(sub, found)

    def _instants(self, sub: Sub) -> Iterator[int]:
        if sub.at < 0:
            yield sub.phases[0]["start_date"]
            return
        if sub.at < len(sub.phases):
            yield sub.phases[sub.at]["end_date"]
        if sub.resumes_at is not None:
            yield sub.resumes_at
        yield from (i.end for i in sub.items)

    def _at(self, sub: Sub, at: int) -> None:
        if sub.at < 0:
            self._begin(sub)
            return
        if sub.resumes_at is not None and sub.resumes_at <= at:
            sub.is_paused, sub.resumes_at = False, None
        was_trial = sub.trial_end is not None and sub.trial_end <= at
        if was_trial:
            sub.anchor, sub.trial_end = at, None
        riders = self._turn(sub, at)
        if not sub.is_ended:
            self._renew(sub, at, riders, was_trial=was_trial)

    def _turn(self, sub: Sub, at: int) -> Any:
        """Enter the next phase, if it is time, and return what is billed with its start."""
        if sub.at >= len(sub.phases) or sub.phases[sub.at]["end_date"] > at:
            return ()
        sub.at += 1
        if sub.at == len(sub.phases):
            if sub.end_behavior == "cancel":
                sub.is_ended = True
                self._bill(sub, at, [], ended=[i for i in sub.items if self._is_metered(i) and i.start < at])
            return ()
        phase = sub.phases[sub.at]
        assert phase["proration_behavior"] == "none"
        if phase.get("billing_cycle_anchor") == "phase_start":
            sub.anchor = at
            for item in sub.items:
                item.end = at
        self._dress(sub, phase, at, is_entered=True)
        return phase.get("add_invoice_items", ())

    def _renew(self, sub: Sub, at: int, riders: Any, *, was_trial: bool) -> None:
        lines, used = [], []
        for item in sub.items:
            if item.end <= at:
                if self._is_metered(item) and item.start < at and not was_trial:
                    used.append(ItemOf(**vars(item)))
                item.start, item.end = at, next_after(sub.anchor, self._every(item), at)
                if sub.trial_end is not None:
                    item.end = sub.trial_end
                elif not self._is_metered(item):
                    lines.append(item)
        if lines or used or riders:
            self._bill(sub, at, lines, ended=used, riders=riders)

    def _bill(self, sub: Sub, at: int, items: list[ItemOf], *, ended: Any = (), riders: Any = ()) -> None:
        for item in items:
            net = self._net(sub, item)
            item.debits = [(item.start, item.end, net)]
            self.billed.append(Billed(at=at, net=net, item_id=item.item_id, start=_day(item.start), is_void=sub.is_paused))
        for item in ended:
            self.billed.append(Billed(at=at, net=0, item_id=item.item_id, start=_day(item.start), is_metered=True, is_void=sub.is_paused))
        for rider in riders:
            self.billed.append(Billed(at=at, net=rider["price_data"]["unit_amount"] * rider["quantity"], line=rider["metadata"]["connector_line"]))
        if sub.is_paused:
            return
        self.billed += [replace(one, at=at) for one in (*sub.prorated, *sub.pending.values())]
        sub.prorated, sub.pending = [], {}

    def _net(self, sub: Sub, item: ItemOf) -> int:
        left = _amount(self.prices[item.price], item.quantity or 0)
        for id_ in (*item.coupons, *sub.coupons):
            coupon = self.coupons[id_]
            if "percent_off" in coupon:
                left -= _round(left * Decimal(str(coupon["percent_off"])) / 100)
            else:
                assert id_ in item.coupons, "a fixed amount stands on a line"
                left -= min(left, coupon["amount_off"])
        return left


class _Anything(dict[str, Any]):
    """An answer that has every path."""

    def get(self, key: str, default: Any = None) -> Any:
        return f"{key}_of_a_step"


def _chained(phases: list[dict[str, Any]], start: int) -> list[dict[str, Any]]:
    found = []
    for phase in phases:
        assert phase["end_date"] > start, "phases follow each other"
        assert len({i["price"] for i in phase["items"]}) == len(phase["items"]), "one price stands once in a subscription"
        found.append({**phase, "start_date": start})
        start = phase["end_date"]
    return found


def _day(at: int) -> date:
    return datetime.fromtimestamp(at, UTC).date()


def _round(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


def _unit(row: Mapping[str, Any], name: str) -> Decimal:
    return Decimal(row.get(f"{name}_decimal", row.get(name, 0)))


def _amount(price: Mapping[str, Any], quantity: int) -> int:
    if price.get("billing_scheme") == "tiered":
        return _round(_tiered(price, quantity))
    units = quantity
    if "transform_quantity" in price:
        by = price["transform_quantity"]
        units = -(-quantity // by["divide_by"]) if by["round"] == "up" else quantity // by["divide_by"]
    return _round(_unit(price, "unit_amount") * units)


def _tiered(price: Mapping[str, Any], quantity: int) -> Decimal:
    if price["tiers_mode"] == "volume":
        row = next(t for t in price["tiers"] if t["up_to"] == "inf" or quantity <= t["up_to"])
        return _unit(row, "flat_amount") + _unit(row, "unit_amount") * quantity
    total, below = Decimal(0), 0
    for number, row in enumerate(price["tiers"]):
        if number and quantity <= below:
            break
        top = quantity if row["up_to"] == "inf" else min(quantity, row["up_to"])
        total += _unit(row, "flat_amount") + _unit(row, "unit_amount") * max(0, top - below)
        below = top if row["up_to"] == "inf" else row["up_to"]
    return total
