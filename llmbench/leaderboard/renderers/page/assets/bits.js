// Passages: spans of all rows of a line hold the same characters, so a place is a number of characters.
const place = (span) => { let at = 0; while ((span = span.previousSibling)) at += span.textContent.length; return at; };
const spanAt = (cell, at) => Array.from(cell.children).find((span) => (at -= span.textContent.length) < 0);
function explainPlace(span, at) {
  hide();
  const rows = all("tr", span.closest("tbody")).filter((row) => !row.hidden).map((row) => {
    const found = spanAt(row.lastChild, at);
    if (!found) return "";
    found.classList.add("here");
    return make("tr", "", make("td", "", row.firstChild.textContent), make("td", "", found.dataset.said || found.title));
  });
  const box = span.getBoundingClientRect(), line = span.closest("tbody").getBoundingClientRect(), list = make("table", "", ...rows);
  put(box.left, line.top, line.bottom - 12, list);
}
all("table.bits").forEach((table) => {
  const over = (event) => {
    if (event.target.tagName !== "I" || event.target.closest("th")) return hide();
    if (event.target.title) { // one tip is enough
      event.target.dataset.said = event.target.title;
      event.target.removeAttribute("title");
    }
    explainPlace(event.target, place(event.target));
    tipOf = table;
  };
  table.addEventListener("pointerover", over);
  table.addEventListener("click", over);
  table.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });
  let now = null; // the row, and the characters before the place, that the arrows stand at
  table.parentElement.addEventListener("keydown", (event) => {
    const rows = all("tr[data-model]", table).filter((row) => !row.hidden);
    if (!event.key.startsWith("Arrow") || !rows.length) return;
    event.preventDefault();
    let [row, at] = now && rows.includes(now[0]) ? now : [rows[0], -1];
    const span = at < 0 ? null : spanAt(row.lastChild, at);
    if (!span) at = 0;
    else if (event.key === "ArrowRight") at = place(span) + span.textContent.length;
    else if (event.key === "ArrowLeft") at = place(span) - 1;
    else row = rows[Math.max(0, Math.min(rows.length - 1, rows.indexOf(row) + (event.key === "ArrowUp" ? -1 : 1)))];
    const below = rows.slice(rows.indexOf(row) + 1).find((other) => other.dataset.model === row.dataset.model);
    if (at >= row.lastChild.textContent.length && below) [row, at] = [below, 0];
    at = Math.max(0, Math.min(row.lastChild.textContent.length - 1, at));
    now = [row, at];
    const found = spanAt(row.lastChild, at);
    found.scrollIntoView({ block: "nearest", inline: "nearest" });
    explainPlace(found, at);
  });
  table.parentElement.addEventListener("blur", hide);
  comparison(table);
});
