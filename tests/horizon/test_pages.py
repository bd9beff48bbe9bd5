"""Pages: what a plain byte search can't see is carved out, also of the dead, and nothing is made up."""

from __future__ import annotations

import struct

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from domicile.stores.postgres.pages import (
    Carved,
    Chunk,
    ToastAssembler,
    carve_chunks,
    carve_compressed,
    is_foreign_page,
    looks_like_page,
)
from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import Databases

CHUNK = 10


def chunks_of(value: bytes, number: int = 7) -> list[Chunk]:
    parts = [value[start : start + CHUNK] for start in range(0, len(value), CHUNK)]
    return [Chunk(0, number, sequence, part) for sequence, part in enumerate(parts)]


def assembled(chunks: list[Chunk], *, pending_bytes_max: int = 10_000) -> tuple[list[bytes], int]:
    assembler = ToastAssembler(chunk_bytes=CHUNK, pending_bytes_max=pending_bytes_max)
    found: list[Carved] = []
    for chunk in chunks:
        found += assembler.add(chunk)
    found += assembler.close()
    return [carved.data for carved in found], assembler.fragments


@given(st.lists(st.text(min_size=1).map(str.encode), min_size=1, max_size=5), st.data())
def test_chunks_join_in_whatever_order_they_come(values: list[bytes], data: st.DataObject) -> None:
    chunks = [chunk for number, value in enumerate(values, 1) for chunk in chunks_of(b"text:" + value, number)]
    found, fragments = assembled(data.draw(st.permutations(chunks)))
    assert sorted(b"text:" + value for value in values) == sorted(
        value for value in found if value.startswith(b"text:")
    )
    assert 0 == fragments


def test_a_value_without_its_start_is_counted_not_forgotten() -> None:
    first, *rest = chunks_of(b"a value of more than two chunks")
    assert 1 == assembled(rest)[1]
    assert 0 == assembled([first, *rest])[1]


def test_a_number_used_twice_is_two_values() -> None:
    old, new = b"old value, that was deleted", b"new value, with its number"
    found, fragments = assembled([*chunks_of(old), *chunks_of(new)])
    assert {old, new} == set(found)
    assert 0 == fragments


def test_memory_is_bounded() -> None:
    values = [b"value %02d without an end!!" % number for number in range(20)]
    heads = [chunk for number, value in enumerate(values) for chunk in chunks_of(value[:20], number + 1)]
    found, _ = assembled(heads, pending_bytes_max=100)
    assert {value[:20] for value in values} == set(found)


def test_dead_pruned_and_forgotten_values_are_still_seen(pg18: EmbeddedServer, database: Databases) -> None:
    """After DELETE, also after VACUUM, the bytes stand in the page; after VACUUM FULL they don't."""
    with psycopg.connect(database(pg18), autocommit=True) as conn:
        conn.execute("CREATE TABLE notes (id int, note text)")
        conn.execute("INSERT INTO notes SELECT g, repeat(format('note %s ', g), 700) FROM generate_series(1, 40) g")
        steps = []
        for step in ("DELETE FROM notes WHERE id > 20", "VACUUM notes", "VACUUM FULL notes"):
            conn.execute(step)
            conn.execute("CHECKPOINT")
            row = conn.execute("SELECT pg_relation_filepath('notes')").fetchone()
            assert row
            heap = (pg18.data_directory / row[0]).read_bytes()
            values = [carved.data for carved in carve_compressed(heap, block=8192, aligned=True)]
            steps.append(sum(1 for number in range(21, 41) if f"note {number} ".encode() * 700 in values))
    assert 20 == steps[0]
    assert 0 < steps[1] <= 20
    assert 0 == steps[2]


def test_a_page_of_another_byte_order_is_known_for_one() -> None:
    little = struct.pack("<QHHHHHHI", 0, 0, 0, 24, 8192, 8192, 8192 | 4, 0).ljust(8192, b"\0")
    big = struct.pack(">QHHHHHHI", 0, 0, 0, 24, 8192, 8192, 8192 | 4, 0).ljust(8192, b"\0")
    assert (True, False) == (looks_like_page(little), is_foreign_page(little))
    assert (False, True) == (looks_like_page(big), is_foreign_page(big))
    assert not looks_like_page(b"\0" * 8192)


@given(st.binary(max_size=3000), st.booleans())
def test_any_bytes_are_carved_without_a_fault(data: bytes, aligned: bool) -> None:
    list(carve_compressed(data, block=8192, aligned=aligned))
    list(carve_chunks(data, chunk_bytes=1996, aligned=aligned))
