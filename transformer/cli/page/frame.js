// What stands around the model: its name and sizes, the chapters, the examples, the code.

/** Fill in what does not change while the page is open. */
function showFrame(session) {
  const { data, sizes, translates } = session;
  const { about } = data;
  const schemes = {
    learned: "learned positions",
    sinusoidal: "sinusoidal positions",
    rotary: "rotary positions",
    alibi: "ALiBi",
  };
  const many = (n, what) => `${count(n)} ${what}${n === 1 ? "" : "s"}`;
  const each = sizes.heads / sizes.kv_heads;
  byId("name").textContent = about.name;
  byId("facts").textContent = [
    translates ? `Encoder–decoder for the task “${about.task}”` : `GPT, trained on ${about.learned}`,
    `${many(sizes.layers, "layer")} × ${many(sizes.heads, "head")}`,
    each > 1 ? `${each} heads share keys and values` : "",
    `width ${sizes.width}`,
    schemes[sizes.positions.kind] ?? "no positions",
    many(sizes.parameters, "parameter"),
    about.steps ? many(about.steps, "step") : "",
    about.loss ? `validation loss ${shown(about.loss)}` : "",
  ]
    .filter(Boolean)
    .join(" · ");
  for (const fact of document.querySelectorAll("[data-fact]")) fact.textContent = count(sizes[fact.dataset.fact]);
  for (const part of document.querySelectorAll("[data-for]")) if (part.dataset.for !== sizes.kind) part.remove();
  for (const mark of document.querySelectorAll("[data-chapter]")) {
    const [title, href] = data.chapters[mark.dataset.chapter];
    mark.replaceWith(make(href ? "a" : "span", { class: "chapter", title, href, target: href && "_top" }, `chapter ${mark.dataset.chapter}`));
  }
  byId("input-label").textContent = translates ? "Source: type your own" : "Type here; the model follows";
  byId("tokens-hint").textContent = translates
    ? "Choose a token to see what else it might have been, and where the decoder looked."
    : `Choose a token to see what was expected after it. The model sees at most ${count(sizes.context)} tokens.`;
  const use = (text) => () => {
    byId("input").value = text;
    byId("input").dispatchEvent(new Event("input"));
  };
  byId("examples").append(
    ...data.examples.map((text) => make("button", { type: "button", class: "example", click: use(text) }, text)),
  );
  byId("source-code").textContent = byId("model.js").textContent.trim();
  byId("lines").textContent = byId("source-code").textContent.split("\n").length;
}
