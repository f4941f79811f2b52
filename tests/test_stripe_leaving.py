"""What is left to Stripe's own proration and what is not, on contracts compiled by hand; and how its lines are told on an invoice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from stripe_lives import _filled
from stripe_model import Model
from test_stripe_compiling import TEN, at, wanted_of

from connector.billing.stripe_backend import coding
from connector.billing.stripe_backend.compiling.leaving import at_net, net_at
from connector.billing.stripe_backend.compiling.owning import is_stripes, next_own, own_lines
from connector.billing.stripe_backend.compiling.plan import planned
from connector.billing.stripe_backend.reading import prorating
from connector.billing.stripe_backend.reading.lines import Known, told
from connector.billing.stripe_backend.settling import lines_after
from connector.billing.stripe_backend.steps import Held, Left, Plan, Push
from connector.core.invoicing import proposed
from connector.core.lines import Line, Slice
from connector.core.terms import (
    Change,
    Contract,
    ContractTerms,
    Coupon,
    Interval,
    Item,
    ItemChange,
    Phase,
    Price,
    Settings,
    Tier,
)

MONTH, YEAR = Interval(unit="month"), Interval(unit="year")
JAN, MID = datetime(2026, 1, 1), datetime(2026, 1, 16)


def contract_of(*changes: Change, items: Sequence[Item] = (TEN,), end: datetime | None = None, **terms: Any) -> Contract:
    phases = (Phase(start=JAN, end=end, items=tuple(items)),)
    settings = Settings(proration="second", tax_rounding="line")
    return Contract(id="k", terms=ContractTerms(currency="eur", timezone="UTC", settings=settings, start=JAN, phases=phases, **terms), changes=changes)


def more(name: str = "a1", at: datetime = MID, by: int = 5, item: Item = TEN, **how: Any) -> Change:
    step = ItemChange(op="delta", item=replace(item, quantity=Decimal(by)), item_id=item.id)
    return Change(id=name, kind="amend", effective=at, made_at=how.pop("made", at), items=(step,), **({"proration_behavior": "always_invoice"} | how))


class There:
    """A contract at Stripe from 1 January, nine o'clock; what it bills is read back."""

    def __init__(self, contract: Contract, begun: datetime = datetime(2026, 1, 1, 9, tzinfo=UTC)) -> None:
        self.model, self.held, self.sent = Model(), Held(contract_id="k"), {}
        self.facts: list[Line] = []
        self.contract = replace(contract, changes=())
        self.plan(begun)
        self.facts = proposed(Slice(contract=self.contract), datetime(2026, 1, 1, 9))
        self.sent = {}

    def plan(self, now: datetime, *changes: Change, credited: dict[str, int] | None = None) -> Plan:
        """Plan and send what the contract wants now."""
        self.contract = replace(self.contract, changes=(*self.contract.changes, *changes))
        wanted = wanted_of(self.contract, now, self.held if self.facts else None, facts=self.facts, sent=self.sent)
        if credited:
            wanted = replace(wanted, piece=replace(wanted.piece, credited=credited))
        made = planned(wanted)
        self.held = _filled(made.held, self.model.carry_out(made, int(now.timestamp())))
        self.sent |= {line.key: line for line in made.lines}
        after = wanted_of(self.contract, now, self.held, facts=self.facts, sent=self.sent)
        assert own_lines(after, self.held) == [], "nothing of it is billed by us, too"
        assert planned(after).steps == (), "asked again nothing is sent"
        look = next_own(after, self.held)
        assert look is None or look > now
        return made

    def read(self) -> None:
        """Take what was sent for billed."""
        self.facts += self.sent.values()
        self.sent = {}


def behavior(plan: Plan, name: str = "month/phases") -> Any:
    return next(s.params["proration_behavior"] for s in plan.steps if s.name == name)


def left_keys(plan: Plan) -> list[str]:
    return [x.key for g in plan.held.groups for x in g.left]


