"""The page's checker under trust policies: whom it believes, which witnesses, and how old a certificate may be."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from playwright.sync_api import Browser, Page

from domicile.evidence import predicates as p
from domicile.evidence.bundle import pack, trust_policy
from domicile.evidence.keys import Signer
from domicile.evidence.tlog.cosignature import cosigner_of
from domicile.evidence.tlog.note import NoteSignature, format_signatures
from domicile_audit.case import Case
from domicile_audit.checklist import CHECKS, judge
from domicile_audit.trust.asking import Asked
from domicile_audit.trust.claims import examine, with_claims
from domicile_audit.trust.demands import VERDICTS
from domicile_audit.trust.policy import read_policy
from tests.portal.pages import GOOD, VECTORS, asked, first_checker, give, opened, report_of
from tests.vectors import make, rotations, witnessed
from tests.vectors import scenario as s

POLICIES = {path.stem: path.read_text() for path in sorted((VECTORS / "policies").glob("*.txt"))}
RIGHT, TWO_OF_THREE = POLICIES["right"], POLICIES["two-of-three"]
COSIGNED = (VECTORS / "good" / "cosigned.zip").read_bytes()
ISSUED = datetime(2026, 11, 22, 11, tzinfo=UTC)
SEED = 20261130


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page to ask."""
    opened_page = opened(browser, tmp_path_factory.mktemp("page") / "report.html", report_of(s.good(), GOOD))
    yield opened_page
    opened_page.close()


def vkey(name: str, kind: int, raw: bytes) -> str:
    """A key's line, made by hand."""
    blob = bytes([kind]) + raw
    own = hashlib.sha256(name.encode() + b"\n" + blob).hexdigest()[:8]
    return f"{name}+{own}+{base64.b64encode(blob).decode()}"


W = {name: cosigner_of(signer).vkey for name, signer in witnessed.WITNESSES.items()}
LATTICE = vkey("lattice.example", 6, bytes(range(256)) * 5 + bytes(32))
OPERATOR, STRANGER = s.OPERATOR.verifier.vkey, s.STRANGER.verifier.vkey
OLD, ROOT = rotations.ENGINE_2.verifier.vkey, base64.b64encode(bytes(32)).decode()
THREE = "".join(f"witness {name} {line}\n" for name, line in W.items())
HEAD = RIGHT.replace("quorum none\n", "")


# -- witnesses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POLICIES)
def test_p9_the_two_checkers_agree_on_who_cosigned(page: Page, name: str) -> None:
    """Good, too few, one twice, wrong keys, another log's, an altered time: accepted, or refused at the same check."""
    whole = {path.stem: path.read_bytes() for path in sorted((VECTORS / "unwitnessed").glob("*.zip"))}
    whole |= {"cosigned": COSIGNED, "all-erased": GOOD}
    trusted = read_policy(POLICIES[name].encode())
    answers = asked(page, whole, POLICIES[name])
    assert first_checker(whole, trusted) == {bundle: answer[:2] for bundle, answer in answers.items()}
    if "\nwitness" in POLICIES[name]:
        assert {"cosigned"} >= {bundle for bundle, answer in answers.items() if answer[0]}
        assert {5} == {answer[1] for answer in answers.values() if not answer[0]}


@pytest.mark.parametrize(
    ("bundle", "policy", "reason"),
    [
        ("cosigned-by-one", TWO_OF_THREE, "the checkpoint is cosigned by ca, the policy wants some"),
        ("stolen-key", TWO_OF_THREE, "the checkpoint is cosigned by no witness, the policy wants some"),
        ("cosigned-later-than-it-was", TWO_OF_THREE, "the checkpoint: the cosignature of witness us is wrong"),
        ("stolen-key-with-cosignatures-of-the-true-log", TWO_OF_THREE, "the cosignature of witness ca is wrong"),
    ],
)
def test_p9_the_page_says_what_is_wrong_with_cosignatures(page: Page, bundle: str, policy: str, reason: str) -> None:
    data = (VECTORS / "unwitnessed" / f"{bundle}.zip").read_bytes()
    accepted, checks, said = asked(page, {"it": data}, policy)["it"]
    assert (False, 5) == (accepted, checks)
    assert reason in (said or "")


