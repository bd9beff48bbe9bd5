"""Trust policies: the spec's example, what it forbids, and the engine's reading against the checker's."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domicile.errors import BadFile
from domicile.evidence.keys import Signer
from domicile.evidence.tlog.cosignature import Cosigner, cosigner_of
from domicile.evidence.tlog.policy import format_policy, only_policy_lines, parse_policy
from domicile_audit.log.cosignature import Quorum

NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
KEYS = {name: cosigner_of(Signer(name=f"{name}.example", seed=name.encode() * 16)) for name in NAMES}
LOG = Signer(name="log.example", seed=bytes(32)).verifier.vkey
X = "".join(f"witness {name} {KEYS[name].vkey}\n" for name in NAMES[:3])
Y = "".join(f"witness {name} {KEYS[name].vkey} https://{name}.example/w\n" for name in NAMES[3:])
EXAMPLE = f"""\
# of the specification
log {LOG}

{X}group X-witnesses 2 X1 X2 X3

{Y}group\t Y-witnesses  any Y1 Y2 Y3
  group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(names, size) for size in range(len(names) + 1)))


def test_the_example_of_the_specification_wants_two_of_x_and_one_of_y() -> None:
    policy = parse_policy(EXAMPLE.encode())
    for signed in subsets(NAMES):
        wanted = sum(n[0] == "X" for n in signed) >= 2 and sum(n[0] == "Y" for n in signed) >= 1
        assert wanted == policy.is_met_by(signed), signed
    assert [LOG] == [log.vkey for log in policy.logs]
    assert (None, "https://Y1.example/w") == (policy.witnesses["X1"].url, policy.witnesses["Y1"].url)
    assert policy == parse_policy(format_policy(policy))


def test_a_quorum_may_be_one_witness_or_none() -> None:
    assert parse_policy(b"quorum none\n").is_met_by(())
    one = parse_policy(f"{X}quorum X2\n".encode())
    assert [False, True, False] == [one.is_met_by([name]) for name in NAMES[:3]]


