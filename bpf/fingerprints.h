/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Rules made from an attack's own packets. A packet's features are 64 bytes; a rule is a mask and a value over them, and
 * three ranges. Asked only for packets beyond their lane's gate that belong to no known flow, and only while the lane has
 * a rule. In a program of its own (STAGE_RULES), to which over.h goes and from which it comes back: so neither is too long
 * for the verifier.
 *
 * The features, all as they stand in the packet (network order), 0 where the packet has none:
 *   0 protocol, 1 version (4 or 6), 2 type of service or traffic class, 3 hop limit, 4-5 IPv4 identification,
 *   6-7 IPv4 flags and fragment offset (IPv6: "more fragments" of a first fragment, the offset field of a later one),
 *   8-9 source port or ICMP type and code, 10-11 target port, 12 TCP flags, 13 TCP data offset, 14-15 TCP window,
 *   16-19 TCP sequence or the second half of the ICMP header, 20-23 TCP acknowledgement,
 *   24-25 IP length (IPv6: with its header), 26 IPv4's first byte, 27 unused, 28-29 TCP urgent pointer, 30-31 unused,
 *   32-63 what follows the transport header (a later fragment, or an unknown protocol: what follows IP);
 *   of TCP: 32-55 the options, 56-63 the data.
 * xdpwall/fingerprint.py has the same list, and a test shows the same packets to both.
 */
#ifndef XDPWALL_FINGERPRINTS_H
#define XDPWALL_FINGERPRINTS_H

#define FEATURE_WORDS 8
#define RULES_A_LANE 8

/* From low on, span further values match; a span of 0xffff is any. */
struct rule_range {
    u16 low;
    u16 span;
};

/*
 * One rule, 192 bytes. Python writes: first the state to 0, then the rest, then the state, in aligned 8-byte stores. The
 * kernel compares the state before and after, so it never goes by a rule that is half another.
 */
struct rule {
    u64 state;                /* expiry (32 bits, as of a ban; 0: none) | writes (31) | observe (1) */
    struct rule_range ttl;    /* each in host order */
    struct rule_range length; /* of the IP packet */
    struct rule_range port;   /* the source's */
    u32 id;                   /* from here to the mask: for Python alone */
    u64 created_ms;           /* Unix time */
    u32 cover;                /* shares in millionths, when it was made */
    u32 collateral;
    u32 support; /* packets it was made from */
    u32 good;    /* known-good packets it was held against */
    u64 mask[FEATURE_WORDS];
    u64 value[FEATURE_WORDS];
    u64 spare[2];
};
_Static_assert(sizeof(struct rule) == 192, "struct rule has holes");

/* The rules of a lane. live: the latest expiry (32 bits) | which places hold a rule (32). */
struct rule_set {
    u64 live;
    u64 last_id; /* in the first set: of the rules so far; for Python alone */
    u64 spare[6];
    struct rule rule[RULES_A_LANE];
};
/* Index: lane. mmap, Python writes. */
BPF_F_TABLE("array", u32, struct rule_set, rules, LANE_SLOTS, MMAP);

/* matched: by this rule, dropped or not. proven: of them, passed because they had proof: what the rule would have harmed. */
struct rule_count {
    struct count matched;
    struct count proven;
};
/* Index: (cpu * LANE_SLOTS + lane) * RULES_A_LANE + place. mmap, the kernel writes. */
BPF_F_TABLE("array", u32, struct rule_count, rule_counts, CPUS *LANE_SLOTS *RULES_A_LANE, MMAP);

/* What matches_rule found: place in the lane | RULE_FOUND | RULE_OBSERVES. */
#define RULE_FOUND 16
#define RULE_OBSERVES 32
#define RULE_ASKED 64

/*
 * Up to `room` of the `left` bytes at an offset. `to` holds zeros already, which stay where nothing is loaded, and has room
 * for the next power of two. Of a number that is compared with 0 the verifier of Linux 6.1 does not learn that it is 1 or
 * more ("invalid zero-sized read"), so it is told by arithmetic.
 */
INLINE void load_feature(struct xdp_md *ctx, u64 at, void *to, u64 left, u64 room)
{
    if (left > room)
        left = room;
    if (!left)
        return;
    left--;
    asm volatile("" : "+r"(left));
    left &= room > 8 ? 31 : 7;
    xdp_load_bytes(ctx, at, to, left + 1);
}

INLINE void read_network(struct packet *p, u64 word[FEATURE_WORDS])
{
    u32 at = p->l3 & 0x3f;
    word[0] = p->protocol | p->hop_limit << 24;
    if (p->is_v6) {
        struct ipv6_header *ip = p->data + at;
        if ((void *)(ip + 1) > p->end)
            return;
        u64 service = from_be16(*(u16 *)&ip->version_class) >> 4 & 0xff, offset = 0;
        if (p->fragment == FIRST_FRAGMENT)
            offset = to_be16(IPV4_MORE_FRAGMENTS);
        struct fragment_header *header = p->data + ((p->l4 - sizeof(*header)) & OFFSET_MASK);
        if (p->fragment == LATER_FRAGMENT && (void *)(header + 1) <= p->end)
            offset = header->offset;
        word[0] |= 6 << 8 | service << 16 | offset << 48;
        word[3] = to_be16((from_be16(ip->payload_length) + sizeof(*ip)) & 0xffff) | 0x60 << 16;
    } else {
        struct ipv4_header *ip = p->data + at;
        if ((void *)(ip + 1) > p->end)
            return;
        word[0] |= 4 << 8 | (u64)ip->service << 16 | (u64)ip->id << 32 | (u64)ip->fragment << 48;
        word[3] = ip->total_length | (u64)ip->version_length << 16;
    }
}

