// Checks 1 to 9: from the bytes of a zip to statements. A check takes the case `c`, relies on what those before it left
// there, and refuses with `need`.

const CHECKS = []; // in their order
const check = (title, make) => CHECKS.push({ title, make });

// ---------------------------------------------------------------------------------------------------------- the files
const README = "65e1a6f7973a14e490d18e1a30bb597f481210329e80a384f3cc1e7f413413c7";
const PATH = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const KNOWN = [
  /^(README\.txt|manifest\.json|plan\.json|certificate\.dsse\.json|log\/checkpoint|detached\/[0-9a-f]{64}\.json)$/,
  /^keys\/(log|log-before-[1-9][0-9]?|approver-[1-9][0-9]{0,3}(-after-[1-9][0-9]?)?)\.vkey$/,
  /^log\/tile\/(entries|[0-9]{1,2})\/(x[0-9]{3}\/)*[0-9]{3}(\.p\/[1-9][0-9]{0,2})?$/,
];
const shifted = (crc) => (crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1);
const CRC = Uint32Array.from({ length: 256 }, (_, byte) => Array(8).fill().reduce(shifted, byte));
const crc32 = (bytes) => ~bytes.reduce((crc, byte) => CRC[(crc ^ byte) & 255] ^ (crc >>> 8), ~0) >>> 0;

function fileOf(c, name) {
  need(c.files.has(name), `the bundle has no ${name}`);
  return c.files.get(name);
}

// Only names and lengths are read here; all else is compared with the one zip of these files.
check("zip in its one spelling", (c) => {
  if (c.data.length > LIMITS.bundle) throw new Unable("this page reads at most 256 MiB; use domicile-audit");
  const view = new DataView(c.data.buffer, c.data.byteOffset, c.data.length);
  for (let place = 0; place + 30 <= c.data.length && view.getUint32(place, true) === 0x04034b50; ) {
    const start = place + 30 + view.getUint16(place + 26, true);
    const name = readText(c.data.subarray(place + 30, start), "a path in the zip");
    need(PATH.test(name), `the zip holds a path that is not allowed: ${name.slice(0, 80)}`);
    need(!c.files.has(name) && c.files.size < LIMITS.files, `the zip holds ${name} twice, or too many files`);
    place = start + view.getUint32(place + 22, true);
    c.files.set(name, c.data.subarray(start, place));
  }
  need(c.files.size > 0, "not a zip");
  need(same(c.data, writeZip(c.files)), "the zip is not as the rule has it: stored, sorted, of 1980, nothing more");
});

function writeZip(files) {
  const bytesOf = (width, value) => Array.from({ length: width }, (_, place) => Math.floor(value / 256 ** place) % 256);
  const numbers = (widths, ...values) => join(values.map((value, field) => bytesOf(widths[field], value)));
  const body = [], directory = [];
  let offset = 0;
  for (const name of [...files.keys()].sort()) {
    const path = utf8(name), file = files.get(name), { length } = file;
    const both = numbers("2222244422", 20, 0, 0, 0, 0x21, crc32(file), length, length, path.length, 0);
    body.push(numbers("4", 0x04034b50), both, path, file);
    directory.push(numbers("42", 0x02014b50, 0x0314), both, numbers("22244", 0, 0, 0, 0o100644 * 65536, offset), path);
    offset += 30 + path.length + length;
  }
  const end = join(directory), { size } = files;
  return join([...body, end, numbers("42222442", 0x06054b50, 0, 0, size, size, end.length, offset, 0)]);
}

// A chain is the keys of one holder in their order: chain 0 the log's, then those of each approver.
check("keys", async (c) => {
  const read = async (name) => {
    const line = readText(fileOf(c, name), name);
    need(line.endsWith("\n"), `${name} does not end in a newline`);
    return readKey(line.slice(0, -1), name);
  };
  const readAll = async (name) => { // as far as there are numbers in the place of #
    const keys = [], next = () => name.replace("#", keys.length + 1);
    while (c.files.has(next())) keys.push(await read(next()));
    return keys;
  };
  c.log = await read("keys/log.vkey");
  c.chains = [[...(await readAll("keys/log-before-#.vkey")), c.log]];
  for (const first of await readAll("keys/approver-#.vkey")) {
    c.chains.push([first, ...(await readAll(`keys/approver-${c.chains.length}-after-#.vkey`))]);
  }
  c.chains.forEach((chain, number) => chain.forEach((key) => Object.assign(key, { chain: number })));
  c.keys = new Map(c.chains.flat().map((key) => [key.keyid, key]));
  const { length } = c.chains.flat(), publics = new Set(c.chains.flat().map((key) => hex(key.raw)));
  const files = [...c.files.keys()].filter((name) => name.startsWith("keys/"));
  need(files.length === length, "keys/ holds a key whose number has a gap before it, or what is none");
  need(c.keys.size === length && publics.size === length, "one key has two roles, or stands there twice");
  const isTrusted = !c.policy || c.chains[0].some((key) => c.policy.logs.includes(key.vkey));
  need(isTrusted, `the log key ${c.log.keyid} is not in the trust policy`);
});

