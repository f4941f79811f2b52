"""The Metadata API of the demo CRM: `deploy` and `checkDeployStatus` over SOAP, for real.

A deployment is read and checked as a whole (metadata_parts); if anything is refused nothing changes, else its fields and objects are
part of the org from then on, also in its file. With checkOnly nothing ever changes. As in Salesforce, the caller gets an id at once
and asks how far it is: the first answers say Pending and InProgress. Only the org's administrator may deploy.

Known limits: permission sets are checked and not applied: in this org whoever may log in sees every field (see the faults for hidden
ones). retrieve, delete and cancel are not there; tests of Apex are not run, because there is none.
"""

from __future__ import annotations

import base64
import binascii
import html
import io
import re
import zipfile
from dataclasses import dataclass, field
from typing import Any

from connector.lookalike.crm.custom import told
from connector.lookalike.crm.gate import Gate
from connector.lookalike.crm.ids import minted
from connector.lookalike.crm.metadata_parts import Read, Refused, read_deployment
from connector.lookalike.crm.metadata_xml import NAMESPACE, Part, XmlError, parsed
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.wire import Reply, Request

PATH = re.compile(r"/services/Soap/m/([^/]+)(?:/.*)?")
_SOAP_SPACE = "http://schemas.xmlsoap.org/soap/envelope/"
_OLDEST, _NEWEST = 31, 68
_MAX_FILES, _MAX_BYTES = 10_000, 39_000_000
_ANSWERS = ("Pending", "InProgress")
_HEAD = (
    f'<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="{_SOAP_SPACE}" xmlns="{NAMESPACE}" '
    'xmlns:sf="http://soap.sforce.com/2006/04/metadata" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
)
_TAIL = "</soapenv:Body></soapenv:Envelope>"


class _Fault(Exception):  # noqa: N818 - the CRM's answer, not an error of ours
    def __init__(self, code: str, text: str) -> None:
        self.code, self.text = code, text
        super().__init__(text)


@dataclass(slots=True, kw_only=True)
class _Job:
    id: str
    is_check: bool
    read: Read
    at: str
    asked: int = 0
    errors: list[Refused] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return not self.errors


class Metadata:
    """Answers /services/Soap/m/{version}; deployments live in memory, what they changed in the org."""

    def __init__(self, org: Org, gate: Gate) -> None:
        self._org = org
        self._gate = gate
        self._jobs: dict[str, _Job] = {}

    def answer(self, request: Request) -> Reply:
        """Answer one SOAP call; a refusal is a fault with HTTP 500."""
        try:
            return _xml(200, self._answered(request))
        except _Fault as fault:
            code = html.escape(fault.code)
            said = f'<faultcode xmlns="">sf:{code}</faultcode><faultstring xmlns="">{code}: {html.escape(fault.text)}</faultstring>'
            text = f"<soapenv:Fault>{said}</soapenv:Fault>"
            return _xml(500, text)

    def _answered(self, request: Request) -> str:
        found = PATH.fullmatch(request.path)
        number = re.fullmatch(r"(\d+)(?:\.0)?", found[1]) if found else None
        if number is None or not _OLDEST <= int(number[1]) <= _NEWEST:
            raise _Fault("UNSUPPORTED_API_VERSION", f"Invalid Api version specified on URL: {found[1] if found else request.path}")
        header, call = _envelope(request.body or "")
        session = next((s.text.strip() for one in header for s in one.children("sessionId")), "")
        user = self._gate.user_of(f"Bearer {session}")
        if user is None:
            raise _Fault("INVALID_SESSION_ID", "Invalid Session ID found in SessionHeader: Illegal Session. Session not found, missing session key")
        if user != self._org.admin_user:
            raise _Fault("INSUFFICIENT_ACCESS", "use of the Metadata API requires a user with the ModifyAllData or ModifyMetadata permissions")
        if call.name == "deploy":
            return self._deploy(call)
        if call.name == "checkDeployStatus":
            return self._status(call)
        raise _Fault("INVALID_OPERATION", f"the demo CRM has no {call.name}")

    def _deploy(self, call: Part) -> str:
        options = call.child("DeployOptions") or Part("DeployOptions", "", 1, 1)
        files = _files(call.value("ZipFile"))
        is_check = options.is_true("checkOnly")
        read = read_deployment(files, self._org.schema, self._org.labels)
        number = len(self._jobs) + 1
        job = _Job(id=minted("0Af", number), is_check=is_check, read=read, at=self._org.stamp(), errors=read.refused)
        self._jobs[job.id] = job
        if job.is_well and not is_check:
            self._apply(read)
        return f"<deployResponse><result><done>false</done><id>{job.id}</id><state>Queued</state></result></deployResponse>"

    def _apply(self, read: Read) -> None:
        brought = {name: tuple(fields.values()) for name, fields in read.fields.items()}
        kept = told(read.types.values(), brought)
        self._org.redefine([read.types[name] for name in brought], kept, read.labels)

    def _status(self, call: Part) -> str:
        job = self._jobs.get(call.value("asyncProcessId"))
        if job is None:
            raise _Fault("INVALID_CROSS_REFERENCE_KEY", f"invalid cross reference id: {call.value('asyncProcessId')}")
        job.asked += 1
        if job.asked <= len(_ANSWERS):
            return _result(job, _ANSWERS[job.asked - 1], is_done=False)
        return _result(job, "Succeeded" if job.is_well else "Failed", is_done=True)


