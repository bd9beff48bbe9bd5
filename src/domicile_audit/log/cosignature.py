"""Witnesses: the policy's lines about them (C2SP tlog-policy), and who cosigned the checkpoint (tlog-cosignature).

Ed25519 cosignatures (type 4) count. A witness of type 6 (ML-DSA-44) has its place in a policy, and never counts.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from domicile_audit.case import Refused, require
from domicile_audit.log.keys import Key, read_base64, refuse_small

ED25519, ML_DSA_44 = 4, 6
PUBLIC_BYTES = {ED25519: 32, ML_DSA_44: 1_312}
WITNESS_CHARS_MAX = 4_096
LINE = rb"\xe2\x80\x94 [^\x00- +]+ [A-Za-z0-9+/=]+\n"  # signed-note "Format": no spaces, plus or control signs
LINES = re.compile(b"(?:" + LINE + b"){0,63}")
SPLIT = "two sets of your witnesses that share none meet the quorum, so a split view needs no dishonest one"
_COUNT = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's key: its name, id, signature type and own bytes."""

    name: str
    key_id: bytes
    algorithm: int
    public: bytes

    def time_of(self, text: bytes, signature: bytes) -> int | None:
        """When this key cosigned the text (tlog-cosignature, "Ed25519 signed message"); None if it didn't."""
        time = int.from_bytes(signature[:8], "big")
        message = b"cosignature/v1\ntime %d\n%b" % (time, text)
        if self.algorithm != ED25519 or len(signature) != 72 or time >= 2**63:
            return None
        return time if Key(self.name, self.key_id, self.public).signed(message, signature[8:]) else None


@dataclass(slots=True)
class Quorum:
    """What the lines of a policy say of witnesses; `name` is None before its `quorum` line.

    `twice` are the groups that two sets of witnesses that share none can both meet. Each name stands in one group at
    most, so members have no witness in common, and both sets can meet only those that are of `twice` themselves. Where
    the quorum is one, `split` says it.
    """

    witnesses: dict[str, Cosigner] = field(default_factory=dict)
    groups: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)
    name: str | None = None
    split: str = ""

    def read(self, words: Sequence[str], where: str) -> None:
        """Read one line; refuse it unless it names what stands above it, once (tlog-policy)."""
        match words:
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self._require_free(name, where)
                self.witnesses[name] = read_cosigner(vkey, where)
            case ["group", name, count, *members]:
                self._require_free(name, where)
                listed = [member for _, others in self.groups.values() for member in others] + members
                known = len(set(listed)) == len(listed) and all(self._knows(member) for member in members)
                require(known, f"{where}: a group lists what no line above defines, or what is a member already")
                number = {"all": str(len(members)), "any": "1"}.get(count, count)
                fits = _COUNT.fullmatch(number) is not None and int(number) <= len(members)
                require(fits, f"{where}: a group wants `all`, `any` or a number that its members can reach")
                self.groups[name] = (int(number), tuple(members))
                if 2 * int(number) - len(self.twice & set(members)) <= len(members):
                    self.twice.add(name)
            case ["quorum", name]:
                require(self.name is None, f"{where}: exactly one line is needed, such as `quorum none`")
                known = name == "none" or self._knows(name)
                require(known, f"{where}: the quorum is no witness or group of a line above")
                self.name, self.split = name, SPLIT if name in self.twice else ""
            case _:
                raise Refused(f"{where}: not a line this version reads")

    def cosigned(self, text: bytes, lines: Sequence[tuple[bytes, bytes]]) -> dict[str, int]:
        """Who of the witnesses signed, by the policy's name, and when; refuse if a line of one is wrong.

        Lines (name, key id and signature) of unknown keys are ignored (signed-note, "Signatures").
        """
        times: dict[str, int] = {}
        for name, witness in self.witnesses.items():
            own = [blob[4:] for key, blob in lines if (key, blob[:4]) == (witness.name.encode(), witness.key_id)]
            for signature in own if witness.algorithm == ED25519 else ():
                time = witness.time_of(text, signature)
                if time is None:
                    raise Refused(f"the checkpoint: the cosignature of witness {name} is wrong")
                times[name] = max(time, times.get(name, 0))
        return times

    def is_met(self, cosigned: Collection[str]) -> bool:
        """Whether these witnesses make the quorum."""
        return self.name == "none" or (self.name is not None and self._witnessed(self.name, cosigned))

    def _witnessed(self, name: str, cosigned: Collection[str]) -> bool:
        if name in self.witnesses:
            return name in cosigned
        count, members = self.groups[name]
        return sum(self._witnessed(member, cosigned) for member in members) >= count

    def _knows(self, name: str) -> bool:
        return name in self.witnesses or name in self.groups

    def _require_free(self, name: str, where: str) -> None:
        free = name != "none" and not self._knows(name)
        require(free, f"{where}: a name that stands for something else already")


def read_cosignatures(text: bytes, lines: bytes, log: Key, quorum: Quorum | None) -> tuple[int, dict[str, int]]:
    """Behind the log's one signature stand none but others', with the policy's quorum: how many, and when."""
    require(LINES.fullmatch(lines) is not None, "the checkpoint is not a note of three lines and signatures")
    split = [line.split(b" ")[1:] for line in lines.splitlines()]
    others = [(name, read_base64(blob.decode(), "a signature of the checkpoint")) for name, blob in split]
    require(all(len(blob) > 4 for _, blob in others), "a signature of the checkpoint is too short")
    more = any((name, blob[:4]) == (log.name.encode(), log.key_id) for name, blob in others)
    require(not more, "the checkpoint has more than one signature of the log's key")
    if quorum is None:
        return len(others), {}
    cosigned = quorum.cosigned(text, others)
    by = ", ".join(cosigned) or "no witness"
    require(quorum.is_met(cosigned), f"the checkpoint is cosigned by {by}, the policy wants {quorum.name}")
    return len(others), cosigned


def read_cosigner(line: str, where: str = "this") -> Cosigner:
    """Read a witness's key; refuse unless it is in its one spelling and its id is that of name and key."""
    parts = line.split("+", 2)
    require(len(parts) == 3 and len(line) <= WITNESS_CHARS_MAX, f"{where} is not a key: not of the form NAME+ID+KEY")
    name, raw = parts[0], read_base64(parts[2], f"the key of {where}")
    spaced = any(sign.isspace() for sign in name)
    require(bool(name) and name.isprintable() and not spaced, f"{where} is not a key: a name with spaces, or none")
    cosigns = raw[:1] != b"" and len(raw) == 1 + PUBLIC_BYTES.get(raw[0], -1)
    require(cosigns, f"{where} is not a key of a type that cosigns (4 or 6)")
    refuse_small(raw[1:], where)
    key_id = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    require(parts[1] == key_id.hex(), f"{where} is not a key: name, id and key do not belong together")
    return Cosigner(name, key_id, raw[0], raw[1:])


def say_time(seconds: int) -> str:
    """A cosignature's time, for people."""
    return f"{datetime.fromtimestamp(min(seconds, 2**37), UTC):%Y-%m-%dT%H:%M:%SZ}"
