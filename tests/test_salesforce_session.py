"""The session and the logins of the Salesforce client: headers, waits, hosts, token replies as real orgs give them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
import responses
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from salesforce_wire import DATA, HOST, LOGIN, ONE, SOQL, client, with_token

from connector.crm.login import Login, id18
from connector.crm.salesforce import SalesforceCrm
from connector.crm.session import RetryPolicy, allocation
from connector.errors import ConfigError, HaltError, RetryableError
from connector.ports import Upsert


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


# ---------------------------------------------------------------- session


def test_every_request_has_timeouts_and_says_who_we_are(wire: responses.RequestsMock) -> None:
    """Login, versions, query and write all carry both timeouts and our client name; replies are not blown up for reading."""
    with_token(wire)
    wire.get(f"{DATA}/query", json=ONE)
    wire.get(f"{HOST}/services/data", json=[{"version": "62.0"}])
    wire.patch(f"{DATA}/composite/sobjects", json=[{"id": "006", "success": True, "errors": []}])
    crm = client(connect_timeout_s=3.0, read_timeout_s=70.0)
    crm.query(SOQL)
    crm.versions()
    crm.write([Upsert(object="Opportunity", id="006", values={})])
    assert len(wire.calls) == 4
    for call in wire.calls:
        assert vars(call.request)["req_kwargs"]["timeout"] == (3.0, 70.0)  # noted there by responses
        assert call.request.headers["Sforce-Call-Options"] == "client=connector"
        assert "X-PrettyPrint" not in call.request.headers
    assert crm.usage().calls == 2


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("api-usage=18/5000", (18, 5000)),
        ("api-usage=10018/100000; api-bursts=1/750", (10018, 100000)),
        ("api-usage=25/5000; per-app-api-usage=17/250(appName=sample-app)", (25, 5000)),
        ("per-app-api-usage=17/250(appName=x); api-usage=25/5000", (25, 5000)),
        ("per-app-api-usage=17/250(appName=x)", None),
        ("API-Usage = 1 / 2", (1, 2)),
        ("", None),
    ],
)
def test_limit_header_forms(header: str, found: tuple[int, int] | None) -> None:
    """The allocation is found in every form of the header, and never mistaken for that of one app (P25)."""
    assert allocation(header) == found


def test_clock_and_allocation_come_from_headers(wire: responses.RequestsMock) -> None:
    """Date and Sforce-Limit-Info of any reply are remembered; a broken Date is ignored."""
    with_token(wire)
    good = {"Date": "Sat, 31 Jan 2026 10:00:05 GMT", "Sforce-Limit-Info": "api-usage=7/15000; api-bursts=1/750"}
    wire.get(f"{DATA}/query", json=ONE, headers=good)
    wire.get(f"{DATA}/query", json=ONE, headers={"Date": "half past ten"})
    crm = client()
    crm.query(SOQL)
    crm.query(SOQL)
    assert crm.server_now() == datetime(2026, 1, 31, 10, 0, 5, tzinfo=UTC)
    assert (crm.usage().used, crm.usage().limit) == (7, 15_000)


def test_retry_after_is_obeyed_when_short(wire: responses.RequestsMock) -> None:
    """A short Retry-After is the wait; a long one goes up to the round at once."""
    with_token(wire)
    wire.get(f"{DATA}/query", status=429, headers={"Retry-After": "3"})
    wire.get(f"{DATA}/query", json=ONE)
    waits: list[float] = []
    assert client(waits).query(SOQL) == [[{"Id": "001"}]]
    assert waits == [3]
    wire.get(f"{DATA}/query", status=503, headers={"Retry-After": "600"})
    with pytest.raises(RetryableError) as caught:
        client(waits).query(SOQL)
    assert caught.value.retry_after_s == 600
    assert waits == [3]


def test_waits_double_up_to_the_cap() -> None:
    """The n-th wait is between a half and the whole of first x 2**(n-1), at most the cap."""
    policy = RetryPolicy(first_wait_s=1.0, longest_wait_s=5.0)
    for failures, full in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (9, 5.0)):
        assert full / 2 <= policy.wait_s(failures) <= full


def test_loopback_refuses_other_hosts(wire: responses.RequestsMock) -> None:
    """A token reply that names a foreign instance gets nothing from a client of a loopback CRM."""
    with_token(wire, "http://127.0.0.1:8099", instance_url="https://evil.example.com")
    with pytest.raises(HaltError, match=r"evil\.example\.com") as caught:
        client(url="http://127.0.0.1:8099").query(SOQL)
    assert caught.value.code == "crm-stray-host"


def test_loopback_takes_the_place_of_salesforce(wire: responses.RequestsMock) -> None:
    """What is meant for *.salesforce.com goes to the loopback address, path and query kept."""
    with_token(wire, "http://127.0.0.1:8099", instance_url="https://acme.my.salesforce.com")
    wire.get("http://127.0.0.1:8099/services/data/v62.0/query", json=ONE)
    assert client(url="http://127.0.0.1:8099").query(SOQL) == [[{"Id": "001"}]]


def test_proxy_of_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A company's proxy and CA bundle count on a real org, never on loopback; later requests do not look again."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/company.pem")
    session = client()._session
    assert (session.proxies["https"], session.verify) == ("http://proxy.example:3128", "/etc/ssl/company.pem")
    assert not session.trust_env
    assert not client(url="http://127.0.0.1:8099")._session.proxies


def test_proxy_page_is_no_json(wire: responses.RequestsMock) -> None:
    """A captive portal's page with status 200 is trouble of the network, not an empty result."""
    with_token(wire)
    wire.get(f"{DATA}/query", body="<html>Please sign in</html>")
    with pytest.raises(RetryableError, match="no JSON"):
        client().query(SOQL)


