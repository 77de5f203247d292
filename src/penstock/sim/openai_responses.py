"""OpenAI Responses as its server speaks it: what it refuses, what it keeps, and how it counts.

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
from penstock.sim.response_store import Kept, ResponseStore

_encode = msgspec.json.encode

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "model": ((str,), "a string"),
    "input": ((str, list), "one of a string or an array of objects"),
    "instructions": ((str,), "a string"),
    "max_output_tokens": ((int,), "an integer"),
    "temperature": (NUMBER, "a decimal"),
    "top_p": (NUMBER, "a decimal"),
    "top_logprobs": ((int,), "an integer"),
    "tools": ((list,), "an array of objects"),
    "tool_choice": ((str, dict), "a string or an object"),
    "parallel_tool_calls": ((bool,), "a boolean"),
    "text": ((dict,), "an object"),
    "reasoning": ((dict,), "an object"),
    "include": ((list,), "an array of strings"),
    "store": ((bool,), "a boolean"),
    "stream": ((bool,), "a boolean"),
    "background": ((bool,), "a boolean"),
    "previous_response_id": ((str,), "a string"),
    "metadata": ((dict,), "an object"),
    "truncation": ((str,), "a string"),
    "user": ((str,), "a string"),
    "safety_identifier": ((str,), "a string"),
    "service_tier": ((str,), "a string"),
    "max_tool_calls": ((int,), "an integer"),
}
_UNCHECKED = {
    "stream_options", "conversation", "prompt", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
    "moderation", "context_management",
}  # fmt: skip
_RANGES: dict[str, tuple[int, int | None]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_logprobs": (0, 20),
    "max_output_tokens": (16, None),
}
_INCLUDABLE = {
    ENCRYPTED, LOGPROBS, "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
}  # fmt: skip
_ROLES = {"system", "developer", "user", "assistant"}
_CUSTOM = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_IMAGE_TOKENS = 85


@dataclass(frozen=True, slots=True)
class ResponsesAsk:
    """A checked request: the neutral question, its size, and how the answer is to be written and kept."""

    ask: Ask
    prompt_tokens: int
    prompt_text: str
    charge: int
    turns: tuple[Turn, ...]
    custom: frozenset[str]
    store: bool
    encrypted: bool
    summary: bool
    logprobs: bool
    previous: str | None
    echo: Mapping[str, Any]


def no_such_model(name: str) -> Reject:
    """Responses answers 400 to a model that it does not have, where chat answers 404."""
    return bad(f"The requested model '{name}' does not exist.", "model", "model_not_found")


def check(body: Mapping[str, Any], name: str, model: Model, kept: ResponseStore, credential: str) -> ResponsesAsk:
    """Check a request body as the real server does and read the question out of it.

    Raises: Reject with the status, code and param that OpenAI answers.
    """
    if model.dimensions:
        raise bad(f"The requested model '{name}' cannot be used with the Responses API.", "model", "model_not_found")
    check_fields(body, _TYPES, _UNCHECKED, _RANGES, required=("model",))
    include = _check_options(body, name, model)
    previous = body.get("previous_response_id")
    before = _before(kept, credential, previous)
    reading = _Reading(kept, credential)
    reading.take(body.get("input"))
    if not reading.turns:
        raise bad("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    reading.close(before.open_calls if before else {})
    turns = (*(before.turns if before else ()), *reading.turns)
    tools, custom, choice = _tools(body)
    schema, json_mode = _format((body.get("text") or {}).get("format"), body)
    texts = [f"{turn.role}: {turn.text}" for turn in turns] + [text for turn in turns for _, text in turn.results]
    prompt_text = "\n".join([body.get("instructions") or "", *texts])
    extra = _encode(body["tools"]).decode() if body.get("tools") else ""
    extra += _encode(schema).decode() if schema is not None else ""
    prompt_tokens = tokens.count(prompt_text) + tokens.count(extra) + 3 * len(turns) + 3
    prompt_tokens += reading.images * _IMAGE_TOKENS
    asked = body.get("max_output_tokens")
    _check_size(prompt_tokens, asked, model)
    system = [turn.text for turn in turns if turn.role in ("system", "developer")]
    ask = Ask(
        model=name,
        system="\n".join([body.get("instructions") or "", *system]),
        turns=turns,
        max_tokens=asked or model.max_output,
        tools=tools,
        tool_choice=choice,
        parallel=body.get("parallel_tool_calls") is not False,
        schema=schema,
        json_mode=json_mode,
        reasoning_tokens=EFFORT[(body.get("reasoning") or {}).get("effort") or "medium"] if model.reasoning else 0,
        stream=body.get("stream") is True,
    )
    return ResponsesAsk(
        ask=ask,
        prompt_tokens=prompt_tokens,
        prompt_text=prompt_text,
        charge=max(asked or 0, tokens.estimate(len(prompt_text) + len(extra))),
        turns=turns,
        custom=custom,
        store=body.get("store") is not False,
        encrypted=ENCRYPTED in include,
        summary=(body.get("reasoning") or {}).get("summary") is not None,
        logprobs=LOGPROBS in include,
        previous=previous,
        echo=body,
    )


def _check_size(prompt_tokens: int, asked: int | None, model: Model) -> None:
    if prompt_tokens + (asked or 0) > model.window:
        raise bad(
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            "input",
            "context_length_exceeded",
        )
    if asked is not None and asked > model.max_output:
        raise bad(
            f"max_output_tokens is too large: {asked}. This model supports at most {model.max_output} output tokens, "
            f"whereas you provided {asked}.",
            "max_output_tokens",
        )


def _check_options(body: Mapping[str, Any], name: str, model: Model) -> Sequence[str]:
    if body.get("background"):
        raise bad("Background mode is not simulated.", "background", "unsupported_parameter")
    effort = (body.get("reasoning") or {}).get("effort")
    if effort is not None and effort not in EFFORT:
        raise bad(f"Invalid value: '{effort}'. Supported values are: {', '.join(EFFORT)}.", "reasoning.effort")
    include: Sequence[str] = body.get("include") or ()
    for at, wanted in enumerate(include):
        if wanted not in _INCLUDABLE:
            raise bad(f"Invalid value: '{wanted}'.", f"include[{at}]")
    if model.reasoning:
        for key in ("temperature", "top_p", "top_logprobs"):
            if body.get(key) is not None:
                raise bad(
                    f"Unsupported parameter: '{key}' is not supported with this model.", key, "unsupported_parameter"
                )
        return include
    if body.get("reasoning"):
        raise bad(
            f"Unsupported parameter: 'reasoning.effort' is not supported with this model ({name}).",
            "reasoning.effort",
            "unsupported_parameter",
        )
    if ENCRYPTED in include:
        raise bad("Encrypted content is not supported with this model.", "include", None)
    return include


def _before(kept: ResponseStore, credential: str, previous: str | None) -> Kept | None:
    if previous is None:
        return None
    found = kept.find(credential, previous)
    if found is None:
        raise bad(
            f"Previous response with id '{previous}' not found.", "previous_response_id", "previous_response_not_found"
        )
    return found


class _Reading:
    """The input items of a request, read into turns."""

    def __init__(self, kept: ResponseStore, credential: str) -> None:
        self._kept = kept
        self._credential = credential
        self.turns: list[Turn] = []
        self.images = 0
        self._calls: dict[str, str] = {}
        self._results: list[tuple[str, str, int]] = []
        self._thought: str | None = None

    def take(self, given: object) -> None:
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        for at, item in enumerate(items if isinstance(items, list) else ()):
            place = f"input[{at}]"
            if not isinstance(item, dict):
                raise bad(
                    f"Invalid type for '{place}': expected an object, but got {type_name(item)} instead.",
                    place,
                    "invalid_type",
                )
            self._item(item, item.get("type") or "message", place)
        if self._thought is not None:
            raise _alone(self._thought)

    def _item(self, item: Mapping[str, Any], kind: str, place: str) -> None:
        follows = self._thought
        self._thought = None
        if kind == "message":
            if follows is not None and item.get("role") != "assistant":
                raise _alone(follows)
            self._message(item, place)
        elif kind in ("function_call", "custom_tool_call"):
            self._calls[str(item.get("call_id"))] = str(item.get("name"))
            self.turns.append(Turn("assistant", ""))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            if follows is not None:
                raise _alone(follows)
            self._result(item, place)
        elif kind == "reasoning":
            self._reasoning(item)
        elif not kind.endswith(("_call", "_call_output", "compaction", "item_reference")):
            raise bad(f"Invalid value: '{kind}'.", f"{place}.type")

    def _reasoning(self, item: Mapping[str, Any]) -> None:
        ident = str(item.get("id"))
        if not item.get("encrypted_content") and not self._kept.has_item(self._credential, ident):
            raise Reject(
                404,
                f"Item with id '{ident}' not found. Items are not persisted when `store` is set to false. Try again "
                "with `store` set to true, or remove this item from your input.",
                param="input",
            )
        if item.get("encrypted_content") and not str(item["encrypted_content"]).startswith("gAAAA"):
            raise bad("The encrypted content could not be verified.", "input", "invalid_encrypted_content")
        self._thought = ident

    def _result(self, item: Mapping[str, Any], place: str) -> None:
        output = item.get("output")
        if isinstance(output, list):
            output = "\n".join(str(part.get("text", "")) for part in output)
        if not isinstance(output, str):
            raise bad(f"Missing required parameter: '{place}.output'.", f"{place}.output", "missing_required_parameter")
        if not self.turns or self.turns[-1].role != "tool":
            self.turns.append(Turn("tool", ""))
        self._results.append((str(item.get("call_id")), output, len(self.turns) - 1))

    def close(self, before: Mapping[str, str]) -> None:
        """Pair results with calls, those of the response before included.

        Raises: Reject 400 for a result without its call, and for a call without its result.
        """
        calls = {**before, **self._calls}
        for call_id, output, at in self._results:
            if call_id not in calls:
                raise bad(f"No tool call found for function call output with call_id {call_id}.", "input", None)
            turn = self.turns[at]
            self.turns[at] = Turn("tool", "", (*turn.results, (calls.pop(call_id), output)))
        if calls:
            raise bad(f"No tool output found for function call {next(iter(calls))}.", "input", None)

    def _message(self, item: Mapping[str, Any], place: str) -> None:
        role = item.get("role")
        if role not in _ROLES:
            raise bad(
                f"Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'.",
                f"{place}.role",
            )
        content = item.get("content")
        if isinstance(content, str):
            self.turns.append(Turn(role, content))
            return
        if not isinstance(content, list):
            raise bad(
                f"Missing required parameter: '{place}.content'.", f"{place}.content", "missing_required_parameter"
            )
        texts: list[str] = []
        allowed = ("output_text", "refusal") if role == "assistant" else ("input_text", "input_image", "input_file")
        for at, part in enumerate(content):
            kind = part.get("type") if isinstance(part, dict) else None
            if kind not in allowed:
                raise bad(
                    f"Invalid value: '{kind}'. Supported values are: {', '.join(repr(one) for one in allowed)}.",
                    f"{place}.content[{at}]",
                )
            texts.append(str(part.get("text") or part.get("refusal") or ""))
            self.images += kind in ("input_image", "input_file")
        self.turns.append(Turn(role, "\n".join(texts)))


def _alone(ident: str) -> Reject:
    return bad(f"Item '{ident}' of type 'reasoning' was provided without its required following item.", "input", None)


def _tools(body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], frozenset[str], str]:
    tools: list[Tool] = []
    custom: set[str] = set()
    for at, tool in enumerate(body.get("tools") or ()):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in ("function", "custom"):
            if not isinstance(kind, str) or "function" in tool:
                raise bad(f"Missing required parameter: 'tools[{at}].name'.", f"tools[{at}].name")
            continue
        if not tool.get("name"):
            raise bad(
                f"Missing required parameter: 'tools[{at}].name'.", f"tools[{at}].name", "missing_required_parameter"
            )
        name = str(tool["name"])
        check_name(name, f"tools[{at}].name")
        if kind == "custom":
            custom.add(name)
            tools.append(Tool(name, _CUSTOM, str(tool.get("description") or "")))
            continue
        schema = tool.get("parameters") or {"type": "object", "properties": {}}
        wrong = strictness.openai(schema) if tool.get("strict") is not False else strictness.incomplete(schema)
        if schema.get("type") != "object":
            wrong = "schema must be a JSON Schema of 'type: \"object\"'."
        if wrong:
            raise bad(
                f"Invalid schema for function '{name}': {wrong}",
                f"tools[{at}].parameters",
                "invalid_function_parameters",
            )
        tools.append(Tool(name, schema, str(tool.get("description") or "")))
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        wanted = str(choice.get("name"))
        if wanted not in [tool.name for tool in tools]:
            raise bad(f"Tool choice '{wanted}' not found in 'tools' parameter.", "tool_choice", None)
        return tuple(tools), frozenset(custom), wanted
    if choice not in (None, "auto", "none", "required"):
        raise bad(f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'.", "tool_choice")
    return tuple(tools), frozenset(custom), choice or "auto"


def _format(form: Mapping[str, Any] | None, body: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, bool]:
    kind = (form or {}).get("type", "text")
    if form is None or kind == "text":
        return None, False
    if kind == "json_object":
        if "json" not in _encode([body.get("input"), body.get("instructions")]).decode().lower():
            raise bad(
                "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
                "'json_object'.",
                "input",
                None,
            )
        return None, True
    if kind != "json_schema":
        raise bad(
            f"Invalid value: '{kind}'. Supported values are: 'json_object', 'json_schema', and 'text'.",
            "text.format.type",
        )
    for key in ("name", "schema"):
        if not form.get(key):
            raise bad(
                f"Missing required parameter: 'text.format.{key}'.", f"text.format.{key}", "missing_required_parameter"
            )
    check_name(str(form["name"]), "text.format.name")
    if form.get("strict"):
        wrong = strictness.openai(form["schema"])
        if wrong is not None:
            raise bad(
                f"Invalid schema for response_format '{form['name']}': {wrong}",
                "text.format.schema",
                "invalid_json_schema",
            )
    schema: Mapping[str, Any] = form["schema"]
    return schema, False
