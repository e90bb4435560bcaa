// Sums that several figures need.

export const sum = (a) => a.reduce((s, v) => s + v, 0);
export const dot = (a, b) => a.reduce((s, v, i) => s + v * b[i], 0);
export const xlogy = (x, y) => (x === 0 ? 0 : x * Math.log(y));

export function logSumExp(a) {
  // -inf for a row of -inf
  const top = Math.max(...a);
  return top === -Infinity ? top : top + Math.log(sum(a.map((v) => Math.exp(v - top))));
}

// log p(x) = log sum_z p(x, z) and the posterior p(z | x) of one row of log p(x, z)
export function posterior(logJoint) {
  const logP = logSumExp(logJoint);
  return [logJoint.map((a) => (logP === -Infinity ? 0 : Math.exp(a - logP))), logP];
}

// F = E_q[log p(x, z)] + H(q) of one row, where q = 0 costs nothing
export const freeEnergy = (q, logJoint) => sum(q.map((v, z) => (v === 0 ? 0 : v * logJoint[z] - v * Math.log(v))));
