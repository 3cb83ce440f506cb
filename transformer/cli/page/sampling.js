// From the logits of the next token to the distribution that it is drawn from, as in transformer/decoding/sampling.py.

/** Logits to probabilities: temperature first, then top-k, then top-p; at temperature 0 all on the most likely token. */
function distribution(logits, { temperature = 1, topK = Infinity, topP = 1 }) {
  let kept = Array.from(logits);
  const best = kept.indexOf(Math.max(...kept));
  if (temperature === 0) return kept.map((_, id) => (id === best ? 1 : 0));
  kept = kept.map((logit) => (logit - logits[best]) / temperature);
  if (topK < kept.length) {
    const threshold = [...kept].sort((a, b) => b - a)[topK - 1];
    kept = kept.map((logit) => (logit < threshold ? -Infinity : logit));
  }
  if (topP < 1) {
    const p = softmax(kept);
    const order = p.map((_, id) => id).sort((a, b) => kept[b] - kept[a] || a - b);
    let before = 0; // what the more likely tokens have together
    for (const id of order) {
      if (before >= topP * (1 - 1e-12)) kept[id] = -Infinity;
      before += p[id];
    }
  }
  return softmax(kept);
}

/** The first token whose running total exceeds a number `uniform` from [0, 1). */
function draw(probabilities, uniform) {
  let total = 0;
  const totals = probabilities.map((p) => (total += p));
  return totals.findIndex((sum) => sum > uniform * total);
}

/** Numbers in [0, 1) from a seed, the same on every machine (mulberry32, of the public domain, by T. Ettinger). */
function randomFrom(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
