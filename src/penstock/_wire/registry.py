"""Which provider a model belongs to, and which protocol it speaks: the rows of `providers.toml` and of the user."""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, cast, get_args, get_origin

import msgspec

from ..errors import ConfigError, UnknownModel, UnknownProvider
from .families import FAMILIES
from .protocol import Provider, Wire

WIRES: Final = ("openai_chat", "openai_responses", "anthropic", "cohere", "gemini")
_HEADER_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")

_INHERITED: Final = (
    *("base_url", "base_url_env", "key_env", "auth", "local", "headers", "limits", "counting", "cached_in_prompt"),
    *("json_schema", "idempotency", "prices", "families", "docs"),
)
"""What a row has from the one whose account it uses, unless it says otherwise; paths and dialects are its own."""


def parse(text: str, source: str) -> dict[str, Provider]:
    """Read the `[providers.NAME]` tables of a TOML text; other tables are not looked at.

    Raises: ConfigError that says where (`source`, row, field), what was expected and what was found.
    """
    import tomllib  # the rows of the package are compiled: see `load`

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not valid TOML: {error}") from None
    return extend({}, table.get("providers", {}), source)


def load(data: bytes) -> dict[str, Provider]:
    """Read the rows that tools/compile_providers.py checked and wrote."""
    return msgspec.json.decode(data, type=dict[str, Provider])