def bent_lines(files: Mapping[str, bytes], chance: Random) -> bytes:
    """The checkpoint's signature lines bent: a byte of one, one left out, doubled, in another order, or cut."""
    text, lines = files[witnessed.CHECKPOINT].split(b"\n\n")
    rows = lines.splitlines(keepends=True)
    row = chance.randrange(len(rows))
    way = chance.choice(["byte", "out", "double", "order", "cut", "blob"])
    if way == "byte":
        at = chance.randrange(len(rows[row]))
        rows[row] = rows[row][:at] + bytes([chance.choice([rows[row][at] ^ 1, 0x20, 0xFF, 0x2B])]) + rows[row][at + 1 :]
    elif way == "blob":
        dash, name, blob = rows[row].split(b" ")
        raw = bytearray(base64.b64decode(blob))
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        rows[row] = b" ".join([dash, name, base64.b64encode(bytes(raw)[: chance.choice([99, 99, 71, 12, 4])]) + b"\n"])
    elif way == "order":
        chance.shuffle(rows)
    else:
        rows[row : row + 1] = {"out": [], "double": [rows[row]] * 2, "cut": [rows[row][: chance.randrange(99)]]}[way]
    return pack({**files, witnessed.CHECKPOINT: text + b"\n\n" + b"".join(rows)}, s.ENGINE)


def test_p9_the_two_checkers_agree_on_bent_signature_lines(page: Page) -> None:
    files = witnessed.cosigned(s.files_of(s.good()), witnessed.chosen("ca", "us", "press"))
    names = [f"{SEED} {number}" for number in range(150)]
    whole = {name: bent_lines(files, Random(name)) for name in names}  # noqa: S311  (a seeded test)
    answers = {name: answer[:2] for name, answer in asked(page, whole, TWO_OF_THREE).items()}
    assert first_checker(whole, read_policy(TWO_OF_THREE.encode())) == answers
    assert {(True, 24), (False, 5)} == set(answers.values())


def test_p9_both_checkers_pass_over_lines_of_keys_that_they_do_not_know(page: Page) -> None:
    """A witness's ID under another name, and the line of a lattice key: neither refuses, neither counts."""
    files = witnessed.cosigned(s.files_of(s.good()), witnessed.chosen("ca", "us"))
    ours, lattice = (bytes.fromhex(line.split("+")[1]) for line in (W["ca"], LATTICE))
    lines = [
        NoteSignature(name="other.example", key_id=ours, signature=bytes(72)),
        NoteSignature(name="lattice.example", key_id=lattice, signature=bytes(72)),
    ]
    more = files[witnessed.CHECKPOINT] + format_signatures(lines)
    whole = {"it": pack({**files, witnessed.CHECKPOINT: more}, s.ENGINE)}
    for quorum, wanted in (("some", (True, 24)), ("lattice", (False, 5))):
        policy = TWO_OF_THREE.replace("quorum some\n", f"witness lattice {LATTICE}\nquorum {quorum}\n")
        assert wanted == asked(page, whole, policy)["it"][:2]
        assert wanted == first_checker(whole, read_policy(policy.encode()))["it"]


# -- the texts of policies -------------------------------------------------------------------------------------------

