/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The packets that others are made from: the seeds, and what took a branch that none before it took.
 */
#ifndef FUZZ_CORPUS_H
#define FUZZ_CORPUS_H

#include <ctype.h>
#include "mutate.h"
#include "native.h"

struct entry {
    u32 size;
    int found; /* in this run */
    u8 *data;
};

#define MOST_ENTRIES 40000
static struct entry corpus[MOST_ENTRIES];
static int entries, seeds;
static u8 edges_seen[EDGES];
static u64 edge_count, found_count;

static void keep(const struct packet *p, int found)
{
    if (entries == MOST_ENTRIES || p->size < 14)
        return;
    struct entry *entry = &corpus[entries++];
    entry->size = p->size;
    entry->found = found;
    entry->data = malloc(p->size);
    memcpy(entry->data, p->data, p->size);
    found_count += found;
}

static void copy_entry(int number, struct packet *p)
{
    p->size = corpus[number].size;
    memcpy(p->data, corpus[number].data, p->size);
}

/* Hits in classes, a bit each: a loop that runs once more is news only at first. */
static u8 class_bit(u8 hits)
{
    return !hits ? 0 : hits < 4 ? 1 << (hits - 1) : hits < 8 ? 8 : hits < 16 ? 16 : 32;
}

/* How many edges the last native run took that none did before, or oftener than any; forgets that run. */
static int news(u8 *seen)
{
    int fresh = 0;
    for (u32 i = 0; i < native_taken_count; i++) {
        u32 at = native_taken[i];
        u8 hits = class_bit(native_edges[at]);
        native_edges[at] = 0;
        if (!(hits & ~seen[at]))
            continue;
        fresh++;
        edge_count += !seen[at] && seen == edges_seen;
        seen[at] |= hits;
    }
    native_taken_count = 0;
    return fresh;
}

static int digit(int c)
{
    return isdigit(c) ? c - '0' : tolower(c) - 'a' + 10;
}

/* Bytes of a line of hexadecimal digits; a comment or an empty line has none. */
static u32 from_hex(const char *line, u8 *to, u32 room)
{
    u32 size = 0;
    while (isxdigit(line[0]) && isxdigit(line[1]) && size < room) {
        to[size++] = digit(line[0]) << 4 | digit(line[1]);
        line += 2;
    }
    return size;
}

static void read_corpus(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        die(path);
    static char line[2 * LONGEST + 16];
    struct packet p;
    while (fgets(line, sizeof(line), file)) {
        p.size = from_hex(line, p.data, longest);
        keep(&p, 0);
    }
    fclose(file);
    seeds = entries;
}

static int shorter_first(const void *a, const void *b)
{
    const struct entry *one = a, *other = b;
    return one->size != other->size ? (int)one->size - (int)other->size : memcmp(one->data, other->data, one->size);
}

/* What was found, without what others cover as well: the shortest first. */
static int write_corpus(const char *path)
{
    static u8 covered[EDGES];
    memset(covered, 0, sizeof(covered));
    u32 reason, kept = 0;
    for (int i = 0; i < seeds; i++) {
        native_run(corpus[i].data, corpus[i].size, &reason);
        news(covered);
    }
    qsort(corpus + seeds, entries - seeds, sizeof(*corpus), shorter_first);
    FILE *file = fopen(path, "w");
    if (!file)
        die(path);
    for (int i = seeds; i < entries; i++) {
        native_run(corpus[i].data, corpus[i].size, &reason);
        if (!news(covered))
            continue;
        for (u32 j = 0; j < corpus[i].size; j++)
            fprintf(file, "%02x", corpus[i].data[j]);
        fputc('\n', file);
        kept++;
    }
    fclose(file);
    return kept;
}

#endif
