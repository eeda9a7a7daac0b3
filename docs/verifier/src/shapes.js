// What stands in a genesis file and in a receipt, field by field (docs/formats.md, sections 2, 3, 6, 8 and 9).

import { REASONS } from "./reasons.js";
import { U16, U32, U63, bool, bytes, int, list, literal, minor, named, optional, struct, text } from "./schema.js";

const HASH = bytes(32);
const KEY = bytes(33);
const SIGNATURE = bytes(64);
const CHAIN = int(1n, 2n ** 52n - 1n);
const TIME = int(0n, 2n ** 53n - 1n);
const VERSION = int(1n, 2n ** 16n - 1n);
const NAME = text(1, 64);
const ASSET = text(3, 12, /^[A-Z][A-Z0-9]+$/);
const AMOUNT = minor(1n, 2n ** 63n - 1n);
const SUM = minor(0n, 2n ** 63n - 1n);
const MEMBER_ID = int(0n, 999n);
const MINUTE = int(10n, 60_000n);

/** Names in a receipt for numbers in the encoding: the first name is `first`, the next one more. */
const names = (first, ...all) => named(new Map(all.map((name, at) => [name, BigInt(first + at)])));

const KIND = names(1, "OPEN_ACCOUNT", "ISSUE", "TRANSFER", "CHANGE_MEMBERS", "ACTIVATE_SPARE");
const RULE = names(1, ...Array.from({ length: 30 }, (_, at) => `R${String(at + 1).padStart(2, "0")}`));
const REASON = named(new Map([[null, 0n], ...Array.from(REASONS.values(), (each) => [each.code, each.number])]));

const MEMBER = struct("Member", { id: U16, name: NAME, participant: U32, vote_key: HASH, tls_key_hash: HASH });
const SPARE = struct("Spare", { id: U16, participant: U32 });

// Section 2.

const PARAMETERS = struct("Parameters", {
  max_validity_ms: int(1_000n, 7n * 86_400_000n),
  window_ms: int(1_000n, 3_600_000n),
  precision_ms: int(1n, 60_000n),
  late_ms: int(100n, 600_000n),
  idle_block_ms: MINUTE,
  view_timeout_ms: MINUTE,
  view_timeout_ms_max: MINUTE,
  pipeline: int(1n, 8n),
  block_transactions_max: int(1n, 4_096n),
  block_work_max: int(10n, 1_000_000n),
  checkpoint_blocks: int(10n, 1_000_000n),
  checkpoint_ms: int(100n, 86_400_000n),
});
const PARTICIPANT = struct("Participant", {
  id: U32,
  name: NAME,
  keys: list(KEY, 1, 10),
  threshold: int(1n, 10n),
  seed: bytes(16),
});
const ASSET_ENTRY = struct("Asset", {
  code: ASSET,
  exponent: int(0n, 6n),
  issuer: U32,
  supply_cap_minor: AMOUNT,
});
const CHECKPOINT_KEY = struct("CheckpointKey", { member: U16, key: bytes(48), possession: bytes(96) });
const RULE_ENTRY = struct("Rule", {
  rule: int(1n, 30n),
  version: int(1n, 2n ** 32n - 1n),
  asset: ASSET,
  tier: int(0n, 3n),
  limit_minor: SUM,
});

export const GENESIS = struct("Genesis", {
  version: literal(VERSION, 1n),
  name: NAME,
  lane: U16,
  engine: literal(NAME, "pbft", "raft"),
  created_ms: TIME,
  parameters: PARAMETERS,
  members: list(MEMBER, 1, 64),
  participants: list(PARTICIPANT, 1, 4_096),
  assets: list(ASSET_ENTRY, 0, 64),
  rules: list(RULE_ENTRY, 0, 1_000),
  governor: U32,
  spares: list(SPARE, 0, 256),
  checkpoint_keys: list(CHECKPOINT_KEY, 0, 64),
});

// Section 3.

