"""docs/stripe.md says what the code says: the rights of the key, and settings and checks that exist."""

from __future__ import annotations

import re
from pathlib import Path

from stripe_world import StripeWorld, stripe_world
from world import ROOT

from connector.billing.stripe_backend.asking import kinds
from connector.billing.stripe_backend.rights import RIGHTS, rights_needed
from connector.config.keys import KNOWN

TEXT = (ROOT / "docs" / "stripe.md").read_text(encoding="utf-8")


def block(name: str) -> list[str]:
    """Return the lines of a marked block."""
    return TEXT.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0].splitlines()


def table(rights: list[tuple[str, str, str]]) -> list[str]:
    return ["| resource | right | why |", "|---|---|---|", *(f"| {resource} | {right.capitalize()} | {why} |" for resource, right, why in rights)]


def test_the_rights_of_the_guide_are_those_that_are_needed() -> None:
    """The two tables list every right in the Dashboard's words and why it is needed, as the code has them."""
    assert block("rights") == table(rights_needed())
    assert block("more rights") == table([(r.resource, r.right, r.why) for r in RIGHTS if not r.is_needed])


def test_every_setting_of_the_guide_exists() -> None:
    """A key of config.yaml that the page names can be written."""
    named = set(re.findall(r"`(billing|stripe|mail|web|quotes|schedule|crm)\.([a-z_]+)`", TEXT))
    assert named
    assert {f"{b}.{k}" for b, k in named if k not in KNOWN[b]} == set()


def test_the_table_of_requests_is_the_code_s() -> None:
    """What people ask for, and what it does on Stripe, is printed from the table that the doors go by."""
    assert block("requests") == kinds.table().splitlines()


def calls(here: StripeWorld) -> list[str]:
    """Run `sync` and return what was asked of Stripe, the start of the process aside."""
    here.stripe_server.faults.log.clear()
    here.sync()
    asked = [f"{entry.method} {entry.path}" for entry in here.stripe_server.faults.log]
    assert asked.count("GET /v1/account") <= 1
    return [one for one in asked if one != "GET /v1/account"]


def test_the_calls_of_the_limits_are_those_that_are_made(tmp_path: Path) -> None:
    """A round in which nothing happened is two calls; a first deal and a further one cost what the page says at most."""
    first, further = (int(n) for n in re.findall(r"\| at most (\d+)", TEXT))
    with stripe_world(tmp_path) as here:
        here.sync()
        assert calls(here) == ["GET /v1/events"] * 2
        here.deal("one", {"UnitPrice": "100.00"})
        here.win("one")
        assert 0 < len(calls(here)) <= first
        here.deal("two", {"UnitPrice": "100.00"})
        here.win("two")
        assert 0 < len(calls(here)) <= further
        calls(here)
        assert calls(here) == ["GET /v1/events"] * 2
        assert here.counts("customer", "product", "price") == {"customer": 1, "product": 1, "price": 1}
