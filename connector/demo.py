"""The demo: the whole product on embedded defaults, and a sales story of six months played through it.

A demo CRM on its own port, the internal engine and an SQLite ledger in a temporary folder share one shifted clock (decision
D-30). What the rep does happens in the CRM; everything else is done by the same passes that the daemon runs.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from connector import app, printing, service
from connector.billing import books, catalogue
from connector.billing.figures import Figures, figures
from connector.config import demo_config
from connector.core.money import major
from connector.core.terms import Coupon, Interval, Price, Tier
from connector.demo_stripe import AFTERNOON, Elsewhere, arrival, elsewhere, on_stripe
from connector.errors import ConfigError, Problem, Where, invariant
from connector.kit import observe, shipped, yamlpos
from connector.kit.clock import ShiftedClock
from connector.lookalike.crm.gate import admin_token
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.orgs import org_from, settings_from_words
from connector.lookalike.crm.seed import seed, seed_from
from connector.lookalike.crm.seed_catalogue import catalogue_products
from connector.lookalike.crm.server import CrmServer, serve
from connector.sync import ledger, rounds, sending
from connector.sync.seam import Tally
from connector.web.views import RunRow

START = date(2026, 1, 1)
_HOUR = 9
_TICK_S = 3
_MAPPINGS = ("mappings/salesforce-opportunity.yaml", "mappings/salesforce-quote.yaml")  # the demo's org is without Salesforce CPQ
_SHOWN = (
    "acme_seats",
    "acme_upgrade",
    "borealis_ramp",
    "cobalt_licence",
    "delta_platform",
    "everest_support",
    "everest_cancel",
    "fjord_seats",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One day of the story: what the rep does (in words and in the CRM); afterwards the connector reads, bills, writes back."""

    on: date
    text: str
    act: Callable[[Org, dict[str, str]], None]


def _win(*names: str) -> Callable[[Org, dict[str, str]], None]:
    def act(org: Org, ids: dict[str, str]) -> None:
        for name in names:
            _edit(org, "Opportunity", ids[name], StageName="Closed Won")

    return act


def _edit(org: Org, kind: str, record: str, **fields: Any) -> None:
    with org.lock, org.transaction(user=org.rep_user):
        org.update(kind, record, fields)


def _accept_and_win(org: Org, ids: dict[str, str]) -> None:
    _edit(org, "Opportunity", ids["delta_platform"], SyncedQuoteId=ids["delta_quote"])
    _edit(org, "Quote", ids["delta_quote"], Status="Accepted")
    _edit(org, "Opportunity", ids["delta_platform"], StageName="Closed Won")


def _nothing(_org: Org, _ids: dict[str, str]) -> None:
    """A billing day on which the rep does nothing."""


STORY = (
    Step(
        on=date(2026, 1, 1),
        text="Won: Acme, 10 seats at 29.00 a month; Borealis, 50 seats at 480.00 a year, then 100, then 150 at 456.00;\n"
        "             Cobalt, licence 12,000.00 a year + setup 2,500.00; Everest, support 450.00 a month; Fjord, 4 seats",
        act=_win("acme_seats", "borealis_ramp", "cobalt_licence", "everest_support", "fjord_seats"),
    ),
    Step(on=date(2026, 2, 1), text="Delta accepts its quote (3,600.00 a quarter less 5 %, 2 training days at 900.00); the rep wins the deal", act=_accept_and_win),
    Step(on=date(2026, 3, 1), text="Billing day", act=_nothing),
    Step(on=date(2026, 3, 15), text="Acme upgrades in the middle of the month: 5 more seats (17 of 31 days of March, then every month)", act=_win("acme_upgrade")),
    Step(on=date(2026, 4, 1), text="Everest cancels its support as of 1 May", act=_win("everest_cancel")),
    Step(on=date(2026, 5, 1), text="Billing day", act=_nothing),
    Step(on=date(2026, 6, 1), text="Billing day", act=_nothing),
    Step(on=date(2026, 7, 1), text="Billing day", act=_nothing),
)


