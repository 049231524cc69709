/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whom this host really talks to. Asked only above a lane's budget; written by what the host itself sends, so that a flood
 * of spoofed packets can neither enter anything nor push anything out.
 *
 * What a spoofed packet can provoke is entered only as "answered", which replaces nothing but its like: a UDP service
 * answers whoever asks, so it counts only after four answers a quarter of a second or more apart.
 */
#ifndef XDPWALL_PROOFS_H
#define XDPWALL_PROOFS_H

/* Kinds. A word of 0 is an empty place. The numbers index proof_ages, dataplane/proofs.py repeats them. */
#define PROOF_BARRED \
    0               /* a source that is over its limits: for a while its handshake counts no more. Written by Python */
#define PROOF_TCP 1 /* a connection: we opened it, or sent data on it */
#define PROOF_ASKED 2    /* UDP or another protocol that we sent first */
#define PROOF_PING 3     /* an echo request of ours; "ports" is its identifier */
#define PROOF_ANSWERED 4 /* a UDP service of ours sent to it */
#define PROOF_SOURCE 5   /* completed a handshake */
#define PROOF_VOUCHED 7  /* a source that the controller must not cut off: written by Python, again and again */
#define PROOF_FRAGMENT 6 /* a first fragment that belonged to a known flow; "ports" is the packet's identification */

#define PROOF_KIND 29
#define PROOF_COUNT 26
#define PROOF_STAMP_MASK 0x3ffffffULL
#define PROOF_STAMP_SHIFT 6 /* ticks to units of the stamp, as expiries */
#define ANSWERS_WANTED 4

INLINE u64 stamp_of(u64 ticks)
{
    return (ticks >> PROOF_STAMP_SHIFT) & PROOF_STAMP_MASK;
}

/* The part of a key beside the addresses. kind keeps flows, fragments and sources apart. */
INLINE u64 flow_word(u64 ports, u64 protocol, u64 fragment)
{
    return ports | protocol << 32 | fragment << 40;
}

INLINE u64 flow_hash4(__be32 peer, __be32 local, u64 word)
{
    return mix(mix((u64)peer << 32 | local) ^ word);
}

INLINE u64 flow_hash6(__be32 *peer, __be32 *local, u64 word)
{
    u64 hash = mix(*(u64 *)&peer[0]);
    hash = mix(hash ^ *(u64 *)&peer[2]);
    hash = mix(hash ^ *(u64 *)&local[0]);
    hash = mix(hash ^ *(u64 *)&local[2]);
    return mix(hash ^ word);
}

/* key: as in packet.h. */
INLINE u64 source_hash(u64 key)
{
    return mix(mix(key) ^ 0x50u << 24);
}

/* Its top three bits are those of the gate. */
INLINE u64 proof_tag(u64 hash)
{
    u64 tag = hash << PROOF_BITS >> 32;
    return tag ? tag : 1;
}

INLINE u64 kind_of(u64 word)
{
    return (word >> PROOF_KIND) & 7;
}

INLINE u64 age_of(u64 word, u64 stamp)
{
    return (stamp - word) & PROOF_STAMP_MASK;
}

/*
 * Of eight places: which one has this tag? PROOF_WAYS + the way, 0 for none. No branches, and no number that the verifier
 * knows at the end: with them it walks what follows once for each way (329,000 steps of the egress program became 39,000).
 */
INLINE u64 find_place(struct proof_line *line, u64 tag)
{
    u64 found = 0;
#pragma unroll
    for (int way = 0; way < PROOF_WAYS; way++) {
        u64 difference = (line->place[way] >> 32) ^ tag;
        u64 equal = (difference - 1) >> 63;
        asm volatile("" : "+r"(equal));
        /*
         * Two CPUs can have entered the same in two places: the later counts. Multiplied, not masked: of a mask of -1 or 0
         * and a constant Linux 6.18's verifier makes two states.
         */
        found += equal * (PROOF_WAYS + way - found);
    }
    return found;
}

