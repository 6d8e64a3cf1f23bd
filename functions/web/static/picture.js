// A small grey image out of numbers: what an image model saw.

import { h } from "./dom.js";

// rows: numbers, or [number] or [r, g, b] for each point. Returns null for what is not an image.
export function asPicture(rows, { minimum = null, maximum = null } = {}) {
  if (!Array.isArray(rows) || rows.length < 2 || rows.length > 512) return null;
  const width = Array.isArray(rows[0]) ? rows[0].length : 0;
  if (width < 2 || width > 512 || !rows.every((row) => Array.isArray(row) && row.length === width)) return null;
  const points = rows.flat().map((point) => (Array.isArray(point) ? point : [point]));
  const channels = points[0].length;
  if (![1, 3].includes(channels)) return null;
  if (!points.every((point) => point.length === channels && point.every((value) => typeof value === "number"))) return null;
  const values = points.flat();
  const low = minimum ?? values.reduce((a, b) => Math.min(a, b), 0);
  const high = maximum ?? values.reduce((a, b) => Math.max(a, b), low + 1e-9);
  return { width, height: rows.length, channels, shades: values.map((value) => (value - low) / (high - low)) };
}

// Ink on paper, in both themes: zero is white.
export function draw(canvas, { width, height, channels, shades }) {
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let at = 0; at < width * height; at++) {
    for (let colour = 0; colour < 3; colour++) {
      const shade = shades[at * channels + (channels === 3 ? colour : 0)];
      image.data[4 * at + colour] = Math.round(255 * (channels === 3 ? shade : 1 - shade));
    }
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

export function picture(rows, description, range = {}) {
  const found = asPicture(rows, range);
  if (!found) return null;
  const canvas = h("canvas", { class: "picture", role: "img", "aria-label": description });
  draw(canvas, found);
  return canvas;
}

// The image in an instance: the instance itself, or the one member that is one.
export function imageIn(instance) {
  const candidates = Array.isArray(instance) ? [instance] : Object.values(instance ?? {});
  return candidates.find((value) => asPicture(value)) ?? null;
}
