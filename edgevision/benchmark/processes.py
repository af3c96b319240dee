"""A child process that measures, and answers over a connection."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from edgevision.errors import EdgevisionError, EngineError, first_line

END_S = 5.0
"""Maximum wait for the end of a process before it is terminated."""


class MeasuringProcess:
    """Context manager: starts the process; leaving it closes the connection and ends the process.

    `body` is a function of a module that receives the connection and `arguments`, all picklable. Its errors are raised
    by `receive`. Ctrl-C ends the process through the parent, even inside a library that handles no signals. Processes
    are forked from a server that has imported the module of the first `body`, so they start quickly; it imports no
    engine, because a library that starts threads must not be forked.
    """

    def __init__(self, name: str, body: Callable[..., None], arguments: tuple[object, ...]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, body.__module__])
        self._name = name
        self._connection, self._childs = context.Pipe()
        self._process = context.Process(target=_run, args=(body, self._childs, arguments), daemon=True)

    def __enter__(self) -> MeasuringProcess:
        self._process.start()
        self._childs.close()  # so that the end of the process ends `receive`
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(END_S if kind is None else 0.0)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def send(self, message: object) -> None:
        """Send a message; raises `EngineError` if the process has ended."""
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._died() from error

    def receive(self) -> Any:
        """The next answer; raises `EngineError` if the process failed or ended."""
        try:
            failed, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if failed:
            raise EngineError(f"{self._name}: {answer}")
        return answer

    def _died(self) -> EngineError:
        self._process.join(END_S)
        code = self._process.exitcode
        return EngineError(
            f"{self._name}: the measuring process ended with code {code}; see its output above"
        )


class AnswerConnection:
    """The child's end: `send` gives an answer to `MeasuringProcess.receive`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, answer: object) -> None:
        """Send an answer."""
        self._connection.send((False, answer))

    def recv(self) -> Any:
        """The parent's next message; raises `EOFError` if it has closed the connection."""
        return self._connection.recv()


def _run(body: Callable[..., None], connection: Connection, arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        body(AnswerConnection(connection), *arguments)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent has closed the connection
        return
    except Exception as error:  # of a library or our own: the parent reports it
        kind = "" if isinstance(error, EdgevisionError) else f"{type(error).__name__}: "
        connection.send((True, f"{kind}{first_line(error)}"))
