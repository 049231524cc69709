/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Structs that live in maps. This file is the source of truth: xdpwall/dataplane/layout.py repeats it for Python, and
 * each load compares the two, member by member, before anything is attached.
 *
 * Every line that the hot path touches is 64 bytes, one cache line: arrays in BPF start on a page, so each stays whole.
 */
#ifndef XDPWALL_TYPES_H
#define XDPWALL_TYPES_H

/* Places in a set of a meter's tag table. */
#define WAYS 8

/*
 * One banned source, 16 bytes. An expiry of 0 is an empty place, EXPIRY_NEVER one without end. IPv4: the tag is the source
 * address as loaded from the packet, so a match is exact. IPv6: bits 12 to 43 of the hash, confirmed by ban_keys.
 *
 * Python writes tag and expiry together with one aligned 8-byte store through mmap: a reader sees a place before or after,
 * never in between. The kernel alone adds to `dropped`; Python clears it with a new ban.
 */
struct ban_place {
    u32 expiry;
    u32 tag;
    u64 dropped; /* packets, and << 32 their bytes in units of 16, each packet rounded to the nearest */
};

#define BAN_WAYS 4

/* One set of the table of banned sources. What a ban stopped stands beside it: to count it costs no further cache line. */
struct ban_line {
    struct ban_place place[BAN_WAYS];
};

/* The full keys behind the tags of an IPv6 set. Python writes the key before the place. */
struct ban_keys {
    u64 key[BAN_WAYS];
};

struct count {
    u64 packets;
    u64 bytes; /* from the Ethernet header on, without the checksum at the end of the frame */
};

/* A ban by prefix, or one that found its set full. */
struct ban_value {
    u32 expiry; /* of a prefix: never before that of a ban around it, for the trie gives the longest match alone */
    u32 asked;  /* what was asked for; for Python alone */
    struct count dropped;
};

/*
 * One set of a meter's tag table, on one CPU. Small on purpose: a flood of random sources touches only this line.
 *
 * tag: names the key (IPv4: the address itself; else bits 12 to 43 of the hash); 0 is empty.
 * score: epoch (8 bits) | fresh (1) | kinds (5) | score (18), see meters.h.
 */
struct tag_line {
    u32 tag[WAYS];
    u32 score[WAYS];
};

/* The counters of one metered source or prefix on one CPU. Written by the kernel alone. METER_DTYPE in Python. */
struct meter {
    u64 key;
    u64 packets;
    u64 bytes;
    u32 syn;
    u32 udp;
    u32 icmp;
    u32 fragments;
    u32 drops;
    u32 first; /* ticks, low 32 bits */
    u32 last;
    /* What is left of the limits, see limits.h. */
    u32 packet_tokens;
    u32 byte_tokens;
    u32 syn_tokens;
};

/*
 * 64 bits for each list, one for each /16 of IPv4 (words 0 to 1023) or hashed /32 of IPv6 (words 1024 to 2047): is there
 * anything of it in the trie? Written by Python: set before the trie gains an entry, cleared after it lost the last one.
 */
struct gate_word {
    u64 allow;
    u64 ban;
    u64 own;
    u64 spare;
};

/* Keys of the prefix tries: bits of prefix, then the address in network order. */
struct trie4_key {
    u32 length;
    __be32 address;
};

struct trie6_key {
    u32 length;
    __be32 address[4];
};

/* An address of this host; IPv4 as ::ffff:a.b.c.d. */
struct own_key {
    __be32 address[4];
};

/* One interface that the wall is meant to stand on. Written by Python alone. */
struct interface_entry {
    char name[16];
    u32 wanted;
    u32 mode; /* 1 native, 2 generic */
    u32 spare[2];
};

