"""The simulator behind a real socket: this file owns all waiting, everything else is decided in `simulator`."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
import struct
import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Any

from aiohttp import web

from penstock.sim import control
from penstock.sim.config import SimConfig
from penstock.sim.exchange import Plan
from penstock.sim.faults import Scenario
from penstock.sim.plan import End, Head, Reset, Send, SimRequest, Step, Wait
from penstock.sim.simulator import Simulator

_LINGER_RESET = struct.pack("ii", 1, 0)
_BACKLOG = 4096


class _Clock:
    """Epoch seconds that never go back."""

    def __init__(self) -> None:
        self._offset_s = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset_s + time.monotonic()


class _Broken(Exception):
    """The plan broke the connection on purpose."""


class _Performer:
    """Performs one plan over one connection and settles it, whatever happens."""

    def __init__(self, simulator: Simulator, clock: _Clock, http: web.Request) -> None:
        self._simulator = simulator
        self._clock = clock
        self._http = http
        self._response: web.StreamResponse | None = None
        self._ended = False

    async def run(self, plan: Plan) -> web.StreamResponse:
        simple = _simple(plan)
        if simple is not None:
            for step in plan.steps:
                self._simulator.passed(plan, step, self._clock())
            self._simulator.finish(plan, self._clock())
            return simple
        at: Step | None = None
        begun = due = time.monotonic()
        done = False
        try:
            for at in plan.steps:
                if isinstance(at, Wait):
                    # Waits add up to due times, so that many short ones do not drift.
                    begun, due = due, due + at.seconds
                await self._perform(at, due)
                self._simulator.passed(plan, at, self._clock())
            done = True
        except (_Broken, ConnectionError):
            pass
        finally:
            share = (time.monotonic() - begun) / at.seconds if isinstance(at, Wait) and at.seconds > 0 else 0.0
            self._simulator.finish(plan, self._clock(), aborted=not done, within=None if done else at, share=share)
        return self._response if self._response is not None else web.Response()

    async def _perform(self, step: Step, due: float) -> None:
        match step:
            case Wait(seconds=seconds):
                if math.isinf(seconds):
                    await asyncio.Event().wait()
                elif due > time.monotonic():
                    await asyncio.sleep(due - time.monotonic())
            case Head():
                self._response = web.StreamResponse(status=step.status, headers=list(step.headers))
                self._response.content_length = step.length
                if step.length is None:
                    self._response.enable_chunked_encoding()
                await self._response.prepare(self._http)
            case Send(data=data):
                if data and self._response is not None:
                    await self._response.write(data)
            case Reset(rst=rst):
                self._break(rst=rst)
                raise _Broken
            case End():
                if self._response is not None:
                    await self._response.write_eof()

    def _break(self, *, rst: bool) -> None:
        transport = self._http.transport
        if transport is None:
            return
        if rst:
            raw = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                # A linger of zero seconds makes the kernel send RST instead of FIN.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            transport.abort()
        else:
            transport.close()


def _simple(plan: Plan) -> web.Response | None:
    match plan.steps:
        case [Head() as head, Send() as body, End()] if head.length == len(body.data):
            return web.Response(status=head.status, headers=list(head.headers), body=body.data)
        case _:
            return None


class _App:
    """The aiohttp application around one simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.clock = _Clock()
        self.app = web.Application(client_max_size=simulator.config.max_body_bytes * 2)
        self.app.router.add_route("*", "/__sim__/{name:.*}", self._control)
        self.app.router.add_route("*", "/{path:.*}", self._provider)

    async def _provider(self, http: web.Request) -> web.StreamResponse:
        body = await http.read()
        request = SimRequest(
            method=http.method,
            path=http.path,
            headers={name.lower(): value for name, value in http.headers.items()},
            body=body,
            query=dict(http.query),
        )
        plan = self.simulator.begin(request, self.clock())
        return await _Performer(self.simulator, self.clock, http).run(plan)

    async def _control(self, http: web.Request) -> web.Response:
        body = await http.read()
        found = control.answer(
            self.simulator, http.method, http.match_info["name"], dict(http.query), body, self.clock()
        )
        return web.Response(status=found.status, body=found.body, content_type=found.content_type)


