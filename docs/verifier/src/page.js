// The page: two files in, each check and why it holds out. Everything from a file is shown as text, never as HTML.

import { toHex } from "./bytes.js";
import { genesisFromBytes, spreadOut } from "./document.js";
import { verdictOf } from "./verdict.js";
import { networkOf } from "./verify.js";

/** What each check is for, in words for somebody who has not read the format. */
const WHY = {
  form: "Every field is there, of its size, and written in the only way that it can be.",
  members: "Who may sign: the genesis file names the first members, and each later set is signed for by the one before.",
  header: "The block belongs to the network of this genesis file.",
  link: "One digest stands for the order and the outcome of the block.",
  certificate: "Enough members signed that digest for nobody to have it otherwise.",
  transaction: "The payment is for this network and was ordered within its deadline.",
  identity: "The outcome is about exactly these bytes, and about what the payer signed.",
  signatures: "Each signature is by the key beside it. Whether those are the account's keys is the outcome's business.",
  ordered: "The payment stands in the block.",
  executed: "The outcome stands in the block's results.",
  outcome: "The outcome does not contradict itself or the payment.",
};
const ASSURANCE = {
  BFT: "BFT: false only if at least a third of the members signed something false",
  CFT: "CFT: a majority signed, and members are taken to crash but never to lie",
};

const files = { genesis: null, receipt: null };
const element = (id) => document.getElementById(id);

function add(parent, tag, text, className = "") {
  const child = document.createElement(tag);
  child.textContent = text;
  child.className = className;
  parent.append(child);
  return child;
}

async function take(which, file) {
  const drop = element(`drop-${which}`);
  drop.querySelector(".name").textContent = file.name;
  drop.classList.add("full");
  const content = await file.arrayBuffer();
  files[which] = new Uint8Array(content);
  show();
}

function show() {
  for (const id of ["facts", "checks"]) element(id).replaceChildren();
  if (files.genesis === null || files.receipt === null) return;
  const verdict = verdictOf(spreadOut(files.receipt), files.genesis);
  if (verdict.refused !== undefined) {
    const { file, code, detail } = verdict.refused;
    say(false, `NOT VERIFIED: the ${file} file cannot be read (${code}: ${detail})`);
    return;
  }
  for (const { name, ok, sentence } of verdict.checks) {
    const item = add(element("checks"), "li", "", ok ? "" : "failed");
    add(item, "span", ok ? "ok" : "FAIL", "mark");
    add(item, "span", name);
    const why = add(item, "span", sentence, "sentence");
    if (Object.hasOwn(WHY, name)) add(why, "small", WHY[name]);
  }
  if (!verdict.ok) {
    say(false, "NOT VERIFIED: this receipt proves nothing.");
    return;
  }
  const reason = verdict.reason === null ? "" : ` (${verdict.reason})`;
  say(true, `VERIFIED, assurance ${verdict.assurance}: ${verdict.status.toLowerCase()}${reason}`);
  facts(verdict);
}

function say(good, sentence) {
  const verdict = element("verdict");
  verdict.textContent = sentence;
  verdict.className = good ? "good" : "bad";
}

function facts(verdict) {
  const network = networkOf(genesisFromBytes(files.genesis));
  const rows = [
    ["genesis hash", toHex(network.hash)],
    ["height", String(verdict.height)],
    ["block's time", instant(verdict.time_ms)],
    ["assurance", ASSURANCE[verdict.assurance]],
  ];
  if (!verdict.consumed) rows.push(["about", "these bytes only: the payer's own payment may still settle"]);
  for (const [name, value] of rows) {
    add(element("facts"), "dt", name);
    add(element("facts"), "dd", value);
  }
}

function instant(timeMs) {
  const date = new Date(Number(timeMs));
  return Number.isNaN(date.getTime()) ? `${timeMs} ms` : date.toISOString();
}

for (const which of ["genesis", "receipt"]) {
  const drop = element(`drop-${which}`);
  element(`file-${which}`).addEventListener("change", ({ target }) => {
    if (target.files.length > 0) take(which, target.files[0]);
    target.value = ""; // the same file may be chosen again after it was changed
  });
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length > 0) take(which, event.dataTransfer.files[0]);
  });
}
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

// For scripts that drive the page: the same answer, without the files' names.
window.verdictOf = verdictOf;
