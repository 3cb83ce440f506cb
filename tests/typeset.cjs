// Reads [{tex, display}] as JSON, and writes what MathJax (or else KaTeX) says about each formula, "" for nothing.
// Ends with 3 where neither is installed. Install one beside the repository: npm install mathjax-full@3   (or katex).
const { createRequire } = require("module");
const path = require("path");
const formulas = JSON.parse(require("fs").readFileSync(0, "utf8"));
const from = createRequire(path.join(process.cwd(), "package.json"));

function find(name) {
  for (const load of [from, require]) try { return load(name); } catch (error) { if (error.code !== "MODULE_NOT_FOUND") throw error; }
  return null;
}

function withMathJax() {
  const full = "mathjax-full/js/";
  if (!find(full + "mathjax.js")) return null;
  const { mathjax } = find(full + "mathjax.js");
  const { TeX } = find(full + "input/tex.js");
  const { liteAdaptor } = find(full + "adaptors/liteAdaptor.js");
  const { RegisterHTMLHandler } = find(full + "handlers/html.js");
  const { SerializedMmlVisitor } = find(full + "core/MmlTree/SerializedMmlVisitor.js");
  for (const part of ["base/Base", "ams/Ams", "newcommand/Newcommand"]) find(full + `input/tex/${part}Configuration.js`);
  const { STATE } = find(full + "core/MathItem.js");
  RegisterHTMLHandler(liteAdaptor());
  const packages = ["base", "ams", "newcommand"];  // without noundefined, which shows an unknown command in red
  const page = mathjax.document("", { InputJax: new TeX({ packages, formatError: (_, error) => { throw error; } }) });
  const visitor = new SerializedMmlVisitor();
  return ({ tex, display }) => {
    const mml = visitor.visitTree(page.convert(tex, { display, end: STATE.CONVERT }));
    const literal = mml.replace(/ data-[\w-]+="[^"]*"/g, "").match(/<mtext[^>]*>[^<]*\\[A-Za-z]+[^<]*<\/mtext>/);  // a command shown as text
    return /<merror/.test(mml) ? "an error is shown" : literal ? `shown literally: ${literal[0]}` : "";
  };
}

function withKatex() {
  const katex = find("katex");
  const literal = /\\text\{[^}]*\\(textbf|emph|textit)/;  // KaTeX would set it, MathJax shows the command
  return katex && (({ tex, display }) => {
    katex.renderToString(tex, { displayMode: display, throwOnError: true, strict: (code) => (code === "unicodeTextInMathMode" ? "ignore" : "error") });
    return literal.test(tex) ? "a command inside of \\text is shown literally by MathJax" : "";
  });
}

const render = withMathJax() || withKatex();
if (!render) { process.stderr.write("npm install mathjax-full@3"); process.exit(3); }
process.stdout.write(JSON.stringify(formulas.map((formula) => {
  try { return render(formula); } catch (error) { return error.message || String(error); }
})));
