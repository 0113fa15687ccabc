for (const svg of document.querySelectorAll("svg[data-lines]")) {
  const lines = JSON.parse(svg.dataset.lines), left = +svg.dataset.left, right = +svg.dataset.right;
  const cursor = svg.querySelector(".cursor"), tip = svg.parentNode.querySelector("output");
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * 640;
    const t = ((x - left) / (640 - left - right)) * +svg.dataset.length;
    if (t < 0 || x > 640 - right) return;
    const near = (points) => points.reduce((a, b) => (Math.abs(b[0] - t) < Math.abs(a[0] - t) ? b : a), [Infinity]);
    const found = lines.map(([name, points]) => [name, near(points)]).filter(([, point]) => point.length > 1);
    cursor.setAttribute("transform", `translate(${x} 0)`);
    cursor.style.visibility = "visible";
    tip.style.display = "block";
    tip.style.left = `${Math.min((x / 640) * box.width + 18, box.width - 150)}px`;
    tip.textContent = `${t.toFixed(0)} s: ` + found.map(([name, [, value]]) => `${name} ${value}`).join(", ");
  });
  svg.addEventListener("pointerleave", () => {
    cursor.style.visibility = "hidden";
    tip.style.display = "none";
  });
}