INLINE void read_features(struct xdp_md *ctx, struct packet *p, u64 word[FEATURE_WORDS])
{
    read_network(p, word);
    u64 at = p->l4 & OFFSET_MASK, left = p->l4_length & 0xffff, header = 0;
    if (p->fragment != LATER_FRAGMENT && p->protocol == PROTO_TCP) {
        struct tcp_header *tcp = p->data + at;
        if ((void *)(tcp + 1) > p->end)
            return;
        header = (tcp->length >> 4) * 4;
        word[1] = (p->ports & 0xffffffff) | (u64)tcp->flags << 32 | (u64)tcp->length << 40 | (u64)tcp->window << 48;
        word[2] = tcp->sequence | (u64)tcp->acknowledgement << 32;
        word[3] |= (u64)tcp->urgent << 32;
        if (header < sizeof(*tcp) || header > left)
            return;
        load_feature(ctx, at + sizeof(*tcp), &word[4], header - sizeof(*tcp), 24);
        load_feature(ctx, at + header, &word[7], left - header, 8);
        return;
    }
    if (p->fragment != LATER_FRAGMENT && p->protocol == PROTO_UDP) {
        word[1] = p->ports & 0xffffffff;
        header = sizeof(struct udp_header);
    } else if (p->fragment != LATER_FRAGMENT && (p->protocol == PROTO_ICMP || p->protocol == PROTO_ICMPV6)) {
        struct icmp_header *icmp = p->data + at;
        if ((void *)(icmp + 1) > p->end)
            return;
        word[1] = p->ports & 0xffff;
        word[2] = icmp->rest;
        header = sizeof(*icmp);
    }
    if (header < left)
        load_feature(ctx, at + header, &word[4], left - header, 32);
}

/* 1 for any but 0, without a branch. */
INLINE u64 is_set(u64 number)
{
    return (number | -number) >> 63;
}

/* 0 for a number below 2^16 that lies in the range. */
INLINE u64 outside(u64 number, struct rule_range *range)
{
    return (range->span - ((number - range->low) & 0xffff)) >> 63;
}

/*
 * 1 if the rule holds, else 0. Without a branch: the verifier would walk all that follows once more for each.
 */
INLINE u64 rule_holds(struct rule *rule, u64 word[FEATURE_WORDS], u64 now)
{
    u64 state = *(volatile u64 *)&rule->state, differs = 0;
#pragma unroll
    for (int i = 0; i < FEATURE_WORDS; i++)
        differs |= (word[i] ^ rule->value[i]) & rule->mask[i];
    differs |= outside(word[0] >> 24 & 0xff, &rule->ttl) | outside(from_be16(word[3] & 0xffff), &rule->length) |
               outside(from_be16(word[1] & 0xffff), &rule->port);
    asm volatile("" ::: "memory");
    differs |= *(volatile u64 *)&rule->state ^ state;
    u64 alive = (now - (state >> 32)) >> 63;
    return alive & (is_set(differs) ^ 1);
}

/* Has the packet's lane any rule in force? One look-up. */
INLINE int has_rules(struct packet *p)
{
    struct rule_set *set = WHOLE(struct rule_set, AT_RULES) + bounded(p->lane, LANE_SLOTS - 1);
    return set->live >> 32 > expiry_now(p);
}

/* The rule that the packet matches, 0 for none; one that only observes when no other does. */
INLINE u64 matches_rule(struct xdp_md *ctx, struct packet *p)
{
    struct rule_set *set = WHOLE(struct rule_set, AT_RULES) + bounded(p->lane, LANE_SLOTS - 1);
    u64 live = set->live, now = expiry_now(p), zero = unknown_zero(p), drops = zero, observes = zero;
    u64 word[FEATURE_WORDS] = {};
    read_features(ctx, p, word);
#pragma unroll
    for (int i = 0; i < FEATURE_WORDS; i++)
        word[i] ^= zero;
#pragma unroll
    for (int i = 0; i < RULES_A_LANE; i++) {
        if (!(live >> i & 1))
            continue;
        u64 holds = rule_holds(&set->rule[i], word, now) << i,
            mode = OBSERVED >> REASON_FINGERPRINT & 1 ? -1ULL : -(set->rule[i].state & 1);
        drops = (drops | (holds & ~mode)) ^ zero;
        observes = (observes | (holds & mode)) ^ zero;
    }
    u64 chosen = drops ? drops : observes;
    if (!chosen)
        return 0;
    u64 first = chosen & -chosen;
    u64 place = is_set(first & 0xaa) | is_set(first & 0xcc) << 1 | is_set(first & 0xf0) << 2;
    return RULE_FOUND | (drops ? 0 : RULE_OBSERVES) | place;
}

INLINE void hand_back(struct packet *p, u64 found)
{
    struct handover *to = WHOLE(struct handover, AT_HANDOVERS) + p->cpu;
    to->rule = found | RULE_ASKED;
}

/*
 * What becomes of a packet that a rule matches. proof: why it would pass beyond its budget, or REASON_PASS for no proof.
 * REASON_PASS: the rule only observes; go on.
 */
INLINE enum reason judge_by_rule(struct packet *p, enum reason proof)
{
    u32 index = (p->cpu * LANE_SLOTS + (p->lane & (LANE_SLOTS - 1))) * RULES_A_LANE + (p->rule & (RULES_A_LANE - 1));
    struct rule_count *count = rule_counts.lookup(&index);
    if (count) {
        count->matched.packets++;
        count->matched.bytes += p->length;
        if (proof) {
            count->proven.packets++;
            count->proven.bytes += p->length;
        }
    }
    return proof ? proof : p->rule & RULE_OBSERVES ? REASON_PASS : REASON_FINGERPRINT;
}

#endif
