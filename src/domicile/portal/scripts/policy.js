// Whom the reader believes: trust policies (docs/formats.md, "Trust policy"; C2SP tlog-policy), and witnesses
// (tlog-cosignature).

const COSIGNERS = { 4: 32, 6: 1312 }; // Ed25519; ML-DSA-44, which is read and never counts
const isCount = (word, length, most) => /^[0-9]+$/.test(word) && word.length <= length && word >= 1 && word <= most;

/** A trust policy, or the log's key alone: then approvals are held against the plan only. */
async function readPolicy(text) {
  const lines = text.split("\n").map((line) => line.split(/[ \t]+/).filter(Boolean));
  const said = lines.filter(([word]) => word && !word.startsWith("#"));
  const found = { log: [], approver: [], must: [], approvals: [], quorum: [] };
  Object.assign(found, { fresh: [], sampled: [], seed: [], require: [], tolerate: [] });
  const named = new Map(), earlier = new Map(), isKey = said.length === 1 && said[0].length === 1;
  if (isKey) said[0].unshift("log");
  for (const words of said) {
    const where = `line ${lines.indexOf(words) + 1}`, [word, value] = words;
    const is = (name, least, most = least) => word === name && words.length >= least && words.length <= most;
    if (is("log", 2, 3) || is("approver", 2, words[2] === "must" ? 3 : 2)) {
      found[word].push(await readKey(value, where));
      if (is("approver", 3)) found.must.push(value);
    } else if (["approvals", "fresh", "sampled", "seed"].some((name) => is(name, 2))) {
      need(word !== "seed" || (isPrintable(value) && [...value].length <= 1024), `${where}: no seed`);
      found[word].push(value);
    } else if (is("require", 2, 3)) {
      const isRead = /^[a-z]+\/v[0-9]+$/.test(value) && isCount(words[2] ?? "1", 7, 1e6);
      need(isRead, `${where}: no type of statements, or no number from 1 to 1000000`);
      found.require.push(words.slice(1));
    } else if (is("tolerate", 2, value === "none" ? 2 : 3)) {
      need(value === "none" || VERDICTS.indexOf(value) > 0, `${where}: no verdict that has to be tolerated`);
      found.tolerate.push(words.slice(1).join(" "));
    } else if (is("before", 4)) { // a head that an earlier key signed: it is for receipts, and says nothing of a bundle
      const isSize = /^[1-9]/.test(words[2]) && isCount(words[2], 13, Infinity);
      need(isSize && readBase64(words[3], where).length === 32, `${where}: no head, which is a size and a root`);
      earlier.set(value, await readKey(value, where));
    } else if (is("quorum", 2)) {
      need(value === "none" || named.has(value), `${where}: the quorum is no witness or group of a line above`);
      found.quorum.push(value);
    } else if (is("witness", 3, 4) || is("group", 3, Infinity)) {
      need(value !== "none" && !named.has(value), `${where}: a name that stands for something else already`);
      const key = word === "witness" ? await readKey(words[2], where, COSIGNERS) : null;
      named.set(value, key ?? readGroup(named, words.slice(2), where));
    } else throw new Refused(`${where}: not a line that this page reads`);
  }
  const { log, approver, approvals: [threshold = "", ...more], quorum, fresh, sampled, seed, tolerate } = found;
  const keys = [...log, ...approver, ...earlier.values(), ...named.values()].filter((one) => one.raw);
  const publics = keys.map((key) => hex(key.raw));
  need(log.length > 0, "no log line: a policy that trusts nobody accepts nothing");
  need(isKey || quorum.length === 1, "exactly one line such as `quorum none` is needed");
  need(new Set(publics).size === publics.length, "a key stands there twice");
  const isMet = more.length === 0 && isCount(threshold, 3, approver.length);
  need(isKey || isMet, "exactly one line `approvals K` is needed, with K from 1 to the number of approvers");
  const isOnce = (numbers, most) => numbers.length === 0 || (numbers.length === 1 && isCount(numbers[0], 7, most));
  need(isOnce(fresh, 36500), "`fresh DAYS` may stand there once, with 1 to 36500");
  need(isOnce(sampled, 100), "`sampled PERCENT` may stand there once, with 1 to 100");
  need(seed.length <= 1, "`seed TEXT` may stand there once"); // it is for spot checks, and says nothing of a bundle
  need(!tolerate.includes("none") || tolerate.length === 1, "beside `tolerate none` nothing is tolerated");
  const [logs, approvers] = [log, approver].map((keys) => keys.map((key) => key.vkey));
  return { ...found, logs, approvers, threshold: Number(threshold), named, quorum: quorum[0] ?? "none" };
}

