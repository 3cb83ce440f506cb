// The distribution of the next token: settings, bars, and what the heads that are off have changed.

const SHOWN = 10;

class Next {
  /** `vocab` tokens with their `labels`; `change()` follows a new setting, `pick(id)` a chosen token. */
  constructor(labels, temperature, change, pick) {
    Object.assign(this, { labels, change, pick });
    this.settings = { temperature, topK: Infinity, topP: 1 };
    const most = Math.min(labels.length, 50);
    const slider = (name, title, attributes, read, say) => {
      const output = make("output", {}, say(read(Number(attributes.value))));
      const input = make("input", {
        type: "range",
        id: name,
        ...attributes,
        "aria-valuetext": say(read(Number(attributes.value))),
        input: () => {
          this.settings[name] = read(input.valueAsNumber);
          output.textContent = say(this.settings[name]);
          input.setAttribute("aria-valuetext", output.textContent);
          change();
        },
      });
      byId("sliders").append(make("div", {}, make("label", { for: name }, title), input, output));
    };
    slider(
      "temperature",
      "Temperature",
      { min: 0, max: 2, step: 0.05, value: temperature },
      (x) => x,
      (x) => (x ? x.toFixed(2) : "0, the likeliest"),
    );
    slider(
      "topK",
      "Top-k",
      { min: 1, max: most + 1, step: 1, value: most + 1 },
      (x) => (x > most ? Infinity : x),
      (x) => (x === Infinity ? "all" : String(x)),
    );
    slider(
      "topP",
      "Top-p",
      { min: 0.05, max: 1, step: 0.05, value: 1 },
      (x) => x,
      (x) => (x < 1 ? x.toFixed(2) : "all"),
    );
  }

  drawn(logits) {
    return distribution(logits, this.settings);
  }

  /** Bars for `logits`; `whole` are those with every head on, or null; `actual` is the token that the text has there, or null. */
  show(logits, whole, actual) {
    const says = softmax(Array.from(logits));
    const drawn = this.drawn(logits);
    const was = whole && softmax(Array.from(whole));
    const order = says.map((_, id) => id).sort((a, b) => says[b] - says[a] || a - b);
    const listed = order.slice(0, SHOWN);
    if (actual !== null && !listed.includes(actual)) listed[listed.length - 1] = actual;
    const longest = Math.max(...listed.flatMap((id) => [says[id], drawn[id], was?.[id] ?? 0]));
    const length = (p) => `${((100 * p) / longest).toFixed(2)}%`;
    refill(
      byId("bars"),
      listed.map((id) => {
        const told = `${spoken(this.labels[id])} ${percent(drawn[id])}, the model says ${percent(says[id])}`;
        const track = [
          make("span", { class: "says", style: `width: ${length(says[id])}` }),
          make("span", { class: "drawn", style: `width: ${length(drawn[id])}` }),
          was?.[id] >= 0.005 ? make("span", { class: "was", style: `left: ${length(was[id])}` }) : null,
        ];
        const attributes = {
          type: "button",
          class: id === actual ? "actual" : null,
          click: () => this.pick(id),
          "aria-label": `${told}${id === actual ? ", what the text has" : ""}. Write it`,
        };
        const [token, share] = [brief(this.labels[id], 12), percent(drawn[id])];
        const parts = [make("span", { class: "token" }, token), " ", make("span", { class: "track" }, track)];
        return make("li", {}, make("button", attributes, parts, make("span", { class: "share" }, share)));
      }),
    );
    const longestLabel = Math.max(...listed.map((id) => [...brief(this.labels[id], 12)].length));
    byId("bars").style.setProperty("--labels", `${Math.max(3, longestLabel + 1)}ch`);
    const out = drawn.filter((p) => p === 0).length;
    const others = order.filter((id) => !listed.includes(id)).reduce((sum, id) => sum + drawn[id], 0);
    const about = [`All ${count(logits.length - listed.length)} other tokens together: ${percent(others)}.`];
    if (out) about.push(`Your settings rule out ${count(out)}.`);
    if (whole) about.push("The thin lines are where the model’s bars end with all heads on.");
    byId("rest").textContent = about.join(" ");
  }
}

/** A table of the likeliest tokens: logit and probability, with every head on and, when some are off, as they are now. */
function showEffect(labels, logits, whole) {
  const [before, after] = [whole ?? logits, logits].map((each) => softmax(Array.from(each)));
  const most = (id) => Math.max(before[id], after[id]);
  const order = before.map((_, id) => id).sort((a, b) => most(b) - most(a) || a - b);
  const head = whole ? ["token", "logit, all on", "now", "moved", "all on", "now"] : ["token", "logit", "probability"];
  const row = (id) => {
    const cells = (...texts) => texts.map((text) => make("td", {}, text));
    const token = make("th", { scope: "row" }, brief(labels[id], 8));
    if (!whole) return make("tr", {}, token, cells(shown(logits[id]), percent(after[id])));
    const moved = logits[id] - whole[id];
    const change = make("td", { class: "moved" }, moved > 0 ? `+${shown(moved)}` : shown(moved));
    const chances = cells(percent(before[id]), percent(after[id]));
    return make("tr", {}, token, cells(shown(whole[id]), shown(logits[id])), change, chances);
  };
  const titles = head.map((text) => make("th", { scope: "col" }, text));
  const rows = order.slice(0, SHOWN).map(row);
  byId("effect").replaceChildren(make("thead", {}, make("tr", {}, titles)), make("tbody", {}, rows));
  byId("effect-hint").textContent = whole
    ? `The two distributions are ${divergence(whole, logits).toFixed(2)} bits apart (Kullback–Leibler).`
    : "Every head is on. Switch some off, and the logits with and without them stand here side by side.";
}

/** How far two distributions are apart, in bits: Σ p log₂(p / q). */
function divergence(whole, logits) {
  const [p, q] = [softmax(Array.from(whole)), softmax(Array.from(logits))];
  return p.reduce((sum, x, id) => (x > 0 ? sum + x * Math.log2(x / Math.max(q[id], 1e-300)) : sum), 0);
}
