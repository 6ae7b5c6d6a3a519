(() => {
  "use strict";
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // A picture names its colours var(--x); the style sheet knows what they are now.
  const resolve = (value, style) => {
    if (typeof value === "string") {
      const name = /^var\((--[\w-]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => resolve(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, style)]));
    }
    return value;
  };

  const pictures = [...document.querySelectorAll("[data-plot]")].map((element) => ({
    element,
    spec: JSON.parse(document.getElementById(`spec-${element.dataset.plot}`).textContent),
    view: {},
  }));

  const config = {
    displaylogo: false, responsive: true, showSendToCloud: false, showEditInChartStudio: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "toggleSpikelines"],
  };

  const draw = (picture) => {
    const { data, layout } = resolve(picture.spec, getComputedStyle(root));
    for (const [path, range] of Object.entries(picture.view)) {
      const [axis] = path.split(".");
      layout[axis] = { ...layout[axis], range: [...range], autorange: false };
    }
    return Plotly.react(picture.element, data, layout, config);
  };

  for (const group of document.querySelectorAll(".views")) {
    const picture = pictures.find(({ element }) => element.dataset.plot === group.dataset.for);
    const buttons = [...group.querySelectorAll("button")];
    const choose = (button) => {
      picture.view = JSON.parse(button.dataset.view);
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    };
    choose(buttons[0]);
    buttons.forEach((button) => button.addEventListener("click", () => { choose(button); draw(picture); }));
    group.hidden = buttons.length < 2;
  }

  const drawAll = () => Promise.all(pictures.map(draw));
  drawAll().then(() => { root.dataset.plots = "ready"; });
  dark.addEventListener("change", drawAll);

  // Paper is white: draw for it, and go back afterwards.
  addEventListener("beforeprint", () => { root.dataset.scheme = "light"; drawAll(); });
  addEventListener("afterprint", () => { delete root.dataset.scheme; drawAll(); });
})();
