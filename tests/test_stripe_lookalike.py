"""The frame of the Stripe look-alike, met by the real SDK over a real connection: keys, forms, errors, idempotency, faults, lists."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import requests
import stripe
from stripe_server_world import KEY, StripeWorld

from connector.lookalike.stripe.account import ENDPOINTS
from connector.lookalike.stripe.faults import Fault


@pytest.fixture(scope="module")
def shared() -> Iterator[StripeWorld]:
    with StripeWorld() as world:
        yield world


@pytest.fixture
def world(shared: StripeWorld) -> StripeWorld:
    shared.server.faults.clear()
    shared.server.faults.log.clear()
    return shared


def post(world: StripeWorld, path: str, fields: Any, key: str = KEY, **headers: str) -> requests.Response:
    """Send a form as no SDK would."""
    return requests.post(
        f"{world.url}{path}", data=fields, headers={"Authorization": f"Bearer {key}", **headers}, timeout=10
    )


# -- keys ---------------------------------------------------------------------------------------------------------------------


def test_without_a_key_nothing_is_answered(world: StripeWorld) -> None:
    """A request without a key is a 401 in Stripe's shape."""
    answer = requests.get(f"{world.url}/v1/customers", timeout=10)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "You did not provide an API key" in answer.json()["error"]["message"]


def test_a_key_may_come_as_basic_authentication(world: StripeWorld) -> None:
    """The key as the name of basic authentication is let in, as curl -u does it."""
    answer = requests.get(f"{world.url}/v1/customers", auth=(KEY, ""), timeout=10)
    assert answer.status_code == 200


@pytest.mark.parametrize("key", ["sk_live_demo0001", "pk_test_demo0001", "nonsense"])
def test_a_key_of_another_kind_is_refused(world: StripeWorld, key: str) -> None:
    """A live key on a test account, a publishable key and nonsense are a 401 that shows the key only at its ends."""
    with pytest.raises(stripe.AuthenticationError) as caught:
        world.client(key).v1.customers.list()
    assert caught.value.http_status == 401
    assert "Invalid API Key provided" in str(caught.value)
    assert key not in str(caught.value)


def test_a_live_account_takes_live_keys_alone() -> None:
    """A live account answers live keys, says livemode everywhere, and refuses test keys."""
    with StripeWorld(is_live=True) as world:
        assert world.v1.customers.create({"name": "Acme"}).livemode is True
        with pytest.raises(stripe.AuthenticationError):
            world.client(KEY).v1.customers.list()


def test_a_revoked_key_has_expired(world: StripeWorld) -> None:
    """A key that was rolled is a 401 with the code api_key_expired."""
    world.server.front.keys.revoke("sk_test_old1")
    with pytest.raises(stripe.AuthenticationError) as caught:
        world.client("sk_test_old1").v1.customers.list()
    assert caught.value.error.code == "api_key_expired"  # type: ignore[union-attr]


def test_a_restricted_key_lacks_what_it_was_not_given(world: StripeWorld) -> None:
    """A restricted key that may read customers reads them; writing them or reading products is a 403 that names the right."""
    requests.post(
        f"{world.url}/_control/keys", json={"key": "rk_test_read1", "rights": {"customer": "read"}}, timeout=10
    )
    v1 = world.client("rk_test_read1").v1
    v1.customers.list()
    with pytest.raises(stripe.PermissionError) as caught:
        v1.customers.create({"name": "Acme"})
    assert "rak_customer_write" in str(caught.value)
    with pytest.raises(stripe.PermissionError) as caught:
        v1.products.list()
    assert caught.value.http_status == 403
    assert "rak_product_read" in str(caught.value)


def test_another_account_in_the_header_is_refused(world: StripeWorld) -> None:
    """Stripe-Account naming an account that the key cannot reach is a 403."""
    with pytest.raises(stripe.PermissionError) as caught:
        world.client(KEY, stripe_account="acct_other").v1.customers.list()
    assert "acct_other" in str(caught.value)


