"""Replies of a real org, one by one: what the wire tests of the Salesforce client share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import responses
from requests import PreparedRequest

from connector.crm.login import Login
from connector.crm.salesforce import SalesforceCrm

HOST = "https://acme.my.salesforce.com"
DATA = f"{HOST}/services/data/v62.0"
ORG = "00D5g0000000001EAA"
TOKEN = {
    "access_token": "00D!secret",
    "instance_url": HOST,
    "id": f"https://login.salesforce.com/id/{ORG}/005000000000001AAA",
    "token_type": "Bearer",
}
LOGIN = Login(url=HOST, client_id="key", client_secret="hush")
ONE = {"totalSize": 1, "done": True, "records": [{"attributes": {"type": "Account"}, "Id": "001"}]}
SOQL = ["SELECT Id FROM Account"]
EXPIRED = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


def client(waits: list[float] | None = None, **changes: Any) -> SalesforceCrm:
    return SalesforceCrm(replace(LOGIN, **changes), sleep=(waits if waits is not None else []).append)


def with_token(wire: responses.RequestsMock, host: str = HOST, **changes: Any) -> None:
    wire.post(f"{host}/services/oauth2/token", json=TOKEN | changes)


def sent(wire: responses.RequestsMock, path: str) -> list[PreparedRequest]:
    return [call.request for call in wire.calls if path in (call.request.url or "")]
