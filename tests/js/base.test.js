import assert from "node:assert/strict";
import { test } from "node:test";
import { blend, fixed, moveEnd, snap, ticks } from "../../em_notes/js/base.js";
import { close } from "./close.js";

test("numbers are written with a true minus, and zero has none", () => {
  assert.deepEqual(
    [-1.25, -0.0001, Infinity, -Infinity, NaN].map((v) => fixed(v, 2)),
    ["−1.25", "0.00", "∞", "−∞", "undefined"],
  );
});

test("ticks lie within their range, evenly, and at round numbers", () => {
  for (const [lo, hi] of [
    [0, 1],
    [-34.05, -31.5],
    [44, 96],
    [1e-4, 3e-4],
    [-2000, -1989.9],
  ]) {
    const found = ticks(lo, hi).map(([v]) => v),
      step = found[1] - found[0];
    assert.ok(found.length >= 2 && found.length <= 8, `${found}`);
    assert.ok(found[0] >= lo - 1e-9 && found.at(-1) <= hi + 1e-9);
    close(
      found.slice(1).map((v, i) => v - found[i]),
      found.slice(1).map(() => step),
    );
    assert.ok(
      [1, 2, 5, 10].some(
        (s) => Math.abs(Number(step.toPrecision(12)) / 10 ** Math.floor(Math.log10(step * 1.0000001)) - s) < 1e-6,
      ),
      `${step}`,
    );
  }
  assert.deepEqual(
    ticks(0, 1).map(([, text]) => text),
    ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"],
  );
});

test("moving an end leaves the other shares and the sum", () => {
  const p = moveEnd([0.2, 0.3, 0.5], 1, 0.9);
  close(p, [0.2, 0.7, 0.1]);
  close(moveEnd([0.2, 0.3, 0.5], 1, 7), [0.2, 0.8, 0]); // no further than the next end
  close(moveEnd([0.2, 0.3, 0.5], 1, -1), [0.2, 0, 0.8]);
});

test("a snapped number has no tail", () => assert.equal(snap(0.30000000000000004, 0.001), 0.3));

test("pure responsibilities keep their colour", () => {
  assert.equal(blend([1, 0], ["#006BAC", "#E8A200"]), "rgb(0,107,172)");
  assert.equal(blend([0.5, 0.5], ["#000000", "#ffffff"]), "rgb(128,128,128)");
});
