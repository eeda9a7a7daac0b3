// The one canonical encoding: msgpack, each value in its shortest form, structs as arrays (docs/formats.md, section 1).
// A verifier of files only ever writes it: what it hashes is made from values that were read and bounded.

import { bigEndian, concat } from "./bytes.js";

export const absent = Uint8Array.of(0xc0);
export const truth = (value) => Uint8Array.of(value ? 0xc3 : 0xc2);

/** 0 ≤ value < 2^64. */
export function integer(value) {
  const number = BigInt(value);
  if (number < 0x80n) return Uint8Array.of(Number(number));
  if (number < 0x100n) return headed(0xcc, number, 1);
  if (number < 0x10000n) return headed(0xcd, number, 2);
  return number < 0x100000000n ? headed(0xce, number, 4) : headed(0xcf, number, 8);
}

export const binary = (bytes) => concat(sized(bytes.length, 0xc4), bytes);

/** UTF-8 bytes. */
export function text(bytes) {
  return concat(bytes.length < 32 ? Uint8Array.of(0xa0 | bytes.length) : sized(bytes.length, 0xd9), bytes);
}

export function arrayHead(length) {
  if (length < 16) return Uint8Array.of(0x90 | length);
  return length < 0x10000 ? headed(0xdc, length, 2) : headed(0xdd, length, 4);
}

function sized(length, first) {
  if (length < 0x100) return headed(first, length, 1);
  return length < 0x10000 ? headed(first + 1, length, 2) : headed(first + 2, length, 4);
}

const headed = (head, value, size) => concat(Uint8Array.of(head), bigEndian(value, size));
