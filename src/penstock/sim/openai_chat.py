"""OpenAI Chat Completions as its server speaks it: what it refuses and how it counts.

Source: OpenAI API reference and openai-python 3.52 types; error wordings as quoted in public issues, 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.sim import strictness, tokens
from penstock.sim.answers import Ask, Tool, Turn
from penstock.sim.config import Model
from penstock.sim.openai_fields import EFFORT, NUMBER, bad, check_fields, check_name, type_name
from penstock.sim.plan import Reject

_encode = msgspec.json.encode

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "messages": ((list,), "an array of objects"),
    "model": ((str,), "a string"),
    "max_tokens": ((int,), "an integer"),
    "max_completion_tokens": ((int,), "an integer"),
    "temperature": (NUMBER, "a decimal"),
    "top_p": (NUMBER, "a decimal"),
    "frequency_penalty": (NUMBER, "a decimal"),
    "presence_penalty": (NUMBER, "a decimal"),
    "n": ((int,), "an integer"),
    "seed": ((int,), "an integer"),
    "stop": ((str, list), "a string or an array of strings"),
    "stream": ((bool,), "a boolean"),
    "stream_options": ((dict,), "an object"),
    "tools": ((list,), "an array of objects"),
    "tool_choice": ((str, dict), "a string or an object"),
    "parallel_tool_calls": ((bool,), "a boolean"),
    "response_format": ((dict,), "an object"),
    "logprobs": ((bool,), "a boolean"),
    "top_logprobs": ((int,), "an integer"),
    "logit_bias": ((dict,), "an object"),
    "user": ((str,), "a string"),
    "safety_identifier": ((str,), "a string"),
    "metadata": ((dict,), "an object"),
    "store": ((bool,), "a boolean"),
    "reasoning_effort": ((str,), "a string"),
    "verbosity": ((str,), "a string"),
    "service_tier": ((str,), "a string"),
}
_UNCHECKED = {
    "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "prediction", "audio", "modalities",
    "moderation", "web_search_options", "functions", "function_call",
}  # fmt: skip
_RANGES: dict[str, tuple[int, int | None]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "n": (1, 128),
    "top_logprobs": (0, 20),
    "max_tokens": (1, None),
    "max_completion_tokens": (1, None),
}
_SOLO_ONLY: dict[str, object] = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
}
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_IMAGE_TOKENS = 85


@dataclass(frozen=True, slots=True)
class ChatAsk:
    """A checked request: the neutral question, its size, and how the answer is to be written."""

    ask: Ask
    prompt_tokens: int
    prompt_text: str
    charge: int
    include_usage: bool
    forced_function: bool
    logprobs: bool


def model_name(body: Mapping[str, Any]) -> str:
    """The model a request asks for.

    Raises: Reject 400 when it names none.
    """
    name = body.get("model")
    if name is None or name == "":
        raise Reject(400, "you must provide a model parameter")
    if not isinstance(name, str):
        raise bad(
            f"Invalid type for 'model': expected a string, but got {type_name(name)} instead.", "model", "invalid_type"
        )
    return name


def no_such_model(name: str) -> Reject:
    """The 404 for a model this server does not have."""
    return Reject(404, f"The model `{name}` does not exist or you do not have access to it.", code="model_not_found")


def check(body: Mapping[str, Any], name: str, model: Model) -> ChatAsk:
    """Check a request body as the real server does and read the question out of it.

    Raises: Reject with the status, code and param that OpenAI answers.
    """
    if model.dimensions:
        raise Reject(404, "This is not a chat model and thus not supported in the v1/chat/completions endpoint.")
    _check_types(body)
    _check_capabilities(body, name, model)
    messages = body["messages"]
    turns, texts, images = _turns(messages)
    tools, choice = _tools(body)
    schema, json_mode = _format(body.get("response_format"), messages)
    prompt_text = "\n".join(texts)
    extra = _encode(body["tools"]).decode() if body.get("tools") else ""
    extra += _encode(schema).decode() if schema is not None else ""
    prompt_tokens = tokens.count(prompt_text) + tokens.count(extra) + 3 * len(messages) + 3 + images * _IMAGE_TOKENS
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    if prompt_tokens + (asked or 0) > model.window:
        split = f" ({prompt_tokens} in the messages, {asked} in the completion)" if asked else ""
        raise bad(
            f"This model's maximum context length is {model.window} tokens. However, "
            + (
                f"you requested {prompt_tokens + asked} tokens{split}."
                if asked
                else f"your messages resulted in {prompt_tokens} tokens."
            )
            + " Please reduce the length of the messages.",
            "messages",
            "context_length_exceeded",
        )
    if asked is not None and asked > model.max_output:
        key = "max_completion_tokens" if body.get("max_completion_tokens") else "max_tokens"
        raise bad(
            f"{key} is too large: {asked}. This model supports at most {model.max_output} completion tokens, "
            f"whereas you provided {asked}.",
            key,
        )
    stop = body.get("stop") or ()
    ask = Ask(
        model=name,
        system="\n".join(t.text for t in turns if t.role in ("system", "developer")),
        turns=turns,
        max_tokens=asked or model.max_output,
        tools=tools,
        tool_choice=choice,
        parallel=body.get("parallel_tool_calls") is not False,
        schema=schema,
        json_mode=json_mode,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        n=body.get("n") or 1,
        seed=body.get("seed") or 0,
        reasoning_tokens=EFFORT[body.get("reasoning_effort") or "medium"] if model.reasoning else 0,
        stream=body.get("stream") is True,
    )
    return ChatAsk(
        ask=ask,
        prompt_tokens=prompt_tokens,
        prompt_text=prompt_text,
        charge=max(asked or 0, tokens.estimate(len(prompt_text) + len(extra))),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        forced_function=choice not in ("auto", "none", "required"),
        logprobs=body.get("logprobs") is True,
    )


def _check_types(body: Mapping[str, Any]) -> None:
    check_fields(body, _TYPES, _UNCHECKED, _RANGES, required=("messages", "model"))
    if "messages" not in body:
        raise bad("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not body["messages"]:
        raise bad(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
            "empty_array",
        )
    if isinstance(body.get("stop"), list) and len(body["stop"]) > 4:
        raise bad(
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with "
            f"length {len(body['stop'])} instead.",
            "stop",
            "array_above_max_length",
        )
    if body.get("stream_options") is not None and body.get("stream") is not True:
        raise bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options", None)
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise bad("The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs", None)


def _check_capabilities(body: Mapping[str, Any], name: str, model: Model) -> None:
    effort = body.get("reasoning_effort")
    if effort is not None and effort not in EFFORT:
        raise bad(
            f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model. Supported "
            f"values are: {', '.join(repr(e) for e in EFFORT)}.",
            "reasoning_effort",
            "unsupported_value",
        )
    if not model.reasoning:
        if effort is not None:
            raise bad(
                f"Unrecognized request argument supplied: reasoning_effort ({name} does not reason)",
                "reasoning_effort",
                "unsupported_parameter",
            )
        return
    if body.get("max_tokens") is not None:
        raise bad(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    for key, only in _SOLO_ONLY.items():
        if body.get(key) is not None and body[key] != only:
            raise bad(
                f"Unsupported value: '{key}' does not support {body[key]} with this model. Only the default "
                f"({only}) value is supported.",
                key,
                "unsupported_value",
            )
    if body.get("stop") is not None:
        raise bad("Unsupported parameter: 'stop' is not supported with this model.", "stop", "unsupported_parameter")


def _turns(messages: Sequence[Any]) -> tuple[tuple[Turn, ...], list[str], int]:
    turns: list[Turn] = []
    texts: list[str] = []
    images = 0
    open_calls: dict[str, str] = {}
    for at, message in enumerate(messages):
        place = f"messages[{at}]"
        if not isinstance(message, dict):
            raise bad(
                f"Invalid type for '{place}': expected an object, but got {type_name(message)} instead.",
                place,
                "invalid_type",
            )
        role = message.get("role")
        if role not in _ROLES:
            raise bad(
                f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', "
                f"'tool', and 'developer'.",
                f"{place}.role",
            )
        if role != "tool" and open_calls:
            raise _unanswered(open_calls, at)
        text, seen = _content(message, place)
        images += seen
        texts.append(f"{role}: {text}")
        results: tuple[tuple[str, str], ...] = ()
        if role == "assistant":
            for call in message.get("tool_calls") or ():
                function = call.get("function") or {}
                open_calls[str(call.get("id"))] = str(function.get("name"))
                texts.append(f"{function.get('name')}({function.get('arguments')})")
        elif role == "tool":
            called = open_calls.pop(str(message.get("tool_call_id")), None)
            if called is None:
                raise bad(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                    "with 'tool_calls'.",
                    f"messages.[{at}].role",
                    None,
                )
            results = ((called, text),)
            if turns and turns[-1].results:
                results = turns.pop().results + results
        turns.append(Turn(role, "" if results else text, results))
    if open_calls:
        raise _unanswered(open_calls, len(messages))
    return tuple(turns), texts, images


def _unanswered(calls: Mapping[str, str], at: int) -> Reject:
    return bad(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(calls),
        f"messages.[{at}].role",
        None,
    )


def _content(message: Mapping[str, Any], place: str) -> tuple[str, int]:
    content = message.get("content")
    if isinstance(content, str):
        return content, 0
    if content is None:
        if message["role"] == "assistant" and any(
            message.get(k) for k in ("tool_calls", "refusal", "function_call", "audio")
        ):
            return "", 0
        raise bad("Invalid value for 'content': expected a string, got null.", f"{place}.content", None)
    if not isinstance(content, list) or not content:
        raise bad(
            f"Invalid type for '{place}.content': expected one of a string or array of objects, but got "
            f"{type_name(content)} instead.",
            f"{place}.content",
            "invalid_type",
        )
    texts: list[str] = []
    images = 0
    for at, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "refusal"):
            texts.append(str(part.get(kind, "")))
        elif kind == "image_url":
            if not isinstance(part.get("image_url"), dict) or not part["image_url"].get("url"):
                raise bad(
                    f"Missing required parameter: '{place}.content[{at}].image_url.url'.",
                    f"{place}.content[{at}].image_url.url",
                    "missing_required_parameter",
                )
            images += 1
        elif kind in ("input_audio", "file"):
            images += 1
        else:
            raise bad(
                f"Invalid value: '{kind}'. Supported values are: 'text', 'image_url', 'input_audio', "
                f"'refusal', 'audio', and 'file'.",
                f"{place}.content[{at}].type",
            )
    return "\n".join(texts), images


def _tools(body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], str]:
    tools: list[Tool] = []
    for at, tool in enumerate(body.get("tools") or ()):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise bad(
                f"Missing required parameter: 'tools[{at}].function.name'.",
                f"tools[{at}].function.name",
                "missing_required_parameter",
            )
        check_name(str(function["name"]), f"tools[{at}].function.name")
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        if schema.get("type") != "object":
            raise bad(
                f"Invalid schema for function '{function['name']}': schema must be a JSON Schema of 'type: "
                f'"object"\', got \'type: "{schema.get("type")}"\'.',
                f"tools[{at}].function.parameters",
                "invalid_function_parameters",
            )
        if function.get("strict"):
            wrong = strictness.openai(schema)
            if wrong is not None:
                raise bad(
                    f"Invalid schema for function '{function['name']}': {wrong}",
                    f"tools[{at}].function.parameters",
                    "invalid_function_parameters",
                )
        elif wrong := strictness.incomplete(schema):
            raise bad(
                f"Invalid schema for function '{function['name']}': {wrong}",
                f"tools[{at}].function.parameters",
                "invalid_function_parameters",
            )
        tools.append(Tool(str(function["name"]), schema, str(function.get("description") or "")))
    choice = body.get("tool_choice")
    if choice is not None and not tools:
        raise bad(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
            "tool_choice",
            None,
        )
    if isinstance(choice, dict):
        name = str((choice.get("function") or {}).get("name"))
        if name not in [tool.name for tool in tools]:
            raise bad(f"Tool choice 'function' not found in 'tools' parameter: {name}.", "tool_choice", None)
        return tuple(tools), name
    if choice not in (None, "auto", "none", "required"):
        raise bad(f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'.", "tool_choice")
    return tuple(tools), choice or "auto"


def _format(form: Mapping[str, Any] | None, messages: Sequence[Any]) -> tuple[Mapping[str, Any] | None, bool]:
    kind = (form or {}).get("type", "text")
    if form is None or kind == "text":
        return None, False
    if kind == "json_object":
        if "json" not in _encode(messages).decode().lower():
            raise bad(
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
                "messages",
                None,
            )
        return None, True
    if kind != "json_schema":
        raise bad(
            f"Invalid value: '{kind}'. Supported values are: 'json_object', 'json_schema', and 'text'.",
            "response_format.type",
        )
    spec = form.get("json_schema")
    if not isinstance(spec, dict) or not spec.get("name"):
        raise bad(
            "Missing required parameter: 'response_format.json_schema.name'.",
            "response_format.json_schema.name",
            "missing_required_parameter",
        )
    check_name(str(spec["name"]), "response_format.json_schema.name")
    schema = spec.get("schema")
    if not isinstance(schema, dict):
        raise bad(
            "Missing required parameter: 'response_format.json_schema.schema'.",
            "response_format.json_schema.schema",
            "missing_required_parameter",
        )
    if spec.get("strict"):
        wrong = strictness.openai(schema)
        if wrong is not None:
            raise bad(f"Invalid schema for response_format '{spec['name']}': {wrong}", "response_format", None)
    return schema, False
