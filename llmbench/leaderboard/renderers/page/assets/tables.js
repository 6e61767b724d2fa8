// Tables: sorting, the choice of columns. Every third click brings back the order of the page.

const sorters = new Map(); // id of a table -> what sorts it
const nameOf = (table) => table.id || table.closest("section").id;

all("table.sortable").forEach((table) => {
  const heads = Array.from(table.tHead.rows[0].cells), body = table.tBodies[0], first = Array.from(body.rows);
  const number = (cell) => parseFloat(cell.dataset.sort.replace("inf", "Infinity"));
  const compare = (column, numeric, way) => (a, b) => {
    const x = a.cells[column], y = b.cells[column];
    if (!numeric) return way * x.textContent.trim().localeCompare(y.textContent.trim(), "en");
    const p = number(x), q = number(y);
    if (isNaN(p) || isNaN(q)) return isNaN(p) - isNaN(q);
    return way * (p === q ? 0 : p < q ? -1 : 1);
  };
  const sort = (column, way) => {
    heads.forEach((head, at) => { if (at === column && way) head.setAttribute("aria-sort", way); else head.removeAttribute("aria-sort"); });
    const rows = [...first];
    if (way) rows.sort(compare(column, heads[column].classList.contains("number"), way === "descending" ? -1 : 1));
    body.replaceChildren(...rows);
  };
  heads.forEach((head, column) => {
    const act = make("button", "", ...head.childNodes);
    act.type = "button";
    head.append(act);
    act.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
      sort(column, next);
      address.set("sort." + nameOf(table), next ? head.dataset.key + "." + next : "");
      say(next ? "sorted by " + head.dataset.key + ", " + next : "order of the page");
    });
    if (head.dataset.tip) tipped(act, () => [head.dataset.tip]);
  });
  sorters.set(nameOf(table), (key, way) => {
    const column = heads.findIndex((head) => head.dataset.key === key);
    if (column >= 0 && ["ascending", "descending"].includes(way)) sort(column, way);
    else sort(0, "");
  });
  if (table.id !== "ranks" && !table.classList.contains("heat")) chooseColumns(table, heads, first);
});
restorers.push((values) => sorters.forEach((sort, name) => {
  const [, key, way] = (values.get("sort." + name) || "").match(/^(.*)\.(\w+)$/s) || [];
  sort(key, way);
}));

function toolsOf(table) {
  const card = table.closest(".card");
  let tools = card.querySelector(":scope > .tools");
  if (!tools) card.prepend(tools = make("div", "tools"));
  return tools;
}

// Columns: the main ones at first, the others when they are asked for.
function chooseColumns(table, heads, rows) {
  const list = make("div"), boxes = new Map(), name = nameOf(table);
  const show = (column, shown) => {
    heads[column].hidden = !shown;
    rows.forEach((row) => { row.cells[column].hidden = !shown; });
  };
  const changed = () => Array.from(boxes).filter(([head, box]) => box.checked === "more" in head.dataset).map(([head]) => head.dataset.key);
  heads.forEach((head, column) => {
    if (head.classList.contains("model")) return;
    const box = make("input");
    box.type = "checkbox";
    box.addEventListener("change", () => { show(column, box.checked); address.set("columns." + name, changed().join(",")); });
    boxes.set(head, box);
    list.append(make("label", "", box, " " + head.querySelector("button").firstChild.textContent));
  });
  restorers.push((values) => {
    const other = (values.get("columns." + name) || "").split(",");
    boxes.forEach((box, head) => {
      box.checked = "more" in head.dataset === other.includes(head.dataset.key);
      show(heads.indexOf(head), box.checked);
    });
  });
  const picker = make("details", "columns", make("summary", "button", "Columns"), list);
  toolsOf(table).append(picker);
  document.addEventListener("click", (event) => { if (!picker.contains(event.target)) picker.open = false; });
  picker.addEventListener("keydown", (event) => { if (event.key === "Escape") { picker.open = false; picker.firstChild.focus(); } });
}