// A manifest has one spelling, too: it is compared with the one of these files.
check("manifest signed over every file", async (c) => {
  const keys = new Map([[c.log.keyid, c.log]]), type = "application/vnd.domicile.manifest+json", files = [];
  const { payload } = await openEnvelope(fileOf(c, "manifest.json"), type, keys, "manifest.json");
  for (const path of [...c.files.keys()].filter((name) => name !== "manifest.json").sort()) {
    const bytes = c.files.get(path);
    files.push({ path, bytes: bytes.length, sha256: await sha256hex(bytes) });
  }
  const text = readText(payload, "manifest.json"), isIt = text === spell({ files, format: "urn:domicile:bundle/v1" });
  const odd = isIt ? null : files.find((file) => !text.includes(spell(file)));
  need(isIt, `manifest.json is not that of these files: ${odd?.path ?? "it lists more, or something else"}`);
});

check("no unknown file, fixed README", async (c) => {
  for (const name of c.files.keys()) need(KNOWN.some((form) => form.test(name)), `${name} does not belong in a bundle`);
  for (const name of ["plan.json", "log/checkpoint"]) fileOf(c, name);
  const digest = await sha256hex(fileOf(c, "README.txt"));
  need(digest === README, "README.txt is not the fixed text of this format; it could claim anything");
});

// ------------------------------------------------------------------------------------------------------------ the log
check("checkpoint of this log", async (c) => {
  const lines = "([^\\n]*)\\n([1-9][0-9]{0,9})\\n([^\\n]*)\\n", signature = "\u2014 [^\\0- +]+ [A-Za-z0-9+/=]+\\n";
  const bytes = c.files.get("log/checkpoint"), form = new RegExp(`^(${lines})\\n((?:${signature}){1,64})$`);
  const [, text, origin, size, root, signed] = form.exec(readText(bytes, "the checkpoint")) ?? [];
  need(signed && bytes.length <= LIMITS.note, "the checkpoint is not a note of three lines and signatures");
  const signatures = signed.split("\n").slice(0, -1).map((line) => {
    const [, name, base64] = line.split(" "), blob = readBase64(base64, "a signature of the checkpoint");
    need(blob.length > 4, "a signature of the checkpoint is too short");
    return { name, id: hex(blob.slice(0, 4)), bytes: blob.slice(4) };
  });
  const last = signatures.findLastIndex(({ name, id }) => name === c.log.name && id === c.log.id);
  need(last === 0, "the checkpoint is not signed by the log's key, first and once");
  need(await isSigned(c.log, utf8(text), signatures[0].bytes), "the signature of the checkpoint is wrong");
  need(origin === c.log.name, "the checkpoint is one of another log");
  [c.size, c.root] = [Number(size), readBase64(root, "the checkpoint's root")];
  need(c.size <= LIMITS.size && c.root.length === 32, "the checkpoint's size is too large, or its root no SHA-256");
  await checkCosignatures(c, text, signatures.slice(1));
});

/** A promise of the hash over entries `first` up to `end` (RFC 6962, 2.1); each is made once. */
function merkle(c, first, end) {
  if (end - first === 1) return c.hashes[first];
  const name = first * 2 * LIMITS.size + end, left = 2 ** (31 - Math.clz32(end - first - 1)); // half, or more
  const both = () => Promise.all([merkle(c, first, first + left), merkle(c, first + left, end)]);
  if (!c.nodes.has(name)) c.nodes.set(name, both().then((hashes) => sha256(join([[1], ...hashes]))));
  return c.nodes.get(name);
}

