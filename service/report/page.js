// Draws the figures into their places: again when a study is chosen, when the colours change, and
// when a served page has been refreshed.
(() => {
  "use strict";
  const read = () => JSON.parse(document.getElementById("figures").textContent);
  const places = () => [...document.querySelectorAll("[data-figure]")];
  const drawn = new WeakMap(); // place to what is drawn there, as text
  let figures = read();
  const touch = matchMedia("(pointer: coarse)");
  const still = { fixedrange: true };

  // A figure names its colours as CSS does, var(--ink), so that the page has one palette.
  const coloured = (value, style) => {
    if (typeof value === "string") {
      const name = /^var\((--[\w-]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((entry) => coloured(entry, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, style)]));
  };

  const download = {
    name: "png",
    title: "Download as PNG",
    icon: Plotly.Icons.camera,
    click: (plot) => {
      const paper = getComputedStyle(document.documentElement).getPropertyValue("--paper").trim();
      const label = plot.getAttribute("aria-label");
      const layout = {
        ...plot.layout,
        paper_bgcolor: paper,
        margin: { ...plot.layout.margin, t: plot.layout.margin.t + 32 },
        title: {
          text: label.replace(/&/g, "&amp;").replace(/</g, "&lt;"),
          font: { size: 14 }, x: 0, xref: "paper", y: 0.98, yanchor: "top",
        },
      };
      const width = Math.max(plot.clientWidth, 760), height = 480;
      const filename = label.replace(/[^\w.-]+/g, "-");
      Plotly.downloadImage({ data: plot.data, layout }, { format: "png", scale: 3, width, height, filename });
    },
  };
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touch.matches ? false : "hover", // without a pointer it would cover the figure
    modeBarButtons: [["resetScale2d", download]],
  };

  const chosen = (place) =>
    place.dataset.figure.replace(/\{(\w+)\}/g, (_, name) =>
      place.closest("section").querySelector(`select[name=${name}]`).value);

  // Values beside points: those that would run into one drawn before are left to the table.
  const declutter = (plot) => {
    const shown = [];
    for (const text of plot.querySelectorAll(".textpoint text")) {
      const box = text.getBoundingClientRect();
      const hit = shown.some((other) => box.left < other.right && other.left < box.right &&
        box.top < other.bottom && other.top < box.bottom);
      text.style.visibility = hit ? "hidden" : "";
      if (!hit) shown.push(box);
    }
  };

  const draw = (place) => {
    const name = chosen(place);
    const figure = coloured(figures[name], getComputedStyle(document.documentElement));
    drawn.set(place, JSON.stringify(figures[name]));
    // On a touch screen a finger on a figure scrolls the page.
    const { xaxis, yaxis } = figure.layout;
    const layout = {
      ...figure.layout,
      uirevision: name, // a reader's zoom, and what was hidden, stay when the data change
      ...(touch.matches && {
        dragmode: false, xaxis: { ...xaxis, ...still }, yaxis: { ...yaxis, ...still },
      }),
    };
    place.setAttribute("aria-label", figure.label);
    Plotly.react(place, figure.data, layout, config);
    if (!place.dataset.ready) {
      place.dataset.ready = "yes";
      place.on("plotly_afterplot", () => declutter(place));
      declutter(place);
    }
  };
  const drawAll = () => places().forEach(draw);

  document.addEventListener("change", ({ target: select }) => {
    if (!select.matches("select")) return;
    const section = select.closest("section");
    places().filter((p) => section.contains(p) && p.dataset.figure.includes(`{${select.name}}`)).forEach(draw);
  });
  document.addEventListener("refreshed", () => {
    figures = read();
    places().filter((p) => drawn.get(p) !== JSON.stringify(figures[chosen(p)])).forEach(draw);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

  // Paper is light, and narrower than a screen.
  const printing = (on) => {
    document.documentElement.classList.toggle("printing", on);
    drawAll();
    places().forEach((place) => Plotly.Plots.resize(place));
  };
  addEventListener("beforeprint", () => printing(true));
  addEventListener("afterprint", () => printing(false));

  drawAll();
})();
