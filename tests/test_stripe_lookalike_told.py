"""Portal, hosted invoice, events and webhooks of the Stripe look-alike: what it shows and tells, met by the real SDK."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
import requests
import stripe

from connector.lookalike.stripe.webhooks import deliveries
from tests.stripe_server_world import StripeWorld


@pytest.fixture(scope="module")
def world() -> Iterator[StripeWorld]:
    with StripeWorld("2026-03-01T12:00:00") as made:
        yield made


def refused(caught: pytest.ExceptionInfo[stripe.StripeError]) -> tuple[int | None, str | None, str | None]:
    """Return (status, code, param) of a refusal."""
    error = caught.value.error
    return caught.value.http_status, error.code if error else None, error.param if error else None


def types(world: StripeWorld, **asked: Any) -> list[str]:
    """Return the types of the events, newest first."""
    return [event.type for event in world.v1.events.list({"limit": 100, **asked}).data]


# -- portal -------------------------------------------------------------------------------------------------------------------


def configuration(world: StripeWorld) -> str:
    """Make a portal configuration; return its id."""
    features: Any = {"invoice_history": {"enabled": True}, "subscription_cancel": {"enabled": True}}
    return world.v1.billing_portal.configurations.create({"features": features, "metadata": {"k": "v"}}).id


def test_a_portal_link_opens_once_and_soon() -> None:
    """A session's address shows the customer's page once; a second time, or after five minutes, it has expired."""
    with StripeWorld("2026-03-01") as world:
        customer = world.v1.customers.create({"name": "Wayne & Sons"}).id
        made = world.v1.billing_portal.sessions.create(
            {"customer": customer, "configuration": configuration(world), "return_url": "https://shop.example/"}
        )
        assert made.url.startswith(f"{world.url}/p/session/")
        first = requests.get(made.url, timeout=10)
        assert first.status_code == 200
        assert "Wayne &amp; Sons" in first.text
        assert "cancel a subscription" in first.text
        assert 'href="https://shop.example/"' in first.text
        assert requests.get(made.url, timeout=10).status_code == 410
        late = world.v1.billing_portal.sessions.create({"customer": customer, "configuration": str(made.configuration)})
        world.move("2026-03-01T00:06:00")
        assert requests.get(late.url, timeout=10).status_code == 410


def test_a_portal_needs_a_configuration() -> None:
    """Without a configuration, named or default, a session is refused; one saved as default serves."""
    with StripeWorld() as world:
        customer = world.v1.customers.create({}).id
        with pytest.raises(stripe.InvalidRequestError, match="default configuration has not been created"):
            world.v1.billing_portal.sessions.create({"customer": customer})
        made = configuration(world)
        requests.post(
            f"{world.url}/_control/default-portal", json={"configuration": made}, timeout=10
        ).raise_for_status()
        assert world.v1.billing_portal.sessions.create({"customer": customer}).configuration == made
        with pytest.raises(stripe.InvalidRequestError):
            world.v1.billing_portal.configurations.update(made, {"active": False})


def test_changing_subscriptions_needs_products(world: StripeWorld) -> None:
    """A configuration that lets customers change subscriptions names the products."""
    features: Any = {"subscription_update": {"enabled": True, "default_allowed_updates": ["quantity"]}}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        world.v1.billing_portal.configurations.create({"features": features})
    assert refused(caught)[2] == "features[subscription_update][products]"


def test_a_hosted_invoice_is_paid_on_its_page(world: StripeWorld) -> None:
    """The hosted page shows number and amounts; its button pays the invoice."""
    customer = world.v1.customers.create({"name": "Hosted"}).id
    invoice = world.v1.invoices.create(
        {"customer": customer, "collection_method": "send_invoice", "days_until_due": 30}
    )
    world.v1.invoice_items.create(
        {"customer": customer, "invoice": invoice.id, "amount": 1050, "currency": "usd", "description": "Work"}
    )
    open_ = world.v1.invoices.finalize_invoice(invoice.id)
    page = requests.get(str(open_.hosted_invoice_url), timeout=10)
    assert "10.50 USD" in page.text
    assert "<button>Pay</button>" in page.text
    assert "Status: paid" in requests.post(str(open_.hosted_invoice_url), timeout=10).text
    assert world.v1.invoices.retrieve(invoice.id).status == "paid"


# -- events and webhooks ------------------------------------------------------------------------------------------------------


def test_events_tell_what_happened_newest_first() -> None:
    """Events are listed newest first, by type, and say which request made them; after thirty days they are gone."""
    with StripeWorld("2026-03-01") as world:
        customer = world.v1.customers.create({"name": "Old"}, {"idempotency_key": "k-1"})
        world.v1.products.create({"name": "Gold"})
        world.v1.customers.update(customer.id, {"name": "New"})
        assert types(world) == ["customer.updated", "product.created", "customer.created"]
        assert types(world, types=["customer.created", "product.created"]) == ["product.created", "customer.created"]
        assert types(world, type="customer.*") == ["customer.updated", "customer.created"]
        made = world.v1.events.list({"type": "customer.created"}).data[0]
        assert made.data.object["name"] == "Old"
        assert made.request is not None
        assert (made.request.idempotency_key, made.api_version) == ("k-1", "2026-10-28.endive")
        changed = world.v1.events.list({"type": "customer.updated"}).data[0]
        assert changed.data.previous_attributes["name"] == "Old"  # type: ignore[index]
        assert world.v1.events.retrieve(made.id).id == made.id
        world.move("2026-04-01")
        assert types(world) == []


class Receiver(HTTPServer):
    """A server that keeps what is posted to it; *statuses* are answered in turn, then 200."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = list(statuses)
        self.got: list[tuple[bytes, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((body, self.headers["Stripe-Signature"]))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the parent has it
        pass


def until(check: Any, timeout_s: float = 10) -> None:
    """Wait until something holds."""
    waited = threading.Event()
    for _ in range(int(timeout_s / 0.02)):
        if check():
            return
        waited.wait(0.02)
    raise AssertionError("it did not come")


def test_events_are_delivered_with_a_signature() -> None:
    """An endpoint gets the events it asked for, signed so that the SDK accepts them; what fails is tried again."""
    with StripeWorld() as world, Receiver(500) as receiver:
        world.clock.move_to(datetime.now(UTC))
        deliveries(world.account).waits_s = (0.0, 0.02, 0.02)
        made = world.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["customer.created"]})
        assert made.secret is not None
        assert made.secret.startswith("whsec_")
        customer = world.v1.customers.create({"name": "Told"})
        world.v1.products.create({"name": "Not told"})
        until(lambda: len(receiver.got) == 2)
        event = stripe.Webhook.construct_event(*receiver.got[1], made.secret)  # type: ignore[no-untyped-call]
        assert (event.type, event.data.object["id"]) == ("customer.created", customer.id)
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(*receiver.got[1], "whsec_other")  # type: ignore[no-untyped-call]
        until(lambda: world.v1.events.list({"type": "customer.created"}).data[0].pending_webhooks == 0)
        assert "secret" not in world.v1.webhook_endpoints.retrieve(made.id)
        world.v1.webhook_endpoints.update(made.id, {"disabled": True})
        world.v1.customers.create({"name": "Nobody hears"})
        assert world.v1.webhook_endpoints.delete(made.id).deleted is True
        tries = requests.post(f"{world.url}/_control/deliveries", json={}, timeout=10).json()["tries"]
        assert [one["status"] for one in tries] == [500, 200]