READ = {
    "urls": RIGHT.replace("quorum none", f"witness a {W['ca']} https://a.example/\nquorum a"),
    "tabs and remarks": "\t# two\n" + HEAD.replace(" ", " \t ") + "  quorum\tnone  \n\n   #\n",
    "any": HEAD + THREE + "group g any us press\nquorum g\n",
    "groups of groups": HEAD + THREE + "group a all ca us\ngroup b 1 press a\nquorum b\n",
    "a group of four digits": HEAD + THREE + "group a 3 ca us press\nquorum a\n",
    "a quorum before other lines": HEAD + THREE + f"quorum ca\nwitness more {LATTICE}\n",
    "a lattice that never counts": HEAD + f"witness w {LATTICE}\nquorum w\n",
    "a name like a word of JavaScript": HEAD + THREE.replace(" ca ", " constructor ") + "quorum constructor\n",
    "a quorum of the prototype": HEAD + THREE.replace(" ca ", " __proto__ ") + "quorum __proto__\n",
    "fresh": RIGHT + "fresh 0036500\n",
    "must": RIGHT.replace("approvals", f"approver {STRANGER} must\napprovals"),
    "must, and the log at a place of that name": RIGHT.replace("quorum", f"log {OLD} must\nquorum"),
    "a long key": RIGHT + f"log {vkey('x' * 4000, 1, bytes(range(32)))}\n",
    "sampled": RIGHT + "sampled 0000100\n",
    "required": RIGHT + "require sweep/v1\nrequire cohort/v1 1000000\nrequire sweep/v1 0000002\nrequire a/v0 1\n",
    "tolerated": RIGHT + "tolerate present\ntolerate held none\ntolerate key-destroyed wal\ntolerate present\n",
    "none tolerated": RIGHT + "tolerate none\n",
    "a seed": RIGHT + "seed drawn\u00e9\n",
    "a long seed": RIGHT + f"seed {chr(0x1F3E0) * 1024}\nsampled 5\n",
    "heads of a key of before": RIGHT + f"before {OLD} 1 {ROOT}\nbefore {OLD} {10**12} {ROOT}\n",
}
NOT_READ = {
    "a key of before that is the log's": RIGHT + f"before {s.ENGINE.verifier.vkey} 1 {ROOT}\n",
    "a head of nothing": RIGHT + f"before {OLD} 0 {ROOT}\n",
    "a head with a zero before it": RIGHT + f"before {OLD} 01 {ROOT}\n",
    "a head of more than there are": RIGHT + f"before {OLD} {10**13} {ROOT}\n",
    "a head with a short root": RIGHT + f"before {OLD} 1 {ROOT[4:]}\n",
    "a head without a root": RIGHT + f"before {OLD} 1\n",
    "a head of no key": RIGHT + f"before old 1 {ROOT}\n",
    "a witness twice": HEAD + THREE + f"witness again {W['ca']}\nquorum ca\n",
    "a name twice": HEAD + THREE + f"witness ca {LATTICE}\nquorum ca\n",
    "a group named like a witness": HEAD + THREE + "group ca any us\nquorum ca\n",
    "a witness named none": HEAD + f"witness none {W['ca']}\nquorum none\n",
    "a member of none": HEAD + THREE + "group g any none\nquorum g\n",
    "a member that comes later": HEAD + "group g any ca\n" + THREE + "quorum g\n",
    "a member twice": HEAD + THREE + "group g 2 ca ca us\nquorum g\n",
    "a member of two groups": HEAD + THREE + "group g any ca\ngroup h any ca us\nquorum h\n",
    "a group of itself": HEAD + THREE + "group g any g\nquorum g\n",
    "a group of nobody": HEAD + THREE + "group g all\nquorum none\n",
    "a group of too few": HEAD + THREE + "group g 3 ca us\nquorum g\n",
    "a number with a zero": HEAD + THREE + "group g 02 ca us\nquorum g\n",
    "a number that is none": HEAD + THREE + "group g 0 ca us\nquorum none\n",
    "a number of JavaScript": HEAD + THREE + "group g 0x1 ca us\nquorum none\n",
    "a word of JavaScript": HEAD + THREE + "group g constructor ca us\nquorum none\n",
    "a quorum that comes later": HEAD + "quorum ca\n" + THREE,
    "a quorum of nobody": HEAD + THREE + "quorum toString\n",
    "two quorums": HEAD + THREE + "quorum ca\nquorum none\n",
    "no quorum": HEAD + THREE,
    "a log as witness": HEAD + f"witness w {s.ENGINE.verifier.vkey}\nquorum w\n",
    "a log's key as witness": HEAD + f"witness w {cosigner_of(s.ENGINE).vkey}\nquorum w\n",
    "a witness as log": HEAD + f"log {W['ca']}\nquorum none\n",
    "a witness of no secret": HEAD + f"witness w {vkey('small.example', 4, bytes(32))}\nquorum w\n",
    "a witness of type 5": HEAD + f"witness w {vkey('five.example', 5, bytes(range(32)))}\nquorum w\n",
    "a lattice that is short": HEAD + f"witness w {vkey('short.example', 6, bytes(range(32)))}\nquorum w\n",
    "a witness without a key": HEAD + "witness w\nquorum none\n",
    "a witness with two places": HEAD + f"witness w {W['ca']} a b\nquorum w\n",
    "a group without a number": HEAD + THREE + "group g\nquorum none\n",
    "two words of quorum": HEAD + THREE + "quorum ca us\n",
    "a return": RIGHT.replace("none\n", "none\r\n"),
    "fresh twice": RIGHT + "fresh 3\nfresh 3\n",
    "fresh for nothing": RIGHT + "fresh 0\n",
    "fresh for ever": RIGHT + "fresh 36501\n",
    "fresh in words": RIGHT + "fresh three\n",
    "fresh in eight digits": RIGHT + "fresh 00000030\n",
    "another word than must": RIGHT.replace("approvals", f"approver {STRANGER} may\napprovals"),
    "must and more": RIGHT.replace("approvals", f"approver {STRANGER} must must\napprovals"),
    "a key twice, once as must": RIGHT.replace("approvals", f"approver {OPERATOR} must\napprovals"),
    "a key that is too long": RIGHT + f"log {vkey('x' * 4050, 1, bytes(range(32)))}\n",
    "sampled twice": RIGHT + "sampled 3\nsampled 3\n",
    "sampled for nothing": RIGHT + "sampled 0\n",
    "sampled for more than all": RIGHT + "sampled 101\n",
    "sampled without a number": RIGHT + "sampled\n",
    "a seed twice": RIGHT + "seed drawn\nseed drawn\n",
    "a seed of two words": RIGHT + "seed drawn by\n",
    "a seed of no word": RIGHT + "seed\n",
    "a seed that is too long": RIGHT + f"seed {'x' * 1025}\n",
    "a seed that cannot be seen": RIGHT + "seed drawn\u200b\n",
    "required for nothing": RIGHT + "require sweep/v1 0\n",
    "required too often": RIGHT + "require sweep/v1 1000001\n",
    "required in eight digits": RIGHT + "require sweep/v1 00000001\n",
    "required twice in a line": RIGHT + "require sweep/v1 1 2\n",
    "required of no type": RIGHT + "require\n",
    "a type without its number": RIGHT + "require sweep\n",
    "a type as it stands in a statement": RIGHT + "require urn:domicile:sweep/v1\n",
    "a type in capitals": RIGHT + "require Sweep/v1\n",
    "more behind a type": RIGHT + "require sweep/v1x\n",
    "the best is tolerated": RIGHT + "tolerate erased-verified\n",
    "a verdict of nobody": RIGHT + "tolerate constructor\n",
    "nothing is tolerated": RIGHT + "tolerate\n",
    "a kind of two words": RIGHT + "tolerate held live rows\n",
    "none of a kind": RIGHT + "tolerate none wal\n",
    "none and another": RIGHT + "tolerate none\ntolerate held\n",
    "none twice": RIGHT + "tolerate none\ntolerate none\n",
    "four digits of approvals": RIGHT.replace("approvals 2", "approvals 0002"),
    "another number": RIGHT.replace("approvals 2", "approvals 1e0"),
}


