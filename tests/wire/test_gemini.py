"""Gemini's generateContent: what goes out, what comes back, whole and in any split, signatures, vectors and counts."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._wire import gemini, registry
from penstock._wire.protocol import Provider
from penstock.errors import (
    CallError,
    InvalidRequest,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    ServerFault,
    UnsupportedParameter,
)
from penstock.types import (
    Audio,
    Choice,
    Document,
    Image,
    JSONSchema,
    Message,
    Opaque,
    Part,
    Reasoning,
    Request,
    Secret,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)

from .streams import choices, data, error_of, read

GEMINI = Provider(
    name="gemini", wire="gemini", base_url="https://x.example", auth="x-goog-api-key", embeddings="gemini"
)
WEATHER = Tool(name="weather", description="now", parameters={"type": "object", "properties": {"city": {}}})
SIGNED = Opaque(kind="thought_signature", data={"thoughtSignature": "c2ln"})


def chunk(*parts: dict[str, Any], finish: Any = None, index: int | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish is not None:
        candidate["finishReason"] = finish
    if index is not None:
        candidate["index"] = index
    return {"candidates": [candidate | more.pop("candidate", {})], "modelVersion": "g-1", "responseId": "r-12", **more}


USED = {
    "promptTokenCount": 20,
    "cachedContentTokenCount": 8,
    "candidatesTokenCount": 9,
    "thoughtsTokenCount": 5,
    "toolUsePromptTokenCount": 3,
    "totalTokenCount": 37,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 14}, {"modality": "AUDIO", "tokenCount": 6}],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
}
PIECES = [
    chunk({"text": "h", "thought": True}, usageMetadata={"promptTokenCount": 20}),
    chunk({"text": "m", "thought": True}),
    chunk({"text": "Grüß "}),
    chunk({"text": "dich €"}),
    chunk({"functionCall": {"name": "weather", "args": {"city": "Köln"}}, "thoughtSignature": "c2ln"}),
    chunk({"functionCall": {"name": "clock", "id": "own-1"}}),
    chunk({"text": "", "thoughtSignature": "ZW5k"}, finish="STOP", usageMetadata=USED),
]
STREAM = b"".join(data(piece) for piece in PIECES)
WHOLE: tuple[Part, ...] = (
    Reasoning(text="hm"),
    Text("Grüß dich €"),
    ToolCall(
        id="call_gemini_r12_0_0", name="weather", arguments='{"city": "Köln"}', extra={"thoughtSignature": "c2ln"}
    ),
    ToolCall(id="own-1", name="clock", arguments="{}"),
    Opaque(kind="thought_signature", data={"thoughtSignature": "ZW5k"}),
)


def sent(request: Request, *, stream: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(gemini.encode(request, GEMINI, stream=stream).body)
    return body


def request(*messages: Message, model: str = "gemini-2.5-flash", **options: Any) -> Request:
    return Request(model=model, messages=messages or (Message("user", "hi"),), **options)


def written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def decoded(body: Any) -> Choice:
    (choice,) = gemini.decode(json.dumps(body).encode(), GEMINI).choices
    return choice


# -- streams


@pytest.mark.prove(13)
@given(size=st.integers(1, 400), line=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_split_gives_the_same_chunks(size: int, line: bytes) -> None:
    """Piece size and line ends change nothing."""
    assert read(STREAM.replace(b"\n", line), GEMINI, size)[0] == read(STREAM, GEMINI)[0]


def test_everything_of_a_stream_comes_out() -> None:
    """Thoughts, text, calls with and without an id, signatures where they were, and the stop."""
    _, decoder = read(STREAM, GEMINI)
    assert choices(STREAM, GEMINI) == (Choice(content=WHOLE, stop_reason="tool_calls", raw_stop_reason="STOP"),)
    assert (decoder.id, decoder.served_model, decoder.done, decoder.complete) == ("r-12", "g-1", False, True)


def test_a_whole_answer_and_a_list_of_chunks_say_the_same() -> None:
    """However it is framed."""
    parts = [part for piece in PIECES for part in piece["candidates"][0]["content"]["parts"]]
    whole = gemini.decode(written(chunk(*parts, finish="STOP", usageMetadata=USED)), GEMINI)
    listed = gemini.decode(written(PIECES), GEMINI)
    streamed = gemini.decode(STREAM, GEMINI)
    assert whole == listed == streamed
    assert choices(written(PIECES), GEMINI) == whole.choices


def test_counts_fall_into_disjoint_buckets() -> None:
    """Cached tokens and sound are in the prompt, thoughts beside the answer, and tools' results on top."""
    usage = read(STREAM, GEMINI)[1].usage
    assert usage == Usage(input=20 - 8 - 4 + 3, cache_read=8, audio_in=4, output=8, audio_out=1, reasoning=5)
    assert usage.total == USED["totalTokenCount"]


