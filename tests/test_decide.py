"""What is to be done about a deal: every row of the rules in a table, and who speaks for a deal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from connector.core.terms import Change, ContractTerms, Settings
from connector.errors import Problem
from connector.ports import CustomerDetails, Desired
from connector.sync.decide import (
    Applied,
    Candidate,
    Digests,
    Do,
    Flag,
    Nothing,
    Park,
    Relative,
    Wait,
    Ways,
    decide,
    speaker,
)

ORG = "00D000000000001AAA"
SETTINGS = Settings(proration="day", tax_rounding="line")
TERMS = ContractTerms(currency="eur", timezone="UTC", settings=SETTINGS, start=datetime(2026, 1, 1), phases=())
CHANGE = Change(id="D2", kind="amend", effective=datetime(2026, 3, 16), made_at=datetime(2026, 3, 16))
NEW = Desired(
    object="Opportunity",
    record="D1",
    deal="D1",
    label="Acme 2026",
    action="new",
    condition="won",
    closed_on=date(2026, 1, 1),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    customer=CustomerDetails(account="A1", name="Acme"),
    terms=TERMS,
)
AMEND = replace(NEW, record="D2", deal="D2", label="Upgrade", action="amend", terms=None, change=CHANGE, amends="D1")
SAME = Digests(terms="t", who="w", how="h")
STANDS = Applied(org=ORG, contract_id="C1", revision=1, terms="t", who="w", how="h", account="A1")
PARENT = Relative(name="D1", label="Acme 2026", state="written", contract_id="C1")


def _decide(desired=NEW, digests=SAME, applied=STANDS, **more):
    return decide(desired, digests, applied, parent=more.pop("parent", None), **more)


@pytest.mark.parametrize(
    ("applied", "digests", "condition", "expected"),
    [
        (Applied(org=ORG), SAME, "won", "create"),
        (Applied(org=ORG), SAME, "open", Nothing),
        (Applied(org=ORG), SAME, "idle", Nothing),
        (STANDS, SAME, "won", Nothing),
        (STANDS, Digests(terms="x", who="w", how="h"), "won", "replace"),
        (STANDS, Digests(terms="t", who="x", how="h"), "won", "details"),
        (STANDS, Digests(terms="t", who="w", how="x"), "won", "details"),
        (replace(STANDS, is_invoiced=True), Digests(terms="x", who="w", how="h"), "won", Flag),
        (replace(STANDS, is_invoiced=True), Digests(terms="t", who="x", how="h"), "won", "details"),
        (replace(STANDS, account="A0"), SAME, "won", "replace"),
        (replace(STANDS, account="A0", is_invoiced=True), SAME, "won", Flag),
        (STANDS, SAME, "idle", "withdraw"),
        (replace(STANDS, is_invoiced=True), SAME, "idle", Flag),
        (replace(STANDS, is_withdrawn=True), SAME, "won", "create"),
        (replace(STANDS, is_withdrawn=True), SAME, "idle", Nothing),
    ],
)
def test_a_new_deal_follows_the_table_of_edits(applied, digests, condition, expected):
    """Before anything is invoiced an edit replaces or withdraws; afterwards it is flagged; who and how always pass."""
    decision = _decide(replace(NEW, condition=condition), digests, applied)
    if isinstance(expected, str):
        assert isinstance(decision, Do)
        assert decision.command.kind == expected
    else:
        assert isinstance(decision, expected)


@pytest.mark.parametrize(
    ("applied", "parent", "expected"),
    [
        (Applied(org=ORG), PARENT, "change"),
        (Applied(org=ORG), None, Park),
        (Applied(org=ORG), replace(PARENT, contract_id=None, state="parked"), Wait),
        (Applied(org=ORG), replace(PARENT, contract_id=None, state="idle"), Park),
        (Applied(org=ORG), replace(PARENT, is_withdrawn=True), Park),
        (STANDS, PARENT, Nothing),
    ],
)
def test_a_change_waits_for_its_parent(applied, parent, expected):
    """An amendment is carried out on its parent's contract, waits for a parked one, and is parked where none is known."""
    decision = _decide(AMEND, SAME, applied, parent=parent)
    if isinstance(expected, str):
        assert isinstance(decision, Do)
        assert decision.command.kind == expected
        assert decision.command.contract_id == "C1"
    else:
        assert isinstance(decision, expected)


def test_a_parked_member_of_the_chain_blocks_later_ones_and_is_named():
    """The message of a blocked deal names the one it waits for and why that one is not billed."""
    first = Relative(
        name="D9", label="First upgrade", state="parked", problem=Problem(code="x", message="Not billed: no such seat.")
    )
    decision = _decide(AMEND, SAME, Applied(org=ORG), parent=PARENT, earlier=[first])
    assert isinstance(decision, Wait)
    assert decision.for_deal == "D9"
    assert decision.problem.message == "Blocked by 'First upgrade' (no such seat)."


def test_an_edited_change_is_replaced_until_its_day_or_its_invoice():
    """A planned amendment is replaced when edited; once its day has come it is only flagged."""
    other = Digests(terms="x", who="w", how="h")
    planned = _decide(AMEND, other, STANDS, parent=PARENT)
    assert isinstance(planned, Do)
    assert planned.command.kind == "replace_change"
    assert isinstance(_decide(AMEND, other, replace(STANDS, is_started=True), parent=PARENT), Flag)
    dropped = _decide(replace(AMEND, condition="idle"), SAME, STANDS, parent=PARENT)
    assert isinstance(dropped, Do)
    assert dropped.command.kind == "withdraw_change"


def test_each_decision_gets_the_next_revision_as_key():
    """The key is org, deal and revision: A -> B -> A gives three keys, a retry of one decision always the same."""
    first, again = _decide(applied=Applied(org=ORG)), _decide(applied=Applied(org=ORG))
    assert isinstance(first, Do)
    assert isinstance(again, Do)
    assert first.command.key == again.command.key == f"{ORG}/D1/r1"
    later = _decide(applied=replace(STANDS, is_withdrawn=True))
    assert isinstance(later, Do)
    assert later.command.key == f"{ORG}/D1/r2"


def test_deals_closed_before_the_start_are_left_alone():
    """`start_from` compares the close date of new deals only; members of a known chain pass."""
    assert _decide(applied=Applied(org=ORG), ways=Ways(start_from=date(2026, 2, 1))) == Nothing(is_deal=False)
    assert isinstance(_decide(AMEND, SAME, Applied(org=ORG), parent=PARENT, ways=Ways(start_from=date(2026, 12, 1))), Do)


OPPORTUNITY = Candidate(object="Opportunity", record="006A", condition="won")
QUOTE = Candidate(object="Quote", record="0Q0A", condition="won")


def test_the_accepted_quote_speaks_before_the_opportunity_unless_another_is_settled():
    """An accepted quote comes before its won opportunity; who was settled at the first apply stays."""
    assert speaker([OPPORTUNITY, QUOTE], None) == QUOTE
    assert speaker([OPPORTUNITY, QUOTE], ("Opportunity", "006A")) == OPPORTUNITY
    assert speaker([OPPORTUNITY, replace(QUOTE, condition="open")], None) == OPPORTUNITY
    assert speaker([replace(OPPORTUNITY, condition="idle")], None) is None


def test_a_won_opportunity_takes_its_terms_from_the_synced_quote():
    """With a synced quote the quote speaks, as if it had been accepted, whatever its own status."""
    synced = replace(OPPORTUNITY, synced_quote="0Q0A")
    assert speaker([synced, replace(QUOTE, condition="open")], None) == QUOTE
