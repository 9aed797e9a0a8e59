"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const SVG = "http://www.w3.org/2000/svg";
  const NEAR = 28;

  // values where the pointer is, or, with the arrow keys, from point to point
  for (const panel of all(".panel")) {
    const data = panel.querySelector('script[type="application/json"]');
    const svg = panel.querySelector("svg");
    if (!data || !svg) continue;
    const series = JSON.parse(data.textContent);
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.setAttribute("role", "status");
    tip.hidden = true;
    panel.append(tip);
    const mark = document.createElementNS(SVG, "circle");
    mark.setAttribute("r", "7");
    mark.setAttribute("class", "mark");
    let at = -1;

    const groups = all("[data-series]", svg);
    const visible = () => series.flatMap((points, place) =>
      groups[place] && groups[place].hasAttribute("hidden") ? [] : points);
    const hide = () => { tip.hidden = true; mark.remove(); };
    const show = ([x, y, said]) => {
      const [frame, around] = [svg.getBoundingClientRect(), panel.getBoundingClientRect()];
      const scale = frame.width / svg.viewBox.baseVal.width;
      mark.setAttribute("cx", x);
      mark.setAttribute("cy", y);
      svg.append(mark);
      tip.textContent = said;
      tip.hidden = false;
      const left = frame.left - around.left + x * scale;
      const room = panel.clientWidth - tip.offsetWidth - 4;
      tip.style.left = `${Math.max(4, Math.min(left + 12, room))}px`;
      tip.style.top = `${frame.top - around.top + y * scale + 12}px`;
    };
    svg.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / frame.width;
      const x = (event.clientX - frame.left) * scale;
      const y = (event.clientY - frame.top) * scale;
      let best = null;
      let least = NEAR * NEAR;
      for (const point of visible()) {
        const far = (point[0] - x) ** 2 + (point[1] - y) ** 2;
        if (far < least) { least = far; best = point; }
      }
      if (best) show(best); else hide();
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const points = visible();
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step || !points.length) return;
      event.preventDefault();
      at = (at + step + points.length) % points.length;
      show(points[at]);
    });
  }

  const toggle = (element, hidden) => {
    if (hidden) element.setAttribute("hidden", ""); else element.removeAttribute("hidden");
  };

  // a legend shows and hides its series in every panel of the figure
  const press = (button, on) => {
    button.setAttribute("aria-pressed", String(on));
    const figure = button.closest("figure");
    for (const group of all(`[data-series="${button.dataset.toggles}"]`, figure)) toggle(group, !on);
  };
  for (const button of all(".legend button")) {
    button.addEventListener("click", () =>
      press(button, button.getAttribute("aria-pressed") !== "true"));
  }

  // layers and checkpoints, wherever they are shown
  const filter = () => {
    const off = new Set(all(".layers input").filter((box) => !box.checked).map((box) => box.value));
    const chosen = document.querySelector("#checkpoint");
    const checkpoint = chosen ? chosen.value : "";
    for (const row of all("tr[data-layer]")) {
      const other = checkpoint && row.dataset.model && row.dataset.model !== checkpoint;
      toggle(row, off.has(row.dataset.layer) || other);
    }
    for (const button of all('figure[data-kind="layer"] .legend button')) {
      press(button, !off.has(button.dataset.name));
    }
  };
  for (const control of all(".layers input, #checkpoint")) control.addEventListener("change", filter);
  for (const button of all("[data-check]")) {
    button.addEventListener("click", () => {
      for (const box of all(".layers input")) box.checked = button.dataset.check === "all";
      filter();
    });
  }

  // figures that show the panels of one layer, or of all
  for (const select of all("select[data-panels]")) {
    const choose = () => {
      for (const panel of all(".panel", select.closest("figure"))) {
        toggle(panel, select.value !== "" && panel.dataset.group !== select.value);
      }
    };
    select.addEventListener("change", choose);
    choose();
  }

  // tables sorted by a column: numbers as numbers, what is missing last
  for (const button of all("th button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const body = head.closest("table").tBodies[0];
      const up = head.getAttribute("aria-sort") !== "ascending";
      const sign = up ? 1 : -1;
      const value = (row) => row.cells[head.cellIndex].dataset.value ?? "";
      const compare = (a, b) => {
        const [left, right] = [value(a), value(b)];
        if (left === "" || right === "") return (left === "") - (right === "");
        const [x, y] = [Number(left), Number(right)];
        return sign * (Number.isNaN(x) || Number.isNaN(y) ? left.localeCompare(right) : x - y);
      };
      for (const other of all("th", head.parentElement)) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      body.append(...[...body.rows].sort(compare));
    });
  }

  // the least credible inputs of a set, of a class, by name
  const controls = all("[data-strips]");
  const pick = () => {
    const wanted = Object.fromEntries(controls.map((one) => [one.dataset.strips, one.value]));
    const words = (wanted.words || "").toLowerCase();
    for (const strip of all(".strip")) {
      const other = (wanted.set && strip.dataset.set !== wanted.set)
        || (wanted.label && strip.dataset.label !== wanted.label)
        || !strip.dataset.name.toLowerCase().includes(words);
      toggle(strip, other);
    }
  };
  for (const control of controls) control.addEventListener("input", pick);

  const themes = ["auto", "light", "dark"];
  const theme = document.querySelector("#theme");
  theme.addEventListener("click", () => {
    const root = document.documentElement;
    const next = themes[(themes.indexOf(root.dataset.theme || "auto") + 1) % themes.length];
    root.dataset.theme = next;
    theme.textContent = `Colors: ${next}`;
  });
  document.querySelector(".bar").hidden = false;
  window.addEventListener("beforeprint", () => {
    for (const one of all("#provenance details")) one.open = true;
  });
})();
