// The panel "Draw": a drawing or picture, its codes, its reconstruction, and its swaps.
"use strict";

const MOST_IDENTITIES = 100; // shown of all classes
const STYLES = 8;
const PAUSE = 120; // milliseconds without a change before the swaps are generated

class DrawPanel {
  /**
   * @param {Explorer} explorer
   * @param {function(Object)} chosen called with the source {name, specified, unspecified}.
   */
  constructor(explorer, chosen) {
    this.explorer = explorer;
    this.chosen = chosen;
    this.pad = new Pad(element("pad"), explorer.data.conversion, () => this.schedule());
    this.identities = this.grid("identities", explorer.known.slice(0, MOST_IDENTITIES), (number) => [
      explorer.data.classes[number], `In the identity ${explorer.data.classes[number]}`,
    ]);
    this.styles = this.grid("styles", Array.from({ length: STYLES }, (_, i) => i), (i) => [
      "", `In style ${i + 1}`,
    ]);
    const left = explorer.known.length - this.identities.length;
    const title = element("identities-title");
    if (left > 0) title.textContent += ` (the first ${this.identities.length}, ${left} more are not shown)`;
    if (!explorer.known.length) {
      title.textContent = "This version knows no classes, so there are no identities to show";
    }
    this.bind();
    explorer.exampleStyles(STYLES).forEach((code, i) => (this.styles[i].code = code));
  }

  grid(id, items, describe) {
    return items.map((item) => {
      const [caption, alternative] = describe(item);
      const { canvas, figure } = imageFigure(caption, alternative);
      element(id).append(figure);
      return { item, canvas };
    });
  }

  bind() {
    const { pad, explorer } = this;
    element("clear").addEventListener("click", () => pad.clear());
    element("undo").addEventListener("click", () => pad.undo());
    element("pen").addEventListener("input", (event) => (pad.size = Number(event.target.value)));
    element("colour").addEventListener("input", (event) => (pad.colour = event.target.value));
    element("colour").value = explorer.data.conversion.background === "black" ? "#ffffff" : "#000000";
    element("colour-label").hidden = explorer.model.shape[0] === 1;
    element("frame-label").hidden = !explorer.data.box;
    for (const id of ["invert", "frame"]) element(id).addEventListener("change", () => this.schedule());
    const file = element("file");
    file.addEventListener("change", () => file.files.length && this.open(file.files[0]));
    for (const name of ["dragover", "dragleave", "drop"]) {
      document.addEventListener(name, (event) => {
        event.preventDefault(); // else the browser would leave the page for the picture
        pad.canvas.classList.toggle("dropping", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length) this.open(event.dataTransfer.files[0]);
      });
    }
  }

  async open(file) {
    let picture;
    try {
      picture = await createImageBitmap(file);
    } catch {
      element("told").textContent = `${file.name} is not a picture that this browser can read.`;
      return;
    }
    element("file").value = "";
    element("invert").checked = this.shouldInvert(picture);
    this.pad.open(picture);
  }

  /** Light strokes on dark are what stroke models know; elsewhere as the training images were. */
  shouldInvert(picture) {
    const { conversion, strokes } = this.explorer.data;
    if (!strokes) return conversion.invert;
    const dark = conversion.background === "black";
    const [plane] = planesOf(picture, picture.width, picture.height, true, !dark);
    return dark === edgeLevel(plane) > 127;
  }

  /** Shows an example, as long as nothing is drawn. */
  example(source, paintSource) {
    paintSource(element("seen"));
    this.show(source, "An example from the test images. Draw, or open a picture, to replace it.");
  }

  /** Called at each change; the inversion chosen for a picture goes with it. */
  schedule() {
    const hasPicture = Boolean(this.pad?.picture);
    if (this.hadPicture && !hasPicture) element("invert").checked = false;
    this.hadPicture = hasPicture;
    spread("drawing", [() => this.update()]);
  }

  update() {
    const { pad, explorer } = this;
    if (pad.isEmpty) return;
    const { conversion, box } = explorer.data;
    const [source, width, height] = pad.content();
    const [high, wide] = conversion.image_size;
    const ready = width === wide && height === high; // such as an image of the data set itself
    const image = prepare(source, width, height, conversion, {
      invert: element("invert").checked,
      box: box && element("frame").checked && !ready ? box : null,
    });
    paint(element("seen"), image, explorer.model.shape);
    const [specified, unspecified] = explorer.model.encode(image);
    const copy = explorer.model.decode(specified, unspecified);
    const error = image.reduce((sum, value, i) => sum + (value - copy[i]) ** 2, 0) / image.length;
    const name = pad.picture && !pad.strokes.length ? "the picture" : "the drawing";
    this.show({ name, specified, unspecified, copy }, explorer.words(specified, error));
  }

  show(source, words) {
    const { model } = this.explorer;
    const { specified, unspecified } = source;
    this.shown = source;
    paint(element("copy"), source.copy ?? model.decode(specified, unspecified), model.shape);
    plotCode(element("bars-identity"), specified, "Identity code");
    plotCode(element("bars-style"), unspecified, "Style code");
    element("told").textContent = words;
    clearTimeout(this.pause);
    this.pause = setTimeout(() => {
      spread("swaps", [...this.swaps(source)]);
      this.chosen(source);
    }, PAUSE);
  }

  *swaps({ specified, unspecified }) {
    const { model, identityOf } = this.explorer;
    for (const { code, canvas } of this.styles) {
      yield () => paint(canvas, model.decode(specified, code), model.shape);
    }
    for (const { item, canvas } of this.identities) {
      yield () => paint(canvas, model.decode(identityOf(item), unspecified), model.shape);
    }
  }
}
