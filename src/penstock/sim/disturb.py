"""What a fault does: refusals in each protocol's words, and changes to the timed steps of a good answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from penstock.sim import faults as f
from penstock.sim import other_refusals
from penstock.sim.plan import End, Head, Reject, Reset, Send, Step, Wait

_HTML = (
    b"<!DOCTYPE html>\n<html><head><title>%d %s</title></head>\n<body><center><h1>%d %s</h1></center><hr>"
    b"<center>cloudflare</center></body></html>\n"
)
_PHRASES = {
    400: "Bad request.",
    401: "Incorrect API key provided.",
    402: "Payment required.",
    403: "You are not allowed to do this.",
    404: "The requested resource was not found.",
    408: "Request timed out.",
    409: "The resource is locked by another request, please try again.",
    413: "Request too large.",
    422: "The request was well formed but could not be processed.",
    429: "Rate limit reached for requests.",
    500: "The server had an error while processing your request. Sorry about that!",
    502: "Bad gateway.",
    503: "The engine is currently overloaded, please try again later.",
    504: "The request timed out at the gateway.",
    529: "Overloaded",
}


def refusal(fault: f.Fault, protocol: str, now: float, *, stream: bool, azure: bool) -> Reject | None:
    """The refusal a fault stands for, or None when it lets an answer begin."""
    if protocol in ("cohere", "gemini"):
        other = other_refusals.refusal(fault, protocol, stream=stream)
        return None if other is None else _dress(fault, other, now)
    match fault:
        case f.RateLimit():
            found = Reject(429, _PHRASES[429], kind="requests", code="rate_limit_exceeded")
        case f.SlowDown():
            found = _slow_down(protocol)
        case f.Quota():
            found = _quota(fault, protocol)
        case f.KeyRejected():
            found = Reject(
                401,
                "Incorrect API key provided: ***. It may have been revoked."
                if protocol == "openai"
                else "invalid x-api-key",
                code="invalid_api_key",
            )
        case f.Permission():
            found = Reject(
                403,
                "Country, region, or territory not supported"
                if protocol == "openai"
                else "Your API key does not have permission to use the specified resource.",
                kind="request_forbidden",
                code="unsupported_country_region_territory",
            )
        case f.Overloaded():
            found = (
                Reject(503, _PHRASES[503], kind="server_error", code="server_is_overloaded")
                if protocol == "openai"
                else Reject(529, "Overloaded")
            )
        case f.Status():
            kind = "server_error" if fault.status >= 500 else "invalid_request_error"
            found = Reject(fault.status, _PHRASES.get(fault.status, "The request failed."), kind=kind, code=fault.code)
        case f.ErrorEvent() if not stream:
            found = midway(fault, protocol)
        case f.ContentFilter(form="error") if protocol == "openai":
            found = _filtered(azure=azure)
        case _:
            return None
    return _dress(fault, found, now)


def _dress(fault: f.Fault, found: Reject, now: float) -> Reject:
    found.ordered = True
    if isinstance(fault, f.Answering):
        found.message = fault.message or found.message
        if fault.hint is not None:
            found.message += f" Please try again in {fault.hint}."
        found.headers = fault.headers(now)
    return found


def _slow_down(protocol: str) -> Reject:
    if protocol == "openai":
        return Reject(
            429,
            "Please slow down: your request rate rose too quickly. Reduce it, keep it steady for 15 "
            "minutes and then raise it gradually.",
            kind="slow_down",
            code="slow_down",
        )
    return Reject(
        429,
        "This request would exceed your organization's acceleration limit. Please scale up your usage gradually.",
        details={"error_code": "ramp_limit_exceeded"},
    )


def _quota(fault: f.Quota, protocol: str) -> Reject:
    if protocol == "openai":
        return Reject(
            fault.status,
            "You exceeded your current quota, please check your plan and billing details.",
            kind="insufficient_quota",
            code=fault.code or "insufficient_quota",
        )
    if fault.status == 402:
        return Reject(
            402,
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing "
            "to upgrade or purchase credits.",
        )
    return Reject(
        429,
        "Your organization has reached its spend limit.",
        details={"error_code": fault.code or "enforced_spend_limit_reached"},
    )


def _filtered(*, azure: bool) -> Reject:
    return Reject(
        400,
        "The response was filtered due to the prompt triggering the content management policy.",
        param="prompt",
        code="content_filter",
        details={
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {"violence": {"filtered": True, "severity": "high"}},
        }
        if azure
        else None,
    )


def midway(fault: f.ErrorEvent, protocol: str) -> Reject:
    """The error that a stream turns into."""
    if protocol in ("cohere", "gemini"):
        return other_refusals.midway(fault)
    if protocol == "openai":
        found = Reject(500, _PHRASES[500], kind="server_error", code="server_error")
    else:
        found = Reject(529, "Overloaded")
    found.message = fault.message or found.message
    return found


def page(status: int) -> list[Step]:
    """An HTML page of a proxy."""
    phrase = b"OK" if status == 200 else b"Bad Gateway" if status == 502 else b"Error"
    body = _HTML % (status, phrase, status, phrase)
    return [Head(status, (("content-type", "text/html; charset=UTF-8"),), len(body)), Send(body, 0, "body"), End()]


def error_200(fault: f.Error200) -> list[Step]:
    """A 200 whose JSON body is an error."""
    body = msgspec.json.encode({"error": {"message": fault.message, "code": fault.code, "type": "upstream_error"}})
    return [Head(200, (("content-type", "application/json"),), len(body)), Send(body, 0, "body"), End()]


def disturb(fault: f.Fault, steps: Sequence[Step], event: Callable[[], bytes]) -> list[Step]:
    """The steps of a good answer as the fault changes them; `event` writes an error event of the protocol."""
    match fault:
        case f.EmptyBody():
            return [_no_length(s, 0) if isinstance(s, Head) else s for s in steps if not isinstance(s, Send)]
        case f.Reset(when="after_body"):
            # Before the first byte of the answer, but after the model did its work.
            return [*_before_head(steps), Reset(fault.how == "rst")]
        case f.Reset():
            return [*_until(steps, fault.after_chunks), Reset(fault.how == "rst")]
        case f.Stall(when="first_byte"):
            return [Wait(math.inf if fault.seconds is None else fault.seconds), *steps]
        case f.Stall():
            begun = _until(steps, fault.after_chunks)
            return [*begun, Wait(math.inf if fault.seconds is None else fault.seconds), *steps[len(begun) :]]
        case f.Truncate():
            return [*_until(steps, fault.after_chunks), End()]
        case f.NoDone():
            return [s for s in steps if not (isinstance(s, Send) and s.kind == "done")]
        case f.Malformed():
            return _malformed(steps, fault.after_chunks)
        case f.ErrorEvent():
            return [*_until(steps, fault.after_chunks), Send(event(), 0, "noise"), End()]
        case f.SlowBytes():
            return _slow(steps, fault)
        case f.Crlf():
            return [_with_crlf(step) for step in steps]
        case f.Headers():
            return [_with_headers(step, fault.set) if isinstance(step, Head) else step for step in steps]
        case f.Bom():
            return _bom(steps)
        case f.Comments() | f.Duplicate():
            return _interleaved(steps, fault)
        case _:
            return list(steps)


def _no_length(step: Head, length: int | None = None) -> Head:
    return replace(step, length=length)


def _chunked(steps: Sequence[Step]) -> list[Step]:
    return [_no_length(s) if isinstance(s, Head) else s for s in steps]


def _before_head(steps: Sequence[Step]) -> list[Step]:
    at = next(i for i, step in enumerate(steps) if isinstance(step, Head))
    return list(steps[:at])


def _until(steps: Sequence[Step], chunks: int) -> list[Step]:
    # Never as far as the finish: a cut that comes after the answer is no cut. Half of a non-streamed body is kept.
    kept: list[Step] = []
    seen = 0
    for step in steps:
        if isinstance(step, Send) and step.kind == "body":
            half = len(step.data) // 2
            return [*_chunked(kept), Send(step.data[:half], step.tokens, "body")]
        if isinstance(step, Send) and (seen >= chunks or step.kind in ("finish", "usage", "done")):
            break
        if isinstance(step, End):
            break
        seen += 1 if isinstance(step, Send) and step.data else 0
        kept.append(step)
    return kept


def _malformed(steps: Sequence[Step], chunks: int) -> list[Step]:
    if any(isinstance(s, Send) and s.kind == "body" for s in steps):
        return [_garble(s) if isinstance(s, Send) else s for s in _chunked(steps)]
    begun = _until(steps, chunks)
    rest = list(steps[len(begun) :])
    for at, step in enumerate(rest):
        # Clients skip pings unread, so the broken event is one they must read.
        if isinstance(step, Send) and step.data and step.kind != "ping":
            rest[at] = replace(step, data=step.data[: len(step.data) * 2 // 3].rstrip() + b"\n\n")
            break
    return [*begun, *rest]


def _garble(step: Send) -> Send:
    return replace(step, data=step.data[: len(step.data) // 2] + b"\x00 not json")


def _with_headers(step: Head, more: dict[str, str]) -> Head:
    names = {name.lower() for name in more}
    kept = [(name, value) for name, value in step.headers if name.lower() not in names]
    return replace(step, headers=(*kept, *more.items()))


def _with_crlf(step: Step) -> Step:
    if isinstance(step, Send) and step.kind != "body":
        return replace(step, data=step.data.replace(b"\n", b"\r\n"))
    return step


def _slow(steps: Sequence[Step], fault: f.SlowBytes) -> list[Step]:
    out: list[Step] = []
    for step in steps:
        if not isinstance(step, Send):
            out.append(step)
            continue
        for at in range(0, max(1, len(step.data)), fault.piece):
            out.append(Wait(fault.every_s))
            out.append(Send(step.data[at : at + fault.piece], 0 if at else step.tokens, step.kind))
    return out


def _bom(steps: Sequence[Step]) -> list[Step]:
    out = _chunked(steps)
    at = next((i for i, step in enumerate(out) if isinstance(step, Send)), None)
    if at is not None:
        out.insert(at, Send(b"\xef\xbb\xbf", 0, "noise"))
    return out


def _interleaved(steps: Sequence[Step], fault: f.Comments | f.Duplicate) -> list[Step]:
    out: list[Step] = []
    seen = 0
    for step in _chunked(steps):
        if not isinstance(step, Send) or not step.data:
            out.append(step)
            continue
        struck = seen % fault.every == 0
        seen += 1
        if isinstance(fault, f.Comments):
            if step.kind == "body":
                out.append(Send(b"\n         \n" * 3, 0, "noise"))
            elif struck:
                out.append(Send(b": " + fault.text.encode() + b"\n\n", 0, "noise"))
            out.append(step)
        else:
            out.append(step)
            if struck and step.kind != "body":
                out.append(replace(step, tokens=0))
    return out
