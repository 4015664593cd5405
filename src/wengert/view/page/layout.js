// Positions, by elkjs in a worker that is started from the text inside this page.

const CHAR = 6.9, LEAD = 15, PAD_X = 9, PAD_Y = 7;   // as in svg.py: a font of 11 px
const HEAD = 44;                                      // title of an open box

class Layouter {
  constructor() { this.start(); }

  start() {
    const program = document.getElementById("elk-worker").textContent;
    const address = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
    this.elk = new ELK({ workerFactory: () => (this.worker = new Worker(address)) });
    URL.revokeObjectURL(address);
  }

  // Give up the layout at work; the next one gets a new worker.
  stop() {
    this.worker.terminate();
    this.start();
  }

  async place(fold, view) {
    return this.elk.layout(elkGraph(fold, view));
  }
}

function boxSize(box) {
  return {
    width: Math.max(60, box.width * CHAR + 2 * PAD_X),
    height: box.rows.length * LEAD + 2 * PAD_Y,
  };
}

// How many places for edges a box needs at its top and at its bottom.
function countPorts(edges) {
  const ins = new Map(), outs = new Map();
  for (const edge of edges) {
    if (edge.beside) continue;
    ins.set(edge.head, Math.max(ins.get(edge.head) || 1, edge.slot + 1));
    outs.set(edge.tail, Math.max(outs.get(edge.tail) || 1, edge.port + 1));
  }
  return { ins, outs };
}

function elkGraph(fold, view) {
  const large = view.boxes.length > LARGE;
  const rows = large && !view.boxes.some((id) => fold.open.has(id)) ? rowsOf(view) : null;
  const { ins, outs } = countPorts(view.edges);
  const shown = new Map();
  const root = {
    id: "root",
    children: [],
    edges: [],
    layoutOptions: {
      "elk.algorithm": "layered",
      "elk.direction": "DOWN",
      "elk.hierarchyHandling": "INCLUDE_CHILDREN",
      "elk.edgeRouting": "ORTHOGONAL",
      "elk.json.edgeCoords": "ROOT",
      "elk.layered.considerModelOrder.strategy": "PREFER_EDGES",
      "elk.layered.cycleBreaking.strategy": "MODEL_ORDER",
      "elk.layered.spacing.nodeNodeBetweenLayers": "34",
      "elk.layered.spacing.edgeNodeBetweenLayers": "14",
      "elk.layered.spacing.edgeEdgeBetweenLayers": "14",
      "elk.spacing.nodeNode": "24",
      "elk.spacing.edgeEdge": "16",
      "elk.spacing.edgeNode": "16",
      "elk.layered.thoroughness": large ? "2" : "7",
      "elk.layered.nodePlacement.strategy": large ? "LINEAR_SEGMENTS" : "BRANDES_KOEPF",
      ...(rows ? { "elk.layered.layering.strategy": "INTERACTIVE" } : {}),
    },
  };
  for (const id of view.boxes) {
    const box = fold.boxes[id];
    const opened = fold.holds(id) && fold.open.has(id);
    const node = opened
      ? {
        id: String(id), children: [],
        layoutOptions: {
          "elk.padding": `[top=${HEAD},left=14,bottom=14,right=14]`,
          "elk.nodeSize.constraints": "MINIMUM_SIZE",
          "elk.nodeSize.minimum": `(${box.width * CHAR + 40},${HEAD})`,
        },
      }
      : closedNode(id, boxSize(box), ins.get(id) || 0, outs.get(id) || 0);
    shown.set(id, node);
  }
  if (rows) for (const [id, row] of rows) shown.get(id).y = row * 10000;
  // A holder may begin where its first member does, and come after it: hence a second pass.
  for (const id of view.boxes) {
    const above = fold.frame(id, view.frameless);
    (above < 0 ? root : shown.get(above)).children.push(shown.get(id));
  }
  view.edges.forEach((edge, index) => {
    if (edge.beside || edge.loose) return;
    const tail = shown.get(edge.tail), head = shown.get(edge.head);
    root.edges.push({
      id: `e${index}`,
      sources: [tail.ports ? `${edge.tail}o${edge.port}` : tail.id],
      targets: [head.ports ? `${edge.head}i${edge.slot}` : head.id],
    });
  });
  return root;
}

// The row of each box of a large view without frames: below all it reads, and what reads nothing just above its
// first reader. ELK's own ways of choosing rows recurse along the graph, and a chain of thousands ends their stack.
function rowsOf(view) {
  const position = new Map(view.boxes.map((id, index) => [id, index]));
  const down = view.edges.filter((edge) => !edge.beside && !edge.loose && position.get(edge.tail) < position.get(edge.head));
  down.sort((one, other) => position.get(one.head) - position.get(other.head));
  const rows = new Map(view.boxes.map((id) => [id, 0])), readers = new Map(), reads = new Set();
  for (const { tail, head } of down) {
    rows.set(head, Math.max(rows.get(head), rows.get(tail) + 1));
    reads.add(head);
  }
  for (const { tail, head } of down) {
    if (!reads.has(tail)) readers.set(tail, Math.min(readers.has(tail) ? readers.get(tail) : Infinity, rows.get(head) - 1));
  }
  for (const [id, row] of readers) rows.set(id, row);
  return rows;
}

// A box with fixed places for edges: operands left to right at the top, values at the bottom.
function closedNode(id, size, ins, outs) {
  const ports = [];
  const add = (letter, side, count, y) => {
    const step = Math.min(size.width / (count + 1), 60);
    for (let k = 0; k < count; k += 1) {
      ports.push({
        id: `${id}${letter}${k}`, width: 0, height: 0, y,
        x: size.width / 2 + (k - (count - 1) / 2) * step,
        layoutOptions: { "elk.port.side": side },
      });
    }
  };
  add("i", "NORTH", ins, 0);
  add("o", "SOUTH", outs, size.height);
  return { id: String(id), ...size, ports, layoutOptions: { "elk.portConstraints": "FIXED_POS" } };
}
