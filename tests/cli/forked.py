"""Commands that start at once: one process imports everything a single time and forks for each command.

Nine tenths of what a short command costs are the start of an interpreter and its imports, and hundreds of tests run
one. A fork is a process of its own like any other, with the folder, the environment and the streams it was given. What
hangs on the start itself (imports, signals, streams that a shell closed) is tested with real ones.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

_PIECE_BYTES = 1 << 16


class Forks:
    """The process that forks, as the tests see it."""

    def __init__(self) -> None:
        self._begin()
        atexit.register(self._end)

    def _begin(self) -> None:
        self._asked, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-X", "utf8", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def run(
        self, args: Sequence[str], *, folder: Path, env: Mapping[str, str], stdin: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Raises: TimeoutError; the command is killed.
        """
        what = json.dumps({"args": list(args), "folder": str(folder), "env": dict(env)}).encode() + b"\n"
        reads, writes = os.pipe()
        feeding = threading.Thread(target=_feed, args=(writes, stdin.encode()))
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with open(reads, "rb") as pipe:
                socket.send_fds(self._asked, [what], [pipe.fileno(), out.fileno(), err.fileno()])
            feeding.start()
            self._asked.settimeout(timeout)
            try:
                code = int(self._asked.recv(16))
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._end()
                self._begin()
                raise
            finally:
                feeding.join()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(args), code, out.read().decode(), err.read().decode())

    def _end(self) -> None:
        self._asked.close()
        self._process.wait()


def _feed(pipe: int, data: bytes) -> None:
    """Write what a command reads; one that does not want it may leave."""
    with contextlib.suppress(BrokenPipeError), open(pipe, "wb") as file:
        file.write(data)


def serve(asked: socket.socket) -> None:
    """Fork for every command that is asked for; return in the child, as that command, with its `sys.argv`."""
    while True:
        what, streams, _, _ = socket.recv_fds(asked, _PIECE_BYTES, 3)
        if not what:
            sys.exit()
        while not what.endswith(b"\n"):
            what += asked.recv(_PIECE_BYTES)
        if not (pid := os.fork()):
            break
        for stream in streams:
            os.close(stream)
        asked.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    asked.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    command = json.loads(what)
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["env"])
    time.tzset()
    sys.argv[1:] = command["args"]


def _main() -> None:
    import penstock.cli

    sys.path[0] = ""  # as of `python -c`: the folder in which the command runs
    for module in walk_packages(penstock.__path__, "penstock."):
        if module.name != "penstock.__main__":
            import_module(module.name)
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
    try:
        penstock.cli.main()
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        threading._shutdown()  # type: ignore[attr-defined]  # as at any end; what it would take apart then costs more
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)


if __name__ == "__main__":
    _main()
