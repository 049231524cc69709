/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * All maps. Sizes come from the config as -D constants (xdpwall/dataplane/defines.py); every map is pinned, so a load on a
 * loaded wall keeps them. Those marked mmap are read and written by Python without a system call.
 *
 * "key" is a source as packet.h packs it: eight bytes in network order, loaded as a native number.
 */
#ifndef XDPWALL_MAPS_H
#define XDPWALL_MAPS_H

/*
 * The tables that nearly every packet meets are one value each to the kernel, whose address a program has as a constant
 * (BPF_PSEUDO_MAP_VALUE, since Linux 5.2): no key on the stack, no bound to compare, no null. Nine instructions a time, of
 * which a flood's packet meets eighteen. Here they are declared as arrays of their entries, for that is what the compiler is
 * asked about; the loader makes one value of each, and fills its address in where the placeholder stands
 * (MapLayout.place in dataplane/layout.py). Who indexes one must show the verifier the bound: a shift, or bounded().
 */
#define WHOLE(type, place) ((type *)(long)bpf_pseudo_fd(0, place))
#define AT_GATE 0x57a12001
#define AT_BAN4_GATE 0x57a12002
#define AT_BAN6_GATE 0x57a12003
#define AT_PROOF_GATE 0x57a12004
#define AT_PEERS 0x57a12005
#define AT_PORTS 0x57a12006
#define AT_BUDGETS 0x57a12007
#define AT_POOLS 0x57a12008
#define AT_CLASSES 0x57a12009
#define AT_LANE_CPUS 0x57a1200a
#define AT_HANDOVERS 0x57a1200b
#define AT_VERDICTS 0x57a1200c
#define AT_WOULD_DROP 0x57a1200d
#define AT_SAMPLE_RATIONS 0x57a1200e
#define AT_WATCH_PORTS 0x57a1200f
#define AT_RULES 0x57a12010
#define AT_SOURCE_TAGS 0x57a12011
#define AT_PREFIX_TAGS 0x57a12012

/*
 * An index that the verifier knows to be at most mask, 2^n - 1. The compiler must not know it: it would leave out a mask that
 * it sees to be needless, and turn a + of numbers without common bits into an |, through which Linux 6.1 keeps no bounds.
 */
#define bounded(index, mask)             \
    ({                                   \
        u64 index_ = (index);            \
        asm volatile("" : "+r"(index_)); \
        index_ &= (mask);                \
        asm volatile("" : "+r"(index_)); \
        index_;                          \
    })

#define MMAP 1024 /* BPF_F_MMAPABLE */
#define NO_PREALLOC 1

/* Banned sources. Index: top BAN_BITS of the hash. mmap, Python writes. */
BPF_F_TABLE("array", u32, struct ban_line, ban4, 1 << BAN_BITS, MMAP);
BPF_F_TABLE("array", u32, struct ban_line, ban6, 1 << BAN_BITS, MMAP);
BPF_F_TABLE("array", u32, struct ban_keys, ban6_keys, 1 << BAN_BITS, MMAP);
/*
 * Is it worth to load the set? One bit each eighth of a set; index: top BAN_BITS + 3 of the hash, >> 6. A 64th of the
 * table's size, so it stays in a fast cache when a flood of random sources, which are not banned, would pull the whole table
 * through. mmap, Python writes: a bit is set before its ban is there, cleared after the last one went.
 */
BPF_F_TABLE("array", u32, u64, ban4_gate, 1 << (BAN_BITS - 3), MMAP);
BPF_F_TABLE("array", u32, u64, ban6_gate, 1 << (BAN_BITS - 3), MMAP);
/* Has the set bans in the overflow map? One bit a set; index: top BAN_BITS of the hash, >> 6. mmap, Python writes. */
BPF_F_TABLE("array", u32, u64, ban4_full, 1 << (BAN_BITS - 6), MMAP);
BPF_F_TABLE("array", u32, u64, ban6_full, 1 << (BAN_BITS - 6), MMAP);
/* Bans whose set was full. Key: the source. Asked only where ban4_full or ban6_full says so. Python writes. */
BPF_F_TABLE("hash", u64, struct ban_value, ban_overflow, BAN_OVERFLOW, 0);

/* Is a prefix list worth asking? mmap, Python writes. See struct gate_word. */
BPF_F_TABLE("array", u32, struct gate_word, gate, 2048, MMAP);
/* Banned prefixes; an entry's expiry is never earlier than that of a ban around it. Python writes. */
BPF_F_TABLE("lpm_trie", struct trie4_key, struct ban_value, ban_prefix4, BAN_PREFIXES, NO_PREALLOC);
BPF_F_TABLE("lpm_trie", struct trie6_key, struct ban_value, ban_prefix6, BAN_PREFIXES, NO_PREALLOC);
/* Allowed prefixes. The value means nothing. Python writes. */
BPF_F_TABLE("lpm_trie", struct trie4_key, u32, allow4, ALLOW_PREFIXES, NO_PREALLOC);
BPF_F_TABLE("lpm_trie", struct trie6_key, u32, allow6, ALLOW_PREFIXES, NO_PREALLOC);
/* Addresses of this host and the broadcast addresses of its networks. The value means nothing. Python writes. */
BPF_F_TABLE("hash", struct own_key, u32, own, 4096, NO_PREALLOC);

