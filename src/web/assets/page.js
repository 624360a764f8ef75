// Keeps the page fresh: listens to the gateway's events and changes what is different. Where they cannot be had, it
// asks for the page every two seconds instead. Without this script the browser reloads it as a whole.
"use strict";

const EVERY = 2000; // ms between two questions for the page
const PATIENCE = 5000; // ms until a silence is told
const AGAIN = 60000; // ms until events are tried again after they, or the page, were not to be had

const main = document.getElementById("main");
const silent = document.getElementById("silent");
let edition = main.dataset.edition;
let source = null;
let timer = null;
// Until a silence is told.
let quiet = null;
let refused = 0;
let last = new Date();
// The gateway's clock minus ours.
let ahead = 0;

// Changes as little as possible: a screen reader repeats what is replaced, and a selection is lost with it.
function change(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = fresh.data;
    return;
  }
  const isOpen = old.nodeName === "DETAILS" && old.open;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (isOpen) old.open = true;
  // An event leaves the words of a time to us.
  if (old.nodeName === "TIME" && !fresh.firstChild) return;
  const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
  after.forEach((node, at) => (at < before.length ? change(before[at], node) : old.append(node)));
  before.slice(after.length).forEach((node) => node.remove());
}

// The words of `words::span`.
function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [count, unit] =
    seconds < 60 ? [seconds, "second"]
    : seconds < 3600 ? [Math.floor(seconds / 60), "minute"]
    : seconds < 86400 ? [Math.floor(seconds / 3600), "hour"]
    : [Math.floor(seconds / 86400), "day"];
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

function count() {
  const now = Date.now() + ahead;
  for (const time of document.getElementsByTagName("time")) {
    if (time.id === "made") continue;
    const age = now - Date.parse(time.dateTime);
    const words = time.className === "lasting" ? `for ${span(age)}` : age < 2000 ? "just now" : `${span(age)} ago`;
    if (time.textContent !== words) time.textContent = words;
  }
}

// What came is from now.
function heard() {
  last = new Date();
  ahead = Date.parse(document.getElementById("made").dateTime) - last.getTime();
  document.title = document.getElementById("verdict").dataset.title;
  silence(false);
  count();
}

function silence(isSilent) {
  clearTimeout(quiet);
  quiet = null;
  if (silent.hidden !== isSilent) return;
  silent.textContent = isSilent ? `Hearthlink does not answer. What you see is from ${last.toLocaleTimeString()}.` : "";
  silent.hidden = !isSilent;
}

async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    // What is told of a silence is ours.
    fresh.getElementById("silent").replaceWith(silent.cloneNode(true));
    change(main, fresh.getElementById("main"));
    change(document.getElementById("footer"), fresh.getElementById("footer"));
    edition = main.dataset.edition;
    heard();
  } catch {
    // Events would only send us here again, at once.
    refused = Date.now();
    silence(true);
  }
  next();
}

function next() {
  clearTimeout(timer);
  if (document.hidden || source) return;
  if (Date.now() - refused > AGAIN) listen();
  else timer = setTimeout(refresh, EVERY);
}

function listen() {
  source = new EventSource(`/api/events?since=${edition}`);
  source.addEventListener("parts", (event) => {
    edition = event.lastEventId;
    const fresh = new DOMParser().parseFromString(event.data, "text/html");
    for (const part of [...fresh.body.children]) {
      const old = document.getElementById(part.id);
      if (old) change(old, part);
    }
    heard();
  });
  // What comes in between would be replaced by an older page, and never be told again: then we listen anew.
  source.addEventListener("page", () => {
    source.close();
    source = null;
    refresh();
  });
  source.onopen = () => silence(false);
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) {
      // Refused, or gone: the page itself is asked for.
      source = null;
      refused = Date.now();
      refresh();
    } else {
      // The browser comes again by itself, every two seconds.
      quiet ??= setTimeout(() => silence(true), PATIENCE);
    }
  };
}

// Nobody looks: nothing is kept open. Browsers have six connections to a host, for all its tabs together.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
    clearTimeout(timer);
    clearTimeout(quiet);
    quiet = null;
  } else {
    refresh();
  }
});

setInterval(() => document.hidden || count(), 1000);
heard();
next();
