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
    u32 spare[5];
};

#endif
