"""A value that grows while it streams, in both colours: what is shown, and how it is left."""

from __future__ import annotations

from typing import Literal

import pydantic
import pytest

from penstock.errors import TruncatedOutput

from .extractions import extract, refuses, says, streams

COLOURS = pytest.mark.parametrize("colour", ["sync", "async"])
GOOD = '{"severity": "P1", "service": "db", "minutes": 3}'
REFUSED = "Invalid schema for response_format 'Incident': 'minimum' is not permitted."


class Incident(pydantic.BaseModel):
    severity: Literal["P1", "P2"]
    service: str = pydantic.Field(min_length=1)
    minutes: int = 3


@COLOURS
def test_a_stream_gives_values_that_grow_and_then_the_checked_one(colour: str) -> None:
    """Never a cut number or word of an enum; strings and lists grow."""
    pieces = ['{"sever', 'ity": "P', '1", "service": "the long ', 'name of a database", ', '"minutes": 1', "2}"]
    done = extract(colour, Incident, [streams(*pieces)], stream=True)
    assert done.grown[-1] == Incident(severity="P1", service="the long name of a database", minutes=12)
    plain = done.grown[:-1]
    assert all(isinstance(value, dict) for value in plain)
    assert all(value.get("severity", "P1") == "P1" for value in plain)
    assert all(value.get("minutes", 12) == 12 for value in plain)
    lengths = [len(value.get("service", "")) for value in plain]
    assert lengths == sorted(lengths)
    assert done.result.repairs == ()
    assert done.transport.open == 0


@COLOURS
def test_a_stream_of_a_list_gives_the_list(colour: str) -> None:
    """Without the object around it."""
    done = extract(colour, list[int], [streams('{"result": [1, 2', "2, 333, ", "4]}")], stream=True)
    assert done.grown[-1] == [1, 22, 333, 4]
    assert all(value == [1, 22, 333, 4][: len(value)] for value in done.grown)


@COLOURS
def test_a_second_question_of_a_stream_is_not_shown(colour: str) -> None:
    """Values only grow; the answer to it is the last value."""
    done = extract(colour, Incident, [streams('{"severity": "P1", ', '"minutes": 5}'), says(GOOD)], stream=True)
    assert done.grown[-1] == Incident(severity="P1", service="db")
    assert done.result.reasked == 1
    assert done.bodies[1].get("stream") is None


@COLOURS
@pytest.mark.prove(20)
def test_a_stream_that_was_cut_is_truncated_with_what_came(colour: str) -> None:
    """At once."""
    done = extract(colour, Incident, [streams('{"severity": "P1", ', '"service": "d', finish="length")], stream=True)
    assert isinstance(done.error, TruncatedOutput)
    assert done.error.value == {"severity": "P1", "service": "d"}
    assert len(done.transport.sent) == 1


def test_a_stream_that_is_left_early_is_settled() -> None:
    """What came is counted, and the connection is given back."""
    done = extract("sync", Incident, [])
    transport = done.transport
    transport._answers = iter([streams('{"severity": "P1", ', '"service": "d', '"}')])
    growing = done.client.stream_extract(Incident, "hi", model="openai:gpt-4o-mini")
    assert next(growing) == {"severity": "P1"}
    growing.close()
    assert transport.open == 0
    assert done.client.usage().usage.estimated
    assert growing.partial is not None
    with pytest.raises(RuntimeError, match="ended early"):
        _ = growing.extracted


def test_a_stream_refused_its_schema_streams_in_the_next_mode() -> None:
    """Nothing was shown yet."""
    script = [refuses(400, REFUSED, "response_format"), streams('{"severity": "P1", ', '"service": "d"}')]
    done = extract("sync", Incident, script, stream=True)
    assert done.result.mode == "tool"
    assert done.grown[-1].service == "d"
