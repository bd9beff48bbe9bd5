"""Trust policies: which logs, which witnesses, and how many of them have to cosign (C2SP tlog-policy).

log VKEY [URL]
witness NAME VKEY [URL]
group NAME all|any|K NAME…
quorum NAME|none
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from domicile.errors import BadFile
from domicile.evidence.keys import Verifier, parse_vkey
from domicile.evidence.tlog.cosignature import Cosigner, parse_cosigner

POLICY_BYTES_MAX: Final = 262_144
NAMES_MAX: Final = 256
NONE: Final = "none"
WORDS: Final = frozenset({"log", "witness", "group", "quorum"})
_COUNT = re.compile(r"[1-9][0-9]{0,3}")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
Key = TypeVar("Key", Verifier, Cosigner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A witness: its name in the policy, its key, and where it is asked."""

    name: str
    cosigner: Cosigner
    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """So many of these have to witness, for the group to have witnessed."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Logs with their URLs, witnesses and groups by name, and the name of the quorum or `none`."""

    logs: Mapping[Verifier, str | None]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str

    def is_met_by(self, cosigned: Collection[str]) -> bool:
        """Whether witnesses of these names make the quorum."""
        return self.quorum == NONE or self._witnessed(self.quorum, cosigned)

    def is_met_twice(self) -> bool:
        """Whether two sets of witnesses that share none both make the quorum, so that each may cosign another log.

        Exact, since a name stands in one group at most, so that members have no witness in common (tlog-policy). A
        witness of any algorithm counts, whether its cosignatures can be checked here or not.
        """
        return self.quorum != NONE and self._meets_twice(self.quorum)

    def _meets_twice(self, name: str) -> bool:
        """Each set meets K of the n members, and both at once only of the t that can be met twice: 2K - t <= n."""
        group = self.groups.get(name)
        if group is None:
            return False
        return 2 * group.threshold - sum(map(self._meets_twice, group.members)) <= len(group.members)

    def _witnessed(self, name: str, cosigned: Collection[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in cosigned
        return sum(self._witnessed(member, cosigned) for member in group.members) >= group.threshold


@dataclass(slots=True)
class _Draft:
    """What the lines above have defined."""

    logs: dict[Verifier, str | None] = field(default_factory=dict)
    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    quorum: str | None = None

    @property
    def names(self) -> set[str]:
        return {*self.witnesses, *self.groups}


def parse_policy(data: bytes, *, origin: str = "policy") -> Policy:
    """Read a policy; `BadFile` names `origin` and the line.

    Octets above 127 mean nothing (tlog-policy, "Character set"): names are compared as they are.
    """
    draft = _Draft()
    for number, words in _lines(data, origin):
        try:
            _read_line(words, draft)
        except BadFile as fault:
            raise BadFile(f"{origin}:{number}: {fault}") from None
    if draft.quorum is None:
        raise BadFile(f"{origin}: has no `quorum` line; write one, `quorum none` if no witness has to cosign")
    return Policy(logs=draft.logs, witnesses=draft.witnesses, groups=draft.groups, quorum=draft.quorum)


def only_policy_lines(data: bytes) -> bytes:
    """The lines of a trust policy that tlog-policy knows; an auditor's file has others, too. Numbers stay."""
    kept = [line if _word(line) in WORDS else b"" for line in data.split(b"\n")]
    return b"\n".join(kept)


def format_policy(policy: Policy) -> bytes:
    """Write a policy in our one spelling: logs, witnesses, groups, quorum."""
    lines = [_join("log", log.vkey, url) for log, url in policy.logs.items()]
    lines += [_join("witness", one.name, one.cosigner.vkey, one.url) for one in policy.witnesses.values()]
    lines += [_join("group", one.name, str(one.threshold), *one.members) for one in policy.groups.values()]
    return "".join(line + "\n" for line in [*lines, f"quorum {policy.quorum}"]).encode(errors="surrogateescape")


def _join(*words: str | None) -> str:
    return " ".join(word for word in words if word)


def _word(line: bytes) -> str:
    words = line.split(maxsplit=1)
    return words[0].decode("latin-1") if words else ""


def _lines(data: bytes, origin: str) -> list[tuple[int, list[str]]]:
    """The words of each line that says something, with its number."""
    if len(data) > POLICY_BYTES_MAX:
        raise BadFile(f"{origin}: longer than {POLICY_BYTES_MAX} bytes; no policy is")
    if data and not data.endswith(b"\n"):
        raise BadFile(f"{origin}: its last line has no end, so it may be cut; end it with a newline")
    text = data.decode(errors="surrogateescape")
    if _FORBIDDEN.search(text):
        raise BadFile(f"{origin}: holds a control character; only tabs and newlines are allowed")
    split = ([word for word in re.split(r"[ \t]+", line) if word] for line in text.split("\n"))
    return [(number, words) for number, words in enumerate(split, start=1) if words and words[0][0] != "#"]


def _read_line(words: Sequence[str], draft: _Draft) -> None:
    match words:
        case ["log", vkey, *url] if len(url) <= 1:
            log = parse_vkey(vkey)
            _refuse_duplicate(log, draft.logs)
            draft.logs[log] = next(iter(url), None)
        case ["witness", name, vkey, *url] if len(url) <= 1:
            cosigner = parse_cosigner(vkey)
            _refuse_duplicate(cosigner, [one.cosigner for one in draft.witnesses.values()])
            _refuse_taken(name, draft)
            draft.witnesses[name] = Witness(name=name, cosigner=cosigner, url=next(iter(url), None))
        case ["group", name, threshold, *members]:
            group = _group(name, threshold, members, draft)
            _refuse_taken(name, draft)
            draft.groups[name] = group
            draft.listed.update(members)
        case ["quorum", name]:
            if draft.quorum is not None:
                raise BadFile("a second `quorum`; a policy has one")
            if name != NONE and name not in draft.names:
                raise BadFile("`quorum` names no witness or group of a line above; define it first")
            draft.quorum = name
        case _:
            raise BadFile("not a line of tlog-policy: log, witness, group or quorum; correct it")


def _group(name: str, threshold: str, members: Sequence[str], draft: _Draft) -> Group:
    for member in members:
        if member not in draft.names:
            raise BadFile("`group` lists what no line above defines; define it first")
        if member in draft.listed or members.count(member) > 1:
            raise BadFile("`group` lists what is a member already; each counts in one way only")
    counts = {"all": len(members), "any": 1}
    if threshold not in counts and not _COUNT.fullmatch(threshold):
        raise BadFile("`group` wants `all`, `any` or a number after its name; correct it")
    count = counts.get(threshold) or int(threshold if _COUNT.fullmatch(threshold) else 0)
    if not 1 <= count <= len(members):
        raise BadFile(f"`group` wants {count} of {len(members)}; give it members, and a number they can reach")
    return Group(name=name, threshold=count, members=tuple(members))


def _refuse_taken(name: str, draft: _Draft) -> None:
    if name == NONE or name in draft.names:
        raise BadFile("defines a name that has its meaning already; choose another")
    if len(draft.names) >= NAMES_MAX:
        raise BadFile(f"more than {NAMES_MAX} witnesses and groups; no policy needs them")


def _refuse_duplicate(key: Key, known: Collection[Key]) -> None:
    if any(key.public == other.public for other in known):
        raise BadFile("a key that stands in a line above already, if under another name; each is listed once")