def readable(page: Page, texts: dict[str, str]) -> dict[str, bool]:
    """Which of these the page reads."""
    found: dict[str, bool] = page.evaluate(
        """async (texts) => {
          const read = {};
          for (const name of Object.keys(texts)) {
            read[name] = await readPolicy(texts[name]).then(() => true, (error) => {
              if (!(error instanceof Refused)) throw error;
              return false;
            });
          }
          return read;
        }""",
        texts,
    )
    return found


def reads(text: str) -> bool:
    try:
        read_policy(text.encode())
    except ValueError:
        return False
    return True


def test_p9_both_checkers_read_the_same_policies_and_no_others(page: Page) -> None:
    texts = READ | NOT_READ
    wanted = {name: name in READ for name in texts}
    assert wanted == {name: reads(text) for name, text in texts.items()}
    assert wanted == readable(page, texts)


def random_policy(chance: Random) -> str:
    """Lines of witnesses and groups as somebody might write them, with one or the other mistake."""
    names = ["ca", "us", "press", "g", "h", "none"]
    lines = [f"witness {name} {line}" for name, line in W.items() if chance.random() < 0.9]
    for group in ("g", "h"):
        members = chance.sample(names[: 5 if chance.random() < 0.2 else 3], k=chance.randrange(1, 4))
        lines.append(" ".join(["group", group, chance.choice(["all", "any", "1", "2", "3"]), *members]))
    if chance.random() < 0.2:
        chance.shuffle(lines)
    return HEAD + "".join(line + "\n" for line in lines[: chance.randrange(1, 7)]) + f"quorum {chance.choice(names)}\n"


