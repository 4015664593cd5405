// Pan and zoom of the stage.

class View {
  constructor(stage, scene, onScale) {
    this.stage = stage;
    this.scene = scene;
    this.onScale = onScale;
    this.x = 0; this.y = 0; this.scale = 1;
    this.pointers = new Map();
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      stage.addEventListener(name, (event) => { this.pointers.delete(event.pointerId); stage.classList.remove("moving"); });
    }
  }

  apply() {
    this.scene.setAttribute("transform", `translate(${this.x.toFixed(2)} ${this.y.toFixed(2)}) scale(${this.scale.toFixed(5)})`);
    this.onScale(this.scale);
  }

  local(event) {
    const frame = this.stage.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  zoomAt(factor, x, y) {
    const scale = Math.min(4, Math.max(0.005, this.scale * factor));
    this.x = x - (x - this.x) * scale / this.scale;
    this.y = y - (y - this.y) * scale / this.scale;
    this.scale = scale;
    this.apply();
  }

  zoomBy(factor) { this.zoomAt(factor, this.stage.clientWidth / 2, this.stage.clientHeight / 2); }

  wheel(event) {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 24 : 1;
    this.zoomAt(Math.exp(-event.deltaY * unit * 0.0016), ...this.local(event));
  }

  down(event) {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, this.local(event));
    this.dragged = 0;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.local(event);
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    if (others.length) {
      const [ox, oy] = others[0][1];
      const factor = Math.hypot(now[0] - ox, now[1] - oy) / Math.max(1, Math.hypot(before[0] - ox, before[1] - oy));
      this.zoomAt(factor, (now[0] + ox) / 2, (now[1] + oy) / 2);
    } else {
      this.x += now[0] - before[0];
      this.y += now[1] - before[1];
      this.apply();
    }
    this.dragged += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (this.dragged > 4) this.stage.classList.add("moving");
    this.pointers.set(event.pointerId, now);
  }

  // The whole picture; a tall one is shown from its beginning at a size that can be read.
  fit(width, height, whole = false) {
    const roomX = this.stage.clientWidth - 32, roomY = this.stage.clientHeight - 32;
    let scale = Math.min(roomX / width, roomY / height, 1.25);
    if (!whole) scale = Math.max(scale, Math.min(READABLE, roomX / width));
    this.scale = scale;
    this.x = 16 + (roomX - width * scale) / 2;
    this.y = height * scale > roomY ? 16 : 16 + (roomY - height * scale) / 2;
    this.apply();
  }

  centre({ x, y, width, height }, scale = Math.max(this.scale, 0.7)) {
    this.scale = scale;
    this.x = this.stage.clientWidth / 2 - (x + width / 2) * scale;
    this.y = this.stage.clientHeight / 2 - (y + height / 2) * scale;
    this.apply();
  }
}

const READABLE = 0.62;
