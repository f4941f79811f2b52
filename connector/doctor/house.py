"""Looks at what is on this machine: the address of the pages, secrets, the database and the disk. Reads only."""

from __future__ import annotations

import errno
import http.client
import ipaddress
import json
import os
import shutil
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from connector import app, backends
from connector.billing.figures import other_settings
from connector.config import LOOPBACK, Config
from connector.doctor.findings import Finding, failed, ok, skipped, warned
from connector.errors import HaltError, RetryableError
from connector.kit.db import Database
from connector.migrations import HEAD, state
from connector.sync import ledger

_CONNECT_S = 3
_INTEGRITY_S = 20
_MIB = 1024 * 1024
_ROOM_FAIL, _ROOM_WARN = 50 * _MIB, 500 * _MIB
_PASSWORD_SIGNS, _SECRET_SIGNS = 12, 32
_EASY = ("password", "admin", "connector", "secret", "changeme", "123456", "letmein")


# ---------------------------------------------------------------- pages and secrets


def web(listen: str) -> Finding:
    """Return whether the pages can be served at an address: nobody else answers there."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    hint = "Choose another address in `web.listen`."
    if int(port) == 0:
        return ok("web", "a free port is chosen at each start")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return failed("web", f"The pages cannot be served at {listen}: {error.strerror or error}.", hint)
        if _is_ours(host, int(port)):
            return ok("web", f"{listen} is answered by this connector")
        return failed("web", f"Another program answers at {listen}.", f"Stop it, or: {hint[0].lower()}{hint[1:]}")
    return ok("web", f"{listen} is free")


def _is_ours(host: str, port: int) -> bool:
    """Whether a running connector answers there."""
    asked = "127.0.0.1" if host in ("0.0.0.0", "") else "::1" if host == "::" else host  # noqa: S104 - asked, not listened on
    connection = http.client.HTTPConnection(asked, port, timeout=_CONNECT_S)
    try:
        connection.request("GET", "/healthz")
        reply = connection.getresponse()
        return reply.status == 200 and json.loads(reply.read(1000)) == {"status": "ok"}
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def public_url(config: Config) -> Finding:
    """Return whether links lead to where others can follow them."""
    url = config.web.public_url
    parts = urlsplit(url)
    goes_out = ["records of the CRM"] if not is_here(config.crm.url) and config.crm.kind != "demo" else []
    goes_out += ["mails"] if config.mail.url else []
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return failed("public-url", f"`web.public_url` {url!r} is no address.", "Write https://billing.example.com.")
    if is_here(url):
        if not goes_out:
            return ok("public-url", f"{url}, this machine only, like the CRM")
        text = f"Links in {' and '.join(goes_out)} lead to {url}, which only this machine reaches."
        return warned("public-url", text, "Set `web.public_url` to the address under which customers and reps reach the pages.")
    if parts.scheme == "http":
        text = f"{url} is not encrypted; the links are secrets, and customers pay behind them."
        return warned("public-url", text, "Put a TLS proxy in front and write https://.")
    return ok("public-url", url)


def secrets(config: Config) -> list[Finding]:
    """Return what is missing, weak or readable by others of the secrets that protect the console and the login."""
    web, found = config.web, []
    is_open = not (is_here(f"http://{web.listen}") and is_here(web.public_url))
    if is_open and not web.admin_password:
        text = "`web.admin_password` is empty: nobody but this machine gets into the console, though the pages are open to others."
        found.append(warned("secrets", text, "Set CONNECTOR_ADMIN_PASSWORD, if people shall use the console from elsewhere."))
    if web.admin_password and (len(web.admin_password) < _PASSWORD_SIGNS or web.admin_password.lower().strip("0123456789!") in _EASY):
        found.append(warned("secrets", "`web.admin_password` is easily guessed.", f"Take {_PASSWORD_SIGNS} signs or more, by chance."))
    if web.admin_password and not web.secret:
        text = "`web.secret` is empty: everybody is signed out of the console at each restart."
        found.append(warned("secrets", text, f"Set CONNECTOR_SECRET to {_SECRET_SIGNS} signs or more, by chance (`openssl rand -hex 32`)."))
    elif web.secret and (len(web.secret) < _SECRET_SIGNS or len(set(web.secret)) < 8):
        text = f"`web.secret` is weak: it signs the console's sessions, and has {len(web.secret)} signs."
        found.append(warned("secrets", text, f"Take {_SECRET_SIGNS} signs or more, by chance (`openssl rand -hex 32`)."))
    file = config.crm.private_key_file
    if file and os.path.exists(file) and os.stat(file).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        found.append(warned("secrets", f"Others on this machine may read {file}.", f"chmod 600 {file}"))
    held = "the console is for this machine only, without sign-in" if not web.admin_password else "the console's password and secret are set"
    return found or [ok("secrets", held)]


def is_here(url: str) -> bool:
    """Whether an address leads to this machine."""
    host = urlsplit(url).hostname or ""
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# ---------------------------------------------------------------- the database


def books(config: Config, expected: Mapping[str, str]) -> tuple[list[Finding], set[str] | None]:
    """Return what is to be said of the database, and the catalogue prices in it (None: it cannot be read).

    expected - what the ledger must be bound to: org, backend, timezone; without the org where nobody knows it.
    """
    if not app.has_database(config):
        return _new_database(config), set()
    database = Database(config.database, is_looked_at=True)
    found: list[Finding] = []
    try:
        return found, _looked_into(database, config, expected, found)
    except (HaltError, RetryableError) as error:
        code = error.code if isinstance(error, HaltError) else "unreachable"
        said = {f.name for f in found if f.name != "database"}
        rest = [name for name in ("integrity", "disk", "ledger", "contracts") if name not in said]
        found += [failed("database", str(error), error.hint, code=code), *skipped(rest, "the database cannot be used")]
        return found, None
    finally:
        database.close()


def known_records(config: Config, object_name: str) -> int:
    """Return how many records of an object the ledger has; 0 where it cannot be read."""
    if not app.has_database(config):
        return 0
    database = Database(config.database, is_looked_at=True)
    try:
        if app.schema_version(database) is None:
            return 0
        with database.read() as unit:
            return int(unit.query("SELECT count(*) FROM record WHERE object = ?", (object_name,))[0][0])
    except (HaltError, RetryableError):
        return 0
    finally:
        database.close()


def _looked_into(database: Database, config: Config, expected: Mapping[str, str], found: list[Finding]) -> set[str]:
    """Add to *found* what is to be said of a database; return the catalogue prices in it."""
    found += _disk(database.path)
    found.append(_schema(database, config))
    version = app.schema_version(database)
    if version is None:
        found += [ok(name, "nothing yet") for name in ("integrity", "ledger", "contracts")]
        return set()
    found.append(_integrity(database))
    with database.read() as unit:
        found += _bound({key: ledger.meta(unit, key) for key in ("org", "backend", "timezone", backends.ACCOUNT, backends.MODE)}, expected)
        if version == HEAD:
            found.append(_contracts(other_settings(unit, config.timezone, config.billing.proration, config.billing.tax_rounding)))
        else:
            found += skipped(("contracts",), "the schema is older")
        return {str(row[0]) for row in unit.query("SELECT id FROM price")}


def _name(config: Config) -> str:
    return config.database.split("@")[-1]


def _new_database(config: Config) -> list[Finding]:
    path = Database(config.database).path
    folder = path.parent if path else Path()
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        bad = failed("database", f"The folder {folder} does not exist or may not be written to.", "Correct `database:`.", code="database")
        return [bad, *skipped(("integrity", "disk", "ledger", "contracts"), "there is no database")]
    good = ok("database", f"{_name(config)}, set up by the first run")
    return [good, *_disk(path), *(ok(name, "nothing yet") for name in ("integrity", "ledger", "contracts"))]


def _schema(database: Database, config: Config) -> Finding:
    version = app.schema_version(database)
    how = state(version)
    if how == "older":
        text = f"{_name(config)} has schema {version}; this version writes {HEAD}."
        return warned("database", text, "The next `connector run` or `sync` brings it up to date, an SQLite file after a copy of it.")
    return ok("database", f"{_name(config)}, {'empty, set up by the first run' if how == 'new' else f'schema {version}'}")


def _integrity(database: Database) -> Finding:
    damage = database.damage(limit_s=_INTEGRITY_S)
    if damage is None:
        return ok("integrity", f"no damage seen in the {_INTEGRITY_S} s that were spent; the file is large")
    if damage:
        hint = "Stop the connector, keep a copy of the file, and restore the last good copy."
        return failed("integrity", f"The database file is damaged: {damage}.", hint, code="database")
    return ok("integrity", "undamaged" if database.is_sqlite else "kept by the PostgreSQL server")


def _disk(path: Path | None) -> list[Finding]:
    if path is None:
        return [ok("disk", "kept by the PostgreSQL server")]
    free = shutil.disk_usage(path.parent).free
    size = path.stat().st_size if path.exists() else 0
    text = f"{_size(free)} free at {path.parent}; the database has {_size(size)}"
    if free < _ROOM_FAIL:
        return [failed("disk", f"Hardly any room: {text}.", "Free some room, or move the database.")]
    if free < max(_ROOM_WARN, 2 * size):
        return [warned("disk", f"{text}: too little for a copy of it before an upgrade.", "Free some room, or move the database.")]
    return [ok("disk", text)]


def _size(count: int) -> str:
    return f"{count / 1024 / _MIB:,.1f} GB" if count >= 1024 * _MIB else f"{count / _MIB:,.1f} MB"


def _bound(held: Mapping[str, str | None], expected: Mapping[str, str]) -> list[Finding]:
    """Return whether the ledger is bound to what the configuration leads to."""
    words = {"org": "org", "backend": "billing backend", "timezone": "time zone"}
    found = [
        failed(
            "ledger",
            f"The ledger belongs to the {words[key]} {held[key]}, but the configuration leads to {value}.",
            f"Point `database:` to another file, or set the configuration back; a ledger never changes its {words[key]}.",
            code=f"other-{key}",
        )
        for key, value in expected.items()
        if held.get(key) not in (None, value)
    ]
    bound = ", ".join(str(value) for value in held.values() if value)
    return found or [ok("ledger", f"bound to {bound}" if bound else "not bound yet")]


def _contracts(counts: Mapping[str, int]) -> Finding:
    total = counts["running"]
    other = {key: n for key, n in counts.items() if key != "running" and n}
    if not other:
        return ok("contracts", f"{total:,} running, all with the settings of config.yaml" if total else "none is running")
    told = ", ".join(f"{n:,} with another {key}" for key, n in other.items())
    hint = "Nothing to do if the change was meant for new contracts: the old ones keep what they were made with."
    return warned("contracts", f"Of {total:,} running contracts {told} than config.yaml says now.", hint)
