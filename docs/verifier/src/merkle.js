// RFC 6962 trees: a path leads from a leaf to a root (docs/formats.md, section 5).

import { concat, equal, sha256 } from "./bytes.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export const leafHash = (data) => sha256(concat(LEAF, data));
const nodeHash = (left, right) => sha256(concat(NODE, left, right));

/** The root that `path` leads to from the leaf at `index`, without asking for a size; null where no tree has such a path. */
export function rootOfPath(leaf, index, path) {
  let node = index;
  let hash = leaf;
  for (let left = path.length; left > 0; left--) {
    const sibling = path[path.length - left];
    if ((node & 1n) === 0n && bitCount(node) < left) {
      hash = nodeHash(hash, sibling);
    } else if (node > 0n) {
      // On the right edge only left siblings remain: an even node there rises without one.
      while ((node & 1n) === 0n) node >>= 1n;
      hash = nodeHash(sibling, hash);
    } else {
      return null;
    }
    node >>= 1n;
  }
  return node === 0n ? hash : null;
}

/** RFC 9162, section 2.1.3.2: whether the leaf stands at `index` in the tree of `size` leaves under `root`. */
export function verifyInclusion(leaf, index, size, path, root) {
  if (index >= size) return false;
  let node = index;
  let last = size - 1n;
  let hash = leaf;
  for (const sibling of path) {
    if (last === 0n) return false;
    if ((node & 1n) === 1n || node === last) {
      hash = nodeHash(sibling, hash);
      while ((node & 1n) === 0n && node > 0n) {
        node >>= 1n;
        last >>= 1n;
      }
    } else {
      hash = nodeHash(hash, sibling);
    }
    node >>= 1n;
    last >>= 1n;
  }
  return last === 0n && equal(hash, root);
}

function bitCount(value) {
  let count = 0;
  for (let rest = value; rest > 0n; rest &= rest - 1n) count++;
  return count;
}
