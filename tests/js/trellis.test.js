import assert from "node:assert/strict";
import { test } from "node:test";
import { trellis } from "../../em_notes/js/maths/trellis.js";
import { close } from "./close.js";

const ice = {
  initial: [0.8, 0.2],
  trans: [
    [0.6, 0.4],
    [0.5, 0.5],
  ],
  emit: [
    [0.2, 0.4, 0.4],
    [0.5, 0.4, 0.1],
  ],
  obs: [2, 0, 2],
};
const three = {
  initial: [0.5, 0.5, 0],
  trans: [
    [0.7, 0.3, 0],
    [0, 0.2, 0.8],
    [0.4, 0, 0.6],
  ],
  emit: [
    [0.9, 0.1],
    [0.3, 0.7],
    [0, 1],
  ],
  obs: [1, 0, 0, 1, 1],
};

function paths({ initial, trans, emit, obs }) {
  // every path and p(x, z), from the definition
  let all = initial.map((p, j) => [[j], p * emit[j][obs[0]]]);
  for (const v of obs.slice(1))
    all = all.flatMap(([z, p]) => initial.map((_, j) => [[...z, j], p * trans[z.at(-1)][j] * emit[j][v]]));
  return all;
}

test("the ice creams, as added up by hand", () => {
  const { logP, path, logPath } = trellis(ice);
  close(Math.exp(logP), 0.028562);
  assert.deepEqual(path, [0, 1, 0]);
  close(Math.exp(logPath), 0.8 * 0.4 * 0.4 * 0.5 * 0.5 * 0.4);
});

for (const [name, chain] of [
  ["ice creams", ice],
  ["three states with zeros", three],
]) {
  test(`${name}: all numbers are sums over all paths`, () => {
    const all = paths(chain),
      px = all.reduce((s, [, p]) => s + p, 0),
      found = trellis(chain);
    const share = (ok) => all.reduce((s, [z, p]) => (ok(z) ? s + p : s), 0) / px;
    close(Math.exp(found.logP), px);
    chain.obs.forEach((_, t) =>
      chain.initial.forEach((_, i) => {
        close(
          found.gamma[t][i],
          share((z) => z[t] === i),
        );
        const until = paths({ ...chain, obs: chain.obs.slice(0, t + 1) });
        close(
          found.filtered[t][i],
          until.reduce((s, [z, p]) => (z[t] === i ? s + p : s), 0) / until.reduce((s, [, p]) => s + p, 0),
        );
        if (t)
          chain.initial.forEach((_, j) =>
            close(
              found.xi[t - 1][i][j],
              share((z) => z[t - 1] === i && z[t] === j),
            ),
          );
      }),
    );
    const [z, p] = all.reduce((best, one) => (one[1] > best[1] ? one : best));
    assert.deepEqual(found.path, z);
    close(found.logPath, Math.log(p));
  });
}

test("an impossible sequence has probability zero and no best path", () => {
  const { logP, logPath, gamma } = trellis({ ...three, initial: [0, 0, 1], obs: [0, 1] });
  assert.deepEqual([logP, logPath], [-Infinity, -Infinity]);
  close(gamma, [
    [0, 0, 0],
    [0, 0, 0],
  ]);
});

test("the best path need not be the path of the most probable states", () => {
  const { gamma, path } = trellis({ ...ice, obs: [2, 0, 1, 0] });
  assert.deepEqual(
    gamma.map(([hot, cold]) => (hot > cold ? 0 : 1)),
    [0, 1, 0, 1],
  );
  assert.deepEqual(path, [0, 1, 1, 1]);
});