def test_more_seats_now_are_left_to_stripe() -> None:
    """The update says always_invoice, its invoice is finalized, and credit and charge count as sent with what they come to at this second."""
    there = There(contract_of())
    plan = there.plan(at(2026, 1, 16, 12), more())
    assert behavior(plan) == "always_invoice"
    assert [s.name for s in plan.steps if s.shared is None] == ["month/phases", "month/prorated", "month/finalize", "month/collect"]
    assert {line.key: line.net for line in plan.lines} == {"k/seat//2026-01-01/credit/a1": -15363, "k/seat/a1/2026-01-16/charge": 23044}
    assert all(is_stripes(plan.held, line) for line in plan.lines)
    assert coding.held_from_text(coding.held_text(plan.held)) == plan.held


def test_only_these_lines_are_stripes() -> None:
    """A line of another change, or of another day, is not claimed by what was left."""
    there = There(contract_of())
    plan = there.plan(at(2026, 1, 16, 12), more())
    other = replace(plan.lines[1], key="k/seat/a2/2026-01-16/charge", change_id="a2")
    assert not is_stripes(plan.held, other)


NEW = Item(id="new", price=Price(id="new", unit_amount=Decimal(6200), interval=MONTH), quantity=Decimal(1))
TIERED = Item(id="t", price=Price(id="t", interval=MONTH, tiers_mode="volume", tiers=(Tier(up_to=None, unit_amount=Decimal(100)),)), quantity=Decimal(4))
ARREARS = Item(id="late", price=Price(id="late", unit_amount=Decimal(100), interval=MONTH, timing="in_arrears"), quantity=Decimal(4))
PERCENT = Coupon(id="ten", percent_off=Decimal(10), duration="forever")
FIXED = Coupon(id="five", amount_off=500, duration="forever")
ENDING = Coupon(id="once", percent_off=Decimal(10), duration="repeating", duration_in_months=1)


def added(item: Item) -> Change:
    return replace(more(), items=(ItemChange(op="add", item=item),))


@pytest.mark.parametrize(
    ("change", "terms", "expected"),
    [
        (more(by=-4), {}, "always_invoice"),
        (more(proration_behavior="create_prorations"), {}, "create_prorations"),
        (added(NEW), {}, "always_invoice"),
        (more(), {"discounts": (PERCENT,)}, "always_invoice"),
        (more(at=datetime(2026, 1, 16, 8, 55), made=datetime(2026, 1, 16, 8, 58)), {}, "always_invoice"),
        (more(), {"end": datetime(2026, 2, 1), "end_behavior": "cancel"}, "always_invoice"),
        (more(proration_behavior="none"), {}, "none"),
        (more(at=datetime(2026, 1, 15), made=MID), {}, "none"),
        (more(at=datetime(2026, 1, 16, 6)), {}, "none"),
        (more(billing_behavior="prorate_up_front", at=MID), {}, "none"),
        (added(replace(NEW, price=replace(NEW.price, interval=YEAR))), {}, "none"),
        (added(replace(TIERED, id="new")), {}, "none"),
        (more(item=TIERED), {"items": (TEN, TIERED)}, "none"),
        (more(item=ARREARS), {"items": (TEN, ARREARS)}, "none"),
        (more(), {"discounts": (FIXED,)}, "none"),
        (more(), {"discounts": (ENDING,)}, "none"),
        (more(proration_behavior="create_prorations"), {"end": datetime(2026, 2, 1), "end_behavior": "cancel"}, "none"),
        (more(), {"end": datetime(2026, 1, 25), "end_behavior": "cancel"}, "none"),
        (replace(more(), one_time=(Item(id="fee", price=Price(id="fee", unit_amount=Decimal(100))),)), {}, "none"),
    ],
    ids=[
        "fewer", "next-invoice", "product", "percent", "minutes-ago", "last-period", "no-proration", "yesterday", "hours-ago", "up-front", "longer-interval",
        "new-tiers", "tiers", "arrears", "fixed-discount", "ending-discount", "last-period-next-invoice", "ends-inside", "fee",
    ],
)  # fmt: skip
def test_what_is_left_and_what_is_not(change: Change, terms: dict[str, Any], expected: str) -> None:
    """Where Stripe counts exactly what the engine has it is told to; everything else of the change is ours, and nothing is left half."""
    there = There(contract_of(**terms))
    plan = there.plan(at(2026, 1, 16), change)
    said = [s.params["proration_behavior"] for s in plan.steps if s.name == "month/phases"]
    assert said in ([expected], [] if expected == "none" else [expected])
    engine = {x.key for x in proposed(Slice(contract=replace(there.contract), facts=tuple(there.facts)), datetime(2026, 1, 16, 9)) if x.amount}
    sent = {line.key for line in plan.lines}
    assert bool(left_keys(plan)) == (expected != "none")
    assert not left_keys(plan) or set(left_keys(plan)) == sent
    assert {key for key in engine if "a1" in key} <= sent


