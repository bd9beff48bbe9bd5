"""Bundles that attack the reader, or show a history that was put together afterwards."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from domicile.evidence import predicates as p
from domicile.evidence.bundle import MANIFEST_TYPE, pack, zip_files
from domicile.evidence.codec import dump_json
from domicile.evidence.statement import PAYLOAD_TYPE, Sealed, parse_envelope, pre_authentication, seal, sign_envelope
from domicile.evidence.tlog.checkpoint import Checkpoint, sign_checkpoint
from domicile.evidence.tlog.merkle import hash_leaf
from domicile.proof import Verdict
from tests.vectors import scenario as s
from tests.vectors.registry import defect, filed, put, told
from tests.vectors.scenario import ENGINE, Line, Script, good

NO_SECRET = bytes([1, *bytes(31)])
"""The point of order 1: with it as public key, R = 1 and S = 0 is a signature over anything."""
ANY_SIGNATURE = NO_SECRET + bytes(32)


# ------------------------------------------------------------------------------------------- the zip
def zipped(name: str, reason: str, change: Callable[[bytes], bytes]) -> None:
    """Somebody without a key changes the bytes of the zip."""
    defect(name, 1, reason)(lambda: change(s.bundle_of(good())))


def _patched(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def _central(data: bytes) -> int:
    """Where the central directory begins."""
    found: int = struct.unpack_from("<I", data, len(data) - 6)[0]
    return found


def _renamed(name: bytes) -> Callable[[bytes], bytes]:
    """The first file, README.txt, under another name of ten bytes."""
    return lambda data: _patched(_patched(data, 30, name), _central(data) + 46, name)


def _overlapping(data: bytes) -> bytes:
    """A bomb that needs no compression: a directory of a thousand names for the same bytes."""
    start = _central(data)
    one = data[start : start + 46 + len("README.txt")]
    tail = one * 1_000
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1_000, 1_000, len(tail), start, 0)
    return data[:start] + tail + end


zipped(
    "zip-with-a-symlink",
    "not written by the rule",
    lambda b: _patched(b, _central(b) + 38, struct.pack("<I", 0o120777 << 16)),
)
zipped(
    "zip-with-a-program",
    "not written by the rule",
    lambda b: _patched(b, _central(b) + 38, struct.pack("<I", 0o100755 << 16)),
)
zipped("zip-with-an-encrypted-file", "not written by the rule", lambda b: _patched(b, 6, b"\x01\x00"))
zipped("zip-with-a-data-descriptor", "not written by the rule", lambda b: _patched(b, 6, b"\x08\x00"))
zipped("zip-with-extra-fields", "not written by the rule", lambda b: _patched(b, 28, b"\x04\x00"))
zipped("zip-with-sizes-elsewhere", "cut off or too long", lambda b: _patched(b, 18, b"\xff" * 8))
zipped(
    "zip-claiming-more-than-there-is",
    "cut off or too long",
    lambda b: _patched(b, 18, struct.pack("<II", 1 << 28, 1 << 28)),
)
zipped("zip-with-a-directory-of-one-file-a-thousand-times", "not written by the rule", _overlapping)
zipped("zip-path-not-utf-8", "path that is not allowed", _renamed(b"README\xff\xfe\xff\xfe"))
zipped("zip-path-with-a-null", "path that is not allowed", _renamed(b"README\x00txt"))
zipped("zip-path-hidden", "path that is not allowed", _renamed(b".EADME.txt"))
zipped("zip-path-of-a-folder", "path that is not allowed", _renamed(b"README.tx/"))
zipped("zip-path-upwards-within", "path that is not allowed", _renamed(b"log/../x.y"))
zipped("zip-path-with-an-escape", "path that is not allowed", _renamed(b"READ\x1b[2J.t"))


# ------------------------------------------------------------------------------------------- keys
def _vkey(name: str, public: bytes) -> str:
    """A line that our own class would refuse to make."""
    raw = b"\x01" + public
    key_id = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex()
    return f"{name}+{key_id}+{base64.b64encode(raw).decode()}"


@defect("log-key-of-no-secret", 2, "small order")
def _() -> bytes:
    """Nobody holds this key, and anybody signs with it: manifest, checkpoint and all statements of the engine."""
    vkey = _vkey(ENGINE.name, NO_SECRET)
    keyid = vkey.rpartition("+")[0]

    def resigned(envelope: bytes) -> bytes:
        body = json.loads(envelope)
        if body["signatures"][0]["keyid"] == ENGINE.verifier.keyid:
            body["signatures"] = [{"keyid": keyid, "sig": base64.b64encode(ANY_SIGNATURE).decode()}]
        return dump_json(body)

    files = s.files_of(good())
    entries = [resigned(sealed.envelope) for sealed in s.entries_of(good())]
    files |= s.log_files(entries)
    text = files["log/checkpoint"].rpartition(b"\n\n")[0]
    blob = base64.b64encode(bytes.fromhex(keyid[-8:]) + ANY_SIGNATURE)
    files["log/checkpoint"] = text + b"\n\n\xe2\x80\x94 " + ENGINE.name.encode() + b" " + blob + b"\n"
    files |= {"keys/log.vkey": f"{vkey}\n".encode(), "certificate.dsse.json": entries[-1]}
    return zip_files({**files, "manifest.json": resigned(_manifest(pack(files, ENGINE)))})


def _manifest(bundle: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return archive.read("manifest.json")


filed(
    "approver-key-of-no-secret",
    2,
    "small order",
    put("keys/approver-2.vkey", f"{_vkey('monitor.example', NO_SECRET)}\n".encode()),
)
filed(
    "approver-keys-with-a-gap",
    2,
    "a gap before it",
    lambda f: f.update({"keys/approver-3.vkey": f.pop("keys/approver-2.vkey")}),
)
filed("log-key-with-loose-base64", 2, "not a key", put("keys/log.vkey", f"{ENGINE.verifier.vkey[:-1]}3\n".encode()))


# ------------------------------------------------------------------------------------------- manifest
@defect("manifest-lists-a-file-twice", 3, "where the zip holds")
def _() -> bytes:
    bundle = s.bundle_of(good())
    manifest = json.loads(parse_envelope(_manifest(bundle)).payload)
    manifest["files"].insert(1, manifest["files"][0])
    signed = sign_envelope(dump_json(manifest), payload_type=MANIFEST_TYPE, signer=ENGINE)
    return zip_files({**s.files_of(good()), "manifest.json": signed})


# ------------------------------------------------------------------------------------------- the log
def _signed_head(change: Callable[[str], str]) -> Callable[[dict[str, bytes]], object]:
    """The log's key signs a head that our own class would refuse to write."""

    def bend(files: dict[str, bytes]) -> None:
        text = change(files["log/checkpoint"].decode().rpartition("\n\n")[0] + "\n")
        blob = base64.b64encode(ENGINE.verifier.key_id + ENGINE.sign(text.encode())).decode()
        files["log/checkpoint"] = f"{text}\n\u2014 {ENGINE.name} {blob}\n".encode()

    return bend


