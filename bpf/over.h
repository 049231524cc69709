/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet beyond its lane's gate. A known flow passes and takes from nobody; then what the lane and the class of the local
 * address and port have left. A class can have half of the lane's budget, and one that had little may overdraw the lane up to
 * twice its depth: an attacked port cannot eat what the others need. What is still over needs another proof, or is dropped.
 */
#ifndef XDPWALL_OVER_H
#define XDPWALL_OVER_H

#define FIRST_PORT_BUDGET LANE_SLOTS

/* On many CPUs: a clock that is behind is set by whoever comes, which can lose a few packets' cost once an idle time. */
INLINE void spend_shared(u64 *spent, u64 now, u64 cost)
{
    if ((s64)(*spent - now) < 0)
        *spent = now + cost;
    else
        lock_xadd(spent, cost);
}

/* Where the local address and port of the packet share a budget with a 256th of all others. Random for who has no seed. */
INLINE u64 class_of(struct packet *p)
{
    u32 at = p->l3 & 0x3f;
    u64 local = p->ports >> 16;
    if (p->lane >= LANE_ICMP)
        local = 0;
    if (p->is_v6) {
        struct ipv6_header *ip = p->data + at;
        if ((void *)(ip + 1) <= p->end)
            local ^= (*(u64 *)&ip->target[0] * 3) ^ (*(u64 *)&ip->target[2] << 16);
    } else {
        struct ipv4_header *ip = p->data + at;
        if ((void *)(ip + 1) <= p->end)
            local ^= (u64)ip->target << 16;
    }
    return mix(local) >> (64 - CLASS_BITS);
}

/* The hash of the flow that a packet from outside belongs to. word: see flow_word. */
INLINE u64 flow_of(struct packet *p, u64 word)
{
    u32 at = p->l3 & 0x3f;
    if (p->is_v6) {
        struct ipv6_header *ip = p->data + at;
        return (void *)(ip + 1) <= p->end ? flow_hash6(ip->source, ip->target, word) : 0;
    }
    struct ipv4_header *ip = p->data + at;
    return (void *)(ip + 1) <= p->end ? flow_hash4(ip->source, ip->target, word) : 0;
}

/* The packet identification of a fragment, as flow_word wants it. The fragment header is the last 8 bytes before l4. */
INLINE u64 fragment_word(struct packet *p)
{
    if (!p->is_v6) {
        struct ipv4_header *ip = p->data + (p->l3 & 0x3f);
        return (void *)(ip + 1) <= p->end ? flow_word(ip->id, p->protocol, 1) : 0;
    }
    u64 at = (p->l4 - sizeof(struct fragment_header)) & OFFSET_MASK;
    struct fragment_header *fragment = p->data + at;
    return (void *)(fragment + 1) <= p->end ? flow_word(fragment->id, 0, 1) : 0;
}

/* What of the packet names its flow, beside the addresses. */
INLINE u64 word_of(struct packet *p)
{
    if (p->lane == LANE_FRAGMENT)
        return fragment_word(p);
    u64 name = p->ports;
    if (p->lane == LANE_ICMP) {
        struct icmp_header *icmp = p->data + (p->l4 & OFFSET_MASK);
        u64 reply = p->is_v6 ? ICMPV6_ECHO_REPLY : ICMP_ECHO_REPLY;
        if ((void *)(icmp + 1) > p->end || icmp->type != reply)
            return 0;
        name = icmp->rest & 0xffff; /* the identifier stands first */
    } else if (p->lane == LANE_OTHER) {
        name = 0;
    }
    return flow_word(name, p->protocol, 0);
}

/* Of the quoted packet's transport header, as each error has it (RFC 792; RFC 4443 has more). */
#define QUOTED_LEAST 8

/*
 * An ICMP error quotes the packet that provoked it, from its IP header on: is it of a flow that we know? Then path MTU
 * discovery and "unreachable" go on in a flood. Quoted are we as the source, so the sides are the other way round.
 */
