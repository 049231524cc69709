/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Two can be behind a source that is over its limit: a peer of ours, and whoever sends in its name. What the limit keeps in
 * reserve is for packets of flows that we know, which a stranger cannot make: so they go on, and what is forged is dropped.
 * They have no more than the limit either, for somebody can attack us over connections of his own.
 */
#ifndef XDPWALL_RESERVE_H
#define XDPWALL_RESERVE_H

#define RESERVED \
    (1ULL << REASON_SOURCE_PPS | 1ULL << REASON_SOURCE_BPS | 1ULL << REASON_PREFIX_PPS | 1ULL << REASON_PREFIX_BPS)

/*
 * Asked in a program after the wall, and only for sources that this host has talked with: is the packet of a known flow, and
 * is something left for it? Then it is taken.
 */
INLINE int takes_reserve(struct packet *p)
{
    u64 hash = 0;
    if (p->lane != LANE_SYN) {
        u64 word = word_of(p);
        hash = word ? flow_of(p, word) : 0;
    }
    if (!hash || !find_proof(hash, p->now))
        return 0;
    u32 slot = p->meter, of_source = p->reason == REASON_SOURCE_PPS || p->reason == REASON_SOURCE_BPS;
    struct meter *meter = of_source ? source_meters.lookup(&slot) : prefix_meters.lookup(&slot);
    if (!meter || (of_source ? take_tokens(meter, p, SCOPE_SOURCE, 1) : take_tokens(meter, p, SCOPE_PREFIX, 1)))
        return 0;
    meter->drops--; /* it was counted as one */
    if (p->fragment == FIRST_FRAGMENT)
        note_proof(flow_of(p, fragment_word(p)), PROOF_FRAGMENT, p->now);
    return 1;
}

#endif
