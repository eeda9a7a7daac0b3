// A receipt and the genesis document in, a verdict with its reasons out (docs/formats.md, the end of section 9).
//
// Every check says in one sentence why it holds; the first that fails ends the verdict, which then claims nothing. Names
// and sentences are those of `tallystick receipt verify`, so that a test can hold the two verifiers against each other.

import { compare, equal, tagged, toHex } from "./bytes.js";
import { encodeTransaction } from "./document.js";
import { digestOf, domainSeparator } from "./eip712.js";
import { fieldFault } from "./fields.js";
import { isLowS, verifySpend } from "./keys.js";
import { checkCertificate, memberSet } from "./members.js";
import { leafHash, rootOfPath, verifyInclusion } from "./merkle.js";
import { REASONS } from "./reasons.js";
import { Refused, expect } from "./refused.js";
import { EPOCH_MEMBERS, GENESIS, HEADER, OUTCOME, RESULT } from "./shapes.js";

export const EXIT_VERIFIED = 0;
export const EXIT_NOT_VERIFIED = 1;

const ASSURANCE = { pbft: "BFT", raft: "CFT" };
const BYTES_ONLY = ["UNKNOWN_ACCOUNT", "WRONG_KEYS"];
const SUITE_SECP256K1_EIP712 = 0n;
const SIGNATURES_MAX = 10;

/** What follows from the genesis document: its hash, chain and first members; `Refused(BAD_FIELD)` if it names no set. */
export function networkOf(genesis) {
  const hash = tagged("genesis", GENESIS.encode(genesis));
  const number = BigInt(`0x${toHex(tagged("chain-id", hash).subarray(0, 8))}`);
  const chain = 1n + (number % (2n ** 52n - 1n));
  const members = memberSet(0n, genesis.members, genesis.engine);
  return { genesis, hash, chain, members, separator: domainSeparator(chain, hash) };
}

/** The verdict: { ok, exit_code, checks: [{ name, ok, sentence }], assurance, height, time_ms, status, reason, consumed }. */
export function verifyReceipt(receipt, network) {
  const { outcome, block } = receipt;
  const checks = run([
    ["form", () => "every field is of its type and within its bounds"],
    ...blockSteps(block, network),
    ...transactionSteps(receipt, network),
  ]);
  if (!checks.at(-1).ok) return { ok: false, exit_code: EXIT_NOT_VERIFIED, checks };
  return {
    ok: true,
    exit_code: EXIT_VERIFIED,
    checks,
    assurance: ASSURANCE[network.genesis.engine],
    height: block.header.height,
    time_ms: block.header.time_ms,
    status: outcome.status,
    reason: outcome.reason,
    consumed: !BYTES_ONLY.includes(outcome.reason),
  };
}

function run(steps) {
  const checks = [];
  for (const [name, step] of steps) {
    try {
      checks.push({ name, ok: true, sentence: step() });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      checks.push({ name, ok: false, sentence: error.detail });
      break;
    }
  }
  return checks;
}

// The block: this network's header, one link, a quorum over it or over a later one.

function blockSteps(block, network) {
  let members = network.members;
  const certified = block.anchor === null ? block.header : block.anchor.header;

  function walk() {
    let closed = 0n;
    for (const step of block.epochs) {
      const { header, result, certificate } = step;
      checkHeader(header, network, members);
      expect(header.height > closed, `epoch ${members.epoch} closes before it begins`);
      closed = header.height;
      const named = equal(result.next_epoch, tagged("members", EPOCH_MEMBERS.encode(step.members)));
      expect(
        named && step.members.epoch === members.epoch + 1n,
        `the block that closes epoch ${members.epoch} names other members`,
      );
      expect(equal(linkOf(header, result), certificate.link), "the certificate is about another link");
      checkSigned(certificate, header, network, members);
      members = memberSet(step.members.epoch, step.members.members, network.genesis.engine);
    }
    const changes = block.epochs.length;
    if (changes === 0) return "the members of epoch 0 follow from genesis";
    return `${changes} changes lead from genesis to the members of epoch ${changes}`;
  }

  function certificate() {
    const after = block.epochs.length === 0 ? 0n : block.epochs.at(-1).header.height;
    expect(block.header.height > after, "the block is older than its epoch");
    return checkSigned(block.certificate, certified, network, members);
  }

  return [
    ["members", walk],
    ["header", () => checkHeader(block.header, network, members)],
    ["link", () => checkLink(block, network, members)],
    ["certificate", certificate],
  ];
}

const blockHash = (header) => tagged("block", HEADER.encode(header));
const linkOf = (header, result) => tagged("link", blockHash(header), tagged("result", RESULT.encode(result)));

function checkHeader(header, { chain, genesis }, members) {
  expect(header.version === 1n, `header version ${header.version} is not known`);
  expect(header.chain === chain, "the block belongs to another network");
  expect(header.lane === genesis.lane, "the block belongs to another lane");
  expect(header.height >= 1n, "height 0 is the genesis document and has no header");
  expect(header.epoch === members.epoch, `the members of epoch ${header.epoch} are unknown`);
  return `the block is height ${header.height} of network ${chain}, lane ${header.lane}`;
}

function checkLink({ header, result, anchor, certificate }, network, members) {
  const link = linkOf(header, result);
  if (anchor === null) {
    expect(equal(link, certificate.link), "the certificate is about another link");
    return `header and result give link ${toHex(link)}, which the certificate names`;
  }
  checkHeader(anchor.header, network, members);
  const signed = linkOf(anchor.header, anchor.result);
  expect(equal(signed, certificate.link), "the certificate is about another link");
  const { height: size, history_root: root } = anchor.header;
  expect(
    verifyInclusion(leafHash(link), header.height, size, anchor.path, root),
    "the later block's history does not lead to this block's link",
  );
  return `link ${toHex(link)} stands in the history that height ${size} signs`;
}

