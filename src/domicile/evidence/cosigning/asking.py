"""The log's side of tlog-witness: asks all witnesses of a policy at once, until their quorum has cosigned.

A witness that doesn't answer, or declines, is one that has not cosigned, and a remark says why. None of them can stop
a quorum of the others; where there is no quorum, and one says that this log is not what it saw, that is the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from domicile.config.witnesses import WitnessRule
from domicile.engine.many import all_at_once
from domicile.errors import BadFile, DomicileError, EvidenceFault, NoQuorum
from domicile.evidence.keys import Verifier
from domicile.evidence.tlog.checkpoint import Checkpoint, open_checkpoint
from domicile.evidence.tlog.cosignature import ED25519
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.note import NoteSignature
from domicile.evidence.tlog.policy import Policy, Witness, parse_policy
from domicile.evidence.tlog.witness import (
    ANSWER_BYTES_MAX,
    CALL,
    AddCheckpoint,
    format_request,
    parse_answer,
    parse_size,
)
from domicile.host import Host
from domicile.web import ask, require_url

TRIES_MAX: Final = 3
PAUSE_S: Final = 0.5
PAUSE_S_MAX: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """The cosignatures of a head, in the policy's order, and why those that are missing are."""

    signatures: tuple[NoteSignature, ...]
    remarks: tuple[str, ...]


class _Missing(Exception):
    """A witness did not cosign; `of_another_log` when it says that this log is not the one that it saw."""

    def __init__(self, why: str, *, of_another_log: bool = False) -> None:
        super().__init__(why)
        self.of_another_log = of_another_log


def witnesses_of(rule: WitnessRule | None, host: Host, *, own: Verifier | None = None) -> Witnesses | None:
    """The witnesses that the file names, or None; `BadFile` where its lines are no policy, or can't be met.

    Nor may one of them have the log's `own` key: whoever has that could cosign for themselves. Nor may two sets of them
    that share none make the quorum: each could cosign another log, and none of them would notice.
    """
    if rule is None:
        return None
    data = "".join(line + "\n" for line in rule.policy).encode()
    policy = parse_policy(data, origin="witnesses.policy")
    if policy.logs:
        raise BadFile("witnesses.policy: has a `log` line; the log is this programme's own, so leave it out")
    for witness in policy.witnesses.values():
        if own is not None and witness.cosigner.public == own.public:
            raise BadFile(f"witnesses.policy: witness {witness.name} has the engine's key; it needs a key of its own")
        if witness.url is None:
            raise BadFile(f"witnesses.policy: witness {witness.name} has no URL, so it can't be asked; add it")
        require_url(witness.url, what=f"witnesses.policy: witness {witness.name}")
    able = [name for name, one in policy.witnesses.items() if one.cosigner.algorithm == ED25519]
    if not policy.is_met_by(able):
        raise BadFile("witnesses.policy: the quorum needs cosignatures of a type that this version can't check")
    if policy.is_met_twice():
        raise BadFile(
            f"witnesses.policy: two sets of witnesses that share none make the quorum {ascii(policy.quorum)[1:-1]}, so "
            "two logs could be cosigned while every witness is honest; let its group want `all`, or more than half of "
            "its members"
        )
    return Witnesses(policy, host=host, wait_s_max=rule.wait_s_max)


