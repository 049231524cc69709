/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Budgets and proof. Each lane of traffic has a budget; below it nothing is looked up and nothing is dropped. Above it, the
 * excess must prove that it belongs.
 *
 * A budget is a point in time up to which it is spent: each packet moves it ahead by its cost, the clock catches up, and
 * there is room while it is less than `depth` ahead. One word, one atomic add a passed packet, right after any idle time.
 * (The generic cell rate algorithm, ITU-T I.371, with the theoretical arrival time as its only state.)
 *
 * The gate, a small part of the budget that each CPU hands out by itself, is all that a quiet lane ever meets. The rest is in
 * over.h.
 */
#ifndef XDPWALL_LANES_H
#define XDPWALL_LANES_H

#define FINE 20
#define BYTE_SHIFT 16
#define FIRST_PORT_BUDGET LANE_SLOTS

INLINE u64 fine_now(struct packet *p)
{
    return p->now << FINE;
}

INLINE int has_room(u64 spent, u64 now, u64 depth)
{
    return (s64)(spent - now) < (s64)depth;
}

/* On one CPU. */
INLINE u64 spend(u64 spent, u64 now, u64 cost)
{
    return ((s64)(spent - now) < 0 ? now : spent) + cost;
}

/* Of a quiet lane each CPU shows its first packet in one of 4 ticks, too: what good traffic looks like. It passes. */
#define QUIET_SAMPLES 3

/* Does the packet need more than the gate? For one that nothing else has decided. */
INLINE int is_over_gate(struct packet *p)
{
    u64 number = bounded(p->lane, LANE_SLOTS - 1);
    struct lane_cpu *lane = WHOLE(struct lane_cpu, AT_LANE_CPUS) + p->cpu * LANE_SLOTS + number;
    struct budget *budget = WHOLE(struct budget, AT_BUDGETS) + number;
    lane->seen.packets++;
    lane->seen.bytes += p->length;
    u64 now = fine_now(p), bytes = p->length * budget->gate_byte_cost >> BYTE_SHIFT;
    u64 due = !(p->now & QUIET_SAMPLES) && (s64)(lane->gate.packets - now) < 0;
    if (!(p->lane & ALWAYS_OVER) && budget->rules_until <= p->now && !budget->shut &&
        has_room(lane->gate.packets, now, budget->gate_depth) && has_room(lane->gate.bytes, now, budget->gate_depth)) {
        lane->gate.packets = spend(lane->gate.packets, now, budget->gate_packet_cost);
        lane->gate.bytes = spend(lane->gate.bytes, now, bytes);
        if (due)
            p->lane |= ONLY_SHOWN;
        return due;
    }
    return 1;
}

/* What bans and limits drop is shown in one of 16 ticks. */
#define DROP_SAMPLES 15
#define SAMPLED                                                                                                      \
    (1ULL << REASON_BANNED_SOURCE | 1ULL << REASON_BANNED_PREFIX | 1ULL << REASON_SOURCE_PPS |                       \
     1ULL << REASON_SOURCE_BPS | 1ULL << REASON_SOURCE_SYN | 1ULL << REASON_PREFIX_PPS | 1ULL << REASON_PREFIX_BPS | \
     1ULL << REASON_PREFIX_SYN)

/*
 * What is over goes on in a program of its own (over.h), by a tail call: the program that every packet meets stays small, and
 * the verifier of Linux 6.18 needs more than its million steps for both in one. What is known of the packet is handed over
 * in the CPU's own entry.
 */
INLINE void hand_over(struct packet *p, u64 reason)
{
    struct handover *to = WHOLE(struct handover, AT_HANDOVERS) + p->cpu;
    to->key = p->key;
    to->length = p->length;
    to->ports = p->ports;
    to->now = p->now;
    to->l3 = p->l3;
    to->l4 = p->l4;
    to->l4_length = p->l4_length;
    to->protocol = p->protocol;
    to->lane = p->lane;
    to->flags = p->flags;
    to->fragment = p->fragment;
    to->is_v6 = p->is_v6;
    to->hop_limit = p->hop_limit;
    to->slot = p->slot;
    to->reason = reason;
    to->rule = 0;
    to->meter = p->meter;
    if (OBSERVED)
        to->observed = p->observed;
}

#endif
