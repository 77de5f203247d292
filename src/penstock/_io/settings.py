"""Where settings come from: arguments, then the environment and .env, then penstock.toml, then the user's own file."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from .._policy.alerts import webhook_of
from .._policy.budget import Budget
from .._policy.cache import Cache
from .._policy.choosing import ModelFacts, Routing
from .._policy.limiter import Limits
from .._policy.onerror import ErrorPolicy, Step
from .._policy.prices import Prices
from .._policy.retry import RetryPolicy
from .._policy.timeouts import Timeouts
from .._text.truncate import Truncate
from .._wire import registry
from .._wire.protocol import Provider
from ..errors import ConfigError, MissingKey
from ..types import Secret, Tier
from .home import state_dir
from .stores import default_file

if TYPE_CHECKING:
    from .ledger.settings import Ledger

PROJECT_FILE: Final = "penstock.toml"
BUDGET_WEBHOOK: Final = "PENSTOCK_BUDGET_WEBHOOK"


class FileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a penstock.toml may say."""

    model: str | None = None
    tiers: dict[Tier, str | list[str]] = {}
    fallbacks: list[str] | dict[str, list[str]] = []
    routing: Routing | None = None
    limits: dict[str, Limits] = {}
    budget: dict[str, Any] = {}
    timeouts: Timeouts | None = None
    retry: RetryPolicy | None = None
    cache: Cache | None = None
    ledger: dict[str, Any] | bool | None = None
    truncate: Truncate | None = None
    on_error: dict[str, Step | list[Step]] = {}
    deadline_s: float | None = None
    tags: dict[str, str] = {}
    providers: dict[str, dict[str, Any]] = {}
    prices: dict[str, dict[str, Any]] = {}


class Source(msgspec.Struct, frozen=True):
    """Where a value came from, for people: 'environment OPENAI_API_KEY', '.env', 'penstock.toml', 'argument'."""

    value: str
    origin: str


class Settings:
    """Everything read before a client starts. No key is in its repr or in `origins`."""

    def __init__(
        self,
        *,
        file: FileSettings,
        files: tuple[str, ...],
        env: Mapping[str, str],
        dotenv: Mapping[str, str | None],
        keys: Mapping[str, str],
        base_urls: Mapping[str, str],
        budget_file: Path | None = None,
    ) -> None:
        self.file = file
        self.files = files
        self.env = env
        self._dotenv = dotenv
        self._keys = keys
        self._base_urls = base_urls
        self.providers: dict[str, Provider] = _providers(file, files)
        for name, given in (("keys", keys), ("base_urls", base_urls)):
            _check_names(name, given, self.providers)
        with _place(files):
            self.prices = _price_table(tuple(self.providers.values())).with_overrides(file.prices)
        self.budget = self._budget(budget_file)

    def _budget(self, usual: Path | None) -> Budget | None:
        """Put the budget together: the files' table, the file of `penstock budget`, the webhook of the environment.

        Raises: ConfigError.
        """
        said = dict(self.file.budget)
        if usual is not None and "file" not in said:
            said["file"] = usual
        webhook = self._variable(BUDGET_WEBHOOK)
        if said and webhook is not None:
            try:
                said["webhook"] = webhook_of(webhook.value)
            except ConfigError as error:
                raise ConfigError(f"{webhook.origin}: {error.message}") from None
        return Budget(**said) if said else None

    def _variable(self, name: str) -> Source | None:
        if self.env.get(name):
            return Source(self.env[name], f"environment {name}")
        value = self._dotenv.get(name)
        return Source(value, f".env {name}") if value else None

    def key(self, provider: Provider) -> tuple[Secret | None, str]:
        """Return a provider's key and where it came from; (None, why) where it needs none.

        Raises: MissingKey.
        """
        given = next((self._keys[name] for name in (provider.name, provider.owner) if name in self._keys), None)
        if given is not None:
            return _secret(given, provider, "argument"), "argument"
        for name in provider.key_env:
            found = self._variable(name)
            if found is not None:
                return _secret(found.value, provider, found.origin), found.origin
        if provider.local or provider.auth == "none":
            return None, "not needed"
        names = " or ".join(provider.key_env) or f"keys={{{provider.name!r}: …}}"
        raise MissingKey(
            f"{provider.name} needs a key and none is set; set {names} in the environment or in .env, "
            "or try it without one against `penstock sim`"
        )

    def base_url(self, provider: Provider) -> Source:
        """Return where a provider's requests go, without a slash at the end.

        Raises: ConfigError when there is none or it is not an http(s) URL.
        """
        found = Source(provider.base_url, "provider table")
        given = next(
            (self._base_urls[name] for name in (provider.name, provider.owner) if name in self._base_urls), None
        )
        if given is not None:
            found = Source(given, "argument")
        else:
            found = next((hit for name in provider.base_url_env if (hit := self._variable(name))), found)
        if not found.value:
            where = " or ".join(provider.base_url_env) or f"base_urls={{{provider.name!r}: …}}"
            raise ConfigError(f"{provider.name} has no address; set {where}")
        url = found.value if "://" in found.value else f"http://{found.value}"
        wrong = _wrong_url(url)
        if wrong:
            raise ConfigError(f"the base URL of {provider.name} ({found.origin}) {wrong}: {_shown(url)!r}")
        return Source(url.rstrip("/"), found.origin)

    def ledger(self, default: bool) -> Ledger | bool:
        """Return the ledger that the environment (PENSTOCK_LEDGER: 1, 0 or a file) or a settings file asks for.

        Raises: ConfigError.
        """
        said, file = self._variable("PENSTOCK_LEDGER"), self.file.ledger
        if said is not None and said.value == "0":
            return False
        if said is None and not isinstance(file, dict):
            return default if file is None else file
        from .ledger.settings import Ledger  # loaded with the first ledger

        if said is not None and said.value != "1":
            return Ledger(path=said.value)
        if not isinstance(file, dict):
            return True
        with _place(self.files):
            known = [name for name in Ledger.__struct_fields__ if name != "redact"]
            unknown = file.keys() - set(known)
            if unknown:
                raise ConfigError(_no_field("ledger", sorted(unknown)[0], known))
            return Ledger(**file)

    def __repr__(self) -> str:
        return f"<Settings from {', '.join(self.files) or 'defaults'}>"


