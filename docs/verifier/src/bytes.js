// Bytes: hex, joining, big-endian integers, and the two hashes everything rests on (docs/formats.md, section 1).

import { sha256 } from "@noble/hashes/sha2.js";

export { sha256 };

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export const ascii = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
export const utf8 = (text) => new TextEncoder().encode(text);
export const toHex = (bytes) => Array.from(bytes, (byte) => HEX[byte]).join("");

/** Lower- or upper-case hex, even in length, to bytes. Callers have checked the spelling. */
export function fromHex(text) {
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at++) bytes[at] = parseInt(text.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

export function concat(...parts) {
  const joined = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** A number or BigInt as `size` bytes, most significant first. */
export function bigEndian(value, size) {
  const bytes = new Uint8Array(size);
  let rest = BigInt(value);
  for (let at = size - 1; at >= 0; at--, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  if (rest !== 0n) throw new Error(`${value} does not fit ${size} bytes`);
  return bytes;
}

export const littleEndianToInteger = (bytes) => BigInt(`0x${toHex(Uint8Array.from(bytes).reverse())}`);

/** Bytes in lexicographic order: negative, zero or positive. */
export function compare(left, right) {
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    if (left[at] !== right[at]) return left[at] - right[at];
  }
  return left.length - right.length;
}

export const equal = (left, right) => compare(left, right) === 0;

/** H("tallystick/name", data): a digest made for one purpose never equals one made for another. */
export function tagged(name, ...data) {
  const tag = ascii(`tallystick/${name}`);
  return sha256(concat(Uint8Array.of(tag.length), tag, ...data));
}
