"""The bytes and the path of a request, shared by the wires."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from ..errors import InvalidRequest
from ..types import Request
from .protocol import JSON, Provider


def write(body: JSON, request: Request, provider: Provider) -> bytes:
    """Return the body as JSON.

    Raises: InvalidRequest when it holds something that JSON cannot say.
    """
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        why = f"a text holds half a character ({error.object[error.start : error.end]!r}); decode it properly first"
    except (TypeError, ValueError, RecursionError) as error:
        why = f"{error}; only JSON values can be sent"
    raise InvalidRequest(f"the request cannot be written: {why}", provider=provider.name, model=request.model)


def path_of(provider: Provider, usual: str, model: str, *, own: str | None = None) -> str:
    """Return the path and query of an endpoint, as the provider's row writes it; `own` is its path if not `path`."""
    path = (provider.path if own is None else own) or usual
    if "{model}" in path:
        path = path.replace("{model}", quote(model, safe=""))
    return f"{path}?{provider.query}" if provider.query else path
