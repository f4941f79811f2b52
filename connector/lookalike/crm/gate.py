"""Who may call: the token endpoint, SOAP login, and the sessions they open.

Client credentials, JWT bearer and password are answered as Salesforce answers them; a wrong secret is a 400 with `error` and
`error_description`. Sessions live in memory: after a restart every token is invalid, as after an org's maintenance.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import re
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import jwt

from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.wire import Reply, Request

DEMO_CLIENT_ID = "demo-client"
DEMO_CLIENT_SECRET = "demo-secret"  # noqa: S105 - public on purpose: it opens the demo org only
DEMO_USERNAME = "integration@demo.example"
_SOAP_RETIRED_FROM = 65
_JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")
_FAULT = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:sf="urn:fault.partner.soap.sforce.com"><soapenv:Body><soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: '
    "{text}</faultstring><detail><sf:LoginFault><sf:exceptionCode>{code}</sf:exceptionCode><sf:exceptionMessage>{text}"
    "</sf:exceptionMessage></sf:LoginFault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
)
_LOGIN = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns="urn:partner.soap.sforce.com"><soapenv:Body><loginResponse><result><passwordExpired>false</passwordExpired>'
    "<serverUrl>{url}</serverUrl><sessionId>{token}</sessionId><userId>{user}</userId><userInfo><organizationId>{org}"
    "</organizationId><userId>{user}</userId></userInfo></result></loginResponse></soapenv:Body></soapenv:Envelope>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """What the org accepts. jwt_public_key - PEM that RS256 assertions must verify against; None takes any signature."""

    client_id: str = DEMO_CLIENT_ID
    client_secret: str = DEMO_CLIENT_SECRET
    username: str = DEMO_USERNAME
    password: str = "demo"  # noqa: S105 - public on purpose
    security_token: str = ""
    refresh_token: str = "demo-refresh"  # noqa: S105 - public on purpose
    jwt_public_key: str | None = None


def admin_token(org: Org) -> str:
    """Return the token of the org's administrator: public on purpose, it opens the demo org only."""
    return f"{org.org_id[:15]}!DEMO.ADMINISTRATOR"