const WITNESS = struct("Witness", { suite: int(0n, 255n), key: KEY, signature: SIGNATURE });
const COMMON = { chain: CHAIN, lane: U16, account: bytes(20), id: HASH, valid_until_ms: TIME, payload_root: HASH };

function kind(number, name, own) {
  return struct(name, { ...COMMON, ...own, witnesses: list(WITNESS, 0, 16) }, number);
}

export const TRANSACTIONS = {
  OPEN_ACCOUNT: kind(1, "OpenAccount", {
    keys: list(KEY, 1, 10),
    threshold: int(1n, 10n),
    tier: int(0n, 3n),
    seed: bytes(16),
  }),
  ISSUE: kind(2, "Issue", { creditor: bytes(20), asset: ASSET, amount_minor: AMOUNT }),
  TRANSFER: kind(3, "Transfer", { creditor: bytes(20), asset: ASSET, amount_minor: AMOUNT, settle_by_ms: TIME }),
  CHANGE_MEMBERS: kind(4, "ChangeMembers", {
    leaving: list(MEMBER_ID, 0, 32),
    joining: list(MEMBER, 0, 32),
    spares: list(SPARE, 0, 32),
  }),
  ACTIVATE_SPARE: kind(5, "ActivateSpare", {
    member: MEMBER_ID,
    spare: MEMBER_ID,
    vote_key: HASH,
    tls_key_hash: HASH,
  }),
};

// Sections 6, 8 and 9.

export const HEADER = struct("Header", {
  version: VERSION,
  chain: CHAIN,
  lane: U16,
  epoch: U63,
  height: U63,
  parent_link: HASH,
  history_root: HASH,
  time_ms: U63,
  proposer: U16,
  tx_root: HASH,
});
export const RESULT = struct("Result", { state_root: HASH, receipts_root: HASH, next_epoch: HASH });
export const EPOCH_MEMBERS = struct("EpochMembers", { epoch: U63, members: list(MEMBER, 1, 64) });

const VOTE = struct("CertVote", { signer: U16, signature: SIGNATURE });
const CERTIFICATE = struct("Certificate", {
  phase: names(1, "PREPARE", "COMMIT"),
  epoch: U63,
  view: U63,
  height: U63,
  link: HASH,
  parent_link: HASH,
  votes: list(VOTE, 1, 64),
});
const PATH = list(HASH, 0, 64);
const ANCHOR = struct("Anchor", { header: HEADER, result: RESULT, path: PATH });
const EPOCH_STEP = struct("EpochStep", {
  header: HEADER,
  result: RESULT,
  certificate: CERTIFICATE,
  members: EPOCH_MEMBERS,
});
const BLOCK_PROOF = struct("BlockProof", {
  header: HEADER,
  result: RESULT,
  certificate: CERTIFICATE,
  anchor: optional(ANCHOR),
  epochs: list(EPOCH_STEP, 0, 64),
});
const FINDING = struct("Finding", {
  rule: RULE,
  version: U63,
  outcome: names(0, "ALLOW", "REPORT", "HOLD", "REJECT"),
  observed_minor: SUM,
  threshold_minor: SUM,
  headroom_minor: SUM,
});
export const OUTCOME = struct("Outcome", {
  version: VERSION,
  lane: U16,
  height: U63,
  index: U63,
  cause: names(0, "TRANSACTION"),
  body_id: HASH,
  digest: HASH,
  kind: KIND,
  account: bytes(20),
  id: HASH,
  status: names(1, "SETTLED", "REJECTED", "EXPIRED"),
  final: bool,
  reason: REASON,
  findings: list(FINDING, 0, 64),
  opened: bytes(0, 20),
});

/** The transaction is an object of its own kind: `document.js` reads and writes it. */
export const receiptOf = (transaction) =>
  struct("Receipt", {
    version: VERSION,
    transaction,
    outcome: OUTCOME,
    transaction_path: PATH,
    outcome_path: PATH,
    block: BLOCK_PROOF,
  });
