// Bounds between the fields of one transaction, which their types alone cannot say (docs/formats.md, section 3).

import { compare } from "./bytes.js";

const MEMBER_ID_MAX = 999n;
const HIDDEN = /[\p{C}\p{Z}]/u;

/** The first fault as a sentence, null when there is none. */
export function fieldFault(transaction) {
  switch (transaction.kind) {
    case "OPEN_ACCOUNT":
      return keysFault(transaction.keys, transaction.threshold);
    case "CHANGE_MEMBERS":
      return membersFault(transaction);
    default:
      return null;
  }
}

function keysFault(keys, threshold) {
  if (!ascending(keys, compare)) return "keys must be sorted in ascending order, each key once";
  if (threshold > BigInt(keys.length)) {
    return `threshold ${threshold} exceeds the number of keys, ${keys.length}`;
  }
  return null;
}

function membersFault({ leaving, joining, spares }) {
  const lists = [leaving, joining.map((entry) => entry.id), spares.map((entry) => entry.id)];
  const all = lists.flat();
  if (all.length === 0) return "nobody leaves or joins, and no spare is approved";
  if (!lists.every((ids) => ascending(ids, (left, right) => (left < right ? -1 : 1)))) {
    return "ids must ascend, each once";
  }
  if (new Set(all).size < all.length) return "an id stands in two lists";
  for (const entry of joining) {
    if (!isShown(entry.name)) return `the name of member ${entry.id} has characters that do not show`;
  }
  const tooLarge = lists[1].concat(lists[2]).some((id) => id > MEMBER_ID_MAX);
  return tooLarge ? `a member's id is at most ${MEMBER_ID_MAX}` : null;
}

/** No control, format, unassigned or separating character but the space, and no space at an end. */
const isShown = (name) => !HIDDEN.test(name.replaceAll(" ", "")) && name === name.trim();

function ascending(items, order) {
  return items.every((item, at) => at === 0 || order(items[at - 1], item) < 0);
}
