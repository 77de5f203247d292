"""The options that all commands of the SRE kit share, and what they mean for a client."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from .choice import Dollars, Number, budget_of, default_model

if TYPE_CHECKING:
    from .._io.settings import Settings

Form = Literal["text", "json"]
SEVERITIES: Final = ("P1", "P2", "P3", "P4")

EXIT_FOUND: Final = 10
"""What --fail-on was looking for is there: nothing went wrong, and a script must still be able to tell."""

_SHARED: Final = (
    click.option("-m", "--model", metavar="PROVIDER:NAME", help="Whom to ask, e.g. anthropic:claude-haiku-4-5."),
    click.option("--tier", type=click.Choice(["simple", "moderate", "complex", "expert"]),
                 help="Let the router choose."),
    click.option("--redact/--no-redact", default=True,
                 help="Replace secrets and personal data before anything is sent (default), or send all as it is."),
    click.option("--redact-ip", is_flag=True, help="Replace IP addresses as well."),
    click.option("--max-tokens", type=click.IntRange(min=1), help="The longest answer."),
    click.option("--budget", type=Dollars(), metavar="DOLLARS", help="The most this may cost."),
    click.option("--deadline", "deadline_s", type=Number(positive=True), metavar="SECONDS",
                 help="When to give up, retries included."),
    click.option("--text", "form", flag_value="text", help="Print for people (default on a terminal)."),
    click.option("--json", "form", flag_value="json", help="Print one JSON object (default into a pipe)."),
)  # fmt: skip

tokens_option: Final = click.option(
    "--tokens", type=click.IntRange(min=200), default=16_000, show_default=True, metavar="N",
    help="About how much of the logs is shown to the model; less where its window is smaller.",
)  # fmt: skip
fail_option: Final = click.option(
    "--fail-on", type=click.Choice(SEVERITIES[:3]), metavar="P1|P2|P3",
    help="Exit with 10 when the severity is this or worse.",
)  # fmt: skip


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, in their order."""
    for option in reversed(_SHARED):
        function = option(function)
    return function


class Asked:
    """What the shared options of one command say."""

    def __init__(self, options: dict[str, Any], *, tier: str) -> None:
        self.form: Form | None = options.pop("form")
        self.budget: Decimal | None = options.pop("budget")
        self._redact: bool = options.pop("redact")
        self._ip: bool = options.pop("redact_ip")
        self._tier = tier
        self._options = {name: value for name, value in options.items() if value is not None}

    @property
    def redact(self) -> Any:
        """What is replaced: everything but addresses, those too, or nothing."""
        if self._redact and self._ip:
            from .._text.redact import KINDS, OPTIONAL

            return (*KINDS, *OPTIONAL)
        if self._ip:
            raise click.UsageError("--redact-ip and --no-redact exclude each other")
        return self._redact

    def settings_of_client(self) -> dict[str, Any]:
        """Arguments for the client."""
        return {"budget": budget_of(self.budget)}

    def options_of_calls(self, settings: Settings) -> dict[str, Any]:
        """Options for every call: who is asked, where the command names nobody.

        Raises: MissingKey, ConfigError.
        """
        options = {"priority": "interactive", **self._options}
        if "model" not in options and "tier" not in options:
            if self._tier in (settings.file.tiers or {}):
                options["tier"] = self._tier
            else:
                options["model"] = default_model(settings)
        return options


def at_least(severity: str, wanted: str | None) -> bool:
    """Whether a severity is what is looked for, or worse."""
    return wanted is not None and severity in SEVERITIES and SEVERITIES.index(severity) <= SEVERITIES.index(wanted)
