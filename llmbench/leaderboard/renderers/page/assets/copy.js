// Taking away: a table as Markdown, LaTeX or CSV, a picture as SVG or PNG.

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no permission, or no clipboard: the old way
    const area = make("textarea", "unseen", text);
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(what + " copied");
}

// The rows and columns that are shown, in the order that is shown, as texts; the first are the titles.
function readTable(table) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const shown = (cell, at) => !heads[at].hidden && getComputedStyle(heads[at]).display !== "none";
  const read = (cell) => {
    const clone = cell.cloneNode(true);
    all(".ends, .bar, svg", clone).forEach((part) => part.remove());
    return clone.textContent.replace(/\s+/g, " ").trim();
  };
  const rows = Array.from(table.tBodies[0].rows).filter((row) => !row.hidden);
  return {
    numeric: heads.filter(shown).map((head) => head.classList.contains("number")),
    rows: [heads, ...rows.map((row) => Array.from(row.cells))].map((cells) => cells.filter(shown).map(read)),
  };
}
const asMarkdown = ({ numeric, rows }) => {
  const safe = (text) => text.replace(/[\\`*_{}[\]<>#|~$&!]/g, "\\$&");
  const line = (cells) => "| " + cells.join(" | ") + " |";
  return [line(rows[0].map(safe)), line(numeric.map((right) => (right ? "--:" : ":--"))), ...rows.slice(1).map((row) => line(row.map(safe)))].join("\n") + "\n";
};
const asLatex = ({ numeric, rows }) => {
  const signs = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "–": "--", "×": "$\\times$" };
  const safe = (text) => text.replace(/[\\~^±–×&%#_$\{\}]/g, (sign) => signs[sign] || "\\" + sign);
  const line = (cells) => "  " + cells.map(safe).join(" & ") + " \\\\";
  return ["% \\usepackage{booktabs}", "\\begin{tabular}{" + numeric.map((right) => (right ? "r" : "l")).join("") + "}", "  \\toprule", line(rows[0]), "  \\midrule", ...rows.slice(1).map(line), "  \\bottomrule", "\\end{tabular}"].join("\n") + "\n";
};
const asCsv = ({ rows }) => rows.map((row) => row.map((text) => {
  const safe = /^[=+\-@＝＋－＠]/.test(text) && text !== "-" ? "'" + text : text; // no formula
  return /[",\n]/.test(safe) ? '"' + safe.replace(/"/g, '""') + '"' : safe;
}).join(",")).join("\r\n") + "\r\n";

all("table.sortable").forEach((table) => {
  const tools = toolsOf(table);
  tools.append(make("span", "note", "Copy as"));
  for (const [title, write] of [["Markdown", asMarkdown], ["LaTeX", asLatex], ["CSV", asCsv]]) {
    const act = button(title, () => copy(write(readTable(table)), title));
    act.setAttribute("aria-label", "Copy the table as " + title);
    tools.append(act);
  }
});

// A picture with its colours written into it, so that it needs no page around it.
const PAINT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "paint-order", "font-size", "font-weight", "font-family"];
function standAlone(drawn) {
  const made = drawn.cloneNode(true), [, , width, height] = drawn.getAttribute("viewBox").split(" ");
  const parts = [drawn, ...all("*", drawn)], copies = [made, ...all("*", made)];
  parts.forEach((part, at) => {
    const style = getComputedStyle(part);
    PAINT.forEach((name) => copies[at].setAttribute(name, style.getPropertyValue(name)));
    for (const name of ["class", "data-said", "data-values", "data-model", "tabindex"]) copies[at].removeAttribute(name);
  });
  made.prepend(document.querySelector(".defined defs").cloneNode(true));
  const paper = document.createElementNS(drawn.namespaceURI, "rect");
  for (const [name, value] of [["width", width], ["height", height], ["fill", getComputedStyle(drawn.closest(".card")).backgroundColor]]) paper.setAttribute(name, value);
  made.prepend(paper);
  for (const [name, value] of [["xmlns", drawn.namespaceURI], ["width", width], ["height", height]]) made.setAttribute(name, value);
  return { text: new XMLSerializer().serializeToString(made), width: Number(width), height: Number(height) };
}
function download(blob, name) {
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
function savePng({ text, width, height }, name) {
  const image = new Image();
  image.onload = () => {
    const canvas = make("canvas");
    canvas.width = 2 * width;
    canvas.height = 2 * height;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => download(blob, name + ".png"));
  };
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
}
all("figure.picture").forEach((figure, number) => {
  const shown = () => all("svg.plot, svg.vega", figure).find((drawn) => drawn.getClientRects().length);
  const name = "llmbench-" + (figure.closest("section").id || "picture") + "-" + (number + 1);
  const svg = button("SVG", () => { if (shown()) download(new Blob([standAlone(shown()).text], { type: "image/svg+xml" }), name + ".svg"); });
  const png = button("PNG", () => { if (shown()) savePng(standAlone(shown()), name); });
  svg.setAttribute("aria-label", "Save the picture as SVG");
  png.setAttribute("aria-label", "Save the picture as PNG");
  figure.append(make("div", "save", svg, png));
});
all("#again pre").forEach((commands) => commands.after(button("Copy", () => copy(commands.textContent, "commands"))));
