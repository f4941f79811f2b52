"""One visit: ask and look once, hand the values to whoever judges them, and go on whatever fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from connector import app, posting
from connector.config import LOOPBACK, Config, read_config
from connector.doctor import account, fields, house, login, org
from connector.doctor.fields import Read
from connector.doctor.findings import (
    BY_CODE,
    CHECKS,
    ORG_CHECKS,
    STRIPE_CHECKS,
    Finding,
    failed,
    in_order,
    of_problem,
    ok,
    skipped,
    warned,
)
from connector.errors import ConfigError, HaltError, Problem, RejectedError, RetryableError, Where
from connector.kit.clock import Clock, SystemClock
from connector.kit.crontab import times_a_day
from connector.mapping.check import check
from connector.mapping.language import MappingFile, SourceText
from connector.ports import Crm, ObjectInfo, Org
from connector.sync import entries, streams
from connector.sync.seam import Source

_READ_TIMEOUT_S = 20.0
_SWEEP_ROWS = 2000
_USUALLY_BESIDE = 4  # accounts, contacts, products, invoice rows on which payments are typed
_PRICES = "SELECT Id, Name, {field} FROM {object} WHERE {field} != null{active} ORDER BY {field}, Id LIMIT 2000"


@dataclass(slots=True, kw_only=True)
class _Visit:
    """What is known so far; *found* grows check by check. *sources* - as the passes read them; none where a mapping has errors."""

    config: Config
    clock: Clock
    found: list[Finding] = field(default_factory=list)
    org: Org | None = None
    sources: tuple[Source, ...] = ()
    has_typed_payments: bool = False

    def tried(self, name: str, act: Callable[[], None]) -> bool:
        """Carry out a look of check *name*; return whether it could be, and say what kept it."""
        try:
            act()
        except ConfigError as error:
            self.found += [of_problem(problem, name) for problem in error.problems]
        except RejectedError as error:
            self.found.append(of_problem(error.problem, name))
        except HaltError as error:
            self.found.append(failed(BY_CODE.get(error.code, name), str(error), error.hint, code=error.code))
        except RetryableError as error:
            self.found.append(failed(name, str(error), error.hint, code="unreachable"))
        else:
            return True
        return False


def examined(path: Path, env: Mapping[str, str], clock: Clock | None = None) -> list[Finding]:
    """Return what all checks found, in their order. Raises nothing that a check may meet."""
    try:
        config, problems = read_config(path, env)
    except ConfigError as error:
        config, problems = None, error.problems
    if config is None:
        rest = [c.name for c in CHECKS if c.name not in ("config", *STRIPE_CHECKS)]
        return in_order([*(_of_config(p) for p in problems), *skipped(rest, "there is no configuration that can be read")])
    visit = _Visit(config=config, clock=clock or SystemClock(), found=[_of_config(p) for p in problems] or [ok("config", str(path))])
    parsed = _parsed(visit)
    if problems:
        visit.found += fields.of_files([_held(source, text, None, None, config) for source, text in parsed.items()], has_org=False)
        _look_at_books(visit, None)
        return in_order([*visit.found, *skipped(_unsaid(visit), f"{path} has errors")])
    _look_at_settings(visit)
    _ask_the_crm(visit, parsed)
    return in_order([*visit.found, *skipped(_unsaid(visit), _why_not(visit))])


def _of_config(problem: Problem) -> Finding:
    return Finding(name="config", state="fail", message=problem.message, hint=problem.hint, where=problem.where, code=problem.code)


def _parsed(visit: _Visit) -> dict[str, SourceText]:
    """Return the mapping of each source, parsed; what is no YAML, or cannot be read, is said."""
    parsed: dict[str, SourceText] = {}
    for source in visit.config.sources:

        def load(name: str = source.name, file: str = source.mapping) -> None:
            parsed[name] = app.load_mapping(file, _text_of(file))

        visit.tried("mappings", load)
    return parsed


def _text_of(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        hint = "Check `sources: … mapping:`; paths count from the configuration's folder."
        problem = Problem(
            code="unreadable-file", message=f"The mapping cannot be read: {error.strerror}.", hint=hint, where=Where(file=file)
        )
        raise ConfigError([problem]) from error


def _held(source: str, text: SourceText, described: Mapping[str, ObjectInfo] | None, to: Org | None, config: Config) -> Read:
    mapping, problems = check(text, describe=described, org=to, public_url=config.web.public_url)
    return Read(source=source, file=text.file, mapping=mapping, problems=problems)


# ---------------------------------------------------------------- what needs no CRM


def _look_at_settings(visit: _Visit) -> None:
    config = visit.config
    visit.found.append(ok("tax", _tax(config)))
    visit.found.append(house.web(config.web.listen))
    visit.found.append(house.public_url(config))
    visit.found += house.secrets(config)
    visit.found.append(login.flow(config.crm.auth, config.crm.api_version))
    visit.tried("mail", lambda: visit.found.append(ok("mail", posting.mail_detail(config))))


def _tax(config: Config) -> str:
    """Return which kind of tax is charged, in words."""
    tax = config.tax
    if tax.kind == "rates":
        places = sorted({f"{r.country} {r.region}".strip() for r in tax.rates})
        return f"rates: {len(tax.rates)} listed, for {', '.join(places)}"
    if tax.kind == "stripe":
        return "stripe: Stripe Tax finds the tax of each invoice, where its registrations say so"
    if tax.kind == "eu_vat":
        return f"eu_vat: seller in {config.seller.country}, {config.seller.vat_id}; prices {'with' if tax.is_inclusive else 'without'} tax"
    return "none: no tax on any invoice"


def _look_at_books(visit: _Visit, named: Mapping[str, list[str]] | None) -> None:
    """Look at the database; *named* are the catalogue prices that products name, None where nobody knows."""
    expected = {"backend": visit.config.billing.backend, "timezone": visit.config.timezone}
    if visit.org is not None:
        expected["org"] = visit.org.id
    held: list[set[str] | None] = [None]

    def look() -> None:
        found, held[0] = house.books(visit.config, expected)
        visit.found.extend(found)

    visit.tried("database", look)
    if named and held[0] is None:
        visit.found += skipped(("catalogue",), "the database cannot be used")
    elif named is not None and visit.org is not None:
        visit.found += fields.catalogue(named, held[0] or ())


# ---------------------------------------------------------------- what the CRM says


def _ask_the_crm(visit: _Visit, parsed: Mapping[str, SourceText]) -> None:
    """Log in and ask about org and fields; where that fails, look at what can be seen without."""
    clients: list[Crm] = []

    def get_in() -> None:
        client = app.build_crm(visit.config, read_timeout_s=_READ_TIMEOUT_S)
        offered = client.versions()
        visit.found.append(ok("login", f"{visit.config.crm.url}, {visit.config.crm.auth}"))
        visit.found.append(org.clock(visit.clock.now(), client.server_now()))
        visit.found.append(login.version(visit.config.crm.api_version, offered))
        clients.append(client)

    def connect() -> None:
        visit.org = clients[0].connect()

    has_version = visit.tried("login", get_in) and not _has_failed(visit, "api-version")
    if has_version:
        visit.tried("org", connect)
    visit.found += account.examined(visit.config, visit.org, visit.clock)
    if visit.org is None:
        read = [_held(source, text, None, None, visit.config) for source, text in parsed.items()]
        visit.found += fields.of_files(read, has_org=False)
        _look_at_books(visit, None)
        return
    crm, to = clients[0], visit.org
    visit.found.append(org.which(to, None))
    visit.tried("payments", lambda: _payments(visit, to))
    _sandbox_mail(visit, to)
    visit.found.append(org.time_zone(visit.config.timezone, _zone_of(crm), visit.clock.now()))
    named = _look_at_mappings(visit, crm, to, parsed)
    _look_at_calls(visit, crm, parsed)
    _look_at_books(visit, named)


def _has_failed(visit: _Visit, name: str) -> bool:
    return any(f.name == name and f.state == "fail" for f in visit.found)


def _why_not(visit: _Visit) -> str:
    """Return why some checks could not be made."""
    if visit.org is not None:
        return "a mapping has errors" if any(_has_failed(visit, n) for n in ("mappings", *ORG_CHECKS)) else "the CRM did not answer"
    reasons = {
        "api-version": "the org does not offer our API version", "api-calls": "the org has no calls left", "org": "it is not the org expected",
    }  # fmt: skip
    return next((why for name, why in reasons.items() if _has_failed(visit, name)), "no login")


def _unsaid(visit: _Visit) -> list[str]:
    """Return the checks of which nothing has been said yet."""
    said = {f.name for f in visit.found}
    left_out = STRIPE_CHECKS if visit.config.billing.backend != "stripe" else ()
    return [c.name for c in CHECKS if c.name not in said and c.name not in left_out]


def _payments(visit: _Visit, to: Org) -> None:
    config = visit.config
    is_trial = config.crm.kind == "demo" or to.is_sandbox or (urlsplit(config.crm.url).hostname or "") in LOOPBACK
    config.payments.refuse_in_production(to.name, is_trial=is_trial)
    cards = " (test cards take no money)" if "test" in config.payments.methods else ""
    visit.found.append(ok("payments", ", ".join(config.payments.methods) + cards))


def _sandbox_mail(visit: _Visit, to: Org) -> None:
    mail = visit.config.mail
    if to.is_sandbox and mail.url and not mail.test_to:
        text = "This is a sandbox org and `mail.test_to` is not set: mails are written, and none leaves."
        visit.found.append(warned("mail", text, "Set `mail.test_to` to an address of yours."))


def _zone_of(crm: Crm) -> str | None:
    """Return the org's own time zone, None where it is not shown."""
    try:
        ((row,),) = crm.query(["SELECT TimeZoneSidKey FROM Organization LIMIT 1"])
    except (RejectedError, RetryableError, HaltError, ValueError):
        return None
    return row.get("TimeZoneSidKey")


