// Pairs: what a cell of the square says, in words.

all("table.pairs").forEach((table) => {
  const names = Array.from(table.tHead.rows[0].cells, (head) => head.dataset.column);
  const rowOf = new Map(Array.from(table.tBodies[0].rows, (row) => [row.dataset.model, row]));
  const explain = (cell) => {
    const row = cell.closest("tr"), other = rowOf.get(names[cell.cellIndex]);
    const verb = { up: "is significantly better than", down: "is significantly worse than" }[cell.className] || "is not told apart from";
    return [make("b", "", `${row.dataset.model} ${verb} ${other.dataset.model}`), make("div", "", `${row.dataset.value} against ${other.dataset.value}`)];
  };
  const show = (event) => {
    const cell = event.target.closest("td");
    if (!cell || cell.className === "own") return hide();
    putAt(cell, ...explain(cell));
  };
  table.addEventListener("pointerover", (event) => { if (event.pointerType === "mouse") show(event); });
  table.addEventListener("pointerleave", hide);
  table.addEventListener("click", show);
  all("[data-column]", table).forEach((head) => { head.tabIndex = -1; tipped(head, () => [head.dataset.column]); });
});
