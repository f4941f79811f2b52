"""The composition root: a Config becomes the CRM client, the billing backend, the compiled sources and the database.

With `backends` the only file that names concrete adapters. Everything below it is given what it needs; nothing reaches for configuration.
"""

from __future__ import annotations

import gc
import hashlib
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from connector import migrations
from connector.backends import bound_to, build_billing, build_calls, identity, is_trial, refuse_backend
from connector.billing.books import go_on_after
from connector.billing.following import QuoteBooks
from connector.billing.internal import InternalBilling
from connector.billing.sending import deals_about
from connector.billing.stripe_backend.steps import Calls
from connector.config import Config
from connector.config.offers import problems_with
from connector.crm.login import Login
from connector.crm.salesforce import SalesforceCrm
from connector.errors import ConfigError, HaltError, Problem, RejectedError, Where
from connector.kit import lock, observe, yamlpos
from connector.kit.clock import Clock, SystemClock
from connector.kit.db import Database
from connector.mapping.check import check
from connector.mapping.compile import Compiled, Options, compile_mapping
from connector.mapping.language import MappingFile, SourceText, objects_needed
from connector.ports import Crm, ObjectInfo, Org, Unit
from connector.sync import adopting, entries, intents, ledger, rounds, sending
from connector.sync.requests import DealRequests
from connector.sync.seam import Remote, Seam, Settings, Source, Tally
from connector.sync.sourcing import made_source

_INTENT_WAIT_S = 120
_INTENT_LOOK_S = 0.5
_PORTAL_TIMEOUT_S = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Everything that runs, built once; *seam* is what the passes work with."""

    config: Config
    clock: Clock
    database: Database
    crm: SalesforceCrm
    billing: InternalBilling
    seam: Seam


# ---------------------------------------------------------------- the database


def open_database(config: Config, *, may_migrate: bool) -> Database:
    """Open the database; bring its schema to the newest revision where the caller holds the lock.

    Raises: HaltError for a newer schema, or an older one that this caller may not migrate.
    """
    database = Database(config.database)
    state = "new"
    if may_migrate or has_database(config):  # a reader makes no empty file
        with database.read() as unit:
            state = migrations.state(schema_version(database))
            if state != "new":
                go_on_after(unit)
    if state == "current":
        return database
    if not may_migrate:
        raise HaltError(
            "The database has not been set up yet." if state == "new" else "The database has an older schema.",
            hint="Run `connector sync` or `connector run` once; they set it up.",
            code="old-schema",
        )
    if state == "older" and database.path is not None:
        _back_up(database.path)
    with database.engine.begin() as connection:
        migrations.upgrade(connection)
    return database


@cache
def settle_memory() -> None:
    """Leave what start-up made out of garbage collection, and collect less often: a page of records makes no cycles.

    Once a process: what is frozen is never freed, so a second house would freeze what is left of the first.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def schema_version(database: Database) -> str | None:
    """Return the revision of a database's schema, None for an empty one."""
    with database.read() as unit:
        sql = (
            "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
            if database.is_sqlite
            else "SELECT 1 FROM information_schema.tables WHERE table_name = 'alembic_version'"
        )
        if not unit.query(sql):
            return None
        rows = unit.query("SELECT version_num FROM alembic_version")
    return str(rows[0][0]) if rows else None


def _back_up(path: Path) -> None:
    """Copy an SQLite database beside itself before its schema changes (deals.md section 10)."""
    with sqlite3.connect(path) as source, sqlite3.connect(path.with_suffix(".before-migration.db")) as target:
        source.backup(target)


def lock_path(config: Config) -> Path:
    """Return the file that the one writer of this ledger locks."""
    path = Database(config.database).path
    return path.with_name(path.name + ".lock") if path is not None else Path("connector.lock").absolute()


def tell_about(unit: Unit, invoice_id: str) -> None:
    """Make the deals due for write-back whose records say how an invoice stands."""
    ledger.tell_crm(unit, deals_about(unit, invoice_id))


# ---------------------------------------------------------------- the CRM and its mappings


def build_crm(config: Config, *, url: str | None = None, read_timeout_s: float = 120.0) -> SalesforceCrm:
    """Return the CRM client of a configuration; *url* stands in for the demo CRM's."""
    crm = config.crm
    return SalesforceCrm(
        Login(
            url=url or crm.url, auth=crm.auth, client_id=crm.client_id, client_secret=crm.client_secret, username=crm.username,
            password=crm.password, security_token=crm.security_token, api_version=crm.api_version, org_id=crm.org_id,
            private_key=_private_key(crm.private_key_file) if crm.private_key_file else "",
            read_timeout_s=read_timeout_s,
        ),
        bulk_above=crm.bulk_above,
    )  # fmt: skip


