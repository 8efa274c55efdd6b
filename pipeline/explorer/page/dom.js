// Small helpers of the page: elements, images on canvases, and work that is spread over frames.
"use strict";

const FRAME_WORK = 12; // milliseconds of work between two pictures on the screen

const element = (id) => document.getElementById(id);

/** Returns a new element; its text is set as text, never as HTML. */
function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** The value of a variable of the style sheet, such as "--ink". */
function styleValue(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Paints an image, Float32Array (C, H, W) in [0, 1], on a canvas of its size. */
function paint(canvas, image, [channels, height, width]) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const area = height * width;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = 255 * image[(c % channels) * area + i];
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}

/** Returns a figure with a canvas and a caption, and text for those who do not see the canvas. */
function imageFigure(caption, alternative) {
  const canvas = make("canvas", { role: "img", ariaLabel: alternative });
  return { canvas, figure: make("figure", {}, canvas, make("figcaption", { textContent: caption })) };
}

const URGENT_FIRST = ["drawing", "style", "mix", "swaps", "ends"];
const waiting = new Map(); // jobs that are not done yet, by name
let running = false;

/** Does jobs one after the other between frames, the urgent first; replaces those of the same name. */
function spread(name, jobs) {
  waiting.set(name, jobs.slice());
  if (running) return;
  running = true;
  requestAnimationFrame(work);
}

function work() {
  const end = performance.now() + FRAME_WORK;
  while (waiting.size && performance.now() < end) {
    const name = URGENT_FIRST.find((urgent) => waiting.has(urgent));
    const jobs = waiting.get(name);
    jobs.shift()?.();
    if (!jobs.length && waiting.get(name) === jobs) waiting.delete(name);
  }
  running = waiting.size > 0;
  if (running) requestAnimationFrame(work);
}

/** Whether all jobs that spread() was given are done. */
const isIdle = () => !running;

/** Calls `step` with the seconds since the start, once a frame, while the button is pressed. */
function whilePressed(button, step) {
  let begun = 0;
  const frame = (now) => {
    if (button.getAttribute("aria-pressed") !== "true") return;
    begun ||= now;
    step((now - begun) / 1000);
    requestAnimationFrame(frame);
  };
  button.addEventListener("click", () => {
    const pressed = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", pressed);
    button.textContent = pressed ? "Stop" : "Play";
    begun = 0;
    if (pressed) requestAnimationFrame(frame);
  });
}

/** Standard normal noise (Box and Muller, 1958). */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

/** Plots a code as bars around zero, and says it in words. */
function plotCode(canvas, code, words) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth || 300, 46];
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const shown = Array.from(code.subarray(0, 64));
  const reach = Math.max(3, ...shown.map(Math.abs));
  const step = width / shown.length;
  context.fillStyle = styleValue("--accent");
  shown.forEach((value, i) => {
    const size = (value / reach) * (height / 2 - 1);
    context.fillRect(i * step + 1, height / 2 - Math.max(0, size), Math.max(1, step - 2), Math.abs(size));
  });
  context.fillStyle = styleValue("--frame");
  context.fillRect(0, height / 2 - 0.5, width, 1);
  const more = code.length > 64 ? `, the first 64 of ${code.length} numbers` : "";
  canvas.ariaLabel = `${words}${more}: ${shown.map((value) => value.toFixed(1)).join(", ")}`;
}
