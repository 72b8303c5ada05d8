"use strict";
(() => {
  // Tables are sorted by the column that is clicked: numbers first, then texts; what has no value comes last.
  const collator = new Intl.Collator("en", { numeric: true });
  for (const button of document.querySelectorAll("table.sortable th button")) {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const place = head.cellIndex;
      const table = head.closest("table");
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const each of table.querySelectorAll("th")) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const keyed = [...table.tBodies[0].rows].map((row) => {
        const cell = row.cells[place];
        const key = cell.dataset.key;
        return { row, key: key === undefined ? null : key === "" ? NaN : Number(key), text: cell.textContent };
      });
      keyed.sort((a, b) => {
        if (a.key === null || b.key === null) return sign * collator.compare(a.text, b.text);
        if (Number.isNaN(a.key) || Number.isNaN(b.key)) return Number.isNaN(a.key) - Number.isNaN(b.key);
        return sign * (a.key - b.key);
      });
      table.tBodies[0].append(...keyed.map((each) => each.row));
    });
  }

  // Charts are drawn when they come near the window, in the colours of the page.
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const places = [...document.querySelectorAll(".chart")];
  const isDark = matchMedia("(prefers-color-scheme: dark)");
  const light = { ink: "#1b1f24", grid: "#e3e7eb", axis: "#8a949e", paper: "#ffffff" };
  const dark = { ink: "#e4e8ec", grid: "#2b333b", axis: "#6b7681", paper: "#14181c" };
  const coloursOf = (layout, chosen) => {
    const found = { "font.color": chosen.ink, paper_bgcolor: chosen.paper, plot_bgcolor: chosen.paper };
    for (const name of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(name)) {
        found[`${name}.gridcolor`] = chosen.grid;
        found[`${name}.linecolor`] = chosen.axis;
        found[`${name}.zerolinecolor`] = chosen.grid;
      }
    }
    // What is written over lines is read on the colour of the page.
    if (layout.annotations) {
      found.annotations = layout.annotations.map((each) => ({ ...each, bgcolor: chosen.paper }));
    }
    return found;
  };
  const set = (target, changes) => {
    for (const [path, value] of Object.entries(changes)) {
      const [head, tail] = path.split(".");
      if (tail === undefined) target[head] = value;
      else target[head] = { ...target[head], [tail]: value };
    }
    return target;
  };
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const drawn = new Set();
  const draw = (place) => {
    if (drawn.has(place)) return;
    drawn.add(place);
    const { data, layout } = charts[Number(place.dataset.chart)];
    const base = { font: { family: "system-ui, sans-serif", size: 12 }, ...layout };
    // Beside a chart on a telephone there is no room for names.
    if (place.clientWidth < 600) {
      base.legend = { ...layout.legend, orientation: "h", yref: "container", y: 0, yanchor: "bottom" };
    }
    Plotly.newPlot(place, data, set(base, coloursOf(layout, isDark.matches ? dark : light)), options);
  };
  const recolour = (chosen) => {
    for (const place of drawn) Plotly.relayout(place, coloursOf(place.layout, chosen));
  };
  const near = new IntersectionObserver(
    (entries) => entries.filter((each) => each.isIntersecting).forEach((each) => draw(each.target)),
    { rootMargin: "1000px" },
  );
  for (const place of places) near.observe(place);
  isDark.addEventListener("change", () => recolour(isDark.matches ? dark : light));
  // Paper is narrower than most windows: on A4 with the usual margins this is the width of the text.
  const paperWidth = 700;
  addEventListener("beforeprint", () => {
    for (const place of places) {
      draw(place);
      Plotly.relayout(place, { ...coloursOf(place.layout, light), width: paperWidth });
    }
  });
  addEventListener("afterprint", () => {
    for (const place of places) {
      Plotly.relayout(place, { ...coloursOf(place.layout, isDark.matches ? dark : light), width: null, autosize: true });
    }
  });
})();
