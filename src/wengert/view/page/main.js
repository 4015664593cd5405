// The page: reads the data, lays out what is open, and answers clicks, keys and the search.

const by = (id) => document.getElementById(id);
const data = JSON.parse(by("data").textContent);
const fold = new Fold(data);
const layouter = new Layouter();
const stage = by("stage"), scene = by("scene");
const view = new View(stage, scene, (scale) => stage.classList.toggle("far", scale < 0.3));
const panel = new Panel(by("panel"), fold, (id) => go(id));
const texts = data.boxes.map(searchText);

const state = { selected: null, found: [], at: -1, run: 0, size: [1, 1], rectangles: new Map(), shown: null };

function status(text, { error = false, stop = false } = {}) {
  by("status").hidden = !text;
  by("status").classList.toggle("error", error);
  by("status-text").textContent = text;
  by("cancel").hidden = !stop;
}

// Lay out and draw what is open. `keep` is a box that stays where it is on the screen; without it the view is fitted.
async function refresh(keep = null) {
  const run = state.run += 1;
  if (state.busy) layouter.stop();
  state.busy = true;
  const shown = fold.view();
  const began = performance.now();
  const tell = () => status(
    `placing ${shown.boxes.length.toLocaleString("en")} boxes, ${Math.round((performance.now() - began) / 1000)} s`, { stop: true });
  const timer = setInterval(tell, 500);
  document.body.dataset.state = "placing";
  try {
    const placed = await layouter.place(fold, shown);
    if (run !== state.run) return;
    const before = keep === null ? null : state.rectangles.get(keep);
    state.rectangles = draw(scene, fold, shown, placed);
    state.shown = shown;
    state.size = [placed.width, placed.height];
    const after = before && state.rectangles.get(keep);
    if (after) {
      view.x += (before.x - after.x) * view.scale;
      view.y += (before.y - after.y) * view.scale;
      view.apply();
    } else {
      view.fit(...state.size);
    }
    mark();
    status(shown.frameless ? "in a view this large the frames of unfolded groups are left out" : "");
    document.body.dataset.state = "ready";
  } catch (error) {
    if (run !== state.run) return;
    status(`the layout failed: ${error.message || error}; fold some boxes and try again`, { error: true });
    document.body.dataset.state = "failed";
  } finally {
    clearInterval(timer);
    if (run === state.run) state.busy = false;
  }
}

// Show what is selected, its edges, and what the search found (a closed box is marked for what it hides).
function mark() {
  const faces = new Set(state.found.map((id) => fold.face(id)));
  stage.classList.toggle("searching", state.found.length > 0);
  for (const box of scene.querySelectorAll(".box")) {
    const id = Number(box.dataset.id);
    box.classList.toggle("selected", id === state.selected);
    box.classList.toggle("hit", faces.has(id));
  }
  for (const edge of scene.querySelectorAll(".edge")) {
    const near = Number(edge.dataset.tail) === state.selected || Number(edge.dataset.head) === state.selected;
    edge.classList.toggle("near", near && state.selected !== null);
  }
}

function select(id) {
  state.selected = id;
  if (id === null) panel.clear(); else panel.show(id);
  mark();
}

// Bring a box into view, unfolding what hides it.
async function go(id) {
  if (fold.face(id) !== id) {
    fold.reveal(id);
    await refresh();
  }
  select(id);
  const rectangle = state.rectangles.get(id);
  if (rectangle) view.centre(rectangle);
}

async function toggle(id) {
  fold.toggle(id);
  await refresh(id);
  select(id);
}

