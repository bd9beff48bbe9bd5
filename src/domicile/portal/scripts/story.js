// The second checker goes on: checks 10 to 22 (people.js has 23 and 24), the rules of docs/formats.md over the statements of a log, and `audit`.
"use strict";

/** What stands under an id or a digest, or nothing. */
const byId = (items) => new Map(items.map((item) => [item.id, item]));

function needOnce(items, where) {
  const seen = new Set();
  for (const item of items) {
    need(!seen.has(item), `${where}: ${item} stands there twice`);
    seen.add(item);
  }
}

/** What later checks ask again and again, found out once. */
function prepare(c) {
  const isStep = (one) => one.kind === "cohort/v1" || one.kind === "freeze/v1";
  c.of = (kind) => c.statements.filter((one) => one.kind === kind);
  c.plan = c.statements[0].p;
  c.live = c.statements.some(isStep);
  c.lastStep = c.statements.findLast(isStep) ?? c.statements[0];
  c.homes = new Set(Object.values(c.plan.homes));
  c.objectStores = new Set(c.plan.copies.filter((copy) => copy.kind === "objects").map((copy) => copy.store));
  let named = byId(c.plan.slices);
  for (const one of c.statements) {
    one.slices = named; // those that are named before this statement
    if (one.kind === "freeze/v1") named = byId(one.p.slices);
  }
  c.slices = named;
}

/** The statement of that type and digest, which must stand before the one that names it. */
function standing(c, sha256, kind, by) {
  const one = c.statements[c.places.get(sha256) ?? by.index];
  need(one.index < by.index && one.kind === kind, `${by.name} names a ${kind} that does not stand before it in the log`);
  return one;
}

async function checkPlan(c) {
  need(c.statements[0].kind === "plan/v1", "the log does not begin with a plan");
  prepare(c);
  const { plan } = c;
  need(c.of("plan/v1").length === 1, "the log holds more than one plan");
  const digest = await sha256hex(c.files.get("plan.json"));
  need(plan.plan === digest, "plan.json is not the plan that was stated");
  for (const one of c.statements) need(one.p.plan === digest, `${one.name} is about another plan`);
  needOnce(plan.copies.map((copy) => copy.id), "the plan's copies");
  need(plan.copies.length > 0, "the plan lists no copy at all, so nothing could be judged");
  for (const home of c.homes) need(Object.hasOwn(plan.locations, home), "the plan has a home that is no location");
  for (const copy of plan.copies) {
    const own = copy.kind !== "objects" || (copy.dataset === copy.store && !copy.store.includes("."));
    need(own, `the plan's copy ${copy.id} is of objects, and bears another dataset than its store's name`);
    need(Object.hasOwn(plan.locations, copy.location), `the plan's copy ${copy.id} is at no location`);
  }
  for (const [where, slices] of [["the plan", plan.slices], ...c.of("freeze/v1").map((one) => [one.name, one.p.slices])]) {
    needOnce(slices.map((slice) => slice.id), `the slices of ${where}`);
    for (const slice of slices) {
      need(c.homes.has(slice.home), `${where}: slice ${slice.id} goes to a place that is no home`);
      need(slice.erase.delete + slice.erase.blank <= slice.rows, `${where}: slice ${slice.id} erases more rows than it has`);
    }
  }
  need(!c.live || plan.slices.length === 0, "the plan has slices of its own, although people went in cohorts");
  const { of, threshold } = plan.approvals;
  needOnce(of.map((approver) => approver.name), "the plan's approvers");
  const stated = spell(of.map((approver) => approver.vkey));
  need(stated === spell([...c.approvers.values()].map((key) => key.vkey)), "keys/ are not those of the plan's approvers");
  need(threshold >= 1 && threshold <= of.length, "the plan's number of approvals can't be met, or is none");
  c.numberOf = new Map(of.map((approver, place) => [approver.name, place + 1]));
}

