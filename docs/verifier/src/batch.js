// For tests: node reads one JSON line after the other and answers each with one line. No file, no network.
//
//   {"genesis": base64}                     the network that the next lines are about
//   {"receipt": base64}                     its verdict
//   {"receipt": base64, "flips": [[at, byte] …]}   the verdicts on copies with one byte changed
//   {"vote" | "spend": [key, message, signature]}  in hex: whether the signature is genuine
//   {"reasons": true}                       the table of reasons

import { createInterface } from "node:readline";

import { fromHex } from "./bytes.js";
import { genesisFromBytes } from "./document.js";
import { verifySpend, verifyVote } from "./keys.js";
import { REASONS } from "./reasons.js";
import { verdictIn, verdictOf } from "./verdict.js";
import { networkOf } from "./verify.js";

let genesis = null;
let network = null;

function answer(line) {
  if (line.genesis !== undefined) {
    genesis = Buffer.from(line.genesis, "base64");
    network = null;
    return { genesis: genesis.length };
  }
  if (line.flips !== undefined) return flipped(Buffer.from(line.receipt, "base64"), line.flips);
  if (line.receipt !== undefined) return verdictOf(Buffer.from(line.receipt, "base64"), genesis);
  if (line.vote !== undefined) return verifyVote(...line.vote.map(fromHex));
  if (line.spend !== undefined) return verifySpend(...line.spend.map(fromHex));
  return Array.from(REASONS.values());
}

function flipped(receipt, flips) {
  network ??= networkOf(genesisFromBytes(genesis));
  return flips.map(([at, byte]) => {
    const changed = Uint8Array.from(receipt);
    changed[at] = byte;
    return short(verdictIn(network, changed));
  });
}

/** Enough to compare: the code of a refusal, or the checks' names and the last sentence. */
function short(verdict) {
  if (verdict.refused !== undefined) return verdict.refused.code;
  const last = verdict.checks.at(-1);
  return [verdict.ok, last.name, last.sentence];
}

const plain = (_, value) => (typeof value === "bigint" ? Number(value) : value);

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(answer(JSON.parse(line)), plain)}\n`);
}
