"""Every form a token is looked for in: it is found, another token is not, and no token is told."""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import json
import quopri
import random
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domicile.sweep import TokenClass, Tokens
from domicile.sweep.decoded import DECODED_BYTES_MIN
from domicile.sweep.digests import digests, normalised
from domicile.sweep.matcher import Matcher
from domicile.sweep.search import Spot, Tally, View

EMAIL, OTHER = "Ada.Private@Example.org", "Ada.Primate@Example.org"
PHONE = "+1 (555) 123-45-67"
AROUND = b"some bytes before it, \x00\xff and "


def matcher_of(*texts: str, token_class: TokenClass = TokenClass.EMAIL) -> Matcher:
    return Tokens(dict.fromkeys((text.encode() for text in texts), token_class)).matcher()


def found(matcher: Matcher, stored: bytes) -> list[int]:
    return [hit.token for hit in matcher.find(AROUND + stored + b" and some behind it")]


def wrapped(data: bytes, ends: bytes) -> bytes:
    text = base64.b64encode(data)
    return ends.join(text[at : at + 76] for at in range(0, len(text), 76))


LONG = b"a letter that says nothing much, over and over, to whom it may concern; "
SPELLINGS: dict[str, Callable[[str], bytes]] = {
    "utf-16-le": lambda text: text.encode("utf-16-le"),
    "utf-16-be": lambda text: text.encode("utf-16-be"),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).rstrip(b"="),
    "base64, shifted by one": lambda text: base64.b64encode(b"x" + text.encode() + b"yz"),
    "base64, shifted by two": lambda text: base64.b64encode(b"xx" + text.encode() + b"yz"),
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(b"\xfb\xff\xbf" + text.encode() + b"\xff\xff"),
    "base64 in lines": lambda text: base64.encodebytes(LONG + text.encode() + LONG),
    "base64 in lines of Windows": lambda text: wrapped(LONG + text.encode() + LONG, b"\r\n"),
    "base64 in lines, as JSON": lambda text: wrapped(LONG + text.encode() + LONG, b"\\n"),
    "base64 in lines, as JSON in COPY": lambda text: wrapped(LONG + text.encode() + LONG, b"\\\\n"),
    "base64 behind letters": lambda text: b"data/" + base64.b64encode(text.encode()),
    "hexadecimal": lambda text: binascii.hexlify(text.encode()),
    "bytea": lambda text: b"\\\\x" + binascii.hexlify(b"\x00\x01" + text.encode()).upper(),
    "hexadecimal from the second digit": lambda text: b"f" + binascii.hexlify(text.encode()),
    "url": lambda text: quote(text, safe="").encode(),
    "url, lower case": lambda text: quote(text, safe="").replace("%40", "%40").lower().encode(),
    "url, all of it": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()).encode(),
    "url, twice": lambda text: quote(quote(text, safe=""), safe="").encode(),
    "form": lambda text: quote_plus(f"to={text}&x= ").encode(),
    "html": lambda text: html.escape(text).replace("@", "&#64;").encode(),
    "html, hexadecimal": lambda text: text.replace("@", "&#x40;").encode(),
    "html, twice": lambda text: text.replace("@", "&amp;#64;").encode(),
    "json": lambda text: text.replace("@", "\\u0040").encode(),
    "json in COPY": lambda text: text.replace("@", "\\\\u0040").encode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_p3_a_token_is_found_in_every_spelling_and_another_is_not(spelling: str) -> None:
    spell = SPELLINGS[spelling]
    matcher = matcher_of(EMAIL)
    assert [0] == found(matcher, spell(EMAIL))
    assert [] == found(matcher, spell(OTHER))


@pytest.mark.parametrize(
    ("token", "stored"),
    [
        ("Zoë Müller", "Zoë Müller".encode("utf-16-le")),
        ("Zoë Müller", "Zoë Müller".encode("utf-16-be")),
        ("Анна Каренина", "Анна Каренина".encode("utf-16-le")),
        ("Zoë Müller", b"Zo%C3%AB%20M%c3%bcller"),
        ("Zoë Müller", b"Zo%C3%AB+M%C3%BCller"),
        ("Ada Lovelace", b"name=Ada+Lovelace&"),
        ("Zoë Müller", b"Zo&euml; M&#252;ller"),
        ("Zoë Müller", json.dumps("Zoë Müller").encode()),
        ("Ada & Co. Ltd", html.escape("Ada & Co. Ltd").encode()),
        ("O'Brien of Cork", b"O&#39;Brien of Cork"),
        ("O'Brien of Cork", b"O&#x27;Brien of Cork"),
        ("smile \U0001f600 please", json.dumps("smile \U0001f600 please").encode()),
        ('a "quoted" name', json.dumps('a "quoted" name').replace("\\", "\\\\").encode()),
        ("a/b/c street", b'"a\\/b\\/c street"'),
    ],
)
def test_p3_names_with_other_letters_are_found(token: str, stored: bytes) -> None:
    assert [0] == found(matcher_of(token, token_class=TokenClass.NAME), stored)
    assert [] == found(matcher_of("x" + token[1:], token_class=TokenClass.NAME), stored)


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256"])
@pytest.mark.parametrize(
    ("token", "token_class", "normal"),
    [
        (EMAIL, TokenClass.EMAIL, "ada.private@example.org"),
        (EMAIL, TokenClass.EMAIL, EMAIL),
        (EMAIL, TokenClass.CANARY, "ada.private@example.org"),
        (PHONE, TokenClass.PHONE, PHONE),
        (PHONE, TokenClass.PHONE, "15551234567"),
        (PHONE, TokenClass.PHONE, "+15551234567"),
        ("0049 89 1234567", TokenClass.PHONE, "+49891234567"),
    ],
)
def test_p3_the_hash_of_a_value_is_residue(name: str, token: str, token_class: TokenClass, normal: str) -> None:
    """Written by any program: as digits of either case, as base64, as `bytea` on disk, here and in statistics."""
    matcher = matcher_of(token, token_class=token_class)
    digest = hashlib.new(name, normal.encode()).digest()
    other = hashlib.new(name, normal.encode() + b"x").digest()
    ways: list[Callable[[bytes], bytes]] = [
        binascii.hexlify, lambda raw: binascii.hexlify(raw).upper(), lambda raw: b"\\\\x" + binascii.hexlify(raw),
        lambda raw: b"0" + binascii.hexlify(raw), lambda raw: binascii.hexlify(raw) + b"0",
        base64.b64encode, base64.urlsafe_b64encode, lambda raw: base64.b64encode(raw).rstrip(b"="),
        lambda raw: bytes([len(raw) * 2 + 3]) + raw, lambda raw: ((len(raw) + 4) * 4).to_bytes(4, "little") + raw,
    ]  # fmt: skip
    for spell in ways:
        assert [0] == found(matcher, spell(digest))
        assert [] == found(matcher, spell(other))