function needPlanned(slices, one, id) {
  const planned = slices.get(id);
  need(planned, `${one.name} names a slice that is not planned`);
  need(planned.dataset === one.p.dataset && planned.home === one.p.home, `${one.name}: slice ${id} is of another dataset or home`);
}

function checkTransfers(c) {
  const copied = new Map();
  for (const one of c.statements) {
    if (one.kind === "transfer/v1") {
      for (const part of one.p.slices) {
        needPlanned(one.slices, one, part.id);
        copied.set(part.id, part.rows);
      }
      needOnce(one.p.slices.map((part) => part.id), one.name);
    }
    if (one.kind === "equality/v1" && one.p.fenced && !c.live) {
      for (const { id, rows } of c.plan.slices) need(copied.get(id) === rows, `slice ${id} was not transferred whole before ${one.name}`);
    }
  }
}

function checkFence(c) {
  let fenced = false;
  for (const one of c.statements) {
    if (one.kind === "cohort/v1" || one.kind === "freeze/v1") fenced = false;
    if (one.kind === "cutover/v1") {
      need(Object.keys(one.p.subjects).every((home) => c.homes.has(home)), `${one.name} fences an unplanned home`);
      fenced = true;
    }
    if (one.kind === "equality/v1" && one.p.fenced) need(fenced, `${one.name} claims a fence that was not put up before it`);
  }
}

function checkEqualities(c) {
  for (const one of c.of("equality/v1")) {
    needOnce(one.p.slices.map((part) => part.id), one.name);
    for (const { id } of one.p.slices) need((c.live ? one.slices : c.slices).has(id), `${one.name} compares a slice that is not planned`);
  }
  let last = null; // the last cohort or freeze
  for (const one of c.statements) {
    if (one.kind === "cohort/v1" || one.kind === "freeze/v1") last = one;
    if (one.kind !== "clearance/v1") continue;
    const equality = standing(c, one.p.equality, "equality/v1", one);
    if (c.live) {
      need(last?.kind === "freeze/v1", `${one.name}: no freeze stands, since a cohort went after it or there is none`);
      need(last.index < equality.index, `${one.name} rests on an equality from before the last freeze`);
    }
    const { fenced, differences, strays } = equality.p;
    need(fenced, `${equality.name} was not made under the fence, but a clearance rests on it`);
    need(differences === 0 && strays === 0, `${equality.name} counts differences or strays, but a clearance rests on it`);
    const parts = byId(equality.p.slices);
    for (const { id, rows } of c.slices.values()) {
      need(parts.has(id), `${equality.name} does not compare slice ${id}`);
      need(parts.get(id).rows === rows, `${equality.name}: slice ${id} has other rows than planned`);
      need(parts.get(id).source === parts.get(id).home, `${equality.name}: slice ${id} is not the same at home`);
    }
  }
}

function checkApprovals(c) {
  for (const one of c.of("approval/v1")) {
    need(c.numberOf.has(one.p.approver), `${one.name} is by somebody the plan does not name`);
    need(c.numberOf.get(one.p.approver) === c.holders.get(one.keyid), `${one.name} is signed with another approver's key`);
    standing(c, one.p.equality, "equality/v1", one);
  }
  for (const one of c.of("clearance/v1")) {
    needOnce(one.p.approvals, `the approvals of ${one.name}`);
    const approvals = one.p.approvals.map((sha256) => standing(c, sha256, "approval/v1", one));
    for (const approval of approvals) {
      need(approval.p.equality === one.p.equality, `${approval.name} approves another equality than that of ${one.name}`);
    }
    const people = new Set(approvals.map((approval) => approval.p.approver));
    const wanted = c.plan.approvals.threshold;
    need(people.size >= wanted, `${one.name} has ${people.size} approvals, the plan wants ${wanted}`);
    if (!c.policy?.threshold) continue;
    const trusted = trustedSigners(c, approvals);
    need(trusted >= c.policy.threshold, `${one.name} has ${trusted} trusted approvals, the policy wants ${c.policy.threshold}`);
  }
}

