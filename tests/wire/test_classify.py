"""Every answer that is not a success becomes exactly one error class, by code, words and status."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import errors
from penstock._wire.classify import classify, inside, not_an_answer
from penstock._wire.protocol import Provider
from penstock.errors import CallError

from .streams import OPENAI


def of(status: int, body: Any, **headers: str) -> CallError:
    """The error of an answer; header names with _ for -."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return classify(status, given, raw, provider=OPENAI, model="m", wall_s=0.0)


def said(message: str = "m", **fields: Any) -> dict[str, Any]:
    """An error body in OpenAI's shape."""
    return {"error": {"message": message, **fields}}


def anthropic(kind: str, message: str = "m", **fields: Any) -> dict[str, Any]:
    """An error body in Anthropic's shape."""
    return {"type": "error", "error": {"type": kind, "message": message, **fields}, "request_id": "req_7"}


@pytest.mark.prove(9)
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        # money ran out: the status may be 429, 400, 402 or 403
        (429, said(code="insufficient_quota", type="insufficient_quota"), errors.QuotaExhausted),
        (429, said(code="credit_balance_exhausted"), errors.QuotaExhausted),
        (429, said(code="organization_spend_limit_exceeded", type="insufficient_quota"), errors.QuotaExhausted),
        (429, said(code="project_spend_limit_exceeded"), errors.QuotaExhausted),
        (429, said(code="organization_usage_limit_exceeded"), errors.QuotaExhausted),
        (
            429,
            anthropic("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}),
            errors.QuotaExhausted,
        ),
        (
            429,
            anthropic("rate_limit_error", details={"error_code": "contract_spend_limit_reached"}),
            errors.QuotaExhausted,
        ),
        (429, anthropic("rate_limit_error", details={"error_code": "ramp_limit_exceeded"}), errors.RateLimited),
        (402, said(), errors.QuotaExhausted),
        (402, anthropic("billing_error"), errors.QuotaExhausted),
        (402, {"error": "Insufficient Balance"}, errors.QuotaExhausted),
        (
            400,
            anthropic("invalid_request_error", "Your credit balance is too low to access the API"),
            errors.QuotaExhausted,
        ),
        (
            400,
            anthropic("invalid_request_error", "You have reached your specified API usage limits."),
            errors.QuotaExhausted,
        ),
        (403, said("This request requires more credits"), errors.QuotaExhausted),
        # too long, on whatever status
        (400, said(code="context_length_exceeded", param="messages"), errors.ContextTooLong),
        (
            400,
            anthropic("invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum"),
            errors.ContextTooLong,
        ),
        (413, anthropic("invalid_request_error", "prompt is too long"), errors.ContextTooLong),
        (
            429,
            said("The input token count (9) exceeds the maximum number of tokens allowed (8)"),
            errors.ContextTooLong,
        ),
        (
            400,
            said("This model's maximum context length is 8192 tokens. However, you requested 9000"),
            errors.ContextTooLong,
        ),
        (400, {"error_type": "TOO_MANY_TOKENS", "id": "x", "message": "too many"}, errors.ContextTooLong),
        (400, said(type="too_many_prompt_tokens", code=400), errors.ContextTooLong),
        (400, {"error": "prompt too long; exceeded max context length by 9"}, errors.ContextTooLong),
        (
            400,
            said("the request exceeds the available context size", type="exceed_context_size_error"),
            errors.ContextTooLong,
        ),
        (
            400,
            said("max_tokens is too large: 99. This model supports at most 9 completion tokens"),
            errors.InvalidRequest,
        ),
        # safety
        (400, said(code="content_filter"), errors.ContentFiltered),
        (400, said(code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}), errors.ContentFiltered),
        (400, said("filtered due to Azure OpenAI's content management policy"), errors.ContentFiltered),
        (403, said("Your chosen model requires moderation and your input was flagged for x"), errors.ContentFiltered),
        # not found, in all its clothes
        (404, said(code="model_not_found"), errors.NotFound),
        (400, said(code="model_not_found"), errors.NotFound),
        (404, anthropic("not_found_error", "model: claude-x"), errors.NotFound),
        (404, said(code="DeploymentNotFound"), errors.NotFound),
        (400, said("x/y is not a valid model ID", code=400), errors.NotFound),
        (400, {"message": "The provided model identifier is invalid."}, errors.NotFound),
        (400, said("The model `llama` has been decommissioned"), errors.NotFound),
        (404, {"id": "i", "message": "model 'x' not found"}, errors.NotFound),
        (405, b"", errors.NotFound),
        (404, b"404 page not found", errors.NotFound),
        # the key
        (401, said(code="invalid_api_key"), errors.AuthenticationFailed),
        (401, {"detail": "Invalid API Key"}, errors.AuthenticationFailed),
        (498, {"message": "invalid token"}, errors.AuthenticationFailed),
        (400, {"code": "c", "error": "Incorrect API key provided: x"}, errors.AuthenticationFailed),
        (
            400,
            said("API key not valid. Please pass a valid API key.", status="INVALID_ARGUMENT"),
            errors.AuthenticationFailed,
        ),
        (403, said("Invalid API key"), errors.AuthenticationFailed),
        (403, said("Country not supported", code="unsupported_country"), errors.PermissionDenied),
        (403, anthropic("permission_error"), errors.PermissionDenied),
        # the request
        (400, anthropic("invalid_request_error"), errors.InvalidRequest),
        (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, errors.InvalidRequest),
        (413, anthropic("request_too_large"), errors.RequestTooLarge),
        (400, said(code="request_too_large"), errors.RequestTooLarge),
        (
            429,
            said(
                "Request too large for gpt-x on tokens per min (TPM): Limit 9, Requested 99", code="rate_limit_exceeded"
            ),
            errors.RequestTooLarge,
        ),
        (418, b"", errors.InvalidRequest),
        # wait
        (429, said(code="rate_limit_exceeded", type="tokens"), errors.RateLimited),
        (429, said(code="slow_down"), errors.RateLimited),
        (429, said(code="RateLimitReached"), errors.RateLimited),
        (
            429,
            {"object": "error", "message": "m", "type": "rate_limited", "code": "1300", "raw_status_code": 429},
            errors.RateLimited,
        ),
        (429, said("You exceeded your current quota", status="RESOURCE_EXHAUSTED", code=429), errors.RateLimited),
        (429, b"", errors.RateLimited),
        (429, said(code="engine_overloaded"), errors.Overloaded),
        (503, said(code="server_is_overloaded"), errors.Overloaded),
        (503, said(code="slow_down"), errors.RateLimited),
        (503, b"<html>x</html>", errors.Overloaded),
        (529, anthropic("overloaded_error"), errors.Overloaded),
        (500, anthropic("overloaded_error"), errors.Overloaded),
        (425, b"", errors.Overloaded),
        # the provider failed
        (500, said(type="server_error"), errors.ServerFault),
        (500, said("You hit an internal spend limit check bug"), errors.ServerFault),
        (502, b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>", errors.ServerFault),
        (504, anthropic("timeout_error"), errors.ServerFault),
        (408, b"", errors.ServerFault),
        (409, said(), errors.ServerFault),
        (499, b"", errors.ServerFault),
        (520, b"error code: 520", errors.ServerFault),
        (400, said(code="tool_use_failed", failed_generation="<f>"), errors.ServerFault),
        (307, b"", errors.InvalidRequest),
    ],
)
def test_every_answer_gets_its_class(status: int, body: Any, expected: type[CallError]) -> None:
    """Codes before words before status."""
    error = of(status, body)
    assert type(error) is expected, error
    assert error.status == status
    assert (error.provider, error.model) == ("openai", "m")


