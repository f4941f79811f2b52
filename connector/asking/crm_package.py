"""`connector crm package` and `crm deploy`: what an org needs for the mappings in use, as files or sent to the org.

The rights of the integration user follow from the mappings that the configuration names; without a configuration, from those that
are shipped. A deployment needs the address of the org and an administrator's token, nothing of the connector's own login.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.shared import bad
from connector.crm.deploy import Administrator, Deployment, MetadataApi
from connector.crm.package.archive import Archive, archived
from connector.crm.package.catalogue import Catalogue, catalogue
from connector.crm.package.project import Chosen, Outcome, project_files, read_project, sources, write_project
from connector.crm.package.rights import Rights, Writes, as_described, integration_rights
from connector.errors import ConfigError, Problem
from connector.kit import observe, shipped
from connector.mapping.language import MappingFile
from connector.mapping.uses import uses
from connector.sync.sourcing import TOTALS
from connector.verbs import Result, open_config

TOKEN_VARIABLE = "SF_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
_SHIPPED = ("mappings/salesforce-opportunity.yaml", "mappings/salesforce-quote.yaml")
_CPQ = "mappings/salesforce-cpq-order.yaml"
_API_VERSION = "62.0"
_UNSET = "not-set-for-this-command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the package shall hold besides the fields of standard objects."""

    has_history: bool = False
    has_quotes: bool = True
    has_cpq: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to deploy and how. folder - an SFDX project to send instead of what would be written now. wait_s - at most."""

    url: str = ""
    token_variable: str = TOKEN_VARIABLE
    folder: Path | None = None
    is_check: bool = False
    has_french: bool = False
    wait_s: float = 1800.0


class _Lenient(Mapping[str, str]):
    """The environment, in which every variable is set: the package needs none of the login's secrets."""

    def __getitem__(self, name: str) -> str:
        return os.environ.get(name, _UNSET)

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)


def package(config_path: Path, folder: Path, wanted: Wanted) -> Result:
    """Write the SFDX project into *folder*; files that a person changed are left alone and named."""
    if folder.exists() and not folder.is_dir():
        raise bad(f"{folder} is a file.", "Name a folder; it is made where it is missing.")
    chosen, mappings = _chosen(config_path, wanted)
    outcome = write_project(folder, project_files(chosen))
    return {"folder": str(folder), "mappings": mappings, **_told(outcome), "not_granted": _unknown(chosen.rights)}


def _told(outcome: Outcome) -> Result:
    return {"written": list(outcome.written), "renewed": list(outcome.renewed), "same": len(outcome.same), "kept": list(outcome.kept), "left_over": list(outcome.left_over)}


def _unknown(rights: Rights) -> list[str]:
    return [f"{name}.{path}" for name, path in sorted(rights.unknown)]


def _chosen(config_path: Path, wanted: Wanted) -> tuple[Chosen, list[str]]:
    """Return what the package holds, and the mappings that it follows from."""
    texts, on_accept, api_version = _mappings(config_path, wanted)
    mappings = [m for m in (_parsed(name, text) for name, text in texts.items()) if wanted.has_quotes or m.source.object != "Quote"]
    has_cpq = wanted.has_cpq or any(m.source.object == "Order" for m in mappings)
    known = catalogue(has_quotes=wanted.has_quotes, has_cpq=has_cpq)
    reads: list[tuple[str, str]] = []
    writes: list[Writes] = []
    for mapping in mappings:
        used = uses(mapping)
        total, line_total = TOTALS.get(mapping.source.object, ("", ""))
        reads += [*used.reads, *([(mapping.source.object, total), (mapping.source.lines.object, line_total)] if total else [])]
        writes += [Writes(object=b.object, fields=tuple(b.fields), key=b.key) for b in used.writes]
    writes += [Writes(object=name, fields=(field,), key=None) for name, field in on_accept]
    rights = integration_rights(known, _without_quotes(known, reads), writes)
    return Chosen(catalogue=known, rights=rights, api_version=api_version, has_history=wanted.has_history), list(texts)


def _parsed(name: str, text: str) -> MappingFile:
    mapping, problems = app.checked(app.load_mapping(name, text), None, None)
    if mapping is None or problems:
        raise ConfigError(problems)
    return mapping


def _without_quotes(known: Catalogue, reads: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in reads if pair != ("Opportunity", "SyncedQuoteId") or "Quote" in known.fields]


def _mappings(config_path: Path, wanted: Wanted) -> tuple[dict[str, str], list[tuple[str, str]], str]:
    """Return the mappings in use, by their files, what accepting a quote writes besides, and the API version."""
    if not config_path.exists():
        files = shipped.shipped_files()
        names = (*_SHIPPED, *([_CPQ] if wanted.has_cpq else []))
        return {name: files[name] for name in names if name in files}, [], _API_VERSION
    config = open_config(config_path, _Lenient())
    texts = {source.mapping: app.mapping_text(source.mapping) for source in config.sources}
    return texts, [(name, field) for name, field, _ in config.quotes.on_accept], _version(config.crm.api_version)


def _version(text: str) -> str:
    return text if "." in text else f"{text}.0"


# ---------------------------------------------------------------- deploy