def _of_size(size: str) -> Callable[[dict[str, bytes]], object]:
    return _signed_head(lambda text: text.replace("\n18\n", f"\n{size}\n"))


filed("checkpoint-size-with-a-leading-zero", 5, "the checkpoint", _of_size("018"))
filed("checkpoint-size-huge", 5, "no proper size", _of_size("9" * 10))
filed("checkpoint-size-beyond-all-numbers", 5, "the checkpoint", _of_size("9" * 5_000))
filed(
    "checkpoint-with-an-extension-line", 5, "three lines", _signed_head(lambda text: text + "everything was erased\n")
)
filed("checkpoint-of-a-log-of-millions", 6, "is missing", _of_size("4194304"))
filed(
    "checkpoint-with-carriage-returns",
    5,
    "checkpoint",
    lambda f: f.update({"log/checkpoint": f["log/checkpoint"].replace(b"\n", b"\r\n")}),
)
filed("checkpoint-not-utf-8", 5, "checkpoint", lambda f: f.update({"log/checkpoint": b"\xff" + f["log/checkpoint"]}))


@defect("log-rolled-back-behind-its-certificate", 18, "no certificate")
def _() -> bytes:
    """The head and tiles of an earlier day, well signed, beside the certificate of a later one."""
    files = {path: data for path, data in s.files_of(good()).items() if not path.startswith("log/")}
    return pack({**files, **s.log_files([sealed.envelope for sealed in s.entries_of(good())][:-1])}, ENGINE)