/** A quorum of `members` signed to commit exactly this header's place. */
function checkSigned(certificate, header, { chain, genesis }, members) {
  expect(certificate.phase === "COMMIT", "the certificate does not commit, it only prepares");
  expect(certificate.epoch === header.epoch, "the certificate is of another epoch");
  expect(certificate.height === header.height, "the certificate is of another height");
  expect(equal(certificate.parent_link, header.parent_link), "the certificate names another parent");
  checkCertificate(certificate, chain, genesis.lane, members);
  const signers = certificate.votes.map((vote) => vote.signer).join(", ");
  const need = `${members.quorum} of ${members.count}`;
  return `members ${signers} signed to commit height ${header.height}; ${need} are needed`;
}

// The receipt: the payer's own bytes, in the block's order, with the outcome the quorum signed.

function transactionSteps(receipt, network) {
  const { transaction, outcome, block } = receipt;
  const bodyId = leafHash(encodeTransaction(transaction));
  const leaf = leafHash(OUTCOME.encode(outcome));
  const { header, result } = block;
  const { index } = outcome;
  return [
    ["transaction", () => checkNetwork(transaction, header, network)],
    ["identity", () => checkIdentity(transaction, bodyId, outcome, network)],
    ["signatures", () => checkSignatures(transaction.witnesses, outcome.digest)],
    ["ordered", () => checkPath("transaction", bodyId, index, receipt.transaction_path, header.tx_root)],
    ["executed", () => checkPath("outcome", leaf, index, receipt.outcome_path, result.receipts_root)],
    ["outcome", () => checkOutcome(receipt)],
  ];
}

function checkNetwork(transaction, header, { chain, genesis }) {
  expect(transaction.chain === chain, "the transaction is for another network");
  expect(transaction.lane === genesis.lane, "the transaction is for another lane");
  const fault = fieldFault(transaction);
  expect(fault === null, fault);
  const ahead = transaction.valid_until_ms - header.time_ms;
  expect(ahead >= 0n, "the transaction was ordered after its deadline");
  const longest = genesis.parameters.max_validity_ms;
  expect(ahead <= longest, "the transaction's deadline lay too far ahead when it was ordered");
  return "the transaction's bytes are canonical, for this network, and within its deadline";
}

function checkIdentity(transaction, bodyId, outcome, { separator }) {
  expect(equal(bodyId, outcome.body_id), "the outcome is about other bytes");
  const digest = digestOf(separator, transaction);
  expect(equal(digest, outcome.digest), "the outcome is about another digest");
  return `the bytes give the outcome's body id and digest ${toHex(digest)}`;
}

function checkSignatures(witnesses, digest) {
  expect(witnesses.length > 0, "the transaction carries no signature");
  expect(witnesses.length <= SIGNATURES_MAX, "the transaction carries too many signatures");
  const ascending = witnesses.every(({ key }, at) => at === 0 || compare(witnesses[at - 1].key, key) < 0);
  expect(ascending, "the signatures are not sorted by key, each key once");
  for (const { suite, key, signature } of witnesses) {
    expect(suite === SUITE_SECP256K1_EIP712, "the signature suite is not known");
    expect(isLowS(signature), "a signature is in high-s form");
    expect(verifySpend(key, digest, signature), `the signature of key ${toHex(key)} is not genuine`);
  }
  return `signed by ${witnesses.map(({ key }) => toHex(key)).join(", ")}`;
}

function checkPath(what, leaf, index, path, root) {
  const ledTo = rootOfPath(leaf, index, path);
  expect(ledTo !== null && equal(ledTo, root), `the path does not lead from the ${what} to the block's root`);
  return `the ${what} stands at index ${index} under root ${toHex(root)}`;
}

/** Whether the outcome says of the transaction what an outcome can say. */
function checkOutcome({ version, transaction, outcome, block: { header } }) {
  const settled = outcome.status === "SETTLED";
  const reason = REASONS.get(outcome.reason) ?? null;
  expect(version === 1n, `receipt version ${version} is not known`);
  expect(outcome.version === 1n, `outcome version ${outcome.version} is not known`);
  expect(
    outcome.lane === header.lane && outcome.height === header.height,
    "the outcome is of another lane or height",
  );
  expect(outcome.kind === transaction.kind, "the outcome is about another kind");
  expect(equal(outcome.account, transaction.account), "the outcome is about another account");
  expect(equal(outcome.id, transaction.id), "the outcome is about another id");
  expect(outcome.final, "no outcome of this version is interim");
  if (settled) {
    expect(reason === null, "a settled outcome has a reason to reject");
    const overruled = outcome.findings.some((finding) => ["HOLD", "REJECT"].includes(finding.outcome));
    expect(!overruled, "a settled outcome has a finding that forbids it");
    const settleBy = transaction.kind === "TRANSFER" ? transaction.settle_by_ms : 0n;
    expect(!(0n < settleBy && settleBy < header.time_ms), "the payment was settled after settle_by_ms");
  } else {
    expect(reason !== null && reason.onLedger, "the reason is not one for the ledger");
  }
  const opens = settled && transaction.kind === "OPEN_ACCOUNT";
  expect(outcome.opened.length === (opens ? 20 : 0), "the outcome opens what it cannot open");
  const said = `the outcome is final: ${outcome.status.toLowerCase()}`;
  if (reason === null) return said;
  const bytesOnly = BYTES_ONLY.includes(reason.code) ? " It is about these bytes only." : "";
  return `${said}, ${reason.code}: ${reason.sentence}${bytesOnly}`;
}
