"""Receipts with one defect of the file, the statements or the leaf, and good ones of people who are not everybody.

Those of keys that change hands are in `successions.py`. Where a defect would be caught earlier, a cheat who holds the
engine's key committed to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from domicile.evidence import predicates as p
from domicile.evidence.receipts.leaf import Person, Rows, commit
from domicile.evidence.tlog.proof import format_proof, parse_proof
from domicile.proof import Verdict
from tests.vectors import receipts
from tests.vectors import scenario as s
from tests.vectors.scenario import Script
from tests.vectors.successions import FIRST, Bad, Extra, anew, bent, everybody, paper

MESSAGES, MEDIA = "app.public.messages", "media"
ONE: Final = 7
SMALL: Final = "homecoming.example/log+296065e7+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""A key of small order, under which anybody signs."""


def good() -> bytes:
    return paper(receipts.at_once(), FIRST)


def told(person: Callable[[Person], Person], script: Script | None = None) -> bytes:
    """The receipt of somebody to whom the engine committed in other words."""
    people = everybody()
    people[ONE] = person(people[ONE])
    root = receipts.tree(people)[0].root().hex()
    return paper((script or receipts.at_once()).set(receipts.ONE, root=root), FIRST, people=people)


def last_leaf(script: Script) -> bytes:
    """The receipt of whoever has the last leaf: its path is that of no tree of another size."""
    people = sorted(everybody(), key=lambda one: commit(one, receipts.nonce(one)))
    people[ONE], people[-1] = people[-1], people[ONE]
    return paper(script, FIRST, people=people)


def with_rows(**rows: Rows) -> Callable[[Person], Person]:
    """Besides their messages, these: a name's `_` is written for a dot."""
    return lambda one: replace(one, rows={**one.rows, **{name.replace("_", "."): of for name, of in rows.items()}})


def put(*path: str | int, value: object) -> bytes:
    """The good receipt with one field of its extra data changed."""

    def change(extra: Extra) -> None:
        place: Any = extra
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return bent(good(), change)


def changed(change: Callable[[Extra], object]) -> bytes:
    return bent(good(), change)


def spaced() -> bytes:
    """The same words, with a space behind them."""
    proof = parse_proof(good())
    return format_proof(replace(proof, extra=(proof.extra or b"") + b" "))


def neighbour() -> Extra:
    """The extra data of the next person's receipt."""
    people = everybody()
    people[ONE], people[ONE + 1] = people[ONE + 1], people[ONE]
    extra: Extra = json.loads(parse_proof(paper(receipts.at_once(), FIRST, people=people)).extra or b"")
    return extra


def certified(verdict: Verdict, counts: Mapping[str, p.Counts] | None = None, store: str = "app") -> Script:
    """The run whose first copy has this verdict, with these counts in the US besides."""
    own = s.certificate()
    first = replace(own.copies[0], id=f"{store}/live", verdict=verdict)
    first = replace(first, until=s.at(9_999) if verdict is Verdict.BLOCKED_UNTIL else None)
    all_counts = {**own.counts, **{name: {"us": of} for name, of in (counts or {}).items()}}
    return receipts.at_once().set("certificate", copies=(first, *own.copies[1:]), verdict=verdict, counts=all_counts)


def long() -> Script:
    """The run whose certificate is detached."""
    more = tuple(f"{number} {'x' * 400}" for number in range(100))
    return receipts.at_once().set("certificate", not_proven=(*s.plan().not_proven, *more))


def of_all(moved: int, deleted: int) -> dict[str, p.Counts]:
    return {MEDIA: p.Counts(moved=moved, deleted=deleted, blanked=0, kept=moved - deleted)}


GOOD: Final[dict[str, Callable[[], bytes]]] = {
    "last-leaf": lambda: last_leaf(receipts.at_once()),
    "key-of-any-signs": lambda: told(lambda one: replace(one, key='\u0000\t"\\\u007f\u2028 é 😀 \ufeff')),
    "without-rows": lambda: told(lambda one: replace(one, rows={})),
    "certificate-detached": lambda: paper(long(), FIRST),
    "with-objects": lambda: told(
        with_rows(media=Rows(moved=4, deleted=3, blanked=0)), certified(Verdict.HELD, of_all(5, 3))
    ),
    "with-objects-that-are-blocked": lambda: told(
        with_rows(media=Rows(moved=4, deleted=4, blanked=0)), certified(Verdict.BLOCKED_UNTIL, of_all(5, 3), MEDIA)
    ),
    "rows-that-nobody-else-has": lambda: told(with_rows(app_public_notes=Rows(moved=3, deleted=0, blanked=0))),
    "more-erased-where-a-copy-is-present": lambda: told(
        with_rows(app_public_notes=Rows(moved=3, deleted=3, blanked=0)), certified(Verdict.PRESENT)
    ),
}
"""By name; the policy `first` accepts each."""

