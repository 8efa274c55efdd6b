// Layers of the networks, as in vaegan/model/networks.py, for one image at a time.
// A feature map is {values: Float32Array, shape: [channels, height, width]}.
"use strict";

const NORM_EPSILON = 1e-5; // of torch's batch normalisation

/**
 * Returns out[m * N + n] = bias[m] + sum_k left[m * K + k] * right[n * K + k].
 *
 * In blocks of 4 x 2, 4 x 1 and 1 x 4 results: each number that is read is used several times, and
 * no sum waits for another one.
 */
function product(left, right, bias, M, N, K) {
  const out = new Float32Array(M * N);
  const rows = M & ~3;
  const pairs = N & ~1;
  for (let m = 0; m < rows; m += 4) {
    const l0 = m * K, l1 = l0 + K, l2 = l1 + K, l3 = l2 + K;
    for (let n = 0; n < pairs; n += 2) {
      const r0 = n * K, r1 = r0 + K;
      let a0 = bias[m], a1 = bias[m + 1], a2 = bias[m + 2], a3 = bias[m + 3];
      let b0 = a0, b1 = a1, b2 = a2, b3 = a3;
      for (let k = 0; k < K; k++) {
        const x = right[r0 + k], y = right[r1 + k];
        const w0 = left[l0 + k], w1 = left[l1 + k], w2 = left[l2 + k], w3 = left[l3 + k];
        a0 += w0 * x; a1 += w1 * x; a2 += w2 * x; a3 += w3 * x;
        b0 += w0 * y; b1 += w1 * y; b2 += w2 * y; b3 += w3 * y;
      }
      const o = m * N + n;
      out[o] = a0; out[o + N] = a1; out[o + 2 * N] = a2; out[o + 3 * N] = a3;
      out[o + 1] = b0; out[o + N + 1] = b1; out[o + 2 * N + 1] = b2; out[o + 3 * N + 1] = b3;
    }
    for (let n = pairs; n < N; n++) {
      const r = n * K;
      let a0 = bias[m], a1 = bias[m + 1], a2 = bias[m + 2], a3 = bias[m + 3];
      for (let k = 0; k < K; k++) {
        const x = right[r + k];
        a0 += left[l0 + k] * x; a1 += left[l1 + k] * x;
        a2 += left[l2 + k] * x; a3 += left[l3 + k] * x;
      }
      const o = m * N + n;
      out[o] = a0; out[o + N] = a1; out[o + 2 * N] = a2; out[o + 3 * N] = a3;
    }
  }
  for (let m = rows; m < M; m++) {
    const l = m * K;
    const fours = N & ~3;
    for (let n = 0; n < fours; n += 4) {
      const r0 = n * K, r1 = r0 + K, r2 = r1 + K, r3 = r2 + K;
      let a0 = bias[m], a1 = a0, a2 = a0, a3 = a0;
      for (let k = 0; k < K; k++) {
        const w = left[l + k];
        a0 += w * right[r0 + k]; a1 += w * right[r1 + k];
        a2 += w * right[r2 + k]; a3 += w * right[r3 + k];
      }
      const o = m * N + n;
      out[o] = a0; out[o + 1] = a1; out[o + 2] = a2; out[o + 3] = a3;
    }
    for (let n = fours; n < N; n++) {
      let sum = bias[m];
      for (let k = 0; k < K; k++) sum += left[l + k] * right[n * K + k];
      out[m * N + n] = sum;
    }
  }
  return out;
}

/**
 * Copies the patch under each position of a filter into a row: (rows * columns, C * high * wide).
 *
 * @param {number[]} size of the filter, [high, wide].
 * @param {number[]} padding zeros above and left of the input; those below and right follow.
 */
function patches(input, size, stride, padding, rows, columns) {
  const [channels, height, width] = input.shape;
  const [high, wide] = size;
  const out = new Float32Array(rows * columns * channels * high * wide);
  let at = 0;
  for (let r = 0; r < rows; r++) {
    const top = r * stride - padding[0];
    for (let q = 0; q < columns; q++) {
      const left = q * stride - padding[1];
      for (let c = 0; c < channels; c++) {
        for (let y = top; y < top + high; y++) {
          const inside = y >= 0 && y < height;
          const line = (c * height + y) * width;
          for (let x = left; x < left + wide; x++, at++) {
            if (inside && x >= 0 && x < width) out[at] = input.values[line + x];
          }
        }
      }
    }
  }
  return out;
}

/**
 * Convolution with weights (outputs, C, high, wide); writes its results every `apart` rows and
 * columns of `out`, a feature map, from [row, column] `first` on.
 */
