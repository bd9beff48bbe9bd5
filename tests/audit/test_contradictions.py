"""What the checks are known to miss: said on the page, and nothing else is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from domicile_audit.checklist import audit
from domicile_audit.policy import read_policy
from tests.vectors import make
from tests.vectors import scenario as s
from tests.vectors.contradictions import CONTRADICTIONS

RIGHT = read_policy((Path(make.__file__).parent / "policies" / "right.txt").read_bytes())


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_p11_a_log_that_contradicts_itself_so_is_not_refused_yet(name: str) -> None:
    """Whoever mends one of these moves it to the defects, and takes it off docs/threat-model.md."""
    report = audit(s.bundle_of(CONTRADICTIONS[name]()), RIGHT)
    assert report.accepted, report.reason
