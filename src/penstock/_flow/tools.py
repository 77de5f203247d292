"""Tools: functions that a model may use, with what it must know of them, and the box that an agent takes them from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar, overload

import msgspec

from .._text.target import Target
from ..errors import ConfigError
from ..types import Tool
from .arguments import arguments_of

P = ParamSpec("P")
R = TypeVar("R")
Colour = Literal["sync", "async"]

TIMEOUT_S: Final = 60.0
"""How long a tool may take unless told: longer than a slow query, shorter than the patience of who waits."""

CHARS_MOST: Final = 30_000
"""What a tool may say unless told, in characters: about 8,000 tokens, a sixteenth of a common context window."""

TOOLS_MOST: Final = 128
"""Tools that an agent may have. Source: OpenAI, `tools` (read 2026-11)."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Source: OpenAI and Anthropic, names of tools; Anthropic's may be twice as long (read 2026-11)."""


class AgentTool(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Something that a model may use. `spec` is what the model is told, `target` checks the arguments.

    `run` performs it in a thread, `arun` in an event loop; one of them is enough. `timeout_s` is how long it may take,
    None for as long as the run lasts. `side_effects`: it changes something, so that it may have to be approved first.
    `max_chars` is how much of what it says the model gets.
    """

    spec: Tool
    target: Target
    run: Callable[[dict[str, Any]], Any] | None = None
    arun: Callable[[dict[str, Any]], Coroutine[Any, Any, Any]] | None = None
    timeout_s: float | None = TIMEOUT_S
    side_effects: bool = False
    max_chars: int = CHARS_MOST

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self.spec.name


class FunctionTool(AgentTool, Generic[P, R], frozen=True, kw_only=True, eq=False):
    """A tool made of a Python function, which can still be called as before."""

    function: Callable[P, R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself: no check, no timeout."""
        return self.function(*args, **kwargs)


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = TIMEOUT_S,
    side_effects: bool = False,
    max_chars: int = CHARS_MOST,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = TIMEOUT_S,
    side_effects: bool = False,
    max_chars: int = CHARS_MOST,
) -> Any:
    """Make a tool of a function, sync or async: its signature and docstring become what the model is told.

    Parameters may be anything that `parse` takes: scalars, enums, Literals, lists, dataclasses, TypedDicts, Structs and
    pydantic models; docstrings of Google, NumPy or Sphinx describe them. `timeout_s` is how long one use may take (60
    seconds unless told, None for no bound of its own). `side_effects` marks a tool that changes something, which an
    agent may have to ask for. `max_chars` bounds what the model gets of the result, its middle is left out.

    Raises: ConfigError for a function that a model cannot call.
    """
    options = {"timeout_s": timeout_s, "side_effects": side_effects, "max_chars": max_chars}

    def make(made_of: Callable[..., Any]) -> FunctionTool[..., Any]:
        return _made(made_of, name, description, options)

    return make if function is None else make(function)


def _made(function: Any, name: str | None, description: str | None, options: dict[str, Any]) -> FunctionTool[..., Any]:
    if inspect.isclass(function) or not callable(function):
        raise ConfigError(f"{function!r:.80} is no function; @tool is for functions")
    name = name or getattr(function, "__name__", None) or type(function).__name__
    check_options(name, options)
    target, described = arguments_of(function, name)
    spec = Tool(name=name, description=description or described, parameters=target.parameters)
    awaits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"the tool {name!r} is a generator; a model gets one result, so return a list or a text")

    def perform(arguments: dict[str, Any]) -> Any:
        return function(**arguments)

    how: dict[str, Any] = {"arun" if awaits else "run": perform}
    return FunctionTool(spec=spec, target=target, function=function, **how, **options)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises: ConfigError for a name or a bound that no tool can have."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"the tool {name!r:.90} has a name that no provider takes; use 1 to 64 of A-Z a-z 0-9 _ -")
    timeout_s, max_chars = options["timeout_s"], options["max_chars"]
    number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
    if timeout_s is not None and not (number and 0 < timeout_s < 1e10):
        raise ConfigError(f"the tool {name!r} has timeout_s {timeout_s!r}; expected seconds above 0, or None")
    if isinstance(max_chars, bool) or not isinstance(max_chars, int) or max_chars < 1:
        raise ConfigError(f"the tool {name!r} has max_chars {max_chars!r}; expected a whole number of at least 1")


class Toolbox:
    """The tools that an agent may use, by name; it may hold sync and async ones.

    Raises: ConfigError for what is no tool, a name that is there twice, or more tools than providers take.
    """

    def __init__(self, tools: Iterable[Any] = ()) -> None:
        self._tools: dict[str, AgentTool] = {}
        for each in tools:
            self.add(each)

    def add(self, each: Any) -> None:
        """Put in a tool, a function that is to be one, or what has `tools` (such as a server of MCP).

        Raises: ConfigError.
        """
        if isinstance(each, AgentTool):
            self._put(each)
        elif hasattr(each, "tools"):
            for one in each.tools:
                self._put(one)
        elif callable(each) and not inspect.isclass(each):
            self._put(tool(each))
        else:
            raise ConfigError(f"{each!r:.80} is no tool; expected a function, one with @tool, or an McpServer")

    def _put(self, each: AgentTool) -> None:
        if each.name in self._tools:
            raise ConfigError(f"two tools are called {each.name!r}; give one of them another name: @tool(name=…)")
        if len(self._tools) >= TOOLS_MOST:
            raise ConfigError(f"there are more than {TOOLS_MOST} tools; no provider takes as many")
        self._tools[each.name] = each

    def __iter__(self) -> Iterator[AgentTool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def find(self, name: str) -> AgentTool | None:
        """Return the tool of that name."""
        return self._tools.get(name)

    def unknown(self, name: str) -> str:
        """Say to the model that there is no such tool, and which there are."""
        import difflib

        near = difflib.get_close_matches(name, self._tools, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"there is no tool {name[:80]!r}; {hint}the tools are: {', '.join(self._tools) or 'none'}"

    def blocking(self, colour: Colour) -> tuple[str, ...]:
        """Return the names of tools that a run of this colour cannot perform."""
        if colour == "async":
            return ()
        return tuple(each.name for each in self if each.run is None)
