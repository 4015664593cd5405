// SVG elements for a layout: boxes, edges, and the gradient edges that run beside forward edges.

const SVG = "http://www.w3.org/2000/svg";
const BESIDE = 6;

function element(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

function markers() {
  const defs = element("defs");
  for (const role of ["forward", "gradient"]) {
    const marker = element("marker", {
      id: `head-${role}`, viewBox: "0 0 8 8", refX: 7.5, refY: 4, markerWidth: 8, markerHeight: 8,
      markerUnits: "userSpaceOnUse", orient: "auto",
    });
    marker.append(element("path", { class: `head ${role}`, d: "M0 0.5L8 4L0 7.5z" }));
    defs.append(marker);
  }
  return defs;
}

// Draw into `scene`; returns the rectangle of each box in view: id -> {x, y, width, height}.
function draw(scene, fold, view, placed) {
  const rectangles = new Map();
  const frames = element("g"), lines = element("g"), boxes = element("g");
  const stack = placed.children.map((node) => [node, 0, 0]).reverse();
  while (stack.length) {
    const [node, left, top] = stack.pop();
    const id = Number(node.id), x = left + node.x, y = top + node.y;
    rectangles.set(id, { x, y, width: node.width, height: node.height });
    if (node.children) {
      frames.append(frame(fold, id, rectangles.get(id)));
      for (const child of node.children) stack.push([child, x, y]);
    } else {
      boxes.append(closedBox(fold, id, rectangles.get(id)));
    }
  }
  const routes = new Map(), ports = portPlaces(placed);
  for (const edge of placed.edges || []) {
    const index = Number(edge.id.slice(1)), shown = view.edges[index];
    const points = route(edge);
    routes.set(endsKey(shown.tail, shown.head, shown), points);
    lines.append(line(shown, points));
  }
  for (const shown of view.edges) {
    if (!shown.loose || shown.beside) continue;
    const points = straight(shown, rectangles, ports);
    routes.set(endsKey(shown.tail, shown.head, shown), points);
    lines.append(line(shown, points));
  }
  for (const shown of view.edges) {
    if (!shown.beside) continue;
    const points = routes.get(endsKey(shown.head, shown.tail, shown));
    if (points) lines.append(line(shown, offset(points, BESIDE).reverse()));
  }
  scene.replaceChildren(markers(), frames, lines, boxes);
  return rectangles;
}

// Where the places for edges are: port id -> [x, y].
function portPlaces(placed) {
  const places = new Map(), stack = (placed.children || []).map((node) => [node, 0, 0]);
  while (stack.length) {
    const [node, left, top] = stack.pop();
    for (const port of node.ports || []) places.set(port.id, [left + node.x + port.x, top + node.y + port.y]);
    for (const child of node.children || []) stack.push([child, left + node.x, top + node.y]);
  }
  return places;
}

// The way of an edge that was left out of the layout.
function straight(edge, rectangles, ports) {
  const tail = rectangles.get(edge.tail), head = rectangles.get(edge.head);
  return [
    ports.get(`${edge.tail}o${edge.port}`) || [tail.x + tail.width / 2, tail.y + tail.height],
    ports.get(`${edge.head}i${edge.slot}`) || [head.x + head.width / 2, head.y],
  ];
}

function endsKey(tail, head, edge) { return `${tail} ${head} ${edge.port} ${edge.slot}`; }

function route(edge) {
  const points = [];
  for (const section of edge.sections || []) points.push(section.startPoint, ...(section.bendPoints || []), section.endPoint);
  return points.map(({ x, y }) => [x, y]);
}

// A route of level and upright pieces, moved by `gap` to the left of its direction (east of one that goes down).
function offset(points, gap) {
  const moved = points.map(([x, y]) => [x, y]);
  for (let k = 0; k + 1 < points.length; k += 1) {
    const [x0, y0] = points[k], [x1, y1] = points[k + 1];
    if (Math.abs(x1 - x0) < 0.01) {
      const shift = y1 >= y0 ? gap : -gap;
      moved[k][0] = x0 + shift;
      moved[k + 1][0] = x1 + shift;
    } else {
      const shift = x1 >= x0 ? -gap : gap;
      moved[k][1] = y0 + shift;
      moved[k + 1][1] = y1 + shift;
    }
  }
  return moved;
}

// A path through the points with rounded corners.
function path(points) {
  let text = `M${points[0][0].toFixed(1)} ${points[0][1].toFixed(1)}`;
  for (let k = 1; k < points.length; k += 1) {
    const [x, y] = points[k];
    if (k + 1 < points.length) {
      const [px, py] = points[k - 1], [nx, ny] = points[k + 1];
      const before = Math.hypot(x - px, y - py), after = Math.hypot(nx - x, ny - y);
      const radius = Math.min(6, before / 2, after / 2);
      if (radius > 0.1) {
        const a = [x + (px - x) * radius / before, y + (py - y) * radius / before];
        const b = [x + (nx - x) * radius / after, y + (ny - y) * radius / after];
        text += `L${a[0].toFixed(1)} ${a[1].toFixed(1)}Q${x.toFixed(1)} ${y.toFixed(1)} ${b[0].toFixed(1)} ${b[1].toFixed(1)}`;
        continue;
      }
    }
    text += `L${x.toFixed(1)} ${y.toFixed(1)}`;
  }
  return text;
}

function line(edge, points) {
  const role = edge.gradient ? "gradient" : "forward";
  const made = element("path", {
    class: `edge ${role}${edge.beside ? " beside" : ""}${edge.count > 1 ? " several" : ""}${edge.loose ? " loose" : ""}`,
    d: path(points), "marker-end": `url(#head-${role})`, "data-tail": edge.tail, "data-head": edge.head,
  });
  if (edge.label) made.append(element("title", {}, edge.label));
  return made;
}

function boxClass(fold, id) {
  const box = fold.boxes[id];
  const words = ["box", box.kind === "stretch" ? "group" : box.kind];
  if (box.backward) words.push("backward");
  if (fold.holds(id)) words.push(fold.open.has(id) ? "opened" : "folded", "nested");
  if (!fold.open.has(id) || !fold.holds(id)) words.push("leaf");
  return words.join(" ");
}

function closedBox(fold, id, { x, y, width, height }) {
  const box = fold.boxes[id];
  const group = element("g", { class: boxClass(fold, id), "data-id": id, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
  const rx = box.kind === "input" || box.kind === "output" ? 12 : 4;
  if (fold.holds(id)) group.append(element("rect", { x: 4, y: 4, width, height, rx }));
  group.append(element("rect", { class: "front", width, height, rx }));
  box.rows.forEach(([style, text], index) => {
    const mark = index === 0 && fold.holds(id) ? "▸ " : "";
    group.append(element("text", { class: style, x: (width / 2).toFixed(1), y: PAD_Y + index * LEAD + 11 }, mark + text));
  });
  if (fold.holds(id)) group.append(element("title", {}, `${box.title}: click to unfold`));
  return group;
}

function frame(fold, id, { x, y, width, height }) {
  const box = fold.boxes[id];
  const group = element("g", { class: boxClass(fold, id), "data-id": id, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
  group.append(element("rect", { class: "front", width, height, rx: 6 }));
  const handle = element("g", { class: "handle" });
  handle.append(element("rect", { width, height: HEAD - 8, rx: 6, "fill-opacity": 0, "stroke-opacity": 0 }));
  handle.append(element("text", { class: "title", x: (width / 2).toFixed(1), y: 16 }, `▾ ${box.rows[0][1]}`));
  handle.append(element("text", { class: "contents", x: (width / 2).toFixed(1), y: 30 }, box.contents || ""));
  handle.append(element("title", {}, `${box.title}: click to fold`));
  group.append(handle);
  return group;
}