INLINE int is_provoked(struct packet *p)
{
    u64 at = p->l4 & OFFSET_MASK;
    struct icmp_header *icmp = p->data + at;
    if ((void *)(icmp + 1) > p->end)
        return 0;
    /* parse_transport saw that the header is whole. What the frame has behind its packet is no quotation. */
    u64 inner = at + sizeof(*icmp), left = p->l4_length - sizeof(*icmp), hash;
    u32 quoted_ports;
    if (p->is_v6) {
        struct ipv6_header *ip = p->data + inner;
        if (icmp->type < 1 || icmp->type > 4 || (void *)(ip + 1) + 4 > p->end || left < sizeof(*ip) + QUOTED_LEAST)
            return 0;
        quoted_ports = *(u32 *)(ip + 1);
        u64 ports_in = (quoted_ports >> 16) | (quoted_ports & 0xffff) << 16;
        if (ip->next == PROTO_ICMPV6) {
            struct icmp_header *echo = (void *)(ip + 1);
            if ((void *)(echo + 1) > p->end)
                return 0;
            ports_in = echo->rest & 0xffff;
        }
        hash = flow_hash6(ip->target, ip->source, flow_word(ports_in, ip->next, 0));
    } else {
        struct ipv4_header *ip = p->data + inner;
        if ((icmp->type != ICMP_UNREACHABLE && icmp->type != ICMP_TIME_EXCEEDED && icmp->type != ICMP_PARAMETER) ||
            (void *)(ip + 1) + 4 > p->end)
            return 0;
        u64 header = (ip->version_length & 15) * 4;
        struct icmp_header *echo = p->data + inner + header;
        if (header < sizeof(*ip) || (void *)(echo + 1) > p->end || left < header + QUOTED_LEAST)
            return 0;
        quoted_ports = *(u32 *)echo;
        u64 ports_in = (quoted_ports >> 16) | (quoted_ports & 0xffff) << 16;
        if (ip->protocol == PROTO_ICMP)
            ports_in = echo->rest & 0xffff;
        hash = flow_hash4(ip->target, ip->source, flow_word(ports_in, ip->protocol, 0));
    }
    return find_proof(hash, p->now) != 0;
}

/* Does this ACK complete a handshake? Then its flow and its source are known from here on. */
INLINE int completes_handshake(struct packet *p, u64 hash)
{
    struct tcp_header *tcp = p->data + (p->l4 & OFFSET_MASK);
    if ((void *)(tcp + 1) > p->end || (p->flags & (TCP_ACK | TCP_RST | TCP_SYN)) != TCP_ACK)
        return 0;
    if (!completes_pending(hash, from_be32(tcp->acknowledgement)) && !(COOKIES && acknowledges_cookie(p)))
        return 0;
    note_proof(hash, PROOF_TCP, p->now);
    note_peer(mix(p->key));
    note_proof(source_hash(p->key), PROOF_SOURCE, p->now);
    watch_login(p);
    return 1;
}

/* Is there anything left for the packet in this budget, and for its class in the lane's? If so, it is taken. */
INLINE int within_budget(struct packet *p, u32 number, u64 now)
{
    u64 place = bounded(number, BUDGETS - 1);
    struct budget *budget = WHOLE(struct budget, AT_BUDGETS) + place;
    struct pool *pool = WHOLE(struct pool, AT_POOLS) + place;
    u64 packet = budget->packet_cost, bytes = p->length * budget->byte_cost >> BYTE_SHIFT;
    u64 depth = budget->depth;
    if (number >= FIRST_PORT_BUDGET) {
        if (!has_room(pool->spent.packets, now, depth) || !has_room(pool->spent.bytes, now, depth))
            return 0;
    } else {
        u64 row = bounded(number, LANE_SLOTS - 1);
        struct spending *class =
            WHOLE(struct spending, AT_CLASSES) + (row << CLASS_BITS) + bounded(class_of(p), (1 << CLASS_BITS) - 1);
        if (!has_room(class->packets, now, depth) || !has_room(class->bytes, now, depth))
            return 0;
        u64 light = has_room(class->packets, now, depth >> 2) && has_room(class->bytes, now, depth >> 2);
        u64 overdraft = depth << light;
        if (!has_room(pool->spent.packets, now, overdraft) || !has_room(pool->spent.bytes, now, overdraft))
            return 0;
        spend_shared(&class->packets, now, packet << 1);
        spend_shared(&class->bytes, now, bytes << 1);
    }
    spend_shared(&pool->spent.packets, now, packet);
    spend_shared(&pool->spent.bytes, now, bytes);
    return 1;
}

/* What else than a known flow speaks for a packet that found the budget spent. REASON_PASS: nothing does. */
INLINE enum reason other_proof(struct packet *p)
{
    if (p->lane == LANE_ICMP && is_provoked(p))
        return REASON_PASS_SOLICITED;
    if (find_proof(source_hash(p->key), p->now))
        return REASON_PASS_PROVEN;
    return REASON_PASS;
}

INLINE struct lane_cpu *lane_on_cpu(struct packet *p)
{
    return WHOLE(struct lane_cpu, AT_LANE_CPUS) + p->cpu * LANE_SLOTS + bounded(p->lane, LANE_SLOTS - 1);
}

