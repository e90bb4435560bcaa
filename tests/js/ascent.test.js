import assert from "node:assert/strict";
import { test } from "node:test";
import { STEPS, contour, kindOf, logLikelihood, path, slopes } from "../../em_notes/js/maths/ascent.js";
import { close } from "./close.js";

const data = { x: [45, 50, 55, 60, 75, 80, 85, 90], times: [3, 9, 11, 4, 12, 25, 18, 6], weights: [0.36, 0.64], sd: 5.87 };

test("slopes are those of finite differences", () => {
  const at = [58, 77],
    h = 1e-4,
    shifted = (j, by) => at.map((v, l) => v + (l === j ? by : 0));
  const { gradient, hessian } = slopes(data, at);
  for (const j of [0, 1]) {
    close(gradient[j], (logLikelihood(data, shifted(j, h)) - logLikelihood(data, shifted(j, -h))) / (2 * h), 1e-6);
    const [up, down] = [h, -h].map((by) => slopes(data, shifted(j, by)).gradient);
    close(
      hessian[j],
      up.map((v, l) => (v - down[l]) / (2 * h)),
      1e-6,
    );
  }
});

test("EM never descends, and ends where the slope is zero", () => {
  const thetas = path(data, "em", [74, 70], 200),
    heights = thetas.map((t) => logLikelihood(data, t));
  heights.slice(1).forEach((v, i) => assert.ok(v >= heights[i] - 1e-9));
  assert.equal(kindOf(data, thetas.at(-1)), "maximum");
  close(STEPS.em(data, thetas.at(-1)), thetas.at(-1), 1e-8);
});

test("an EM step is a gradient step scaled by sd^2 over the expected count", () => {
  const at = [58, 77],
    { gradient } = slopes(data, at),
    step = STEPS.em(data, at);
  for (const j of [0, 1]) {
    // n_j (step - at) = sd^2 gradient: the counts are both positive and add up
    const n = (data.sd ** 2 * gradient[j]) / (step[j] - at[j]);
    assert.ok(n > 0 && n < 88);
  }
});

test("the tops with exchanged names differ, a saddle lies between, and Newton finds what is near", () => {
  const [right, wrong] = [
    [50, 80],
    [80, 50],
  ].map((start) => path(data, "em", start, 500).at(-1));
  assert.ok(logLikelihood(data, right) > logLikelihood(data, wrong) + 5);
  const near = path(
    data,
    "newton",
    right.map((v) => v + 0.5),
    50,
  );
  assert.ok(near.length < 10);
  close(near.at(-1), right, 1e-6);
  const middle = path(data, "newton", [72, 72], 100).at(-1);
  assert.equal(kindOf(data, middle), "saddle");
});

test("a contour of a plane is a straight line", () => {
  const xs = [0, 1, 2, 3],
    pairs = contour(
      xs,
      xs,
      xs.map((a) => xs.map((b) => a + 2 * b)),
      3.5,
    );
  assert.ok(pairs.length > 2);
  for (const [a, b] of pairs.flat()) close(a + 2 * b, 3.5);
});
