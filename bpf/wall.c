/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * xdpwall's XDP program. Compiled by bcc for one config: what is off is not in the code.
 *
 * parse -> malformed -> link -> own source -> allow -> banned source -> banned prefix -> meters and limits -> lane -> pass
 *
 * -D: CPUS SEED BAN_BITS BAN_OVERFLOW BAN_PREFIXES ALLOW_PREFIXES SOURCE_BITS PREFIX_BITS 
 *     PROOF_BITS PENDING_BITS (sizes) SAMPLE_SIZE SAMPLE_HEAD_AT (of the struct in Python)
 *     OBSERVED (a bit a reason) OBSERVE CHECK_MALFORMED CHECK_OWN METERS LANES COOKIES (0 or 1), and those of limits.h
 */
#include <uapi/linux/bpf.h>

#include "net.h"
#include "reasons.h"
#include "types.h"
#include "maps.h"
#include "constants.h"
#include "packet.h"
#include "observe.h"
#include "time.h"
#include "parse.h"
#include "lists.h"
#include "bans.h"
#include "limits.h"
#include "meters.h"
#include "proofs.h"
#include "ports.h"
#include "watch.h"
#include "lanes.h"
#include "samples.h"
#include "fingerprints.h"
#include "answers.h"
#include "syncookie.h"
#include "over.h"
#include "reserve.h"
#include "egress.h"
#include "verdict.h"

/* bpf_xdp_get_buff_len is helper 188, since 5.18; bcc 0.26 has no name for it. Only reached where JUMBO is 1. */
static u64 (*xdp_frame_length)(struct xdp_md *ctx) = (void *)188;

INLINE enum reason parse(struct packet *p)
{
    __be16 type = 0;
    enum reason reason = parse_ethernet(p, &type);
    if (reason)
        return reason;
    p->l3 = (p->l3 ^ unknown_zero(p)) & L3_MASK;
    if (type == ETH_IPV4)
        reason = parse_ipv4(p);
    else if (type == ETH_IPV6)
        reason = parse_ipv6(p);
    else
        return REASON_PASS_NOT_IP;
    if (reason || p->is_link)
        return reason;
    return parse_transport(p);
}

/* The lists, for a packet whose source is known. */
INLINE enum reason ask_lists(struct packet *p)
{
    u32 listed = ask_gate(p);
    if (CHECK_OWN && listed & GATE_OWN && ends_here(p, is_own(p), REASON_SOURCE_OWN))
        return REASON_SOURCE_OWN;
    if (listed & GATE_ALLOW && is_allowed(p))
        return REASON_PASS_ALLOWED;
    if (ends_here(p, is_source_banned(p), REASON_BANNED_SOURCE))
        return REASON_BANNED_SOURCE;
    if (listed & GATE_BAN && ends_here(p, is_prefix_banned(p), REASON_BANNED_PREFIX))
        return REASON_BANNED_PREFIX;
    return REASON_PASS;
}

/* zero is an unknown 0. The empty asm keeps the compiler from carrying the known number on to where it is used. */
#define FORGET(number)                   \
    do {                                 \
        number ^= zero;                  \
        asm volatile("" : "+r"(number)); \
    } while (0)

/*
 * Each of these is a known number, or one within known bounds, on each path through the parser, and each pointer has a known
 * range. Nothing of that is needed from here on, and with it the verifier walks the rest once for each: over a million steps
 * instead of 328,000 (Linux 6.18), for no measurable time of a packet.
 */
INLINE u64 parsed(struct xdp_md *ctx, struct packet *p)
{
    u64 reason = parse(p), zero = unknown_zero(p);
    p->data = (void *)(long)*(volatile u32 *)&ctx->data;
    p->end = (void *)(long)*(volatile u32 *)&ctx->data_end;
    FORGET(p->is_v6);
    FORGET(p->is_link);
    FORGET(p->kinds);
    FORGET(p->lane);
    FORGET(p->key);
    FORGET(p->l4);
    FORGET(p->l4_length);
    FORGET(p->protocol);
    FORGET(p->fragment);
    FORGET(p->hop_limit);
    FORGET(p->ports);
    FORGET(p->flags);
    if (OBSERVED)
        FORGET(p->observed);
    return reason ^ zero;
}

