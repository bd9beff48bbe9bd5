"""Copies that are said to be unreadable without their key, which the log does not back, and one that it does."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from domicile.evidence import predicates as p
from domicile.proof import Verdict
from tests.vectors import objects
from tests.vectors import scenario as s
from tests.vectors.bad_stories import nothing_erased
from tests.vectors.belied import ASIDE, KEY_BACK, MESSAGES, USERS
from tests.vectors.pieces import FOUND, KEY_TOLD, OTHERS, certified, finding, keyed, stated, swept
from tests.vectors.registry import told
from tests.vectors.scenario import Line, Script, good

NO_KEY: Final = "its key's destruction since"
LOCKED: Final = "media/locked-versions"
ROWS_BACK: Final = (stated("back", finding("came back")), stated("again", finding("erased again")))


def _elsewhere(where: str, *phases: p.KeyPhase) -> tuple[Line, ...]:
    """The same key, told of another copy."""
    return tuple(stated(f"{phase.value} of {where}", replace(s.key_told(phase), where=where)) for phase in phases)


# ------------------------------------------------------------------------------------------- it was never destroyed
_KI, _KO = (phase.value for phase in s.KEY_PHASES)
told("key-destroyed-without-a-word-of-it", 19, NO_KEY, lambda: s.key_destroyed().without(_KI, _KO))
told("key-destroyed-without-announcement", 19, NO_KEY, lambda: s.key_destroyed().without(_KI))
told("key-destroyed-as-announced-only", 19, NO_KEY, lambda: s.key_destroyed().without(_KO))
told("key-destroyed-before-it-was-announced", 19, NO_KEY, lambda: s.key_destroyed().swapped(_KI, _KO))
told("key-destroyed-of-another-name", 19, NO_KEY, lambda: s.key_destroyed().set(_KO, text="key backups-ca of hsm"))
told("key-destroyed-of-another-copy", 19, NO_KEY, lambda: s.key_destroyed().set(_KO, where="app/statistics"))
told(
    "key-destroyed-before-the-erasure", 19, NO_KEY, lambda: s.key_destroyed().moved(_KI, before=f"intent {MESSAGES} ca")
)
told("key-destroyed-without-an-erasure", 19, "no rows were erased", lambda: (
    nothing_erased(s.key_destroyed(), Verdict.HELD)
))  # fmt: skip
told(
    "key-destroyed-and-came-back",
    19,
    "its key came back",
    lambda: s.key_destroyed().after(_KO, Line("back", lambda _: s.key_told(p.KeyPhase.CAME_BACK))),
)


# ------------------------------------------------------------------------------------------- it came back
FIRST: Final = tuple(replace(line, name=f"first {line.name}") for line in KEY_TOLD)
SECOND: Final = tuple(
    stated(f"second {phase.value}", replace(s.key_told(phase), text="another key of hsm")) for phase in s.KEY_PHASES
)
for _name, _script in {
    "key-came-back-before-rows-went-and-was-destroyed-anew": lambda: (
        good().before(f"intent {USERS} us", *FIRST, KEY_BACK).before("sweep", *KEY_TOLD)
    ),
    "key-came-back-and-was-destroyed-anew": lambda: good().before("sweep", *FIRST, KEY_BACK, *KEY_TOLD),
    "key-came-back-and-another-was-destroyed": lambda: good().before("sweep", *FIRST, KEY_BACK, *SECOND),
}.items():
    told(_name, 19, "and its key came back", lambda script=_script: certified(script(), {FOUND: Verdict.KEY_DESTROYED}))  # type: ignore[misc]
told("key-announced-and-another-destroyed", 19, "its key's destruction since", lambda: (
    certified(good().before("sweep", FIRST[0], *SECOND), {FOUND: Verdict.KEY_DESTROYED})
))  # fmt: skip
told("key-destroyed-and-back-elsewhere", 19, "that key came back elsewhere", lambda: certified(
    good().before("sweep", *KEY_TOLD, *_elsewhere(ASIDE, *p.KeyPhase)),
    {ASIDE: Verdict.HELD, FOUND: Verdict.KEY_DESTROYED},
))  # fmt: skip


# ------------------------------------------------------------------------------------------- it could be read since
told("residue-read-with-a-destroyed-key-and-then-none", 19, NO_KEY, lambda: (
    keyed(*KEY_TOLD, stated("sweep 1", swept(residue=500)))
))  # fmt: skip
told("rows-back-since-its-key-was-destroyed", 19, "rows came back since it was searched", lambda: (
    keyed(*KEY_TOLD, *ROWS_BACK).signed("sweep", stated("sweep", swept(*OTHERS)))
))  # fmt: skip
told("key-of-statistics-destroyed", 19, "it has no key of its own", lambda: certified(
    good().before("sweep", *_elsewhere(ASIDE, *s.KEY_PHASES)), {ASIDE: Verdict.KEY_DESTROYED}
))  # fmt: skip
told("key-of-locked-versions-destroyed", 19, "it has no key of its own", lambda: certified(
    objects.lock_is_over().after("sweep", *_elsewhere(LOCKED, *s.KEY_PHASES)), {LOCKED: Verdict.KEY_DESTROYED}
))  # fmt: skip


def rows_back_and_searched_since() -> Script:
    """Rows came back after a key was destroyed; the copy was searched after that."""
    return keyed(*KEY_TOLD, *ROWS_BACK)


def rows_back_and_destroyed_since() -> Script:
    """Rows came back and went; then the key was destroyed, and nobody reads the copy."""
    return keyed(*ROWS_BACK, *KEY_TOLD).signed("sweep", stated("sweep", swept(*OTHERS)))
