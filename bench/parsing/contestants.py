"""The parsers as the scorer calls them: (text, JSON Schema or None) → value, raising to fail; `…_partial` for prefixes.

Each is used as its documentation shows, with the schema where it takes one. Peers are imported when called, in a
virtual environment of their own.
"""

import json
from typing import Any


def penstock(text: str, schema: Any) -> Any:
    from penstock import parse

    return parse(text, schema).value


def penstock_partial(text: str, schema: Any) -> Any:
    from penstock import parse

    return parse(text, schema, partial=True).value


def json_repair(text: str, schema: Any) -> Any:
    import json_repair as peer

    if schema is None:
        return peer.loads(text)
    return peer.loads(text, schema=schema)


def baml(text: str, schema: Any) -> Any:
    from bench.parsing.baml_types import parse

    return parse(text, schema)


def instructor(text: str, schema: Any) -> Any:
    from instructor.v2.core.json import extract_json_from_codeblock

    return json.loads(extract_json_from_codeblock(text), strict=False)


def langchain(text: str, schema: Any) -> Any:
    from langchain_core.output_parsers.json import JsonOutputParser
    from langchain_core.outputs import Generation

    return JsonOutputParser().parse_result([Generation(text=text)])


def langchain_partial(text: str, schema: Any) -> Any:
    from langchain_core.output_parsers.json import JsonOutputParser
    from langchain_core.outputs import Generation

    return JsonOutputParser().parse_result([Generation(text=text)], partial=True)


def partial_json_parser(text: str, schema: Any) -> Any:
    from partial_json_parser import loads

    return loads(text)


def jiter(text: str, schema: Any) -> Any:
    import jiter as peer

    return peer.from_json(text.encode(), partial_mode="trailing-strings")


def stdlib(text: str, schema: Any) -> Any:
    return json.loads(text)