# -- forms and errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "fields", "param", "code"),
    [
        ("/v1/customers", {"nmae": "Acme"}, "nmae", "parameter_unknown"),
        ("/v1/customers", {"invoice_settings[days]": "30"}, "invoice_settings[days]", "parameter_unknown"),
        ("/v1/prices", {"unit_amount": "5"}, "currency", "parameter_missing"),
        ("/v1/prices", {"currency": "usd", "recurring[interval_count]": "1"}, "recurring[interval]", "parameter_missing"),
        ("/v1/prices", {"currency": "usd", "unit_amount": "5.5"}, "unit_amount", "parameter_invalid_integer"),
        ("/v1/prices", {"currency": "usd", "recurring[interval]": "fortnight"}, "recurring[interval]", None),
        ("/v1/prices", {"currency": "usd", "active": "yes"}, "active", None),
        ("/v1/prices", {"currency": "usd", "tiers": "x"}, "tiers", None),
        ("/v1/prices", {"currency": "usd", "tiers[0][up_to]": "many"}, "tiers[0][up_to]", "parameter_invalid_integer"),
        ("/v1/prices", {"currency": "usd", "unit_amount_decimal": "0.1234567890123"}, "unit_amount_decimal", None),
        ("/v1/customers", {"name": ""}, "name", "parameter_invalid_empty"),
        ("/v1/customers", {"metadata[" + "k" * 41 + "]": "v"}, "metadata", None),
        ("/v1/customers", {"metadata[k]": "v" * 501}, "metadata[k]", None),
        ("/v1/customers", {"expand[]": "nonsense"}, "expand", None),
    ],
)  # fmt: skip
def test_parameters_are_held_to_the_types_of_the_sdk(
    world: StripeWorld, path: str, fields: dict[str, str], param: str, code: str | None
) -> None:
    """Unknown, missing and misshapen parameters at any depth are a 400 that names the path of the parameter."""
    answer = post(world, path, fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error.get("code")) == (400, param, code), error
    assert error["type"] == "invalid_request_error"
    assert answer.headers["Request-Id"].startswith("req_")


def test_an_unknown_address_is_told_so(world: StripeWorld) -> None:
    """A path that Stripe does not have is a 404 that repeats it."""
    answer = post(world, "/v1/gadgets", {})
    assert answer.status_code == 404
    assert "Unrecognized request URL (POST: /v1/gadgets)" in answer.json()["error"]["message"]


def test_a_missing_object_is_told_so(world: StripeWorld) -> None:
    """An id that nobody has is a 404 with code resource_missing."""
    with pytest.raises(stripe.InvalidRequestError) as caught:
        world.v1.customers.retrieve("cus_nobody")
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


def test_an_api_version_that_is_none_is_refused(world: StripeWorld) -> None:
    """A Stripe-Version in no version's shape is a 400; the SDK's own is noted in the log."""
    answer = post(world, "/v1/customers", {"name": "Acme"}, **{"Stripe-Version": "newest"})
    assert answer.status_code == 400
    world.v1.customers.list()
    assert world.server.faults.log[-1].version == "2026-10-28.endive"


# -- idempotency --------------------------------------------------------------------------------------------------------------


def made(world: StripeWorld, name: str) -> int:
    """Count the customers of a name."""
    return len([one for one in world.account.kind("customer").values() if one["name"] == name])


def test_the_same_key_gives_the_same_answer(world: StripeWorld) -> None:
    """A second request under the same key makes nothing and replays the first answer, marked as such."""
    first = world.v1.customers.create({"name": "Once"}, {"idempotency_key": "once-1"})
    again = world.v1.customers.create({"name": "Once"}, {"idempotency_key": "once-1"})
    assert first.id == again.id
    assert made(world, "Once") == 1
    assert again.last_response is not None
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert again.last_response.headers["original-request"] == first.last_response.headers["request-id"]  # type: ignore[union-attr]


def test_the_same_key_with_other_parameters_is_an_error(world: StripeWorld) -> None:
    """Other parameters, or another endpoint, under a used key are an idempotency error."""
    world.v1.customers.create({"name": "Other"}, {"idempotency_key": "other-1"})
    with pytest.raises(stripe.IdempotencyError) as caught:
        world.v1.customers.create({"name": "Another"}, {"idempotency_key": "other-1"})
    assert caught.value.http_status == 400
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        world.v1.products.create({"name": "Other"}, {"idempotency_key": "other-1"})


