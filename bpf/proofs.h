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

/* Kinds, from 1; 0 is an empty place. The numbers index proof_ages, dataplane/proofs.py repeats them. */
#define PROOF_TCP 1      /* a connection: we opened it, or sent data on it */
#define PROOF_ASKED 2    /* UDP or another protocol that we sent first */
#define PROOF_PING 3     /* an echo request of ours; "ports" is its identifier */
#define PROOF_ANSWERED 4 /* a UDP service of ours sent to it */
#define PROOF_SOURCE 5   /* completed a handshake */
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

INLINE u64 proof_tag(u64 hash)
{
    u64 tag = (hash >> 12) & 0xffffffff;
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

/* The newest word under this hash that still holds, or 0. */
INLINE u64 find_proof(u64 hash, u64 now)
{
    u32 index = hash >> (64 - PROOF_BITS), zero = 0;
    struct proof_line *line = proofs.lookup(&index);
    struct proof_ages *ages = proof_ages.lookup(&zero);
    if (!line || !ages)
        return 0;
    u64 tag = proof_tag(hash), word = 0;
#pragma unroll
    for (int way = 0; way < PROOF_WAYS; way++) {
        u64 place = *(volatile u64 *)&line->place[way];
        if (place >> 32 == tag)
            word = place;
    }
    if (!word || age_of(word, stamp_of(now)) > ages->age[kind_of(word)])
        return 0;
    if (kind_of(word) == PROOF_ANSWERED && ((word >> PROOF_COUNT) & 7) < ANSWERS_WANTED)
        return 0;
    return word;
}

/*
 * How readily a place is given up: an empty one first, then what no longer holds, then what was only answered, then the
 * oldest.
 */
INLINE u64 worth_little(u64 word, u64 stamp, struct proof_ages *ages)
{
    u64 age = age_of(word, stamp);
    if (!word)
        return 3ULL << 32;
    if (age > ages->age[kind_of(word)])
        return 2ULL << 32 | age;
    if (kind_of(word) == PROOF_ANSWERED && ((word >> PROOF_COUNT) & 7) < ANSWERS_WANTED)
        return 1ULL << 32 | age;
    return age;
}

/* Enter, or keep fresh. Gives 1 when something changed: at most once in 64 ticks for one hash. */
INLINE int note_proof(u64 hash, u64 kind, u64 now)
{
    u32 index = hash >> (64 - PROOF_BITS), zero = 0;
    struct proof_line *line = proofs.lookup(&index);
    struct proof_ages *ages = proof_ages.lookup(&zero);
    if (!line || !ages)
        return 0;
    u64 tag = proof_tag(hash), stamp = stamp_of(now), least = 0, found = PROOF_WAYS, victim = 0;
#pragma unroll
    for (int way = 0; way < PROOF_WAYS; way++) {
        u64 word = line->place[way];
        if (word >> 32 == tag)
            found = way;
        u64 value = worth_little(word, stamp, ages);
        if (value > least) {
            least = value;
            victim = way;
        }
    }
    if (found < PROOF_WAYS) {
        u64 word = line->place[found & (PROOF_WAYS - 1)];
        u64 fresh = age_of(word, stamp) <= ages->age[kind_of(word)];
        u64 count = fresh ? (word >> PROOF_COUNT) & 7 : 0;
        if (fresh && (word & PROOF_STAMP_MASK) == stamp && (kind_of(word) == kind || kind == PROOF_ANSWERED))
            return 0;
        /* What we asked for stays that, though we answer on it, too. */
        if (fresh && kind == PROOF_ANSWERED)
            kind = kind_of(word);
        count += count < 7;
        line->place[found & (PROOF_WAYS - 1)] = tag << 32 | kind << PROOF_KIND | count << PROOF_COUNT | stamp;
        return 1;
    }
    if (kind == PROOF_ANSWERED && !(least >> 32))
        return 0;
    line->place[victim & (PROOF_WAYS - 1)] = tag << 32 | kind << PROOF_KIND | 1ULL << PROOF_COUNT | stamp;
    return 1;
}

/* Keep fresh what is there already. */
INLINE void refresh_proof(u64 hash, u64 now)
{
    u32 index = hash >> (64 - PROOF_BITS);
    struct proof_line *line = proofs.lookup(&index);
    if (!line)
        return;
    u64 tag = proof_tag(hash), stamp = stamp_of(now);
#pragma unroll
    for (int way = 0; way < PROOF_WAYS; way++) {
        u64 word = line->place[way];
        if (word >> 32 == tag && kind_of(word) == PROOF_TCP && (word & PROOF_STAMP_MASK) != stamp)
            line->place[way] = (word & ~PROOF_STAMP_MASK) | stamp;
    }
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
