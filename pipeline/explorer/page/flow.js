// The class transport: a flow of the unspecified code, both ways, as in vaegan/model/flow.py and
// vaegan/model/transport.py. Codes are Float32Array; a label is a number in [0, K).
"use strict";

const LOG_SCALE = 1.5; // of vaegan/model/flow.py

/** Returns M v for matrix number `which` of an array (K, R, C). */
function multiply({ values, shape }, which, vector) {
  const [rows, columns] = shape.slice(-2);
  const start = which * rows * columns;
  const out = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += values[start + r * columns + c] * vector[c];
    out[r] = sum;
  }
  return out;
}

/** Solves M x = v for matrix number `which` of an array (K, D, D), by elimination with pivots. */
function solve({ values, shape }, which, vector) {
  const size = shape[shape.length - 1];
  const matrix = Float64Array.from(values.subarray(which * size * size, (which + 1) * size * size));
  const right = Float64Array.from(vector);
  for (let p = 0; p < size; p++) {
    let best = p;
    for (let r = p + 1; r < size; r++) {
      if (Math.abs(matrix[r * size + p]) > Math.abs(matrix[best * size + p])) best = r;
    }
    if (best !== p) {
      for (let c = 0; c < size; c++) {
        const kept = matrix[p * size + c];
        matrix[p * size + c] = matrix[best * size + c];
        matrix[best * size + c] = kept;
      }
      [right[p], right[best]] = [right[best], right[p]];
    }
    for (let r = p + 1; r < size; r++) {
      const factor = matrix[r * size + p] / matrix[p * size + p];
      if (factor === 0) continue;
      for (let c = p; c < size; c++) matrix[r * size + c] -= factor * matrix[p * size + c];
      right[r] -= factor * right[p];
    }
  }
  for (let r = size - 1; r >= 0; r--) {
    for (let c = r + 1; c < size; c++) right[r] -= matrix[r * size + c] * right[c];
    right[r] /= matrix[r * size + r];
  }
  return Float32Array.from(right);
}

/** z -> A_y (z - b_y). */
class Affine {
  constructor(matrix, shift) {
    this.matrix = matrix;
    this.shift = shift;
  }

  shiftOf(label) {
    const size = this.shift.shape[1];
    return this.shift.values.subarray(label * size, (label + 1) * size);
  }

  forward(code, label) {
    const shift = this.shiftOf(label);
    return multiply(this.matrix, label, code.map((value, i) => value - shift[i]));
  }

  inverse(code, label) {
    const shift = this.shiftOf(label);
    return solve(this.matrix, label, code).map((value, i) => value + shift[i]);
  }
}

/** z -> z R with an orthogonal R, or with its transpose. */
class Rotation {
  constructor(matrix, which, transposed) {
    this.matrix = matrix;
    this.which = which;
    this.transposed = transposed;
  }

  forward(code) {
    return this.rotate(code, this.transposed);
  }

  inverse(code) {
    return this.rotate(code, !this.transposed);
  }

  rotate(code, transposed) {
    if (transposed) return multiply(this.matrix, this.which, code);
    const size = code.length;
    const start = this.which * size * size;
    const out = new Float32Array(size);
    for (let c = 0; c < size; c++) {
      let sum = 0;
      for (let r = 0; r < size; r++) sum += code[r] * this.matrix.values[start + r * size + c];
      out[c] = sum;
    }
    return out;
  }
}

/** Scales and shifts one half of a code, given the other half and the class. */
class Coupling {
  constructor(layers, size, second) {
    this.layers = layers;
    this.first = size >> 1;
    this.second = second;
  }

  forward(code, label) {
    return this.move(code, label, (moved, shift, log) => moved * Math.exp(log) + shift);
  }

  inverse(code, label) {
    return this.move(code, label, (moved, shift, log) => (moved - shift) * Math.exp(-log));
  }

  move(code, label, change) {
    const halves = [code.subarray(0, this.first), code.subarray(this.first)];
    const [kept, moved] = this.second ? [halves[1], halves[0]] : halves;
    const input = new Float32Array(this.layers[0].weight.shape[1]);
    input.set(kept);
    input[kept.length + label] = 1;
    let hidden = input;
    this.layers.forEach((layer, i) => {
      hidden = linear(hidden, layer);
      if (i < this.layers.length - 1) relu(hidden);
    });
    const out = Float32Array.from(code);
    const start = this.second ? 0 : this.first;
    for (let i = 0; i < moved.length; i++) {
      const log = LOG_SCALE * Math.tanh(hidden[moved.length + i] / LOG_SCALE);
      out[start + i] = change(moved[i], hidden[i], log);
    }
    return out;
  }
}

/** Removes from each code what it says about the other, and restores it. */
class Transport {
  constructor(arrays, places, size) {
    const array = (name) => arrays[`transport.${name}`];
    this.classes = layerOf(arrays, { name: "transport.classes" });
    this.styleInIdentity = array("style_in_identity");
    this.layers = [new Affine(array("matrix"), array("shift"))];
    for (let i = 0; i < places.couplings.length; i += 2) {
      const [first, second] = [0, 1].map(
        (half) =>
          new Coupling(
            places.couplings[i + half].map((name) => layerOf(arrays, { name })), size, half === 1,
          ),
      );
      const rotation = [false, true].map((back) => new Rotation(array("rotations"), i / 2, back));
      this.layers.push(rotation[0], first, second, rotation[1]);
    }
    this.layers.push(new Affine(array("last_matrix"), array("last_shift")));
  }

  classify(specified) {
    const scores = linear(specified, this.classes);
    return scores.indexOf(Math.max(...scores));
  }

  forward(code, label) {
    return this.layers.reduce((moved, layer) => layer.forward(moved, label), code);
  }

  inverse(code, label) {
    return this.layers.reduceRight((moved, layer) => layer.inverse(moved, label), code);
  }

  separate(specified, unspecified) {
    const label = this.classify(specified);
    const style = this.forward(unspecified, label);
    const share = multiply(this.styleInIdentity, label, style);
    const pure = specified.map((value, i) => value - share[i]);
    return [this.classify(pure) === label ? pure : specified, style];
  }

  restoreStyle(specified, unspecified) {
    return this.inverse(unspecified, this.classify(specified));
  }
}
