"""What the loopback server answers and what every contestant must have read: bytes made once, shared by both sides."""

import json
from typing import Final

MODEL: Final = "gpt-4o-mini"
CLAUDE: Final = "claude-haiku-4-5"
MAX_TOKENS: Final = 300
EVENTS: Final = 203
"""Events of one stream that carry data; OpenAI's closing [DONE] is not counted."""
BURSTS: Final = 10
"""A stream is written in so many pieces: a provider's events arrive in groups, not one by one."""

PROMPT: Final = (
    "Classify this log excerpt and say in three sentences what happened, what is at risk and what to do first.\n"
    "2026-11-20T08:14:03Z ERROR [orders-db-2] connection refused: 41 of 50 clients waiting for a connection\n"
    "2026-11-20T08:14:04Z WARN  [checkout] retry 3 of 5 after 800 ms, pool exhausted, 12 orders queued"
)
MESSAGES: Final = [{"role": "user", "content": PROMPT}]
BODY: Final[dict[str, object]] = {"model": MODEL, "messages": MESSAGES, "max_tokens": MAX_TOKENS}

REPLY_TEXT: Final = (
    "The database orders-db-2 refuses connections because its pool of 50 is exhausted: 41 clients were already waiting "
    "when the checkout service asked for its third retry. At risk are the 12 queued orders, which time out after five "
    "attempts, and every service that shares this pool, since waiting clients hold their own workers. First raise the "
    "pool or stop the report job that holds most of it, then check replication lag before sending traffic back; once "
    "the queue drains, look for the query that kept connections open, because the pool was last full nine days ago."
)
WORDS: Final = tuple(f" word{number:03d}" if number else "word000" for number in range(EVENTS - 3))
STREAM_TEXT: Final = "".join(WORDS)
CLAUDE_WORDS: Final = WORDS[: EVENTS - 5]
CLAUDE_STREAM_TEXT: Final = "".join(CLAUDE_WORDS)

OPENAI_HEADERS: Final = {
    "date": "Fri, 20 Nov 2026 08:14:05 GMT",
    "access-control-expose-headers": "X-Request-ID",
    "openai-organization": "org-loopback",
    "openai-processing-ms": "412",
    "openai-project": "proj_loopback",
    "openai-version": "2020-10-01",
    "x-envoy-upstream-service-time": "430",
    "x-ratelimit-limit-requests": "30000000",
    "x-ratelimit-limit-tokens": "150000000000",
    "x-ratelimit-remaining-requests": "29999999",
    "x-ratelimit-remaining-tokens": "149999999615",
    "x-ratelimit-reset-requests": "2ms",
    "x-ratelimit-reset-tokens": "0s",
    "x-request-id": "req_5f0d6c1c0f4b4d0f9c3f6f2f8f1f0e7a",
    "x-openai-proxy-wasm": "v0.1",
    "cf-cache-status": "DYNAMIC",
    "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
    "x-content-type-options": "nosniff",
    "server": "cloudflare",
    "cf-ray": "9a1b2c3d4e5f6a7b-AMS",
    "alt-svc": 'h3=":443"; ma=86400',
}
ANTHROPIC_HEADERS: Final = {
    "date": "Fri, 20 Nov 2026 08:14:05 GMT",
    "anthropic-ratelimit-requests-limit": "30000000",
    "anthropic-ratelimit-requests-remaining": "29999999",
    "anthropic-ratelimit-requests-reset": "2026-11-20T08:14:06Z",
    "anthropic-ratelimit-input-tokens-limit": "150000000000",
    "anthropic-ratelimit-input-tokens-remaining": "149999999000",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-20T08:14:06Z",
    "anthropic-ratelimit-output-tokens-limit": "30000000000",
    "anthropic-ratelimit-output-tokens-remaining": "29999999000",
    "anthropic-ratelimit-output-tokens-reset": "2026-11-20T08:14:06Z",
    "request-id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    "anthropic-organization-id": "8b1b2c3d-0000-4000-8000-9a1b2c3d4e5f",
    "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
    "cf-cache-status": "DYNAMIC",
    "server": "cloudflare",
    "cf-ray": "9a1b2c3d4e5f6a7b-AMS",
}


