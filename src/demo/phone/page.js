// The page of the demonstration's phone. It talks to the demonstration's cloud only: it presses with
// POST /toast, and everything that it shows came back over /events. A press is one of
//   pressed -> travelling -> toasting -> ready, or failed with a sentence that says why.

const element = (id) => document.getElementById(id);
const main = document.querySelector("main");
const button = element("toast");
const ORDER = ["pressed", "travelling", "toasting", "ready"];
// How long the toaster may stay silent after it said that it toasts, before we stop promising.
const GRACE_MS = 1000;

let view = null; // the last thing that the cloud told us
let following = false; // whether it can tell us more
let press = null; // our own last press
let patience = 0; // the timer that ends our waiting

const SAYS = {
  refused: "The home refused it",
  expired: "It came too late, so nothing was toasted",
  failed: "The toaster could not do it",
  unknown: "It is not known whether the toaster did it",
};

function advance(stage, sentence) {
  if (!press) return;
  if (stage === "failed") press.brokenAt = press.stage;
  press.stage = stage;
  press.sentence = sentence;
  draw();
}

function since(moment) {
  const passed = performance.now() - moment;
  return passed < 1000 ? `${Math.round(passed)} ms` : `${(passed / 1000).toFixed(1)} s`;
}

async function pressToast() {
  if (button.getAttribute("aria-disabled") === "true") return;
  const mine = { stage: "pressed", sentence: "Pressed …", since: performance.now(), seen: false };
  press = mine;
  draw();
  try {
    const answer = await fetch("/toast", { method: "POST", signal: AbortSignal.timeout(8000) });
    const body = await answer.json().catch(() => ({}));
    if (press !== mine) return;
    if (!answer.ok) return advance("failed", body.error ?? `The cloud answered ${answer.status}.`);
    mine.id = body.id;
    clearTimeout(patience);
    patience = setTimeout(giveUp, body.life_seconds * 1000 + GRACE_MS, mine, body.life_seconds);
    advance("travelling", homeIsAway()
      ? "The cloud has it and waits for the home."
      : "The cloud has it, now it travels home.");
    follow();
  } catch {
    if (press === mine) advance("failed", "The cloud did not answer. Nothing was sent as far as we know.");
  }
}

function giveUp(mine, life) {
  if (press !== mine || mine.stage !== "travelling") return;
  advance("failed", `No answer within ${life} seconds. It is too late now: it will not toast by surprise.`);
}

// What the cloud told us, for our own press.
function follow() {
  if (!press?.id || !view) return;
  const toast = view.toaster?.toast;
  const outcome = view.outcomes.find((one) => one.id === press.id);
  if (press.stage === "travelling" || (press.stage === "failed" && press.brokenAt === "travelling")) {
    if (!outcome) return;
    press.took ??= since(press.since);
    if (outcome.status === "applied") {
      advance("toasting", `The toaster said yes after ${press.took}.`);
    } else if (press.status !== outcome.status) {
      press.status = outcome.status;
      press.stage = "travelling";
      // "Too late" says it all; the times in its detail are for programs.
      const why = outcome.detail && outcome.status !== "expired" ? `: ${outcome.detail}.` : ".";
      advance("failed", `${SAYS[outcome.status] ?? "It did not work"}${why}`);
    }
  }
  if (press.stage === "toasting") {
    press.seen ||= toast === "toasting";
    if (press.seen && toast === "ready") advance("ready", "Your toast is ready. Enjoy!");
    else if (press.seen && toast === "early") advance("failed", "Somebody at home took the toast out early.");
  }
}

const homeIsAway = () => view?.home === "offline";
const isToasting = () => view?.toaster?.toast === "toasting";

// What the button says, and why it cannot be pressed if it cannot.
function situation() {
  if (!following) return ["Toast", "Looking for the cloud …", true];
  if (!view?.cloud) return ["Toast", "The cloud itself is not ready yet.", true];
  if (press?.stage === "pressed") return ["Pressed …", press.sentence, true];
  if (press?.stage === "travelling") return ["On its way …", press.sentence, true];
  if (press?.stage === "toasting") return ["Toasting …", press.sentence, true];
  if (isToasting()) return ["Toasting …", "It is toasting already; somebody was faster.", true];
  if (press?.sentence) return ["Toast again", press.sentence, false];
  if (homeIsAway()) return ["Toast", "The home is offline. You may press: it waits 10 seconds, then it is too late.", false];
  if (view.home === null) return ["Toast", "The home has not said hello yet.", false];
  return ["Toast", "Ready when you are.", false];
}

function draw() {
  const [label, sentence, disabled] = situation();
  const stage = press?.stage ?? (isToasting() ? "toasting" : "idle");
  main.dataset.stage = stage === "failed" && isToasting() ? "toasting" : stage;
  write(button, label);
  button.setAttribute("aria-disabled", String(disabled));
  write(element("status"), sentence);

  const progress = element("progress");
  progress.hidden = !isToasting();
  progress.value = view?.toaster?.progress ?? 0;

  const reached = ORDER.indexOf(stage === "failed" ? press.brokenAt : stage);
  for (const item of element("steps").children) {
    const place = ORDER.indexOf(item.dataset.step);
    const done = place < reached || (place === reached && stage === "ready");
    const [name, word] =
      done ? ["done", "done"] :
      place === reached && stage === "failed" ? ["broken", "this did not work"] :
      place === reached ? ["now", "now"] : ["", "not yet"];
    item.className = name;
    write(item.querySelector(".unseen"), `, ${word}`);
  }

  write(element("home"), view?.home ?? "not known");
  element("stale").hidden = !homeIsAway();
  const away = view?.toaster_available === "offline";
  write(element("toaster"), away ? "not reachable" : { toasting: "toasting", ready: "ready", early: "stopped", none: "idle" }[view?.toaster?.toast] ?? "not known");
  write(element("temperature"), typeof view?.temperature === "number" ? `${view.temperature.toFixed(1)} °C` : "not known");
}

// Only what changed, so that a screen reader says it once.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const cutters = document.querySelectorAll("[data-cut]");
const allowCutting = (allowed) =>
  cutters.forEach((cutter) => cutter.setAttribute("aria-disabled", String(!allowed)));

async function cutLine(event) {
  const cutter = event.currentTarget;
  if (cutter.getAttribute("aria-disabled") === "true") return;
  const length = Number(cutter.dataset.cut);
  const status = element("cut-status");
  allowCutting(false);
  try {
    const answer = await fetch(`/cut/${length}`, { method: "POST", signal: AbortSignal.timeout(8000) });
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error);
    write(status, `The line is cut for ${length} seconds.`);
    setTimeout(() => {
      write(status, "The line is back. The home finds its way by itself.");
      allowCutting(true);
    }, length * 1000);
  } catch (error) {
    write(status, error.message || "That did not work: the demonstration does not answer.");
    allowCutting(true);
  }
}

const stream = new EventSource("/events");
stream.onmessage = (event) => {
  following = true;
  view = JSON.parse(event.data);
  follow();
  draw();
};
stream.onerror = () => {
  following = false; // the browser tries again by itself
  draw();
};
button.addEventListener("click", pressToast);
cutters.forEach((cutter) => cutter.addEventListener("click", cutLine));
draw();
