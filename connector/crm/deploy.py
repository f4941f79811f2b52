"""Sending the package to an org by the Metadata API, with an administrator's token that is used here and kept nowhere.

The token stands in the memory of this process and in the requests to the one host; it is in no message, no repr and no log.
simple-salesforce can deploy, too, but drops the line and column of what was refused, and loads its whole description of the
Metadata API (1.5 MB, a second) first; so the two messages that are needed are written here, over our session with its timeouts.

A deployment is carried out by the org in its own time: it is started once, then asked about in growing steps until it is done or
the limit is reached. With check_only the org goes through all of it and changes nothing. One refused component undoes all.
"""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import requests

from connector.crm.login import id18
from connector.crm.session import CLIENT_NAME, DEFAULT_POLICY, CrmSession, RetryPolicy, is_loopback
from connector.errors import ConfigError, HaltError, Problem, RetryableError, Where

TIMEOUTS_S = (10.0, 120.0)
_FIRST_WAIT_S, _LONGEST_WAIT_S, _MISSES = 0.5, 5.0, 5
_TOKEN = re.compile(r"[\w!.+/=~-]{15,4000}")
_ORG_IN_TOKEN = re.compile(r"(00D[A-Za-z0-9]{12})!")
_MET = "{http://soap.sforce.com/2006/04/metadata}"
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns="http://soap.sforce.com/2006/04/metadata">'
    "<soapenv:Header><CallOptions><client>{client}</client></CallOptions><SessionHeader><sessionId>{token}</sessionId></SessionHeader>"
    "</soapenv:Header><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
)
_DEPLOY = (
    "<deploy><ZipFile>{zip}</ZipFile><DeployOptions><allowMissingFiles>false</allowMissingFiles><autoUpdatePackage>false</autoUpdatePackage>"
    "<checkOnly>{check}</checkOnly><ignoreWarnings>true</ignoreWarnings><performRetrieve>false</performRetrieve><purgeOnDelete>false</purgeOnDelete>"
    "<rollbackOnError>true</rollbackOnError><singlePackage>true</singlePackage></DeployOptions></deploy>"
)
_STATUS = "<checkDeployStatus><asyncProcessId>{id}</asyncProcessId><includeDetails>true</includeDetails></checkDeployStatus>"
FRESH_TOKEN = "Get a fresh one of an administrator, for example with `sf org display --verbose`; it lives a few hours."  # noqa: S105


@dataclass(frozen=True, slots=True, kw_only=True)
class Administrator:
    """Where and as whom to deploy. *org_id* - the only org that may be changed; None takes any.

    Raises: ConfigError with every problem of url and token; the token itself is in none of them.
    """

    url: str
    token: str = field(repr=False)
    api_version: str = "62.0"
    org_id: str | None = None

    def __post_init__(self) -> None:
        problems = [*_url_problems(self.url), *_token_problems(self.token, self.org_id)]
        if problems:
            raise ConfigError(problems)


def _url_problems(url: str) -> Iterable[Problem]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(url) and parts.scheme == "http":
        return
    if parts.scheme != "https" or not host.endswith(".salesforce.com") or host in ("login.salesforce.com", "test.salesforce.com"):
        hint = "Use the address of the org's My Domain, https://YOUR-DOMAIN.my.salesforce.com (Setup, My Domain), as crm.url or with --url."
        yield Problem(code="crm-url", message=f"{url or 'An empty address'} cannot be deployed to.", hint=hint)


