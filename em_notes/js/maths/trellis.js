// A hidden Markov chain on a few steps: initial (k), trans (k, k), emit (k, v), obs (n) symbols from 0.
import { dot, sum } from "./sums.js";

const times = (a, b) => a.map((v, i) => v * b[i]);
const shares = (a, total = sum(a)) => a.map((v) => (total > 0 ? v / total : 0));

export function trellis({ initial, trans, emit, obs }) {
  const n = obs.length,
    states = initial.map((_, j) => j),
    seen = obs.map((v) => emit.map((row) => row[v]));
  const column = (j) => trans.map((row) => row[j]);
  // forward: filtered = p(z_t | x_1..t), norm = p(x_t | x_1..t-1)
  const filtered = [],
    predicted = [],
    norm = [];
  for (let t = 0; t < n; t++) {
    predicted.push(t ? states.map((j) => dot(filtered[t - 1], column(j))) : initial);
    const joint = times(predicted[t], seen[t]);
    norm.push(sum(joint));
    filtered.push(shares(joint));
  }
  // backward: beta = p(x_t+1..n | z_t) / p(x_t+1..n | x_1..t)
  const beta = Array(n).fill(states.map(() => 1));
  for (let t = n - 2; t >= 0; t--) {
    const ahead = times(seen[t + 1], beta[t + 1]);
    beta[t] = trans.map((row) => (norm[t + 1] > 0 ? dot(row, ahead) / norm[t + 1] : 0));
  }
  const gamma = filtered.map((f, t) => shares(times(f, beta[t])));
  const xi = filtered.slice(1).map((_, t) => {
    const table = trans.map((row, i) => row.map((a, j) => filtered[t][i] * a * seen[t + 1][j] * beta[t + 1][j])),
      total = sum(table.flat());
    return table.map((row) => shares(row, total));
  });
  // the best path: d = max log p(z_1..t, x_1..t), then back along the choices
  const log = (p) => p.map(Math.log),
    d = [log(times(initial, seen[0]))];
  for (let t = 1; t < n; t++) {
    d.push(states.map((j) => Math.max(...states.map((i) => d[t - 1][i] + Math.log(trans[i][j]))) + Math.log(seen[t][j])));
  }
  const top = (a) => a.indexOf(Math.max(...a)),
    path = Array(n);
  path[n - 1] = top(d[n - 1]);
  for (let t = n - 2; t >= 0; t--) path[t] = top(states.map((i) => d[t][i] + Math.log(trans[i][path[t + 1]])));
  return { predicted, filtered, norm, beta, gamma, xi, path, logPath: Math.max(...d[n - 1]), logP: sum(log(norm)) };
}
