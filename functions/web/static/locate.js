// Where in a JSON text something is, so that what a function says of `instances[0].image[3]` can be shown there.

// "instances[0].image[3]" or "instances[0]['a b']" as ["instances", 0, "image", 3]; null if a message names no place.
export function pathIn(message) {
  const found = /(?:^|[\s"'(])((?:instances|inputs|signature_name)(?:\[[^\]]*\]|\.[\w-]+)*)/.exec(message);
  if (!found) return null;
  return [...found[1].matchAll(/\[(\d+)\]|\[['"]?([^\]'"]*)['"]?\]|\.?([\w-]+)/g)]
    .map(([, index, quoted, name]) => (index === undefined ? quoted ?? name : Number(index)));
}

// The [start, end] of the value at a path, or of the closest one around it that is there; null for what is not JSON.
export function rangeOf(text, path) {
  const reader = { text, at: 0, path, best: null };
  try {
    read(reader, 0, true);
  } catch {
    return reader.best;
  }
  return reader.best;
}

// Where a text stops being JSON.
export function faultOf(text) {
  const reader = { text, at: 0, path: [], best: null };
  try {
    read(reader, 0, false);
    space(reader);
    return reader.at < text.length ? reader.at : null;
  } catch {
    return reader.at;
  }
}

export function lineAndColumn(text, at) {
  const before = text.slice(0, at).split("\n");
  return { line: before.length, column: before.at(-1).length + 1 };
}

function read(reader, depth, wanted) {
  space(reader);
  const start = reader.at, first = reader.text[start];
  if (first === "{") members(reader, depth, wanted);
  else if (first === "[") items(reader, depth, wanted);
  else take(reader, /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|-?Infinity|NaN/y);
  if (wanted && (!reader.best || depth > reader.best.depth)) reader.best = { start, end: reader.at, depth };
}

function members(reader, depth, wanted) {
  take(reader, /\{/y);
  space(reader);
  while (reader.text[reader.at] !== "}") {
    const name = JSON.parse(take(reader, /"(?:[^"\\]|\\.)*"/y));
    space(reader);
    take(reader, /:/y);
    read(reader, depth + 1, wanted && reader.path[depth] === name);
    space(reader);
    if (reader.text[reader.at] !== "}") take(reader, /,(?=\s*")/y);
    space(reader);
  }
  take(reader, /\}/y);
}

function items(reader, depth, wanted) {
  take(reader, /\[/y);
  space(reader);
  for (let index = 0; reader.text[reader.at] !== "]"; index++) {
    read(reader, depth + 1, wanted && reader.path[depth] === index);
    space(reader);
    if (reader.text[reader.at] !== "]") take(reader, /,(?!\s*\])/y);
    space(reader);
  }
  take(reader, /\]/y);
}

function space(reader) {
  take(reader, /\s*/y);
}

function take(reader, pattern) {
  pattern.lastIndex = reader.at;
  const found = pattern.exec(reader.text);
  if (!found) throw new SyntaxError("not JSON");
  reader.at += found[0].length;
  return found[0];
}