def test_an_unreachable_endpoint_costs_nobody_else() -> None:
    """Deliveries that nobody answers are given up after their tries; requests go on meanwhile, and the event stays listed."""
    with StripeWorld() as world:
        deliveries(world.account).waits_s = (0.0, 0.01)
        world.v1.webhook_endpoints.create({"url": "http://127.0.0.1:9/hook", "enabled_events": ["*"]})
        world.v1.customers.create({"name": "Unheard"})
        until(lambda: len(deliveries(world.account).tries) == 2)
        assert [one["status"] for one in deliveries(world.account).tries] == [0, 0]
        assert world.v1.events.list().data[0].pending_webhooks == 1


# -- the command --------------------------------------------------------------------------------------------------------------


def test_the_look_alike_runs_alone(tmp_path: Path) -> None:
    """`connector demo-stripe` says where it listens, answers there, and ends with status 0 at Ctrl-C."""
    command = [sys.executable, "-m", "connector", "demo-stripe", "--port", "0", "--currency", "usd", "--country", "us"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            url = re.search(r"api_base: (http://127\.0\.0\.1:\d+)", line)
            assert url is not None, line
            account = requests.get(f"{url[1]}/v1/account", auth=("sk_test_demo", ""), timeout=10).json()
            assert (account["country"], account["default_currency"]) == ("US", "usd")
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(("words", "code"), [(["--currency", "bitcoin"], "bad-currency"), (["--port", "TAKEN"], "port-taken")])
def test_what_the_command_cannot_do_is_told(tmp_path: Path, world: StripeWorld, words: list[str], code: str) -> None:
    """A currency that Stripe does not have and a port that is taken are a problem with its fix, exit status 2."""
    taken = world.url.rpartition(":")[2]
    command = [sys.executable, "-m", "connector", "demo-stripe", *(taken if word == "TAKEN" else word for word in words)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, code in done.stderr) == (2, True), done.stderr


def test_the_address_itself_says_what_it_is_and_leads_to_the_invoices() -> None:
    """The page at `/` names what this is and lists what there is, escaped, with links to hosted pages; other addresses hold nothing."""
    with StripeWorld("2026-03-01T12:00:00") as made:
        assert "None yet." in requests.get(f"{made.url}/", timeout=10).text
        customer = made.v1.customers.create({"name": "Fish & <b>Chips</b>"})
        for n in range(52):
            made.v1.customers.create({"name": f"Guest {n}"})
        made.v1.invoice_items.create({"customer": customer.id, "amount": 2500, "currency": "eur"})
        invoice = made.v1.invoices.create({"customer": customer.id, "currency": "eur", "collection_method": "send_invoice", "days_until_due": 30, "pending_invoice_items_behavior": "include"})
        done = made.v1.invoices.finalize_invoice(invoice.id)
        page = requests.get(made.url, timeout=10)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "look-alike of Stripe" in page.text
        assert f'<a href="{done.hosted_invoice_url}">{done.number}</a>: Fish &amp; &lt;b&gt;Chips&lt;/b&gt;, 25.00 EUR, open' in page.text
        assert "The newest 50 of 53." in page.text
        assert requests.get(f"{made.url}/nothing", timeout=10).status_code == 404