def test_a_request_whose_parameters_were_wrong_leaves_its_key_free(world: StripeWorld) -> None:
    """What fails validation is not stored under its key: put right, it goes through under the same one."""
    assert post(world, "/v1/customers", {"nmae": "Right"}, **{"Idempotency-Key": "right-1"}).status_code == 400
    assert post(world, "/v1/customers", {"name": "Right"}, **{"Idempotency-Key": "right-1"}).status_code == 200


def test_a_stored_failure_is_replayed(world: StripeWorld) -> None:
    """A 500 is stored: the same key replays it although nothing is wrong any more; another key goes through."""
    world.server.faults.add("error_before", path="/v1/customers")
    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            world.v1.customers.create({"name": "Failed"}, {"idempotency_key": "failed-1"})
        assert caught.value.http_status == 500
    assert caught.value.headers["idempotent-replayed"] == "true"  # type: ignore[index]
    assert made(world, "Failed") == 0
    world.v1.customers.create({"name": "Failed"}, {"idempotency_key": "failed-2"})
    assert made(world, "Failed") == 1


def test_a_refusal_of_the_endpoint_is_stored(world: StripeWorld) -> None:
    """What the endpoint itself refused is replayed under the same key."""
    world.v1.products.create({"id": "twice", "name": "Twice"})
    for replayed in (None, "true"):
        answer = post(world, "/v1/products", {"id": "twice", "name": "Twice"}, **{"Idempotency-Key": "twice-1"})
        assert answer.json()["error"]["code"] == "resource_already_exists"
        assert answer.headers.get("Idempotent-Replayed") == replayed


def test_keys_are_forgotten_after_a_day() -> None:
    """After 24 hours a key is new again: the same request makes a second object."""
    with StripeWorld("2026-01-15") as world:
        first = world.v1.customers.create({"name": "Day"}, {"idempotency_key": "day"})
        world.move("2026-01-15T23:59:00")
        assert world.v1.customers.create({"name": "Day"}, {"idempotency_key": "day"}).id == first.id
        world.move("2026-01-16T00:00:01")
        assert world.v1.customers.create({"name": "Day"}, {"idempotency_key": "day"}).id != first.id


def test_a_key_in_use_is_a_conflict(world: StripeWorld) -> None:
    """While the first request under a key is at work, a second one is a 409; one customer is made."""
    world.server.faults.add("delay", path="/v1/customers", delay_s=0.6)
    first = threading.Thread(
        target=lambda: post(world, "/v1/customers", {"name": "Busy"}, **{"Idempotency-Key": "busy"})
    )
    first.start()
    while not any(one.fault == "delay" for one in world.server.faults.log):
        time.sleep(0.01)
    answer = post(world, "/v1/customers", {"name": "Busy"}, **{"Idempotency-Key": "busy"})
    first.join()
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert made(world, "Busy") == 1


# -- faults -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "code"), [("rate_limit", "rate_limit"), ("lock_timeout", "lock_timeout")])
def test_limits_do_nothing_and_store_nothing(world: StripeWorld, kind: str, code: str) -> None:
    """A 429, of the rate limiter or of a lock, does nothing: the same key goes through the next time."""
    world.server.faults.add(kind, method="POST", path="/v1/customers$")
    with pytest.raises(stripe.RateLimitError) as caught:
        world.v1.customers.create({"name": kind}, {"idempotency_key": kind})
    assert (caught.value.http_status, caught.value.error.code) == (429, code)  # type: ignore[union-attr]
    assert made(world, kind) == 0
    world.v1.customers.create({"name": kind}, {"idempotency_key": kind})
    assert made(world, kind) == 1


def test_a_500_after_the_work_is_stored_and_the_work_stays(world: StripeWorld) -> None:
    """A 500 after the commit leaves one customer and replays the 500 under its key."""
    world.server.faults.add("error_after", path="/v1/customers")
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            world.v1.customers.create({"name": "After"}, {"idempotency_key": "after-1"})
    assert made(world, "After") == 1


