"""Errors of providers: every answer that is not a success becomes exactly one error class.

The status alone cannot decide: a 429 may mean "wait" or "top up", a 400 may mean a long prompt, an unknown model or an
empty account, and a 200 may carry an error. So the body's codes are asked first, then its words, then the status.

    money ran out        402 · insufficient_quota and its kin · Anthropic details.error_code    QuotaExhausted
    no more today        429 with a quotaId per day or a limit of 0 (Google), of a month (Cohere)   QuotaExhausted
    too long             context_length_exceeded and its kin, or the wording, on any status     ContextTooLong
    safety               content_filter · ResponsibleAIPolicyViolation                          ContentFiltered
    parameter            unsupported_parameter, unsupported_value, or the wording               UnsupportedParameter
    then by status       400 422 · 401 498 · 403 · 404 405 · 413 · 429 · 503 529 · 408 409 5xx

Source: reference/wire.md section 9; OpenAI, Anthropic and Azure error pages (read 2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..errors import (
    AuthenticationFailed,
    CallError,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestTooLarge,
    ServerFault,
    UnsupportedParameter,
)
from .headers import retry_after_s
from .protocol import Provider
from .said import Said, page_text, parse, sentence

NOT_JSON: Final = "not_json"
"""`provider_code` of the fault for a piece of a stream that is not JSON."""

REQUEST_ID_HEADERS: Final = ("x-request-id", "request-id", "apim-request-id", "x-generation-id", "x-debug-trace-id")

MONEY_CODES: Final = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "insufficient_balance",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
    }
)
_MONEY_WORDS: Final = (  # patterns are compiled by the first error, not by every program that starts
    r"(?i)credit balance is too low|insufficient (?:balance|credits|funds)|spend(?:ing)? limit|"
    r"specified api usage limits|requires more credits|payment required|monthly included credits|"
    r"billing hard limit|account is not active, please check your billing"
)
_SPENT_WORDS: Final = r"(?i)api calls / month|quota exceeded for metric\b.{0,300}, limit: 0\b"
"""How a 429 says that no short wait helps: Cohere to trial keys, Google of models that an account may not use."""
_CONTEXT_CODES: Final = frozenset(
    {"context_length_exceeded", "too_many_tokens", "too_many_prompt_tokens", "exceed_context_size_error"}
)
_CONTEXT_WORDS: Final = (
    r"(?i)prompt is too long|prompt too long|maximum context length|context length exceeded|"
    r"exceeds? the (?:model'?s? )?(?:available |maximum )?context|exceeds? the maximum number of tokens allowed|"
    r"input tokens exceeded|too many (?:total |input |prompt )?tokens|input is too long|"
    r"exceed(?:s|ed)? (?:max(?:imum)? )?context (?:length|window|size|limit)|larger than the context|"
    r"reduce the length of (?:the|your) (?:messages|prompt|input)"
)
_FILTER_CODES: Final = frozenset(
    {"content_filter", "responsibleaipolicyviolation", "content_policy_violation", "prohibited_content"}
    | {"bio_policy", "misalignment_policy_violation", "image_content_policy_violation"}
)
_FILTER_WORDS: Final = (
    r"(?i)content management policy|content filtering policy|usage polic(?:y|ies)\b.*\bflagged|"
    r"flagged (?:by|as|for)|requires moderation|safety system"
)
_PARAMETER_CODES: Final = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_PARAMETER_WORDS: Final = (
    r"(?i)unsupported (?:parameter|value): ?['\"`](?P<param>[\w.\[\]]+)['\"`]",
    r"(?i)unrecognized request arguments? supplied: (?P<param>[\w.]+)",
    r"(?i)(?:unknown|unexpected|unrecognized) (?:parameter|argument|field)s?:? ['\"`]?(?P<param>[\w.]+)",
    r"(?P<param>[\w.]+): Extra inputs are not permitted",
    r"(?i)['\"`](?P<param>\w+)['\"`] (?:is|are) (?:not supported|deprecated|not permitted|unsupported)",
    r"(?i)\b(?P<param>\w+) is not supported (?:with|by|for) th(?:is|e) model",
    r"(?i)model .{0,80}does not support (?:the )?(?:parameter )?['\"`]?(?P<param>\w+)",
)
_NOT_FOUND_CODES: Final = frozenset(
    {"model_not_found", "deploymentnotfound", "not_found_error", "not_found", "model_not_available"}
)
_NOT_FOUND_WORDS: Final = (
    r"(?i)model identifier is invalid|is not a valid model|no endpoints found|model_not_found|"
    r"(?:model|deployment)\b.{0,120}(?:does not exist|not found|not exist\b|was removed|has been decommissioned)"
)
_KEY_WORDS: Final = (
    r"(?i)(?:invalid|incorrect|wrong|missing) (?:x-)?api[- _]?key|api[- _]?key (?:not valid|is invalid|expired)"
)
_TOO_LARGE_FOR_LIMIT: Final = r"(?i)request too large for"
_OVERLOADED_CODES: Final = frozenset(
    {"overloaded_error", "overloaded", "server_is_overloaded", "engine_overloaded", "capacity_exceeded", "unavailable"}
)
_RATE_CODES: Final = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "rate_limited", "slow_down", "ramp_limit_exceeded", "ratelimitreached"}
    | {"resource_exhausted", "too_many_requests", "requests", "tokens"}
)
_STATUS_OF_CODE: Final = {
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "invalid_prompt": 400,
    "data_residency_mismatch": 400,
    "invalid_image": 400,
    "invalid_image_format": 400,
    "invalid_base64_image": 400,
    "invalid_image_url": 400,
    "invalid_image_mode": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "image_parse_error": 400,
    "image_file_too_large": 400,
    "image_file_not_found": 400,
    "empty_image_file": 400,
    "failed_to_download_image": 400,
    "unsupported_image_media_type": 400,
    "bad_request": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "unauthenticated": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "server_error": 500,
    "internal_server_error": 500,
    "api_error": 500,
    "timeout_error": 504,
    "vector_store_timeout": 504,
}
_REMEDIES: Final[dict[type[CallError], str]] = {
    InvalidRequest: "change the request",
    ContextTooLong: "shorten the prompt, lower max_tokens or choose a model with a larger context window",
    RequestTooLarge: "send less at once",
    UnsupportedParameter: "leave the parameter out or choose another model",
    NotFound: "check the model's name, the base URL and what the key may use",
    AuthenticationFailed: "check the key and that it belongs to this provider",
    PermissionDenied: "check what the key, its project and its region may use",
    QuotaExhausted: "top up the account or raise its limit; a short wait does not help",
    ContentFiltered: "change the content",
    RateLimited: "wait before the next request",
    Overloaded: "wait or use another model",
    ServerFault: "try again or use another provider",
}


def classify(
    status: int, headers: Mapping[str, str], body: bytes, *, provider: Provider, model: str, wall_s: float
) -> CallError:
    """Turn an answer that is not a success into its error; header names are lower-case.

    Never raises, and repeats neither headers nor anything that looks like a key.
    """
    said = parse(body)
    if 300 <= status < 400:
        return _redirect(status, headers, provider, model)
    cls = _kind(status, said)
    what = said.message or f"HTTP {status} with {'an empty body' if not body.strip() else 'no message'}"
    if said.is_page:
        what = f"a web page instead of an API answer, probably from a proxy: {what}"
    error = _error(cls, said, what, provider, model, status)
    if isinstance(error, QuotaExhausted) and status == 429:
        error.of_model = bool(said.quotas) or "quota exceeded for metric" in said.message.lower()
    error.request_id = next((headers[name] for name in REQUEST_ID_HEADERS if headers.get(name)), said.request_id)
    if error.retriable:
        error.retry_after_s = retry_after_s(status, headers, body, provider, wall_s=wall_s)
    if headers.get("x-should-retry") == "false" or status == 501:
        error.retriable = False
    return error


def inside(body: bytes, provider: Provider, *, certain: bool = False) -> CallError | None:
    """Return the error that a body or an event of a 2xx answer carries, None when it carries none.

    `certain` says that it is an error in any case, as an event of that name is. The status in the body, where there
    is one, counts as the answer's.
    """
    said = parse(body)
    if not (said.is_error or certain or said.status is not None):
        return None
    cls = _kind(said.status, said)
    what = said.message or "an error without a message"
    error = _error(cls, said, what, provider, "", said.status)
    error.request_id = said.request_id
    if error.retriable:
        error.retry_after_s = retry_after_s(said.status or 500, {}, body, provider, wall_s=0.0)
    return error


def not_an_answer(body: bytes, provider: Provider) -> CallError:
    """Return the fault for a 2xx body that is no answer of the protocol: empty, a web page, or something else."""
    if not body.strip():
        what = "an empty body instead of an answer"
    elif parse(body).is_page:
        what = f"a web page instead of an answer, probably from a proxy: {page_text(body)}"
    else:
        what = f"a body that is not of the protocol: {page_text(body)}"
    return ServerFault(f"{what}; check the base URL, or try again", provider=provider.name)


def not_json(data: bytes, provider: Provider) -> CallError:
    """Return the fault for a piece of a stream that is not JSON."""
    return ServerFault(
        f"the stream has a piece that is not JSON: {page_text(data[:400])!r}",
        provider=provider.name,
        provider_code=NOT_JSON,
    )


def _error(
    cls: type[CallError], said: Said, what: str, provider: Provider, model: str, status: int | None
) -> CallError:
    return cls(
        f"{what}; {_REMEDIES[cls]}",
        provider=provider.name,
        model=model,
        status=status,
        provider_code=said.code,
        param=_param(said) if cls is UnsupportedParameter else said.param,
    )


def _redirect(status: int, headers: Mapping[str, str], provider: Provider, model: str) -> CallError:
    target = sentence(headers.get("location", "").partition("?")[0], 200)
    where = f" to {target}" if target else ""
    return InvalidRequest(
        f"the base URL redirects{where}; set base_url of provider {provider.name!r} to the API itself",
        provider=provider.name,
        model=model,
        status=status,
    )


def _kind(status: int | None, said: Said) -> type[CallError]:
    status = status if status is not None else _implied(said)
    message = said.message
    if status == 402 or said.codes & MONEY_CODES or (status < 500 and re.search(_MONEY_WORDS, message)):
        return QuotaExhausted
    if status == 429 and _is_spent(said):
        return QuotaExhausted
    if said.codes & _CONTEXT_CODES or (status not in {401, 403, 404} and re.search(_CONTEXT_WORDS, message)):
        return ContextTooLong
    if said.codes & _FILTER_CODES or (status in {400, 403, 451} and re.search(_FILTER_WORDS, message)):
        return ContentFiltered
    if status in {400, 422}:
        return _bad_request(said)
    if status in {401, 498}:
        return AuthenticationFailed
    if status == 403:
        return AuthenticationFailed if re.search(_KEY_WORDS, message) else PermissionDenied
    if status in {404, 405, 410}:
        return NotFound
    if status == 413 or (status == 429 and re.search(_TOO_LARGE_FOR_LIMIT, message)):
        return RequestTooLarge
    if status == 429:
        return Overloaded if said.codes & _OVERLOADED_CODES else RateLimited
    if status == 425 or status >= 500:
        return _server_side(status, said)
    return ServerFault if status in {408, 409, 499} or status < 400 else InvalidRequest


def _is_spent(said: Said) -> bool:
    """Whether a quota is used up that comes back tomorrow or later: Google's per day are those of one model."""
    return any("PerDay" in quota for quota in said.quotas) or re.search(_SPENT_WORDS, said.message) is not None


