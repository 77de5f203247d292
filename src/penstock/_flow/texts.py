"""From what a caller writes to the texts and options of `embed`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Required, TypedDict, get_args

from .._policy.fairqueue import Priority
from ..embeddings import InputType
from ..errors import ConfigError, InputError
from .prompt import check_tags

OnBadInput = Literal["raise", "skip"]

CONCURRENCY: Final = 8
"""Requests side by side; each holds hundreds of texts, so more would only queue at the limit."""


class EmbedOptions(TypedDict, total=False):
    """Everything that `embed` takes beside the texts; all of it by keyword.

    `model` is 'provider:name'. `dimensions` asks for shorter vectors where the model can. `input_type` says what the
    vectors are for, where the provider makes a difference: Cohere must be told, Gemini may be. `on_bad_input`: a text
    that the provider refuses raises InputRejected, or is skipped and listed in `errors`. `deadline_s` bounds the whole
    call, `tags` appear in usage and budgets, `priority` decides who goes first at the limit, `concurrency` is how many
    requests are under way at once. `extra` goes into every body as it is.
    """

    model: Required[str]
    dimensions: int | None
    input_type: InputType | None
    user: str | None
    on_bad_input: OnBadInput
    deadline_s: float | None
    tags: Mapping[str, str]
    priority: Priority
    concurrency: int
    extra: Mapping[str, Any]


EMBED_OPTIONS: Final = frozenset(EmbedOptions.__annotations__)
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "on_bad_input": get_args(OnBadInput),
    "input_type": get_args(InputType),
    "priority": get_args(Priority),
}
_OWN_NAMES: Final = {"input": "the texts are the first argument", "encoding_format": "Penstock chooses it"}


def read_texts(texts: object) -> list[str]:
    """Return what is to be embedded as a list; one text is a list of one.

    Raises: InputError for no text at all, or naming the first index whose input is no text or an empty one.
    """
    if isinstance(texts, str):
        texts = [texts]
    if isinstance(texts, Mapping | bytes | bytearray) or not isinstance(texts, Iterable):
        raise InputError(f"expected a text or a list of texts to embed, got {type(texts).__name__}")
    found = list(texts)
    if not found:
        raise InputError("there is nothing to embed: the list of texts is empty")
    for index, text in enumerate(found):
        if not isinstance(text, str):
            raise InputError(f"the input at index {index} is {_shown(text)}; expected a text")
        if not text or text.isspace():
            what = "an empty text" if not text else "a text of blanks only"
            raise InputError(f"the input at index {index} is {what}, which has no embedding; leave it out")
    return found


def _shown(value: object) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 40 else shown[:39] + '…'}"


def check_options(options: Mapping[str, Any]) -> None:
    """Look at the options of `embed` before anything is sent.

    Raises: ConfigError naming the option.
    """
    for name, value in options.items():
        if name not in EMBED_OPTIONS:
            import difflib

            near = difflib.get_close_matches(name, EMBED_OPTIONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "a parameter without a name here goes into extra={...}"
            raise ConfigError(f"embed has no parameter {name!r}; {hint}")
        if name in _CHOICES and value not in _CHOICES[name] and (name != "input_type" or value is not None):
            raise ConfigError(f"parameter {name!r} is {value!r}; expected one of {', '.join(_CHOICES[name])}")
    for name in ("dimensions", "concurrency"):
        value = options.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"parameter {name!r} is {value!r}; expected a whole number of at least 1")
    user = options.get("user")
    if user is not None and not isinstance(user, str):
        raise ConfigError(f"parameter 'user' is {user!r}; expected a string")
    model = options.get("model")
    if not isinstance(model, str) or not model.strip():
        raise ConfigError(f"model is {model!r}; name one that embeds, e.g. model='openai:text-embedding-3-small'")
    if options.get("tags") is not None:
        check_tags(options["tags"])
    _check_extra(options.get("extra"))


def _check_extra(extra: object) -> None:
    """Refuse what has a name of its own: what the gate does not see it cannot answer for."""
    if extra is None:
        return
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in extra):
        raise ConfigError(f"parameter 'extra' is {extra!r}; expected a dict of parameters by their names")
    for name in extra:
        if name in _OWN_NAMES:
            raise ConfigError(f"extra[{name!r}]: {_OWN_NAMES[name]}")
        if name in EMBED_OPTIONS - {"input_type"}:  # servers of OpenAI's protocol may have one with words of their own
            raise ConfigError(f"extra[{name!r}]: give it as {name}=…")
