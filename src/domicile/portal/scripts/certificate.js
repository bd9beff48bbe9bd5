// Checks 18 to 24: the certificate says nothing better than the statements before it, people and keys fit; `audit`.

const MAY_HOLD_RESIDUE = ["blocked-until", "held", WORST];
const IN_USE = [...SOURCES, "derived-table"]; // kinds of copies that the service itself reads
const NONE = { deleted: 0, blanked: 0 }; // rows of a slice that no outcome tells of

check("certificate", (c) => {
  c.certificate = c.statements.at(-1);
  need(c.certificate.type === "certificate/v1", "the last statement is no certificate: the run is not finished");
  need(same(fileOf(c, "certificate.dsse.json"), c.entries.at(-1)), "certificate.dsse.json is not that of the log");
});

/** What the log tells of each copy. Places are those in the log; 0: nowhere. */
function copiesTold(c) {
  const judged = byId(c.certificate.copies), sweeps = c.of("sweep/v1"), findings = c.of("finding/v1");
  const isOfRows = ({ dataset, emptied }) => !c.objectStores.has(dataset) || emptied.length > 0;
  const rows = c.of("erasure/v1").filter(isOfRows), isDone = rows.some((one) => one.phase === "outcome");
  const rowsErased = isDone ? rows.at(-1).index : 0;
  const rowsBack = findings.findLast(({ kind }) => kind === BACK[0] || kind === BACK[1])?.index ?? 0;
  const returned = new Set(findings.filter(({ kind }) => kind === OF_KEYS[2]).map((one) => one.text));
  const told = new Map();
  for (const { id, kind, store } of c.plan.copies) {
    const { verdict, until } = judged.get(id), where = `copy ${id} is called ${verdict}`;
    const isInUse = IN_USE.includes(kind);
    told.set(id, { id, kind, store, verdict, until, where, isInUse, rowsErased, rowsBack, returned });
    Object.assign(told.get(id), { look: 0, residue: 0, found: 0, objectsBack: 0, ofKey: [] });
  }
  let newest = 0;
  for (const { index, copies, tokens } of sweeps) {
    const isSearch = tokens.searched > 0 && copies.some((copy) => copy.bytes > 0);
    for (const { id, residue } of copies) {
      if (!isSearch && residue === 0) continue;
      Object.assign(told.get(id), { look: index, residue, ...(residue > 0 ? { found: index } : {}) });
      newest = index;
    }
  }
  const objects = new Map(findings.filter(({ kind }) => kind === BACK[2]).map((one) => [one.where, one.index]));
  for (const one of findings) if (OF_KEYS.includes(one.kind)) told.get(one.where).ofKey.push(one);
  for (const copy of told.values()) {
    copy.isLeftOut = copy.look < newest && !copy.isInUse;
    if (copy.kind === "objects") copy.objectsBack = objects.get(copy.store) ?? 0;
  }
  return [...told.values()];
}

/** The ids of the copies in which the last sweep found nothing, if it holds, searched, and asked of enough datasets. */
function searchedBy(c) {
  const last = c.of("sweep/v1").at(-1), back = c.of("finding/v1").filter(({ kind }) => BACK.includes(kind));
  const erasures = c.of("erasure/v1");
  if (!last || !c.isErased || [...erasures, ...back].some((one) => one.index > last.index)) return new Set();
  const isLost = ({ dataset, erase }) => erase.delete + erase.blank > 0 && !c.objectStores.has(dataset);
  const { size } = new Set([...c.slices.values()].filter(isLost).map((slice) => slice.dataset));
  const isWhole = last.tokens.searched > 0 && last.copies.some((copy) => copy.bytes > 0) && last.rows.datasets >= size;
  return new Set(isWhole ? ids(last.copies.filter((copy) => copy.hits === 0)) : []);
}

/** Its key was destroyed, and nothing that the copy may hold of who moved is under another one. */
function isUnreadable({ kind, rowsErased, rowsBack, returned, look, found, ofKey }) {
  const since = ofKey.filter((one) => one.index > Math.max(rowsErased, found)), [first, second] = since;
  const isTold = since.length === 2 && first.kind === OF_KEYS[0] && second.kind === OF_KEYS[1];
  if (!isTold || first.text !== second.text || returned.has(first.text)) return false;
  return kind === "encrypted-files" && rowsErased > 0 && rowsBack < Math.max(look, second.index);
}

check("verdicts", (c) => {
  const { copies, verdict: whole, issued_at: issued } = c.certificate;
  const [judged, listed] = [copies, c.plan.copies].map((list) => spell(ids(list).sort()));
  need(judged === listed, "the certificate does not judge each planned copy once, and no other"); // (1)
  const searched = searchedBy(c); // (2)
  const isBack = ({ objectsBack, look, ofKey }) => objectsBack > look || ofKey.some((one) => one.kind === OF_KEYS[2]);
  const nothingBack = [(copy) => !isBack(copy), "something came back"];
  const clean = [({ residue }) => residue === 0, "it holds residue"];
  const cleanOrLeftOut = [({ residue, isLeftOut }) => residue === 0 || isLeftOut, "it holds residue"];
  const nothingFound = [({ id }) => searched.has(id), "it was not searched since, or something was found"];
  const unreadable = [isUnreadable, "the log doesn't tell that nobody can read it"];
  const erased = [() => c.isErased, "nothing was erased"], toCome = [({ until }) => until > issued, "that is over"];
  const needs = { // (3)
    "erased-verified": [nothingBack, clean, nothingFound],
    "key-destroyed": [nothingBack, unreadable],
    "erased-unverified": [nothingBack, clean, erased],
    "blocked-until": [toCome],
    unknown: [cleanOrLeftOut],
  };
  for (const copy of copiesTold(c)) {
    const { verdict, until, where } = copy;
    need((until !== null) === (verdict === "blocked-until"), `${where}: a date belongs to blocked-until alone`);
    for (const [holds, otherwise] of needs[verdict] ?? []) need(holds(copy), `${where}, but ${otherwise}`);
  }
  const worst = VERDICTS.findLast((verdict) => copies.some((copy) => copy.verdict === verdict)); // (4)
  need(whole === worst, `the certificate says ${whole}, its worst copy is ${worst}`);
  needNothingLeft(c);
});

function needNothingLeft(c) {
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
  for (const { rows } of c.of("sweep/v1")) {
    found = rows.hits + (rows.datasets < asked ? found : 0);
    asked = Math.max(asked, rows.datasets);
  }
  need(isPresent || found === 0, `rows were found by query, ${but}`);
  for (const dataset of c.stillBack) need(isToldOf(dataset), `rows of ${dataset} came back, but no copy of it says so`);
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
  const restored = new Set(); // a clearance may rest on the restore of one before it
  for (const one of c.statements) {
    if (restored.has(one.restore?.done_at)) continue;
    if (one.restore) restored.add(one.restore.done_at);
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
    const { name: under, compared, parts } = standing(c, one.clearance, "clearance/v1", one); // (1)
    need(one.before.move === compared, `${name} rests on ${under}, and a move comes after its equality`);
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
