// A square to draw in: with a mouse, a pen or a finger, or by keyboard. What is drawn are strokes of [x, y] from 0 to 100.

import { announce, button, h } from "./dom.js";

const SIDE = 300, PEN = 22, STEP = 4;
const MOVES = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
const HOW = "Draw with a mouse, a pen or a finger. By keyboard: arrows move the pen, Space puts it down and lifts it, Backspace undoes, Delete clears.";

export class Drawing {
  // changed(strokes) is called whenever a stroke has ended, and when there is none any more.
  constructor(changed) {
    this.changed = changed;
    this.strokes = [];
    this.pen = { at: [50, 20], down: false };
    this.canvas = h("canvas", { class: "drawing", width: SIDE, height: SIDE, tabindex: "0", role: "application",
      "aria-label": "Drawing area", "aria-describedby": "drawing-how" });
    this.element = h("div", { class: "drawing-board" }, this.canvas,
      h("p", { id: "drawing-how", class: "quiet small" }, HOW),
      h("div", { class: "row" }, button("Clear", () => this.clear()), button("Undo", () => this.undo())));
    this.listen();
    this.paint();
  }

  listen() {
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.follow(event));
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, (event) => this.end(event));
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.canvas.addEventListener("focus", () => this.paint());
    this.canvas.addEventListener("blur", () => (this.pen.down ? this.lift() : this.paint()));
  }

  begin(event) {
    if (event.button !== 0 || !event.isPrimary) return; // a second finger, or a palm
    this.canvas.setPointerCapture(event.pointerId);
    this.lift();
    this.drawn = [this.place(event)];
    this.strokes.push(this.drawn);
    this.paint();
  }

  follow(event) {
    if (!this.drawn || !event.isPrimary) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) this.drawn.push(this.place(move));
    this.paint();
  }

  end(event) {
    if (!this.drawn || !event.isPrimary) return;
    this.drawn = null;
    this.changed(this.strokes);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [100 * (event.clientX - box.left) / box.width, 100 * (event.clientY - box.top) / box.height];
  }

  press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own
    const move = MOVES[event.key];
    if (move) this.step(move);
    else if (event.key === " ") this.toggle();
    else if (event.key === "Backspace") this.undo();
    else if (event.key === "Delete") this.clear();
    else return;
    event.preventDefault();
  }

  step([dx, dy]) {
    this.pen.at = [[0, dx], [1, dy]].map(([axis, by]) => Math.min(100, Math.max(0, this.pen.at[axis] + by)));
    if (this.pen.down) this.strokes.at(-1).push(this.pen.at);
    this.paint();
  }

  toggle() {
    if (this.pen.down) this.lift(true);
    else {
      this.pen.down = true;
      this.strokes.push([this.pen.at]);
      announce("Pen down");
      this.paint();
    }
  }

  lift(told = false) {
    if (!this.pen.down) return;
    this.pen.down = false;
    if (told) announce("Pen up");
    this.paint();
    this.changed(this.strokes);
  }

  undo() {
    this.pen.down = false;
    this.strokes.pop();
    this.paint();
    this.changed(this.strokes);
  }

  clear(quietly = false) {
    this.pen.down = false;
    this.strokes = [];
    this.paint();
    if (!quietly) this.changed(this.strokes);
  }

  // White paper in both themes, as the models were trained on.
  paint() {
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, SIDE, SIDE);
    Object.assign(context, { strokeStyle: "#1c1d2b", lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    for (const stroke of this.strokes) {
      context.beginPath();
      // A stroke of one point is a dot.
      for (const [x, y] of [stroke[0], ...stroke]) context.lineTo(x * SIDE / 100, y * SIDE / 100);
      context.stroke();
    }
    if (document.activeElement === this.canvas && this.canvas.matches(":focus-visible")) this.paintPen(context);
  }

  paintPen(context) {
    const [x, y] = this.pen.at.map((part) => part * SIDE / 100);
    Object.assign(context, { lineWidth: 3, strokeStyle: this.pen.down ? "#a3172b" : "#4a3fb5" });
    context.beginPath();
    context.arc(x, y, PEN / 2, 0, 2 * Math.PI);
    context.stroke();
  }
}
