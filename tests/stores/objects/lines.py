"""Lines that break, and servers that answer nonsense: what lies between a client and its store."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CHUNK = 1 << 16


@dataclass(slots=True)
class Line:
    """A line to a server that breaks on purpose: `break_answers(2, keep=100)` cuts two answers after 100 bytes."""

    listening: socket.socket
    upstream: tuple[str, int]
    lock: threading.Lock = field(default_factory=threading.Lock)
    times: int = 0
    keep: int = 0

    @property
    def endpoint(self) -> str:
        return "http://{}:{}".format(*self.listening.getsockname())

    def break_answers(self, times: int, *, keep: int) -> None:
        self.times, self.keep = times, keep

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                server = socket.create_connection(self.upstream)
                threading.Thread(target=self._forth, args=(client, server), daemon=True).start()
                threading.Thread(target=self._back, args=(server, client), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(CHUNK):
                server.sendall(data)
        _end(server, client)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        left: int | None = None
        with suppress(OSError):
            while data := server.recv(CHUNK):
                if left is None and data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 206")):
                    left = self._broken()
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                client.sendall(data)
                if left == 0:
                    break
        _end(server, client)

    def _broken(self) -> int | None:
        with self.lock:
            if not self.times:
                return None
            self.times -= 1
            return self.keep


@contextmanager
def line_to(endpoint: str) -> Iterator[Line]:
    """A line to that endpoint until the block ends."""
    parts = urlsplit(endpoint)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        line = Line(listening, (str(parts.hostname), int(parts.port or 80)))
        threading.Thread(target=line.serve, daemon=True).start()
        yield line
        listening.shutdown(socket.SHUT_RDWR)


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """A server that gives every request the same answer; its endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.send_response(200 if self.command == "HEAD" else status)
            self.send_header("Content-Length", str(0 if self.command == "HEAD" else len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield "http://{}:{}".format(*server.server_address[:2])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _end(*ends: socket.socket) -> None:
    for one in ends:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
