// Attention as something to look at: small pictures of every head, and one large map.

/** How dark a weight is: the root, so that one of a hundredth can be seen. */
function heat(weight, [zero, full]) {
  const t = Math.sqrt(Math.min(1, Math.max(0, weight)));
  return zero.map((low, i) => Math.round(low + (full[i] - low) * t));
}

const heatColours = () => [shade("--heat-0"), shade("--heat-1")];

/** One pixel for each weight; what a query may not see stays transparent. */
function drawSmall(canvas, weights, columns) {
  const colours = heatColours();
  const table = Array.from({ length: 256 }, (_, i) => heat((i / 255) ** 2, colours)); // even steps of colour
  canvas.width = columns;
  canvas.height = weights.length;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, weights.length);
  weights.forEach((row, i) => {
    for (let j = 0, at = 4 * i * columns; j < row.length; j++, at += 4) {
      const colour = table[Math.round(255 * Math.sqrt(row[j]))];
      image.data[at] = colour[0];
      image.data[at + 1] = colour[1];
      image.data[at + 2] = colour[2];
      image.data[at + 3] = 255;
    }
  });
  context.putImageData(image, 0, 0);
}

/** A row of numbers as coloured cells: one colour above zero, another below. */
function drawStrip(canvas, row, largest, chosen) {
  const [below, zero, above] = [shade("--below"), shade("--zero"), shade("--above")];
  const context = canvas.getContext("2d");
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth || 300, canvas.clientHeight || 16];
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  row.forEach((value, d) => {
    const t = Math.sqrt(Math.min(1, Math.abs(value) / (largest || 1)));
    const end = value < 0 ? below : above;
    context.fillStyle = `rgb(${zero.map((low, i) => Math.round(low + (end[i] - low) * t)).join(" ")})`;
    const [left, right] = [d, d + 1].map((edge) => Math.round((edge * canvas.width) / row.length));
    context.fillRect(left, 0, Math.max(1, right - left - (right - left > 3 ? 1 : 0)), canvas.height);
    if (d !== chosen) return;
    context.strokeStyle = `rgb(${shade("--mark").join(" ")})`;
    context.lineWidth = 2 * scale;
    context.strokeRect(left + scale, scale, right - left - 2 * scale, canvas.height - 2 * scale);
  });
}

/** The large map: queries down, keys across, a cell that is chosen by pointer or arrow keys. */
class BigMap {
  /** `choose(row, column)` is called when the reader points at a cell, or moves to one by the arrow keys. */
  constructor(canvas, choose) {
    Object.assign(this, { canvas, choose, held: false, shown: null });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.held && event.pointerType === "mouse") this.point(event);
    });
    canvas.addEventListener("pointerdown", (event) => {
      const cell = this.cellAt(event);
      const same = cell && cell[0] === this.shown.row && cell[1] === this.shown.column;
      if (cell) choose(...cell);
      if (cell && event.pointerType === "mouse") this.hold(!(this.held && same));
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** Hold the chosen cell, so that the pointer may leave it, or let it go. */
  hold(held) {
    this.held = held;
    this.canvas.classList.toggle("held", held);
    this.draw();
  }

  /** Weights [query][key], the labels of both, and the chosen cell. */
  show(shown) {
    this.shown = shown;
    this.draw();
  }

  point(event) {
    const cell = this.cellAt(event);
    if (cell && (cell[0] !== this.shown.row || cell[1] !== this.shown.column)) this.choose(...cell);
  }

  cellAt(event) {
    const { left, top, size } = this.place;
    const row = Math.floor((event.offsetY - top) / size);
    const column = Math.floor((event.offsetX - left) / size);
    const seen = this.shown.weights[row]?.length ?? 0;
    return row >= 0 && column >= 0 && column < seen ? [row, column] : null;
  }

  key(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const { weights, row, column } = this.shown;
    if (event.key === "Escape") return this.hold(false);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return this.hold(!this.held);
    }
    if (event.key !== "Home" && event.key !== "End" && !moves[event.key]) return undefined;
    event.preventDefault();
    const [down, right] = moves[event.key] ?? [0, event.key === "Home" ? -Infinity : Infinity];
    const to = Math.min(weights.length - 1, Math.max(0, row + down));
    return this.choose(to, Math.min(weights[to].length - 1, Math.max(0, column + right)));
  }

  draw() {
    if (!this.shown) return;
    const { weights, keys, queries, row, column } = this.shown;
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const context = canvas.getContext("2d");
    const family = getComputedStyle(canvas).fontFamily;
    const width = canvas.parentElement.clientWidth;
    const font = (size) => `${size}px ${family}`;
    context.font = font(12);
    const room = (labels) => Math.max(...labels.map((label) => context.measureText(brief(label)).width)) + 10;
    const left = Math.min(84, room(queries));
    const size = Math.min(34, (width - left - 2) / Math.max(keys.length, 8), Math.max(6, 620 / queries.length));
    const letters = Math.min(12, size * 0.95);
    const upright = room(keys) - 10 <= Math.max(size, 12) && !keys.some((label) => [...label].length > 1);
    const top = upright ? 22 : Math.min(84, room(keys));
    this.place = { left, top, size };
    const height = top + size * queries.length + 2;
    canvas.style.width = `${Math.min(width, left + size * keys.length + 2)}px`;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(parseFloat(canvas.style.width) * scale);
    canvas.height = Math.round(height * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const colours = heatColours();
    const gap = size > 7 ? 1 : 0;
    weights.forEach((line, i) =>
      line.forEach((weight, j) => {
        context.fillStyle = `rgb(${heat(weight, colours).join(" ")})`;
        context.fillRect(left + j * size, top + i * size, size - gap, size - gap);
      }),
    );
    context.textBaseline = "middle";
    const [ink, soft, asks, looked] = ["--ink", "--soft", "--query", "--key"].map(
      (name) => `rgb(${shade(name).join(" ")})`,
    );
    const legible = letters >= 8;
    queries.forEach((label, i) => {
      if (!legible && i !== row) return;
      context.font = font(i === row ? 12 : letters);
      context.fillStyle = i === row ? asks : soft;
      context.textAlign = "right";
      context.fillText(brief(label), left - 6, top + (i + 0.5) * size);
    });
    keys.forEach((label, j) => {
      if (!legible && j !== column) return;
      context.save();
      context.translate(left + (j + 0.5) * size, top - (upright ? 11 : 6));
      if (!upright) context.rotate(-Math.PI / 2);
      context.font = font(j === column ? 12 : letters);
      context.fillStyle = j === column ? looked : soft;
      context.textAlign = upright ? "center" : "left";
      context.fillText(brief(label), 0, 0);
      context.restore();
    });
    context.lineWidth = 1;
    context.strokeStyle = asks;
    context.strokeRect(left - 1, top + row * size - 1, size * weights[row].length + 1, size + 1);
    context.lineWidth = this.held ? 3 : 2;
    context.strokeStyle = ink;
    context.strokeRect(left + column * size - 1, top + row * size - 1, size + 1, size + 1);
  }
}
