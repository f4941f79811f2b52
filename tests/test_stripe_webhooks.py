"""Events that Stripe delivers: taken only with its signature, in time and of the right mode; each kept once, whatever else knows it."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stripe
from stripe_world import StripeWorld, stripe_world
from web_samples import TestClient, some_services

from connector import app, hooked, service
from connector.billing.stripe_backend.reading import webhooks
from connector.lookalike.stripe.account import catch_up
from connector.lookalike.stripe.controls import CONTROLS
from connector.web.factory import create_app
from connector.web.server import WebServer

SECRET = "whsec_0123456789abcdef"
NOW = datetime(2026, 1, 1, 9, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "id": "evt_1", "object": "event", "type": "invoice.paid", "created": int(NOW.timestamp()), "livemode": False, "data": {"object": {"id": "in_1"}},
}  # fmt: skip


def signed(raw: bytes, *, at: datetime = NOW, secret: str = SECRET) -> str:
    """Return the header that Stripe sends with a body."""
    t = int(at.timestamp())
    return f"t={t},v1={hmac.new(secret.encode(), f'{t}.'.encode() + raw, hashlib.sha256).hexdigest()}"


def body(**changes: Any) -> bytes:
    return json.dumps(EVENT | changes).encode()


def test_a_signature_that_the_sdk_takes_is_taken() -> None:
    """The SDK's own verification and ours agree on a right signature and on a wrong one, a second one of a rolled secret among them."""
    now = datetime.now(UTC)
    raw = body()
    for header, is_right in (
        (signed(raw, at=now), True),
        (f"{signed(raw, at=now)},v1={'0' * 64},v0=x", True),
        (f"{signed(raw, at=now, secret='whsec_other')},{signed(raw, at=now).partition(',')[2]}", True),
        (signed(raw, at=now, secret="whsec_other"), False),
        (signed(raw + b" ", at=now), False),
    ):
        try:
            stripe.Webhook.construct_event(raw, header, SECRET)
            by_sdk = True
        except stripe.SignatureVerificationError:
            by_sdk = False
        try:
            ours = webhooks.accepted(raw, header, [SECRET], now, is_live=False)["id"] == "evt_1"
        except webhooks.Unsigned:
            ours = False
        assert (by_sdk, ours) == (is_right, is_right), header


@pytest.mark.parametrize(
    ("raw", "header", "words"),
    [
        (body(), "", "no signature"),
        (body(), "v1=" + "0" * 64, "no signature"),
        (body(), "t=abc,v1=" + "0" * 64, "no signature"),
        (body(), signed(body(), at=NOW - timedelta(seconds=301)), "300 s away"),
        (body(), signed(body(), at=NOW + timedelta(seconds=301)), "300 s away"),
        (body(livemode=True), signed(body(livemode=True)), "other mode"),
        (body(id="in_1"), signed(body(id="in_1")), "no event"),
        (b"[1]", signed(b"[1]"), "no event"),
        (b"{", signed(b"{"), "no JSON"),
        (body(data={}), signed(body(data={})), "nothing of an object"),
        (body(object="v2.core.event", data=None), signed(body(object="v2.core.event", data=None)), "thin event"),
        (body(related_object={"id": "in_1"}), signed(body(related_object={"id": "in_1"})), "thin event"),
        (body(created=True), signed(body(created=True)), "nothing of an object"),
    ],
)
def test_what_is_not_stripes_or_too_old_is_not_taken(raw: bytes, header: str, words: str) -> None:
    """No signature, a wrong one, one of another time, the other mode, or something else than an event: refused with the reason."""
    with pytest.raises(webhooks.Unsigned, match=words):
        webhooks.accepted(raw, header, [SECRET], NOW, is_live=False)


def test_the_route_answers_without_a_page() -> None:
    """Taken: 200, not Stripe's: 400, nobody listens: 404; the bytes and the header arrive as they were sent."""
    got: list[tuple[bytes, str]] = []

    def taking(raw: bytes, signature: str) -> bool | None:
        got.append((raw, signature))
        return {b"yes": True, b"no": False}.get(raw)

    client = TestClient(create_app(some_services(stripe_event=taking)))
    for raw, status in ((b"yes", 200), (b"no", 400), (b"{}", 404)):
        headers = {"Stripe-Signature": "t=1,v1=a", "Content-Type": "application/json"}
        assert client.post("/webhooks/stripe", content=raw, headers=headers).status_code == status
    assert got == [(raw, "t=1,v1=a") for raw in (b"yes", b"no", b"{}")]
    assert client.post("/webhooks/stripe", content=b"x" * 200_000).status_code == 404
    assert client.post("/webhooks/stripe", content=b"x" * 2_000_000).status_code == 413
    assert client.get("/webhooks/stripe").status_code == 405


