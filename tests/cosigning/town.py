"""Witnesses that really serve, on ports of their own, and logs that ask them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import uvicorn

from domicile.errors import Unreachable
from domicile.evidence.cosigning.asking import Witnesses
from domicile.evidence.cosigning.serving import WitnessService, application
from domicile.evidence.cosigning.store import WitnessStore
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.tlog.cosignature import Cosigner, cosigner_of
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.policy import Policy, parse_policy
from domicile.host import Host
from domicile.web import ask

LOG: Final = Signer(name="log.example/one", seed=bytes(range(32)))
NAMES: Final = ("w1", "w2", "w3")
KEYS: Final = {name: Signer(name=f"{name}.example", seed=name.encode() * 16) for name in NAMES}


class Patient(Host):
    """A host whose pauses cost no time: its clock goes on instead."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "passed", [])  # a host is frozen

    passed: list[float]

    def monotonic_s(self) -> float:
        return sum(self.passed)

    def pause(self, seconds: float) -> None:
        self.passed.append(seconds)


@contextmanager
def listening(app: Any, *, port: int = 0) -> Iterator[str]:
    """Serve in this process, by default on a port of its own; yields the address."""
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, lifespan="off"))
        ready = threading.Event()
        startup = server.startup

        async def starting(*args: Any, **kwargs: Any) -> None:
            await startup(*args, **kwargs)
            ready.set()

        server.startup = starting  # type: ignore[method-assign]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        assert ready.wait(30)
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
        return port


def answering(url: str) -> None:
    """Wait until somebody answers there."""
    pause = threading.Event()
    for _ in range(3_000):
        try:
            ask(f"{url}/", bytes_max=9_000)
        except Unreachable:
            pause.wait(0.01)
        else:
            return
    raise TimeoutError("the witness never answered")


@contextmanager
def witness(name: str, folder: Path, *, logs: tuple[Verifier, ...] = (LOG.verifier,), port: int = 0) -> Iterator[str]:
    """A witness of these logs, with its store in that folder; yields where it is asked."""
    store = WitnessStore(folder / f"{name}.db")
    try:
        with listening(application(WitnessService(KEYS[name], logs, store, host=Host())), port=port) as url:
            yield url
    finally:
        store.close()


def policy_of(urls: dict[str, str], quorum: str, *, keys: dict[str, Cosigner] | None = None) -> Policy:
    """A policy of these witnesses, of whose group `all` so many have to cosign."""
    known = keys or {name: cosigner_of(KEYS[name]) for name in urls}
    lines = [f"witness {name} {known[name].vkey} {url}" for name, url in urls.items()]
    lines += [f"group some {quorum} {' '.join(urls)}", "quorum some"] if quorum != "none" else ["quorum none"]
    return parse_policy("".join(f"{line}\n" for line in lines).encode())


def asked(urls: dict[str, str], quorum: str, *, wait_s_max: float = 0.0) -> Witnesses:
    """Witnesses as a run asks them."""
    return Witnesses(policy_of(urls, quorum), host=Patient(), wait_s_max=wait_s_max)


def grown(folder: Path, size: int, *, of: str = "entry") -> Log:
    """A log with so many entries that nobody has cosigned yet."""
    log = Log.create(folder, LOG, cosigned=True)
    log.append([f"{of} {number}".encode() for number in range(size)])
    return log
