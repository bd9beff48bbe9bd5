"""Bundles that a single condition of a check refuses: all others around it hold."""

from __future__ import annotations

from dataclasses import replace

from domicile.evidence import predicates as p
from domicile.evidence.keys import Signer
from domicile.proof import Verdict
from tests.vectors import objects
from tests.vectors import rotations as r
from tests.vectors import scenario as s
from tests.vectors.registry import filed, told
from tests.vectors.rotations import cheat
from tests.vectors.scenario import Line, Script, good

LAST_OUTCOME = "outcome app.public.users us"
KEY_TOLD = tuple(Line(phase.value, lambda _, phase=phase: s.key_told(phase)) for phase in s.KEY_PHASES)  # type: ignore[misc]


def _keyed(script: Script, verdict: Verdict) -> Script:
    """The run in which the key of one copy is called destroyed."""

    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.CertificatePredicate)
        copies = tuple(replace(c, verdict=Verdict.KEY_DESTROYED) if c.id == s.KEYED else c for c in made.copies)
        return replace(made, copies=copies, verdict=verdict)

    return script.bent("certificate", bend)


def objects_went_last() -> Script:
    """A key was destroyed after the last rows went, and before a lock was over: that voids nothing."""
    return _keyed(objects.lock_is_over().before("objects later", *KEY_TOLD), Verdict.KEY_DESTROYED)


def _only_objects_went() -> Script:
    """Of rows the plan erases none; of objects all go."""
    slices = tuple(replace(one, erase=p.EraseCounts(delete=0, blank=0)) for one in s.plan().slices)
    erasures = [name for name in good().names() if name.startswith(("intent", "outcome"))]
    script = objects.lock_is_over().without(*erasures).before("sweep", *KEY_TOLD)
    script = script.bent("plan", lambda made: replace(made, slices=(*slices, made.slices[-1])))  # type: ignore[attr-defined, call-arg]

    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.CertificatePredicate)
        counts = {
            dataset: {home: replace(c, deleted=0, blanked=0, kept=c.moved) for home, c in homes.items()}
            for dataset, homes in made.counts.items()
            if dataset != "media"
        }
        return replace(made, counts={**counts, "media": made.counts["media"]})

    return _keyed(script.bent("certificate", bend), Verdict.KEY_DESTROYED)


def _tables_went_last() -> Script:
    """A key was destroyed before a derived table was emptied; that stands beside the objects that went."""

    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.ErasurePredicate)
        return replace(made, emptied=("app/derived-table:public.totals",))

    return objects_went_last().bent("objects later", bend)


told("key-destroyed-before-a-table-was-emptied", 19, "doesn't tell of its key's destruction", _tables_went_last)

# Two keys of one name whose ids are the same four bytes: one in 80,000 tries has such a twin.
_TWINS = tuple(Signer(name=s.OPERATOR.name, seed=s.key(f"twin{number}").seed) for number in (41869, 59126))


filed(
    "approvers-with-one-key-id",
    2,
    "two roles",
    lambda f: f.update(
        {f"keys/approver-{turn}.vkey": f"{key.verifier.vkey}\n".encode() for turn, key in enumerate(_TWINS, start=1)}
    ),
)
filed(
    "checkpoint-with-a-signature-too-short",
    5,
    "a signature of the checkpoint is too short",
    lambda f: f.update({"log/checkpoint": f["log/checkpoint"] + "\u2014 witness.example AAAA\n".encode()}),
)
told(
    "approval-named-twice-beside-enough",
    14,
    "twice",
    lambda: good().bent("clearance", lambda made: replace(made, approvals=(*made.approvals, made.approvals[0]))),  # type: ignore[attr-defined, call-arg]
)
told(
    "objects-of-a-store-that-has-none",
    10,
    "no copy of the plan",
    lambda: objects.objects().bent(
        "plan",
        lambda made: replace(  # type: ignore[call-arg]
            made,
            copies=tuple(replace(c, kind="versions") if c.kind == "objects" else c for c in made.copies),  # type: ignore[attr-defined]
        ),
    ),
)
told("erasure-announced-but-called-done", 19, "not erased as planned", lambda: good().without(LAST_OUTCOME))
told("key-destroyed-when-only-objects-were-erased", 19, "no rows were erased", _only_objects_went)


# ------------------------------------------------------------------------------------------- 20 what may be counted
def _not_cleared(script: Script) -> Script:
    """The run that stopped before the approvals, and counts what was moved."""
    after = [name for name in good().names() if name.startswith(("approval", "intent", "outcome"))]
    counts = {
        dataset: {home: p.Counts(moved=c.moved, deleted=0, blanked=0, kept=c.moved) for home, c in homes.items()}
        for dataset, homes in s.certificate().counts.items()
    }
    copies = tuple(replace(c, verdict=Verdict.PRESENT) for c in s.certificate().copies)
    script = script.without(*after, "clearance", "sweep")
    return script.set("certificate", copies=copies, counts=counts, verdict=Verdict.PRESENT)


told(
    "certificate-counting-an-unfenced-equality",
    20,
    "not those of the statements",
    lambda: _not_cleared(good().without("cutover", "equality")),
)
told(
    "certificate-counting-what-differs",
    20,
    "not those of the statements",
    lambda: _not_cleared(
        good().bent(
            "equality",
            lambda made: replace(  # type: ignore[call-arg]
                made,
                slices=(replace(made.slices[0], source=s.digest("other")), *made.slices[1:]),  # type: ignore[attr-defined]
                differences=1,
            ),
        )
    ),
)


# ------------------------------------------------------------------------------------------- 24 keys
def _handed_on(maker: s.Maker, *signers: Signer) -> Script:
    """Monitor's key goes to another, as these say."""
    script = s.good().set("plan", approvals=r.THREE)
    lines = [Line(f"hand on {number}", maker, signer) for number, signer in enumerate(signers)]
    return r.later(script.before(r.APPROVED, *lines), lines[-1].name, s.MONITOR, r.MONITOR_2)


cheat(
    "enough-others-hand-a-key-on",
    "signed by the wrong ones",
    lambda: _handed_on(r.change("monitor", s.MONITOR, r.MONITOR_2, what="rotated"), s.OPERATOR, r.COUNSEL),
    r.STOLEN,
)
cheat(
    "one-approver-votes-twice",
    "1 approvers; 2 have to say it",
    lambda: _handed_on(r.change("monitor", s.MONITOR, r.MONITOR_2, what="revoked"), s.OPERATOR, s.OPERATOR),
    r.STOLEN,
)
cheat(
    "a-key-hands-itself-on-twice",
    "and no more",
    lambda: _handed_on(r.change("monitor", s.MONITOR, r.MONITOR_2, what="rotated"), s.MONITOR, s.MONITOR),
    r.STOLEN,
)
cheat(
    "a-key-changes-before-there-was-a-log",
    "another place",
    lambda: _handed_on(r.change("monitor", s.MONITOR, r.MONITOR_2, what="rotated"), s.MONITOR).set(
        "hand on 0", stands=0
    ),
    r.STOLEN,
)
