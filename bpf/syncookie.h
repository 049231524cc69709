/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * SYN cookies: a connection request over budget is answered in the stack's place, by turning its own packet round. The
 * number in the answer proves, when it comes back, that the source is real; until then nobody keeps anything of it.
 *
 * The answer is what the stack would have sent (see answers.h), and only to ports where the stack has sent cookies itself
 * a moment ago: whoever acknowledges one is taken up there. What the request offered is not kept either. The stack finds
 * the MSS in the number (the kernel's helper makes it) and the rest in the low six bits of the timestamp, which every
 * acknowledgement echoes: window scale (4 bits), SACK, ECN (net/ipv4/syncookies.c, cookie_timestamp_decode). So who sends
 * no timestamp has neither, as with the stack's own cookies.
 */
#ifndef XDPWALL_SYNCOOKIE_H
#define XDPWALL_SYNCOOKIE_H

/* bpf_tcp_raw_gen_syncookie_ipv4 and _ipv6, since 6.0: cookie | MSS << 32, or an error below 0. bcc 0.26 has no names. */
static s64 (*make_cookie4)(void *ip, void *tcp, u32 length) = (void *)204;
static s64 (*make_cookie6)(void *ip, void *tcp, u32 length) = (void *)205;
/* bpf_xdp_load_bytes, since 5.18. */
static long (*read_bytes)(struct xdp_md *ctx, u32 offset, void *to, u32 length) = (void *)189;
/* bpf_ktime_get_coarse_ns: the stack's timestamps are of the same clock, CLOCK_MONOTONIC. */
static u64 (*coarse_time)(void) = (void *)160;

#define TCP_LONGEST 60
#define FRAME_SHORTEST 60
/* How many options are looked at. No-operations count; no stack sends more than a dozen. */
#define MAX_OPTIONS 16
#define IPV4_DONT_FRAGMENT 0x4000

#define STAMP_NO_SCALE 15
#define STAMP_SACK 16
#define STAMP_ECN 32
#define STAMP_BITS 63

/* What a request offers. */
struct offer {
    u64 has_stamp;
    u64 stamp; /* its timestamp, as it stood */
    u64 has_scale;
    u64 scale;
    u64 sack;
    u64 signed_; /* MD5 (RFC 2385) or TCP-AO (RFC 5925): only the stack can answer it */
};

/* A request with its header, as the kernel's helper wants it: whole, in one place. Zeros follow. */
struct request {
    struct tcp_header tcp;
    u8 options[64];
};

/* 1 for two equal numbers below 2^63, else 0; without a branch. */
INLINE u64 same(u64 a, u64 b)
{
    u64 equal = ((a ^ b) - 1) >> 63;
    asm volatile("" : "+r"(equal));
    return equal;
}

/*
 * Reads the options as the stack does: a faulty one ends it, of two of a kind the later one counts. Without branches but
 * those out of the loop: else the verifier walks each path through each option (its million steps were not enough).
 */
INLINE void read_offer(struct request *request, u64 size, struct offer *offer, u64 zero)
{
    u64 at = zero, scale_at = zero, stamp_at = zero, sack = zero, signed_ = zero;
    for (int i = 0; i < MAX_OPTIONS; i++) {
        u64 kind = request->options[at & 63], length = request->options[(at + 1) & 63];
        u64 pad = same(kind, 1);
        length += pad * (1 - length);
        if (at >= size || !kind || length + pad < 2 || at + length > size)
            break;
        u64 what = kind << 8 | length;
        scale_at += same(what, 3 << 8 | 3) * (at + 2 - scale_at);
        stamp_at += same(what, 8 << 8 | 10) * (at + 2 - stamp_at);
        sack |= same(what, 4 << 8 | 2);
        signed_ |= same(kind, 19) | same(kind, 29);
        at = (at + length) & 63;
    }
    u64 scale = request->options[scale_at & 63];
    offer->has_scale = scale_at != 0;
    offer->scale = scale > 14 ? 14 : scale; /* RFC 7323 section 2.3 */
    offer->has_stamp = stamp_at != 0;
    offer->stamp = request->options[stamp_at & 63] | request->options[(stamp_at + 1) & 63] << 8 |
                   request->options[(stamp_at + 2) & 63] << 16 | (u64)request->options[(stamp_at + 3) & 63] << 24;
    offer->sack = sack;
    offer->signed_ = signed_;
}

/* Of 32 bits of a sum in ones' complement, the 16 that stand in a checksum (RFC 1071). */
INLINE u64 folded(u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

/* Is it this SYN's turn to go to the stack, so that what is known of the listener stays fresh? */
INLINE int is_probe(struct answer *answer, u64 hash, u64 full, struct packet *p, struct cookie_state *state)
{
    if (!answer) {
        u32 index = hash & (PROBES - 1);
        u64 *last = probes.lookup(&index);
        if (!last || p->now - *last < state->probe)
            return 0;
        *last = p->now;
        return 1;
    }
    u32 learned = full ? answer->stamped : answer->cookie, probed = full ? answer->probed_full : answer->probed;
    if (is_recent(learned, p->now, state->probe) || is_recent(probed, p->now, state->probe))
        return 0;
    answer->probed = stamp_tick(p->now);
    if (full)
        answer->probed_full = answer->probed;
    return 1;
}

/* The words of the answer's TCP header, all in network order. Gives its length, 24 or 40 bytes. */
INLINE u64 write_answer(u32 word[10], struct request *request, struct offer *offer, struct answer *answer,
                        struct packet *p, struct cookie_state *state, u64 cookie)
{
    u64 length = 24, flags = TCP_SYN | TCP_ACK;
    if (offer->has_stamp && is_ready(answer->stamped, p->now, state)) {
        u64 now = coarse_time() / 1000000, bits = STAMP_NO_SCALE;
        u64 scales = offer->has_scale && is_recent(answer->scaled, p->now, state->keeps);
        u64 sacks = offer->sack && is_recent(answer->sacked, p->now, state->keeps);
        if (scales)
            bits = offer->scale;
        if (sacks)
            bits |= STAMP_SACK;
        /* A request for ECN as RFC 3168 has it (section 6.1.1); the lowest bit of `length` is that of accurate ECN. */
        if ((request->tcp.flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR) && !(request->tcp.length & 1) &&
            is_recent(answer->ecn, p->now, state->keeps)) {
            bits |= STAMP_ECN;
            flags |= TCP_ECE;
        }
        /* Never ahead of the clock: what the connection sends next has the clock itself. */
        u64 stamp = (now & ~(u64)STAMP_BITS) | bits;
        if (stamp > now)
            stamp -= STAMP_BITS + 1;
        word[6] = sacks ? OPTION_SACK_STAMP : OPTION_STAMP;
        word[7] = to_be32(stamp);
        word[8] = offer->stamp;
        word[9] = scales ? OPTION_SCALE | (u32)answer->scale << 24 : 0x01010101;
        length = 40;
    }
    word[0] = (p->ports >> 16 & 0xffff) | (p->ports & 0xffff) << 16;
    word[1] = to_be32(cookie);
    word[2] = to_be32(from_be32(request->tcp.sequence) + 1);
    word[3] = length / 4 << 4 | flags << 8 | (u32)answer->window << 16;
    word[4] = 0;
    word[5] = OPTION_MSS | (u32)to_be16(answer->mss) << 16;
    return length;
}

/* Turns the packet round. `sum`: of the TCP header so far. The frame has its new length already. */
INLINE int turn_round(struct xdp_md *ctx, struct packet *p, u32 word[10], u64 length, u64 sum, struct answer *answer)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    u64 l3 = p->l3 & 0x3f, l4 = l3 + (p->is_v6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header));
    /* What the compiler must not look through. LLVM 19 else widens `end` from 32 bits once more at each use ("pointer
     * arithmetic on pkt_end prohibited"); the verifier of 6.1 loses the bound of `l4` on its way through the stack. */
    asm volatile("" : "+r"(data), "+r"(end), "+r"(l4));
    struct eth_header *eth = data;
    u32 *tcp = data + (l4 & 0x7f);
    if ((void *)(eth + 1) > end || (void *)(tcp + 6) > end || (length == 40 && (void *)(tcp + 10) > end))
        return 0;
    sum += to_be16(PROTO_TCP) + to_be16(length);
    if (p->is_v6) {
        struct ipv6_header *ip = data + l3;
        if ((void *)(ip + 1) > end)
            return 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            __be32 address = ip->source[i];
            ip->source[i] = ip->target[i];
            ip->target[i] = address;
            sum += (u64)ip->source[i] + address;
        }
        *(u32 *)ip = to_be32(6U << 28 | (u32)answer->service << 20);
        ip->payload_length = to_be16(length);
        ip->hop_limit = answer->hop_limit;
    } else {
        struct ipv4_header *ip = data + l3;
        if ((void *)(ip + 1) > end)
            return 0;
        __be32 address = ip->source;
        ip->source = ip->target;
        ip->target = address;
        ip->service = answer->service;
        ip->total_length = to_be16(sizeof(*ip) + length);
        ip->id = 0; /* not needed where nothing may be split (RFC 6864) */
        ip->fragment = to_be16(IPV4_DONT_FRAGMENT);
        ip->ttl = answer->hop_limit;
        ip->checksum = 0;
        u32 *header = (u32 *)ip;
        u64 addresses = (u64)header[3] + header[4];
        ip->checksum = folded((u64)header[0] + header[1] + header[2] + addresses);
        sum += addresses;
    }
    word[4] = folded(sum);
