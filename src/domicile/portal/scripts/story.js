// Checks 10 to 24: the statements tell of a move and an erasure in the one order in which these may be done, and the
// certificate says nothing better than they do. Numbers in brackets are those of a check's rules in docs/formats.md.

const STEPS = ["cohort/v1", "freeze/v1"], MOVES = ["transfer/v1", "cutover/v1", "equality/v1"];
const SOURCES = ["live-rows", "objects"]; // kinds of copies that people's data leaves
const MAY_HOLD_RESIDUE = ["blocked-until", "held", WORST];
const IN_USE = [...SOURCES, "derived-table"]; // kinds of copies whose key nobody destroys
const BACK = ["came back", "erased again", "objects came back"]; // findings: what was searched before them is void
const OF_KEYS = ["key to be destroyed", "key destroyed", "key came back"]; // findings, in their order
const NONE = { deleted: 0, blanked: 0 }; // rows of a slice that no outcome tells of
const ids = (items) => items.map((item) => item.id);
const byId = (items) => new Map(items.map((item) => [item.id ?? item, item])); // a clearance lists ids alone

function needOnce(items, where) {
  const seen = new Set();
  for (const item of items) need(seen.size < seen.add(item).size, `${where}: ${item} stands there twice`);
}

/** Each slice that statements of these types speak of, with the statement; none stands in it twice. */
function* partsOf(c, ...types) {
  for (const one of c.of(...types)) {
    needOnce(ids(one.slices), one.name);
    for (const part of one.slices) yield { ...part, one, where: `${one.name}: slice ${part.id}` };
  }
}

/** The statement of that type and digest, which must stand before the one that names it. */
function standing(c, sha256, type, by) {
  const one = c.bySha256.get(sha256);
  need(one?.type === type && one.index < by.index, `${by.name} names a ${type} that does not stand before it`);
  return one;
}

/** What stands before each statement, and in the end: the slices, the last step, the fence since it, the last move. */
function readAlong(c) {
  let now = { slices: byId(c.plan.slices), step: c.plan, fence: null, move: null };
  for (const one of c.statements) {
    Object.assign(one, { before: now, parts: byId(one.slices ?? []) });
    if (MOVES.includes(one.type)) now = { ...now, move: one };
    if (one.type === "cutover/v1") now.fence = one;
    if (STEPS.includes(one.type)) Object.assign(now, { step: one, fence: null });
    if (one.type === "freeze/v1") now.slices = one.parts;
  }
  Object.assign(c, now, { isLive: now.step !== c.plan, homes: new Set(Object.values(c.plan.homes)) });
  const storesOf = (kind) => new Set(c.plan.copies.filter((copy) => copy.kind === kind).map((copy) => copy.store));
  [c.rowStores, c.objectStores] = SOURCES.map(storesOf);
}

