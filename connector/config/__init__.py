"""config.yaml becomes one frozen Config, or a list of everything that is wrong with it, each with its line.

`${NAME}` takes an environment variable, `${NAME:-default}` too, `${file:/path}` the content of a file; such values count as
secrets in logs. Unknown keys name the nearest known one. A key whose feature does not exist yet is a problem when it is set
to anything but its default: nobody shall believe in a setting that does nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from connector.config.billing import BillingConfig, read_billing
from connector.config.calls import read_budget, read_bulk_above
from connector.config.collecting import (
    DunningConfig,
    MailConfig,
    PaymentsConfig,
    read_dunning,
    read_mail,
    read_payments,
)
from connector.config.keys import KNOWN, LATER
from connector.config.offers import QuotesConfig, read_quotes
from connector.config.planned import read_schedule
from connector.config.portal import PortalConfig, read_portal
from connector.config.stripe import StripeConfig, read_stripe
from connector.config.taxes import TaxConfig, read_tax
from connector.config.webhooks import read_webhooks
from connector.errors import ConfigError, Problem, Where
from connector.kit import observe, yamlpos
from connector.kit.yamlpos import Located
from connector.kit.yamlpos import Path as At
from connector.tax.places import country_code
from connector.webhooks.endpoint import Endpoint

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LOGIN_HOSTS = ("login.salesforce.com", "test.salesforce.com")
_SOAP_LOGIN_ENDS = 65
_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrmConfig:
    """Which CRM, and as whom. url - https://DOMAIN.my.salesforce.com, or http:// on a loopback host."""

    kind: Literal["salesforce", "demo"] = "salesforce"
    url: str = ""
    auth: Literal["client_credentials", "jwt", "password"] = "client_credentials"
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)
    private_key_file: str = ""
    api_version: str = "62.0"
    org_id: str | None = None
    daily_api_budget: str = "0.5"
    bulk_above: int = 0
    language: Literal["en", "fr"] = "en"
    overlap_s: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """One CRM object to poll; *every_s* seconds between polls."""

    name: str
    mapping: str
    every_s: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """Where the pages are served, and the address under which others reach them."""

    listen: str = "127.0.0.1:8080"
    public_url: str = "http://127.0.0.1:8080"
    secret: str = field(default="", repr=False)
    admin_password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Log lines on stderr: json or console, from a level on."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerConfig:
    """Who sells, as printed on every document."""

    name: str = ""
    address: tuple[str, ...] = ()
    country: str = ""
    vat_id: str = ""
    email: str = ""
    iban: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration, checked; *file* is where it was read."""

    database: str = "sqlite:///connector.db"
    timezone: str = "UTC"
    crm: CrmConfig = CrmConfig()
    billing: BillingConfig = field(default_factory=BillingConfig)
    stripe: StripeConfig = field(default_factory=StripeConfig)
    sources: tuple[SourceConfig, ...] = ()
    web: WebConfig = WebConfig()
    seller: SellerConfig = SellerConfig()
    portal: PortalConfig = field(default_factory=PortalConfig)
    webhooks: tuple[Endpoint, ...] = ()
    tax: TaxConfig = field(default_factory=TaxConfig)
    quotes: QuotesConfig = field(default_factory=QuotesConfig)
    payments: PaymentsConfig = field(default_factory=PaymentsConfig)
    dunning: DunningConfig = field(default_factory=DunningConfig)
    mail: MailConfig = field(default_factory=MailConfig)
    billing_run: str = "*/10 * * * *"
    reconcile: str = "0 3 * * *"
    log: LogConfig = LogConfig()
    file: str = ""


def demo_config(*, database: str, crm_url: str, mappings: Sequence[Path], port: int) -> Config:
    """Return the configuration of the demo: embedded defaults, a CRM on this machine, a fictitious seller."""
    return Config(
        database=database,
        crm=CrmConfig(kind="demo", url=crm_url, client_id="demo-client", client_secret="demo-secret"),  # noqa: S106 - the demo CRM takes any
        sources=tuple(SourceConfig(name=p.stem.removeprefix("salesforce-"), mapping=str(p), every_s=5) for p in mappings),
        web=WebConfig(listen=f"127.0.0.1:{port}", public_url=f"http://127.0.0.1:{port}"),
        seller=SellerConfig(
            name="Northwind Instruments",
            address=("1 Quai du Port", "13002 Marseille", "France"),
            country="FR",
            email="billing@northwind.example",
            iban="FR76 3000 6000 0112 3456 7890 189",
        ),
        log=LogConfig(format="console", level="warning"),
    )


def load_config(path: Path, env: Mapping[str, str]) -> Config:
    """Read and check the configuration. Raises: ConfigError with every problem at once, in file order."""
    config, problems = read_config(path, env)
    if problems:
        raise ConfigError(problems)
    return config


def read_config(path: Path, env: Mapping[str, str]) -> tuple[Config, tuple[Problem, ...]]:
    """Return the configuration, with defaults where it is wrong, and every problem in file order.

    Raises: ConfigError where there is no file, or one that is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        text, hint = "There is no configuration here.", "Run `connector init` to write one, or name it with `-c FILE`."
        raise ConfigError([Problem(code="no-config", message=text, hint=hint, where=Where(file=str(path)))]) from error
    reader = _Reader(yamlpos.loads(text, str(path)), env, path.parent)
    config = reader.config(str(path))
    return config, tuple(sorted(reader.problems, key=lambda p: (p.where.line or 0, p.where.column or 0)))