#pragma unroll
    for (int i = 0; i < 6; i++)
        tcp[i] = word[i];
    if (length == 40) {
#pragma unroll
        for (int i = 6; i < 10; i++)
            tcp[i] = word[i];
    }
#pragma unroll
    for (int i = 0; i < 6; i++) {
        u8 byte = eth->target[i];
        eth->target[i] = eth->source[i];
        eth->source[i] = byte;
    }
    return 1;
}

INLINE s64 make_cookie(struct packet *p, struct request *request, u64 header)
{
    u64 at = p->l3 & 0x3f;
    if (p->is_v6) {
        struct ipv6_header *ip = p->data + at;
        return (void *)(ip + 1) <= p->end ? make_cookie6(ip, request, header) : -1;
    }
    struct ipv4_header *ip = p->data + at;
    return (void *)(ip + 1) <= p->end ? make_cookie4(ip, request, header) : -1;
}

/* The hash of the local address and port; 0 for a request that only the stack can answer. */
INLINE u64 listener_of(struct packet *p)
{
    u64 at = p->l3 & 0x3f, header = p->is_v6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header);
    struct eth_header *eth = p->data;
    /* A group address asks for nothing; and beyond options or extension headers an answer would need them, too. */
    if (p->fragment || p->l4 != at + header || (void *)(eth + 1) > p->end || eth->target[0] & 1)
        return 0;
    if (p->is_v6) {
        struct ipv6_header *ip = p->data + at;
        return (void *)(ip + 1) <= p->end ? answer_hash(1, ip->target, p->ports >> 16) : 0;
    }
    struct ipv4_header *ip = p->data + at;
    return (void *)(ip + 1) <= p->end ? answer_hash(0, &ip->target, p->ports >> 16) : 0;
}

