// What every figure shares: a page's elements, a plot with axes, handles for mouse, touch and keys, and the loop
// state -> numbers -> picture. A figure is live({ begin, compute, build }):
//   begin(data)            the state before the reader has touched anything; plain values, kept in the page
//   compute(data, state)   the numbers, from the figure's module in maths/
//   build(ui)              makes plots and controls once, returns draw(state, numbers)

const SVG = "http://www.w3.org/2000/svg",
  HTML = "http://www.w3.org/1999/xhtml";
const REACH = 24; // pixels within which a press takes hold of a handle

export const clamp = (v, lo, hi) => Math.max(lo, Math.min(hi, v));
export const range = (n) => Array.from({ length: n }, (_, i) => i);
export const grid = (lo, hi, n) => range(n + 1).map((i) => lo + ((hi - lo) * i) / n);
export const snap = (v, step) => +(Math.round(v / step) * step).toPrecision(12);

export function fixed(v, digits = 3) {
  if (!Number.isFinite(v)) return Number.isNaN(v) ? "undefined" : v > 0 ? "∞" : "−∞";
  const s = v.toFixed(digits);
  return (Number(s) === 0 ? s.replace("-", "") : s).replace("-", "−");
}

export function ticks(lo, hi, most = 6) {
  const raw = (hi - lo) / most,
    ten = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((s) => s * ten >= raw * 0.999) * ten;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const first = Math.ceil(lo / step - 1e-9),
    last = Math.floor(hi / step + 1e-9);
  return range(Math.max(0, last - first + 1)).map((i) => [(first + i) * step, fixed((first + i) * step, digits)]);
}

export const color = (j) => `var(--em-c${j % 6})`;
export const inkOn = (color) => color.replace("-c", "-t"); // for text on it

// Probabilities p after the end of the b-th share has moved to v; the two shares beside it make up for it.
export function moveEnd(p, b, v) {
  const before = p.slice(0, b).reduce((a, c) => a + c, 0),
    both = p[b] + p[b + 1];
  const own = clamp(v - before, 0, both);
  return p.map((c, j) => (j === b ? own : j === b + 1 ? both - own : c));
}

export function blend(weights, colors) {
  // "#rrggbb" each, mixed channel by channel
  const mixed = [1, 3, 5].map((at) => weights.reduce((sum, w, j) => sum + w * parseInt(colors[j].slice(at, at + 2), 16), 0));
  return `rgb(${mixed.map(Math.round).join(",")})`;
}

export function add(parent, tag, attributes = {}, text = null) {
  const node = document.createElementNS(tag === "svg" || parent.namespaceURI === SVG ? SVG : HTML, tag);
  change(node, attributes);
  if (text !== null) node.textContent = text;
  return parent.appendChild(node);
}