check("plan", async (c) => {
  [c.plan] = c.statements;
  need(c.plan.type === "plan/v1" && c.of("plan/v1").length === 1, "the log does not begin with its one plan"); // (1)
  readAlong(c);
  const { copies, locations, approvals: { of, threshold } } = c.plan;
  const digest = await sha256hex(c.files.get("plan.json")), isPlace = (place) => Object.hasOwn(locations, place);
  for (const one of c.statements) need(one.plan === digest, `${one.name} is about another plan than plan.json`);
  needOnce(ids(copies), "the plan's copies"); // (2)
  need(copies.some(({ kind }) => SOURCES.includes(kind)), "the plan lists neither live rows nor objects");
  for (const store of c.rowStores) {
    const isOne = !c.objectStores.has(store) && !store.includes("."); // a dot parts a store from its datasets
    need(isOne, `the plan's store ${store} holds rows, and objects too or a dot in its name`);
  }
  need([...c.homes].every(isPlace), "the plan has a home that is no location");
  for (const { id, kind, store, dataset, location } of copies) {
    const isOwn = kind !== "objects" || (dataset === store && !store.includes("."));
    need(isOwn, `the plan's copy ${id} is of objects, and bears another dataset than its store's name`);
    need(isPlace(location), `the plan's copy ${id} is at no location`);
    need(!SOURCES.includes(kind) || !c.homes.has(location), `the plan's copy ${id} is a source, and at a home`);
  }
  for (const { where, dataset, home, rows, erase } of partsOf(c, "plan/v1", "freeze/v1")) { // (3)
    need(c.homes.has(home), `${where} goes to a place that is no home`);
    const isRows = dataset.includes(".") && c.rowStores.has(dataset.split(".")[0]);
    need(isRows || c.objectStores.has(dataset), `${where} is of a store whose rows or objects are no copy of the plan`);
    need(erase.delete + erase.blank <= rows, `${where} erases more rows than it has`);
  }
  need(!c.isLive || c.plan.slices.length === 0, "the plan has slices, although people went in cohorts"); // (4)
  needOnce(of.map((approver) => approver.name), "the plan's approvers"); // (5)
  const stated = of.map((approver) => approver.vkey), keys = c.chains.slice(1).map(([first]) => first.vkey);
  need(spell(stated) === spell(keys), "keys/ are not those of the plan's approvers");
  need(threshold >= 1 && threshold <= of.length, "the plan's number of approvals can't be met, or is none");
});

/** A slice of a list, which must be of the statement's dataset and home. */
function needPlanned(slices, { one, where, id }) {
  const slice = slices.get(id);
  need(slice?.dataset === one.dataset && slice.home === one.home, `${where} is not planned for that dataset and home`);
  return slice;
}

check("transfers", (c) => {
  for (const part of partsOf(c, "transfer/v1")) needPlanned(part.one.before.slices, part);
  const copied = new Map(), isAtOnce = (one) => one.type === "equality/v1" && one.fenced && !c.isLive; // rows, by slice
  for (const one of c.statements) {
    for (const { id, rows } of one.type === "transfer/v1" ? one.slices : []) copied.set(id, rows);
    const part = isAtOnce(one) ? c.plan.slices.find(({ id, rows }) => copied.get(id) !== rows) : null;
    need(!part, `slice ${part?.id} was not transferred whole before ${one.name}`);
  }
});

const areHomes = (c, places) => Object.keys(places).every((place) => c.homes.has(place));

check("fence", (c) => {
  const fences = c.of("cutover/v1");
  for (const { name, subjects, predicate, before: { slices } } of fences) {
    need(areHomes(c, subjects), `${name} is of people at no home`);
    need(c.isLive || spell(predicate) === spell(fences[0].predicate), `${name} is another fence than the first`);
    for (const { home, rows } of slices.values()) {
      need(rows === 0 || subjects[home] > 0, `${name} fences nobody of ${home}, where rows went`);
    }
  }
  for (const { name, fenced, before } of c.of("equality/v1")) need(!fenced || before.fence, `${name} has no fence`);
});

check("equality", (c) => {
  for (const { id, where, one } of partsOf(c, "equality/v1")) { // (1)
    need(one.before.slices.has(id), `${where} is not planned`);
  }
  for (const one of c.of("clearance/v1")) {
    one.compared = standing(c, one.equality, "equality/v1", one);
    const { name, index, fenced, differences, strays, parts } = one.compared, { step } = c;
    need(!c.isLive || step.type === "freeze/v1", `${one.name}: no freeze stands after ${step.name}`); // (3)
    need(step.index < index, `${one.name} rests on ${name}, which is from before ${step.name}`);
    need(fenced, `${name} was not made under the fence, but a clearance rests on it`); // (2)
    need(differences + strays === 0, `${name} counts differences or strays, but a clearance rests on it`);
    for (const { id, rows } of c.slices.values()) {
      const part = parts.get(id);
      need(part?.rows === rows, `${name} does not compare slice ${id}, or with other rows than planned`);
      need(part.source === part.home, `${name}: slice ${id} is not the same at home`);
    }
  }
});