def _check_names(what: str, given: Mapping[str, str], providers: Mapping[str, Provider]) -> None:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{what} is a {type(given).__name__}; expected a dict by provider name")
    for name, value in given.items():
        if name not in providers:
            import difflib

            near = difflib.get_close_matches(str(name), providers, n=1)
            raise ConfigError(f"{what}[{name!r}]: no such provider" + (f"; did you mean {near[0]!r}?" if near else ""))
        if not isinstance(value, str):
            raise ConfigError(f"{what}[{name!r}] is a {type(value).__name__}; expected a string")


def _secret(value: str, provider: Provider, origin: str) -> Secret:
    text = value.strip()
    at = next((at for at, character in enumerate(text) if not "!" <= character <= "~"), None)
    if at is not None or not text:
        what = "is empty" if not text else f"has a character at position {at + 1 if at else 1} that no header can carry"
        raise ConfigError(f"the key of {provider.name} ({origin}) {what}; copy it again, without line breaks")
    return Secret(text)


def _wrong_url(url: str) -> str | None:
    if not re.match(r"^https?://[^/\s?#]+[^\s?#]*$", url):
        return "is not an http(s) URL without query"
    if not url.isascii() or not url.isprintable():
        return "has characters that no URL has; write a host in other letters as xn--…"
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            return "has no host or port"
        parts.hostname.encode("idna")
    except ValueError:
        return "has no valid host or port"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or password; give the key by its own variable"
    return None


def _shown(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url).split("?", 1)[0]


def _packed(*place: str) -> bytes:
    """Read a file of the package as its modules are read, also out of an archive; importlib.resources takes 8 ms."""
    loader: Any = globals()["__loader__"]
    found: bytes = loader.get_data(os.path.join(os.path.dirname(os.path.dirname(__file__)), *place))
    return found


@functools.cache
def _price_data() -> bytes:
    return _packed("_policy", "prices.json")