def test_a_prompt_that_was_not_counted_leaves_usage_open() -> None:
    """Half a count is none."""
    body = chunk({"text": "a"}, finish="STOP", usageMetadata={"candidatesTokenCount": 3})
    assert gemini.decode(json.dumps(body).encode(), GEMINI).usage is None


def test_a_stream_without_a_reason_to_end_was_cut() -> None:
    """Also one that came as a list."""
    cut = b"".join(data(piece) for piece in PIECES[:-1])
    assert isinstance(error_of(cut, GEMINI)[1], OutcomeUnknown)
    with pytest.raises(OutcomeUnknown):
        gemini.decode(json.dumps(PIECES[:-1]).encode(), GEMINI)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}, Overloaded),
        ({"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED"}, RateLimited),
        ({"code": 500, "message": "Internal error.", "status": "INTERNAL"}, ServerFault),
    ],
)
def test_an_error_in_the_midst_is_one(error: dict[str, Any], kind: type[Exception]) -> None:
    """After the chunks that came before it."""
    chunks, failed = error_of(data(PIECES[2]) + data({"error": error}), GEMINI)
    assert [piece.text for piece in chunks] == ["Grüß "]
    assert type(failed) is kind
    with pytest.raises(kind):
        gemini.decode(json.dumps([{"error": error}]).encode(), GEMINI)


def test_candidates_are_told_apart() -> None:
    """By their index, also where they come in turns."""
    pieces = [
        chunk({"text": "a"}, index=0),
        chunk({"text": "b"}, index=1),
        chunk({"text": "c"}, index=0, finish="STOP"),
        chunk(index=1, finish="MAX_TOKENS"),
    ]
    found = choices(b"".join(data(piece) for piece in pieces), GEMINI)
    assert [(choice.content, choice.stop_reason) for choice in found] == [
        ((Text("ac"),), "stop"),
        ((Text("b"),), "length"),
    ]


@given(st.binary(max_size=200), st.integers(0, 900))
def test_nothing_but_call_errors_is_raised(noise: bytes, at: int) -> None:
    """Whatever a server sends."""
    body = STREAM[:at] + noise + STREAM[at:]
    for reading in (lambda: choices(body, GEMINI), lambda: gemini.decode(body, GEMINI)):
        with contextlib.suppress(CallError):
            reading()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    field=st.sampled_from(["candidates", "usageMetadata", "promptFeedback", "responseId", "parts", "functionCall"]),
    value=JSON,
)
def test_misshapen_fields_raise_nothing_but_call_errors(field: str, value: Any) -> None:
    """One field at a time."""
    body = chunk({"text": "a"}, finish="STOP")
    if field == "parts":
        body["candidates"][0]["content"]["parts"] = value
    elif field == "functionCall":
        body["candidates"][0]["content"]["parts"] = [{"functionCall": value}]
    else:
        body[field] = value
    with contextlib.suppress(CallError):
        gemini.decode(json.dumps(body).encode(), GEMINI)


# -- whole answers


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("STOP", "stop"),
        (1, "stop"),
        ("MAX_TOKENS", "length"),
        (2, "length"),
        *((word, "content_filter") for word in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")),
        *((word, "content_filter") for word in ("IMAGE_SAFETY", "LANGUAGE", "MODEL_ARMOR", 3)),
        *((word, "tool_error") for word in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", 9)),
        ("OTHER", "error"),
        ("CONTINUATION", "paused"),
        ("BRAND_NEW", "other"),
        ("FINISH_REASON_UNSPECIFIED", "unknown"),
        (None, "unknown"),
    ],
)
def test_stop_reasons(reason: Any, stop: str) -> None:
    """In our words, also where enums came as numbers."""
    assert decoded(chunk({"text": "a"}, finish=reason)).stop_reason == stop


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    """With the reason, whole and streamed."""
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    expected = Choice(stop_reason="content_filter", raw_stop_reason="SAFETY")
    reply = gemini.decode(json.dumps(body).encode(), GEMINI)
    assert (reply.choices, reply.usage) == ((expected,), Usage(input=4))
    assert choices(data(body), GEMINI) == (expected,)


