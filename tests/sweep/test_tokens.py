"""Tokens: read at home, bounded, in every form, and never told."""

from __future__ import annotations

import pickle
import traceback
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from domicile.errors import StoreFault
from domicile.stores.postgres.server import EmbeddedServer
from domicile.sweep import Limits, Source, TokenClass, Tokens, collect, without_common
from domicile.sweep.forms import forms
from domicile.sweep.tokens import CANARY_BYTES_MAX, TOKEN_BYTES_MAX, TOKEN_BYTES_MIN, clip
from tests.servers import Databases

SECRET = "ada.private@example.org"


def source(column: str, token_class: TokenClass, where: str = "true") -> Source:
    return Source(relation=("app", "Person"), column=column, where=sql.SQL(where), token_class=token_class)


@pytest.fixture
def home(pg18: EmbeddedServer, database: Databases) -> str:
    dsn = database(pg18)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA app")
        conn.execute(
            'CREATE TABLE app."Person" (id int, email text, phones text[], device uuid, extra jsonb, name text)'
        )
        conn.execute(
            "INSERT INTO app.\"Person\" SELECT g, format('someone.%s@example.org', g),"
            " ARRAY[format('+1555%s', 1000 + g)],"
            " format('00000000-0000-4000-8000-%s', lpad(g::text, 12, '0'))::uuid,"
            " jsonb_build_object('note', format('likes tea number %s', g), 'n', g), 'Ann' FROM generate_series(1, 50) g"
        )
    return dsn


def test_reads_each_value_once_and_counts_the_short_ones(home: str) -> None:
    sources = [
        source("email", TokenClass.EMAIL),
        source("email", TokenClass.TEXT, "id < 10"),
        source("phones", TokenClass.PHONE, "id <= 20"),
        source("device", TokenClass.IDENTIFIER),
        source("extra", TokenClass.TEXT),
        source("name", TokenClass.NAME),
    ]
    with psycopg.connect(home, autocommit=True) as conn:
        counts = collect(conn, sources, seed=1, canaries=["canary-of-the-house"]).counts
    expected = {
        TokenClass.CANARY: 1,
        TokenClass.EMAIL: 50,
        TokenClass.PHONE: 20,
        TokenClass.IDENTIFIER: 50,
        TokenClass.TEXT: 50,
    }
    assert expected == dict(counts.by_class)
    assert (171, 50, False) == (counts.searched, counts.too_short, counts.sampled)


def test_beyond_the_limit_a_sample_that_the_seed_decides(home: str) -> None:
    sources = [source("email", TokenClass.EMAIL)]
    with psycopg.connect(home, autocommit=True) as conn:
        at_limit = collect(conn, sources, seed=1, limits=Limits(tokens_max=50))
        beyond = [
            collect(conn, sources, seed=seed, canaries=["the-canary"], limits=Limits(tokens_max=49))
            for seed in (1, 1, 2)
        ]
        by_bytes = collect(conn, sources, seed=1, limits=Limits(bytes_max=400))
    assert (50, False) == (len(at_limit), at_limit.counts.sampled)
    assert all(0 < len(tokens) <= 49 and tokens.counts.sampled for tokens in (*beyond, by_bytes))
    first, again, other = (set(_texts(tokens)) for tokens in beyond)
    assert first == again
    assert first != other
    assert all(b"the-canary" in texts for texts in (first, again, other))


def test_limit_of_length() -> None:
    assert b"a" * TOKEN_BYTES_MAX == clip(b"a" * TOKEN_BYTES_MAX)
    assert b"b" * TOKEN_BYTES_MAX == clip(b"a" + b"b" * TOKEN_BYTES_MAX)
    assert b"a" * CANARY_BYTES_MAX == clip(b"a" * CANARY_BYTES_MAX, bytes_max=CANARY_BYTES_MAX)
    assert "é" * (TOKEN_BYTES_MAX // 2) == clip(("é" * TOKEN_BYTES_MAX).encode()).decode()
    assert "xé" * 3 == clip(("é" * 7 + "xé" * 3).encode(), bytes_max=10).decode()


@pytest.mark.parametrize(("length", "kept"), [(TOKEN_BYTES_MIN, 1), (TOKEN_BYTES_MIN - 1, 0)])
def test_limit_of_shortness(home: str, length: int, kept: int) -> None:
    with psycopg.connect(home, autocommit=True) as conn:
        assert kept == len(collect(conn, [], seed=1, canaries=["c" * length]))


@pytest.mark.parametrize(
    ("token", "stored"),
    [
        ("Ada.P@Example.org", b"x ada.p@example.org x"),
        ("Zoë Müller", b'{"name": "Zo\\u00eb M\\u00fcller"}'),
        ("Zoë Müller", b'{"name": "Zo\\u00EB M\\u00FCller"}'),
        ('six "feet" under', b'{"note": "six \\"feet\\" under"}'),
        ("back\\slash", b"1\tback\\\\slash\n"),
        ("two\nlines", b"1\ttwo\\nlines\n"),
        ("o'brien@example.org", b"VALUES ('o''brien@example.org')"),
        ("a1a2a3a4-0000-4000-8000-0123456789ab", UUID("a1a2a3a4-0000-4000-8000-0123456789ab").bytes),
    ],
)
def test_finds_the_forms_in_which_a_value_is_kept(token: str, stored: bytes) -> None:
    matcher = Tokens({token.encode(): TokenClass.EMAIL}).matcher()
    assert [0] == [hit.token for hit in matcher.find(b"before " + stored + b" after")]
    assert [] == list(matcher.find(b"before " + stored.swapcase()[:-3] + b" after"))


@given(st.text(min_size=1))
def test_every_token_is_a_form_of_itself(text: str) -> None:
    assert text.encode() in forms(text.encode(), TokenClass.TEXT)


def test_a_name_that_somebody_else_bears_is_dropped_but_an_email_is_residue() -> None:
    tokens = Tokens(
        {b"Martin Smith": TokenClass.NAME, b"Zenobia Quill": TokenClass.NAME, b"m@example.org": TokenClass.EMAIL}
    )
    left = without_common(tokens, [b"1\tMartin", b" Smith\tm@example.org\n2\tZenobia\n"])
    assert {b"Zenobia Quill", b"m@example.org"} == set(_texts(left))
    assert 1 == left.counts.common


def test_p8_tokens_are_not_told(home: str) -> None:
    tokens = Tokens({SECRET.encode(): TokenClass.EMAIL})
    told = [
        repr(tokens),
        str(tokens),
        repr(tokens.counts),
        repr(tokens.matcher()),
        repr(list(tokens.matcher().find(SECRET.encode()))),
    ]
    assert not any("private" in text for text in told)
    with pytest.raises(TypeError) as fault:
        pickle.dumps(tokens)
    assert "private" not in str(fault.value)
    with psycopg.connect(home, autocommit=True) as conn, pytest.raises(StoreFault) as refused:
        collect(
            conn, [source("email", TokenClass.EMAIL, f"1/(CASE email WHEN '{SECRET}' THEN 0 ELSE 0 END) = 1")], seed=1
        )
    assert "private" not in "".join(traceback.format_exception(refused.value))


def _texts(tokens: Tokens) -> tuple[bytes, ...]:
    return tuple(text for text, _ in tokens._kept)
