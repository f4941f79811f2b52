"""docs/stripe.md says what the code says: the rights of the key, and settings and checks that exist."""

from __future__ import annotations

import re

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
