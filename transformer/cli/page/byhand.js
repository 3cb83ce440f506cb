// One weight with all its numbers: q·k/√d, softmax, the mixture.

const MOST_VALUES = 4; // that the mixture shows one by one

/** Everything that there is to say of how query `row` sees key `column` in a head. */
function work(model, kept, head, row, column) {
  const { head_dim: D, heads, kv_heads: kvHeads } = model.sizes;
  const shared = Math.floor((head * kvHeads) / heads);
  const weights = kept.weights[head][row];
  const q = part(kept.q[row], head, D);
  const k = part(kept.k[column], shared, D);
  const v = kept.v.slice(0, weights.length).map((each) => part(each, shared, D));
  const scores = weights.map((_, j) => dot(q, part(kept.k[j], shared, D)) / Math.sqrt(D) + model.bias(head, row, j));
  return {
    D,
    q,
    k,
    v,
    weights,
    scores,
    shared,
    row,
    column,
    products: q.map((value, d) => value * k[d]),
    dot: dot(q, k),
    bias: model.bias(head, row, column),
    mixed: mixture(weights, v),
    order: weights.map((_, j) => j).sort((a, b) => weights[b] - weights[a]),
  };
}

class ByHand {
  /** `choose(row, column)` looks at another key of the same query. */
  constructor(root, choose) {
    Object.assign(this, { root, choose, dimension: null });
  }

  /** `w` as `work` has it, with the labels of keys and queries, and whether the head is switched off. */
  show(w, keys, queries, off) {
    Object.assign(this, { w, keys, asks: queries[w.row], looked: keys[w.column], strips: [] });
    const focused = this.root.contains(document.activeElement) ? document.activeElement.dataset.keep : null;
    const title = make(
      "h3",
      { class: "weight" },
      make("b", { class: "q" }, this.asks, make("sub", {}, w.row + 1)),
      " looks at ",
      make("b", { class: "k" }, this.looked, make("sub", {}, w.column + 1)),
      make("span", {}, percent(w.weights[w.column])),
    );
    const told = "This head is switched off: the weights are still computed, but zeros go on in place of the mixture.";
    const notice = off ? [make("p", { class: "notice" }, told)] : [];
    this.root.replaceChildren(title, ...notice, this.scores(), this.softmax(), this.mixture());
    const sizes = Array.from(w.products, Math.abs);
    this.turn(Math.min(this.dimension ?? sizes.indexOf(Math.max(...sizes)), w.D - 1));
    if (focused) this.root.querySelector(`[data-keep="${focused}"]`)?.focus({ preventScroll: true });
  }

  /** Show dimension d of every vector, in colour and in numbers. */
  turn(d) {
    const { w } = this;
    const [product, value] = [w.products[d], (j) => `${shown(w.weights[j])} × ${factor(w.v[j][d])}`];
    const rest = this.rest.reduce((sum, j) => sum + w.weights[j] * w.v[j][d], 0);
    this.strips.forEach(([canvas, row, largest]) => drawStrip(canvas, row, largest, d));
    this.slider.value = d + 1;
    this.named.textContent = `dimension ${d + 1}`;
    this.product.textContent = `${factor(w.q[d])} × ${factor(w.k[d])} = ${shown(product)}`;
    this.sum.replaceChildren(
      `In dimension ${d + 1}:  ${this.first.map(value).join(" + ")}${this.rest.length ? ` + ${factor(rest)}` : ""} = `,
      make("strong", {}, shown(w.mixed[d])),
    );
  }

  strip(label, kind, row, largest) {
    const pointerdown = (event) => {
      this.dimension = Math.floor((event.offsetX / canvas.clientWidth) * row.length);
      this.turn(this.dimension);
    };
    const canvas = make("canvas", { class: "strip", "aria-hidden": "true", pointerdown });
    this.strips.push([canvas, row, largest]);
    return make("div", { class: "line" }, make("span", { class: `name ${kind}` }, label), canvas);
  }

