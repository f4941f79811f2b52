"""The Salesforce client over a real loopback connection when something goes wrong: sessions, limits, overload, other orgs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from salesforce_world import DEALS, World, billed, running_world

from connector.crm.login import Login
from connector.crm.salesforce import SalesforceCrm
from connector.errors import HaltError, RetryableError
from connector.lookalike.crm.gate import DEMO_CLIENT_ID, DEMO_USERNAME, Logins
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.server import CrmServer


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    with running_world() as world:
        yield world


@pytest.fixture
def world(running: World) -> World:
    return running.fresh()


# ---------------------------------------------------------------- sessions and trouble


def test_expired_session_is_one_login(world: World) -> None:
    """A session that expired costs one new login, and the work goes on (P29)."""
    crm = world.connected()
    world.fault(page_size=500, revoke_tokens=True)
    (rows,) = crm.query(["SELECT Id FROM Opportunity"])
    assert len(rows) == DEALS
    assert world.calls()["token"] == 1


def test_permanent_401_halts_after_one_login(world: World) -> None:
    """A CRM that refuses every session gets one new login, never a storm."""
    crm = world.connected()
    world.fault(fail=[{"status": 401, "times": 99, "kind": "query"}])
    world.server.front.reset_counters()
    with pytest.raises(HaltError, match="also after a new login") as caught:
        crm.query(["SELECT Id FROM Opportunity LIMIT 1"])
    assert caught.value.hint
    assert world.calls() == {"query": 2, "token": 1}


def test_at_most_one_new_login_a_minute(world: World) -> None:
    """A session that dies again within a minute waits; after the minute it is renewed."""
    now = [1000.0]
    crm = SalesforceCrm(world.login(), monotonic=lambda: now[0])
    soql = ["SELECT Id FROM Opportunity LIMIT 1"]
    crm.query(soql)
    world.fault(revoke_tokens=True)
    crm.query(soql)
    world.fault(revoke_tokens=True)
    now[0] += 20
    with pytest.raises(RetryableError, match="again within a minute") as caught:
        crm.query(soql)
    assert caught.value.retry_after_s == 41
    now[0] += 41
    assert crm.query(soql)
    assert world.calls()["token"] == 3


def test_refused_login_halts_with_the_fix_and_is_not_repeated(world: World) -> None:
    """A wrong secret is told once, with what to check; asking again within a minute sends nothing."""
    crm = world.crm(client_secret="wrong")
    for _ in range(3):
        with pytest.raises(HaltError, match="invalid_client: invalid client credentials") as caught:
            crm.connect()
        assert "crm.client_secret" in caught.value.hint
        assert caught.value.code == "crm-login-refused"
    assert world.calls() == {"token": 1}


def test_other_org_is_refused(world: World) -> None:
    """A configured org id that differs stops everything; 15 and 18 characters of one org are equal (P20, P33)."""
    right = world.server.org.org_id
    assert world.crm(org_id=right[:15]).connect().id == right
    with pytest.raises(HaltError, match="was expected") as caught:
        world.crm(org_id="00D000000000001EAA").connect()
    assert caught.value.code == "other-org"
    assert "refreshed sandbox" in caught.value.hint
    assert world.calls() == {"token": 2, "composite": 1}


def test_jwt_login() -> None:
    """The jwt login signs with the private key; the demo CRM checks the signature."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with CrmServer(Org(), logins=Logins(jwt_public_key=public.decode())) as server:
        login = Login(
            url=server.url, auth="jwt", client_id=DEMO_CLIENT_ID, username=DEMO_USERNAME, private_key=private.decode()
        )
        assert SalesforceCrm(login).connect().id == server.org.org_id
        with pytest.raises(HaltError, match="hasn't approved this consumer") as caught:
            SalesforceCrm(replace(login, username="stranger@demo.example")).connect()
    assert "Pre-authorize" in caught.value.hint