def test_a_connection_cut_after_the_work_replays_success(world: StripeWorld) -> None:
    """A lost answer is found again under the same key; without the fault nothing is made twice."""
    world.server.faults.add("cut_after", path="/v1/customers")
    with pytest.raises(stripe.APIConnectionError):
        world.v1.customers.create({"name": "Cut"}, {"idempotency_key": "cut-1"})
    assert made(world, "Cut") == 1
    found = world.v1.customers.create({"name": "Cut"}, {"idempotency_key": "cut-1"})
    assert found.name == "Cut"
    assert made(world, "Cut") == 1


def test_a_connection_cut_before_the_work_leaves_nothing(world: StripeWorld) -> None:
    """A request that broke before the work made nothing, and its key is free."""
    world.server.faults.add("cut_before", path="/v1/customers")
    with pytest.raises(stripe.APIConnectionError):
        world.v1.customers.create({"name": "Early"}, {"idempotency_key": "early-1"})
    assert made(world, "Early") == 0
    world.v1.customers.create({"name": "Early"}, {"idempotency_key": "early-1"})
    assert made(world, "Early") == 1


def test_faults_strike_the_nth_to_the_kth_request(world: StripeWorld) -> None:
    """`after` lets requests pass, `times` bounds what is struck, others than the method are let alone."""
    fault = {"kind": "rate_limit", "method": "GET", "path": "/v1/products", "after": 1, "times": 2}
    assert requests.post(f"{world.url}/_control/faults", json=fault, timeout=10).json()["hits"] == 0
    statuses = [requests.get(f"{world.url}/v1/products", auth=(KEY, ""), timeout=10).status_code for _ in range(4)]
    assert statuses == [200, 429, 429, 200]
    assert requests.get(f"{world.url}/_control/faults", timeout=10).json()["faults"][0]["hits"] == 2


def test_a_fault_answers_with_an_error_of_ones_own(world: StripeWorld) -> None:
    """`refuse` answers as told, e.g. with a card that is declined."""
    world.server.faults.add(
        "refuse",
        path="/v1/customers",
        status=402,
        type="card_error",
        code="card_declined",
        message="No.",
        decline_code="lost_card",
    )
    with pytest.raises(stripe.CardError) as caught:
        world.v1.customers.create({"name": "Refused"})
    assert (caught.value.code, caught.value.error.decline_code) == ("card_declined", "lost_card")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("body", "param"),
    [({"kind": "earthquake"}, "kind"), ({"kind": "delay", "times": "two"}, "times"), ({"kind": "delay", "path": "("}, "path"), ({"kind": "delay", "delay_s": 999}, "delay_s")],
)  # fmt: skip
def test_a_mistake_in_a_fault_is_told(world: StripeWorld, body: dict[str, Any], param: str) -> None:
    """A control request that cannot be meant is a 400 that names the knob."""
    answer = requests.post(f"{world.url}/_control/faults", json=body, timeout=10)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_the_log_tells_what_was_asked(world: StripeWorld) -> None:
    """The log has method, path, nested parameters, key, status and what struck, in order."""
    world.server.faults.add("lock_timeout", path="/v1/products")
    post(world, "/v1/products", {"name": "Logged", "metadata[a]": "1"}, **{"Idempotency-Key": "log-1"})
    world.v1.products.list({"limit": 1})
    first, second = requests.get(f"{world.url}/_control/log", timeout=10).json()["requests"]
    assert (first["method"], first["path"], first["key"], first["status"]) == ("POST", "/v1/products", "log-1", 429)
    assert first["params"] == {"name": "Logged", "metadata": {"a": "1"}}
    assert (first["fault"], first["code"]) == ("lock_timeout", "lock_timeout")
    assert (second["method"], second["params"], second["status"]) == ("GET", {"limit": "1"}, 200)


def test_the_clock_is_moved_by_control() -> None:
    """The clock goes ahead by seconds or to a moment, never back."""
    with StripeWorld("2026-01-15") as world:
        before = requests.get(f"{world.url}/_control/clock", timeout=10).json()["now"]
        moved = requests.post(f"{world.url}/_control/clock", json={"advance_s": 86400}, timeout=10).json()["now"]
        assert moved == before + 86400
        assert world.v1.customers.create({"name": "Later"}).created == moved
        assert requests.post(f"{world.url}/_control/clock", json={"to": before}, timeout=10).status_code == 400


# -- lists and expanding ------------------------------------------------------------------------------------------------------


