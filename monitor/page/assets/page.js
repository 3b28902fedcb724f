/* Keeps the page up to date: on an event of the stream the pieces that it concerns are fetched anew, as the HTML that the
   server makes, at most twice a second. It makes no HTML of its own. */

const GAP = 500;
const two = (value) => String(value).padStart(2, "0");

/* -- times in the viewer's zone; the UTC stays in the title ------------------------------------------------ */

function clock(at, form) {
  const day = `${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const minute = `${two(at.getHours())}:${two(at.getMinutes())}`;
  if (form === "hour") return minute;
  if (form === "day") return day;
  if (at.toDateString() === new Date().toDateString()) return `${minute}:${two(at.getSeconds())}`;
  return `${at.getFullYear()}-${day} ${minute}`;
}

function localise(root) {
  for (const one of root.querySelectorAll("time[datetime]")) one.textContent = clock(new Date(one.dateTime));
  for (const one of root.querySelectorAll("text[data-time]")) one.textContent = clock(new Date(one.dataset.time), one.dataset.form);
}

/* -- pieces that live ------------------------------------------------------------------------------------- */

const pieces = [...document.querySelectorAll("[data-live]")].map((node) => ({ node, kinds: (node.dataset.on || "").split(" "), last: null, dirty: false, busy: false }));
const paused = new Set();
let missed = 0;
let timer = null;

function replace(piece, text) {
  const { node } = piece;
  const open = new Map([...node.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  const where = focused && { id: focused.id, href: focused.getAttribute("href") };
  const fresh = new DOMParser().parseFromString(text, "text/html");
  localise(fresh);
  node.replaceChildren(...fresh.body.childNodes);
  for (const one of node.querySelectorAll("details[id]")) if (open.has(one.id)) one.open = open.get(one.id);
  if (where) {
    const again = (where.id && document.getElementById(where.id)) || (where.href && node.querySelector(`a[href="${CSS.escape(where.href)}"]`)) || node.querySelector("summary");
    again?.focus({ preventScroll: true });
  }
  if ("title" in node.dataset) {
    const count = Number(node.querySelector("[data-count]").dataset.count);
    document.title = count ? `(${count}) tapewatch` : "tapewatch";
  }
}

async function refresh(piece) {
  if (piece.busy || paused.has(piece.node.id)) return;
  piece.dirty = false;
  piece.busy = true;
  try {
    const answer = await fetch(piece.node.dataset.live, { headers: { accept: "text/html" } });
    if (answer.redirected) { location.reload(); return; } /* the session is over: the view itself leads to the sign-in */
    const text = await answer.text();
    if (answer.ok && text !== piece.last) {
      piece.last = text;
      replace(piece, text);
    }
  } catch {
    piece.dirty = true; /* the stream says that the connection is lost, and all is fetched when it is back */
  } finally {
    piece.busy = false;
  }
}

function flush() {
  timer = null;
  for (const piece of pieces) if (piece.dirty) refresh(piece);
  if (pieces.some((piece) => piece.dirty && !paused.has(piece.node.id))) soon();
}

function soon() { timer ??= setTimeout(flush, GAP); }

function news(kind) {
  for (const piece of pieces) {
    if (kind === "all" || piece.kinds.includes(kind)) {
      piece.dirty = true;
      if (paused.has(piece.node.id) && kind !== "all") wait(++missed);
    }
  }
  soon();
}

function say(lost) {
  const line = document.getElementById("link");
  line.textContent = lost ? line.dataset.lostText : line.dataset.liveText;
  line.className = lost ? "link lost" : "link live";
}

function follow() {
  const kinds = [...new Set(pieces.flatMap((piece) => piece.kinds))].filter(Boolean);
  const stream = new EventSource(`/api/v1/stream?types=${kinds.join(",")}`);
  let begun = false;
  stream.onopen = () => { say(false); if (begun) news("all"); begun = true; };
  stream.onerror = () => say(true);
  for (const kind of kinds) stream.addEventListener(kind, () => news(kind));
  stream.addEventListener("reset", () => news("all"));
}

for (const piece of pieces) {
  const every = Number(piece.node.dataset.every);
  const wanted = () => !document.hidden && (!piece.node.dataset.while || piece.node.querySelector(piece.node.dataset.while));
  if (every) setInterval(() => { if (wanted()) refresh(piece); }, 1000 * every);
  if (piece.node.dataset.while) refresh(piece);
}

/* -- a tape that stands still ------------------------------------------------------------------------------ */

function wait(count) {
  const line = document.getElementById("waiting");
  if (line) line.textContent = count === null ? "" : document.body.dataset.waiting.replace("{count}", count);
}

for (const button of document.querySelectorAll("[data-pause]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const stop = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(stop));
    missed = 0;
    if (stop) paused.add(button.dataset.pause);
    else paused.delete(button.dataset.pause);
    wait(stop ? 0 : null);
    if (!stop) news("document");
  });
}

/* -- what a click copies or prints ------------------------------------------------------------------------- */

/* Browsers give the clipboard to https and this machine alone: elsewhere the text is shown and selected, to be copied. */
async function copy(node) {
  try {
    await navigator.clipboard.writeText(node.textContent.trim());
    return true;
  } catch {
    const around = node.closest("details");
    if (around) around.open = true;
    getSelection().selectAllChildren(node);
    return document.execCommand("copy");
  }
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (await copy(document.getElementById(button.dataset.copy))) button.textContent = document.body.dataset.copied;
  });
}
for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

localise(document);
document.getElementById("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (pieces.some((piece) => piece.node.dataset.on)) follow();