def _token_problems(token: str, org_id: str | None) -> Iterable[Problem]:
    if not _TOKEN.fullmatch(token):
        yield Problem(code="crm-token", message="The administrator's token is empty or no access token.", hint=FRESH_TOKEN)
        return
    found = _ORG_IN_TOKEN.match(token)
    if found and org_id and id18(found[1]) != id18(org_id):
        message = f"The token is of org {id18(found[1])}, but crm.org_id is {id18(org_id)}."
        yield Problem(code="other-org", message=message, hint="Log in to the org of the configuration, or correct crm.org_id.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One component that the org refused, or has a warning about; line and column in *file* of the zip, 0 where not told."""

    kind: str
    name: str
    file: str
    line: int
    column: int
    problem: str
    is_warning: bool

    @property
    def hint(self) -> str:
        """What to do about it, in words."""
        return next((fix for sign, fix in _FIXES if re.search(sign, f"{self.problem} {self.kind} {self.name}", re.IGNORECASE)), _OTHER_FIX)

    def as_problem(self) -> Problem:
        """Return it as people are told."""
        where = Where(file=self.file, line=self.line or None, column=self.column or None, object=self.kind, record=self.name)
        return Problem(code="component-refused", message=self.problem, hint=self.hint, where=where)


_FIXES = (
    (r"(type|entity|object).*\bquote|named quote|\bQuote(LineItem)?\b.*(not found|cannot be found|does not exist)", "Quotes are switched off in this org: switch them on (Setup, Quote Settings), or deploy with --no-quotes."),
    (r"no custom ?field named|no customfield", "The field is not in this org. If a mapping of yours names it, create it first or correct the mapping."),
    (r"required field", "Field permissions cannot be set for it, because everybody has it: take its fieldPermissions out of the permission set and deploy that folder with --package."),
    (r"(cannot|can't|unable to) (change|convert|update).*(type|field)|different type|already (exists|a field)|duplicate", "The org has a field of that name with other properties: rename yours, or name it in the mapping and leave ours out."),
    (r"custom field (limit|maximum)|reached.*(maximum|limit)|too many", "The org has reached a limit: remove fields or tracked fields that nobody uses, or ask Salesforce for more."),
    (r"history", "Field history cannot be switched on here: deploy without --history."),
    (r"translation", "Switch on the Translation Workbench with French (Setup, Translation Language Settings), or deploy without --french."),
    (r"picklist", "The org has its own values for this field: add the missing one there, or change the mapping's `values`."),
    (r"permission|licen[cs]e", "The org does not know this right, or the user licence lacks it: take it out of the permission set and deploy that folder with --package."),
    (r"package\.xml", "Files and manifest do not fit: write the package anew with `connector crm package` into an empty folder."),
)  # fmt: skip
_OTHER_FIX = "Look at this component in the package (`connector crm package DIR`), correct it, and deploy that folder with --package."


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """How far a deployment is. state - Salesforce's word, such as InProgress, Succeeded, Failed."""

    id: str
    state: str
    is_done: bool
    is_success: bool
    done: int
    total: int
    errors: int
    failures: tuple[Failure, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What an org's describe says of standard fields, by object: which take no field permissions, which do although we thought not."""

    refused: Mapping[str, list[str]]
    granted: Mapping[str, list[str]]
    missing: tuple[str, ...]


class MetadataApi:
    """An org's Metadata API, as an administrator. Args: sleep, monotonic - seconds; handed in by tests."""

    def __init__(
        self,
        admin: Administrator,
        *,
        policy: RetryPolicy = DEFAULT_POLICY,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin = admin
        self._sleep = sleep
        self._monotonic = monotonic
        self._session = CrmSession(admin.url, timeouts_s=TIMEOUTS_S, policy=policy, sleep=sleep)
        self._base = admin.url.rstrip("/")

    def organization(self) -> Mapping[str, Any]:
        """Return Id, Name and IsSandbox of the org. Raises: HaltError if the token is not accepted, or is of another org."""
        soql = quote("SELECT Id, Name, IsSandbox FROM Organization LIMIT 1")
        found: Mapping[str, Any] = self._json(f"query?q={soql}")["records"][0]
        wanted = self._admin.org_id
        if wanted and id18(found["Id"]) != id18(wanted):
            hint = "Log in to the org of the configuration, or correct crm.org_id."
            raise HaltError(f"This is org {found['Id']} ({found['Name']}), but crm.org_id is {id18(wanted)}.", hint=hint, code="other-org")
        return found

    def permissions(self, listed: Mapping[str, Iterable[str]], common: Mapping[str, Iterable[str]]) -> Permissions:
        """Ask describe which standard fields take field permissions here: of those *listed* in the package, and of the *common* ones."""
        refused: dict[str, list[str]] = {}
        granted: dict[str, list[str]] = {}
        missing = []
        for name in sorted({*listed, *common}):
            body = self._json(f"sobjects/{name}/describe", may_miss=True)
            if body is None:
                missing.append(name)
                continue
            open_fields = {f["name"]: f.get("compoundFieldName") or f["name"] for f in body["fields"] if f.get("permissionable") is not False}
            takes = {*open_fields, *open_fields.values()}
            refused[name] = [f for f in listed.get(name, ()) if f not in takes]
            granted[name] = sorted({open_fields[f] for f in common.get(name, ()) if f in open_fields})
        return Permissions(refused=refused, granted=granted, missing=tuple(missing))

    def _json(self, path: str, *, may_miss: bool = False) -> Any:
        url = f"{self._base}/services/data/v{self._admin.api_version}/{path}"
        response = self._session.request("GET", url, headers={"Authorization": f"Bearer {self._admin.token}"})
        if response.status_code == 404 and may_miss:
            return None
        if response.status_code == 401:
            raise _refused_token()
        if response.status_code >= 300:
            raise HaltError(f"The CRM refused to be read (HTTP {response.status_code}: {_said(response)}).", hint=_RIGHTS, code="crm-refused")
        try:
            return response.json()
        except ValueError as error:
            raise _no_answer(response) from error

    def start(self, archive: bytes, *, check_only: bool) -> str:
        """Hand the zip over; return the deployment's id. Not repeated: a lost reply is for a person to look at."""
        body = _DEPLOY.format(zip=b64encode(archive).decode(), check="true" if check_only else "false")
        found = self._soap("deploy", body).findtext(f".//{_MET}result/{_MET}id")
        if not found:
            raise RetryableError("The CRM took the package and named no deployment.", hint="Look at Setup, Deployment Status.")
        return found

    def status(self, deployment: str) -> Deployment:
        """Return how far a deployment is."""
        result = self._soap("checkDeployStatus", _STATUS.format(id=escape(deployment))).find(f".//{_MET}result")
        if result is None:
            raise RetryableError("The CRM answered without saying how far the deployment is.", hint="Look at Setup, Deployment Status.")
        return _deployment(deployment, result)

    def wait(self, deployment: str, *, limit_s: float, on_progress: Callable[[Deployment], None]) -> Deployment:
        """Ask until the deployment is done; *on_progress* gets every answer. Raises: HaltError after *limit_s*."""
        deadline = self._monotonic() + limit_s
        pause_s, misses = _FIRST_WAIT_S, 0
        while True:
            try:
                now = self.status(deployment)
                misses = 0
                on_progress(now)
                if now.is_done:
                    return now
            except RetryableError:
                misses += 1
                if misses >= _MISSES:
                    raise
            if self._monotonic() + pause_s > deadline:
                hint = f"It goes on there: see Setup, Deployment Status, {deployment}. Deploying again later changes nothing twice."
                raise HaltError(f"The org was not done after {limit_s:g} s.", hint=hint, code="deploy-unfinished")
            self._sleep(pause_s)
            pause_s = min(_LONGEST_WAIT_S, pause_s * 1.5)

    def _soap(self, action: str, body: str) -> ET.Element:
        url = f"{self._base}/services/Soap/m/{self._admin.api_version}"
        data = _ENVELOPE.format(client=CLIENT_NAME, token=escape(self._admin.token), body=body)
        headers = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": action}
        # a fault comes as 500, which a repeatable call of the session would take for trouble of the server
        response = self._session.request("POST", url, data=data.encode(), headers=headers, repeatable=False)
        try:
            root = ET.fromstring(response.content)  # noqa: S314 - see above
        except ET.ParseError as error:
            raise _no_answer(response) from error
        fault = root.findtext(".//{*}faultstring")
        if fault is not None:
            raise _fault(root.findtext(".//{*}faultcode") or "", fault)
        if response.status_code >= 300:
            raise _no_answer(response)
        return root


_RIGHTS = "Use the token of a user who may change metadata: a System Administrator may (Modify Metadata, Customize Application)."


def _refused_token() -> HaltError:
    return HaltError("The CRM does not accept the administrator's token.", hint=FRESH_TOKEN, code="crm-token-refused")


def _fault(code: str, text: str) -> HaltError:
    if "INVALID_SESSION_ID" in code or "INVALID_SESSION_ID" in text:
        return _refused_token()
    if "INSUFFICIENT_ACCESS" in code or "INSUFFICIENT_ACCESS" in text:
        return HaltError("The token's user may not change this org's metadata.", hint=_RIGHTS, code="crm-no-rights")
    if "UNSUPPORTED_API_VERSION" in code:
        return HaltError(f"The CRM does not have this API version ({text}).", hint='Set crm.api_version, for example "62.0".', code="crm-api-version")
    return HaltError(f"The CRM refused the deployment ({text}).", hint="Look at Setup, Deployment Status; correct what it names.", code="deploy-refused")


def _said(response: requests.Response) -> str:
    try:
        return str(response.json()[0]["errorCode"])
    except (ValueError, LookupError, TypeError):
        return "no reason given"


def _no_answer(response: requests.Response) -> RetryableError:
    return RetryableError(
        f"The CRM answered HTTP {response.status_code} with something that is no answer.", hint="Check the address (crm.url, --url), then try again."
    )


def _deployment(name: str, result: ET.Element) -> Deployment:
    def text(child: str) -> str:
        return result.findtext(f"{_MET}{child}") or ""

    failures = tuple(_failure(f) for f in result.iterfind(f"{_MET}details/{_MET}componentFailures"))
    return Deployment(
        id=name, state=text("status"), is_done=text("done") == "true", is_success=text("success") == "true",
        done=_whole(text("numberComponentsDeployed")), total=_whole(text("numberComponentsTotal")), errors=_whole(text("numberComponentErrors")),
        failures=failures, message=text("errorMessage"),
    )  # fmt: skip


def _failure(node: ET.Element) -> Failure:
    def text(child: str) -> str:
        return node.findtext(f"{_MET}{child}") or ""

    return Failure(
        kind=text("componentType") or "Package", name=text("fullName"), file=text("fileName"), line=_whole(text("lineNumber")),
        column=_whole(text("columnNumber")), problem=text("problem"), is_warning=text("problemType") == "Warning",
    )  # fmt: skip


def _whole(text: str) -> int:
    return int(text) if text.isdigit() else 0
