"""Refusals of Cohere and Google: what faults on order and limits say, in their words."""

from __future__ import annotations

from penstock.sim import faults as f
from penstock.sim import gemini_reply
from penstock.sim.limits import Refuse
from penstock.sim.plan import Reject

_TRIAL = (
    "You are using a Trial key, which is limited to {limit} API calls / {period}. You can continue to use the Trial "
    "key for free or upgrade to a Production key with higher rate limits at 'https://dashboard.cohere.com/api-keys'."
)
_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)
_PER_MINUTE = {
    "requests": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    "tokens": "GenerateContentInputTokensPerModelPerMinute-FreeTier",
    "concurrency": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
}
_PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"


def refusal(fault: f.Fault, protocol: str, *, stream: bool) -> Reject | None:
    """The refusal that a fault stands for, or None when it lets an answer begin."""
    google = protocol == "gemini"
    match fault:
        case f.RateLimit() | f.SlowDown():
            return _limited(google, "requests", 20, None)
        case f.Quota():
            if google:
                return Reject(429, _QUOTA, details=gemini_reply.quota(_PER_DAY, None))
            return Reject(fault.status, _TRIAL.format(limit=1000, period="month"))
        case f.KeyRejected():
            if google:
                return Reject(400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID")
            return Reject(401, "invalid api token")
        case f.Permission():
            words = "User location is not supported for the API use." if google else "access denied"
            return Reject(403, words)
        case f.Overloaded():
            return Reject(503, "The model is overloaded. Please try again later.")
        case f.Status():
            return Reject(fault.status, "The request failed.", code=fault.code)
        case f.ErrorEvent() if not stream:
            return midway(fault)
        case _:
            return None


def midway(fault: f.ErrorEvent) -> Reject:
    """The error that a stream turns into."""
    return Reject(503, fault.message or "The model is overloaded. Please try again later.")


def limited(protocol: str, refusal: Refuse) -> Reject:
    """The refusal of a request that its lane has no room for."""
    return _limited(protocol == "gemini", refusal.dimension, refusal.limit, refusal.wait_s)


def _limited(google: bool, dimension: str, limit: int, wait_s: float | None) -> Reject:
    if not google:
        return Reject(429, _TRIAL.format(limit=limit, period="minute"))
    again = "" if wait_s is None else f"\nPlease retry in {wait_s:.9f}s."
    return Reject(429, _QUOTA + again, details=gemini_reply.quota(_PER_MINUTE[dimension], wait_s))
