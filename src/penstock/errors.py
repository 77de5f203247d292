"""The error tree: one class per what the caller can do next.

    PenstockError
    ├─ ConfigError            fix a setting or an argument        (ValueError)
    │  ├─ UnknownProvider · UnknownModel · MissingKey · MissingExtra
    ├─ InputError             fix a row or a file                 (ValueError)
    ├─ ClientClosed           the client was closed under the call: make a new one
    ├─ ParseError             no value of the wanted type is in the text: ask again, or loosen the type (ValueError)
    │  └─ ExtractionFailed    no answer of an extraction fits: it has all answers, their reasons and their cost
    ├─ AgentFailed            the model of an agent did not mend a mistake that it was told: `agent` has the transcript
    ├─ CheckFailed            no answer of a cascade passed its check: it has all answers and their cost
    ├─ OutputError            the output cannot be written: mend the disk or choose another place
    │  ├─ OutputFull · OutputBusy
    ├─ LedgerUnavailable      the file of the ledger cannot be used: mend it; calls go on
    ├─ Refused                Penstock sent nothing
    │  ├─ BudgetExceeded      raise the budget or wait for its period
    │  ├─ BudgetUnavailable   the file that keeps the budget cannot be used: mend it
    │  ├─ LimitExceeded       the call is larger than the limit: it can never pass
    │  ├─ BreakerOpen         the lane is unhealthy: wait or use another
    │  └─ DeadlineExceeded    the answer cannot come in time      (TimeoutError)
    └─ CallError              an attempt failed; carries what the provider said
       ├─ InvalidRequest      fix the request
       │  ├─ ContextTooLong · RequestTooLarge · UnsupportedParameter · NotFound
       │  ├─ InputRejected    one text of many cannot be embedded: `index` says which
       ├─ AuthenticationFailed · PermissionDenied                 fix the key
       ├─ QuotaExhausted      top up the account
       ├─ ContentFiltered     change the content
       ├─ ModelRefused        the model would not answer: change the question
       ├─ RateLimited         wait                                (retriable)
       ├─ Overloaded          wait or use another model           (retriable)
       ├─ ServerFault         the provider failed                 (retriable)
       ├─ ConnectionFailed    nothing was sent                    (retriable, ConnectionError)
       ├─ OutcomeUnknown      it was sent; it may have been paid  (retriable once)
       │  ├─ FirstTokenTimeout · IdleTimeout · TotalTimeout       (TimeoutError)
       ├─ StreamInterrupted   output was already shown: `partial` has it
       └─ TruncatedOutput     raise max_tokens

`retriable` says whether sending the same again can help, `retry_after_s` how long the provider asked to wait,
`severity` how grave it is and `action` what to do (see remedies.py), `exit_code` what the command line exits with
(sysexits.h where it has a word for it).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

from .embeddings import Embeddings
from .remedies import REMEDIES, Severity
from .types import Attempt, Response, Usage

Fault = Literal["caller", "provider", "network", "gate"]

EXIT_OK = 0
EXIT_USAGE = 64
EXIT_DATA = 65
EXIT_UNAVAILABLE = 69
EXIT_CANT_CREATE = 73
EXIT_IO = 74
EXIT_TEMPFAIL = 75
EXIT_NO_PERMISSION = 77
EXIT_CONFIG = 78
EXIT_ROWS_FAILED = 1
EXIT_INTERRUPTED = 130


class PenstockError(Exception):
    """The base of everything that Penstock raises on purpose.

    `code` is stable and names the class in outputs, metrics and docs. `fault` is whose it is. `attempts` is the log of
    what was tried before the error surfaced, `cost_nano` what that cost, `gave_up` why there was no further attempt.
    `embedded` has what `embed` had answered before it, `agent` the `AgentResult` of an agent that it ended.
    """

    code: ClassVar[str] = "penstock_error"
    fault: ClassVar[Fault] = "gate"
    exit_code: ClassVar[int] = EXIT_UNAVAILABLE
    retriable: bool = False
    retry_after_s: float | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.attempts: tuple[Attempt, ...] = ()
        self.cost_nano: int | None = None
        self.gave_up: str | None = None
        self.embedded: Embeddings | None = None
        self.agent: Any = None

    @property
    def severity(self) -> Severity:
        """How grave it is: 'warning' passes by itself, 'error' is of this call, 'critical' needs somebody to act."""
        return REMEDIES[_known_code(type(self))].severity

    @property
    def action(self) -> str:
        """What to do about it, in a few words."""
        return REMEDIES[_known_code(type(self))].action

    def __str__(self) -> str:
        tried = ""
        if len(self.attempts) > 1:
            steps = ", ".join(f"{attempt.provider}:{attempt.model} {attempt.outcome}" for attempt in self.attempts)
            tried = f" (after {len(self.attempts)} attempts: {steps})"
        return f"{self.message}{f'; not retried: {self.gave_up}' if self.gave_up else ''}{tried}"


class ConfigError(PenstockError, ValueError):
    """A setting or an argument is wrong; the message says which, where it came from and what was expected."""

    code = "config"
    fault = "caller"
    exit_code = EXIT_CONFIG


class UnknownProvider(ConfigError):
    """No row in the provider table has that name."""

    code = "unknown_provider"


class UnknownModel(ConfigError):
    """A bare model name that belongs to no known provider, or a name without its model part."""

    code = "unknown_model"


class MissingKey(ConfigError):
    """The provider needs a key and none was found."""

    code = "missing_key"


class MissingExtra(ConfigError, ImportError):
    """An optional part is not installed; the message has the command that installs it."""

    code = "missing_extra"


class InputError(PenstockError, ValueError):
    """A row or a file cannot be used; the message says file, line and field."""

    code = "input"
    fault = "caller"
    exit_code = EXIT_DATA


class ClientClosed(PenstockError):
    """The client was closed before the call was over, or before it began; what was sent may have been paid."""

    code = "client_closed"
    fault = "caller"
    exit_code = EXIT_TEMPFAIL


class Candidate(NamedTuple):
    """A part of a text that was tried as the value: what it looked like, where (characters), and what came of it."""

    source: str
    start: int
    end: int
    outcome: str


class ParseError(PenstockError, ValueError):
    """No value of the wanted type can be read from the text without inventing one; `candidates` says what was tried."""

    code = "parse"
    fault = "provider"
    exit_code = EXIT_DATA

    def __init__(self, message: str, *, candidates: tuple[Candidate, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates


class ExtractionFailed(ParseError):
    """No answer of an extraction has a value of the wanted type.

    `text` is what the last answer said, `reasons` what did not fit in it, `candidates` what was tried, `responses` all
    answers. `gave_up` says why no further question was asked; `attempts` and `cost_nano` are those of all questions.
    """

    code = "extraction_failed"

    def __init__(
        self,
        message: str,
        *,
        text: str,
        reasons: tuple[str, ...],
        responses: tuple[Response, ...],
        candidates: tuple[Candidate, ...] = (),
    ) -> None:
        super().__init__(message, candidates=candidates)
        self.text = text
        self.reasons = reasons
        self.responses = responses


class AgentFailed(PenstockError):
    """The model made a mistake, was told of it, and made one again; `agent` has the transcript to go on from."""

    code = "agent_failed"
    fault = "provider"
    exit_code = EXIT_DATA


class CheckFailed(PenstockError):
    """No answer of a cascade passed its check: `responses` has all answers, `reasons` why each was not taken.

    `attempts` and `cost_nano` are those of all models.
    """

    code = "check_failed"
    fault = "provider"
    exit_code = EXIT_DATA

    def __init__(self, message: str, *, responses: tuple[Response, ...], reasons: tuple[str, ...]) -> None:
        super().__init__(message)
        self.responses = responses
        self.reasons = reasons


class OutputError(PenstockError):
    """The output cannot be written; what was written before stays."""

    code = "output"
    fault = "caller"
    exit_code = EXIT_CANT_CREATE


class OutputFull(OutputError):
    """The disk is full, or a quota or size limit is reached."""

    code = "output_full"
    exit_code = EXIT_IO


class OutputBusy(OutputError):
    """Another run writes the same output."""

    code = "output_busy"
    exit_code = EXIT_TEMPFAIL


class LedgerUnavailable(PenstockError):
    """The file of the ledger cannot be read or written; the message says why. No call is ever refused for that."""

    code = "ledger_unavailable"
    fault = "caller"
    exit_code = EXIT_IO


class Refused(PenstockError):
    """Penstock did not send the call; nothing was paid for it."""

    code = "refused"
    exit_code = EXIT_TEMPFAIL


class BudgetExceeded(Refused):
    """The call might cost more than what is left of a budget.

    Figures in nano-dollars: `cap_nano`, `spent_nano` (settled), `held_nano` (calls under way), `needed_nano` (the worst
    case of this call, None when its price is unknown).
    """

    code = "budget_exceeded"

    def __init__(
        self,
        message: str,
        *,
        scope: str,
        cap_nano: int,
        spent_nano: int,
        held_nano: int,
        needed_nano: int | None,
    ) -> None:
        super().__init__(message)
        self.scope = scope
        self.cap_nano = cap_nano
        self.spent_nano = spent_nano
        self.held_nano = held_nano
        self.needed_nano = needed_nano


class BudgetUnavailable(Refused):
    """The file that keeps a shared budget cannot be read or written; without it nothing is sent.

    `busy`: another process kept it locked for longer than this one waits; asking again may help.
    """

    code = "budget_unavailable"

    def __init__(self, message: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.busy = busy


class LimitExceeded(Refused):
    """The call alone is larger than the limit, so no wait would let it pass."""

    code = "limit_exceeded"
    fault = "caller"
    exit_code = EXIT_DATA


class BreakerOpen(Refused):
    """The lane failed too often lately; `retry_after_s` says when it is probed next."""

    code = "breaker_open"
    fault = "provider"
    retriable = True
    exit_code = EXIT_UNAVAILABLE

    def __init__(self, message: str, *, lane: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.lane = lane
        self.retry_after_s = retry_after_s


class DeadlineExceeded(Refused, TimeoutError):
    """The deadline of the call passed, or waiting as long as told would pass it (`retry_after_s`)."""

    code = "deadline_exceeded"

    def __init__(self, message: str, *, deadline_s: float, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.deadline_s = deadline_s
        self.retry_after_s = retry_after_s


class CallError(PenstockError):
    """An attempt failed at the provider or on the way there.

    `status` is the HTTP status or None, `provider_code` the provider's own word for the error, `param` the parameter
    that it named, `request_id` what its support asks for. `usage` is what the failed attempt is known to have used.
    """

    code = "call"
    fault: ClassVar[Fault] = "provider"

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        model: str = "",
        status: int | None = None,
        provider_code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.status = status
        self.provider_code = provider_code
        self.param = param
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.usage = usage

    def __str__(self) -> str:
        where = f"{self.provider}:{self.model}: " if self.provider else ""
        status = f" [HTTP {self.status}]" if self.status else ""
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{where}{super().__str__()}{status}{request}"


class InvalidRequest(CallError):
    """The provider cannot accept the request as it is."""

    code = "invalid_request"
    fault = "caller"
    exit_code = EXIT_DATA


class ContextTooLong(InvalidRequest):
    """The prompt, or prompt plus max_tokens, is longer than the model's context window."""

    code = "context_too_long"


