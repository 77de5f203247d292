"""Keys: where a request of each protocol carries one, and what is said of one that is missing or wrong."""

from __future__ import annotations

from hashlib import blake2b

from penstock.sim.exchange import Plan
from penstock.sim.plan import Reject, SimRequest

_HEADERS = {"openai": "api-key", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}


def key_of(request: SimRequest, protocol: str) -> str:
    """The key of a request, '' without one."""
    bearer = request.headers.get("authorization", "")
    key = bearer[7:].strip() if bearer.lower().startswith("bearer ") else ""
    key = request.headers.get(_HEADERS.get(protocol, ""), "") or key
    return key or (request.query.get("key", "") if protocol == "gemini" else "")


def missing(protocol: str) -> Reject:
    """The refusal of a request without a key."""
    if protocol == "gemini":
        return Reject(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
            "other form of API consumer identity to call this API.",
        )
    words = {"anthropic": "x-api-key header is required", "cohere": "no api key supplied"}
    usual = (
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY)."
    )
    return Reject(401, words.get(protocol, usual))


def wrong(protocol: str) -> Reject:
    """The refusal of a key that is none."""
    if protocol == "gemini":
        return Reject(400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID")
    words = {"anthropic": "invalid x-api-key", "cohere": "invalid api token"}
    usual = (
        "Incorrect API key provided: ***. You can find your API key at https://platform.openai.com/account/api-keys."
    )
    return Reject(401, words.get(protocol, usual), code="invalid_api_key")


class Keyring:
    """The keys that are accepted, empty for any but those that start with `bad` or `revoked`, and their hashes."""

    def __init__(self, accepted: tuple[str, ...]) -> None:
        self._accepted = accepted
        self._hashes: dict[str, str] = {}

    def enter(self, plan: Plan) -> None:
        """Look at the key of a request and note whose it is.

        Raises: Reject.
        """
        key = key_of(plan.request, plan.protocol)
        if not key:
            raise missing(plan.protocol)
        found = self._hashes.get(key)
        if found is None:
            found = self._hashes[key] = "key_" + blake2b(key.encode(), digest_size=6).hexdigest()
        plan.credential = found
        if not (key in self._accepted if self._accepted else not key.startswith(("bad", "revoked"))):
            raise wrong(plan.protocol)
