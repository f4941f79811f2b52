"""One suite over both billing backends: the same deals lead to the same totals on the same days, to the same words and the same plans.

What Stripe does by itself and what the connector does for it is found out on the way, and held to the table in docs/stripe.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from backend_stories import AREAS, CATALOGUE, REFUSALS, STORIES, Refusal, Story
from stripe_world import stripe_world
from test_flow_catalogue import stock
from world import ROOT, World, world

from connector import app
from connector.sync.plan import preview_of

Plans = dict[str, list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How a story ended: totals by day, status words, and what `plan` said of each deal before it was read; *alarms* on the way."""

    totals: dict[str, Decimal]
    said: dict[str, str | None]
    plans: Plans
    alarms: list[str]


def played(here: World, story: Story) -> Told:
    """Play a story, the clock stopping at nine and late in the evening of each of its days."""
    here.account("acme")
    here.sync()
    stock(here, CATALOGUE)
    plans: Plans = {}
    alarms: list[str] = []
    for n, day in enumerate(story.calendar):
        here.clock.move_to(here.clock.now().replace(year=int(day[:4]), month=int(day[5:7]), day=int(day[8:]), hour=9, minute=0, second=0, microsecond=0))
        known = {r["Id"] for r in here.org.rows("Opportunity")}
        if n == 0:
            story.begin(here)
        if day in story.acts:
            story.acts[day](here)
        plans |= planned(here, day, [r["Id"] for r in here.org.rows("Opportunity") if r["Id"] not in known])
        here.sync()
        alarms += alarmed(here, day)
        here.clock.move_to(here.clock.now().replace(hour=22))
        here.bill()
        here.sync()
        alarms += alarmed(here, day)
    found: dict[str, Decimal] = defaultdict(Decimal)
    for row in here.invoices():
        found[str(row["Issued_On__c"])] += row["Total__c"]
    totals = {day: total for day, total in found.items() if total}
    return Told(totals=totals, said={name: here.said(name)[0] for name in story.said}, plans=plans, alarms=alarms)


def alarmed(here: World, day: str) -> list[str]:
    """Return what reps read on a day of deals that somebody has to look at; in no story anything goes wrong."""
    return [f"{day} {r['Name']}: {r['Billing_Message__c']}" for r in here.org.rows("Opportunity") if r.get("Billing_Status__c") == "Needs attention"]


def planned(here: World, day: str, records: list[str]) -> Plans:
    """Return what `plan` shows of records that were just made: days, totals and lines of their invoices."""
    found: Plans = {}
    with app.writing_house(here.config, "test", clock=here.clock) as house:
        for record in records:
            preview = preview_of(house.seam, record).preview
            name = f"{day} {here.org.get('Opportunity', record)['Name']}"
            # on one invoice, credits of facts follow the lines they credit, whose places are those of the invoice at Stripe
            found[name] = [(i.on, i.due_on, i.total, sorted(i.lines, key=repr)) for i in preview.invoices] if preview is not None else []
    return found


_on_internal: dict[str, Told] = {}


def internal(folder: Path, story: Story) -> Told:
    """Play a story on the internal engine, once."""
    if story.name not in _on_internal:
        with world(folder, **story.config) as here:
            _on_internal[story.name] = played(here, story)
    return _on_internal[story.name]


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
def test_the_internal_engine(tmp_path: Path, story: Story) -> None:
    """Each story leads to its totals and its status words on the internal engine."""
    told = internal(tmp_path, story)
    assert told.totals == story.totals
    assert told.said == story.said
    assert told.alarms == []


NOT_YET: set[str] = set()
ON_STRIPE = [pytest.param(s, id=s.name, marks=[pytest.mark.xfail(strict=True)] if s.name in NOT_YET else []) for s in STORIES]


@pytest.mark.parametrize("story", ON_STRIPE)
def test_on_stripe(tmp_path: Path, story: Story) -> None:
    """Each story leads to the same totals and status words on Stripe, its plans are the same, and docs/stripe.md says how it is done."""
    with stripe_world(tmp_path / "stripe", **story.config) as here:
        told = played(here, story)
        how = way_of(here)
        differing = here.query("SELECT data FROM event WHERE name = 'invoice.differs'")
    assert differing == []  # Stripe billed every line as the engine expected it
    assert told.totals == story.totals
    assert told.said == story.said
    assert told.alarms == []
    assert told.plans == internal(tmp_path / "internal", story).plans
    assert how == documented()[story.feature], f"run `python tests/test_backends.py` to bring docs/stripe.md up to date ({story.feature}: {how})"