BAD: Final[dict[str, Bad]] = {
    name: Bad("first", check, reason, make)
    for name, (check, reason, make) in {
        "proof-without-extra-data": (
            1, "no receipt", lambda: format_proof(replace(parse_proof(good()), extra=None))),
        "extra-data-with-a-space": (1, "one spelling", spaced),
        "extra-data-with-another-field": (1, "shape", lambda: put("note", value="x")),
        "version-2-without-changes": (1, "shape", lambda: put("format", value="urn:domicile:receipt/v2")),
        "version-1-with-changes": (1, "shape", lambda: put("keys", value=[])),
        "person-with-another-field": (1, "shape", lambda: put("person", "name", value="x")),
        "rows-below-nothing": (1, "shape", lambda: put("person", "rows", MESSAGES, "blanked", value=-1)),
        "nonce-in-capitals": (
            1, "shape", lambda: changed(lambda extra: extra.update(nonce=extra["nonce"].upper()))),
        "nonce-of-31-bytes": (1, "shape", lambda: put("nonce", value="00" * 31)),
        "log-key-of-small-order": (2, "small order", lambda: put("log", value=SMALL)),
        "log-key-of-another": (3, "another log", lambda: put("log", value=s.STRANGER.verifier.vkey)),
        "statement-at-another-place": (
            5, "not in the log", lambda: format_proof(replace(parse_proof(good()), index=9))),
        "statement-detached-as-nothing": (5, "another predicate", lambda: put("receipts", "detached", value="")),
        "certificate-for-the-statement": (
            5, "not the shape of its type",
            lambda: changed(lambda extra: extra["receipts"].update(envelope=extra["certificate"]["envelope"]))),
        "certificate-at-another-place": (6, "not in the log", lambda: put("certificate", "index", value=17)),
        "certificate-that-is-not-the-last-word": (
            6, "not the last word", lambda: paper(anew(receipts.at_once(), FIRST), FIRST, last=-2)),
        "certificate-of-another-predicate": (
            6, "another predicate", lambda: bent(paper(long(), FIRST), lambda extra: extra["certificate"].update(
                detached=extra["receipts"]["envelope"]))),
        "certificate-of-another-plan": (
            7, "two different plans",
            lambda: paper(receipts.at_once().set("certificate", plan=s.digest("another plan")), FIRST)),
        "nonce-of-another": (8, "committed to", lambda: changed(lambda own: own.update(nonce=neighbour()["nonce"]))),
        "key-of-another": (8, "committed to", lambda: put("person", "key", value="8")),
        "home-of-others": (8, "committed to", lambda: put("person", "home", value="ca")),
        "person-of-another-kind": (8, "committed to", lambda: put("person", "kind", value="app.public.shops")),
        "rows-fewer-than-committed-to": (
            8, "committed to", lambda: put("person", "rows", MESSAGES, "moved", value=1)),
        "dataset-left-out": (
            8, "committed to", lambda: changed(lambda extra: extra["person"]["rows"].pop(MESSAGES))),
        "person-and-nonce-of-another": (
            8, "committed to",
            lambda: changed(lambda own: own.update({key: neighbour()[key] for key in ("person", "nonce")}))),
        "leaf-at-another-place": (
            8, "committed to", lambda: changed(lambda extra: extra["leaf"].update(index=extra["leaf"]["index"] ^ 1))),
        "leaf-behind-the-last": (8, "committed to", lambda: put("leaf", "index", value=50)),
        "leaf-of-another-path": (8, "committed to", lambda: put("leaf", "path", 0, value="00" * 32)),
        "leaf-with-a-short-path": (8, "committed to", lambda: changed(lambda extra: extra["leaf"]["path"].pop())),
        "leaf-with-a-long-path": (
            8, "committed to", lambda: changed(lambda extra: extra["leaf"]["path"].append("00" * 32))),
        "leaf-of-a-tree-of-another-size": (
            8, "committed to", lambda: paper(_more(receipts.at_once(), 60), FIRST)),
        "last-leaf-of-a-tree-with-one-more": (
            8, "committed to", lambda: last_leaf(_more(receipts.at_once(), 41))),
        "home-that-nobody-stated": (
            9, "does not name", lambda: told(lambda one: replace(one, home="sg"))),
        "more-erased-than-went-home": (
            9, "than went home", lambda: told(with_rows(app_public_messages=Rows(moved=1, deleted=1, blanked=1)))),
        "more-erased-than-of-all": (
            9, "than the certificate",
            lambda: told(with_rows(app_public_messages=Rows(moved=121, deleted=121, blanked=0)))),
        "more-erased-of-what-nobody-else-has": (
            9, "than the certificate", lambda: told(with_rows(app_public_notes=Rows(moved=1, deleted=0, blanked=1)))),
        "more-erased-where-a-copy-is-held": (
            9, "than the certificate",
            lambda: told(with_rows(app_public_notes=Rows(moved=1, deleted=1, blanked=0)), certified(Verdict.HELD))),
        "more-objects-than-of-all": (
            9, "more objects at home", lambda: told(
                with_rows(media=Rows(moved=6, deleted=0, blanked=0)), certified(Verdict.PRESENT, of_all(5, 3), MEDIA))),
        "more-objects-erased-than-of-all": (
            9, "than the certificate", lambda: told(
                with_rows(media=Rows(moved=4, deleted=4, blanked=0)), certified(Verdict.PRESENT, of_all(5, 3)))),
    }.items()
}  # fmt: skip
"""By name: what the policy `first` refuses, at which check, and why."""


def _more(script: Script, us: int) -> Script:
    """The statement speaks of more people than its tree has leaves."""
    homes = {"us": p.Received(country="US", operator="Home Inc", subjects=us),
             "ca": p.Received(country="CA", operator="Home Ltd", subjects=10)}  # fmt: skip
    return script.set(receipts.ONE, homes=homes)


def files(folder: Path) -> dict[Path, bytes]:
    """All that is made here."""
    made = {folder / "good" / f"{name}.tlog-proof": make() for name, make in GOOD.items()}
    return made | {folder / "bad" / f"{name}.tlog-proof": bad.make() for name, bad in BAD.items()}