def test_in_the_minutes_around_a_boundary_it_is_ours() -> None:
    """Within ten minutes before Stripe bills the next period, and before it did so on that day, no second may decide."""
    for now in (datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, 8, 55, tzinfo=UTC)):
        there = There(contract_of(), now.replace(day=1, month=1, hour=0, minute=5) if now.day == 31 else at(2026, 1, 1))
        plan = there.plan(now, more(at=now.replace(hour=0, minute=0, tzinfo=None)))
        assert left_keys(plan) == []


def test_the_first_day_is_ours() -> None:
    """On the day on which the period began all of it is given back."""
    there = There(contract_of())
    plan = there.plan(at(2026, 1, 1, 15), more(at=JAN, made=datetime(2026, 1, 1, 15)))
    assert left_keys(plan) == []
    assert sorted(line.net for line in plan.lines) == [-30000, 45000]


def test_a_period_with_a_credit_note_is_ours() -> None:
    """Stripe's proration does not know of the note, and would give that part back twice."""
    there = There(contract_of())
    plan = there.plan(at(2026, 1, 16), more(), credited={"k/seat//2026-01-01/charge": 1000})
    assert (behavior(plan), left_keys(plan)) == ("none", [])


def test_after_a_change_without_proration_it_is_ours() -> None:
    """What runs and what was charged are not the same any more: whether Stripe gives back one or the other is not ours to guess."""
    there = There(contract_of())
    there.plan(at(2026, 1, 10), more("a0", datetime(2026, 1, 10), proration_behavior="none"))
    plan = there.plan(at(2026, 1, 16), more())
    assert left_keys(plan) == []


def test_after_a_credit_of_ours_it_is_ours() -> None:
    """A late change was credited and charged by us; Stripe does not know, and would give back what it billed."""
    there = There(contract_of())
    there.plan(at(2026, 1, 10), more("a0", datetime(2026, 1, 8), made=datetime(2026, 1, 10)))
    there.read()
    plan = there.plan(at(2026, 1, 16), more())
    assert left_keys(plan) == []


def test_after_a_change_of_the_first_day_it_is_ours() -> None:
    """The whole period was billed anew by us: the charge that runs is no debit of Stripe's, though it begins on its boundary."""
    there = There(contract_of())
    there.plan(at(2026, 1, 1, 15), more("a0", JAN, made=datetime(2026, 1, 1, 15)))
    there.read()
    plan = there.plan(at(2026, 1, 16), more())
    assert left_keys(plan) == []


def test_a_period_that_we_billed_is_ours() -> None:
    """What began before it stood at Stripe was billed by an invoice of ours: there is no debit that Stripe could give back."""
    there = There.__new__(There)
    there.model, there.held, there.sent, there.facts = Model(), Held(contract_id="k"), {}, []
    there.contract = contract_of()
    first = planned(wanted_of(there.contract, at(2026, 1, 10)))
    there.held = _filled(first.held, there.model.carry_out(first, int(at(2026, 1, 10).timestamp())))
    there.facts = list(first.lines)
    plan = there.plan(at(2026, 1, 16), more())
    assert left_keys(plan) == []


def test_a_second_change_gives_back_the_first_charge_of_stripe() -> None:
    """The credit is a share of what Stripe charged, from the second at which it began."""
    there = There(contract_of())
    there.plan(at(2026, 1, 16), more())
    there.read()
    plan = there.plan(at(2026, 1, 24), more("a2", datetime(2026, 1, 24)))
    assert {line.key: line.net for line in plan.lines} == {"k/seat/a1/2026-01-16/credit/a2": -11613, "k/seat/a2/2026-01-24/charge": 15484}
    assert behavior(plan) == "always_invoice"


