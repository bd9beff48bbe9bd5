"""Bundles whose bytes are bad, checks 1 to 9: the zip, keys, manifest, log, envelopes, and shapes of statements."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

from domicile.evidence import predicates as p
from domicile.evidence.bundle import MANIFEST_TYPE, pack, zip_files
from domicile.evidence.codec import dump_json, encode
from domicile.evidence.statement import Sealed, seal, sign_envelope
from domicile.evidence.tlog.cosignature import cosign
from domicile.evidence.tlog.merkle import hash_leaf
from domicile.evidence.tlog.note import format_signatures
from domicile.evidence.tlog.tile import encode_entries
from tests.vectors import scenario as s
from tests.vectors.registry import defect, filed, gone, put, told
from tests.vectors.scenario import ENGINE, OPERATOR, STRANGER, Line, Script, good

replace = dataclasses.replace


def zipped(name: str, check: int, reason: str, change: Callable[[bytes], bytes]) -> None:
    """Somebody without a key changes the bytes of the zip."""
    defect(name, check, reason)(lambda: change(s.bundle_of(good())))


def stated(name: str, check: int, reason: str, change: Callable[[dict[str, Any]], object]) -> None:
    """A cheat signs a statement (the last but one) that our own classes would refuse to write."""

    def script() -> Script:
        def make(play: s.Play) -> Sealed:
            body = json.loads(_payload(seal(s.sweep(), ENGINE).envelope))
            change(body)
            return s.raw(body)

        return good().signed("sweep", Line("sweep", make))

    told(name, check, reason, script)


def enveloped(name: str, check: int, reason: str, change: Callable[[bytes], bytes]) -> None:
    """A cheat logs an envelope that is not one."""

    def script() -> Script:
        def make(play: s.Play) -> Sealed:
            return Sealed(envelope=change(seal(s.sweep(), ENGINE).envelope), detached=None)

        return good().signed("sweep", Line("sweep", make))

    told(name, check, reason, script)


def _payload(envelope: bytes) -> bytes:
    return base64.b64decode(json.loads(envelope)["payload"])


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _zip(files: list[tuple[str, bytes]], *, method: int = zipfile.ZIP_STORED, day: int = 1) -> bytes:
    """A zip that any tool reads, but not by the rule."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in files:
            info = zipfile.ZipInfo(path, date_time=(1980, 1, day, 0, 0, 0))
            info.compress_type = method
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, data)
    return out.getvalue()