# Who pays when, days after the invoice's date; whoever is not listed has not paid yet.
_PAYS_AFTER_DAYS = {
    "Acme Analytics": 20, "Cobalt Mining": 28, "Borealis Energy": 30, "Everest Outdoor": 25, "Gaia Gardens": 14, "Helios Solar": 21, "Iris Optics": 20,
}  # fmt: skip


def at_nine(day: date) -> datetime:
    """Return nine o'clock UTC of a day of the story."""
    return datetime(day.year, day.month, day.day, _HOUR, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the story is played: the CRM's org, its records by name, the shared clock, where to say what happens, Stripe's look-alike."""

    org: Org
    ids: dict[str, str]
    clock: ShiftedClock
    say: Callable[[str], None]
    stripe: Elsewhere | None = None

    def customers_pay(self, house: app.House, today: date) -> None:
        """Let the money arrive that customers sent up to today, wherever it is taken."""
        if self.stripe is not None:
            self.stripe.customers_pay(today)
        else:
            _customers_pay(house, today)

    def hour(self, day: date) -> datetime:
        """Return the hour of a day at which everything of it has happened: at Stripe what began later on a day is renewed later, too."""
        return at_nine(day) if self.stripe is None else arrival(at_nine(day), self.clock.now())


# ---------------------------------------------------------------- what the seller knows beside the CRM: its catalogue, and what is used

_MONTH, _YEAR = Interval(unit="month"), Interval(unit="year")
PRICES = (
    Price(
        id="analytics-seat", product="ANALYTICS", interval=_MONTH, tiers_mode="graduated",
        tiers=(Tier(up_to=Decimal(10), unit_amount=Decimal(1200)), Tier(up_to=Decimal(50), unit_amount=Decimal(1000)), Tier(up_to=None, unit_amount=Decimal(800))),
    ),
    Price(
        id="messages", product="MESSAGES", interval=_MONTH, tiers_mode="volume",
        tiers=(Tier(up_to=Decimal(100), unit_amount=Decimal(500)), Tier(up_to=None, unit_amount=Decimal(400))),
    ),
    Price(id="sensor-pack", product="SENSORS", interval=_MONTH, unit_amount=Decimal(2500), divide_by=10),
    Price(id="archive", product="ARCHIVE", interval=_MONTH, unit_amount=Decimal(6000), timing="in_arrears"),
    Price(id="insurance-year", product="INSURANCE", interval=_YEAR, unit_amount=Decimal(24000)),
    Price(
        id="api-calls", product="API-CALLS", interval=_MONTH, usage_type="metered", timing="in_arrears", tiers_mode="graduated",
        tiers=(Tier(up_to=Decimal(1000)), Tier(up_to=Decimal(10000), unit_amount=Decimal(2)), Tier(up_to=None, unit_amount=Decimal(1))),
    ),
    Price(id="traffic-gb", product="TRAFFIC-GB", interval=_MONTH, usage_type="metered", timing="in_arrears", unit_amount=Decimal("12.5")),
    Price(id="onboarding", product="ONBOARDING", unit_amount=Decimal(75000)),
)  # fmt: skip
COUPONS = (
    Coupon(id="WELCOME10", percent_off=Decimal(10), duration="repeating", duration_in_months=3),
    Coupon(id="LAUNCH50", amount_off=5000, duration="once"),
)
_USED_A_DAY = {"API-CALLS": 250, "TRAFFIC-GB": 40}
_USAGE_DAYS = 400


def stock(house: app.House, currency: str) -> None:
    """Fill the books' catalogue with the prices and coupons that the CRM's products and deals may name."""
    rows: list[dict[str, Any]] = [
        {"kind": "price", "id": p.id, "product": p.product, "currency": currency.lower(), "data": catalogue.price_to_data(p), "active": True, "row": "demo"}
        for p in PRICES
    ]
    for coupon in COUPONS:
        said = currency.lower() if coupon.amount_off is not None else ""
        rows.append({"kind": "coupon", "id": coupon.id, "currency": said, "data": catalogue.coupon_to_data(coupon), "active": True, "row": "demo"})
    with house.database.transaction() as unit:
        house.billing.carry_out("catalogue.import", {"rows": rows}, unit, house.clock.now(), key="demo/catalogue", actor="demo")


def customers_use(house: app.House, org: Org, since: date, until: date) -> None:
    """Record what customers use of metered products on each day from *since* up to but not including *until*: each day once."""
    days = [since + timedelta(days=n) for n in range(min((until - since).days, _USAGE_DAYS))]
    rows = []
    with org.lock:
        for line in org.rows("OpportunityLineItem"):
            code, deal = line.get("ProductCode"), org.row("Opportunity", line["OpportunityId"]) or {}
            if code in _USED_A_DAY and deal.get("Billing_Contract_Id__c"):
                rows += [
                    {
                        "id": f"{deal['Billing_Contract_Id__c']}/{code}/{day}", "contract": deal["Billing_Contract_Id__c"], "for": str(code),
                        "time": day.isoformat(), "quantity": str(_USED_A_DAY[str(code)] + day.toordinal() * 7 % 30),
                    }
                    for day in days
                ]  # fmt: skip
    if rows:
        with house.database.transaction() as unit:
            done = house.billing.carry_out("usage.record", {"rows": rows}, unit, house.clock.now(), key=f"demo/usage/{until}", actor="demo")
            ledger.tell_crm(unit, done.deals)


# ---------------------------------------------------------------- playing


def play(house: app.House, scenery: Stage) -> Tally:
    """Play the story to its end; return what was done."""
    tally = Tally()
    for step in STORY:
        scenery.clock.move_to(at_nine(step.on))
        step.act(scenery.org, scenery.ids)
        deals, invoices = tally.applied, books_figures(house).invoices
        scenery.customers_pay(house, step.on)
        rounds.sync(house.seam, tally)
        rounds.bill(house.seam, scenery.clock.now(), tally)
        if scenery.stripe is not None:
            scenery.clock.move_to(at_nine(step.on).replace(hour=AFTERNOON))
            rounds.sync(house.seam, tally)
            rounds.bill(house.seam, scenery.clock.now(), tally)
        made = books_figures(house).invoices - invoices
        scenery.say(f"{step.on:%d %b %Y}  {step.text}\n             -> {tally.applied - deals} deals applied, {made} invoices made")
    return tally


def _customers_pay(house: app.House, today: date) -> None:
    """Record the bank transfers that arrived up to today."""
    with house.database.transaction() as unit:
        for invoice in books.invoices(unit, status="open"):
            days = _PAYS_AFTER_DAYS.get(invoice.customer)
            paid_on = invoice.issued_on + timedelta(days=days) if days is not None else None
            if paid_on is not None and paid_on <= today:
                data = {"invoice": invoice.number, "on": paid_on.isoformat()}
                done = house.billing.carry_out("invoice.pay", data, unit, house.clock.now(), key=f"demo/{invoice.number}", actor="demo")
                ledger.tell_crm(unit, done.deals)


def summary(org: Org, ids: dict[str, str], totals: dict[str, Decimal], currency: str) -> str:
    """Return the story's end as a sales lead reads it: from the CRM records, beside the books' own sums."""
    rows = []
    for name in _SHOWN:
        record = org.get("Opportunity", ids[name])
        rows.append(
            (
                record["Name"],
                record.get("Billing_Status__c"),
                _amount(record.get("Contract_Value__c")),
                _amount(record.get("Amount_Billed__c")),
                _amount(record.get("Amount_Due__c")),
                record.get("Next_Invoice_Date__c"),
            )
        )
    text = printing.table(("deal", "status", "value", "billed", "due", "next invoice"), rows, right=(2, 3, 4))
    messages = [f"  {org.get('Opportunity', ids[n])['Name']}: {org.get('Opportunity', ids[n]).get('Billing_Message__c')}" for n in _SHOWN]
    crm_total = sum((r.get("Amount_Billed__c") or Decimal(0) for r in org.rows("Opportunity")), Decimal(0))
    invoices = [r for r in org.rows("Billing_Invoice__c") if not r.get("IsDeleted")]
    invoice_total = sum((r["Total__c"] for r in invoices), Decimal(0))
    lines = [
        text,
        "What the rep reads:",
        *messages,
        "",
        f"Billed in all: {_amount(crm_total)} {currency} on the deals in the CRM,",
        f"  {_amount(invoice_total)} {currency} on {len(invoices)} invoice rows in the CRM,",
        f"  {_amount(totals['total'])} {currency} on {totals['count']} invoices in the books.",
    ]
    return "\n".join(lines)


def _amount(value: Decimal | None) -> str:
    return "" if value is None else f"{value:,.2f}"


def books_figures(house: app.House) -> Figures:
    """Return the books' own sums."""
    with house.database.read() as unit:
        return figures(unit)


def books_total(house: app.House, currency: str) -> dict[str, Decimal]:
    """Return the sum (major units) and number of finalized invoices in the books."""
    found = books_figures(house)
    billed, _due = found.by_currency.get(currency.lower(), (0, 0))
    return {"total": major(billed, currency), "count": Decimal(found.invoices)}


def run(*, once: bool, port: int, crm_port: int, is_json: bool, backend: str = "internal", stripe_port: int = 0) -> int:
    """Start everything, play the story, print the summary; with *once* exit, else keep running until Ctrl-C."""
    clock = ShiftedClock(at_nine(START))
    say: Callable[[str], None] = (lambda _text: None) if is_json else (lambda text: print(text, flush=True))
    with tempfile.TemporaryDirectory(prefix="connector-demo-") as folder:
        org = Org(clock=clock.now, path=Path(folder) / "crm.db")
        ids = seed(org, START)
        seed_from(org, catalogue_products(), known=ids)
        with CrmServer(org, port=0 if once else crm_port) as crm, ExitStack() as stack:
            database = f"sqlite:///{folder}/connector.db"
            config = demo_config(database=database, crm_url=crm.url, mappings=_mappings(Path(folder)), port=port)
            stripe = None
            if backend == "stripe":
                stripe = stack.enter_context(elsewhere(clock, org.currency, _PAYS_AFTER_DAYS, port=0 if once else stripe_port))
                config = on_stripe(config, stripe.url)
            scenery = Stage(org=org, ids=ids, clock=clock, say=say, stripe=stripe)
            observe.configure(config.log.format, "warning", sys.stderr)
            with app.writing_house(config, "demo", clock=clock) as house:
                stock(house, org.currency)
                _played(house, scenery, is_json=is_json)
                if once:
                    return 0
                moves: SimpleQueue[date] = SimpleQueue()
                crm.front.move_clock = moves.put if stripe is not None else lambda day: clock.move_to(at_nine(day))
                return _keep_running(house, scenery, moves)


def _played(house: app.House, scenery: Stage, *, is_json: bool) -> None:
    """Play the story and print its end; CRM, books and console must show the same sum."""
    org, ids = scenery.org, scenery.ids
    play(house, scenery)
    totals = books_total(house, org.currency)
    there = scenery.stripe.totals(org.currency) if scenery.stripe is not None else None
    with house.database.read() as unit:
        console = service.console_view(house, unit, service.Watch())
    shown = {count.label: count.value for group in console.groups for count in group.counts}
    if is_json:
        records = [dict(org.get("Opportunity", ids[n])) for n in _SHOWN]
        result = {"opportunities": records, "books": totals, "console": shown}
        if there is not None:
            result["stripe"] = {"total": there[0], "count": there[1]}
        sys.stdout.write(printing.json_text(result) + "\n")
    else:
        billed = shown[f"billed, {org.currency}"]
        scenery.say("\n" + summary(org, ids, totals, org.currency))
        if there is not None:
            scenery.say(f"  {_amount(there[0])} {org.currency} on {there[1]} invoices at Stripe's look-alike, by its own arithmetic.")
        scenery.say(f"The console says: billed {billed}.")
    in_crm = sum((r.get("Amount_Billed__c") or Decimal(0) for r in org.rows("Opportunity")), Decimal(0))
    invariant(in_crm == totals["total"], "the CRM's deals add up to the books' invoices")
    invariant(there is None or there == (totals["total"], int(totals["count"])), "the books hold what Stripe billed")


def _keep_running(house: app.House, scenery: Stage, moves: SimpleQueue[date]) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _n, _f: stop.set())
    last: list[RunRow] = []
    told = house.clock.now().date()
    with service.pages(house, service.Watch(runs=lambda: tuple(last))) as url:
        scenery.say(
            f"\nConsole:  {url}/console\nDemo CRM: {house.config.crm.url}/   (win a deal there; it is billed within seconds)\n"
            + (f"Stripe:   {scenery.stripe.url}/   (the look-alike; links of invoices lead there)\n" if scenery.stripe is not None else "")
            + "Time goes on at the pace of this machine; the demo CRM's page moves it by a day or a month.\nCtrl-C ends it."
        )
        while not stop.wait(_TICK_S):
            while not moves.empty():
                told = go_on(house, scenery, told, moves.get())
            last[:] = [RunRow(job="round and billing run", state="ok", tone="good", next=f"every {_TICK_S} s", **turn(house, scenery, told))]
            told = house.clock.now().date()
    return 0


