"use strict";
(function () {
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
  const make = (tag, words, ...inside) => {
    const made = document.createElement(tag);
    if (words) made.className = words;
    made.append(...inside);
    return made;
  };

  // Sorting: every third click brings back the order by stage, as the page was written.
  all("table.sortable").forEach((table) => {
    const heads = Array.from(table.tHead.rows[0].cells), body = table.tBodies[0], first = Array.from(body.rows);
    const number = (cell) => parseFloat(cell.dataset.sort.replace("inf", "Infinity"));
    const compare = (column, numeric, way) => (a, b) => {
      const x = a.cells[column], y = b.cells[column];
      if (!numeric) return way * x.textContent.trim().localeCompare(y.textContent.trim());
      const p = number(x), q = number(y);
      if (isNaN(p) || isNaN(q)) return isNaN(p) - isNaN(q);
      return way * (p === q ? 0 : p < q ? -1 : 1);
    };
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const next = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (next) head.setAttribute("aria-sort", next);
        const rows = first.filter((row) => !next || row.className === "line");
        if (next) rows.sort(compare(column, head.classList.contains("number"), next === "descending" ? -1 : 1));
        body.replaceChildren(...rows);
      });
    });
    columns(table, heads, first);
  });

  // Columns: the main ones at first, the others when they are asked for.
  function columns(table, heads, rows) {
    const list = make("div");
    const show = (column, shown) => {
      heads[column].hidden = !shown;
      rows.filter((row) => row.className === "line").forEach((row) => { row.cells[column].hidden = !shown; });
    };
    heads.forEach((head, column) => {
      if (head.classList.contains("model")) return;
      const box = make("input");
      box.type = "checkbox";
      box.checked = !("more" in head.dataset);
      box.addEventListener("change", () => show(column, box.checked));
      list.append(make("label", "", box, " " + head.textContent));
      show(column, box.checked);
    });
    const picker = make("details", "columns", make("summary", "", "Columns"), list);
    table.closest(".card").prepend(picker);
    document.addEventListener("click", (event) => { if (!picker.contains(event.target)) picker.open = false; });
    picker.addEventListener("keydown", (event) => { if (event.key === "Escape") { picker.open = false; picker.firstChild.focus(); } });
  }

  // The filter: every row, card and bubble of a model that does not fit goes away.
  const form = document.getElementById("filter"), words = form.querySelector("input"), stage = form.querySelector("select"), count = form.querySelector("output");
  const known = new Map(all("[data-model]").map((part) => [part.dataset.model, part.dataset.stage]));
  const more = new Map(all("tr.line").map((row) => [row.dataset.model, row.textContent.toLowerCase()]));
  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (model) => {
      const said = model.toLowerCase() + " " + (more.get(model) || "");
      return (!stage.value || known.get(model) === stage.value) && wanted.every((word) => said.includes(word));
    };
    const kept = new Set(Array.from(known.keys()).filter(fits));
    all("[data-model]").forEach((part) => { part.hidden = !kept.has(part.dataset.model); });
    all("tr.stage").forEach((head) => {
      let row = head.nextElementSibling;
      while (row && row.className === "line" && row.hidden) row = row.nextElementSibling;
      head.hidden = !row || row.className !== "line";
    });
    bubbles.forEach((bubble) => bubble.classList.toggle("away", known.has(bubble.dataset.of) && !kept.has(bubble.dataset.of)));
    count.textContent = kept.size < known.size ? kept.size + " of " + known.size : "";
  }
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", filter);

  // The tip: what a bubble is, and what a place of a text cost every model.
  const tip = document.getElementById("tip");
  const put = (x, above, below, ...inside) => { // below what it is about, or above where there is no room
    tip.replaceChildren(...inside);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x, innerWidth - box.width - 4)) + "px";
    tip.style.top = (below + 8 + box.height > innerHeight ? Math.max(4, above - box.height - 8) : below + 8) + "px";
  };
  const hide = () => { tip.hidden = true; all(".here").forEach((part) => part.classList.remove("here")); };
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  for (const moved of ["wheel", "touchmove"]) addEventListener(moved, hide, { passive: true }); // not scroll: arrow keys scroll too

  const bubbles = all(".vega .mark-symbol path[aria-label]");
  bubbles.forEach((bubble) => {
    const said = bubble.getAttribute("aria-label").split("; "), at = said.findIndex((part) => part.endsWith(" bits/byte"));
    const name = said.slice(0, at).join("; ");
    bubble.dataset.of = name;
    bubble.setAttribute("tabindex", "0");
    bubble.setAttribute("role", "img");
    const show = () => {
      const box = bubble.getBoundingClientRect();
      put(box.right, box.top, box.bottom, make("b", "", name), ...said.slice(at).map((part) => make("div", "", part)));
    };
    bubble.addEventListener("pointerenter", show);
    bubble.addEventListener("focus", show);
    bubble.addEventListener("pointerleave", hide);
    bubble.addEventListener("blur", hide);
  });

  // Passages: spans of all rows of a line hold the same characters, so a place is a number of characters.
  const place = (span) => { let at = 0; while ((span = span.previousSibling)) at += span.textContent.length; return at; };
  const spanAt = (cell, at) => Array.from(cell.children).find((span) => (at -= span.textContent.length) < 0);
  function explain(span, at) {
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
    table.addEventListener("pointerover", (event) => {
      if (event.target.tagName !== "I" || event.target.closest("th")) return hide();
      if (event.target.title) { // one tip is enough
        event.target.dataset.said = event.target.title;
        event.target.removeAttribute("title");
      }
      explain(event.target, place(event.target));
    });
    table.addEventListener("pointerleave", hide);
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
      explain(found, at);
    });
    table.parentElement.addEventListener("blur", hide);
    comparison(table);
  });

  // The difference of two models, place by place: blue where the first pays less, orange where the second does.
  function comparison(table) {
    const names = Array.from(table.tBodies[0].rows, (row) => row.dataset.model);
    if (names.length < 2) return;
    const choose = (label) => {
      const list = make("select", "", new Option("–", ""), ...names.map((name) => new Option(name, name)));
      list.setAttribute("aria-label", label);
      return list;
    };
    const one = choose("First model of the difference"), two = choose("Second model of the difference"), scale = make("span", "scale");
    const key = [["a4", "−4"], ["a3", "−2"], ["a2", "−1"], ["a1", "−¼"], ["b0", "0"], ["z1", "+¼"], ["z2", "+1"], ["z3", "+2"], ["z4", "+4"]];
    scale.append(...key.map(([level, text]) => make("i", level, text)));
    const bar = make("div", "compare", "Difference of ", one, " less ", two, " in bits per byte", scale);
    table.closest(".scroll").before(bar);
    scale.hidden = true;
    bar.addEventListener("change", () => {
      all("tr.difference", table).forEach((row) => row.remove());
      scale.hidden = !one.value || !two.value;
      if (!scale.hidden) Array.from(table.tBodies).forEach((body) => body.append(difference(body, one.value, two.value)));
    });
  }
  function difference(body, one, two) {
    const [first, second] = [one, two].map((name) => {
      const cell = Array.from(body.rows).find((row) => row.dataset.model === name).lastChild, bits = cell.dataset.bits.replace(/inf/g, "Infinity").split(" ");
      return Array.from(cell.children).flatMap((span, number) => Array(span.textContent.length).fill(parseFloat(bits[number])));
    });
    const text = body.rows[0].lastChild.textContent, cell = make("td");
    for (let at = 0; at < text.length;) {
      const apart = first[at] - second[at], begin = at;
      do at++; while (at < text.length && (first[at] - second[at] === apart || (text.charCodeAt(at) & 0xfc00) === 0xdc00));
      const size = Math.abs(apart), level = isNaN(apart) || size < 0.25 ? 0 : size < 1 ? 1 : size < 2 ? 2 : size < 4 ? 3 : 4;
      const span = make("i", level ? (apart < 0 ? "a" : "z") + level : "", text.slice(begin, at));
      span.title = (apart > 0 ? "+" : apart < 0 ? "−" : "") + (isNaN(apart) ? "both infinite" : size.toFixed(2) + " bits a byte");
      cell.append(span);
    }
    return make("tr", "difference", make("th", "", one + " − " + two), cell);
  }
})();
