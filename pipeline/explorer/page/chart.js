// One map: a scatter plot with pan and zoom, in which images are pointed at and chosen.
"use strict";

const NEAR = 14; // pixels within which a point is hit
const FARTHEST = 40; // times that the map can be enlarged
const SHAPES = 3; // of the points: the same colours come again in another shape

class Chart {
  /**
   * @param {HTMLElement} place where the map is put.
   * @param {string} title
   * @param {Float32Array} points x and y of each image, in [0, 1].
   * @param {Object} calls of the panel: look(i) gives {colour, shape, dimmed}, mark(i) its letter;
   *   pointed(i) and chosen(i) are told of it, i is null where there is none.
   */
  constructor(place, title, points, calls) {
    this.points = points;
    this.calls = calls;
    this.count = points.length / 2;
    this.current = null;
    this.canvas = make("canvas", {
      tabIndex: 0, role: "application",
      ariaLabel: `${title}: a map of ${this.count} images. Arrow keys go from image to image, Enter chooses.`,
    });
    this.tip = make("div", { className: "tip", hidden: true });
    const zoom = [["−", "Zoom out", 1 / 1.5], ["+", "Zoom in", 1.5], ["0", "Show all", 0]].map(
      ([textContent, words, factor]) => {
        const button = make("button", { type: "button", textContent, ariaLabel: `${words}: ${title}` });
        button.addEventListener("click", () => this.zoom(factor));
        return button;
      },
    );
    place.append(make("div", {}, make("h3", { textContent: title }),
      make("div", { className: "chart" }, this.canvas, this.tip, make("div", { className: "zoom" }, ...zoom))));
    this.reset();
    this.listen();
  }

  reset() {
    this.scale = 1;
    this.centre = [0.5, 0.5];
  }

  listen() {
    const { canvas } = this;
    const pointers = new Map();
    let moved = 0;
    canvas.addEventListener("wheel", (event) => {
      // Else the page scrolls on: whoever scrolls past a map does not want to zoom it.
      if (!event.ctrlKey && document.activeElement !== canvas) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), this.at(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return this.point(this.nearest(this.at(event)));
      const step = [event.offsetX - before[0], event.offsetY - before[1]];
      moved += Math.abs(step[0]) + Math.abs(step[1]);
      if (pointers.size === 2) { // two fingers: their distance zooms
        const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
        this.zoom(apart([event.offsetX, event.offsetY]) / Math.max(1, apart(before)));
      } else if (moved > 4) {
        const [x, y] = this.centre;
        this.centre = [x - step[0] / this.pixels(), y - step[1] / this.pixels()];
        this.draw();
      }
      pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      return undefined;
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => {
        pointers.delete(event.pointerId);
        if (name === "pointerup" && moved <= 4) this.choose(this.nearest(this.at(event)));
      });
    }
    canvas.addEventListener("pointerleave", () => this.point(null));
    canvas.addEventListener("blur", () => this.point(null));
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (ways[event.key]) this.point(this.next(ways[event.key]), true);
    else if (event.key === "Enter" || event.key === " ") this.choose(this.current);
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.zoom(0);
    else return;
    event.preventDefault();
  }

  /** The nearest image from the current one in a direction, at most 45 degrees off it. */
  next([dx, dy]) {
    if (this.current === null) return this.nearest([this.canvas.clientWidth / 2, this.canvas.clientHeight / 2], Infinity);
    const [x, y] = this.points.subarray(2 * this.current, 2 * this.current + 2);
    let [best, least] = [this.current, Infinity];
    for (let i = 0; i < this.count; i++) {
      const step = [this.points[2 * i] - x, this.points[2 * i + 1] - y];
      const along = step[0] * dx + step[1] * dy;
      const off = Math.abs(step[0] * dy) + Math.abs(step[1] * dx);
      if (along > 0 && off <= along && along + off < least) [best, least] = [i, along + off];
    }
    return best;
  }