def _look_at_mappings(visit: _Visit, crm: Crm, to: Org, parsed: Mapping[str, SourceText]) -> dict[str, list[str]] | None:
    """Check the mappings against the org; return the catalogue prices that products name."""
    described: dict[str, ObjectInfo] = {}
    if not visit.tried("objects", lambda: described.update(app.described(crm, list(parsed.values())))):
        return None
    read = [_held(source, text, described, to, visit.config) for source, text in parsed.items()]
    visit.found += fields.of_files(read, has_org=True)
    mappings = [one.mapping for one in read if one.mapping is not None]
    visit.found.append(fields.currency(mappings, described, to))
    visit.found += fields.quotes(mappings, described)
    visit.tried("typed-payments", lambda: visit.found.append(_typed_payments(crm, described)))
    if len(mappings) == len(visit.config.sources) and not any(f.state == "fail" and f.name in ("mappings", *ORG_CHECKS) for f in visit.found):
        # the last word has what `sync` does with them: two sources of one object, `quotes:` in this org
        visit.tried("quotes", lambda: _loaded(visit, crm, to))
    return _named_prices(visit, crm, mappings, described)


def _typed_payments(crm: Crm, described: Mapping[str, ObjectInfo]) -> Finding:
    """Return whether payments can be typed in the CRM; the field for them without the others is half a feature."""
    shown = described if entries.OBJECT in described else crm.describe([entries.OBJECT])
    text = entries.detail(shown)
    is_wanted = entries.OBJECT in shown and entries.AMOUNT in shown[entries.OBJECT].fields
    if is_wanted and entries.missing(shown):
        hint = "Grant the integration user edit access to these fields, or hide the first from people who would type into it in vain."
        return warned("typed-payments", f"People may type payments on {entries.OBJECT}, but they are not read; {text}.", hint)
    return ok("typed-payments", text)


