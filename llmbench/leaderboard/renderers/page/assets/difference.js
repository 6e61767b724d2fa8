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