@pytest.mark.parametrize("token_class", sorted(set(TokenClass) - {TokenClass.EMAIL, TokenClass.PHONE}))
def test_other_values_have_no_hashes(token_class: TokenClass) -> None:
    assert () == normalised("somebody of somewhere", token_class)
    assert [] == list(digests(b"somebody of somewhere", token_class))


def test_what_is_not_looked_for() -> None:
    """As docs/horizon.md says: one spelling inside another, short ones in base64, quoted-printable, salted hashes."""
    matcher = matcher_of(EMAIL, "a@bc.org", "Zoë Müller")
    for stored in (
        base64.b64encode(binascii.hexlify(EMAIL.encode())),
        base64.b64encode(EMAIL.encode("utf-16-le")),
        quopri.encodestring("Zoë Müller".encode()),
        base64.b64encode(b"a@bc.org"),
        hashlib.sha256(b"salt" + EMAIL.lower().encode()).digest(),
    ):
        assert [] == found(matcher, stored)


@pytest.mark.parametrize(("length", "expected"), [(DECODED_BYTES_MIN, [0]), (DECODED_BYTES_MIN - 1, [])])
def test_limit_of_what_tells_in_base64_and_hexadecimal(length: int, expected: list[int]) -> None:
    token = "q7" * 3 + "w" * (length - 6)
    matcher = matcher_of(token, token_class=TokenClass.IDENTIFIER)
    assert expected == found(matcher, base64.b64encode(b"a longer one " + token.encode() + b" and more"))
    assert expected == found(matcher, binascii.hexlify(b"a longer one " + token.encode() + b" and more"))


COUNTED: dict[str, Callable[[str], bytes]] = {
    **SPELLINGS,
    "hash": lambda text: hashlib.sha256(text.lower().encode()).hexdigest().encode(),
}


@pytest.mark.parametrize("spelling", COUNTED)
@settings(deadline=None)
@given(step=st.integers(1, 300), before=st.integers(0, 400))
def test_a_spelling_is_counted_once_wherever_the_blocks_end(spelling: str, step: int, before: int) -> None:
    stream = b". " * before + b"; ".join([COUNTED[spelling](EMAIL)] * 3) + b" ."
    tally = Tally(matcher_of(EMAIL))
    tally.stream([stream[at : at + step] for at in range(0, len(stream), step)], Spot("c", "p"), view=View.RAW)
    (search,) = tally.result()
    assert 3 == search.hits


@pytest.mark.parametrize("beside", [b"%20", b"&nbsp;", b"\\n", b"\\u00e9"])
def test_a_token_as_it_is_beside_an_escape_is_counted_once(beside: bytes) -> None:
    assert [0] == found(matcher_of(EMAIL), beside + EMAIL.encode() + beside)


@given(st.binary(max_size=2000) | st.text(alphabet="abc%&;#\\un0123456789=+/-_\n\x00\"'", max_size=500).map(str.encode))
def test_any_bytes_are_searched(block: bytes) -> None:
    assert [] == list(matcher_of(EMAIL).find(block))


def test_nothing_is_found_by_chance() -> None:
    """10,000 tokens in 8 MB of noise, of digits, of letters and of escapes."""
    chance = random.Random(7)  # noqa: S311 - a seed, so that the noise is the same each time
    texts = {
        f"{chance.randbytes(6).hex()}@example.org".encode(): TokenClass.EMAIL for _ in range(5_000)
    } | {f"+1{chance.randrange(10**9, 10**10)}".encode(): TokenClass.PHONE for _ in range(5_000)}  # fmt: skip
    matcher = Tokens(texts).matcher()
    for block in (
        chance.randbytes(2_000_000),
        chance.randbytes(1_000_000).hex().encode(),
        base64.b64encode(chance.randbytes(1_500_000)),
        quote(chance.randbytes(700_000)).encode(),
    ):
        assert [] == list(matcher.find(block))


def test_p8_no_form_is_told() -> None:
    """Neither by the automaton nor by what was decoded."""
    matcher = matcher_of(EMAIL)
    hits = list(matcher.find(base64.b64encode(EMAIL.encode())))
    told = repr(matcher) + repr(hits)
    assert 1 == len(hits)
    assert not any(
        part in told
        for part in ("rivate", "xample", hashlib.sha1(EMAIL.lower().encode(), usedforsecurity=False).hexdigest()[:8])
    )