def _envelope(body: str) -> tuple[list[Part], Part]:
    try:
        root = parsed(body)
    except XmlError as error:
        raise _Fault("INVALID_REQUEST", f"Premature end of file or no XML: {error}") from error
    header, inside = root.child("Header"), root.child("Body")
    if root.name != "Envelope" or root.space != _SOAP_SPACE or inside is None or len(inside.parts) != 1:
        raise _Fault("INVALID_REQUEST", "a SOAP envelope with one call is required")
    return (header.parts if header is not None else []), inside.parts[0]


def _files(packed: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed, validate=True))) as zipped:
            members = [one for one in zipped.infolist() if not one.is_dir()]
            if len(members) > _MAX_FILES or sum(one.file_size for one in members) > _MAX_BYTES:
                raise _Fault("LIMIT_EXCEEDED", f"a deployment holds at most {_MAX_FILES} files of {_MAX_BYTES} bytes")
            return {one.filename: zipped.read(one) for one in members}
    except (binascii.Error, ValueError, zipfile.BadZipFile) as error:
        raise _Fault("INVALID_ZIP_FILE", "The zip file is not readable") from error  # [G]


def _result(job: _Job, status: str, *, is_done: bool) -> str:
    total = len(job.read.components)
    bad = {(one.kind, one.name) for one in job.errors}
    done = sum((kind, name) not in bad for kind, name, _ in job.read.components) if is_done else 0
    well = is_done and job.is_well
    values: dict[str, Any] = {
        "checkOnly": job.is_check, "completedDate": job.at if is_done else None, "createdBy": "", "createdByName": "Ada Admin", "createdDate": job.at,
        "details": None, "done": is_done, "id": job.id, "ignoreWarnings": True, "lastModifiedDate": job.at,
        "numberComponentErrors": len(job.errors) if is_done else 0, "numberComponentsDeployed": done, "numberComponentsTotal": total,
        "numberTestErrors": 0, "numberTestsCompleted": 0, "numberTestsTotal": 0, "rollbackOnError": True, "runTestsEnabled": False,
        "startDate": job.at, "status": status, "success": well,
    }  # fmt: skip
    details = "".join(_failure(one, job.at) for one in job.errors) if is_done else ""
    if well:
        details = "".join(_success(kind, name, file, job) for kind, name, file in job.read.components)
    inside = "".join(
        f"<details>{details}</details>" if name == "details" else f"<{name}>{_text(value)}</{name}>" for name, value in values.items() if name == "details" or value is not None
    )
    return f"<checkDeployStatusResponse><result>{inside}</result></checkDeployStatusResponse>"


def _failure(one: Refused, at: str) -> str:
    values = {
        "changed": False, "columnNumber": one.column, "componentType": one.kind, "created": False, "createdDate": at, "deleted": False,
        "fileName": one.file, "fullName": one.name, "lineNumber": one.line, "problem": one.problem, "problemType": "Error", "success": False,
    }  # fmt: skip
    return f"<componentFailures>{''.join(f'<{k}>{_text(v)}</{k}>' for k, v in values.items())}</componentFailures>"


def _success(kind: str, name: str, file: str, job: _Job) -> str:
    values = {
        "changed": True, "componentType": kind, "created": not job.is_check, "createdDate": job.at, "deleted": False, "fileName": file,
        "fullName": name, "success": True,
    }  # fmt: skip
    return f"<componentSuccesses>{''.join(f'<{k}>{_text(v)}</{k}>' for k, v in values.items())}</componentSuccesses>"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return html.escape(str(value), quote=False)


def _xml(status: int, inside: str) -> Reply:
    return Reply(status=status, body=f"{_HEAD}{inside}{_TAIL}", media_type="text/xml;charset=UTF-8")