# ---------------------------------------------------------------- values

_VARIABLE = re.compile(r"\$\{(?:file:(?P<file>[^}]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?)\}")
_DURATION = re.compile(r"^(\d+)([smhd])$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Reader:
    """One walk over the file; every getter notes a problem and returns the default instead of stopping."""

    def __init__(self, located: Located, env: Mapping[str, str], folder: Path) -> None:
        self._at = located
        self._env = env
        self._folder = folder
        self.problems: list[Problem] = []

    def config(self, file: str) -> Config:
        tree = self._at.value
        if not isinstance(tree, dict):
            self.add("bad-config", (), "The configuration is empty or not a mapping.", "See config.example.yaml.")
            return Config()
        self._check_keys(tree)
        self._check_later()
        self._required(("tax", "kind"), "Say `tax: {kind: none}`, rates or eu_vat: tax is never silently zero.")
        seller, crm, billing = self._seller(), self._crm(), read_billing(self)
        is_demo = crm.kind == "demo" or (urlsplit(crm.url).hostname or "") in LOOPBACK
        return Config(
            database=self._database(),
            timezone=self._timezone(),
            crm=crm,
            billing=billing,
            stripe=read_stripe(self, billing.backend, is_demo=is_demo),
            sources=self._sources(),
            web=self._web(),
            seller=seller,
            portal=read_portal(self),
            tax=read_tax(self, seller.country, seller.vat_id, backend=billing.backend),
            quotes=read_quotes(self),
            payments=read_payments(self, billing.backend),
            dunning=read_dunning(self),
            mail=read_mail(self),
            webhooks=read_webhooks(self),
            **read_schedule(self),
            log=LogConfig(
                format=self.choice(("log", "format"), ("json", "console"), "json"),
                level=self.choice(("log", "level"), ("debug", "info", "warning", "error"), "info"),
            ),
            file=file,
        )

    def _database(self) -> str:
        """Return the database's URL; a relative SQLite file counts from the configuration's folder, whoever starts us where."""
        url = self.text(("database",), "sqlite:///connector.db")
        file = url.removeprefix(_SQLITE)
        if not url.startswith(_SQLITE) or not file or file == ":memory:" or Path(file).is_absolute():
            return url
        return f"{_SQLITE}{(self._folder / file).absolute()}"

    # ------------------------------------------------------------ keys

    def add(self, code: str, path: At, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem at a place of the file."""
        self.problems.append(self._at.problem(code, path, message, hint, at_key=at_key))

    def raw(self, path: At) -> Any:
        """Return a value as written, None where there is none."""
        node = self._at.value
        for step in path:
            is_there = step in node if isinstance(node, dict) else isinstance(node, list) and isinstance(step, int) and step < len(node)
            if not is_there:
                return None
            node = node[step]
        return node

    def _check_keys(self, tree: Mapping[str, Any]) -> None:
        for block, known in KNOWN.items():
            node = tree if block == "" else tree.get(block)
            if node is None:
                continue
            path: At = () if block == "" else (block,)
            if not isinstance(node, dict):
                self.add("bad-type", path, f"`{block}` is a mapping of keys.", f"Known keys: {', '.join(known)}.")
                continue
            for key in node:
                if key not in known:
                    near = difflib.get_close_matches(key, known, 1)
                    hint = f"Did you mean `{near[0]}`?" if near else f"Known here: {', '.join(known)}."
                    self.add("unknown-key", (*path, key), f"There is no key `{key}` here.", hint, at_key=True)

    def _check_later(self) -> None:
        for name, off in LATER.items():
            path = tuple(name.split("."))
            value = self.raw(path)
            if value is not None and value != off:
                text = f"`{name}` is for a feature that this version does not have yet."
                self.add("not-built-yet", path, text, f"Remove it, or set it to {off!r}.")

    def _required(self, path: At, hint: str) -> None:
        if self.raw(path) is None:
            self.add("missing-key", path[:-1], f"`{'.'.join(map(str, path))}` must be said.", hint)

    # ------------------------------------------------------------ typed values

    def text(self, path: At, default: str, *, is_secret: bool = False) -> str:
        value = self.raw(path)
        if value is None:
            return default
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            self.add("bad-type", path, f"`{path[-1]}` is a text.", "Put it in quotes.")
            return default
        return self._expanded(str(value), path, is_secret=is_secret)

    def _expanded(self, text: str, path: At, *, is_secret: bool) -> str:
        used_variable = False

        def value_of(match: re.Match[str]) -> str:
            nonlocal used_variable
            used_variable = True
            if match["file"]:
                try:
                    return Path(match["file"]).read_text(encoding="utf-8").strip()
                except OSError as error:
                    self.add("unreadable-file", path, f"{match['file']} cannot be read: {error.strerror}.", "Check its path and rights.")
                    return ""
            if match["name"] in self._env:
                return self._env[match["name"]]
            if match["default"] is None:
                text = f"The environment variable {match['name']} is not set."
                self.add("unset-variable", path, text, "Set it, or write ${NAME:-default}.")
            return match["default"] or ""

        made = _VARIABLE.sub(value_of, text)
        if is_secret:
            observe.register_secret(made)
            if made and not used_variable:
                self.add("secret-in-file", path, f"`{path[-1]}` is a secret.", "Write ${NAME} and set the environment variable.")
        return made

    def choice(self, path: At, known: Sequence[str], default: Any, *, later: Sequence[str] = ()) -> Any:
        """Return one of the known words; *later*: words of features to come."""
        value = self.text(path, default)
        if value in known:
            return value
        if value in later:
            hint = f"This version has: {', '.join(known)}."
            self.add("not-built-yet", path, f"`{path[-1]}: {value}` is not in this version yet.", hint)
        else:
            self.add("bad-value", path, f"`{path[-1]}` cannot be {value!r}.", f"Choose one of: {', '.join(known)}.")
        return default

    def seconds(self, path: At, default: int) -> int:
        value = self.raw(path)
        if value is None:
            return default
        match = _DURATION.match(str(value))
        if match is None:
            self.add("bad-duration", path, f"{value!r} is no duration.", "Write a number and s, m, h or d, such as 30s.")
            return default
        return int(match[1]) * _SECONDS[match[2]]

    def _timezone(self) -> str:
        name = self.text(("timezone",), "UTC")
        try:
            ZoneInfo(name)
        except (ValueError, KeyError, OSError):
            self.add("bad-timezone", ("timezone",), f"There is no time zone {name}.", "Write one such as Europe/Paris.")
            return "UTC"
        return name

    # ------------------------------------------------------------ blocks

    def _crm(self) -> CrmConfig:
        def secret(name: str) -> str:
            return self.text(("crm", name), "", is_secret=True)

        crm = CrmConfig(
            kind=self.choice(("crm", "kind"), ("salesforce", "demo"), "salesforce"),
            url=self.text(("crm", "url"), "").rstrip("/"),
            auth=self.choice(("crm", "auth"), ("client_credentials", "jwt", "password"), "client_credentials"),
            client_id=self.text(("crm", "client_id"), ""),
            client_secret=secret("client_secret"),
            username=self.text(("crm", "username"), ""),
            password=secret("password"),
            security_token=secret("security_token"),
            private_key_file=self.text(("crm", "private_key_file"), ""),
            api_version=self.text(("crm", "api_version"), "62.0"),
            org_id=self.text(("crm", "org_id"), "") or None,
            daily_api_budget=read_budget(self),
            bulk_above=read_bulk_above(self),
            language=self.choice(("crm", "language"), ("en", "fr"), "en"),
            overlap_s=self.seconds(("crm", "overlap"), 600),
        )
        self._check_login(crm)
        return crm

    def _check_login(self, crm: CrmConfig) -> None:
        parts = urlsplit(crm.url)
        host = parts.hostname or ""
        at: At = ("crm", "url")
        if not crm.url:
            self.add("missing-key", ("crm",), "`crm.url` must be said.", "Write https://YOUR-DOMAIN.my.salesforce.com.")
        elif host in LOOPBACK:
            if parts.scheme not in ("http", "https"):
                self.add("bad-url", at, f"{crm.url} is no address.", "Write http://127.0.0.1:PORT.")
        elif parts.scheme != "https":
            self.add("bad-url", at, f"{crm.url} is not https.", "http:// is accepted for loopback hosts only.")
        elif host in _LOGIN_HOSTS and crm.auth == "client_credentials":
            hint = "Write https://YOUR-DOMAIN.my.salesforce.com (Setup, My Domain), or use auth: jwt."
            self.add("bad-url", at, f"client_credentials cannot log in at {host}.", hint)
        version = re.fullmatch(r"(\d+)(?:\.0)?", crm.api_version)
        if version is None or int(version[1]) < 60:
            self.add("bad-value", ("crm", "api_version"), "`api_version` is 60.0 or newer.", 'Write it in quotes: "62.0".')
        elif crm.auth == "password" and int(version[1]) >= _SOAP_LOGIN_ENDS:
            hint = "Use auth: client_credentials or jwt, or api_version 64.0 until Summer '27."
            self.add("bad-value", ("crm", "auth"), "Salesforce has no password login from API 65.0 on.", hint)

    def _sources(self) -> tuple[SourceConfig, ...]:
        found = self.raw(("sources",))
        if not isinstance(found, list) or not found:
            self.add("missing-key", ("sources",), "`sources` lists what is polled.", "See config.example.yaml.")
            return ()
        made: list[SourceConfig] = []
        for number, node in enumerate(found):
            at: At = ("sources", number)
            if not isinstance(node, dict) or not node.get("name") or not node.get("mapping"):
                self.add("missing-key", at, "A source has a `name` and a `mapping`.", "See config.example.yaml.")
                continue
            for key in node:
                if key not in ("name", "mapping", "every"):
                    self.add("unknown-key", (*at, key), f"There is no key `{key}` here.", "Known: name, mapping, every.", at_key=True)
            if node["name"] in {s.name for s in made}:
                self.add("duplicate-source", at, f"There are two sources named {node['name']}.", "Rename one.")
            every_s = self._every(at, node)
            made.append(SourceConfig(name=str(node["name"]), mapping=str(self._folder / str(node["mapping"])), every_s=every_s))
        return tuple(made)

    def _every(self, at: At, node: Mapping[str, Any]) -> int:
        match = _DURATION.match(str(node.get("every", "30s")))
        every_s = int(match[1]) * _SECONDS[match[2]] if match else 0
        if every_s < 1:
            self.add("bad-duration", (*at, "every"), "`every` is at least 1s.", "Write 30s.")
            return 30
        return every_s

    def _web(self) -> WebConfig:
        listen = self.text(("web", "listen"), "127.0.0.1:8080")
        if not re.fullmatch(r".+:\d{1,5}", listen) or int(listen.rpartition(":")[2]) > 65535:
            self.add("bad-value", ("web", "listen"), f"{listen!r} is no address to listen on.", "Write 127.0.0.1:8080.")
            listen = "127.0.0.1:8080"
        return WebConfig(
            listen=listen,
            public_url=self.text(("web", "public_url"), f"http://{listen}").rstrip("/"),
            secret=self.text(("web", "secret"), "", is_secret=True),
            admin_password=self.text(("web", "admin_password"), "", is_secret=True),
        )

    def _seller(self) -> SellerConfig:
        def text(name: str) -> str:
            return self.text(("seller", name), "")

        address = self.raw(("seller", "address"))
        lines: tuple[str, ...] = ()
        if isinstance(address, dict):
            lines = tuple(str(v) for v in address.values() if v)
        elif isinstance(address, (list, str)):
            lines = tuple(map(str, address)) if isinstance(address, list) else (address,)
        elif address is not None:
            self.add("bad-type", ("seller", "address"), "`address` is a list of lines.", "Write [1 Main Street, Springfield].")
        # `NO` is false in YAML 1.1, and a country here
        written = "NO" if self.raw(("seller", "country")) is False else text("country")
        country = country_code(written) if written else ""
        if country is None:
            self.add("bad-value", ("seller", "country"), f"There is no country {written!r}.", "Write a two-letter code such as FR.")
        return SellerConfig(
            name=text("name"), address=lines, country=country or "", vat_id=text("vat_id"), email=text("email"), iban=text("iban")
        )


