"""The kinds of work that are killed in tests/test_stripe_kill.py: how each is prepared, what is done, and how it is taken up again."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from backend_stories import CATALOGUE, STORIES, Story
from stripe_asking import at_stripe, keep
from stripe_killing import Act, Work
from stripe_world import StripeWorld
from test_flow_catalogue import stock
from test_flow_stripe_identity import sold
from test_flow_stripe_tax_credits import french, paid
from test_import_contracts import HEAD
from test_stripe_reading import call, deed
from test_stripe_webhooks import signed
from world import at

from connector import app, hooked, posting
from connector.asking import imports, stripe_account
from connector.billing.stripe_backend.client import StripeCalls
from connector.sync import rounds
from connector.sync.seam import Tally


def round_of(made: StripeWorld) -> None:
    """Do what the daemon does in a round: read, decide, send, read back, bill, tell, mail."""
    with app.writing_house(made.config, "sync", clock=made.clock) as house:
        tally = Tally()
        rounds.sync(house.seam, tally)
        rounds.bill(house.seam, house.clock.now(), tally)
        posting.post(house.config, house.database, house.clock.now(), attach=lambda *_: ())  # the renderer's own threads are not in a fork


def later(made: StripeWorld) -> None:
    """Do so ten minutes later, when what was being tried is tried again."""
    made.clock.move_to(made.clock.now() + timedelta(minutes=10))
    round_of(made)


EVERYWHERE = bool(os.environ.get("KILL_EVERYWHERE"))
_STEPS = (0, 6, 26, 60)
TODAY = (datetime.now(UTC) - timedelta(days=10)).date().isoformat()  # requests go by the machine's clock


def some(work: Work) -> Callable[[int], bool]:
    """Choose of the worlds that a work leaves two to four, from a place of its own on; every one where KILL_EVERYWHERE is set."""
    begin = zlib.crc32(work.name.encode()) % 4
    return lambda number: EVERYWHERE or number - begin in _STEPS


def work_of(name: str, prepare: Act, run: Act = round_of, again: Act = round_of, **more: Any) -> Work:
    """Return a kind of work that a round does and another takes up."""
    return Work(name=name, prepare=prepare, run=run, again=again, **more)


# ---------------------------------------------------------------- what reps close: the stories of both backends, at one of their days

_STORIES = {s.name: s for s in STORIES}
_BEGINNINGS = ("setup", "mixed", "one_off", "ramp", "tiers", "usage", "prebill", "vat", "trial", "backdated", "up_front")
_ACTS = (
    ("more_now", "2026-01-16"), ("more_next", "2026-01-16"), ("fewer", "2026-01-16"), ("new_item", "2026-01-16"), ("by_the_second", "2026-01-16"),
    ("planned", "2026-01-10"), ("planned", "2026-02-16"), ("up_front", "2026-01-10"), ("late_change", "2026-03-10"), ("two_changes", "2026-01-16"),
    ("cancel_now", "2026-01-16"), ("cancel_waiting", "2026-01-21"), ("cancel_usage", "2026-01-16"), ("cancel_period", "2026-01-16"),
    ("cancel_term", "2026-01-16"), ("pause", "2026-01-16"), ("pause", "2026-02-15"), ("auto_renew", "2026-03-01"), ("renew", "2026-02-10"),
    ("quote", "2026-01-05"), ("edited", "2026-01-10"), ("withdrawn", "2026-01-10"), ("prebill", "2026-04-01"), ("later_fee", "2026-02-10"),
    ("mixed", "2026-02-01"),
)  # fmt: skip


def _played(story: Story, until: str) -> Act:
    def prepare(made: StripeWorld) -> None:
        made.account("acme")
        made.sync()
        stock(made, CATALOGUE)
        for n, day in enumerate(d for d in story.calendar if d <= until):
            made.clock.move_to(at(day) + timedelta(minutes=10 * n))  # behind the time of day of what began before, however slow this is
            if n == 0:
                story.begin(made)
            if day in story.acts:
                story.acts[day](made)
            if day < until:
                round_of(made)
                round_of(made)

    return prepare


def _told(name: str, day: str) -> Work:
    story = _STORIES[name]
    return work_of(f"{name} {day}", _played(story, day), how=dict(story.config))


def _taxed(prepare: Act) -> Act:
    """Prepare with Stripe finding the tax: what a change gives back is a credit note."""

    def prepared(made: StripeWorld) -> None:
        made.config = replace(made.config, tax=replace(made.config.tax, kind="stripe"))
        made.stripe.machine["registrations"] = {"FR": "20"}
        prepare(made)

    return prepared


# ---------------------------------------------------------------- several customers, several subscriptions


def _three_deals(made: StripeWorld) -> None:
    """A back-dated deal, an upgrade of it, and one that begins today, monthly and yearly in one, with a set-up fee; two customers."""
    made.account("harbor")
    lines = ({"UnitPrice": "60.00", "Quantity": 2}, {"product": "platform", "UnitPrice": "900.00", "Billing_Frequency__c": "Annual"}, {"product": "setup", "UnitPrice": "250.00"})
    made.deal("harbor_mix", *lines, account="harbor", CloseDate="2026-03-20", Contract_Start_Date__c="2026-03-20")
    made.win("acme_seats", "acme_upgrade", "harbor_mix")


def _apart(made: StripeWorld) -> None:
    """One deal that becomes two subscriptions (more items than one can hold), of a customer who has one already."""
    made.account("vega")
    made.deal("first", {}, account="vega")
    made.win("first")
    round_of(made)
    for n in range(21):
        made.add("Product2", f"part{n}", Name=f"Part {n}", ProductCode=f"PART-{n}", IsActive=True, Charge_Type__c="Recurring")
        made.add("PricebookEntry", f"part{n}_entry", Pricebook2Id="@standard", Product2Id=f"@part{n}", UnitPrice=Decimal("1.00"), IsActive=True)
    made.deal("parts", *({"product": f"part{n}", "UnitPrice": "10.00"} for n in range(21)), account="vega")
    made.win("parts")


def _credited_with_tax(made: StripeWorld) -> None:
    """Fewer seats where Stripe finds the tax: a credit note on the invoice that was paid, and the seats that are left billed anew."""
    french(made)
    sold(made, "harbor")
    paid(made)
    made.clock.move_to(at("2026-04-04") + timedelta(hours=1))
    head = {"Billing_Action__c": "Amend", "Amends_Contract_Id__c": made.contracts()[0][0], "Billing_Effective_Date__c": "2026-04-04", "CloseDate": "2026-04-04"}
    made.deal("fewer", {"UnitPrice": "60.00", "Quantity": -1}, account="harbor", **head)
    made.win("fewer")


# ---------------------------------------------------------------- what people ask for


def _open_invoices(made: StripeWorld, count: int) -> list[str]:
    """Customers with one open invoice of 400.00 each; return the numbers of the invoices."""
    for n in range(count):
        made.account(f"vega{n}")
        made.deal(f"seats{n}", {"Quantity": 4}, account=f"vega{n}", Contract_Term_Months__c=12, StageName="Closed Won")
    round_of(made)
    by_deal = {r["Opportunity__c"]: str(r["Number__c"]) for r in made.invoices()}
    return [by_deal[made.ids[f"seats{n}"]] for n in range(count)]


def _paid(made: StripeWorld, number: str) -> None:
    from connector.lookalike.stripe.machine import control

    (found,) = [i for i in made.objects("invoice") if i["number"] == number]
    with made.stripe.lock:
        control.pay(made.stripe, found["id"])


def _invoices_asked(made: StripeWorld) -> None:
    """Credit, refund, void, pay, give up, send and charge, each an invoice of its own."""
    numbers = _open_invoices(made, 7)
    _paid(made, numbers[1])
    round_of(made)
    keep(made, "customer.payment_method", customer="Vega6", method="stripe:pm_card_visa")
    round_of(made)
    keep(made, "invoice.credit", invoice=numbers[0], amount=6_000, reason="apology")
    keep(made, "invoice.refund", invoice=numbers[1], amount=15_000, reason="late")
    keep(made, "invoice.void", invoice=numbers[2])
    keep(made, "invoice.pay", invoice=numbers[3], on="2026-01-01", method="cheque", reference="CHQ 17")
    keep(made, "invoice.uncollectible", invoice=numbers[4])
    keep(made, "invoice.send", invoice=numbers[5])
    keep(made, "invoice.charge", invoice=numbers[6])


def _customers_asked(made: StripeWorld) -> None:
    """A one-off invoice, a moved balance, a payment method, a discount, other details; a payment typed in the CRM."""
    _open_invoices(made, 2)
    with_coupon = {"kind": "coupon", "id": "TEN", "data": {"percent_off": "10", "duration": "forever"}, "currency": "", "active": True, "row": "1"}
    keep(made, "catalogue.import", rows=[with_coupon])
    round_of(made)
    lines = [{"description": "Training", "quantity": 2, "unit_amount": "15000", "tax": "20"}, {"description": "Travel", "unit_amount": "4990"}]
    keep(made, "invoice.create", account="Vega0", currency="eur", lines=lines, days_until_due=14, memo="Thank you")
    keep(made, "customer.adjust", customer="Vega1", amount=-5_000, currency="eur", reason="apology")
    keep(made, "customer.payment_method", customer="Vega0", method="stripe:pm_card_visa")
    keep(made, "customer.discount", customer="Vega1", coupons=["TEN"])
    row = next(r for r in made.invoices() if r["Opportunity__c"] == made.ids["seats0"])
    made.edit(row["Id"], "Billing_Invoice__c", Payment_Received__c=400)


def _usage_asked(made: StripeWorld) -> None:
    """Two records of use."""
    _played(_STORIES["usage"], "2026-01-09")(made)
    made.clock.move_to(at("2026-01-10") + timedelta(hours=3))
    contract = made.contracts()[0][0]
    rows = [{"id": f"u{n}", "contract": contract, "for": "P_GB", "time": f"2026-01-0{n}", "quantity": str(n)} for n in (3, 5)]
    keep(made, "usage.record", rows=rows)


def _migration_asked(made: StripeWorld) -> None:
    """Two contracts go to another price."""
    _played(_STORIES["migration"], "2026-01-09")(made)
    made.deal("other", {"product": "p_gold", "UnitPrice": "77.77"}, account="acme", Contract_Term_Months__c=12)
    made.win("other")
    round_of(made)
    made.clock.move_to(at("2026-01-10") + timedelta(hours=3))
    contracts = sorted(row[0] for row in made.contracts())
    keep(made, "price.migrate", **{"from": "gold", "to": "gold_v2", "at": "now", "proration": "none", "contracts": contracts})


def _quote_accepted(made: StripeWorld) -> None:
    """A quote that its customer accepts on our page."""
    made.account("acme")
    made.deal("base", account="acme", Billing_Action__c="New")
    made.quote("offer", "base", {"Quantity": 3}, Contract_Term_Months__c=12, Billing_Action__c="New", Payment_Terms__c="Net 30")
    round_of(made)


# ---------------------------------------------------------------- reading back


def _happened(made: StripeWorld) -> None:
    """Paid, credited, voided, changed at Stripe; the next period begins."""
    numbers = _open_invoices(made, 3)
    _paid(made, numbers[0])
    made.clock.move_to(at("2026-02-01") + timedelta(hours=3))  # the next period has begun, whenever on that day it does
    credited, voided = (at_stripe(made, number)["id"] for number in numbers[1:])
    call(made, "POST", "/v1/credit_notes", {"invoice": credited, "amount": 5_000})
    deed(made, "void", invoice=voided)
    deed(made, "dispute", invoice=at_stripe(made, numbers[0])["id"])


def _unheard(made: StripeWorld) -> None:
    """The same, and no event tells of it; a subscription was changed by hand."""
    _happened(made)
    (_, subscription, *_) = made.objects("subscription")
    items = [{"id": subscription["items"]["data"][0]["id"], "quantity": 5}]
    deed(made, "subscription", subscription=subscription["id"], change={"items": items, "proration_behavior": "none"})
    made.stripe.events.clear()


def _night(made: StripeWorld, *, is_deep: bool = False) -> None:
    """Do what the daemon does at night, or `sync --full`."""
    with app.writing_house(made.config, "sync", clock=made.clock) as house:
        rounds.reconcile(house.seam, Tally(), is_deep=is_deep)


def _delivered(made: StripeWorld) -> None:
    """The same; Stripe delivered the events, which were accepted, and lists them no more: nobody has worked them off."""
    known = len(made.stripe.events)
    _happened(made)
    secret = "whsec_killed"
    made.config = replace(made.config, stripe=replace(made.config.stripe, webhook_secret=secret))
    with app.writing_house(made.config, "sync", clock=made.clock) as house:
        for event in made.stripe.events[known:]:
            raw = json.dumps(event).encode()
            assert hooked.taken(house, raw, signed(raw, at=made.clock.now(), secret=secret))
    assert made.query("SELECT COUNT(*) FROM stripe_event WHERE state = 'new'")[0][0] > 5
    made.stripe.events.clear()


def _mailing(made: StripeWorld) -> None:
    """Two invoices to be mailed by us."""
    for n in range(2):
        made.account(f"vega{n}")
        made.deal(f"seats{n}", {"Quantity": 4}, account=f"vega{n}", Contract_Term_Months__c=12, StageName="Closed Won")


# ---------------------------------------------------------------- contracts that come from elsewhere


def _from_file(made: StripeWorld) -> None:
    """Import two contracts of a file, as `connector import contracts FILE` does."""
    path = Path(made.config.database.removeprefix("sqlite:///")).parent / "old.csv"
    rows = [f"OLD-{n},,A{n},Acme {n},ap@acme{n}.example,FR,EUR,2026-01-01,,2026-12-31,gold,30.00,month,{n},\n" for n in (1, 2)]
    path.write_text(HEAD + "".join(rows), encoding="utf-8")
    vars(imports)["open_config"] = lambda _: made.config  # this process is a fork made to die
    for _ in imports.contract_rows(path, path, is_dry=False):
        pass


def _account_with_a_past(made: StripeWorld) -> None:
    """Two subscriptions that the account has already, of customers who bear the accounts' ids."""
    calls = StripeCalls("sk_test_demo", api_base=made.stripe_server.url)
    product = calls.do("products.create", {"name": "Seats", "metadata": {"product_code": "SEAT-TEAM"}}, key="before-1")["id"]
    price = calls.do("prices.create", {"product": product, "currency": "eur", "unit_amount": 2000, "recurring": {"interval": "month"}}, key="before-2")["id"]
    for n in (1, 2):
        about = {"name": f"Old {n}", "email": f"old{n}@old.example", "metadata": {"crm_account": made.account(f"old{n}")}}
        customer = calls.do("customers.create", about, key=f"before-c{n}")["id"]
        how = {"customer": customer, "collection_method": "send_invoice", "days_until_due": 30, "items": [{"price": price, "quantity": n}]}
        calls.do("subscriptions.create", how, key=f"before-s{n}")
    made.clock.move_to(made.clock.now() + timedelta(days=10))


