// Numbers, lists and lists of lists, equal to a tolerance relative to 1 or to their size.
import assert from "node:assert/strict";

export function close(found, wanted, tolerance = 1e-10) {
  if (Array.isArray(wanted)) {
    assert.equal(found.length, wanted.length);
    wanted.forEach((w, i) => close(found[i], w, tolerance));
  } else
    assert.ok(
      Object.is(found, wanted) || Math.abs(found - wanted) <= tolerance * Math.max(1, Math.abs(wanted)),
      `${found}, expected ${wanted}`,
    );
}
