// The panel "Map": both codes of the test images, and the swap of two of them.
"use strict";

const MOST_LABELS = 12; // classes whose names are written on the map and in the legend
const LOOP = 5; // seconds from A to B and back
const LIGHTER = 0.35; // share of white in the colours on a dark ground
const LABEL_LENGTH = 14; // letters of a name on the map

/** Mixes a colour, "#rrggbb", with white: the dark ones are not seen on a dark ground. */
function lighter(colour) {
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgb(${parts.map((part) => Math.round(part + LIGHTER * (255 - part))).join(", ")})`;
}

class MapPanel {
  constructor(explorer, chosen) {
    this.explorer = explorer;
    this.chosen = chosen;
    this.pair = []; // the chosen images, A and B
    const { classes, map } = explorer.data;
    this.colourings = [{ name: "class", values: classes, of: map.labels }, ...map.factors];
    this.colouring = this.colourings[0];
    this.only = null;
    this.charts = [];
    for (const [code, title] of [["specified", "Identity code"], ["unspecified", "Style code"]]) {
      const places = explorer.arrays[`map.places.${code}`];
      if (places) {
        this.charts.push(new Chart(element("maps"), title, places.values, {
          look: (i) => this.look(i),
          mark: (i) => this.mark(i),
          labels: (chart, context) => this.labels(chart, context),
          pointed: (i, chart) => this.point(i, chart),
          chosen: (i) => this.choose(i),
        }));
      } else {
        element("maps").append(make("div", {}, make("h3", { textContent: title }),
          make("p", { textContent: "All images have the same code: there is nothing to map." })));
      }
    }
    this.bind();
    this.recolour(0);
    this.choose(0);
    const labels = map.labels;
    this.choose(Math.max(0, labels.findIndex((label) => label !== labels[0])));
  }

  bind() {
    const by = element("colour-by");
    by.append(...this.colourings.map(({ name }, i) => make("option", { value: i, textContent: name })));
    by.addEventListener("change", () => this.recolour(Number(by.value)));
    element("highlight").addEventListener("change", (event) => {
      this.only = event.target.value === "" ? null : Number(event.target.value);
      this.draw();
    });
    element("mix").addEventListener("input", () => this.mix());
    whilePressed(element("loop"), (seconds) => {
      element("mix").value = (1 - Math.cos((2 * Math.PI * seconds) / LOOP)) / 2;
      this.mix();
    });
    new ResizeObserver(() => this.draw()).observe(element("maps"));
    for (const query of ["(prefers-color-scheme: dark)", "print"]) {
      matchMedia(query).addEventListener("change", () => this.recolour(this.colourings.indexOf(this.colouring)));
    }
  }

  recolour(which) {
    this.colouring = this.colourings[which];
    this.only = null;
    const { values } = this.colouring;
    this.looks = this.looksOf(values);
    const present = [...new Set(this.colouring.of)].sort((a, b) => a - b);
    element("highlight").replaceChildren(
      make("option", { value: "", textContent: "all" }),
      ...present.map((value) => make("option", { value, textContent: values[value] })),
    );
    const shown = present.slice(0, MOST_LABELS);
    element("legend").replaceChildren(...shown.map((value) => this.legendEntry(value)));
    if (present.length > shown.length) {
      element("legend").append(make("span", {
        textContent: `and ${present.length - shown.length} more: point at an image to read its name`,
      }));
    }
    this.named = new Set(present.length > shown.length ? [] : present);
    this.draw();
  }

  legendEntry(value) {
    const canvas = make("canvas", { width: 14, height: 14 });
    const context = canvas.getContext("2d");
    const { colour, shape } = this.looks[value];
    context.fillStyle = colour;
    drawShape(context, [7, 7], 5.5, shape);
    return make("span", {}, canvas, this.colouring.values[value]);
  }

  /** Colour and shape of each value: the same colours come again in another shape. */
  looksOf(values) {
    const { colours } = this.explorer.data;
    const dark = matchMedia("screen and (prefers-color-scheme: dark)").matches;
    return values.map((_, value) => {
      const colour = colours[value % colours.length];
      const shape = (value + Math.floor(value / colours.length)) % SHAPES;
      return { colour: dark ? lighter(colour) : colour, shape };
    });
  }

  look(i) {
    const value = this.colouring.of[i];
    return { ...this.looks[value], dimmed: this.only !== null && value !== this.only };
  }

  mark(i) {
    const place = this.pair.indexOf(i);
    return place < 0 ? null : "AB"[place];
  }

  /** Writes the names of the values at the middle of their images, where these lie together. */
  labels(chart, context) {
    const { of, values } = this.colouring;
    for (const value of this.named) {
      if (this.only !== null && value !== this.only) continue;
      const members = of.flatMap((other, i) => (other === value ? [i] : []));
      const middle = [0, 1].map((axis) => {
        const sorted = members.map((i) => chart.points[2 * i + axis]).sort((a, b) => a - b);
        return sorted[sorted.length >> 1];
      });
      const near = members.filter((i) =>
        Math.hypot(chart.points[2 * i] - middle[0], chart.points[2 * i + 1] - middle[1]) < 0.15);
      if (near.length < members.length * 0.6) continue;
      const centre = [chart.canvas.clientWidth, chart.canvas.clientHeight].map((side, axis) =>
        side / 2 + (middle[axis] - chart.centre[axis]) * chart.pixels());
      const name = values[value];
      writeLabel(context, name.length > LABEL_LENGTH ? `${name.slice(0, LABEL_LENGTH - 1)}…` : name, ...centre);
    }
  }

  describe(i) {
    const { classes, map } = this.explorer.data;
    const factors = map.factors.map(({ name, values, of }) => `${name} ${values[of[i]]}`);
    return [classes[map.labels[i]], ...factors].join(", ");
  }

  point(i, chart) {
    for (const other of this.charts) {
      other.current = i;
      other.tip.hidden = i === null;
      if (i !== null) this.showTip(other, i);
    }
    if (i !== null) element("map-told").textContent = `Image ${i + 1}: ${this.describe(i)}.`;
    this.draw();
    return chart;
  }

  showTip({ tip, canvas, toScreen }, i) {
    const thumbnail = make("canvas", { ariaHidden: "true" });
    this.explorer.paintThumbnail(thumbnail, i);
    tip.replaceChildren(thumbnail, make("div", { textContent: this.describe(i) }));
    const [x, y] = this.charts.find((chart) => chart.tip === tip).toScreen(i);
    tip.style.left = x > canvas.clientWidth / 2 ? "auto" : `${Math.max(0, x + 14)}px`;
    tip.style.right = x > canvas.clientWidth / 2 ? `${Math.max(0, canvas.clientWidth - x + 14)}px` : "auto";
    tip.style.top = y > canvas.clientHeight / 2 ? "auto" : `${Math.max(0, y + 10)}px`;
    tip.style.bottom = y > canvas.clientHeight / 2 ? `${Math.max(0, canvas.clientHeight - y + 10)}px` : "auto";
    return toScreen;
  }

  /** The next of the two: A, then B, then A anew. */
  choose(i) {
    if (this.pair.length === 2) this.pair = [];
    this.pair.push(i);
    const source = { name: `test image ${i + 1} (${this.describe(i)})`, ...this.explorer.codesOf(i) };
    this.explorer.paintThumbnail(element(this.pair.length === 1 ? "first" : "second"), i);
    element(this.pair.length === 1 ? "first" : "second").ariaLabel = `${"AB"[this.pair.length - 1]}: ${this.describe(i)}`;
    if (this.pair.length === 2) this.swap();
    this.chosen(source, (canvas) => this.explorer.paintThumbnail(canvas, i));
    this.draw();
  }

  swap() {
    const { explorer } = this;
    const { model } = explorer;
    const [a, b] = this.pair.map((i) => explorer.codesOf(i));
    const names = this.pair.map((i) => this.describe(i));
    for (const [id, identity, style, words] of [
      ["first-second", a, b, `Identity of ${names[0]} in the style of ${names[1]}`],
      ["second-first", b, a, `Identity of ${names[1]} in the style of ${names[0]}`],
    ]) {
      paint(element(id), model.decode(identity.specified, style.unspecified), model.shape);
      element(id).ariaLabel = words;
    }
    element("map-told").textContent = `Swapped ${names[0]} (A) and ${names[1]} (B).`;
    this.mix();
  }

  /** Generates the image between A and B, in both codes. */
  mix() {
    if (this.pair.length < 2) return;
    const share = Number(element("mix").value);
    const [a, b] = this.pair.map((i) => this.explorer.codesOf(i));
    const between = (code) => a[code].map((value, i) => value + share * (b[code][i] - value));
    const { model } = this.explorer;
    spread("mix", [() =>
      paint(element("between"), model.decode(between("specified"), between("unspecified")), model.shape)]);
  }

  draw() {
    this.charts.forEach((chart) => chart.draw());
  }
}