/*
 * A SYN over budget to a port where somebody listens. REASON_COOKIE_SENT: the packet is its answer now, and goes back the
 * way it came. REASON_PASS: the stack shall answer this one. Else it is dropped, and its sender will try again.
 */
INLINE enum reason answer_syn(struct xdp_md *ctx, struct packet *p)
{
    u32 zero = 0;
    struct cookie_state *state = cookie_state.lookup(&zero);
    u64 hash = listener_of(p);
    if (!state || !hash)
        return REASON_LANE_SYN;
    struct answer *answer = find_answer(hash);
    if (OBSERVE)
        return answer ? REASON_COOKIE_SENT : REASON_LANE_SYN;
    if (!state->since)
        return REASON_LANE_SYN;

    struct request request = {};
    struct offer offer = {};
    if (read_bytes(ctx, p->l4 & 0x7f, &request, sizeof(request.tcp)))
        return REASON_LANE_SYN;
    u64 header = (request.tcp.length >> 4) * 4, size = (header - sizeof(request.tcp)) & 63;
    if (header < sizeof(request.tcp) || header > p->l4_length)
        return REASON_LANE_SYN;
    if (size) {
        /* With the four bytes before them once more: the verifier of 6.1 does not learn from "size is not 0" that it is
         * at least 1, and refuses a read that might be of nothing ("invalid zero-sized read"). Later ones do. */
        u32 from = sizeof(request.tcp) - 4;
        if (read_bytes(ctx, (p->l4 & 0x7f) + from, (u8 *)&request + from, size + 4))
            return REASON_LANE_SYN;
        read_offer(&request, size, &offer, unknown_zero(p));
    }
    if (is_probe(answer, hash, offer.has_stamp, p, state))
        return REASON_PASS;
    if (!answer || !is_ready(answer->cookie, p->now, state) || offer.signed_)
        return REASON_LANE_SYN;

    /* A NIC that takes VLAN tags off before XDP leaves none to send the answer with: it would go astray. */
    if (answer->tagged && (p->l3 & 0x3f) == ETH_HEADER)
        return REASON_LANE_SYN;

    s64 cookie = make_cookie(p, &request, size + sizeof(request.tcp));
    if (cookie < 0)
        return REASON_LANE_SYN;
    u32 word[10] = {};
    u64 length = write_answer(word, &request, &offer, answer, p, state, cookie), sum = 0;
#pragma unroll
    for (int i = 0; i < 10; i++)
        sum += word[i];
    /* No shorter than Ethernet's shortest, if it was not. */
    u64 frame = (p->l4 & 0x7f) + length;
    if (frame < FRAME_SHORTEST)
        frame = p->length < FRAME_SHORTEST ? p->length : FRAME_SHORTEST;
    if (frame < (p->l4 & 0x7f) + length)
        frame = (p->l4 & 0x7f) + length;
    if (frame != p->length && bpf_xdp_adjust_tail(ctx, (int)frame - (int)p->length))
        return REASON_LANE_SYN;
    return turn_round(ctx, p, word, length, sum, answer) ? REASON_COOKIE_SENT : REASON_LANE_SYN;
}

/* Is this TCP packet the acknowledgement of a cookie, or the first data after it? Then its source is real. */
INLINE int acknowledges_cookie(struct packet *p)
{
    u32 zero = 0;
    struct cookie_state *state = cookie_state.lookup(&zero);
    u64 l3 = p->l3 & 0x3f;
    struct tcp_header *tcp = p->data + (p->l4 & 0x7fff);
    if (!state || !state->since || (void *)(tcp + 1) > p->end || (p->flags & (TCP_ACK | TCP_RST | TCP_SYN)) != TCP_ACK)
        return 0;
    if (p->is_v6) {
        struct ipv6_header *ip = p->data + l3;
        return (void *)(ip + 1) <= p->end && check_cookie6(ip, tcp) == 0;
    }
    struct ipv4_header *ip = p->data + l3;
    return (void *)(ip + 1) <= p->end && check_cookie4(ip, tcp) == 0;
}

#endif
