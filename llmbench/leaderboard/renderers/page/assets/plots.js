// Pictures: what a point or a curve is, by mouse, keyboard and touch.

all("svg.plot").forEach((drawn) => {
  const spots = all(".spot", drawn), curves = all(".curve", drawn);
  const lines = (part) => [make("b", "", part.dataset.model), ...part.dataset.said.split("\n").map((text) => make("div", "", text))];
  spots.forEach((spot) => tipped(spot, lines));
  curves.forEach((curve) => tipped(curve, lines));
  rove([...spots, ...curves]);
  if (curves.length) follow(drawn, curves);
});

// Over curves, the tip tells the nearest step of the nearest curve, and of those close to it.
function follow(drawn, curves) {
  const points = curves.map((curve) => {
    const places = curve.querySelector("polyline").getAttribute("points").split(" ").map((place) => place.split(",").map(Number));
    return curve.dataset.values.split(" ").map((value, at) => [...places[at], ...value.split(":")]);
  });
  const cross = document.createElementNS(drawn.namespaceURI, "path");
  cross.setAttribute("class", "cross");
  drawn.append(cross);
  const leave = () => { cross.removeAttribute("d"); curves.forEach((curve) => curve.classList.remove("near")); hide(); };
  const move = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawn.getScreenCTM().inverse());
    const nearest = curves.map((curve, number) => {
      const near = points[number].map((point) => [Math.hypot(point[0] - at.x, point[1] - at.y), point]).sort((a, b) => a[0] - b[0])[0];
      return { curve, far: near[0], point: near[1] };
    }).filter(({ curve }) => !curve.hasAttribute("hidden")).sort((a, b) => a.far - b.far);
    if (!nearest.length || nearest[0].far > 60) return leave();
    const [{ curve, point, far }] = nearest;
    curves.forEach((other) => other.classList.toggle("near", other === curve));
    cross.setAttribute("d", `M${point[0]} 28V${drawn.viewBox.baseVal.height - 42}`);
    const close = nearest.filter((one) => one.far <= far + 10).slice(0, 6);
    put(event.clientX + 12, event.clientY, event.clientY, ...close.map((one) => make("div", "", make("b", "", one.curve.dataset.model), `step ${one.point[2]}: ${one.point[3]} bits/byte`)));
    tipOf = drawn;
  };
  drawn.addEventListener("pointermove", move);
  drawn.addEventListener("click", move);
  drawn.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") leave(); });
}

const axes = all(".switch input");
axes.forEach((axis) => axis.addEventListener("change", () => address.set("axis", axis === axes[0] ? "" : axis.value)));
restorers.push((values) => { const axis = axes.find((one) => one.value === values.get("axis")) || axes[0]; if (axis) axis.checked = true; });