def _files(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def _tile(files: dict[str, bytes], kind: str) -> str:
    return next(path for path in files if path.startswith(f"log/tile/{kind}/"))


def _remade(files: dict[str, bytes], entries: list[bytes]) -> None:
    """Other entries and their tile under the old checkpoint."""
    files[_tile(files, "entries")] = encode_entries(entries)
    files[_tile(files, "0")] = b"".join(hash_leaf(entry) for entry in entries)


def _entries() -> list[bytes]:
    return [sealed.envelope for sealed in s.entries_of(good())]


def _swapped(entries: list[bytes], one: int, two: int) -> list[bytes]:
    entries[one], entries[two] = entries[two], entries[one]
    return entries


def _swapped_signatures(checkpoint: bytes) -> bytes:
    """A cosignature stands before the log's own signature."""
    text, signature = checkpoint.split(b"\n\n")
    line = format_signatures([cosign(text.decode() + "\n", STRANGER, time=1)])
    return text + b"\n\n" + line + signature


# ------------------------------------------------------------------------------------------- 1 the zip
zipped("zip-with-bytes-after-its-end", 1, "no bytes after its end", lambda b: b + b"\0")
zipped("zip-with-a-comment", 1, "no comment", lambda b: b[:-2] + struct.pack("<H", 4) + b"true")
zipped("zip-with-bytes-before-it", 1, "not a zip", lambda b: b"#!" + b)
zipped("zip-cut-off", 1, "not written by the rule", lambda b: b[:-30])
zipped("zip-cut-off-in-a-header", 1, "cut off in a header", lambda b: b[:20])
zipped("zip-cut-off-in-a-file", 1, "is cut off or too long", lambda b: b[: b.index(b"homecoming")])
zipped("zip-compressed", 1, "stored as they are", lambda b: _zip(_files(b), method=zipfile.ZIP_DEFLATED))
zipped("zip-bomb", 1, "or compressed", lambda _: _zip([("plan.json", bytes(50_000_000))], method=zipfile.ZIP_DEFLATED))
zipped("zip-unsorted", 1, "not written by the rule", lambda b: _zip(_files(b)[::-1]))
zipped("zip-with-a-date", 1, "not written by the rule", lambda b: _zip(_files(b), day=2))
zipped("zip-path-upwards", 1, "path that is not allowed", lambda b: _zip([("../plan.json", b"{}"), *_files(b)]))
zipped("zip-path-absolute", 1, "path that is not allowed", lambda b: _zip([("/plan.json", b"{}"), *_files(b)]))
zipped("zip-path-backslash", 1, "path that is not allowed", lambda b: _zip([("log\\checkpoint", b"{}"), *_files(b)]))
zipped("zip-of-nothing", 1, "not a zip", lambda _: _zip([]))
zipped("zip-check-sum-wrong", 1, "with check sums", lambda b: _flipped(b, b.index(b"homecoming")))
zipped("zip-directory-of-other-names", 1, "not written by the rule", lambda b: _flipped(b, b.rindex(b"plan.json")))


@defect("zip-holding-a-file-twice", 1, "twice")
def _() -> bytes:
    files = _files(s.bundle_of(good()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile says that this is odd, which is the point
        return _zip([files[0], *files])


# ------------------------------------------------------------------------------------------- 2 keys
_VKEY = ENGINE.verifier.vkey
filed(
    "log-key-misspelled",
    2,
    "do not belong together",
    put("keys/log.vkey", _VKEY.replace("+", "+0", 1).encode() + b"\n"),
)


def _key_line(name: bytes, raw: bytes) -> bytes:
    """A key file whose id belongs to name and key, whatever they are (C2SP signed-note)."""
    key_id = hashlib.sha256(name + b"\n" + raw).digest()[:4].hex().encode()
    return name + b"+" + key_id + b"+" + base64.b64encode(raw) + b"\n"


def _log_key(name: str, reason: str, line: bytes) -> None:
    filed(name, 2, reason, put("keys/log.vkey", line))


_NAME, _RAW = ENGINE.name.encode(), b"\x01" + ENGINE.verifier.public
_log_key("log-key-without-an-id", "not of the form NAME+ID+KEY", _NAME + b"\n")
_log_key("log-key-without-a-name", "a name with spaces, or none", _key_line(b"", _RAW))
_log_key("log-key-with-a-space-in-its-name", "a name with spaces", _key_line(b"homecoming example", _RAW))
_log_key("log-key-with-a-control-character", "a name with spaces", _key_line(b"homecoming\x1b[2Jexample", _RAW))
_log_key("log-key-of-another-type", "not an Ed25519 key", _key_line(_NAME, b"\x02" + _RAW[1:]))
_log_key("log-key-too-short", "not an Ed25519 key", _key_line(_NAME, _RAW[:-1]))
_log_key("log-key-not-base64", "is not base64", _NAME + b"+00000000+A\n")
_log_key("log-key-very-long", "not of the form NAME+ID+KEY", _key_line(b"n" * 4_050, _RAW))
_log_key("log-key-without-a-newline", "not a line of UTF-8", _VKEY.encode())
_log_key(
    "log-key-not-utf-8",
    "not a line of UTF-8",
    _key_line("homecoming\ufffd".encode(), _RAW).replace(b"\xef\xbf\xbd", b"\xff"),
)
filed("log-key-missing", 2, "has no keys/log.vkey", gone("keys/log.vkey"))
filed("approver-key-missing", 2, "a gap before it", gone("keys/approver-1.vkey"))
filed(
    "approver-is-the-engine",
    2,
    "two roles",
    put("keys/approver-2.vkey", replace(ENGINE, name="other.example").verifier.vkey.encode() + b"\n"),
)
filed("approver-twice", 2, "twice", put("keys/approver-2.vkey", OPERATOR.verifier.vkey.encode() + b"\n"))
filed(
    "approver-under-two-names",
    2,
    "two roles",
    put("keys/approver-2.vkey", replace(OPERATOR, name="other.example").verifier.vkey.encode() + b"\n"),
)


# ------------------------------------------------------------------------------------------- 3 manifest
@defect("manifest-by-another-key", 3, "signed by a key that has no place here")
def _() -> bytes:
    return pack(s.files_of(good()), STRANGER)


@defect("manifest-signature-wrong", 3, "is wrong")
def _() -> bytes:
    """The stranger's signature under the engine's keyid."""
    files = dict(_files(s.bundle_of(good())))
    envelope = json.loads(files["manifest.json"])
    other = json.loads(sign_envelope(_payload(files["manifest.json"]), payload_type=MANIFEST_TYPE, signer=STRANGER))
    envelope["signatures"][0]["sig"] = other["signatures"][0]["sig"]
    return zip_files({**files, "manifest.json": dump_json(envelope)})


def _listed(change: Callable[[dict[str, Any]], object]) -> bytes:
    files = dict(_files(s.bundle_of(good())))
    manifest = json.loads(_payload(files["manifest.json"]))
    change(manifest)
    signed = sign_envelope(dump_json(manifest), payload_type=MANIFEST_TYPE, signer=ENGINE)
    return zip_files({**files, "manifest.json": signed})


def _rezipped(change: Callable[[dict[str, bytes]], object]) -> bytes:
    files = dict(_files(s.bundle_of(good())))
    change(files)
    return zip_files(files)


defect("manifest-missing", 3, "has no manifest.json")(lambda: _rezipped(gone("manifest.json")))
defect("manifest-lists-less", 3, "lists None, where the zip holds")(lambda: _listed(lambda m: m["files"].pop()))
defect("manifest-lists-more", 3, "'path': 'certificate.dsse.json'")(lambda: _rezipped(gone("certificate.dsse.json")))
defect("manifest-unsorted", 3, "where the zip holds")(lambda: _listed(lambda m: m["files"].reverse()))
defect("manifest-of-another-format", 3, "shape of a manifest, at .format")(
    lambda: _listed(lambda m: m.update(format="urn:x"))
)
defect("manifest-with-more-keys", 3, "shape of a manifest")(lambda: _listed(lambda m: m.update(note="all is well")))
defect("plan-file-altered", 3, "'path': 'plan.json'")(
    lambda: _rezipped(put("plan.json", s.PLAN_FILE.replace(b"3", b"4")))
)

# ------------------------------------------------------------------------------------------- 4 names
filed("file-of-no-use", 4, "does not belong in a bundle", put("everything-is-fine.txt", b"believe me\n"))
filed("readme-with-a-claim", 4, "fixed text", put("README.txt", b"Everything was erased.\n"))
filed("plan-file-missing", 4, "has no plan.json", gone("plan.json"))

# ------------------------------------------------------------------------------------------- 5 checkpoint
for _name, _line in {
    "checkpoint-with-a-line-that-is-no-signature": b"everything is fine\n",
    "checkpoint-with-a-signature-that-is-no-base64": "\u2014 witness.example !!!\n".encode(),
    "checkpoint-with-a-signature-of-no-one": "\u2014  AAAAAAA=\n".encode(),
    "checkpoint-cosigned-by-no-utf-8": b"\xe2\x80\x94 witness\xff.example AAAAAAA=\n",
    "checkpoint-cosigned-by-a-control-sign": "\u2014 witness\x07.example AAAAAAA=\n".encode(),
}.items():
    filed(_name, 5, "signature", lambda f, more=_line: f.update({"log/checkpoint": f["log/checkpoint"] + more}))  # type: ignore[misc]
filed(
    "checkpoint-with-another-line",
    5,
    "not a note of three lines",
    lambda f: f.update({"log/checkpoint": f["log/checkpoint"].replace(b"=\n\n", b"=\nmore\n\n")}),
)
filed(
    "checkpoint-signed-by-a-witness-first",
    5,
    "not signed by the log's key",
    lambda f: f.update({"log/checkpoint": _swapped_signatures(f["log/checkpoint"])}),
)
_OTHER_LOG = replace(ENGINE, name="other.example/log")
filed(
    "checkpoint-of-another-log",
    5,
    "not signed by the log's key",
    lambda f: f.update({"log/checkpoint": s.log_files([b"entry"] * 18, _OTHER_LOG)["log/checkpoint"]}),
)
filed(
    "checkpoint-signature-wrong",
    5,
    "signature of the checkpoint is wrong",
    lambda f: f.update({"log/checkpoint": f["log/checkpoint"].replace(b"\n18\n", b"\n17\n")}),
)
filed(
    "checkpoint-with-another-signature",
    5,
    "one signature",
    lambda f: f.update({"log/checkpoint": f["log/checkpoint"] + f["log/checkpoint"].split(b"\n\n")[1]}),
)


def _headed(
    *, origin: str = ENGINE.name, root: bytes | None = None, name: str = ENGINE.name, key_id: bytes | None = None
) -> Callable[[dict[str, bytes]], object]:
    """The log's key signs a head that no log of ours has."""

    def change(files: dict[str, bytes]) -> None:
        _, size, old = files["log/checkpoint"].split(b"\n\n")[0].split(b"\n")
        text = b"\n".join([origin.encode(), size, old if root is None else base64.b64encode(root), b""])
        blob = base64.b64encode((key_id or ENGINE.verifier.key_id) + ENGINE.sign(text)).decode()
        files["log/checkpoint"] = text + f"\n\u2014 {name} {blob}\n".encode()

    return change


filed("checkpoint-of-another-origin", 5, "one of another log", _headed(origin="other.example/log"))
filed("checkpoint-with-a-short-root", 5, "not a SHA-256", _headed(root=b"short"))
filed("checkpoint-signed-in-another-name", 5, "not signed by the log's key", _headed(name="other.example/log"))
filed("checkpoint-signed-with-another-key-id", 5, "not signed by the log's key", _headed(key_id=b"none"))
filed("checkpoint-very-long", 5, "longer than 131072 bytes", _headed(origin="o" * 131_072))


@defect("log-of-nothing", 5, "no proper size")
def _() -> bytes:
    files = {path: data for path, data in s.files_of(good()).items() if not path.startswith("log/")}
    return pack({**files, **s.log_files([])}, ENGINE)


# ------------------------------------------------------------------------------------------- 6 tiles
filed(
    "statement-altered",
    6,
    "hashes of the entries",
    lambda f: f.update({(t := _tile(f, "entries")): _flipped(f[t], 200)}),
)
filed(
    "statement-left-out",
    6,
    "does not hold 18 entries",
    lambda f: _remade(f, [e for i, e in enumerate(_entries()) if i != 2]),
)
filed(
    "statements-swapped",
    6,
    "hashes of the entries",
    lambda f: f.update({_tile(f, "entries"): encode_entries(_swapped(_entries(), 2, 3))}),
)
filed("tile-altered", 6, "hashes of the entries", lambda f: f.update({(t := _tile(f, "0")): _flipped(f[t], 40)}))
filed("tile-missing", 6, "is missing", lambda f: f.pop(_tile(f, "0")))
filed("entries-missing", 6, "is missing", lambda f: f.pop(_tile(f, "entries")))
filed("tile-of-another-size", 6, "is not a tile of a log of 18 entries", put("log/tile/0/000.p/17", b"x" * 32 * 17))
filed("entries-cut-off", 6, "cut off", lambda f: f.update({(t := _tile(f, "entries")): f[t][:-1]}))

# ------------------------------------------------------------------------------------------- 7 root
filed(
    "statements-swapped-and-hashed-again",
    7,
    "left out, added, moved or altered",
    lambda f: _remade(f, _swapped(_entries(), 2, 3)),
)


@defect("checkpoint-of-a-log-of-the-same-key", 7, "left out, added, moved or altered")
def _() -> bytes:
    files = s.files_of(good())
    other = s.log_files([b"another entry"] * 18)
    return pack({**files, "log/checkpoint": other["log/checkpoint"]}, ENGINE)


# ------------------------------------------------------------------------------------------- 8 envelopes
def _envelope(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        envelope = json.loads(data)
        change(envelope)
        return dump_json(envelope)

    return changed


def _sig(data: bytes) -> str:
    found: str = json.loads(data)["signatures"][0]["sig"]
    return found


def _respelled(sig: str) -> str:
    """The same bytes in base64 whose last, unused bits are not zero (RFC 4648 section 3.5)."""
    assert sig.endswith("==")
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = sig[:-3] + digits[digits.index(sig[-3]) + 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(sig)
    return other


enveloped("statement-by-a-stranger", 8, "has no place here", lambda _: seal(s.sweep(), STRANGER).envelope)
enveloped(
    "statement-signature-wrong",
    8,
    "is wrong",
    _envelope(lambda e: e["signatures"][0].update(sig=_sig(seal(s.cutover(), ENGINE).envelope))),
)
enveloped(
    "statement-with-two-signatures",
    8,
    "exactly one signature",
    _envelope(lambda e: e["signatures"].append(e["signatures"][0])),
)
enveloped("statement-unsigned", 8, "exactly one signature", _envelope(lambda e: e.update(signatures=[])))
enveloped(
    "statement-of-another-payload-type",
    8,
    "another payload type",
    _envelope(lambda e: e.update(payloadType="text/plain")),
)
enveloped("statement-signature-not-base64", 8, "is not base64", _envelope(lambda e: e["signatures"][0].update(sig="A")))
enveloped(
    "statement-signature-spelled-otherwise",
    8,
    "base64 in another spelling",
    _envelope(lambda e: e["signatures"][0].update(sig=_respelled(e["signatures"][0]["sig"]))),
)
enveloped(
    "statement-envelope-with-more-keys", 8, "not a DSSE envelope", _envelope(lambda e: e.update(note="all is well"))
)
enveloped("statement-no-envelope", 8, "not JSON", lambda _: b"everything was erased")
enveloped("statement-nested-deeply", 8, "not JSON", lambda _: b"[" * 60_000)
enveloped("statement-spelled-otherwise", 8, "not in its one spelling", lambda e: e.replace(b":", b": ", 1))

# ------------------------------------------------------------------------------------------- 9 statements
stated("statement-without-a-type", 9, "has no predicate type", lambda b: b.pop("predicateType"))
stated("statement-of-a-type-that-is-no-text", 9, "has no predicate type", lambda b: b.update(predicateType=7))
told(
    "statement-of-a-list",
    9,
    "has no predicate type",
    lambda: good().signed("sweep", Line("sweep", lambda _: s.raw(["everything was erased"]))),
)
stated("statement-of-unknown-type", 9, "does not know", lambda b: b.update(predicateType="urn:domicile:pardon/v1"))
stated(
    "statement-of-another-kind",
    9,
    "in-toto Statement v1",
    lambda b: b.update(_type="https://in-toto.io/Statement/v0.1"),
)
stated("statement-with-more-keys", 9, "shape of its type", lambda b: b["predicate"].update(note="trust me"))
stated("statement-with-less-keys", 9, "shape of its type", lambda b: b["predicate"].pop("rows"))
stated("statement-about-another-subject", 9, "another subject", lambda b: b["subject"][0].update(name="other.json"))
stated("statement-with-a-negative-count", 9, "shape of its type", lambda b: b["predicate"]["rows"].update(hits=-1))
stated("statement-with-a-fraction", 9, "whole numbers", lambda b: b["predicate"]["rows"].update(hits=0.5))
stated(
    "statement-with-control-characters",
    9,
    "shape of its type",
    lambda b: b["predicate"]["copies"][0].update(method="\x1b[2J"),
)
stated(
    "statement-with-a-wrong-time", 9, "shape of its type", lambda b: b["predicate"].update(swept_at="2026-11-22 10:00")
)
stated(
    "detached-predicate-missing",
    9,
    "which is missing",
    lambda b: b.update(predicate={"detached": {"sha256": "0" * 64, "bytes": 40_000}}),
)
filed("detached-predicate-of-nobody", 9, "named by no statement", put(f"detached/{'0' * 64}.json", b"{}"))
told(
    "approval-by-the-engine",
    9,
    "wrong kind of key",
    lambda: good().signed("approval monitor", Line("approval monitor", s.approval("monitor", "monitor"), ENGINE)),
)
told(
    "certificate-by-an-approver",
    9,
    "wrong kind of key",
    lambda: good().signed("certificate", Line("certificate", lambda _: s.certificate(), OPERATOR)),
)


@defect("detached-predicate-altered", 9, "is not the predicate")
def _() -> bytes:
    return pack(
        {
            p_: d.replace(b"found", b"fnord") if p_.startswith("detached/") else d
            for p_, d in s.files_of(large()).items()
        },
        ENGINE,
    )


def _detached(predicate: p.Predicate, line: str, more_bytes: int = 0) -> bytes:
    """A cheat detaches what would fit, or says another length."""
    body = json.loads(_payload(seal(predicate, ENGINE).envelope))
    inner = encode(predicate)
    name = hashlib.sha256(inner).hexdigest()
    body["predicate"] = {"detached": {"sha256": name, "bytes": len(inner) + more_bytes}}
    files = s.files_of(good().signed(line, Line(line, lambda _: s.raw(body))))
    return pack({**files, f"detached/{name}.json": inner}, ENGINE)


def _long(size: int) -> p.Predicate:
    """A certificate whose predicate has so many bytes."""
    lines = s.plan().not_proven + tuple(f"{n} {'x' * 4_000}" for n in range(8))
    short = replace(s.certificate(), not_proven=lines)
    over = len(encode(short)) - size
    assert 0 < over < 4_000
    return replace(short, not_proven=(*lines[:-1], lines[-1][:-over]))


defect("detached-predicate-short", 9, "belongs into the statement")(lambda: _detached(s.sweep(), "sweep"))
defect("detached-predicate-at-the-limit", 9, "belongs into the statement")(
    lambda: _detached(_long(32_768), "certificate")
)
defect("detached-predicate-of-another-length", 9, "is not the predicate")(
    lambda: _detached(_long(32_769), "certificate", more_bytes=1)
)


def large() -> Script:
    """A good run with one statement too long for an entry."""
    many = tuple(f"open point {n}: nothing was found out about it so far" for n in range(800))
    return good().set("certificate", not_proven=s.plan().not_proven + many)
