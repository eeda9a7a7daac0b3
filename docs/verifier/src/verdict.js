// Two files in, one plain answer out: the same for the page, for node and for a test.

import { genesisFromBytes, receiptFromBytes } from "./document.js";
import { Refused } from "./refused.js";
import { networkOf, verifyReceipt } from "./verify.js";

/**
 * { refused: { file: "genesis" | "receipt", code, detail } } where a file cannot be read, else the verdict of `verify.js`.
 * An error that is not `Refused` is a fault of this program, and is thrown.
 */
export function verdictOf(receiptBytes, genesisBytes) {
  const network = readAs("genesis", () => networkOf(genesisFromBytes(genesisBytes)));
  return network.refused === undefined ? verdictIn(network, receiptBytes) : network;
}

/** The same for one network and many receipts. */
export function verdictIn(network, receiptBytes) {
  const receipt = readAs("receipt", () => receiptFromBytes(receiptBytes));
  return receipt.refused === undefined ? verifyReceipt(receipt, network) : receipt;
}

function readAs(file, read) {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { refused: { file, code: error.code, detail: error.detail } };
  }
}
