// Keeps the page fresh: asks for it again and replaces the parts that changed. Without this script the
// browser reloads it as a whole.
"use strict";

const EVERY = 2000;
let last = new Date();

async function refresh() {
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const update = fresh.getElementById(part.id);
      // Only what changed: a screen reader repeats what is replaced.
      if (!update || update.isEqualNode(part)) continue;
      part.className = update.className;
      part.replaceChildren(...update.childNodes);
    }
    document.title = fresh.title;
    document.getElementById("stale").hidden = true;
    last = new Date();
  } catch {
    document.getElementById("stale-since").textContent = last.toLocaleTimeString();
    document.getElementById("stale").hidden = false;
  }
  setTimeout(refresh, document.hidden ? 10 * EVERY : EVERY);
}

setTimeout(refresh, EVERY);
