"""A cassette on disk: exchanges as readable JSON, without secrets, and the search for one that answers a request.

    {"penstock_cassette": 1,
     "exchanges": [{"request":  {"method", "url", "headers", "body"},
                    "response": {"status", "headers", "body" or "pieces", "ended" or "error"}}]}

A whole answer that is JSON stands there as JSON, with the `style` in which it was written, so that it is replayed byte
for byte; a stream stands there by its pieces, as they came. What tells nothing of the exchange is not kept: the address
of a server on this machine, headers that only say who asks or when.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..errors import ConfigError, InputError

Mode = Literal["auto", "record", "replay"]
MODES: Final = ("auto", "record", "replay")

FORMAT: Final = 1
REDACTED: Final = "REDACTED"
KEPT_OF_REQUESTS: Final = frozenset({"content-type", "anthropic-version", "anthropic-beta", "openai-beta"})
_KEPT_OF_ANSWERS: Final = re.compile(
    r"content-type|retry-after(-ms)?|(x|anthropic)-ratelimit-.*|(x-|apim-)?request-id|x-should-retry|x-generation-id"
)
_CREDENTIALS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "cookie")
_SECRET_FIELD: Final = re.compile(
    r"(?i)(api[-_]?key|authorization|(access|auth|bearer|refresh|id|session)[-_]?token|token|password|passwd|"
    r"(client[-_]?)?secret|credentials?|cookie|private[-_]?key|signature|sig|key)"
)
_OF_ANSWERS: Final = frozenset({"signature"})
"""Names of secrets that are none in a body: what a model signs must go back to it."""
SECRET_CHARS_LEAST: Final = 6
"""A credential that is shorter is a placeholder, and words like it are everywhere."""
DIFF_LINES_MOST: Final = 60
_HERE: Final = re.compile(r"^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$")

_STYLES: Final[dict[str, dict[str, Any]]] = {
    "compact": {"separators": (",", ":"), "ensure_ascii": False},
    "spaced": {"ensure_ascii": False},
    "compact ascii": {"separators": (",", ":")},
    "spaced ascii": {},
    "indented": {"indent": 2, "ensure_ascii": False},
}


class UnknownRequest(AssertionError):
    """A request that the cassette has no answer for; the message shows the nearest that it has, and what differs."""


class Tape:
    """The exchanges of one cassette. Not thread-safe by itself."""

    def __init__(self, path: str | os.PathLike[str], mode: Mode = "auto") -> None:
        """Read the file, unless it is to be recorded anew.

        Raises: ConfigError for a mode that does not exist, or a file that is missing where it is to be replayed;
        InputError for a file that is no cassette.
        """
        if mode not in MODES:
            raise ConfigError(f"the mode of a cassette is {mode!r}; expected one of {', '.join(MODES)}")
        self.path = Path(path)
        self.exchanges: list[dict[str, Any]] = []
        self.records = mode == "record" or (mode == "auto" and not self.path.exists())
        if not self.records:
            self.exchanges = _read(self.path)
        self._used = [0] * len(self.exchanges)

    def find(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request: of equal ones each in its turn, in the order in which they were recorded.

        Raises: UnknownRequest.
        """
        equal = [at for at, each in enumerate(self.exchanges) if each["request"] == request]
        for at in equal:
            if not self._used[at]:
                self._used[at] = 1
                answer: dict[str, Any] = self.exchanges[at]["response"]
                return answer
        again = f"record it anew with mode='record' (or delete {self.path.name})"
        if equal:
            raise UnknownRequest(
                f"{self.path} has {len(equal)} answer(s) to this request, and it was sent once more; {again}:\n"
                f"{_pretty(request)}"
            )
        raise UnknownRequest(f"{self.path} has no answer to this request; {again}:\n{self._difference(request)}")

    def _difference(self, request: dict[str, Any]) -> str:
        asked = _pretty(request)
        if not self.exchanges:
            return f"{asked}\n(the cassette is empty)"
        shown = [_pretty(each["request"]) for each in self.exchanges]
        likeness = [difflib.SequenceMatcher(None, each, asked, autojunk=False).ratio() for each in shown]
        at = max(range(len(shown)), key=likeness.__getitem__)
        lines = list(
            difflib.unified_diff(
                shown[at].splitlines(), asked.splitlines(), f"recorded, exchange {at + 1}", "asked", lineterm="", n=2
            )
        )
        more = [f"… {len(lines) - DIFF_LINES_MOST} more lines"] if len(lines) > DIFF_LINES_MOST else []
        return "\n".join([*lines[:DIFF_LINES_MOST], *more])

    def save(self) -> None:
        """Write what was recorded, all of it or nothing."""
        text = json.dumps({"penstock_cassette": FORMAT, "exchanges": self.exchanges}, indent=1, ensure_ascii=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            fresh.write_text(text + "\n", encoding="utf-8")
            os.replace(fresh, self.path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise

    @property
    def unused(self) -> int:
        """How many recorded exchanges nobody asked for."""
        return self._used.count(0)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no cassette {path}; record it with mode='record' or mode='auto'") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a cassette: {error}") from None
    version = told.get("penstock_cassette") if isinstance(told, dict) else None
    if version != FORMAT:
        raise InputError(
            f"{path} is no cassette of format {FORMAT} ('penstock_cassette' is {version!r}); record it anew"
        )
    exchanges: list[Any] = told.get("exchanges", [])
    for number, each in enumerate(exchanges, 1):
        if not isinstance(each, dict) or not {"request", "response"} <= each.keys():
            raise InputError(f"{path}: exchange {number} has no request or no response; record it anew")
    return exchanges


class Secrets:
    """The credentials of a request, which are taken out wherever they are met."""

    def __init__(self, headers: Mapping[str, str], url: str) -> None:
        found = {value.rpartition(" ")[2] for name, value in headers.items() if name.lower() in _CREDENTIALS}
        parts = urlsplit(url)
        found |= {value for name, value in parse_qsl(parts.query) if _SECRET_FIELD.fullmatch(name)}
        found |= {parts.password or ""}
        self._found = sorted((each for each in found if len(each) >= SECRET_CHARS_LEAST), key=len, reverse=True)

    def without(self, text: str) -> str:
        """Return a text without them."""
        for secret in self._found:
            text = text.replace(secret, REDACTED)
        return text

    def pieces(self, pieces: Iterable[bytes]) -> list[bytes]:
        """Return pieces of a stream without them; pieces that share one become one."""
        told = list(pieces)
        for secret in map(str.encode, self._found):
            if secret in b"".join(told):
                told = [b"".join(told).replace(secret, REDACTED.encode())]
        return told


def request_of(method: str, url: str, headers: Mapping[str, str], body: bytes, secrets: Secrets) -> dict[str, Any]:
    """Return a request as a cassette has it."""
    told: dict[str, Any] = {
        "method": method,
        "url": _url(url, secrets),
        "headers": {name.lower(): value for name, value in headers.items() if name.lower() in KEPT_OF_REQUESTS},
    }
    if body:
        text = secrets.without(body.decode("utf-8", "backslashreplace"))
        try:
            told["body"] = _unnamed(json.loads(text))
        except ValueError:
            told["body"] = text
    return told


def response_of(status: int, headers: Mapping[str, str], secrets: Secrets) -> dict[str, Any]:
    """Return the head of an answer as a cassette has it."""
    kept = {name.lower(): secrets.without(value) for name, value in headers.items()}
    return {"status": status, "headers": {name: kept[name] for name in kept if _KEPT_OF_ANSWERS.fullmatch(name)}}


def body_of(body: bytes, secrets: Secrets) -> dict[str, Any]:
    """Return a whole body as a cassette has it: as JSON where that gives the same bytes, else as text or base64."""
    (body,) = secrets.pieces([body])
    with contextlib.suppress(ValueError):
        value = json.loads(body)
        for style, options in _STYLES.items():
            if json.dumps(value, **options).encode() == body:
                return {"body": value, "style": style}
    return {"body": _text(body), "style": "text"}


def pieces_of(pieces: Iterable[bytes], secrets: Secrets) -> dict[str, Any]:
    """Return the pieces of a stream as a cassette has them."""
    return {"pieces": [_text(each) for each in secrets.pieces(pieces)]}


def bytes_of(answer: Mapping[str, Any]) -> list[bytes]:
    """Return the body of a recorded answer, in the pieces in which it came."""
    if "pieces" in answer:
        return [_bytes(each) for each in answer["pieces"]]
    if "body" not in answer:
        return []
    style = answer.get("style", "text")
    if style == "text":
        return [_bytes(answer["body"])]
    if style not in _STYLES:
        raise InputError(f"a cassette has a body of style {style!r}; expected text, {', '.join(_STYLES)}")
    return [json.dumps(answer["body"], **_STYLES[style]).encode()]


def _text(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(told: str | Mapping[str, str]) -> bytes:
    return told.encode() if isinstance(told, str) else base64.b64decode(told["base64"])


def _url(url: str, secrets: Secrets) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    host = "localhost" if _HERE.match(host) else host
    query = [
        (name, REDACTED if _SECRET_FIELD.fullmatch(name) else value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    return secrets.without(f"{parts.scheme}://{host}{parts.path}" + (f"?{urlencode(query)}" if query else ""))


def _unnamed(value: Any) -> Any:
    """Return a value without what the names of its fields call secret."""
    if isinstance(value, dict):
        return {
            name: REDACTED
            if isinstance(each, str) and _SECRET_FIELD.fullmatch(name) and name not in _OF_ANSWERS
            else _unnamed(each)
            for name, each in value.items()
        }
    return [_unnamed(each) for each in value] if isinstance(value, list) else value


def _pretty(request: dict[str, Any]) -> str:
    return json.dumps(request, indent=1, ensure_ascii=False, sort_keys=True)
