/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The loaded programs and their maps, as far as the fuzzer needs them: one test run a packet, and the counters as memory.
 */
#ifndef FUZZ_KERNEL_H
#define FUZZ_KERNEL_H

#include <errno.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define LONGEST 9014
#define ROOM 16384
#define REASON_SLOTS 64
#define INTERFACES 16
#define LANE_SLOTS 8

struct count {
    u64 packets;
    u64 bytes;
};

/* struct lane_cpu of bpf/types.h; the driver is handed the size that the loaded map really has. */
struct lane_view {
    struct count seen;
    struct count over;
    struct count dropped;
    u64 gate[2];
    struct count known;
    u64 spare[6];
};

/* A mapped array of the wall. */
struct array {
    char name[32];
    u8 *memory;
    u8 *copy; /* of one that no packet may change */
    size_t size;
};

#define MOST_ARRAYS 48
static struct array arrays[MOST_ARRAYS];
static int array_count;

struct run {
    u32 verdict;
    u32 size;
    u8 data[ROOM];
};

static void die(const char *what)
{
    fprintf(stderr, "fuzz driver: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* 0, or the error that the kernel gave. */
static int test_run(int program, const u8 *packet, u32 size, struct run *run)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.test.prog_fd = program;
    attr.test.data_in = (uintptr_t)packet;
    attr.test.data_size_in = size;
    attr.test.data_out = (uintptr_t)run->data;
    attr.test.data_size_out = sizeof(run->data);
    attr.test.repeat = 1;
    while (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)) < 0) {
        if (errno != EINTR && errno != EAGAIN)
            return errno;
    }
    run->verdict = attr.test.retval;
    run->size = attr.test.data_size_out;
    return 0;
}

static size_t whole_pages(size_t size)
{
    size_t page = sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

/* frozen: only Python writes it, so no packet may change a byte. */
static void add_array(const char *name, int fd, size_t size, int frozen)
{
    if (array_count == MOST_ARRAYS)
        return;
    struct array *array = &arrays[array_count++];
    snprintf(array->name, sizeof(array->name), "%s", name);
    array->size = size;
    array->memory = mmap(NULL, whole_pages(size), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (array->memory == MAP_FAILED)
        die(name);
    if (frozen) {
        array->copy = malloc(size);
        memcpy(array->copy, array->memory, size);
    }
}

static struct array *find_array(const char *name)
{
    for (int i = 0; i < array_count; i++) {
        if (!strcmp(arrays[i].name, name))
            return &arrays[i];
    }
    return NULL;
}

static struct array *need_array(const char *name)
{
    struct array *found = find_array(name);
    if (!found) {
        fprintf(stderr, "fuzz driver: no map %s was handed over\n", name);
        exit(2);
    }
    return found;
}

/* The first frozen array that is not as it was; NULL for none. It is as it is from now on. */
static const char *thawed(void)
{
    for (int i = 0; i < array_count; i++) {
        struct array *array = &arrays[i];
        if (array->copy && memcmp(array->copy, array->memory, array->size)) {
            memcpy(array->copy, array->memory, array->size);
            return array->name;
        }
    }
    return NULL;
}

/* Ring buffer of samples: first page is the consumer's, the second the producer's, the data follow twice. */
struct ring {
    volatile u64 *consumer;
    volatile u64 *producer;
    const u8 *data;
    u64 mask;
};

static void open_ring(struct ring *ring, int fd, size_t size)
{
    size_t page = sysconf(_SC_PAGESIZE);
    ring->consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    u8 *rest = mmap(NULL, page + 2 * size, PROT_READ, MAP_SHARED, fd, page);
    if (ring->consumer == MAP_FAILED || rest == MAP_FAILED)
        die("ring buffer");
    ring->producer = (volatile u64 *)rest;
    ring->data = rest + page;
    ring->mask = size - 1;
}

#endif
