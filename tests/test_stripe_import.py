"""`connector import contracts --from stripe`: subscriptions that the account has are linked, from a shell, against the look-alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_cli import Shell
from world import world

from connector.billing.stripe_backend.client import StripeCalls
from connector.core.money import rounded
from connector.core.period import plus_months
from connector.kit.db import Database
from connector.lookalike.stripe.account import Account
from connector.lookalike.stripe.server import StripeServer


def day_of(seconds: int) -> date:
    """Return the civil day of one of Stripe's timestamps."""
    return datetime.fromtimestamp(seconds, UTC).date()


@dataclass(slots=True)
class Site:
    """A shell whose configuration bills on a Stripe account that has a past; *calls* are those of whoever used it before."""

    shell: Shell
    calls: StripeCalls
    account: Account
    now: list[datetime]
    number: int = 0
    price: str = ""

    def do(self, call: str, target: str | None = None, **params: Any) -> dict[str, Any]:
        """Do something at Stripe as somebody did before the connector came."""
        self.number += 1
        if call.endswith(".list"):
            return self.calls.do(call, params)
        return self.calls.do(call, params, target=target, key=f"before-{self.number}")

    def customer(self, name: str, email: str = "", **metadata: str) -> str:
        """Make a customer who pays by invoice."""
        return str(self.do("customers.create", name=name, **{k: v for k, v in (("metadata", metadata), ("email", email)) if v})["id"])

    def subscribe(self, customer: str, quantity: int = 3, **more: Any) -> str:
        """Make a subscription of 20.00 EUR a month and seat."""
        given: dict[str, Any] = {"collection_method": "send_invoice", "days_until_due": 30, "items": [{"price": self.price, "quantity": quantity}]}
        return str(self.do("subscriptions.create", customer=customer, **(given | more))["id"])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows of the ledger."""
        database = Database(f"sqlite:///{self.shell.folder}/connector.db")
        try:
            with database.read() as unit:
                return unit.query(sql)
        finally:
            database.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A folder after `connector init` on the Stripe backend, and an account in which subscriptions began 40 days ago."""
    with begun(tmp_path) as found:
        yield found


@contextmanager
def begun(tmp_path: Path, **how: Any) -> Iterator[Site]:
    """Give such a site; *how*: of the world of its CRM."""
    now = [datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=40)]
    account = Account(clock=lambda: now[0], country="FR", currency="eur")
    with world(tmp_path / "crm", **how) as made, StripeServer(account) as server:
        shell = Shell(made, tmp_path / "site")
        shell.folder.mkdir()
        assert shell.run("init")[0] == 0
        for name in ("opportunity", "quote"):
            path = shell.folder / "mappings" / f"salesforce-{name}.yaml"
            path.write_text("\n".join(x for x in path.read_text().splitlines() if "start_from" not in x) + "\n")
        shell.change("https://YOUR-DOMAIN.my.salesforce.com", made.crm.url)
        shell.change("  backend: internal ", "  backend: stripe ")
        shell.change("\nbilling:\n", f"\nstripe:\n  api_key: ${{STRIPE_API_KEY}}\n  api_base: {server.url}\nbilling:\n")
        shell.change("methods: [manual]", "methods: [stripe]")
        shell.env["STRIPE_API_KEY"] = "sk_test_demo"
        found = Site(shell=shell, calls=StripeCalls("sk_test_demo", api_base=server.url), account=account, now=now)
        product = found.do("products.create", name="Seats", metadata={"product_code": "SEAT-TEAM"})
        price = found.do("prices.create", product=product["id"], currency="eur", unit_amount=2000, recurring={"interval": "month"})
        found.price = str(price["id"])
        yield found