function checkClearances(c) {
  for (const one of c.of("clearance/v1")) {
    need(c.lastStep.index < one.index, `${c.lastStep.name} stands after a clearance, and there is no way back then`);
    needOnce(one.p.slices, one.name);
    need(one.p.slices.length > 0, `${one.name} clears nothing`);
    for (const id of one.p.slices) need(c.slices.has(id), `${one.name} clears a slice that is not planned`);
    const equal = byId(standing(c, one.p.equality, "equality/v1", one).p.slices);
    const restored = new Map();
    for (const [home, report] of Object.entries(one.p.restore.homes)) {
      for (const part of report.slices) {
        need(c.slices.get(part.id)?.home === home, `${one.name} restores slice ${part.id} at a place that is not its home`);
        need(!restored.has(part.id), `${one.name} restores slice ${part.id} twice`);
        restored.set(part.id, part);
      }
    }
    for (const id of one.p.slices) {
      if (c.objectStores.has(c.slices.get(id).dataset)) continue; // no restore is asked for objects
      need(restored.has(id), `${one.name}: slice ${id} was not restored at home`);
      const { rows, digest } = restored.get(id);
      need(rows === equal.get(id).rows && digest === equal.get(id).home, `${one.name}: the restore of slice ${id} differs from home`);
    }
  }
}

function checkErasures(c) {
  const derived = new Set(c.plan.copies.filter((copy) => copy.kind === "derived-table").map((copy) => copy.id));
  const intents = new Map(), done = new Map(), announced = new Set();
  for (const one of c.of("erasure/v1")) {
    const clearance = standing(c, one.p.clearance, "clearance/v1", one);
    clearance.cleared ??= clearedBy(c, clearance);
    const isIntent = one.p.phase === "intent";
    need(one.p.collateral === 0, `${one.name} touched rows outside the closure`);
    needOnce(one.p.slices.map((part) => part.id), one.name);
    for (const id of one.p.emptied) {
      need(derived.has(id), `${one.name}: ${id} is emptied, and is no derived table of the plan`);
      if (isIntent) announced.add(id);
      need(announced.has(id), `${one.name}: the emptying of ${id} was not announced`);
    }
    for (const part of one.p.slices) {
      const { id, deleted, blanked, digest } = part, key = `${clearance.sha256} ${id}`;
      needPlanned(c.slices, one, id);
      need(clearance.cleared.has(id), `${one.name}: slice ${id} was not cleared`);
      need(digest === clearance.cleared.get(id), `${one.name}: slice ${id} is not what was proven equal`);
      const { erase } = c.slices.get(id);
      need(deleted <= erase.delete && blanked <= erase.blank, `${one.name}: slice ${id} loses more rows than planned`);
      if (isIntent) {
        intents.set(key, part);
        continue;
      }
      const intent = intents.get(key);
      need(intent, `${one.name}: the erasure of slice ${id} was not announced`);
      const later = c.objectStores.has(one.p.dataset) && deleted > (done.get(id) ?? 0); // versions whose lock is over
      need(!done.has(id) || later, `${one.name}: slice ${id} was erased twice`);
      need(deleted <= intent.deleted && blanked <= intent.blanked, `${one.name}: more was erased of slice ${id} than announced`);
      done.set(id, deleted);
    }
  }
}

/** The digests of what a clearance clears, by id. */
function clearedBy(c, clearance) {
  const equal = byId(standing(c, clearance.p.equality, "equality/v1", clearance).p.slices);
  return new Map(clearance.p.slices.filter((id) => equal.has(id)).map((id) => [id, equal.get(id).home]));
}

