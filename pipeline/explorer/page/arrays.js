// Reads the numbers of the page: one block of half-precision numbers, in base64.
"use strict";

/** Returns the float32 number of each of the 65,536 half-precision bit patterns. */
function halfPrecisionTable() {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction ? NaN : Infinity
          : (1 + fraction / 1024) * 2 ** (exponent - 15);
    table[bits] = bits & 32768 ? -size : size;
  }
  return table;
}

/** Returns the bytes that are written in base64. */
function bytesOf(base64) {
  const text = atob(base64.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/**
 * Returns arrays by name: {values: Float32Array, shape}.
 *
 * @param {Uint8Array} bytes the low byte of each number first.
 * @param {Object} places by name: {start, shape, exponent}, start in bytes. With an exponent, a
 *   number has two bytes and is what these hold times 2 ** exponent, so that small numbers lose no
 *   digits and large ones do not overflow; without one, it has four bytes.
 */
function readArrays(bytes, places) {
  const view = new DataView(bytes.buffer);
  const table = halfPrecisionTable();
  const arrays = {};
  for (const [name, { start, shape, exponent }] of Object.entries(places)) {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    const factor = 2 ** exponent;
    for (let i = 0; i < values.length; i++) {
      values[i] =
        exponent === undefined
          ? view.getFloat32(start + 4 * i, true)
          : factor * table[view.getUint16(start + 2 * i, true)];
    }
    arrays[name] = { values, shape };
  }
  return arrays;
}