def _private_key(file: str) -> str:
    try:
        return Path(file).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        text, hint = f"crm.private_key_file {file} cannot be read.", "Check its path and rights; it holds a key in PEM form."
        raise ConfigError([Problem(code="unreadable-file", message=text, hint=hint)]) from error


def mapping_options(config: Config) -> Options:
    """Return what mappings need of the configuration."""
    return Options(
        timezone=config.timezone,
        proration=config.billing.proration,
        tax_rounding=config.billing.tax_rounding,
        cancellation_day=config.billing.cancellation_day,
        payment_terms=config.billing.payment_terms,
        supports=frozenset({"prebill", "paid_trial", "tax_exempt"}),
    )


@lru_cache(maxsize=32)
def load_mapping(file: str, text: str) -> SourceText:
    """Parse a mapping file with positions, the same text once. Raises: ConfigError for what is not YAML."""
    return SourceText(file=file, located=yamlpos.loads(text, file))


def checked(
    source: SourceText, describe: Mapping[str, ObjectInfo] | None, org: Org | None
) -> tuple[MappingFile | None, tuple[Problem, ...]]:
    """Check a mapping file, against the CRM where its describe is given."""
    return check(source, describe=describe, org=org)


def mapping_hash(text: str) -> str:
    """Return the hash of a mapping's content; its `name:` does not count, so that renaming it bills nothing again."""
    lines = [line.rstrip() for line in text.splitlines() if not line.startswith("name:") and line.strip()]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def build_sources(config: Config, crm: Crm, org: Org) -> tuple[tuple[Source, ...], dict[str, ObjectInfo]]:
    """Load, check and compile every source's mapping against the CRM.

    Raises: ConfigError with every problem of every file at once.
    """
    texts = {s.name: mapping_text(s.mapping) for s in config.sources}
    parsed = {s.name: load_mapping(str(s.mapping), texts[s.name]) for s in config.sources}
    describe = described(crm, list(parsed.values()))
    problems: list[Problem] = []
    sources: list[Source] = []
    for configured in config.sources:
        mapping, found = checked(parsed[configured.name], describe, org)
        problems += [p for p in found if not p.code.startswith("warn")]
        if mapping is not None:
            compiled = compile_mapping(mapping, describe, org, mapping_options(config))
            text = texts[configured.name]
            sources.append(made_source(configured.name, str(configured.mapping), text, mapping_hash(text), compiled, describe))
    claimed: dict[str, str] = {}
    for source in sources:
        if source.object in claimed:
            text = f"The sources {claimed[source.object]} and {source.name} both read {source.object}."
            hint = "Keep one of them; put both conditions into its `when`."
            problems.append(Problem(code="two-sources", message=text, hint=hint, where=Where(file=source.file)))
        claimed[source.object] = source.name
    describe |= crm.describe(sorted({o for o, _, _ in config.quotes.on_accept} - describe.keys()))
    problems += problems_with(config.quotes, sorted(claimed), describe)
    if problems:
        raise ConfigError(problems)
    return tuple(sources), describe


def described(crm: Crm, parsed: list[SourceText]) -> dict[str, ObjectInfo]:
    """Return describe of every object that mappings name, following their lookups until none is new."""
    describe: dict[str, ObjectInfo] = {}
    for _ in range(5):
        wanted = {o for source in parsed for o in objects_needed(source.located.value, describe)} - describe.keys()
        if not wanted:
            break
        found = crm.describe(sorted(wanted))
        describe |= found
        if not found:
            break
    return describe


def source_objects(config: Config) -> list[str]:
    """Return the CRM objects that the sources read, from their files alone; asks no CRM."""
    trees = [load_mapping(s.mapping, mapping_text(s.mapping)).located.value for s in config.sources]
    return [str(tree["source"]["object"]) for tree in trees]


