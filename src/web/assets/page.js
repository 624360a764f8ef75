// Keeps the page fresh: asks for it again and changes what is different. Without this script the browser
// reloads it as a whole.
"use strict";

const EVERY = 2000;
let last = new Date();

// Changes as little as possible: a screen reader repeats what is replaced, and a selection is lost with it.
function change(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
  after.forEach((node, at) => (at < before.length ? change(before[at], node) : old.append(node)));
  before.slice(after.length).forEach((node) => node.remove());
}

async function refresh() {
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["main", "footer"]) change(document.querySelector(part), fresh.querySelector(part));
    document.title = fresh.title;
    last = new Date();
  } catch {
    document.getElementById("stale-since").textContent = last.toLocaleTimeString();
    document.getElementById("stale").hidden = false;
  }
  setTimeout(refresh, document.hidden ? 10 * EVERY : EVERY);
}

setTimeout(refresh, EVERY);
