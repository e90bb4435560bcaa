/* Light and dark, and the search. */
const root = document.documentElement;
const toggle = document.querySelector(".theme");
const pressed = () => toggle.setAttribute("aria-pressed", root.dataset.theme === "dark");
toggle.hidden = false;
pressed();
toggle.addEventListener("click", () => {
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch {}
  pressed();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (query) => {
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch {}
  if (!chosen) { root.dataset.theme = query.matches ? "dark" : "light"; pressed(); }
});

const form = document.querySelector(".search");
const box = form.querySelector("input");
const found = document.getElementById("found");
const MOST = 12;
let index, loading;

/* Scripts, not fetches: these work from file://, too. */
const load = (src, integrity) => new Promise((resolve, reject) => {
  const script = Object.assign(document.createElement("script"), { src, onload: resolve, onerror: reject });
  if (integrity) Object.assign(script, { integrity, crossOrigin: "anonymous" });
  document.head.append(script);
});
const loadLunr = () => window.define?.amd  // pages with widgets have RequireJS, which such libraries turn to
  ? new Promise((resolve, reject) => { require([form.dataset.lunr], (module) => resolve(window.lunr = module), reject); })
  : load(form.dataset.lunr, form.dataset.integrity);
const ready = () => loading ??= Promise.all([
  loadLunr(), load(form.dataset.root + "search-index.js"),
]).then(() => { index = lunr.Index.load(SEARCH_INDEX.index); });

/* Whole words first, then beginnings, then words with one wrong letter. */
function search(text) {
  const words = text.toLowerCase().replace(/['’]s\b/g, "").match(/[\p{L}\p{N}_]+(?:\.[\p{L}\p{N}_]+)*/gu) ?? [];
  if (!words.length) return [];
  const hits = (last) => index.query((query) => words.forEach((word, i) => {
    const presence = lunr.Query.presence.REQUIRED;
    if (!last) query.term(word, { presence, usePipeline: true });
    else if (last === "*") query.term(word, { presence, usePipeline: false, wildcard: lunr.Query.wildcard.TRAILING });
    else query.term(word, { presence, usePipeline: false, editDistance: word.length > 4 ? 1 : 0 });
  }));
  const order = new Map();
  for (const how of ["", "*", "~"]) {
    if (how === "~" && order.size) break;
    for (const hit of hits(how)) if (!order.has(hit.ref)) order.set(hit.ref, hit);
  }
  return [...order.keys()].map((ref) => SEARCH_INDEX.sections[ref]);
}

async function show() {
  const text = box.value.trim();
  if (!text) { found.hidden = true; return; }
  await ready();
  if (text !== box.value.trim()) return;
  const hits = search(text);
  const list = found.querySelector("ol");
  list.replaceChildren(...hits.slice(0, MOST).map(([address, title, heading, excerpt]) => {
    const link = Object.assign(document.createElement("a"), { href: form.dataset.root + address });
    const add = (tag, textContent) => link.append(Object.assign(document.createElement(tag), { textContent }));
    add("strong", heading);
    if (heading !== title) add("em", title);
    add("span", excerpt);
    const item = document.createElement("li");
    item.append(link);
    return item;
  }));
  const many = hits.length > MOST ? `The first ${MOST} of ${hits.length} places` : `${hits.length} place${hits.length === 1 ? "" : "s"}`;
  found.querySelector("p").textContent = hits.length ? many : `Nothing about “${text}”`;
  found.hidden = false;
}

const close = () => { found.hidden = true; };
box.addEventListener("focus", () => { ready(); show(); });
box.addEventListener("input", show);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  show().then(() => found.querySelector("a")?.click());
});
form.addEventListener("focusout", (event) => { if (!form.contains(event.relatedTarget)) setTimeout(close, 150); });
form.addEventListener("keydown", (event) => {
  const links = [...found.querySelectorAll("a")];
  const here = links.indexOf(document.activeElement);
  if (event.key === "Escape") { close(); box.focus(); close(); }
  else if (event.key === "ArrowDown" && links.length) links[Math.min(here + 1, links.length - 1)].focus();
  else if (event.key === "ArrowUp" && here >= 0) (links[here - 1] ?? box).focus();
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    box.focus();
  }
});
found.addEventListener("click", (event) => { if (event.target.closest("a")) close(); });
