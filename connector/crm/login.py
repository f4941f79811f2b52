"""Logging in to the CRM: client credentials, a signed JWT, or the legacy password call, by simple-salesforce's own login.

The library returns a token and a host and throws the rest of the reply away; `log_in` keeps the reply, because its `id`
names the org that the token belongs to (P33). Its errors are translated here, into what a person must change.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

import requests
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from simple_salesforce.exceptions import SalesforceAuthenticationFailed
from simple_salesforce.login import SalesforceLogin

from connector.crm.session import CrmSession, is_loopback
from connector.errors import ConfigError, HaltError, Problem, RetryableError

_SUFFIX = ".salesforce.com"
_LOOPBACK_DOMAIN = "loopback.my"
_ORG_IN_IDENTITY = re.compile(r"/id/(00D\w{12,15})/")
_ORG_IN_SOAP = re.compile(r"<organizationId>(00D\w{12,15})</organizationId>")
_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where and as whom to log in; plain values, secrets as text and kept out of repr.

    url - https://DOMAIN.my.salesforce.com, a login or test host (jwt, password), or http://127.0.0.1:PORT. org_id - the org
    expected there, 15 or 18 characters; None accepts any. Timeouts count for each request.
    Raises: ConfigError for a combination that cannot work, with every problem of it.
    """

    url: str
    auth: Literal["client_credentials", "jwt", "password"] = "client_credentials"
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    api_version: str = "62.0"
    org_id: str | None = None
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        problems = [*_url_problems(self), *_secret_problems(self)]
        if problems:
            raise ConfigError(problems)

    @property
    def is_loopback(self) -> bool:
        """Whether the CRM is on this machine."""
        return is_loopback(self.url)

    @property
    def domain(self) -> str:
        """Return the host as the library wants it: without .salesforce.com."""
        return _LOOPBACK_DOMAIN if self.is_loopback else (urlsplit(self.url).hostname or "").removesuffix(_SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a login yields: the bearer token, the host to talk to, and the org's id (18 characters, empty if not told)."""

    value: str = field(repr=False)
    host: str
    org_id: str = ""


def log_in(login: Login, session: CrmSession) -> Token:
    """Log in once; no repeats, so that a wrong password never locks a user out.

    Raises: HaltError if the CRM refuses, with the fix. RetryableError if it cannot be reached now.
    """
    call = _TokenCall(session)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's advice about self-authorization stands in our hint
            value, host = SalesforceLogin(session=cast("requests.Session", call), **_credentials(login))
    except SalesforceAuthenticationFailed as error:
        raise _refused(login, str(error.code or ""), error.auth_message, call.status) from error
    except (AttributeError, ExpatError) as error:
        raise RetryableError(
            f"The CRM's login at {login.url} answered with something that is not a token (HTTP {call.status}).",
            hint="Check crm.url: it must be the address of the org's My Domain, without a path.",
        ) from error
    if not value or not host:
        raise RetryableError(f"The CRM's login at {login.url} answered without a token.", hint="Check crm.url.")
    return Token(value=value, host=host.split("/")[0], org_id=call.org_id())


def id18(record_id: str) -> str:
    """Return the 18-character form of a 15-character Salesforce id; anything else comes back as it is.

    `70130000001tcyI` gives `70130000001tcyIAAQ`. Each of the last three characters tells which letters of five are capital.
    """
    if len(record_id) != 15:
        return record_id
    chunks = (record_id[0:5], record_id[5:10], record_id[10:15])
    return record_id + "".join(_SIGNS[sum(1 << i for i, c in enumerate(chunk) if "A" <= c <= "Z")] for chunk in chunks)


class _TokenCall:
    """Stands in for a session in the library's login, which only posts; keeps the reply's status and text."""

    def __init__(self, session: CrmSession) -> None:
        self._session = session
        self.status = 0
        self._text = ""

    def post(self, url: str, data: Any, *, headers: Mapping[str, str] | None, proxies: Any) -> requests.Response:
        """Post once, without repeats."""
        del proxies  # the session has its own
        response = self._session.request("POST", url, data=data, headers=headers, repeatable=False)
        self.status, self._text = response.status_code, response.text
        if response.is_redirect or (response.status_code >= 500 and "exceptionCode" not in self._text):
            raise RetryableError(
                f"The CRM's login did not work (HTTP {response.status_code}).",
                hint="Check crm.url; if it is right, the CRM is in trouble, and is asked again by itself.",
            )
        return response

    def org_id(self) -> str:
        """Return the org that the reply names, or an empty text."""
        found = _ORG_IN_IDENTITY.search(self._text) or _ORG_IN_SOAP.search(self._text)
        return id18(found[1]) if found else ""


def _credentials(login: Login) -> dict[str, Any]:
    if login.auth == "client_credentials":
        return {"consumer_key": login.client_id, "consumer_secret": login.client_secret, "domain": login.domain}
    if login.auth == "password":
        return {
            "username": login.username,
            "password": login.password,
            "security_token": login.security_token,
            "sf_version": login.api_version,
            "domain": login.domain,
            "client_id": "connector",
        }
    # P31: the audience is the login or test host even where the token comes from the My Domain host
    is_test = login.domain == "test" or ".sandbox" in login.domain
    return {
        "username": login.username,
        "consumer_key": login.client_id,
        "privatekey": login.private_key,
        "domain": "test" if is_test else "login",
        "instance_url": login.domain,
    }


def _url_problems(login: Login) -> list[Problem]:
    parts = urlsplit(login.url)
    host = parts.hostname or ""
    if login.is_loopback:
        return [] if parts.scheme == "http" else [_bad_url(login, "A loopback CRM is spoken to by http.")]
    if parts.scheme != "https" or not host.endswith(_SUFFIX):
        return [_bad_url(login, "It must be an https address that ends in .salesforce.com, or http://127.0.0.1:PORT.")]
    if login.auth == "client_credentials" and host in ("login.salesforce.com", "test.salesforce.com"):
        fix = "Use the org's My Domain, https://YOUR-DOMAIN.my.salesforce.com: client_credentials does not work at login hosts."
        return [_bad_url(login, fix)]
    return []


def _bad_url(login: Login, fix: str) -> Problem:
    return Problem(code="crm-url", message=f"crm.url {login.url!r} cannot be used with auth {login.auth}.", hint=fix)


def _secret_problems(login: Login) -> list[Problem]:
    needed = {
        "client_credentials": ("client_id", "client_secret"),
        "jwt": ("client_id", "username", "private_key"),
        "password": ("username", "password"),
    }[login.auth]
    problems = [
        Problem(
            code="crm-login-incomplete",
            message=f"crm.{'private_key_file' if name == 'private_key' else name} is empty, but auth {login.auth} needs it.",
            hint="Set it, or the environment variable that it takes its value from.",
        )
        for name in needed
        if not getattr(login, name)
    ]
    if login.auth == "jwt" and login.private_key and not _is_rsa_key(login.private_key):
        problems.append(
            Problem(
                code="crm-private-key",
                message="The private key for the CRM login cannot be read.",
                hint="crm.private_key_file must hold the unencrypted RSA key in PEM form whose certificate the connected app has.",
            )
        )
    version = login.api_version
    if not re.fullmatch(r"\d{2,3}\.0", version):
        hint = 'Write it as "62.0", quoted.'
        problems.append(
            Problem(code="crm-api-version", message=f"crm.api_version {version!r} is no version.", hint=hint)
        )
    elif login.auth == "password" and int(version[:-2]) >= 65:
        problems.append(
            Problem(
                code="crm-password-login",
                message=f"Salesforce has no password login in API version {version}.",
                hint="Use auth client_credentials or jwt; or api_version 64.0 at most, while that login still exists.",
            )
        )
    return problems


def _is_rsa_key(pem: str) -> bool:
    try:
        return isinstance(load_pem_private_key(pem.encode(), password=None), RSAPrivateKey)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        return False


_FIXES = (
    ("invalid_client_id", "Check crm.client_id: it is the consumer key of the connected app."),
    ("client identifier invalid", "Check crm.client_id: it is the consumer key of the connected app."),
    ("invalid_client", "Check crm.client_id and crm.client_secret: the key and secret of the connected app."),
    ("hasn't approved", "Pre-authorize the integration user for the connected app (a permission set of the app)."),
    (
        "no client credentials user",
        "Choose a run-as user for the client credentials flow in the connected app's policies.",
    ),
    (
        "audience",
        "Check crm.url: a sandbox's JWT is for test.salesforce.com, a production org's for login.salesforce.com.",
    ),
    ("unsupported_grant_type", "Enable this login flow in the connected app, or choose another crm.auth."),
    ("inactive", "Activate the integration user, or use another."),
    ("locked", "Check crm.username, crm.password and crm.security_token, and that the user is not locked out."),
    ("UNSUPPORTED_API_VERSION", "Use auth client_credentials or jwt: this API version has no password login."),
    ("INSUFFICIENT_ACCESS", "Give the user the permission to log in by the API, or use client_credentials."),
)


def _refused(login: Login, code: str, message: str, status: int) -> HaltError | RetryableError:
    text = f"{code} {message}"
    if code.isdigit():  # the library puts the HTTP status there when the reply was no JSON
        return RetryableError(
            f"The CRM's login at {login.url} answered with HTTP {status} and no JSON.",
            hint="Check crm.url: it must be the address of the org's My Domain, without a path.",
        )
    fix = next((fix for sign, fix in _FIXES if sign.lower() in text.lower()), "")
    if not fix:
        keys = {
            "jwt": "crm.username, client_id and private key",
            "password": "crm.username, password and security token",
        }
        fix = f"Check {keys.get(login.auth, 'crm.client_id and client_secret')}, and the policies of the connected app."
    said = f"{code}: {message}" if message else code
    return HaltError(f"The CRM refused the login ({said}).", hint=fix, code="crm-login-refused")
