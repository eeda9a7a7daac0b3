// A file becomes a value, or is refused: OVERSIZED, MALFORMED, or NON_CANONICAL (another text of a value that has one).

import { utf8 } from "./bytes.js";
import { minified, parse, sorted, textOf, write } from "./json.js";
import { Refused, malformed } from "./refused.js";
import { GENESIS, TRANSACTIONS, receiptOf } from "./shapes.js";

const GENESIS_FILE_BYTES_MAX = 16 * 1024 * 1024;
const RECEIPT_BYTES_MAX = 2 * 1024 * 1024;
const TRANSACTION_BYTES_MAX = 8_192;
const OPENINGS_MAX = 8_192;
const FORMAT = "tallystick/receipt";

const TRANSACTION = { read: readTransaction, write: writeTransaction };
const RECEIPT = receiptOf(TRANSACTION);

/** The receipt of a file's bytes. Its text, written again, is the file: so any changed byte is found. */
export function receiptFromBytes(data) {
  bounded(data, RECEIPT_BYTES_MAX);
  if (data.reduce((count, byte) => count + (byte === 0x5b || byte === 0x7b ? 1 : 0), 0) > OPENINGS_MAX) {
    throw malformed("the file opens more objects than a receipt has");
  }
  const document = parse(data);
  if (!(document instanceof Map) || document.get("format") !== FORMAT) {
    throw malformed(`the document is not a ${FORMAT}`);
  }
  const fields = new Map(document);
  fields.delete("format");
  const transaction = readTransaction(fields.get("transaction"));
  if (encodeTransaction(transaction).length > TRANSACTION_BYTES_MAX) {
    throw new Refused("OVERSIZED", "the transaction is larger than its bound");
  }
  same(writeTransaction(transaction), fields.get("transaction"));
  const receipt = RECEIPT.read(fields, false);
  const written = new Map([["format", FORMAT], ...RECEIPT.write(receipt, false)]);
  if (`${write(written, 2)}\n` !== textOf(data)) {
    throw new Refused("NON_CANONICAL", "the file is not the one text of its receipt");
  }
  return receipt;
}

/**
 * The file of a receipt that stands on one line, as a node's API gives it; anything else as it is. Only a line that says
 * each thing once, in its one spelling, is spread out: white space is all that may differ.
 */
export function spreadOut(data) {
  try {
    const line = textOf(data).replace(/\n+$/, "");
    if (data.length > RECEIPT_BYTES_MAX || line.includes("\n")) return data;
    const document = parse(utf8(line));
    return write(document, 0) === minified(line) ? utf8(`${write(document, 2)}\n`) : data;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return data; // reading it says what is wrong
  }
}

/** The genesis document of a file's bytes. Only its white space is free. */
export function genesisFromBytes(data) {
  bounded(data, GENESIS_FILE_BYTES_MAX);
  const genesis = GENESIS.read(parse(data), true);
  if (minified(textOf(data)) !== write(GENESIS.write(genesis, true), 0)) {
    throw new Refused("NON_CANONICAL", "a key stands twice or out of order, or a text is escaped");
  }
  return genesis;
}

/** The canonical bytes that the payer sent; `transaction.kind` says which kind. */
export const encodeTransaction = (transaction) => TRANSACTIONS[transaction.kind].encode(transaction);

function readTransaction(json) {
  const fields = new Map(json instanceof Map ? json : []);
  const kind = fields.get("kind");
  fields.delete("kind");
  if (typeof kind !== "string" || !Object.hasOwn(TRANSACTIONS, kind)) {
    throw malformed("transaction: the kind is not known");
  }
  return { kind, ...TRANSACTIONS[kind].read(fields, false) };
}

function writeTransaction(transaction) {
  return new Map([["kind", transaction.kind], ...TRANSACTIONS[transaction.kind].write(transaction, false)]);
}

function same(written, document) {
  if (write(sorted(written), 0) !== write(sorted(document), 0)) {
    throw new Refused("NON_CANONICAL", "the document is not the one form of its value");
  }
}

function bounded(data, bytesMax) {
  if (data.length > bytesMax) throw new Refused("OVERSIZED", `${data.length} bytes are more than ${bytesMax}`);
}
