// A second checker of bundles, written from docs/formats.md; the first is the program domicile-audit. The two share no
// code and no language. This part reads the bytes: checks 1 to 9. story.js holds the others, and `audit`.
"use strict";

const MIB = 1024 * 1024;
const LIMITS = { bundle: 256 * MIB, file: 512 * MIB, files: 60001, json: 64 * MIB, detached: 640 * MIB, note: 131072, size: 4194304, items: 1e6, line: 1024 };
const README = "65e1a6f7973a14e490d18e1a30bb597f481210329e80a384f3cc1e7f413413c7";
const VERDICTS = ["erased-verified", "key-destroyed", "erased-unverified", "blocked-until", "held", "unknown", "present"];
const MAY_HOLD_RESIDUE = ["blocked-until", "held", "present"];

class Refused extends Error {} // the evidence does not hold
class Unable extends Error {} // this browser can't tell

function need(holds, reason) {
  if (!holds) throw new Refused(reason);
}

// ---------------------------------------------------------------------------------------------------- bytes and texts
const same = (a, b) => a.length === b.length && a.every((byte, place) => byte === b[place]);
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const utf8 = (text) => new TextEncoder().encode(text);
const untext = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const sha256hex = async (bytes) => hex(await sha256(bytes));
const printable = (text) => !/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(text);
const unbase64 = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));

function join(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}

/** Bytes of base64 in its one spelling. */
function readBase64(text, reason) {
  try {
    if (btoa(atob(text)) === text) return unbase64(text);
  } catch { /* not base64 at all */ }
  throw new Refused(reason);
}

/** Order of code points, which is that of UTF-8; JavaScript's own is that of UTF-16. */
function byCodePoint(a, b) {
  let place = 0;
  while (place < a.length && a[place] === b[place]) place++;
  const rank = (unit) => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit);
  return place < a.length && place < b.length ? rank(a.charCodeAt(place)) - rank(b.charCodeAt(place)) : a.length - b.length;
}

