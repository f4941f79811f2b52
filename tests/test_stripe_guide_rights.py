"""A restricted key with exactly the rights of the guide (rights.py) is enough, and each of them is asked for by its name at Stripe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from backend_stories import STORIES
from stripe_world import stripe_world
from test_backends import played

from connector.billing.stripe_backend.rights import RIGHTS
from connector.lookalike.stripe.keys import RIGHTS as ASKED

_KEY = "rk_test_guide"
_PLAYED = ("one_off", "coupons", "vat", "more_now", "quote", "no_card")


@pytest.mark.slow
def test_the_rights_of_the_guide_are_enough(tmp_path: Path) -> None:
    """Stories with one-off deals, discounts, tax, amendments and quotes run with the needed rights alone; nothing is refused."""
    rights = {name: one.right for one in RIGHTS if one.is_needed for name in one.named if name in ASKED.values()}
    for place, story in enumerate(one for one in STORIES if one.name in _PLAYED):
        folder = tmp_path / str(place)
        folder.mkdir()
        with stripe_world(folder, **story.config) as here:
            here.stripe_server.front.keys.restrict(_KEY, rights)
            here.config = replace(here.config, stripe=replace(here.config.stripe, api_key=_KEY))
            told = played(here, story)
            log = here.stripe_server.faults.log
            assert len(log) > 5
            assert [(one.method, one.path, one.message) for one in log if one.status in (401, 403)] == []
            assert told.totals == story.totals


def test_every_right_that_is_asked_for_stands_in_the_guide() -> None:
    """What Stripe names when a right is missing is found in the guide, so that the message can name it as the dashboard does."""
    beyond = {"promotion_code", "test_clock"}
    assert set(ASKED.values()) - beyond <= {name for one in RIGHTS for name in one.named}