def go_on(house: app.House, scenery: Stage, told: date, day: date) -> date:
    """Let the days up to *day* pass one by one: what was used since *told* must be at Stripe before its period ends. Return *day*."""
    since = scenery.clock.now().date()
    arrives = scenery.hour(day)
    for passed in (since + timedelta(days=n) for n in range(1, (day - since).days + 1)):
        scenery.clock.move_to(at_nine(passed) - timedelta(hours=1))
        customers_use(house, scenery.org, told, passed)
        sending.send(house.seam, Tally())
        told = passed
    scenery.clock.move_to(arrives)
    return told


def turn(house: app.House, scenery: Stage, told: date) -> dict[str, str]:
    """Do what the daemon does in one turn, after customers paid and used what they have since *told*; return when and what it did."""
    began, tally = house.clock.now(), Tally()
    rounds.sync(house.seam, tally)
    scenery.customers_pay(house, began.date())
    customers_use(house, scenery.org, told, began.date())
    billed = rounds.bill(house.seam, began, tally, reads_crm=False)
    done = f"{tally.staged} read, {tally.applied} applied, {tally.written} written, {billed.invoices} invoices"
    return {"started": service.time_text(began, house.config.timezone), "summary": done}


def _mappings(folder: Path) -> Sequence[Path]:
    """Write the shipped mappings that the demo's org has the objects for into *folder*; return their files."""
    files = []
    for name, text in shipped.shipped_files().items():
        if name in _MAPPINGS:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            files.append(target)
    return files