class RequestTooLarge(InvalidRequest):
    """The body has more bytes than the provider takes."""

    code = "request_too_large"


class UnsupportedParameter(InvalidRequest):
    """The model or the protocol does not take a parameter (`param`); nothing is dropped silently."""

    code = "unsupported_parameter"


class NotFound(InvalidRequest):
    """The model, deployment or path does not exist for this key."""

    code = "not_found"


class InputRejected(InvalidRequest):
    """The provider refuses one of the texts to embed, the one at `index`; `__cause__` is what it said."""

    code = "input_rejected"

    def __init__(self, message: str, *, index: int, cause: CallError | None = None) -> None:
        super().__init__(message)
        self.index = index
        if cause is not None:
            self.provider, self.model, self.status = cause.provider, cause.model, cause.status
            self.provider_code, self.param, self.request_id = cause.provider_code, cause.param, cause.request_id
            self.attempts, self.cost_nano = cause.attempts, cause.cost_nano
            self.__cause__ = cause


class AuthenticationFailed(CallError):
    """The provider does not accept the key."""

    code = "authentication"
    fault = "caller"
    exit_code = EXIT_NO_PERMISSION


class PermissionDenied(CallError):
    """The key may not do this."""

    code = "permission"
    fault = "caller"
    exit_code = EXIT_NO_PERMISSION