check("tiles and entries", async (c) => {
  const names = new Set(), three = (number) => String(number).padStart(3, "0");
  const tiles = (row, count) => Array.from({ length: Math.ceil(count / 256) }, (_, tile) => { // fewer than 1,000,000
    const width = Math.min(256, count - 256 * tile), high = tile < 1000 ? "" : `x${three(Math.floor(tile / 1000))}/`;
    const name = `log/tile/${row}/${high}${three(tile % 1000)}${width < 256 ? `.p/${width}` : ""}`;
    names.add(name);
    return { name, bytes: fileOf(c, name), first: 256 * tile, width };
  });
  for (const { name, bytes, width } of tiles("entries", c.size)) c.entries.push(...splitEntries(name, bytes, width));
  c.hashes = await Promise.all(c.entries.map((entry) => sha256(join([[0], entry]))));
  for (let level = 0, span = 1; span <= c.size; level++, span *= 256) { // a hash of this level is over `span` entries
    for (const { name, bytes, first, width } of tiles(level, Math.floor(c.size / span))) {
      const starts = Array.from({ length: width }, (_, place) => (first + place) * span);
      const hashes = await Promise.all(starts.map((start) => merkle(c, start, start + span)));
      need(same(bytes, join(hashes)), `${name} does not hold the hashes of the entries`);
    }
  }
  const extra = [...c.files.keys()].find((name) => name.startsWith("log/tile/") && !names.has(name));
  need(!extra, `${extra} is not a tile of a log of ${c.size} entries`);
});

/** Entries, each behind its length. */
function splitEntries(name, bytes, width) {
  const entries = [];
  for (let start = 2, end; start - 2 < bytes.length && entries.length <= width; start = end + 2) {
    end = start + bytes[start - 2] * 256 + bytes[start - 1]; // no number where one is missing
    need(end <= bytes.length, `${name} is cut off`);
    entries.push(bytes.subarray(start, end));
  }
  need(entries.length === width, `${name} does not hold ${width} entries`);
  return entries;
}

check("root of the tree", async (c) => {
  const root = await merkle(c, 0, c.size);
  need(same(root, c.root), "the entries are not those of the checkpoint: one was left out, added, moved or altered");
});

// --------------------------------------------------------------------------------------------------------- statements
const BEST = "erased-verified", WORST = "present"; // the verdicts, the best first
const VERDICTS = [BEST, "key-destroyed", "erased-unverified", "blocked-until", "held", "unknown", WORST];
const VERDICT = oneOf(...VERDICTS), PLACE = { country: TEXT, operator: TEXT }, SEEN = { stands: COUNT, root: HEX };
const COPY = { id: TEXT, store: TEXT, location: TEXT, kind: TEXT, dataset: maybe(TEXT), method: TEXT };
const SLICE = { id: TEXT, dataset: TEXT, home: TEXT, rows: COUNT, erase: { delete: COUNT, blank: COUNT } };
const SWEPT = { id: TEXT, method: TEXT, bytes: COUNT, hits: COUNT, residue: COUNT };
const COUNTED = { moved: COUNT, deleted: COUNT, blanked: COUNT, kept: COUNT };
const SHAPES = { // beside this, each names its plan
  "plan/v1": { programme: TEXT, engine: TEXT, config_sha256: HEX, made_at: TIME, deadline: maybe(DAY), homes: map(TEXT),
    locations: map(PLACE), approvals: { threshold: COUNT, of: [{ name: TEXT, vkey: TEXT }] }, slices: [SLICE],
    copies: [COPY], not_proven: [TEXT] },
  "transfer/v1": { home: TEXT, dataset: TEXT, slices: [{ id: TEXT, rows: COUNT, bytes: COUNT, digest: HEX }] },
  "cohort/v1": { number: COUNT, way: oneOf("home", "source"), subjects: map(COUNT), position: TEXT, fenced_at: TIME,
    wait_ms: COUNT, awaited_ms: COUNT, rows: COUNT },
  "freeze/v1": { position: TEXT, frozen_at: TIME, slices: [SLICE] },
  "cutover/v1": { position: TEXT, fenced_at: TIME, subjects: map(COUNT), fence: TEXT },
  "equality/v1": { position: TEXT, fenced: FLAG, differences: COUNT, strays: COUNT,
    slices: [{ id: TEXT, rows: COUNT, source: HEX, home: HEX }] },
  "approval/v1": { approver: TEXT, role: TEXT, scope: oneOf("erase"), equality: HEX, approved_at: TIME, ...SEEN },
  "clearance/v1": { equality: HEX, approvals: [HEX], slices: [TEXT], restore: { done_at: TIME, method: TEXT,
    homes: map({ slices: [{ id: TEXT, rows: COUNT, digest: HEX }] }) } },
  "erasure/v1": { phase: oneOf("intent", "outcome"), clearance: HEX, dataset: TEXT, home: TEXT, collateral: COUNT,
    emptied: [TEXT], slices: [{ id: TEXT, deleted: COUNT, blanked: COUNT, digest: HEX }] },
  "sweep/v1": { swept_at: TIME, tokens: { searched: COUNT, not_searchable: COUNT, canaries: COUNT }, copies: [SWEPT],
    rows: { datasets: COUNT, hits: COUNT } },
  "certificate/v1": { verdict: VERDICT, copies: [{ id: TEXT, verdict: VERDICT, why: TEXT, until: maybe(TIME) }],
    counts: map(map(COUNTED)), not_proven: [TEXT], issued_at: TIME },
  "receipts/v1": { clearance: HEX, cohort: COUNT, part: COUNT, home_since: TIME, counted_at: TIME, root: HEX,
    homes: map({ ...PLACE, subjects: COUNT }) },
  "key/v1": { what: oneOf("rotated", "revoked"), approver: maybe(TEXT), key: TEXT, new: maybe(TEXT), since: TIME,
    why: TEXT, ...SEEN },
  "finding/v1": { kind: TEXT, where: TEXT, count: COUNT, text: TEXT },
};
const ABOUT = { "approval/v1": "equality", "clearance/v1": "equality", "erasure/v1": "clearance" }; // else the plan

