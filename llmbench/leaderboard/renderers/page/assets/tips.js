// The tip: it comes with the mouse, the keyboard and a tap, and goes with Escape.

const tip = document.getElementById("tip");
let tipOf = null;
const put = (x, above, below, ...inside) => { // below what it is about, or above where there is no room
  tip.replaceChildren(...inside);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x, innerWidth - box.width - 4)) + "px";
  tip.style.top = (below + 8 + box.height > innerHeight ? Math.max(4, above - box.height - 8) : below + 8) + "px";
};
const hide = () => {
  tip.hidden = true;
  tipOf = null;
  all(".here").forEach((part) => part.classList.remove("here"));
};
const putAt = (part, ...inside) => {
  const box = part.getBoundingClientRect();
  tipOf = part;
  put(box.left, box.top, box.bottom, ...inside);
};
addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
for (const moved of ["wheel", "touchmove"]) addEventListener(moved, hide, { passive: true }); // not scroll: arrow keys scroll too
addEventListener("pointerdown", (event) => { if (event.pointerType !== "mouse" && tipOf && !tipOf.contains(event.target)) hide(); });

// `explain(part)` gives what the tip of a part holds. A tap shows it and leaves it there.
function tipped(part, explain) {
  const show = () => { const inside = explain(part); if (inside) putAt(part, ...inside); };
  part.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") show(); });
  part.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });
  part.addEventListener("focus", show);
  part.addEventListener("blur", hide);
  part.addEventListener("click", show);
}

// Arrow keys move among parts of which only one is in the order of Tab.
function rove(parts) {
  const seen = () => parts.filter((part) => part.getClientRects().length);
  const hold = (part) => parts.forEach((other) => other.setAttribute("tabindex", other === part ? "0" : "-1"));
  parts.forEach((part) => {
    part.addEventListener("focus", () => hold(part));
    part.addEventListener("keydown", (event) => {
      const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], shown = seen();
      if (!way) return;
      event.preventDefault();
      shown[(shown.indexOf(part) + way + shown.length) % shown.length].focus();
    });
  });
  if (parts.length) hold(parts[0]);
}
