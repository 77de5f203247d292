"""The named formats alone and in one chain, every kind of target, the policies, and what is refused."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import msgspec
import pydantic
import pytest

from penstock import ParseError, parse
from penstock.errors import ConfigError


@dataclass
class Incident:
    """What the formats are read into."""

    severity: str
    hosts: list[str]
    minutes: int | None = None


class Model(pydantic.BaseModel):
    severity: Literal["P1", "P2"]
    hosts: list[str] = []
    minutes: int | None = pydantic.Field(None, ge=0)


class Typed(TypedDict):
    severity: str
    hosts: list[str]
    minutes: int


class Struct(msgspec.Struct):
    severity: str
    hosts: list[str]
    minutes: int


class Severity(enum.Enum):
    HIGH = "high"
    LOW = "low"


MEANT = Incident("P1", ["db-1", "db-2"], 12)
JSON = '{"severity": "P1", "hosts": ["db-1", "db-2"], "minutes": 12}'
FORMATS = {
    "a JSON block": f"Here it is:\n```json\n{JSON}\n```\nGood luck.",
    "bare JSON": f"The incident is {JSON}, I think.",
    "tags": "<severity>P1</severity>\n<hosts>db-1</hosts><hosts>db-2</hosts>\n<minutes>12</minutes>",
    "a Python literal": "{'severity': 'P1', 'hosts': ('db-1', 'db-2'), 'minutes': 12}",
    "key: value lines": "**Severity**: P1\nHosts: db-1, db-2\nMinutes: 12",
}


@pytest.mark.prove(20)
@pytest.mark.parametrize("text", FORMATS.values(), ids=FORMATS.keys())
def test_each_named_format_is_read(text: str) -> None:
    """With a repair that says how, since none of them is JSON as it stands."""
    parsed = parse(text, Incident)
    assert parsed.value == MEANT
    assert parsed.complete
    assert parsed.repairs


@pytest.mark.prove(20)
def test_the_formats_are_a_chain_in_which_json_comes_first() -> None:
    """Tags and lines are read only when no JSON fits, and the block before the prose."""
    rest = "\n\n".join(FORMATS[name].replace("P1", "P9") for name in ("tags", "key: value lines"))
    other = JSON.replace("P1", "P8")
    assert parse(f"{rest}\n```json\n{JSON}\n```\n", Incident).value == MEANT
    assert parse(f"```json\n{JSON}\n```\nnot {other}", Incident).value == MEANT
    assert parse(f"{rest}\n{JSON}", Incident).value == MEANT


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        (Model, Model(severity="P1", hosts=["db-1", "db-2"], minutes=12)),
        (Incident, MEANT),
        (Struct, Struct("P1", ["db-1", "db-2"], 12)),
        (Typed, {"severity": "P1", "hosts": ["db-1", "db-2"], "minutes": 12}),
        (dict[str, Any], {"severity": "P1", "hosts": ["db-1", "db-2"], "minutes": 12}),
        (Incident | list[int], MEANT),
        (None, {"severity": "P1", "hosts": ["db-1", "db-2"], "minutes": 12}),
    ],
)
def test_a_text_becomes_the_type_that_is_wanted(wanted: Any, meant: Any) -> None:
    """As strict JSON without repairs, and from prose with one."""
    whole = parse(JSON, wanted)
    assert whole.value == meant
    assert whole.repairs == ()
    assert [repair.kind for repair in parse(f"It is {JSON}.", wanted).repairs] == ["extracted"]


@pytest.mark.parametrize(
    ("text", "wanted", "meant"),
    [
        ("I would say **High**.", Severity, Severity.HIGH),
        ("P2", Literal["P1", "P2"], "P2"),
        ("NOW this is relevant (YES)", bool, True),
        ("$1,234.50", float, 1234.5),
        ("- db-1\n- db-2", list[str], ["db-1", "db-2"]),
        ("1. one\n2. two", list[str], ["one", "two"]),
        ('{"a": 1} and then {"a": 2}', list[dict[str, int]], [{"a": 1}, {"a": 2}]),
        ("as it is {1}", str, "as it is {1}"),
        ("null", int | None, None),
    ],
)
def test_words_numbers_and_lists_are_read_for_scalars_and_lists(text: str, wanted: Any, meant: Any) -> None:
    """The other formats."""
    assert parse(text, wanted).value == meant


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("high or low", Severity),
        ("yes and no", bool),
        ("3,14", float),
        ("€1.234", float),
        ("about 12 minutes", int),
        ("1.5", int),
        ("nothing here", None),
        ("the set {a} and [b]", None),
        ("", None),
        (" \n", dict),
        ('{"severity": "P1"}', Incident),
        ('{"severity": "P3"}', Model),
        ('{"severity": "P1", "minutes": -1}', Model),
        ('{"hosts": {"a": [1, 2}, {"b": 3}]}', list[int]),
        ('["TWO", "THREE"]', Literal["TWO", "THREE"]),
        ('{"a": [1, 2], ["b"], "c": 3}', None),
        ("x" * 20, Incident),
    ],
)
def test_what_would_be_a_guess_is_refused(text: str, wanted: Any) -> None:
    """Rather no value than one that nobody wrote."""
    with pytest.raises(ParseError):
        parse(text, wanted)


def test_a_refusal_lists_what_was_tried() -> None:
    """Where, and why it did not fit."""
    with pytest.raises(ParseError, match=r"\$\.hosts|hosts") as caught:
        parse('I think {"severity": "P1"} it is', Incident)
    (candidate,) = caught.value.candidates
    assert (candidate.source, candidate.start, candidate.end) == ("bare JSON", 8, 26)
    assert "the field 'hosts'" in candidate.outcome


def test_strict_takes_json_anywhere_and_mends_nothing() -> None:
    """Two values that fit are refused, since one would be a guess."""
    assert parse('The answer: {"a": 1}.', policy="strict").value == {"a": 1}
    for text in ("{'a': 1}", '{"a": 1} or {"a": 2}'):
        with pytest.raises(ParseError):
            parse(text, dict[str, int], policy="strict")
    with pytest.raises(ParseError):
        parse('{"a": "1"}', dict[str, int], policy="strict")


def test_loose_rounds_and_takes_the_only_number() -> None:
    """With a repair."""
    assert parse("1.6", int, policy="loose").value == 2
    parsed = parse("about 12 minutes", int, policy="loose")
    assert parsed.value == 12
    assert "number" in {repair.kind for repair in parsed.repairs}


def test_nothing_is_left_out_without_a_repair() -> None:
    """An unknown key (which pydantic would ignore), a key without value, a word, a key that is there twice."""
    parsed = parse('{"severity": "P1", "extra": 1}', Model)
    assert [(repair.kind, repair.path) for repair in parsed.repairs][-1] == ("dropped", "$")
    assert parse('{"a": 1, "b": , c}').value == {"a": 1}
    assert [repair.kind for repair in parse('{"a": 1, "b": , c}').repairs].count("dropped") == 2
    assert [repair.kind for repair in parse('{"a": 1, "a": 2}').repairs] == ["duplicate"]


def test_of_two_that_fit_equally_the_last_is_taken_and_that_is_said() -> None:
    """The first may be quoted from the question."""
    parsed = parse('You wrote {"a": 1}. The answer is {"a": 2}.', dict[str, int])
    assert parsed.value == {"a": 2}
    assert parsed.repairs[-1].kind == "ambiguous"


def test_a_path_says_where_in_the_value() -> None:
    """Through objects and lists."""
    parsed = parse('{"a": [1, {"b": "x"}, {"b": None}]}')
    assert [(repair.kind, repair.path) for repair in parsed.repairs] == [("literal", "$.a[2].b")]


@pytest.mark.parametrize("text", ['[" :"]', '["\\u0041", {"a": 1}]', '{"a" : 1}', '[{"a": 1}, {"a": 1}]'])
def test_json_that_fits_as_it_stands_has_no_repair(text: str) -> None:
    """Also where a second look is needed to see that no key is there twice."""
    assert parse(text).repairs == ()


def test_a_backslash_before_a_quote_inside_a_string_is_no_escaped_json() -> None:
    """Only quotes that are escaped from the first on mean that the whole was."""
    assert parse(r"""['\\"']""").value == ['\\"']
    assert parse(r"{\"a\": [1]}").value == {"a": [1]}


def test_no_number_becomes_infinite() -> None:
    """One that no float holds stays the text that it was, with a repair."""
    parsed = parse('{"a": 1e400, "b": NaN}')
    assert parsed.value == {"a": "1e400", "b": "NaN"}
    assert len(parsed.repairs) == 2


def test_yaml_is_read_only_when_asked() -> None:
    """It takes almost any text for a value, so it never joins in by itself."""
    text = "```yaml\nseverity: P1\nhosts: [db-1, db-2]\nnotes: |\n  two\n  lines\n```"
    schema = {"type": "object", "properties": {"notes": {"type": "string"}, "hosts": {"type": "array"}}}
    assert parse(text, schema, yaml=True).value["notes"] == "two\nlines\n"
    assert parse(text, schema).value["notes"] != "two\nlines\n"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "{'a':" * 70 + "}" * 70, "[" * 70 + "'" + "]" * 70])
def test_what_is_too_deep_is_said_to_be(text: str) -> None:
    """No RecursionError."""
    with pytest.raises(ParseError, match=r"deep|levels"):
        parse(text)


def test_what_is_too_long_or_no_text_is_said_to_be() -> None:
    """Before any work is done."""
    with pytest.raises(ParseError, match=r"11 characters, more than 10"):
        parse("x" * 11, max_chars=10)
    with pytest.raises(ParseError, match="binary"):
        parse("\x00\x01\x02\x03\x04\x05\x06 {}")
    with pytest.raises(ParseError, match="byte 0 is 0xff"):
        parse(b"\xff{}")
    with pytest.raises(ParseError, match="digits"):
        parse("{'a': " + "1" * 5000 + "}")


class Unknown:
    """A class that nothing knows how to fill."""

    def __init__(self, anything: object) -> None:
        self.anything = anything


@dataclass
class Holder:
    inner: list[Unknown]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Holder, r"Holder\.inner\[0\]"),
        ({"type": "object", "properties": {"a": {"type": "bogus"}}}, r"'bogus' at \$\.a"),
        ({"properties": {"a": {"not": {}}}}, r"'not' at \$\.a"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "without end"),
        ({"items": {"$ref": "#/nowhere"}}, r"nothing is there"),
        ({"$ref": 3}, r"\$ref 3 at \$"),
        ({"pattern": "(", "type": "string"}, "pattern"),
        (3, "neither a type nor a JSON Schema"),
    ],
)
def test_a_type_that_cannot_be_expressed_is_refused_with_its_path(wanted: Any, said: str) -> None:
    """Never taken as 'anything'."""
    with pytest.raises(ConfigError, match=said):
        parse("{}", wanted)


def test_a_recursive_type_is_read() -> None:
    """A schema may contain itself, as long as the value ends."""
    schema = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}}}
    assert parse("{n: {n: {}}}", schema).value == {"n": {"n": {}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1', {}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": tru', {}),
        ('{"a": "tex', {"a": "tex"}),
        ('```json\n{"a": [1, 2', {"a": [1]}),
        ('[{"a": 1}, {"', [{"a": 1}, {}]),
    ],
)
def test_a_growing_text_never_gives_a_cut_number_or_word(text: str, value: Any) -> None:
    """A string may grow, since that is what a reader of a stream wants to see."""
    parsed = parse(text, partial=True)
    assert parsed.value == value
    assert not parsed.complete


def test_a_growing_value_has_no_required_fields_and_no_cut_enum() -> None:
    """The last field waits until it fits."""
    got: Any = parse('{"hosts": ["db-1"], "severity": "P', Model, partial=True).value
    assert got == {"hosts": ["db-1"]}
    got = parse('{"severity": "P1", "hosts": ["d', Model, partial=True).value
    assert got == {"severity": "P1", "hosts": ["d"]}