/* Does a word still hold? */
INLINE int holds(u64 word, u64 stamp, struct proof_ages *ages)
{
    return age_of(word, stamp) <= ages->age[kind_of(word)];
}

/* What the gate has to say of a line: a bit for the top of the tag of each place that holds. No branches, as above. */
INLINE u64 gate_of(struct proof_line *line, u64 stamp, struct proof_ages *ages)
{
    u64 bits = 0;
#pragma unroll
    for (int way = 0; way < PROOF_WAYS; way++) {
        u64 word = line->place[way], old = ages->age[kind_of(word)] - age_of(word, stamp);
        u64 lives = (word | -word) >> 63 & ~old >> 63;
        asm volatile("" : "+r"(lives));
        bits |= lives << (word >> 61);
    }
    return bits;
}

/* The line changed. A bit that two CPUs lose between them comes back with the flow's next packet from here. */
INLINE void set_gate(u32 index, struct proof_line *line, u64 stamp, struct proof_ages *ages)
{
    u8 *gates = (u8 *)(WHOLE(u64, AT_PROOF_GATE) + bounded(index >> 3, (1 << (PROOF_BITS - 3)) - 1));
    gates[index & 7] = gate_of(line, stamp, ages);
}

/* In one of so many ticks, who comes for nothing because of places that no longer hold mends the gate. */
#define GATE_MENDING 15

/* Is it worth to look for this hash? */
INLINE int near_proof(u64 hash)
{
    u64 gates = WHOLE(u64, AT_PROOF_GATE)[hash >> (64 - PROOF_BITS + 3)];
    return gates >> (hash >> (61 - PROOF_BITS) & 63) & 1;
}

/* The word under this hash, if it holds and is proof; else 0. */
INLINE u64 find_proof(u64 hash, u64 now)
{
    u32 index = hash >> (64 - PROOF_BITS), zero = 0;
    if (!near_proof(hash))
        return 0;
    struct proof_line *line = proofs.lookup(&index);
    struct proof_ages *ages = proof_ages.lookup(&zero);
    if (!line || !ages)
        return 0;
    u64 found = find_place(line, proof_tag(hash));
    if (!found) {
        if (!(now & GATE_MENDING))
            set_gate(index, line, stamp_of(now), ages);
        return 0;
    }
    u64 word = *(volatile u64 *)&line->place[found & (PROOF_WAYS - 1)];
    if (word >> 32 != proof_tag(hash) || !holds(word, stamp_of(now), ages) || kind_of(word) == PROOF_BARRED)
        return 0;
    if (kind_of(word) == PROOF_ANSWERED && ((word >> PROOF_COUNT) & 7) < ANSWERS_WANTED)
        return 0;
    return word;
}

/*
 * How readily a place is given up: an empty one first, then what no longer holds, then what was only answered, then the
 * oldest. Above bit 32 if anything may take it.
 */
INLINE u64 worth_little(u64 word, u64 stamp, struct proof_ages *ages)
{
    u64 age = age_of(word, stamp), limit = ages->age[kind_of(word)];
    u64 empty = ((word | -word) >> 63) ^ 1;
    u64 over = (limit - age) >> 63;
    u64 other_kind = kind_of(word) ^ PROOF_ANSWERED;
    u64 weak = (other_kind - 1) >> 63 & (((word >> PROOF_COUNT) & 7) - ANSWERS_WANTED) >> 63;
    asm volatile("" : "+r"(empty), "+r"(over), "+r"(weak));
    return empty << 34 | over << 33 | weak << 32 | age;
}

/* hash: of the source's key. A bit that another CPU's write undoes comes back with the flow's next packet of ours. */
INLINE void note_peer(u64 hash)
{
    u64 *word = WHOLE(u64, AT_PEERS) + (hash >> (64 - 13));
    if (!(*word >> (hash >> 45 & 63) & 1))
        *word |= 1ULL << (hash >> 45 & 63);
}