@pytest.mark.parametrize(
    ("message", "fields", "param"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model.",
            {"code": "unsupported_parameter", "param": "max_tokens"},
            "max_tokens",
        ),
        ("Unsupported value: 'temperature' does not support 0.2", {"code": "unsupported_value"}, "temperature"),
        ("Unrecognized request argument supplied: top_k", {}, "top_k"),
        ("temperature: Extra inputs are not permitted", {"type": "invalid_request_error"}, "temperature"),
        ("`temperature` is deprecated for this model.", {"type": "invalid_request_error"}, "temperature"),
        ("Unknown parameter: 'foo'.", {"code": "unknown_parameter"}, "foo"),
        ("'stop' is not supported with this model", {}, "stop"),
        ("logprobs is not supported with this model", {}, "logprobs"),
        ("This model does not support tools", {}, "tools"),
    ],
)
def test_an_unsupported_parameter_is_named(message: str, fields: dict[str, Any], param: str) -> None:
    """From the body's field or its words."""
    error = of(400, said(message, **fields))
    assert isinstance(error, errors.UnsupportedParameter)
    assert error.param == param


def test_the_facts_are_carried() -> None:
    """Code, request id, wait, and a sentence with what was said and what to do."""
    error = of(429, said("Rate limit reached.", code="rate_limit_exceeded"), x_request_id="req_1", retry_after="7")
    assert (error.provider_code, error.request_id, error.retry_after_s) == ("rate_limit_exceeded", "req_1", 7)
    assert error.message == "Rate limit reached; wait before the next request"
    assert error.retriable
    error = of(
        429, anthropic("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}), retry_after="7"
    )
    assert (error.provider_code, error.request_id) == ("enforced_spend_limit_reached", "req_7")
    assert (error.retry_after_s, error.retriable) == (None, False)


def test_the_provider_may_forbid_a_retry_but_not_ask_for_one_in_vain() -> None:
    """x-should-retry: false holds; 501 is never worth another try."""
    assert of(500, b"", x_should_retry="false").retriable is False
    assert of(400, b"", x_should_retry="true").retriable is False
    assert of(501, b"").retriable is False


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            502,
            b"<html><head><title>502 Bad Gateway</title><style>x{}</style></head><body><p>nginx</p></body></html>",
            "web page",
        ),
        (500, b"", "HTTP 500 with an empty body"),
        (500, b"{}", "HTTP 500 with no message"),
        (500, b"upstream connect error", "upstream connect error"),
        (500, b'"just a string"', "just a string"),
        (500, b"[1]", "HTTP 500 with no message"),
        (429, b'[{"error":{"message":"quota","code":429}}]', "quota"),
        (
            400,
            {"error": {"message": "Provider returned error", "metadata": {"raw": "upstream says no"}}},
            "upstream says no",
        ),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "too big"}]}, "body.n: too big"),
        (400, {"error": ["a", {"message": "b"}]}, "a; b"),
        (400, {"errors": [{"message": "cf"}]}, "cf"),
        (302, b"", "the base URL redirects"),
    ],
)
def test_the_sentence_says_what_came(status: int, body: Any, words: str) -> None:
    """Whatever the shape; tags are stripped and long texts cut."""
    message = of(status, body).message
    assert words in message
    assert "<" not in message
    assert len(of(status, said("x" * 9000)).message) < 700