  at(event) {
    return [event.offsetX, event.offsetY];
  }

  /** Pixels of the screen per unit of the map. */
  pixels() {
    return this.canvas.clientWidth * 0.94 * this.scale;
  }

  toScreen(i) {
    const [middleX, middleY] = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
    return [
      middleX + (this.points[2 * i] - this.centre[0]) * this.pixels(),
      middleY + (this.points[2 * i + 1] - this.centre[1]) * this.pixels(),
    ];
  }

  nearest([x, y], within = NEAR) {
    let [best, least] = [null, within];
    for (let i = 0; i < this.count; i++) {
      if (this.calls.look(i).dimmed) continue;
      const [px, py] = this.toScreen(i);
      const distance = Math.hypot(px - x, py - y);
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  /** Enlarges by a factor, about a place on the screen; 0 shows all. */
  zoom(factor, [x, y] = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2]) {
    if (!factor) {
      this.reset();
    } else {
      const off = [x - this.canvas.clientWidth / 2, y - this.canvas.clientHeight / 2];
      const before = this.pixels();
      this.scale = Math.min(FARTHEST, Math.max(1, this.scale * factor));
      const change = 1 / before - 1 / this.pixels();
      this.centre = this.centre.map((middle, axis) => middle + off[axis] * change);
      if (this.scale === 1) this.reset();
    }
    this.canvas.style.touchAction = this.scale > 1 ? "none" : "pan-y";
    this.draw();
  }

  point(i, follow = false) {
    if (i === this.current && !follow) return;
    this.current = i;
    if (follow && i !== null) {
      const [x, y] = this.toScreen(i);
      const outside = x < 0 || y < 0 || x > this.canvas.clientWidth || y > this.canvas.clientHeight;
      if (outside) this.centre = [this.points[2 * i], this.points[2 * i + 1]];
    }
    this.calls.pointed(i, this);
  }

  choose(i) {
    if (i !== null) this.calls.chosen(i);
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const size = Math.min(9, 3 * Math.sqrt(this.scale));
    const order = Array.from({ length: this.count }, (_, i) => i);
    for (const dimmed of [true, false]) {
      context.globalAlpha = dimmed ? 0.15 : 0.8;
      for (const i of order) {
        const look = this.calls.look(i);
        if (look.dimmed !== dimmed) continue;
        context.fillStyle = look.colour;
        drawShape(context, this.toScreen(i), size, look.shape);
      }
    }
    context.globalAlpha = 1;
    this.calls.labels(this, context);
    for (const i of order) this.mark(context, i, this.calls.mark(i));
    if (this.current !== null) this.mark(context, this.current, "");
  }

  /** Draws a ring around an image, with a letter. */
  mark(context, i, letter) {
    if (letter === null) return;
    const [x, y] = this.toScreen(i);
    context.lineWidth = 2.5;
    context.strokeStyle = styleValue("--ink");
    context.beginPath();
    context.arc(x, y, 9, 0, 2 * Math.PI);
    context.stroke();
    writeLabel(context, letter, x + 16, y - 8);
  }
}

/** Draws a point: a disc, a square or a triangle. */
function drawShape(context, [x, y], size, shape) {
  context.beginPath();
  if (shape === 0) {
    context.arc(x, y, size, 0, 2 * Math.PI);
  } else if (shape === 1) {
    context.rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8);
  } else {
    context.moveTo(x, y - size * 1.2);
    context.lineTo(x + size * 1.2, y + size);
    context.lineTo(x - size * 1.2, y + size);
  }
  context.fill();
}

/** Writes bold text with a rim in the colour of the ground, readable on any points. */
function writeLabel(context, text, x, y) {
  context.font = "600 14px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 4;
  context.strokeStyle = styleValue("--card");
  context.strokeText(text, x, y);
  context.fillStyle = styleValue("--ink");
  context.fillText(text, x, y);
}