/** A statement speaks of this log, as it was when it had so many entries, `least` of them or more. */
async function needSeen(c, { name, index, stands, root }, least) {
  const isPlace = stands >= least && stands <= index;
  need(isPlace && hex(await merkle(c, 0, stands)) === root, `${name} speaks of another log, or another place in it`);
}

check("approvals", async (c) => {
  const { of } = c.plan.approvals, last = c.of("clearance/v1").at(-1);
  const under = new Set(c.of("erasure/v1").map((one) => one.clearance));
  for (const one of c.of("approval/v1")) { // (1)
    need(of[one.signer.chain - 1].name === one.approver, `${one.name} is not signed by a key of its approver`);
    await needSeen(c, one, standing(c, one.equality, "equality/v1", one).index + 1);
  }
  for (const one of c.of("clearance/v1")) { // (2)
    needOnce(one.approvals, `the approvals of ${one.name}`);
    one.approved = one.approvals.map((sha256) => standing(c, sha256, "approval/v1", one));
    for (const { equality, name } of one.approved) need(equality === one.equality, `${name} approves another equality`);
    needApproved(c, one.approved, one.name, one === last || under.has(one.sha256));
  }
});

function needApproved(c, approvals, where, isCounted = true) {
  const { threshold } = c.plan.approvals, { size } = new Set(approvals.map(({ approver }) => approver));
  need(size >= threshold, `${where} has ${size} approvals, the plan wants ${threshold}`);
  if (!isCounted) return; // neither the last clearance nor one under which something was erased
  needTrusted(c, approvals, where);
  for (const vkey of c.policy?.must ?? []) {
    need(countSigned(c, approvals, [vkey]) > 0, `${where} is not approved by ${vkey}, as the policy wants`);
  }
}

/** How many people signed these, each with a key of one of these lines, or with one behind that in its chain. */
function countSigned(c, statements, vkeys) {
  const upTo = ({ signer }) => c.chains[signer.chain].slice(0, c.chains[signer.chain].indexOf(signer) + 1);
  const trusted = statements.filter((one) => upTo(one).some((key) => vkeys.includes(key.vkey)));
  return new Set(trusted.map((one) => one.signer.chain)).size;
}

function needTrusted(c, statements, where) {
  const { approvers = [], threshold = 0 } = c.policy ?? {}, count = countSigned(c, statements, approvers);
  need(count >= threshold, `${where} has ${count} trusted approvals, the policy wants ${threshold}`);
}

check("clearance and restore", (c) => {
  for (const { name, slices, compared, restore } of c.of("clearance/v1")) {
    needOnce(slices, name); // (1)
    need(slices.length > 0, `${name} clears nothing`);
    const restored = new Set(); // (2)
    for (const [home, report] of Object.entries(restore.homes)) for (const { id, rows, digest } of report.slices) {
      need(c.slices.get(id)?.home === home, `${name} restores slice ${id} at a place that is not its home`);
      need(restored.size < restored.add(id).size, `${name} restores slice ${id} twice`);
      const equal = compared.parts.get(id);
      need(rows === equal.rows && digest === equal.home, `${name}: the restore of slice ${id} differs from home`);
    }
    for (const id of slices) {
      need(c.slices.has(id), `${name} clears slice ${id}, which is not planned`);
      const isRestored = restored.has(id) || c.objectStores.has(c.slices.get(id).dataset);
      need(isRestored, `${name}: slice ${id} was not restored at home`);
    }
  }
});

