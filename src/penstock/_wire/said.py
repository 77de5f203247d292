"""What an error body says, whatever its shape: message, codes, parameter; and what of it may be repeated to a user."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from .lenient import count

MESSAGE_MAX: Final = 500
"""Characters of a provider's message that are repeated: enough for a sentence, too few for a whole prompt."""
PAGE_MAX: Final = 200
"""Characters of an HTML page or other text that are repeated, tags stripped."""

_KEYS: Final = (
    r"(?i)\b(?:sk|pk|rk|gsk|xai|hf|csk|pplx|fw|tgp)[-_][A-Za-z0-9_\-*]{6,}"
    r"|\bAIza[A-Za-z0-9_\-]{10,}"
    r"|\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/\-*]{6,}=*"
    r"|\b[A-Za-z0-9]{40,}\b"
    r"|\b[A-Za-z0-9]{2,}\*{3,}[A-Za-z0-9]*"
)
_TAGS: Final = r"(?is)<(script|style|head)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>"
_TITLE: Final = r"(?is)<title[^>]*>(.*?)</title>"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of an error body; `codes` are lower-case, the provider's own word for the error is `code`."""

    message: str = ""
    code: str | None = None
    codes: frozenset[str] = frozenset()
    param: str | None = None
    request_id: str | None = None
    status: int | None = None
    is_error: bool = False
    is_page: bool = False
    retry_delay: str | None = None
    quotas: tuple[str, ...] = ()


def redact(text: str) -> str:
    """Replace whatever looks like a credential."""
    return re.sub(_KEYS, "***", text)


def sentence(text: str, most: int = MESSAGE_MAX) -> str:
    """Return text on one line, cut to `most` characters, without credentials and without its full stop."""
    line = redact(" ".join(text.split()))
    return (line[: most - 1] + "…" if len(line) > most else line).rstrip(". ")


def page_text(body: bytes) -> str:
    """Return the first characters of an HTML page or other text, tags stripped."""
    text = body[:20_000].decode("utf-8", "replace")
    title = re.search(_TITLE, text)
    plain = re.sub(_TAGS, " ", text)
    return sentence(f"{title.group(1)} {plain}" if title else plain, PAGE_MAX)


def parse(body: bytes) -> Said:
    """Read an error body of any provider; what is not JSON becomes the message."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        page = body[:512].lstrip().lower().startswith((b"<", b"\xef\xbb\xbf<"))
        return Said(message=page_text(body), is_page=page)
    if isinstance(value, list) and value and isinstance(value[0], dict):  # Gemini, streaming without alt=sse
        value = value[0]
    if isinstance(value, str):
        return Said(message=sentence(value))
    return _read(value) if isinstance(value, dict) else Said()


def _read(body: dict[str, Any]) -> Said:
    error = body.get("error")
    inner: dict[str, Any] = error if isinstance(error, dict) else {}
    details = inner.get("details")
    found = [
        inner.get("code"),
        inner.get("type"),
        inner.get("status"),
        _in(details, "error_code"),
        _in(inner.get("innererror"), "code"),
        body.get("code"),
        body.get("error_type"),
        body.get("type") if body.get("type") != "error" else None,
    ]
    words = [word for word in found if isinstance(word, str) and word]
    retry_delay = None
    quotas: list[str] = []
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            retry_delay = retry_delay or _string(detail.get("retryDelay"))
            words += [word for word in (detail.get("reason"),) if isinstance(word, str)]
            quotas += _quotas(detail.get("violations"))
    message = _message(body, error, inner)
    specific = _in(details, "error_code") or _in(inner.get("innererror"), "code") or next(iter(words), None)
    return Said(
        message=sentence(message),
        code=specific or _string(inner.get("code")) or _string(body.get("code")),
        codes=frozenset(word.lower() for word in words),
        param=_string(inner.get("param")) or _string(body.get("param")),
        request_id=_string(body.get("request_id")),
        status=_status(body, inner),
        is_error=bool(error) or body.get("type") == "error" or body.get("object") == "error",
        retry_delay=retry_delay,
        quotas=tuple(quotas),
    )


def _quotas(violations: Any) -> list[str]:
    """Return the names of quotas that a request was over, as Google lists them."""
    found = violations if isinstance(violations, list) else ()
    return [each["quotaId"] for each in found if isinstance(each, dict) and isinstance(each.get("quotaId"), str)]


def _message(body: dict[str, Any], error: Any, inner: dict[str, Any]) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, list):
        return _flat(error)
    metadata = inner.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    own = inner.get("message") or inner.get("detail") or ""
    if raw and own in {"", "Provider returned error"}:  # OpenRouter passes the upstream's own words here
        return f"{own}: {_flat(raw)}"
    return _flat(own or body.get("message") or body.get("detail") or body.get("errors") or inner.get("type") or "")


def _flat(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(_flat(item) for item in value)
    if isinstance(value, dict):  # FastAPI: {"loc": ["body", "messages"], "msg": "field required"}
        place = value.get("loc")
        where = ".".join(str(step) for step in place) + ": " if isinstance(place, list) else ""
        return where + _flat(value.get("msg") or value.get("message") or "")
    return "" if value is None else str(value)


def _status(body: dict[str, Any], inner: dict[str, Any]) -> int | None:
    for holder, name in (
        (inner, "code"),
        (inner, "status_code"),
        (inner, "status"),
        (body, "status_code"),
        (body, "raw_status_code"),
        (body, "status"),
        (body, "code"),
    ):
        value = count(holder.get(name))
        if 400 <= value <= 599:
            return value
    return None


def _in(value: Any, name: str) -> str | None:
    return _string(value.get(name)) if isinstance(value, dict) else None


def _string(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None
