"""Write the tables of docs/reference/providers.md, each between `<!-- NAME -->` and `<!-- end -->`.

    providers    who there is: from src/penstock/_wire/providers.toml
    conduct      what is said of each in that file beyond its address
    parameters   what each protocol takes: every parameter and part is encoded, and what is refused is seen
    families     what models take: from src/penstock/_wire/families.py

With `--check` nothing is written: exits with 1 when the page differs.
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from penstock._wire import registry  # noqa: E402
from penstock._wire.families import FAMILIES  # noqa: E402
from penstock._wire.protocol import Provider  # noqa: E402
from penstock.errors import PenstockError  # noqa: E402
from penstock.types import (  # noqa: E402
    Audio,
    Document,
    Image,
    JSONSchema,
    Message,
    Part,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

TABLE = ROOT / "src" / "penstock" / "_wire" / "providers.toml"
PAGE = ROOT / "docs" / "reference" / "providers.md"

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
TOOL = Tool(name="f", description="d", parameters=SCHEMA)
PARAMETERS: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens": 9},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 5},
    "stop": {"stop": ("x",)},
    "seed": {"seed": 1},
    "n": {"n": 2},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "presence_penalty": {"presence_penalty": 0.5},
    "logit_bias": {"logit_bias": {"1": 1.0}},
    "logprobs": {"logprobs": True},
    "top_logprobs": {"top_logprobs": 2},
    "tools": {"tools": (TOOL,)},
    "tool_choice": {"tools": (TOOL,), "tool_choice": "f"},
    "parallel_tool_calls": {"tools": (TOOL,), "parallel_tool_calls": False},
    "response_format='json'": {"response_format": "json"},
    "response_format=JSONSchema": {"response_format": JSONSchema(schema=SCHEMA)},
    "reasoning_effort": {"reasoning_effort": "low"},
    "thinking": {"thinking": Thinking(mode="adaptive", display="summarized")},
    "thinking with budget_tokens": {"thinking": Thinking(mode="enabled", budget_tokens=2048), "max_tokens": 4096},
    "verbosity": {"verbosity": "low"},
    "service_tier": {"service_tier": "default"},
    "metadata": {"metadata": {"a": "b"}},
    "user": {"user": "u"},
    "prompt_cache": {"prompt_cache": "5m"},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    "modalities with audio": {"modalities": ("text", "audio")},
    "audio": {"audio": {"voice": "v", "format": "wav"}},
    "prediction": {"prediction": {"type": "content", "content": "a"}},
    "store": {"store": True},
}
PARTS: dict[str, Part] = {
    "Text with cache": Text("a", "5m"),
    "Image by url": Image(url="https://x/a.png"),
    "Image by data": Image(data="QQ==", media_type="image/png"),
    "Image with detail": Image(url="https://x/a.png", detail="low"),
    "Document by url": Document(url="https://x/a.pdf"),
    "Document by data": Document(data="QQ==", media_type="application/pdf"),
    "Document by file_id": Document(file_id="file-1"),
    "Document with citations": Document(text="a", citations=True),
    "Audio": Audio(data="QQ==", format="wav"),
}


def cell(values: Any, otherwise: str = "–") -> str:
    """Names in code type."""
    return " ".join(f"`{value}`" for value in values) or otherwise


def lines(head: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    written = ["| " + " | ".join(row) + " |\n" for row in (head, *rows)]
    return written[0] + "|" + "---|" * len(head) + "\n" + "".join(written[1:])


def known_rows() -> dict[str, Provider]:
    """The rows as Penstock reads them."""
    return registry.parse(TABLE.read_text(encoding="utf-8"), TABLE.name)


def providers() -> str:
    """One line per provider: where it is, and how it is asked for."""
    written = []
    for name, row in known_rows().items():
        title = f"[`{name}`]({row.docs})" if row.docs else f"`{name}`"
        written.append(
            [
                title + "".join(f", `{alias}`" for alias in row.aliases),
                f"`{row.wire}`" + (f", account of `{row.account}`" if row.account else ""),
                f"`{row.base_url}`" if row.base_url else "your own",
                cell(row.key_env) + (" (not needed)" if row.local else ""),
                cell(row.base_url_env),
                cell(row.models),
            ]
        )
    return lines(["provider", "wire", "address", "key", "address from", "bare names"], written)


def conduct() -> str:
    """One line per provider: what differs from its protocol."""
    written = []
    for name, row in known_rows().items():
        vectors = "–" if row.embeddings == "none" else f"{row.embeddings_inputs} texts"
        written.append(
            [
                f"`{name}`",
                f"`{row.max_tokens_field}`" if row.wire == "openai_chat" else "–",
                "yes" if row.json_schema else "no",
                cell(row.takes),
                cell(row.unsupported),
                f"`{row.limits}`",
                f"`{row.counting}`",
                f"`{row.batch}`" if row.batch else "–",
                vectors,
            ]
        )
    head = [
        "provider",
        "length",
        "schema",
        "takes beyond it",
        "refuses",
        "limit headers",
        "counting",
        "batch",
        "embeds",
    ]
    return lines(head, written)


def taken(provider: Provider, **fields: Any) -> bool:
    """Whether a protocol takes a request with these fields."""
    try:
        messages = fields.pop("messages", (Message("user", "hi"),))
        request = Request(model="m", messages=messages, **fields)
        registry.wire(provider.wire).encode(request, provider, stream=False)
    except PenstockError:
        return False
    return True


def parameters() -> str:
    """One line per parameter and part, one column per protocol."""
    rows = [Provider(name=wire, wire=wire) for wire in registry.WIRES]
    questions: dict[str, Callable[[Provider], bool]] = {}
    for name, fields in PARAMETERS.items():
        questions[name] = lambda row, fields=fields: taken(row, **fields)  # type: ignore[misc]
    for name, part in PARTS.items():
        questions[name] = lambda row, part=part: taken(row, messages=(Message("user", (part,)),))  # type: ignore[misc]
    call = Message("assistant", (ToolCall(id="c", name="f"),))
    picture = Message("tool", (ToolResult(tool_call_id="c", content=(Image(url="https://x/a.png"),)),))
    questions["Image in a ToolResult"] = lambda row: taken(row, messages=(call, picture), tools=(TOOL,))
    return lines(
        ["what", *(f"`{row.wire}`" for row in rows)],
        [[name, *("yes" if ask(row) else "–" for row in rows)] for name, ask in questions.items()],
    )


def families() -> str:
    """One line per family of models."""
    said = {True: "yes", False: "no", None: "?"}
    written = [
        [
            f"`{row.pattern}`",
            "?" if row.context is None else f"{row.context:,}",
            "?" if row.max_output is None else f"{row.max_output:,}",
            *(said[value] for value in (row.images, row.documents, row.audio, row.tools, row.schema)),
            cell(row.rejects),
            cell(row.wires, "any"),
        ]
        for row in FAMILIES
    ]
    head = ["models like", "context", "output", "vision", "documents", "audio", "tools", "schema", "rejects", "wires"]
    return lines(head, written)


TABLES = {"providers": providers, "conduct": conduct, "parameters": parameters, "families": families}


def place(name: str) -> re.Pattern[str]:
    """Where a table stands in the page."""
    return re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """The page with the tables as they are now."""
    for name, write in TABLES.items():
        table = write()
        page = place(name).sub(lambda _, table=table: table, page, count=1)  # type: ignore[misc]
    return page


def main(args: list[str] | None = None) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 when the page is out of date")
    chosen = parser.parse_args(args)
    page = PAGE.read_text(encoding="utf-8")
    for name in TABLES:
        if not place(name).search(page):
            print(f"{PAGE.relative_to(ROOT)}: no place for a table; add <!-- {name} --> and <!-- end -->")
            return 1
    if not chosen.check:
        PAGE.write_text(filled(page), encoding="utf-8")
    elif filled(page) != page:
        print(f"{PAGE.relative_to(ROOT)}: differs from the tables; run: .venv/bin/python tools/provider_page.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