INLINE u64 decide(struct xdp_md *ctx, struct packet *p)
{
    u64 reason = parsed(ctx, p);
    if (reason == REASON_PASS_NOT_IP)
        return reason;
    if (reason && (!CHECK_MALFORMED || (OBSERVED & MALFORMED_REASONS) != 0)) {
        if (CHECK_MALFORMED)
            note_observed(p, reason);
        /* No source was read; or one of ff00::/8, whose key could be taken for that of an IPv4 source. */
        if (!p->key || (p->is_v6 && (u32)p->key == (u32)V4_MARK))
            return REASON_PASS;
        reason = REASON_PASS;
    }
    /* A source that no host can have is nobody's: it must not fill the meters. The others are somebody's. */
    if (reason && reason <= REASON_SOURCE_OWN)
        return reason;
    if (p->is_link && !reason)
        return REASON_PASS_LINK;
    p->hash = mix(p->key);
    if (reason)
        p->kinds |= KIND_DROPPED;
    else
        reason = ask_lists(p);
    if (METERS && reason != REASON_SOURCE_OWN && reason != REASON_BANNED_SOURCE && reason != REASON_BANNED_PREFIX)
        reason = ask_meters(p, reason);
    return reason;
}

int wall(struct xdp_md *ctx)
{
    struct packet p = {.data = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};
    p.length = JUMBO ? xdp_frame_length(ctx) : p.end - p.data;
    if (!on_cpu(&p))
        return PASS_VERDICT;
    p.now = bpf_jiffies64();
    p.slot = INTERFACE_SLOT;
    u64 reason = (decide(ctx, &p) ^ unknown_zero(&p)) & (REASON_SLOTS - 1);
    if (LANES && !reason && is_over_gate(&p)) {
        hand_over(&p, reason);
        stages.call(ctx, STAGE_OVER);
    } else if (LANES && ((!(p.now & DROP_SAMPLES) && SAMPLED >> reason & 1) ||
                         (METERS && RESERVED >> reason & 1 && is_peer(p.hash)))) {
        hand_over(&p, reason);
        stages.call(ctx, STAGE_SAMPLE);
    } else if (LANES && OBSERVED != 0 && p.observed) {
        hand_over(&p, reason);
        stages.call(ctx, STAGE_SAMPLE);
    }
    return verdict(&p, reason);
}

/* Never attached: the wall goes on here with what is beyond its lane's gate. */
int over(struct xdp_md *ctx)
{
    struct packet p = {};
    if (!take_over(ctx, &p))
        return PASS_VERDICT;
    enum reason reason = unless_observed(&p, over_budget(ctx, &p));
    sample(ctx, &p, COOKIES && reason == REASON_LANE_SYN ? REASON_COOKIE_SENT : reason);
    if (COOKIES && reason == REASON_LANE_SYN)
        stages.call(ctx, STAGE_COOKIE);
    return verdict(&p, reason);
}

/* Never attached: the wall ends here with requests over budget. */
int cookie(struct xdp_md *ctx)
{
    struct packet p = {};
    if (!take_over(ctx, &p))
        return PASS_VERDICT;
    enum reason reason = COOKIES ? answer_syn(ctx, &p) : REASON_LANE_SYN;
    int usual = verdict(&p, reason);
    return reason == REASON_COOKIE_SENT && !OBSERVE ? XDP_TX : usual;
}

/* Never attached: asks the rules about a packet of a lane that has some, and goes back to where it was. */
int rules_stage(struct xdp_md *ctx)
{
    struct packet p = {};
    if (!take_over(ctx, &p))
        return PASS_VERDICT;
    if (p.fragment == FIRST_FRAGMENT)
        p.lane = LANE_FRAGMENT; /* as in over_budget */
    hand_back(&p, matches_rule(ctx, &p));
    stages.call(ctx, STAGE_OVER);
    return PASS_VERDICT;
}

/*
 * Never attached: the wall ends here with some of what bans and limits drop, so that a report can say what it was; and with
 * what is over a limit and could be of a known flow.
 */
int sampled(struct xdp_md *ctx)
{
    struct packet p = {};
    if (!take_over(ctx, &p))
        return PASS_VERDICT;
    u64 reason = p.reason;
    if (METERS && RESERVED >> reason & 1 && takes_reserve(&p))
        reason = REASON_PASS_FLOW;
    if (!(p.now & DROP_SAMPLES) || p.observed)
        sample(ctx, &p, reason);
    return verdict(&p, reason);
}

/* At the egress of each interface. TC_ACT_UNSPEC: the next filter decides. */
int egress(struct __sk_buff *skb)
{
    note_sent((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len, skb->vlan_present, bpf_jiffies64());
    return -1;
}

/* Test-run by the loader and the controller, never attached: what time the kernel has. 16 bytes: ticks, nanoseconds. */
int wall_clock(struct xdp_md *ctx)
{
    u64 *time = (void *)(long)ctx->data;
    if ((void *)(time + 2) > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    time[0] = bpf_jiffies64();
    time[1] = bpf_ktime_get_ns();
    return XDP_DROP;
}
