"""A TCP proxy between the engine and a server, which cuts every connection at a chosen word of the engine's."""

from __future__ import annotations

import multiprocessing
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.connection import Connection
from typing import Final

CHUNK_BYTES: Final = 65_536
WAIT_S_MAX: Final = 30
LOOPBACK: Final = "127.0.0.1"
PROCESSES: Final = multiprocessing.get_context("spawn")


class Moment(StrEnum):
    """When to cut: before the server gets the word, or when it has answered and before the engine hears of it."""

    UNSAID = "before the server hears it"
    UNHEARD = "before the engine hears the answer"


class Proxy:
    """A proxy in a process of its own: libpq keeps Python's other threads waiting while it waits itself."""

    def __init__(self, control: Connection, port: int) -> None:
        self._control = control
        self.port = port

    def cut_at(self, words: Sequence[bytes], moment: Moment = Moment.UNSAID) -> None:
        """Cut when the engine has said each of the words, one after the other, on whatever connections."""
        self._control.send((list(words), moment))
        self._control.recv()

    @property
    def cuts(self) -> int:
        """How often it has cut."""
        self._control.send(None)
        return int(self._control.recv())


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """Serve a port that leads to `target`, until the block ends."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_serve, args=(theirs, target), daemon=True)
    process.start()
    try:
        yield Proxy(ours, int(ours.recv()))
    finally:
        process.kill()
        process.join()


def _serve(control: Connection, target: int) -> None:
    served = _Served(target=target)
    with socket.create_server((LOOPBACK, 0)) as listener:
        threading.Thread(target=served.accept, args=(listener,), daemon=True).start()
        control.send(listener.getsockname()[1])
        with suppress(EOFError):
            while True:
                asked = control.recv()
                if asked is not None:
                    served.arm(*asked)
                control.send(served.cuts)


@dataclass(slots=True)
class _Served:
    target: int
    cuts: int = 0
    _words: list[bytes] = field(default_factory=list)
    _moment: Moment = Moment.UNSAID
    _open: list[socket.socket] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _unheard: socket.socket | None = None

    def arm(self, words: list[bytes], moment: Moment) -> None:
        """Cut once, at the last of these words."""
        with self._lock:
            self._words, self._moment = words, moment

    def cut(self) -> None:
        """Close every connection, both ends."""
        with self._lock:
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._open.clear()

    def accept(self, listener: socket.socket) -> None:
        """Serve whoever comes."""
        with suppress(OSError):
            while True:
                engine, _ = listener.accept()
                try:
                    server = socket.create_connection((LOOPBACK, self.target), timeout=WAIT_S_MAX)
                except OSError:  # it is down: so is its proxy, for this one
                    engine.close()
                    continue
                server.settimeout(None)
                with self._lock:
                    self._open += [engine, server]
                threading.Thread(target=self._forth, args=(engine, server), daemon=True).start()
                threading.Thread(target=self._back, args=(server, engine), daemon=True).start()

    def _forth(self, engine: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while chunk := engine.recv(CHUNK_BYTES):
                with self._lock:
                    last = self._said(chunk)
                    if last and self._moment is Moment.UNSAID:
                        self._cut_once()
                        return
                    if last:
                        self._unheard = server
                server.sendall(chunk)
        self._end(engine, server)

    def _back(self, server: socket.socket, engine: socket.socket) -> None:
        with suppress(OSError):
            while chunk := server.recv(CHUNK_BYTES):
                with self._lock:
                    if self._unheard is server:
                        self._unheard = None
                        self._cut_once()
                        return
                engine.sendall(chunk)
        self._end(engine, server)

    def _said(self, chunk: bytes) -> bool:
        """Whether that was the last of the words."""
        if not self._words or self._words[0] not in chunk:
            return False
        self._words.pop(0)
        return not self._words

    def _cut_once(self) -> None:
        self.cuts += 1
        self.cut()

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