def test_pictures_sound_code_and_sources_are_kept() -> None:
    """What has a type here by its type, the rest as it came."""
    code = {"executableCode": {"language": "PYTHON", "code": "1+1"}}
    choice = decoded(
        chunk(
            code,
            {"inlineData": {"mimeType": "image/png", "data": "QQ=="}},
            {"inlineData": {"mimeType": "audio/wav", "data": "QQ=="}},
            {"text": "2"},
            finish="STOP",
            candidate={"groundingMetadata": {"webSearchQueries": ["x"]}, "logprobsResult": {"chosen": 1}},
        )
    )
    assert choice.content == (
        Opaque(kind="gemini_part", data=code),
        Image(data="QQ==", media_type="image/png"),
        Audio(data="QQ==", format="wav"),
        Text("2"),
        Opaque(kind="grounding_metadata", data={"groundingMetadata": {"webSearchQueries": ["x"]}}),
    )
    assert choice.logprobs == {"chosen": 1}
    again = sent(request(Message("user", "x"), Message("assistant", choice.content)))["contents"][1]["parts"]
    assert again == [
        code,
        {"inlineData": {"mimeType": "image/png", "data": "QQ=="}},
        {"inlineData": {"mimeType": "audio/wav", "data": "QQ=="}},
        {"text": "2"},
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ServerFault),
        (b"<html>busy</html>", ServerFault),
        (b"{}", ServerFault),
        (b"[]", ServerFault),
        (b'{"usageMetadata": {"promptTokenCount": 3}}', ServerFault),
        (b'{"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}', Overloaded),
    ],
)
def test_what_is_no_answer_is_an_error(body: bytes, kind: type[Exception]) -> None:
    """Also inside a 200."""
    with pytest.raises(kind):
        gemini.decode(body, GEMINI)


# -- requests


def test_a_conversation_goes_out_in_gemini_words() -> None:
    """And an answer goes back as it came, its signatures where they were."""
    results = (
        ToolResult(tool_call_id="call_gemini_r12_0_0", content='{"sky": "sunny"}'),
        ToolResult(tool_call_id="own-1", content="no clock", is_error=True),
    )
    body = sent(
        request(
            Message("system", "be brief"),
            Message("user", "what?"),
            Message("user", (Image(url="https://x.example/a.png"), Document(data="QQ==", title="t"))),
            Message("assistant", WHOLE),
            Message("tool", results[:1]),
            Message("tool", results[1:]),
            tools=(WEATHER,),
        )
    )
    assert body["systemInstruction"] == {"parts": [{"text": "be brief"}]}
    assert body["contents"] == [
        {
            "role": "user",
            "parts": [
                {"text": "what?"},
                {"fileData": {"fileUri": "https://x.example/a.png", "mimeType": "image/png"}},
                {"inlineData": {"mimeType": "application/pdf", "data": "QQ=="}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "Grüß dich €"},
                {"functionCall": {"name": "weather", "args": {"city": "Köln"}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "clock", "args": {}, "id": "own-1"}},
                {"text": "", "thoughtSignature": "ZW5k"},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"output": {"sky": "sunny"}}}},
                {"functionResponse": {"name": "clock", "response": {"error": "no clock"}, "id": "own-1"}},
            ],
        },
    ]


def test_signatures_stay_with_their_parts() -> None:
    """On text, and on a thought, which goes back only where it is signed."""
    told = (Reasoning(text="hm"), SIGNED, Text("a"), SIGNED, Reasoning(text="not signed"))
    parts = sent(request(Message("user", "x"), Message("assistant", told)))["contents"][1]["parts"]
    assert parts == [
        {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "a", "thoughtSignature": "c2ln"},
    ]


def test_calls_of_others_are_marked_where_signatures_are_wanted() -> None:
    """The first of a turn, for Gemini 3 and newer."""
    calls = (ToolCall(id="a", name="weather"), ToolCall(id="b", name="weather"))
    answered = tuple(ToolResult(tool_call_id=each.id, content="x") for each in calls)
    messages = (Message("user", "x"), Message("assistant", calls), Message("tool", answered))

    def signatures(model: str) -> list[str | None]:
        parts = sent(request(*messages, model=model))["contents"][1]["parts"]
        return [part.get("thoughtSignature") for part in parts]

    assert signatures("gemini-3-pro-preview") == ["skip_thought_signature_validator", None]
    assert signatures("gemini-2.5-pro") == [None, None]


