// A small language of types: what a field may hold, how it is read from JSON, written to JSON, and encoded.
//
// Each type is { read(json, readable), write(value, readable), encode(value) } over the values that the verifier works
// with: BigInt, Uint8Array, string, boolean, null, arrays, and plain objects by field name. A genesis file (`readable`)
// has lower-case hex only and numbers where a receipt has names; a receipt's other spellings are refused by its text.

import { concat, fromHex, toHex, utf8 } from "./bytes.js";
import { absent, arrayHead, binary, integer, text as packedText, truth } from "./msgpack.js";
import { malformed } from "./refused.js";

const PAIRS = /^[ \t\n\v\f\r]*(?:[0-9a-fA-F]{2}[ \t\n\v\f\r]*)*$/;
const LOWER_PAIRS = /^(?:[0-9a-f]{2})*$/;

export const U16 = int(0n, 2n ** 16n - 1n);
export const U32 = int(0n, 2n ** 32n - 1n);
export const U63 = int(0n, 2n ** 63n - 1n);

export function int(low, high) {
  const within = (value, where) => {
    if (typeof value !== "bigint" || value < low || value > high) throw malformed(`${where}: not within its bounds`);
    return value;
  };
  return { read: (json, readable, where) => within(json, where), write: (value) => value, encode: integer, within };
}

/** Minor units: a decimal string in a receipt, which a reader with doubles cannot round; a number in a genesis file. */
export function minor(low, high) {
  const plain = int(low, high);
  const read = (json, readable, where) => {
    if (readable) return plain.within(json, where);
    if (typeof json !== "string" || !/^[0-9]{1,19}$/.test(json)) throw malformed(`${where}: not a decimal number`);
    return plain.within(BigInt(json), where);
  };
  return { read, write: (value, readable) => (readable ? value : value.toString()), encode: integer };
}

export function bytes(low, high = low) {
  const read = (json, readable, where) => {
    if (typeof json !== "string" || !(readable ? LOWER_PAIRS : PAIRS).test(json)) throw malformed(`${where}: not hex`);
    const value = fromHex(json.replace(/[ \t\n\v\f\r]/g, ""));
    if (value.length < low || value.length > high) throw malformed(`${where}: not of its length`);
    return value;
  };
  return { read, write: toHex, encode: binary };
}

/** `low` to `high` characters (code points), matching `pattern`. */
export function text(low, high, pattern = /^/) {
  const read = (json, readable, where) => {
    const length = typeof json === "string" ? Array.from(json).length : -1;
    if (length < low || length > high || !pattern.test(json)) throw malformed(`${where}: not such a text`);
    return json;
  };
  return { read, write: (value) => value, encode: (value) => packedText(utf8(value)) };
}

/** Exactly this number or text. */
export function literal(type, ...values) {
  const read = (json, readable, where) => {
    if (!values.includes(json)) throw malformed(`${where}: not a known value`);
    return json;
  };
  return { ...type, read };
}

export const bool = {
  read: (json, readable, where) => {
    if (typeof json !== "boolean") throw malformed(`${where}: not true or false`);
    return json;
  },
  write: (value) => value,
  encode: truth,
};

/** A number that a receipt writes as a name. The value is the name (or null); `numbers` is a Map from it. */
export function named(numbers) {
  const read = (json, readable, where) => {
    if (!numbers.has(json)) throw malformed(`${where}: not a known name`);
    return json;
  };
  return { read, write: (name) => name, encode: (name) => integer(numbers.get(name)) };
}

export function list(item, low, high) {
  const read = (json, readable, where) => {
    if (!Array.isArray(json)) throw malformed(`${where}: not a list`);
    const values = json.map((each) => item.read(each, readable, where));
    if (values.length < low || values.length > high) throw malformed(`${where}: too few or too many`);
    return values;
  };
  return {
    read,
    write: (values, readable) => values.map((each) => item.write(each, readable)),
    encode: (values) => concat(arrayHead(values.length), ...values.map(item.encode)),
  };
}

export function optional(type) {
  return {
    read: (json, readable, where) => (json === null ? null : type.read(json, readable, where)),
    write: (value, readable) => (value === null ? null : type.write(value, readable)),
    encode: (value) => (value === null ? absent : type.encode(value)),
  };
}

/** All fields, no others. Encoded as an array in this order, after `tag` where the struct is one of several kinds. */
export function struct(name, fields, tag = null) {
  const entries = Object.entries(fields);
  const head = concat(arrayHead(entries.length + (tag === null ? 0 : 1)), ...(tag === null ? [] : [integer(tag)]));
  return {
    fields,
    read(json, readable) {
      if (!(json instanceof Map)) throw malformed(`${name}: not an object`);
      if (json.size !== entries.length || !entries.every(([field]) => json.has(field))) {
        throw malformed(`${name}: a field is missing or unknown`);
      }
      return Object.fromEntries(
        entries.map(([field, type]) => [field, type.read(json.get(field), readable, `${name}.${field}`)]),
      );
    },
    write: (value, readable) => new Map(entries.map(([field, type]) => [field, type.write(value[field], readable)])),
    encode: (value) => concat(head, ...entries.map(([field, type]) => type.encode(value[field]))),
  };
}