def _loaded(visit: _Visit, crm: Crm, to: Org) -> None:
    try:
        visit.sources, described = app.build_sources(visit.config, crm, to)
        visit.has_typed_payments = bool(entries.fields_of(described, to))
    except ConfigError as error:
        names = {"two-sources": "mappings"}
        visit.found += [_named(of_problem(p, "quotes"), names.get(p.code, "quotes")) for p in error.problems]


def _named(finding: Finding, name: str) -> Finding:
    return Finding(
        name=name, state=finding.state, message=finding.message, hint=finding.hint, where=finding.where, code=finding.code
    )


def _named_prices(
    visit: _Visit, crm: Crm, mappings: list[MappingFile], described: Mapping[str, ObjectInfo]
) -> dict[str, list[str]] | None:
    named: dict[str, list[str]] = {}

    def look() -> None:
        for object_name, field_name in fields.price_fields(mappings, described):
            active = " AND IsActive = true" if "IsActive" in described[object_name].fields else ""
            (rows,) = crm.query([_PRICES.format(object=object_name, field=field_name, active=active)])
            for row in rows:
                named.setdefault(str(row[field_name]), []).append(str(row.get("Name") or row["Id"]))

    if not mappings:
        return None
    return named if visit.tried("catalogue", look) else None


def _look_at_calls(visit: _Visit, crm: Crm, parsed: Mapping[str, SourceText]) -> None:
    share = Decimal(visit.config.crm.daily_api_budget)
    visit.found.append(org.calls(crm.usage(), share=share, asking=_asking(visit, parsed)))


def _asking(visit: _Visit, parsed: Mapping[str, SourceText]) -> org.Asking:
    """Return what a day without changes costs, as the passes ask; from the files alone where a mapping has errors."""
    config = visit.config
    own, others = len(streams.polled(visit.sources)), len(streams.pointed_at(visit.sources)) + visit.has_typed_payments
    if not visit.sources:
        own, others = sum(1 + bool(text.located.value["source"].get("lines")) for text in parsed.values() if _is_block(text)), _USUALLY_BESIDE
    all_at_once = streams.calls_of_poll(own, others, takes_turns=False)
    runs, nights = (times_a_day(cron, config.timezone, visit.clock.now()) for cron in (config.billing_run, config.reconcile))
    pages = sum(1 + house.known_records(config, s.object) // _SWEEP_ROWS for s in visit.sources)
    return org.Asking(
        every_s=min((s.every_s for s in config.sources), default=30),
        a_round=streams.calls_of_poll(own, others, takes_turns=True),
        beside=runs * all_at_once + nights * (2 * all_at_once + pages),
    )


def _is_block(text: SourceText) -> bool:
    tree = text.located.value
    return isinstance(tree, Mapping) and isinstance(tree.get("source"), Mapping)
