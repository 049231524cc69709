/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The bench's packets: gives the packet in hand another source, and nothing else, so that what is measured is the wall and
 * not the generator. The frame comes from Python whole (xdpwall/bench/traffic.py); the IPv4 header's checksum is kept right,
 * for the stack of the peers looks at it.
 *
 * push sends the packet out of the interface that the run names (live frames). spoof hands it to the program under test by a
 * tail call: many sources within one test run, and the program is the very one that is attached.
 *
 * A source comes from a list (number n of the list has the address that list_address computes, as traffic.py does) or is
 * random: 2^29 IPv4 addresses, or 2^47 IPv6 /64.
 */
#include <uapi/linux/bpf.h>

#define INLINE static inline __attribute__((always_inline))
#define MMAP 1024

/* The machines that bcc and this bench run on are little-endian. */
#define ETHER_IPV6 0xdd86
#define TYPE_AT 12
#define SUM_AT 24
#define SOURCE4_AT 26
#define SOURCE6_AT 22

/* Key 0: what to send. Python writes it before a run, these programs change `random` alone. */
struct plan {
    u64 random;
    u32 listed; /* of 65,536: share of packets whose source is of the list */
    u32 count;  /* length of the list */
    u32 sum;    /* IPv4: one's complement sum of the header's other words, as they lie in memory */
    u32 tally;  /* 1: count what each source of the list sends */
    u32 anew;   /* 1: the program under test writes into its packets, and they come back: write each one anew */
    u32 unused;
};
BPF_F_TABLE("array", u32, struct plan, plan, 1, MMAP);

/* Key 0: the head of the frame, as it is sent while plan.anew is 1. Python writes it before a run. */
struct head {
    u64 words[9];
};
BPF_F_TABLE("array", u32, struct head, heads, 1, MMAP);

/* Key: number in the list. Value: packets sent, while plan.tally is 1. */
BPF_F_TABLE("array", u32, u64, tally, 4096, MMAP);

/* Key 0: the program under test. Python writes it. */
BPF_PROG_ARRAY(tested, 1);

INLINE u64 next_random(struct plan *to)
{
    /* Knuth's MMIX constants; the high half is mixed into the low one, whose own bits are weak. */
    u64 x = to->random * 6364136223846793005ULL + 1442695040888963407ULL;
    to->random = x;
    return x ^ (x >> 33);
}

/* Odd factors, so that no two numbers of a list share an address. Listed and random sources never meet. */
INLINE u32 list_address4(u32 number)
{
    return 0x20000000 | ((number * 0x9e3779b1U) & 0x1fffffff);
}

INLINE u64 list_address6(u32 number)
{
    return 0x2a00ULL << 48 | ((number * 0x9e3779b97f4a7c15ULL) & 0x7fffffffffffULL);
}

INLINE int change_source(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;
    u32 zero = 0;
    struct plan *to = plan.lookup(&zero);
    if (!to || data + 54 > end)
        return 0;
    if (to->anew) {
        struct head *head = heads.lookup(&zero);
        if (!head || data + sizeof(*head) > end)
            return 0;
        *(struct head *)data = *head;
    }
    u64 random = next_random(to);
    u32 is_listed = (random & 0xffff) < to->listed;
    u32 number = ((random >> 32) * to->count) >> 32;
    if (*(u16 *)(data + TYPE_AT) == ETHER_IPV6) {
        u64 source = is_listed ? list_address6(number) : 0x2a008000ULL << 32 | (random >> 17);
        *(u64 *)(data + SOURCE6_AT) = __builtin_bswap64(source);
    } else {
        u32 source = is_listed ? list_address4(number) : 0x40000000 | (random >> 35);
        source = __builtin_bswap32(source);
        *(u32 *)(data + SOURCE4_AT) = source;
        u32 sum = to->sum + (source & 0xffff) + (source >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        *(u16 *)(data + SUM_AT) = ~sum;
    }
    if (to->tally && is_listed) {
        u64 *sent = tally.lookup(&number);
        if (sent)
            (*sent)++;
    }
    return 1;
}

int push(struct xdp_md *ctx)
{
    return change_source(ctx) ? XDP_TX : XDP_ABORTED;
}

int spoof(struct xdp_md *ctx)
{
    if (change_source(ctx))
        tested.call(ctx, 0);
    return XDP_ABORTED;
}
