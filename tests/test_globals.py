"""No module of the package has a global that changes while calls are made."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import FunctionType, ModuleType
from typing import Any

import pytest

import penstock
from penstock import Budget, Limits
from penstock.testing import Scripted

from .flow.colours import anthropic_reply, openai_error, openai_events, openai_reply, run

CONTAINERS = (dict, list, set, bytearray)


def modules() -> list[ModuleType]:
    """Every module of the client; the simulator is a program of its own."""
    for found in pkgutil.walk_packages(penstock.__path__, "penstock."):
        if not found.name.startswith(("penstock.sim", "penstock.cli", "penstock.__main__")):
            importlib.import_module(found.name)
    names = [name for name in sys.modules if name == "penstock" or name.startswith("penstock.")]
    return [sys.modules[name] for name in sorted(names) if not name.startswith("penstock.sim")]


def state() -> dict[str, Any]:
    """What the globals of all modules, the attributes of their classes and the defaults of their functions are."""
    found: dict[str, Any] = {}
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("__") or isinstance(value, ModuleType):
                continue
            where = f"{module.__name__}.{name}"
            found[where] = shown(value)
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if isinstance(value, type):
                inside = {name: each for name, each in vars(value).items() if not name.startswith("__")}
                found.update({f"{where}.{name}": shown(each) for name, each in inside.items()})
            elif isinstance(value, FunctionType):
                found[f"{where}()"] = shown([*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()])[1]
    return found


def shown(value: object) -> Any:
    """A value as it is now: which one, and for a container what is in it."""
    return id(value), repr(value) if isinstance(value, CONTAINERS) else None


def use_the_client(colour: str) -> None:
    """Calls of all kinds: answers, streams, errors, retries, limits, budgets."""
    options: dict[str, Any] = {"limits": Limits(rpm=6000), "budget": Budget(total="1", daily="1", tags={"a=b": "1"})}
    for _ in range(3):
        run(colour, [openai_reply()], client=options, max_tokens=5, tags={"a": "b"})
        run(colour, [anthropic_reply()], model="anthropic:claude-haiku-4-5")
        run(colour, [openai_error(429, **{"retry-after-ms": "1"}), openai_reply()])
        run(colour, [openai_error(500), openai_error(400)])
        run(colour, [Scripted(body=openai_events("a", "b"))], stream=True)
        run(colour, [Scripted(body=openai_events("a", done=False))], stream=True)


@pytest.mark.prove(23)
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_no_global_of_a_module_changes_while_calls_are_made(colour: str) -> None:
    """Neither which object it is nor what is in it; what is loaded at its first use is loaded before."""
    use_the_client(colour)
    before = state()
    use_the_client(colour)
    after = state()
    assert [name for name in after if after[name] != before.get(name)] == []


def test_a_global_that_changes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another object under the name, or something more in a list."""
    seen: list[int] = []
    monkeypatch.setattr(penstock.errors, "SEEN", seen, raising=False)
    before = state()
    seen.append(1)
    monkeypatch.setattr(penstock.errors, "EXIT_DATA", 0)
    after = state()
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"penstock.errors.SEEN", "penstock.errors.EXIT_DATA"}
