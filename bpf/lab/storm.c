/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * An attack of any shape: each run takes a template, a whole packet made by the lab, changes in it what differs from
 * packet to packet, and sends it out of the interface that the run names (XDP_TX). Driven by BPF_PROG_TEST_RUN with live
 * frames by one thread (xdpwall/lab/pusher.py).
 *
 * Everything random comes from one seeded generator. Check sums are right: the lab sums up what stays the same, and this
 * program adds what it changes.
 *
 * -D: TEMPLATES and PLACES entries of those maps; SLOT bytes of the longest frame, a multiple of 8, at most 2,040.
 */

#include "headers.h"
#include "sums.h"

#define CLASSES 16
#define PICKS 4096
#define EDITS 10
#define KINDS 6
#define ROOM 2054 /* bytes of a template. What lies before it lets its IP header lie at a multiple of 8 */

#define SUM_HEAD 1  /* of struct edit: the word counts in the IP header's sum ... */
#define SUM_UPPER 2 /* ... in the L4 sum */

#define PSEUDO_HEADER 1 /* of struct template: the L4 sum covers the addresses */
#define NEVER_ZERO 2    /* a sum of zero is sent as all ones (UDP) */

/* Where packets come from or go to. Network order; IPv4 in the first word. Random bits are put where mask has ones. */
struct place {
    __u32 address[4];
    __u32 mask[4];
};
BPF_F_TABLE("array", __u32, struct place, places, PLACES, 1024);

/* A 16-bit word that differs from packet to packet: low + step * (random number below span), in network order. */
struct edit {
    __u32 span; /* 1 to 65,536 */
    __u16 at;   /* offset in the frame, even */
    __u16 low;
    __u16 step;
    __u16 sums;
};

/* Written by the lab before the first run; the words that are edited, the addresses and sums by this program as well. */
struct template {
    __u32 length; /* 60 to SLOT */
    __u32 version;
    __u32 head_sum;  /* of the IP header's words but for sum, addresses and edited ones; as they lie in memory */
    __u32 upper_sum; /* likewise of all that the L4 sum covers */
    __u32 sum_at;    /* where the L4 sum lies in the frame; 0: it has none (a later fragment) */
    __u32 traits;
    __u32 next; /* 1 + the template that must follow, of the same source and with the same random numbers; 0: any */
    __u32 class;
    __u32 kind;
    __u32 sources; /* index of the first in places ... */
    __u32 sources_count;
    __u32 targets;
    __u32 targets_count;
    struct edit edits[EDITS];
    __u16 spare[3];
    __u8 bytes[ROOM];
};
BPF_F_TABLE("array", __u32, struct template, templates, TEMPLATES, 1024);

/* Key: a random number. How often a template is there is its share of the packets. 8 bytes, as the lab writes maps. */
struct pick {
    __u32 template;
    __u32 spare;
};
BPF_F_TABLE("array", __u32, struct pick, picks, PICKS, 1024);

/* Key 0: state of the run. */
struct plan {
    __u64 packets;
    __u64 first_ns; /* CLOCK_MONOTONIC of the first packet */
    __u64 random;
    __u64 again; /* what the packet before began with */
    __u32 next;  /* see struct template */
    __u32 spare;
};
BPF_F_TABLE("array", __u32, struct plan, plan, 1, 1024);

/* Key: class. Value: what was sent; written by this program. */
struct sent {
    __u64 packets;
    __u64 bytes;
    __u64 kinds[KINDS]; /* UDP, SYN, other TCP, ICMP, fragments, other */
};
BPF_F_TABLE("array", __u32, struct sent, sent, CLASSES, 1024);

INLINE __u32 below(__u64 random, __u32 count)
{
    return ((random & 0xffffffff) * count) >> 32;
}

int push(struct xdp_md *ctx)
{
    __u32 zero = 0;
    struct plan *run = plan.lookup(&zero);
    if (!run)
        return XDP_ABORTED;
    __u32 index;
    if (run->next) {
        index = run->next - 1;
    } else {
        __u32 pick = next_random(&run->random) % PICKS;
        struct pick *chosen = picks.lookup(&pick);
        if (!chosen)
            return XDP_ABORTED;
        index = chosen->template;
        run->again = next_random(&run->random);
    }
    __u64 random = run->again;
    struct template *frame = templates.lookup(&index);
    if (!frame)
        return XDP_ABORTED;
    __u32 class = frame->class;
    struct sent *tally = sent.lookup(&class);
    __u32 from = frame->sources + below(next_random(&random), frame->sources_count);
    __u32 to = frame->targets + below(next_random(&random), frame->targets_count);
    struct place *source = places.lookup(&from);
    struct place *target = places.lookup(&to);
    if (!tally || !source || !target)
        return XDP_ABORTED;

    __u64 head = frame->head_sum;
    __u64 upper = frame->upper_sum;
#pragma unroll
    for (int i = 0; i < EDITS; i++) {
        struct edit *edit = &frame->edits[i];
        if (edit->span) {
            __u64 lot = (next_random(&random) >> 32) & 0xffff;
            __u16 word = bswap16(edit->low + edit->step * (__u32)((lot * edit->span) >> 16));
            *(__u16 *)(frame->bytes + (edit->at & 2046)) = word;
            if (edit->sums & SUM_HEAD)
                head += word;
            if (edit->sums & SUM_UPPER)
                upper += word;
        }
    }

    __u64 addresses = 0;
    __u64 bits = next_random(&random);
    if (frame->version == 4) {
        struct ipv4_header *ip = (void *)(frame->bytes + sizeof(struct ethernet_header));
        ip->source = source->address[0] | ((__u32)bits & source->mask[0]);
        ip->target = target->address[0] | ((__u32)(bits >> 32) & target->mask[0]);
        addresses = words(ip->source) + words(ip->target);
        ip->checksum = fold(head + addresses);
    } else {
        struct ipv6_header *ip = (void *)(frame->bytes + sizeof(struct ethernet_header));
#pragma unroll
        for (int i = 0; i < 4; i++) {
            __u64 more = next_random(&random);
            ip->source[i] = source->address[i] | ((__u32)more & source->mask[i]);
            ip->target[i] = target->address[i] | ((__u32)(more >> 32) & target->mask[i]);
            addresses += words(ip->source[i]) + words(ip->target[i]);
        }
    }
    if (frame->sum_at) {
        __u16 sum = fold(upper + (frame->traits & PSEUDO_HEADER ? addresses : 0));
        if (!sum && (frame->traits & NEVER_ZERO))
            sum = 0xffff;
        *(__u16 *)(frame->bytes + (frame->sum_at & 2046)) = sum;
    }

    /*
     * Two comparisons of one register: newer clangs (bcc 0.31) make one of them, of length - 60, and the verifier then
     * knows no bounds of length itself. The empty asm keeps them apart.
     */
    __u64 length = frame->length;
    if (length < 60)
        return XDP_ABORTED;
    asm volatile("" : "+r"(length));
    if (length > SLOT)
        return XDP_ABORTED;
    if (bpf_xdp_adjust_tail(ctx, (int)length - SLOT))
        return XDP_ABORTED;
    if (bpf_xdp_store_bytes(ctx, 0, frame->bytes, length))
        return XDP_ABORTED;

    run->next = frame->next;
    tally->packets++;
    tally->bytes += length;
    __u32 kind = frame->kind;
    if (kind < KINDS)
        tally->kinds[kind]++;
    if (!run->packets)
        run->first_ns = bpf_ktime_get_ns();
    run->packets++;
    return XDP_TX;
}
