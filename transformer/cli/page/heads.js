// Every head as a small map, with its switch.

class Heads {
  /** `choose(name, head)` enlarges one, `flip(key)` switches it on or off. */
  constructor(root, session, choose, flip) {
    Object.assign(this, { session, cards: new Map(), chosen: null });
    root.style.setProperty("--heads", Math.min(6, session.sizes.heads)); // in a row
    for (const { title, names } of session.groups) {
      if (title) root.append(make("h3", {}, title));
      root.append(...names.map((name) => this.layer(name, choose, flip)));
    }
  }

  layer(name, choose, flip) {
    const layer = `layer ${layerNumber(name)}`;
    const heads = Array.from({ length: this.session.sizes.heads }, (_, head) => {
      const [key, called] = [`${name}.${head}`, this.session.called(name, head)];
      const canvas = make("canvas", { "aria-hidden": "true" });
      const click = () => choose(name, head);
      const open = make(
        "button",
        { type: "button", class: "small", "aria-label": `${called}: enlarge`, click },
        canvas,
      );
      const onOff = make("button", {
        type: "button",
        class: "switch",
        role: "switch",
        "aria-label": called,
        click: () => flip(key),
      });
      const moved = make("span", { class: "matters" });
      const number = make("span", { "aria-hidden": "true" }, head + 1);
      this.cards.set(key, { name, head, canvas, open, onOff, moved });
      return make("div", { class: "head" }, open, make("div", { class: "under" }, onOff, number, moved));
    });
    const called = this.session.called(name, 0).replace(/, head 1$/, "");
    return make(
      "div",
      { class: "layer", role: "group", "aria-label": called },
      make("span", { class: "layer-name", "aria-hidden": "true" }, layer),
      make("div", { class: "row" }, heads),
    );
  }

  /** Draw them all, and mark the one that is enlarged. */
  show(chosen) {
    const { seen, off } = this.session;
    for (const [key, { name, head, canvas, open, onOff, moved }] of this.cards) {
      drawSmall(canvas, seen.attention[name].weights[head], this.session.sides(name).keys.length);
      open.classList.toggle("off", off.has(key));
      onOff.setAttribute("aria-checked", String(!off.has(key)));
      moved.textContent = "";
    }
    this.mark(chosen);
  }

  mark(chosen) {
    for (const { name, head, open } of this.cards.values()) {
      open.setAttribute("aria-pressed", String(name === chosen.name && head === chosen.head));
    }
  }

  /** Switch each head off alone, and write beside it how far the prediction moves; `done(most)` gets the one that matters most. */
  tryEach(done) {
    const { session } = this;
    const [row, before] = [session.place, session.whole];
    const keys = [...this.cards.keys()];
    const found = [];
    const next = () => {
      if (session.whole !== before) return done(null); // the reader went on in the meantime
      const key = keys[found.length];
      found.push(divergence(before.logits[row], session.run(new Set([key])).logits[row]));
      this.cards.get(key).moved.textContent = `${found.at(-1).toFixed(2)} bits`;
      return found.length < keys.length ? setTimeout(next, 0) : done(keys[found.indexOf(Math.max(...found))]);
    };
    next();
  }
}
