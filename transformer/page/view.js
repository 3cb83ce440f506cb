// The page: what the reader types and chooses, and what follows from it.

(function start() {
  const data = JSON.parse(byId("run-data").textContent);
  const model = new Model(data.model, data.weights, readHalves(byId("weights").textContent.trim()));
  const tokenizer = openTokenizer(data.tokenizer);
  const { sizes } = model;
  const translates = sizes.kind === "Transformer";
  const { begin, end } = data.special ?? {};
  const special = data.special ? { [data.special.begin]: "⊢", [data.special.end]: "⊣", [data.special.pad]: "·" } : {};
  const label = (id) => special[id] ?? data.tokenizer.labels[id];
  const labels = data.tokenizer.labels.map((_, id) => label(id));
  const random = randomFrom(1);
  const MOST_SHOWN = 300; // tokens of a long text

  const state = {
    ids: [], // the text; of a translation, what is written so far
    source: [], // of a translation, what is read, with its end
    at: null, // the token after which the next one is shown; null: the last
    off: new Set(),
    head: null, // { name, head }
    cell: { row: 0, column: 0 },
    running: null,
  };
  let seen = null; // the run that is shown: { start, read, encoded, logits, attention }
  let whole = null; // the same with every head on, when some are off
  const known = { on: null, off: null }; // the last runs, to go on from

  // Computing --------------------------------------------------------------------------------------------------------

  /** A run of the model on the text as it is; what the last one has in common is not computed again. */
  function compute(off, last = null) {
    const begun = translates ? [begin, ...state.ids.filter((id) => id !== end)] : state.ids; // nothing follows the end
    const from = translates ? 0 : windowStart(begun.length, sizes.context);
    const ids = begun.slice(from);
    const heads = [...off].sort().join();
    const source = state.source.join();
    const goesOn = last && last.heads === heads && last.source === source && last.from === from && last.ids.length <= ids.length
      && last.ids.every((id, i) => id === ids[i]);
    if (goesOn && last.ids.length === ids.length) return last;
    const encoded = translates ? (goesOn ? last.encoded : model.encode(state.source, off)) : null;
    const past = goesOn ? last.run : null;
    const run = translates ? model.decode(ids, encoded, off, past) : model.read(ids, off, past);
    return { heads, source, from, ids, encoded, run, logits: run.logits, attention: { ...encoded?.attention, ...run.attention } };
  }

  function recompute() {
    whole = known.on = compute(new Set(), known.on);
    seen = whole;
    if (state.off.size) seen = known.off = compute(state.off, known.off);
  }

  /** The row of the run that the bars are of. */
  const place = () => {
    const last = seen.ids.length - 1;
    return state.at === null ? last : Math.min(last, Math.max(0, state.at - seen.from));
  };

  /** The token that the text has after a row, or null at its end. */
  const following = (row) => (translates ? state.ids[row] : seen.ids[row + 1]) ?? null;

  const finished = () => translates && (state.ids.at(-1) === end || state.ids.length >= sizes.context - 1);

  /** What the model writes by itself, always the likeliest, with these heads off. */
  function translation(off) {
    const encoded = model.encode(state.source, off);
    const ids = [];
    let run = null;
    while (ids.length < sizes.context - 1 && ids.at(-1) !== end) {
      run = model.decode([begin, ...ids], encoded, off, run);
      const logits = run.logits.at(-1);
      ids.push(logits.indexOf(Math.max(...logits)));
    }
    return ids;
  }

  const written = (ids) => tokenizer.decode(ids.filter((id) => !(id in special)));

  // Changing ---------------------------------------------------------------------------------------------------------

  /** The reader has typed. */
  function typed() {
    pause();
    const text = byId("input").value;
    const strangers = tokenizer.strangers(text);
    const readable = [...text].filter((c) => !strangers.includes(c) && !/\p{Cs}/u.test(c)).join("");
    let ids = tokenizer.encode(readable);
    const most = sizes.context - 1;
    const long = translates && ids.length > most;
    if (long) ids = ids.slice(0, most);
    const knows = strangers.slice(0, 8).map((c) => `“${c}”`).join(" ");
    byId("problem").textContent = strangers.length ? `Left out, since this model has never seen it: ${knows}.`
      : long ? `This model reads ${most} tokens; what comes after them is left out.` : "";
    state.at = null;
    if (translates) {
      state.source = [...ids, end];
      state.ids = translation(state.off);
      state.at = 0;
    } else {
      state.ids = ids.length ? ids : [0];
      if (!ids.length) byId("problem").textContent ||= `Nothing to read: the model starts from ${label(0)}.`;
    }
    recompute();
    state.cell = { row: state.at ?? Infinity, column: null };
    show();
  }

  /** Go on with a token after the place that is shown; what stood after it goes. */
  function write(id, aloud = true) {
    if (finished() && state.at === null) return pause();
    const row = place();
    if (state.at !== null) state.ids = state.ids.slice(0, translates ? row : seen.from + row + 1);
    state.ids = [...state.ids, id];
    state.at = null;
    state.cell = { row: Infinity, column: null };
    if (!translates) byId("input").value = tokenizer.decode(state.ids);
    recompute();
    show();
    if (aloud) say(`Wrote ${spoken(label(id))}`);
    if (finished()) pause();
    return undefined;
  }

  const step = (aloud) => write(draw(next.drawn(seen.logits[place()]), random()), aloud);

  function run() {
    if (state.running) return pause();
    if (finished()) again();
    state.at = null;
    let left = 400;
    const tick = () => {
      step(false);
      state.running = left-- > 0 && !finished() ? setTimeout(tick, 60) : null;
      if (!state.running) pause();
    };
    state.running = setTimeout(tick, 0);
    byId("run").textContent = "Stop";
    byId("run").setAttribute("aria-pressed", "true");
    return undefined;
  }

  function pause() {
    if (state.running) say(`Stopped. The text is: ${written(state.ids).slice(-200)}`);
    clearTimeout(state.running);
    state.running = null;
    byId("run").textContent = "Run";
    byId("run").setAttribute("aria-pressed", "false");
  }

  function undo() {
    pause();
    if (state.ids.length <= (translates ? 0 : 1)) return;
    state.ids = state.ids.slice(0, -1);
    state.at = null;
    state.cell = { row: Infinity, column: null };
    if (!translates) byId("input").value = tokenizer.decode(state.ids);
    recompute();
    show();
  }

  function again() {
    pause();
    if (!translates) byId("input").value = data.opens_with;
    if (!translates) return typed();
    state.ids = [];
    state.at = null;
    recompute();
    return show();
  }

  function flip(key) {
    if (!state.off.delete(key)) state.off.add(key);
    recompute();
    show();
  }

  // Showing ----------------------------------------------------------------------------------------------------------

  const next = new Next(labels, translates ? 0 : 0.8, () => showNext(), (id) => write(id));
  const map = new BigMap(byId("map"), (row, column) => point(row, column), (held) => byId("map").classList.toggle("held", held));
  const hand = new ByHand(byId("numbers"), (row, column) => { map.keep(true); point(row, column); });
  hand.again = () => showHand();

  function show() {
    showTokens();
    showNext();
    showGrid();
    showHand();
  }

  /** Queries and keys of an attention, as labels.  Where a decoder looks at the source, a row is named by what it writes. */
  function sides(name) {
    const source = state.source.map(label);
    if (name.startsWith("encoder")) return { queries: source, keys: source };
    if (!name.includes("cross")) return { queries: seen.ids.map(label), keys: seen.ids.map(label) };
    return { queries: seen.ids.map((_, i) => (following(i) === null ? "?" : label(following(i)))), keys: source };
  }

  function showTokens() {
    const rows = translates ? state.ids.length : seen.ids.length;
    const bits = Array.from({ length: rows }, (_, i) => {
      const logits = seen.logits[translates ? i : i - 1];
      return logits ? -Math.log2(Math.max(1e-12, softmax(Array.from(logits))[translates ? state.ids[i] : seen.ids[i]])) : null;
    });
    const from = translates ? 0 : seen.from;
    const all = state.ids.slice(-MOST_SHOWN);
    const skipped = state.ids.length - all.length;
    const current = state.at ?? state.ids.length - (translates ? 0 : 1);
    const tokens = all.map((id, n) => {
      const i = n + skipped;
      const bit = bits[i - from] ?? null;
      const told = i < from ? "beyond what the model sees" : bit === null ? "" : `${bit.toFixed(1)} bits of surprise`;
      return make("button", {
        type: "button", class: `token${i < from ? " gone" : ""}`, disabled: i < from, "aria-pressed": String(i === current),
        tabindex: i === current || (current >= state.ids.length && i === state.ids.length - 1) ? 0 : -1,
        style: bit === null ? null : `--surprise: ${Math.min(100, bit * 9).toFixed(0)}%`,
        title: `${label(id)}  (token ${id})${told ? `, ${told}` : ""}`, "aria-label": `${spoken(label(id))}${told ? `, ${told}` : ""}`,
        click: () => select(i),
        keydown: (event) => {
          const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: from, End: state.ids.length - 1 }[event.key];
          if (to === undefined || to < Math.max(from, skipped) || to >= state.ids.length) return;
          event.preventDefault();
          select(to);
          byId("tokens").children[to - skipped].focus();
        },
      }, label(id));
    });
    if (skipped) tokens[0].prepend("… ");
    byId("tokens").replaceChildren(...tokens);
    if (!tokens.length) byId("tokens").append(make("span", { class: "hint" }, "nothing yet"));
    byId("tokens-title").textContent = translates ? "What it writes" : `${count(state.ids.length)} tokens`;
    if (!translates) return;
    byId("source").replaceChildren(...state.source.map((id) => make("span", { class: "token", role: "listitem", title: `token ${id}` }, label(id))));
    const other = state.off.size ? written(translation(state.off)) : "";
    byId("without").textContent = state.off.size ? `With ${state.off.size} head${state.off.size > 1 ? "s" : ""} off it would write: ${other || "nothing"}` : "";
  }

  /** Show what follows a token, and where it looked. */
  function select(i) {
    pause();
    state.at = !translates && i === state.ids.length - 1 ? null : i;
    map.keep(false);
    state.cell = { row: place(), column: null };
    showTokens();
    showNext();
    showHand();
  }

  function showNext() {
    const row = place();
    const logits = seen.logits[row];
    const actual = following(row);
    const context = (translates ? [begin, ...state.ids] : seen.ids).slice(Math.max(0, row - 11), row + 1).map(label).join("");
    byId("after").replaceChildren(translates && row === 0 ? "At the start" : "After ", translates && row === 0 ? "" : make("b", {}, `…${context}`),
      actual === null ? (finished() ? " the text is complete." : "") : make("span", {}, " the text goes on with ", make("b", {}, label(actual)), ". Choose another, and it turns there."));
    const before = state.off.size ? whole.logits[row] : null;
    next.show(logits, before, actual);
    showEffect(labels, logits, before);
    byId("step").disabled = finished() && state.at === null;
  }

  const groups = translates
    ? [["encoder", "self_attention", "The encoder reads the source"], ["decoder", "self_attention", "The decoder reads what it has written"],
      ["decoder", "cross_attention", "The decoder looks at the source: cross-attention"]]
    : [["", "self_attention", ""]];
  const listed = groups.map(([stack, kind, title]) => ({
    title, names: Array.from({ length: sizes.layers }, (_, i) => `${stack ? `${stack}.` : ""}layers.${i}.${kind}`),
  }));
  const called = (name, head) => {
    const where = name.startsWith("encoder") ? "Encoder layer" : name.includes("cross") ? "Cross-attention, layer" : translates ? "Decoder layer" : "Layer";
    return `${where} ${Number(name.match(/\d+/)[0]) + 1}, head ${head + 1}`;
  };
  state.head = { name: listed.at(-1).names.at(-1), head: 0 };
  const cards = new Map();

  function buildGrid() {
    byId("grid").style.setProperty("--heads", sizes.heads);
    for (const { title, names } of listed) {
      if (title) byId("grid").append(make("h3", {}, title));
      for (const name of names) {
        const row = make("div", { class: "layer", role: "group", "aria-label": called(name, 0).replace(/, head 1$/, "") });
        row.append(make("span", { class: "layer-name" }, `layer ${Number(name.match(/\d+/)[0]) + 1}`));
        for (let head = 0; head < sizes.heads; head++) {
          const key = `${name}.${head}`;
          const canvas = make("canvas", { "aria-hidden": "true" });
          const open = make("button", { type: "button", class: "small", "aria-label": `${called(name, head)}: enlarge`, click: () => enlarge(name, head) }, canvas);
          const onOff = make("button", { type: "button", class: "switch", role: "switch", "aria-checked": "true", "aria-label": called(name, head), click: () => flip(key) });
          const moved = make("span", { class: "matters" });
          row.append(make("div", { class: "head" }, open, make("div", { class: "under" }, onOff, make("span", { "aria-hidden": "true" }, `${head + 1}`), moved)));
          cards.set(key, { name, head, canvas, open, onOff, moved });
        }
        byId("grid").append(row);
      }
    }
  }

  function showGrid() {
    for (const [key, { name, head, canvas, open, onOff, moved }] of cards) {
      const weights = seen.attention[name].weights[head];
      drawSmall(canvas, weights, sides(name).keys.length);
      open.setAttribute("aria-pressed", String(name === state.head.name && head === state.head.head));
      open.classList.toggle("off", state.off.has(key));
      onOff.setAttribute("aria-checked", String(!state.off.has(key)));
      moved.textContent = "";
    }
    byId("try-hint").textContent = "";
    byId("all").disabled = !state.off.size;
  }

  function enlarge(name, head) {
    state.head = { name, head };
    state.cell.column = null;
    map.keep(false);
    for (const card of cards.values()) card.open.setAttribute("aria-pressed", String(card.name === name && card.head === head));
    showHand();
    say(`${byId("map-title").textContent}`);
  }

  /** Switch each head off alone, and tell how far the prediction moves. */
  function tryEach() {
    const row = place();
    const before = whole.logits[row];
    const keys = [...cards.keys()];
    const found = [];
    byId("try").disabled = true;
    const one = () => {
      const key = keys[found.length];
      found.push(divergence(before, compute(new Set([key])).logits[row]));
      cards.get(key).moved.textContent = `${found.at(-1).toFixed(2)} bits`;
      if (found.length < keys.length) return setTimeout(one, 0);
      const most = found.indexOf(Math.max(...found));
      const { name, head } = cards.get(keys[most]);
      byId("try").disabled = false;
      byId("try-hint").textContent = `Beside each head: how far the prediction moves, in bits, when it alone is off. Most: ${called(name, head)}.`;
      return undefined;
    };
    one();
  }

  function point(row, column) {
    state.cell = { row, column };
    showHand();
    const { queries, keys } = sides(state.head.name);
    const weight = seen.attention[state.head.name].weights[state.head.head][state.cell.row][state.cell.column];
    if (document.activeElement === byId("map")) say(`${spoken(queries[row])}, ${row + 1}, looks at ${spoken(keys[column])}, ${column + 1}: ${percent(weight)}`);
  }

  function showHand() {
    const { name, head } = state.head;
    const kept = seen.attention[name];
    const weights = kept.weights[head];
    const { queries, keys } = sides(name);
    const row = Math.min(weights.length - 1, state.cell.row);
    const best = weights[row].indexOf(Math.max(...weights[row]));
    const column = Math.min(weights[row].length - 1, state.cell.column ?? best);
    state.cell = { row, column };
    byId("map-title").replaceChildren(make("b", {}, called(name, head)), name.includes("cross") ? " · rows: the token being written" : "");
    map.show({ weights, keys, queries, row, column });
    hand.show(work(model, kept, head, row, column), keys, queries, state.off.has(`${name}.${head}`));
  }

  // The frame --------------------------------------------------------------------------------------------------------

  function facts() {
    const { about } = data;
    const kinds = { learned: "learned positions", sinusoidal: "sinusoidal positions", rotary: "rotary positions", alibi: "ALiBi", none: "no positions" };
    const shared = sizes.kv_heads < sizes.heads ? `, keys and values shared by ${sizes.heads / sizes.kv_heads} heads each` : "";
    byId("name").textContent = about.name;
    const told = [
      translates ? `Encoder–decoder for the task “${about.task}”` : `GPT, trained on ${about.learned}`,
      `${sizes.layers} layer${sizes.layers > 1 ? "s" : ""} × ${sizes.heads} head${sizes.heads > 1 ? "s" : ""}${shared}`,
      `width ${sizes.width}`, kinds[sizes.positions.kind], `${count(sizes.parameters)} parameters`,
      about.steps ? `${count(about.steps)} steps` : "", about.loss ? `validation loss ${shown(about.loss)}` : "",
    ];
    byId("facts").textContent = told.filter(Boolean).join(" · ");
    for (const fact of document.querySelectorAll("[data-fact]")) fact.textContent = count(sizes[fact.dataset.fact]);
    for (const part of document.querySelectorAll("[data-for]")) if (part.dataset.for !== sizes.kind) part.remove();
    for (const mark of document.querySelectorAll("[data-chapter]")) {
      const [title, href] = data.chapters[mark.dataset.chapter];
      const text = `chapter ${mark.dataset.chapter}`;
      mark.replaceWith(href ? make("a", { class: "chapter", href, title, rel: "noopener" }, text) : make("span", { class: "chapter", title }, text));
    }
    byId("input-label").textContent = translates ? "Source: type your own" : "Type here; the model follows";
    byId("tokens-hint").textContent = translates ? "Choose a token to see what else it might have been, and where the decoder looked."
      : `Choose a token to see what was expected after it. The model sees at most ${sizes.context} tokens.`;
    byId("input").value = data.opens_with;
    byId("examples").append(...data.examples.map((text) => make("button", { type: "button", class: "example", click: () => { byId("input").value = text; typed(); } }, text)));
    byId("source-code").textContent = byId("model.js").textContent.trim();
    byId("lines").textContent = byId("source-code").textContent.split("\n").length;
  }

  function theme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "☀ Light" : "☾ Dark";
    byId("theme").setAttribute("aria-label", dark ? "Switch to light colours" : "Switch to dark colours");
    byId("scale").getContext("2d").clearRect(0, 0, 101, 1);
    drawSmall(byId("scale"), [Array.from({ length: 101 }, (_, i) => i / 100)], 101);
    if (seen) show();
  }

  facts();
  buildGrid();
  theme(window.matchMedia("(prefers-color-scheme: dark)").matches);
  typed();
  byId("input").addEventListener("input", typed);
  byId("step").addEventListener("click", () => { pause(); step(true); });
  byId("run").addEventListener("click", run);
  byId("undo").addEventListener("click", undo);
  byId("reset").addEventListener("click", again);
  byId("all").addEventListener("click", () => { state.off.clear(); recompute(); show(); });
  byId("try").addEventListener("click", tryEach);
  byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => theme(event.matches));
  window.addEventListener("resize", showHand);
})();