def _from_stripe(made: StripeWorld) -> None:
    """Link them, as `connector import contracts --from stripe --yes` does."""
    vars(stripe_account)["open_config"] = lambda _: made.config  # this process is a fork made to die
    for _ in stripe_account.contract_rows(Path("config.yaml"), where="", is_dry=False):
        pass


def _and_a_round(importing: Act) -> Act:
    def again(made: StripeWorld) -> None:
        importing(made)
        round_of(made)

    return again


ASKED = ("ledger intent",)
"""Who asks a second time has asked twice; what came of it is the same."""
WORKS = (
    work_of("three deals", _three_deals, day="2026-03-20"),
    work_of("two subscriptions", _apart),
    *(_told(name, "2026-01-01") for name in _BEGINNINGS),
    *(_told(name, day) for name, day in _ACTS),
    work_of("fewer 2026-01-16, tax found by Stripe", _taxed(_played(_STORIES["fewer"], "2026-01-16"))),
    work_of("credits where Stripe finds the tax", _credited_with_tax, day="2026-03-20"),
    work_of("requests about invoices", _invoices_asked),
    work_of("requests about customers", _customers_asked),
    work_of("usage", _usage_asked),
    work_of("price migration", _migration_asked),
    work_of("reading back", _happened),
    work_of("webhooks accepted, not worked off", _delivered),
    work_of("nightly sweep", _unheard, run=_night, again=_and_a_round(_night)),
    work_of("sync --full", _unheard, run=partial(_night, is_deep=True), again=_and_a_round(_night)),
    work_of("import of a file", lambda _: None, run=_from_file, again=_and_a_round(_from_file), day=TODAY, but=ASKED),
    work_of("import from Stripe", _account_with_a_past, run=_from_stripe, again=_and_a_round(_from_stripe), day=TODAY, but=ASKED),
    work_of("mails", _mailing, again=later, mails=True),
)
