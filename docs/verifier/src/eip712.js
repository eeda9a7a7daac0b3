// EIP-712: the digest that a payer signs (docs/formats.md, section 4).

import { keccak_256 } from "@noble/hashes/sha3.js";

import { bigEndian, concat, utf8 } from "./bytes.js";

const COMMON = "uint16 lane,address account,bytes32 id,uint64 validUntilMs,bytes32 payloadRoot";

/** The fields of each type, as they stand in its type string. */
const TYPES = fieldsOf({
  EIP712Domain: "string name,string version,uint256 chainId,bytes32 salt",
  OpenAccount: `${COMMON},bytes[] keys,uint8 threshold,uint8 tier,bytes16 seed`,
  Issue: `${COMMON},address creditor,string asset,uint64 amountMinor`,
  Transfer: `${COMMON},address creditor,string asset,uint64 amountMinor,uint64 settleByMs`,
  ChangeMembers: `${COMMON},uint16[] leaving,Member[] joining,Spare[] spares`,
  ActivateSpare: `${COMMON},uint16 member,uint16 spare,bytes32 voteKey,bytes32 tlsKeyHash`,
  Member: "uint16 id,string name,uint32 participant,bytes32 voteKey,bytes32 tlsKeyHash",
  Spare: "uint16 id,uint32 participant",
});

export const KIND_TYPES = {
  OPEN_ACCOUNT: "OpenAccount",
  ISSUE: "Issue",
  TRANSFER: "Transfer",
  CHANGE_MEMBERS: "ChangeMembers",
  ACTIVATE_SPARE: "ActivateSpare",
};

/** 32 bytes: which network a signature is for. */
export function domainSeparator(chain, genesisHash) {
  return hashStruct("EIP712Domain", { name: "Tallystick", version: "1", chain_id: chain, salt: genesisHash });
}

/** keccak256(0x1901 ‖ domain separator ‖ hashStruct). */
export function digestOf(separator, transaction) {
  const hashed = hashStruct(KIND_TYPES[transaction.kind], transaction);
  return keccak_256(concat(Uint8Array.of(0x19, 0x01), separator, hashed));
}

function hashStruct(name, value) {
  const words = TYPES[name].map(([type, field]) => wordOf(type, value[snake(field)]));
  return keccak_256(concat(keccak_256(utf8(typeString(name))), ...words));
}

/** One field as 32 bytes. */
function wordOf(type, value) {
  if (type.endsWith("[]")) return keccak_256(concat(...value.map((each) => wordOf(type.slice(0, -2), each))));
  if (type in TYPES) return hashStruct(type, value);
  if (type === "string") return keccak_256(utf8(value));
  if (type === "bytes") return keccak_256(value);
  if (type === "address") return concat(new Uint8Array(12), value);
  if (type.startsWith("bytes")) return concat(value, new Uint8Array(32 - value.length));
  return bigEndian(value, 32);
}

/** The type's own line, then those of the structs inside it, sorted by name. */
function typeString(name) {
  const inside = new Set(TYPES[name].map(([type]) => type.replace("[]", "")).filter((type) => type in TYPES));
  const line = (each) => `${each}(${TYPES[each].map((field) => field.join(" ")).join(",")})`;
  return [name, ...Array.from(inside).sort()].map(line).join("");
}

function fieldsOf(types) {
  const split = (fields) => fields.split(",").map((field) => field.split(" "));
  return Object.fromEntries(Object.entries(types).map(([name, fields]) => [name, split(fields)]));
}

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
