"""The only door to the database: one writer, snapshots for readers, statements at driver level, time-ordered ids.

SQLite runs in WAL mode with synchronous=FULL: a commit that returned is on the disk. Passes hand over whole chunks of tuples,
because an ORM object a row costs 7 to 20 times as much as the row; SQLModel is for the schema alone.
A `transaction()` begins with BEGIN IMMEDIATE, so that two writers never meet half-way; readers see the last commit.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from connector.errors import ConfigError, HaltError, Problem, RetryableError, invariant
from connector.kit.claims import Claims

BUSY_TIMEOUT_MS = 10_000
CACHE_KIB = 8_000
_LEDGER = 0x636F6E6E  # the number under which the ledger's lock stands on a PostgreSQL server, per database
_HOLDER = (
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted"
    " AND l.objsubid = 1 AND l.objid::bigint = %s AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_DAMAGE = ("malformed", "not a database")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class Unit:
    """An open transaction; parameters are written `?` whatever the database."""

    def __init__(self, connection: Connection, *, mark: str) -> None:
        self._connection = connection
        self._mark = mark
        self._after: list[Callable[[], None]] = []

    @property
    def connection(self) -> Connection:
        """The connection itself, for migrations."""
        return self._connection

    @property
    def for_update(self) -> str:
        """What a query ends with that locks the rows it returns until the end; nothing on SQLite, where one writes at a time."""
        return "" if self._mark == "?" else " FOR UPDATE"

    @property
    def bytewise(self) -> str:
        """What a text column is followed by to compare it byte by byte, whatever the server's language; SQLite always does."""
        return "" if self._mark == "?" else ' COLLATE "C"'

    def lock_out_writers(self, table: str) -> None:
        """Wait until nobody is writing to a table, and let nobody begin before the end; on SQLite that is so anyway."""
        if self._mark != "?":
            self._connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE MODE")

    def _sql(self, sql: str) -> str:
        return sql if self._mark == "?" else _postgres(sql)

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one statement; return how many rows it changed."""
        return self._connection.exec_driver_sql(self._sql(sql), tuple(params)).rowcount

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for every tuple of *rows*; nothing for none."""
        if rows:
            self._connection.exec_driver_sql(self._sql(sql), rows)

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        result = self._connection.exec_driver_sql(self._sql(sql), tuple(params))
        with closing(result.cursor) as cursor:  # the driver's own rows: tuples already, and a third of the time
            return list(cursor.fetchall())

    def after_commit(self, act: Callable[[], None]) -> None:
        """Run *act* once this transaction is safely committed."""
        self._after.append(act)

    def committed(self) -> None:
        """Run what waited for the commit."""
        for act in self._after:
            act()


