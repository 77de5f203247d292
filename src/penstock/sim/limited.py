"""What a 429 of the limits says, in each protocol's words."""

from __future__ import annotations

from penstock.sim import other_refusals
from penstock.sim.exchange import Plan
from penstock.sim.limits import Refuse, go_duration
from penstock.sim.pause import RetryForm, hinted_s, retry_headers
from penstock.sim.plan import Reject

_UNITS = {
    "requests": "requests per min (RPM)",
    "tokens": "tokens per min (TPM)",
    "concurrency": "concurrent requests",
}


def limited(plan: Plan, refusal: Refuse, form: RetryForm, now: float) -> Reject:
    """The refusal of a request that its lane has no room for."""
    if plan.protocol in ("cohere", "gemini"):
        return other_refusals.limited(plan.protocol, refusal)
    headers = retry_headers(form, refusal.wait_s, now)
    if plan.protocol == "anthropic":
        if refusal.dimension == "concurrency":
            words = "Number of concurrent connections has exceeded your rate limit. Please try again later."
        else:
            words = (
                f"This request would exceed your organization's rate limit of {refusal.limit:,} "
                f"{refusal.dimension.replace('-', ' ')} per minute (model: {plan.model})."
            )
        return Reject(429, words, headers=tuple(each for each in headers if each[0] == "retry-after"))
    where = f"{plan.model} in organization org-sim on {_UNITS[refusal.dimension]}"
    if refusal.never:
        return Reject(
            429,
            f"Request too large for {where}: Limit {refusal.limit}, Requested {refusal.asked}. The "
            "input or output tokens must be reduced in order to run successfully. Visit "
            "https://platform.openai.com/account/rate-limits to learn more.",
            kind=refusal.dimension,
            code="rate_limit_exceeded",
        )
    again = "" if form == "none" else f"Please try again in {go_duration(hinted_s(form, refusal.wait_s))}. "
    return Reject(
        429,
        f"Rate limit reached for {where}: Limit {refusal.limit}, Used {refusal.used}, Requested {refusal.asked}. "
        f"{again}Visit https://platform.openai.com/account/rate-limits to learn more.",
        kind=refusal.dimension,
        code="RateLimitReached" if plan.azure else "rate_limit_exceeded",
        headers=headers,
    )