# ---------------------------------------------------------------- the demo CRM alone


def serve_crm(*, port: int, seed_file: Path | None, file: Path | None, words: Sequence[str] = ()) -> int:
    """Run the demo CRM in the foreground until it is stopped. words - settings of a new org, over those of the seed file."""
    is_new = file is None or not file.exists()
    if is_new:
        records = _seed_data(seed_file) if seed_file else {}
        org = org_from({**records.pop("org", {}), **settings_from_words(words)}, path=file)
        if seed_file is None:
            seed(org, datetime.now(UTC).date().replace(day=1))
        else:
            seed_from(org, records)
    else:
        org = Org(path=file)
    print(f"Demo CRM on http://127.0.0.1:{port}/ (client id demo-client, secret demo-secret). Ctrl-C ends it.", flush=True)
    if org.is_bare():
        print(f"It has none of our fields yet; the administrator's token for `connector crm deploy` is '{admin_token(org)}'.", flush=True)
    serve(org, port=port)
    return 0


def _seed_data(file: Path) -> dict[str, Any]:
    located = yamlpos.loads(file.read_text(encoding="utf-8"), str(file))
    data = located.value
    if not isinstance(data, dict) or not all(isinstance(v, dict if k == "org" else list) for k, v in data.items()):
        problem = Problem(
            code="bad-seed",
            message="A seed file is a mapping from object names to lists of records; `org` is a mapping of settings.",
            hint="Write `Account: [{Name: …}]`; docs/demo-crm.md has an example.",
            where=Where(file=str(file)),
        )
        raise ConfigError([problem])
    return data
