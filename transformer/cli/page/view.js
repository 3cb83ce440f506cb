// The page: what the reader types and chooses, and what follows from it.

const MOST_SHOWN = 300; // tokens of a long text
const MOST_WRITTEN = 400; // tokens of one run

class View {
  constructor(session) {
    this.session = session;
    this.head = { name: session.groups.at(-1).names.at(-1), head: 0 };
    this.cell = { row: Infinity, column: null }; // of the large map; null: where the query looks most
    this.running = null;
    this.heads = new Heads(
      byId("grid"),
      session,
      (name, head) => this.enlarge(name, head),
      (key) => this.flip(key),
    );
    this.next = new Next(
      session.labels,
      session.translates ? 0 : 0.8,
      () => this.showNext(),
      (id) => this.write(id),
    );
    this.map = new BigMap(byId("map"), (row, column) => this.point(row, column));
    this.hand = new ByHand(byId("numbers"), (row, column) => this.hold(row, column));
    const on = (id, event, does) => byId(id).addEventListener(event, does);
    on("input", "input", () => this.type());
    on("step", "click", () => this.stop() || this.step(true));
    on("run", "click", () => this.stop() || this.run());
    on("undo", "click", () => this.stop() || this.change(() => session.undo()));
    on("reset", "click", () => this.stop() || this.again());
    on("all", "click", () => this.change(() => session.off.clear() || session.compute()));
    on("try", "click", () => this.tryEach());
    on("theme", "click", () => this.theme(document.documentElement.dataset.theme !== "dark"));
    window.addEventListener("resize", () => this.showHand());
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", (event) => this.theme(event.matches));
    showFrame(session);
    byId("input").value = session.data.opens_with;
    this.type();
    this.theme(dark.matches);
  }

  // Changing --------------------------------------------------------------------------------------------------------

  /** Do something to the text or the heads, and show what comes of it. */
  change(does) {
    does();
    this.cell = { row: this.session.at ?? Infinity, column: null };
    if (!this.session.translates) byId("input").value = this.session.written();
    this.show();
  }

  /** The reader has typed. */
  type() {
    this.stop();
    byId("problem").textContent = this.session.type(byId("input").value);
    this.cell = { row: this.session.at ?? Infinity, column: null };
    this.show();
  }

  write(id, aloud = true) {
    this.change(() => this.session.write(id));
    if (aloud) say(`Wrote ${spoken(this.session.label(id))}`);
  }

  step(aloud) {
    const { session } = this;
    this.write(draw(this.next.drawn(session.seen.logits[session.place]), session.random()), aloud);
  }

  /** Write on and on, a token at a time. */
  run() {
    const { session } = this;
    if (session.finished) this.again();
    session.at = null;
    let left = MOST_WRITTEN;
    const tick = () => {
      this.step(false);
      if (--left && !session.finished) this.running = setTimeout(tick, 60);
      else this.stop();
    };
    this.running = setTimeout(tick, 0);
    this.showRunning();
  }

  /** End a run; whether there was one. */
  stop() {
    if (!this.running) return false;
    clearTimeout(this.running);
    this.running = null;
    this.showRunning();
    say(`Stopped. The text is: ${this.session.written().slice(-200)}`);
    return true;
  }

  /** Back to the text that the page opened with; of a translation, to a target of which nothing is written. */
  again() {
    if (this.session.translates) return this.change(() => this.session.undo(true));
    byId("input").value = this.session.data.opens_with;
    return this.type();
  }

  flip(key) {
    this.session.flip(key);
    this.show();
  }

  /** Show what follows token i, and where it looked. */
  select(i) {
    const { session } = this;
    this.stop();
    session.at = !session.translates && i === session.ids.length - 1 ? null : i;
    this.map.hold(false);
    this.cell = { row: session.place, column: null };
    this.showTokens();
    this.showNext();
    this.showHand();
  }

  enlarge(name, head) {
    this.head = { name, head };
    this.cell.column = null;
    this.map.hold(false);
    this.heads.mark(this.head);
    this.showHand();
    say(byId("map-title").textContent);
  }

  hold(row, column) {
    this.map.hold(true);
    this.point(row, column);
  }

  point(row, column) {
    const { name, head } = this.head;
    this.cell = { row, column };
    this.showHand();
    if (document.activeElement !== byId("map")) return;
    const { queries, keys } = this.session.sides(name);
    const weight = percent(this.session.seen.attention[name].weights[head][row][column]);
    say(`${spoken(queries[row])}, ${row + 1}, looks at ${spoken(keys[column])}, ${column + 1}: ${weight}`);
  }

  tryEach() {
    byId("try").disabled = true;
    this.heads.tryEach((most) => {
      byId("try").disabled = false;
      if (!most) return;
      const { name, head } = this.heads.cards.get(most);
      const what = "Beside each head: how far the prediction moves, in bits, when it alone is off.";
      byId("try-hint").textContent = `${what} Most: ${this.session.called(name, head)}.`;
    });
  }