BAD = {
    "no quorum": "",
    "two quorums": "quorum none\nquorum none\n",
    "a quorum of nobody": "quorum X1\n",
    "a quorum of a later line": f"quorum X1\n{X}",
    "an unknown line": "quorum none\nwitnes x y\n",
    "a cut line": "quorum none",
    "a carriage return": "quorum none\r\n",
    "a witness twice": f"{X}witness Z {KEYS['X1'].vkey}\nquorum none\n",
    "a key under two names": f"{X}witness Z {Cosigner(name='z', public=KEYS['X1'].public).vkey}\nquorum none\n",
    "a name twice": f"{X}witness X1 {KEYS['Y1'].vkey}\nquorum none\n",
    "a group with the name of a witness": f"{X}group X1 any X2\nquorum none\n",
    "a witness called none": f"witness none {KEYS['Y1'].vkey}\nquorum none\n",
    "a group called none": f"{X}group none any X1\nquorum none\n",
    "none in a group": f"{X}group G any none\nquorum G\n",
    "a group in itself": f"{X}group G any G\nquorum G\n",
    "a member of a later line": f"group G any X1\n{X}quorum G\n",
    "a member twice in one group": f"{X}group G 2 X1 X1\nquorum G\n",
    "a member of two groups": f"{X}group G any X1 X2\ngroup H any X1 X3\nquorum G\n",
    "an empty group": f"{X}group G any\nquorum none\n",
    "a group of all of nobody": f"{X}group G all\nquorum none\n",
    "zero of a group": f"{X}group G 0 X1\nquorum G\n",
    "more than there are": f"{X}group G 4 X1 X2 X3\nquorum G\n",
    "a number with a zero before it": f"{X}group G 01 X1\nquorum G\n",
    "another digit": f"{X}group G ² X1 X2\nquorum G\n",
    "a log's key as witness": f"witness X {LOG}\nquorum none\n",
    "four words": f"{X}quorum X1 X2\n",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_both_programs_refuse_what_is_no_policy(text: str) -> None:
    with pytest.raises(BadFile):
        parse_policy(text.encode())
    if "a cut line" not in text and text not in (BAD["a cut line"], BAD["a carriage return"]):
        assert not read_by_the_checker(text)


def test_a_log_twice_is_refused() -> None:
    with pytest.raises(BadFile, match="policy:2: a key that stands in a line above"):
        parse_policy(f"log {LOG}\nlog {LOG} https://log.example\nquorum none\n".encode())


def read_by_the_checker(text: str) -> Quorum | None:
    quorum = Quorum()
    try:
        for line in text.split("\n"):
            words = line.replace("\t", " ").split()
            if words and words[0][0] != "#" and words[0] != "log":
                quorum.read(words, "this")
        publics = [one.public for one in quorum.witnesses.values()]
    except ValueError:
        return None
    return quorum if quorum.name is not None and len(set(publics)) == len(publics) else None


counts = st.sampled_from(["any", "all", "1", "2", "3"])


@given(st.data())
def test_both_programs_say_the_same_of_any_quorum(data: st.DataObject) -> None:
    free, lines = list(NAMES), X + Y
    for number in range(data.draw(st.integers(0, 3))):
        members = data.draw(st.lists(st.sampled_from(free), min_size=1, max_size=4, unique=True))
        lines += f"group G{number} {data.draw(counts)} {' '.join(members)}\n"
        free = [name for name in free if name not in members] + [f"G{number}"]
    lines += f"quorum {data.draw(st.sampled_from(free))}\n"
    theirs = read_by_the_checker(lines)
    try:
        ours = parse_policy(lines.encode())
    except BadFile:
        assert theirs is None
        return
    assert theirs is not None
    apart = [set(signed) for signed in subsets(NAMES) if ours.is_met_by(signed)]
    for signed in subsets(NAMES):
        assert ours.is_met_by(signed) == theirs.is_met(signed)
    twice = any(not one & other for one in apart for other in apart)
    assert (twice, twice) == (ours.is_met_twice(), bool(theirs.split))


TWICE = {
    "group g any X1 X2": True,
    "group g 2 X1 X2 X3": False,
    "group g 2 X1 X2 X3 Y1": True,
    "group g all X1 X2": False,
    "group a any X1 X2|group b any Y1 Y2|group g all a b": True,
    "group a any X1 X2|group g all a Y1": False,
    "group a any X1 X2|group g 2 a Y1 Y2": True,
    "group a all X1 X2|group g any a Y1": True,
    "group a any X1 X2|group g any X3": False,
}


@pytest.mark.parametrize("text", TWICE)
def test_p9_a_quorum_that_two_sets_without_a_common_witness_meet_is_known(text: str) -> None:
    """Written down by hand."""
    lines = X + Y + text.replace("|", "\n") + "\nquorum g\n"
    theirs = read_by_the_checker(lines)
    assert theirs is not None
    assert (TWICE[text], TWICE[text]) == (parse_policy(lines.encode()).is_met_twice(), bool(theirs.split))


def test_a_quorum_of_none_is_met_by_nobody_and_so_by_no_two_sets() -> None:
    lines = f"{X}group a any X1 X2\nquorum none\n"
    theirs = read_by_the_checker(lines)
    assert theirs is not None
    assert (False, "") == (parse_policy(lines.encode()).is_met_twice(), theirs.split)


def test_octets_that_are_no_text_are_names_like_others() -> None:
    """tlog-policy, "Character set": K is not the Kelvin sign, and what is no UTF-8 is a name as well."""
    for name in (b"\xe2\x84\xaa", b"\xff\xfe"):
        lines = b"witness " + name + b" " + KEYS["X1"].vkey.encode() + b"\nquorum " + name + b"\n"
        policy = parse_policy(lines)
        assert policy.is_met_by(list(policy.witnesses))
        assert not policy.is_met_by(["K"])
        assert lines == format_policy(policy)
        with pytest.raises(BadFile):
            parse_policy(lines.replace(b"quorum " + name, b"quorum K"))


def test_lines_of_an_auditor_are_left_out_and_others_keep_their_numbers() -> None:
    text = f"approver x\nlog {LOG}\n  approvals 2\nquorum none\n".encode()
    assert [LOG] == [log.vkey for log in parse_policy(only_policy_lines(text)).logs]
    with pytest.raises(BadFile, match=r"trust\.txt:4: "):
        parse_policy(only_policy_lines(text.replace(b"none", b"X")), origin="trust.txt")


def test_a_policy_of_32_logs_witnesses_and_groups_is_read() -> None:
    """What the spec strongly recommends, with the longest keys."""
    lines = [f"log {Signer(name=f'l{n}', seed=bytes([n] * 32)).verifier.vkey}" for n in range(32)]
    lines += [f"witness w{n} {Cosigner(name=f'w{n}', public=bytes([n]) * 1312, algorithm=6).vkey}" for n in range(32)]
    lines += [f"group g{n} all w{n}" for n in range(32)] + ["quorum g31"]
    policy = parse_policy("".join(f"{line}\n" for line in lines).encode())
    assert (32, 32, 32) == (len(policy.logs), len(policy.witnesses), len(policy.groups))
