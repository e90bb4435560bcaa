// Jensen's inequality: points on a curve, their weights, and the gap between f of the average and the average of f.
import { bar, clamp, color, fixed, grid, inkOn, live, range, snap } from "./base.js";
import { FUNCTIONS, jensen } from "./maths/jensen.js";

const WORDS = {
  // f of the average, the average of f
  log: ["log of the average", "average of the logs"],
  "square root": ["root of the average", "average of the roots"],
  square: ["square of the average", "average of the squares"],
  exp: ["exp of the average", "average of the exps"],
};

const limits = ({ points }) => {
  const lo = Math.min(...points),
    hi = Math.max(...points),
    room = 0.4 * (hi - lo || hi);
  return [Math.max(lo - room, (hi + room) / 25), hi + room];
};

export default live({
  begin: ({ points, weights, f }) => ({ points, weights, f }),
  compute: (data, { points, weights, f }) => jensen(f, points, weights),
  build(ui) {
    const [lo, hi] = limits(ui.data),
      step = 10 ** Math.floor(Math.log10((hi - lo) / 90));
    const curve = ui.plot({ name: "The curve and the points on it", height: (w) => clamp(0.62 * w, 230, 400), least: 600 });
    const below = ui.plot({ name: "The weights of the points", height: () => 62, least: 600 });
    const choice = ui.choice(
      "f =",
      Object.keys(FUNCTIONS).map((f) => [f, f]),
      (f) => ui.set({ f }),
    );
    ui.button("Equal weights", () => ui.set({ weights: ui.data.points.map(() => 1 / ui.data.points.length) }));
    ui.button("Start over", ui.reset);

    return ({ points, weights, f }, { mean, ofMean, meanOf, gap }) => {
      const F = FUNCTIONS[f],
        xs = grid(lo, hi, 200),
        k = points.length;
      const [a, b] = [F(lo), F(hi)],
        room = 0.08 * Math.abs(b - a);
      choice.value = f;
      curve.frame({
        x: [lo, hi],
        y: [Math.min(a, b) - room, Math.max(a, b) + room],
        ylabel: `f(x) = ${f} of x`,
        xlabel: ui.data.xlabel,
      });
      const colors = range(k).map(color);
      const sorted = [...points].sort((u, v) => u - v);
      curve.area(
        sorted.map((x) => [x, F(x)]),
        { fill: "var(--em-c0)", opacity: 0.14 },
      );
      curve.line(
        [...sorted, sorted[0]].map((x) => [x, F(x)]),
        { style: "stroke: var(--em-c0); stroke-width: 1; opacity: .6" },
      );
      curve.line(
        xs.map((x) => [x, F(x)]),
        { style: "stroke: var(--em-soft)" },
      );
      curve.line(
        [
          [mean, curve.ys[0]],
          [mean, Math.min(ofMean, meanOf)],
        ],
        { style: "stroke: var(--em-soft); stroke-width: 1; stroke-dasharray: 3 4" },
      );
      curve.line(
        [
          [mean, ofMean],
          [mean, meanOf],
        ],
        { style: "stroke: var(--em-gap); stroke-width: 5" },
      );
      curve.dot(mean, ofMean, 5, { fill: "var(--em-paper)", stroke: "var(--em-ink)", "stroke-width": 2 });
      curve.dot(mean, meanOf, 5, { fill: "var(--em-ink)" });
      points.forEach((x, j) =>
        curve.handle(j, x, F(x), {
          name: `point ${j + 1}`,
          value: `x = ${fixed(x, 2)}, weight ${fixed(weights[j], 2)}`,
          along: "x",
          xs: [lo, hi],
          step: [step, 0],
          r: 4 + 10 * Math.sqrt(weights[j]),
          color: colors[j],
          ink: inkOn(colors[j]),
          label: weights[j] > 0.12 ? `${j + 1}` : "",
          move: (v) => ui.set({ points: points.map((u, i) => (i === j ? snap(v, step) : u)) }),
        }),
      );
      below.frame({ x: [0, 1], y: [0, 1], xticks: false, yticks: false, bottom: 8, ylabel: "weights: drag the ends" });
      bar(below, 0.5, 0.75, weights, {
        key: "weight",
        name: "weight",
        names: range(k).map((j) => `point ${j + 1}`),
        colors,
        labels: range(k).map((j) => `${j + 1}:`),
        set: (p) => ui.set({ weights: p }),
      });
      const [first, second] = WORDS[f];
      ui.say([
        ["average of x", fixed(mean)],
        [first, fixed(ofMean)],
        [second, fixed(meanOf)],
        ["their difference, E f − f(E)", fixed(gap), "var(--em-gap)"],
      ]);
    };
  },
});
