// The bound: q for each row on the left, F(q, theta) under log p(x | theta) on the right.
import { clamp, fixed, grid, live, snap } from "./base.js";
import { best, bound } from "./maths/bound.js";

export default live({
  begin: ({ q, theta }) => ({ q, theta, done: [] }),
  compute: (data, { q, theta }) => bound(data, q, theta),
  build(ui) {
    const { data } = ui,
      [lo, hi] = data.span,
      xs = grid(lo, hi, 160);
    const logP = xs.map((t) => [t, bound(data, data.q, t).logP]),
      top = Math.max(...logP.map(([, v]) => v));
    const first = bound(data, data.q, data.theta),
      floor = Math.min(first.free, first.logP),
      deep = (top - floor) * 1.25;
    const shares = ui.plot({ name: "q for each row", height: (w) => clamp(0.85 * w, 240, 320), least: 250, share: 4 });
    const climb = ui.plot({
      name: "F and the log-likelihood",
      height: (w) => clamp(0.85 * w, 240, 320),
      least: 260,
      share: 5,
    });
    const eStep = ui.button("E-step", () => act("E")),
      mStep = ui.button("M-step", () => act("M"));
    ui.button("Start over", ui.reset);
    let state, numbers;
    function act(kind) {
      const moved = kind === "E" ? { q: numbers.posterior } : { theta: clamp(best(data, state.q), lo, hi) };
      ui.set({ ...moved, done: [...state.done, kind].slice(-12) });
    }

    return (now, found) => {
      [state, numbers] = [now, found];
      const { q, theta, done } = now,
        total = data.times.reduce((a, b) => a + b);
      shares.frame({
        x: [-0.6, q.length - 0.4],
        y: [-0.04, 1.04],
        ylabel: `q(${data.kinds[1]})`,
        xlabel: data.xlabel,
        left: 36,
        lines: "y",
        xticks: data.x.map((v, i) => [i, `${v}`]),
        yticks: [
          [0, "0"],
          [0.5, "½"],
          [1, "1"],
        ],
      });
      q.forEach((v, i) => {
        const p = found.posterior[i];
        shares.box(i - 0.3, 0, i + 0.3, v, {
          fill: "var(--em-c0)",
          opacity: 0.2 + 0.6 * Math.min(1, (4 * data.times[i]) / total),
        });
        shares.line(
          [
            [i - 0.36, p],
            [i + 0.36, p],
          ],
          { style: "stroke: var(--em-gap); stroke-width: 3" },
        );
        shares.handle(i, i, v, {
          name: `q of ${data.xlabel} ${data.x[i]}`,
          value: `${fixed(v, 2)}, posterior ${fixed(p, 2)}`,
          along: "y",
          ys: [0, 1],
          step: [0, 0.02],
          r: 6,
          color: "var(--em-c0)",
          move: (_, y) => ui.set({ q: q.map((c, j) => (j === i ? snap(y, 0.001) : c)), done: [] }),
        });
      });
      const low = Math.min(top - deep, found.free - 0.1 * deep);
      climb.frame({ x: [lo, hi], y: [low, top + 0.12 * (top - low)], ylabel: "nats", xlabel: data.tlabel, left: 58 });
      climb.line(
        xs.map((t) => [t, bound(data, q, t).free]),
        { style: "stroke: var(--em-c0)" },
      );
      climb.line(logP);
      climb.line(
        [
          [theta, low],
          [theta, found.free],
        ],
        { style: "stroke: var(--em-soft); stroke-width: 1; stroke-dasharray: 3 4" },
      );
      climb.line(
        [
          [theta, found.free],
          [theta, found.logP],
        ],
        { style: "stroke: var(--em-gap); stroke-width: 5" },
      );
      climb.dot(theta, found.free, 5, { fill: "var(--em-c0)" });
      climb.handle("theta", theta, found.logP, {
        name: data.tlabel,
        value: fixed(theta, 3),
        along: "x",
        xs: [lo, hi],
        step: [(hi - lo) / 100, 0],
        move: (t) => ui.set({ theta: snap(t, (hi - lo) / 1000), done: [] }),
      });
      eStep.disabled = found.kl < 1e-12;
      mStep.disabled = Math.abs(best(data, q) - theta) < 1e-12;
      ui.say(
        [
          ["log p(x | θ)", fixed(found.logP, 4), "var(--em-ink)"],
          ["F(q, θ)", fixed(found.free, 4), "var(--em-c0)"],
          ["KL", fixed(found.kl, 4), "var(--em-gap)"],
          ["θ", fixed(theta, 4)],
        ],
        done.length ? `Steps: ${done.join(" ")}` : "",
      );
    };
  },
});