def test_a_redirect_names_its_target_without_query() -> None:
    """So that base_url can be mended."""
    error = of(301, b"", location="https://new.example/v1?token=abc")
    assert "https://new.example/v1" in error.message
    assert "token" not in error.message


@pytest.mark.prove(25)
@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdEFGH1234567890",
        "sk-ant-api03-AAAA_bbbb-CCCC",
        "Bearer abc.def.ghi123",
        "AIzaSyA1234567890abcdefg",
        "gsk_abcdefghijklmnop",
        "xai-abcdefghijk",
        "hf_abcdefghijkl",
        "a" * 48,
        "sk-abc***********wxyz",
    ],
)
def test_nothing_that_looks_like_a_key_is_repeated(key: str) -> None:
    """Providers echo the key that they reject."""
    for body in (said(f"Incorrect API key provided: {key}."), f"<p>{key}</p>".encode(), {"detail": key}):
        error = of(401, body, authorization="Bearer secret-in-header")
        assert key not in str(error)
        assert "secret-in-header" not in repr(error)
    assert "max_tokens" in of(400, said("api_version and max_tokens are wrong")).message


def test_errors_inside_a_200_count_by_their_own_status() -> None:
    """Or by their type; a body without an error is none."""
    assert isinstance(inside(b'{"error":{"message":"m","code":429}}', OPENAI), errors.RateLimited)
    assert isinstance(
        inside(b'{"error":{"message":"m","type":"authentication_error"}}', OPENAI), errors.AuthenticationFailed
    )
    wait = inside(b'{"error":{"message":"try again in 2s","code":429}}', OPENAI)
    assert wait is not None
    assert (wait.status, wait.retry_after_s) == (429, 2)
    for kind, cls in (("not_found_error", errors.NotFound), ("timeout_error", errors.ServerFault)):
        assert type(inside(json.dumps(anthropic(kind)).encode(), OPENAI)) is cls
    assert inside(b'{"type":"ping"}', OPENAI) is None
    assert inside(b'{"choices":[]}', OPENAI) is None
    assert isinstance(inside(b"{}", OPENAI, certain=True), errors.ServerFault)
    assert isinstance(inside(b'{"error":"Insufficient credits"}', OPENAI), errors.ServerFault | errors.QuotaExhausted)


def test_what_is_no_answer_is_told_apart() -> None:
    """Empty, a page, something else."""
    for body, words in (
        (b" ", "empty body"),
        (b"<html><title>Hi</title>", "web page"),
        (b"hello", "not of the protocol"),
    ):
        assert words in not_an_answer(body, OPENAI).message


