// The second checker goes on: check 23, receipts of people, and check 24, keys that changed hands.
"use strict";

/** Counts by home, those of nobody left out, as one text that can be compared. */
function people(all) {
  const sum = new Map();
  for (const one of all) for (const [home, count] of Object.entries(one)) if (count) sum.set(home, (sum.get(home) ?? 0) + count);
  return JSON.stringify([...sum].sort(([a], [b]) => byCodePoint(a, b)));
}

function checkReceipts(c) {
  const went = new Map(); // by number the cohorts that are at home; all people of a move at once under 0
  const stated = new Map(); // by cohort the people of each part
  for (const one of c.statements) {
    if (one.kind === "receipts/v1") {
      const { cohort, part, homes } = one.p, parts = stated.get(cohort) ?? [];
      needReceipts(c, one, went.get(cohort));
      parts.push(Object.fromEntries(Object.entries(homes).map(([home, place]) => [home, place.subjects])));
      need(part === parts.length, `${one.name} is not of part ${parts.length}, which follows`);
      stated.set(cohort, parts);
    }
    if (one.kind === "cohort/v1" && one.p.way === "source") went.delete(one.p.number);
    else if (one.kind === "cohort/v1") went.set(one.p.number, one);
    else if (one.kind === "cutover/v1" && !c.live) went.set(0, one);
  }
  for (const [cohort, one] of stated.size ? went : []) {
    need(people(stated.get(cohort) ?? []) === people([one.p.subjects]), `the receipts of cohort ${cohort} are not as many as its people, by home`);
  }
}

function needReceipts(c, one, went) {
  standing(c, one.p.clearance, "clearance/v1", one);
  c.firstErasure ??= c.of("erasure/v1")[0]?.index ?? Infinity;
  need(one.index < c.firstErasure, `${one.name} stands after an erasure, when not everything was there to be counted any more`);
  for (const [home, { country, operator }] of Object.entries(one.p.homes)) {
    need(c.homes.has(home), `${one.name} names a place that is no home`);
    const own = c.plan.locations[home];
    need(own.country === country && own.operator === operator, `${one.name} says of ${home} another country or operator than the plan`);
  }
  need(went, `${one.name} is of a cohort that is not at home`);
  need(went.p.fenced_at === one.p.home_since, `${one.name} is of people who went home at another time`);
}

/** How many people signed these with a key that the reader's policy names, or with one behind such a key in its chain. */
function trustedSigners(c, statements) {
  const trusted = statements.filter((one) => {
    const chain = c.chains[c.holders.get(one.keyid)], place = chain.findIndex((key) => key.keyid === one.keyid);
    return chain.slice(0, place + 1).some((key) => c.policy.approvers.includes(key.vkey));
  });
  return new Set(trusted.map((one) => c.holders.get(one.keyid))).size;
}

/** Every key signed while it was in force; nothing rests on what was signed with a lost one. */
async function checkKeysInForce(c) {
  const turns = c.chains.map(() => 0); // which key of each chain is in force
  const lost = [], needed = [];
  const roots = await rootsOf(c.hashes, new Set(c.of("key/v1").map((one) => one.p.stands)));
  for (let start = 0, end; start < c.statements.length; start = end) {
    const first = c.statements[start], same = spell(first.p);
    end = start + 1; // statements in a row that say the same of a key are votes for one change
    while (first.kind === "key/v1" && c.statements[end]?.kind === "key/v1" && spell(c.statements[end].p) === same) end++;
    const group = c.statements.slice(start, end);
    for (const one of group) {
      const number = c.holders.get(one.keyid);
      need(c.chains[number][turns[number]]?.keyid === one.keyid, `${one.name}: ${one.keyid} was not in force there`);
    }
    if (first.kind !== "key/v1") continue;
    const number = needChange(c, group, turns, roots);
    if (c.holders.get(first.keyid) !== number) needed.push(...group);
    if (first.p.what === "revoked") lost.push({ number, from: first.p.stands, to: first.index });
    turns[number]++;
  }
  c.chains.forEach((chain, number) => need(turns[number] >= chain.length - 1, `no statement hands over to ${chain.at(-1).keyid}, which is in keys/`));
  for (const one of c.of("clearance/v1")) needed.push(...one.p.approvals.map((sha256) => c.statements[c.places.get(sha256)]));
  for (const one of needed) {
    const number = c.holders.get(one.keyid);
    const isVoid = lost.some((span) => span.number === number && span.from <= one.index && one.index < span.to);
    need(!isVoid, `${one.name} is needed, and its key was lost by then`);
  }
}

/** The number of the chain whose key changes: the key in force, to the next one, in this log, with authority. */
function needChange(c, group, turns, roots) {
  const [first] = group, { approver, key, stands, root } = first.p;
  const names = [null, ...c.plan.approvals.of.map((one) => one.name)], number = names.indexOf(approver);
  need(number >= 0, `${first.name} is about nobody whom the plan names`);
  const now = c.chains[number][turns[number]], following = c.chains[number][turns[number] + 1];
  need(now?.vkey === key, `${first.name}: that key was not in force`);
  need((following?.vkey ?? null) === first.p.new, `${first.name}: the next key in keys/ is another than it names`);
  need(number !== 0 || !following || now.name === following.name, `${first.name}: a log keeps its name`);
  need(number === 0 ? stands === first.index : stands <= first.index, `${first.name} speaks of another place in the log`);
  need(roots.get(stands) === root, `${first.name} speaks of another log`);
  needAuthority(c, group, number);
  return number;
}

/** Signed by the key itself, or, where it is lost, by as many others as an erasure needs. */
function needAuthority(c, group, number) {
  const [first] = group, signed = new Set(group.map((one) => c.holders.get(one.keyid)));
  const rotates = first.p.what === "rotated", goesOn = first.p.new !== null;
  if (signed.size === 1 && signed.has(number)) {
    const may = rotates ? goesOn : !goesOn && number !== 0;
    need(may && group.length === 1, `${first.name}: its own key may rotate, or be given up, and no more`);
    return;
  }
  need(!rotates && !signed.has(0) && !signed.has(number) && (goesOn || number !== 0), `${first.name} is signed by the wrong ones`);
  const wanted = c.plan.approvals.threshold;
  need(signed.size === group.length && group.length === wanted, `${first.name} is signed by ${signed.size} approvers, ${wanted} are needed`);
  if (!c.policy) return;
  if (!c.policy.threshold) { // the log's key alone is trusted: nobody's vote may lead on from it
    const behind = c.chains[0].slice(c.chains[0].findIndex((key) => key.vkey === first.p.key) + 1);
    need(number !== 0 || behind.some((key) => c.policy.logs.includes(key.vkey)), `${first.name} replaces the log's key by votes that no policy trusts`);
    return;
  }
  need(trustedSigners(c, group) >= c.policy.threshold, `${first.name} is signed by too few trusted approvers`);
}

/** The roots of the first so many leaves, in hex (RFC 6962, 2.1); one pass, whatever sizes are asked for. */
async function rootsOf(leaves, sizes) {
  const roots = new Map(), peaks = []; // the roots of the full trees that make up the leaves so far
  for (let size = 1; sizes.size && size <= leaves.length; size++) {
    let node = leaves[size - 1];
    for (let rest = size; rest % 2 === 0; rest /= 2) node = await sha256(join([1], peaks.pop(), node));
    peaks.push(node);
    if (!sizes.has(size)) continue;
    for (const peak of peaks.slice(0, -1).reverse()) node = await sha256(join([1], peak, node));
    roots.set(size, hex(node));
  }
  return roots;
}
