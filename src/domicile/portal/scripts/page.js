// The report checks itself: the bundle inside the page when it opens, and any other that a reader drops on it. This
// shows what `audit` answers, and decides nothing.

const SIGNS = { accepted: "✓", refused: "✗", unchecked: "?", none: "…" };
const at = (id) => document.getElementById(id);
// Never HTML: names come from the bundle.
const tag = (name, className, textContent) => Object.assign(document.createElement(name), { className, textContent });
let last = null; // bytes and name of what was checked last, to check it with other keys; inside the page it has no name
let turn = 0; // the last asked wins

/** The answer in one sentence, and how to colour it. */
function say({ state, checks, reason, ...answer }, name, policy) {
  const what = name === null ? "the bundle inside this page" : `the bundle that you gave (${name})`;
  if (state === "none") return ["soft", "Checking."];
  if (state === "unchecked") return ["open", `Not checked: ${reason}.`];
  if (state === "refused" && checks.at(-1)) return ["bad", `Refused: ${what} holds, but ${reason}.`];
  const place = `at check ${checks.length} of ${CHECKS.length}`;
  if (state === "refused") return ["bad", `Refused: ${what} does not hold, ${place}: ${reason}.`];
  const { certificate, plan } = at("self").dataset, isBest = answer.verdict === BEST;
  const open = isBest ? "" : ": not everything is proven erased", seen = answer.cosigned.join(", ");
  const verdict = `Its certificate of ${answer.issued} says ${answer.verdict}${open}.`;
  if (certificate !== answer.certificate || plan !== answer.plan) {
    const other = `${what} holds, and is of another run or another moment`;
    return ["open", `Accepted, but it is not the bundle of this page: ${other}. ${verdict}`];
  }
  const keys = !policy ? "Its keys are its own: whose they are is open."
    : policy.threshold ? "Its keys are those of your policy."
      : "Its log's key is the one that you gave; the approvers' keys are its own.";
  const all = `all ${CHECKS.length} checks of ${what} hold, and its certificate is the one that this page names`;
  const by = seen ? ` Witnesses of your policy who cosigned it: ${seen}.` : "";
  return [isBest ? "good" : "open", `Accepted: ${all}. ${verdict} ${keys}${by}`];
}

function show(answer, name, policy) {
  const [tone, sentence] = say(answer, name, policy), { state, checks } = answer;
  for (const id of ["self-state", "self-line"]) {
    at(id).className = `${id} ${tone}`;
    at(id).replaceChildren(tag("span", "", `${SIGNS[state]} `), sentence);
  }
  if (name === null && state === "refused" && !checks.at(-1)) {
    at("verdict").className = "verdict bad"; // and stays so, whatever else is checked afterwards
    at("verdict").querySelector(".word span").textContent = SIGNS.refused;
    at("self-warning").hidden = false;
  }
  at("self").dataset.state = state;
  at("self-checks").replaceChildren(...CHECKS.map(({ title }, place) => {
    if (checks[place]) return tag("li", "", `✓ ${title}`);
    const isWrong = checks[place] === false && state === "refused";
    return isWrong ? tag("li", "warn", `✗ ${title}`) : tag("li", "soft", `· ${title} (not reached)`);
  }));
  at("self-list").hidden = false;
}

const unchecked = (reason) => ({ state: "unchecked", checks: [], reason });

async function look(bytes, name) {
  last = [bytes, name];
  const mine = ++turn, text = at("self-policy").value;
  let policy = null, wrong = null;
  show({ state: "none", checks: [] }, name, null); // what was said before is of other bytes, or of other keys
  if (text.trim()) policy = await readPolicy(text).catch((error) => { wrong = error; });
  at("self-policy-state").textContent = wrong ? `Not a trust policy: ${wrong.message}.` : "";
  const answer = wrong ? unchecked("the trust policy can't be read") : await audit(bytes, policy);
  if (mine === turn) show(answer, name, policy);
}

function fail(error) {
  turn++;
  show(unchecked(`the file can't be read (${error.name})`), null, null);
}

async function take(file) {
  if (file) await file.arrayBuffer().then((buffer) => look(new Uint8Array(buffer), file.name)).catch(fail);
}

function start() {
  const bundle = at("self-bundle")?.content.textContent.trim(), save = at("self-save");
  at("self-tools").hidden = false;
  at("self-file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = ""; // so that the same file, made anew, can be chosen again
  });
  at("self-again").addEventListener("click", () => {
    if (last) look(...last).catch(fail);
    else at("self-policy-state").textContent = "Give a bundle first.";
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  for (const id of bundle ? [] : ["self-state", "self-line"]) at(id).textContent = at("self").dataset.without;
  if (!bundle) return;
  const bytes = readBase64(bundle, "the bundle in this page");
  save.href = URL.createObjectURL(new Blob([bytes], { type: "application/zip" }));
  save.parentElement.hidden = false;
  look(bytes, null).catch(fail);
}

start();