class QuotaExhausted(CallError):
    """The account is out of money, at its spend limit, or has no more calls this day or month; a short wait is no help.

    `of_model` says that only this model's share is used up: others of the account still answer.
    """

    of_model = False

    code = "quota_exhausted"
    fault = "caller"
    exit_code = EXIT_NO_PERMISSION


class ContentFiltered(CallError):
    """The provider's safety system refused the prompt or the answer."""

    code = "content_filtered"
    fault = "caller"
    exit_code = EXIT_DATA


class ModelRefused(CallError):
    """The model would not answer where an answer of a shape was wanted; `partial` has its words."""

    code = "model_refused"
    fault = "caller"
    exit_code = EXIT_DATA

    def __init__(self, message: str, *, partial: Response) -> None:
        super().__init__(message, provider=partial.provider, model=partial.model, usage=partial.usage)
        self.partial = partial


class RateLimited(CallError):
    """Too many requests or tokens for now."""

    code = "rate_limited"
    retriable = True
    exit_code = EXIT_TEMPFAIL


class Overloaded(CallError):
    """The provider has no capacity for now."""

    code = "overloaded"
    retriable = True
    exit_code = EXIT_TEMPFAIL


class ServerFault(CallError):
    """The provider failed: an error status, or an answer that does not follow its own protocol."""

    code = "server_fault"
    retriable = True


