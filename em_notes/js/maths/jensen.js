// The Jensen gap of a finite table.
import { dot } from "./sums.js";

export const FUNCTIONS = {
  log: Math.log,
  "square root": Math.sqrt,
  square: (x) => x * x,
  exp: Math.exp,
};

// f of the average, average of f, and gap = E[f(X)] - f(E[X]); p are probabilities of the values x
export function jensen(name, x, p) {
  const f = FUNCTIONS[name],
    mean = dot(x, p),
    ofMean = f(mean);
  const meanOf = x.reduce((s, v, i) => (p[i] > 0 ? s + p[i] * f(v) : s), 0);
  return { mean, ofMean, meanOf, gap: meanOf - ofMean };
}