/** JSON in its one spelling: sorted keys, no spaces, whole numbers. */
function spell(value) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    need(Number.isSafeInteger(value), "a number that is not whole, or too large");
    return String(value);
  }
  if (typeof value === "string") {
    need(!/\p{Cs}/u.test(value), "half a sign");
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(spell).join(",")}]`;
  const keys = Object.keys(value).sort(byCodePoint);
  return `{${keys.map((key) => `${spell(key)}:${spell(value[key])}`).join(",")}}`;
}

function readJson(bytes, where) {
  need(bytes.length <= LIMITS.json, `${where} is longer than ${LIMITS.json} bytes`);
  let value, text, again;
  try {
    text = untext(bytes);
    value = JSON.parse(text);
    again = spell(value);
  } catch { // not UTF-8, not JSON, nested too deeply
    throw new Refused(`${where} is not JSON of whole numbers and texts`);
  }
  need(again === text, `${where} is JSON, but not in its one spelling`);
  return value;
}

// -------------------------------------------------------------------------------------------------------------- shapes
// A shape is an object (exactly these keys), a list of one shape, or a function that says whether a value fits.
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const text = (pattern = /^/, most = 4096) => (value) =>
  typeof value === "string" && value.length <= 2 * most && [...value].length <= most && printable(value) && pattern.test(value);
const oneOf = (...words) => (value) => words.includes(value);
const maybe = (shape) => (value) => value === null || misfit(value, shape) === null;
const map = (shape) => (value) => isObject(value) && Object.keys(value).length <= LIMITS.items
  && Object.entries(value).every(([key, inner]) => TEXT(key) && misfit(inner, shape) === null);
const dated = (pattern, first, length) => (value) => {
  if (typeof value !== "string" || !pattern.test(value) || value < first) return false;
  const date = new Date(value);
  return !Number.isNaN(date.getTime()) && date.toISOString().slice(0, length) === value.slice(0, length);
};
const TEXT = text();
const HEX = text(/^[0-9a-f]{64}$/);
const COUNT = (value) => Number.isSafeInteger(value) && value >= 0;
const FLAG = (value) => typeof value === "boolean";
const TIME = dated(/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/, "1000", 19);
const DAY = dated(/^[0-9]{4}-[0-9]{2}-[0-9]{2}$/, "1000", 10);
const SLICE = { id: TEXT, dataset: TEXT, home: TEXT, rows: COUNT, erase: { delete: COUNT, blank: COUNT } };
const ENVELOPE = { payload: text(/^/, 1 << 28), payloadType: TEXT, signatures: [{ keyid: TEXT, sig: TEXT }] };
const MANIFEST = { format: TEXT, files: [{ path: TEXT, bytes: COUNT, sha256: HEX }] };
const DETACHED = { detached: { sha256: HEX, bytes: COUNT } };
const SHAPES = new Map(Object.entries({
  "plan/v1": {
    programme: TEXT, engine: TEXT, config_sha256: HEX, made_at: TIME, deadline: maybe(DAY), homes: map(TEXT),
    locations: map({ country: TEXT, operator: TEXT }), approvals: { threshold: COUNT, of: [{ name: TEXT, vkey: TEXT }] },
    slices: [SLICE], not_proven: [TEXT],
    copies: [{ id: TEXT, store: TEXT, location: TEXT, kind: TEXT, dataset: maybe(TEXT), method: TEXT }],
  },
  "transfer/v1": { home: TEXT, dataset: TEXT, slices: [{ id: TEXT, rows: COUNT, bytes: COUNT, digest: HEX }] },
  "cohort/v1": {
    number: COUNT, way: oneOf("home", "source"), subjects: map(COUNT), position: TEXT, fenced_at: TIME, wait_ms: COUNT,
    awaited_ms: COUNT, rows: COUNT,
  },
  "freeze/v1": { position: TEXT, frozen_at: TIME, slices: [SLICE] },
  "cutover/v1": { position: TEXT, fenced_at: TIME, subjects: map(COUNT), fence: TEXT },
  "equality/v1": {
    position: TEXT, fenced: FLAG, slices: [{ id: TEXT, rows: COUNT, source: HEX, home: HEX }], differences: COUNT,
    strays: COUNT,
  },
  "approval/v1": { approver: TEXT, role: TEXT, scope: oneOf("erase"), equality: HEX, approved_at: TIME },
  "clearance/v1": {
    equality: HEX, approvals: [HEX], slices: [TEXT],
    restore: { done_at: TIME, method: TEXT, homes: map({ slices: [{ id: TEXT, rows: COUNT, digest: HEX }] }) },
  },
  "erasure/v1": {
    phase: oneOf("intent", "outcome"), clearance: HEX, dataset: TEXT, home: TEXT, collateral: COUNT, emptied: [TEXT],
    slices: [{ id: TEXT, deleted: COUNT, blanked: COUNT, digest: HEX }],
  },
  "sweep/v1": {
    swept_at: TIME, tokens: { searched: COUNT, not_searchable: COUNT, canaries: COUNT },
    copies: [{ id: TEXT, method: TEXT, bytes: COUNT, hits: COUNT, residue: COUNT }], rows: { datasets: COUNT, hits: COUNT },
  },
  "certificate/v1": {
    verdict: oneOf(...VERDICTS), copies: [{ id: TEXT, verdict: oneOf(...VERDICTS), why: TEXT, until: maybe(TIME) }],
    counts: map(map({ moved: COUNT, deleted: COUNT, blanked: COUNT, kept: COUNT })), not_proven: [TEXT], issued_at: TIME,
  },
  "receipts/v1": {
    clearance: HEX, cohort: COUNT, part: COUNT, home_since: TIME, counted_at: TIME, root: HEX,
    homes: map({ country: TEXT, operator: TEXT, subjects: COUNT }),
  },
  "key/v1": {
    what: oneOf("rotated", "revoked"), approver: maybe(TEXT), key: TEXT, new: maybe(TEXT), since: TIME, stands: COUNT,
    root: HEX, why: TEXT,
  },
  "finding/v1": { kind: TEXT, where: TEXT, count: COUNT, text: TEXT },
}).map(([kind, shape]) => [kind, { plan: HEX, ...shape }]));

/** The place that does not fit, or null. */
function misfit(value, shape, where = "") {
  if (typeof shape === "function") return shape(value) ? null : where || "the top";
  if (Array.isArray(shape)) {
    if (!Array.isArray(value) || value.length > LIMITS.items) return where || "the top";
    return firstOf(value, (item, place) => misfit(item, shape[0], `${where}[${place}]`));
  }
  const keys = Object.keys(shape);
  const fits = isObject(value) && Object.keys(value).length === keys.length && keys.every((key) => Object.hasOwn(value, key));
  return fits ? firstOf(keys, (key) => misfit(value[key], shape[key], `${where}.${key}`)) : where || "the top";
}

function firstOf(items, look) {
  for (let place = 0; place < items.length; place++) {
    const found = look(items[place], place);
    if (found !== null) return found;
  }
  return null;
}

// ---------------------------------------------------------------------------------------------------- keys, signatures
// The y of points of small order, with which anybody signs (docs/formats.md, "Keys and signatures").
const SMALL_ORDER = ["00".repeat(32), `01${"00".repeat(31)}`, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", ...["ec", "ed", "ee"].map((low) => `${low}${"ff".repeat(30)}7f`)];

/** A key from its line NAME+ID+KEY (C2SP signed-note, "Verifier keys"). */
async function readVkey(line, where) {
  const wrong = (why) => `${where} is not a key: ${why}`;
  const [, name, id, base64] = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(line) ?? [];
  need(base64 && [...line].length <= LIMITS.line, wrong("not of the form NAME+ID+KEY, or name, id and key do not belong together"));
  need(printable(name) && !name.includes(" "), wrong("a name with spaces, or none"));
  const raw = readBase64(base64, wrong("not base64"));
  need(raw.length === 33 && raw[0] === 1, wrong("not an Ed25519 key of type 1"));
  need(!SMALL_ORDER.includes(hex([...raw.slice(1, 32), raw[32] & 127])), wrong("a key of small order, with which anybody signs"));
  const own = hex((await sha256(join(utf8(`${name}\n`), raw))).slice(0, 4));
  need(own === id, wrong("name, id and key do not belong together"));
  return { name, id, keyid: `${name}+${id}`, vkey: line, raw: raw.slice(1) };
}

async function isSigned(key, message, signature) {
  key.handle ??= await crypto.subtle.importKey("raw", key.raw, { name: "Ed25519" }, false, ["verify"]).catch(() => null);
  if (key.handle === null || signature.length !== 64) return false; // no point of the curve; no signature
  return crypto.subtle.verify({ name: "Ed25519" }, key.handle, signature, message);
}

/** The payload of a DSSE envelope, and whose key signed it. */
async function openEnvelope(bytes, type, keys, where) {
  const envelope = readJson(bytes, where);
  need(misfit(envelope, ENVELOPE) === null, `${where} is not a DSSE envelope`);
  need(envelope.payloadType === type, `${where} has another payload type than ${type}`);
  need(envelope.signatures.length === 1, `${where} does not have exactly one signature`);
  const [{ keyid, sig }] = envelope.signatures;
  need(keys.has(keyid), `${where} is signed by a key that has no place here: ${keyid}`);
  const payload = readBase64(envelope.payload, `${where} holds base64 in another spelling`);
  const signature = readBase64(sig, `${where} holds base64 in another spelling`);
  const signed = join(utf8(`DSSEv1 ${utf8(type).length} ${type} ${payload.length} `), payload);
  need(await isSigned(keys.get(keyid), signed, signature), `${where}: the signature of ${keyid} is wrong`);
  return { payload, keyid };
}

/** Refuse to judge in a browser that doesn't know RFC 8032: its first test must hold, and not with a flipped bit. */
async function requireCrypto() {
  if (!globalThis.crypto?.subtle) throw new Unable("this browser gives this page no Web Crypto; open the page from a file or over https");
  const un = (text) => Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
  const key = { raw: un("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a") };
  const signature = un("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b");
  try {
    const good = await isSigned(key, new Uint8Array(0), signature);
    signature[3] ^= 1;
    if (good && !(await isSigned(key, new Uint8Array(0), signature))) return;
  } catch { /* says the same as no */ }
  throw new Unable("this browser can't check Ed25519 signatures");
}

// -------------------------------------------------------------------------------------------------------- 1 to 4 files
const CRC = Uint32Array.from({ length: 256 }, (_, n) => Array(8).fill().reduce((c) => (c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1), n));
const crc32 = (bytes) => (bytes.reduce((crc, byte) => CRC[(crc ^ byte) & 255] ^ (crc >>> 8), 0xffffffff) ^ 0xffffffff) >>> 0;
const PATH = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const KNOWN = [
  /^(README\.txt|manifest\.json|plan\.json|certificate\.dsse\.json|log\/checkpoint|keys\/log\.vkey)$/,
  /^keys\/approver-[1-9][0-9]{0,3}(-after-[1-9][0-9]?)?\.vkey$/,
  /^keys\/log-before-[1-9][0-9]?\.vkey$/,
  /^detached\/[0-9a-f]{64}\.json$/,
  /^log\/tile\/(entries|[0-9]{1,2})\/(x[0-9]{3}\/)*[0-9]{3}(\.p\/[1-9][0-9]{0,2})?$/,
];

function checkZip(c) {
  if (c.data.length > LIMITS.bundle) throw new Unable(`this page reads at most ${LIMITS.bundle / MIB} MiB; use domicile-audit`);
  const view = new DataView(c.data.buffer, c.data.byteOffset, c.data.length);
  const local = (place) => place + 4 <= c.data.length && view.getUint32(place, true) === 0x04034b50;
  let place = 0;
  for (; local(place); ) {
    need(place + 30 <= c.data.length, "the zip is cut off in a header");
    const two = (offset) => view.getUint16(place + offset, true);
    const four = (offset) => view.getUint32(place + offset, true);
    const [method, size] = [two(8), four(22)]; // what else stands in a header is compared at the end
    const name = String.fromCharCode(...c.data.subarray(place + 30, place + 30 + two(26)));
    need(PATH.test(name), `the zip holds a path that is not allowed: ${name.slice(0, 80)}`);
    need(method === 0, `${name} is compressed; files are stored as they are`);
    const start = place + 30 + two(26) + two(28);
    need(size <= LIMITS.file && start + size <= c.data.length, `${name} is cut off or too long`);
    const file = c.data.subarray(start, start + size);
    need(crc32(file) === four(14), `${name} has a wrong zip check sum`);
    need(!c.files.has(name), `the zip holds ${name} twice`);
    need(c.files.size < LIMITS.files, `the zip holds more than ${LIMITS.files} files`);
    c.files.set(name, file);
    place = start + size;
  }
  need(place > 0, "not a zip");
  need(same(c.data, writeZip(c.files)), "the zip is not written by the rule: order, dates, modes, flags or its directory differ, or it has bytes after its end");
}

/** The one zip of these files: sorted, stored, version 2.0, 1980-01-01, made on Unix, mode 0100644, nothing else. */
function writeZip(files) {
  const pack = (form, ...values) => { // a form is a text of field widths, little-endian
    const bytes = new DataView(new ArrayBuffer([...form].reduce((sum, width) => sum + Number(width), 0)));
    let place = 0;
    values.forEach((value, field) => {
      bytes[form[field] === "2" ? "setUint16" : "setUint32"](place, value, true);
      place += Number(form[field]);
    });
    return new Uint8Array(bytes.buffer);
  };
  const body = [], central = [];
  let offset = 0;
  for (const name of [...files.keys()].sort()) {
    const file = files.get(name), path = utf8(name), crc = crc32(file);
    const header = pack("42222244422", 0x04034b50, 20, 0, 0, 0, 0x21, crc, file.length, file.length, path.length, 0);
    body.push(header, path, file);
    central.push(pack("42222224442222244", 0x02014b50, 0x0314, 20, 0, 0, 0, 0x21, crc, file.length, file.length, path.length,
      0, 0, 0, 0, 0o100644 * 65536, offset), path);
    offset += header.length + path.length + file.length;
  }
  const tail = join(...central);
  return join(...body, tail, pack("42222442", 0x06054b50, 0, 0, files.size, files.size, tail.length, offset, 0));
}

async function checkKeys(c) {
  const key = async (name) => {
    need(c.files.has(name), `the bundle has no ${name}`);
    let line = "";
    try {
      line = untext(c.files.get(name));
    } catch { /* has no newline either */ }
    need(line.endsWith("\n"), `${name} does not end in a newline, or is not UTF-8`);
    return readVkey(line.slice(0, -1), name);
  };
  const numbered = async (before, after) => {
    const found = [];
    while (c.files.has(`${before}${found.length + 1}${after}`)) found.push(await key(`${before}${found.length + 1}${after}`));
    return found;
  };
  c.log = await key("keys/log.vkey");
  const names = [...c.files.keys()].filter((name) => name.startsWith("keys/"));
  const count = names.filter((name) => !name.includes("-before-") && !name.includes("-after-")).length - 1;
  for (let number = 1; number <= count; number++) {
    const one = await key(`keys/approver-${number}.vkey`);
    need(!c.approvers.has(one.keyid), `keys/approver-${number}.vkey stands there twice`);
    c.approvers.set(one.keyid, one);
  }
  c.chains = [[...(await numbered("keys/log-before-", ".vkey")), c.log]]; // the keys of the log, then of each approver
  for (const [place, one] of [...c.approvers.values()].entries()) {
    c.chains.push([one, ...(await numbered(`keys/approver-${place + 1}-after-`, ".vkey"))]);
  }
  const keys = c.chains.flat();
  need(keys.length === names.length, "keys/ holds a key whose number has a gap before it");
  const differ = new Set(keys.map((one) => hex(one.raw))).size === keys.length && new Set(keys.map((one) => one.keyid)).size === keys.length;
  need(differ, "one key has two roles: an approver must not be the engine, or two people, and no key comes twice");
  c.holders = new Map(c.chains.flatMap((chain, number) => chain.map((one) => [one.keyid, number])));
  if (c.policy) need(c.chains[0].some((one) => c.policy.logs.includes(one.vkey)), `the log key ${c.log.keyid} is not in the trust policy`);
}

async function checkManifest(c) {
  need(c.files.has("manifest.json"), "the bundle has no manifest.json");
  const type = "application/vnd.domicile.manifest+json";
  const keys = new Map([[c.log.keyid, c.log]]);
  const manifest = readJson((await openEnvelope(c.files.get("manifest.json"), type, keys, "manifest.json")).payload, "manifest.json");
  need(misfit(manifest, MANIFEST) === null, "manifest.json has not the shape of a manifest");
  need(manifest.format === "urn:domicile:bundle/v1", "manifest.json is not of the format urn:domicile:bundle/v1");
  const listed = new Map(manifest.files.map((file) => [file.path, file]));
  for (const [name, bytes] of c.files) {
    if (name === "manifest.json") continue;
    need(listed.has(name), `${name} is in the zip but not in the manifest`);
    const { bytes: length, sha256 } = listed.get(name);
    need(length === bytes.length && sha256 === (await sha256hex(bytes)), `${name} is not the file that the manifest lists`);
  }
  for (const name of listed.keys()) need(c.files.has(name), `${name} is in the manifest but not in the zip`);
  const paths = manifest.files.map((file) => file.path);
  need(spell(paths) === spell([...listed.keys()].sort(byCodePoint)), "manifest.json is not sorted, or lists twice");
}

async function checkNames(c) {
  for (const name of c.files.keys()) need(KNOWN.some((known) => known.test(name)), `${name} does not belong in a bundle`);
  for (const name of ["README.txt", "plan.json", "log/checkpoint"]) need(c.files.has(name), `the bundle has no ${name}`);
  need((await sha256hex(c.files.get("README.txt"))) === README, "README.txt is not the fixed text of this format; it could claim anything");
}

// --------------------------------------------------------------------------------------------------------- 5 to 7 tree
async function checkCheckpoint(c) {
  const bytes = c.files.get("log/checkpoint");
  let note = "";
  try {
    note = untext(bytes);
  } catch { /* not UTF-8: has no form */ }
  const line = "\u2014 [^ \n+]+ [A-Za-z0-9+/=]+\n";
  const form = new RegExp(`^([^\\n]*)\n([^\\n]*)\n([^\\n]*)\n\n(${line})((?:${line}){0,63})$`, "u").exec(note);
  need(form && bytes.length <= LIMITS.note, "the checkpoint is not a note of three lines and signatures");
  const [, origin, size, root, own, others] = form;
  const [, name, base64] = own.slice(0, -1).split(" ");
  const blob = readBase64(base64, "the checkpoint's signature is not base64");
  need(name === c.log.name && hex(blob.slice(0, 4)) === c.log.id, "the checkpoint is not signed by the log's key");
  for (const other of others.split("\n").slice(0, -1)) { // cosignatures: this page asks for none, and checks none
    const [, signer, text] = other.split(" ");
    const id = hex(readBase64(text, "a signature of the checkpoint is not base64").slice(0, 4));
    need(signer !== name || id !== c.log.id, "the checkpoint has more than one signature of the log's key");
  }
  const signed = utf8(`${origin}\n${size}\n${root}\n`);
  need(await isSigned(c.log, signed, blob.slice(4)), "the signature of the checkpoint is wrong");
  need(origin === c.log.name, "the checkpoint is one of another log");
  need(/^[1-9][0-9]{0,9}$/.test(size) && Number(size) <= LIMITS.size, "the checkpoint has no proper size");
  c.size = Number(size);
  c.root = readBase64(root, "the checkpoint's root is not base64");
  need(c.root.length === 32, "the checkpoint's root is not a SHA-256");
}

/** Path and width of each tile of a level that has this many hashes. */
function tilesOf(level, count) {
  const path = (index) => {
    let found = String(index % 1000).padStart(3, "0");
    for (let rest = Math.floor(index / 1000); rest; rest = Math.floor(rest / 1000)) found = `x${String(rest % 1000).padStart(3, "0")}/${found}`;
    return `log/tile/${level}/${found}`;
  };
  const full = Math.floor(count / 256), rest = count % 256;
  const tiles = Array.from({ length: full }, (_, index) => [path(index), 256]);
  return rest ? [...tiles, [`${path(full)}.p/${rest}`, rest]] : tiles;
}

function splitEntries(bytes, width, name) {
  const entries = [];
  for (let place = 0; place < bytes.length && entries.length <= width; ) {
    const end = place + 2 + bytes[place] * 256 + (bytes[place + 1] ?? NaN);
    need(end <= bytes.length, `${name} is cut off`);
    entries.push(bytes.subarray(place + 2, end));
    place = end;
  }
  need(entries.length === width, `${name} does not hold ${width} entries`);
  return entries;
}

/** RFC 6962, 2.1: pairs level by level; a last one without a partner moves up unchanged. */
async function merkleRoot(hashes) {
  for (let row = hashes; ; ) {
    if (row.length === 1) return row[0];
    const pairs = Array.from({ length: row.length >> 1 }, (_, pair) => sha256(join([1], row[2 * pair], row[2 * pair + 1])));
    row = [...(await Promise.all(pairs)), ...row.slice(pairs.length * 2)];
  }
}

async function checkTiles(c) {
  const wanted = new Set();
  const take = (name) => {
    wanted.add(name);
    need(c.files.has(name), `${name} is missing`);
    return c.files.get(name);
  };
  for (const [name, width] of tilesOf("entries", c.size)) for (const entry of splitEntries(take(name), width, name)) c.entries.push(entry);
  c.hashes = await Promise.all(c.entries.map((entry) => sha256(join([0], entry))));
  for (let level = 0, hashes = c.hashes; hashes.length; level++) {
    tilesOf(level, hashes.length).forEach(([name, width], index) => {
      const tile = join(...hashes.slice(index * 256, index * 256 + width));
      need(same(take(name), tile), `${name} does not hold the hashes of the entries`);
    });
    const full = Math.floor(hashes.length / 256); // a partial tile is not hashed into the level above
    const below = hashes;
    hashes = await Promise.all(Array.from({ length: full }, (_, index) => merkleRoot(below.slice(index * 256, index * 256 + 256))));
  }
  const extra = [...c.files.keys()].find((name) => name.startsWith("log/tile/") && !wanted.has(name));
  need(!extra, `${extra} is not a tile of a log of ${c.size} entries`);
}

async function checkRoot(c) {
  need(same(await merkleRoot(c.hashes), c.root), "the entries are not those of the checkpoint: one was left out, added, moved or altered");
}

// ---------------------------------------------------------------------------------------------------- 8, 9 statements
async function checkEnvelopes(c) {
  const keys = new Map(c.chains.flat().map((key) => [key.keyid, key]));
  for (const [index, entry] of c.entries.entries()) {
    c.envelopes.push(await openEnvelope(entry, "application/vnd.in-toto+json", keys, `entry ${index}`));
  }
}

async function checkStatements(c) {
  const unread = new Set([...c.files.keys()].filter((name) => name.startsWith("detached/")));
  for (const [index, { payload, keyid }] of c.envelopes.entries()) {
    const { kind, p } = await readStatement(c, index, payload, unread);
    const name = `statement ${index} (${kind})`;
    need(kind === "key/v1" || (kind === "approval/v1") === (c.holders.get(keyid) !== 0), `${name} is signed by the wrong kind of key`);
    const sha256 = await sha256hex(c.entries[index]);
    c.statements.push({ index, kind, keyid, sha256, p, name });
    if (!c.places.has(sha256)) c.places.set(sha256, index);
  }
  for (const name of unread) throw new Refused(`${name} is named by no statement`);
}

async function readStatement(c, index, payload, unread) {
  const body = readJson(payload, `statement ${index}`);
  need(isObject(body) && typeof body.predicateType === "string", `statement ${index} has no predicate type`);
  const kind = body.predicateType.replace(/^urn:domicile:/, "");
  need(SHAPES.has(kind), `statement ${index} is of a type that this checker does not know`);
  const where = `statement ${index} (${kind})`;
  let p = body.predicate;
  if (misfit(p, DETACHED) === null) {
    const { sha256, bytes } = p.detached, name = `detached/${sha256}.json`;
    need(c.files.has(name), `${where} names ${name}, which is missing`);
    const data = c.files.get(name);
    need(data.length === bytes && (await sha256hex(data)) === sha256, `${name} is not the predicate that ${where} names`);
    need(bytes > 32768, `${where}: a predicate this short belongs into the statement`);
    c.detached += bytes;
    need(c.detached <= LIMITS.detached, `${where}: too many statements name detached predicates`);
    unread.delete(name);
    p = readJson(data, name);
  }
  const wrong = misfit(p, SHAPES.get(kind));
  need(wrong === null, `${where} has not the shape of its type, at ${wrong}`);
  const [name, sha256] = { "approval/v1": ["equality", p.equality], "clearance/v1": ["equality", p.equality],
    "erasure/v1": ["clearance", p.clearance] }[kind] ?? ["plan.json", p.plan];
  const frame = { _type: "https://in-toto.io/Statement/v1", subject: [{ name, digest: { sha256 } }], predicateType: `urn:domicile:${kind}`, predicate: body.predicate };
  need(spell(body) === spell(frame), `${where} is about another subject, or is not an in-toto Statement v1`);
  return { kind, p };
}