/* Meters of sources. Index: cpu << SOURCE_BITS | set, for the counters then << 3 | way. mmap, the kernel writes. */
BPF_F_TABLE("array", u32, struct tag_line, source_tags, CPUS << SOURCE_BITS, MMAP);
BPF_F_TABLE("array", u32, struct meter, source_meters, CPUS << SOURCE_BITS << 3, MMAP);
/* Meters of /24 and /48 prefixes, likewise. */
BPF_F_TABLE("array", u32, struct tag_line, prefix_tags, CPUS << PREFIX_BITS, MMAP);
BPF_F_TABLE("array", u32, struct meter, prefix_meters, CPUS << PREFIX_BITS << 3, MMAP);

/* Known flows and proven sources. Index: top PROOF_BITS of the hash. mmap; the egress program, XDP and Python write. */
BPF_F_TABLE("array", u32, struct proof_line, proofs, 1 << PROOF_BITS, MMAP);
/*
 * Is it worth to load the line? A byte each, as for the bans' gate: bit n, some place that holds has a tag that begins with n. So
 * what belongs to no flow, and that is a flood, seldom waits for memory. mmap; who writes a place sets it. Index: line >> 3.
 */
BPF_F_TABLE("array", u32, u64, proof_gate, 1 << (PROOF_BITS - 3), MMAP);
/*
 * A bit for each source that this host has a flow with, by the top 19 bits of its hash; others can share it. mmap; set with
 * each flow that is noted, emptied by Python now and then.
 */
BPF_F_TABLE("array", u32, u64, peers, 1 << 13, MMAP);
/* Handshakes that wait for their last step. Index: top PENDING_BITS of the same hash. The egress program writes. */
BPF_F_TABLE("array", u32, struct pending_line, pending, 1 << PENDING_BITS, MMAP);
BPF_F_TABLE("array", u32, struct proof_ages, proof_ages, 1, MMAP);

/*
 * Local ports, eight a word, one byte each: bit 7, somebody listens; bit 6, a door for administrators; bits 0 to 5, the number
 * of the port's own budget, 0 for none. Index: (1 for UDP, 0 for TCP) << 13 | port >> 3. mmap, Python writes a word at a time.
 */
BPF_F_TABLE("array", u32, u64, ports, 1 << 14, MMAP);
/* Budgets: of the lanes, then of single ports. mmap, Python writes. */
#define BUDGETS 64
BPF_F_TABLE("array", u32, struct budget, budgets, BUDGETS, MMAP);
/* What was spent of each budget, by all CPUs. mmap, the kernel writes. */
BPF_F_TABLE("array", u32, struct pool, pools, BUDGETS, MMAP);
/* And by the class of the local address and port. Index: lane << CLASS_BITS | class. mmap, the kernel writes. */
#define CLASS_BITS 8
BPF_F_TABLE("array", u32, struct spending, classes, LANE_SLOTS << CLASS_BITS, MMAP);
/* Index: cpu * LANE_SLOTS + lane. mmap, the kernel writes. */
BPF_F_TABLE("array", u32, struct lane_cpu, lane_cpus, CPUS *LANE_SLOTS, MMAP);

/* Index: cpu. The kernel alone. */
BPF_F_TABLE("array", u32, struct handover, handovers, CPUS, MMAP);

/*
 * Programs that the wall goes on in. Index: enum stage. A map of programs holds only such that take frames of many buffers, or
 * only such that do not: the loader puts stages_jumbo in the place of stages for the former. The load writes.
 */
enum stage { STAGE_OVER = 0, STAGE_COOKIE = 1, STAGE_SAMPLE = 2, STAGE_RULES = 3 };
BPF_TABLE("prog", u32, u32, stages, 4);
BPF_TABLE("prog", u32, u32, stages_jumbo, 4);

/* Verdicts. Index: (cpu * INTERFACES + slot of the interface) * REASON_SLOTS + reason. mmap, the kernel writes. */
#define INTERFACES 16
BPF_F_TABLE("array", u32, struct count, verdicts, CPUS *INTERFACES *REASON_SLOTS, MMAP);
/* The same for packets that passed only because the reason observes, by that reason. They are not in verdicts. */
BPF_F_TABLE("array", u32, struct count, would_drop, CPUS *INTERFACES *REASON_SLOTS, MMAP);

/* One entry. mmap, Python writes; no program reads it. */
BPF_F_TABLE("array", u32, struct wall_meta, meta, 1, MMAP);
/* Index: slot of the interface. mmap, Python writes; no program reads it. */
BPF_F_TABLE("array", u32, struct interface_entry, interfaces, INTERFACES, MMAP);

#endif
