// The panel "Style": directions of the style code, of one image and of other identities.
"use strict";

const REACH = 3; // standard deviations on either side
const MOST_DIMENSIONS = 32; // single dimensions that have a slider
const MOST_FOLLOWERS = 20; // identities that follow the sliders
const PERIOD = 4; // seconds in which "Play" moves to and fro

class StylePanel {
  constructor(explorer) {
    this.explorer = explorer;
    this.sliders = [];
    const { directions, dims, deviations } = explorer;
    directions.forEach((direction, i) => this.addDirection(`direction ${i + 1}`, direction));
    for (let d = 0; d < Math.min(dims[1], MOST_DIMENSIONS); d++) {
      const axis = new Float32Array(dims[1]);
      axis[d] = deviations[d];
      this.add("dimensions", `z${d}`, axis);
    }
    this.touched = this.sliders[0];
    this.identity = element("identity");
    this.identity.append(make("option", { value: "", textContent: "its own" }));
    for (const number of explorer.known) {
      this.identity.append(make("option", { value: number, textContent: explorer.data.classes[number] }));
    }
    this.followers = explorer.known.slice(0, MOST_FOLLOWERS).map((number) => {
      const name = explorer.data.classes[number];
      const { canvas, figure } = imageFigure(name, `The same style in the identity ${name}`);
      element("followers").append(figure);
      return { number, canvas };
    });
    this.identity.addEventListener("change", () => {
      this.schedule();
      spread("ends", [...this.endImages()]);
    });
    element("back").addEventListener("click", () => this.start(this.source));
    element("random").addEventListener("click", () => this.randomise());
    whilePressed(element("slide"), (seconds) => {
      this.set(this.touched, REACH * 0.8 * Math.sin((2 * Math.PI * seconds) / PERIOD));
      this.schedule();
    });
  }

  add(list, name, axis) {
    const input = make("input", {
      type: "range", min: -REACH, max: REACH, step: 0.05, value: 0, ariaLabel: name,
    });
    const output = make("output", { textContent: "0.0" });
    const slider = { axis, input, output };
    input.addEventListener("input", () => {
      this.touched = slider;
      this.set(slider, Number(input.value));
      this.schedule();
    });
    const line = make("label", {}, make("span", { textContent: name }), input, output);
    element(list).append(line);
    this.sliders.push(slider);
    return { slider, line };
  }

  /** A slider with the images at its two ends. */
  addDirection(name, axis) {
    const { slider, line } = this.add("directions", name, axis);
    slider.ends = [-REACH, REACH].map((value) => {
      const canvas = make("canvas", { ariaHidden: "true" });
      return { value, canvas };
    });
    line.replaceChildren(slider.ends[0].canvas, slider.input, slider.ends[1].canvas, slider.output);
  }

  set({ input, output }, value) {
    input.value = value;
    output.textContent = Number(input.value).toFixed(1);
  }

  /** Generates the images at the ends of the directions: the start, moved in that one alone. */
  *endImages() {
    const { model } = this.explorer;
    for (const { axis, ends } of this.sliders) {
      for (const { value, canvas } of ends ?? []) {
        const code = this.base.map((number, i) => number + value * axis[i]);
        yield () => paint(canvas, model.decode(this.specified(), code), model.shape);
      }
    }
  }

  /** The identity that is shown: of the start, or of the chosen class. */
  specified() {
    const { value } = this.identity;
    return value === "" ? this.source.specified : this.explorer.identityOf(Number(value));
  }

  /** Starts from an image's codes: {name, specified, unspecified}. */
  start(source) {
    this.source = source;
    this.base = source.unspecified;
    element("source-name").textContent = source.name;
    this.restart();
  }

  /** Samples a style from the prior, N(0, I). */
  randomise() {
    this.base = Float32Array.from({ length: this.explorer.dims[1] }, normal);
    this.restart();
  }

  restart() {
    this.sliders.forEach((slider) => this.set(slider, 0));
    this.schedule();
    spread("ends", [...this.endImages()]);
  }

  /** The style code: that of the start, moved by the sliders. */
  code() {
    const code = Float32Array.from(this.base);
    for (const { axis, input } of this.sliders) {
      const value = Number(input.value);
      if (value) axis.forEach((part, i) => (code[i] += value * part));
    }
    return code;
  }

  schedule() {
    const { model, identityOf } = this.explorer;
    const style = this.code();
    spread("style", [
      () => paint(element("styled"), model.decode(this.specified(), style), model.shape),
      ...this.followers.map(({ number, canvas }) => () =>
        paint(canvas, model.decode(identityOf(number), style), model.shape),
      ),
    ]);
  }
}