class Gate:
    """Opens sessions and recognises them. admin_token - of the org's administrator, always valid: it opens the demo org only."""

    def __init__(self, org: Org, logins: Logins) -> None:
        self._org = org
        self._logins = logins
        self._sessions: dict[str, str] = {}
        self.admin_token = admin_token(org)
        self.base_url = "http://127.0.0.1"

    def user_of(self, authorization: str) -> str | None:
        """Return the user id of a `Bearer` or `OAuth` header; None if the session is unknown."""
        scheme, _, token = authorization.partition(" ")
        if token.strip() == self.admin_token and scheme.lower() in ("bearer", "oauth"):
            return self._org.admin_user
        return self._sessions.get(token.strip()) if scheme.lower() in ("bearer", "oauth") else None

    def revoke(self) -> None:
        """End all sessions."""
        self._sessions.clear()

    def end(self, request: Request) -> Reply:
        """Answer /services/oauth2/revoke: the session of `token` is over. What is no token is a 400."""
        form = dict(parse_qsl(request.body or "")) if request.method == "POST" else request.query
        if self._sessions.pop(form.get("token", ""), None) is None:
            return Reply(status=400, body={"error": "unsupported_token_type", "error_description": "this token type is not supported"})
        return Reply()

    def _open(self, user: str) -> str:
        token = f"{self._org.org_id[:15]}!{secrets.token_urlsafe(48)}"
        self._sessions[token] = user
        return token

    def _user_named(self, username: str) -> str | None:
        return next((row["Id"] for row in self._org.rows("User") if row["Username"].lower() == username.lower()), None)

    # -- OAuth ------------------------------------------------------------------------------------------------------------

    def token(self, request: Request) -> Reply:
        """Answer POST /services/oauth2/token."""
        form = dict(parse_qsl(request.body or "", keep_blank_values=True))
        try:
            user = self._granted(form, request.headers.get("authorization", ""))
        except Refusal as refusal:
            return Reply(status=400, body={"error": refusal.code, "error_description": refusal.message})
        identity = f"{self.base_url}/id/{self._org.org_id}/{user}"
        issued = str(int(self._org.now().timestamp() * 1000))
        digest = hmac.new(self._logins.client_secret.encode(), (identity + issued).encode(), hashlib.sha256).digest()
        body: dict[str, Any] = {
            "access_token": self._open(user),
            "instance_url": self._org.faults.instance_url or self.base_url,
            "id": identity,
            "token_type": "Bearer",
        }
        if form.get("grant_type") == _JWT_GRANT:
            return Reply(body={**body, "scope": "api"})
        return Reply(body={**body, "issued_at": issued, "signature": base64.b64encode(digest).decode(), "scope": "api"})

    def _granted(self, form: dict[str, str], authorization: str) -> str:
        grant = form.get("grant_type", "")
        if grant == _JWT_GRANT:
            return self._by_assertion(form.get("assertion", ""))
        if grant not in ("client_credentials", "password", "refresh_token"):
            raise Refusal("unsupported_grant_type", "grant type not supported")
        client, secret = _client(form, authorization)
        if not hmac.compare_digest(client.encode(), self._logins.client_id.encode()):
            raise Refusal("invalid_client_id", "client identifier invalid")
        is_public = grant == "refresh_token" and not secret
        if not is_public and not hmac.compare_digest(secret.encode(), self._logins.client_secret.encode()):
            raise Refusal("invalid_client", "invalid client credentials")
        if grant == "refresh_token":
            if not hmac.compare_digest(form.get("refresh_token", "").encode(), self._logins.refresh_token.encode()):
                raise Refusal("invalid_grant", "expired access/refresh token")
            return self._org.integration_user
        if grant == "client_credentials":
            return self._org.integration_user
        user = self._by_password(form.get("username", ""), form.get("password", ""))
        if user is None:
            raise Refusal("invalid_grant", "authentication failure")
        return user

    def _by_password(self, username: str, password: str) -> str | None:
        wanted = self._logins.password + self._logins.security_token
        is_right = (
            hmac.compare_digest(password.encode(), wanted.encode())
            and username.lower() == self._logins.username.lower()
        )
        return self._org.integration_user if is_right else None

    def _by_assertion(self, assertion: str) -> str:
        key = self._logins.jwt_public_key
        options: Any = {"verify_aud": False, "verify_exp": False, "verify_signature": key is not None}
        try:
            claims = jwt.decode(assertion, key or "", algorithms=["RS256"], options=options)
            expires = int(claims["exp"])
        except (jwt.InvalidTokenError, KeyError, ValueError) as error:
            raise Refusal("invalid_grant", "invalid assertion") from error
        if claims.get("iss") != self._logins.client_id:
            raise Refusal("invalid_client_id", "client identifier invalid")
        if claims.get("aud") not in (*_AUDIENCES, self.base_url):
            raise Refusal("invalid_grant", "Audience validation failed")
        if expires <= self._org.now().timestamp():
            raise Refusal("invalid_grant", "expired authorization code")
        user = self._user_named(str(claims.get("sub", ""))) or (
            self._org.integration_user if claims.get("sub") == self._logins.username else None
        )
        if user is None:
            raise Refusal("invalid_grant", "user hasn't approved this consumer")
        return user

    # -- SOAP -------------------------------------------------------------------------------------------------------------

    def soap(self, version: str, body: str) -> Reply:
        """Answer POST /services/Soap/u/{version}: the legacy login call, gone from 65.0 on."""
        try:
            is_retired = float(version) >= _SOAP_RETIRED_FROM
        except ValueError:
            is_retired = True
        if is_retired:
            return _fault("UNSUPPORTED_API_VERSION", f"Invalid Api version specified on URL: {version}")
        user = self._by_password(_element(body, "username"), _element(body, "password"))
        if user is None:
            return _fault("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
        url = f"{self.base_url}/services/Soap/u/{version}/{self._org.org_id[:15]}"
        text = _LOGIN.format(url=html.escape(url), token=self._open(user), user=user, org=self._org.org_id)
        return Reply(body=text, media_type="text/xml;charset=UTF-8")

    def userinfo(self, user: str) -> dict[str, Any]:
        """Return what GET /services/oauth2/userinfo tells of the user who asks."""
        row = self._org.get("User", user)
        return {
            "sub": f"{self.base_url}/id/{self._org.org_id}/{row['Id']}", "user_id": row["Id"], "organization_id": self._org.org_id,
            "preferred_username": row["Username"], "nickname": row["Username"].partition("@")[0], "name": row["Name"], "email": row["Email"],
            "email_verified": True, "given_name": row["FirstName"], "family_name": row["LastName"], "zoneinfo": row["TimeZoneSidKey"],
            "active": row["IsActive"], "user_type": "STANDARD", "language": "en_US", "locale": "en_US", "utcOffset": 0,
            "urls": {"rest": f"{self.base_url}/services/data/v{{version}}/"},
        }  # fmt: skip

    def identity(self, user: str) -> dict[str, Any]:
        """Return the identity document of a user. Raises: Refusal 404."""
        row = self._org.get("User", user)
        return {
            "id": f"{self.base_url}/id/{self._org.org_id}/{row['Id']}", "user_id": row["Id"], "organization_id": self._org.org_id,
            "username": row["Username"], "display_name": row["Name"], "email": row["Email"], "active": row["IsActive"],
            "user_type": "STANDARD", "urls": {"rest": f"{self.base_url}/services/data/v{{version}}/"},
        }  # fmt: skip


def _client(form: dict[str, str], authorization: str) -> tuple[str, str]:
    scheme, _, packed = authorization.partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        client, _, secret = base64.b64decode(packed).decode().partition(":")
    except ValueError:
        raise Refusal("invalid_client", "invalid client credentials") from None
    return unquote(client), unquote(secret)


def _element(body: str, name: str) -> str:
    found = re.search(rf"<(?:\w+:)?{name}(?:\s[^>]*)?>(.*?)</", body, re.DOTALL)
    return html.unescape(found[1]) if found else ""


def _fault(code: str, text: str) -> Reply:
    return Reply(status=500, body=_FAULT.format(code=code, text=html.escape(text)), media_type="text/xml;charset=UTF-8")