def _implied(said: Said) -> int:
    if said.codes & _OVERLOADED_CODES:
        return 529
    if said.codes & _RATE_CODES:
        return 429
    return next((_STATUS_OF_CODE[code] for code in sorted(said.codes) if code in _STATUS_OF_CODE), 500)


def _bad_request(said: Said) -> type[CallError]:
    if "tool_use_failed" in said.codes:  # Groq: the model wrote a tool call that does not parse; another try may not
        return ServerFault
    if re.search(_KEY_WORDS, said.message):
        return AuthenticationFailed
    if said.codes & _NOT_FOUND_CODES or re.search(_NOT_FOUND_WORDS, said.message):
        return NotFound
    if said.codes & _PARAMETER_CODES or any(re.search(words, said.message) for words in _PARAMETER_WORDS):
        return UnsupportedParameter
    if said.codes & {"request_too_large"}:
        return RequestTooLarge
    if "failed_precondition" in said.codes:  # Google: not from this country, or not without billing
        return PermissionDenied
    return InvalidRequest


def _server_side(status: int, said: Said) -> type[CallError]:
    if status in {425, 503, 529} or said.codes & _OVERLOADED_CODES:
        return RateLimited if said.codes & {"slow_down", "rate_limit_exceeded"} else Overloaded
    return ServerFault


def _param(said: Said) -> str | None:
    if said.param:
        return said.param
    found = (re.search(words, said.message) for words in _PARAMETER_WORDS)
    return next((match.group("param") for match in found if match), None)