def test_a_result_needs_its_call() -> None:
    """The protocol wants the function's name, which only the call has."""
    with pytest.raises(InvalidRequest, match="no tool call 'x' before its result"):
        sent(request(Message("tool", (ToolResult(tool_call_id="x", content="a"),))))
    with pytest.raises(InvalidRequest, match="are no JSON object"):
        sent(request(Message("assistant", (ToolCall(id="x", name="a", arguments="[1"),))))


def test_parameters_have_their_names() -> None:
    """Common ones by ours, the rest through extra, which is merged in."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body = sent(
        request(
            max_tokens=9,
            temperature=0.1,
            top_p=0.5,
            top_k=3,
            seed=1,
            n=2,
            logprobs=True,
            top_logprobs=4,
            stop=("x",),
            modalities=("text",),
            response_format=JSONSchema(schema=schema),
            service_tier="flex",
            tools=(Tool(name="googleSearch", native={"googleSearch": {}}),),
            model="gemini-3-flash-preview",
            extra={
                "generationConfig": {"topK": 4, "mediaResolution": "MEDIA_RESOLUTION_LOW"},
                "tools": [{"urlContext": {}}],
                "cachedContent": "cachedContents/x",
            },
        )
    )
    assert body["generationConfig"] == {
        "maxOutputTokens": 9,
        "temperature": 0.1,
        "topP": 0.5,
        "topK": 4,
        "seed": 1,
        "candidateCount": 2,
        "responseLogprobs": True,
        "logprobs": 4,
        "stopSequences": ["x"],
        "responseModalities": ["TEXT"],
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    }
    assert body["tools"] == [{"googleSearch": {}}, {"urlContext": {}}]
    assert (body["serviceTier"], body["cachedContent"]) == ("flex", "cachedContents/x")


@pytest.mark.parametrize(
    ("model", "options", "config"),
    [
        ("gemini-2.5-flash", {"thinking": Thinking()}, {"thinkingBudget": -1, "includeThoughts": True}),
        (
            "gemini-2.5-flash",
            {"thinking": Thinking(mode="enabled", budget_tokens=2000, display="omitted")},
            {"thinkingBudget": 2000, "includeThoughts": False},
        ),
        ("gemini-2.5-flash", {"thinking": Thinking(mode="disabled")}, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", {"reasoning_effort": "none"}, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", {"reasoning_effort": "high"}, {"thinkingBudget": 24_576}),
        ("gemini-3-pro-preview", {"reasoning_effort": "high"}, {"thinkingLevel": "HIGH"}),
        ("gemini-3-pro-preview", {"reasoning_effort": "xhigh"}, {"thinkingLevel": "XHIGH"}),
    ],
)
def test_thinking_is_a_budget_or_a_level(model: str, options: dict[str, Any], config: dict[str, Any]) -> None:
    """As the model knows it."""
    assert sent(request(model=model, **options))["generationConfig"] == {"thinkingConfig": config}


@pytest.mark.parametrize(
    ("choice", "strict", "config"),
    [
        ("auto", None, {"mode": "AUTO"}),
        ("none", None, {"mode": "NONE"}),
        ("required", None, {"mode": "ANY"}),
        ("weather", None, {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
        ("auto", True, {"mode": "VALIDATED"}),
        (None, True, {"mode": "VALIDATED"}),
    ],
)
def test_tools_are_chosen(choice: str | None, strict: bool | None, config: dict[str, Any]) -> None:
    """And described by a JSON Schema."""
    tool = Tool(name="weather", description="now", parameters=WEATHER.parameters, strict=strict)
    body = sent(request(tools=(tool, Tool(name="clock")), tool_choice=choice))
    assert body["toolConfig"] == {"functionCallingConfig": config}
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "now", "parametersJsonSchema": WEATHER.parameters},
                {"name": "clock"},
            ]
        }
    ]


STREAMED_ARGUMENTS = {"toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}}}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"logit_bias": {"1": 1.0}}, "logit_bias"),
        ({"user": "me"}, "user"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"prompt_cache": "5m"}, "prompt_cache"),
        ({"thinking": Thinking(mode="between_tools")}, "thinking"),
        ({"reasoning_effort": "xhigh"}, "reasoning_effort"),
        ({"model": "gemini-3-pro-preview", "reasoning_effort": "max"}, "reasoning_effort"),
        ({"extra": STREAMED_ARGUMENTS}, "extra.toolConfig"),
        ({"tools": (WEATHER,), "response_format": "json"}, "response_format"),
        ({"messages": (Message("user", "x", name="me"),)}, "messages.name"),
        ({"messages": (Message("user", (Text("x", cache="5m"),)),)}, "cache"),
        ({"messages": (Message("user", (Image(url="x", detail="low"),)),)}, "image.detail"),
        ({"messages": (Message("user", (Document(data="x", citations=True),)),)}, "document.citations"),
        ({"messages": (Message("system", (Image(url="x"),)),)}, "messages (system)"),
        ({"messages": (Message("user", (Opaque(kind="server_tool_use", data={}),)),)}, "messages (server_tool_use)"),
        (
            {"messages": (Message("assistant", (ToolCall(id="a", name="b", kind="custom"),)),)},
            "messages (custom tool call)",
        ),
    ],
)
def test_what_cannot_be_said_is_refused(options: dict[str, Any], name: str) -> None:
    """Naming the parameter."""
    fields: dict[str, Any] = {"model": "gemini-2.5-flash", "messages": (Message("user", "hi"),), **options}
    with pytest.raises(UnsupportedParameter) as caught:
        gemini.encode(Request(**fields), GEMINI, stream=False)
    assert caught.value.param == name


def test_paths_name_the_model_and_the_method() -> None:
    """Of the Gemini API, of a tuned model, and of a row of one's own such as Vertex AI."""

    def path(provider: Provider = GEMINI, model: str = "gemini-2.5-flash", *, stream: bool = False) -> str:
        return gemini.encode(request(model=model), provider, stream=stream).path

    assert path() == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert path(stream=True) == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert path(model="models/gemini-2.5-flash") == path()
    assert path(model="tunedModels/mine") == "/v1beta/tunedModels/mine:generateContent"
    vertex = Provider(
        name="vertex",
        wire="gemini",
        path="/v1/projects/p/locations/global/publishers/google/models/{model}:{method}",
        query="quotaUser=x",
    )
    assert path(vertex, stream=True) == (
        "/v1/projects/p/locations/global/publishers/google/models/gemini-2.5-flash:streamGenerateContent"
        "?quotaUser=x&alt=sse"
    )


