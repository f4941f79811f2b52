"""`connector check` where Stripe bills: each judgement over what the account answers, and the visit to the look-alike with faults on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from doctor_world import ALL, Doctor, doctors, everything

from connector.billing.stripe_backend.client import API_VERSION
from connector.billing.stripe_backend.rights import RIGHTS
from connector.doctor import stripe
from connector.doctor.account import PROBES
from connector.doctor.findings import STRIPE_CHECKS
from connector.lookalike.stripe.account import Account
from connector.lookalike.stripe.keys import RIGHTS as OF_PATHS
from connector.lookalike.stripe.server import StripeServer

KEY = "rk_test_doctor"
RIGHTS_THERE = frozenset(OF_PATHS.values())
NOW = datetime(2026, 1, 1, 9, tzinfo=UTC)
URL = "https://billing.example.com/webhooks/stripe"
ENDPOINT = {"url": URL, "status": "enabled", "enabled_events": ["*"], "api_version": None}


# ---------------------------------------------------------------- judgements


@pytest.mark.parametrize(
    ("form", "mode", "state", "words"),
    [
        ("rk_", "test", "ok", "restricted key of test mode"),
        ("rk_", "live", "ok", "restricted key of live mode"),
        ("sk_", "test", "ok", "may do everything"),
        ("sk_", "live", "warn", "may do everything"),
    ],
)
def test_a_secret_key_is_warned_of_where_money_moves(form: str, mode: str, state: str, words: str) -> None:
    """A restricted key is fine in either mode; a secret key of live mode is too much power for one program."""
    found = stripe.key(form, mode, "")
    assert (found.state, words in found.message) == (state, True)


@pytest.mark.parametrize(
    ("more", "mode", "state", "words"),
    [
        ({"business_profile": {"name": "Northwind"}, "country": "FR", "default_currency": "eur"}, "test", "ok", "Northwind (acct_1), FR, EUR, test mode"),
        ({}, "live", "ok", "acct_1, live mode"),
        ({"charges_enabled": False}, "test", "ok", "acct_1, test mode"),
        ({"charges_enabled": False}, "live", "fail", "cannot take payments yet"),
    ],
)
def test_the_account_is_named_and_must_be_able_to_take_payments(more: dict[str, Any], mode: str, state: str, words: str) -> None:
    """Name, country, currency and mode are said; a live account that Stripe has not activated fails."""
    found = stripe.account({"id": "acct_1", **more}, mode)
    assert (found.state, words in found.message) == (state, True)


def test_each_missing_right_is_a_line_of_its_own() -> None:
    """What is missing is named with the Dashboard's word and where to set it; a secret key has everything."""
    missing = [("Customers", "write"), ("Events", "read")]
    found = stripe.rights(missing, 15, "rk_")
    assert [(f.state, f.code) for f in found] == [("fail", "stripe-right")] * 2
    assert "'Customers: write'" in found[0].message
    assert "set Events to Read" in found[1].hint
    assert [f.state for f in stripe.rights([], 15, "rk_")] == ["ok"]
    assert [f.state for f in stripe.rights([], 15, "sk_")] == ["ok"]


def test_every_right_that_can_be_listed_is_probed() -> None:
    """The rights that are needed have a list call each, of a service of their row; accounts are asked first, meter events only sent."""
    needed = {r.resource: r for r in RIGHTS if r.is_needed}
    assert set(needed) - set(PROBES) == {"Accounts", "Billing meter events"}
    for resource, (call, _) in PROBES.items():
        assert call.rpartition(".")[0] in needed[resource].services
        assert call.endswith(".list")


@pytest.mark.parametrize(("apart_s", "state"), [(0, "ok"), (-30, "ok"), (31, "warn"), (-299, "warn"), (301, "fail"), (-4000, "fail")])
def test_the_clock(apart_s: int, state: str) -> None:
    """Half a minute is nothing, more is told, and more than five minutes would refuse signed webhooks."""
    found = stripe.clock(NOW + timedelta(seconds=apart_s), NOW)
    assert found.state == state
    assert ("ahead of" in found.message) == (apart_s > 30)