// Left in the case: of each slice the part of its last outcome, which tells how many rows are gone.
check("erasures", (c) => {
  const derived = byId(c.plan.copies.filter((copy) => copy.kind === "derived-table")), emptied = new Set();
  for (const one of c.of("erasure/v1")) {
    one.cleared = standing(c, one.clearance, "clearance/v1", one); // (1)
    need(one.collateral === 0, `${one.name} touched rows outside the closure`);
    need(one.slices.length + one.emptied.length > 0, `${one.name} erases nothing`);
    const { move } = one.before, isLast = one.phase === "intent" || move === c.move;
    need(move.sha256 === one.cleared.equality && isLast, `${one.name} rests on an equality, and a move comes after it`);
    for (const id of one.emptied) { // (2)
      if (one.phase === "intent") emptied.add(`${one.clearance} ${id}`);
      const isTold = emptied.has(`${one.clearance} ${id}`);
      need(derived.has(id) && isTold, `${one.name} empties ${id}, unannounced or no derived table`);
    }
  }
  const announced = new Map();
  c.gone = new Map();
  for (const part of partsOf(c, "erasure/v1")) { // (3)
    const { one: { cleared, phase, dataset }, where, id, deleted, blanked, digest } = part;
    const { erase } = needPlanned(c.slices, part), key = `${cleared.sha256} ${id}`;
    const isCleared = cleared.parts.has(id) && cleared.compared.parts.get(id)?.home === digest;
    need(isCleared, `${where} was not cleared, or is not what was proven equal`);
    need(deleted <= erase.delete && blanked <= erase.blank, `${where} loses more rows than planned`);
    if (phase === "intent") { // (4)
      need(deleted + blanked > 0 && !c.gone.has(id), `${where} is announced for nothing, or after its outcome`);
      announced.set(key, part);
      continue;
    }
    const most = announced.get(key), isWithin = deleted <= most?.deleted && blanked <= most?.blanked;
    need(isWithin, `${where} was not announced, or loses more rows than that`);
    const old = c.gone.get(id), isMore = deleted > old?.deleted && blanked === old.blanked; // locked ones go later
    need(!old || (isMore && c.objectStores.has(dataset)), `${where} was erased twice`);
    c.gone.set(id, part);
  }
  const went = new Set(); // datasets of which something was erased by then (5)
  for (const one of c.of("erasure/v1", "finding/v1")) {
    if (one.phase === "outcome" && one.slices.length > 0) went.add(one.dataset);
    need(one.kind !== BACK[1] || went.has(one.where), `${one.name}: rows of ${one.where} were never erased before`);
  }
});

check("sweeps", (c) => {
  const known = new Set(ids(c.plan.copies));
  for (const { name, copies, rows } of c.of("sweep/v1")) {
    needOnce(ids(copies), name);
    for (const { id, hits, residue } of copies) {
      need(known.has(id), `${name} searched ${id}, which is not planned`);
      need(residue <= hits, `${name}: copy ${id} has more residue than hits`);
    }
    need(rows.datasets > 0 || rows.hits === 0, `${name} found rows by query, and asked of no dataset`);
  }
  for (const { name, kind, where } of c.of("finding/v1")) {
    const planned = OF_KEYS.includes(kind) ? known : kind === BACK[2] ? c.objectStores : null;
    need(!planned || planned.has(where), `${name}: ${where} is not planned`);
  }
});

check("certificate", (c) => {
  c.certificate = c.statements.at(-1);
  need(c.certificate.type === "certificate/v1", "the last statement is no certificate: the run is not finished");
  need(same(fileOf(c, "certificate.dsse.json"), c.entries.at(-1)), "certificate.dsse.json is not that of the log");
});