def mapping_text(path: str) -> str:
    """Return the text of a mapping file. Raises: ConfigError if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        hint = "Check `sources: … mapping:`; paths count from the configuration's folder."
        message, where = f"The mapping cannot be read: {error.strerror}.", Where(file=str(path))
        raise ConfigError([Problem(code="unreadable-file", message=message, hint=hint, where=where)]) from error


def _older(
    config: Config, database: Database, sources: tuple[Source, ...], describe: Mapping[str, ObjectInfo], org: Org
) -> Callable[[str], Compiled | None]:
    """Return a function that compiles the mapping revision of a hash, once."""
    known: dict[str, Compiled | None] = {s.hash: s.compiled for s in sources}

    def compiled_of(wanted: str) -> Compiled | None:
        if wanted not in known:
            with database.read() as unit:
                held = ledger.mapping_texts(unit, wanted)
            known[wanted] = None
            if held:
                mapping, _ = checked(load_mapping(*held[0]), describe, org)
                if mapping is not None:
                    known[wanted] = compile_mapping(mapping, describe, org, mapping_options(config))
        return known[wanted]

    return compiled_of


# ---------------------------------------------------------------- the house


def build_seam(
    config: Config,
    *,
    clock: Clock,
    database: Database,
    crm: SalesforceCrm,
    stop: threading.Event | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> tuple[Seam, InternalBilling]:
    """Log in, check the mappings, bind the ledger, and return what the passes work with."""
    org = crm.connect()
    config.payments.refuse_in_production(org.name, is_trial=is_trial(config, is_sandbox=org.is_sandbox))
    with database.read() as unit:
        refuse_backend(config, unit)
        bound = bound_to(config, unit, org)
    billing = build_billing(config, org.id, is_sandbox=org.is_sandbox, bound=bound)
    sources, describe = build_sources(config, crm, org)
    older = _older(config, database, sources, describe, org)
    seam = Seam(
        crm=crm,
        billing=billing,
        collecting=billing if billing.transactional or billing.mailing.is_on else None,  # on Stripe only reminders, where mails are ours
        remote=getattr(billing, "remote", None),
        quotes=QuoteBooks(billing),
        database=database,
        sources=adopting.with_older(sources, database, older),
        org=org,
        settings=settings_of(config, org),
        now=clock.now,
        older=older,
        log=observe.log,
        progress=progress or (lambda _what, _n: None),
        stop=stop or threading.Event(),
        entry_fields=entries.fields_of(describe, org),
    )
    return seam, billing


def settings_of(config: Config, org: Org) -> Settings:
    """Return the passes' settings."""
    return Settings(
        timezone=config.timezone,
        language=config.crm.language,
        public_url=config.web.public_url,
        record_url=org.instance_url,
        overlap_s=config.crm.overlap_s,
        max_crm_age_s=config.billing.max_crm_age_s,
        api_share=Decimal(config.crm.daily_api_budget),
        write_records=max(1000, config.crm.bulk_above),
        quotes_start_on_won=config.quotes.start == "on_won",
        quotes_on_accept=config.quotes.on_accept,
    )


