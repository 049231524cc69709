/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Try before trust: a reason that only observes counts what it would have dropped, and the packet goes on, for what comes
 * after must still judge it. The first of them that a packet meets is kept; verdict.h counts it if the packet passes in the
 * end, so nothing is counted twice.
 *
 * OBSERVED: a bit for each reason that only observes (`observe = [...]`, xdpwall/observe.py). 0: nothing of this is compiled.
 * OBSERVE (policy = "observe") is another matter: the first reason ends the packet's way as ever, and it passes.
 */
#ifndef XDPWALL_OBSERVE_H
#define XDPWALL_OBSERVE_H

#ifndef OBSERVED
#define OBSERVED 0ULL
#endif

#define MALFORMED_REASONS                                                                                         \
    (1ULL << REASON_TRUNCATED | 1ULL << REASON_VLAN_DEPTH | 1ULL << REASON_IP_HEADER | 1ULL << REASON_IP_LENGTH | \
     1ULL << REASON_SOURCE_IMPOSSIBLE | 1ULL << REASON_EXTENSION_CHAIN | 1ULL << REASON_FRAGMENT |                \
     1ULL << REASON_TCP_HEADER | 1ULL << REASON_TCP_FLAGS | 1ULL << REASON_UDP_LENGTH | 1ULL << REASON_ICMP_HEADER)

/*
 * What the packet would have been dropped for, unless something was noted before; REASON_PASS notes nothing. Here and below
 * without branches, and never a known number: else the verifier walks all that follows once more for each check, and needs
 * more than its million steps (Linux 6.18).
 */
INLINE void note_observed(struct packet *p, u64 reason)
{
    u64 taken = -((p->observed | -p->observed) >> 63);
    p->observed = (p->observed | (reason & ~taken)) ^ unknown_zero(p);
}

/* Does the packet's way end here? hit: 1 if this reason, a constant, speaks against it. */
INLINE u64 ends_here(struct packet *p, u64 hit, u64 reason)
{
    if (!(OBSERVED >> reason & 1))
        return hit;
    note_observed(p, reason & -(hit ^ unknown_zero(p)));
    return 0;
}

/* The reason, or REASON_PASS when it only observes. */
INLINE u64 unless_observed(struct packet *p, u64 reason)
{
    if (!OBSERVED)
        return reason;
    reason ^= unknown_zero(p);
    u64 observes = -(OBSERVED >> (reason & (REASON_SLOTS - 1)) & 1);
    note_observed(p, reason & observes);
    return reason & ~observes;
}

/* Of a packet whose way ends with this reason: what it would have been dropped for, if it passes only by observing; else 0. */
INLINE u64 would_drop_for(struct packet *p, u64 reason)
{
    u64 passes = PASSES >> reason & 1;
    if (OBSERVE)
        return passes ? 0 : reason;
    return passes ? p->observed : 0;
}

#endif