def _price_table(rows: tuple[Provider, ...]) -> Prices:
    ids = {row.name: row.prices for row in rows if row.prices}
    return Prices.load(_price_data(), ids=ids, free={row.name for row in rows if row.local})


@functools.cache
def _builtin_rows() -> dict[str, Provider]:
    return registry.load(_packed("_wire", "providers.json"))


def _providers(file: FileSettings, files: tuple[str, ...]) -> dict[str, Provider]:
    rows = _builtin_rows()
    return registry.extend(rows, file.providers, files[-1] if files else PROJECT_FILE) if file.providers else dict(rows)


def load(
    *,
    config: str | os.PathLike[str] | bool | None = None,
    env: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    base_urls: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings. `config` is a file to read instead of the usual ones; False reads none.

    Raises: ConfigError naming the file and the place.
    """
    environ = os.environ if env is None else env
    paths = _files(config, environ)
    merged: dict[str, Any] = {}
    for path in paths:
        merged = _merge(merged, _read(path))
    file = _checked(merged, str(paths[-1])) if paths else FileSettings()
    usual = default_file(state_dir(environ)) if config is None or config is True else None
    return Settings(
        file=file,
        files=tuple(str(path) for path in paths),
        env=environ,
        dotenv={} if config is False else _dotenv(),
        keys=keys or {},
        base_urls=base_urls or {},
        budget_file=usual if usual is not None and _is_file(usual) else None,
    )


def _files(config: str | os.PathLike[str] | bool | None, env: Mapping[str, str]) -> list[Path]:
    if config is False:
        return []
    if config is not None and config is not True:
        path = Path(config)
        if not path.is_file():
            raise ConfigError(f"there is no settings file at {path}")
        return [path]
    named = env.get("PENSTOCK_CONFIG")
    if named and not Path(named).is_file():
        raise ConfigError(f"there is no settings file at {named}, which PENSTOCK_CONFIG names")
    home = env.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    usual = (Path(home) / "penstock" / "config.toml", Path(named) if named else Path(PROJECT_FILE))
    return [path for path in usual if _is_file(path)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise ConfigError(f"{path} cannot be looked at: {error.strerror}") from None


def _dotenv() -> dict[str, str | None]:
    if not _is_file(Path(".env")):
        return {}
    from dotenv import dotenv_values

    try:
        return dict(dotenv_values(".env"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f".env cannot be read: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    import tomllib  # loaded with the first settings file

    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    _checked(tree, str(path))
    return tree


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _checked(tree: dict[str, Any], where: str) -> FileSettings:
    try:
        file = msgspec.convert(tree, FileSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_in_words(str(error))}") from None
    with _place((where,)):
        unknown = file.budget.keys() - set(Budget.__struct_fields__)
        if unknown:
            raise ConfigError(_no_field("budget", sorted(unknown)[0], list(Budget.__struct_fields__)))
        Budget(**file.budget)
        ErrorPolicy(file.on_error)
    if "webhook" in file.budget:
        file.budget["webhook"] = Secret(file.budget["webhook"])
    return file


@contextmanager
def _place(files: tuple[str, ...]) -> Iterator[None]:
    """Name the file in errors of values that came from it."""
    try:
        yield
    except ConfigError as error:
        raise type(error)(f"{files[-1]}: {error.message}" if files else error.message) from None


def _in_words(message: str) -> str:
    what, _, place = message.partition(" - at `")
    place = place.rstrip("`").removeprefix("$.").removeprefix("$")
    unknown = re.search(r"unknown field `([^`]*)`", what)
    if unknown:
        return _no_field(place or "top level", unknown[1], _known(place))
    what = re.sub(r"^Expected", "expected", what)
    return f"{place}: {what}" if place else what


def _no_field(place: str, name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return f"[{place}] has no field {name!r}; {hint}"


def _known(place: str) -> list[str]:
    tables: dict[str, type] = {"limits": Limits, "timeouts": Timeouts, "retry": RetryPolicy, "cache": Cache}
    tables |= {"truncate": Truncate, "routing": Routing, "routing.models": ModelFacts}
    table = tables.get(place.split("[")[0]) or tables.get(place.split("[")[0].split(".")[0], FileSettings)
    return list(table.__struct_fields__)  # type: ignore[attr-defined]
