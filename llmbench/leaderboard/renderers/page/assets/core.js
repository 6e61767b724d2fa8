// What every part needs: finding and making elements, and the state that the address keeps.

const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
const make = (tag, words, ...inside) => {
  const made = document.createElement(tag);
  if (words) made.className = words;
  made.append(...inside);
  return made;
};
const button = (text, act) => {
  const made = make("button", "button", text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
};
const data = JSON.parse(document.getElementById("data").textContent);
const say = (text) => { document.getElementById("said").textContent = text; };

// A mark like those that the page was written with.
const mark = (stage) => {
  const space = document.querySelector("svg").namespaceURI;
  const drawn = document.createElementNS(space, "svg"), use = document.createElementNS(space, "use");
  drawn.setAttribute("class", "mark s-" + stage);
  drawn.setAttribute("viewBox", "-7 -7 14 14");
  drawn.setAttribute("aria-hidden", "true");
  use.setAttribute("href", "#mark-" + stage);
  drawn.append(use);
  return drawn;
};

// The address: #anchor?key=value&key=value. Each part of the page keeps its own keys.
const address = {
  read() {
    const [anchor, , rest] = location.hash.slice(1).split(/(\?)(.*)/s);
    const values = new Map();
    for (const pair of (rest || "").split("&").filter(Boolean)) {
      const [key, value] = pair.split("=");
      try { values.set(decodeURIComponent(key), decodeURIComponent(value || "")); } catch { /* not ours */ }
    }
    return { anchor, values };
  },
  write(anchor, values) {
    const pairs = Array.from(values, ([key, value]) => encodeURIComponent(key) + "=" + encodeURIComponent(value));
    const hash = "#" + anchor + (pairs.length ? "?" + pairs.join("&") : "");
    if (hash === location.hash || hash + location.hash === "#") return;
    try { history.replaceState(null, "", hash); } catch { /* a page inside another has no address of its own */ }
  },
  get: (key) => address.read().values.get(key) || "",
  set(key, value) {
    const { anchor, values } = address.read();
    if (value) values.set(key, value); else values.delete(key);
    address.write(anchor, values);
  },
};
const restorers = []; // what brings a part to the state of the address
