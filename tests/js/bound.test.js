import assert from "node:assert/strict";
import { test } from "node:test";
import { best, bound, logJoint } from "../../em_notes/js/maths/bound.js";
import { close } from "./close.js";

const coins = { x: [5, 9, 8, 4, 7], times: [1, 1, 1, 1, 1], weight: 0.5, known: 0.5, trials: 10 };
const deaths = { x: [0, 1, 2, 3, 9], times: [162, 267, 271, 185, 1], weight: 0.64, known: 1.26, trials: 0 };

test("the joint of a row, by hand", () => {
  close(Math.exp(logJoint(coins, 0.6)[0][1]), 0.5 * 0.6 ** 5 * 0.4 ** 5);
  close(Math.exp(logJoint(deaths, 2.66)[3][1]), (0.64 * 2.66 ** 3 * Math.exp(-2.66)) / 6);
});

for (const [name, data, theta] of [
  ["coins", coins, 0.6],
  ["deaths", deaths, 2.66],
]) {
  test(`${name}: F + KL = log p, KL >= 0, and 0 at the posterior`, () => {
    const q = [0.1, 0, 1, 0.5, 0.9],
      { free, kl, logP, posterior } = bound(data, q, theta);
    close(free + kl, logP);
    assert.ok(kl > 0);
    close(bound(data, posterior, theta).kl, 0);
    close(bound(data, posterior, theta).free, logP);
  });

  test(`${name}: the M-step is the top of F, and EM climbs`, () => {
    let t = theta,
      last = -Infinity;
    for (let i = 0; i < 50; i++) {
      const { posterior, logP } = bound(
          data,
          data.x.map(() => 0.5),
          t,
        ),
        next = best(data, posterior);
      for (const away of [0.99, 1.01])
        assert.ok(bound(data, posterior, next * away).free < bound(data, posterior, next).free);
      assert.ok(logP >= last - 1e-9);
      [t, last] = [next, logP];
    }
    assert.ok(
      Math.abs(
        best(
          data,
          bound(
            data,
            data.x.map(() => 0.5),
            t,
          ).posterior,
        ) - t,
      ) < 1e-3,
    );
  });
}