function convolveInto(out, input, { weight, bias, stride, padding }, first = [0, 0], apart = 1) {
  const [outputs, channels, ...size] = weight.shape;
  const [, height, width] = out.shape;
  const rows = Math.ceil((height - first[0]) / apart);
  const columns = Math.ceil((width - first[1]) / apart);
  const under = patches(input, size, stride, padding, rows, columns);
  const length = channels * size[0] * size[1];
  const results = product(weight.values, under, bias, outputs, rows * columns, length);
  let at = 0;
  for (let o = 0; o < outputs; o++) {
    for (let r = 0; r < rows; r++) {
      const line = (o * height + first[0] + r * apart) * width + first[1];
      for (let q = 0; q < columns; q++) out.values[line + q * apart] = results[at++];
    }
  }
}

function emptyMap(shape) {
  return { values: new Float32Array(shape[0] * shape[1] * shape[2]), shape };
}

/** Convolution with a square filter of odd size and as many zeros around as keep the middle. */
function convolve(input, layer) {
  const { weight, stride, padding } = layer;
  const side = (length) => Math.floor((length + 2 * padding - weight.shape[2]) / stride) + 1;
  const out = emptyMap([weight.shape[0], side(input.shape[1]), side(input.shape[2])]);
  convolveInto(out, input, { ...layer, padding: [padding, padding] });
  return out;
}

/** Turns the weights (C, outputs, h, w) of a transposed convolution into (outputs, C, h, w). */
function outputsFirst({ values, shape: [channels, outputs, ...size] }) {
  const area = size[0] * size[1];
  const turned = new Float32Array(values.length);
  for (let c = 0; c < channels; c++) {
    for (let o = 0; o < outputs; o++) {
      const from = (c * outputs + o) * area;
      turned.set(values.subarray(from, from + area), (o * channels + c) * area);
    }
  }
  return { values: turned, shape: [outputs, channels, ...size] };
}

/**
 * Splits a transposed convolution of filter size 5 and stride 2 into four convolutions, one for
 * each phase of its result: even or odd rows, even or odd columns.
 *
 * Rows 4, 2, 0 of the filter give the even rows of the result from the rows before, at and after
 * a place of the input; rows 3, 1 give the odd ones from the rows at and after it.
 */
function phasesOf({ weight, bias }) {
  const [outputs, channels] = weight.shape;
  const phases = [];
  for (const first of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
    const [high, wide] = first.map((odd) => 3 - odd);
    const values = new Float32Array(outputs * channels * high * wide);
    let at = 0;
    for (let filter = 0; filter < outputs * channels; filter++) {
      for (let i = 0; i < high; i++) {
        for (let j = 0; j < wide; j++) {
          const row = 2 * (high - 1 - i) + first[0];
          const column = 2 * (wide - 1 - j) + first[1];
          values[at++] = weight.values[filter * 25 + row * 5 + column];
        }
      }
    }
    const shape = [outputs, channels, high, wide];
    const padding = first.map((odd) => 1 - odd);
    phases.push({ first, weight: { values, shape }, bias, stride: 1, padding });
  }
  return phases;
}

/** Transposed convolution of filter size 5 and stride 2: (2H - 1 + extra, 2W - 1 + extra). */
function upsample(input, { phases, extra }) {
  const sides = [0, 1].map((axis) => 2 * input.shape[1 + axis] - 1 + extra[axis]);
  const out = emptyMap([phases[0].weight.shape[0], ...sides]);
  for (const phase of phases) convolveInto(out, input, phase, phase.first, 2);
  return out;
}

/** Fully connected layer with weights (outputs, inputs). */
function linear(values, { weight, bias }) {
  const [outputs, inputs] = weight.shape;
  return product(weight.values, values, bias, outputs, 1, inputs);
}

function relu(values) {
  for (let i = 0; i < values.length; i++) if (values[i] < 0) values[i] = 0;
  return values;
}

function sigmoid(values) {
  return values.map((value) => 1 / (1 + Math.exp(-value)));
}

/**
 * Returns weights and bias that include the batch normalisation after a layer.
 *
 * @param {Object} layer weight {values, shape} with the outputs first, and bias, one per output.
 * @param {Object} norm Float32Arrays mean and variance, and scale and shift if it learned them, a
 *   number per channel; each channel has as many outputs as any other, side by side.
 */
function foldNorm({ weight, bias }, norm) {
  const outputs = weight.shape[0];
  const each = weight.values.length / outputs;
  const perChannel = outputs / norm.mean.length;
  const values = new Float32Array(weight.values.length);
  const shifted = new Float32Array(outputs);
  for (let o = 0; o < outputs; o++) {
    const channel = Math.floor(o / perChannel);
    const scale = (norm.scale?.[channel] ?? 1) / Math.sqrt(norm.variance[channel] + NORM_EPSILON);
    for (let i = o * each; i < (o + 1) * each; i++) values[i] = weight.values[i] * scale;
    shifted[o] = (bias[o] - norm.mean[channel]) * scale + (norm.shift?.[channel] ?? 0);
  }
  return { weight: { values, shape: weight.shape }, bias: shifted };
}
