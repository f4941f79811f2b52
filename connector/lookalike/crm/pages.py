"""The rep's pages over HTTP: which address shows or saves what, and what keeps other sites out.

A form carries a token that only this server's pages show; a form without it, or one that another site sends, saves nothing. The
policy of each reply lets a page load its own stylesheet and script and nothing else. What a page shows, and what its buttons do:
the package `rep`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from connector.lookalike.crm.front import Front
from connector.lookalike.crm.ids import id18
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.rep import acts, making, recycled, typed, words
from connector.lookalike.crm.rep.kinds import KINDS, OPPORTUNITY, Kind
from connector.lookalike.crm.rep.lines import LineForm
from connector.lookalike.crm.rep.lists import list_page
from connector.lookalike.crm.rep.record import NOTHING_OPEN, Open, record_page
from connector.lookalike.crm.rep.words import Complaint
from connector.lookalike.crm.seed_company import month_after

_HERE = Path(__file__).parent / "rep"
_MAX_FORM_BYTES = 262_144
_MAX_FORM_FIELDS = 2_000
_OWN_PATH = re.compile(r"/\w+(?:/\w+)?")
_ASSETS = {"style.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
}  # fmt: skip
_FOREIGN = "This form was sent from another site, so nothing was saved."
_STALE = "The demo CRM was started anew since this page was opened, so nothing was saved yet. Everything is still here: send it again."
Form = dict[str, str]


def routes(front: Front) -> list[BaseRoute]:
    """Return the routes of the pages."""
    pages = Pages(front)
    out: list[BaseRoute] = [
        Route("/", pages.list_of(OPPORTUNITY), methods=["GET"]), Route("/rep/{asset}", pages.asset, methods=["GET"]),
        Route("/lookup", pages.lookup, methods=["GET"]), Route("/day", pages.day, methods=["POST"]), Route("/bin", pages.recycle_bin, methods=["GET", "POST"]),
    ]  # fmt: skip
    for kind in KINDS:
        out.append(Route(f"/{kind.path}", pages.where_there(kind, pages.list_of(kind)), methods=["GET"]))
        if kind.is_made:
            out.append(Route(f"/{kind.path}/new", pages.where_there(kind, pages.new_of(kind)), methods=["GET", "POST"]))
        out.append(Route(f"/{kind.path}/{{record}}", pages.where_there(kind, pages.record_of(kind)), methods=["GET", "POST"]))
    out.append(Route("/{record:str}", pages.by_id, methods=["GET"]))
    return out


class Pages:
    """Renders the pages of an org."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._org = front.org
        self._token = secrets.token_urlsafe(24)
        self._views = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What the org has now; a deployment may bring more."""
        return tuple(kind for kind in KINDS if kind.name.lower() in self._org.schema.by_lower)

    def where_there(self, kind: Kind, endpoint: Any) -> Any:
        """Return the endpoint for orgs that have the object, a page that says so for others."""

        async def checked(request: Request) -> Response:
            if kind not in self.kinds:
                return self._message(request, 404, "There is no such page.", "Choose a list above, or look for the record by its name.")
            found: Response = await endpoint(request)
            return found

        return checked

    # -- rendering --------------------------------------------------------------------------------------------------------

    @cached_property
    def _mark(self) -> str:
        """What changes in the addresses of the assets when they do."""
        return hashlib.sha256(b"".join((_HERE / "static" / name).read_bytes() for name in _ASSETS)).hexdigest()[:12]

    def _render(self, template: str, request: Request, status: int = 200, **view: Any) -> Response:
        organization = next(self._org.rows("Organization"))
        rep = self._org.row("User", self._org.rep_user) or {}
        asked = request.query_params
        flash = acts.DONE.get(asked.get("done", ""), "") if status == 200 else ""
        text = self._views.get_template(template).render(
            company=organization["Name"], rep=rep.get("Name", ""), today=words.day_text(making.today(self._org).isoformat()), kinds=self.kinds,
            token=self._token, mark=self._mark, moves=self._front.move_clock is not None, flash=flash, path=request.url.path, gone=id18(asked.get("gone", "")) or "", **view,
        )  # fmt: skip
        return HTMLResponse(text, status_code=status, headers=_HEADERS)

    def _message(self, request: Request, status: int, title: str, text: str, restore: str = "") -> Response:
        return self._render("message.html", request, status, title=title, text=text, restore=restore)

    async def asset(self, request: Request) -> Response:
        """Send the stylesheet or the script; its address changes with its content, so it may be kept."""
        media = _ASSETS.get(request.path_params["asset"])
        if media is None:
            return self._message(request, 404, "There is no such page.", "Choose a list above.")
        headers = {**_HEADERS, "Cache-Control": "public, max-age=86400"}
        return Response((_HERE / "static" / request.path_params["asset"]).read_bytes(), media_type=media, headers=headers)

    # -- reading ----------------------------------------------------------------------------------------------------------

    def list_of(self, kind: Kind) -> Any:
        """Return the endpoint that lists records of *kind*."""

        async def endpoint(request: Request) -> Response:
            with self._org.lock:
                return self._render("list.html", request, page=list_page(self._org, kind, request.query_params), kind=kind)

        return endpoint

    async def by_id(self, request: Request) -> Response:
        """Send `/ID` to the record's page, as Salesforce does."""
        record = id18(request.path_params["record"]) or ""
        found = next((kind for kind in self.kinds if record in self._org.table(kind.name).rows), None)
        if found is None:
            return self._message(request, 404, "There is no such page.", "Choose a list above, or look for the record by its name.")
        return RedirectResponse(words.url_of(found.name, record), status_code=303)

    async def lookup(self, request: Request) -> Response:
        """Answer the script with the records that a typed name may mean."""
        asked = request.query_params
        one = self._org.schema.by_lower.get(asked.get("kind", "").lower())
        if one is None or one.name not in {kind.name for kind in self.kinds}:
            return JSONResponse([], headers=_HEADERS)
        with self._org.lock:
            account = id18(asked.get("account", ""))
            found = typed.suggestions(self._org, one.name, asked.get("q", "")[:200], account)
        return JSONResponse([{"value": option.value, "note": option.note} for option in found], headers=_HEADERS)

    # -- records ----------------------------------------------------------------------------------------------------------

    def record_of(self, kind: Kind) -> Any:
        """Return the endpoint that shows one record of *kind*, and saves its forms."""

        async def endpoint(request: Request) -> Response:
            form = await _form(request) if request.method == "POST" else {}
            with self._org.lock:
                return self._record(kind, request, form)

        return endpoint

    def _record(self, kind: Kind, request: Request, form: Form) -> Response:
        record = request.path_params["record"]
        try:
            row = self._org.get(kind.name, record)
        except Refusal as refusal:
            if refusal.code != "ENTITY_IS_DELETED":
                return self._message(request, 404, f"There is no such {kind.one}.", "It may have been deleted for good. Look for it by its name in the list.")
            name = (self._org.table(kind.name).rows.get(id18(record) or "") or {}).get("Name", "")
            return self._message(request, 404, f"This {kind.one} is in the recycle bin.", str(name), restore=id18(record) or "")
        if request.method != "POST":
            if request.query_params.get("live"):
                return self._render("live.html", request, page=record_page(self._org, kind, row))
            return self._render("record.html", request, page=record_page(self._org, kind, row, _opened(request)))
        refused = self._refused(request, form)
        if refused == _FOREIGN:
            return self._message(request, 403, "Nothing was saved.", refused)
        outcome = acts.Outcome(opened=acts.unsaved(self._org, kind, row, form, refused)) if refused else acts.carried_out(self._org, kind, row, form)
        if outcome.href:
            return RedirectResponse(outcome.href, status_code=303)
        return self._render("record.html", request, 400, page=record_page(self._org, kind, row, outcome.opened or NOTHING_OPEN))

    def new_of(self, kind: Kind) -> Any:
        """Return the endpoint that shows the form of a new record, and makes it."""

        async def endpoint(request: Request) -> Response:
            form = await _form(request) if request.method == "POST" else {}
            with self._org.lock:
                return self._new(kind, request, form)

        return endpoint

    def _new(self, kind: Kind, request: Request, form: Form) -> Response:
        if request.method != "POST":
            return self._render("new.html", request, page=making.new_page(self._org, kind, request.query_params))
        refused = self._refused(request, form)
        if refused == _FOREIGN:
            return self._message(request, 403, "Nothing was saved.", refused)
        try:
            if refused:
                raise making.Refused(making.as_typed(self._org, kind, form, Complaint(text=refused)))
            made = making.make(self._org, kind, form)
        except making.Refused as refusal:
            return self._render("new.html", request, 400, page=refusal.page)
        done = "made_change" if kind.lines else "made"
        return RedirectResponse(f"{words.url_of(kind.name, made)}?done={done}", status_code=303)

    async def recycle_bin(self, request: Request) -> Response:
        """Show the recycle bin, and bring a record back from it."""
        form = await _form(request) if request.method == "POST" else {}
        with self._org.lock:
            complaint = None
            if request.method == "POST":
                refused = self._refused(request, form)
                if refused == _FOREIGN:
                    return self._message(request, 403, "Nothing was saved.", refused)
                complaint, href = (Complaint(text=refused), "") if refused else recycled.restored(self._org, form.get("record", ""))
                if href:
                    return RedirectResponse(href, status_code=303)
            found = recycled.deleted(self._org)
            return self._render("bin.html", request, 400 if complaint else 200, rows=found, complaint=complaint)

    async def day(self, request: Request) -> Response:
        """Move the org's time on by a day or a month, where whoever runs it lets people do so."""
        form = await _form(request)
        refused = self._refused(request, form)
        if refused:
            return self._message(request, 403, "Nothing was moved.", refused)
        now, back = making.today(self._org), form.get("back", "")
        days = {"day": now + timedelta(days=1), "month": month_after(now, 1)}
        day = days.get(form.get("value", ""))
        if self._front.move_clock is None or day is None:
            return self._message(request, 404, "There is no such page.", "Here time goes on by itself only.")
        self._front.move_clock(day)
        return RedirectResponse(f"{back if _OWN_PATH.fullmatch(back) else '/'}?done=moved", status_code=303)

    # -- who may save -----------------------------------------------------------------------------------------------------

    def _refused(self, request: Request, form: Form) -> str:
        """Return why a form may not be saved; empty if it may."""
        headers = request.headers
        origin = headers.get("origin")
        is_foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
        if is_foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _FOREIGN
        if secrets.compare_digest(form.get("token", "").encode(), self._token.encode()):
            return ""
        return _STALE if origin is not None else _FOREIGN


def _opened(request: Request) -> Open:
    """Return which form the address opens: `?edit=SECTION`, `?line=ID`, `?add=1`."""
    asked = request.query_params
    if asked.get("line"):
        return Open(line=LineForm(line=id18(asked["line"]) or "-"))
    if asked.get("add"):
        return Open(line=LineForm())
    return Open(section=asked.get("edit", ""))


async def _form(request: Request) -> Form:
    """Return the fields of a posted form; nothing if it is larger than any of ours."""
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > _MAX_FORM_BYTES:
            return {}
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=_MAX_FORM_FIELDS))
    except ValueError:
        return {}