@defect("log-with-entries-beyond-its-checkpoint", 6, "is missing")
def _() -> bytes:
    """The head of an earlier day over the tiles of a later one."""
    entries = [sealed.envelope for sealed in s.entries_of(good())]
    return pack({**s.files_of(good()), "log/checkpoint": s.log_files(entries[:-1])["log/checkpoint"]}, ENGINE)


@defect("log-of-two-forks", 6, "hashes of the entries")
def _() -> bytes:
    """Two histories of one key and one length: the entries of one, the head and tree of the other."""
    other = s.log_files([sealed.envelope for sealed in s.entries_of(good().set("sweep", swept_at=s.at(51)))])
    files = s.files_of(good())
    return pack({**files, **{path: data for path, data in other.items() if "/entries/" not in path}}, ENGINE)


filed("log-with-two-heads", 4, "does not belong", lambda f: f.update({"log/checkpoint.old": f["log/checkpoint"]}))


@defect("log-of-one-entry-hashed-as-a-node", 7, "left out, added, moved or altered")
def _() -> bytes:
    """Without the prefix of RFC 6962, two leaves would look like one entry of their node."""
    entries = [sealed.envelope for sealed in s.entries_of(good())]
    joined = hash_leaf(entries[0]) + hash_leaf(entries[1])
    head = Checkpoint(origin=ENGINE.name, size=1, root=_node(joined))
    files = {path: data for path, data in s.files_of(good()).items() if not path.startswith("log/")}
    log = s.log_files([joined])
    return pack({**files, **log, "log/checkpoint": sign_checkpoint(head, ENGINE)}, ENGINE)


def _node(children: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + children).digest()


# ------------------------------------------------------------------------------------------- envelopes
def _sweep_envelope(change: Callable[[bytes], bytes]) -> Script:
    make = lambda _: Sealed(envelope=change(seal(s.sweep(), ENGINE).envelope), detached=None)  # noqa: E731
    return good().signed("sweep", Line("sweep", make))


def _malleable(envelope: bytes) -> bytes:
    """S + L instead of S (RFC 8032 section 5.1.7): the same signature once more, were it accepted."""
    body = json.loads(envelope)
    raw = base64.b64decode(body["signatures"][0]["sig"])
    order = 2**252 + 27742317777372353535851937790883648493
    more = int.from_bytes(raw[32:], "little") + order
    body["signatures"][0]["sig"] = base64.b64encode(raw[:32] + more.to_bytes(32, "little")).decode()
    return dump_json(body)


told("statement-with-a-signature-made-twice", 8, "is wrong", lambda: _sweep_envelope(_malleable))
told("statement-with-a-signature-cut", 8, "is wrong", lambda: _sweep_envelope(
    lambda e: dump_json({**json.loads(e), "signatures": [{"keyid": ENGINE.verifier.keyid, "sig": "AAAA"}]})
))  # fmt: skip


@defect("statement-signed-without-its-type", 8, "is wrong")
def _() -> bytes:
    """The signature is over the payload alone, not over what DSSE joins with it."""
    envelope = parse_envelope(seal(s.sweep(), ENGINE).envelope)
    assert pre_authentication(PAYLOAD_TYPE, envelope.payload) != envelope.payload
    body = {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {"keyid": ENGINE.verifier.keyid, "sig": base64.b64encode(ENGINE.sign(envelope.payload)).decode()}
        ],
    }
    return s.bundle_of(_sweep_envelope(lambda _: dump_json(body)))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- JSON
def payload(name: str, reason: str, change: Callable[[bytes], bytes], of: str = "sweep") -> None:
    """A cheat signs the bytes of a statement that no writer of JSON in one spelling would write."""

    def script() -> Script:
        def make(play: s.Play) -> Sealed:
            made = good().lines[good().place(of)].make(play)
            assert isinstance(made, p.Predicate)
            body = change(parse_envelope(seal(made, ENGINE).envelope).payload)
            return Sealed(envelope=sign_envelope(body, payload_type=PAYLOAD_TYPE, signer=ENGINE), detached=None)

        return good().signed(of, Line(of, make))

    told(name, 9, reason, script)


def _swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return change


