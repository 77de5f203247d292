"""What each error class means for whoever has to act: how grave it is, and what to do.

    warning    it passes by itself: the same again, later or elsewhere, can work
    error      this call cannot work as it is: change it
    critical   no call like it works until somebody acts: a key, money, a setting, a disk

A class without a row of its own has that of its parent.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Severity = Literal["warning", "error", "critical"]


class Remedy(msgspec.Struct, frozen=True):
    """How grave an error is and what to do about it, in a sentence without its full stop."""

    severity: Severity
    action: str


REMEDIES: Final[dict[str, Remedy]] = {
    "penstock_error": Remedy("error", "read the message; it is the base class: catch it to catch everything"),
    "config": Remedy("critical", "fix the setting or argument that the message names"),
    "unknown_provider": Remedy(
        "critical", "write `provider:model` with a name that `penstock providers` lists, or add a row"
    ),
    "unknown_model": Remedy("critical", "write `provider:model`"),
    "missing_key": Remedy("critical", "set the variable that the message names"),
    "missing_extra": Remedy("critical", "run the `pip install` command of the message"),
    "input": Remedy("error", "fix the row or message that is named"),
    "client_closed": Remedy("warning", "make a new client; what was under way may have been paid"),
    "parse": Remedy("error", "look at `candidates`: ask the model again with their reasons, or loosen the type"),
    "extraction_failed": Remedy(
        "error", "look at `reasons`, `text` and `responses`: raise `reasks`, name a `helper`, or loosen the type"
    ),
    "check_failed": Remedy("error", "look at `reasons` and `responses`: add a stronger model, or loosen the check"),
    "agent_failed": Remedy(
        "error",
        "look at `agent`: the model repeated a mistake that it was told; describe the tool better, raise `corrections` "
        "or take another model, and resume `agent.transcript`",
    ),
    "output": Remedy("critical", "create the folder, or choose another output"),
    "output_full": Remedy("critical", "make room and run the same command again"),
    "output_busy": Remedy("warning", "wait for the other run, or choose another output"),
    "ledger_unavailable": Remedy(
        "critical",
        "do what the message says: make room, give the right to write, or name another file; calls never fail for it",
    ),
    "refused": Remedy("warning", "nothing was sent; see its subclasses"),
    "budget_exceeded": Remedy("critical", "raise the budget, or wait for its period to end"),
    "budget_unavailable": Remedy(
        "critical",
        "mend the file that the message names; without it nothing is sent. `busy`: another process kept it locked, ask "
        "again",
    ),
    "limit_exceeded": Remedy("error", "make the call smaller, or raise the limit"),
    "breaker_open": Remedy(
        "warning",
        "wait `retry_after_s`, give a deadline to wait within, or name fallbacks; where it names the key or the "
        "account (then not retriable) mend that",
    ),
    "deadline_exceeded": Remedy("warning", "give it more time, or use a faster model"),
    "call": Remedy("error", "see its subclasses"),
    "invalid_request": Remedy("error", "fix what the provider names"),
    "context_too_long": Remedy(
        "error", "shorten the prompt, choose how to with `truncate`, or use a model with a larger window"
    ),
    "request_too_large": Remedy("error", "send fewer bytes, or choose with `truncate` what to leave out"),
    "unsupported_parameter": Remedy("error", "drop `param`, or use a model that takes it"),
    "not_found": Remedy("critical", "check the model's name and what the key may use"),
    "input_rejected": Remedy("error", "change the text at `index`, or skip it; what was answered is in `embedded`"),
    "authentication": Remedy("critical", "replace the key"),
    "permission": Remedy("critical", "use a key that may do this"),
    "quota_exhausted": Remedy(
        "critical",
        "top up the account or raise its limit; a short wait does not help. `of_model`: only this model is used up",
    ),
    "content_filtered": Remedy("error", "change the content"),
    "model_refused": Remedy("error", "change the question; `partial` has the model's words"),
    "rate_limited": Remedy("warning", "wait; set `limits` so that it does not happen"),
    "overloaded": Remedy("warning", "wait, or name fallbacks"),
    "server_fault": Remedy("warning", "try later, or name fallbacks"),
    "connection": Remedy("warning", "check network, base URL and proxy"),
    "outcome_unknown": Remedy("warning", "decide whether to repeat it: it may have been paid"),
    "first_token_timeout": Remedy("warning", "raise `timeouts.first_token_s`"),
    "idle_timeout": Remedy("warning", "raise `timeouts.idle_s`"),
    "total_timeout": Remedy("warning", "raise `timeouts.total_s` or the deadline"),
    "stream_interrupted": Remedy("warning", "use `partial`, or ask again"),
    "truncated_output": Remedy("error", "raise `max_tokens`; `value` is what could be read, see below"),
}