function search() {
  const words = by("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  state.found = [];
  if (words.length) texts.forEach((text, id) => { if (words.every((word) => text.includes(word))) state.found.push(id); });
  state.at = -1;
  by("hits").textContent = words.length ? `${state.found.length.toLocaleString("en")} found` : "";
  if (words.length) panel.hits(state.found); else panel.clear();
  mark();
}

function next(step) {
  if (!state.found.length) return;
  state.at = (state.at + step + state.found.length) % state.found.length;
  by("hits").textContent = `${(state.at + 1).toLocaleString("en")} of ${state.found.length.toLocaleString("en")}`;
  go(state.found[state.at]);
}

// What the colours mean: those that the current way of folding can show.
function legend() {
  by("legend").replaceChildren();
  const kinds = new Set(data.boxes.map((box) => box.count && box.kind === "operation" ? "graph" : box.kind));
  const words = { input: "input", constant: "constant", operation: "operation", output: "output", graph: "nested graph (click to unfold)" };
  const add = (shape, text) => {
    const item = document.createElement("span"), picture = element("svg", { class: "wengert" });
    picture.append(shape);
    item.append(picture, text);
    by("legend").append(item);
  };
  const swatch = (style) => {
    const group = element("g", { class: `box ${style}` });
    group.append(element("rect", { x: 1, y: 1, width: 20, height: 10, rx: 3 }));
    return group;
  };
  for (const [kind, text] of Object.entries(words)) if (kinds.has(kind)) add(swatch(kind), text);
  const grouped = data.modes[fold.mode].groups.length > 0;
  if (grouped) add(swatch("group"), "folded group (click to unfold)");
  if (data.boxes.some((box) => box.backward)) add(swatch("backward"), "gradient part");
  const arrow = (role, style) => element("path", { class: `edge ${role} ${style}`, d: "M1 6h20", "marker-end": `url(#head-${role})` });
  add(arrow("forward", ""), "value");
  if (data.hasGradient) add(arrow("gradient", data.edges.some((edge) => edge[5]) ? "beside" : ""), "gradient");
  if (grouped || kinds.has("graph")) add(element("path", { class: "edge forward several", d: "M1 6h20" }), "several values");
}

function save() {
  const [width, height] = state.size, copy = scene.cloneNode(true);
  copy.removeAttribute("transform");
  copy.id = "scene";
  const root = element("svg", { xmlns: SVG, width, height, viewBox: `-8 -8 ${width + 16} ${height + 16}`, class: "wengert" });
  root.append(element("style", {}, document.querySelector("style").textContent));
  root.append(copy);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(root)], { type: "image/svg+xml" }));
  link.download = `${data.name.replace(/[^\w.-]+/g, "_") || "graph"}.svg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

scene.addEventListener("click", (event) => {
  if (view.dragged > 4) return;
  const box = event.target.closest(".box");
  if (!box) return;
  const id = Number(box.dataset.id);
  if (!fold.holds(id)) return select(id);
  if (!fold.open.has(id) || event.target.closest(".handle")) toggle(id);
});
stage.addEventListener("click", (event) => { if (view.dragged <= 4 && !event.target.closest(".box, #status")) select(null); });

by("search").addEventListener("input", search);
by("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") next(event.shiftKey ? -1 : 1);
  if (event.key === "Escape") { by("search").value = ""; search(); stage.focus(); }
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { event.preventDefault(); by("search").focus(); }
  else if (event.key === "f") view.fit(...state.size, true);
  else if (event.key === "+" || event.key === "=") view.zoomBy(1.25);
  else if (event.key === "-") view.zoomBy(0.8);
  else if (event.key.startsWith("Arrow")) {
    view.x += { ArrowLeft: 60, ArrowRight: -60 }[event.key] || 0;
    view.y += { ArrowUp: 60, ArrowDown: -60 }[event.key] || 0;
    view.apply();
  }
});
by("mode").value = fold.mode;
by("mode").addEventListener("change", () => { fold.setMode(by("mode").value); select(null); legend(); refresh(); });
by("fold-all").addEventListener("click", () => { fold.foldAll(); refresh(); });
by("unfold-all").addEventListener("click", () => { fold.unfoldAll(); refresh(); });
by("gradients").addEventListener("change", () => stage.classList.toggle("no-gradients", !by("gradients").checked));
by("gradient-switch").hidden = !data.hasGradient;
by("zoom-in").addEventListener("click", () => view.zoomBy(1.25));
by("zoom-out").addEventListener("click", () => view.zoomBy(0.8));
by("fit").addEventListener("click", () => view.fit(...state.size, true));
by("save").addEventListener("click", save);
by("cancel").addEventListener("click", () => {
  state.run += 1;
  state.busy = false;
  layouter.stop();
  status("stopped; fold some boxes and try again");
  document.body.dataset.state = "stopped";
});
// Paper holds the whole picture, whatever part of it is on the screen.
window.addEventListener("beforeprint", () => {
  by("picture").setAttribute("viewBox", `-8 -8 ${state.size[0] + 16} ${state.size[1] + 16}`);
  scene.removeAttribute("transform");
});
window.addEventListener("afterprint", () => { by("picture").removeAttribute("viewBox"); view.apply(); });

legend();
refresh();