function change(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

// --- a plot

export function plot(parent, { name, height, least = 250, share = 1 }) {
  const box = add(parent, "div", { class: "em-plot", style: `flex: ${share} 1 ${least}px` });
  const svg = add(box, "svg", { role: "group", "aria-label": name });
  const axes = add(svg, "g", { "aria-hidden": true }),
    inside = add(svg, "svg", { "aria-hidden": true });
  const over = add(svg, "g", { "aria-hidden": true }),
    front = add(svg, "g");
  const handles = new Map();
  const p = { svg, press: null };
  let held = null;

  // A new picture: the axes. x and y are [low, high]; ticks are chosen, or given as [value, text], or false for none;
  // `lines` says which of them have a line.
  p.frame = ({
    x,
    y,
    xlabel = "",
    ylabel = "",
    xticks,
    yticks,
    lines = "xy",
    left = 48,
    right = 12,
    top = ylabel ? 24 : 10,
    bottom,
  }) => {
    const width = Math.max(200, box.clientWidth),
      h = Math.round(height(width));
    bottom ??= (xticks === false ? 6 : 20) + (xlabel ? 16 : 0);
    Object.assign(p, { left, top, right: width - right, bottom: h - bottom, xs: x, ys: y });
    change(svg, { width, height: h, viewBox: `0 0 ${width} ${h}` });
    const w = p.right - p.left,
      t = p.bottom - p.top;
    change(inside, { x: p.left, y: p.top, width: w, height: t, viewBox: `${p.left} ${p.top} ${w} ${t}` });
    for (const layer of [axes, inside, over]) layer.replaceChildren();
    for (const handle of handles.values()) handle.used = false;
    const put = (tag, attributes, text) => add(axes, tag, attributes, text);
    if (xticks !== false)
      for (const [v, text] of xticks ?? ticks(...x, clamp(w / 55, 2, 8))) {
        if (lines.includes("x")) put("line", { class: "em-grid", x1: p.x(v), x2: p.x(v), y1: p.top, y2: p.bottom });
        put("text", { x: p.x(v), y: p.bottom + 15, "text-anchor": "middle" }, text);
      }
    if (yticks !== false)
      for (const [v, text] of yticks ?? ticks(...y, clamp(t / 38, 2, 7))) {
        if (lines.includes("y")) put("line", { class: "em-grid", x1: p.left, x2: p.right, y1: p.y(v), y2: p.y(v) });
        put("text", { x: p.left - 6, y: p.y(v) + 4, "text-anchor": "end" }, text);
      }
    if (xlabel) put("text", { class: "em-axis", x: (p.left + p.right) / 2, y: h - 4, "text-anchor": "middle" }, xlabel);
    if (ylabel) put("text", { class: "em-axis", x: 2, y: 13 }, ylabel);
    return p;
  };
  p.x = (v) => p.left + ((v - p.xs[0]) / (p.xs[1] - p.xs[0])) * (p.right - p.left);
  p.y = (v) => p.bottom - ((v - p.ys[0]) / (p.ys[1] - p.ys[0])) * (p.bottom - p.top);
  const at = (event) => {
    // a pointer's place, in the units of the axes
    const rect = svg.getBoundingClientRect(),
      px = event.clientX - rect.left,
      py = event.clientY - rect.top;
    return {
      px,
      py,
      x: p.xs[0] + ((px - p.left) / (p.right - p.left)) * (p.xs[1] - p.xs[0]),
      y: p.ys[0] + ((p.bottom - py) / (p.bottom - p.top)) * (p.ys[1] - p.ys[0]),
    };
  };

  // Marks, in the units of the axes. `over` marks may leave the frame.
  const trace = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${p.x(x).toFixed(2)} ${p.y(y).toFixed(2)}`).join("");
  p.line = (points, attributes) => add(inside, "path", { class: "em-line", d: trace(points), ...attributes });
  p.area = (points, attributes) => add(inside, "path", { d: trace(points) + "Z", stroke: "none", ...attributes });
  p.dot = (x, y, r, attributes) => add(inside, "circle", { cx: p.x(x).toFixed(2), cy: p.y(y).toFixed(2), r, ...attributes });
  p.segments = (pairs, attributes) => add(inside, "path", { class: "em-line", d: pairs.map(trace).join(""), ...attributes });
  p.path = (d, attributes) => add(inside, "path", { d, ...attributes }); // in pixels
  p.box = (x0, y0, x1, y1, attributes) =>
    add(inside, "rect", {
      x: Math.min(p.x(x0), p.x(x1)),
      y: Math.min(p.y(y0), p.y(y1)),
      width: Math.abs(p.x(x1) - p.x(x0)),
      height: Math.abs(p.y(y1) - p.y(y0)),
      ...attributes,
    });
  p.text = (x, y, text, attributes) => add(over, "text", { x: p.x(x), y: p.y(y), ...attributes }, text);

  // What the reader moves, and keeps its focus from picture to picture.
  //   name, value   for those who hear it          along   "x", "y", "xy", or "" for a button
  //   move(x, y)    in the units of the axes       step    how far an arrow key goes, [x, y]
  //   act()         Enter, space; a click on a button         quiet   seen while it has the focus, out of the mouse's way
  p.handle = (key, x, y, options) => {
    let h = handles.get(key);
    if (!h) {
      h = { node: add(front, "g", { class: "em-handle", tabindex: 0 }) };
      h.hit = add(h.node, "circle", { class: "em-hit", r: REACH - 4 });
      h.ring = add(h.node, "circle", { class: "em-ring" });
      h.dot = add(h.node, "circle", { class: "em-dot" });
      h.text = add(h.node, "text", { "text-anchor": "middle", dy: "0.35em", "aria-hidden": true });
      h.node.addEventListener("keydown", (event) => onKey(h, event));
      handles.set(key, h);
    }
    const {
      name,
      value = "",
      along = "xy",
      r = 7,
      color = "var(--em-ink)",
      ink = "var(--em-paper)",
      label = "",
      xs = p.xs,
      ys = p.ys,
    } = options; // xs, ys: how far it may go
    Object.assign(h, { used: true, x, y, px: p.x(x), py: p.y(y), options: { ...options, along, xs, ys } });
    change(h.node, {
      transform: `translate(${h.px.toFixed(2)} ${h.py.toFixed(2)})`,
      "aria-label": name,
      "data-key": key,
      "data-along": along,
    });
    h.node.toggleAttribute("data-quiet", Boolean(options.quiet));
    if (along) {
      const [now, [lo, hi]] = along === "y" ? [y, ys] : [x, xs];
      change(h.node, {
        role: "slider",
        "aria-valuenow": now,
        "aria-valuemin": lo,
        "aria-valuemax": hi,
        "aria-valuetext": value,
        "aria-orientation": along === "y" ? "vertical" : "horizontal",
      });
    } else change(h.node, { role: "button" });
    change(h.ring, { r: r + 4 });
    change(h.dot, { r, fill: color });
    h.text.textContent = label;
    h.text.style.fill = ink;
    return h.node;
  };
  const go = (h, x, y) => {
    const { xs, ys, along, move } = h.options;
    move(along === "y" ? h.x : clamp(x, ...xs), along === "x" ? h.y : clamp(y, ...ys));
  };
  function onKey(h, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { along, act, xs, ys, step = [(xs[1] - xs[0]) / 100, (ys[1] - ys[0]) / 100] } = h.options;
    const many = event.shiftKey ? 10 : 1,
      upright = along === "y";
    const [dx, dy] = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, 1],
      ArrowDown: [0, -1],
      PageUp: [0, 10],
      PageDown: [0, -10],
    }[event.key] ?? [0, 0];
    if ((event.key === "Enter" || event.key === " ") && act) act();
    else if (along && (event.key === "Home" || event.key === "End")) {
      const end = event.key === "Home" ? 0 : 1;
      go(h, upright || (along === "xy" && event.shiftKey) ? h.x : xs[end], upright ? ys[end] : h.y);
    } else if (along && (dx || dy)) {
      // on a handle of one direction both pairs of arrows move
      const both = (dx || dy) * many;
      if (along === "x") go(h, h.x + both * step[0], h.y);
      else if (upright) go(h, h.x, h.y + both * step[1]);
      else go(h, h.x + dx * many * step[0], h.y + dy * many * step[1]);
    } else return;
    event.preventDefault();
  }
  svg.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const { px, py, x, y } = at(event);
    const far = (h) => Math.hypot(h.px - px, h.py - py);
    const near = [...handles.values()]
      .filter((h) => !h.options.quiet)
      .reduce((best, h) => (far(h) < (best ? far(best) : REACH) ? h : best), null);
    if (!near) return;
    near.node.focus({ preventScroll: true, focusVisible: false });
    if (near.options.along) {
      held = { h: near, dx: near.x - x, dy: near.y - y };
      svg.setPointerCapture(event.pointerId);
    } else near.options.act();
    event.preventDefault();
  });
  svg.addEventListener("pointermove", (event) => {
    if (!held) return;
    const { x, y } = at(event);
    go(held.h, x + held.dx, y + held.dy);
  });
  for (const end of ["pointerup", "pointercancel"])
    svg.addEventListener(end, () => {
      setTimeout(() => {
        held = null;
      });
    });
  svg.addEventListener("click", (event) => {
    const { px, py, x, y } = at(event);
    const free = !held && ![...handles.values()].some((h) => !h.options.quiet && Math.hypot(h.px - px, h.py - py) < REACH);
    if (p.press && free && px > p.left && px < p.right && py > p.top && py < p.bottom) p.press(x, y);
  });
  p.finish = () => {
    // handles that this picture didn't name are gone
    for (const [key, h] of handles)
      if (!h.used) {
        h.node.remove();
        handles.delete(key);
      }
  };
  return p;
}

// A bar of shares from x = 0 to 1 whose inner ends are handles; set(p) gets the new ones.
export function bar(p, y, thick, shares, { key, name, names, colors, set, labels = names }) {
  let sum = 0;
  shares.forEach((share, j) => {
    p.box(sum, y - thick / 2, sum + share, y + thick / 2, { fill: colors[j], class: "em-share" });
    const text = [`${labels[j]} ${fixed(share, 2)}`, labels[j]].find((s) => share * (p.right - p.left) > 7 * s.length + 22);
    if (text)
      p.text(sum + share / 2, y, text, {
        class: "em-on",
        style: `fill: ${inkOn(colors[j])}`,
        "text-anchor": "middle",
        dy: "0.35em",
      });
    sum += share;
    if (j + 1 < shares.length)
      p.handle(`${key}-${j}`, sum, y, {
        name: `${name}: ${names[j]} against ${names[j + 1]}`,
        value: `${fixed(shares[j], 2)} and ${fixed(shares[j + 1], 2)}`,
        along: "x",
        xs: [sum - share, sum + shares[j + 1]],
        step: [0.01, 0],
        r: 6,
        move: (x) => set(moveEnd(shares, j, snap(x, 0.001))),
      });
  });
}

// --- light or dark: what is behind the figure decides

function paper(node) {
  // [colour, is it dark?]
  for (let n = node; n; n = n.parentElement) {
    const color = getComputedStyle(n).backgroundColor,
      [r, g, b, a = 1] = (color.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    if (a > 0.5) return [color, 0.2126 * r + 0.7152 * g + 0.0722 * b < 110];
  }
  const scheme = getComputedStyle(document.documentElement).colorScheme;
  return ["Canvas", scheme === "dark" || (scheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches)];
}

// --- the loop

export function live({ begin, compute, build }) {
  return {
    render({ model, el }) {
      const data = JSON.parse(model.get("payload"));
      const root = add(el, "figure", { class: "em-live", "data-lm-suppress-shortcuts": true }); // JupyterLab leaves our keys alone
      if (data.alt) add(root, "p", { class: "em-hidden" }, data.alt);
      const rows = {
        plots: add(root, "div", { class: "em-plots" }),
        numbers: add(root, "p", { class: "em-numbers", "aria-hidden": true }),
        controls: add(root, "div", { class: "em-controls" }),
      };
      const status = add(root, "p", { class: "em-hidden", role: "status" });
      if (data.caption) add(root, "figcaption", {}, data.caption);
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const plots = [];
      let state,
        timer = 0,
        later = 0;

      const ui = {
        data,
        get state() {
          return state;
        },
        get numbers() {
          return root.numbers;
        },
        set(changes) {
          model.set("state", JSON.stringify({ ...state, ...changes }));
          model.save_changes();
        },
        reset() {
          model.set("state", JSON.stringify(begin(data)));
          model.save_changes();
        },
        plot(options) {
          plots.push(plot(rows.plots, options));
          return plots.at(-1);
        },
        button(label, act) {
          const node = add(rows.controls, "button", { type: "button" }, label);
          node.addEventListener("click", () => act(ui.stop())); // did it end a run?
          return node;
        },
        choice(label, options, act) {
          // options: [value, text]
          const field = add(rows.controls, "label", {}, label + " ");
          const node = add(field, "select");
          for (const [value, text] of options) add(node, "option", { value }, text);
          node.addEventListener("change", () => {
            ui.stop();
            act(node.value);
          });
          return node;
        },
        slider(label, [min, max, step], act) {
          const field = add(rows.controls, "label", {}, label + " ");
          const node = add(field, "input", { type: "range", min, max, step });
          node.addEventListener("input", () => act(+node.value));
          const shown = add(field, "output");
          const show = (value, text) => {
            node.value = value;
            shown.textContent = text;
          };
          return { show };
        },
        say(items, sentence = "") {
          // [name, text, colour of its swatch or none, what the swatch is]
          rows.numbers.replaceChildren();
          for (const [name, text, color, kind = "bar"] of items) {
            const item = add(rows.numbers, "span");
            if (color) add(item, "i", { class: `em-swatch em-${kind}`, style: `--c: ${color}` });
            if (name) add(item, "span", {}, name + " ");
            add(item, "b", {}, text);
          }
          if (sentence) add(rows.numbers, "span", { class: "em-sentence" }, sentence);
          clearTimeout(later);
          later = setTimeout(() => {
            status.textContent = items.map(([name, text]) => `${name} ${text}`).join(", ") + ". " + sentence;
          }, 400);
        },
        color: (j) => getComputedStyle(root).getPropertyValue(`--em-c${j}`).trim(),
        // Repeat step() until it says false; at once for readers who asked for no motion.
        run(step, interval = 250) {
          if (still) {
            for (let i = 0; i < 2000 && step(); i++);
            return;
          }
          const tick = () => {
            timer = root.isConnected && step() ? setTimeout(tick, interval) : 0;
            if (!timer) paint();
          };
          timer = setTimeout(tick);
        },
        stop() {
          const was = timer;
          clearTimeout(timer);
          timer = 0;
          if (was) paint();
          return Boolean(was);
        },
        running: () => timer !== 0,
      };
      const draw = build(ui);

      function paint() {
        if (!root.clientWidth) return;
        const [color, dark] = paper(el);
        root.toggleAttribute("data-dark", dark);
        root.style.setProperty("--em-paper", color);
        draw(state, root.numbers);
        for (const p of plots) p.finish();
      }
      function update() {
        state = JSON.parse(model.get("state") || "null") ?? begin(data);
        Object.assign(root, { state, numbers: compute(data, state) });
        paint();
      }
      // JupyterLab has shortcuts of its own on plain keys.
      root.addEventListener("keydown", (event) => {
        if (!(event.ctrlKey || event.metaKey || event.altKey)) event.stopPropagation();
      });
      const size = new ResizeObserver(paint),
        theme = new MutationObserver(paint),
        system = matchMedia("(prefers-color-scheme: dark)");
      size.observe(root);
      for (const node of [document.documentElement, document.body]) theme.observe(node, { attributes: true });
      system.addEventListener("change", paint);
      model.on("change:state", update);
      update();
      return () => {
        ui.stop();
        clearTimeout(later);
        size.disconnect();
        theme.disconnect();
        system.removeEventListener("change", paint);
        model.off("change:state", update);
      };
    },
  };
}
