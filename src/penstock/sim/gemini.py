"""Gemini's API as its server speaks it: what generateContent, countTokens and embeddings refuse, and how they count.

Source: google-genai SDK 3.6 types and models.py; error wordings as recorded and as public issues quote them (2026-12).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.sim import strictness, tokens
from penstock.sim.answers import Ask, Tool, Turn
from penstock.sim.config import Model
from penstock.sim.plan import Reject

_encode = msgspec.json.encode

PATH = re.compile(r"/models/(?P<model>[^/:]+):(?P<method>\w+)$")
METHODS = ("generateContent", "streamGenerateContent", "countTokens", "batchEmbedContents", "embedContent")
TEXTS_MOST, STOPS_MOST = 100, 5
_BODY = {
    "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent",
    "serviceTier", "store", "model",
}  # fmt: skip
_CONFIG = {
    "maxOutputTokens", "temperature", "topP", "topK", "seed", "candidateCount", "frequencyPenalty", "presencePenalty",
    "responseLogprobs", "logprobs", "stopSequences", "responseMimeType", "responseSchema", "responseJsonSchema",
    "responseModalities", "thinkingConfig", "speechConfig", "mediaResolution", "imageConfig",
}  # fmt: skip
_PART = {
    "text", "thought", "thoughtSignature", "inlineData", "fileData", "functionCall", "functionResponse",
    "executableCode", "codeExecutionResult", "videoMetadata", "mediaResolution", "partMetadata",
}  # fmt: skip
_USERS = frozenset({"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"})
_MODES = {"AUTO": "auto", "VALIDATED": "auto", "ANY": "required", "NONE": "none", "MODE_UNSPECIFIED": "auto"}
_LEVELS = {"MINIMAL": 8, "LOW": 32, "MEDIUM": 96, "HIGH": 192, "XHIGH": 384}
_THINKING = 96
_IMAGE_TOKENS = 258
SIGNED = re.compile(r"^gemini-[3-9]")
"""Models that want the signatures of their calls back."""
UNSIGNED = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})


@dataclass(frozen=True, slots=True)
class GenerateAsk:
    """A checked request: the neutral question, its size, and whether thoughts are shown."""

    ask: Ask
    prompt_tokens: int
    prompt_text: str
    show_thoughts: bool
    signs: bool


@dataclass(frozen=True, slots=True)
class EmbedAsk:
    """A checked request for vectors."""

    texts: tuple[str, ...]
    dimensions: int
    whole: int
    prompt_tokens: int


def camel(value: Any) -> Any:
    """A body with its names in camel case, as the server takes them in either; what users named stays as it is."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"_([a-z])", lambda found: found[1].upper(), key): each for key, each in value.items()}
    return {key: each if key in _USERS else camel(each) for key, each in named.items()}


def _bad(message: str) -> Reject:
    return Reject(400, message)


def _known(value: object, names: set[str], place: str) -> None:
    for key in value if isinstance(value, dict) else ():
        if key not in names:
            where = f" at '{place}'" if place else ""
            raise _bad(f'Invalid JSON payload received. Unknown name "{key}"{where}: Cannot find field.')


def no_such_model(name: str, method: str) -> Reject:
    """The 404 for a model this server does not have."""
    return Reject(
        404,
        f"models/{name} is not found for API version v1beta, or is not supported for {method}. Call "
        "ModelService.ListModels to see the list of available models and their supported methods.",
    )


def check(body: Mapping[str, Any], name: str, model: Model, method: str) -> GenerateAsk:
    """Check a request body as the real server does and read the question out of it.

    Raises: Reject with the status and message that Google answers.
    """
    if model.dimensions:
        raise no_such_model(name, method)
    _known(body, _BODY, "")
    config = body.get("generationConfig") or {}
    _known(config, _CONFIG, "generation_config")
    _check_numbers(config, model)
    signs = SIGNED.match(name) is not None
    turns, size = _turns(body.get("contents"), signs=signs)
    system = " ".join(part.get("text", "") for part in (body.get("systemInstruction") or {}).get("parts") or ())
    tools, choice = _tools(body)
    schema, json_mode = _format(config, tools, name)
    budget, shown = _thinking(config.get("thinkingConfig") or {}, model, name)
    size += tokens.count(system) + (tokens.count(_encode(body["tools"]).decode()) if body.get("tools") else 0)
    size += tokens.count(_encode(schema).decode()) if schema is not None else 0
    if size > model.window:
        raise _bad(f"The input token count ({size}) exceeds the maximum number of tokens allowed ({model.window}).")
    ask = Ask(
        model=name,
        system=system,
        turns=turns,
        max_tokens=config.get("maxOutputTokens") or model.max_output,
        tools=tools,
        tool_choice=choice,
        schema=schema,
        json_mode=json_mode,
        stop=tuple(config.get("stopSequences") or ()),
        n=config.get("candidateCount") or 1,
        seed=config.get("seed") or 0,
        reasoning_tokens=budget,
        stream=method == "streamGenerateContent",
    )
    text = "\n".join([system, *(turn.text for turn in turns)])
    return GenerateAsk(ask, size, text, shown, signs)