/* Budgets are learned from what is left: what is seen of a lane, and no known flow. */
INLINE void count_known(struct packet *p)
{
    struct lane_cpu *lane = lane_on_cpu(p);
    lane->known.packets++;
    lane->known.bytes += p->length;
}

INLINE enum reason over_budget(struct xdp_md *ctx, struct packet *p)
{
    u64 closed = 0, hash = 0, info = 0;
    u32 number = p->lane;
    if (p->lane <= LANE_UDP)
        info = port_info(p->protocol, from_be16(p->ports >> 16));
    if (p->lane != LANE_SYN) {
        u64 word = word_of(p);
        hash = word ? flow_of(p, word) : 0;
        if (hash && !p->rule && find_proof(hash, p->now)) {
            count_known(p);
            if (p->fragment == FIRST_FRAGMENT)
                note_proof(flow_of(p, fragment_word(p)), PROOF_FRAGMENT, p->now);
            return p->lane == LANE_FRAGMENT ? REASON_PASS_SOLICITED : REASON_PASS_FLOW;
        }
        /* Within the budget, too: only the first of its packets can tell, and those after it need the flow. */
        if (p->lane == LANE_TCP && hash && !p->rule && completes_handshake(p, hash)) {
            count_known(p);
            return REASON_PASS_HANDSHAKE;
        }
    }
    if (!p->rule) /* else it was here before */
        watch(p, info);
    if (p->only_shown)
        return REASON_PASS;
    if (p->fragment == FIRST_FRAGMENT) {
        /* What waits for its other fragments takes of the 4 MiB that the stack has for all that wait. */
        p->lane = number = LANE_FRAGMENT;
    } else if (p->lane <= LANE_UDP) {
        closed = !(info & PORT_LISTENS);
        if (closed)
            number = LANE_CLOSED;
        else if (info & PORT_BUDGET && p->lane != LANE_TCP)
            number = info & PORT_BUDGET;
    }
    if (!p->rule && has_rules(p)) {
        stages.call(ctx, STAGE_RULES); /* comes back with p->rule set */
        /* It did not take place. For the verifier of 6.12 (stable) a tail call moves the packet: it forgets the pointers. */
        p->data = (void *)(long)ctx->data;
        p->end = (void *)(long)ctx->data_end;
    }
    p->rule ^= unknown_zero(p);
    u64 found = p->rule & RULE_FOUND, within = 0;
    if (!found || p->rule & RULE_OBSERVES)
        within = within_budget(p, number, fine_now(p));
    if (within && !found)
        return REASON_PASS;

    struct lane_cpu *lane = lane_on_cpu(p);
    enum reason proof = closed ? REASON_PASS : other_proof(p), judged = REASON_PASS;
    if (found)
        judged = judge_by_rule(p, proof);
    if (found && !judged)
        note_observed(p, REASON_FINGERPRINT);
    if (within)
        return REASON_PASS;
    lane->over.packets++;
    lane->over.bytes += p->length;
    if (proof)
        return proof;
    lane->dropped.packets++;
    lane->dropped.bytes += p->length;
    if (judged)
        return judged;
    if (closed)
        return p->lane == LANE_UDP ? REASON_CLOSED_UDP : REASON_CLOSED_TCP;
    return REASON_LANE_SYN + p->lane;
}

/* Takes the packet up again. The verifier knows nothing of numbers from a map: they are masked where they become offsets. */
INLINE int take_over(struct xdp_md *ctx, struct packet *p)
{
    if (!on_cpu(p))
        return 0;
    struct handover *from = WHOLE(struct handover, AT_HANDOVERS) + p->cpu;
    p->data = (void *)(long)ctx->data;
    p->end = (void *)(long)ctx->data_end;
    p->key = from->key;
    p->length = from->length;
    p->ports = from->ports;
    p->now = from->now;
    p->l3 = from->l3;
    p->l4 = from->l4;
    p->l4_length = from->l4_length;
    p->protocol = from->protocol;
    p->lane = from->lane & (LANE_SLOTS - 1);
    p->only_shown = from->lane & ONLY_SHOWN;
    p->flags = from->flags;
    p->fragment = from->fragment;
    p->is_v6 = from->is_v6;
    p->hop_limit = from->hop_limit;
    p->slot = bounded(from->slot, INTERFACES - 1);
    p->reason = from->reason & (REASON_SLOTS - 1);
    p->rule = from->rule;
    p->meter = from->meter;
    p->observed = OBSERVED ? from->observed & (REASON_SLOTS - 1) : 0;
    return 1;
}

#endif
