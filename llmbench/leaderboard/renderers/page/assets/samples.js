// The browser of samples: every item of a task that the page holds, built when it is looked at.

const PAGE = 40; // items at a time
const browser = document.getElementById("browser");
if (browser && data.items.length) browse(browser);

function browse(place) {
  const state = { task: "", order: "", words: "", marked: true, shown: PAGE };
  const list = make("div", "items"), told = make("p", "note"), next = button("Show more", () => { state.shown += PAGE; draw(); });
  const choose = (title, ...options) => {
    const field = make("select", "", ...options);
    return [field, make("label", "", title, field)];
  };
  const [task, taskField] = choose("Task", ...data.items.map((one, at) => new Option(one.task, at)));
  const [order, orderField] = choose("Order");
  const search = make("input");
  search.type = "search";
  search.autocomplete = "off";
  const tick = make("input");
  tick.type = "checkbox";
  tick.checked = true;
  const tickField = make("label", "tick", tick, "mark what differs from the reference");
  place.append(make("div", "controls", taskField, orderField, make("label", "", "With the words", search), tickField), told, list, next);
  place.closest("section").classList.add("browsed");

  const now = () => data.items[state.task || 0] || data.items[0];
  const mean = (values) => { const found = values.filter((value) => value !== null); return found.length ? found.reduce((sum, value) => sum + value, 0) / found.length : NaN; };
  const width = (values) => { const found = values.filter((value) => value !== null); return found.length ? Math.max(...found) - Math.min(...found) : NaN; };
  const worse = (one) => ((one.metrics[0] || {}).better === "higher" ? -1 : 1);

  function orders(one) {
    if (!one.metrics.length) return [["", "as asked"]];
    const title = one.metrics[0].title;
    return [["", `hardest first (mean ${title})`], ["easy", "easiest first"], ["wide", "models differ most"], ["id", "by name"], ...one.models.map((name) => ["model:" + name, `hardest for ${name}`])];
  }
  function sorted(one) {
    const number = one.models.indexOf(state.order.slice(6));
    const key = {
      "": (item) => -worse(one) * mean(item.values[0] || []), easy: (item) => worse(one) * mean(item.values[0] || []), wide: (item) => -width(item.values[0] || []),
    }[state.order] || (number >= 0 ? (item) => { const value = (item.values[0] || [])[number]; return value === null || value === undefined ? NaN : -worse(one) * value; } : null);
    const wanted = state.words.toLowerCase().split(/\s+/).filter(Boolean);
    const found = one.items.filter((item) => {
      const said = [item.id, item.prompt || "", item.reference || "", ...(item.answers || [])].join(" ").toLowerCase();
      return wanted.every((word) => said.includes(word));
    });
    if (!one.metrics.length) return found;
    if (!key) return found.sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
    return found.map((item) => [key(item), item]).sort((a, b) => isNaN(a[0]) - isNaN(b[0]) || a[0] - b[0]).map((pair) => pair[1]);
  }

  function draw() {
    const one = now(), found = sorted(one), open = new Set(all("details[open]", list).map((item) => item.dataset.id));
    const values = one.items.flatMap((item) => item.values[0] || []).filter((value) => value !== null);
    const scale = [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
    const cut = one.total > one.items.length ? ` The page holds the ${one.items.length.toLocaleString("en")} hardest of ${one.total.toLocaleString("en")}; samples/ in the run's folder has all.` : "";
    told.textContent = `${found.length.toLocaleString("en")} of ${one.total.toLocaleString("en")} item${one.total === 1 ? "" : "s"}.${cut}` + (one.metrics.length ? ` A stroke is a model, from ${scale[0]} to ${scale[1]} ${one.metrics[0].title}.` : "");
    list.replaceChildren(...found.slice(0, state.shown).map((item) => row(one, item, scale, open.has(item.id))));
    next.hidden = found.length <= state.shown;
    tickField.hidden = !one.items.some((item) => item.reference && item.answers);
  }

  function row(one, item, scale, isOpen) {
    const strip = make("span", "strip");
    (item.values[0] || []).forEach((value) => {
      if (value === null) return;
      const stroke = make("i");
      stroke.style.left = (scale[1] > scale[0] ? (100 * (value - scale[0])) / (scale[1] - scale[0]) : 50) + "%";
      strip.append(stroke);
    });
    strip.hidden = !one.metrics.length;
    const middle = mean(item.values[0] || []);
    const head = make("summary", "", make("span", "id", item.id), make("span", "opening", item.prompt || ""), strip, make("span", "mean", isNaN(middle) ? "" : middle.toPrecision(3)));
    const made = make("details", "item", head);
    made.dataset.id = item.id;
    made.addEventListener("toggle", () => { if (made.open && made.children.length === 1) made.append(detail(one, item)); });
    if (isOpen) { made.open = true; made.append(detail(one, item)); }
    return made;
  }

  // One item: its prompt, what each model has of each metric, and what each wrote beside the reference.
  function detail(one, item) {
    const inside = make("div"), picks = one.models.filter((name) => picked.has(name));
    const names = (picks.length ? picks : one.models.filter((name) => !known.has(name) || kept.has(name)));
    if (item.prompt) inside.append(make("div", "prompt", item.prompt));
    if (one.metrics.length) inside.append(numbers(one, item, names));
    const near = (item.near || []).filter((name) => names.includes(name));
    if (near.length) inside.append(make("p", "note", "near tie, which a program that rounds otherwise may answer otherwise: " + near.join(", ")));
    if (item.answers) {
      const said = make("div", "says");
      if (item.reference) said.append(make("article", "reference", make("h3", "", "reference"), make("p", "", item.reference)));
      names.forEach((name) => {
        const text = item.answers[one.models.indexOf(name)];
        if (text === null) return;
        const body = make("p", "", ...(item.reference && state.marked ? differ(text, item.reference) : [text]));
        said.append(make("article", "", make("h3", "", mark(data.stages[name] || "other"), name), body));
      });
      inside.append(said);
    } else if (item.reference) inside.append(make("p", "note", "reference: " + item.reference));
    return inside;
  }
  function numbers(one, item, names) {
    const head = make("tr", "", make("th", "", "model"), ...one.metrics.map((metric) => make("th", "number", metric.title)));
    const rows = names.map((name) => [name, one.metrics.map((_, at) => item.values[at][one.models.indexOf(name)])]);
    rows.sort((a, b) => (a[1][0] === null) - (b[1][0] === null) || worse(one) * (a[1][0] - b[1][0]));
    const made = rows.map(([name, values]) => make("tr", "", make("td", "", mark(data.stages[name] || "other"), name), ...values.map((value) => make("td", "number", value === null ? "–" : String(value)))));
    all("th", head).forEach((cell) => { cell.scope = "col"; });
    return make("table", "values", make("thead", "", head), make("tbody", "", ...made));
  }

  const chosen = () => { state.shown = PAGE; draw(); };
  function fill() {
    const one = now();
    order.replaceChildren(...orders(one).map(([value, title]) => new Option(title, value)));
    order.value = state.order;
    if (order.selectedIndex < 0) order.value = state.order = "";
  }
  task.addEventListener("change", () => { state.task = task.value; fill(); address.set("task", task.value === "0" ? "" : now().task); chosen(); });
  order.addEventListener("change", () => { state.order = order.value; address.set("order", order.value); chosen(); });
  search.addEventListener("input", () => { state.words = search.value; address.set("words", search.value); chosen(); });
  tick.addEventListener("change", () => { state.marked = tick.checked; chosen(); });
  let isSeen = false;
  const see = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    isSeen = true;
    see.disconnect();
    draw();
  }, { rootMargin: "400px" });
  see.observe(place);
  document.addEventListener("models", () => { if (isSeen) draw(); });
  restorers.push((values) => {
    const at = data.items.findIndex((one) => one.task === values.get("task"));
    state.task = task.value = String(Math.max(0, at));
    state.order = values.get("order") || "";
    state.words = search.value = values.get("words") || "";
    fill();
    if (isSeen) chosen();
  });
}

// The words of a text, those that the reference lacks in <ins>: the longest common run of words stays.
function differ(text, reference) {
  const cut = (said) => said.match(/\s+|\S+/g) || [];
  const own = cut(text), words = own.filter((word) => word.trim()), other = cut(reference).filter((word) => word.trim());
  if (words.length * other.length > 250_000) return [text];
  const long = Array.from({ length: words.length + 1 }, () => new Uint16Array(other.length + 1));
  for (let i = words.length - 1; i >= 0; i--)
    for (let j = other.length - 1; j >= 0; j--)
      long[i][j] = words[i] === other[j] ? long[i + 1][j + 1] + 1 : Math.max(long[i + 1][j], long[i][j + 1]);
  const same = new Set();
  for (let i = 0, j = 0; i < words.length && j < other.length;)
    if (words[i] === other[j]) { same.add(i); i++; j++; } else if (long[i + 1][j] >= long[i][j + 1]) i++; else j++;
  let at = 0;
  return own.map((word) => (!word.trim() || same.has(at++) ? word : make("ins", "", word)));
}