def test_redirect_is_not_followed(wire: responses.RequestsMock) -> None:
    """A moved org is told; the token is not carried to another address."""
    with_token(wire)
    wire.get(f"{DATA}/query", status=302, headers={"Location": "https://elsewhere.example.com/"})
    with pytest.raises(HaltError, match="another address") as caught:
        client().query(SOQL)
    assert "crm.url" in caught.value.hint


# ---------------------------------------------------------------- login


@pytest.mark.parametrize(
    ("body", "said", "hint"),
    [
        ({"error": "invalid_grant", "error_description": "user hasn't approved this consumer"}, "approved", "Pre-authorize"),
        ({"error": "invalid_client_id", "error_description": "client identifier invalid"}, "invalid_client_id", "client_id"),
        ({"error": "invalid_grant", "error_description": "no client credentials user enabled"}, "no client", "run-as user"),
        ({"error": "invalid_grant"}, "(invalid_grant)", "client_secret"),
        ({"error": "inactive_user", "error_description": "user is inactive"}, "inactive", "Activate"),
    ],
)  # fmt: skip
def test_refused_logins_say_the_fix(wire: responses.RequestsMock, body: dict[str, str], said: str, hint: str) -> None:
    """Every refusal of the token endpoint names what to change, also without a description."""
    wire.post(f"{HOST}/services/oauth2/token", status=400, json=body)
    with pytest.raises(HaltError) as caught:
        client().connect()
    assert said in str(caught.value)
    assert hint in caught.value.hint
    assert "hush" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    "reply",
    [
        {"status": 503, "body": "<html>maintenance</html>"},
        {"status": 500, "body": "<html>oops</html>"},
        {"status": 404, "body": "<html>no such site</html>"},
        {"status": 302, "headers": {"Location": "https://elsewhere.example.com"}},
        {"status": 200, "json": {"token_type": "Bearer"}},
        {"status": 200, "json": ["odd"]},
    ],
)
def test_odd_token_replies_are_for_later(wire: responses.RequestsMock, reply: dict[str, Any]) -> None:
    """A login page in trouble is asked again later, once at a time, and hints at the address."""
    wire.post(f"{HOST}/services/oauth2/token", **reply)
    with pytest.raises(RetryableError):
        client().connect()
    assert len(wire.calls) == 1


@pytest.mark.parametrize(
    ("url", "token_host", "audience"),
    [
        (HOST, HOST, "https://login.salesforce.com"),
        ("https://acme--dev.sandbox.my.salesforce.com", "https://acme--dev.sandbox.my.salesforce.com", "https://test.salesforce.com"),
        ("https://test.salesforce.com", "https://test.salesforce.com", "https://test.salesforce.com"),
    ],
)  # fmt: skip
def test_jwt_audience(wire: responses.RequestsMock, url: str, token_host: str, audience: str) -> None:
    """The JWT goes to the given host, but its audience is the login or test host (P31); exp is a text."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with_token(wire, token_host)
    wire.get(f"{DATA}/query", json=ONE)
    SalesforceCrm(Login(url=url, auth="jwt", client_id="key", username="int@acme.example", private_key=pem)).query(SOQL)
    form = parse_qs(str(wire.calls[0].request.body))
    claims = jwt.decode(form["assertion"][0], key.public_key(), algorithms=["RS256"], audience=audience)
    assert (claims["iss"], claims["sub"], type(claims["exp"])) == ("key", "int@acme.example", str)


def test_secrets_stay_out_of_repr() -> None:
    """A logged Login shows no secret."""
    login = replace(LOGIN, password="p4ss", security_token="t0k", private_key="")
    assert not any(secret in repr(login) for secret in ("hush", "p4ss", "t0k"))


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"url": "http://acme.my.salesforce.com"}, ["crm-url"]),
        ({"url": "https://acme.example.com"}, ["crm-url"]),
        ({"url": "https://127.0.0.1:8080"}, ["crm-url"]),
        ({"url": "https://login.salesforce.com"}, ["crm-url"]),
        ({"client_id": "", "client_secret": ""}, ["crm-login-incomplete", "crm-login-incomplete"]),
        ({"auth": "jwt", "username": "u", "private_key": "nonsense"}, ["crm-private-key"]),
        ({"auth": "password", "username": "u", "password": "p", "api_version": "65.0"}, ["crm-password-login"]),
        ({"api_version": "62"}, ["crm-api-version"]),
        ({"url": "ftp://x", "auth": "password"}, ["crm-url", "crm-login-incomplete", "crm-login-incomplete"]),
    ],
)
def test_impossible_logins_are_config_problems(changes: dict[str, Any], codes: list[str]) -> None:
    """What cannot work is said before anything is sent, all of it at once, each with a fix."""
    with pytest.raises(ConfigError) as caught:
        replace(LOGIN, **changes)
    assert [problem.code for problem in caught.value.problems] == codes
    assert all(problem.hint for problem in caught.value.problems)


def test_record_ids_of_15_characters() -> None:
    """15 characters become the 18 of the same record (P20); other texts stay."""
    assert id18("70130000001tcyI") == "70130000001tcyIAAQ"
    assert id18("00558000001N0Ke") == "00558000001N0KeAAK"
    assert id18("00558000001N0KeAAK") == "00558000001N0KeAAK"
