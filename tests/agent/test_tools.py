"""What a function becomes as a tool: its schema, its description, and the check of what a model calls it with."""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import AgentTool, Toolbox, tool
from penstock._flow.arguments import BadArguments, read_arguments
from penstock._flow.toolresult import told
from penstock.errors import ConfigError
from penstock.types import Image, Text


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


@dataclasses.dataclass
class Window:
    minutes: int
    until: str | None = None


class Query(pydantic.BaseModel):
    service: str = pydantic.Field(min_length=2)
    window: dict[str, int] = {}


class Place(TypedDict):
    rack: int


class Host(msgspec.Struct):
    name: str


def google(host: str, tries: int = 3) -> str:
    """Look at a host.

    As often as told.

    Args:
        host: The name of the host,
            without its domain.
        tries: How often.

    Returns:
        What was seen.
    """
    return host * tries


def numpy(host: str, tries: int = 3) -> str:
    """Look at a host.

    As often as told.

    Parameters
    ----------
    host : str
        The name of the host,
        without its domain.
    tries : int
        How often.

    Returns
    -------
    str
        What was seen.
    """
    return host * tries


def sphinx(host: str, tries: int = 3) -> str:
    """Look at a host.

    As often as told.

    :param host: The name of the host,
        without its domain.
    :param tries: How often.
    :returns: What was seen.
    """
    return host * tries


@pytest.mark.parametrize("function", [google, numpy, sphinx])
def test_signature_and_docstring_become_what_the_model_is_told(function: Any) -> None:
    """The same of each style of docstring; the function can still be called."""
    made = tool(function)
    assert made.spec.description == "Look at a host.\nAs often as told.\nReturns: What was seen."
    assert made.spec.parameters == {
        "type": "object",
        "properties": {
            "host": {"type": "string", "description": "The name of the host, without its domain."},
            "tries": {"type": "integer", "description": "How often.", "default": 3},
        },
        "required": ["host"],
        "additionalProperties": False,
    }
    assert made("a", tries=2) == "aa"


def everything(
    *,
    query: Query,
    window: Window,
    place: Place,
    host: Host,
    level: Level,
    mode: Literal["a", "b"],
    count: Annotated[int, pydantic.Field(gt=3)],
    names: list[str],
    note: Annotated[str, "what for"] = "",
    anything: Any = None,
) -> None: ...


def test_arguments_of_every_kind_are_checked_and_made() -> None:
    """Pydantic models, dataclasses, TypedDicts, Structs, enums, Literals, lists, and what is annotated."""
    made = tool(everything)
    text = msgspec.json.encode(
        {
            "query": {"service": "db", "window": {"a": 1}},
            "window": {"minutes": "5"},
            "place": {"rack": 3},
            "host": {"name": "db1"},
            "level": "HIGH",
            "mode": "a",
            "count": 4,
            "names": ["x"],
        }
    ).decode()
    arguments, repairs = read_arguments(text, made.target)
    assert arguments["query"] == Query(service="db", window={"a": 1})
    assert arguments["window"] == Window(5)
    assert arguments["place"] == {"rack": 3}
    assert arguments["host"] == Host("db1")
    assert arguments["level"] is Level.HIGH
    assert {repair.path for repair in repairs} == {"$.window.minutes", "$.level"}
    assert made.spec.parameters["properties"]["note"] == {"type": "string", "description": "what for", "default": ""}
    for key, value, words in (
        ("count", 2, "$.count"),
        ("query", {"service": "d"}, "$.query.service"),
        ("mode", "c", "$.mode"),
        ("names", {"no": "list"}, "$.names"),
    ):
        with pytest.raises(BadArguments, match=words.replace("$", r"\$")):
            read_arguments(msgspec.json.encode({**msgspec.json.decode(text), key: value}).decode(), made.target)


@pytest.mark.parametrize("text", ["", "  ", "{}"])
def test_no_arguments_are_none(text: str) -> None:
    """A function that needs none is called without."""
    assert read_arguments(text, tool(lambda_like).target) == ({}, ())


def keyword_cls(*, text: str, cls=None) -> None: ...  # type: ignore[no-untyped-def]


def test_a_keyword_called_cls_makes_no_method() -> None:
    """As `json.dumps` has one."""
    assert "cls" in tool(keyword_cls).spec.parameters["properties"]


def lambda_like() -> None: ...


@settings(max_examples=30)
@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5).map(str))
def test_whatever_a_model_writes_is_arguments_or_words(text: str) -> None:
    """Never another exception."""
    words = ""
    arguments: dict[str, Any] = {}
    try:
        arguments, _ = read_arguments(text, TARGET)
    except BadArguments as bad:
        words = str(bad)
    assert set(arguments) <= {"host", "tries"}
    assert bool(arguments) != (0 < len(words) <= 1000)


TARGET = tool(google).target