payload("statement-with-a-key-twice", "one spelling", _swap(b'"residue":0}', b'"residue":0,"residue":0}'))
payload(
    "statement-with-a-number-beyond-all-readers",
    "statement 16",
    _swap(b'"canaries":12', b'"canaries":9007199254740993'),
)
payload(
    "statement-with-a-number-of-5000-digits", "whole numbers", _swap(b'"canaries":12', b'"canaries":' + b"9" * 5_000)
)
payload("statement-with-minus-nothing", "one spelling", _swap(b'"hits":0', b'"hits":-0'))
payload("statement-with-an-exponent", "whole numbers", _swap(b'"canaries":12', b'"canaries":12e0'))
payload("statement-with-a-large-exponent", "whole numbers", _swap(b'"canaries":12', b'"canaries":1e+21'))
payload("statement-with-not-a-number", "whole numbers", _swap(b'"canaries":12', b'"canaries":NaN'))
payload("statement-not-utf-8", "not JSON", _swap(b'"method":"bytes"', b'"method":"byt\xe9s"'))
payload("statement-with-half-a-sign", "not JSON", _swap(b'"method":"bytes"', b'"method":"\\ud83d"'))
payload("statement-with-an-overlong-sign", "not JSON", _swap(b'"method":"bytes"', b'"method":"\xc0\xaf"'))
payload("statement-with-a-byte-order-mark", "not JSON", lambda body: b"\xef\xbb\xbf" + body)
payload("statement-escaped-otherwise", "one spelling", _swap(b'"method":"bytes"', b'"method":"\\u0062ytes"'))
payload("statement-with-a-needless-escape", "one spelling", _swap(b"https://", b"https:\\/\\/"))
payload("statement-with-two-values", "not JSON", lambda body: body + b"{}")
payload(
    "statement-turning-the-line-around",
    "shape of its type",
    _swap(b'"method":"bytes"', '"method":"\u202ebytes"'.encode()),
)
payload(
    "statement-with-a-text-too-long",
    "shape of its type",
    _swap(b'"method":"bytes"', b'"method":"' + b"b" * 4_097 + b'"'),
)
payload("statement-with-true-for-one", "shape of its type", _swap(b'"datasets":2', b'"datasets":true'))
# U+FF01 stands before U+1F600 by code points, and behind it by UTF-16.
_HOMES = '"ca":10,', '"ca":10,"\U0001f600":0,"\uff01":0,'
payload("statement-sorted-by-utf-16", "one spelling", _swap(_HOMES[0].encode(), _HOMES[1].encode()), of="cutover")


# ------------------------------------------------------------------------------------------- a story told afterwards
@defect("clearance-forged-after-the-erasure", 16, "was not cleared")
def _() -> bytes:
    """A slice was erased under a clearance that did not name it; one that does is put behind it."""
    forged = Line("forged", s.clearance)
    script = good().set("clearance", slices=("messages/us/1", "users/us/1"))
    return s.bundle_of(script.after("outcome app.public.messages ca", forged))


@defect("erasure-under-a-clearance-of-later", 16, "does not stand before it")
def _() -> bytes:
    """The whole erasure stands before the clearance that it names, which came when all was gone."""
    clearance = good().play()["clearance"]

    def early(line: Line) -> Line:
        def make(play: s.Play) -> Any:
            return line.make({**play, "clearance": clearance})

        return dataclasses.replace(line, make=make)

    erasures = [line for line in good().lines if line.name.startswith(("intent", "outcome"))]
    script = good().without(*(line.name for line in erasures))
    return s.bundle_of(script.before("clearance", *(early(line) for line in erasures)))


told(
    "erasure-after-the-certificate",
    18,
    "not the last statement",
    lambda: good().moved("certificate", before="outcome app.public.users us"),
)
told("plan-stated-after-the-fact", 10, "does not begin with a plan", lambda: good().moved("plan", before="certificate"))
_CE = s.certificate().copies
told(
    "certificate-with-one-copy-for-another",
    19,
    "stands there twice",
    lambda: good().set("certificate", copies=(_CE[0], *_CE[:1], *_CE[2:])),
)
told(
    "certificate-of-an-unplanned-copy-held",
    19,
    "not planned",
    lambda: good().set(
        "certificate",
        copies=(*_CE, dataclasses.replace(_CE[0], id="app/other", verdict=Verdict.HELD)),
        verdict=Verdict.HELD,
    ),
)
