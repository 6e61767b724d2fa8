// Models: the filter lets every row, card and point of the others go; picking lets one stand out.

const form = document.getElementById("filter"), words = form.querySelector("input"), stage = form.querySelector("select"), count = form.querySelector("output");
const known = new Map(all("[data-model][data-stage]").map((part) => [part.dataset.model, part.dataset.stage]));
const more = new Map();
all("tr.line").forEach((row) => more.set(row.dataset.model, (more.get(row.dataset.model) || "") + " " + row.textContent.toLowerCase()));
const picked = new Set();
let kept = new Set(known.keys());

function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (model) => {
    const said = model.toLowerCase() + (more.get(model) || "");
    return (!stage.value || known.get(model) === stage.value) && wanted.every((word) => said.includes(word));
  };
  kept = new Set(Array.from(known.keys()).filter(fits));
  all("[data-model]").forEach((part) => { // a picture's part has no `hidden`
    const away = known.has(part.dataset.model) && !kept.has(part.dataset.model);
    if (part instanceof HTMLElement) part.hidden = away; else part.toggleAttribute("hidden", away);
  });
  all("table.pairs").forEach((table) => all("[data-column]", table).forEach((head) => {
    const away = known.has(head.dataset.column) && !kept.has(head.dataset.column);
    head.hidden = away;
    all("tbody tr", table).forEach((row) => { row.cells[head.cellIndex].hidden = away; });
  }));
  count.textContent = kept.size < known.size ? kept.size + " of " + known.size : "";
  document.dispatchEvent(new Event("models"));
}
form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", () => {
  filter();
  address.set("models", words.value);
  address.set("stage", stage.value);
});

function pick() {
  document.body.classList.toggle("picking", picked.size > 0);
  all("[data-model]").forEach((part) => part.classList.toggle("picked", picked.has(part.dataset.model)));
  all(".pick").forEach((act) => act.setAttribute("aria-pressed", picked.has(act.closest("[data-model]").dataset.model)));
  document.dispatchEvent(new Event("models"));
}
all("tr.line td.model .mark").forEach((drawn) => {
  const name = drawn.closest("tr").dataset.model, act = make("button", "pick");
  act.type = "button";
  act.setAttribute("aria-label", "Highlight " + name);
  act.setAttribute("aria-pressed", "false");
  drawn.replaceWith(act);
  act.append(drawn);
  act.addEventListener("click", () => {
    if (!picked.delete(name)) picked.add(name);
    pick();
    address.set("pick", Array.from(picked, encodeURIComponent).join(","));
  });
});
restorers.push((values) => {
  words.value = values.get("models") || "";
  stage.value = values.get("stage") || "";
  if (stage.selectedIndex < 0) stage.value = "";
  picked.clear();
  for (const name of (values.get("pick") || "").split(",").filter(Boolean)) {
    try { if (known.has(decodeURIComponent(name))) picked.add(decodeURIComponent(name)); } catch { /* not ours */ }
  }
  filter();
  pick();
});