/*
 * One set of what the host is known to talk to: flows, and sources that completed a handshake. Found by a 64-bit hash whose
 * seed nobody outside knows: its top bits are the set, the 32 below it the tag, so a stranger's packet meets another's entry
 * once in 2^29. See proofs.h for the word. The egress program and Python write, XDP only what completes a handshake; each
 * place is one aligned 8-byte store. A write lost to another CPU's comes again with the next packet.
 */
#define PROOF_WAYS 8
struct proof_line {
    u64 place[PROOF_WAYS]; /* tag (32 bits) | kind (3) | count (3) | stamp (26) */
};

/* One set of SYN-ACKs that the stack sent: tag (32 bits) | the acknowledgement that completes the handshake (32). */
struct pending_line {
    u64 place[PROOF_WAYS];
};

/* How long each kind of proof holds, in units of 64 ticks. One entry; Python writes. */
struct proof_ages {
    u32 age[16];
};

/* Which budget a packet comes under. The numbers index maps; xdpwall/lanes.py is the same in Python. */
enum lane {
    LANE_SYN = 0,
    LANE_TCP = 1,
    LANE_UDP = 2,
    LANE_ICMP = 3,
    LANE_FRAGMENT = 4,
    LANE_OTHER = 5,
    LANE_CLOSED = 6, /* a budget alone: TCP and UDP to ports where nobody listens */
};
#define LANE_SLOTS 8

/*
 * A budget in the kernel's units, written by Python. A cost is how much time a packet uses up, in 2^-20 ticks; of a byte
 * in 2^-36 ticks. 0: no limit. The gate is the part that one CPU hands out without any look-up.
 */
struct budget {
    u64 packet_cost;
    u64 byte_cost;
    u64 depth; /* how far ahead of the clock spending may run: the burst */
    u64 gate_packet_cost;
    u64 gate_byte_cost;
    u64 gate_depth;
    u64 rules_until; /* a tick: up to then the lane has fingerprint rules, and the gate lets nothing pass them by */
    u64 shut;        /* 1: the gate lets nothing pass; of TCP, while cookies are sent, for each may acknowledge one */
};

/* Up to when a budget is spent, in 2^-20 ticks. Behind the clock: nothing is owed. Shared by all CPUs. */
struct spending {
    u64 packets;
    u64 bytes;
};

/* The same of a whole lane, alone in its cache line. */
struct pool {
    struct spending spent;
    u64 spare[6];
};

/* A lane on one CPU. The kernel alone writes. */
struct lane_cpu {
    struct count seen;
    struct count over;    /* of them, what found the budget spent and needed another proof than a known flow */
    struct count dropped; /* of those */
    struct spending gate;
    struct count known; /* of seen, what was beyond the gate and belonged to a known flow: it asks for no budget */
    u64 spare[6];
};

/* A packet between two programs, see lanes.h. One a CPU, written and read by the kernel alone. */
struct handover {
    u64 key;
    u64 length;
    u64 ports;
    u64 now;
    u32 l3;
    u32 l4;
    u32 l4_length;
    u32 protocol;
    u32 lane;
    u32 flags;
    u32 fragment;
    u32 is_v6;
    u32 hop_limit;
    u32 slot;
    u32 reason;   /* so far */
    u32 rule;     /* 0: not asked for yet; else RULE_ASKED, and what was found (fingerprints.h) */
    u32 observed; /* see struct packet; written only while something observes */
    u32 meter;    /* see struct packet */
};

/* What a load wrote down for the loads and controllers to come. Written by Python alone. */
struct wall_meta {
    u64 magic;
    u64 seed;
    u64 loaded_ms; /* Unix time */
    u64 config_digest;
    u32 layout;
    u32 hz; /* ticks a second */
    u32 cpus;
    u32 ban_bits;
    u32 source_bits;
    u32 prefix_bits;
    u32 observe;
    u32 proof_bits;
    u64 observed;          /* OBSERVED of bpf/observe.h */
    u64 observed_since_ms; /* Unix time; would_drop of these reasons counts from then on */
};

#endif
