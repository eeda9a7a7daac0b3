// Input that is not taken: `code` is stable for machines, `detail` is a sentence for people.

export class Refused extends Error {
  constructor(code, detail) {
    super(`${code}: ${detail}`);
    this.code = code;
    this.detail = detail;
  }
}

export const malformed = (detail) => new Refused("MALFORMED", detail);

/** A check of evidence: what does not hold is a bad proof. */
export function expect(condition, sentence) {
  if (!condition) throw new Refused("BAD_PROOF", sentence);
}