  /** q·k / √D, and what the position scheme adds. */
  scores() {
    const { w } = this;
    const largest = Math.max(...Array.from(w.q, Math.abs), ...Array.from(w.k, Math.abs));
    const input = () => {
      this.dimension = this.slider.valueAsNumber - 1;
      this.turn(this.dimension);
    };
    const range = { type: "range", min: 1, max: w.D, "aria-label": "Dimension of the head", "data-keep": "dimension" };
    this.slider = make("input", { ...range, input });
    this.named = make("span", { class: "name" });
    this.product = make("span", { class: "product" });
    const equation = [
      `The sum of all ${w.D}:  `,
      make("b", { class: "q" }, "q"),
      "·",
      make("b", { class: "k" }, "k"),
      ` = ${shown(w.dot)},   divided by √${w.D}: `,
      make("strong", {}, shown(w.dot / Math.sqrt(w.D))),
    ];
    if (w.bias) {
      const far = Math.abs(w.row - w.column);
      equation.push(`,   less ${shown(-w.bias)} for ${far} step${far === 1 ? "" : "s"} of distance: `);
      equation.push(make("strong", {}, shown(w.scores[w.column])));
    }
    return make(
      "div",
      { class: "stage" },
      make("h4", {}, "How well do they match?"),
      this.strip(`q(${brief(this.asks, 6)})`, "q", w.q, largest),
      this.strip(`k(${brief(this.looked, 6)})`, "k", w.k, largest),
      this.strip("q × k", "", w.products, Math.max(...Array.from(w.products, Math.abs))),
      make("div", { class: "line dimension" }, this.named, this.slider, this.product),
      make("p", { class: "equation" }, equation),
    );
  }

  /** The score among all the scores of the query. */
  softmax() {
    const { w } = this;
    const largest = Math.max(...w.scores);
    const shift = Math.abs(largest) > 50 ? largest : 0; // beyond that, exponentials are no numbers to look at
    const scores = w.scores.map((score) => score - shift);
    const e = scores.map(Math.exp);
    const sum = e.reduce((a, b) => a + b, 0);
    const others = w.order.filter((j) => j !== w.column).slice(0, 2);
    const power = (j) => ["e", make("sup", {}, shown(scores[j]))];
    const terms = [w.column, ...others].flatMap((j, n) => [n ? " + " : "", ...power(j)]);
    const more = w.weights.length - 1 - others.length;
    const group = {
      class: "chips",
      role: "group",
      "aria-label": "Keys that this query may look at, with their weights",
    };
    return make(
      "div",
      { class: "stage" },
      make("h4", {}, "How much is that, among all it may look at?"),
      make(
        "div",
        group,
        w.weights.map((_, j) => this.chip(j)),
      ),
      make(
        "p",
        { class: "equation" },
        shift ? `Each score less the largest, ${shown(shift)}:  ` : "",
        power(w.column),
        " ⁄ ( ",
        terms,
        `${more > 0 ? ` + ${more} more` : ""} ) = ${shown(e[w.column])} ⁄ ${shown(sum)} = `,
        make("strong", {}, shown(w.weights[w.column])),
      ),
    );
  }

  /** One key, the deeper in colour the larger its weight. */
  chip(j) {
    const { w, keys } = this;
    const told = `score ${shown(w.scores[j])}, weight ${percent(w.weights[j])}`;
    const attributes = {
      type: "button",
      class: "chip",
      "data-keep": `key${j}`,
      "aria-pressed": String(j === w.column),
      tabindex: j === w.column ? 0 : -1,
      style: `--weight: ${(100 * Math.sqrt(w.weights[j])).toFixed(1)}%`,
      title: told,
      "aria-label": `${spoken(keys[j])}, place ${j + 1}, ${told}`,
      click: () => this.choose(w.row, j),
      keydown: (event) => {
        const to = { ArrowRight: j + 1, ArrowLeft: j - 1, Home: 0, End: w.weights.length - 1 }[event.key];
        if (to === undefined || to < 0 || to >= w.weights.length) return;
        event.preventDefault();
        this.root.querySelector(`[data-keep="key${to}"]`).focus();
        this.choose(w.row, to);
      },
    };
    return make("button", attributes, keys[j]);
  }

  /** The values, each with its weight, and their sum. */
  mixture() {
    const { w, keys } = this;
    const most = w.order.slice(0, MOST_VALUES);
    this.first = most.includes(w.column) ? most : [...most.slice(0, -1), w.column];
    this.rest = w.order.filter((j) => !this.first.includes(j));
    this.sum = make("p", { class: "equation" });
    const largest = Math.max(...w.v.flatMap((row) => Array.from(row, Math.abs)));
    const value = (j) => this.strip(`${shown(w.weights[j])} × v(${brief(keys[j], 4)})`, "v", w.v[j], largest);
    const share = this.rest.reduce((sum, j) => sum + w.weights[j], 0);
    const more = `and ${this.rest.length} more, with ${percent(share)} of the weight`;
    return make(
      "div",
      { class: "stage" },
      make("h4", {}, "What does it take along?"),
      this.first.map(value),
      this.rest.length ? make("p", { class: "hint" }, more) : null,
      this.strip("the mixture", "", w.mixed, Math.max(...Array.from(w.mixed, Math.abs))),
      this.sum,
    );
  }
}
