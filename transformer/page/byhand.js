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
    D, q, k, v, weights, scores, shared, row, column,
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
    const [asks, looked] = [queries[w.row], keys[w.column]];
    const focused = this.root.contains(document.activeElement) ? document.activeElement.dataset.keep : null;
    const products = Array.from(w.products, Math.abs);
    const d = Math.min(this.dimension ?? products.indexOf(Math.max(...products)), w.D - 1);
    const parts = [
      make("h3", { class: "weight" },
        make("b", { class: "q" }, asks), " looks at ", make("b", { class: "k" }, looked), make("span", {}, percent(w.weights[w.column]))),
      off ? make("p", { class: "notice" }, "This head is switched off: the weights are still computed, but zeros go on in place of the mixture.") : null,
      this.scores(w, asks, looked, d), this.softmax(w, keys), this.mixture(w, keys, d),
    ];
    this.root.replaceChildren(...parts.filter(Boolean));
    this.strips.forEach(([canvas, row, largest]) => drawStrip(canvas, row, largest, d));
    if (focused) this.root.querySelector(`[data-keep="${focused}"]`)?.focus({ preventScroll: true });
  }

  strip(label, kind, row, largest) {
    const canvas = make("canvas", {
      class: "strip", "aria-hidden": "true",
      pointerdown: (event) => this.turn(Math.floor((event.offsetX / canvas.clientWidth) * row.length)),
    });
    this.strips.push([canvas, row, largest]);
    return make("div", { class: "line" }, make("span", { class: `name ${kind}` }, label), canvas);
  }

  turn(d) {
    this.dimension = d;
    this.again();
  }

  scores(w, asks, looked, d) {
    this.strips = [];
    const largest = Math.max(...Array.from(w.q, Math.abs), ...Array.from(w.k, Math.abs));
    const product = Math.max(...Array.from(w.products, Math.abs));
    const slider = make("input", {
      type: "range", min: 1, max: w.D, value: d + 1, "aria-label": "Dimension of the head", "data-keep": "dimension",
      input: (event) => this.turn(event.target.valueAsNumber - 1),
    });
    const equation = [
      make("b", { class: "q" }, "q"), "·", make("b", { class: "k" }, "k"), ` = ${shown(w.dot)},   divided by √${w.D}: `,
      make("strong", {}, shown(w.dot / Math.sqrt(w.D))),
    ];
    if (w.bias) {
      const far = Math.abs(w.row - w.column);
      equation.push(`,   less ${shown(-w.bias)} for ${far} step${far === 1 ? "" : "s"} of distance: `, make("strong", {}, shown(w.scores[w.column])));
    }
    return make("div", { class: "stage" },
      make("h4", {}, "How well do they match?"),
      this.strip(`q of ${brief(asks, 6)}`, "q", w.q, largest),
      this.strip(`k of ${brief(looked, 6)}`, "k", w.k, largest),
      this.strip("q × k", "", w.products, product),
      make("label", { class: "line dimension" }, make("span", { class: "name" }, `dimension ${d + 1}`), slider,
        make("span", { class: "sum" }, `${shown(w.q[d])} × ${shown(w.k[d])} = ${shown(w.products[d])}`)),
      make("p", { class: "equation" }, `The sum of all ${w.D}:  `, equation));
  }

  softmax(w, keys) {
    const e = w.scores.map(Math.exp);
    const sum = e.reduce((a, b) => a + b, 0);
    const others = w.order.filter((j) => j !== w.column).slice(0, 2);
    const terms = [w.column, ...others].map((j) => `e^${shown(w.scores[j])}`).join(" + ");
    const more = w.weights.length - 1 - others.length;
    const chips = w.weights.map((weight, j) => make("button", {
      type: "button", class: "chip", "data-keep": `key${j}`, "aria-pressed": String(j === w.column), tabindex: j === w.column ? 0 : -1,
      style: `--weight: ${(100 * Math.sqrt(weight)).toFixed(1)}%`, title: `score ${shown(w.scores[j])}, weight ${percent(weight)}`,
      "aria-label": `${spoken(keys[j])}, place ${j + 1}, score ${shown(w.scores[j])}, weight ${percent(weight)}`,
      click: () => this.choose(w.row, j),
      keydown: (event) => {
        const to = { ArrowRight: j + 1, ArrowLeft: j - 1, Home: 0, End: w.weights.length - 1 }[event.key];
        if (to === undefined || !w.weights[to]) return;
        event.preventDefault();
        this.root.querySelector(`[data-keep="key${to}"]`).focus();
        this.choose(w.row, to);
      },
    }, keys[j]));
    return make("div", { class: "stage" },
      make("h4", {}, "How much is that, among all it may look at?"),
      make("div", { class: "chips", role: "group", "aria-label": "Keys that this query may look at, with their weights" }, chips),
      make("p", { class: "equation" }, `e^${shown(w.scores[w.column])} ⁄ ( ${terms}${more > 0 ? ` + ${more} more` : ""} ) = `,
        `${shown(e[w.column])} ⁄ ${shown(sum)} = `, make("strong", {}, shown(w.weights[w.column]))));
  }

  mixture(w, keys, d) {
    const largest = Math.max(...w.v.flatMap((row) => Array.from(row, Math.abs)));
    const first = w.order.slice(0, MOST_VALUES);
    const rest = w.order.slice(MOST_VALUES);
    const among = first.includes(w.column) ? first : [...first.slice(0, -1), w.column];
    const left = w.order.filter((j) => !among.includes(j));
    const part = (js) => js.reduce((sum, j) => sum + w.weights[j] * w.v[j][d], 0);
    const sum = among.map((j) => `${shown(w.weights[j])} × ${shown(w.v[j][d])}`).join(" + ");
    return make("div", { class: "stage" },
      make("h4", {}, "What does it take along?"),
      among.map((j) => this.strip(`${shown(w.weights[j])} × v of ${brief(keys[j], 4)}`, "v", w.v[j], largest)),
      rest.length ? make("p", { class: "hint" }, `and ${left.length} more, with ${percent(left.reduce((s, j) => s + w.weights[j], 0))} of the weight`) : null,
      this.strip("the mixture", "", w.mixed, Math.max(...Array.from(w.mixed, Math.abs))),
      make("p", { class: "equation" }, `In dimension ${d + 1}:  ${sum}${left.length ? ` + ${shown(part(left))}` : ""} = `,
        make("strong", {}, shown(w.mixed[d]))));
  }
}
