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
    u64 row = (p->cpu * INTERFACES + p->slot) * REASON_SLOTS;
    struct count *count = would ? WHOLE(struct count, AT_WOULD_DROP) + row + bounded(would, REASON_SLOTS - 1)
                                : WHOLE(struct count, AT_VERDICTS) + row + bounded(reason, REASON_SLOTS - 1);
    count->packets++;
    count->bytes += p->length;
    return OBSERVE || PASSES >> reason & 1 ? PASS_VERDICT : XDP_DROP;
}

#endif