def extend(rows: Mapping[str, Provider], table: object, source: str) -> dict[str, Provider]:
    """Lay a parsed `[providers]` table over rows: known ones change by field, new ones come last.

    Raises: ConfigError as `parse` does.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{source}: 'providers' must be a table of rows like [providers.NAME], not {table!r}")
    found = dict(rows)
    for name, row in table.items():
        old = found.get(name)
        new = found[name] = _row(str(name), row, source, found)
        if old is not None:
            found |= {other.name: _following(other, old, new) for other in found.values() if other.account == name}
    _check_aliases(found.values(), source)
    return found


def resolve(model: str, providers: Mapping[str, Provider]) -> tuple[Provider, str]:
    """Return the provider of a model and the provider's own name of it.

    'provider:name' is split at the first colon, so 'ollama:llama3:8b' is llama3:8b at ollama; a bare name goes to the
    first provider with a matching pattern.

    Raises: UnknownProvider, UnknownModel, both with suggestions.
    """
    model = model.strip()
    head, colon, rest = model.partition(":")
    provider = _by_name(head, providers)
    if provider is not None:
        if not rest.strip():
            raise UnknownModel(f"{model!r} names a provider and no model; write '{provider.name}:MODEL'")
        return provider, rest
    for candidate in providers.values():
        if any(fnmatchcase(model, pattern) for pattern in candidate.models):
            return candidate, model
    if colon and "/" not in head:
        known = [*providers, *(alias for row in providers.values() for alias in row.aliases)]
        raise UnknownProvider(
            f"no provider is called {head!r}{_did_you_mean(head, known)}; known: {', '.join(sorted(providers))}; "
            "add your own as [providers.NAME] in penstock.toml"
        )
    names = [row.pattern.replace("*", "").rstrip("-") for row in FAMILIES if "[" not in row.pattern]
    raise UnknownModel(
        f"no provider is known for the model {model!r}{_did_you_mean(model, names)}; "
        f"write it as 'PROVIDER:{model or 'MODEL'}', e.g. 'openrouter:{model or 'MODEL'}'"
    )


@functools.cache
def wire(name: str) -> Wire:
    """Return the module of a protocol, imported when first asked for.

    Raises: ConfigError for a protocol that does not exist.
    """
    if name not in WIRES:
        raise ConfigError(f"no protocol is called {name!r}{_did_you_mean(name, WIRES)}; known: {', '.join(WIRES)}")
    return cast(Wire, importlib.import_module(f"{__package__}.{name}"))


@functools.cache
def embeddings_wire(name: str) -> Wire:
    """Return the module of the protocol in which vectors are asked for, imported when first asked for."""
    return cast(Wire, importlib.import_module(f"{__package__}.{name}_embeddings"))


@functools.cache
def rerank_wire(name: str) -> Wire:
    """Return the module of the protocol in which documents are ranked, imported when first asked for."""
    return cast(Wire, importlib.import_module(f"{__package__}.{name}_rerank"))


@functools.cache
def counting_wire() -> Wire:
    """Return the module of the endpoints that count tokens, imported when first asked for."""
    return cast(Wire, importlib.import_module(f"{__package__}.counting"))


def _by_name(name: str, providers: Mapping[str, Provider]) -> Provider | None:
    if name in providers:
        return providers[name]
    lower = name.lower()
    return providers.get(lower) or next((row for row in providers.values() if lower in row.aliases), None)


def _following(row: Provider, old: Provider, new: Provider) -> Provider:
    """Return a row as its account has changed, in what it has from there."""
    changed = {key for key in _INHERITED if getattr(old, key) != getattr(new, key)}
    fields = {key: getattr(new, key) for key in changed if getattr(row, key) == getattr(old, key)}
    return msgspec.structs.replace(row, **fields)


@functools.cache
def _kinds() -> dict[str, Any]:
    """Return the types of the fields of a row."""
    return {field.name: field.type for field in msgspec.structs.fields(Provider) if field.name != "name"}


def _row(name: str, row: object, source: str, rows: Mapping[str, Provider]) -> Provider:
    old = rows.get(name)
    where = f"{source}: providers.{name}"
    if not name or any(letter.isspace() or letter in ":/" for letter in name):
        raise ConfigError(f"{where}: a provider's name has no spaces, colons or slashes")
    if not isinstance(row, dict):
        raise ConfigError(f"{where} must be a table like [providers.{name}], not {row!r}")
    kinds = _kinds()
    fields: dict[str, Any] = {}
    for key, value in row.items():
        if key not in kinds:
            known = ", ".join(sorted(kinds))
            raise ConfigError(f"{where}: unknown field {key!r}{_did_you_mean(key, kinds)}; known: {known}")
        fields[key] = _field(f"{where}.{key}", value, kinds[key])
    url = fields.get("base_url")
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError(f"{where}.base_url: expected a URL that begins with http:// or https://, got {url!r}")
    if not set(fields.get("idempotency", "").lower()) <= _HEADER_LETTERS:
        raise ConfigError(
            f"{where}.idempotency: expected the name of a header like 'Idempotency-Key', got {fields['idempotency']!r}"
        )
    for key in ("embeddings_inputs", "embeddings_tokens", "embeddings_input_tokens"):
        least = int(key == "embeddings_inputs")
        if fields.get(key, least) < least:
            raise ConfigError(f"{where}.{key}: expected a number of at least {least}, got {fields[key]}")
    if old is not None:
        return msgspec.structs.replace(old, **fields)
    if fields.get("account"):
        fields = _of_account(f"{where}.account", fields["account"], rows) | fields
    if "wire" not in fields:
        raise ConfigError(f"{where}: the field 'wire' is missing; give one of {', '.join(WIRES)}")
    if not fields.get("base_url") and not fields.get("base_url_env"):
        raise ConfigError(f"{where}: give base_url, or base_url_env with the names of variables that hold it")
    return Provider(name=name, **fields)


def _of_account(where: str, name: str, rows: Mapping[str, Provider]) -> dict[str, Any]:
    """Return what a row has from the row whose account it uses."""
    owner = rows.get(name)
    if owner is None or owner.account:
        known = [row.name for row in rows.values() if not row.account]
        raise ConfigError(
            f"{where}: expected the name of a provider above this one, got {name!r}{_did_you_mean(name, known)}"
        )
    return {key: getattr(owner, key) for key in _INHERITED} | {"embeddings": "none"}


def _field(where: str, value: object, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise ConfigError(f"{where}: expected {_in_words(kind)}, got {value!r}") from None


def _in_words(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(repr(option) for option in get_args(kind))
    if origin is tuple:
        return "a list of strings"
    if origin is dict:
        return "a table of strings"
    if origin is types.UnionType:
        return " or ".join(_in_words(option) for option in get_args(kind))
    return {str: "a string", bool: "true or false", int: "a whole number"}.get(kind, "another type")


def _check_aliases(providers: Iterable[Provider], source: str) -> None:
    owner: dict[str, str] = {}
    for provider in providers:
        for alias in (provider.name, *provider.aliases):
            other = owner.setdefault(alias.lower(), provider.name)
            if other != provider.name:
                raise ConfigError(f"{source}: both providers.{other} and providers.{provider.name} go by {alias!r}")


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
