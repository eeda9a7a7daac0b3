// JSON for evidence. `JSON.parse` will not do: it reads numbers as doubles, and 2^63 - 1 is a legal amount.
//
// Decided here: integers become BigInt, any other number a `Fraction`, objects a Map in the order of the text (of a key
// that stands twice the last value stays: who reads compares the text afterwards). Nesting is bounded.

import { malformed } from "./refused.js";

const DEPTH_MAX = 64;
const SPACE = new Set([" ", "\t", "\n", "\r"]);
const ESCAPED = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;

/** A number with a fraction or an exponent. No field of ours is one. */
export class Fraction {}

/** UTF-8 text to values, or `Refused(MALFORMED)`. */
export function parse(bytes) {
  return new Reader(textOf(bytes)).document();
}

/** The text of a file; a byte order mark is an ordinary, and so a wrong, character. */
export function textOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed("the text is not UTF-8");
  }
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  document() {
    const value = this.value(0);
    this.space();
    if (this.at < this.text.length) throw malformed("something follows the JSON document");
    return value;
  }

  space() {
    while (SPACE.has(this.text[this.at])) this.at++;
  }

  value(depth) {
    if (depth > DEPTH_MAX) throw malformed("the document is nested too deeply");
    this.space();
    const first = this.text[this.at];
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    if (first === '"') return this.string();
    for (const [word, value] of [["true", true], ["false", false], ["null", null]]) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  object(depth) {
    const found = new Map();
    this.items("}", () => {
      if (this.text[this.at] !== '"') throw malformed("a key is not a text");
      const key = this.string();
      this.space();
      if (this.text[this.at++] !== ":") throw malformed("a key has no value");
      found.set(key, this.value(depth + 1));
    });
    return found;
  }

  array(depth) {
    const found = [];
    this.items("]", () => found.push(this.value(depth + 1)));
    return found;
  }

  items(end, item) {
    this.at++;
    this.space();
    if (this.text[this.at] === end) {
      this.at++;
      return;
    }
    for (;;) {
      this.space();
      item();
      this.space();
      const next = this.text[this.at++];
      if (next === end) return;
      if (next !== ",") throw malformed("a list or an object does not go on");
    }
  }

  string() {
    const parts = [];
    this.at++;
    for (;;) {
      parts.push(this.match(PLAIN)[0]);
      const next = this.text[this.at++];
      if (next === '"') return parts.join("");
      if (next !== "\\") throw malformed("a text holds a control character or does not end");
      parts.push(this.escape());
    }
  }

  escape() {
    const letter = this.text[this.at++];
    if (letter !== "u") {
      if (!Object.hasOwn(ESCAPED, letter)) throw malformed("an escape is not known");
      return ESCAPED[letter];
    }
    const unit = this.unit();
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit);
    const pair = unit < 0xdc00 && this.text.startsWith("\\u", this.at);
    this.at += 2;
    const second = pair ? this.unit() : 0;
    if (second < 0xdc00 || second > 0xdfff) throw malformed("half of a surrogate pair");
    return String.fromCharCode(unit, second);
  }

  unit() {
    const digits = this.text.slice(this.at, this.at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw malformed("an escape is not four hex digits");
    this.at += 4;
    return parseInt(digits, 16);
  }

  number() {
    const found = this.match(NUMBER);
    if (found === null) throw malformed("not a JSON value");
    return found[1] === undefined && found[2] === undefined ? BigInt(found[0]) : new Fraction();
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found !== null) this.at = pattern.lastIndex;
    return found;
  }
}

/** Values to text. `indent` 2 puts each member on a line of its own; 0 leaves no white space at all. */
export function write(value, indent, level = 0) {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object" || value === null) return String(value);
  const list = Array.isArray(value);
  const colon = indent > 0 ? ": " : ":";
  const items = list
    ? value.map((item) => write(item, indent, level + 1))
    : Array.from(value, ([key, item]) => JSON.stringify(key) + colon + write(item, indent, level + 1));
  const [open, close] = list ? "[]" : "{}";
  if (items.length === 0) return open + close;
  if (indent === 0) return open + items.join(",") + close;
  const line = `\n${" ".repeat(indent * (level + 1))}`;
  return `${open}${line}${items.join(`,${line}`)}\n${" ".repeat(indent * level)}${close}`;
}

/** The same document with its keys sorted: two documents are equal where this text is. */
export function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (!(value instanceof Map)) return value;
  const keys = Array.from(value.keys()).sort();
  return new Map(keys.map((key) => [key, sorted(value.get(key))]));
}

/** The text without the white space that stands between its tokens. */
export const minified = (text) => text.replace(/("(?:[^"\\]|\\.)*")|[ \t\n\r]+/gs, (_, quoted) => quoted ?? "");
