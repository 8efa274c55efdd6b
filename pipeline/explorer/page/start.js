// Puts the panels together.
"use strict";

/** What all panels share: the model, its classes, and the codes of the map's images. */
class Explorer {
  constructor(data, bytes) {
    this.data = data;
    this.arrays = readArrays(bytes, data.places);
    this.model = new Model(this.arrays, data.program);
    this.dims = this.model.dims;
    this.known = data.known.flatMap((known, number) => (known ? [number] : []));
    this.identityOf = (number) => this.row("page.identities", number);
    const { shape: [count] } = this.arrays["page.directions"];
    this.directions = Array.from({ length: count }, (_, i) => this.row("page.directions", i));
    this.deviations = this.measureDeviations();
  }

  /** Row number i of an array. */
  row(name, i) {
    const { values, shape } = this.arrays[name];
    return values.subarray(i * shape[1], (i + 1) * shape[1]);
  }

  codesOf(i) {
    return { specified: this.row("map.specified", i), unspecified: this.row("map.unspecified", i) };
  }

  /** Standard deviation of each dimension of the style over the map's images; 1 without a map. */
  measureDeviations() {
    if (!this.data.map) return new Float32Array(this.dims[1]).fill(1);
    const count = this.data.map.labels.length;
    return Float32Array.from({ length: this.dims[1] }, (_, d) => {
      let [sum, squares] = [0, 0];
      for (let i = 0; i < count; i++) {
        const value = this.row("map.unspecified", i)[d];
        sum += value;
        squares += value * value;
      }
      return Math.sqrt(Math.max(0, squares / count - (sum / count) ** 2));
    });
  }

  /** Styles of images on the map, of different classes as far as there are; of the prior else. */
  exampleStyles(count) {
    if (!this.data.map) {
      return Array.from({ length: count }, () => Float32Array.from({ length: this.dims[1] }, normal));
    }
    const { labels } = this.data.map;
    return Array.from({ length: count }, (_, i) => this.row("map.unspecified", i % labels.length));
  }

  /** The class whose mean identity code is nearest; null if no class is known. */
  nearestClass(specified) {
    let [best, least] = [null, Infinity];
    for (const number of this.known) {
      const distance = this.identityOf(number).reduce((sum, v, i) => sum + (v - specified[i]) ** 2, 0);
      if (distance < least) [best, least] = [number, distance];
    }
    return best;
  }

  /** Says which class a code is nearest to, and how the error compares with test images'. */
  words(specified, error) {
    const nearest = this.nearestClass(specified);
    const known = nearest === null ? "" : `Its identity code is nearest to “${this.data.classes[nearest]}”. `;
    const percentiles = this.arrays["page.errors"]?.values;
    if (!percentiles) return known;
    const below = percentiles.filter((value) => value < error).length;
    const share = Math.min(100, below);
    const warning = share >= 99
      ? "It is unlike the images that the model has seen, so expect little of its codes."
      : "";
    return `${known}Its reconstruction is worse than that of ${share} % of the test images. ${warning}`;
  }

  paintThumbnail(canvas, i) {
    const [, height, width] = this.model.shape;
    const { across } = this.data.map;
    canvas.width = width;
    canvas.height = height;
    const [x, y] = [(i % across) * width, Math.floor(i / across) * height];
    canvas.getContext("2d").drawImage(element("sheet"), x, y, width, height, 0, 0, width, height);
  }
}

async function start() {
  const data = JSON.parse(element("data").textContent);
  const explorer = new Explorer(data, bytesOf(element("block").textContent));
  const style = new StylePanel(explorer);
  const draw = new DrawPanel(explorer, (source) => style.start(source));
  if (data.map) {
    const sheet = element("sheet");
    if (!sheet.complete) await new Promise((done) => sheet.addEventListener("load", done));
    const panel = new MapPanel(explorer, (source) => style.start(source));
    draw.example({ name: `test image 1 (${panel.describe(0)})`, ...explorer.codesOf(0) },
      (canvas) => explorer.paintThumbnail(canvas, 0));
    return { explorer, style, draw, map: panel };
  }
  const specified = explorer.known.length ? explorer.identityOf(explorer.known[0]) : new Float32Array(explorer.dims[0]);
  const source = { name: "the mean of a class", specified, unspecified: new Float32Array(explorer.dims[1]) };
  draw.example(source, (canvas) =>
    paint(canvas, explorer.model.decode(specified, source.unspecified), explorer.model.shape));
  return { explorer, style, draw, map: null };
}

const started = start();
