// Three ways up one hill: where EM, gradient ascent and Newton's method go from a start that the reader chooses.
import { clamp, color, fixed, grid, live, range, snap } from "./base.js";
import { contour, kindOf, logLikelihood, path } from "./maths/ascent.js";

const METHODS = [
  ["em", "EM", color(0), "round"],
  ["gradient", "gradient", color(1), "square"],
  ["newton", "Newton", color(3), "cross"],
];

export default live({
  begin: ({ start, rate }) => ({ start, rate }),
  compute: (data, { start, rate }) =>
    Object.fromEntries(
      METHODS.map(([method]) => {
        const thetas = path(data, method, start, data.steps, rate),
          end = thetas.at(-1);
        return [method, { thetas, heights: thetas.map((t) => logLikelihood(data, t)), end: kindOf(data, end) }];
      }),
    ),
  build(ui) {
    const { data } = ui,
      [lo, hi] = data.span,
      size = 56,
      xs = grid(lo, hi, size);
    const table = xs.map((a) => xs.map((b) => logLikelihood(data, [a, b])));
    const top = Math.max(...table.flat()),
      least = Math.min(...table.flat());
    // levels closer together near the top, where the paths end
    const lines = range(16).map((i) => contour(xs, xs, table, top - (top - least) * ((i + 0.35) / 16) ** 2));
    const hill = ui.plot({
      name: "The log-likelihood of two means, and three paths",
      height: (w) => clamp(w, 240, 420),
      least: 270,
      share: 6,
    });
    const climb = ui.plot({
      name: "The height reached after each step",
      height: (w) => (w < 320 ? 0.95 * w : 0.55 * w),
      least: 220,
      share: 4,
    });
    const rate = ui.slider("gradient's step", [0.1, 4, 0.1], (v) => ui.set({ rate: v }));
    ui.button("Start over", ui.reset);
    hill.press = (x, y) => ui.set({ start: [snap(x, 0.1), snap(y, 0.1)] });

    const mark = (p, x, y, kind, fill, r) => {
      const [cx, cy] = [p.x(x), p.y(y)],
        style = { fill, stroke: "var(--em-paper)", "stroke-width": 1 };
      if (kind === "round") p.dot(x, y, r, style);
      else
        p.path(
          kind === "square"
            ? `M${cx - r} ${cy - r}h${2 * r}v${2 * r}h${-2 * r}Z`
            : `M${cx} ${cy - r * 1.2}l${r * 1.2} ${2 * r}h${-2.4 * r}Z`,
          style,
        );
    };
    return ({ start, rate: now }, found) => {
      rate.show(now, `${fixed(now, 1)} σ²/n`);
      hill.frame({ x: [lo, hi], y: [lo, hi], xlabel: data.labels[0], ylabel: data.labels[1] });
      for (const pairs of lines) hill.segments(pairs, { style: "stroke: var(--em-soft); stroke-width: 1; opacity: .55" });
      hill.line(
        [
          [lo, lo],
          [hi, hi],
        ],
        { style: "stroke: var(--em-soft); stroke-width: 1; stroke-dasharray: 2 4" },
      );
      const drawn = [...METHODS].reverse();
      for (const [method, , c, kind] of drawn) {
        const { thetas } = found[method];
        hill.line(
          thetas.map((t) => t.map((v) => clamp(v, lo - 1e3, hi + 1e3))),
          { style: `stroke: ${c}` },
        );
        thetas.slice(0, 40).forEach((t) => mark(hill, ...t, kind, c, 3.2));
        mark(hill, ...thetas.at(-1), kind, c, 6);
      }
      hill.handle("start", ...start, {
        name: "start",
        value: `${fixed(start[0], 1)} and ${fixed(start[1], 1)}`,
        r: 7,
        step: [(hi - lo) / 100, (hi - lo) / 100],
        move: (x, y) => ui.set({ start: [snap(x, 0.1), snap(y, 0.1)] }),
      });
      const first = found.em.heights[0],
        best = Math.max(...METHODS.map(([m]) => Math.max(...found[m].heights))),
        most = 20;
      const low = Math.min(first, best - 1) - 0.04 * (best - first);
      climb.frame({
        x: [0, most],
        y: [low, best + 0.06 * (best - low)],
        xlabel: "steps",
        ylabel: "log p(x | θ), nats",
        left: 58,
      });
      for (const [method, , c, kind] of drawn) {
        const heights = found[method].heights.map((v, t) => [t, v]);
        climb.line([...heights, [1e3, heights.at(-1)[1]]].slice(0, 200), { style: `stroke: ${c}` });
        heights.slice(0, most + 1).forEach(([t, v]) => mark(climb, t, v, kind, c, 3));
      }
      const outcome = ({ thetas, heights, end }) => {
        const steps = thetas.length - 1,
          far = thetas.at(-1).some((v) => v < lo || v > hi) ? ", outside the picture" : "";
        return (
          `${fixed(heights.at(-1), 2)}: ` +
          (steps === data.steps
            ? `still moving after ${steps} steps${far}`
            : end === "slope"
              ? `lost after ${steps} steps`
              : `${end} after ${steps} steps${far}`)
        );
      };
      ui.say(METHODS.map(([method, name, c, kind]) => [name, outcome(found[method]), c, kind]));
    };
  },
});