def test_what_is_clear_is_linked_and_everything_else_is_reported(site: Site) -> None:
    """A dry run writes nothing; then three customers are linked by account, e-mail and name, a stranger and a paused one are left alone."""
    crm = site.shell.world
    acme, bolt = crm.account("acme"), crm.account("bolt")
    crm.account("dome")
    by_account = site.subscribe(site.customer("A. C. M. E.", salesforce_account_id=acme))
    by_email = site.subscribe(site.customer("Somebody", "Billing@bolt.example"), quantity=5)
    by_name = site.subscribe(site.customer("Dome, Inc."))
    nobody = site.subscribe(site.customer("Stranger", "x@stranger.example"))
    paused = site.subscribe(site.customer("Paused", crm_account=crm.account("paused")))
    site.do("subscriptions.update", paused, pause_collection={"behavior": "void"})
    site.now[0] = datetime.now(UTC)

    status, shown = site.shell.json("import", "contracts", "--from", "stripe")
    assert (status, shown["dry_run"], shown["made"], shown["refused"]) == (1, True, 3, 2), shown
    before = len(site.account.events)
    status, out, err = site.shell.run("import", "contracts", "--from", "stripe", "--yes")
    assert status == 1, err
    assert out.endswith("3 made, 0 unchanged, 2 refused.\n"), out
    assert f"Somebody  {by_email}  made: ct_" in out
    assert f"account {bolt}, found by e-mail" in out
    assert "No account of the CRM has the e-mail or the name of Stranger x@stranger.example." in out
    assert "Its collection is paused; resume it first." in out
    contracts = site.shell.json("contracts", "list")[1]
    assert len(contracts) == 3
    shown = {i["number"]: i["status"] for i in site.shell.json("invoices", "list")[1]}
    latest = [site.account.get("invoice", site.account.get("subscription", s)["latest_invoice"]) for s in (by_account, by_email, by_name)]
    assert shown == {i["number"]: i["status"] for i in latest}  # as they stand there; what they billed is billed
    assert {row[0][:7] for row in site.rows("SELECT key FROM line WHERE invoice_id LIKE 'in_%'")} == {"stripe/"}
    held = site.rows("SELECT subscription FROM stripe_subscription")
    assert {row[0] for row in held} == {by_account, by_email, by_name}
    assert not any(e["type"].startswith(("invoice.created", "customer.subscription.created", "price.", "product.")) for e in site.account.events[before:])
    linked = site.account.get("subscription", by_account)
    assert linked["metadata"]["connector_contract"] in {c["contract"] for c in contracts}
    assert "connector_contract" not in site.account.get("subscription", nobody)["metadata"]
    assert site.account.get("customer", linked["customer"])["metadata"]["crm_account"] == acme
    assert site.rows("SELECT state FROM stripe_push") == [("done",)] * 3

    status, again = site.shell.json("import", "contracts", "--from", "stripe", "--yes")
    assert (again["made"], again["unchanged"]) == (0, 3)
    assert site.shell.json("contracts", "list")[1] == contracts


def test_what_another_orgs_connector_bills_is_left_alone(site: Site) -> None:
    """Two orgs bill in one account: a subscription of the other's connector is not taken over, though its customer is this org's account."""
    acme = site.shell.world.account("acme")
    theirs = {"connector_org": "00DOTHER0000000AAA", "connector_contract": "ct_theirs"}
    named = site.subscribe(site.customer("Acme", salesforce_account_id=acme), metadata=theirs)
    alike = site.subscribe(site.customer("Other", "billing@acme.example", connector_customer="cus_theirs", connector_org=theirs["connector_org"]))
    site.now[0] = datetime.now(UTC)
    status, shown = site.shell.json("import", "contracts", "--from", "stripe", "--yes")
    assert (status, shown["made"], shown["refused"]) == (1, 0, 2), shown
    assert site.account.get("subscription", named)["metadata"] == theirs
    assert "connector_contract" not in site.account.get("subscription", alike)["metadata"]
    said = site.shell.run("import", "contracts", "--from", "stripe")[1]
    assert "The connector of another CRM org, 00DOTHER0000000AAA, bills it." in said
    assert "It is a customer of another CRM org, 00DOTHER0000000AAA" in said


def test_a_deal_that_amends_a_linked_contract_changes_its_own_subscription(site: Site) -> None:
    """Two more seats by a deal that names the contract: the subscription gets a schedule of its own, nothing new is subscribed."""
    crm = site.shell.world
    acme = crm.account("acme")
    mine = site.subscribe(site.customer("A. C. M. E.", salesforce_account_id=acme))
    site.now[0] = datetime.now(UTC)
    status, _, err = site.shell.run("import", "contracts", "--from", "stripe", "--yes")
    assert status == 0, err
    contract = site.shell.json("contracts", "list")[1][0]["contract"]
    today = datetime.now(UTC).date()
    more = {"Billing_Action__c": "Amend", "Amends_Contract_Id__c": contract, "CloseDate": today}
    crm.deal("more", {"Quantity": 2, "UnitPrice": "20.00"}, account="acme", **more)
    crm.win("more")
    status, out, err = site.shell.run("sync")
    assert status == 0, err + out
    assert crm.said("more")[0] == "Active", crm.said("more")
    assert list(site.account.kind("subscription")) == [mine]
    changed = site.account.get("subscription", mine)
    (item,) = changed["items"]["data"]
    assert (item["quantity"], item["price"]["id"]) == (5, site.price)
    assert changed["schedule"] is not None
    start, end = (day_of(item[k]) for k in ("current_period_start", "current_period_end"))
    left = Decimal((end - today).days) / (end - start).days
    (invoice,) = [i for i in site.account.kind("invoice").values() if i["billing_reason"] == "manual"]
    assert invoice["total"] == rounded(10_000 * left) - rounded(6_000 * left)
    sent = len(site.rows("SELECT id FROM stripe_push"))
    status, _, err = site.shell.run("bill")
    assert status == 0, err
    assert len(site.rows("SELECT id FROM stripe_push")) == sent