INLINE int is_peer(u64 hash)
{
    return WHOLE(u64, AT_PEERS)[hash >> (64 - 13)] >> (hash >> 45 & 63) & 1;
}

/* Enter, or keep fresh. Gives 1 when something changed: at most once in 64 ticks for one hash. */
INLINE int note_proof(u64 hash, u64 kind, u64 now)
{
    u32 index = hash >> (64 - PROOF_BITS), zero = 0;
    struct proof_line *line = proofs.lookup(&index);
    struct proof_ages *ages = proof_ages.lookup(&zero);
    if (!line || !ages)
        return 0;
    u64 tag = proof_tag(hash), stamp = stamp_of(now), count = 0;
    u64 way = find_place(line, tag);
    if (way) {
        u64 word = line->place[way & (PROOF_WAYS - 1)];
        if (holds(word, stamp, ages)) {
            if (kind_of(word) == PROOF_BARRED)
                return 0;
            if ((word & PROOF_STAMP_MASK) == stamp && (kind_of(word) == kind || kind == PROOF_ANSWERED))
                return 0;
            count = (word >> PROOF_COUNT) & 7;
            /* What we asked for stays that, though we answer on it, too. */
            if (kind == PROOF_ANSWERED)
                kind = kind_of(word);
        }
    } else {
        u64 least = 0;
#pragma unroll
        for (int i = 0; i < PROOF_WAYS; i++)
            least = greater(least, worth_little(line->place[i], stamp, ages) << 3 | i);
        if (kind == PROOF_ANSWERED && !(least >> 35))
            return 0;
        way = least;
    }
    count += count < 7;
    line->place[way & (PROOF_WAYS - 1)] = tag << 32 | kind << PROOF_KIND | count << PROOF_COUNT | stamp;
    set_gate(index, line, stamp, ages);
    return 1;
}

/* Keep fresh what is there already. Gives 1 when that changed something. */
INLINE int refresh_proof(u64 hash, u64 now)
{
    u32 index = hash >> (64 - PROOF_BITS), zero = 0;
    struct proof_line *line = proofs.lookup(&index);
    u64 found = line ? find_place(line, proof_tag(hash)) : 0;
    if (!line || !found)
        return 0;
    struct proof_ages *ages = proof_ages.lookup(&zero);
    u64 *place = &line->place[found & (PROOF_WAYS - 1)], word = *place;
    if (!ages || kind_of(word) != PROOF_TCP || (word & PROOF_STAMP_MASK) == stamp_of(now))
        return 0;
    *place = (word & ~PROOF_STAMP_MASK) | stamp_of(now);
    set_gate(index, line, stamp_of(now), ages);
    return 1;
}

/* The stack sent a SYN-ACK: whoever acknowledges this number has seen it. The place is as random as the number. */
INLINE void note_pending(u64 hash, u64 acknowledgement)
{
    u32 index = hash >> (64 - PENDING_BITS);
    struct pending_line *line = pending.lookup(&index);
    if (!line)
        return;
    u64 tag = proof_tag(hash), way = (acknowledgement ^ hash >> 7) & (PROOF_WAYS - 1);
#pragma unroll
    for (int i = 0; i < PROOF_WAYS; i++) {
        if (line->place[i] >> 32 == tag)
            way = i;
    }
    line->place[way & (PROOF_WAYS - 1)] = tag << 32 | acknowledgement;
}

INLINE int completes_pending(u64 hash, u64 acknowledgement)
{
    u32 index = hash >> (64 - PENDING_BITS);
    struct pending_line *line = pending.lookup(&index);
    if (!line)
        return 0;
    u64 wanted = proof_tag(hash) << 32 | acknowledgement, found = 0;
#pragma unroll
    for (int way = 0; way < PROOF_WAYS; way++)
        found |= line->place[way] == wanted;
    return found;
}

#endif
