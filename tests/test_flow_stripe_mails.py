"""Mails to customers where Stripe bills and the connector mails: a real mail server, the look-alike, and the test clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stripe_world import stripe_world
from test_flow_mails import Box, mail, run, server, states, won


def test_who_does_not_pay_is_reminded_by_us_where_mails_are_ours(tmp_path: Path) -> None:
    """With `stripe.mails: connector` the invoice and its reminders of 13 and 17 January leave by our server; the rep reads of them."""
    box = Box()
    with server(box) as address, stripe_world(tmp_path, mail=mail(address)) as here:
        here.config = replace(here.config, stripe=replace(here.config.stripe, mails="connector"))
        won(here)
        for day in ("2026-01-02", "2026-01-13", "2026-01-17"):
            run(here, day)
        assert states(here) == [("invoice", 0, "sent"), ("reminder", -3, "sent"), ("reminder", 1, "sent")]
        assert len(box.taken) == 3
        assert "Reminded" in here.said("licences")[1]


def test_nobody_is_mailed_by_us_where_stripe_mails(tmp_path: Path) -> None:
    """By default invoices and reminders are Stripe's: nothing leaves by our server, even with one configured."""
    box = Box()
    with server(box) as address, stripe_world(tmp_path, mail=mail(address)) as here:
        won(here)
        for day in ("2026-01-13", "2026-01-17"):
            run(here, day)
        assert states(here) == []
        assert box.taken == []