/** A group of witnesses or groups of lines above, each a member once; `least` of them have to have cosigned. */
function readGroup(named, [count, ...members], where) {
  for (const name of members) {
    need(named.has(name) && !named.get(name).isMember, `${where}: ${name} is of no line above, or a member already`);
    named.get(name).isMember = true;
  }
  const least = count === "all" ? String(members.length) : count === "any" ? "1" : count;
  const isReached = /^[1-9]/.test(least) && isCount(least, 4, members.length);
  need(isReached, `${where}: a group wants \`all\`, \`any\` or a number that its members can reach`);
  return { members, least };
}

/** Check 5 goes on: the policy's quorum has cosigned the text. A wrong cosignature of a witness of it refuses all. */
async function checkCosignatures(c, text, signatures) {
  const { named, quorum } = c.policy ?? { named: [], quorum: "none" }, met = new Set(); // witnesses, and groups
  for (const [name, one] of named) {
    const own = signatures.filter((line) => line.name === one.name && line.id === one.id && one.type === 4);
    for (const { bytes } of own) {
      const time = bytes.length === 72 ? new DataView(bytes.buffer).getBigUint64(0) : 2n ** 63n;
      const isGood = await isSigned(one, utf8(`cosignature/v1\ntime ${time}\n${text}`), bytes.slice(8));
      need(isGood && time < 2n ** 63n, `the checkpoint: the cosignature of witness ${name} is wrong`);
      c.times.set(name, Math.max(c.times.get(name) ?? 0, Number(time)));
    }
    if (own.length > 0 || one.members?.filter((member) => met.has(member)).length >= one.least) met.add(name);
  }
  c.cosigned = [...met].filter((name) => !named.get(name).members);
  const by = c.cosigned.join(", ") || "no witness";
  need(quorum === "none" || met.has(quorum), `the checkpoint is cosigned by ${by}, the policy wants ${quorum}`);
}

/** Behind the checks: what the policy demands of the story. Clocks may be five minutes (in ms) apart. */
function needDemanded({ of, plan, certificate, times, policy: { fresh: [days], sampled, require, tolerate } }, now) {
  const { copies, issued_at: issued } = certificate, age = now - Date.parse(issued), planned = byId(plan.copies);
  for (const { id, verdict } of tolerate.length > 0 ? copies : []) {
    const isTolerated = [verdict, `${verdict} ${planned.get(id).kind}`].some((line) => tolerate.includes(line));
    need(verdict === BEST || isTolerated, `your policy does not tolerate that ${id} is ${verdict}`);
  }
  const isFresh = !days || (age >= -300e3 && age <= days * 864e5);
  need(isFresh, `its certificate of ${issued} is not of the last ${days} days, as your policy wants`);
  const late = days && [...times.keys()].find((name) => Date.parse(issued) - 1e3 * times.get(name) > 300e3);
  need(!late, `its certificate of ${issued} is dated after ${late} cosigned it`);
  for (const [type, least = 1] of require) {
    const { size } = new Set(of(type).map((one) => one.sha256)); // one that stands there twice is one
    need(size >= least, `its log has ${size} ${type}, your policy wants ${least}`);
  }
  const but = "but your policy wants a spot check (`sampled`), whose report only domicile-audit reads";
  if (sampled.length > 0) throw new Unable(`all ${CHECKS.length} checks hold, ${but}`);
}