class ConnectionFailed(CallError, ConnectionError):
    """No connection: name lookup, connect or TLS failed, so the provider saw nothing of the call."""

    code = "connection"
    fault = "network"
    retriable = True


class OutcomeUnknown(CallError):
    """The request was sent and no whole answer came back: the provider may have worked and billed."""

    code = "outcome_unknown"
    fault = "network"
    retriable = True


class FirstTokenTimeout(OutcomeUnknown, TimeoutError):
    """No output came within the first-token limit."""

    code = "first_token_timeout"


class IdleTimeout(OutcomeUnknown, TimeoutError):
    """The provider fell silent for longer than the idle limit."""

    code = "idle_timeout"


class TotalTimeout(OutcomeUnknown, TimeoutError):
    """The attempt took longer than its total limit."""

    code = "total_timeout"


class StreamInterrupted(CallError):
    """The stream broke after output was shown; `partial` has everything that came, its usage estimated.

    It is never retried by itself, as the text would be repeated; an agent tells of it and asks the step again.
    `__cause__` is what broke it.
    """

    code = "stream_interrupted"
    fault = "network"

    def __init__(self, message: str, *, partial: Response, status: int | None = None, request_id: str | None = None):
        super().__init__(
            message,
            provider=partial.provider,
            model=partial.model,
            status=status,
            request_id=request_id,
            usage=partial.usage,
        )
        self.partial = partial


class TruncatedOutput(CallError):
    """The answer stopped at max_tokens where a whole one was needed; `partial` has what came.

    `value` is what could be read of it: plain, nothing required, no cut number or word; None where nothing could.
    """

    code = "truncated_output"
    fault = "caller"
    exit_code = EXIT_DATA

    def __init__(self, message: str, *, partial: Response, value: Any = None) -> None:
        super().__init__(message, provider=partial.provider, model=partial.model, usage=partial.usage)
        self.partial = partial
        self.value = value


def _known_code(cls: type[PenstockError]) -> str:
    """Return the code of the nearest class that has a remedy; an error of a user's own has its parent's."""
    return next(each.code for each in cls.__mro__ if issubclass(each, PenstockError) and each.code in REMEDIES)


def all_errors() -> tuple[type[PenstockError], ...]:
    """Return every class of the tree, parents before children."""
    found: list[type[PenstockError]] = [PenstockError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return tuple(found)
