import assert from "node:assert/strict";
import { test } from "node:test";
import { FUNCTIONS, jensen } from "../../em_notes/js/maths/jensen.js";
import { close } from "./close.js";

test("the variance is the gap of the square", () => {
  const { mean, gap } = jensen("square", [1, 2, 6], [0.5, 0.25, 0.25]);
  close(mean, 2.5);
  close(gap, 0.5 * 1.5 ** 2 + 0.25 * 0.5 ** 2 + 0.25 * 3.5 ** 2);
});

test("the gap is negative for concave functions, positive for convex, zero for a point", () => {
  const signs = Object.fromEntries(
    Object.keys(FUNCTIONS).map((f) => [f, Math.sign(jensen(f, [0.3, 1, 2.2], [0.2, 0.5, 0.3]).gap)]),
  );
  assert.deepEqual(signs, { log: -1, "square root": -1, square: 1, exp: 1 });
  for (const f of Object.keys(FUNCTIONS)) close(jensen(f, [0.3, 2.2], [0, 1]).gap, 0);
});

test("a point of weight zero may lie where f is undefined", () => close(jensen("log", [0, 1], [0, 1]).gap, 0));
