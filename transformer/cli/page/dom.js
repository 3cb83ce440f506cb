// Small helpers: elements, and numbers as people write them.

const byId = (id) => document.getElementById(id);

/** An element with attributes (functions become listeners), and what is in it.  Text is always text, never markup. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Three significant digits, with a true minus sign. */
function shown(x) {
  if (x === 0) return "0";
  const size = Math.abs(x);
  const digits = size >= 100 ? 0 : size >= 0.1 ? 2 : size >= 5e-4 ? 3 : 5;
  const text = size >= 1e5 || size < 5e-6 ? x.toExponential(1).replace("e+", "e") : x.toFixed(digits);
  return text.replaceAll("-", "−");
}

/** A factor or a summand: one below zero in brackets. */
const factor = (x) => (x < 0 ? `(${shown(x)})` : shown(x));

const percent = (p) => (p === 0 ? "0" : p < 0.0005 ? "< 0.1 %" : `${(100 * p).toFixed(p < 0.0995 ? 1 : 0)} %`);

const count = (n) => n.toLocaleString("en");

/** Put new contents in place of the old; where the keyboard was, there it stays. */
function refill(parent, contents) {
  const at = [...parent.children].findIndex((child) => child.contains(document.activeElement));
  parent.replaceChildren(...contents);
  const child = at < 0 ? null : parent.children[Math.min(at, parent.children.length - 1)];
  (child?.querySelector("button") ?? child)?.focus({ preventScroll: true });
}

/** A token for the eye, cut when it is long. */
const brief = (label, longest = 9) =>
  [...label].length > longest ? `${[...label].slice(0, longest - 1).join("")}…` : label;

/** A token for a screen reader, which does not speak signs. */
function spoken(label) {
  const names = { "␣": "space", "⏎": "new line", "⇥": "tab", "⊢": "begin", "⊣": "end", "·": "padding" };
  return [...label].every((c) => names[c]) ? [...label].map((c) => names[c]).join(" ") : label.replaceAll("␣", " ");
}

/** Numbers of a CSS variable such as "--heat-0: 240 238 250". */
const shade = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim().split(/\s+/).map(Number);

/** Let the screen reader say something. */
function say(text) {
  byId("said").textContent = text;
}