  // Showing ---------------------------------------------------------------------------------------------------------

  show() {
    this.showTokens();
    this.showNext();
    this.heads.show(this.head);
    this.showHand();
    const { session } = this;
    byId("try-hint").textContent = "";
    byId("all").disabled = !session.off.size;
    if (!session.translates) return;
    const number = session.off.size;
    const instead = number ? session.written(session.translation(session.off)) || "nothing" : "";
    byId("without").textContent = number
      ? `With ${number} head${number > 1 ? "s" : ""} off it would write: ${instead}`
      : "";
  }

  showRunning() {
    byId("run").textContent = this.running ? "Stop" : "Run";
    byId("run").setAttribute("aria-pressed", String(Boolean(this.running)));
  }

  showTokens() {
    const { session } = this;
    const { ids, translates } = session;
    const skipped = Math.max(0, ids.length - MOST_SHOWN);
    const current = session.at ?? ids.length - (translates ? 0 : 1);
    const tokens = ids.slice(skipped).map((_, n) => this.token(n + skipped, current, skipped));
    if (skipped) tokens[0].prepend("… ");
    refill(byId("tokens"), tokens.length ? tokens : [make("span", { class: "hint" }, "nothing yet")]);
    byId("tokens-title").textContent = translates ? "What it writes" : `${count(ids.length)} tokens`;
    if (!translates) return;
    const read = (id) => make("span", { class: "token", role: "listitem", title: `token ${id}` }, session.label(id));
    byId("source").replaceChildren(...session.source.map(read));
  }

  token(i, current, skipped) {
    const { session } = this;
    const [id, last, first] = [session.ids[i], session.ids.length - 1, Math.max(session.seen.from, skipped)];
    const [label, bits, gone] = [session.label(id), session.surprise(i), i < session.seen.from];
    const told = gone ? ", beyond what the model sees" : bits === null ? "" : `, ${bits.toFixed(1)} bits of surprise`;
    const attributes = {
      type: "button",
      class: gone ? "token gone" : "token",
      disabled: gone,
      "aria-pressed": String(i === current),
      tabindex: i === Math.min(current, last) ? 0 : -1,
      style: bits === null ? null : `--surprise: ${Math.min(100, bits * 9).toFixed(0)}%`,
      title: `${label}  (token ${id})${told}`,
      "aria-label": spoken(label) + told,
      click: () => this.select(i),
      keydown: (event) => {
        const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: first, End: last }[event.key];
        if (to === undefined || to < first || to > last) return;
        event.preventDefault();
        this.select(to);
        byId("tokens").children[to - skipped].focus();
      },
    };
    return make("button", attributes, label);
  }

  showNext() {
    const { session } = this;
    const row = session.place;
    const actual = session.following(row);
    const logits = session.seen.logits[row];
    const whole = session.off.size ? session.whole.logits[row] : null;
    const before = session.seen.ids.slice(Math.max(0, row - 11), row + 1);
    const parts = ["At the start"];
    if (!session.translates || row > 0) {
      parts.splice(
        0,
        1,
        "After ",
        make("b", {}, (row > 11 ? "…" : "") + before.map((id) => session.label(id)).join("")),
      );
    }
    if (actual !== null)
      parts.push(
        " the text goes on with ",
        make("b", {}, session.label(actual)),
        ". Choose another, and it turns there.",
      );
    byId("after").replaceChildren(...parts);
    this.next.show(logits, whole, actual);
    showEffect(session.labels, logits, whole);
    byId("step").disabled = session.finished && session.at === null;
  }

  showHand() {
    const { session } = this;
    const { name, head } = this.head;
    const kept = session.seen.attention[name];
    const weights = kept.weights[head];
    const { queries, keys } = session.sides(name);
    const row = Math.min(weights.length - 1, this.cell.row);
    const most = weights[row].indexOf(Math.max(...weights[row]));
    const column = Math.min(weights[row].length - 1, this.cell.column ?? most);
    this.cell = { row, column };
    const note = name.includes("cross") ? " · rows: the token being written" : "";
    byId("map-title").replaceChildren(make("b", {}, session.called(name, head)), note);
    this.map.show({ weights, keys, queries, row, column });
    const off = session.off.has(`${name}.${head}`);
    this.hand.show(work(session.model, kept, head, row, column), keys, queries, off);
  }

  theme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "☀ Light" : "☾ Dark";
    byId("theme").setAttribute("aria-label", dark ? "Switch to light colours" : "Switch to dark colours");
    drawSmall(byId("scale"), [Array.from({ length: 101 }, (_, i) => i / 100)], 101);
    this.show();
  }
}

/** Open the page. */
function openPage() {
  const data = JSON.parse(byId("run-data").textContent);
  const model = new Model(data.model, data.weights, readHalves(byId("weights").textContent.trim()));
  return new View(new Session(data, model, openTokenizer(data.tokenizer)));
}

openPage();
