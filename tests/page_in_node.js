// What a page computes, without a browser: node page_in_node.js PAGE < job.json > answer.json
const fs = require("fs");

const html = fs.readFileSync(process.argv[2], "utf-8");
const script = (id) => html.match(new RegExp(`<script[^>]* ?id="${id}"[^>]*>([^]*?)</script>`))[1];
const names = ["model.js", "tokenizer.js", "sampling.js", "session.js"];
const code = names.map(script).join("\n");
const { Model, openTokenizer, readHalves, windowStart, distribution, draw, CHUNK, Session } = new Function(
  `${code}\nreturn { Model, openTokenizer, readHalves, windowStart, distribution, draw, CHUNK, Session };`,
)();

const run = JSON.parse(script("run-data"));
const numbers = readHalves(script("weights").trim());
const model = new Model(run.model, run.weights, numbers);
const tokenizer = openTokenizer(run.tokenizer);
const job = JSON.parse(fs.readFileSync(0, "utf-8"));
const rows = (logits) => logits.map((row) => Array.from(row));
const maps = (attention) => Object.fromEntries(Object.entries(attention).map(([name, { weights }]) => [name, weights]));

const jobs = {
  /** Logits and attention of texts; grown token by token they are the same. */
  read: ({ ids, off, grow }) =>
    ids.map((row) => {
      const heads = new Set(off);
      let seen = model.read(grow ? row.slice(0, 1) : row, heads);
      for (let n = 2; grow && n <= row.length; n++) seen = model.read(row.slice(0, n), heads, seen);
      return { logits: rows(seen.logits), attention: maps(seen.attention) };
    }),
  translate: ({ pairs, off, grow }) =>
    pairs.map(([source, target]) => {
      const heads = new Set(off);
      const encoded = model.encode(source, heads);
      let seen = model.decode(grow ? target.slice(0, 1) : target, encoded, heads);
      for (let n = 2; grow && n <= target.length; n++) seen = model.decode(target.slice(0, n), encoded, heads, seen);
      return { logits: rows(seen.logits), attention: maps({ ...encoded.attention, ...seen.attention }) };
    }),
  /** What a reader gets who types a text and then takes the likeliest token, again and again. */
  write: ({ texts, count, off }) =>
    texts.map((text) => {
      const session = new Session(run, model, tokenizer);
      off.forEach((head) => session.flip(head));
      const problem = session.type(text);
      if (session.translates) return { problem, text: session.written() };
      for (let n = 0; n < count; n++) {
        const logits = session.seen.logits.at(-1);
        session.write(logits.indexOf(Math.max(...logits)));
      }
      const surprises = session.ids.map((_, i) => session.surprise(i));
      return { problem, text: session.written(), ids: session.ids, from: session.seen.from, surprises };
    }),
  encode: ({ texts }) =>
    texts.map((text) => {
      const ids = tokenizer.encode(text);
      return { ids, back: tokenizer.decode(ids), strangers: tokenizer.strangers(text) };
    }),
  decode: ({ rows: ids }) => ids.map((row) => tokenizer.decode(row)),
  refuses: ({ texts }) =>
    texts.map((text) => {
      try {
        tokenizer.encode(text);
        return null;
      } catch (error) {
        return error.message;
      }
    }),
  distribution: ({ logits, settings }) => settings.map((setting) => distribution(logits, setting)),
  draw: ({ probabilities, uniforms }) => uniforms.map((u) => draw(probabilities, u)),
  windows: ({ lengths, context }) => lengths.map((length) => windowStart(length, context)),
  numbers: () => Array.from(numbers),
  /** Which kind each code point is to the tokenizer; "?" for those that this engine's Unicode does not know. */
  kinds: () => {
    const kind = (c) => {
      if (/\p{Cn}/u.test(c)) return "?";
      const chunks = (text) => text.match(CHUNK).length;
      return chunks(`a${c}`) === 1
        ? "w"
        : chunks(`1${c}`) === 1
          ? "d"
          : chunks(`!${c}`) === 1
            ? "p"
            : chunks(`\n${c}`) === 1
              ? "s"
              : "!";
    };
    let out = "";
    for (let c = 0; c < 0x110000; c++) out += c >= 0xd800 && c < 0xe000 ? "?" : kind(String.fromCodePoint(c));
    return out;
  },
};
process.stdout.write(JSON.stringify(jobs[job.do](job)));
