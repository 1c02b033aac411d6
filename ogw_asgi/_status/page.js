"use strict";
(() => {
  const main = document.getElementById("main");
  const link = document.getElementById("link");
  const told = document.getElementById("told");
  let events = null;
  let again = 0;
  let silent = 0;
  let doubt = 0;
  let heard = Date.now();
  let lost = false;

  const attributes = (old, now) => {
    for (const { name } of [...old.attributes]) {
      // Whether details are open is the reader's business.
      if (!now.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of now.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };

  const alike = (old, now) =>
    old.nodeType === now.nodeType && old.nodeName === now.nodeName && (old.id || "") === (now.id || "");

  // Makes the children of `old` what those of `now` are, and touches nothing that is so already: focus, selection, scroll
  // positions and the places of screen readers stay. What has an id is known by it wherever it has gone.
  const morph = (old, now) => {
    const wanted = new Set();
    for (const child of now.children) if (child.id) wanted.add(child.id);
    const known = new Map();
    for (const child of [...old.children]) {
      if (!child.id) continue;
      if (wanted.has(child.id)) known.set(child.id, child);
      else child.remove();
    }
    let at = old.firstChild;
    for (const child of [...now.childNodes]) {
      const found = child.id ? known.get(child.id) : at && !at.id && alike(at, child) ? at : null;
      if (!found || !alike(found, child)) {
        old.insertBefore(child, at);
        continue;
      }
      if (found === at) at = at.nextSibling;
      else old.insertBefore(found, at);
      if (found.nodeType !== Node.ELEMENT_NODE) {
        if (found.data !== child.data) found.data = child.data;
      } else if (!found.isEqualNode(child)) {
        attributes(found, child);
        morph(found, child);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  const healths = () =>
    new Map([...main.querySelectorAll("[data-health]")].map((tile) => [tile.id, tile.dataset]).map(
      ([id, { health, says }]) => [id, { health, says }]));

  const announce = (before) => {
    const changed = [...healths()].filter(([id, now]) => before.has(id) && before.get(id).health !== now.health);
    if (!changed.length) return;
    const rest = changed.length > 3 ? `, and ${changed.length - 3} more have changed` : "";
    told.textContent = `${changed.slice(0, 3).map(([, now]) => now.says).join(", ")}${rest}.`;
  };

  const show = (html) => {
    const before = healths();
    const focused = main.contains(document.activeElement);
    const parsed = document.createElement("template");
    parsed.innerHTML = html;
    morph(main, parsed.content);
    // What had the focus may be gone: its reader goes on from the beginning of what is left.
    if (focused && !main.contains(document.activeElement)) main.focus({ preventScroll: true });
    announce(before);
    document.title = main.querySelector("[data-title]").dataset.title;
  };

  const say = (how) => {
    if (how) link.textContent = how;
    else if (!lost) link.textContent = `not connected since ${new Date(heard).toISOString().slice(11, 19)} UTC`;
    lost = !how;
    document.body.classList.toggle("lost", lost);
  };

  const disconnect = () => {
    clearTimeout(again);
    clearTimeout(silent);
    clearTimeout(doubt);
    doubt = 0;
    if (events) events.close();
    events = null;
  };

  // A server that hangs, or a network that has gone, closes nothing: what is shown grows old, and nobody says so.
  const expect = () => {
    clearTimeout(silent);
    silent = setTimeout(() => {
      say("");
      connect();
    }, 10000);
  };

  // Where there is no stream to be had, as when as many follow as may, there is still the page.
  const fetched = async (instead) => {
    let html = null;
    try {
      const asked = new AbortController();
      // Sooner than the next try, which does not wait for this one, nor hear of it any more.
      setTimeout(() => asked.abort(), 4000);
      const answer = await fetch("_status", { headers: { accept: "text/html" }, signal: asked.signal });
      const page = answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
      // A host may send whoever has to sign in anew to a page of its own, which is none of ours.
      if (page?.querySelector("#main [data-title]")) html = page.getElementById("main").innerHTML;
    } catch {
      // The same as an answer that is none.
    }
    if (events !== instead) return;
    if (html !== null) {
      heard = Date.now();
      expect();
      show(html);
    }
    say(html === null ? "" : "live every 5 s");
  };

  const connect = () => {
    disconnect();
    expect();
    const mine = new EventSource("_status/events?as=html");
    events = mine;
    mine.addEventListener("open", () => {
      clearTimeout(doubt);
      doubt = 0;
      say("live");
    });
    mine.addEventListener("snapshot", (event) => {
      heard = Date.now();
      expect();
      show(JSON.parse(event.data).html);
    });
    mine.addEventListener("error", () => {
      if (events !== mine) return;
      // By itself it comes again after a lost connection, but not after an answer that is no stream. The server ends every
      // stream after a while, and that one comes again is no news.
      if (mine.readyState === EventSource.CLOSED) {
        clearTimeout(doubt);
        again = setTimeout(connect, 5000);
        fetched(mine);
      } else if (!doubt) {
        doubt = setTimeout(() => say(""), 3000);
      }
    });
  };

  // A hidden tab costs nothing, and claims nothing: its title is all that is seen of it.
  const look = () => {
    if (document.visibilityState !== "hidden") {
      connect();
      return;
    }
    disconnect();
    document.title = "not watching - ogw_asgi";
  };
  document.addEventListener("visibilitychange", look);
  look();
})();
