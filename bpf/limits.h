/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Limits that hold in the very packet that exceeds them: a token bucket for packets, bytes and SYN of each metered source
 * and prefix, beside its counters. What is over is dropped; what is under goes on: nobody is cut off by a limit alone, that
 * is a ban, and bans are the controller's.
 *
 * Buckets are those of one CPU. A source that the NIC spreads over n queues can have up to n times its limit pass, until the
 * controller, which adds up all CPUs each tick, bans it. A flow stays on one queue, so one flow never has more than its limit.
 *
 * A quarter more than the limit's burst is kept for packets of known flows (reserve.h), where flows are known at all.
 *
 * Units, chosen by Python so that 32 bits suffice (dataplane/buckets.py): a packet costs *_COST tokens, a byte 2^shift;
 * a bucket holds *_CAP, and gains the load-time constant *_RATE each tick. A limit that is off has CAP 0 and is not compiled.
 *
 * -D: {SOURCE,PREFIX}_{PPS,BPS,SYN}_CAP, _COST (BPS: a right shift of the length, _SHIFT)
 */
#ifndef XDPWALL_LIMITS_H
#define XDPWALL_LIMITS_H

#define SOURCE_PPS_RATE LOAD_TIME_CONSTANT(0x57a11010)
#define SOURCE_BPS_RATE LOAD_TIME_CONSTANT(0x57a11011)
#define SOURCE_SYN_RATE LOAD_TIME_CONSTANT(0x57a11012)
#define PREFIX_PPS_RATE LOAD_TIME_CONSTANT(0x57a11020)
#define PREFIX_BPS_RATE LOAD_TIME_CONSTANT(0x57a11021)
#define PREFIX_SYN_RATE LOAD_TIME_CONSTANT(0x57a11022)

/* Whose limits. A constant wherever it is used, so that the other half is not compiled. */
enum scope { SCOPE_SOURCE, SCOPE_PREFIX };

#define RESERVE(cap) (LANES ? (cap) >> 2 : 0)
#define BRIMFUL(cap) ((cap) + RESERVE(cap))

INLINE void fill_buckets(struct meter *meter, enum scope scope)
{
    meter->packet_tokens = BRIMFUL(scope == SCOPE_SOURCE ? SOURCE_PPS_CAP : PREFIX_PPS_CAP);
    meter->byte_tokens = BRIMFUL(scope == SCOPE_SOURCE ? SOURCE_BPS_CAP : PREFIX_BPS_CAP);
    meter->syn_tokens = scope == SCOPE_SOURCE ? SOURCE_SYN_CAP : PREFIX_SYN_CAP;
}

/* ticks and rate are below 2^32, so neither the product nor the sum can wrap 64 bits by much more than cap allows. */
INLINE u32 refilled(u32 tokens, u64 ticks, u64 rate, u64 cap)
{
    u64 gained = ticks * rate;
    return gained > cap ? cap : lesser(tokens + gained, cap);
}

/* What came in since the last packet. Nothing within one tick: the branch costs a busy source nothing. */
INLINE void refill_buckets(struct meter *meter, u32 now, enum scope scope)
{
    u64 ticks = (u32)(now - meter->last);
    if (!ticks)
        return;
    if (scope == SCOPE_SOURCE) {
        if (SOURCE_PPS_CAP)
            meter->packet_tokens = refilled(meter->packet_tokens, ticks, SOURCE_PPS_RATE, BRIMFUL(SOURCE_PPS_CAP));
        if (SOURCE_BPS_CAP)
            meter->byte_tokens = refilled(meter->byte_tokens, ticks, SOURCE_BPS_RATE, BRIMFUL(SOURCE_BPS_CAP));
        if (SOURCE_SYN_CAP)
            meter->syn_tokens = refilled(meter->syn_tokens, ticks, SOURCE_SYN_RATE, SOURCE_SYN_CAP);
    } else {
        if (PREFIX_PPS_CAP)
            meter->packet_tokens = refilled(meter->packet_tokens, ticks, PREFIX_PPS_RATE, BRIMFUL(PREFIX_PPS_CAP));
        if (PREFIX_BPS_CAP)
            meter->byte_tokens = refilled(meter->byte_tokens, ticks, PREFIX_BPS_RATE, BRIMFUL(PREFIX_BPS_CAP));
        if (PREFIX_SYN_CAP)
            meter->syn_tokens = refilled(meter->syn_tokens, ticks, PREFIX_SYN_RATE, PREFIX_SYN_CAP);
    }
}

/*
 * Take the packet's cost from the buckets, or say which one lacks it. A packet that is refused costs nothing, so exactly
 * the limit passes. known: a packet of a known flow, which may have the reserve, too.
 */
INLINE enum reason take_tokens(struct meter *meter, struct packet *p, enum scope scope, u32 known)
{
    u32 source = scope == SCOPE_SOURCE;
    u64 bytes = source ? p->length >> SOURCE_BPS_SHIFT : p->length >> PREFIX_BPS_SHIFT;
    u64 packet = source ? SOURCE_PPS_COST : PREFIX_PPS_COST;
    u64 syn = source ? SOURCE_SYN_COST : PREFIX_SYN_COST;
    u32 pps_on = source ? SOURCE_PPS_CAP != 0 : PREFIX_PPS_CAP != 0;
    u32 bps_on = source ? SOURCE_BPS_CAP != 0 : PREFIX_BPS_CAP != 0;
    u32 syn_on = (source ? SOURCE_SYN_CAP != 0 : PREFIX_SYN_CAP != 0) && (p->kinds & KIND_SYN);

    u64 packets_kept = known ? 0 : RESERVE(source ? SOURCE_PPS_CAP : PREFIX_PPS_CAP);
    u64 bytes_kept = known ? 0 : RESERVE(source ? SOURCE_BPS_CAP : PREFIX_BPS_CAP);

    if (pps_on && meter->packet_tokens < packet + packets_kept)
        return source ? REASON_SOURCE_PPS : REASON_PREFIX_PPS;
    if (bps_on && meter->byte_tokens < bytes + bytes_kept)
        return source ? REASON_SOURCE_BPS : REASON_PREFIX_BPS;
    if (syn_on && meter->syn_tokens < syn)
        return source ? REASON_SOURCE_SYN : REASON_PREFIX_SYN;
    if (pps_on)
        meter->packet_tokens -= packet;
    if (bps_on)
        meter->byte_tokens -= bytes;
    if (syn_on)
        meter->syn_tokens -= syn;
    return REASON_PASS;
}

#endif