function checkSweeps(c) {
  const known = new Set(c.plan.copies.map((copy) => copy.id));
  for (const one of c.of("sweep/v1")) {
    needOnce(one.p.copies.map((copy) => copy.id), one.name);
    for (const { id } of one.p.copies) need(known.has(id), `${one.name} searched a copy that is not planned`);
    for (const { id, hits, residue } of one.p.copies) need(residue <= hits, `${one.name}: copy ${id} has more residue than hits`);
  }
}

function checkCertificate(c) {
  const file = c.files.get("certificate.dsse.json"), last = c.statements.at(-1);
  need(c.of("certificate/v1").length > 0, "no certificate: the run is not finished");
  need(last.kind === "certificate/v1", "the certificate is not the last statement; it may no longer hold");
  need(file, "certificate.dsse.json is missing");
  need(same(file, c.entries.at(-1)), "certificate.dsse.json is not the certificate of the log");
  c.certificate = last.p;
}

/** The last sweep, if no erasure, cohort or freeze came after it. */
function lastSweep(c) {
  const sweep = c.of("sweep/v1").at(-1);
  const after = Math.max(c.of("erasure/v1").at(-1)?.index ?? 0, c.live ? c.lastStep.index : 0);
  return sweep && sweep.index >= after ? sweep.p : null;
}

/** Rows deleted and blanked, by slice: what the last outcome says. */
function erasedRows(c) {
  const gone = new Map();
  for (const one of c.of("erasure/v1")) {
    if (one.index <= c.lastStep.index || one.p.phase !== "outcome") continue;
    for (const { id, deleted, blanked } of one.p.slices) gone.set(id, { deleted, blanked });
  }
  return (id) => gone.get(id) ?? { deleted: 0, blanked: 0 };
}

function checkVerdicts(c) {
  const judged = new Map();
  for (const copy of c.certificate.copies) judged.set(copy.id, [...(judged.get(copy.id) ?? []), copy]);
  for (const { id } of c.plan.copies) {
    need(judged.get(id)?.length === 1, `the certificate does not judge the copy ${id} of the plan exactly once`);
  }
  need(c.certificate.copies.length === c.plan.copies.length, "the certificate judges a copy that is not planned");
  const sweep = lastSweep(c), found = byId(sweep?.copies ?? []);
  for (const { id, verdict, until } of c.certificate.copies) {
    need((until !== null) === (verdict === "blocked-until"), `copy ${id}: a date belongs to blocked-until and only to it`);
    need(!found.get(id)?.residue || MAY_HOLD_RESIDUE.includes(verdict), `copy ${id} holds residue, but is called ${verdict}`);
    if (verdict === "key-destroyed") checkKeyStory(c, id);
    if (verdict !== "erased-verified") continue;
    need(found.has(id), `copy ${id} is called erased-verified, but was not swept after the last erasure`);
    need(sweep.tokens.searched > 0, `copy ${id} is called erased-verified by a sweep that searched for nothing`);
  }
  const worst = VERDICTS[Math.max(...new Set(c.certificate.copies.map((copy) => VERDICTS.indexOf(copy.verdict))))];
  need(c.certificate.verdict === worst, `the certificate says ${c.certificate.verdict}, its worst copy is ${worst}`);
  if (worst !== "present") checkNothingLeft(c, sweep);
  checkObjectsTold(c, judged);
}

/** After the last erasure of rows the copy's key was announced, then destroyed, and did not come back. */
function checkKeyStory(c, id) {
  const last = c.of("erasure/v1").findLast((one) => !c.objectStores.has(one.p.dataset));
  const kinds = ["key to be destroyed", "key destroyed", "key came back"];
  const told = c.of("finding/v1").filter((one) => last && one.index > last.index && one.p.where === id && kinds.includes(one.p.kind));
  const story = told.length === 2 && told[0].p.kind === kinds[0] && told[1].p.kind === kinds[1] && told[0].p.text === told[1].p.text;
  need(story, `copy ${id} is called key-destroyed, but the log doesn't tell of its key's destruction after the last erasure`);
}