def _check_numbers(config: Mapping[str, Any], model: Model) -> None:
    temperature = config.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        raise _bad(
            f"* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0]; got "
            f"{temperature}\n"
        )
    limit = config.get("maxOutputTokens")
    if limit is not None and not 0 < limit <= model.max_output:
        raise _bad(
            f"Unable to submit request because it has a maxOutputTokens value of {limit} but the supported range is "
            f"from 1 (inclusive) to {model.max_output + 1} (exclusive). Update the value and try again."
        )
    if len(config.get("stopSequences") or ()) > STOPS_MOST:
        raise _bad(f"* GenerateContentRequest.generation_config.stop_sequences: at most {STOPS_MOST} are allowed\n")
    if not 1 <= (config.get("candidateCount") or 1) <= 8:
        raise _bad("* GenerateContentRequest.generation_config.candidate_count: must be in the range [1, 8]\n")


def _turns(contents: object, *, signs: bool) -> tuple[tuple[Turn, ...], int]:
    if not isinstance(contents, list) or not contents:
        raise _bad("* GenerateContentRequest.contents: contents is not specified\n")
    turns: list[Turn] = []
    size, open_calls = 0, 0
    for at, content in enumerate(contents):
        role = content.get("role") or "user"
        if role not in ("user", "model"):
            raise _bad("Please use a valid role: user, model.")
        parts = content.get("parts")
        if not parts:
            raise _bad(f"* GenerateContentRequest.contents[{at}].parts: contents.parts must not be empty.\n")
        turn, calls, answered, counted = _parts(parts, role, f"contents[{at}]", signs=signs)
        if answered != open_calls and (answered or open_calls):
            raise _bad(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        open_calls = calls
        turns.append(turn)
        size += counted
    return tuple(turns), size


def _parts(parts: Iterable[Any], role: str, place: str, *, signs: bool) -> tuple[Turn, int, int, int]:
    texts: list[str] = []
    results: list[tuple[str, str]] = []
    size = calls = 0
    for at, part in enumerate(parts):
        _known(part, _PART, f"{place}.parts[{at}]")
        if "inlineData" in part:
            _check_data(part["inlineData"], f"{place}.parts[{at}].inline_data")
            size += _IMAGE_TOKENS
        elif "fileData" in part:
            if not part["fileData"].get("fileUri"):
                raise _bad(f"* GenerateContentRequest.{place}.parts[{at}].file_data.file_uri: cannot be empty\n")
            size += _IMAGE_TOKENS
        elif "functionCall" in part:
            if signs and calls == 0 and not _is_signature(part.get("thoughtSignature")):
                raise _bad(
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                    "work correctly, and missing thought_signature may lead to degraded model performance."
                )
            calls += 1
            size += tokens.count(_encode(part["functionCall"]).decode())
        elif "functionResponse" in part:
            response = part["functionResponse"]
            if not response.get("name") or not isinstance(response.get("response"), dict):
                raise _bad(f"* GenerateContentRequest.{place}.parts[{at}].function_response: name cannot be empty\n")
            text = _encode(response["response"]).decode()
            results.append((response["name"], text))
            size += tokens.count(text)
        elif not part.get("thought"):
            texts.append(str(part.get("text", "")))
    text = "\n".join(texts)
    turn = Turn("assistant" if role == "model" else "user", text, tuple(results))
    return turn, calls, len(results), size + tokens.count(text)


def _is_signature(value: object) -> bool:
    """Whether a signature is one of this server, or the mark for calls that it did not make."""
    if not isinstance(value, str):
        return False
    try:
        plain = value.replace("-", "+").replace("_", "/")  # both alphabets are taken, padded or not
        return value in UNSIGNED or base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).startswith(b"sim:")
    except binascii.Error:
        return False


def _check_data(blob: Mapping[str, Any], place: str) -> None:
    try:
        base64.b64decode(blob.get("data") or "", validate=True)
    except (binascii.Error, ValueError):
        raise _bad(f"Invalid value at '{place}.data' (TYPE_BYTES), Base64 decoding failed") from None
    if not re.fullmatch(r"\w+/[\w.+-]+", str(blob.get("mimeType") or "")):
        raise _bad(f"Unsupported MIME type: {blob.get('mimeType')}")


