// The mixture playground: drag the means, take the E-step and the M-step apart, see what becomes of other starts.
import { blend, clamp, color, fixed, inkOn, live, range } from "./base.js";
import { begin, bound, collapsed, draw, eStep, ellipse, mStep } from "./maths/mixture.js";

const ENOUGH = 1e-6; // nats of an iteration's gain at which a run ends

export default live({
  begin: (data) => fresh(data, { set: 0, added: [], k: data.k, seed: data.seed, ends: [] }, data.means),
  // the numbers of now: q belongs to the theta of the last E-step, `by`
  compute(data, { set, added, theta, by }) {
    const x = points(data, { set, added });
    if (!theta) return { x, resp: null };
    const resp = by && eStep(x, by).resp;
    return { x, resp, logP: eStep(x, theta).logP, free: resp && bound(x, resp, theta), fallen: collapsed(x, theta) };
  },
  build(ui) {
    const { data } = ui;
    const plane = ui.plot({
      name: "The points, and the components' means and ellipses",
      height: (w) => clamp(0.78 * w, 260, 380),
      least: 280,
      share: 6,
    });
    const climb = ui.plot({
      name: "F after each half step",
      height: (w) => (w < 320 ? 0.95 * w : 0.55 * w),
      least: 200,
      share: 4,
    });
    const sets = ui.choice(
      "data",
      data.sets.map(({ name }, i) => [i, name]),
      (i) => restart({ set: +i, added: [], ends: [] }),
    );
    const ks = ui.choice(
      "k",
      range(6).map((i) => [i + 1, `${i + 1}`]),
      (k) => restart({ k: +k, ends: [] }),
    );
    const e = ui.button("E-step", halfStep),
      m = ui.button("M-step", halfStep);
    const run = ui.button("Run to the end", (was) => was || ui.run(runOn, 80));
    const other = ui.button("Other start", () => restart({}));
    const clear = ui.button("Take added points away", () => restart({ added: [], ends: [] }));
    ui.button("Start over", ui.reset);

    const restart = (changes) => ui.set(fresh(data, { ...ui.state, seed: ui.state.seed + 1, ...changes }));
    const stuck = ({ theta }, x) => !theta || collapsed(x, theta).some(Boolean);
    function halfStep() {
      ui.set(half(ui.state, ui.numbers.x));
    }
    function runOn() {
      // one half step at first, to be seen; more at once later
      let state = ui.state;
      const { x } = ui.numbers,
        many = 1 + Math.floor(state.climb.length / 4);
      for (let i = 0; i < many && !state.ended && !stuck(state, x); i++) {
        state = half(state, x);
        const [before, , now] = state.climb.slice(-3);
        if (state.half === "E" && (now - before < ENOUGH || state.climb.length > 2000))
          state = { ...state, ended: true, ends: [...state.ends, now] };
      }
      ui.set(state);
      return !state.ended && !stuck(state, x);
    }
    const place = (j, x, y) => {
      ui.set(
        fresh(
          data,
          ui.state,
          ui.state.theta.means.map((u, i) => (i === j ? [x, y] : u)),
        ),
      );
    };
    const addPoint = (x, y) =>
      ui.set(
        fresh(data, { ...ui.state, added: [...ui.state.added, [x, y]], ends: [], cursor: [x, y] }, ui.state.theta?.means),
      );
    plane.press = addPoint;

    return (state, found) => {
      const { set, k, theta, half, ends } = state,
        { x, resp, fallen = [] } = found,
        { span, labels } = data.sets[set];
      const colors = range(6).map(ui.color);
      sets.value = set;
      ks.value = k;
      plane.frame({ x: span[0], y: span[1], xlabel: labels[0], ylabel: labels[1], left: 40 });
      const r = x.length > 150 ? 2.6 : 3.4;
      x.forEach((row, i) => plane.dot(...row, r, { fill: resp ? blend(resp[i], colors) : "var(--em-soft)", opacity: 0.85 }));
      const [cx, cy] = state.cursor ?? span.map(([a, b]) => (a + b) / 2);
      if (theta) {
        range(k).forEach((j) => {
          for (const level of [1, 2])
            plane.line(ellipse(theta.means[j], theta.covs[j], level), {
              style: `stroke: ${color(j)}; stroke-width: ${level === 1 ? 2.5 : 1.2}`,
            });
          plane.handle(j, ...theta.means[j], {
            name: `mean of component ${j + 1}`,
            value: `${fixed(theta.means[j][0], 2)} and ${fixed(theta.means[j][1], 2)}`,
            color: color(j),
            ink: inkOn(color(j)),
            label: `${j + 1}`,
            r: 9,
            move: (u, v) => place(j, u, v),
          });
        });
      }
      plane.handle("cursor", cx, cy, {
        name: "a place for a new point: arrows move it, Enter adds the point",
        value: `${fixed(cx, 2)} and ${fixed(cy, 2)}`,
        quiet: true,
        r: 6,
        color: "transparent",
        move: (u, v) => ui.set({ cursor: [u, v] }),
        act: () => addPoint(cx, cy),
      });

      const steps = state.climb.map((v, t) => [t / 2 + 0.5, v]),
        heights = [...state.climb, ...ends];
      const high = Math.max(...heights),
        first = Math.min(...(ends.length ? ends : [high]), state.climb[state.climb.length > 5 ? 2 : 0] ?? high);
      const low = Number.isFinite(high) ? Math.min(first, high - 1) - 0.06 * Math.max(1, high - first) : 0;
      climb.frame({
        x: [0, Math.max(5, (state.climb.length + 1) / 2)],
        y: Number.isFinite(high) ? [low, high + 0.08 * (high - low)] : [0, 1],
        xlabel: "iterations",
        ylabel: "F, nats",
        left: 58,
        right: ends.length ? 34 : 12,
        yticks: Number.isFinite(high) ? undefined : [],
      });
      climb.line(steps);
      if (steps.length <= 60)
        steps.forEach(([t, v], i) =>
          climb.dot(t, v, steps.length > 30 ? 2.5 : 4, {
            fill: i % 2 ? "var(--em-paper)" : "var(--em-ink)",
            stroke: "var(--em-ink)",
            "stroke-width": 1.5,
          }),
        );
      for (const [v, times] of tally(ends)) {
        climb.line(
          [
            [0, v],
            [1e4, v],
          ],
          { style: "stroke: var(--em-gap); stroke-width: 1.5; stroke-dasharray: 5 4" },
        );
        climb.text(climb.xs[1], v, ` ×${times}`, { dy: "0.35em" });
      }
      const busy = ui.running(),
        idle = stuck(state, x);
      e.disabled = busy || idle || half === "E";
      m.disabled = busy || idle || half !== "E";
      run.disabled = idle || state.ended;
      run.textContent = busy ? "Stop" : "Run to the end";
      other.disabled = x.length <= k;
      clear.hidden = !state.added.length;
      const sentence = !theta
        ? `${x.length} points: click to add more, at least ${k + 2} for ${k === 1 ? "one component" : `${k} components`}.`
        : fallen.some(Boolean)
          ? `Component ${fallen.indexOf(true) + 1} has fallen onto a point or a line: there the likelihood has no bound. Take another start.`
          : half === "E"
            ? "q is the posterior, F touches log p. The M-step moves the ellipses."
            : half === "M"
              ? "The ellipses have moved, the colours are from before. The E-step paints anew."
              : "Drag a numbered mean, or click to add a point. The E-step paints.";
      const tops = tally(ends)
        .map(([v, n]) => `${fixed(v, 2)}${n > 1 ? ` (${n} times)` : ""}`)
        .join(", ");
      ui.say(
        [
          ["n", `${x.length}`],
          ...(theta
            ? [
                ["log p(x | θ)", fixed(found.logP, 3)],
                ["F", found.resp ? fixed(found.free, 3) : "–"],
                ["iterations", fixed(Math.floor(state.climb.length / 2), 0)],
              ]
            : []),
          ...(tops ? [["runs ended at", tops, "var(--em-gap)"]] : []),
        ],
        sentence,
      );
    };
  },
});

// Half a step of EM: the E-step, or after it the M-step. `by` is the theta whose posterior q is.
function half(state, x) {
  if (state.half !== "E")
    return { ...state, by: state.theta, half: "E", climb: [...state.climb, eStep(x, state.theta).logP] };
  const { resp } = eStep(x, state.by),
    theta = mStep(x, resp);
  return { ...state, theta, half: "M", climb: [...state.climb, bound(x, resp, theta)] };
}

const points = (data, { set, added }) => [...data.sets[set].x, ...added];

function fresh(data, state, means) {
  const x = points(data, state),
    enough = x.length >= state.k + 2;
  const own = means?.length === state.k ? means : enough ? draw(x, state.k, state.seed) : null;
  return { ...state, theta: own && enough ? begin(x, own) : null, by: null, half: "", climb: [], ended: false };
}

function tally(ends) {
  // [height, how often], the highest first, equal to a hundredth of a nat
  const found = [];
  for (const v of [...ends].sort((a, b) => b - a)) {
    if (found.length && found.at(-1)[0] - v < 0.01) found.at(-1)[1]++;
    else found.push([v, 1]);
  }
  return found;
}