def test_password_login() -> None:
    """The legacy login works where the API version still has it, and its refusal is not taken for an overload."""
    with CrmServer(Org(), logins=Logins(security_token="tok")) as server:
        login = Login(
            url=server.url,
            auth="password",
            username=DEMO_USERNAME,
            password="demo",
            security_token="tok",
            api_version="60.0",
        )
        assert SalesforceCrm(login).connect().id == server.org.org_id
        crm = SalesforceCrm(replace(login, password="wrong"))
        with pytest.raises(HaltError, match="INVALID_LOGIN") as caught:
            crm.connect()
    assert "crm.security_token" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "is_html"), [(503, True), (503, False), (500, False), (429, False), (420, True), (502, True)]
)
def test_overload_is_waited_out(world: World, status: int, is_html: bool) -> None:
    """Two overloaded answers are followed by two growing waits and then by the rows (P36)."""
    crm = world.connected()
    world.fault(fail=[{"status": status, "times": 2, "kind": "query", "html": is_html}])
    assert len(crm.query(["SELECT Id FROM Opportunity LIMIT 5"])[0]) == 5
    assert len(world.waits) == 2
    assert 0.25 <= world.waits[0] <= 0.5 <= world.waits[1] <= 1.0


def test_lasting_overload_goes_up_after_four_sends(world: World) -> None:
    """Four overloaded answers end the attempts; nothing is repeated without a bound."""
    crm = world.connected()
    world.fault(fail=[{"status": 503, "times": 99, "html": True}])
    world.server.front.reset_counters()
    with pytest.raises(RetryableError, match="HTTP 503") as caught:
        crm.query(["SELECT Id FROM Opportunity LIMIT 5"])
    assert caught.value.retry_after_s == 30
    assert world.calls() == {"query": 4}
    assert len(world.waits) == 3


def test_spent_allocation_halts(world: World) -> None:
    """The daily allocation stops the CRM side; it heals by itself when calls free up (P25)."""
    crm = world.connected()
    world.fault(limit_reached=True)
    for act in (
        lambda: crm.query(["SELECT Id FROM Account LIMIT 1"]),
        lambda: crm.write([billed(world.deals[0], Decimal(1))]),
    ):
        with pytest.raises(HaltError, match="used up its API calls") as caught:
            act()
        assert caught.value.code == "crm-call-limit"
    world.fault(reset=True)
    assert crm.query(["SELECT Id FROM Account LIMIT 1"])


def test_limit_header_with_suffixes(world: World) -> None:
    """The allocation is read also where the header carries more than one counter (P25)."""
    world.fault(limit_suffix="; per-app-api-usage=17/250(appName=x)")
    crm = world.connected()
    assert (crm.usage().used, crm.usage().limit) == (1, 100_000)


def test_gone_version_halts(world: World) -> None:
    """An API version that the CRM no longer has stops us with the fix."""
    with pytest.raises(HaltError, match=r"API version 21\.0") as caught:
        world.crm(api_version="21.0").connect()
    assert caught.value.code == "crm-api-version"


def test_half_written_is_told(world: World) -> None:
    """If the CRM fails between two calls of a write, what stands is known and the rest is left for later."""
    crm = world.connected()
    world.fault(fail=[{"status": 503, "times": 99, "kind": "composite/sobjects"}])
    written = crm.write([billed(deal, Decimal(9)) for deal in world.deals[:1_100]])
    assert [one.id for one in written[:1_000]] == world.deals[:1_000]
    assert all(one.is_transient and one.problem is not None for one in written[1_000:])


def test_unreachable_is_retryable() -> None:
    """A CRM that is not there is for later, and the message says where we looked."""
    crm = SalesforceCrm(Login(url="http://127.0.0.1:9", client_id="a", client_secret="b"))
    with pytest.raises(RetryableError, match=r"127\.0\.0\.1:9.*could not be reached"):
        crm.connect()


def test_slow_answer_is_cut_off(world: World) -> None:
    """An answer that takes longer than the read timeout is given up, not waited for again."""
    crm = world.crm(read_timeout_s=0.2)
    crm.connect()
    world.server.front.reset_counters()
    world.fault(latency_ms=600)
    with pytest.raises(RetryableError, match=r"did not answer within 0\.2 s"):
        crm.query(["SELECT Id FROM Account LIMIT 1"])
    world.fault(reset=True)