# ---------------------------------------------------------------- the table of capabilities

TABLE = ROOT / "docs" / "stripe.md"
BEGIN, END = "<!-- capabilities -->", "<!-- /capabilities -->"
STRIPE_ALONE, BESIDE, OURS = "yes", "yes, parts as items of ours", "yes, as items of ours"


def way_of(here: Any) -> str:
    """Return who makes the lines of a story's invoices: Stripe by itself, the connector, or both."""
    # a fee that rides on a phase is Stripe's, and so is what was left to its own proration
    sent = "SELECT key FROM stripe_line WHERE invoice_item NOT LIKE 'proration%' AND (invoice_item <> '' OR data NOT LIKE '%one_time%')"
    ours = here.query(f"SELECT COUNT(*) FROM ({sent}) s")[0][0]
    theirs = here.query(f"SELECT COUNT(*) FROM line WHERE key NOT IN ({sent})")[0][0]
    if not ours:
        return STRIPE_ALONE
    return BESIDE if theirs else OURS


def documented() -> dict[str, str]:
    """Return the table of docs/stripe.md: who makes the lines, by feature."""
    block = TABLE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line.startswith("| ")]
    return {row[0]: row[2] for row in rows[1:]}


def table(ways: dict[str, str]) -> str:
    """Return the table as docs/stripe.md has it: area by area, what is refused at the end of each."""
    rows, area = ["| feature | internal engine | on Stripe |", "|---|---|---|"], ""
    for story in [*STORIES, None]:
        following = AREAS.get(story.name) if story is not None else None
        if area and (story is None or following):
            rows += [f"| {r.feature} | yes | {refused_in_words(r)} |" for r in REFUSALS if r.area == area]
        if following:
            area = following
            rows.append(f"| **{area}** | | |")
        if story is not None and story.feature in ways:
            rows.append(f"| {story.feature} | yes | {ways[story.feature]} |")
    return "\n".join(rows)


def refused_in_words(refusal: Refusal) -> str:
    """Return the cell of what is refused."""
    return f"refused: {refusal.why}"


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda r: r.feature)
@pytest.mark.parametrize("backend", ["internal", "stripe"])
def test_what_stripe_refuses(tmp_path: Path, backend: str, refusal: Refusal) -> None:
    """What the internal engine does and Stripe cannot is refused there in words, with nothing sent of it; docs/stripe.md says so."""
    with (stripe_world if backend == "stripe" else world)(tmp_path, **refusal.config) as here:
        here.account("acme")
        refusal.begin(here)
        written = 0 if refusal.request or "euros" not in here.ids else written_at(here)
        here.sync()
        if refusal.request:
            written = written_at(here)
            number = {} if "customer" in refusal.data else {"invoice": here.invoices()[-1]["Number__c"]}
            intent = here.ask(refusal.request, **number, **refusal.data)
            said, is_refused = str(intent.result.get("message", "")), intent.state == "refused"
        else:
            status, said = here.said("base")
            is_refused = status == "Needs attention"
        assert is_refused == (backend == "stripe"), said
        if is_refused:
            assert refusal.said in said
            assert written_at(here) == written
    assert documented()[refusal.feature] == refused_in_words(refusal), "run `python tests/test_backends.py`"


def written_at(here: World) -> int:
    """Return how many requests changed something at Stripe; 0 where nobody bills there."""
    server = getattr(here, "stripe_server", None)
    return sum(1 for entry in server.faults.log if entry.method != "GET") if server is not None else 0


def write_table(open_world: Callable[..., AbstractContextManager[Any]], folder: Path) -> None:
    """Play every story that Stripe can tell and write the table."""
    ways: dict[str, str] = {}
    for story in STORIES:
        if story.name in NOT_YET:
            continue
        with open_world(folder / story.name, **story.config) as here:
            played(here, story)
            ways[story.feature] = way_of(here)
    before, _, rest = TABLE.read_text(encoding="utf-8").partition(BEGIN)
    TABLE.write_text(f"{before}{BEGIN}\n\n{table(ways)}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        write_table(stripe_world, Path(made))