def test_an_event_is_kept_once(tmp_path: Path) -> None:
    """Delivered twice it is one row to be worked off; without a secret nobody listens; a wrong signature keeps nothing."""
    with stripe_world(tmp_path) as here:
        here.sync()
        raw = body(id="evt_hook", created=int(here.clock.now().timestamp()))
        assert _taken(here, raw) is None
        here.config = replace(here.config, stripe=replace(here.config.stripe, webhook_secret=SECRET))
        assert [_taken(here, raw), _taken(here, raw), _taken(here, raw, secret="whsec_other")] == [True, True, False]
        assert here.query("SELECT id, type, object_id FROM stripe_event WHERE id = 'evt_hook'") == [("evt_hook", "invoice.paid", "in_1")]


def test_two_secrets_while_one_endpoint_takes_anothers_place(tmp_path: Path) -> None:
    """What either of them signed is taken, a third is not; an empty one signs nothing."""
    with stripe_world(tmp_path) as here:
        here.sync()
        here.config = replace(here.config, stripe=replace(here.config.stripe, webhook_secret=f"whsec_old, {SECRET},"))
        raw = body(created=int(here.clock.now().timestamp()))
        assert [_taken(here, raw, secret=s) for s in (SECRET, "whsec_old", "whsec_other", "")] == [True, True, False, False]


def test_what_is_stripes_and_of_no_use_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Events of a connected account and kinds that nothing is read on are answered as taken, logged and not kept; an older version is kept."""
    with stripe_world(tmp_path) as here:
        here.sync()
        here.config = replace(here.config, stripe=replace(here.config.stripe, webhook_secret=SECRET))
        at = int(here.clock.now().timestamp())
        other = body(id="evt_other", created=at, account="acct_connected")
        kind = body(id="evt_kind", created=at, type="payout.paid")
        own = body(id="evt_own", created=at, account=here.stripe.id)
        old = body(id="evt_old", created=at, api_version="2020-08-27", data={"object": {"id": "in_1", "object": "invoice", "subscription": "sub_1"}})
        assert [_taken(here, raw) for raw in (other, kind, own, old)] == [True] * 4
        assert here.query("SELECT id FROM stripe_event WHERE id LIKE 'evt_o%' OR id = 'evt_kind' ORDER BY id") == [("evt_old",), ("evt_own",)]
        said = capsys.readouterr().out
        assert "another account, acct_connected" in said
        assert "nothing is read on payout.paid" in said


def _taken(here: StripeWorld, raw: bytes, *, secret: str = SECRET) -> bool | None:
    with app.writing_house(here.config, "test", clock=here.clock) as house:
        return hooked.taken(house, raw, signed(raw, at=here.clock.now(), secret=secret))


def test_what_stripe_delivers_reaches_the_books(tmp_path: Path) -> None:
    """An endpoint of the account that leads here: a customer pays, the event arrives with its signature, and the next round has it."""
    with stripe_world(tmp_path) as here:
        here.deal("one", {"UnitPrice": "100.00"})
        here.win("one")
        here.sync()
        with app.writing_house(here.config, "test", clock=here.clock) as house:
            made: dict[str, app.House] = {"house": house}
            server = WebServer(create_app(service.web_services(lambda: made["house"], service.Watch())), "127.0.0.1", 0)
            server.start()
            try:
                calls = house.billing.calls  # type: ignore[attr-defined]
                endpoint = calls.do(
                    "webhook_endpoints.create", {"url": f"{server.url}/webhooks/stripe", "enabled_events": ["*"]}, key="endpoint"
                )
                stripe_config = replace(house.config.stripe, webhook_secret=endpoint["secret"])
                made["house"] = replace(house, config=replace(house.config, stripe=stripe_config))
                with here.stripe.lock:
                    catch_up(here.stripe)
                    CONTROLS["pay"](here.stripe, {"invoice": here.objects("invoice")[0]["id"]})
                assert _arrives(house, "invoice.paid")
            finally:
                server.stop()
        here.sync()
        assert here.invoices()[0]["Status__c"] == "Paid"


def _arrives(house: app.House, kind: str) -> bool:
    """Return whether an event of a kind is kept within some seconds."""
    for _ in range(100):
        with house.database.read() as unit:
            if unit.query("SELECT 1 FROM stripe_event WHERE type = ? AND state = 'new'", (kind,)):
                return True
        house.clock.sleep(0.05)
    return False