def deploy(config_path: Path, wanted: Wanted, target: Target) -> Result:
    """Send the package to the org, or only have it checked; return what became of it.

    Raises: ConfigError for what cannot be sent, HaltError if the org refuses the token or is not done in time.
    """
    url, org_id, api_version = _where(config_path, target)
    admin = Administrator(url=url, token=_token(target.token_variable), api_version=api_version, org_id=org_id)
    api = MetadataApi(admin)
    org = api.organization()
    made = _made(config_path, wanted, target, api, api_version)
    progress = _progress_lines(made.archive.count)
    started = api.start(made.archive.zipped(), check_only=target.is_check)
    ended = api.wait(started, limit_s=target.wait_s, on_progress=progress)
    problems = [f.as_problem() for f in ended.failures if not f.is_warning]
    if not ended.is_success and not problems:
        said = ended.message or f"The org ended the deployment as {ended.state}."
        problems = [Problem(code="deploy-failed", message=said, hint=f"See Setup, Deployment Status, {ended.id}.")]
    return {
        "ok": ended.is_success, "check_only": target.is_check, "org": f"{org['Name']} ({org['Id']})", "is_sandbox": bool(org["IsSandbox"]),
        "id": ended.id, "components": made.archive.count, "deployed": ended.done, "left_out": made.left_out, "not_granted": made.not_granted,
        "errors": [_row(f) for f in ended.failures if not f.is_warning], "warnings": [_row(f) for f in ended.failures if f.is_warning],
        "problems": problems,
    }  # fmt: skip


def _row(failure: Any) -> Result:
    return {
        "component": f"{failure.kind} {failure.name}".strip(), "file": failure.file, "line": failure.line, "column": failure.column,
        "problem": failure.problem, "hint": failure.hint,
    }  # fmt: skip


def _where(config_path: Path, target: Target) -> tuple[str, str | None, str]:
    if not config_path.exists():
        if target.url:
            return target.url, None, _API_VERSION
        raise bad("Nothing says which org to deploy to.", "Name it with --url https://YOUR-DOMAIN.my.salesforce.com, or set crm.url in config.yaml.")
    crm = open_config(config_path, _Lenient()).crm
    return target.url or crm.url, crm.org_id, _version(crm.api_version)


def _token(variable: str) -> str:
    """Return the administrator's token: from the environment, or asked for once. It is never shown."""
    token = os.environ.get(variable, "").strip()
    if not token and sys.stdin.isatty():
        token = getpass.getpass("Administrator's access token (not shown, not kept): ").strip()
    if not token:
        raise bad(f"There is no administrator's token: {variable} is not set.", f"Set {variable} for this one command, or name another variable with --token-env.")
    observe.register_secret(token)
    return token


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What is sent. left_out - rights that the org does not know; not_granted - paths of mappings that lead over unknown lookups."""

    archive: Archive
    left_out: list[str]
    not_granted: list[str]


def _made(config_path: Path, wanted: Wanted, target: Target, api: MetadataApi, api_version: str) -> _Made:
    if target.folder is not None:
        files = sources(read_project(target.folder), has_french=target.has_french)
        if not files:
            raise bad(f"{target.folder} holds no SFDX project.", "Write one with `connector crm package DIR`, and name that folder.")
        return _Made(archive=archived(files, api_version), left_out=[], not_granted=[])
    chosen, _ = _chosen(config_path, wanted)
    known = chosen.catalogue
    asked: dict[str, list[str]] = {name: [] for name in known.fields if name not in known.objects}
    found = api.permissions(asked | _standard(chosen.rights.reads | chosen.rights.edits), _standard(chosen.rights.common))
    if found.missing:
        named = " and ".join(found.missing)
        hint = "Switch quotes on (Setup, Quote Settings), or add --no-quotes." if "Quote" in found.missing else "Use a token of an administrator who sees them."
        raise ConfigError([Problem(code="missing-object", message=f"This org shows no {named}.", hint=hint)])
    chosen = replace(chosen, rights=as_described(chosen.rights, refused=found.refused, granted=found.granted))
    left_out = [f"{name}.{f}" for name, fields in found.refused.items() for f in fields]
    files = sources(project_files(chosen), has_french=target.has_french)
    return _Made(archive=archived(files, api_version), left_out=left_out, not_granted=_unknown(chosen.rights))


def _standard(fields: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the standard fields among *fields*, by object."""
    out: dict[str, list[str]] = {}
    for name, field_name in sorted(fields):
        if not field_name.endswith("__c"):
            out.setdefault(name, []).append(field_name)
    return out


def _progress_lines(total: int) -> Callable[[Deployment], None]:
    """Return a function that shows how far the org is: one line redrawn on a terminal, a line for each change elsewhere."""
    shown = {"": (-1, "")}
    is_terminal = sys.stderr.isatty()

    def show(now: Deployment) -> None:
        count = (now.done, now.state)
        if shown[""] == count:
            return
        shown[""] = count
        text = f"{now.state}: {now.done} of {now.total or total} components" + (f", {now.errors} refused" if now.errors else "")
        sys.stderr.write(f"\r{text}\033[K" + ("\n" if now.is_done else "") if is_terminal else f"{text}\n")
        sys.stderr.flush()

    return show