class SimServer:
    """A simulator on a loopback socket, in a thread of its own (`with`) or in the running loop (`async with`).

    `port` 0 takes a free one; `url` has no trailing slash: OpenAI clients want `url + "/v1"`, Anthropic's `url`.
    Raises: OSError when the address cannot be bound.
    """

    def __init__(self, config: SimConfig | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.simulator = Simulator(config)
        self._host = host
        self._wanted_port = port
        self._app: _App | None = None
        self._runner: web.AppRunner | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The base address, e.g. `http://127.0.0.1:40123`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def now(self) -> float:
        """The simulator's clock, epoch seconds."""
        if self._app is None:
            raise RuntimeError("the simulator server is not running")
        return self._app.clock()

    def play(self, scenario: Scenario | str) -> None:
        """Replace the faults by a scenario or by the text of one.

        Raises: ScenarioError for a text that is none.
        """
        parsed = Scenario.parse(scenario) if isinstance(scenario, str) else scenario
        self._on_loop(self.simulator.play, parsed, self.now)

    def reset(self) -> None:
        """Forget bill, log, limits and caches."""
        self._on_loop(self.simulator.reset)

    def bill(self) -> dict[str, Any]:
        """The bill, as `/__sim__/bill` shows it."""
        return control.bill(self.simulator)

    def log(self) -> list[dict[str, Any]]:
        """The log, as `/__sim__/log` shows it."""
        return control.log(self.simulator)

    def limits(self) -> dict[str, Any]:
        """The lanes, as `/__sim__/limits` shows them."""
        return control.limits(self.simulator, self.now)

    def settle(self, timeout_s: float = 5.0) -> bool:
        """Wait, in a thread that is not the server's, until every exchange is on the bill; False when time ran out.

        A client knows of the end of a cut exchange before the server does; ask this before comparing bills.
        """
        until = time.monotonic() + timeout_s
        quiet = threading.Event()
        while self.simulator.open and time.monotonic() < until:
            quiet.wait(0.002)
        return not self.simulator.open

    def _on_loop(self, function: Any, *args: Any) -> None:
        if self._loop is None or self._thread is None:
            function(*args)
            return

        done: Future[None] = Future()

        def call() -> None:
            try:
                function(*args)
                done.set_result(None)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
                done.set_exception(error)

        self._loop.call_soon_threadsafe(call)
        done.result()

    async def start(self) -> None:
        """Bind and serve in the running loop."""
        app = _App(self.simulator)
        runner = web.AppRunner(app.app, handler_cancellation=True, shutdown_timeout=0.2, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._wanted_port, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._app, self._runner = app, runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop serving; exchanges under way are cut and settled."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> SimServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __enter__(self) -> SimServer:
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve_thread, args=(ready,), name="penstock-sim", daemon=True)
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._thread = self._loop = None

    def _serve_thread(self, ready: Future[None]) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._stopping = asyncio.Event()
            try:
                await self.start()
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
                ready.set_exception(error)
                return
            ready.set_result(None)
            await self._stopping.wait()
            await self.stop()

        asyncio.run(main())


def serve(config: SimConfig | None = None, host: str = "127.0.0.1", port: int = 8088, *, quiet: bool = False) -> None:
    """Serve until Ctrl-C or SIGTERM, then stop cleanly; prints its address unless `quiet`.

    Raises: OSError when the address cannot be bound.
    """

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            # Windows and threads other than the main one have no signal handlers; KeyboardInterrupt does there.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, stop.set)
        server = SimServer(config, host=host, port=port)
        async with server:
            if not quiet:
                print(  # noqa: T201 - the one line a person needs
                    f"simulator on {server.url}  (OpenAI: {server.url}/v1, Anthropic, Cohere and Gemini: {server.url}, "
                    f"report: {server.url}/__sim__/)",
                    flush=True,
                )
            await stop.wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