def test_a_subscription_under_a_schedule_is_linked_with_its_phases(site: Site) -> None:
    """A schedule of 3 seats and from its fourth month 6 becomes one contract with both phases, and goes on when it is amended."""
    crm = site.shell.world
    customer = site.customer("Ramp", salesforce_account_id=crm.account("ramp"))
    began = int(site.now[0].timestamp())
    phases = [
        {"items": [{"price": site.price, "quantity": 3}], "duration": {"interval": "month", "interval_count": 3}},
        {"items": [{"price": site.price, "quantity": 6}], "duration": {"interval": "month", "interval_count": 9}, "proration_behavior": "none"},
    ]
    made = site.do(
        "subscription_schedules.create", customer=customer, start_date=began, end_behavior="cancel", phases=phases,
        default_settings={"collection_method": "send_invoice", "invoice_settings": {"days_until_due": 14}},
    )  # fmt: skip
    site.now[0] = datetime.now(UTC)
    status, out, err = site.shell.run("import", "contracts", "--from", "stripe", "--yes")
    assert status == 0, err + out
    (contract,) = site.shell.json("contracts", "list")[1]
    assert contract["ends_on"] is not None
    assert site.account.get("subscription_schedule", made["id"])["metadata"]["connector_contract"] == contract["contract"]
    status, out, err = site.shell.run("contracts", "cancel", contract["contract"], "--when", "period_end")
    assert status == 0, err
    after = site.account.get("subscription_schedule", made["id"])
    (item,) = site.account.get("subscription", after["subscription"])["items"]["data"]
    assert (after["end_behavior"], after["phases"][-1]["end_date"]) == ("cancel", item["current_period_end"])


def test_a_contract_of_a_file_begins_at_stripe_without_a_charge(site: Site) -> None:
    """Billed elsewhere through the running month, it is a subscription that began in the past: its first invoice is the next month's."""
    site.now[0] = datetime.now(UTC)
    start = plus_months(datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0) - timedelta(days=10), -3)
    through = plus_months(start, 4) - timedelta(days=1)
    account = site.shell.world.account("acme")
    head = "contract,account,name,email,country,currency,start,billed_through,product,unit_price,interval,quantity\n"
    row = f"OLD-1,{account},Acme,ap@acme.example,FR,EUR,{start.date()},{through.date()},SEAT-TEAM,20.00,month,3\n"
    (site.shell.folder / "old.csv").write_text(head + row)
    status, out, err = site.shell.run("import", "contracts", "old.csv")
    assert status == 0, err + out
    assert f"next invoice {through.date() + timedelta(days=1)}, 60.00 EUR" in out
    (made,) = site.account.kind("subscription").values()
    (item,) = made["items"]["data"]
    assert (item["quantity"], day_of(item["current_period_end"])) == (3, through.date() + timedelta(days=1))
    assert [i["total"] for i in site.account.kind("invoice").values() if i["total"]] == []
    site.now[0] = datetime.fromtimestamp(item["current_period_end"], UTC) + timedelta(hours=2)
    site.do("customers.list")
    assert [i["total"] for i in site.account.kind("invoice").values() if i["total"]] == [6000]


