"""NIST's schema, read once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator, ValidationError, validators

from tests.servers import ROOT

SCHEMA = ROOT / "tests" / "data" / "oscal" / "oscal_assessment-results_schema.json"
PROPERTIES = {r"\p{L}": r"[^\W\d_]", r"\p{N}": r"\d"}
"""NIST's patterns are of ECMA 262 with Unicode properties; Python's `re` spells the two that occur otherwise."""


def _pattern(_: object, pattern: str, instance: object, __: object) -> Iterator[ValidationError]:
    spelled = pattern
    for name, ours in PROPERTIES.items():
        spelled = spelled.replace(name, ours)
    if isinstance(instance, str) and not re.search(spelled, instance):
        yield ValidationError(f"{instance[:80]!r} does not match {pattern!r}")


@pytest.fixture(scope="session")
def nist() -> Any:
    """A validator of NIST's schema of assessment results."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft7Validator.check_schema(schema, format_checker=None)
    return validators.extend(Draft7Validator, {"pattern": _pattern})(schema)