def test_two_changes_at_once_are_ours() -> None:
    """Two changes in one update would be one proration of Stripe's."""
    there = There(contract_of())
    plan = there.plan(at(2026, 1, 16), more(), more("a2"))
    assert left_keys(plan) == []
    assert {line.change_id for line in plan.lines} == {"a1", "a2"}


def test_monthly_and_yearly_together() -> None:
    """A change of the monthly item touches nothing of the yearly one beside it."""
    yearly = Item(id="y", price=Price(id="y", unit_amount=Decimal(36500), interval=YEAR), quantity=Decimal(1))
    there = There(contract_of(items=(TEN, yearly)))
    plan = there.plan(at(2026, 1, 16), more())
    assert left_keys(plan) == ["k/seat//2026-01-01/credit/a1", "k/seat/a1/2026-01-16/charge"]


CANCEL = Change(id="c1", kind="cancel", effective=MID, made_at=MID, when="at", prorate=True, invoice_now=True, proration_behavior="always_invoice")


def test_a_cancellation_is_left_to_stripe() -> None:
    """It is prorated and invoiced there; with anything waiting it is ours, because Stripe would take that away."""
    there = There(contract_of())
    plan = there.plan(at(2026, 1, 16), CANCEL)
    assert next(s.params for s in plan.steps if s.name == "month/cancel") == {"invoice_now": True, "prorate": True}
    assert left_keys(plan) == ["k/seat//2026-01-01/credit/c1"]
    there = There(contract_of())
    there.plan(at(2026, 1, 10), more("a0", datetime(2026, 1, 10), proration_behavior="create_prorations"))
    plan = there.plan(at(2026, 1, 16), CANCEL)
    assert next(s.params for s in plan.steps if s.name == "month/cancel") == {"invoice_now": True, "prorate": False}
    assert [line.key for line in plan.lines] == ["k/seat/a0/2026-01-10/credit/c1"]


def test_a_cancellation_without_credit_credits_nothing() -> None:
    """Stripe is told not to prorate."""
    there = There(contract_of())
    plan = there.plan(at(2026, 1, 16), replace(CANCEL, prorate=False))
    assert next(s.params for s in plan.steps if s.name == "month/cancel")["prorate"] is False
    assert plan.lines == ()


def test_what_was_left_is_kept_where_the_push_is_refused_later() -> None:
    """The update was carried out and what follows refused: its lines count as sent, so that they are not billed again."""
    there = There(contract_of())
    plan = there.plan(at(2026, 1, 16), more())
    names = [s.name for s in plan.steps]
    push = Push(id="p", contract_id="k", deal="d", key="k1", plan=plan, made_at=at(2026, 1, 16), results={n: {"id": n} for n in names[: names.index("month/phases")]})
    assert lines_after(push) == ([], {})
    done = replace(push, results={**push.results, "month/phases": {"id": "sub_sched"}})
    lines, items = lines_after(done)
    assert lines == list(plan.lines)
    assert set(items.values()) == {"proration"}


# ---------------------------------------------------------------- reading back


BEGAN = int(at(2026, 1, 1).timestamp())
END = int(at(2026, 2, 1).timestamp())
NOW = int(at(2026, 1, 16).timestamp())


def left(kind: Any, at: int = NOW, key: str = "", price: str = "cn_p") -> Left:
    return Left(key=key or kind, item_id="seat", kind=kind, price=price, amount=30000, start=BEGAN, end=END, at=at)


