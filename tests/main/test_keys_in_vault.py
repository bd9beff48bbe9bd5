"""A whole move whose log and one approver sign by keys in Vault, which is sealed in between and has keys rotated."""

from __future__ import annotations

import re
from typing import Any

import pytest

from domicile.evidence.predicates import ErasurePredicate
from domicile.run import stating
from tests.keys.conftest import vault
from tests.keys.vault import Vault
from tests.main.conftest import Begin
from tests.main.programme import Programme, value

__all__ = ["vault"]

PEOPLE = "SELECT count(*) FROM customer"
SEALED = "Vault is sealed (VaultDown); unseal it, and run the same command again"


def test_p2_a_move_is_signed_by_keys_in_vault_and_waits_while_that_is_sealed(
    programme: Begin, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.holders = vault.environment
    _sign_by_vault(begun, vault)
    begun.cli("plan")
    first = _trusted(begun)
    begun.cli("apply", code=14)
    begun.cli("approve", "--key", "operator.key")

    vault.seal()
    for words in (["approve", "--key", "hv:monitor/1"], ["apply", "--yes"], ["keys", "rotate", "--log", "--why", "x"]):
        assert SEALED in begun.cli(*words, code=41).err
    vault.unseal()

    second = _rotate_both(begun, vault)
    assert "names no approver" in begun.cli("approve", "--key", "hv:monitor/1", code=1).err
    begun.cli("approve", "--key", "hv:monitor/2")

    with monkeypatch.context() as patch:
        intent = stating.erasure_intent

        def lose_the_vault(*args: Any, **kwargs: Any) -> ErasurePredicate:
            vault.seal()
            return intent(*args, **kwargs)

        patch.setattr("domicile.run.clearing.stating.erasure_intent", lose_the_vault)
        assert f"key hv:log/2: {SEALED}" in begun.cli("apply", "--yes", code=41).err
    assert 59 == value(begun.source, PEOPLE)  # what is not in the log is not done
    vault.unseal()
    begun.cli("apply", "--yes")
    assert 51 == value(begun.source, PEOPLE)
    assert vault.client.token not in "".join(begun.shown)

    begun.cli("log", "fsck")
    for trust in (first, _trusted(begun)):
        (begun.folder / "trust.txt").write_text(trust, encoding="utf-8")
        said = begun.audit("--trust", "trust.txt").out
        assert "ACCEPTED" in said
    assert second == _in_force(begun)
    begun.cli("keys", "revoke", "--key", "hv:monitor/2", "--why", "left the firm")
    assert second.keys() - {"monitor"} == _in_force(begun).keys()
    vault.stop()  # none of it is needed to check
    begun.audit("--trust", "trust.txt")
    assert "no Vault answers at VAULT_ADDR" in begun.cli("keys", "rotate", "--log", "--why", "x", code=41).err


def _sign_by_vault(begun: Programme, vault: Vault) -> None:
    """The draft's file, with the log's key and the monitor's in Vault."""
    assert "no such key" in begun.cli("keys", "show", "monitor", "--key", "hv:monitor/1", code=30).err
    shown = begun.cli("keys", "show", "monitor", "--key", vault.make("monitor"), "--json").json()["vkey"]
    assert shown in begun.cli("keys", "show", "monitor", "--key", "hv:monitor/1").out
    text = re.sub(r"^    monitor: .*$", lambda _: f'    monitor: "{shown}"', begun.file.read_text(), flags=re.MULTILINE)
    begun.file.write_text(text)
    begun.edit("\nlocations:\n", f"\nsigning: {{key: '{vault.make('log')}'}}\nlocations:\n")
    (begun.folder / "monitor.key").unlink()


def _rotate_both(begun: Programme, vault: Vault) -> dict[str, str]:
    """Both keys go on to the next version of the same name; the keys that are in force then."""
    uri = vault.rotate("monitor")
    shown = begun.cli("keys", "show", "monitor", "--key", uri, "--json").json()["vkey"]
    done = begun.cli("keys", "rotate", "--key", "hv:monitor/1", "--new", shown, "--why", "yearly", "--json").json()
    assert ("monitor", shown) == (done["whose"], done["new"])
    before = _in_force(begun)
    assert (
        "hv:log/3: has no such version"
        in begun.cli("keys", "rotate", "--log", "--new", "hv:log/3", "--why", "yearly", code=30).err
    )
    begun.cli("keys", "rotate", "--log", "--new", vault.rotate("log"), "--why", "yearly")
    assert " hv:log/2 " in (begun.made / "engine.key").read_text()
    after = _in_force(begun)
    assert (before["monitor"], before["operator"]) == (shown, after["operator"])
    assert 1 == len(set(before.items()) - set(after.items()))
    return after


def _in_force(begun: Programme) -> dict[str, str]:
    return {one["whose"]: one["vkey"] for one in begun.cli("keys", "list", "--json").json() if one["in_force"]}


def _trusted(begun: Programme) -> str:
    return begun.cli("log", "policy").out
