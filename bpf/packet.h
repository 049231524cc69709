/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the stages know of the packet in hand, and its hash.
 */
#ifndef XDPWALL_PACKET_H
#define XDPWALL_PACKET_H

#define INLINE static inline __attribute__((always_inline))

enum fragment_kind { NOT_FRAGMENT = 0, FIRST_FRAGMENT = 1, LATER_FRAGMENT = 2 };

/* What a packet is, for the meters: bits. The order is that of the members of struct meter. */
#define KIND_SYN 1
#define KIND_UDP 2
#define KIND_ICMP 4
#define KIND_FRAGMENT 8
#define KIND_DROPPED 16

/* All 64 bits wide: bcc 0.26 has no 32-bit arithmetic, so each narrower member would cost two shifts a use. */
struct packet {
    void *data;
    void *end;     /* of what can be read: the first buffer of a jumbo frame */
    u64 key;       /* the source: see the comment of V4_MARK */
    u64 hash;      /* of key */
    u64 length;    /* of the whole frame, bytes */
    u64 l3;        /* offset of the IP header */
    u64 l4;        /* offset of what follows IP and its extension headers */
    u64 l4_length; /* bytes that the IP header promises from l4 on */
    u64 is_v6;
    u64 protocol; /* at l4 */
    u64 fragment; /* enum fragment_kind */
    u64 kinds;    /* KIND_* */
    u64 cpu;
    u64 is_link; /* keeps the link alive: never dropped by a list */
    u64 hop_limit;
    u64 now;   /* ticks */
    u64 lane;  /* enum lane, ALWAYS_OVER, ONLY_SHOWN */
    u64 ports; /* TCP and UDP, as they stand: the source's in the low half, the target's in the high; ICMP: type, code */
    u64 flags; /* TCP */
    u64 slot;  /* of the interface */
    u64 reason;
    u64 only_shown;
    u64 rule;     /* see struct handover */
    u64 meter;    /* place of the one whose limit decided */
    u64 observed; /* enum reason: the first that only observes and would have dropped it; 0 for none */
};

/*
 * Looked at even where the gate has room: a first fragment, for one of a known flow lets those after it pass; and each SYN,
 * which are few, for they tell of scans.
 */
#define ALWAYS_OVER 8
/* The gate lets it pass; it is only to be sampled. */
#define ONLY_SHOWN 16

/* No header stands further in: MAX_EXTENSIONS of 2,048 bytes. The verifier takes offsets that end below 64 KiB. */
#define OFFSET_MASK 0x7fff

/*
 * Which CPU this is. Always one there is a place for, but the verifier asks. The empty asm has one register compared and kept:
 * else Linux 6.1 knows the bound of a copy alone.
 */
INLINE int on_cpu(struct packet *p)
{
    u64 cpu = bpf_get_smp_processor_id();
    asm volatile("" : "+r"(cpu));
    if (cpu >= CPUS)
        return 0;
    asm volatile("" : "+r"(cpu));
    p->cpu = cpu;
    return 1;
}

/*
 * A key is eight bytes in network order: the first half of an IPv6 address (a host owns its /64), or ff:ff:00:00 and
 * the IPv4 address. ff00::/8 is multicast, which is never a source, so no IPv6 key can be taken for an IPv4 one.
 * Loaded on little-endian machines, the mark is in the low half. (dataplane/keys.py is the same in Python.)
 */
#define V4_MARK 0x000000000000ffffULL

/* Random per wall. Filled in at the load, as what is in constants.h: one compiled program serves all walls. */
#define SEED ((u64)bpf_pseudo_fd(0, 0x57a11004))

/*
 * 64 bits from 64 bits: two rounds of multiply and fold. The constants are odd and have well-spread bits (2^64 divided
 * by the golden ratio; the multiplier of SplitMix64's relative in Steele and others, "Fast splittable pseudorandom number
 * generators", 2014). With SEED, an attacker cannot choose sources that share a set.
 * Top bits: index of the set. Bits 12 to 43: tag. dataplane/hashing.py is the same in Python.
 */
INLINE u64 mix(u64 key)
{
    u64 hash = (key ^ SEED) * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93ULL;
    return hash ^ (hash >> 29);
}

/*
 * 0, and neither the compiler nor the verifier knows. Added to a number that is a constant on each of many paths it keeps the
 * verifier from walking all that follows once for each of them: 960,000 steps of its million became 420,000 (Linux 6.18).
 */
INLINE u64 unknown_zero(struct packet *p)
{
    u64 same = p->now;
    asm volatile("" : "+r"(same));
    return same ^ p->now;
}

/* The IP header begins 14, 18 or 22 bytes into the frame. */
#define L3_MASK 31

/*
 * The smaller of two numbers below 2^63, without a branch. The empty asm keeps clang 14 from making one again: where it is
 * used, the processor would guess wrong half the time.
 */
INLINE u64 lesser(u64 a, u64 b)
{
    s64 difference = a - b;
    asm volatile("" : "+r"(difference));
    s64 mask = difference >> 63;
    asm volatile("" : "+r"(mask));
    return b + (difference & mask);
}

/* The greater, likewise. */
INLINE u64 greater(u64 a, u64 b)
{
    return a + b - lesser(a, b);
}

/* A 32-bit name for a key within its set. IPv4: the address itself, so two addresses never share it. Never 0. */
INLINE u64 tag_of(u64 key, u64 hash)
{
    if ((u32)key == (u32)V4_MARK)
        return key >> 32;
    u64 tag = (hash >> 12) & 0xffffffff;
    return tag ? tag : 1;
}

#endif
