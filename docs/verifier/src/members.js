// Who votes in an epoch, and when votes are a quorum's (docs/formats.md, sections 6 to 8).

import { ascii, bigEndian, concat } from "./bytes.js";
import { verifyVote } from "./keys.js";
import { Refused } from "./refused.js";

const PHASES = { PREPARE: 1, COMMIT: 2 };

/** The members of one epoch: { epoch, count, quorum, voteKeys: Map from id to key }, or `Refused(BAD_FIELD)`. */
export function memberSet(epoch, members, engine) {
  const voteKeys = new Map(members.map((member) => [member.id, member.vote_key]));
  const count = members.length;
  if (voteKeys.size !== count) throw new Refused("BAD_FIELD", "two members share an id");
  if (new Set(Array.from(voteKeys.values(), String)).size !== count) {
    throw new Refused("BAD_FIELD", "two members share a vote key");
  }
  const quorum = engine === "pbft" ? Math.ceil((2 * count) / 3) : Math.floor(count / 2) + 1;
  return { epoch, count, quorum, voteKeys };
}

/** `Refused(BAD_CERTIFICATE)` unless a quorum of distinct members signed, each signature genuine. */
export function checkCertificate(certificate, chain, lane, members) {
  const refuse = (detail) => {
    throw new Refused("BAD_CERTIFICATE", detail);
  };
  const { votes } = certificate;
  const ascending = votes.every((vote, at) => at === 0 || votes[at - 1].signer < vote.signer);
  if (!ascending) refuse("signers are not distinct and sorted");
  if (votes.length < members.quorum) refuse("fewer votes than a quorum");
  const message = voteMessage(certificate, chain, lane);
  for (const { signer, signature } of votes) {
    const key = members.voteKeys.get(signer);
    if (key === undefined) refuse(`signer ${signer} is not a member`);
    if (!verifyVote(key, message, signature)) refuse(`the signature of member ${signer} is not genuine`);
  }
}

function voteMessage({ phase, epoch, view, height, link, parent_link }, chain, lane) {
  return concat(
    ascii("tallystick/vote\0"),
    bigEndian(chain, 8),
    bigEndian(lane, 2),
    bigEndian(epoch, 8),
    bigEndian(view, 8),
    bigEndian(height, 8),
    bigEndian(PHASES[phase], 1),
    link,
    parent_link,
  );
}
