// The address brings the page to the state that it names, at first and when it changes.

function restore() {
  const { anchor, values } = address.read();
  restorers.forEach((bring) => bring(values));
  all("tr.target").forEach((row) => row.classList.remove("target"));
  const target = anchor && document.getElementById(anchor);
  if (!target) return;
  target.classList.toggle("target", target.tagName === "TR");
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
}
document.addEventListener("click", (event) => { // a link inside the page keeps the state
  const link = event.target.closest && event.target.closest('a[href^="#"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  address.write(link.getAttribute("href").slice(1), address.read().values);
  restore();
  const target = document.getElementById(address.read().anchor);
  if (target) { target.tabIndex = -1; target.focus({ preventScroll: true }); }
});
addEventListener("hashchange", restore);
restore();
