/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The end of every path: count the reason, give the verdict.
 */
#ifndef XDPWALL_VERDICT_H
#define XDPWALL_VERDICT_H

/* The bench alone sets this, to measure the wall without the stack behind it. The loader never does. */
#ifdef BENCH_PASS_IS_DROP
#define PASS_VERDICT XDP_DROP
#else
#define PASS_VERDICT XDP_PASS
#endif

/* OBSERVE (policy = "observe"): counts what would be dropped, drops nothing. Of single reasons: observe.h. */
INLINE int verdict(struct packet *p, u64 reason)
{
    u64 would = would_drop_for(p, reason);
    u32 index = (p->cpu * INTERFACES + p->slot) * REASON_SLOTS + (would ? would : reason);
    struct count *count = would ? would_drop.lookup(&index) : verdicts.lookup(&index);
    if (count) {
        count->packets++;
        count->bytes += p->length;
    }
    return OBSERVE || PASSES >> reason & 1 ? PASS_VERDICT : XDP_DROP;
}

#endif
