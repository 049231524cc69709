/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How this host's own stack answers a connection request, for each local address and port: learned at the egress from the
 * SYN-ACKs that it sends. A SYN cookie sent in its place must look the same, for the stack keeps nothing of the request: it
 * takes the connection up with what it would have said itself. Only a SYN-ACK of the stack enters anything here, so who
 * sends SYN to addresses or ports without a listener can neither fill this nor push anything out.
 *
 * Also learned is when the stack itself last answered with a cookie: for two minutes after that its listener takes cookies
 * (tcp_synq_no_recent_overflow in the kernel's include/net/tcp.h), and not longer.
 */
#ifndef XDPWALL_ANSWERS_H
#define XDPWALL_ANSWERS_H

/* Written by Python, in aligned 8-byte stores. Durations are ticks. mmap. */
struct cookie_state {
    u64 since;    /* the tick from which on the stack answers each SYN with a cookie; 0: no cookies */
    u64 holds;    /* what was learned of cookies and timestamps is good for this long; much less than the two minutes */
    u64 keeps;    /* window scale, SACK and ECN: for this long */
    u64 probe;    /* of each listener one SYN in this time goes to the stack, so that all this stays fresh */
    u64 possible; /* 1: this program can send cookies; the load writes it, and no program reads it */
    u64 spare[3];
};
BPF_F_TABLE("array", u32, struct cookie_state, cookie_state, 1, MMAP);

/* One local address and port. Ticks are the low 32 bits, never 0; 0: not seen. The egress program writes but for `probed`. */
struct answer {
    u32 tag;     /* 0: empty */
    u32 seen;    /* tick of the last SYN-ACK */
    u32 cookie;  /* of the last that carried a cookie of this kernel's */
    u32 stamped; /* of the last with a timestamp that has no random offset (net.ipv4.tcp_timestamps is 2) */
    u32 scaled;  /* with window scaling */
    u32 sacked;  /* with SACK */
    u32 ecn;     /* with ECN */
    u32 probed;  /* when XDP last let a SYN through for this; of those with timestamps: */
    u32 probed_full;
    u16 mss;    /* host order */
    u16 window; /* as it stood, network order */
    u8 scale;
    u8 hop_limit;
    u8 service; /* type of service, traffic class; without ECN */
    u8 tagged;  /* it left in a VLAN */
    u8 spare[20];
};
/* Index: top ANSWER_BITS of the hash, and two places a set. */
#define ANSWER_BITS 11
BPF_F_TABLE("array", u32, struct answer, answers, 2 << ANSWER_BITS, MMAP);
/*
 * Where nothing is learned yet: the tick of the last SYN that was let through to learn. Index: hash, without tags, so there
 * are never more than PROBES of them in a probe's time, whatever addresses a flood has. The kernel alone.
 */
#define PROBES 64
BPF_F_TABLE("array", u32, u64, probes, PROBES, MMAP);

/* bpf_tcp_raw_check_syncookie_ipv4 and _ipv6, since 6.0: 0 for the acknowledgement of a cookie. bcc 0.26 has no names. */
static s64 (*check_cookie4)(void *ip, void *tcp) = (void *)206;
static s64 (*check_cookie6)(void *ip, void *tcp) = (void *)207;

INLINE u32 stamp_tick(u64 now)
{
    return (u32)now ? (u32)now : 1;
}

INLINE int is_recent(u32 tick, u64 now, u64 age)
{
    return tick && (u32)((u32)now - tick) < age;
}

/* Seen since the controller told the stack to send cookies, and lately. */
INLINE int is_ready(u32 tick, u64 now, struct cookie_state *state)
{
    return is_recent(tick, now, state->holds) && (s32)(tick - (u32)state->since) >= 0;
}

/* port: network order. */
INLINE u64 answer_hash(u64 is_v6, void *address, u64 port)
{
    if (!is_v6)
        return mix(mix((u64) * (u32 *)address << 32 | V4_MARK) ^ port);
    return mix(mix(mix(*(u64 *)address) ^ *(u64 *)(address + 8)) ^ port);
}

INLINE u32 answer_index(u64 hash)
{
    return hash >> (64 - ANSWER_BITS) << 1;
}

INLINE struct answer *find_answer(u64 hash)
{
    u32 index = answer_index(hash), other = index | 1, tag = proof_tag(hash);
    struct answer *answer = answers.lookup(&index);
    if (answer && answer->tag == tag)
        return answer;
    answer = answers.lookup(&other);
    return answer && answer->tag == tag ? answer : 0;
}

/* An empty place for this hash, or that of its set which was silent for longer. */
INLINE struct answer *new_answer(u64 hash, u64 now)
{
    u32 index = answer_index(hash), other = index | 1;
    struct answer *answer = answers.lookup(&index), *second = answers.lookup(&other);
    if (!answer || !second)
        return 0;
    if (answer->tag && (!second->tag || (u32)(now - second->seen) > (u32)(now - answer->seen)))
        answer = second;
    answer->tag = 0;
    asm volatile("" ::: "memory");
    answer->cookie = 0;
    answer->stamped = 0;
    answer->scaled = 0;
    answer->sacked = 0;
    answer->ecn = 0;
    answer->probed = 0;
    answer->probed_full = 0;
    answer->seen = stamp_tick(now);
    asm volatile("" ::: "memory");
    answer->tag = proof_tag(hash);
    return answer;
}

/* The options of a SYN-ACK with timestamps as Linux writes them (tcp_options_write): 20 bytes from the MSS on, words of 4. */
#define OPTION_MSS 0x0402
#define OPTION_SACK_STAMP 0x0a080204
#define OPTION_STAMP 0x0a080101
#define OPTION_SCALE 0x00030301

INLINE void learn_options(struct answer *answer, u32 *option, void *end, u64 length, u64 flags, u32 tick)
{
    if (length < 4 || (void *)(option + 1) > end || (option[0] & 0xffff) != OPTION_MSS)
        return;
    answer->mss = from_be16(option[0] >> 16);
    if (length < 16 || (void *)(option + 4) > end || (option[1] != OPTION_STAMP && option[1] != OPTION_SACK_STAMP))
        return;
    /* A cookie's timestamp is up to 127 ms behind; a random offset looks like this once in 2^24. */
    u32 behind = (u32)(bpf_ktime_get_ns() / 1000000) - from_be32(option[2]);
    if (behind < 256)
        answer->stamped = tick;
    if (option[1] == OPTION_SACK_STAMP)
        answer->sacked = tick;
    if ((flags & (TCP_ECE | TCP_CWR)) == TCP_ECE)
        answer->ecn = tick;
    if (length >= 20 && (void *)(option + 5) <= end && (option[4] & 0xffffff) == OPTION_SCALE) {
        answer->scale = option[4] >> 24;
        answer->scaled = tick;
    }
}

/* Would this kernel take the acknowledgement of this SYN-ACK for that of a cookie? Asked as if it had come. */
INLINE int is_own_cookie(void *data, void *end, u64 l3, u64 is_v6, struct tcp_header *tcp)
{
    struct tcp_header answer = {
        .source = tcp->target,
        .target = tcp->source,
        .sequence = tcp->acknowledgement,
        .acknowledgement = to_be32(from_be32(tcp->sequence) + 1),
        .length = sizeof(answer) / 4 << 4,
        .flags = TCP_ACK,
    };
    if (is_v6) {
        struct ipv6_header *sent = data + l3, ip = {};
        if ((void *)(sent + 1) > end)
            return 0;
        __builtin_memcpy(ip.source, sent->target, sizeof(ip.source));
        __builtin_memcpy(ip.target, sent->source, sizeof(ip.target));
        return check_cookie6(&ip, &answer) == 0;
    }
    struct ipv4_header *sent = data + l3, ip = {};
    if ((void *)(sent + 1) > end)
        return 0;
    ip.source = sent->target;
    ip.target = sent->source;
    return check_cookie4(&ip, &answer) == 0;
}

/* A SYN-ACK is being sent. l3: of its IP header; no fragment. */
INLINE void learn_answer(void *data, void *end, u64 l3, u64 is_v6, u64 tagged, struct tcp_header *tcp, u64 now)
{
    u32 zero = 0, tick = stamp_tick(now), at = l3 & 0x3f;
    u64 hash, hop_limit, service;
    if (is_v6) {
        struct ipv6_header *ip = data + at;
        if ((void *)(ip + 1) > end)
            return;
        hash = answer_hash(1, ip->source, tcp->source);
        hop_limit = ip->hop_limit;
        service = from_be16(*(u16 *)&ip->version_class) >> 4;
    } else {
        struct ipv4_header *ip = data + at;
        if ((void *)(ip + 1) > end)
            return;
        hash = answer_hash(0, &ip->source, tcp->source);
        hop_limit = ip->ttl;
        service = ip->service;
    }
    struct cookie_state *state = cookie_state.lookup(&zero);
    struct answer *answer = find_answer(hash);
    if (!answer)
        answer = new_answer(hash, now);
    if (!state || !answer)
        return;
    answer->seen = tick;
    answer->hop_limit = hop_limit;
    answer->service = service & 0xfc;
    answer->window = tcp->window;
    answer->tagged = tagged;
    learn_options(answer, (u32 *)(tcp + 1), end, (tcp->length >> 4) * 4 - sizeof(*tcp), tcp->flags, tick);
    if (state->since && answer->cookie != tick && is_own_cookie(data, end, at, is_v6, tcp))
        answer->cookie = tick;
}

#endif