def openai_reply() -> bytes:
    """One chat completion of 1.5 KB, indented as OpenAI does."""
    usage = {
        "prompt_tokens": 112,
        "completion_tokens": 118,
        "total_tokens": 230,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    message: dict[str, object] = {"role": "assistant", "content": REPLY_TEXT, "refusal": None, "annotations": []}
    reply = {
        "id": "chatcmpl-CeXvW9pQkTZs0jU1y8H2n4L6b3R5d",
        "object": "chat.completion",
        "created": 1795162445,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": "fp_560af6e559",
    }
    return json.dumps(reply, indent=2).encode()


def anthropic_reply() -> bytes:
    """The same answer as a message of Anthropic's."""
    reply = claude_message(content=[{"type": "text", "text": REPLY_TEXT}], stop_reason="end_turn", output_tokens=118)
    return json.dumps(reply, separators=(",", ":")).encode()


def claude_message(*, content: list[dict[str, str]], stop_reason: str | None, output_tokens: int) -> dict[str, object]:
    """A message object: whole, or empty as a stream's first event carries it."""
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 112,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    }


def openai_events() -> list[bytes]:
    """Role, words, finish, usage and [DONE], one event each."""
    deltas: list[tuple[dict[str, object], str | None]] = [({"role": "assistant", "content": "", "refusal": None}, None)]
    deltas += [({"content": word}, None) for word in WORDS]
    deltas += [({}, "stop")]
    events = [
        openai_chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], None)
        for delta, finish in deltas
    ]
    events.append(openai_chunk([], {"prompt_tokens": 112, "completion_tokens": 200, "total_tokens": 312}))
    assert len(events) == EVENTS
    return [*events, b"data: [DONE]\n\n"]


def openai_chunk(choices: list[dict[str, object]], usage: dict[str, int] | None) -> bytes:
    """One event of about 320 bytes, with the padding that OpenAI adds against reading lengths off the wire."""
    chunk = {
        "id": "chatcmpl-CeXvW9pQkTZs0jU1y8H2n4L6b3R5d",
        "object": "chat.completion.chunk",
        "created": 1795162445,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_560af6e559",
        "choices": choices,
        "usage": usage,
        "obfuscation": "k3J9xQz1",
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def anthropic_events() -> list[bytes]:
    """Anthropic's six kinds of event, their names repeated in the data."""
    start = claude_message(content=[], stop_reason=None, output_tokens=1)
    block = {"type": "text", "text": ""}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in CLAUDE_WORDS
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": 198}},
        {"type": "message_stop"},
    ]
    assert len(events) == EVENTS
    return [
        f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode() for event in events
    ]


def whole(headers: dict[str, str], body: bytes) -> bytes:
    """An unstreamed answer, head and body."""
    own = {"content-type": "application/json", "content-length": str(len(body)), "connection": "keep-alive"}
    return head({**own, **headers}) + body


def bursts(headers: dict[str, str], events: list[bytes]) -> tuple[bytes, ...]:
    """A streamed answer in bursts: the head, then events as HTTP chunks of their own, as providers send them."""
    own = {
        "content-type": "text/event-stream; charset=utf-8",
        "transfer-encoding": "chunked",
        "connection": "keep-alive",
    }
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    size = -(-len(chunks) // BURSTS)
    pieces = [b"".join(chunks[start : start + size]) for start in range(0, len(chunks), size)]
    return (head({**own, **headers}) + pieces[0], *pieces[1:-1], pieces[-1] + b"0\r\n\r\n")


def head(headers: dict[str, str]) -> bytes:
    """A status line of 200 and headers."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()
