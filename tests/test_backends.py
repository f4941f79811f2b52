"""One suite over both billing backends: the same deals lead to the same totals on the same days, and to the same words."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest
from backend_stories import CATALOGUE, STORIES, Story
from stripe_world import stripe_world
from test_flow_catalogue import stock
from world import World, world


def played(here: World, story: Story) -> dict[str, Decimal]:
    """Play a story, the clock stopping late in the evening of each of its days; return the totals by day."""
    here.account("acme")
    here.sync()
    stock(here, CATALOGUE)
    for n, day in enumerate(story.calendar):
        here.clock.move_to(here.clock.now().replace(year=int(day[:4]), month=int(day[5:7]), day=int(day[8:]), hour=9, minute=0, second=0, microsecond=0))
        if n == 0:
            story.begin(here)
        if day in story.acts:
            story.acts[day](here)
        here.sync()
        here.clock.move_to(here.clock.now().replace(hour=22))
        here.bill()
        here.sync()
    found: dict[str, Decimal] = defaultdict(Decimal)
    for row in here.invoices():
        found[str(row["Issued_On__c"])] += row["Total__c"]
    return {day: total for day, total in found.items() if total}


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
def test_the_internal_engine(tmp_path: Path, story: Story) -> None:
    """Each story leads to its totals and its status words on the internal engine."""
    with world(tmp_path, **story.config) as here:
        assert played(here, story) == story.totals
        assert {name: here.said(name)[0] for name in story.said} == story.said


NOT_YET = {"usage", "up_front", "pause"}
ON_STRIPE = [pytest.param(s, id=s.name, marks=[pytest.mark.xfail(strict=True)] if s.name in NOT_YET else []) for s in STORIES]


@pytest.mark.parametrize("story", ON_STRIPE)
def test_on_stripe(tmp_path: Path, story: Story) -> None:
    """Each story leads to the same totals and status words on Stripe."""
    with stripe_world(tmp_path, **story.config) as here:
        assert played(here, story) == story.totals
        assert {name: here.said(name)[0] for name in story.said} == story.said