check("verdicts", (c) => {
  const { copies, verdict: whole, issued_at: issued } = c.certificate;
  const [judged, listed] = [copies, c.plan.copies].map((list) => spell(ids(list).sort()));
  need(judged === listed, "the certificate does not judge each planned copy once, and no other"); // (1)
  const erasures = c.of("erasure/v1"), sweeps = c.of("sweep/v1"), last = sweeps.at(-1); // (2)
  const [back, ofKeys] = [BACK, OF_KEYS].map((kinds) => c.of("finding/v1").filter((one) => kinds.includes(one.kind)));
  const isDone = erasures.some((one) => one.phase === "outcome");
  const holds = isDone && [...erasures, ...back].every((one) => one.index < last?.index);
  const isLost = ({ dataset, erase }) => erase.delete + erase.blank > 0 && !c.objectStores.has(dataset);
  const { size } = new Set([...c.slices.values()].filter(isLost).map((slice) => slice.dataset)); // to be asked for rows
  const isSearch = ({ tokens, copies: read }) => tokens.searched > 0 && read.some((copy) => copy.bytes > 0);
  const isRead = holds && isSearch(last) && last.rows.datasets >= size;
  const seen = sweeps.flatMap((sweep) => {
    const isOne = isSearch(sweep);
    return sweep.copies.filter(({ residue }) => isOne || residue > 0).map((copy) => ({ ...copy, sweep }));
  });
  const looks = byId(seen), newest = seen.at(-1)?.sweep;
  const isOfRows = ({ dataset, emptied }) => !c.objectStores.has(dataset) || emptied.length > 0;
  const rowsWent = erasures.filter(isOfRows), isGoneFor = rowsWent.some((one) => one.phase === "outcome");
  const ofRows = isGoneFor ? rowsWent.at(-1).index : Infinity;
  const planned = byId(c.plan.copies), ofObjects = back.filter(({ kind }) => kind === BACK[2]);
  const backs = new Map(ofObjects.map(({ where, index }) => [where, index])); // by store, when objects came back last
  for (const { id, verdict, until } of copies) { // (3)
    const where = `copy ${id} is called ${verdict}`, { sweep, residue = 0, hits } = looks.get(id) ?? {};
    const { kind, store } = planned.get(id), isInUse = IN_USE.includes(kind);
    const isTold = MAY_HOLD_RESIDUE.includes(verdict);
    need((until !== null) === (verdict === "blocked-until"), `${where}: a date belongs to blocked-until alone`);
    need(until === null || until > issued, `${where}, and ${until} is over`);
    const mayHold = isTold || verdict === "key-destroyed" || (verdict === "unknown" && sweep !== newest && !isInUse);
    need(residue === 0 || mayHold, `${where}, but holds residue`);
    const isSettled = kind !== "objects" || (backs.get(store) ?? -1) < (sweep?.index ?? 0);
    need(isSettled || isTold || verdict === "unknown", `${where}, but objects came back`);
    const isClean = isRead && sweep === last && hits === 0;
    need(verdict !== BEST || isClean, `${where}, but was not searched after the last erasure, or something was found`);
    const since = Math.max(ofRows, residue && sweep.index), keys = ofKeys.filter((one) => one.where === id);
    const isBack = keys.some((one) => one.kind === OF_KEYS[2]);
    need(!isBack || isTold || verdict === "unknown", `${where}, but its key came back`);
    const isGone = !isInUse && isKeyDestroyed(keys.filter((one) => one.index > since));
    need(verdict !== "key-destroyed" || isGone, `${where}, but the log doesn't tell of that`);
  }
  const worst = VERDICTS.findLast((verdict) => copies.some((copy) => copy.verdict === verdict)); // (4)
  need(whole === worst, `the certificate says ${whole}, its worst copy is ${worst}`);
  needNothingLeft(c, sweeps, back);
  const word = isDone ? null : copies.find(({ verdict }) => verdict === "erased-unverified");
  need(!word, `copy ${word?.id} is called erased-unverified, and nothing was erased`); // (3)
});

/** A key was announced, then destroyed. */
function isKeyDestroyed(told) {
  return told.length === 2 && told.every((one, place) => one.kind === OF_KEYS[place] && one.text === told[0].text);
}

