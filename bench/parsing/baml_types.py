"""BAML's parser for a JSON Schema: the schema is written as BAML types, which BAML compiles.

A schema is compiled once, at its first case, which BAML itself does ahead of time: its mean time is that much too high.
"""

import enum
import json
import types
from functools import lru_cache
from typing import Any

JSON_TYPE = "type AnyJson = int | float | bool | string | null | AnyJson[] | map<string, AnyJson>\n"
CLIENT = 'client<llm> Nobody {\n  provider openai\n  options {\n    model "m"\n    api_key "k"\n  }\n}\n'
SCALARS = {"string": "string", "integer": "int", "number": "float", "boolean": "bool", "null": "null"}


class _Writer:
    def __init__(self, root: Any) -> None:
        self.root = root
        self.blocks: dict[str, str] = {}
        self.names: dict[str, dict[str, str]] = {}
        self.enums: set[str] = set()

    def named(self, name: str, schema: Any) -> str:
        """Write a class, an enum or an alias of its own."""
        if name in self.blocks:
            return name
        self.blocks[name] = ""
        if "enum" in schema and name not in SCALARS:
            aliases = schema.get("x-enum-aliases", {})
            lines = [f"  {value}{alias(aliases.get(value))}" for value in schema["enum"]]
            self.blocks[name] = "\n".join([f"enum {name} {{", *lines, "}"])
            self.enums.add(name)
        elif "properties" in schema:
            lines, names = [], {}
            for at, (key, part) in enumerate(schema["properties"].items()):
                names[f"f{at}"] = key
                optional = "" if key in schema.get("required", ()) else "?"
                lines.append(f"  f{at} ({self.type(part)}){optional}{alias(part.get('x-aliases', [key])[0])}")
            self.names[name] = names
            self.blocks[name] = "\n".join([f"class {name} {{", *lines, "}"])
        else:
            self.blocks[name] = f"type {name} = {self.type(schema)}"
        return name

    def type(self, schema: Any) -> str:
        """Write a type where it stands."""
        if "$ref" in schema:
            found = self.root
            for step in schema["$ref"].split("/")[1:]:
                found = found[step]
            return self.named(schema["$ref"].rsplit("/", 1)[-1], found)
        if "anyOf" in schema:
            return "(" + " | ".join(self.type(part) for part in schema["anyOf"]) + ")"
        if "const" in schema:
            return json.dumps(schema["const"], ensure_ascii=False)
        if "enum" in schema:
            return "(" + " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"]) + ")"
        if "properties" in schema:
            return self.named(f"Inline{len(self.blocks)}", schema)
        if schema.get("type") == "array":
            return f"({self.type(schema.get('items', {}))})[]"
        if schema.get("type") == "object":
            rest = schema.get("additionalProperties", {})
            return f"map<string, {self.type(rest if isinstance(rest, dict) else {})}>"
        return SCALARS.get(schema.get("type"), "AnyJson") if isinstance(schema.get("type"), str) else "AnyJson"


def alias(name: str | None) -> str:
    return "" if name is None else f" @alias({json.dumps(name, ensure_ascii=False)})"


class _Plain:
    """What BAML fills: takes any fields."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    @classmethod
    def model_validate(cls, fields: dict[str, Any]) -> "_Plain":
        return cls(fields)


@lru_cache(maxsize=1024)
def _runtime(text: str) -> Any:
    import baml_py

    schema = json.loads(text)
    writer = _Writer(schema)
    result = writer.type(schema) if schema is not None else "AnyJson"
    source = JSON_TYPE + CLIENT + "\n".join(writer.blocks.values())
    source += f'\nfunction AskNobody() -> {result} {{\n  client Nobody\n  prompt #"{{{{ ctx.output_format }}}}"#\n}}\n'
    runtime = baml_py.BamlRuntime.from_files("/baml", {"a.baml": source}, {})
    classes, enums = types.ModuleType("classes"), types.ModuleType("enums")
    for name, fields in writer.names.items():
        setattr(classes, name, type(name, (_Plain,), {"names": fields}))
    for name in writer.enums:
        values = schema_of(schema, name)["enum"]
        setattr(enums, name, enum.Enum(name, {value: value for value in values}))
    return runtime, runtime.create_context_manager(), classes, enums


def schema_of(schema: Any, name: str) -> Any:
    return schema["$defs"][name] if name in schema.get("$defs", {}) else schema["definitions"][name]


def parse(text: str, schema: Any) -> Any:
    """Read a text as BAML does."""
    runtime, context, classes, enums = _runtime(json.dumps(schema))
    return _plain(
        runtime.parse_llm_response("AskNobody", text, enums, classes, classes, False, context, None, None, {})
    )


def _plain(value: Any) -> Any:
    if isinstance(value, _Plain):
        names = type(value).names  # type: ignore[attr-defined]
        return {names[key]: _plain(item) for key, item in value.fields.items()}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
