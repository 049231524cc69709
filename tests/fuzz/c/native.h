/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The data path's own C, compiled for this machine: to see which of its branches a packet takes, and to compare its verdicts
 * with those of the program in the kernel. See native.c.
 */
#ifndef FUZZ_NATIVE_H
#define FUZZ_NATIVE_H

#include <stddef.h>
#include <stdint.h>

/* Hits of each edge since somebody last cleared them, a byte each; and which of them there are. */
#define EDGES 65536
extern uint8_t native_edges[EDGES];
extern uint16_t native_taken[EDGES];
extern uint32_t native_taken_count;
/* What bpf_jiffies64 gives. */
extern uint64_t native_tick;

/* A table of the wall by name, to be filled; NULL where this build has none. size: of all of it. */
void *native_table(const char *name, size_t *size);
/* One more entry for a hash map or a trie. */
void native_put(const char *name, const void *key, const void *value);
void native_start(uint64_t seed);
/* The verdict of XDP; the reason through *reason. */
uint32_t native_run(const uint8_t *packet, uint32_t size, uint32_t *reason);
/* What the egress program returns. */
int native_send(const uint8_t *packet, uint32_t size);

#endif