@dataclass(slots=True)
class Witnesses:
    """The witnesses of one log; knows what size each saw last, as far as it was told."""

    policy: Policy
    host: Host = field(kw_only=True)
    wait_s_max: float = field(kw_only=True)
    _seen: dict[str, int] = field(default_factory=dict, kw_only=True)

    def cosign(self, log: Log, *, wait_s: float | None = None) -> Cosigned:
        """Have the log's head cosigned by a quorum; all are asked, and again for `wait_s`, by default the file's.

        `NoQuorum` when too few did, `EvidenceFault` when one of them says that it saw another log of this name.
        """
        head = open_checkpoint(log.head_bytes, log.verifier)
        end = self.host.monotonic_s() + (self.wait_s_max if wait_s is None else wait_s)
        given: dict[str, NoteSignature] = {}
        pause = PAUSE_S
        while True:
            missing = self._ask_all(log, head, given)
            if self.policy.is_met_by(given):
                break
            other = [str(one) for one in missing.values() if one.of_another_log]
            if other:
                raise EvidenceFault(
                    f"log {head.origin}: no quorum, and {'; '.join(other)}: this log was put back from an old copy, or "
                    "its key signs elsewhere. Restore the newest folder; nothing was published"
                )
            if self.host.monotonic_s() + pause > end:
                raise NoQuorum(self._too_few(head, given, missing))
            self.host.pause(pause)
            pause = min(2 * pause, PAUSE_S_MAX)
        ordered = tuple(given[name] for name in self.policy.witnesses if name in given)
        return Cosigned(signatures=ordered, remarks=tuple(str(one) for one in missing.values()))

    def _ask_all(self, log: Log, head: Checkpoint, given: dict[str, NoteSignature]) -> Mapping[str, _Missing]:
        """Ask all that have not cosigned yet; add what came to `given`, and return why others didn't."""
        waiting = [one for name, one in self.policy.witnesses.items() if name not in given]
        answers = all_at_once([lambda one=one: self._ask(one, log, head) for one in waiting])  # type: ignore[misc]
        missing = {}
        for witness, answer in zip(waiting, answers, strict=True):
            if isinstance(answer, _Missing):
                missing[witness.name] = answer
            else:
                given[witness.name] = answer
        return missing

    def _ask(self, witness: Witness, log: Log, head: Checkpoint) -> NoteSignature | _Missing:
        if witness.cosigner.algorithm != ED25519:
            return _Missing(f"witness {witness.name}: cosigns by an algorithm that this version can't check")
        try:
            return self._ask_for_size(witness, log, head)
        except _Missing as missing:
            return missing
        except DomicileError as fault:
            return _Missing(f"witness {witness.name}: {fault}")

    def _ask_for_size(self, witness: Witness, log: Log, head: Checkpoint) -> NoteSignature:
        """Ask with the size that the witness is thought to have seen, and once more with what it says."""
        old = min(self._seen.get(witness.name, log.published_size), head.size)
        status = 0
        for _ in range(TRIES_MAX):
            body = format_request(AddCheckpoint(old=old, path=log.consistency_proof(old), checkpoint=log.head_bytes))
            answer = ask(f"{(witness.url or '').rstrip('/')}/{CALL}", body=body, bytes_max=ANSWER_BYTES_MAX)
            status = answer.status
            if status == 200:
                self._seen[witness.name] = head.size
                return _own_line(witness, head, answer.body)
            if status != 409:
                break
            size = parse_size(answer.body)
            if size is None:
                break
            if size > head.size or size == old:
                what = f"{size} entries, and has {head.size} here" if size > head.size else f"another head of {size}"
                raise _Missing(f"witness {witness.name} saw {what}", of_another_log=True)
            old = size
        if status == 422:
            raise _Missing(f"witness {witness.name} saw {old} entries that are not its beginning", of_another_log=True)
        why = {403: "does not know the log's key", 404: "does not know this log"}.get(status, f"answered {status}")
        raise _Missing(f"witness {witness.name} {why}; give its operator what `domicile log policy` prints")

    def _too_few(self, head: Checkpoint, given: Mapping[str, NoteSignature], missing: Mapping[str, _Missing]) -> str:
        got = ", ".join(given) or "nobody"
        return (
            f"log {head.origin}: its head of {head.size} entries is cosigned by {got}, and the quorum "
            f"{ascii(self.policy.quorum)[1:-1]} wants more ({'; '.join(str(one) for one in missing.values())}). "
            "Nothing is lost, and nothing irreversible is done before: run the same command again"
        )


def _own_line(witness: Witness, head: Checkpoint, body: bytes) -> NoteSignature:
    """The line of the witness's own key; lines of other keys are ignored (tlog-witness, "add-checkpoint")."""
    for line in parse_answer(body):
        if (line.name, line.key_id) == (witness.cosigner.name, witness.cosigner.key_id):
            if witness.cosigner.time_of(head.text, line.signature) is None:
                raise _Missing(f"witness {witness.name}: its cosignature is wrong; compare its key with its operator")
            return line
    raise _Missing(f"witness {witness.name}: answers without a cosignature of its key; compare it with its operator")
