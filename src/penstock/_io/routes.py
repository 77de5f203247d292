"""The router of a client with what it must know: the settings, what was learned, and who holds which conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .._flow.routed import asked, check, facts_of
from .._policy.choosing import Judge, ModelFacts, Picks, Routing, choose, named
from .._policy.routing import Route, Router
from .._wire import registry
from .._wire.protocol import Provider
from ..errors import ConfigError
from ..types import Request

if TYPE_CHECKING:
    from .._text.learned import Learned  # loaded with the first calibration

CALIBRATION_MAX_BYTES = 16 * 1024 * 1024


class Routes:
    """Chooses the models of calls that name none, and holds those that name one to their region."""

    def __init__(
        self,
        router: Router,
        routing: Routing | None,
        providers: Mapping[str, Provider],
        warm: Callable[[Request], str | None],
    ) -> None:
        self._router = router
        self._routing = routing = routing or Routing()
        self._providers = providers
        self._warm = warm
        self._learned = None if routing.calibration is None else load_learned(routing.calibration)
        self._facts: dict[str, ModelFacts] = {}
        self._picks: Picks = {}
        self._models = {self._canonical(name): facts for name, facts in routing.models.items()}

    def route(self, request: Request, options: Mapping[str, Any]) -> Route:
        """Return the route of a call; `options` are model, tier, task, region and fallbacks.

        Raises: ConfigError.
        """
        check(options)
        warm = self._warm(request) if self._routing.sticky_s else None
        question = asked(request, options, self._judge, warm)
        model = options.get("model")
        if model is None:
            route = choose(self._router, self._routing, question, self._facts_of, self._picks)
        else:
            route = msgspec.structs.replace(self._router.route(model, question.tier), tokens=question.tokens)
        if "fallbacks" in options:
            own = tuple(self._canonical(name) for name in options["fallbacks"])
            route = msgspec.structs.replace(route, candidates=tuple(dict.fromkeys((route.candidates[0], *own))))
        return named(route, question, self._facts_of)

    def table(self) -> list[object]:
        """Return all that decides a route beside the router's own table, for comparing."""
        learned = None if self._learned is None else blake2b(repr(self._learned).encode(), digest_size=16).hexdigest()
        return [repr(self._routing), learned]

    @property
    def sticky_s(self) -> float:
        """How long a conversation stays with its model."""
        return self._routing.sticky_s

    def context(self, model: str) -> int | None:
        """Return how many tokens the window of a model has, None where nobody knows."""
        return self._facts_of(model).context

    @cached_property
    def _judge(self) -> Judge:
        from .._flow.judging import judge_of  # loaded with the first prompt that is judged

        return judge_of(self._routing, self._learned)

    def _facts_of(self, model: str) -> ModelFacts:
        found = self._facts.get(model)
        if found is None:
            provider, name = registry.resolve(model, self._providers)
            found = self._facts[model] = facts_of(name, provider, self._models, model)
        return found

    def _canonical(self, name: str) -> str:
        if name in self._providers:
            return name
        provider, model = registry.resolve(name, self._providers)
        return f"{provider.name}:{model}"


def load_learned(path: str) -> Learned:
    """Read a calibration.

    Raises: ConfigError.
    """
    from .._text.learned import read

    try:
        with Path(path).open("rb") as file:
            data = file.read(CALIBRATION_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(
            f"routing.calibration: {path} cannot be read: {why}; make one with: penstock route calibrate FILE -o {path}"
        ) from None
    if len(data) > CALIBRATION_MAX_BYTES:
        raise ConfigError(f"routing.calibration: {path} has more than {CALIBRATION_MAX_BYTES // 2**20} MiB")
    return read(data, path)
