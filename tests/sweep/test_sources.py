"""What kind of value a column holds: said by its category, its type and its name."""

from __future__ import annotations

import pytest

from domicile.catalogue import Column
from domicile.sweep.forms import TokenClass
from domicile.sweep.sources import token_class


def column(name: str, base: str = "text") -> Column:
    category = "I" if base == "inet" else "S"
    return Column(name=name, position=1, type=base, base=base, category=category, not_null=False, binary=True)


@pytest.mark.parametrize(
    ("name", "base", "category", "expected"),
    [
        ("signup_ip", "text", None, TokenClass.ADDRESS),
        ("ip", "inet", "user.device.ip_address", TokenClass.ADDRESS),
        ("last_seen_at", "inet", None, TokenClass.ADDRESS),
        ("value", "text", "user.device.ip_address", TokenClass.ADDRESS),
        ("push_token", "text", "user.device", TokenClass.IDENTIFIER),
        ("recipient", "text", None, TokenClass.TEXT),
        ("email", "text", None, TokenClass.EMAIL),
        ("id", "uuid", None, TokenClass.IDENTIFIER),
        ("shipping", "text", None, TokenClass.TEXT),
    ],
)
def test_an_internet_address_is_nobodys_alone_and_a_device_is(
    name: str, base: str, category: str | None, expected: TokenClass
) -> None:
    assert expected is token_class(column(name, base), category)
    assert expected.specific is (expected in {TokenClass.IDENTIFIER, TokenClass.EMAIL})
