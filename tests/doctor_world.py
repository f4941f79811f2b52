"""What the tests of `connector check` share: a folder after `connector init` that leads to a demo CRM of today."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from world import START

from connector import cli
from connector.doctor.findings import CHECKS, STRIPE_CHECKS
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.schema import Schema
from connector.lookalike.crm.seed import seed
from connector.lookalike.crm.server import CrmServer

OPPORTUNITY = Path("mappings/salesforce-opportunity.yaml")
ALL = [c.name for c in CHECKS]
NAMES = [name for name in ALL if name not in STRIPE_CHECKS]
Found = list[dict[str, Any]]


class Doctor:
    """A folder after `connector init`, whose configuration leads to a demo CRM of today."""

    def __init__(self, crm: CrmServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.crm, self.org, self._capsys = crm, crm.org, capsys
        self.ids: dict[str, str] = {}
        self.names = NAMES

    def type(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            cli.main(list(words))
        out, err = self._capsys.readouterr()
        return int(ending.value.code or 0), out, err

    def check(self) -> tuple[int, Found]:
        """Run `connector check --json`; return its exit status and what was found, whose shape is the documented one."""
        status, out, err = self.type("check", "--json")
        assert err == ""
        result = json.loads(out)
        for one in result["checks"]:
            assert set(one) == {"name", "state", "message", "hint", "where", "code"}
            assert one["message"]
            assert one["hint"] or one["state"] in ("ok", "skip"), one
        assert set(self.names) == {c["name"] for c in result["checks"]}
        assert [c["name"] for c in result["checks"]] == sorted((c["name"] for c in result["checks"]), key=self.names.index)
        assert result["exit_status"] == status
        return status, result["checks"]

    def bad(self) -> tuple[int, Found]:
        """Return the exit status and everything that is not fine."""
        status, found = self.check()
        return status, [c for c in found if c["state"] != "ok"]

    def change(self, old: str, new: str, file: Path = Path("config.yaml")) -> None:
        text = file.read_text()
        assert old in text, old
        file.write_text(text.replace(old, new))


def settled(url: str) -> None:
    """Let the files of `connector init` lead to a demo CRM, with a port that nobody uses."""
    file = Path("config.yaml")
    text = file.read_text().replace("https://YOUR-DOMAIN.my.salesforce.com", url)
    file.write_text(text.replace("  listen: 127.0.0.1:8080", f"  listen: 127.0.0.1:{free_port()}"))


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def doctors(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Doctor]]:
    """Give what makes a doctor for an org with the demo company in it; keywords are the org's."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SF_CLIENT_ID", "demo-client")
    monkeypatch.setenv("SF_CLIENT_SECRET", "demo-secret")
    servers: list[CrmServer] = []

    def make(**org: Any) -> Doctor:
        company = Org(**org)
        ids = seed(company, START) if "quote" in company.schema.by_lower else {}
        servers.append(CrmServer(company).start())
        doctor = Doctor(servers[-1], capsys)
        doctor.ids = ids
        assert doctor.type("init")[0] == 0
        settled(servers[-1].url)
        return doctor

    try:
        yield make
    finally:
        for server in servers:
            server.stop()


def reshape(org: Org, path: str, **traits: Any) -> None:
    """Change what describe says of a field `Object.Field`, or of an object."""
    kind, _, name = path.partition(".")
    old = org.type(kind)
    new = replace(old, fields=tuple(replace(f, **traits) if f.name == name else f for f in old.fields)) if name else replace(old, **traits)
    org.schema = Schema(types=tuple(new if one is old else one for one in org.schema.types))


def remove(org: Org, *kinds: str) -> None:
    org.schema = Schema(types=tuple(one for one in org.schema.types if one.name not in kinds))


def places(found: Found) -> list[tuple[str, str, int]]:
    return [(c["name"], c["code"], c["where"].get("line", 0)) for c in found]


def line_of(text: str, file: Path = OPPORTUNITY) -> int:
    """Return on which line of a mapping a text stands first."""
    return next(n for n, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def drop_quotes() -> None:
    """Take the source of quotes out of config.yaml."""
    file = Path("config.yaml")
    file.write_text(re.sub(r"  - name: quotes\n.*\n.*\n", "", file.read_text()))
