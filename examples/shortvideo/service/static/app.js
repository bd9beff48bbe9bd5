// The feed: plays what is seen, pauses the rest, tells the service what was watched; keys ↑ ↓ space l m c.
// Dialogs, the notice at the bottom, the upload's preview. Everything else is htmx and plain forms.
"use strict";

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const wide = matchMedia("(min-width: 1100px)");
const json = { accept: "application/json" };
let silent = true; // browsers play by themselves only without sound
let current = null;
let stopped = false; // by the person, before the page was hidden

// ---------------------------------------------------------------- the notice

let fading;
function notice(words) {
  const place = document.getElementById("notice");
  place.textContent = words;
  show(place);
}
function show(place) {
  place.classList.add("shown");
  clearTimeout(fading);
  fading = setTimeout(() => place.classList.remove("shown"), 5000);
}
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "notice") show(event.detail.target);
});
document.addEventListener("notice", (event) => {
  notice(event.detail.value);
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
});
document.addEventListener("htmx:sendError", () => notice(document.documentElement.lang === "fr" ? "Pas de connexion." : "No connection."));

// ---------------------------------------------------------------- the feed

const clips = () => [...document.querySelectorAll(".clip[data-video]")];
const film = (clip) => clip.querySelector("video");
const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.intersectionRatio >= 0.6) enter(entry.target);
  },
  { threshold: 0.6 },
);

function watch(root) {
  for (const clip of root.querySelectorAll(".clip[data-video]")) {
    if (clip.dataset.ready) continue;
    clip.dataset.ready = "yes";
    const video = film(clip);
    const bar = clip.querySelector(".progress i");
    video.addEventListener("timeupdate", () => {
      bar.style.transform = `scaleX(${video.currentTime / (video.duration || 1)})`;
    });
    video.addEventListener("playing", () => clip.classList.remove("paused"));
    video.addEventListener("pause", () => clip.classList.add("paused"));
    video.addEventListener("error", () => clip.classList.add("broken"));
    seen.observe(clip);
  }
}

function enter(clip) {
  if (clip === current) return;
  leave();
  current = clip;
  current.began = performance.now();
  if (!calm.matches) play(clip);
  else clip.classList.add("paused");
  const all = clips();
  const place = all.indexOf(clip);
  const next = all[place + 1];
  if (next) film(next).preload = "auto";
  if (all.length - place <= 3) {
    const more = document.querySelector(".more");
    if (more) htmx.trigger(more, "more");
  }
}

function leave() {
  if (!current) return;
  const video = film(current);
  video.pause();
  const ms = Math.round(performance.now() - current.began);
  if (ms > 500) {
    const body = new URLSearchParams({ ms, speed: video.playbackRate });
    fetch(`/videos/${current.dataset.video}/watch`, { method: "POST", body, headers: json, keepalive: true }).catch(() => {});
  }
  current = null;
}

function play(clip) {
  const video = film(clip);
  video.muted = silent;
  video.play().catch(() => {
    // Not before somebody touched the page: without sound it may.
    if (!video.muted) {
      setSilent(true);
      video.play().catch(() => clip.classList.add("paused"));
    } else clip.classList.add("paused");
  });
}

function toggle(clip) {
  if (film(clip).paused) play(clip);
  else film(clip).pause();
}

function setSilent(now) {
  silent = now;
  document.body.classList.toggle("loud", !silent);
  for (const clip of clips()) {
    film(clip).muted = silent;
    clip.querySelector("[data-act=sound]").setAttribute("aria-pressed", String(!silent));
  }
}

function step(by) {
  const all = document.querySelectorAll(".feed > .clip");
  const next = all[[...all].indexOf(current) + by];
  if (next) next.scrollIntoView({ behavior: calm.matches ? "auto" : "smooth" });
}

async function like(clip) {
  const button = clip.querySelector("[data-act=like]");
  const on = button.getAttribute("aria-pressed") === "true";
  press(button, !on); // at once; taken back when the service says no
  try {
    const response = await fetch(`/videos/${clip.dataset.video}/like`, { method: on ? "DELETE" : "POST", headers: json });
    const said = await response.json();
    if (response.status === 401) return location.assign("/login");
    if (!response.ok) throw new Error(said.error);
    press(button, said.liked);
    button.querySelector(".number").textContent = short(said.likes);
  } catch (fault) {
    press(button, on);
    notice(fault.message);
  }
}

function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

function short(number) {
  for (const [size, sign] of [[1e6, "M"], [1e3, "k"]]) {
    if (number >= size) return (number / size).toFixed(1).replace(/\.0$/, "") + sign;
  }
  return String(number);
}

// ---------------------------------------------------------------- dialogs

function openDialog(name) {
  const dialog = document.getElementById(name);
  if (dialog.open) return;
  if (wide.matches && name === "comments") {
    dialog.show();
    document.body.classList.add("beside");
  } else dialog.showModal();
  dialog.addEventListener("close", () => document.body.classList.remove("beside"), { once: true });
}

