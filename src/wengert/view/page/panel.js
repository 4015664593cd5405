// The details of one box, with links to its neighbours; and the list of what a search found.

class Panel {
  constructor(place, fold, onGo) {
    this.place = place;
    this.fold = fold;
    this.onGo = onGo;
    this.around = fold.data.boxes.map(() => ({ reads: [], gives: [], gradients: [] }));
    for (const [tail, head, , , gradient, beside, label] of fold.data.edges) {
      if (beside) { this.around[tail].gradients.push([head, label]); continue; }
      this.around[head].reads.push([tail, label, gradient]);
      this.around[tail].gives.push([head, label, gradient]);
    }
  }

  clear() { this.place.replaceChildren(); }

  line(name, text, style = "") {
    const made = document.createElement(name);
    made.textContent = text;
    if (style) made.className = style;
    this.place.append(made);
    return made;
  }

  links(title, pairs) {
    if (!pairs.length) return;
    this.line("h3", `${title} (${pairs.length})`);
    const list = document.createElement("ul");
    for (const [id, label, gradient] of pairs.slice(0, 200)) {
      const item = document.createElement("li"), link = document.createElement("a");
      link.textContent = nameOf(this.fold.boxes[id]) + (label ? `  ${label}` : "");
      if (gradient) link.className = "gradient";
      link.href = `#box-${id}`;
      link.addEventListener("click", (event) => { event.preventDefault(); this.onGo(id); });
      item.append(link);
      list.append(item);
    }
    this.place.append(list);
    if (pairs.length > 200) this.line("pre", `and ${pairs.length - 200} more`);
  }

  show(id) {
    this.clear();
    const box = this.fold.boxes[id];
    this.line("h2", box.title);
    for (const text of [box.note, box.contents]) if (text) this.line("pre", text);
    for (const port of box.ports || []) {
      this.line("h3", (port.name ? `${port.name}: ` : "") + port.type + (port.uses > 1 ? ` · used ${port.uses}×` : ""));
      if (port.value !== undefined) this.line("pre", port.value, "value");
      if (port.gradient !== undefined) this.line("pre", `gradient ${port.gradient}`, "gradient");
    }
    if (box.place) {
      this.line("h3", "written at");
      this.line("pre", `${box.place.at} in ${box.place.function}\n${box.place.text}`).title = box.place.file;
    }
    const around = this.around[id];
    if (around) {
      this.links("reads", around.reads);
      this.links("is read by", around.gives);
      this.links("sends gradients to", around.gradients.map(([head, label]) => [head, label, 1]));
    }
  }

  hits(ids) {
    this.clear();
    this.links("found", ids.map((id) => [id, this.fold.boxes[id].place ? this.fold.boxes[id].place.at : ""]));
  }
}

function nameOf(box) {
  const named = (box.ports || []).find((port) => port.name);
  return named ? `${named.name} = ${box.title}` : box.title;
}

// Everything of a box that a search looks at.
function searchText(box) {
  const place = box.place ? `${box.place.at} ${box.place.function} ${box.place.text}` : "";
  const ports = (box.ports || []).map((port) => `${port.name || ""} ${port.type}`).join(" ");
  return `${box.title} ${box.note || ""} ${ports} ${place}`.toLowerCase();
}