def _tools(body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], str]:
    tools: list[Tool] = []
    for tool in body.get("tools") or ():
        for function in tool.get("functionDeclarations") or ():
            name = function.get("name")
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][\w.:-]{0,63}", name):
                raise _bad(f"Invalid function name: {name}. Must start with a letter or an underscore.")
            schema = function.get("parametersJsonSchema") or function.get("parameters") or {"type": "object"}
            tools.append(Tool(name, _lower(schema), str(function.get("description") or "")))
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = calling.get("mode") or "AUTO"
    if mode not in _MODES:
        raise _bad(f"Invalid value at 'tool_config.function_calling_config.mode', \"{mode}\"")
    allowed: Sequence[str] = calling.get("allowedFunctionNames") or ()
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise _bad("Allowed function names should only be set when the function calling mode is ANY.")
    if any(name not in {tool.name for tool in tools} for name in allowed):
        raise _bad(f"Allowed function names must be of the declared ones, got {', '.join(allowed)}.")
    if mode == "ANY" and not tools:
        raise _bad("Function calling mode is ANY and no function declaration was given.")
    chosen = tuple(tool for tool in tools if not allowed or tool.name in allowed)
    return chosen, allowed[0] if len(allowed) == 1 and mode == "ANY" else _MODES[mode]


def _lower(schema: Any) -> Any:
    """Read a schema of the OpenAPI kind, whose types are in capitals, as JSON Schema."""
    if isinstance(schema, list):
        return [_lower(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value.lower() if key == "type" and isinstance(value, str) else _lower(value)
        for key, value in schema.items()
    }


def _format(config: Mapping[str, Any], tools: tuple[Tool, ...], name: str) -> tuple[Mapping[str, Any] | None, bool]:
    mime = config.get("responseMimeType") or "text/plain"
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if mime == "text/plain":
        if schema is not None:
            raise _bad("Response schema is only supported with response mime type: 'application/json'.")
        return None, False
    if mime != "application/json":
        raise _bad(f"* GenerateContentRequest.generation_config.response_mime_type: unsupported: {mime}\n")
    if tools and not SIGNED.match(name):
        raise _bad("Function calling with a response mime type: 'application/json' is unsupported")
    wrong = None if schema is None else strictness.gemini(_lower(schema))
    if wrong is not None:
        raise _bad(f"* GenerateContentRequest.generation_config.response_schema: {wrong}\n")
    return None if schema is None else _lower(schema), schema is None


def _thinking(config: Mapping[str, Any], model: Model, name: str) -> tuple[int, bool]:
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    if budget is not None and level is not None:
        raise _bad("You can only set only one of thinking budget and thinking level.")
    if (budget or level) and not model.reasoning:
        raise _bad("Unable to submit request because thinking is not supported by this model.")
    if level is not None and not SIGNED.match(name):
        raise _bad("Thinking level is not supported for this model.")
    if level is not None and level.upper() not in _LEVELS:
        raise _bad(f"Invalid value at 'generation_config.thinking_config.thinking_level', \"{level}\"")
    if not model.reasoning:
        return 0, False
    wanted = _LEVELS[level.upper()] if level else _THINKING if budget in (None, -1) else min(budget, _THINKING)
    return wanted, config.get("includeThoughts") is True


def check_embed(body: Mapping[str, Any], name: str, model: Model, poison: str, method: str) -> EmbedAsk:
    """Check a request for vectors, one or many.

    Raises: Reject with the status and message that Google answers.
    """
    if not model.dimensions:
        raise no_such_model(name, method)
    asked = body.get("requests") if method == "batchEmbedContents" else [body]
    if not isinstance(asked, list) or not asked:
        raise _bad("* BatchEmbedContentsRequest.requests: requests is not specified\n")
    if len(asked) > TEXTS_MOST:
        raise _bad(f"* BatchEmbedContentsRequest.requests: at most {TEXTS_MOST} requests can be in one batch\n")
    texts, sizes = [], set()
    for each in asked:
        _known(each, {"model", "content", "taskType", "title", "outputDimensionality"}, "requests")
        if method == "batchEmbedContents" and str(each.get("model")).removeprefix("models/") != name:
            raise _bad("* BatchEmbedContentsRequest.model: model must match the model in the request path\n")
        texts.append("".join(str(part.get("text", "")) for part in (each.get("content") or {}).get("parts") or ()))
        sizes.add(each.get("outputDimensionality") or model.dimensions)
    if not all(texts) or (poison and any(poison in text for text in texts)):
        raise _bad("* EmbedContentRequest.content: contains an empty Part.\n")
    counts = [tokens.count(text) for text in texts]
    if max(counts) > model.window:
        raise _bad(
            f"The input token count ({max(counts)}) exceeds the maximum number of tokens allowed ({model.window})."
        )
    dimensions = sizes.pop()
    if sizes or not 1 <= dimensions <= model.dimensions:
        raise _bad("* EmbedContentRequest.output_dimensionality: out of range\n")
    return EmbedAsk(tuple(texts), dimensions, model.dimensions, sum(counts))