function checkNothingLeft(c, sweep) {
  need(!c.live || c.lastStep.kind === "freeze/v1", "people went in cohorts and nothing was frozen after it, but no copy is called present");
  const gone = erasedRows(c);
  for (const { id, dataset, erase } of c.slices.values()) {
    if (c.objectStores.has(dataset)) continue;
    const { deleted, blanked } = gone(id);
    need(deleted === erase.delete && blanked === erase.blank, `slice ${id} is not erased as planned, but no copy is called present`);
  }
  const hits = sweep ? sweep.rows.hits : 0;
  need(hits === 0, `the sweep found ${hits} rows by query, but no copy is called present`);
}

function checkObjectsTold(c, judged) {
  const gone = erasedRows(c);
  const told = new Set(c.plan.copies.filter((copy) => MAY_HOLD_RESIDUE.includes(judged.get(copy.id)[0].verdict)).map((copy) => copy.store));
  for (const { id, dataset, erase } of c.slices.values()) {
    const { deleted, blanked } = gone(id);
    if (!c.objectStores.has(dataset) || (deleted === erase.delete && blanked === erase.blank)) continue;
    need(told.has(dataset), `slice ${id} is not erased as planned, but no copy of ${dataset} is called held`);
  }
}

function checkCounts(c) {
  const equal = new Map(), gone = erasedRows(c), counts = Object.create(null);
  for (const one of c.of("equality/v1")) {
    if (one.index <= c.lastStep.index || !one.p.fenced) continue;
    for (const { id, rows, source, home } of one.p.slices) if (source === home) equal.set(id, rows);
  }
  for (const { id, dataset, home } of c.slices.values()) {
    const row = ((counts[dataset] ??= Object.create(null))[home] ??= { moved: 0, deleted: 0, blanked: 0, kept: 0 });
    row.moved += equal.get(id) ?? 0;
    row.deleted += gone(id).deleted;
    row.blanked += gone(id).blanked;
    row.kept = row.moved - row.deleted - row.blanked;
  }
  need(spell(c.certificate.counts) === spell(counts), "the certificate's counts are not those of the statements");
  const open = new Set(c.certificate.not_proven);
  for (const line of c.plan.not_proven) need(open.has(line), `the certificate leaves out what the plan calls not proven: ${line}`);
}

function checkTimes(c) {
  const clocks = { "plan/v1": "made_at", "cohort/v1": "fenced_at", "freeze/v1": "frozen_at", "cutover/v1": "fenced_at",
    "receipts/v1": "counted_at", "sweep/v1": "swept_at", "certificate/v1": "issued_at" };
  let latest = "";
  for (const one of c.statements) {
    const now = one.kind === "clearance/v1" ? one.p.restore.done_at : one.p[clocks[one.kind]];
    if (now === undefined) continue;
    need(latest <= now, `${one.name} is dated before one it follows`); // of one spelling, so their order is that of their texts
    latest = now;
  }
}

function checkCohorts(c) {
  const inside = new Map(); // cohorts that are at home, and their people
  for (const one of c.live ? c.statements : []) {
    if (one.kind === "cutover/v1") need(people([one.p.subjects]) === people(inside.values()), `${one.name} fences other people than those whom cohorts took home`);
    if (one.kind !== "cohort/v1") continue;
    const { number, way, subjects } = one.p;
    need(Object.keys(subjects).every((home) => c.homes.has(home)), `${one.name} takes people to a place that is no home`);
    need(number > 0, `${one.name} is of a cohort without a number`);
    need(inside.has(number) === (way === "source"), `${one.name}: cohort ${number} ${way === "home" ? "went home twice" : "goes back, and is not at home"}`);
    if (way === "source") need(people([subjects]) === people([inside.get(number)]), `${one.name}: others go back than cohort ${number} is`);
    if (way === "home") inside.set(number, subjects);
    else inside.delete(number);
  }
}