@pytest.mark.parametrize(
    ("endpoints", "more", "state", "words"),
    [
        (None, {"has_secret": False}, "ok", "polled"),
        (None, {}, "ok", "not shown to this key"),
        (None, {"is_reachable": False}, "warn", "cannot reach"),
        ([], {}, "warn", "No webhook endpoint"),
        ([ENDPOINT], {}, "ok", "all events"),
        ([ENDPOINT | {"url": URL + "/"}], {}, "ok", "all events"),
        ([ENDPOINT | {"status": "disabled"}], {}, "warn", "is disabled"),
        ([ENDPOINT | {"api_version": "2020-08-27"}], {}, "warn", "version 2020-08-27"),
        ([ENDPOINT | {"api_version": API_VERSION}], {}, "ok", "all events"),
        ([ENDPOINT | {"enabled_events": ["invoice.paid"]}], {}, "warn", "does not send invoice.finalized"),
        ([ENDPOINT | {"enabled_events": list(stripe.NEEDED_EVENTS)}], {}, "ok", "5 kinds of events"),
        ([{**ENDPOINT, "url": "https://other.example.com/webhooks/stripe"}], {}, "warn", "No webhook endpoint"),
    ],
)
def test_a_webhook_endpoint_is_optional_and_must_work_where_there_is_one(
    endpoints: Any, more: dict[str, bool], state: str, words: str
) -> None:
    """Without a secret polling is enough; with one the endpoint must be ours, reachable, on, and of our version."""
    found = stripe.webhook(endpoints, URL, API_VERSION, **({"has_secret": True, "is_reachable": True} | more))
    assert (found.state, words in found.message) == (state, True)


@pytest.mark.parametrize(
    ("sender", "mode", "has_server", "sends_quotes", "state", "words"),
    [
        ("stripe", "live", False, False, "ok", "by Stripe"),
        ("stripe", "test", False, False, "ok", "none in test mode"),
        ("stripe", "live", True, True, "ok", "quotes by this connector"),
        ("stripe", "live", True, False, "warn", "used for nothing"),
        ("connector", "live", True, False, "ok", "switch off all mails"),
    ],
)
def test_one_sender_mails_customers(sender: str, mode: str, has_server: bool, sends_quotes: bool, state: str, words: str) -> None:
    """Who mails is said, and a mail server that nothing uses is told."""
    found = stripe.mails(sender, mode, has_server=has_server, sends_quotes=sends_quotes)
    assert (found.state, words in found.message) == (state, True)


def test_payment_methods_are_named_or_missed() -> None:
    """The default configuration counts; none that can be used is told, and a key that may not look says so."""
    card = {"id": "pmc_1", "active": True, "is_default": True, "card": {"available": True}, "sepa_debit": {"available": False}, "name": "x"}
    assert "card;" in stripe.methods([card]).message
    assert stripe.methods([card | {"card": {"available": False}}]).state == "warn"
    assert stripe.methods([]).state == "warn"
    assert stripe.methods(None).state == "ok"


def test_another_sdk_than_the_one_tested_is_told() -> None:
    """The version of the API is pinned by us; an SDK made for another knows other parameters."""
    assert stripe.version(API_VERSION, "16.1.0", API_VERSION).state == "ok"
    assert "18.0.0" in stripe.version(API_VERSION, "18.0.0", "2027-10-28.next").message


def test_settings_that_do_nothing_are_named() -> None:
    """Keys of config.yaml that say their default and mean nothing at Stripe are one line to look at."""
    assert [f.state for f in stripe.settings((), 0)] == ["ok"]
    found = stripe.settings(("dunning.retry", "billing.invoice_prefix"), 3)
    assert [f.state for f in found] == ["warn", "warn"]
    assert "`dunning.retry`, `billing.invoice_prefix`" in found[0].message
    assert "3 customers want one invoice" in found[1].message


# ---------------------------------------------------------------- the visit


@pytest.fixture
def there() -> Iterator[StripeServer]:
    """A Stripe look-alike on this machine's time."""
    with StripeServer(Account(clock=lambda: datetime.now(UTC))) as server:
        yield server


@pytest.fixture
def doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: StripeServer
) -> Iterator[Doctor]:
    """A doctor at a demo CRM that bills on the look-alike."""
    monkeypatch.setenv("STRIPE_API_KEY", KEY)
    with doctors(tmp_path, monkeypatch, capsys) as make:
        made = make()
        made.names = ALL
        made.change("  backend: internal ", "  backend: stripe ")
        made.change("  methods: [manual]", "  methods: [stripe]")
        made.change("# What is polled.", f"stripe: {{api_key: '${{STRIPE_API_KEY}}', api_base: '{there.url}'}}\n# What is polled.")
        file = Path("config.yaml")
        kept = [line for line in file.read_text().splitlines() if not re.match(r"  (invoice_|max_crm_age|remind:|retry:|after:)|dunning:", line)]
        file.write_text("\n".join(kept) + "\n")
        yield made


def test_a_healthy_account_is_fine_in_every_check(doctor: Doctor, there: StripeServer, tmp_path: Path) -> None:
    """All checks are made, Stripe's among them, all fine; nothing is written anywhere, and every request was a GET."""
    before = everything(tmp_path)
    status, found = doctor.check()
    assert (status, [c for c in found if c["state"] != "ok"]) == (0, [])
    assert [c["name"] for c in found] == ALL
    assert everything(tmp_path) == before
    assert {entry.method for entry in there.faults.log} == {"GET"}
    said = {c["name"]: c["message"] for c in found}
    assert "acct_demo" in said["stripe-account"]
    assert "card" in said["stripe-payments"]


