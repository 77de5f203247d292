"""XML-style tags: elements of a text as values, without an XML parser, so that nothing is expanded or fetched."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Final, NamedTuple

_TAG: Final = re.compile(r"<(/?)([A-Za-z_][\w.\-]{0,100})(?:\s[^<>]{0,1000})?(/?)>")
_ENTITY: Final = re.compile(r"&(lt|gt|amp|quot|apos);")
_ENTITIES: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
MAX_DEPTH: Final = 64
MAX_TAGS: Final = 20_000


class Element(NamedTuple):
    """One element: its name, where it is, and its children or its text."""

    name: str
    start: int
    end: int
    children: tuple[Element, ...]
    text: str

    def ordered(self) -> Any:
        """Write the content as a list of {name: content} in its order; without elements its text, None if empty."""
        if self.children:
            return [{child.name: child.ordered()} for child in self.children]
        return self.text or None

    def fields(self) -> Any:
        """Write the content as an object; elements that repeat become a list."""
        return fields(self.children) if self.children else self.text


class _Open(NamedTuple):
    name: str
    start: int
    inside: int
    children: list[Element]


def elements(text: str, start: int = 0) -> list[Element]:
    """Find the outermost elements that are closed, in one pass."""
    done: list[Element] = []
    stack: list[_Open] = []
    names: dict[str, int] = {}
    for tag in islice(_TAG.finditer(text, start), MAX_TAGS):
        name = tag[2]
        if tag[3]:
            (stack[-1].children if stack else done).append(Element(name, tag.start(), tag.end(), (), ""))
        elif not tag[1]:
            if len(stack) < MAX_DEPTH:
                stack.append(_Open(name, tag.start(), tag.end(), []))
                names[name] = names.get(name, 0) + 1
        elif names.get(name):
            while stack[-1].name != name:  # what was opened inside and never closed is text
                lost = stack.pop()
                names[lost.name] -= 1
                (stack[-1].children if stack else done).extend(lost.children)
            opened = stack.pop()
            names[name] -= 1
            element = _element(text, opened, tag)
            (stack[-1].children if stack else done).append(element)
    for opened in stack:
        done.extend(opened.children)
    return done


def _element(text: str, opened: _Open, closing: re.Match[str]) -> Element:
    """Make an element; where words stand between its children it is text with markup, and stays text."""
    at, children = opened.inside, opened.children
    for child in children:
        if text[at : child.start].strip():
            children = []
            break
        at = child.end
    if children and text[at : closing.start()].strip():
        children = []
    body = "" if children else text[opened.inside : closing.start()].strip()
    if body.startswith("<![CDATA[") and body.endswith("]]>"):
        body = body[9:-3]
    else:
        body = _ENTITY.sub(lambda found: _ENTITIES[found[1]], body)
    return Element(opened.name, opened.start, closing.end(), tuple(children), body)


def fields(found: tuple[Element, ...] | list[Element]) -> dict[str, Any]:
    """Write elements as an object; names that repeat become a list."""
    made: dict[str, Any] = {}
    repeated: set[str] = set()
    for element in found:
        value = element.fields()
        if element.name in repeated:
            made[element.name].append(value)
        elif element.name in made:
            made[element.name] = [made[element.name], value]
            repeated.add(element.name)
        else:
            made[element.name] = value
    return made
