// Asks for the page again while someone looks at it, and puts in place what has changed: the nodes
// stay, and with them the reader's place on the page, choices, focus and zoom.
(() => {
  "use strict";
  const EVERY = 3000, SOON = 300; // ms
  const shown = () => document.querySelector("main").dataset;
  let tag = null;

  // Two nodes that may stand for the same thing. A figure's children are Plotly's, a trials
  // table's the page's script's.
  const key = (node) => {
    if (node.nodeType !== Node.ELEMENT_NODE) return node.nodeName;
    if (node.dataset.figure) return `figure ${node.dataset.figure}`;
    const words = /^H\d$/.test(node.nodeName) && !node.id ? node.textContent : "";
    return [node.nodeName, node.id, node.className, node.getAttribute("name"), words].join(" ");
  };

  // Pairs of children that stay: what is alike at the beginning, and of the rest the longest common
  // subsequence of their keys.
  const pairs = (old, fresh) => {
    let same = 0;
    const alike = () => same < old.length && same < fresh.length && key(old[same]) === key(fresh[same]);
    while (alike()) same++;
    const begin = fresh.slice(0, same).map((node, i) => [node, old[i]]);
    return new Map([...begin, ...subsequence(old.slice(same), fresh.slice(same))]);
  };
  const subsequence = (old, fresh) => {
    const a = old.map(key), b = fresh.map(key);
    const length = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
    for (let i = a.length - 1; i >= 0; i--) {
      for (let j = b.length - 1; j >= 0; j--) {
        length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1
          : Math.max(length[i + 1][j], length[i][j + 1]);
      }
    }
    const found = new Map();
    for (let i = 0, j = 0; i < a.length && j < b.length;) {
      if (a[i] === b[j]) found.set(fresh[j++], old[i++]);
      else if (length[i + 1][j] >= length[i][j + 1]) i++;
      else j++;
    }
    return found;
  };

  const update = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) { old.data = fresh.data; return; }
    if (old.dataset.figure || old.dataset.table || old.dataset.trials) return;
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const value = old.nodeName === "SELECT" ? old.value : null;
    const children = [...fresh.childNodes];
    const kept = pairs([...old.childNodes], children);
    const staying = new Set(kept.values());
    for (const child of [...old.childNodes]) if (!staying.has(child)) child.remove();
    let at = old.firstChild;
    for (const child of children) {
      const mine = kept.get(child);
      if (!mine) { old.insertBefore(child, at); continue; }
      at = mine.nextSibling;
      update(mine, child);
    }
    if (value !== null && [...old.options].some((option) => option.value === value)) old.value = value;
  };

  const sources = (page) => [...page.scripts].map((script) => script.getAttribute("src")).join();

  const take = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    if (sources(fresh) !== sources(document)) { location.reload(); return; } // another version
    document.title = fresh.title;
    document.getElementById("figures").textContent = fresh.getElementById("figures").textContent;
    update(document.querySelector("main"), fresh.querySelector("main"));
    document.dispatchEvent(new Event("refreshed"));
  };

  const unreachable = document.createElement("p");
  unreachable.className = "notes";
  unreachable.setAttribute("role", "status");
  const missed = (said) => {
    if (unreachable.isConnected) return;
    const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    unreachable.textContent = `${said} since ${time}.`;
    document.querySelector("main").prepend(unreachable);
  };

  const look = async () => {
    try {
      const answer = await fetch(shown().page ?? location.href, { cache: "no-cache" });
      if (answer.status === 404) return missed("This workload has not been in the database");
      if (!answer.ok) throw new Error(answer.statusText);
      unreachable.remove();
      if (answer.headers.get("ETag") === tag) return;
      const html = await answer.text();
      tag = answer.headers.get("ETag");
      take(html);
    } catch {
      missed("This page’s server has not answered");
    }
  };

  const soon = async () => {
    if (!document.hidden) await look();
    setTimeout(soon, "soon" in shown() ? SOON : EVERY);
  };
  document.addEventListener("visibilitychange", () => document.hidden || look());
  soon();
})();
