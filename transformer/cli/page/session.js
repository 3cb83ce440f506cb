// What the reader does with the model: the text so far, the heads that are off, and what the model makes of both.

class Session {
  constructor(data, model, tokenizer) {
    Object.assign(this, { data, model, tokenizer });
    this.sizes = model.sizes;
    this.translates = this.sizes.kind === "Transformer";
    const { begin, end, pad } = data.special ?? {};
    Object.assign(this, { begin, end });
    this.special = data.special ? { [begin]: "⊢", [end]: "⊣", [pad]: "·" } : {};
    this.labels = data.tokenizer.labels.map((label, id) => this.special[id] ?? label);
    this.ids = []; // the text; of a translation, what is written so far
    this.source = []; // of a translation, what is read, with its end
    this.at = null; // the token after which the next one is shown; null: the last
    this.off = new Set(); // heads, as "layers.0.self_attention.1"
    this.seen = null; // the run that is shown: { from, ids, logits, attention, ... }
    this.whole = null; // the same with every head on
    this.random = randomFrom(1);
  }

  label(id) {
    return this.labels[id];
  }

  // The text --------------------------------------------------------------------------------------------------------

  /** Take a text that the reader typed; what the model cannot read is left out, and that is what it returns, in words. */
  type(text) {
    const strangers = this.tokenizer.strangers(text);
    const readable = [...text].filter((c) => !strangers.includes(c) && !/\p{Cs}/u.test(c)).join("");
    const ids = this.tokenizer.encode(readable);
    const most = this.translates ? this.sizes.context - 1 : Infinity;
    this.at = null;
    if (this.translates) {
      this.source = [...ids.slice(0, most), this.end];
      this.ids = this.translation(this.off);
      this.at = 0;
    } else {
      this.ids = ids.length ? ids : [0];
    }
    this.compute();
    const unknown = strangers.slice(0, 8).map((c) => `“${c}”`);
    if (strangers.length) return `Left out, since this model has never seen it: ${unknown.join(" ")}.`;
    if (ids.length > most) return `This model reads ${most} tokens; what comes after them is left out.`;
    return ids.length || this.translates ? "" : `Nothing to read: the model starts from ${this.label(0)}.`;
  }

  /** Go on with a token after the place that is shown; what stood after it goes. */
  write(id) {
    if (this.at !== null) this.ids = this.ids.slice(0, this.translates ? this.place : this.seen.from + this.place + 1);
    this.ids = [...this.ids, id];
    this.at = null;
    this.compute();
  }

  /** Take back the last token, or all that was written of a translation. */
  undo(all = false) {
    this.ids = all ? [] : this.ids.slice(0, Math.max(this.translates ? 0 : 1, this.ids.length - 1));
    this.at = null;
    this.compute();
  }

  /** What is written, without begin and end. */
  written(ids = this.ids) {
    return this.tokenizer.decode(ids.filter((id) => !(id in this.special)));
  }

  /** Whether a translation has come to its end, or to the model's. */
  get finished() {
    return this.translates && (this.ids.at(-1) === this.end || this.ids.length >= this.sizes.context - 1);
  }

  /** The row of the run whose next token is shown. */
  get place() {
    const last = this.seen.ids.length - 1;
    return this.at === null ? last : Math.min(last, Math.max(0, this.at - this.seen.from));
  }

  /** The token that the text has after a row, or null at its end. */
  following(row) {
    return (this.translates ? this.ids[row] : this.seen.ids[row + 1]) ?? null;
  }

  /** How unexpected token i of the text was, in bits; null for one that nothing stands before, or that is out of sight. */
  surprise(i) {
    const row = this.translates ? i : i - this.seen.from - 1;
    const logits = this.seen.logits[row];
    return logits ? -Math.log2(Math.max(1e-12, softmax(Array.from(logits))[this.ids[i]])) : null;
  }

  // The model -------------------------------------------------------------------------------------------------------

  /** Run the model on the text, with every head on, and with those off that are. */
  compute() {
    this.whole = this.run(new Set(), this.whole);
    this.seen = this.off.size ? this.run(this.off, this.seen) : this.whole;
  }

  flip(head) {
    if (!this.off.delete(head)) this.off.add(head);
    this.compute();
  }

  /** A run of the model; what the `last` one has in common with it is not computed again. */
  run(off, last = null) {
    const begun = this.translates ? [this.begin, ...this.ids.filter((id) => id !== this.end)] : this.ids;
    const from = this.translates ? 0 : windowStart(begun.length, this.sizes.context);
    const ids = begun.slice(from);
    const about = JSON.stringify([[...off].sort(), this.source, from]);
    const grown = last?.about === about && last.ids.length <= ids.length && last.ids.every((id, i) => id === ids[i]);
    if (grown && last.ids.length === ids.length) return last;
    const past = grown ? last.made : null;
    const encoded = !this.translates ? null : grown ? last.encoded : this.model.encode(this.source, off);
    const made = this.translates ? this.model.decode(ids, encoded, off, past) : this.model.read(ids, off, past);
    const attention = { ...encoded?.attention, ...made.attention };
    return { about, from, ids, encoded, made, logits: made.logits, attention };
  }

  /** What the model writes by itself, always the likeliest, with these heads off. */
  translation(off) {
    const encoded = this.model.encode(this.source, off);
    const ids = [];
    let made = null;
    while (ids.length < this.sizes.context - 1 && ids.at(-1) !== this.end) {
      made = this.model.decode([this.begin, ...ids], encoded, off, made);
      const logits = made.logits.at(-1);
      ids.push(logits.indexOf(Math.max(...logits)));
    }
    return ids;
  }

  /** The attentions of the model in groups, each with a title and the names of its layers. */
  get groups() {
    const layers = (prefix, kind) =>
      Array.from({ length: this.sizes.layers }, (_, i) => `${prefix}layers.${i}.${kind}`);
    if (!this.translates) return [{ title: "", names: layers("", "self_attention") }];
    return [
      { title: "The encoder reads the source", names: layers("encoder.", "self_attention") },
      { title: "The decoder reads what it has written", names: layers("decoder.", "self_attention") },
      { title: "The decoder looks at the source: cross-attention", names: layers("decoder.", "cross_attention") },
    ];
  }

  /** "Layer 2, head 1", for people. */
  called(name, head) {
    const decoder = name.includes("cross") ? "Cross-attention, layer" : "Decoder layer";
    const where = !this.translates ? "Layer" : name.startsWith("encoder") ? "Encoder layer" : decoder;
    return `${where} ${layerNumber(name)}, head ${head + 1}`;
  }

  /** The labels of an attention's queries and keys.  A row of cross-attention is named by the token that it writes. */
  sides(name) {
    const source = this.source.map((id) => this.label(id));
    const read = this.seen.ids.map((id) => this.label(id));
    if (name.startsWith("encoder")) return { queries: source, keys: source };
    if (!name.includes("cross")) return { queries: read, keys: read };
    return { queries: read.map((_, row) => this.label(this.following(row)) ?? "?"), keys: source };
  }
}

const layerNumber = (name) => Number(name.match(/\d+/)[0]) + 1;
