// Strokes into the grid of numbers that an image model takes.
//
// The makers of the 8 x 8 digits scanned handwriting, scaled each digit to 20 by 32 dots in a square of 32, made its lines
// as thick as those of any other, and counted the dots in blocks of 4 by 4 (NISTIR 5469; https://doi.org/10.24432/C50P49).
// Their images are inked to 30.5 %, whatever the digit; of widths from 16 to 24 the bundled model reads 18 best. Larger
// squares are drawn as MNIST is: as it was written, in the middle 20 of 28 (https://doi.org/10.1109/5.726791).

const BLOCK = 4;
const SCANNED = { high: 1, wide: 18 / 32, ink: 0.305, keepsShape: false };
const WRITTEN = { high: 20 / 28, wide: 20 / 28, ink: 0.12, keepsShape: true };
// A digit narrower than this against its height is a line, and is not blown up to the whole width.
const NARROW = 0.35;

// strokes: lists of [x, y]; size: {height, width, minimum, maximum}. Returns rows of numbers, or null without ink.
export function rasterise(strokes, { height, width, minimum = 0, maximum = 1 }) {
  const points = strokes.flat();
  if (!points.length) return null;
  const rows = height * BLOCK, columns = width * BLOCK;
  const style = Math.max(height, width) <= 16 ? SCANNED : WRITTEN;
  const dots = inked(strokes, boxOf(points), { rows, columns, style });
  const scale = (maximum - minimum) / (BLOCK * BLOCK);
  return Array.from({ length: height }, (_, row) => Array.from({ length: width }, (_, column) => {
    let count = 0;
    for (let y = 0; y < BLOCK; y++) for (let x = 0; x < BLOCK; x++) count += dots[(row * BLOCK + y) * columns + column * BLOCK + x];
    return minimum + count * scale;
  }));
}

// The pen is made as thick as it takes: half of what is too thin and too thick, eight times over.
function inked(strokes, box, { rows, columns, style }) {
  let [thin, thick] = [rows / 16, rows / 2.5];
  let dots;
  for (let round = 0; round < 8; round++) {
    const pen = (thin + thick) / 2;
    dots = drawn(placed(strokes, box, { rows, columns, style, pen }), rows, columns, pen / 2);
    if (dots.reduce((sum, dot) => sum + dot, 0) < style.ink * rows * columns) thin = pen;
    else thick = pen;
  }
  return dots;
}

function boxOf(points) {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  return { left, top, wide: right - left, high: bottom - top };
}

// Moves and scales the strokes so that with their pen they fill their part of the square, in its middle.
function placed(strokes, box, { rows, columns, style, pen }) {
  const high = Math.max(1, rows * style.high - pen), wide = Math.max(1, columns * style.wide - pen);
  let down = high / Math.max(box.high, 1e-9), across = wide / Math.max(box.wide, 1e-9);
  if (style.keepsShape) down = across = Math.min(down, across);
  else {
    across = Math.min(across, down * Math.max(1, wide / (high * NARROW)));
    down = Math.min(down, across * 6);
  }
  const x0 = (columns - box.wide * across) / 2, y0 = (rows - box.high * down) / 2;
  return strokes.map((stroke) => stroke.map(([x, y]) => [x0 + (x - box.left) * across, y0 + (y - box.top) * down]));
}

function drawn(strokes, rows, columns, radius) {
  const dots = new Uint8Array(rows * columns);
  for (const stroke of strokes) {
    stroke.forEach((to, index) => line(dots, stroke[Math.max(0, index - 1)], to, { rows, columns, radius }));
  }
  return dots;
}

// Inks every dot whose middle is within the radius of a line.
function line(dots, [x1, y1], [x2, y2], { rows, columns, radius }) {
  const [dx, dy] = [x2 - x1, y2 - y1], length = dx * dx + dy * dy || 1;
  const within = (low, high, most) => [Math.max(0, Math.floor(low - radius)), Math.min(most - 1, Math.ceil(high + radius))];
  const [top, bottom] = within(Math.min(y1, y2), Math.max(y1, y2), rows);
  const [left, right] = within(Math.min(x1, x2), Math.max(x1, x2), columns);
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const [px, py] = [x + 0.5 - x1, y + 0.5 - y1];
      const along = Math.min(1, Math.max(0, (px * dx + py * dy) / length));
      if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= radius * radius) dots[y * columns + x] = 1;
    }
  }
}
