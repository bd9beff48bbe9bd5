"""A whole move in which every key lies elsewhere, changes hands on the way, and the checker follows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from domicile.evidence.signers import MODULE_VARIABLE
from domicile.stores.postgres.server import EmbeddedServer
from tests.databases import SAMPLES
from tests.keys.benches import MODULE, PIN
from tests.keys.test_signers import Folder, make_key
from tests.main.programme import Programme
from tests.servers import Databases, Servers

TOLD = "SOFTHSM2_CONF"


@dataclass(slots=True, kw_only=True)
class Tokened(Programme):
    """One whose commands reach the token, and know its pin unless they need no secret."""

    pin: str | None = PIN

    @property
    def environment(self) -> dict[str, str]:
        told = {TOLD: os.environ[TOLD]} if TOLD in os.environ else {}
        told |= {} if self.pin is None else {MODULE_VARIABLE: MODULE, "PIN": self.pin}
        return {**Programme.environment.fget(self), **told}  # type: ignore[attr-defined]

    def watched(self) -> None:
        """Whoever checks the log from outside has no secret of it."""
        self.pin = None
        (self.folder / "log.txt").write_text(f"log {(self.made / 'engine.pub').read_text()}quorum none\n")
        assert self.cli("log", "fsck").text.endswith("whole")
        place = str(self.made / "evidence/log")
        self.cli("monitor", place, "--trust", "log.txt", "--state", "seen.json")
        self.pin = PIN


def test_p2_p9_tokens_sign_a_whole_move_and_their_keys_change_hands(
    tokens: object, servers: Servers, database: Databases, tmp_path: Path
) -> None:
    server: EmbeddedServer = servers.of(18)
    made = Tokened(folder=tmp_path, source=database(server), homes={"ca": database(server)})
    SAMPLES["chinook"](made.source)
    made.draft({"CA": "ca"})
    log, monitor, monitor_2 = make_key(5), make_key(6), make_key(7)
    made.edit("\nlocations:\n", f'\nsigning: {{key: "{log}", secret: env:PIN}}\n\nlocations:\n')
    own = made.cli("keys", "show", "monitor", "--key", monitor, "--secret", "env:PIN", "--json").json()["vkey"]
    drafted = (tmp_path / "monitor.pub").read_text().strip()
    made.edit(drafted, own)
    made.move()
    made.watched()
    assert made.cli("approve", "--key", monitor_2, "--secret", "env:PIN", code=1).text.count("names no approver")
    made.cli("approve", "--key", monitor, "--secret", "env:PIN", "--role", "monitor")

    new = made.cli("keys", "show", "monitor", "--key", monitor_2, "--secret", "env:PIN", "--json").json()["vkey"]
    made.cli("keys", "revoke", "--key", monitor, "--secret", "env:PIN", "--why", "x", "--since", "today", code=1)
    made.cli("keys", "rotate", "--key", monitor, "--secret", "env:PIN", "--new", new, "--why", "a new token")
    made.cli("keys", "rotate", "--log", "--new", Folder(tmp_path).make("log"), "--why", "yearly")
    made.cli("approve", "--key", "operator.key")
    made.cli("apply", "--yes")
    made.watched()
    audit = made.audit("--json").json()
    assert audit["accepted"]
    told = [line for line in audit["proven"] if " was rotated to " in line]
    assert ["monitor", "the log"] == sorted(line.split(" of ")[1].split(" was ")[0] for line in told)
    (tmp_path / "trust.txt").write_text(made.cli("log", "policy").out)
    assert made.audit("--trust", str(tmp_path / "trust.txt")).code == 0
    listed = made.cli("keys", "list", "--json").json()
    assert {(one["whose"], one["in_force"]) for one in listed} == {
        ("the log", False), ("the log", True), ("monitor", False), ("monitor", True), ("operator", True),
    }  # fmt: skip
    with psycopg.connect(made.source) as connection:
        assert (0,) == connection.execute("SELECT count(*) FROM customer WHERE country = 'Canada'").fetchone()
    assert all(PIN not in text for text in made.shown)


@pytest.fixture(autouse=True)
def _told(monkeypatch: pytest.MonkeyPatch, token_place: Path) -> None:
    monkeypatch.setenv(TOLD, str(token_place / "softhsm2.conf"))
