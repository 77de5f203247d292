"""From what a caller writes to a `Request`: prompts in any common shape, parameters by name."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, get_args

import msgspec

from .._policy.cache import CacheMode
from .._policy.cascade import Cascade
from .._policy.fairqueue import Priority
from .._policy.hedge import Hedge
from .._policy.onerror import ErrorPolicy
from .._text.truncate import STRATEGIES, Strategy, Truncate
from ..errors import ConfigError, InputError
from ..types import (
    Audio,
    CacheTTL,
    Document,
    Effort,
    Image,
    JSONSchema,
    Message,
    Part,
    Request,
    Role,
    Text,
    Thinking,
    Tier,
    Tool,
    ToolCall,
    ToolResult,
)

Prompt = str | Message | Sequence[Message | Mapping[str, Any]]
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


class Parameters(TypedDict, total=False):
    """What the model is asked to do, by the names of `Request`. A dict stands for the type of the same fields."""

    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop: str | Sequence[str]
    seed: int | None
    n: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    logit_bias: dict[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    tools: Sequence[Tool | Mapping[str, Any]]
    tool_choice: str | None
    parallel_tool_calls: bool | None
    response_format: Literal["text", "json"] | JSONSchema | Mapping[str, Any] | None
    reasoning_effort: Effort | None
    thinking: Thinking | Mapping[str, Any] | None
    verbosity: Literal["low", "medium", "high"] | None
    service_tier: str | None
    metadata: dict[str, str] | None
    user: str | None
    prompt_cache: CacheTTL | None
    prompt_cache_key: str | None
    prompt_cache_retention: Literal["in_memory", "24h"] | None
    modalities: Sequence[str]
    audio: dict[str, Any] | None
    prediction: dict[str, Any] | None
    store: bool | None
    extra: dict[str, Any]


class Options(Parameters, total=False):
    """Everything that `complete` and `stream` take beside the prompt; all of it by keyword.

    `model` is 'provider:name', `tier` lets the router choose one, 'auto' by how hard the prompt looks; `task` names a
    tier by what is done. `region` is where the model must run. `fallbacks` are tried when the provider fails.
    `deadline_s` bounds the whole call, waits and retries included. `tags` appear in usage and budgets.
    `priority` decides who goes first at the limit. `hedge` sends a second attempt beside a late one, None for never.
    `cache` says what the call may do with the client's cache. `truncate` is how a prompt that is too long is cut.
    `on_error` is what may be done about an error, by its class. `cascade` is whom to ask when the answer is not good
    enough.
    """

    model: str | None
    tier: Tier | Literal["auto"] | None
    task: str | None
    region: str | None
    system: str | None
    fallbacks: Sequence[str]
    deadline_s: float | None
    tags: Mapping[str, str]
    priority: Priority
    hedge: Hedge | None
    cache: CacheMode
    truncate: Truncate | Strategy | None
    on_error: ErrorPolicy
    cascade: Cascade | None


class StreamOptions(Options, total=False):
    """What `stream` takes beside that: `continuations` is how often a broken stream may be continued, 0 for never."""

    continuations: int


class ExtractOptions(Options, total=False):
    """What `extract` and `stream_extract` take beside the options of `complete`.

    `mode` is how the model is asked: 'native', 'tool', 'prompted', or 'auto' for the best that it takes. `reasks` is
    how often it is told what does not fit, `policy` how much may be mended, `helper` a cheap model that may read an
    answer that nobody else can.
    """

    mode: Literal["auto", "native", "tool", "prompted"]
    reasks: int
    policy: Literal["strict", "safe", "loose"]
    helper: str | None


PARAMETERS = frozenset(Parameters.__annotations__)
OPTIONS = PARAMETERS | frozenset(StreamOptions.__annotations__)
_STRINGS: dict[str, tuple[str, ...]] = {
    "model": (),
    "system": (),
    "tier": (*get_args(Tier), "auto"),
    "task": (),
    "region": (),
    "priority": get_args(Priority),
    "cache": get_args(CacheMode),
}
_OWN_NAMES = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "messages": "the prompt is the first argument",
    "stream": "call stream() for a stream",
    "stream_options": "usage is asked for on every stream",
}
_INTEGERS = frozenset({"max_tokens", "top_k", "seed", "n", "top_logprobs"})


def request(prompt: Prompt, options: Mapping[str, Any], model: str = "") -> Request:
    """Build the request of a call to `model`; other lanes are asked the same with their own model.

    Raises: ConfigError for a parameter that does not exist or has the wrong type, InputError for a prompt that cannot
    be read.
    """
    fields: dict[str, Any] = {}
    for name, value in options.items():
        if name in PARAMETERS:
            if value is not None:
                fields[name] = value
        elif value is not None:
            _check_option(name, value)
    messages = _messages(prompt)
    if options.get("system"):
        messages = (Message("system", options["system"]), *messages)
    if fields:
        _shape(fields)
        if "extra" in fields:
            _check_extra(fields["extra"])
    return Request(model=model, messages=messages, **fields)


def _check_option(name: str, value: Any) -> None:
    if name not in OPTIONS:
        raise ConfigError(_no_such_option(name))
    if name in _STRINGS:
        if not isinstance(value, str):
            raise ConfigError(f"parameter {name!r} is {value!r}; expected a string")
        known = _STRINGS[name]
        if known and value not in known:
            raise ConfigError(f"parameter {name!r} is {value!r}; expected one of {', '.join(known)}")
    elif name == "hedge" and not isinstance(value, Hedge):
        raise ConfigError(f"parameter 'hedge' is {value!r}; expected a Hedge, e.g. Hedge(after_s=5)")
    elif name == "on_error" and not isinstance(value, ErrorPolicy):
        raise ConfigError(f"parameter 'on_error' is {value!r}; expected an ErrorPolicy")
    elif name == "cascade" and not isinstance(value, Cascade):
        raise ConfigError(f"parameter 'cascade' is {value!r}; expected a Cascade, e.g. Cascade(to='provider:model')")
    elif name == "truncate":
        truncation(value)
    elif name == "tags":
        check_tags(value)
    elif name == "fallbacks" and (isinstance(value, str) or not isinstance(value, Sequence)):
        raise ConfigError(f"parameter 'fallbacks' is {value!r}; expected a list of models, e.g. ['provider:model']")


def truncation(value: object) -> Truncate | None:
    """Return how to cut, of a `Truncate` or the name of a strategy.

    Raises: ConfigError.
    """
    if value is None or isinstance(value, Truncate):
        return value
    if not isinstance(value, str):
        raise ConfigError(f"parameter 'truncate' is {value!r}; expected one of {', '.join(STRATEGIES)}, or a Truncate")
    return Truncate(value)  # type: ignore[arg-type]


def check_tags(tags: object) -> None:
    """Raises: ConfigError when tags are not a dict of strings."""
    if not isinstance(tags, Mapping) or not all(isinstance(text, str) for tag in tags.items() for text in tag):
        raise ConfigError(f"parameter 'tags' is {tags!r}; expected a dict of strings, e.g. {{'team': 'sre'}}")


def _no_such_option(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, OPTIONS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "a parameter without a name here goes into extra={...}"
    return f"there is no parameter {name!r}; {hint}"


def _shape(fields: dict[str, Any]) -> None:
    if isinstance(fields.get("stop"), str):
        fields["stop"] = (fields["stop"],)
    form = fields.get("response_format")
    if form is not None and isinstance(form, Mapping):
        fields["response_format"] = _response_format(form)
    if "tools" in fields and isinstance(fields["tools"], Sequence):
        fields["tools"] = [_openai_tool(tool) if isinstance(tool, Mapping) else tool for tool in fields["tools"]]
    for name, value in fields.items():
        if type(value) is int and name in _INTEGERS:
            continue
        try:
            fields[name] = msgspec.convert(value, _types()[name], strict=True, from_attributes=False)
        except msgspec.ValidationError as error:
            raise ConfigError(f"parameter {name!r} is {value!r}: {_expected(error)}") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"parameter {name!r} is {value!r}; expected a finite number")
    if fields.get("max_tokens", 1) < 1:
        raise ConfigError(f"parameter 'max_tokens' is {fields['max_tokens']}; expected at least 1")


def _check_extra(extra: Mapping[str, Any]) -> None:
    """Refuse what has a name of its own: what the gate does not see it can neither limit nor hold money for."""
    for name in extra:
        own = _OWN_NAMES.get(name, name if name in OPTIONS else None)
        if own is not None:
            raise ConfigError(f"extra[{name!r}]: {own}" if " " in own else f"extra[{name!r}]: give it as {own}=…")


def _expected(error: msgspec.ValidationError) -> str:
    what, _, where = str(error).replace("Expected", "expected").partition(" - at `$")
    return f"{what} (at {where.strip('.`')})" if where.strip(".`") else what


def _response_format(form: Mapping[str, Any]) -> Any:
    kind = form.get("type")
    inner = form.get("json_schema", form)
    if kind == "json_schema" and isinstance(inner, Mapping) and "schema" in inner:
        return {name: value for name, value in {"strict": None, **inner}.items() if name != "type"}
    if kind in ("json_object", "json"):
        return "json"
    if kind == "text":
        return "text"
    if kind is None and "schema" in form:
        return form
    raise ConfigError(
        "parameter 'response_format' is a dict of no known shape; expected 'json', a JSONSchema, or "
        "{'type': 'json_schema', 'json_schema': {...}}"
    )


def _openai_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    if tool.get("type") == "function" and isinstance(tool.get("function"), Mapping):
        return dict(tool["function"])
    if "input_schema" in tool:
        return {("parameters" if key == "input_schema" else key): value for key, value in tool.items() if key != "type"}
    kind = tool.get("type", "function")
    if kind != "function" and "parameters" not in tool:
        inner = tool.get(kind) if isinstance(kind, str) else None
        named = tool.get("name") or (inner.get("name") if isinstance(inner, Mapping) else None) or kind
        return {"name": named, "native": dict(tool)}
    return tool


@functools.cache
def _types() -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(Request) if field.name in PARAMETERS}


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    if isinstance(prompt, Message):
        return (_sound(prompt, 0),)
    if isinstance(prompt, Mapping | bytes | bytearray) or not isinstance(prompt, Sequence):
        raise InputError(f"the prompt is a {type(prompt).__name__}; expected a string or a list of messages")
    if not prompt:
        raise InputError("the prompt is an empty list; expected at least one message")
    return tuple([_read(item, at) for at, item in enumerate(prompt)])


def _sound(message: Message, at: int) -> Message:
    """Check a message that was made by hand, as msgspec does not: role, content and the types inside its parts."""
    if message.role not in ROLES.values():
        raise InputError(f"messages[{at}].role is {message.role!r}; expected system, user, assistant or tool")
    if isinstance(message.content, str):
        return message
    if not isinstance(message.content, tuple | list):
        raise InputError(
            f"messages[{at}].content is a {type(message.content).__name__}; expected a string or a tuple of parts"
        )
    try:
        return msgspec.convert(msgspec.to_builtins(message), Message)
    except (msgspec.ValidationError, TypeError, RecursionError) as error:
        why = _expected(error) if isinstance(error, msgspec.ValidationError) else str(error)
        raise InputError(f"messages[{at}]: {why}") from None


def _read(item: Any, at: int) -> Message:
    if isinstance(item, Message):
        return _sound(item, at)
    if not isinstance(item, Mapping):
        raise InputError(
            f"messages[{at}] is a {type(item).__name__}; expected a Message or a dict with role and content"
        )
    given, content, name, calls = (item.get(field) for field in ("role", "content", "name", "tool_calls"))
    role = ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise InputError(f"messages[{at}].role is {given!r}; expected one of {', '.join(ROLES)}")
    if not isinstance(name, str | None):
        raise InputError(f"messages[{at}].name is {name!r}; expected a string")
    if role == "tool" and "tool_call_id" in item:
        text = content if isinstance(content, str) else _plain(content, at)
        return _sound(Message("tool", (ToolResult(tool_call_id=item["tool_call_id"], content=text),)), at)
    if not isinstance(calls, list | tuple | None):
        raise InputError(f"messages[{at}].tool_calls is a {type(calls).__name__}; expected a list")
    if isinstance(content, str) and not calls:
        return Message(role, content, name)
    if content is None and not calls:
        raise InputError(f"messages[{at}] has no content")
    if not isinstance(content, str | list | tuple | None):
        raise InputError(f"messages[{at}].content is a {type(content).__name__}; expected a string or a list of parts")
    pieces = ([content] if content else []) if isinstance(content, str) else content or []
    parts = [_piece(piece, f"messages[{at}].content[{i}]") for i, piece in enumerate(pieces)]
    return _sound(Message(role, (*parts, *[_tool_call(call, at) for call in calls or ()]), name), at)


def _piece(piece: Any, where: str) -> Part:
    if isinstance(piece, str):
        return Text(piece)
    return piece if isinstance(piece, Part) else _part(piece, where)


def _plain(content: Any, at: int) -> str:
    if isinstance(content, Sequence) and all(isinstance(part, Mapping) for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    raise InputError(f"messages[{at}].content of a tool result is a {type(content).__name__}; expected a string")


def _tool_call(call: Any, at: int) -> ToolCall:
    try:
        if call.get("type") == "custom":
            custom = call.get("custom", call)
            fields = {"id": call["id"], "name": custom["name"], "arguments": custom["input"], "kind": "custom"}
            return msgspec.convert(fields, ToolCall)
        function = call["function"]
        arguments = function.get("arguments") or "{}"
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        return msgspec.convert({"id": call["id"], "name": function["name"], "arguments": text}, ToolCall)
    except (KeyError, TypeError, AttributeError, RecursionError, msgspec.ValidationError):
        raise InputError(f"messages[{at}].tool_calls: expected {{'id', 'function': {{'name', 'arguments'}}}}") from None


def _part(part: Any, where: str) -> Part:
    """Read a part written as OpenAI, Anthropic or Penstock write it."""
    if not isinstance(part, Mapping):
        raise InputError(f"{where} is a {type(part).__name__}; expected a part")
    try:
        match part.get("type"):
            case "text" | "input_text":
                return Text(part["text"], _cache(part))
            case "image_url":
                image = part["image_url"]
                return (
                    _url_image(image["url"], image.get("detail")) if isinstance(image, Mapping) else _url_image(image)
                )
            case "image" if "source" in part:
                source = part["source"]
                return Image(
                    url=source.get("url"),
                    data=source.get("data"),
                    media_type=source.get("media_type"),
                    cache=_cache(part),
                )
            case "input_audio":
                return Audio(data=part["input_audio"]["data"], format=part["input_audio"]["format"])
            case "file":
                file = part["file"]
                return Document(data=file.get("file_data"), file_id=file.get("file_id"), title=file.get("filename"))
            case "tool_use":
                arguments = msgspec.json.encode(part["input"]).decode()
                return ToolCall(id=part["id"], name=part["name"], arguments=arguments)
            case "tool_result":
                content = part.get("content") or ""
                text = content if isinstance(content, str) else _plain(content, 0)
                return ToolResult(
                    tool_call_id=part["tool_use_id"] if "tool_use_id" in part else part["tool_call_id"],
                    content=text,
                    is_error=bool(part.get("is_error")),
                )
        return msgspec.convert(part, Part)  # type: ignore[no-any-return]
    except KeyError as error:
        raise InputError(f"{where} of type {part.get('type')!r} lacks {error}") from None
    except (TypeError, AttributeError, ValueError, RecursionError) as error:
        raise InputError(f"{where} of type {part.get('type')!r} has a field of the wrong type: {error}") from None
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {_expected(error)}") from None


def _cache(part: Mapping[str, Any]) -> CacheTTL | None:
    mark = part.get("cache_control")
    return mark.get("ttl", "5m") if isinstance(mark, Mapping) else part.get("cache")


def _url_image(url: str, detail: Any = None) -> Image:
    if url.startswith("data:") and ";base64," in url:
        head, data = url.split(";base64,", 1)
        return Image(data=data, media_type=head.removeprefix("data:"), detail=detail)
    return Image(url=url, detail=detail)
