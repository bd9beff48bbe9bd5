"""An export of a bundle: what a programme's own export is, by whoever holds it, and by whose keys they believe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domicile.errors import BadFile, EvidenceFault
from domicile.exports.bundled import opened_bundle
from domicile.exports.evidence import read_evidence
from domicile.exports.oscal import assessment_results
from domicile.exports.packs import choose
from tests.vectors import make

VECTORS = Path(make.__file__).parent
RIGHT = VECTORS / "policies" / "right.txt"


@pytest.mark.parametrize("name", ["all-erased", "cosigned", "keys-rotated", "detached-predicate"])
def test_a_bundle_is_exported_with_all_its_statements(name: str) -> None:
    with opened_bundle(VECTORS / "good" / f"{name}.zip", trust=RIGHT) as (ledger, audit):
        evidence = read_evidence(ledger, audit=audit)
        made = json.loads(assessment_results(evidence, choose([])))
        assert len(evidence.statements) == ledger.size
    assert (True, True) == (evidence.audit is not None and evidence.audit.accepted, evidence.finished)
    assert "satisfied" in {
        one["target"]["status"]["state"] for one in made["assessment-results"]["results"][0]["findings"]
    }


def test_p11_what_the_checker_refuses_is_not_exported(tmp_path: Path) -> None:
    other = VECTORS / "policies" / "another-log.txt"
    for path, trust, said in (
        (VECTORS / "good" / "all-erased.zip", other, "refused at check 2"),
        (VECTORS / "bad" / "erasure-twice.zip", None, "refused at check 16"),
        (VECTORS / "bad" / "zip-path-upwards.zip", None, "refused at check 1"),
    ):
        with pytest.raises(EvidenceFault, match=said), opened_bundle(path, trust=trust):
            pass
    with pytest.raises(BadFile, match="can't be read"), opened_bundle(tmp_path / "none.zip", trust=None):
        pass