function needNothingLeft(c, sweeps, back) {
  const but = "but no copy of live rows is called present", verdicts = byId(c.certificate.copies);
  const those = (isIt) => c.plan.copies.filter((copy) => isIt(copy, verdicts.get(copy.id).verdict));
  const stores = (isIt) => new Set(those(isIt).map((copy) => copy.store));
  const live = those(({ kind }, verdict) => verdict === WORST && kind === "live-rows"), isPresent = live.length > 0;
  const present = new Set(live.map(({ store, dataset }) => spell([store, dataset]))); // null: of each in the store
  const holding = stores((_, verdict) => MAY_HOLD_RESIDUE.includes(verdict));
  const isToldOf = (dataset, [store] = dataset.split(".")) => (c.objectStores.has(dataset) ? holding.has(store)
    : [dataset, null].some((one) => present.has(spell([store, one]))));
  const mayGo = isPresent || !c.isLive || c.step.type === "freeze/v1"; // (5)
  need(mayGo, `people went in cohorts after the last freeze, ${but}`);
  let asked = 0, found = 0; // what was found stands until a later sweep asks of as many datasets
  for (const { rows } of sweeps) {
    found = rows.hits + (rows.datasets < asked ? found : 0);
    asked = Math.max(asked, rows.datasets);
  }
  need(isPresent || found === 0, `rows were found by query, ${but}`);
  const open = new Map(); // by dataset, rows that came back and were not erased again, all of them or none left
  for (const { kind, where, count } of back) {
    if (kind === BACK[0]) open.set(where, count);
    if (kind === BACK[1] && [0, open.get(where)].includes(count)) open.delete(where);
  }
  for (const dataset of open.keys()) need(isToldOf(dataset), `rows of ${dataset} came back, but no copy of it says so`);
  for (const { id, dataset, erase } of c.slices.values()) {
    const { deleted, blanked } = c.gone.get(id) ?? NONE, isGone = deleted === erase.delete && blanked === erase.blank;
    need(isGone || isToldOf(dataset), `slice ${id} is not erased as planned, but no copy of ${dataset} says so`); // (6)
  }
}

check("counts", (c) => {
  const equality = c.of("equality/v1").findLast((one) => one.fenced && one.index > c.step.index);
  const counts = Object.create(null); // so that no name in it means more than itself
  for (const { id, dataset, home, rows } of c.slices.values()) {
    const part = equality?.parts.get(id);
    const row = ((counts[dataset] ??= Object.create(null))[home] ??= { moved: 0, deleted: 0, blanked: 0, kept: 0 });
    const { deleted, blanked } = c.gone.get(id) ?? NONE;
    row.moved += part?.rows === rows && part.source === part.home ? rows : 0;
    row.deleted += deleted;
    row.blanked += blanked;
    row.kept = row.moved - row.deleted - row.blanked;
  }
  need(spell(c.certificate.counts) === spell(counts), "the certificate's counts are not those of the statements");
  const open = new Set(c.certificate.not_proven);
  for (const line of c.plan.not_proven) need(open.has(line), `the certificate leaves out what is not proven: ${line}`);
});

check("times", (c) => {
  let latest = "";
  for (const one of c.statements) {
    const clocks = [one.made_at, one.fenced_at, one.frozen_at, one.restore?.done_at, one.counted_at, one.swept_at];
    const now = [...clocks, one.issued_at].find(Boolean) ?? latest; // of one spelling: in the order of texts
    need(latest <= now, `${one.name} is dated before one it follows`);
    latest = now;
  }
});

/** People by home, a home of nobody left out, as one text that can be compared. */
function people(all) {
  const sum = new Map(), counts = all.flatMap(Object.entries).map(([home, one]) => [home, one.subjects ?? one]);
  for (const [home, count] of counts) if (count > 0) sum.set(home, (sum.get(home) ?? 0) + count);
  return JSON.stringify([...sum].sort(([a], [b]) => byCodePoint(a, b)));
}

