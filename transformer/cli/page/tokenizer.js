// Tokenizers: text to ids and back, as in transformer/data/tokenizers.py and bpe.py.

/** What Python calls white space; JavaScript's own \s lacks five of these and has U+FEFF. */
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

/** No merge crosses these chunks: a word, three digits, a run of marks, each with the space before it; white space. */
const CHUNK = new RegExp(
  "(?: ?[\\p{L}\\p{Nl}\\p{No}]{1,64})|(?: ?\\p{Nd}{1,3})|" +
    `(?: ?[^\\p{L}\\p{N}${SPACE}]{1,64})|(?:[${SPACE}]{1,64}(?![^${SPACE}]))|(?:[${SPACE}]{1,64})`,
  "gu",
);

/** Refuses half of a UTF-16 pair, which is not a character. */
function checkText(text) {
  const half = text.match(/\p{Cs}/u);
  if (half) throw new RangeError(`U+${codePoint(half[0])} is half of a UTF-16 pair and not a character`);
}

const codePoint = (character) => character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");

/** One token for each character. */
class CharTokenizer {
  constructor({ vocabulary }) {
    this.characters = [...vocabulary];
    this.ids = new Map(this.characters.map((character, id) => [character, id]));
  }

  encode(text) {
    checkText(text);
    return [...text].map((character) => {
      if (!this.ids.has(character))
        throw new RangeError(`“${character}” (U+${codePoint(character)}) is not among this model's characters`);
      return this.ids.get(character);
    });
  }

  decode(ids) {
    return ids.map((id) => this.characters[id]).join("");
  }

  /** The characters of a text that it cannot write, each once. */
  strangers(text) {
    return [...new Set(text)].filter((character) => !this.ids.has(character));
  }
}

/** Byte-pair encoding: the bytes of UTF-8, and merge i joins two tokens into the token 256 + i. */
class BPETokenizer {
  constructor({ merges }) {
    this.tokens = Array.from({ length: 256 }, (_, byte) => [byte]);
    this.merged = new Map();
    for (const [left, right] of merges) {
      this.merged.set(`${left} ${right}`, this.tokens.length);
      this.tokens.push([...this.tokens[left], ...this.tokens[right]]);
    }
  }

  encode(text) {
    checkText(text);
    return (text.match(CHUNK) ?? []).flatMap((chunk) => this.merge([...new TextEncoder().encode(chunk)]));
  }

  /** The earliest merge first, until none applies. */
  merge(ids) {
    for (;;) {
      const places = ids.slice(1).map((right, i) => this.merged.get(`${ids[i]} ${right}`) ?? Infinity);
      const made = Math.min(Infinity, ...places);
      if (made === Infinity) return ids;
      const out = [];
      for (let i = 0; i < ids.length; i++) {
        const joins = i + 1 < ids.length && this.merged.get(`${ids[i]} ${ids[i + 1]}`) === made;
        out.push(joins ? made : ids[i]);
        if (joins) i++;
      }
      ids = out;
    }
  }

  decode(ids) {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(ids.flatMap((id) => this.tokens[id])));
  }

  /** It can write any text. */
  strangers() {
    return [];
  }
}

const openTokenizer = (payload) => new (payload.kind === "char" ? CharTokenizer : BPETokenizer)(payload);