def line_of(x: Left) -> Line:
    net = net_at(x, x.at)
    return Line(
        key=x.key, contract_id="k", item_id="seat", price_id="seat", product="SEAT", description="Seat", quantity=Decimal(10), unit_amount=Decimal(3000),
        amount=net, kind=x.kind, start=MID, end=datetime(2026, 2, 1), due=MID, taxes=(("vat", net // 5, False),),
    )  # fmt: skip


def shown(amount: int, began: int, price: str = "price_1", credited: Any = None) -> dict[str, Any]:
    details = {"subscription_item": "si_1", "proration": True, "proration_details": {"credited_items": credited}, "invoice_item": "ii_1"}
    return {
        "id": f"il_{amount}_{began}", "amount": amount, "quantity": 10, "period": {"start": began, "end": END}, "metadata": {}, "description": "x",
        "pricing": {"price_details": {"price": price}}, "parent": {"subscription_item_details": details}, "taxes": [], "discount_amounts": [],
    }  # fmt: skip


def read(lines: list[dict[str, Any]], lefts: Sequence[Left]) -> tuple[list[tuple[str, int]], dict[str, int]]:
    """Return the lines of the books, and what the engine expected of each by now."""
    there = There(contract_of())
    held = replace(there.held, groups=(replace(there.held.groups[0], subscription="sub_1", left=tuple(lefts)),))
    invoice = {"currency": "eur", "lines": {"data": lines}, "parent": {"subscription_details": {"subscription": "sub_1"}}}
    known = Known(contract_id="k", own={}, proposed=(), held=held, prices={"price_1": ["cn_p"]}, taken=frozenset(), timezone="UTC")
    parts = prorating.found(invoice, known, {x.key: line_of(x) for x in lefts})
    known = replace(known, prorated={place: line for place, (_, line) in parts.items()})
    return [(line.key, line.net) for line in told(invoice, known)], {line.key: line.net for line in known.prorated.values()}


def test_seconds_explain_an_amount() -> None:
    """What began 37 seconds later is right with the cents of that second, and to one of rounding; anything else is expected otherwise."""
    half = net_at(left("charge"), NOW + 37)
    for off, right in ((0, half), (1, half + 1), (-1, half - 1), (2, half), (-300, half)):
        found, expected = read([shown(half + off, NOW + 37)], [left("charge")])
        assert found == [("charge", half + off)]
        assert expected == {"charge": right}


def test_hours_are_told() -> None:
    """What began hours later than it was decided is held to what was foreseen."""
    late = net_at(left("charge"), NOW + 9000)
    assert read([shown(late, NOW + 9000)], [left("charge")]) == ([("charge", late)], {"charge": 15484})


def test_credit_and_charge_of_one_price() -> None:
    """They are told by what they do, in whatever order; one of 0 by what it credits."""
    lefts = [left("credit"), left("charge")]
    assert read([shown(15484, NOW), shown(-15484, NOW)], lefts)[0] == [("charge", 15484), ("credit", -15484)]
    assert read([shown(0, NOW), shown(0, NOW, credited={"invoice": "in_1"})], lefts)[0] == [("charge", 0), ("credit", 0)]


def test_two_that_waited_are_told_by_time() -> None:
    """Of two charges of one price the earlier is the earlier change's, whatever their places on the invoice."""
    lefts = [left("charge", NOW + 3600, "second"), left("charge", NOW, "first")]
    lines = [shown(15462, NOW + 3612), shown(15484, NOW + 9)]
    assert read(lines, lefts)[0] == [("second", 15462), ("first", 15484)]
    assert read(lines[:1], lefts)[0] == [("second", 15462)]


def test_lines_of_one_proration_are_one() -> None:
    """What Stripe shows in several lines for one item, price and time is one line of the books."""
    assert read([shown(-10000, NOW), shown(-5484, NOW)], [left("credit")])[0] == [("credit", -15484)]


def test_an_unknown_price_is_told_where_only_one_is_left() -> None:
    """A price of which nobody kept the id can only be the one that is missing; a proration that nobody left is a line of its own."""
    assert read([shown(15484, NOW, "price_9")], [left("charge", price="cn_q")])[0] == [("charge", 15484)]
    found, expected = read([shown(15484, NOW, "price_9")], [left("credit")])
    assert (found[0][0].startswith("stripe/"), expected) == (True, {})


def test_another_net_takes_discounts_and_taxes_along() -> None:
    """A line that comes to another amount keeps the proportion of its discount and its tax."""
    line = replace(line_of(left("charge")), amount=20000, discounts=(("ten", 2000),), taxes=(("vat", 3600, False),))
    half = at_net(line, 9000)
    assert (half.amount, half.discounts, half.taxes, half.net) == (10000, (("ten", 1000),), (("vat", 1800, False),), 9000)
    back = at_net(replace(line, amount=-20000, discounts=(("ten", -2000),), taxes=(("vat", -3600, False),)), -9000)
    assert (back.amount, back.discounts, back.taxes, back.net) == (-10000, (("ten", -1000),), (("vat", -1800, False),), -9000)
    assert at_net(line, line.net) is line