class Thing:
    def look(self, host: str) -> str:
        """Look at a host."""
        return host


def test_a_method_of_an_object_is_a_tool() -> None:
    """Its object is no parameter; without it nobody could be asked."""
    assert tool(Thing().look).spec.parameters["required"] == ["host"]
    with pytest.raises(ConfigError, match=r"write tool\(thing\.look\)"):
        tool(Thing.look)


def test_a_field_that_an_argument_does_not_have_is_refused_too() -> None:
    """With its path, as leaving it out may change what the call does."""

    def query(window: Window) -> None: ...

    made = tool(query)
    with pytest.raises(BadArguments, match=r"\$\.window: there is no field 'hours'"):
        read_arguments('{"window": {"minutes": "3", "hours": 1}}', made.target)


def takes_rest(*hosts: str) -> None: ...
def takes_any(**hosts: str) -> None: ...
def by_place(host: str, /) -> None: ...
def unknown(host: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unsayable(host: AgentTool) -> None: ...
def generates() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (takes_rest, "takes \\*hosts, which no schema can describe"),
        (takes_any, "takes \\*\\*hosts"),
        (by_place, "by position only"),
        (unknown, "cannot be read: name 'Nowhere'"),
        (unsayable, "the parameter 'host' of the tool 'unsayable'"),
        (generates, "is a generator"),
        (Window, "is no function"),
        (7, "is no function"),
    ],
)
def test_what_no_model_can_call_is_refused(function: Any, words: str) -> None:
    """When it is made, naming what is wrong."""
    with pytest.raises(ConfigError, match=words):
        tool(function)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "no spaces"}, "a name that no provider takes"),
        ({"name": "x" * 65}, "a name that no provider takes"),
        ({"timeout_s": 0}, "timeout_s 0"),
        ({"timeout_s": float("nan")}, "timeout_s nan"),
        ({"max_chars": 0}, "max_chars 0"),
    ],
)
def test_a_bound_that_no_tool_can_have_is_refused(options: Any, words: str) -> None:
    """With the name of the tool."""
    with pytest.raises(ConfigError, match=words):
        tool(**options)(google)


def test_a_box_takes_functions_and_refuses_what_it_has() -> None:
    """Two tools of one name would leave the choice to chance."""
    box = Toolbox([google, tool(name="look")(numpy)])
    assert [each.name for each in box] == ["google", "look"]
    with pytest.raises(ConfigError, match="two tools are called 'google'"):
        box.add(google)
    with pytest.raises(ConfigError, match="is no tool"):
        box.add(3)
    with pytest.raises(ConfigError, match="more than 128 tools"):
        Toolbox([tool(name=f"t{number}")(google) for number in range(129)])
    assert "did you mean 'google'?" in box.unknown("gogle")


RESULTS: dict[str, tuple[Any, str, bool]] = {
    "text": ("ok", "ok", False),
    "nothing": (None, "done; the tool returned nothing", False),
    "a number": (3, "3", False),
    "a model": (Query(service="db"), '{"service":"db","window":{}}', False),
    "a dataclass": (Window(3), '{"minutes":3,"until":null}', False),
    "bytes of text": ("für".encode(), "für", False),
    "bytes of no text": (b"\x00\xff" * 50, "the tool returned 100 bytes that are no text", True),
    "a socket": (object(), "cannot be written as JSON", True),
    "a list of objects": ([object()], "cannot be written as JSON", True),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_what_a_tool_returns_is_told_in_words(kind: str) -> None:
    """As text or JSON; what is neither is said to be so."""
    value, words, is_error = RESULTS[kind]
    content, failed = told(value, 100)
    assert isinstance(content, str)
    assert words in content
    assert failed == is_error


def test_a_value_that_contains_itself_is_told_in_words() -> None:
    """Instead of a RecursionError."""
    endless: list[Any] = []
    endless.append(endless)
    assert told(endless, 100) == ("the tool returned a value that contains itself; let it return a plain one", True)


@given(st.text(max_size=400), st.integers(1, 100))
def test_a_long_result_keeps_its_ends_and_says_what_is_gone(text: str, most: int) -> None:
    """Bounded by what it may be and one sentence."""
    content, _ = told(text, most)
    assert isinstance(content, str)
    if len(text) <= most:
        assert content == text
    else:
        assert f"{len(text) - most:,} characters are left out" in content
        assert len(content) <= most + 100
        assert content.startswith(text[: most * 2 // 3])


def test_pictures_go_to_the_model_as_they_are() -> None:
    """Alone or with text; a folder of them does not."""
    picture = Image(data="aaaa", media_type="image/png")
    assert told(picture, 10) == ((picture,), False)
    assert told([Text("x" * 100), picture], 10)[0][1] == picture
    assert told([picture] * 21, 10) == ("the tool returned 21 parts, more than 20", True)
