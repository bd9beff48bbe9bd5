"""Stories told at random: good runs with findings, sweeps and erasures put in, left out, moved, and other verdicts."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from domicile.evidence import predicates as p
from domicile.proof import Verdict
from tests.vectors import live, objects
from tests.vectors import scenario as s
from tests.vectors.scenario import Line, Play, Script

RUNS = (s.good, s.good, s.key_destroyed, objects.lock_is_over, objects.objects, live.live)
DATASETS, STORES = ("app.public.messages", "app.public.users"), ("media",)
KEYED = ("app/encrypted-files", "app/statistics", "app/live", "media/locked-versions")
ABOUT = {
    "came back": DATASETS, "erased again": DATASETS, "objects came back": STORES, "note": ("nothing",),
    **{phase.value: KEYED for phase in p.KeyPhase},
}  # fmt: skip
WORST_LAST = tuple(Verdict)


def retold(seed: int) -> Script:
    """The story of this seed; KeyError where it can't be told, as it names what it has left out."""
    dice = Random(seed)  # noqa: S311  (the same stories again)
    lines = list(dice.choice(RUNS)().lines)
    begin = max(place for place, line in enumerate(lines) if line.name.startswith(("clearance", "equality", "plan")))
    for number in range(dice.choice((0, 1, 1, 2, 3, 4, 6))):
        place = dice.randint(begin if dice.random() < 0.85 else 1, len(lines) - 1)
        told = [line for line in lines if line.name.startswith(("intent", "outcome", "sweep", "equality", "approval"))]
        match dice.choice(("finding", "finding", "key", "sweep", "sweep", "again", "gone")):
            case "finding":
                lines.insert(place, _finding(dice, f"told {number}"))
            case "key":
                copy, which = dice.choice(KEYED), dice.choice(("k1", "k2"))
                made = [replace(s.key_told(phase), where=copy, text=which) for phase in s.KEY_PHASES]
                lines[place:place] = [_line(f"{one.kind} {number}", one) for one in made]
            case "sweep" if sweeps := [line for line in lines if line.name == "sweep"]:
                lines.insert(place, _sweep(dice.getrandbits(32), sweeps[0], f"sweep {number}"))
            case "again" if told:
                lines.insert(place, replace(dice.choice(told), name=f"again {number}"))
            case "gone" if told:
                line = dice.choice(told)
                where = lines.index(line)
                lines.remove(line)
                if dice.random() < 0.5:
                    lines.insert(max(1, min(where + dice.choice((-2, -1, 1, 2)), len(lines) - 1)), line)
    return Script((*lines[:-1], _certificate(dice.getrandbits(32), lines[-1])))


def _line(name: str, made: p.Predicate) -> Line:
    return Line(name, lambda _: made)


def _finding(dice: Random, name: str) -> Line:
    kind = dice.choice(tuple(ABOUT))
    where = dice.choice(ABOUT[kind] if dice.random() < 0.93 else (*DATASETS, *STORES, *KEYED))
    count, text = dice.choice((0, 1, 3, 3)), dice.choice(("k1", "k1", "k2"))
    return _line(name, p.FindingPredicate(plan=s.PLAN, kind=kind, where=where, count=count, text=text))


def _sweep(seed: int, like: Line, name: str) -> Line:
    """A sweep of some of the copies, which may find something, and may have searched for nothing."""

    def make(play: Play) -> p.Predicate:
        dice, said = Random(seed), like.make(play)  # noqa: S311
        assert isinstance(said, p.SweepPredicate)
        copies = []
        for one in said.copies:
            if dice.random() < 0.75:
                hits = dice.choice((0, 0, 0, 0, 2))
                residue = dice.choice((0, hits))
                copies.append(replace(one, bytes=dice.choice((0, 1000, 1000)), hits=hits, residue=residue))
        tokens = p.SweptTokens(searched=dice.choice((0, 5, 5, 5, 5)), not_searchable=0, canaries=0)
        rows = p.SweptRows(datasets=dice.choice((1, 2, 2, 2, 3)), hits=dice.choice((0, 0, 0, 0, 2)))
        return replace(said, copies=tuple(copies), tokens=tokens, rows=rows)

    return Line(name, make)


def _certificate(seed: int, like: Line) -> Line:
    """The same with other verdicts, from none to most of them; the whole is the worst."""

    def make(play: Play) -> p.Predicate:
        dice, said = Random(seed), like.make(play)  # noqa: S311
        assert isinstance(said, p.CertificatePredicate)
        share, copies = dice.random() * 0.7, []
        for one in said.copies:
            verdict = dice.choice(WORST_LAST) if dice.random() < share else one.verdict
            until = s.at(70) if (verdict is Verdict.BLOCKED_UNTIL) != (dice.random() < 0.01) else None
            copies.append(replace(one, verdict=verdict, until=until))
        worst = max((one.verdict for one in copies), key=WORST_LAST.index)
        return replace(said, copies=tuple(copies), verdict=worst)

    return replace(like, make=make)
