// The report checks itself: the bundle inside the page when it opens, and any other that a reader drops on it. This part
// only shows what `audit` answers; it decides nothing.
"use strict";

const at = (id) => document.getElementById(id);
const SIGNS = { accepted: "✓", refused: "✗", unchecked: "?", none: "…" };
let last = null; // {bytes, name}: what was checked last, to check it again with other keys; inside the page it has no name
let turn = 0; // the last asked wins

function tag(name, className, content) {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = content; // never HTML: names come from the bundle
  return element;
}

/** The answer in one sentence, and how to colour it. */
function say(answer, name, policy) {
  const what = name === null ? "the bundle inside this page" : `the bundle that you gave (${name})`;
  if (answer.state === "unchecked") return ["open", `Not checked: ${answer.reason}.`];
  if (answer.state === "refused") {
    return ["bad", `Refused: ${what} does not hold, at check ${answer.checks.length} of ${CHECKS.length}: ${answer.reason}.`];
  }
  const { certificate, plan } = at("self").dataset, best = answer.verdict === VERDICTS[0];
  const verdict = `Its certificate of ${answer.issued} says ${answer.verdict}${best ? "." : ": not everything is proven erased."}`;
  if (certificate !== answer.certificate || plan !== answer.plan) {
    return ["open", `Accepted, but it is not the bundle of this page: ${what} holds, and is of another run or another moment. ${verdict}`];
  }
  const keys = !policy ? "Its keys are its own: whose they are is open."
    : policy.threshold ? "Its keys are those of your policy." : "Its log's key is the one that you gave; the approvers' keys are its own.";
  return [best ? "good" : "open", `Accepted: all ${CHECKS.length} checks of ${what} hold, and its certificate is the one that this page names. ${verdict} ${keys}`];
}

function show(answer, name, policy) {
  const [tone, sentence] = answer.state === "none" ? ["soft", "Checking."] : say(answer, name, policy);
  for (const id of ["self-state", "self-line"]) {
    at(id).className = `${id} ${tone}`;
    at(id).replaceChildren(tag("span", "", `${SIGNS[answer.state]} `), sentence);
  }
  if (name === null && answer.state === "refused") {
    at("verdict").className = "verdict bad"; // and stays so, whatever else is checked afterwards
    at("verdict").querySelector(".word span").textContent = SIGNS.refused;
    at("self-warning").hidden = false;
  }
  at("self").dataset.state = answer.state;
  at("self-checks").replaceChildren(...CHECKS.map(([title], place) => {
    const check = answer.checks[place], made = check && answer.state !== "unchecked";
    const sign = !made ? "·" : check.passed ? "✓" : "✗";
    return tag("li", made && !check.passed ? "warn" : made ? "" : "soft", `${sign} ${title}${made ? "" : " (not reached)"}`);
  }));
  at("self-list").hidden = false;
}

async function check(bytes, name) {
  last = { bytes, name };
  const mine = ++turn;
  let policy = null;
  show({ state: "none", checks: [] }, name, null); // what was said before is of other bytes, or of other keys
  at("self-policy-state").textContent = "";
  try {
    policy = at("self-policy").value.trim() ? await readPolicy(at("self-policy").value) : null;
  } catch (error) { // without the keys that were asked for nothing is accepted
    at("self-policy-state").textContent = `Not a trust policy: ${error.message}.`;
    if (mine === turn) show({ state: "unchecked", checks: [], reason: "the trust policy can't be read" }, name, null);
    return;
  }
  const answer = await audit(bytes, policy);
  if (mine === turn) show(answer, name, policy);
}

async function take(file) {
  if (file) await file.arrayBuffer().then((buffer) => check(new Uint8Array(buffer), file.name)).catch(fail);
}

function fail(error) {
  turn++;
  show({ state: "unchecked", checks: [], reason: `the file can't be read (${error.name})` }, null, null);
}

function start() {
  at("self-tools").hidden = false;
  at("self-file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = ""; // so that the same file, made anew, can be chosen again
  });
  at("self-again").addEventListener("click", () => {
    if (last) check(last.bytes, last.name).catch(fail);
    else at("self-policy-state").textContent = "Give a bundle first.";
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  const bundle = at("self-bundle")?.content.textContent.trim();
  if (!bundle) {
    for (const id of ["self-state", "self-line"]) at(id).textContent = at("self").dataset.without;
    return;
  }
  const bytes = unbase64(bundle);
  const save = at("self-save");
  save.href = URL.createObjectURL(new Blob([bytes], { type: "application/zip" }));
  save.parentElement.hidden = false;
  check(bytes, null).catch(fail);
}

start();
