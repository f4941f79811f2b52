"""Plans and what Stripe holds as text and back: exactly, canonically, and never from another version."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.billing.stripe_backend import coding
from connector.billing.stripe_backend.steps import Held, HeldGroup, HeldItem, HeldPhase, Plan, Ref, Step
from connector.core.lines import Line
from connector.core.terms import Interval
from connector.errors import InvariantError, Problem, Where

names = st.text("abc_-/é", min_size=1, max_size=8)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**12), max_value=10**12) | st.sampled_from([Decimal("1E+3"), Decimal("0.00"), Decimal("-0")])
refs = st.builds(Ref, step=names, path=names)
leaves = names | st.integers(-(2**53), 2**53) | st.booleans() | st.none() | decimals | refs
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8)
steps = st.builds(
    Step,
    name=names,
    call=names,
    params=st.dictionaries(names, values, max_size=4),
    target=st.none() | names | refs,
    keeps=st.lists(names, max_size=2).map(tuple),
    shared=st.none() | st.tuples(names, names),
    needs=st.none() | refs,
)
days = st.dates(date(2000, 1, 1), date(2100, 1, 1))
phases = st.builds(
    HeldPhase,
    start=days,
    end=st.none() | days,
    items=st.lists(st.builds(HeldItem, item_id=names, price=names, quantity=st.none() | decimals), max_size=2).map(tuple),
    kind=st.sampled_from(["full", "trial", "part"]),
)
groups = st.builds(
    HeldGroup,
    name=names,
    interval=st.builds(Interval, unit=st.sampled_from(["day", "week", "month", "year"]), count=st.integers(1, 36)),
    at_time=st.just("11:30"),
    anchor=days,
    since=days,
    phases=st.lists(phases, max_size=3).map(tuple),
    ends_with=st.sampled_from(["release", "cancel"]),
    schedule=names,
    subscription=names,
    is_paused=st.booleans(),
)
helds = st.builds(Held, contract_id=names, customer=names, groups=st.lists(groups, max_size=2).map(tuple))
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))
amounts = st.integers(-(2**53), 2**53)
lines = st.builds(
    Line,
    key=names,
    contract_id=names,
    item_id=names,
    price_id=names,
    product=names,
    description=names,
    quantity=decimals,
    unit_amount=st.none() | decimals,
    amount=amounts,
    kind=st.sampled_from(["charge", "credit", "one_time"]),
    start=moments,
    end=moments,
    due=moments,
    is_proration=st.booleans(),
    change_id=names,
    credits=st.none() | names,
    discounts=st.lists(st.tuples(names, amounts), max_size=2).map(tuple),
    taxes=st.lists(st.tuples(names, amounts, st.booleans()), max_size=2).map(tuple),
    is_pending=st.booleans(),
    order=st.integers(0, 99),
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types down to the exponent of a decimal."""
    if isinstance(one, Decimal):
        return isinstance(other, Decimal) and str(one) == str(other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(v, other[k]) for k, v in one.items())
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(st.lists(steps, max_size=3), helds, st.lists(lines, max_size=2))
def test_a_plan_survives_exactly(its_steps: list[Step], held: Held, its_lines: list[Line]) -> None:
    """A plan comes back as it went, down to the type and exponent of each number, and its text does not change any more."""
    plan = Plan(steps=tuple(its_steps), held=held, lines=tuple(its_lines))
    text = coding.push_text(plan)
    back = coding.plan_from_text(text)
    assert back == plan
    assert all(same(dict(a.params), dict(b.params)) for a, b in zip(plan.steps, back.steps, strict=True))
    assert coding.push_text(back) == text


@given(st.dictionaries(names, st.dictionaries(names, values, max_size=3), max_size=3), helds, lines)
def test_results_held_and_lines_survive_exactly(results: dict[str, Any], held: Held, line: Line) -> None:
    """What came of steps, what Stripe holds and a line of ours come back as they went."""
    assert same(coding.results_from_text(coding.push_text(results)), results)
    assert coding.held_from_text(coding.held_text(held)) == held
    assert coding.line_from_text(coding.line_text(line)) == line


def test_the_text_is_canonical() -> None:
    """The order of keys, and tuple or list, make no difference to the text."""
    one = Plan(steps=(Step(name="a", call="b", params={"x": (1, Ref(step="s")), "a": True}),), held=Held(contract_id="c"))
    other = Plan(steps=(Step(name="a", call="b", params={"a": True, "x": [1, Ref(step="s")]}),), held=Held(contract_id="c"))
    assert coding.push_text(one) == coding.push_text(other)
    assert '"params":{"a":true,"x":[1,{"$ref":"s","path":"id"}]}' in coding.push_text(one)


def test_a_problem_survives() -> None:
    """Why a push was refused comes back with its place."""
    problem = Problem(code="stripe-refused", message="No.", hint="Ask.", where=Where(record="006", object="Opportunity"))
    assert coding.problem_from_text(coding.problem_text(problem)) == problem


@pytest.mark.parametrize("text", ['{"v":2,"body":{}}', '{"body":{}}', "[]", "{"])
def test_another_version_is_never_half_read(text: str) -> None:
    """A text of another version, or none of ours, is a ValueError."""
    for read in (coding.plan_from_text, coding.results_from_text, coding.held_from_text, coding.line_from_text, coding.problem_from_text):
        with pytest.raises(ValueError):
            read(text)


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), date(2026, 1, 1), b"x", {"$ref": "x"}, {1: 2}, {"a": object()}])
def test_what_has_no_place_in_parameters_is_a_bug_of_ours(value: Any) -> None:
    """Instants go as seconds; other types and keys that look like ours are caught when a step is written."""
    with pytest.raises(InvariantError):
        coding.push_text(Plan(steps=(Step(name="a", call="b", params={"x": value}),), held=Held(contract_id="c")))