check("envelopes and signatures", async (c) => {
  for (const [index, entry] of c.entries.entries()) {
    c.envelopes.push(await openEnvelope(entry, "application/vnd.in-toto+json", c.keys, `entry ${index}`));
  }
});

// A statement is its predicate, and beside it its index, type, name, signer and its envelope's sha256.
check("statements in their shape", async (c) => {
  c.unread = new Set([...c.files.keys()].filter((name) => name.startsWith("detached/")));
  for (const [index, { payload, signer }] of c.envelopes.entries()) {
    const body = readJson(payload, `statement ${index}`);
    const type = String(body?.predicateType).replace("urn:domicile:", ""), name = `statement ${index} (${type})`;
    need(Object.hasOwn(SHAPES, type), `${name} is of a type that this checker does not know`);
    const predicate = await readPredicate(c, body.predicate, name), about = ABOUT[type] ?? "plan";
    need(fits(predicate, { plan: HEX, ...SHAPES[type] }), `${name} has not the shape of its type`);
    const frame = { _type: "https://in-toto.io/Statement/v1", predicateType: `urn:domicile:${type}`,
      subject: [{ name: about.replace("plan", "plan.json"), digest: { sha256: predicate[about] } }] };
    const isFramed = spell(body) === spell({ ...frame, predicate: body.predicate });
    need(isFramed, `${name} is about another subject, or is not an in-toto Statement v1`);
    const isApprovers = type === "approval/v1" || (type === "key/v1" && signer.chain !== 0);
    need(isApprovers === (signer.chain !== 0), `${name} is signed by the wrong kind of key`);
    const sha256 = await sha256hex(c.entries[index]);
    c.statements.push({ ...predicate, predicate, index, type, name, signer, sha256 });
    if (!c.bySha256.has(sha256)) c.bySha256.set(sha256, c.statements[index]);
  }
  for (const name of c.unread) throw new Refused(`${name} is named by no statement`);
});

/** A predicate, which lies beside the log if it is too long for an entry. */
async function readPredicate(c, value, where) {
  if (!fits(value, { detached: { sha256: HEX, bytes: COUNT } })) return value;
  const { sha256, bytes } = value.detached, name = `detached/${sha256}.json`, data = fileOf(c, name);
  const isIt = data.length === bytes && (await sha256hex(data)) === sha256;
  need(isIt && bytes > 32768, `${name} is not the predicate that ${where} names, or should stand there`);
  c.detached += bytes;
  need(c.detached <= LIMITS.detached, `${where}: too many statements name detached predicates`);
  c.unread.delete(name);
  return readJson(data, name);
}
