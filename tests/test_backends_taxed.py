"""Stories with a change, once more with Stripe finding the tax: what it gives back is a credit note, and the totals of each day are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from backend_stories import STORIES, Story
from stripe_world import StripeWorld, stripe_world
from test_backends import played
from test_flow_stripe_tax import taxed

from connector.sync.seam import Tally

NAMES = ("more_next", "taken_along", "up_front", "fewer", "late_change", "two_changes", "cancel_now", "cancel_waiting", "pause", "prebill_next", "prebill_cancel", "prebill_pause", "fewer_by_second", "cancel_by_second")
CHANGED = [s for s in STORIES if s.name in NAMES]
"""Those that give back in each way; all others with a change came to the same when this was written."""


class Daemon(StripeWorld):
    """A world in which each round bills what is due, as the daemon's do."""

    __slots__ = ()

    def sync(self, **how: Any) -> Tally:
        """Run a round: read, bill, read what came of it."""
        StripeWorld.sync(self, **how)
        self.bill()
        return StripeWorld.sync(self, **how)


@pytest.mark.parametrize("story", CHANGED, ids=lambda s: s.name)
def test_a_story_where_stripe_finds_the_tax(tmp_path: Path, story: Story) -> None:
    """The account is registered nowhere, so that totals are those of the story: the notes of a day and its invoices come to what one invoice would."""
    with stripe_world(tmp_path, kind=Daemon, **story.config) as here:
        taxed(here)
        told = played(here, story)
        below = [i["amount"] for i in here.objects("invoiceitem") if i["amount"] < 0 and not i["proration"]]  # Stripe's own prorations are its own affair
        differing = here.query("SELECT data FROM event WHERE name = 'invoice.differs'")
    assert (told.totals, told.said, told.alarms) == (story.totals, story.said, [])
    assert (below, differing) == ([], [])