check("cohorts", (c) => {
  const inside = new Map(); // cohorts that are at home, and their people
  for (const one of c.isLive ? c.of("cohort/v1", "cutover/v1") : []) {
    const { name, number, way, subjects } = one, isFence = one.type === "cutover/v1";
    const others = isFence ? [...inside.values()] : [inside.get(number) ?? subjects];
    need(people([subjects]) === people(others), `${name} is of other people than those who are at home`);
    if (isFence) continue;
    need(areHomes(c, subjects), `${name} is of people at no home`);
    const mayGo = number > 0 && inside.has(number) === (way === "source");
    need(mayGo, `${name}: cohort ${number} has no number, goes home twice, or goes back and is not at home`);
    if (way === "home") inside.set(number, subjects);
    else inside.delete(number);
  }
});

check("receipts", (c) => {
  const went = new Map(); // by number the cohorts that are at home; all people of a move at once under 0
  const stated = new Map(), erasure = c.of("erasure/v1")[0]?.index ?? Infinity; // by cohort the people of each part
  needOnce(c.of("receipts/v1").map((one) => one.root), "the roots of receipts"); // (4)
  for (const one of c.of("receipts/v1", "cohort/v1", "cutover/v1")) {
    const { type, name, cohort, part, homes } = one;
    if (type === "cohort/v1" && one.way === "source") went.delete(one.number);
    else if (type === "cohort/v1" || (type === "cutover/v1" && !c.isLive)) went.set(one.number ?? 0, one);
    if (type !== "receipts/v1") continue;
    const { name: under, equality, parts } = standing(c, one.clearance, "clearance/v1", one); // (1)
    need(one.before.move.sha256 === equality, `${name} rests on ${under}, and a move comes after its equality`);
    const isTheirs = ({ home, erase }) => Object.hasOwn(homes, home) && erase.delete + erase.blank > 0;
    const left = [...c.slices.values()].find((slice) => isTheirs(slice) && !parts.has(slice.id));
    need(!left, `${name} rests on a clearance that leaves out slice ${left?.id} of these homes`);
    need(one.index < erasure, `${name} stands after an erasure, when not everything was there any more`);
    for (const [home, { country, operator }] of Object.entries(homes)) { // (2)
      const own = c.homes.has(home) ? c.plan.locations[home] : {};
      need(own.country === country && own.operator === operator, `${name}: ${home} is no home, or is elsewhere`);
    }
    const since = went.get(cohort)?.fenced_at; // (3)
    need(since === one.home_since, `${name} is of people who are not at home, or went at another time`);
    stated.set(cohort, [...(stated.get(cohort) ?? []), homes]);
    need(part === stated.get(cohort).length, `${name} is not of the part that follows`); // (4)
  }
  for (const [cohort, { subjects }] of stated.size ? went : []) {
    const isAll = people(stated.get(cohort) ?? []) === people([subjects]);
    need(isAll, `the receipts of cohort ${cohort} are not as many as its people, by home`);
  }
});

check("keys in force", async (c) => {
  const said = (one) => (one?.type === "key/v1" ? spell(one.predicate) : null);
  const turns = c.chains.map(() => 0); // which key of each chain is in force
  const lost = [], needed = [];
  for (let start = 0, end; start < c.statements.length; start = end) {
    const first = c.statements[start], change = said(first);
    end = start + 1; // statements in a row that say the same of a key are votes for one change
    while (change !== null && said(c.statements[end]) === change) end++;
    const votes = c.statements.slice(start, end);
    for (const { name, signer } of votes) { // (1)
      need(c.chains[signer.chain][turns[signer.chain]] === signer, `${name}: ${signer.keyid} was not in force there`);
    }
    if (change === null) continue;
    const chain = await needChange(c, votes, turns);
    if (first.signer.chain !== chain) needed.push(...votes);
    if (first.what === "revoked") lost.push({ chain, from: first.stands, to: first.index });
    turns[chain]++;
  }
  const unused = c.chains.find((chain, number) => turns[number] < chain.length - 1)?.at(-1); // (5)
  need(!unused, `no statement hands over to ${unused?.keyid}, which is in keys/`);
  const isKept = ({ index, signer }) => // (6)
    !lost.some(({ chain, from, to }) => chain === signer.chain && from <= index && index < to);
  for (const one of needed) need(isKept(one), `${one.name} is needed, and its key was lost by then`);
  for (const { approved, name } of new Set(c.of("erasure/v1").map((one) => one.cleared))) {
    needApproved(c, approved.filter(isKept), `${name}, without what a lost key signed,`);
  }
});

