// Checks 10 to 17: the statements tell of a move and an erasure in the one order in which these may be done. Numbers in
// brackets are those of a check's rules in docs/formats.md.

const STEPS = ["cohort/v1", "freeze/v1"], MOVES = ["transfer/v1", "cutover/v1", "equality/v1"];
const SOURCES = ["live-rows", "objects"]; // kinds of copies that people's data leaves
const BACK = ["came back", "erased again", "objects came back"]; // findings: what was searched before them is void
const OF_KEYS = ["key to be destroyed", "key destroyed", "key came back"]; // findings, in their order
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
  const live = c.plan.copies.filter((copy) => copy.kind === "live-rows"); // of one dataset of the store; null: of all
  c.liveRows = new Set(live.map((copy) => spell([copy.store, copy.dataset])));
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
    const isFed = [...SOURCES, "derived-table"].includes(kind);
    need(!isFed || !c.homes.has(location), `the plan's copy ${id} is a source, or derived from one, and at a home`);
    need(kind !== "derived-table" || dataset !== null, `the plan's copy ${id} is a derived table, and of no dataset`);
  }
  const derived = new Set(copies.filter(({ kind }) => kind === "derived-table").map((copy) => copy.dataset));
  for (const { where, dataset, home, rows, erase } of partsOf(c, "plan/v1", "freeze/v1")) { // (3)
    need(c.homes.has(home), `${where} goes to a place that is no home`);
    const isOf = (one) => c.liveRows.has(spell([dataset.split(".")[0], one]));
    const isRows = dataset.includes(".") && [dataset, null].some(isOf);
    need(isRows || c.objectStores.has(dataset), `${where} is of rows or objects that are no copy of the plan`);
    need(erase.delete + erase.blank <= rows, `${where} erases more rows than it has`);
    need(!derived.has(dataset), `${where} is of a derived table, which is emptied whole`);
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
    need(c.homes.has(one.home), `${one.name} is of a place that is no home`);
    const { move } = one.before, isLast = one.phase === "intent" || move === c.move;
    need(move === one.cleared.compared && isLast, `${one.name} rests on an equality, and a move comes after it`);
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
  const went = new Set(), open = new Map(); // datasets of which something was erased, and of which rows came back (5)
  c.isErased = c.of("erasure/v1").some((one) => one.phase === "outcome" && one.slices.length > 0);
  for (const { name, type, phase, dataset, slices, kind, where, count } of c.of("erasure/v1", "finding/v1")) {
    if (type === "erasure/v1" && phase === "outcome" && slices.length > 0) went.add(dataset);
    if (kind !== BACK[0] && kind !== BACK[1]) continue;
    need(went.has(where), `${name}: rows of ${where} were never erased before`);
    need(kind === BACK[0] || count === 0 || count === open.get(where), `${name}: other rows of ${where} came back`);
    if (kind === BACK[0]) open.set(where, count);
    else open.delete(where);
  }
  c.stillBack = [...open.keys()];
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
