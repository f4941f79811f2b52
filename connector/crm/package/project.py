"""The SFDX project: every file by its path, and how it is written into a folder without touching what is somebody's own.

What we wrote is remembered by digest in `.connector-package.json` beside it: a file that still is as we wrote it may be renewed
by a later version, one that a person changed stays, and is named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from connector.crm.package.archive import archived
from connector.crm.package.catalogue import HERE, Catalogue
from connector.crm.package.components import FRENCH_FOLDER, MAIN, field_files, label_files, view_files
from connector.crm.package.rights import Rights, permission_files, rep_rights

NOTES = ".connector-package.json"
_COPIED = HERE / "files"
_TEXTS = (".js", ".html", ".css", ".xml", ".json", ".md", ".txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What goes into the package. rights - of the integration user."""

    catalogue: Catalogue
    rights: Rights
    api_version: str
    has_history: bool = False


def project_files(chosen: Chosen) -> dict[str, str]:
    """Return the whole project, texts by path; the same choice gives the same bytes."""
    files = dict(_copied())
    files.update(field_files(chosen.catalogue, has_history=chosen.has_history))
    files.update(view_files(chosen.catalogue))
    files.update(label_files())
    files.update(permission_files(chosen.rights, rep_rights(chosen.catalogue)))
    card = f"{MAIN}/lwc/billingCard/billingCard.js-meta.xml"
    files[card] = files[card].replace("{api_version}", chosen.api_version)
    if "Quote" not in chosen.catalogue.fields:
        files[card] = files[card].replace("            <object>Quote</object>\n", "")
    settings = {
        "packageDirectories": [{"path": "force-app", "default": True}, {"path": "french"}], "name": "billing-connector", "namespace": "",
        "sfdcLoginUrl": "https://login.salesforce.com", "sourceApiVersion": chosen.api_version,
    }  # fmt: skip
    files["sfdx-project.json"] = json.dumps(settings, indent=2) + "\n"
    files["manifest/package.xml"] = archived(sources(files), chosen.api_version).files["package.xml"]
    return dict(sorted(files.items()))


def _copied() -> Iterable[tuple[str, str]]:
    for path in sorted(_COPIED.rglob("*")):
        if path.is_file():
            yield path.relative_to(_COPIED).as_posix().replace("dot_", "."), path.read_text(encoding="utf-8")


def sources(files: Mapping[str, str], *, has_french: bool = False) -> dict[str, str]:
    """Return what of a project is deployed, by the path below its package directory."""
    roots = (f"{MAIN}/", f"{FRENCH_FOLDER}/") if has_french else (f"{MAIN}/",)
    return {name[len(root) :]: text for root in roots for name, text in files.items() if name.startswith(root)}


def read_project(folder: Path) -> dict[str, str]:
    """Return the texts of a project's package directories, as they stand in *folder*."""
    found = [path for root in (MAIN, FRENCH_FOLDER) for path in (folder / root).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(found) if path.suffix in _TEXTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of each file: new, renewed, the same already, or somebody's own that differs and was left alone.

    left_over - written by us earlier and no part of the package any more; a person decides whether to delete it.
    """

    written: tuple[str, ...]
    renewed: tuple[str, ...]
    same: tuple[str, ...]
    kept: tuple[str, ...]
    left_over: tuple[str, ...]


def write_project(folder: Path, files: Mapping[str, str]) -> Outcome:
    """Write *files* into *folder*; a file that a person changed is never overwritten."""
    notes = folder / NOTES
    known = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
    sorted_out: dict[str, list[str]] = {"written": [], "renewed": [], "same": [], "kept": []}
    for name, text in files.items():
        target = folder / name
        there = target.read_text(encoding="utf-8") if target.is_file() else None
        what = "written" if there is None else "same" if there == text else "renewed" if known.get(name) == _digest(there) else "kept"
        sorted_out[what].append(name)
        if what in ("written", "renewed"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        if what != "kept":
            known[name] = _digest(text)
    left_over = tuple(name for name in known if name not in files and (folder / name).is_file())
    told = json.dumps(dict(sorted(known.items())), indent=1) + "\n"
    if not notes.is_file() or notes.read_text(encoding="utf-8") != told:
        notes.write_text(told, encoding="utf-8")
    return Outcome(left_over=left_over, **{what: tuple(names) for what, names in sorted_out.items()})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