/** The chain whose key changes: from the key in force to the next one, in this log, with authority. */
async function needChange(c, votes, turns) {
  const [{ name, index, what, approver, key, new: next }] = votes, { of, threshold } = c.plan.approvals;
  const chain = [null, ...of.map((one) => one.name)].indexOf(approver); // (2)
  need(chain >= 0, `${name} is about nobody whom the plan names`);
  const [now, following] = c.chains[chain].slice(turns[chain]);
  need(now?.vkey === key, `${name}: that key was not in force`);
  need((following?.vkey ?? null) === next, `${name}: the next key in keys/ is another than it names`);
  need(chain !== 0 || !following || now.name === following.name, `${name}: a log keeps its name`);
  await needSeen(c, votes[0], chain === 0 ? index : 1); // (3)
  const signed = new Set(votes.map((one) => one.signer.chain)); // (4)
  if (signed.has(chain)) {
    const may = what === "rotated" ? next !== null : next === null && chain !== 0;
    need(may && votes.length === 1, `${name}: its own key may rotate, or be given up, and no more`);
    return chain;
  }
  need(what === "revoked" && !signed.has(0) && (next !== null || chain !== 0), `${name} is signed by the wrong ones`);
  const isCounted = signed.size === votes.length && signed.size === threshold;
  need(isCounted, `${name} is signed by ${signed.size} approvers, ${threshold} are needed, each once`);
  needTrusted(c, votes, name);
  const isAlone = c.policy?.threshold === 0 && chain === 0; // the log's key alone is trusted, and nobody's vote
  const isAhead = c.chains[0].slice(turns[0] + 1).some((one) => c.policy?.logs.includes(one.vkey));
  need(!isAlone || isAhead, `${name} replaces the log's key by votes that nobody trusts`);
  return chain;
}

// --------------------------------------------------------------------------------------------------------- the answer
/**
 * Check a bundle. `policy` is what readPolicy returned, or null: then the keys are the bundle's own, as the page says.
 * The answer's `checks` say of each that was made whether it passed. Its `state` is "accepted", "refused" (at the last
 * of them, or, if that passed, by what the policy demands) or "unchecked" (this browser, or program, could not tell).
 * What could not be checked is never accepted.
 */
async function audit(data, policy, now = Date.now()) {
  const c = { data, policy, files: new Map(), nodes: new Map(), bySha256: new Map(), detached: 0 }, checks = [];
  Object.assign(c, { entries: [], envelopes: [], statements: [], times: new Map() });
  c.of = (...types) => c.statements.filter((one) => types.includes(one.type));
  try {
    await requireCrypto();
    for (const { make } of CHECKS) {
      checks.push(false);
      await make(c);
      checks[checks.length - 1] = true;
    }
    if (policy) needDemanded(c, now);
  } catch (error) {
    if (error instanceof Refused) return { state: "refused", checks, reason: error.message };
    const reason = error instanceof Unable ? error.message : `this checker failed (${error.name}); use domicile-audit`;
    return { state: "unchecked", checks, reason };
  }
  const { verdict, issued_at: issued, plan, sha256: certificate } = c.certificate;
  return { state: "accepted", checks, reason: null, verdict, issued, plan, certificate, cosigned: c.cosigned };
}
