// Prepares a picture for the model, as pipeline/data/conversion.py does: a plane is {values, width,
// height} with values from 0 to 255; a picture is one plane (grey) or three (colour).
"use strict";

const LARGEST = 2048; // pixels of a side of an opened picture; larger ones are scaled down first
const INK = 64; // level above which a pixel belongs to the strokes, for their bounding box

/** Pillow's bicubic filter, with a = -0.5. */
function bicubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

/** Returns for each pixel of a line its first source pixel and the weights of those from it on. */
function weightsOf(start, end, length, pixels) {
  const step = (end - start) / pixels;
  const stretch = Math.max(step, 1); // the filter widens where the line shrinks
  const reach = 2 * stretch;
  return Array.from({ length: pixels }, (_, i) => {
    const centre = start + (i + 0.5) * step;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const last = Math.min(length, Math.floor(centre + reach + 0.5));
    const weights = [];
    for (let x = first; x < last; x++) weights.push(bicubic((x - centre + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/**
 * Resizes a part of a plane, as Pillow's resize with BICUBIC: first across, then down.
 *
 * @param {number[]} box of the source: left, top, right, bottom.
 */
function resample(plane, box, width, height) {
  const level = (value) => Math.min(255, Math.max(0, Math.floor(value + 0.5)));
  const [left, top, right, bottom] = box;
  const across = weightsOf(left, right, plane.width, width);
  const down = weightsOf(top, bottom, plane.height, height);
  const narrow = new Float32Array(width * plane.height);
  for (let y = 0; y < plane.height; y++) {
    across.forEach(({ first, weights }, x) => {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * plane.values[y * plane.width + first + i];
      narrow[y * width + x] = level(sum);
    });
  }
  const values = new Float32Array(width * height);
  down.forEach(({ first, weights }, y) => {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * narrow[(first + i) * width + x];
      values[y * width + x] = level(sum);
    }
  });
  return { values, width, height };
}

function filled(width, height, value) {
  return { values: new Float32Array(width * height).fill(value), width, height };
}

/** Copies a plane into another one at a place; what lies outside is cut off. */
function paste(ground, plane, left, top) {
  for (let y = Math.max(0, -top); y < Math.min(plane.height, ground.height - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(plane.width, ground.width - left); x++) {
      ground.values[(top + y) * ground.width + left + x] = plane.values[y * plane.width + x];
    }
  }
}

/** Rounds as Python: a half to the even neighbour. */
function roundEven(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}

/** Brings a plane to (height, width): "pad", "crop" or "stretch". */
function fitted(plane, [height, width], fit, shade) {
  if (plane.width === width && plane.height === height) return plane;
  const whole = [0, 0, plane.width, plane.height];
  if (fit === "stretch") return resample(plane, whole, width, height);
  if (fit === "crop") {
    const wide = plane.width / plane.height >= width / height;
    const keptWidth = wide ? (plane.height * width) / height : plane.width;
    const keptHeight = wide ? plane.height : (plane.width * height) / width;
    const left = (plane.width - keptWidth) / 2;
    const top = (plane.height - keptHeight) / 2;
    return resample(plane, [left, top, left + keptWidth, top + keptHeight], width, height);
  }
  const scale = Math.min(width / plane.width, height / plane.height);
  const inner = [plane.width, plane.height].map((side) => Math.max(1, roundEven(side * scale)));
  const ground = filled(width, height, shade);
  const small = resample(plane, whole, ...inner);
  paste(ground, small, Math.floor((width - inner[0]) / 2), Math.floor((height - inner[1]) / 2));
  return ground;
}

/** Returns the planes of a canvas or picture on a ground of a shade: one if it shall be grey. */
function planesOf(source, width, height, gray, shade) {
  const canvas = document.createElement("canvas");
  const scale = Math.min(1, LARGEST / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = shade ? "white" : "black";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const planes = Array.from({ length: gray ? 1 : 3 }, () => filled(canvas.width, canvas.height, 0));
  for (let i = 0; i < canvas.width * canvas.height; i++) {
    const at = 4 * i; // red, green, blue, opacity
    if (gray) { // Pillow's weights
      const sum = data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471;
      planes[0].values[i] = (sum + 32768) >> 16;
    } else {
      for (let c = 0; c < 3; c++) planes[c].values[i] = data[at + c];
    }
  }
  return planes;
}

/** Returns the middle level of the pixels along the edges: what is taken for the ground. */
function edgeLevel({ values, width, height }) {
  const edge = [];
  for (let x = 0; x < width; x++) edge.push(values[x], values[(height - 1) * width + x]);
  for (let y = 0; y < height; y++) edge.push(values[y * width], values[y * width + width - 1]);
  return edge.sort((a, b) => a - b)[edge.length >> 1];
}

function exchanged({ values, width, height }) {
  return { values: values.map((level) => 255 - level), width, height };
}

/** Removes the ground's level, so that the ground is black and the brightest stroke white. */
function onBlack({ values, width, height }, ground) {
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const factor = 255 / Math.max(1, most - ground);
  return { values: values.map((v) => Math.max(0, v - ground) * factor), width, height };
}

/**
 * Frames light strokes as MNIST's images were made: their bounding box is scaled until its longer
 * side has `box` pixels, and their centre of mass is moved to the middle.
 */
function framed(plane, [height, width], box) {
  let [left, top, right, bottom] = [plane.width, plane.height, 0, 0];
  plane.values.forEach((level, i) => {
    if (level < INK) return;
    const x = i % plane.width;
    const y = Math.floor(i / plane.width);
    [left, top] = [Math.min(left, x), Math.min(top, y)];
    [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
  });
  const ground = filled(width, height, 0);
  if (right <= left) return ground;
  const scale = box / Math.max(right - left, bottom - top);
  const sides = [right - left, bottom - top].map((side) => Math.max(1, Math.round(side * scale)));
  const part = filled(right - left, bottom - top, 0);
  paste(part, plane, -left, -top);
  const small = resample(part, [0, 0, part.width, part.height], ...sides);
  let [mass, x, y] = [0, 0, 0];
  small.values.forEach((level, i) => {
    mass += level;
    x += level * ((i % small.width) + 0.5);
    y += level * (Math.floor(i / small.width) + 0.5);
  });
  paste(ground, small, Math.round(width / 2 - x / mass), Math.round(height / 2 - y / mass));
  return ground;
}

/**
 * Prepares a canvas or a picture; returns the model's image, Float32Array (C, H, W) in [0, 1].
 *
 * @param {Object} conversion as in dataset.json.
 * @param {Object} options invert: exchange dark and light; box: frame strokes in that many pixels,
 *   null to fit the picture as `conversion` says.
 */
function prepare(source, width, height, conversion, { invert, box }) {
  const light = (conversion.background === "white") !== invert;
  const gray = conversion.channels === "gray";
  const size = conversion.image_size;
  const planes = planesOf(source, width, height, gray, light).map((plane) => {
    if (box) {
      const strokes = invert ? exchanged(plane) : plane;
      return framed(onBlack(strokes, edgeLevel(strokes)), size, box);
    }
    const small = fitted(plane, size, conversion.fit, light ? 255 : 0);
    return invert ? exchanged(small) : small;
  });
  const area = size[0] * size[1];
  const image = new Float32Array(planes.length * area);
  planes.forEach((plane, c) => plane.values.forEach((level, i) => (image[c * area + i] = level / 255)));
  return image;
}
