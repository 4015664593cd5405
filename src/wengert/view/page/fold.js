// Which boxes are in view: the tree of boxes, what is open in it, and the edges between what can be seen.

const LARGE = 400;   // boxes in view beyond which the layout is asked for less
const REACH = 40;    // boxes that an edge of a large view may pass and still be laid out

class Fold {
  constructor(data) {
    this.data = data;
    this.setMode(data.mode);
  }

  // Change the way of grouping; everything but the groups of the first view is closed.
  setMode(mode) {
    const chosen = this.data.modes[mode];
    this.mode = mode;
    this.boxes = this.data.boxes.concat(chosen.groups);
    this.parent = chosen.parents;
    this.children = this.boxes.map(() => []);
    this.roots = [];
    this.parent.forEach((above, id) => (above < 0 ? this.roots : this.children[above]).push(id));
    this.open = new Set(chosen.open);
    // Where in the program a box begins: groups are listed last, but stand where their first member does.
    this.start = this.boxes.map((_, id) => id);
    for (let id = 0; id < this.data.boxes.length; id += 1) {
      for (let above = this.parent[id]; above >= 0 && this.start[above] > this.start[id]; above = this.parent[above]) {
        this.start[above] = this.start[id];
      }
    }
  }

  holds(id) { return this.children[id].length > 0; }

  isGroup(id) { return id >= this.data.boxes.length; }

  // The box whose frame `id` is drawn in; -1 outside all frames.
  frame(id, frameless) {
    let above = this.parent[id];
    while (frameless && above >= 0 && this.isGroup(above)) above = this.parent[above];
    return above;
  }

  ancestors(id) {
    const found = [];
    for (let above = this.parent[id]; above >= 0; above = this.parent[above]) found.push(above);
    return found;
  }

  // The box in whose place one sees `id`: the outermost closed one around it, or itself.
  face(id) {
    let shown = id;
    for (const above of this.ancestors(id)) if (!this.open.has(above)) shown = above;
    return shown;
  }

  toggle(id) { if (!this.open.delete(id)) this.open.add(id); }

  reveal(id) { for (const above of this.ancestors(id)) this.open.add(above); }

  foldAll() { this.open.clear(); }

  unfoldAll() { this.boxes.forEach((_, id) => { if (this.holds(id)) this.open.add(id); }); }

  // In a large view, edges that reach far from a value with several readers are left out of the layout, whose
  // time and memory grow with their length; they are drawn straight. An edge that alone leaves its box stays.
  loosen(boxes, edges) {
    const position = new Map(boxes.map((id, index) => [id, index])), readers = new Map();
    for (const edge of edges) if (!edge.beside) readers.set(edge.tail, (readers.get(edge.tail) || 0) + 1);
    for (const edge of edges) {
      const giver = edge.beside ? edge.head : edge.tail, reach = position.get(edge.tail) - position.get(edge.head);
      edge.loose = Math.abs(reach) > REACH && readers.get(giver) > 1;
    }
  }

  // Boxes in view, in order, and edges between them; several edges to or from a closed box become one.
  view() {
    const faces = this.boxes.map((_, id) => this.face(id));
    let boxes = faces.map((shown, id) => shown === id ? id : -1).filter((id) => id >= 0);
    // Functions and lines that call each other back and forth make frames that a large layout cannot untangle.
    const frameless = boxes.length > LARGE && this.mode !== "order" && this.mode !== "none";
    if (frameless) boxes = boxes.filter((id) => !(this.isGroup(id) && this.open.has(id)));
    boxes.sort((one, other) => this.start[one] - this.start[other] || other - one);
    const merged = new Map();
    this.data.edges.forEach(([tail, head, port, slot, gradient, beside, label], index) => {
      const from = faces[tail], to = faces[head];
      if (from === to) return;
      const hidden = from !== tail || to !== head;
      const key = hidden ? `${from} ${to} ${gradient} ${beside}` : index;
      const before = merged.get(key);
      if (before) {
        before.count += 1;
        before.label = `${before.count} values`;
      } else {
        merged.set(key, {
          tail: from, head: to, gradient, beside, label, count: 1,
          port: from === tail ? port : 0, slot: to === head ? slot : 0,
        });
      }
    });
    const edges = [...merged.values()];
    if (boxes.length > LARGE) this.loosen(boxes, edges);
    return { boxes, edges, frameless };
  }
}
