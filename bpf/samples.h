/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets for the controller to look at: a few of those that are over a budget, passed and dropped, and now and then one
 * of quiet times (see lanes.h). They go through a BPF ring buffer that only a reader empties; when it is full, or nobody reads, nothing
 * more is written.
 *
 * What may be written is rationed by lane, kind and time, so that neither a flood nor what is dropped of it can crowd out
 * the rest, and a flood's cost is one look-up a packet: in a cache line that all CPUs only read, but for the few packets
 * that are taken. Two CPUs that take the same place at once write one sample too many, no more.
 */
#ifndef XDPWALL_SAMPLES_H
#define XDPWALL_SAMPLES_H

#define SAMPLE_HEAD 168
/* Pages of 4 KiB; a power of two. About 2,600 samples. */
#define SAMPLE_PAGES 128

/* One packet. dataplane/samples.py is the same in Python; SAMPLE_SIZE and SAMPLE_HEAD_AT come from there. */
struct sample {
    u64 tick;
    u32 length;   /* of the whole frame */
    u16 captured; /* bytes in head; the rest of it is 0 */
    u8 reason;    /* enum reason, WOULD_DROP */
    u8 lane;      /* enum lane */
    u8 slot;      /* of the interface, as in the map "interfaces" */
    u8 is_v6;
    u8 protocol; /* at l4 */
    u8 fragment; /* enum fragment_kind */
    u16 l3;      /* offsets from the Ethernet header on */
    u16 l4;
    u8 head[SAMPLE_HEAD];
};
_Static_assert(sizeof(struct sample) == SAMPLE_SIZE, "struct sample and dataplane/samples.py differ in size");
_Static_assert(__builtin_offsetof(struct sample, head) == SAMPLE_HEAD_AT,
               "struct sample and dataplane/samples.py differ");

/* The kernel writes, one reader at a time empties. */
BPF_RINGBUF_OUTPUT(samples, SAMPLE_PAGES);

/* Period << 8 | samples taken in it. Index: lane * SAMPLE_KINDS + kind. The kernel alone. */
#define SAMPLE_KINDS 8
/* In the reason of a sample: it passed, for the reason only observes. */
#define WOULD_DROP 0x80
BPF_F_TABLE("array", u32, u64, sample_rations, LANE_SLOTS *SAMPLE_KINDS, MMAP);
/* Ticks >> this = the periods of the rations: about 4 ms, a tick where that is longer. */
#define SAMPLE_SHIFT LOAD_TIME_CONSTANT(0x57a11030)

/* Passed, but as a known flow; a known flow; dropped; to closed ports; by a rule; by what comes before the lanes. */
enum sample_kind { SAMPLE_PASSED, SAMPLE_FLOW, SAMPLE_DROPPED, SAMPLE_CLOSED, SAMPLE_RULE, SAMPLE_EARLIER };
/* How many a period, one byte each kind. In all lanes and in 100 ms no more than the ring holds. */
#define RATIONS 0x020202060104ULL

/* bpf_xdp_load_bytes is helper 189, since 5.18; bcc 0.26 has no name for it. */
static long (*xdp_load_bytes)(struct xdp_md *ctx, u32 offset, void *to, u32 length) = (void *)189;

INLINE u64 *sample_ration(struct packet *p, u64 kind)
{
    u64 lane = bounded(p->lane, LANE_SLOTS - 1);
    return WHOLE(u64, AT_SAMPLE_RATIONS) + lane * SAMPLE_KINDS + bounded(kind, SAMPLE_KINDS - 1);
}

INLINE void write_sample(struct xdp_md *ctx, struct packet *p, u64 reason)
{
    struct sample *sample = samples.ringbuf_reserve(sizeof(struct sample));
    if (!sample)
        return;
    sample->tick = p->now;
    sample->length = p->length;
    sample->reason = reason;
    sample->lane = p->lane;
    sample->slot = p->slot;
    sample->is_v6 = p->is_v6;
    sample->protocol = p->protocol;
    sample->fragment = p->fragment;
    sample->l3 = p->l3;
    sample->l4 = p->l4;
    u64 *word = (u64 *)sample->head;
#pragma unroll
    for (int i = 0; i < SAMPLE_HEAD / 8; i++)
        word[i] = 0;
    u64 captured = p->length;
    if (captured > SAMPLE_HEAD)
        captured = SAMPLE_HEAD;
    if (captured < ETH_HEADER || xdp_load_bytes(ctx, 0, sample->head, captured))
        captured = 0;
    sample->captured = captured;
    samples.ringbuf_submit(sample, BPF_RB_NO_WAKEUP);
}

/* Offer a packet, whatever became of it. */
INLINE void sample(struct xdp_md *ctx, struct packet *p, enum reason reason)
{
    u64 would = would_drop_for(p, reason);
    if (would)
        reason = would;
    u64 passed = PASSES >> reason & 1;
    u64 kind = passed ? SAMPLE_PASSED : SAMPLE_DROPPED;
    if (reason == REASON_PASS_FLOW)
        kind = SAMPLE_FLOW;
    else if (reason == REASON_CLOSED_TCP || reason == REASON_CLOSED_UDP)
        kind = SAMPLE_CLOSED;
    else if (reason == REASON_FINGERPRINT)
        kind = SAMPLE_RULE;
    else if (!passed && reason < REASON_LANE_SYN)
        kind = SAMPLE_EARLIER;
    u64 *ration = sample_ration(p, kind);
    u64 taken = *ration, period = (p->now >> SAMPLE_SHIFT) << 8;
    if ((taken ^ period) >> 8)
        taken = period;
    if ((taken & 0xff) >= (RATIONS >> (kind * 8) & 0xff))
        return;
    *ration = taken + 1;
    write_sample(ctx, p, would ? reason | WOULD_DROP : reason);
}

#endif
