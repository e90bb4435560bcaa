// A mixture of Gaussians in the plane. theta = { weights (k), means (k, 2), covs (k, 2, 2) }; x (n, 2); resp (n, k).
import { freeEnergy, posterior, sum } from "./sums.js";

// log N(x; mean, cov), by the Cholesky factor; NaN where cov is not positive definite
function logDensity(mean, [[a, b], [, c]]) {
  const l = Math.sqrt(a),
    m = b / l,
    o = Math.sqrt(c - m * m),
    base = -Math.log(2 * Math.PI) - Math.log(l) - Math.log(o);
  return (x) => {
    const u = (x[0] - mean[0]) / l,
      v = (x[1] - mean[1] - m * u) / o;
    return base - 0.5 * (u * u + v * v);
  };
}

export function logJoint(x, { weights, means, covs }) {
  // (n, k)
  const densities = means.map((mean, j) => logDensity(mean, covs[j]));
  return x.map((row) => densities.map((f, j) => Math.log(weights[j]) + f(row)));
}

export function eStep(x, theta) {
  const rows = logJoint(x, theta).map(posterior);
  return { resp: rows.map(([r]) => r), logP: sum(rows.map(([, v]) => v)) };
}

export function mStep(x, resp) {
  const counts = resp[0].map((_, j) => sum(resp.map((r) => r[j])));
  const average = (f) => counts.map((n, j) => sum(x.map((row, i) => resp[i][j] * f(row, j))) / n);
  const [m0, m1] = [0, 1].map((a) => average((row) => row[a]));
  const moment = (a, b) => average((row, j) => (row[a] - [m0, m1][a][j]) * (row[b] - [m0, m1][b][j]));
  const [s00, s01, s11] = [moment(0, 0), moment(0, 1), moment(1, 1)];
  return {
    weights: counts.map((n) => n / sum(counts)),
    means: m0.map((v, j) => [v, m1[j]]),
    covs: s00.map((v, j) => [
      [v, s01[j]],
      [s01[j], s11[j]],
    ]),
  };
}

// F(q, theta): under log p(x | theta), and equal to it where resp is theta's own posterior
export const bound = (x, resp, theta) => sum(logJoint(x, theta).map((row, i) => freeEnergy(resp[i], row)));

export function moments(x) {
  // of all points: the mean and the covariance
  const {
    means: [mean],
    covs: [cov],
  } = mStep(
    x,
    x.map(() => [1]),
  );
  return { mean, cov };
}

// Where the reader's means begin: equal weights, and for each component the variances of all points over k
export function begin(x, means) {
  const {
      cov: [[a], [, c]],
    } = moments(x),
    k = means.length;
  return {
    weights: means.map(() => 1 / k),
    means,
    covs: means.map(() => [
      [a / k, 0],
      [0, c / k],
    ]),
  };
}

// Has a component fallen onto a point or a line, where the likelihood has no bound?
export function collapsed(x, { covs }) {
  const {
    cov: [[a], [, c]],
  } = moments(x);
  return covs.map(([[p, q], [, r]]) => !(p * r - q * q > 1e-7 * a * c));
}

// Points of the ellipse at Mahalanobis distance `level`
export function ellipse(mean, [[a, b], [, c]], level, n = 60) {
  const l = Math.sqrt(a),
    m = b / l,
    o = Math.sqrt(Math.max(0, c - m * m));
  return Array.from({ length: n + 1 }, (_, i) => {
    const u = level * Math.cos((2 * Math.PI * i) / n),
      v = level * Math.sin((2 * Math.PI * i) / n);
    return [mean[0] + l * u, mean[1] + m * u + o * v];
  });
}

// k different points, by a small generator with a seed (mulberry32)
export function draw(x, k, seed) {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const left = x.map((_, i) => i);
  return Array.from({ length: k }, () => x[left.splice(Math.floor(random() * left.length), 1)[0]]);
}