document.addEventListener("click", (event) => {
  if (event.target instanceof HTMLDialogElement) return event.target.close(); // beside the sheet
  const button = event.target.closest("[data-act]");
  if (!button) return;
  const clip = button.closest(".clip");
  const acts = {
    toggle: () => toggle(clip),
    like: () => like(clip),
    sound: () => setSilent(!silent),
    comments: () => openDialog("comments"),
    close: () => button.closest("dialog").close(),
    share: async () => {
      try {
        await navigator.clipboard.writeText(`${location.origin}/videos/${clip.dataset.video}`);
        notice(button.dataset.done);
      } catch {
        location.assign(`/videos/${clip.dataset.video}`);
      }
    },
    report: () => {
      const form = document.querySelector("#report form");
      form.elements.target_type.value = button.dataset.kind;
      form.elements.target_id.value = button.dataset.target;
      openDialog("report");
    },
    reply: () => {
      const form = button.closest(".comments").querySelector("form");
      form.elements.parent_id.disabled = false;
      form.elements.parent_id.value = button.dataset.parent;
      form.elements.body.value = button.dataset.name ? `@${button.dataset.name} ` : "";
      form.elements.body.focus();
    },
  };
  acts[button.dataset.act]?.();
});

document.addEventListener("dblclick", (event) => {
  const clip = event.target.closest(".screen")?.closest(".clip");
  if (clip && clip.querySelector("[data-act=like]").getAttribute("aria-pressed") !== "true") like(clip);
});

// ---------------------------------------------------------------- keys

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const open = document.querySelector("dialog[open]");
  if (event.key === "Escape" && open) return open.close();
  const at = event.target;
  if (!document.getElementById("feed") || at.closest("input, textarea, select, dialog")) return;
  if (event.key === " " && at.closest("button, a")) return; // space presses what has the focus
  const clip = current;
  const keys = {
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    " ": () => clip && toggle(clip),
    l: () => clip && like(clip),
    m: () => setSilent(!silent),
    c: () => clip?.querySelector("[data-act=comments]").click(),
  };
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// ---------------------------------------------------------------- forms

const sent = new WeakMap();
const words = (form) => [...new FormData(form).values()].join("\n");
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target instanceof HTMLFormElement) sent.set(event.target, words(event.target));
});
document.addEventListener("htmx:afterRequest", (event) => {
  const form = event.target;
  if (!event.detail.successful || !(form instanceof HTMLFormElement) || !form.matches("[data-clear]")) return;
  if (words(form) === sent.get(form)) form.reset(); // who went on typing meanwhile keeps what they typed
  if (form.closest("#comments") && current) {
    const number = current.querySelector("[data-act=comments] .number");
    if (/^\d+$/.test(number.textContent)) number.textContent = short(Number(number.textContent) + 1);
  }
});
document.addEventListener("htmx:afterSettle", (event) => {
  watch(document);
  // A button that was swapped for its successor hands the focus on, too.
  if (event.detail.elt.matches?.("button.follow") && document.activeElement === document.body) event.detail.elt.focus();
  if (event.detail.target.id === "lines") toEnd();
});
document.addEventListener("htmx:xhr:progress", (event) => {
  const bar = event.target.querySelector?.("progress");
  if (!bar || !event.detail.lengthComputable) return;
  bar.hidden = false;
  bar.value = (100 * event.detail.loaded) / event.detail.total;
});
document.addEventListener("change", (event) => {
  const preview = document.getElementById("preview");
  if (!preview || event.target.type !== "file") return;
  const [file] = event.target.files;
  preview.hidden = !file;
  if (!file) return;
  preview.src = URL.createObjectURL(file);
  if (!calm.matches) preview.play().catch(() => {});
});

function toEnd() {
  const lines = document.getElementById("lines");
  if (lines && lines.dataset.last !== lines.lastElementChild?.innerText) {
    lines.scrollTop = lines.scrollHeight;
    lines.dataset.last = lines.lastElementChild?.innerText;
  }
}

async function counts() {
  if (!document.querySelector("[data-count]") || document.hidden) return;
  try {
    const said = await (await fetch("/unread", { headers: json })).json();
    for (const place of document.querySelectorAll("[data-count]")) {
      const number = said[place.dataset.count] || 0;
      place.hidden = !number;
      place.textContent = number > 99 ? "99+" : number;
    }
  } catch {
    // The next time.
  }
}

addEventListener("pagehide", leave);
document.addEventListener("visibilitychange", () => {
  if (document.hidden && current) {
    stopped = film(current).paused;
    film(current).pause();
  } else if (current && !calm.matches && !stopped) play(current);
});

watch(document);
toEnd();
counts();
setInterval(counts, 15000);
document.getElementById("feed")?.focus({ preventScroll: true });
