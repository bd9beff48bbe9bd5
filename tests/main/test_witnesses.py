"""A whole move whose log is cosigned: nothing is erased while nobody cosigns, and the auditor asks for the witness."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from domicile.evidence.keys import load_signer
from domicile.evidence.ledger import Ledger
from domicile.evidence.predicates import ErasurePredicate
from domicile.evidence.tlog.cosignature import cosigner_of
from domicile.run import stating
from tests.cosigning.town import KEYS, free_port, witness
from tests.main.conftest import Begin
from tests.main.programme import Programme, value

PEOPLE = "SELECT count(*) FROM customer"


def shown(begun: Programme) -> Ledger:
    """What anybody else sees of the log."""
    return Ledger.open(begun.made / "evidence", load_signer(begun.made / "engine.key").verifier)


def test_p7_no_row_goes_before_its_announcement_is_cosigned_and_published(
    programme: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = programme("chinook", {"CA": "ca"})
    port = free_port()
    line = f"witness w1 {cosigner_of(KEYS['w1']).vkey} http://127.0.0.1:{port}/"
    begun.edit("\nlocations:\n", f"\nwitnesses: {{policy: ['{line}', quorum w1], wait_s_max: 0}}\nlocations:\n")
    begun.cli("plan")
    trust = begun.folder / "trust.txt"
    trust.write_text(begun.cli("log", "policy").out)
    logs = (load_signer(begun.made / "engine.key").verifier,)

    assert "cosigned by nobody" in begun.cli("apply", code=15).err
    assert not (begun.made / "evidence/log/checkpoint").exists()
    assert "3 statements are not published: too few witnesses cosigned" in begun.cli("status").out
    with witness("w1", tmp_path, logs=logs, port=port):
        begun.cli("apply", code=14)
    begun.approve()  # approvals are taken into the log, and published with what comes next
    with witness("w1", tmp_path, logs=logs, port=port):
        begun.cli("apply", code=14)
    with ExitStack() as stack, monkeypatch.context() as patch:
        stack.enter_context(witness("w1", tmp_path, logs=logs, port=port))
        intent = stating.erasure_intent

        def lose_the_witness(*args: Any, **kwargs: Any) -> ErasurePredicate:
            stack.close()
            return intent(*args, **kwargs)

        patch.setattr("domicile.run.clearing.stating.erasure_intent", lose_the_witness)
        assert "w1" in begun.cli("apply", "--yes", code=15).err
    whole = Ledger.open(begun.made / "evidence", load_signer(begun.made / "engine.key"), cosigned=True)
    announced = [one.index for one in whole.statements() if isinstance(one.predicate, ErasurePredicate)]
    assert announced
    assert [whole.size - 1] == announced
    assert shown(begun).size == announced[0]
    assert 59 == value(begun.source, PEOPLE)

    with witness("w1", tmp_path, logs=logs, port=port):
        begun.cli("apply", code=14)  # a run begins by publishing what an earlier one could not
        assert whole.size == shown(begun).size
        begun.cli("apply", "--yes")
        assert 51 == value(begun.source, PEOPLE)
        begun.cli("log", "fsck")
        begun.cli("monitor", str(begun.made / "evidence/log"), "--trust", "trust.txt", "--state", "seen.json")
    assert "cosigned by" in begun.cli("log", "fsck").out
    _audited(begun, trust)


def _audited(begun: Programme, trust: Path) -> None:
    """The auditor's program takes the bundle with this witness, and not with another."""
    accepted = begun.audit("--trust", "trust.txt").out
    assert "witness w1 cosigned that at" in accepted
    other = cosigner_of(KEYS["w2"]).vkey
    trust.write_text(trust.read_text().replace(cosigner_of(KEYS["w1"]).vkey, other))
    assert (
        "REFUSED at check 5: the checkpoint is cosigned by no witness"
        in begun.audit("--trust", "trust.txt", code=1).out
    )
