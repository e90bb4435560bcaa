import assert from "node:assert/strict";
import { test } from "node:test";
import { begin, bound, collapsed, draw, eStep, ellipse, logJoint, mStep, moments } from "../../em_notes/js/maths/mixture.js";
import { close } from "./close.js";

const x = draw(
  [...Array(40).keys()].map((i) => [Math.sin(7 * i) + (i % 2) * 3, Math.cos(3 * i) - (i % 2)]),
  30,
  1,
);
const run = (theta, n) => {
  for (let t = 0; t < n; t++) theta = mStep(x, eStep(x, theta).resp);
  return theta;
};

test("the density of a Gaussian, by hand", () => {
  const theta = {
    weights: [1],
    means: [[1, 2]],
    covs: [
      [
        [4, 1],
        [1, 2],
      ],
    ],
  }; // determinant 7, inverse [[2, -1], [-1, 4]] / 7
  close(logJoint([[2, 4]], theta), [[-Math.log(2 * Math.PI) - 0.5 * Math.log(7) - (0.5 * (2 - 4 + 16)) / 7]]);
});

test("F never falls, at either half step, and touches log p after the E-step", () => {
  let theta = begin(x, [x[0], x[1]]),
    last = -Infinity;
  for (let t = 0; t < 40; t++) {
    const { resp, logP } = eStep(x, theta);
    close(bound(x, resp, theta), logP);
    assert.ok(logP >= last - 1e-9);
    theta = mStep(x, resp);
    last = bound(x, resp, theta);
    assert.ok(last >= logP - 1e-9 && last <= eStep(x, theta).logP + 1e-9);
  }
});

test("one component has the moments of all points", () => {
  const { means, covs } = run(begin(x, [x[3]]), 1),
    { mean, cov } = moments(x);
  close(means[0], mean);
  close(covs[0], cov);
});

test("names don't matter", () => {
  const [a, b] = [run(begin(x, [x[0], x[1]]), 20), run(begin(x, [x[1], x[0]]), 20)];
  close(a.means, [...b.means].reverse());
  close(a.weights, [...b.weights].reverse());
});

test("a component on a line has collapsed", () => {
  assert.deepEqual(
    collapsed(x, {
      covs: [
        [
          [1, 0],
          [0, 1],
        ],
        [
          [1, 1],
          [1, 1],
        ],
        [
          [0, 0],
          [0, 0],
        ],
        [
          [NaN, 0],
          [0, 1],
        ],
      ],
    }),
    [false, true, true, true],
  );
});

test("an ellipse has one Mahalanobis distance", () => {
  for (const [u, v] of ellipse(
    [1, 2],
    [
      [4, 1],
      [1, 2],
    ],
    2,
  )) {
    const [a, b] = [u - 1, v - 2];
    close((2 * a * a - 2 * a * b + 4 * b * b) / 7, 4);
  }
});

test("drawn points are different ones, and the same for the same seed", () => {
  const first = draw(x, 6, 5);
  assert.equal(new Set(first).size, 6);
  assert.deepEqual(draw(x, 6, 5), first);
  assert.notDeepEqual(draw(x, 6, 6), first);
});
