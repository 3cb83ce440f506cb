"use strict";
// The model once more, in plain JavaScript: what transformer/models says with NumPy, said with loops.
//
// A matrix is an array of rows, and a row is a Float64Array.  A weight W has a shape and its numbers, stored (in, out).
// T queries, S keys, C width, H heads, D = C / H width of a head, V vocabulary.

// Numbers ---------------------------------------------------------------------------------------------------------

/** Base64 to numbers of 16 bits: one for the sign, five for the exponent, ten for the fraction (IEEE 754). */
function readHalves(base64) {
  const bytes = atob(base64);
  const numbers = new Float32Array(bytes.length / 2);
  for (let i = 0; i < numbers.length; i++) {
    const bits = bytes.charCodeAt(2 * i) + 256 * bytes.charCodeAt(2 * i + 1);
    const sign = bits >> 15 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = (bits & 1023) / 1024;
    numbers[i] = sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
  }
  return numbers;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Σⱼ aⱼ vⱼ for rows v. */
function mixture(a, v) {
  const out = new Float64Array(v[0].length);
  v.forEach((row, j) =>
    row.forEach((x, d) => {
      out[d] += a[j] * x;
    }),
  );
  return out;
}

/** Scores to weights that are positive and add up to 1; less the largest, so that no exponential overflows. */
function softmax(scores) {
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const e = scores.map((s) => Math.exp(s - largest));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((x) => x / sum);
}

/** X W + b. */
function linear(x, W, b) {
  const columns = W.shape[1];
  return x.map((row) => {
    const y = b ? Float64Array.from(b.data) : new Float64Array(columns);
    for (let i = 0; i < row.length; i++) {
      for (let j = 0, at = i * columns; j < columns; j++, at++) y[j] += row[i] * W.data[at];
    }
    return y;
  });
}

/** X Wᵀ: each row against each row of W.  So the embedding, turned round, gives a logit to every token. */
function against(x, W) {
  const [rows, columns] = W.shape;
  const each = Array.from({ length: rows }, (_, i) => W.data.subarray(i * columns, (i + 1) * columns));
  return x.map((row) => Float64Array.from(each, (w) => dot(row, w)));
}

const plus = (x, y) => x.map((row, t) => row.map((value, i) => value + y[t][i]));
const times = (x, y) => x.map((row, t) => row.map((value, i) => value * y[t][i]));

const ACTIVATIONS = {
  relu: (x) => Math.max(0, x),
  gelu: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
};

// Positions -------------------------------------------------------------------------------------------------------

/** PE(t, 2i) = sin(t / 10000^(2i/C)), PE(t, 2i+1) = cos of the same. */
function sinusoid(t, width) {
  return Float64Array.from({ length: width }, (_, c) => {
    const angle = t / 10000 ** ((c - (c % 2)) / width);
    return c % 2 ? Math.cos(angle) : Math.sin(angle);
  });
}

/** Turn each pair (i, i + D/2) of each head's part of a row by the angle t · base^(−2i/D). */
function rotate(row, t, D, base) {
  const out = row.slice();
  for (let start = 0; start < row.length; start += D) {
    for (let i = 0; i < D / 2; i++) {
      const angle = t * base ** ((-2 * i) / D);
      const [a, b] = [row[start + i], row[start + i + D / 2]];
      out[start + i] = a * Math.cos(angle) - b * Math.sin(angle);
      out[start + i + D / 2] = b * Math.cos(angle) + a * Math.sin(angle);
    }
  }
  return out;
}

// The model -------------------------------------------------------------------------------------------------------

/** One head's part of a row. */
const part = (row, head, D) => row.subarray(head * D, (head + 1) * D);

/** One head's part of each of the first rows. */
const parts = (rows, count, head, D) => rows.slice(0, count).map((row) => part(row, head, D));

class Model {
  /** `sizes` and `weights` (names to [shape, start]) as describe.py has them; `numbers` are all of them in a row. */
  constructor(sizes, weights, numbers) {
    this.sizes = sizes;
    this.weights = {};
    for (const [name, [shape, start]] of Object.entries(weights)) {
      const size = shape.reduce((a, b) => a * b, 1);
      this.weights[name] = { shape, data: numbers.subarray(start, start + size) };
    }
  }

  linear(x, name) {
    return linear(x, this.weights[`${name}.weight`], this.weights[`${name}.bias`]);
  }

  /** Subtract the mean (LayerNorm; not RMSNorm), divide by the root mean square, then scale and shift. */
  norm(x, name) {
    const { kind, eps } = this.sizes.norm;
    const [weight, bias] = [this.weights[`${name}.weight`], this.weights[`${name}.bias`]];
    return x.map((row) => {
      const mean = kind === "layer" ? row.reduce((a, b) => a + b, 0) / row.length : 0;
      const centred = row.map((value) => value - mean);
      const size = Math.sqrt(dot(centred, centred) / row.length + eps);
      return centred.map((value, i) => (value / size) * weight.data[i] + (bias ? bias.data[i] : 0));
    });
  }

  /** down(act(up(x))), or SwiGLU's down(silu(gate(x)) · up(x)), at each position alike. */
  feedForward(x, name) {
    const { ffn } = this.sizes;
    const gated = ffn === "swiglu";
    const first = this.linear(x, `${name}.${gated ? "gate" : "up"}`).map((row) =>
      row.map(ACTIVATIONS[gated ? "silu" : ffn]),
    );
    const inner = gated ? times(first, this.linear(x, `${name}.up`)) : first;
    return this.linear(inner, `${name}.down`);
  }

  /** Token embeddings, times `scale`, with the positions from `start` on, where they are something to add. */
  embed(ids, name, start, scale) {
    const [E, { width, positions }] = [this.weights[`${name}.weight`], this.sizes];
    return ids.map((id, i) => {
      const row = Float64Array.from(E.data.subarray(id * width, (id + 1) * width), (value) => value * scale);
      if (positions.kind === "sinusoidal") return plus([row], [sinusoid(start + i, width)])[0];
      if (positions.kind !== "learned") return row;
      return row.map((value, c) => value + this.weights["positions.weight"].data[(start + i) * width + c]);
    });
  }

  /** What is added to the score of query i and key j: ALiBi's penalty on distance, for most models nothing. */
  bias(head, i, j) {
    const { kind, slopes } = this.sizes.positions;
    return kind === "alibi" ? -slopes[head] * Math.abs(i - j) : 0;
  }

  /**
   * Multi-head attention: for each head softmax(q·k / √D + bias), and the mixture of the v with these weights.
   *
   * Rows x ask; rows `source` are looked at, x itself or what the encoder made.  `run.attention[name]` keeps q, k, v and
   * the weights [head][query][key]; what a `past` run on a shorter text kept is not computed again.  A head in `run.off`
   * contributes zeros.
   */
  attend(x, source, name, causal, run) {
    const { heads, kv_heads: kvHeads, head_dim: D, positions } = this.sizes;
    const past = run.past?.attention[name] ?? { q: [], k: [], v: [], weights: Array(heads).fill([]) };
    const start = past.q.length;
    const known = source !== x && start > 0; // what an encoder made stays the same while the decoder writes
    const turn = (rows) => rows.map((row, i) => rotate(row, start + i, D, positions.base));
    const project = (rows, to) => this.linear(rows, `${name}.${to}`);
    const placed = (rows) => (positions.kind === "rotary" ? turn(rows) : rows);
    const q = [...past.q, ...placed(project(x, "q_proj"))];
    const k = known ? past.k : [...past.k, ...placed(project(source, "k_proj"))];
    const v = known ? past.v : [...past.v, ...project(source, "v_proj")];
    const weights = past.weights.map((rows) => [...rows]);
    const mixed = x.map((_, n) => {
      const [i, out] = [start + n, new Float64Array(heads * D)];
      const seen = causal ? i + 1 : k.length;
      for (let head = 0; head < heads; head++) {
        const shared = Math.floor((head * kvHeads) / heads); // groups of heads share keys and values
        const [ask, keys, values] = [part(q[i], head, D), parts(k, seen, shared, D), parts(v, seen, shared, D)];
        const a = softmax(keys.map((key, j) => dot(ask, key) / Math.sqrt(D) + this.bias(head, i, j)));
        weights[head].push(a);
        if (!run.off.has(`${name}.${head}`)) out.set(mixture(a, values), head * D);
      }
      return out;
    });
    run.attention[name] = { q, k, v, weights };
    return project(mixed, "out_proj");
  }

  /** Add & Norm around a sub-layer: before it (pre-norm), or after the addition (post-norm, as in the paper). */
  add(x, norm, sublayer) {
    return this.sizes.norm_first ? plus(x, sublayer(this.norm(x, norm))) : this.norm(plus(x, sublayer(x)), norm);
  }

  /** Attention to itself, to the `memory` of an encoder if there is one, then the feed-forward. */
  layer(x, name, causal, run, memory) {
    x = this.add(x, `${name}.norm1`, (h) => this.attend(h, h, `${name}.self_attention`, causal, run));
    if (memory) x = this.add(x, `${name}.norm2`, (h) => this.attend(h, memory, `${name}.cross_attention`, false, run));
    return this.add(x, `${name}.norm${memory ? 3 : 2}`, (h) => this.feedForward(h, `${name}.ffn`));
  }

  /** All the layers of a stack, and the norm after the last one where there is one. */
  stack(x, prefix, causal, run, memory) {
    for (let i = 0; i < this.sizes.layers; i++) x = this.layer(x, `${prefix}layers.${i}`, causal, run, memory);
    return this.weights[`${prefix}norm.weight`] ? this.norm(x, `${prefix}norm`) : x;
  }

  logits(x, embedding) {
    return this.sizes.tied ? against(x, this.weights[`${embedding}.weight`]) : this.linear(x, "output");
  }

  /** GPT: ids → { ids, logits [T][V], attention }; `past` is an earlier run of the same heads on a prefix of the ids. */
  read(ids, off = new Set(), past = null) {
    const run = { ids, off, past, attention: {} };
    const start = past ? past.ids.length : 0;
    const x = this.stack(this.embed(ids.slice(start), "token_embedding", start, 1), "", true, run);
    run.logits = [...(past?.logits ?? []), ...this.logits(x, "token_embedding")];
    return { ...run, past: null };
  }

  /** Encoder: source ids → { memory, attention }. */
  encode(source, off = new Set()) {
    const run = { source, off, attention: {} };
    run.memory = this.stack(this.embed(source, "embedding", 0, Math.sqrt(this.sizes.width)), "encoder.", false, run);
    return run;
  }

  /** Decoder: target ids, with what `encode` made of the source → { ids, logits [T][V], attention }. */
  decode(ids, encoded, off = new Set(), past = null) {
    const run = { ids, off, past, attention: {} };
    const start = past ? past.ids.length : 0;
    const x = this.embed(ids.slice(start), "target_embedding", start, Math.sqrt(this.sizes.width));
    run.logits = [
      ...(past?.logits ?? []),
      ...this.logits(this.stack(x, "decoder.", true, run, encoded.memory), "embedding"),
    ];
    return { ...run, past: null };
  }
}

/** Where the text begins that the model reads of a longer one: when the context is full, its older half is dropped. */
function windowStart(length, context) {
  const half = Math.max(1, Math.floor(context / 2));
  return Math.max(0, Math.ceil((length - context) / half) * half);
}