// ----------------------------------------------------------------------------------------------------------- the answer
const CHECKS = [
  ["zip in its one spelling", checkZip], ["keys", checkKeys], ["manifest signed over every file", checkManifest],
  ["no unknown file, fixed README", checkNames], ["checkpoint of this log", checkCheckpoint], ["tiles and entries", checkTiles],
  ["root of the tree", checkRoot], ["envelopes and signatures", checkEnvelopes], ["statements in their shape", checkStatements],
  ["plan", checkPlan], ["transfers", checkTransfers], ["fence", checkFence], ["equality", checkEqualities],
  ["approvals", checkApprovals], ["clearance and restore", checkClearances], ["erasures", checkErasures],
  ["sweeps", checkSweeps], ["certificate", checkCertificate], ["verdicts", checkVerdicts], ["counts", checkCounts],
  ["times", checkTimes], ["cohorts", checkCohorts], ["receipts", checkReceipts], ["keys in force", checkKeysInForce],
];

/**
 * Check a bundle. `policy` is what readPolicy returned, or null: then the keys are the bundle's own, which the page says.
 * state: "accepted" (every check was made and holds), "refused" (at the last of `checks`, for `reason`), or "unchecked"
 * (this browser, or this program, could not tell). What could not be checked is never accepted.
 */
async function audit(bytes, policy) {
  const c = { data: bytes, policy, files: new Map(), approvers: new Map(), entries: [], envelopes: [], statements: [], places: new Map(), detached: 0 };
  const checks = [];
  try {
    await requireCrypto();
    for (const [title, check] of CHECKS) {
      checks.push({ number: checks.length + 1, title, passed: false });
      await check(c);
      checks.at(-1).passed = true;
    }
  } catch (error) {
    if (error instanceof Refused) return { state: "refused", checks, reason: error.message };
    return { state: "unchecked", checks, reason: error instanceof Unable ? error.message : `this checker failed (${error.name}); use domicile-audit` };
  }
  const certificate = await sha256hex(c.files.get("certificate.dsse.json"));
  return { state: "accepted", checks, reason: null, verdict: c.certificate.verdict, issued: c.certificate.issued_at, size: c.size,
    log: c.log.keyid, plan: c.plan.plan, certificate };
}

/** A trust policy (docs/formats.md), or the log's vkey alone: then approvals are held against the plan only. */
async function readPolicy(input) {
  const logs = [], approvers = [], counts = [];
  let quorums = 0;
  const lines = input.split("\n");
  if (lines.filter((line) => line.trim()).length === 1 && /^[^ #]+\+[0-9a-f]{8}\+/.test(input.trim())) {
    return { logs: [(await readVkey(input.trim(), "the line")).vkey], approvers, threshold: 0 };
  }
  for (const [place, line] of lines.entries()) {
    const words = line.split(/[ \t]/).filter(Boolean), [word, value] = words, where = `line ${place + 1}`;
    if (!word || word.startsWith("#")) continue;
    if (word === "log" && (words.length === 2 || words.length === 3)) logs.push(await readVkey(value, where));
    else if (word === "approver" && words.length === 2) approvers.push(await readVkey(value, where));
    else if (word === "approvals" && words.length === 2 && /^[0-9]{1,3}$/.test(value)) counts.push(Number(value));
    else if (word === "quorum" && value === "none" && words.length === 2) quorums++;
    else throw new Refused(`${where}: not a line that this page reads; domicile-audit knows more`);
  }
  need(logs.length, "no log line: a policy that trusts nobody accepts nothing");
  need(quorums === 1, "exactly one line `quorum none` is needed");
  need(new Set([...logs, ...approvers].map((key) => hex(key.raw))).size === logs.length + approvers.length, "a key stands there twice");
  need(counts.length === 1 && counts[0] >= 1 && counts[0] <= approvers.length, "exactly one line `approvals K` is needed, with K from 1 to the number of approvers");
  return { logs: logs.map((key) => key.vkey), approvers: approvers.map((key) => key.vkey), threshold: counts[0] };
}
