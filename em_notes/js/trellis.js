// The trellis: edit a small hidden Markov chain and its observations, see the messages and the best path.
import { bar, clamp, color, fixed, live, range } from "./base.js";
import { trellis } from "./maths/trellis.js";

const SHOW = {
  filtered: ["forward", "p(state | observations up to now)"],
  beta: ["backward", "p(later observations | state), as a share of the column"],
  gamma: ["gamma", "p(state | all observations)"],
};

export default live({
  begin: ({ initial, trans, emit, obs, show }) => ({ initial, trans, emit, obs, show }),
  compute: (data, state) => trellis(state),
  build(ui) {
    const { states, symbols, alphabet } = ui.data,
      k = states.length;
    const net = ui.plot({ name: "The trellis", height: (w) => clamp(70 * k + 100, 200, 420), least: 400, share: 6 });
    const model = ui.plot({ name: "The probabilities", height: () => 27 * (2 * k + 3) + 4, least: 250, share: 4 });
    const show = ui.choice(
      "show",
      Object.entries(SHOW).map(([value, [text]]) => [value, text]),
      (v) => ui.set({ show: v }),
    );
    const more = ui.button(`One ${ui.data.step} more`, () => ui.set({ obs: [...ui.state.obs, ui.state.obs.at(-1)] }));
    const fewer = ui.button(`One ${ui.data.step} fewer`, () => ui.set({ obs: ui.state.obs.slice(0, -1) }));
    ui.button("Start over", ui.reset);

    return (state, found) => {
      const { initial, trans, emit, obs } = state,
        n = obs.length,
        height = (j) => k - 1 - j;
      show.value = state.show;
      more.disabled = n >= 8;
      fewer.disabled = n <= 2;
      const values =
        state.show === "beta"
          ? found.beta.map((b) => b.map((v) => v / (b.reduce((a, c) => a + c) || 1)))
          : found[state.show];
      net.frame({
        x: [-0.5, n - 0.5],
        y: [-0.9, k - 0.5],
        xticks: range(n).map((t) => [t, `${t + 1}`]),
        yticks: states.map((s, j) => [height(j), s]),
        xlabel: ui.data.step,
        lines: "",
        left: 12 + 7 * Math.max(...states.map((s) => s.length)),
        right: 6,
      });
      const edge = (t, i, j, style) =>
        net.line(
          [
            [t, height(i)],
            [t + 1, height(j)],
          ],
          { style },
        );
      const strength = (t, i, j) =>
        state.show === "gamma"
          ? found.xi[t][i][j]
          : state.show === "filtered"
            ? found.filtered[t][i] * trans[i][j]
            : values[t + 1][j] * trans[i][j];
      for (const t of range(n - 1))
        for (const i of range(k))
          for (const j of range(k)) {
            edge(
              t,
              i,
              j,
              `stroke: var(--em-soft); opacity: .75; stroke-width: ${trans[i][j] > 0 ? 0.6 + 9 * strength(t, i, j) : 0}`,
            );
          }
      if (found.logPath > -Infinity)
        net.line(
          found.path.map((j, t) => [t, height(j)]),
          { style: "stroke: var(--em-gap); stroke-width: 3; stroke-dasharray: 2 6" },
        );
      const most = clamp((0.36 * (net.right - net.left)) / n, 12, 24);
      for (const t of range(n))
        for (const j of range(k)) {
          const best = found.logPath > -Infinity && found.path[t] === j;
          net.dot(t, height(j), most, {
            fill: "var(--em-paper)",
            stroke: best ? "var(--em-gap)" : "var(--em-line)",
            "stroke-width": best ? 3 : 2,
          });
          net.dot(t, height(j), most * Math.sqrt(clamp(values[t][j], 0, 1)), { fill: color(j) });
          net.text(t, height(j), fixed(values[t][j], 2), {
            "text-anchor": "middle",
            y: net.y(height(j)) + most + 13,
            style: "fill: var(--em-ink)",
          });
        }
      obs.forEach((v, t) =>
        net.handle(`x${t}`, t, -0.68, {
          name: `${ui.data.step} ${t + 1}, observed ${alphabet} ${symbols[v]}: press to change`,
          along: "",
          r: 13,
          label: symbols[v].slice(0, 2),
          color: "var(--em-ink)",
          act: () => ui.set({ obs: obs.map((u, s) => (s === t ? (u + 1) % symbols.length : u)) }),
        }),
      );

      const palette = range(k).map(color),
        tints = symbols.map((_, v) => color((v + k) % 6)),
        rows = 2 * k + 3;
      model.frame({
        x: [0, 1],
        y: [-0.6, rows - 0.4],
        xticks: false,
        yticks: false,
        left: 16 + 7 * Math.max(5, ...states.map((s) => s.length)),
        top: 0,
        bottom: 2,
      });
      const title = (r, text) => model.text(0, rows - 1 - r, text, { x: 2, dy: "0.5em", class: "em-axis" });
      const put = (r, text, key, p, names, colors, set, spoken) => {
        model.text(0, rows - 1 - r, text, { dy: "0.35em", "text-anchor": "end", x: model.left - 8 });
        bar(model, rows - 1 - r, 0.74, p, { key, name: spoken, names, colors, set });
      };
      const row = (name, i) => (p) => ui.set({ [name]: state[name].map((old, s) => (s === i ? p : old)) });
      title(0, "first state, then the next after each");
      put(1, "first", "initial", initial, states, palette, (p) => ui.set({ initial: p }), "first state");
      range(k).forEach((i) =>
        put(2 + i, states[i], `trans${i}`, trans[i], states, palette, row("trans", i), `after ${states[i]}`),
      );
      title(2 + k, `${alphabet} in each state`);
      range(k).forEach((i) =>
        put(3 + k + i, states[i], `emit${i}`, emit[i], symbols, tints, row("emit", i), `${alphabet} in ${states[i]}`),
      );
      const path = found.logPath > -Infinity ? found.path.map((j) => states[j]).join(", ") : "none is possible";
      ui.say(
        [
          ["p(x)", Math.exp(found.logP).toPrecision(5)],
          ["log p(x)", fixed(found.logP, 4)],
          ["best path", path, "var(--em-gap)"],
          ["its p(z | x)", fixed(found.logPath > -Infinity ? Math.exp(found.logPath - found.logP) : NaN, 3)],
        ],
        `Discs: ${SHOW[state.show][1]}.`,
      );
    };
  },
});
