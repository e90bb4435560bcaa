// Rows x, each of one of two kinds. The first kind's mean and the weight are known; theta is the second's.
// With trials, a row is so many heads of `trials` tosses in their order, else a Poisson count.
import { dot, freeEnergy, posterior, sum, xlogy } from "./sums.js";

const logFactorial = (n) => sum(Array.from({ length: n }, (_, i) => Math.log(i + 1)));

const logProb = (x, mean, trials) =>
  trials ? xlogy(x, mean) + xlogy(trials - x, 1 - mean) : xlogy(x, mean) - mean - logFactorial(x);

// (n, 2) log p(x_i, z)
export function logJoint({ x, weight, known, trials }, theta) {
  return x.map((v) => [Math.log(1 - weight) + logProb(v, known, trials), Math.log(weight) + logProb(v, theta, trials)]);
}

// q (n,): the probability that row i is of the second kind. All sums count row i times[i] times.
export function bound(data, q, theta) {
  const rows = logJoint(data, theta),
    exact = rows.map(posterior);
  const free = dot(
    data.times,
    rows.map((row, i) => freeEnergy([1 - q[i], q[i]], row)),
  );
  const logP = dot(
    data.times,
    exact.map(([, v]) => v),
  );
  const kl = dot(
    data.times,
    exact.map(([p], i) => xlogy(q[i], q[i] / p[1]) + xlogy(1 - q[i], (1 - q[i]) / p[0])),
  );
  return { free, kl, logP, posterior: exact.map(([p]) => p[1]) };
}

// The theta that is best for q: the mean of the rows, each counted by its share
export function best({ x, times, trials }, q) {
  const share = times.map((n, i) => n * q[i]);
  return dot(share, x) / sum(share) / (trials || 1);
}