@contextmanager
def writing_house(
    config: Config,
    verb: str,
    *,
    clock: Clock | None = None,
    crm: SalesforceCrm | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Iterator[House]:
    """Hold the ledger's lock and give the whole house, ready to run passes.

    Raises: HaltError (locked, other org, newer schema, login refused), RetryableError (unreachable), ConfigError (mappings).
    """
    with ExitStack() as stack:
        stack.enter_context(lock.ledger(config.database, lock_path(config), verb))
        database = open_database(config, may_migrate=True)
        stack.callback(database.close)
        client = crm or build_crm(config)
        used = clock or SystemClock()
        seam, billing = build_seam(config, clock=used, database=database, crm=client, stop=stop, progress=progress)
        rounds.bind(seam, backend=config.billing.backend, beside=identity(config, billing))
        sending.take_over(database, seam.remote)
        rounds.adopt_mappings(seam)
        settle_memory()
        yield House(config=config, clock=used, database=database, crm=client, billing=billing, seam=seam)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What reading verbs need: the database and the engine's views; no CRM."""

    config: Config
    database: Database
    billing: InternalBilling
    now: Callable[[], datetime] = field(default=lambda: SystemClock().now())


@contextmanager
def reading_house(config: Config, *, clock: Clock | None = None) -> Iterator[Books]:
    """Give the books and the ledger to read; takes no lock and asks no CRM."""
    database = open_database(config, may_migrate=False)
    try:
        with database.read() as unit:
            org = ledger.meta(unit, "org") or ""
            is_sandbox = ledger.meta(unit, "is_sandbox") == "yes"
            refuse_backend(config, unit)
            bound = bound_to(config, unit)
        billing = build_billing(config, org, is_sandbox=is_sandbox, bound=bound)
        yield Books(config=config, database=database, billing=billing, now=(clock or SystemClock()).now)
    finally:
        database.close()


def stripe_calls(config: Config, unit: Unit, *, timeout_s: float = 30) -> Calls:
    """Return a door to Stripe of one's own. Raises: HaltError where nobody bills on Stripe, or the key is of the wrong mode."""
    bound = bound_to(config, unit)
    if bound is None:
        raise HaltError("Nobody bills on Stripe.", hint="Set `billing: {backend: stripe}`.")
    bound.refuse_mode()
    return build_calls(config, bound, timeout_s=timeout_s)


def portal_calls(house: House) -> Calls:
    """Return a door to Stripe for somebody who waits before a page: with short timeouts."""
    with house.database.read() as unit:
        return stripe_calls(house.config, unit, timeout_s=_PORTAL_TIMEOUT_S)


def has_database(config: Config) -> bool:
    """Return whether the configured database was ever set up."""
    path = Database(config.database).path
    return path is None or path.exists()


@contextmanager
def planning_house(config: Config, database: Database | None) -> Iterator[House]:
    """Give a house that only reads; without a ledger yet, an empty one in a temporary folder stands in."""
    with ExitStack() as stack:
        if database is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            database = open_database(replace(config, database=f"sqlite:///{folder}/plan.db"), may_migrate=True)
        stack.callback(database.close)
        client, clock = build_crm(config), SystemClock()
        seam, billing = build_seam(config, clock=clock, database=database, crm=client)
        yield House(config=config, clock=clock, database=database, crm=client, billing=billing, seam=seam)


@contextmanager
def books_to_write(config: Config, verb: str) -> Iterator[Books]:
    """Hold the ledger's lock and give the books to change; asks no CRM."""
    with lock.ledger(config.database, lock_path(config), verb), reading_house(config) as books:
        yield books


def send_alone(books: Books, *, stop: threading.Event | None = None) -> None:
    """Send what was decided to a billing backend outside, where there is one; asks no CRM. The caller holds the ledger's lock."""
    remote: Remote | None = getattr(books.billing, "remote", None)
    if remote is not None:
        sending.take_over(books.database, remote)
        sending.send_books(books.database, remote, books.now, Tally(), stop=stop or threading.Event(), log=observe.log)


def request(
    config: Config, verb: str, kind: str, data: Mapping[str, Any], *, actor: str | None = None, key: str | None = None
) -> Mapping[str, Any]:
    """Ask the books for something and return what it led to (decision D-35); see `requests`. *key* - its name, so that it is done once."""
    return requests(config, verb, kind, [data], actor=actor, key=key)[0]


def requests(
    config: Config, verb: str, kind: str, asked: Sequence[Mapping[str, Any]], *, actor: str | None = None, key: str | None = None
) -> list[Mapping[str, Any]]:
    """Ask the books for several things of one kind and return what each led to, in order (decision D-35): carried out here if nobody
    holds the lock, else by whoever does, at its next round. actor - who asks, for the event log; default: who runs this program.

    Raises: RejectedError where one is refused (the others are carried out); HaltError if the holder did not come to them in time
    (it will still do it).
    """
    if not asked:
        return []
    with reading_house(config) as books, books.database.transaction() as unit:
        ids = [intents.submit(unit, kind, data, actor=actor or intents.person(), now=books.now(), key=key) for data in asked]
    done: dict[str, intents.Intent] = {}
    deadline = time.monotonic() + _INTENT_WAIT_S
    while time.monotonic() < deadline:
        settled = _looked_after(config, verb, [i for i in ids if i not in done])
        if settled:
            done |= settled
            deadline = time.monotonic() + _INTENT_WAIT_S
        if len(done) == len(ids):
            return [_result_of(done[i]) for i in ids]
        if not settled:
            time.sleep(_INTENT_LOOK_S)
    with reading_house(config) as books, books.database.read() as unit:
        is_sent = any(i.state == "sent" for name in ids if (i := intents.found(unit, name)) is not None)
    late = "it is on its way to Stripe, which has not answered" if is_sent else "whoever holds the ledger has not come to it"
    raise HaltError(
        f"`connector {verb}` is kept as {ids[0]}, but {late} within {_INTENT_WAIT_S} s.",
        hint="It is carried out at the next round; do not ask again.",
        code="request-waits",
    )


def _result_of(intent: intents.Intent) -> Mapping[str, Any]:
    if intent.state == "refused":
        code, message, hint = (str(intent.result.get(k, "")) for k in ("code", "message", "hint"))
        raise RejectedError(Problem(code=code, message=message, hint=hint))
    return intent.result


def deal_requests(books: Books) -> DealRequests:
    """Return who carries out requests about deals."""
    return DealRequests(billing=books.billing, language=books.config.crm.language, timezone=books.config.timezone)


def _looked_after(config: Config, verb: str, wanted: Sequence[str]) -> dict[str, intents.Intent]:
    """Carry out what is pending if the lock is free; return the requests that are settled, whoever did it."""
    try:
        with books_to_write(config, verb) as books:
            asked = deal_requests(books).handlers()
            intents.carry_out(books.database, books.billing, books.now(), for_deals=asked, leaves=adopting.ADOPT)
            send_alone(books)  # what goes outside is sent here, too, and answered
    except HaltError as error:
        if error.code != "ledger-locked":
            raise
    with reading_house(config) as books, books.database.read() as unit:
        found = [intents.found(unit, i) for i in wanted]
    return {i.id: i for i in found if i is not None and not i.is_waiting}