def test_only_those_that_fulfil_a_condition_are_linked(site: Site) -> None:
    """`--where` chooses by status, customer and metadata; a name that a subscription does not have is said with those that it has."""
    crm = site.shell.world
    mine = site.subscribe(site.customer("Acme", salesforce_account_id=crm.account("acme")), metadata={"region": "EMEA"})
    site.subscribe(site.customer("Bolt", salesforce_account_id=crm.account("bolt")))
    site.now[0] = datetime.now(UTC)
    status, shown = site.shell.json("import", "contracts", "--from", "stripe", "--where", "metadata.region = 'EMEA'")
    assert (status, [r["id"] for r in shown["rows"]]) == (0, [mine])
    status, _, err = site.shell.run("import", "contracts", "--from", "stripe", "--where", "region = 'EMEA'")
    assert status == 2
    assert "--where names region, which a subscription does not have. Known are id, customer," in err
    status, _, err = site.shell.run("import", "contracts", "old.csv", "--from", "stripe")
    assert (status, "Say either a file or --from stripe." in err) == (2, True)


def test_a_subscription_linked_by_its_deal_is_the_deal_s(site: Site) -> None:
    """An opportunity's id in the metadata gives the contract to that deal: its record says Active, and it is billed no second time."""
    crm = site.shell.world
    account = crm.account("acme")
    deal = crm.deal("seats", {"Quantity": 3, "UnitPrice": "20.00"}, account="acme", CloseDate="2026-01-05")
    site.subscribe(site.customer("Acme", salesforce_account_id=account), metadata={"salesforce_opportunity_id": deal})
    site.now[0] = datetime.now(UTC)
    crm.win("seats")
    status, out, err = site.shell.run("import", "contracts", "--from", "stripe", "--yes")
    assert status == 0, err + out
    status, out, err = site.shell.run("sync")
    assert status == 0, err + out
    assert crm.said("seats")[0] == "Active", crm.said("seats")
    assert len(site.account.kind("subscription")) == 1


def test_a_trial_an_end_and_a_discount_are_linked_as_they_stand(site: Site) -> None:
    """Each becomes a contract that says the same; a billing run later has nothing to send, and Stripe bills on as before."""
    crm = site.shell.world
    ten = site.do("coupons.create", percent_off=10.0, duration="forever", name="Ten")["id"]
    site.subscribe(site.customer("Cut", salesforce_account_id=crm.account("cut")), discounts=[{"coupon": ten}])
    ends = int((datetime.now(UTC) + timedelta(days=300)).timestamp())
    site.subscribe(site.customer("End", salesforce_account_id=crm.account("end")), cancel_at=ends, proration_behavior="none")
    free_until = int((datetime.now(UTC) + timedelta(days=12)).timestamp())
    site.subscribe(site.customer("Try", salesforce_account_id=crm.account("try")), trial_end=free_until)
    site.now[0] = datetime.now(UTC)
    status, out, err = site.shell.run("import", "contracts", "--from", "stripe", "--yes")
    assert status == 0, err + out
    by_name = {c["customer"]: c for c in site.shell.json("contracts", "list")[1]}
    assert {name: c["status"] for name, c in by_name.items()} == {"Cut": "active", "End": "active", "Try": "trialing"}, by_name
    assert by_name["End"]["ends_on"] == str(day_of(ends - 86_400))
    assert "Cut  sub" in out
    assert "54.00 EUR" in out
    sent = len(site.rows("SELECT id FROM stripe_push"))
    status, out, err = site.shell.run("bill")
    assert status == 0, err + out
    assert len(site.rows("SELECT id FROM stripe_push")) == sent, site.rows("SELECT key, plan FROM stripe_push")[sent:]


def test_what_the_connector_made_itself_is_not_linked_again(site: Site) -> None:
    """A subscription and a schedule of its own that has not begun are known by their metadata, even where the ledger forgot their ids."""
    site.now[0] = datetime.now(UTC)
    crm = site.shell.world
    crm.account("acme")
    today = datetime.now(UTC).date()
    crm.deal("now", {"Quantity": 2, "UnitPrice": "20.00"}, account="acme", CloseDate=today)
    crm.deal("later", {"Quantity": 2, "UnitPrice": "20.00"}, account="acme", CloseDate=today, Contract_Start_Date__c=today + timedelta(days=40))
    crm.win("now", "later")
    status, out, err = site.shell.run("sync")
    assert status == 0, err + out
    database = Database(f"sqlite:///{site.shell.folder}/connector.db")
    with database.transaction() as unit:
        unit.execute("DELETE FROM stripe_subscription")
    database.close()
    status, shown = site.shell.json("import", "contracts", "--from", "stripe", "--yes")
    assert (status, shown["made"], shown["unchanged"], shown["refused"]) == (0, 0, 2, 0), shown
    assert len(site.shell.json("contracts", "list")[1]) == 2
