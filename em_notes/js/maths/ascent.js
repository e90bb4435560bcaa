// Two Gaussians of known weights and one known spread; theta = [mean, mean] is sought. Row i counts times[i] times.
import { dot, posterior, sum } from "./sums.js";

const parts = ({ x, weights, sd }, theta) =>
  x.map((v) =>
    posterior(
      theta.map((m, j) => Math.log(weights[j]) - 0.5 * ((v - m) / sd) ** 2 - Math.log(sd) - 0.5 * Math.log(2 * Math.PI)),
    ),
  );

export const logLikelihood = (data, theta) =>
  dot(
    data.times,
    parts(data, theta).map(([, v]) => v),
  );

// The score (Fisher's identity) and the matrix of second derivatives of the log-likelihood
export function slopes({ x, times, sd, ...data }, theta) {
  const gradient = [0, 0],
    hessian = [
      [0, 0],
      [0, 0],
    ];
  parts({ x, sd, ...data }, theta).forEach(([r], i) => {
    const u = theta.map((m) => (x[i] - m) / sd ** 2);
    for (const j of [0, 1]) {
      gradient[j] += times[i] * r[j] * u[j];
      hessian[j][j] += times[i] * r[j] * (u[j] ** 2 - 1 / sd ** 2);
      for (const l of [0, 1]) hessian[j][l] -= times[i] * r[j] * r[l] * u[j] * u[l];
    }
  });
  return { gradient, hessian };
}

export const STEPS = {
  em(data, theta) {
    const r = parts(data, theta).map(([p], i) => p.map((v) => v * data.times[i]));
    return [0, 1].map(
      (j) =>
        dot(
          r.map((row) => row[j]),
          data.x,
        ) / sum(r.map((row) => row[j])),
    );
  },
  // rate: the length of a step, in units of sd^2 / n, where EM with one component would stand still after one step of 1
  gradient(data, theta, rate) {
    const { gradient } = slopes(data, theta),
      scale = (rate * data.sd ** 2) / sum(data.times);
    return theta.map((m, j) => m + scale * gradient[j]);
  },
  newton(data, theta) {
    const {
        gradient: [g, h],
        hessian: [[a, b], [, c]],
      } = slopes(data, theta),
      det = a * c - b * b;
    return [theta[0] - (c * g - b * h) / det, theta[1] - (a * h - b * g) / det];
  },
};

// theta after 0, 1, ... steps: at most n, fewer when they stand still or leave the numbers
export function path(data, method, start, n, rate = 1) {
  const thetas = [start];
  while (thetas.length <= n) {
    const last = thetas.at(-1),
      next = STEPS[method](data, last, rate);
    if (!next.every((v) => Math.abs(v) < 1e6)) break;
    thetas.push(next);
    if (Math.hypot(next[0] - last[0], next[1] - last[1]) < 1e-9 * data.sd) break;
  }
  return thetas;
}

// What lies at theta: "maximum", "saddle", "minimum", or "slope" where it isn't flat
export function kindOf(data, theta) {
  const {
      gradient,
      hessian: [[a, b], [, c]],
    } = slopes(data, theta),
    n = sum(data.times),
    det = a * c - b * b;
  if (Math.hypot(...gradient) * data.sd > 1e-4 * n) return "slope";
  return det < 0 ? "saddle" : a + c < 0 ? "maximum" : "minimum";
}

// Lines of equal height of a table f[i][j] at (xs[i], ys[j]): pairs of points, by marching squares
export function contour(xs, ys, f, level) {
  const pairs = [];
  for (let i = 0; i + 1 < xs.length; i++)
    for (let j = 0; j + 1 < ys.length; j++) {
      const corners = [
          [i, j],
          [i + 1, j],
          [i + 1, j + 1],
          [i, j + 1],
        ],
        cuts = [];
      corners.forEach(([a, b], e) => {
        const [c, d] = corners[(e + 1) % 4],
          u = f[a][b] - level,
          v = f[c][d] - level;
        if (u > 0 !== v > 0) cuts.push([xs[a] + ((xs[c] - xs[a]) * u) / (u - v), ys[b] + ((ys[d] - ys[b]) * u) / (u - v)]);
      });
      for (let e = 0; e + 1 < cuts.length; e += 2) pairs.push([cuts[e], cuts[e + 1]]);
    }
  return pairs;
}
