// Shows what is said of the file by now, and goes to the gateway's page when that stands here. Without this script the
// browser reloads the page as a whole, and with it what somebody is about to copy.
"use strict";

const EVERY = 1000; // ms between two looks

async function look() {
  try {
    const answer = await fetch("/", { cache: "no-store" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("check");
    // Another page stands here: the gateway's.
    if (answer.ok && !fresh) return location.reload();
    const check = document.getElementById("check");
    if (fresh && !check.isEqualNode(fresh)) check.replaceWith(document.adoptNode(fresh));
  } catch {
    // Nobody is here between the two pages, or never again: then the last words stand.
  }
  setTimeout(look, EVERY);
}

setTimeout(look, EVERY);
