"""A line of an OpenAI batch file, as a row: `custom_id`, `method`, `url` and `body`.

Source: OpenAI API reference, batch request input object (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .._flow.prompt import PARAMETERS
from ..errors import InputError

PATH: Final = "/v1/chat/completions"
_NAMES: Final = {"max_completion_tokens": "max_tokens"}


def is_openai_line(fields: Mapping[str, Any]) -> bool:
    """Whether a record is such a line."""
    return "custom_id" in fields and "body" in fields


def from_openai_line(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of the row that the line stands for; what has no name here goes into `extra`.

    Raises: InputError naming the field that cannot be asked.
    """
    body, url, method = fields["body"], fields.get("url", PATH), fields.get("method", "POST")
    if not isinstance(body, dict):
        raise InputError("has a body that is no object")
    if method != "POST" or not isinstance(url, str) or not url.endswith("/chat/completions"):
        raise InputError(f"asks for {method} {url}; lines of a batch file are read for POST {PATH}")
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str) or not model.strip():
        raise InputError("has a body without a model")
    if messages is None:
        raise InputError("has a body without messages")
    if body.get("stream"):
        raise InputError("has a body with stream = true; an answer of a job is whole")
    params: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in body.items():
        own = _NAMES.get(name, name)
        if name in ("model", "messages", "stream") or value is None:
            continue
        if own in params:
            raise InputError(f"has {own!r} twice in its body, also as {name!r}; give it once")
        if own in PARAMETERS and own != "extra":
            params[own] = _choice(value) if own == "tool_choice" else value
        else:
            extra[name] = value
    if extra:
        params["extra"] = extra
    return {"messages": messages, "model": f"openai:{model}", "params": params}


def _choice(value: Any) -> Any:
    """A forced tool is named by its name alone."""
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        return value["function"].get("name")
    return value
