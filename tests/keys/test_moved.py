"""A whole move in which every key lies elsewhere, changes hands on the way, and the checker follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from domicile.evidence.predicates import ErasurePredicate
from domicile.evidence.signers import MODULE_VARIABLE
from domicile.run import stating
from domicile.stores.postgres.server import EmbeddedServer
from tests.databases import SAMPLES
from tests.keys.benches import MODULE, PIN
from tests.keys.test_signers import Folder, make_key
from tests.keys.vault import Vault
from tests.main.programme import Programme, value
from tests.servers import Databases, Servers

TOLD = "SOFTHSM2_CONF"
CANADIANS = "SELECT count(*) FROM customer WHERE country = 'Canada'"


def nothing_happens(made: Programme) -> None:
    """A token stays where it is."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Keys of one kind: the log's, one approver's, and who takes over from each."""

    environment: Mapping[str, str]
    unspeakable: str = field(repr=False)
    """What opens them, and is shown nowhere."""
    log: str
    log_2: str
    monitor: str
    monitor_2: str
    secret: str | None = None
    befalls: Callable[[Programme], None] = nothing_happens
    """What becomes of the place while a person's yes is awaited."""

    @property
    def words(self) -> tuple[str, ...]:
        return () if self.secret is None else ("--secret", self.secret)

    @property
    def rule(self) -> str:
        pin = "" if self.secret is None else f", secret: {self.secret}"
        return f'\nsigning: {{key: "{self.log}"{pin}}}\n\nlocations:\n'


def _watched(made: Programme) -> None:
    """Whoever checks the log from outside has no secret of it."""
    holders, made.holders = made.holders, {}
    (made.folder / "log.txt").write_text(f"log {(made.made / 'engine.pub').read_text()}quorum none\n")
    assert made.cli("log", "fsck").text.endswith("whole")
    made.cli("monitor", str(made.made / "evidence/log"), "--trust", "log.txt", "--state", "seen.json")
    made.holders = holders


@pytest.fixture
def in_tokens(tokens: object, token_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Held:
    """Keys in SoftHSM; the log's moves to a file."""
    told = {TOLD: str(token_place / "softhsm2.conf"), MODULE_VARIABLE: MODULE, "PIN": PIN}
    monkeypatch.setenv(TOLD, told[TOLD])
    log, monitor, monitor_2 = (make_key(number) for number in (5, 6, 7))
    return Held(
        environment=told, unspeakable=PIN, log=log, log_2=Folder(tmp_path).make("log"), monitor=monitor,
        monitor_2=monitor_2, secret="env:PIN",
    )  # fmt: skip


@pytest.fixture
def in_vault(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Held:
    """Keys in Vault, each with a newer version that nobody here knows yet."""
    return Held(
        environment=vault.environment, unspeakable=vault.client.token, log=vault.make("log"), log_2=vault.rotate("log"),
        monitor=vault.make("monitor"), monitor_2=vault.rotate("monitor"),
        befalls=lambda made: _sealed_on_the_way(made, vault, monkeypatch),
    )  # fmt: skip


def _sealed_on_the_way(made: Programme, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a signature is told; also where the run has begun to erase, which it then didn't."""
    sealed = "Vault is sealed (VaultDown); unseal it, and run the same command again"
    vault.seal()
    for words in ("approve --key hv:monitor/1", "apply --yes", "keys rotate --log --why x", "keys show m --key hv:m/1"):
        assert sealed in made.cli(*words.split(), code=41).err
    vault.unseal()
    made.cli("approve", "--key", "hv:monitor/1")
    intent = stating.erasure_intent

    def lose_the_vault(*args: Any, **kwargs: Any) -> ErasurePredicate:
        vault.seal()
        return intent(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("domicile.run.clearing.stating.erasure_intent", lose_the_vault)
        assert f"key hv:log/1: {sealed}" in made.cli("apply", "--yes", code=41).err
    vault.unseal()


@pytest.fixture(params=["in_tokens", "in_vault"])
def held(request: pytest.FixtureRequest) -> Held:
    """Either place."""
    found: Held = request.getfixturevalue(request.param)
    return found


def test_p2_p9_keys_elsewhere_sign_a_whole_move_and_change_hands(
    held: Held, servers: Servers, database: Databases, tmp_path: Path
) -> None:
    server: EmbeddedServer = servers.of(18)
    made = Programme(
        folder=tmp_path, source=database(server), homes={"ca": database(server)}, holders=held.environment
    )  # fmt: skip
    SAMPLES["chinook"](made.source)
    made.draft({"CA": "ca"})
    made.edit("\nlocations:\n", held.rule)
    own = made.cli("keys", "show", "monitor", "--key", held.monitor, *held.words, "--json").json()["vkey"]
    drafted = (tmp_path / "monitor.pub").read_text().strip()
    made.edit(drafted, own)
    made.move()
    _watched(made)
    (tmp_path / "before.txt").write_text(made.cli("log", "policy").out)
    assert made.cli("approve", "--key", held.monitor_2, *held.words, code=1).text.count("names no approver")
    made.cli("approve", "--key", "operator.key")
    held.befalls(made)
    assert 8 == value(made.source, CANADIANS)
    made.cli("approve", "--key", held.monitor, *held.words, "--role", "monitor")

    new = made.cli("keys", "show", "monitor", "--key", held.monitor_2, *held.words, "--json").json()["vkey"]
    made.cli("keys", "revoke", "--key", held.monitor, *held.words, "--why", "x", "--since", "today", code=1)
    made.cli("keys", "rotate", "--key", held.monitor, *held.words, "--new", new, "--why", "a new one")
    made.cli("keys", "rotate", "--log", "--new", held.log_2, "--why", "yearly")
    assert f" {held.log_2} " in (made.made / "engine.key").read_text()
    made.cli("apply", "--yes")
    _watched(made)
    audit = made.audit("--json").json()
    assert audit["accepted"]
    told = [line for line in audit["proven"] if " was rotated to " in line]
    assert ["monitor", "the log"] == sorted(line.split(" of ")[1].split(" was ")[0] for line in told)
    (tmp_path / "after.txt").write_text(made.cli("log", "policy").out)
    for trust in ("before.txt", "after.txt"):
        made.audit("--trust", str(tmp_path / trust))
    made.cli("log", "fsck")
    assert 0 == value(made.source, CANADIANS)

    made.cli("keys", "revoke", "--key", held.monitor_2, *held.words, "--why", "left the firm")
    listed = made.cli("keys", "list", "--json").json()
    assert {(one["whose"], one["in_force"]) for one in listed} == {
        ("the log", False), ("the log", True), ("monitor", False), ("operator", True),
    }  # fmt: skip
    assert held.unspeakable not in "".join(made.shown)