@pytest.mark.prove(9)
@given(
    st.integers(300, 599),
    st.binary(max_size=80)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "error",
                        "message",
                        "code",
                        "type",
                        "param",
                        "details",
                        "detail",
                        "innererror",
                        "metadata",
                        "raw",
                        "status",
                        "loc",
                        "msg",
                        "errors",
                        "request_id",
                        "retryDelay",
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode()),
)
def test_no_body_ever_raises(status: int, body: bytes) -> None:
    """It is a CallError subclass, whatever came."""
    error = of(status, body)
    assert isinstance(error, CallError)
    assert type(error) is not CallError
    inside(body, OPENAI)
    assert isinstance(not_an_answer(body, Provider(name="p", wire="anthropic")), CallError)


def google(status: int, message: str = "m", word: str = "", *quotas: str, retry: str = "") -> CallError:
    """The error of an answer in Google's shape."""
    details: list[dict[str, Any]] = []
    if quotas:
        details.append({"@type": "x/QuotaFailure", "violations": [{"quotaId": each} for each in quotas]})
    if retry:
        details.append({"@type": "x/RetryInfo", "retryDelay": retry})
    return of(status, {"error": {"code": status, "message": message, "status": word, "details": details}})


PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"


def test_a_quota_of_the_minute_is_a_wait() -> None:
    """As long as Google says."""
    error = google(429, "You exceeded your current quota", "RESOURCE_EXHAUSTED", PER_MINUTE, retry="34.4s")
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after_s == 34.4


@pytest.mark.parametrize("quotas", [(PER_DAY,), (PER_MINUTE, PER_DAY)], ids=["of the day", "of the day and the minute"])
def test_a_quota_of_the_day_is_used_up(quotas: tuple[str, ...]) -> None:
    """Of one model: the others of the account still answer."""
    error = google(429, "You exceeded your current quota", "RESOURCE_EXHAUSTED", *quotas, retry="10s")
    assert isinstance(error, errors.QuotaExhausted)
    assert error.of_model
    assert not error.retriable


def test_a_model_that_an_account_may_not_use_is_used_up() -> None:
    """Its limit is 0, and a wait that is told changes nothing."""
    words = (
        "* Quota exceeded for metric: x.googleapis.com/requests, limit: 0, model: gemini-2.5-pro\nPlease retry in 20s."
    )
    error = google(429, words, "RESOURCE_EXHAUSTED", retry="20s")
    assert isinstance(error, errors.QuotaExhausted)
    assert error.of_model


def test_money_that_ran_out_is_the_whole_accounts() -> None:
    """No model of it answers."""
    error = of(429, said(code="insufficient_quota"))
    assert isinstance(error, errors.QuotaExhausted)
    assert not error.of_model


@pytest.mark.parametrize(("period", "expected"), [("minute", errors.RateLimited), ("month", errors.QuotaExhausted)])
def test_a_trial_key_has_calls_per_minute_and_month(period: str, expected: type[CallError]) -> None:
    """Cohere says which in words."""
    body = {"id": "x", "message": f"You are using a Trial key, which is limited to 20 API calls / {period}."}
    assert type(of(429, body)) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            google(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"),
            errors.AuthenticationFailed,
        ),
        (
            google(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"),
            errors.PermissionDenied,
        ),
        (google(403, "denied", "PERMISSION_DENIED"), errors.PermissionDenied),
        (google(404, "models/x is not found for API version v1beta", "NOT_FOUND"), errors.NotFound),
        (
            google(400, "The input token count (9) exceeds the maximum number of tokens allowed (8).", ""),
            errors.ContextTooLong,
        ),
        (google(503, "The model is overloaded.", "UNAVAILABLE"), errors.Overloaded),
        (google(504, "Deadline expired", "DEADLINE_EXCEEDED"), errors.ServerFault),
        (of(498, {"id": "x", "message": "invalid api token"}), errors.AuthenticationFailed),
        (of(400, {"error_type": "TOO_MANY_TOKENS", "id": "x", "message": "too many tokens"}), errors.ContextTooLong),
        (of(404, {"id": "x", "message": "model 'x' not found"}), errors.NotFound),
        (
            of(422, {"id": "x", "message": "unknown field: parameter 'a' is not a valid field"}),
            errors.UnsupportedParameter,
        ),
        (of(501, {"id": "x", "message": "not implemented"}), errors.ServerFault),
    ],
)
def test_errors_of_cohere_and_google_have_their_class(error: CallError, expected: type[CallError]) -> None:
    """By status, code or words."""
    assert type(error) is expected