def test_p9_the_two_checkers_agree_on_quorums(page: Page) -> None:
    texts = {str(number): random_policy(Random(f"{SEED} {number}")) for number in range(300)}  # noqa: S311
    found = readable(page, texts)
    assert {name: reads(text) for name, text in texts.items()} == found
    whole = {"cosigned": COSIGNED}
    told: set[tuple[object, ...]] = set()
    for text in {text for name, text in texts.items() if found[name]}:
        answers = {name: answer[:2] for name, answer in asked(page, whole, text).items()}
        assert first_checker(whole, read_policy(text.encode())) == answers, text
        told.update(answers.values())
    assert {(True, 24), (False, 5)} == told
    assert 50 < sum(found.values()) < 250


# -- what a policy demands of the story ------------------------------------------------------------------------------

KINDS = sorted({kind for kind, _ in s.COPIES.values()} | {"objects", "locked-versions"})
DEMANDS = ("", "tolerate none\n", "require sweep/v1\n", "tolerate present\ntolerate held\nrequire erasure/v1 6\n")


def demanded(whole: Mapping[str, bytes], policies: Iterable[str]) -> dict[str, dict[str, tuple[bool, int]]]:
    """What domicile-audit answers under each policy. They name the same keys, so that each bundle is judged once."""
    cases = {name: Case(data=data, policy=read_policy(RIGHT.encode())) for name, data in whole.items()}
    judged = {name: (judge(case), case) for name, case in cases.items()}
    answers: dict[str, dict[str, tuple[bool, int]]] = {}
    for text in policies:
        asked_for = Asked(read_policy(text.encode()), ISSUED)
        reports = {name: with_claims(*both, asked_for) for name, both in judged.items()}
        answers[text] = {name: (report.accepted, len(report.checks)) for name, report in reports.items()}
    return answers


def random_demands(chance: Random) -> str:
    """Lines of `require` and `tolerate` as somebody might write them."""
    types = ["sweep/v1", "cohort/v1", "erasure/v1", "finding/v1", "clearance/v1", "nothing/v1"]
    lines = [f"require {chance.choice(types)} {chance.randrange(1, 9)}\n" for _ in range(chance.randrange(3))]
    verdicts = [chance.choice(VERDICTS) for _ in range(chance.randrange(6))]
    lines += [f"tolerate {verdict} {chance.choice(['', '', *KINDS])}\n" for verdict in verdicts]
    chance.shuffle(lines)
    return "".join(lines)


def test_p9_the_two_checkers_agree_on_what_a_policy_demands(page: Page) -> None:
    whole = {path.stem: path.read_bytes() for path in sorted((VECTORS / "good").glob("*.zip"))}
    wanted = demanded(whole, [RIGHT + lines for lines in DEMANDS])
    for text, answers in wanted.items():
        assert answers == {name: answer[:2] for name, answer in asked(page, whole, text).items()}, text
    accepted = [{name for name, answer in answers.items() if answer[0]} for answers in wanted.values()]
    assert all(one < accepted[0] for one in accepted[1:])


def test_p9_the_two_checkers_agree_on_random_demands(page: Page) -> None:
    whole = {path.stem: path.read_bytes() for path in sorted((VECTORS / "good").glob("*.zip"))}
    told = {f"{SEED} {number}": Random(f"{SEED} {number}") for number in range(80)}  # noqa: S311  (a seeded test)
    asked_of = {RIGHT + random_demands(chance): chance.sample(sorted(whole), k=3) for chance in told.values()}
    wanted, seen = demanded(whole, asked_of), Counter[bool]()
    for text, names in asked_of.items():
        answers = asked(page, {name: whole[name] for name in names}, text)
        assert {name: wanted[text][name] for name in names} == {name: one[:2] for name, one in answers.items()}, text
        seen.update(accepted for accepted, checks, _ in answers.values() if checks == len(CHECKS))
    assert min(seen[True], seen[False]) > 40