def test_missing_rights_are_named(doctor: Doctor, there: StripeServer) -> None:
    """A restricted key that lacks rights is told each of them; what no other check needs does not count."""
    rights = {name: "read" for name in RIGHTS_THERE if name not in ("product", "event", "payment_method_configuration")}
    there.front.keys.restrict(KEY, rights)
    status, found = doctor.bad()
    assert status == 3
    assert [(c["name"], c["code"]) for c in found] == [("stripe-rights", "stripe-right")] * 2
    assert {"'Products: write'" in c["message"] or "'Events: read'" in c["message"] for c in found} == {True}


def test_a_key_that_may_not_ask_whose_it_is_is_told_the_other_rights_too(doctor: Doctor, there: StripeServer) -> None:
    """Without the right Accounts the account is not known, and yet every other missing right is named in the same run."""
    rights = {name: "read" for name in RIGHTS_THERE if name not in ("accounts_kyc_basic", "product", "event")}
    there.front.keys.restrict(KEY, rights)
    status, found = doctor.bad()
    assert status == 3
    lines = [c for c in found if c["state"] == "fail"]
    assert [(c["name"], c["code"]) for c in lines] == [("stripe-rights", "stripe-right")] * 3
    assert [name for name in ("Accounts", "Products", "Events") if f"'{name}: " in " ".join(c["message"] for c in lines)] == ["Accounts", "Products", "Events"]
    skipped = {c["name"]: c["message"] for c in found if c["state"] == "skip"}
    assert "stripe-account" in skipped
    assert "may not ask which account" in skipped["stripe-account"]


def test_a_key_that_stripe_does_not_know_stops_the_other_checks(doctor: Doctor, there: StripeServer) -> None:
    """A revoked key fails once, with its fix; what cannot be known without it is not checked, and the rest goes on."""
    there.front.keys.revoke(KEY)
    status, found = doctor.bad()
    assert status == 3
    assert [(c["name"], c["state"]) for c in found if c["state"] == "fail"] == [("stripe-key", "fail")]
    skipped = {c["name"] for c in found if c["state"] == "skip"}
    assert skipped == {name for name in STRIPE_CHECKS if name not in ("stripe-key", "stripe-settings", "stripe-mails")}
    assert KEY not in json.dumps(found)


def test_a_stripe_that_does_not_answer(doctor: Doctor, there: StripeServer) -> None:
    """Nobody at the address of the API is told as that, and the CRM's checks are made all the same."""
    there.stop()
    status, found = doctor.bad()
    assert status == 3
    assert [(c["name"], c["code"]) for c in found if c["state"] == "fail"] == [("stripe-account", "unreachable")]
    assert not [c for c in found if c["name"] in ("login", "org", "fields", "ledger")]


def test_another_account_than_expected(doctor: Doctor) -> None:
    """`stripe.account` names the account; a key of another is refused with both named, before anything else is asked."""
    doctor.change("api_base:", "account: acct_other, api_base:")
    status, found = doctor.bad()
    assert status == 3
    (failed,) = [c for c in found if c["state"] == "fail"]
    assert (failed["name"], failed["code"]) == ("stripe-account", "other-stripe-account")
    assert "acct_other" in failed["message"]
    assert "acct_demo" in failed["message"]


def test_no_payment_method_and_settings_that_do_nothing(there: StripeServer, doctor: Doctor) -> None:
    """No payment method is told; the settings that mean nothing there are, too."""
    there.account.machine["payment_methods"] = []
    file = Path("config.yaml")
    file.write_text(file.read_text() + "dunning: {after: leave}\n")
    status, found = doctor.bad()
    assert status == 0
    assert [(c["name"], c["state"]) for c in found] == [("stripe-settings", "warn"), ("stripe-payments", "warn")]


def test_customers_who_want_one_invoice_are_counted(doctor: Doctor) -> None:
    """An account whose invoices shall be joined has one for each contract at Stripe; the check says so once the books know it."""
    org, ids = doctor.org, doctor.ids
    with org.lock, org.transaction(user=org.rep_user):
        org.update("Account", org.get("Opportunity", ids["acme_seats"])["AccountId"], {"Consolidate_Invoices__c": True})
        org.update("Opportunity", ids["acme_seats"], {"StageName": "Closed Won", "CloseDate": datetime.now(UTC).date().isoformat()})
    assert doctor.type("sync")[0] in (0, 1)
    status, found = doctor.bad()
    assert (status, [c["name"] for c in found]) == (0, ["stripe-settings"])
    assert "1 customer wants one invoice" in found[0]["message"]
