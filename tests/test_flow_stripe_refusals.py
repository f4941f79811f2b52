"""What Stripe refuses reaches the rep: a sentence in the language of the CRM, and what waits is told as waiting."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from stripe_world import StripeWorld, stripe_world

from connector import app, service

DEAL = "acme_seats"


@pytest.mark.parametrize(
    ("language", "code", "message", "said"),
    [
        ("en", "amount_too_small", "Amount must convert to at least 50 cents.", "An amount is too small to be charged in this currency. Correct quantity, price or discount of this deal"),
        ("fr", "amount_too_small", "Amount must convert to at least 50 cents.", "Un montant est trop petit pour être prélevé dans cette devise. Corrigez la quantité, le prix ou la remise"),
        ("fr", "", "You cannot combine currencies on a single customer.", "Ce client est déjà facturé dans une autre devise, et un client n'a qu'une devise."),
    ],
)
def test_a_refusal_is_a_sentence_on_the_record(tmp_path: Path, language: str, code: str, message: str, said: str) -> None:
    """A deal that Stripe refuses needs attention, with words for a rep first and Stripe's own behind them; mended, it is billed."""
    with stripe_world(tmp_path, day="2026-03-20") as made:
        made.config = replace(made.config, crm=replace(made.config.crm, language=language))
        made.win(DEAL)
        made.stripe_server.faults.add("refuse", method="POST", path="/v1/subscription_schedules", code=code, message=message)
        made.sync()
        status, text = made.said(DEAL)
        assert status == "Needs attention"
        assert text.startswith(said)
        assert f'Stripe: "{message}"' in text
        assert not made.objects("subscription")
        made.edit(DEAL, Description="mended")
        made.clock.move_to(made.clock.now() + timedelta(hours=2))
        made.sync()
        assert made.said(DEAL)[0] == "Active"
        assert len(made.objects("subscription")) == 1


def test_a_stripe_that_cannot_be_reached_leaves_the_record_waiting(tmp_path: Path) -> None:
    """While Stripe is away the record says that it waits, without any word of Stripe; once it is back the deal is billed, once."""
    with stripe_world(tmp_path, day="2026-03-20") as made:
        made.win(DEAL)
        made.stripe_server.faults.add("rate_limit", method="POST", path="/v1/subscription_schedules", times=20)
        made.sync()
        status, text = made.said(DEAL)
        assert status == "Queued"
        assert "Stripe" not in text
        made.stripe_server.faults.clear()
        made.clock.move_to(made.clock.now() + timedelta(minutes=30))
        made.sync()
        assert made.said(DEAL)[0] == "Active"
        assert len(made.objects("subscription")) == 1


@pytest.mark.parametrize(
    ("language", "path", "said"),
    [
        ("en", "/v1/", "Billing refused this, and nothing of it was carried out."),
        ("en", "/v1/subscription_schedules", "Billing refused a part of this. What was carried out before that stays; only what is missing is sent again."),
        ("fr", "/v1/subscription_schedules", "La facturation a refusé une partie de ceci. Ce qui a été exécuté avant reste acquis ; seul ce qui manque sera envoyé de nouveau."),
    ],
)
def test_a_refusal_half_way_says_what_stays(tmp_path: Path, language: str, path: str, said: str) -> None:
    """A refusal without a reason says what is true: nothing was done, or what was done stays and is not done again by the next try."""
    with stripe_world(tmp_path, day="2026-03-20") as made:
        made.config = replace(made.config, crm=replace(made.config.crm, language=language))
        made.win(DEAL)
        made.stripe_server.faults.add("refuse", method="POST", path=path, code="", message="No.")
        made.sync()
        status, text = made.said(DEAL)
        assert (status, text[: len(said)]) == ("Needs attention", said)
        before = made.counts("customer", "product")
        assert (sum(before.values()) > 0) == ("sched" in path)
        made.stripe_server.faults.clear()
        made.edit(DEAL, Description="mended")
        made.clock.move_to(made.clock.now() + timedelta(hours=2))
        made.sync()
        assert made.said(DEAL)[0] == "Active"
        assert made.counts("customer", "subscription") == {"customer": 1, "subscription": 1}


def figures(made: StripeWorld) -> dict[str, float]:
    """Return what monitors read of Stripe, by the metric's name without our prefix, and its state."""
    with app.writing_house(made.config, "test", clock=made.clock) as house:
        lines = service.web_services(lambda: house, service.Watch()).metrics().decode().splitlines()
    found = (line.removeprefix("connector_stripe_").rsplit(" ", 1) for line in lines if line.startswith("connector_stripe_"))
    return {name: float(value) for name, value in found}


def test_monitors_see_what_waits_and_what_was_refused(tmp_path: Path) -> None:
    """Pushes that wait, refusals that stand, events that are kept and when Stripe was last read are figures of /metrics."""
    waiting, refused = 'pushes{state="waiting"}', 'pushes{state="refused"}'
    with stripe_world(tmp_path, day="2026-03-20") as made:
        made.win(DEAL)
        made.stripe_server.faults.add("rate_limit", method="POST", path="/v1/subscription_schedules", times=20)
        made.sync()
        found = figures(made)
        assert (found[waiting], found[refused]) == (1, 0)
        made.stripe_server.faults.clear()
        made.stripe_server.faults.add("refuse", method="POST", path="/v1/subscription_schedules", code="", message="No.")
        made.clock.move_to(made.clock.now() + timedelta(minutes=30))
        made.sync()
        found = figures(made)
        assert (found[waiting], found[refused]) == (0, 1)
        made.stripe_server.faults.clear()
        made.edit(DEAL, Description="mended")
        made.clock.move_to(made.clock.now() + timedelta(hours=2))
        made.sync()
        found = figures(made)
        assert (found[waiting], found[refused], found['events{state="new"}'], found['events{state="failed"}']) == (0, 0, 0, 0)
        assert found["last_read_seconds"] == pytest.approx(made.clock.now().timestamp(), abs=60)