def test_the_key_is_in_a_header() -> None:
    """Never in the path."""
    assert gemini.auth_headers(GEMINI, Secret("k-1"))["x-goog-api-key"] == "k-1"


@pytest.mark.parametrize(
    "provider",
    [
        Provider(name="openai", wire="openai_chat"),
        Provider(name="anthropic", wire="anthropic"),
        Provider(name="openai-responses", wire="openai_responses"),
        Provider(name="cohere", wire="cohere"),
    ],
    ids=lambda provider: provider.wire,
)
def test_an_answer_of_gemini_goes_to_others_without_its_marks(provider: Provider) -> None:
    """Signatures and sources are left out; a part that only Gemini knows is refused."""
    sources = Opaque(kind="grounding_metadata", data={"groundingMetadata": {"secret": 1}})
    cited = Opaque(kind="cohere_citations", data={"citations": [{"text": "secret"}]})
    result = Message("tool", (ToolResult(tool_call_id="own-1", content="x"),))
    calls = (Text("a"), WHOLE[3], Opaque(kind="thought_signature", data={"thoughtSignature": "secret"}), sources)
    calls = (*calls, *(() if provider.wire == "cohere" else (cited,)))
    signed = ToolCall(id="own-1", name="clock", extra={"thoughtSignature": "secret"})
    for parts in (calls, (signed,)):
        asked = Request(model="m", messages=(Message("user", "x"), Message("assistant", parts), result))
        assert b"secret" not in registry.wire(provider.wire).encode(asked, provider, stream=False).body
    asked = Request(model="m", messages=(Message("assistant", (Opaque(kind="gemini_part", data={"a": 1}),)),))
    with pytest.raises(UnsupportedParameter):
        registry.wire(provider.wire).encode(asked, provider, stream=False)
