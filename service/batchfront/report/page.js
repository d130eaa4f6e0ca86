// Draws each figure into its place when the reader comes near it: again when a study is chosen, when
// the colours change, and when a served page has been refreshed.
(async () => {
  "use strict";
  if (!("DecompressionStream" in window)) {
    const said = document.createElement("p");
    said.className = "notes";
    said.textContent = "The figures need a browser of 2023 or later. The text and the tables do not.";
    document.querySelector("main").prepend(said);
    return;
  }
  // What the page carries packed: the figures, and Plotly where it isn't linked.
  const unpacked = (packed) => {
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  const painted = () => new Promise((done) =>
    document.hidden ? done() : requestAnimationFrame(() => setTimeout(done)));
  const carried = document.getElementById("plotly");
  if (carried) {
    const script = document.createElement("script"); // whose hash the page's policy allows
    script.textContent = await unpacked(carried.textContent);
    await painted(); // the text is there to be read while Plotly begins
    document.head.append(script);
  }

  const places = () => [...document.querySelectorAll("[data-figure]")];
  const drawn = new WeakMap(); // place to what is drawn there, as text
  let figures = {}, taken = null; // and the packed text that they were read from
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
    (place.dataset.figure ?? place.dataset.table).replace(/\{(\w+)\}/g, (_, name) =>
      place.closest("section").querySelector(`select[name=${name}]`).value);

  // Values beside points: those that would run into one drawn before are left to the table. So are
  // the names of lines that would: the key or the caption has them.
  const declutter = (plot) => {
    const shown = [];
    const labels = [".textpoint text", ".shape-label text"].flatMap((one) => [...plot.querySelectorAll(one)]);
    for (const text of labels) {
      const box = text.getBoundingClientRect();
      const hit = shown.some((other) => box.left < other.right && other.left < box.right &&
        box.top < other.bottom && other.top < box.bottom);
      text.style.visibility = hit ? "hidden" : "";
      if (!hit) shown.push(box);
    }
  };

  // A trial's own page in the Optuna dashboard; none where the page isn't linked to one, and for a
  // point that is no trial's.
  const trialPage = (study, number) => {
    const [{ studies }, ...sections] =
      [...document.querySelectorAll("main, [data-numbers]")].map(({ dataset }) => dataset);
    if (!studies) return null;
    const theirs = sections.map(({ numbers }) => JSON.parse(numbers)[study]?.[number]);
    return `${studies}${study}/trials?numbers=${theirs.find((n) => n !== undefined) ?? number}`;
  };
  const pageOf = ({ data: { meta, customdata }, pointNumber: n }) => {
    if (!meta || !customdata) return null;
    return trialPage(meta.study ?? meta.studies[n], [customdata[n]].flat()[0]);
  };

  // A click opens the trial under the pointer. A finger's tap shows the label instead.
  const linked = (place) => {
    if (touch.matches) return;
    const pointer = (on) => place.classList.toggle("over-trial", on);
    place.on("plotly_hover", ({ points: [point] }) => pointer(pageOf(point) !== null));
    place.on("plotly_unhover", () => pointer(false));
    place.on("plotly_click", ({ points: [point] }) => {
      const address = pageOf(point);
      if (address) open(address, "_blank", "noopener");
    });
  };

  const draw = (place) => {
    const name = chosen(place);
    if (!(name in figures)) return;
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
    // Its words without their places tell nothing; the tables have what it shows.
    place.querySelectorAll("svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
    if (!place.dataset.ready) {
      place.dataset.ready = "yes";
      place.on("plotly_afterplot", () => declutter(place));
      declutter(place);
      linked(place);
    }
  };

  // The trials of a figure as a table: the winner, then the others as they ended.
  const cell = (kind, content) => {
    const made = document.createElement(kind);
    made.append(content);
    return made;
  };
  const words = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  const linkTo = (study, number) => {
    const href = trialPage(study, number);
    if (!href) return number;
    const link = document.createElement("a");
    const ariaLabel = `trial ${number}, in the Optuna dashboard`;
    return Object.assign(link, { href, target: "_blank", rel: "noopener", ariaLabel, textContent: number });
  };
  const row = (outcome, study, [number, steps, reason, ...values]) => {
    const ended = words(reason.replace(/^<br>/, "").replaceAll("<br>", " "));
    const made = document.createElement("tr");
    const why = cell("td", ended ? `${outcome}: ${ended}` : outcome);
    why.className = "text";
    made.append(cell("th", linkTo(study, number)), cell("td", steps),
      ...values.map((value) => cell("td", words(value))), why);
    return made;
  };
  const tabulate = (place) => {
    const shown = figures[chosen(place)], { data, columns } = shown;
    drawn.set(place, JSON.stringify(shown));
    offer(place, shown);
    if (!columns) { place.replaceChildren("No trial has been sampled yet."); return; }
    const head = document.createElement("tr");
    head.append(...["trial", "steps", ...columns, "ended"].map((name) => cell("th", name)));
    head.lastChild.className = "text";
    const body = document.createElement("tbody");
    const first = data.filter(({ name }) => name === "winner");
    for (const { meta: { study, outcome }, customdata } of new Set([...first, ...data])) {
      body.append(...customdata.map((trial) => row(outcome, study, trial)));
    }
    const table = document.createElement("table");
    table.append(cell("thead", head), body);
    const { scrollTop, scrollLeft } = place; // a reader's place, when the trials change
    place.replaceChildren(table);
    Object.assign(place, { scrollTop, scrollLeft });
  };
  // Its trials as files, named after the study: in the page, or of a served one beside it.
  const FORMULA = /^(?:[ \t\r\n\v\f]*['=+\-@＝＋－＠]|[\t\r\n])/;
  const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
  const field = (value) => {
    const text = String(value ?? "");
    const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const asFiles = ({ titles, rows }) => ({
    csv: ["text/csv", [titles, ...rows].map((row) => `${row.map(field)}\n`).join("")],
    json: ["application/json", JSON.stringify(
      rows.map((row) => Object.fromEntries(titles.map((title, i) => [title, row[i]]))), null, 1)],
  });
  const offer = (place, shown) => {
    const links = place.nextElementSibling, { page } = document.querySelector("main").dataset;
    links.hidden = !shown.titles;
    if (!shown.titles) return;
    const study = place.closest("section").querySelector("select[name=study]").value;
    const files = page === undefined && asFiles(shown);
    for (const link of links.querySelectorAll("a")) {
      link.dataset.name ??= link.download;
      link.download = link.dataset.name.replace("{study}", study);
      const [kind, text] = files ? files[link.textContent.slice(1)] : [];
      link.href = files ? `data:${kind};charset=utf-8,${encodeURIComponent(text)}`
        : `tables/${link.download}${page.startsWith("?") ? page : ""}`;
    }
  };
  const tables = () => [...document.querySelectorAll("[data-table]")];
  const drawAgain = () => places().filter((place) => drawn.has(place)).forEach(draw);

  const near = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (isIntersecting && !drawn.has(target)) draw(target);
    }
  }, { rootMargin: "800px" });
  const begin = (place) => {
    place.setAttribute("aria-label", figures[chosen(place)].label);
    near.observe(place);
  };

  // Rows of a long table that hold the words that are looked for.
  const find = (input) => {
    const wanted = input.value.toLowerCase().split(/\s+/);
    for (const row of document.querySelectorAll(`.scroll[aria-labelledby="${input.dataset.rows}"] tbody tr`)) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
    }
  };
  const finders = () => [...document.querySelectorAll("input[data-rows]")];
  document.addEventListener("input", ({ target }) => target.matches("input[data-rows]") && find(target));

  document.addEventListener("change", ({ target: select }) => {
    if (!select.matches("select")) return;
    const section = select.closest("section");
    const follows = (p) => section.contains(p) &&
      (p.dataset.figure ?? p.dataset.table).includes(`{${select.name}}`);
    for (const place of places().filter(follows)) drawn.has(place) ? draw(place) : begin(place);
    tables().filter(follows).forEach(tabulate);
  });
  const refresh = async () => {
    const text = document.getElementById("figures").textContent;
    const read = text === taken ? figures : JSON.parse(await unpacked(text));
    if (text !== document.getElementById("figures").textContent) return; // newer ones are coming
    [figures, taken] = [read, text];
    const changed = (p) => drawn.get(p) !== JSON.stringify(figures[chosen(p)]);
    for (const place of places()) {
      if (!drawn.has(place)) begin(place);
      else if (changed(place)) draw(place);
    }
    tables().filter(changed).forEach(tabulate);
    finders().forEach(find);
  };
  document.addEventListener("refreshed", refresh);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);

  // Paper is light, and narrower than a screen.
  const printing = (on) => {
    document.documentElement.classList.toggle("printing", on);
    places().forEach(draw);
    places().forEach((place) => Plotly.Plots.resize(place));
  };
  addEventListener("beforeprint", () => printing(true));
  addEventListener("afterprint", () => printing(false));

  await refresh();
})();
