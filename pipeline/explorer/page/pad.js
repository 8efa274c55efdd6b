// The drawing area: strokes by mouse, finger, pen or keyboard, or a picture that was opened.
"use strict";

const PAD_SIDE = 280; // pixels of its longer side
const STEP = 1 / 28; // of its longer side, that an arrow key moves the pen

class Pad {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Object} conversion as in dataset.json: the shape of the images and their background.
   * @param {function()} changed called when the drawing has changed.
   */
  constructor(canvas, conversion, changed) {
    const [height, width] = conversion.image_size;
    const cell = PAD_SIDE / Math.max(height, width);
    canvas.width = Math.round(width * cell);
    canvas.height = Math.round(height * cell);
    this.canvas = canvas;
    this.ground = conversion.background;
    this.changed = changed;
    this.size = 8; // percent of the longer side
    this.colour = this.ground === "black" ? "white" : "black";
    this.pen = { x: canvas.width / 2, y: canvas.height / 2, down: false, shown: false };
    this.clear();
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => (this.active = null));
    }
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.hidePen());
  }

  get isEmpty() {
    return !this.strokes.length && !this.picture;
  }

  clear() {
    this.strokes = [];
    this.picture = null;
    this.active = null;
    this.pen.down = false;
    this.render();
    this.changed();
  }

  undo() {
    if (this.strokes.length) this.strokes.pop();
    else this.picture = null;
    this.pen.down = false;
    this.render();
    this.changed();
  }

  /** Shows a picture as large as fits. It is kept: the model gets it in its own size. */
  open(picture) {
    this.strokes = [];
    this.picture = picture;
    this.render();
    this.changed();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.canvas.height,
    };
  }

  begin(point) {
    this.active = { points: [point], size: this.size, colour: this.colour };
    this.strokes.push(this.active);
  }

  press(event) {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pen.shown = false;
    this.begin(this.place(event));
    this.render();
    this.changed();
  }

  move(event) {
    if (!this.active || !event.buttons) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) this.active.points.push(this.place(each));
    this.render();
    this.changed();
  }

  key(event) {
    const step = STEP * PAD_SIDE;
    const moves = {
      ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step],
    };
    if (moves[event.key]) {
      const [x, y] = moves[event.key];
      this.pen.x = Math.min(this.canvas.width, Math.max(0, this.pen.x + x));
      this.pen.y = Math.min(this.canvas.height, Math.max(0, this.pen.y + y));
      if (this.pen.down) this.active.points.push({ x: this.pen.x, y: this.pen.y });
    } else if (event.key === " ") {
      this.pen.down = !this.pen.down;
      if (this.pen.down) this.begin({ x: this.pen.x, y: this.pen.y });
      else this.active = null;
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.clear();
    } else {
      return;
    }
    event.preventDefault();
    this.pen.shown = true;
    this.render(true);
    if (this.pen.down) this.changed();
  }

  hidePen() {
    this.pen.shown = false;
    this.pen.down = false;
    this.render();
  }

  /** Draws picture and strokes, and the pen's place if the keyboard moves it. */
  render(withPen = false) {
    const { canvas } = this;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = this.ground;
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (this.picture) {
      const { width, height } = this.picture;
      const scale = Math.min(canvas.width / width, canvas.height / height);
      const [w, h] = [width * scale, height * scale];
      context.drawImage(this.picture, (canvas.width - w) / 2, (canvas.height - h) / 2, w, h);
    }
    context.lineCap = context.lineJoin = "round";
    for (const { points, size, colour } of this.strokes) {
      context.strokeStyle = colour;
      context.lineWidth = (size / 100) * PAD_SIDE;
      context.beginPath();
      context.moveTo(points[0].x, points[0].y);
      for (const { x, y } of points.length > 1 ? points : [points[0], points[0]]) context.lineTo(x, y);
      context.stroke();
    }
    if (!withPen) return;
    context.lineWidth = 2;
    context.strokeStyle = this.pen.down ? "#d55e00" : "#0072b2";
    context.strokeRect(this.pen.x - 6, this.pen.y - 6, 12, 12);
  }

  /** Returns what was drawn, without the pen's place: [source, width, height]. */
  content() {
    if (this.picture && !this.strokes.length) {
      return [this.picture, this.picture.width, this.picture.height];
    }
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [this.canvas.width, this.canvas.height];
    this.render();
    copy.getContext("2d").drawImage(this.canvas, 0, 0);
    if (this.pen.shown) this.render(true);
    return [copy, copy.width, copy.height];
  }
}