@pytest.mark.parametrize(
    ("bundle", "lines", "reason"),
    [
        ("copy-unknown", "tolerate held\n", "your policy does not tolerate that app/statistics is unknown"),
        (
            "backup-blocked",
            "tolerate blocked-until live-rows\n",
            "not tolerate that app/encrypted-files is blocked-until",
        ),
        ("all-erased", "require sweep/v1 2\n", "its log has 1 sweep/v1, your policy wants 2"),
    ],
)
def test_p9_the_page_says_which_demand_is_not_met(page: Page, bundle: str, lines: str, reason: str) -> None:
    whole = {"it": (VECTORS / "good" / f"{bundle}.zip").read_bytes()}
    accepted, checks, said = asked(page, whole, RIGHT + lines)["it"]
    assert (False, len(CHECKS)) == (accepted, checks)
    assert reason in (said or "")


def test_p9_a_seed_alone_asks_for_nothing(page: Page) -> None:
    whole = {"good": GOOD, "bad": (VECTORS / "bad" / "erasure-before-the-clearance.zip").read_bytes()}
    policy = RIGHT + "seed drawn\n"
    answers = {name: answer[:2] for name, answer in asked(page, whole, policy).items()}
    assert {"good": (True, 24), "bad": (False, 16)} == answers == demanded(whole, [policy])[policy]


def test_p11_where_a_spot_check_is_wanted_the_page_accepts_nothing_and_says_why(page: Page) -> None:
    """What it can refuse without one it refuses."""
    policy = RIGHT + "sampled 5\ntolerate none\n"
    said = give(page, VECTORS / "good" / "all-erased.zip", policy=policy)
    assert said.startswith("? Not checked: all 24 checks hold, but your policy wants a spot check (`sampled`)")
    assert "· " not in (page.locator("#self-checks").text_content() or "")
    for lines in ("sampled 100\n", "seed drawn\nsampled 100\n"):
        assert "? Not checked: " in give(page, VECTORS / "good" / "all-erased.zip", policy=RIGHT + lines)
    assert "holds, but your policy does not tolerate" in give(
        page, VECTORS / "good" / "copy-unknown.zip", policy=policy
    )
    assert "at check 16 of 24" in give(page, VECTORS / "bad" / "erasure-before-the-clearance.zip", policy=policy)


# -- how old, and after keys changed hands ---------------------------------------------------------------------------

DAY, MINUTE, SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("days", "after", "accepted"),
    [
        (1, DAY, True),
        (1, DAY + SECOND, False),
        (36_500, 36_500 * DAY, True),
        (1, -5 * MINUTE, True),
        (1, -5 * MINUTE - SECOND, False),
        (3, timedelta(), True),
    ],
)
def test_p10_the_two_checkers_agree_on_how_old_a_certificate_is(
    page: Page, days: int, after: timedelta, *, accepted: bool
) -> None:
    policy, at = f"{TWO_OF_THREE}fresh {days}\n", ISSUED + after
    first = examine(COSIGNED, Asked(read_policy(policy.encode()), at))
    second = asked(page, {"it": COSIGNED}, policy, at_ms=int(at.timestamp() * 1000))["it"]
    assert accepted == first.accepted == second[0]
    assert len(first.checks) == second[1] == 24
    assert accepted or f"the last {days} days, as your policy wants" in (second[2] or "")


@pytest.mark.parametrize("name", ["two-of-three", "right"])
@pytest.mark.parametrize("later", [timedelta(), 5 * MINUTE, 5 * MINUTE + SECOND, 365 * DAY])
def test_p10_the_two_checkers_agree_on_a_certificate_dated_after_it_was_cosigned(
    page: Page, name: str, later: timedelta
) -> None:
    """ca cosigned it at TIME, us a minute after; who knows no witness can't tell, nor is told who doesn't ask."""
    issued = datetime.fromtimestamp(witnessed.TIME, UTC) + later
    at, data = issued + timedelta(hours=1), witnessed.dated(issued)
    for lines in ("fresh 30\n", "fresh 36500\n", ""):
        first = examine(data, Asked(read_policy((POLICIES[name] + lines).encode()), at))
        second = asked(page, {"it": data}, POLICIES[name] + lines, at_ms=int(at.timestamp() * 1000))["it"]
        accepted = later <= 5 * MINUTE or name == "right" or not lines
        assert (accepted, 24) == (first.accepted, len(first.checks)) == second[:2]
        assert accepted or "is dated after ca cosigned it" in (second[2] or "")


