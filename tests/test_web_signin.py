"""Who gets into the console: the form, its token, the session, the throttle, and a console without a password."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from web_samples import NOW, TestClient, some_services

from connector.web.factory import create_app
from connector.web.signin import ADDRESSES_REMEMBERED, FAILURES_ALLOWED, Throttle, is_same
from connector.web.views import Access, WebServices

PASSWORD = "correct horse"
LOCAL = ("127.0.0.1", 50000)


def browser(
    services: WebServices | None = None, *, address: tuple[str, int] = LOCAL, url: str = "http://127.0.0.1"
) -> TestClient:
    return TestClient(create_app(services or some_services()), base_url=url, client=address, follow_redirects=False)


def form_token(html: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', html)
    assert found is not None
    return found[1]


def signed_in(client: TestClient) -> TestClient:
    token = form_token(client.get("/console").text)
    answer = client.post("/console/sign-in", data={"password": PASSWORD, "form_token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    return client


def test_sign_in_and_out() -> None:
    """The password opens the console, signing out closes it again."""
    client = browser()
    first = client.get("/console")
    assert first.status_code == 401
    assert "parked" not in first.text
    signed_in(client)
    page = client.get("/console")
    assert page.status_code == 200
    assert "Parked and waiting deals" in page.text
    client.post("/console/sign-out", data={"form_token": form_token(page.text)})
    assert client.get("/console").status_code == 401


def test_wrong_password() -> None:
    """A wrong password is told so and opens nothing."""
    client = browser()
    token = form_token(client.get("/console").text)
    answer = client.post("/console/sign-in", data={"password": "wrong", "form_token": token})
    assert answer.status_code == 401
    assert "That is not the password." in answer.text
    assert client.get("/console").status_code == 401


@pytest.mark.parametrize("token", ["", "forged"])
def test_form_of_another_session_is_refused(token: str) -> None:
    """The right password in a form that was not made for this session is not enough."""
    client = browser()
    client.get("/console")
    answer = client.post("/console/sign-in", data={"password": PASSWORD, "form_token": token})
    assert answer.status_code == 400
    assert client.get("/console").status_code == 401


def test_another_site_cannot_sign_one_out() -> None:
    """A sign-out without the session's token changes nothing."""
    client = signed_in(browser())
    client.post("/console/sign-out", data={"form_token": "forged"})
    assert client.get("/console").status_code == 200


def test_sign_in_gives_a_new_form_token() -> None:
    """What was known before the sign-in is worth nothing after it."""
    client = browser()
    before = form_token(client.get("/console").text)
    assert form_token(signed_in(client).get("/console").text) != before


def test_cookie_is_guarded() -> None:
    """The session's cookie is out of reach for scripts, other sites and other pages, and encrypted only behind https."""
    for is_https in (False, True):
        services = some_services(access=Access(password=PASSWORD, secret="s", is_https=is_https))
        cookie = browser(services, url="https://127.0.0.1").get("/console").headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "path=/console" in cookie
        assert ("; secure" in cookie) is is_https
        assert "max-age=28800" in cookie


def test_forged_and_old_sessions() -> None:
    """A cookie that was tampered with, or signed under another password or secret, signs nobody in."""
    cookie = signed_in(browser()).cookies["connector_session"]
    for access in (
        Access(password=PASSWORD, secret="s" * 32),
        Access(password="new", secret="s" * 32),
        Access(password=PASSWORD),
    ):
        client = browser(some_services(access=access))
        client.cookies.set("connector_session", cookie)
        is_same_key = access == some_services().access
        assert client.get("/console").status_code == (200 if is_same_key else 401)
    client = browser()
    client.cookies.set("connector_session", "x" + cookie[1:])
    assert client.get("/console").status_code == 401


def test_guessing_is_slowed_down() -> None:
    """After ten failures in a minute even the right password has to wait, and after the minute it works."""
    clock = [NOW]
    client = browser(some_services(now=lambda: clock[0]))
    token = form_token(client.get("/console").text)
    form = {"password": "wrong", "form_token": token}
    assert [client.post("/console/sign-in", data=form).status_code for _ in range(FAILURES_ALLOWED + 1)][-2:] == [
        401,
        429,
    ]
    form["password"] = PASSWORD
    answer = client.post("/console/sign-in", data=form)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    clock[0] += timedelta(seconds=60)
    assert client.post("/console/sign-in", data=form).status_code == 303


def test_throttle_is_bounded_and_for_each_address() -> None:
    """One address does not lock out another, and the memory of addresses is bounded."""
    throttle = Throttle()
    for _ in range(FAILURES_ALLOWED):
        throttle.failed("guesser", NOW)
    assert not throttle.is_open("guesser", NOW)
    assert throttle.is_open("admin", NOW)
    for number in range(ADDRESSES_REMEMBERED):
        throttle.failed(str(number), NOW)
    assert throttle.is_open("guesser", NOW)
    assert len(throttle._failures) == ADDRESSES_REMEMBERED


def test_long_passwords_are_refused_unread() -> None:
    """A field longer than any password is a bad request, answered with a page."""
    client = browser()
    token = form_token(client.get("/console").text)
    answer = client.post("/console/sign-in", data={"password": "x" * 201, "form_token": token})
    assert answer.status_code == 400
    assert "cannot be answered" in answer.text


@pytest.mark.parametrize(
    ("address", "url", "headers", "status"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080", {}, 200),
        ("127.0.0.1", "http://localhost:8080", {}, 200),
        ("::1", "http://[::1]:8080", {}, 200),
        ("192.168.1.7", "http://127.0.0.1:8080", {}, 403),
        ("192.168.1.7", "http://192.168.1.5:8080", {}, 403),
        ("127.0.0.1", "http://evil.example", {}, 403),
        ("127.0.0.1", "http://127.0.0.1:8080", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", "http://127.0.0.1:8080", {"Forwarded": "for=10.0.0.1"}, 403),
    ],
)
def test_console_without_password(address: str, url: str, headers: dict[str, str], status: int) -> None:
    """Without a password only a client on this machine gets in: no other host, no proxy, no foreign name for our address."""
    client = browser(some_services(access=Access()), address=(address, 50000), url=url)
    answer = client.get("/console", headers=headers)
    assert answer.status_code == status
    assert ("web.admin_password" in answer.text) is (status == 403)


def test_no_password_means_no_sign_in() -> None:
    """Without a password an empty form signs nobody in."""
    client = browser(some_services(access=Access()), address=("10.0.0.9", 1))
    assert client.post("/console/sign-in", data={"password": "", "form_token": ""}).status_code == 303
    assert client.get("/console").status_code == 403


def test_secrets_are_compared_whole() -> None:
    """Equal is equal in every character, any script and any length."""
    assert is_same("pässword", "pässword")
    assert not is_same("password", "passwor")
    assert not is_same("password", "")


def test_secrets_do_not_show() -> None:
    """Neither password nor secret shows when services are printed."""
    assert PASSWORD not in repr(some_services())
    assert "ssss" not in repr(some_services())
