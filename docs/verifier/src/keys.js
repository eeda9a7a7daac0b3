// The one verdict on a signature (docs/formats.md, sections 3 and 7).
//
// Ed25519 is checked here step by step, not by noble's `verify`: that multiplies by the cofactor and so accepts signatures
// which a node, which compares R as bytes, refuses. Two verifiers that differ on a forged vote are worse than one.

import { ed25519 } from "@noble/curves/ed25519.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { sha512 } from "@noble/hashes/sha2.js";

import { compare, concat, equal, littleEndianToInteger, toHex } from "./bytes.js";

const { Point } = ed25519;
const ORDER = Point.Fn.ORDER;
const HALF_ORDER = halfOrder();
const REMEMBERED_MAX = 4096;

/** `decide` of byte strings, with what it said before remembered: receipts of one block share a certificate. */
function remembering(decide) {
  const known = new Map();
  return (...parts) => {
    const name = parts.map(toHex).join(" ");
    if (!known.has(name)) {
      if (known.size >= REMEMBERED_MAX) known.clear();
      known.set(name, decide(...parts));
    }
    return known.get(name);
  };
}

/** The point of a vote key, null unless its encoding is canonical and its order large. */
const votePoint = remembering((key) => {
  if (key.length !== 32) return null;
  try {
    const point = Point.fromBytes(key, false);
    return point.isSmallOrder() ? null : point;
  } catch {
    return null;
  }
});

/** RFC 8032 without cofactor: s < L, and [s]B - [k]A encodes to exactly R. */
export const verifyVote = remembering((key, message, signature) => {
  const point = votePoint(key);
  if (point === null || signature.length !== 64) return false;
  const R = signature.subarray(0, 32);
  const s = littleEndianToInteger(signature.subarray(32));
  if (s >= ORDER) return false;
  const k = littleEndianToInteger(sha512(concat(R, key, message))) % ORDER;
  return equal(Point.BASE.multiplyUnsafe(s).subtract(point.multiplyUnsafe(k)).toBytes(), R);
});

export const isLowS = (signature) => signature.length === 64 && compare(signature.subarray(32), HALF_ORDER) <= 0;

/** secp256k1: a 33-byte compressed key, 64 bytes r‖s with low s, over a digest that is not hashed again. */
export const verifySpend = remembering((key, digest, signature) => {
  if (key.length !== 33 || digest.length !== 32 || signature.length !== 64) return false;
  try {
    return secp256k1.verify(signature, digest, key, { prehash: false, lowS: true, format: "compact" });
  } catch {
    return false;
  }
});

function halfOrder() {
  const half = (secp256k1.Point.Fn.ORDER >> 1n).toString(16).padStart(64, "0");
  return Uint8Array.from(half.match(/../g), (pair) => parseInt(pair, 16));
}