def test_p10_what_is_wrong_with_the_bundle_is_said_before_its_age(page: Page) -> None:
    bad = (VECTORS / "bad" / "erasure-before-the-clearance.zip").read_bytes()
    assert (False, 16) == asked(page, {"it": bad}, RIGHT + "fresh 1\n")["it"][:2]


def changed_hands() -> Iterator[str]:
    """Policies that name keys of before, of after, both of one person, and strangers."""
    approvers = (s.OPERATOR, s.MONITOR, rotations.MONITOR_2, rotations.COUNSEL, s.STRANGER)
    for log in (s.ENGINE, rotations.ENGINE_2, rotations.RENAMED):
        for threshold, of in ((1, approvers[1:3]), (2, approvers[:2]), (2, approvers[1:3]), (2, approvers[::2]),
                              (2, approvers[3:]), (3, approvers[:4]), (3, approvers[2:])):  # fmt: skip
            text = rule(log, *of, threshold=threshold)
            yield from (text, text.replace(f"{of[0].verifier.vkey}\n", f"{of[0].verifier.vkey} must\n"))


def rule(log: Signer, *approvers: Signer, threshold: int) -> str:
    of = tuple(p.ApproverKey(name=key.name, vkey=key.verifier.vkey) for key in approvers)
    return trust_policy(log.verifier, p.ApprovalRule(threshold=threshold, of=of))


def test_p2_the_two_checkers_agree_after_keys_changed_hands(page: Page) -> None:
    names = ("keys-rotated", "approver-key-stolen", "log-key-lost")
    whole = {name: (VECTORS / "good" / f"{name}.zip").read_bytes() for name in names}
    told: set[tuple[object, ...]] = set()
    for policy in changed_hands():
        answers = {name: answer[:2] for name, answer in asked(page, whole, policy).items()}
        assert first_checker(whole, read_policy(policy.encode())) == answers, policy
        told.update(answers.values())
    assert {(True, 24), (False, 2), (False, 14), (False, 24)} == told


# -- what the reader sees --------------------------------------------------------------------------------------------


def test_p9_the_page_names_the_witnesses_that_cosigned(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), COSIGNED))
    assert "cosigned" not in page.locator("#self-line").inner_text()
    said = give(page, policy=TWO_OF_THREE)
    assert said.startswith("✓ Accepted: all 24 checks of the bundle inside this page hold")
    assert said.endswith("Its keys are those of your policy. Witnesses of your policy who cosigned it: ca, us.")
    said = give(page, VECTORS / "unwitnessed" / "cosigned-by-one.zip")
    assert "at check 5 of 24: the checkpoint is cosigned by ca, the policy wants some" in said
    page.close()


def test_p10_a_certificate_that_is_too_old_is_refused_by_the_policy_and_by_no_check(
    browser: Browser, tmp_path: Path
) -> None:
    """The page asks for the time: the browser's clock stands a year later."""
    later = "const then = Date.now; Date.now = () => Date.UTC(2027, 10, 22, 11);"
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), COSIGNED), before=later)
    assert "✓ Accepted" in give(page, policy=TWO_OF_THREE + "fresh 365\n")
    said = give(page, policy=TWO_OF_THREE + "fresh 364\n")
    assert said.startswith("✗ Refused: the bundle inside this page holds, but its certificate of 2026-11-22T11:00:00Z")
    assert "✓" * 24 == page.locator("#self-checks").evaluate(
        "list => Array.from(list.children, one => one.textContent[0]).join('')"
    )
    assert not page.locator("#self-warning").is_visible()
    page.close()


def test_the_policies_that_are_tried_are_those_of_the_vectors() -> None:
    assert sorted(make.policy_texts()) == sorted(POLICIES)