def test_lists_go_by_pages_newest_first() -> None:
    """A list has `limit` objects and says whether there are more; starting_after and ending_before go on from an id."""
    with StripeWorld() as world:
        ids = [world.v1.customers.create({"name": f"C{n}"}).id for n in range(5)][::-1]
        first = world.v1.customers.list({"limit": 2})
        assert ([one.id for one in first.data], first.has_more) == (ids[:2], True)
        second = world.v1.customers.list({"limit": 3, "starting_after": ids[1]})
        assert ([one.id for one in second.data], second.has_more) == (ids[2:], False)
        back = world.v1.customers.list({"limit": 2, "ending_before": ids[3]})
        assert ([one.id for one in back.data], back.has_more) == (ids[1:3], True)
        assert [one.id for one in world.v1.customers.list({"limit": 2}).auto_paging_iter()] == ids
        with pytest.raises(stripe.InvalidRequestError):
            world.v1.customers.list({"limit": 101})
        with pytest.raises(stripe.InvalidRequestError):
            world.v1.customers.list({"starting_after": "cus_nobody"})


def test_lists_are_filtered_by_creation() -> None:
    """`created` takes an instant or bounds."""
    with StripeWorld("2026-01-01") as world:
        world.v1.customers.create({"name": "Old"})
        world.move("2026-02-01")
        new = world.v1.customers.create({"name": "New"})
        assert [one.name for one in world.v1.customers.list({"created": {"gte": new.created}}).data] == ["New"]
        assert [one.name for one in world.v1.customers.list({"created": {"lt": new.created}}).data] == ["Old"]
        assert [one.name for one in world.v1.customers.list({"created": new.created}).data] == ["New"]


def test_ids_become_objects_where_that_is_asked_for(world: StripeWorld) -> None:
    """expand[] shows the object behind an id, also within a list and through several levels; what cannot be expanded is a 400."""
    product = world.v1.products.create({"name": "Expanded"})
    price = world.v1.prices.create({"product": product.id, "currency": "usd", "unit_amount": 5, "expand": ["product"]})
    assert price.product.name == "Expanded"  # type: ignore[union-attr]
    world.v1.products.update(product.id, {"default_price": price.id})
    listed = world.v1.prices.list({"product": product.id, "expand": ["data.product.default_price"]})
    assert listed.data[0].product.default_price.id == price.id  # type: ignore[union-attr]
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        world.v1.prices.retrieve(price.id, {"expand": ["unit_amount.x"]})
    with pytest.raises(stripe.InvalidRequestError, match=r"data\.product"):
        world.v1.prices.list({"expand": ["product"]})


def test_tiers_are_shown_only_where_they_are_asked_for(world: StripeWorld) -> None:
    """A price shows its tiers only when they are expanded, as at Stripe."""
    tiers: Any = [{"up_to": 5, "unit_amount": 700}, {"up_to": "inf", "unit_amount": 600}]
    price = world.v1.prices.create({
        "product_data": {"name": "Tiered"}, "currency": "usd", "billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers,
        "recurring": {"interval": "month"},
    })  # fmt: skip
    assert "tiers" not in price
    found = world.v1.prices.retrieve(price.id, {"expand": ["tiers"]})
    assert [(one.up_to, one.unit_amount) for one in found.tiers or []] == [(5, 700), (None, 600)]


def test_every_endpoint_fault_and_control_is_documented(world: StripeWorld) -> None:
    """docs/stripe-lookalike.md names every resource, every kind of fault, every knob of one and every control endpoint."""
    text = (Path(__file__).parent.parent / "docs" / "stripe-lookalike.md").read_text(encoding="utf-8")
    listed = requests.get(f"{world.url}/_control", timeout=10).json()
    knobs = [one.name for one in fields(Fault) if one.name not in ("seen", "hits")]
    nested = ("billing", "billing_portal")
    resources = {"/".join(path.split("/")[2 : 4 if path.split("/")[2] in nested else 3]) for _, path in ENDPOINTS}
    assert [one for one in (*listed["faults"], *knobs, *resources) if f"`{one}`" not in text and f'"{one}"' not in text] == []
    assert [one for one in listed["endpoints"] if f"`{one}`" not in text] == []