@lru_cache(maxsize=512)
def _postgres(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


class Database:
    """A database by its URL: `sqlite:///FILE` or `postgresql://user@host/name`.

    is_looked_at - it is only read, and no file is made beside it, not even while it is read.
    """

    def __init__(self, url: str, *, is_looked_at: bool = False) -> None:
        self._url = _normal(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = _looking_engine(self._url) if is_looked_at else _engine(self._url, is_sqlite=self.is_sqlite)
        self._writing = threading.Lock()
        self._writer: int | None = None

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, for schema work and the admin's reads."""
        return self._engine

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database."""
        name = self._url.database
        return Path(name).absolute() if self.is_sqlite and name and name != ":memory:" else None

    @contextmanager
    def transaction(self) -> Iterator[Unit]:
        """Give a unit that commits at the end, or rolls back on any error; never nested.

        Raises: RetryableError if the database stays locked, HaltError if it cannot be opened or is damaged.
        """
        invariant(self._writer != threading.get_ident(), "a transaction is never opened inside another")
        with self._writing:
            self._writer = threading.get_ident()
            try:
                with self._unit("BEGIN IMMEDIATE") as unit:
                    yield unit
            finally:
                self._writer = None
        unit.committed()

    @contextmanager
    def read(self) -> Iterator[Unit]:
        """Give a unit that sees one snapshot and writes nothing."""
        with self._unit("BEGIN") as unit:
            yield unit

    @contextmanager
    def _unit(self, begin: str) -> Iterator[Unit]:
        try:
            connection = self._engine.connect()
        except DBAPIError as error:
            raise _translated(error, self._url) from error
        with connection:
            try:
                if self.is_sqlite:
                    connection.exec_driver_sql(begin)
                yield Unit(connection, mark="?" if self.is_sqlite else "%s")
                if self.is_sqlite:
                    connection.exec_driver_sql("COMMIT")
                connection.commit()
            except DBAPIError as error:
                _roll_back(connection, is_sqlite=self.is_sqlite)
                if isinstance(error, OperationalError) or any(sign in str(error.orig) for sign in _DAMAGE):
                    raise _translated(error, self._url) from error
                raise
            except BaseException:
                _roll_back(connection, is_sqlite=self.is_sqlite)
                raise

    @staticmethod
    @contextmanager
    def lock(url: str, verb: str) -> Iterator[None]:
        """Hold the ledger's lock of a PostgreSQL server for *verb*: the server gives it back when the connection ends, however it ends.

        Raises: HaltError naming the holder if another connection has it, wherever its process runs.
        """
        from psycopg import Error, connect

        address = _normal(url).set(drivername="postgresql")
        name = f"`connector {verb}`, process {os.getpid()}"
        try:
            connection = connect(
                address.render_as_string(hide_password=False), autocommit=True, connect_timeout=10, application_name=name
            )
        except Error as error:
            raise HaltError(
                f"The database {address.database or ''} cannot be used: {error}.", hint="Check `database:` and the server.", code="database"
            ) from error
        with connection:
            (is_mine,) = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LEDGER,)).fetchone() or (False,)
            if not is_mine:
                holder = connection.execute(_HOLDER, (_LEDGER,)).fetchone()
                raise HaltError(
                    f"The ledger is in use by {holder[0] if holder else 'another process'}.",
                    hint="Wait until it has finished, or stop it first (its process id is in the message).",
                    code="ledger-locked",
                )
            yield

    @contextmanager
    def claims(self) -> Iterator[Claims]:
        """Give what somebody is claimed by among the processes that work on this database; at the end everything is given back."""
        address = None if self.is_sqlite else self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with closing(Claims(address)) as claims:
            yield claims

    def damage(self, *, limit_s: float) -> str | None:
        """Return what is wrong with the file of an SQLite database, "" for nothing, None where *limit_s* was too short to see.

        A PostgreSQL server looks after its own files: "".
        """
        if not self.is_sqlite:
            return ""
        deadline = time.monotonic() + limit_s
        with self.read() as unit:
            driver: Any = unit.connection.connection.dbapi_connection
            driver.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            try:
                found = [str(row[0]) for row in driver.execute("PRAGMA quick_check(3)").fetchall()]
            except sqlite3.OperationalError as error:
                if "interrupted" in str(error):
                    return None
                return str(error)
            except sqlite3.DatabaseError as error:
                return str(error)
            finally:
                driver.set_progress_handler(None, 0)
        return "" if found == ["ok"] else "; ".join(found)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _roll_back(connection: Connection, *, is_sqlite: bool) -> None:
    driver: Any = connection.connection.dbapi_connection
    if is_sqlite and isinstance(driver, sqlite3.Connection):
        if driver.in_transaction:
            driver.execute("ROLLBACK")
    else:
        connection.rollback()


def _normal(url: str) -> URL:
    try:
        made = make_url(url)
    except sqlalchemy.exc.ArgumentError as error:
        raise ConfigError([_bad_url(url)]) from error
    backend = made.get_backend_name()
    if backend == "postgresql":
        return made.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigError([_bad_url(url)])
    return made


def _bad_url(url: str) -> Problem:
    return Problem(
        code="bad-database",
        message=f"`database: {url.rpartition('@')[2]}` is not a database this program knows.",
        hint="Write sqlite:///FILE or postgresql://user@host/name.",
    )


def _engine(url: URL, *, is_sqlite: bool) -> Engine:
    if not is_sqlite:
        return _postgres_engine(url)
    in_memory = url.database in (None, "", ":memory:")
    more: dict[str, Any] = {} if in_memory else {"pool_size": 4, "max_overflow": 12}
    engine = sqlalchemy.create_engine(
        url, connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000}, **more
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            f"cache_size=-{CACHE_KIB}",
            "wal_autocheckpoint=4000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _looking_engine(url: URL) -> Engine:
    """Return an engine whose connections cannot write; a file without a log beside it is read as one that nobody changes."""
    if url.get_backend_name() != "sqlite":
        return _postgres_engine(url, options="-c default_transaction_read_only=on -c statement_timeout=20000")
    path = Path(url.database or "").absolute()

    def opened() -> sqlite3.Connection:
        how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
        connection = sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True, timeout=BUSY_TIMEOUT_MS / 1000)
        connection.isolation_level = None
        return connection

    return sqlalchemy.create_engine("sqlite://", creator=opened, poolclass=NullPool)


def _postgres_engine(url: URL, *, options: str = "") -> Engine:
    from psycopg import Connection as Driver
    from psycopg.adapt import Buffer, Loader

    class Whole(Loader):
        """Sums of whole numbers come back as int, as on SQLite; the books have no other numeric values."""

        def load(self, data: Buffer) -> int:
            return int(bytes(data))

    more = {"options": options} if options else {}
    engine = sqlalchemy.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10, **more})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Driver[Any], _record: object) -> None:
        connection.adapters.register_loader("numeric", Whole)

    return engine


def _translated(error: DBAPIError, url: URL) -> HaltError | RetryableError:
    text = str(error.orig)
    if "locked" in text or "busy" in text or "deadlock" in text:
        return RetryableError(f"The database is busy: {text}.", hint="Another program holds it; it is tried again.", retry_after_s=5)
    is_damaged = any(sign in text for sign in _DAMAGE)
    return HaltError(
        f"The database {url.database or ''} cannot be used: {text}.",
        hint="Stop the connector, keep a copy of the file, and restore the last good copy."
        if is_damaged
        else "Check that the path of `database:` exists, may be written to, and has room.",
        code="database",
    )


_last = 0
_id_lock = threading.Lock()
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]  # two signs for ten bits


def new_ids(prefix: str, now: datetime, count: int) -> list[str]:
    """Return *count* ids, `prefix_` and 18 signs each, that sort by time of making, strictly increasing within a process.

    Random ids would make a growing file four to eight times slower; twelve signs of milliseconds and a counter, six of chance.
    """
    global _last  # noqa: PLW0603 - the last id of this process; guarded by _id_lock
    with _id_lock:
        first = max(_last + 1, int(now.timestamp() * 1000) << 10)
        _last = first + count - 1
    chance = os.urandom(4 * count)
    return [
        f"{prefix}_{_base32(first + n, 6)}{_base32(int.from_bytes(chance[4 * n : 4 * n + 4], 'big'), 3)}"
        for n in range(count)
    ]


def new_id(prefix: str, now: datetime) -> str:
    """Return one id; see `new_ids`."""
    return new_ids(prefix, now, 1)[0]


def _base32(number: int, pairs: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(10 * pairs - 10, -1, -10)])


def start_ids_above(known: str) -> None:
    """Let every id that this process makes sort after *known*, whatever the machine's clock says; what is no id of ours is left alone."""
    global _last  # noqa: PLW0603 - see `new_id`
    signs = known.rpartition("_")[2]
    if len(signs) == 18 and set(signs) <= set(_ALPHABET):
        high = 0
        for sign in signs[:12]:
            high = high << 5 | _ALPHABET.index(sign)
        with _id_lock:
            _last = max(_last, high)
